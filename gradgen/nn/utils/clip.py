"""Clipping of gradients, in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gradgen.eager import creation, namespace
from gradgen.eager.modes import no_grad
from gradgen.eager.tensor import Tensor

_stack: Any = namespace.functions()["stack"]
_vector_norm: Any = namespace.functions("linalg")["vector_norm"]


def _gradients(parameters: Any) -> list[Any]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in given if p.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: Any = None
) -> Tensor:
    """The norm of all tensors as one vector: the norm of their norms, 0-d.

    RuntimeError where it is nan or infinite and `error_if_nonfinite`.
    """
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    order = float(norm_type)
    if not given:
        return creation.tensor(0.0)
    norms = [_vector_norm(g, order) for g in given]
    total: Any = _vector_norm(_stack(norms), order)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be clipped. To "
            "disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    found: Tensor = total
    return found


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: Any = None
) -> None:
    """Scales the gradients by max_norm / (total_norm + 1e-6) where that is below 1."""
    with no_grad():
        norm: Any = total_norm
        factor = (float(max_norm) / (norm + 1e-6)).clamp(max=1.0)
        for g in _gradients(parameters):
            g.mul_(factor)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: Any = None,
) -> Tensor:
    """Scales the gradients of `parameters` so that their norm, taken together, is at most max_norm.

    Returns the norm from before, 0-d.  RuntimeError where it is nan or infinite and `error_if_nonfinite`.
    """
    kept = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    with no_grad():
        total = get_total_norm(_gradients(kept), norm_type, error_if_nonfinite)
        clip_grads_with_norm_(kept, max_norm, total)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: Any = None) -> None:
    """Clamps every element of the gradients to [-clip_value, clip_value]."""
    bound = float(clip_value)
    with no_grad():
        for g in _gradients(parameters):
            g.clamp_(min=-bound, max=bound)
