"""The base of optimizers: parameter groups, state, zero_grad, state_dict, as torch.optim has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gradgen.eager.modes import enable_grad, no_grad
from gradgen.eager.tensor import Tensor

REQUIRED = object()


class Optimizer:
    """Subclasses implement `_update(parameter, gradient, state, group)`, called without recording history, and `_begin`.

    `params` are tensors, (name, tensor) pairs, or dicts {"params": ..., option: value} for groups with options of
    their own.  Raises ValueError and TypeError as torch.optim does.

    Without parameters, or with names in their place ("layers.0.*" matches several), an optimizer is a recipe: what
    `gg.emit(train=...)` makes a training step of.  It has no state, and `step()` raises.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + params.type()  # type: ignore[attr-defined]
            )
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        self.recipe = params is None
        given = ["*"] if self.recipe else [params] if isinstance(params, str) else list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds tensors with options of their own."""
        group = dict(param_group)
        found = group["params"]
        names = [found] if isinstance(found, str) else list(found) if isinstance(found, (list, tuple)) else []
        if names and all(isinstance(n, str) for n in names):
            if self.param_groups and not self.recipe:
                raise TypeError("an optimizer has tensors or names of parameters, not both")
            self.recipe = True
            self.param_groups.append({**self.defaults, **group, "params": names})
            return
        tensors = [found] if isinstance(found, Tensor) else [p[1] if isinstance(p, tuple) else p for p in found]
        for p in tensors:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        known = {id(p) for g in self.param_groups for p in g["params"]}
        if any(id(p) in known for p in tensors):
            raise ValueError("some parameters appear in more than one parameter group")
        group["params"] = tensors
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients, or fills them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                else:
                    p.grad.detach_().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; `closure` computes the loss again."""
        if self.recipe:
            raise RuntimeError(f"{type(self).__name__} was made without parameters: it is a recipe for gg.emit(train=...), "
                               f"with nothing to step; pass module.parameters() for eager training")
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        gradient = -p.grad if group.get("maximize") else p.grad
                        state = self.state.setdefault(p, {})
                        if not state:
                            state.update(self._begin(p, group))
                        self._update(p, gradient, state, group)
        return loss

    def _begin(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The state of a parameter before its first update."""
        return {}

    def _begin_recorded(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The same where every step is the same program: all that there will ever be, numbers for scalars."""
        return self._begin(p, group)

    def _update(self, p: Tensor, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """State by parameter number, and the groups' options."""
        number = {id(p): k for k, p in enumerate(self._parameters())}
        groups = []
        for group in self.param_groups:
            packed = {k: v for k, v in group.items() if k != "params"}
            groups.append({**packed, "params": [number[id(p)] for p in group["params"]]})
        return {"state": {number[id(p)]: dict(s) for p, s in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` of an optimizer of the same groups returned."""
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(groups, self.param_groups)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        parameters = list(self._parameters())
        self.state = {
            parameters[k]: {n: v.clone() if isinstance(v, Tensor) else v for n, v in s.items()}  # type: ignore[attr-defined]
            for k, s in state_dict["state"].items()
        }
        for group, loaded in zip(self.param_groups, groups):
            group.update({k: v for k, v in loaded.items() if k != "params"})

    def _parameters(self) -> Iterable[Tensor]:
        return (p for group in self.param_groups for p in group["params"])

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for k, group in enumerate(self.param_groups):
            text += f"\nParameter Group {k}\n"
            text += "".join(f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
        return text + ")"


def check_at_least_zero(value: float, what: str) -> None:
    if not value >= 0.0:
        raise ValueError(f"Invalid {what}: {value}")


def zeros_of(p: Any) -> Any:
    """Zeros of the parameter's shape."""
    from gradgen.eager.creation import zeros_like

    return zeros_like(p).detach()  # type: ignore[no-untyped-call]
