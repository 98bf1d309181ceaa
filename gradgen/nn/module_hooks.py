"""Hooks of modules: before and after forward, and around the backward of what the forward made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradgen.autograd.function import Function
from gradgen.eager.hooks import HookDict, RemovableHandle
from gradgen.eager.tensor import Tensor


class HookTable(HookDict):
    """Hooks in order; those in `keyed` are also given the keyword arguments."""

    __slots__ = ("keyed",)

    def __init__(self) -> None:
        super().__init__()
        self.keyed: set[int] = set()

    def register(self, hook: Callable[..., Any], prepend: bool = False, with_kwargs: bool = False) -> RemovableHandle:
        handle = self.add(hook)
        if with_kwargs:
            self.keyed.add(handle.id)
        if prepend:
            for key in [k for k in self if k != handle.id]:
                self[key] = self.pop(key)
        return handle

    def __deepcopy__(self, memo: dict[int, Any]) -> HookTable:
        """Hooks go along with a copy of their module."""
        copy = HookTable()
        copy.update(self)
        copy.keyed = set(self.keyed)
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (dict(self), set(self.keyed))


def _restored(hooks: dict[int, Any], keyed: set[int]) -> HookTable:
    table = HookTable()
    table.update(hooks)
    table.keyed = keyed
    return table


def called(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """module.forward with all hooks, in PyTorch's order."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if key in module._forward_pre_hooks.keyed:
            changed = hook(module, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    )
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    around = None
    if module._backward_hooks or module._backward_pre_hooks:
        around = _Backward(module)
        args = around.inputs(args)
    result = module.forward(*args, **kwargs)
    for key, hook in list(module._forward_hooks.items()):
        keyed = key in module._forward_hooks.keyed
        changed = hook(module, args, kwargs, result) if keyed else hook(module, args, result)
        if changed is not None:
            result = changed
    return result if around is None else around.outputs(result)


class BackwardHookFunction(Function):
    """The identity; its node is where backward hooks hang."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        passed = tuple(a._alone() for a in args)
        ctx.mark_non_differentiable(*[p for p, a in zip(passed, args) if not a.requires_grad])
        return passed

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads


class _Backward:
    """The backward hooks of one call of a module (the mechanism of torch.utils.hooks.BackwardHook)."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.hooks = list(module._backward_hooks.values())
        self.before = list(module._backward_pre_hooks.values())
        self.grad_outputs: tuple[Any, ...] | None = None
        self.input_places: list[int] | None = None
        self.output_places: list[int] = []
        self.input_count = self.output_count = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        passed, places = self._through(args, lambda node: node.register_hook(self._inputs_known))
        self.input_count, self.input_places = len(args), places
        return passed

    def outputs(self, result: Any) -> Any:
        single = not isinstance(result, tuple)
        given = (result,) if single else result
        passed, places = self._through(given, lambda node: node.register_prehook(self._outputs_known))
        self.output_count, self.output_places = len(given), places or []
        return passed[0] if single else passed

    def _through(
        self, values: Sequence[Any], hang: Callable[[Any], Any]
    ) -> tuple[tuple[Any, ...], list[int] | None]:
        places = [k for k, v in enumerate(values) if isinstance(v, Tensor)]
        tensors = [values[k] for k in places]
        if not any(x.requires_grad and x._edge() is not None for x in tensors):
            return tuple(values), None
        passed = BackwardHookFunction.apply(*tensors)
        node = next((x.grad_fn for x in passed if x.grad_fn is not None), None)
        if node is None:  # gradients are off
            return tuple(values), None
        hang(node)
        found = list(values)
        for k, x in zip(places, passed):
            found[k] = x
        return tuple(found), places

    @staticmethod
    def _spread(grads: Sequence[Any], places: list[int], count: int) -> tuple[Any, ...]:
        found: list[Any] = [None] * count
        for k, g in zip(places, grads):
            found[k] = g
        return tuple(found)

    def _outputs_known(self, grad_output: tuple[Any, ...]) -> Any:
        self.grad_outputs = self._spread(grad_output, self.output_places, self.output_count)
        for hook in self.before:
            changed = hook(self.module, self.grad_outputs)
            if changed is not None:
                self.grad_outputs = changed if isinstance(changed, tuple) else (changed,)
        if self.input_places is None:
            for hook in self.hooks:
                if hook(self.module, (None,) * self.input_count, self.grad_outputs) is not None:
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or None "
                        "for all gradients."
                    )
        return tuple(self.grad_outputs[k] for k in self.output_places)

    def _inputs_known(self, grad_input: tuple[Any, ...], _: Any) -> Any:
        if self.grad_outputs is None:
            return None
        places = self.input_places or []
        grads = self._spread(grad_input, places, self.input_count)
        for hook in self.hooks:
            changed = hook(self.module, grads, self.grad_outputs)
            if changed is not None:
                grads = changed if isinstance(changed, tuple) else (changed,)
        self.grad_outputs = None
        return tuple(grads[k] for k in places)
