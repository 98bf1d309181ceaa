"""An autograd.Function in a trace: its forward is recorded as it runs, its backward is traced once beside it.

The result is a `given` node: the value that forward computed, with the derivative that backward says.  Backward is recorded
on symbolic cotangents; what it uses of the trace (saved tensors, attributes of ctx) are operands, so that it can be
differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradgen.eager import internal
from gradgen.eager.apply import apply
from gradgen.eager.inplace import overwrite
from gradgen.eager.modes import enable_grad, state
from gradgen.eager.tensor import Tensor
from gradgen.errors import TraceError
from gradgen.ir.graph import Graph
from gradgen.ir.kernels import Pullback, given
from gradgen.ir.nodes import Node
from gradgen.ops.registry import KEEP, Op
from gradgen.record.records import Record
from gradgen.record.user_lines import users_line
from gradgen.trace.border import Border
from gradgen.trace.closure import closed_graph, symbol

Pull = Callable[..., Sequence[Tensor | None]]
ONCE = "trying to differentiate twice a function that was marked with @once_differentiable"


def with_backward(
    name: str, pull: Pull, arguments: Sequence[Tensor | None], outputs: Sequence[Tensor], dirty: Sequence[Tensor], once: bool,
    materialize: bool
) -> list[Tensor]:
    """`outputs` with the gradients that `pull(*cotangents)` gives, one per argument; None for one that wants no gradient.

    Outputs among `dirty` take the derivative in place.  TraceError for what a graph cannot say.
    """
    if len(outputs) > 1 and not materialize:
        raise TraceError(f"{name}: which gradients are None is known when backward runs, and a trace has none",
                         where=users_line(), hint="leave out ctx.set_materialize_grads(False)")
    if any(t.dtype is not outputs[0].dtype for t in outputs):
        raise TraceError(f"{name}: its results have several floating dtypes, which a trace cannot keep together",
                         where=users_line(), hint="return results of one dtype")
    values = [_value(t) for t in outputs]
    joint = values[0] if len(values) == 1 else _joined(values)
    wanted = [t for t in arguments if t is not None]
    graph, outside, present, own = _backward(name, pull, arguments, outputs, once or len(outputs) > 1)
    slots = [1 + k for k, there in enumerate(present) if there]
    saved = tuple(-1 if k in own else 1 + len(wanted) + k for k in range(len(outside)))
    why = ONCE if once else ""
    if own and len(outputs) > 1:
        why = f"{name} saves one of several results, whose second derivative a trace does not know"
    pullback = Pullback(graph, tuple(slots), saved, why)

    def lower(value: Node, *operands: Node) -> Node:
        return given(value, operands, pullback)

    key = graph.key[:24]
    op = Op(f"function_{name}_{key}_{slots}_{saved}_{int(bool(why))}", lower, f"{name}Backward", KEEP)
    kept = [joint if k in own else t for k, t in enumerate(outside)]
    result = apply(op, (joint, *wanted, *kept))
    parts = [result] if len(values) == 1 else _parted(result, values)
    return [overwrite(t, part) if any(t is d for d in dirty) else part for t, part in zip(outputs, parts)]


def _value(tensor: Tensor) -> Tensor:
    """The value alone: an operand whose derivative is the user's business."""
    found = tensor.detach()
    return internal.clone(found)


def _joined(values: Sequence[Tensor]) -> Tensor:
    from gradgen.eager import namespace

    cat: Any = namespace.functions()["cat"]
    joined: Tensor = cat([v.reshape(-1) for v in values])  # type: ignore[attr-defined]
    return joined


def _parted(joint: Tensor, values: Sequence[Tensor]) -> list[Tensor]:
    parts, start = [], 0
    for v in values:
        length = v.numel()
        parts.append(joint.narrow(0, start, length).clone().view(v.shape))  # type: ignore[attr-defined]
        start += length
    return parts


def _backward(
    name: str, pull: Pull, arguments: Sequence[Tensor | None], outputs: Sequence[Tensor], joined: bool
) -> tuple[Graph, list[Tensor], list[bool], set[int]]:
    """Backward as a graph of the (joint) cotangent and tensors from outside; for which arguments it gives a gradient; the
    positions of those tensors that are the result itself."""
    wanted = [t for t in arguments if t is not None]
    with Border(pull) as border, enable_grad():
        values = [_value(t) for t in outputs]
        like = values[0] if len(values) == 1 else _joined(values)
        cotangent = symbol("cotangent", tuple(like._spec.shape), like)
        seed = cotangent._record
        found = pull(*([cotangent] if len(outputs) == 1 else _parted(cotangent, values)))
        gradients = [g for t, g in zip(arguments, found) if t is not None]
        fitted = [None if g is None else _fitted(name, g, t, k) for k, (g, t) in enumerate(zip(gradients, wanted))]
        records: list[Record] = [border.result(g) for g in fitted if g is not None]
        border.audit([g for g in fitted if g is not None])
    graph, outside = closed_graph([seed], records, border)
    own = {k for k, t in enumerate(outside) if any(t is o or _same_place(t, o) for o in outputs)}
    return graph, outside, [g is not None for g in fitted], own if len(outputs) == 1 else set()


def _same_place(a: Tensor, b: Tensor) -> bool:
    return a._cell is b._cell and a._chain == b._chain


def _fitted(name: str, gradient: Tensor, argument: Tensor, position: int) -> Tensor:
    """The gradient in the shape and dtype of the argument."""
    wanted = argument._spec
    if gradient._spec.shape != wanted.shape:
        if not internal.expandable(wanted.shape, gradient._spec.shape):
            raise RuntimeError(
                f"Function {name}Backward returned an invalid gradient at index {position} - got "
                f"{list(gradient._spec.shape)} but expected shape compatible with {list(wanted.shape)}"
            )
        gradient = internal.sum_to(gradient, wanted.shape)
    return internal.to_dtype(gradient, wanted.dtype)


def tracing() -> bool:
    """Whether a function is being recorded."""
    return state.border is not None
