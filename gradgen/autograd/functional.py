"""torch.autograd.functional: jacobian, hessian, and products with them, by repeated backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradgen.eager import internal
from gradgen.eager.backward import grad
from gradgen.eager.modes import enable_grad
from gradgen.eager.subscripts import stack_rows
from gradgen.eager.tensor import Tensor


def _arguments(inputs: Any, create_graph: bool) -> tuple[tuple[Tensor, ...], bool]:
    single = isinstance(inputs, Tensor)
    given = (inputs,) if single else tuple(inputs)
    if create_graph:
        return tuple(internal.clone(x) if x.requires_grad else x.detach().requires_grad_() for x in given), single
    return tuple(x.detach()._alone().requires_grad_() for x in given), single


def _outputs(outputs: Any) -> tuple[tuple[Tensor, ...], bool]:
    return ((outputs,), True) if isinstance(outputs, Tensor) else (tuple(outputs), False)


def _gradients(
    outputs: tuple[Tensor, ...], wrt: tuple[Tensor, ...], weights: list[Any] | None, create_graph: bool
) -> tuple[Tensor, ...]:
    """As `grad`, with zeros for what depends on none of the inputs."""
    used = [k for k, o in enumerate(outputs) if o.requires_grad]
    if not used:
        return tuple(internal.filled(x._spec, 0) for x in wrt)
    chosen = None if weights is None else [weights[k] for k in used]
    found: Any = grad([outputs[k] for k in used], wrt, chosen, create_graph=create_graph, materialize_grads=True)
    return tuple(found)


def jacobian(func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False) -> Any:
    """d func / d inputs: of shape output.shape + input.shape, nested like outputs and inputs."""
    with enable_grad():
        wrt, single_in = _arguments(inputs, create_graph)
        outs, single_out = _outputs(func(*wrt))
        rows = tuple(_jacobian_of(out, wrt, create_graph) for out in outs)
    nested = tuple(row[0] if single_in else row for row in rows)
    return nested[0] if single_out else nested


def _jacobian_of(out: Tensor, wrt: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    flat: Any = out.reshape((-1,))  # type: ignore[attr-defined]
    count = out.numel()
    columns: list[list[Tensor]] = [[] for _ in wrt]
    for k in range(count):
        found: Any = [None] * len(wrt)
        if flat[k].requires_grad:
            found = grad(flat[k], wrt, retain_graph=True, create_graph=create_graph, allow_unused=True)
        for column, g, x in zip(columns, found, wrt):
            column.append(internal.filled(x._spec, 0) if g is None else g)
    shape = tuple(out.shape)
    return tuple(
        stack_rows(c).reshape((*shape, *x.shape)) if c else internal.filled(x._spec, 0).reshape((*shape, *x.shape))  # type: ignore[attr-defined]
        for c, x in zip(columns, wrt)
    )


def hessian(func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False) -> Any:
    """Second derivatives of a scalar function: of shape input.shape + input.shape."""
    single = isinstance(inputs, Tensor)

    def gradient(*args: Tensor) -> Any:
        out = func(*args)
        if not isinstance(out, Tensor) or out.numel() != 1:
            raise RuntimeError("The Tensor returned by the function given to hessian should contain a single element")
        found = _gradients((out.reshape(()),), args, None, True)  # type: ignore[attr-defined]
        return found[0] if single else found

    return jacobian(gradient, inputs, create_graph)


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(outputs, v^T J)."""
    with enable_grad():
        wrt, single = _arguments(inputs, create_graph)
        outputs = func(*wrt)
        outs, _ = _outputs(outputs)
        weights = None if v is None else list(_outputs(v)[0])
        found = _gradients(outs, wrt, weights, create_graph)
    kept = outputs if create_graph else _detached(outputs)
    return kept, found[0] if single else found


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(outputs, J v), by differentiating the vector-Jacobian product (the double-backward trick)."""
    with enable_grad():
        wrt, _ = _arguments(inputs, create_graph)
        outputs = func(*wrt)
        outs, single_out = _outputs(outputs)
        dummies = [internal.filled(o._spec, 0).detach()._alone().requires_grad_() for o in outs]
        pulled = _gradients(outs, wrt, dummies, True)
        tangents = [internal.filled(x._spec, 1) for x in wrt] if v is None else list(_outputs(v)[0])
        used = [(p, t) for p, t in zip(pulled, tangents) if p is not None and p.requires_grad]
        found = (
            grad([p for p, _ in used], dummies, [t for _, t in used], create_graph=create_graph, materialize_grads=True)
            if used
            else tuple(internal.filled(o._spec, 0) for o in outs)
        )
    kept = outputs if create_graph else _detached(outputs)
    return kept, found[0] if single_out else found


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """(outputs, H v) of a scalar function."""
    return _hessian_product(func, inputs, v, create_graph)


vhp = hvp  # the Hessian is symmetric


def _hessian_product(func: Callable[..., Any], inputs: Any, v: Any, create_graph: bool) -> Any:
    with enable_grad():
        wrt, single = _arguments(inputs, create_graph)
        out = func(*wrt)
        first = _gradients((out,), wrt, None, True)
        tangents = [internal.filled(x._spec, 1) for x in wrt] if v is None else list(_outputs(v)[0])
        used = [(g, t) for g, t in zip(first, tangents) if g is not None and g.requires_grad]
        found = (
            grad([g for g, _ in used], wrt, [t for _, t in used], create_graph=create_graph, materialize_grads=True)
            if used
            else tuple(internal.filled(x._spec, 0) for x in wrt)
        )
    kept = out if create_graph else _detached(out)
    return kept, found[0] if single else found


def _detached(outputs: Any) -> Any:
    return outputs.detach() if isinstance(outputs, Tensor) else tuple(o.detach() for o in outputs)
