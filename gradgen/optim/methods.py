"""The update rules of torch.optim: SGD, Adam, AdamW, RMSprop, Adagrad."""

from __future__ import annotations

from typing import Any

from gradgen.optim.optimizer import Optimizer, check_at_least_zero, zeros_of
from gradgen.optim.step_numbers import add_ratio, add_scaled, chosen, complement, root, used


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al., 2013, in PyTorch's form: v = m v + g, p -= lr v)."""

    def __init__(
        self, params: Any = None, lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
        nesterov: bool = False, *, maximize: bool = False, foreach: Any = None, differentiable: bool = False,
        fused: Any = None,
    ) -> None:
        check_at_least_zero(lr, "learning rate")
        check_at_least_zero(momentum, "momentum value")
        check_at_least_zero(weight_decay, "weight_decay value")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        })

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * p
        momentum = group["momentum"]
        if used(momentum):
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = gradient.detach().clone()
            else:
                part = 1 - group["dampening"]
                if "step" in state:  # recorded: the first buffer is zeros, and the gradient is added whole
                    part = chosen(state["step"] == 0, 1.0, part, state["step"]) if group["dampening"] else part
                add_scaled(buffer.mul_(momentum), gradient, part)
            gradient = gradient + momentum * buffer if group["nesterov"] else buffer
        add_scaled(p, gradient, -group["lr"])

    def _begin_recorded(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        buffer = {"momentum_buffer": zeros_of(p)} if used(group["momentum"]) else {}
        return buffer | ({"step": 0} if group["dampening"] else {})


class Adam(Optimizer):
    """Adam (Kingma & Ba, 2015), with PyTorch's order of operations; `amsgrad` by Reddi, Kale & Kumar, 2018."""

    decoupled = False

    def __init__(
        self, params: Any = None, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, amsgrad: bool = False, *, foreach: Any = None, maximize: bool = False,
        capturable: bool = False, differentiable: bool = False, fused: Any = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_at_least_zero(lr, "learning rate")
        check_at_least_zero(eps, "epsilon value")
        for k, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {k}: {beta}")
        check_at_least_zero(weight_decay, "weight_decay value")
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            "fused": fused, "decoupled_weight_decay": decoupled_weight_decay or self.decoupled,
        })

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        state["step"] += 1
        if group["weight_decay"]:
            if group["decoupled_weight_decay"]:
                p.mul_(1 - group["lr"] * group["weight_decay"])
            else:
                gradient = gradient + group["weight_decay"] * p
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        step_size = group["lr"] / complement(first, state["step"])
        unbiased = root(complement(second, state["step"]))
        if group["amsgrad"]:
            state["max_exp_avg_sq"].copy_(state["max_exp_avg_sq"].maximum(square))
            square = state["max_exp_avg_sq"]
        add_ratio(p, mean, (square.sqrt() / unbiased).add(group["eps"]), -step_size)

    def _begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        found = {"step": 0, "exp_avg": zeros_of(p), "exp_avg_sq": zeros_of(p)}
        return found | ({"max_exp_avg_sq": zeros_of(p)} if group["amsgrad"] else {})


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019)."""

    decoupled = True

    def __init__(self, params: Any = None, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, **options: Any) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)


class RMSprop(Optimizer):
    """RMSprop (Hinton, 2012, lecture 6e of "Neural Networks for Machine Learning"), centred after Graves, 2013."""

    def __init__(
        self, params: Any = None, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
        momentum: float = 0, centered: bool = False, *, foreach: Any = None, maximize: bool = False,
        differentiable: bool = False, capturable: bool = False,
    ) -> None:
        for value, what in ((lr, "learning rate"), (eps, "epsilon value"), (momentum, "momentum value"),
                            (weight_decay, "weight_decay value"), (alpha, "alpha value")):
            check_at_least_zero(value, what)
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        })

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"] += 1
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * p
        square, alpha = state["square_avg"], group["alpha"]
        square.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        spread = square
        if group["centered"]:
            state["grad_avg"].lerp_(gradient, 1 - alpha)
            spread = square.addcmul(state["grad_avg"], state["grad_avg"], value=-1)
        spread = spread.sqrt().add(group["eps"])
        if used(group["momentum"]):
            state["momentum_buffer"].mul_(group["momentum"]).addcdiv_(gradient, spread)
            add_scaled(p, state["momentum_buffer"], -group["lr"])
        else:
            add_ratio(p, gradient, spread, -group["lr"])

    def _begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        found = {"step": 0, "square_avg": zeros_of(p)}
        found |= {"momentum_buffer": zeros_of(p)} if used(group["momentum"]) else {}
        return found | ({"grad_avg": zeros_of(p)} if group["centered"] else {})


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer, 2011)."""

    def __init__(
        self, params: Any = None, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: Any = None, *, maximize: bool = False,
        differentiable: bool = False, fused: Any = None,
    ) -> None:
        for value, what in ((lr, "learning rate"), (lr_decay, "lr_decay value"), (weight_decay, "weight_decay value"),
                            (initial_accumulator_value, "initial_accumulator_value value"), (eps, "epsilon value")):
            check_at_least_zero(value, what)
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        })

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"] += 1
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * p
        rate = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        state["sum"].addcmul_(gradient, gradient, value=1)
        add_ratio(p, gradient, state["sum"].sqrt().add(group["eps"]), -rate)

    def _begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "sum": zeros_of(p).add(group["initial_accumulator_value"]).detach()}
