"""torch.autograd.gradcheck and gradgradcheck: derivatives against central differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gradgen.eager import internal
from gradgen.eager.backward import grad
from gradgen.eager.modes import enable_grad, no_grad
from gradgen.eager.tensor import Tensor
from gradgen.ir import dtypes


class GradcheckError(RuntimeError):
    """The derivative is not that of the function."""


def _tensors(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, Tensor) else tuple(value)


def _numerical(func: Callable[..., Any], inputs: tuple[Any, ...], x: Any, eps: float) -> list[np.ndarray]:
    """d outputs / d x, a matrix [x.numel(), output.numel()] each."""
    base = np.array(x.detach().numpy())
    rows: list[list[np.ndarray]] = []
    with no_grad():
        for place in np.ndindex(*base.shape):
            found = []
            for sign in (1, -1):
                moved = base.copy()
                moved[place] += sign * eps
                x.data = _like(moved, x)
                found.append([np.array(o.detach().numpy()) for o in _tensors(func(*inputs)) if _differentiable(o)])
            rows.append([(a - b).reshape(-1) / (2 * eps) for a, b in zip(*found)])
        x.data = _like(base, x)
    return [np.stack([row[k] for row in rows]) for k in range(len(rows[0]))] if rows else []


def _like(array: np.ndarray, like: Any) -> Tensor:
    return Tensor._of(np.asarray(array, order="C"), like.dtype)


def _differentiable(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype.is_floating_point


def _analytical(output: Any, x: Any) -> np.ndarray:
    columns = []
    for k in range(output.numel()):
        direction = np.zeros(output.numel(), output.dtype.numpy)
        direction[k] = 1
        weights = _like(direction.reshape(tuple(output.shape)), output)
        found = None
        if output.requires_grad:
            found = grad(output, x, weights, retain_graph=True, allow_unused=True)[0]
        columns.append(np.zeros(x.numel()) if found is None else np.array(found.detach().numpy()).reshape(-1))  # type: ignore[attr-defined]
    return np.stack(columns, 1) if columns else np.zeros((x.numel(), 0))


def gradcheck(
    func: Callable[..., Any], inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
    raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False, check_batched_grad: bool = False, check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False, check_backward_ad: bool = True, fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether backward gives the derivatives that central differences of step `eps` give, within atol + rtol |numerical|,
    for every input (of float64, to make sense) that requires a gradient.

    Raises GradcheckError where not, unless raise_exception is False; ValueError where no input requires a gradient.
    """
    given = _tensors(inputs)
    wanted = [(k, x) for k, x in enumerate(given) if _differentiable(x) and x.requires_grad]
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
    for position, x in wanted:
        if x.dtype is not dtypes.float64:
            warnings.warn(
                f"Input #{position} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ", stacklevel=2)
    differences = [_numerical(func, given, x, eps) for _, x in wanted]
    outputs = [o for o in _tensors(func(*given)) if _differentiable(o)]
    if not any(o.requires_grad for o in outputs):
        if not any(matrix.any() for found in differences for matrix in found):
            return True
        if not raise_exception:
            return False
        raise GradcheckError("Numerical gradient for function expected to be zero")
    for (position, x), numerical in zip(wanted, differences):
        for number, (output, expected) in enumerate(zip(outputs, numerical)):
            mine = _analytical(output, x)
            if np.allclose(mine, expected, rtol=rtol, atol=atol):
                continue
            if not raise_exception:
                return False
            raise GradcheckError(
                f"Jacobian mismatch for output {number} with respect to input {position},\n"
                f"numerical:{_like(expected, x)}\nanalytical:{_like(mine.astype(expected.dtype), x)}\n"
            )
    return True


def gradgradcheck(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6, atol: float = 1e-5,
    rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True,
    nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
    check_batched_grad: bool = False, check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True,
    fast_mode: bool = False, masked: bool = False,
) -> bool:
    """gradcheck of the gradients themselves, weighted by grad_outputs (drawn where not given)."""
    given = _tensors(inputs)
    outputs = [o for o in _tensors(func(*given)) if _differentiable(o)]
    if grad_outputs is None:
        draw = np.random.default_rng(0)
        weights = tuple(
            _like(draw.standard_normal(tuple(o.shape)).astype(o.dtype.numpy), o).requires_grad_() for o in outputs
        )
    else:
        weights = _tensors(grad_outputs)
    count = len(weights)

    def gradients(*args: Any) -> Any:
        own, directions = args[:-count], args[-count:]
        with enable_grad():
            made = [o for o in _tensors(func(*own)) if _differentiable(o)]
            wrt = [x for x in own if _differentiable(x) and x.requires_grad]
            found = grad(made, wrt, list(directions), create_graph=True, allow_unused=True)
        return tuple(internal.filled(x._spec, 0) if g is None else g for g, x in zip(found, wrt))

    return gradcheck(gradients, (*given, *weights), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)
