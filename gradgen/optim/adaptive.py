"""More update rules of torch.optim: Adamax, NAdam, RAdam, Adadelta, Rprop, ASGD."""

from __future__ import annotations

from typing import Any

from gradgen.eager.tensor import Tensor
from gradgen.ops.comparison import where
from gradgen.optim.optimizer import Optimizer, check_at_least_zero, zeros_of
from gradgen.optim.step_numbers import (
    add_ratio,
    add_scaled,
    chosen,
    complement,
    larger,
    power,
    rectified_length,
    root,
    rounded,
)


def _options(**own: Any) -> dict[str, Any]:
    return own


def _check_betas(betas: tuple[float, float]) -> None:
    for k, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {k}: {beta}")


def _decayed(p: Any, gradient: Any, group: dict[str, Any]) -> Any:
    """Weight decay: of the parameter itself where decoupled, in the gradient elsewhere."""
    if not group["weight_decay"]:
        return gradient
    if group.get("decoupled_weight_decay"):
        p.mul_(1 - group["lr"] * group["weight_decay"])
        return gradient
    return gradient + group["weight_decay"] * p


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the second moment (Kingma & Ba, 2015, section 7.1)."""

    def __init__(
        self, params: Any = None, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, foreach: Any = None, *, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_at_least_zero(lr, "learning rate")
        check_at_least_zero(eps, "epsilon value")
        _check_betas(betas)
        check_at_least_zero(weight_decay, "weight_decay value")
        super().__init__(params, _options(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=foreach, maximize=maximize,
            differentiable=differentiable, capturable=capturable,
        ))

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        state["step"] += 1
        gradient = _decayed(p, gradient, group)
        state["exp_avg"].lerp_(gradient, 1 - first)
        largest = state["exp_inf"]
        largest.copy_((largest * second).maximum(gradient.abs() + group["eps"]))
        add_ratio(p, state["exp_avg"], largest, -group["lr"] / complement(first, state["step"]))

    def _begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "exp_avg": zeros_of(p), "exp_inf": zeros_of(p)}


class NAdam(Optimizer):
    """Adam with Nesterov momentum (Dozat, 2016)."""

    def __init__(
        self, params: Any = None, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        foreach: Any = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:
        check_at_least_zero(lr, "learning rate")
        check_at_least_zero(eps, "epsilon value")
        _check_betas(betas)
        check_at_least_zero(weight_decay, "weight_decay value")
        check_at_least_zero(momentum_decay, "momentum_decay value")
        super().__init__(params, _options(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay, maximize=maximize, foreach=foreach, capturable=capturable,
            differentiable=differentiable,
        ))

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        state["step"] += 1
        step, lr = state["step"], group["lr"]
        gradient = _decayed(p, gradient, group)
        mu, after = (first * (1.0 - 0.5 * power(0.96, k * group["momentum_decay"])) for k in (step, step + 1))
        state["mu_product"] = rounded(state["mu_product"] * rounded(mu))
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        below = (state["exp_avg_sq"] / complement(second, step)).sqrt() + group["eps"]
        add_ratio(p, gradient, below, -lr * (1.0 - mu) / (1.0 - state["mu_product"]))
        add_ratio(p, state["exp_avg"], below, -lr * after / (1.0 - state["mu_product"] * after))

    def _begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "mu_product": 1.0, "exp_avg": zeros_of(p), "exp_avg_sq": zeros_of(p)}


class RAdam(Optimizer):
    """Adam with the variance of its step size rectified (Liu et al., 2020)."""

    def __init__(
        self, params: Any = None, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, decoupled_weight_decay: bool = False, *, foreach: Any = None, maximize: bool = False,
        capturable: bool = False, differentiable: bool = False,
    ) -> None:
        check_at_least_zero(lr, "learning rate")
        check_at_least_zero(eps, "epsilon value")
        _check_betas(betas)
        check_at_least_zero(weight_decay, "weight_decay value")
        super().__init__(params, _options(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize, foreach=foreach,
            capturable=capturable, decoupled_weight_decay=decoupled_weight_decay, differentiable=differentiable,
        ))

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        state["step"] += 1
        step = state["step"]
        gradient = _decayed(p, gradient, group)
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        correction = complement(second, step)
        longest = 2 / (1 - second) - 1
        length = rectified_length(second, step)
        update = state["exp_avg"] / complement(first, step) * group["lr"]
        kept = larger(length, 5.0)
        factor = (kept - 4) * (kept - 2) * longest / ((longest - 4) * (longest - 2) * kept)
        if isinstance(length, Tensor) or length > 5.0:
            rectified = update * (root(correction) / (state["exp_avg_sq"].sqrt() + group["eps"])) * root(factor)
            update = chosen(length > 5.0, rectified, update)
        p.sub_(update)

    def _begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "exp_avg": zeros_of(p), "exp_avg_sq": zeros_of(p)}


class Adadelta(Optimizer):
    """Adadelta (Zeiler, 2012)."""

    def __init__(
        self, params: Any = None, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
        foreach: Any = None, *, capturable: bool = False, maximize: bool = False, differentiable: bool = False,
    ) -> None:
        check_at_least_zero(lr, "learning rate")
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_at_least_zero(eps, "epsilon value")
        check_at_least_zero(weight_decay, "weight_decay value")
        super().__init__(params, _options(
            lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize, capturable=capturable,
            foreach=foreach, differentiable=differentiable,
        ))

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"] += 1
        rho, eps = group["rho"], group["eps"]
        gradient = _decayed(p, gradient, group)
        state["square_avg"].mul_(rho).addcmul_(gradient, gradient, value=1 - rho)
        delta = (state["acc_delta"] + eps).sqrt() / (state["square_avg"] + eps).sqrt() * gradient
        state["acc_delta"].mul_(rho).addcmul_(delta, delta, value=1 - rho)
        add_scaled(p, delta, -group["lr"])

    def _begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "square_avg": zeros_of(p), "acc_delta": zeros_of(p)}


class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller & Braun, 1993): a step size for every element, by the gradient's sign."""

    def __init__(
        self, params: Any = None, lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: Any = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:
        check_at_least_zero(lr, "learning rate")
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, _options(
            lr=lr, etas=etas, step_sizes=step_sizes, foreach=foreach, maximize=maximize, differentiable=differentiable,
            capturable=capturable,
        ))

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"] += 1
        smaller, larger = group["etas"]
        low, high = group["step_sizes"]
        agreement = gradient * state["prev"]
        factor = where(agreement > 0, larger, where(agreement < 0, smaller, agreement * 0 + 1))
        state["step_size"].copy_((state["step_size"] * factor).clamp(low, high))
        kept = where(agreement < 0, 0.0, gradient)
        p.sub_(kept.sign() * state["step_size"])  # type: ignore[attr-defined]
        state["prev"].copy_(kept)

    def _begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "prev": zeros_of(p), "step_size": zeros_of(p) + group["lr"]}


class ASGD(Optimizer):
    """Averaged stochastic gradient descent (Polyak & Juditsky, 1992); the average is state "ax"."""

    def __init__(
        self, params: Any = None, lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0, foreach: Any = None, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_at_least_zero(lr, "learning rate")
        check_at_least_zero(weight_decay, "weight_decay value")
        super().__init__(params, _options(
            lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, foreach=foreach, maximize=maximize,
            differentiable=differentiable, capturable=capturable,
        ))

    def _update(self, p: Any, gradient: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"] += 1
        gradient = _decayed(p, gradient, group)
        p.mul_(1 - group["lambd"] * state["eta"])
        add_scaled(p, gradient, -state["eta"])
        average = state["ax"] + (p - state["ax"]) * state["mu"]
        state["ax"].copy_(chosen(state["mu"] == 1, p, average))
        step, lr = state["step"], group["lr"]
        state["eta"] = rounded(lr / (1 + group["lambd"] * lr * step) ** group["alpha"])
        state["mu"] = rounded(1 / larger(step - group["t0"], 1))

    def _begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "eta": rounded(group["lr"]), "mu": 1.0, "ax": zeros_of(p)}
