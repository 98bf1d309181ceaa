"""scan: a loop over the leading axis that stays a loop in the emitted C, with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradgen.errors import ShapeError, TraceError
from gradgen.frontend.apply import apply
from gradgen.frontend.engine import lower, plan_of
from gradgen.frontend.record import Record, symbol_leaf
from gradgen.frontend.registry import Op
from gradgen.frontend.tensor import Tensor
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Input, Node, Scan
from gradgen.ir.symbols import Extent, dim, same_extent


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | str | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`carry, y_t = step(carry, x_t)` for t = 0 .. length-1; returns the last carry and the y_t stacked.

    `init` (the first carry), `xs` (sliced along their first axis), and what `step` returns are tensors, or tuples, lists
    and dicts of them; `y_t` may be None.  Tensors that `step` uses from outside are constants of the loop and get their
    gradients too.  `step` is traced once.  `length` is needed where there is no `xs`; a name makes it a dimension.
    With `reverse` the steps run from the last slice to the first.
    Raises ShapeError where the carry changes shape or dtype, or the sequences differ in length.
    """
    carries, carry_tree = flatten(init)
    sequences, sequence_tree = flatten(xs)
    count = _length(sequences, length)
    inner_carry = [_symbol(f"carry{k}", tuple(c.shape), c) for k, c in enumerate(carries)]
    inner_slice = [_symbol(f"slice{k}", tuple(x.shape)[1:], x) for k, x in enumerate(sequences)]
    x_t = unflatten(sequence_tree, inner_slice) if sequences else None
    result = step(unflatten(carry_tree, inner_carry), x_t)
    if not isinstance(result, tuple) or len(result) != 2:
        raise TraceError("the step of a scan returns (carry, y)", hint="return carry, None where there is nothing to stack")
    new, new_tree = flatten(result[0])
    stacked, stacked_tree = flatten(result[1])
    _check_carry(carries, new, carry_tree, new_tree)
    graph, outside = _step_graph([*inner_carry, *inner_slice], [*new, *stacked])
    op = _operation(graph, len(carries), len(sequences), count, reverse)
    operands = (*carries, *sequences, *(Tensor._from_record(r) for r in outside))
    results = apply(op, operands, {})
    results = results if isinstance(results, tuple) else (results,)
    last = unflatten(carry_tree, results[: len(carries)])
    return last, unflatten(stacked_tree, results[len(carries) :]) if stacked else None


def flatten(tree: Any) -> tuple[list[Tensor], Any]:
    """The tensors of nested tuples, lists and dicts, and the nesting."""
    if tree is None:
        return [], None
    if isinstance(tree, Tensor):
        return [tree], Tensor
    if isinstance(tree, dict):
        parts = [(k, flatten(v)) for k, v in tree.items()]
        return [t for _, (ts, _) in parts for t in ts], {k: inner for k, (_, inner) in parts}
    if isinstance(tree, (tuple, list)):
        items = [flatten(v) for v in tree]
        return [t for ts, _ in items for t in ts], (type(tree), [inner for _, inner in items])
    raise TraceError(f"expected a tensor, or a tuple, list or dict of tensors, not {type(tree).__name__}")


def unflatten(tree: Any, values: Sequence[Any]) -> Any:
    """The inverse of `flatten`."""
    return _take(tree, iter(values))


def _take(tree: Any, values: Any) -> Any:
    if tree is None:
        return None
    if tree is Tensor:
        return next(values)
    if isinstance(tree, dict):
        return {k: _take(v, values) for k, v in tree.items()}
    kind, items = tree
    parts = [_take(v, values) for v in items]
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def _length(sequences: Sequence[Tensor], length: int | str | None) -> Extent:
    found: Extent | None = dim(length) if isinstance(length, str) else length
    for x in sequences:
        if not len(x.shape):
            raise ShapeError("the sequences of a scan need a leading axis to loop over, one is a scalar")
        extent = tuple(x.shape)[0]
        if found is None:
            found = extent
        elif not same_extent(found, extent):
            raise ShapeError(f"the sequences of a scan have different lengths: {found} and {extent}")
    if found is None:
        raise ShapeError("a scan without sequences needs length=")
    return found


def _symbol(name: str, shape: tuple[Extent, ...], like: Tensor) -> Tensor:
    gradient = like.dtype.is_floating_point
    return Tensor._from_record(symbol_leaf(Input(f"scan_{name}", shape, like.dtype, gradient), requires_grad=gradient))


def _check_carry(old: Sequence[Tensor], new: Sequence[Tensor], old_tree: Any, new_tree: Any) -> None:
    if old_tree != new_tree:
        raise ShapeError("the carry that a scan's step returns is nested otherwise than the first one")
    for k, (a, b) in enumerate(zip(old, new)):
        if len(a.shape) != len(b.shape) or not all(same_extent(x, y) for x, y in zip(a.shape, b.shape)):
            raise ShapeError(f"carry {k} of a scan starts with shape {list(a.shape)}, a step makes it {list(b.shape)}")
        if a.dtype is not b.dtype:
            raise ShapeError(f"carry {k} of a scan starts as {a.dtype.name}, a step makes it {b.dtype.name}")


def _step_graph(inner: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Graph, list[Record]]:
    """The step as a Graph whose inputs are `inner`, then what it uses from outside, which is returned too."""
    own = {t._record for t in inner}
    order, _ = plan_of([t._record for t in outputs])
    dependent: set[Record] = set(own)
    for record in order:
        if any(s in dependent for s in record.inputs):
            dependent.add(record)
    outside: dict[Record, None] = {}
    for record in (*order, *(t._record for t in outputs)):
        operands = record.inputs if record in dependent and record not in own else ()
        for source in operands:
            if source not in dependent:
                outside[source] = None
    for t in outputs:
        if t._record not in dependent:
            outside[t._record] = None
    numbers = [r for r in outside if r.is_scalar and r.value is not None]
    constants = [r for r in outside if r not in set(numbers)]
    inside = [r for r in order if r in dependent]
    nodes, where = lower([*constants, *numbers, *inside], [*own_order(inner), *constants, *numbers], numbers=set(numbers))
    inputs = tuple(nodes[r] for r in (*own_order(inner), *constants))
    names = tuple(f"output{k}" for k in range(len(outputs)))
    return Graph(inputs, tuple(nodes[t._record] for t in outputs), names, where), constants  # type: ignore[arg-type]


def own_order(inner: Sequence[Tensor]) -> list[Record]:
    """The records of the step's own inputs."""
    return [t._record for t in inner]


def _operation(graph: Graph, carries: int, sequences: int, length: Extent, reverse: bool) -> Op:
    def lower_scan(*nodes: Node) -> Node | tuple[Node, ...]:
        init, rest = nodes[:carries], nodes[carries:]
        made = tuple(
            Scan(graph, init, rest[:sequences], rest[sequences:], length, k, reverse) for k in range(len(graph.outputs))
        )
        return made if len(made) > 1 else made[0]

    name = f"scan_{graph.key[:24]}_{carries}_{sequences}_{length}_{int(reverse)}"
    return Op(name, lower_scan, "ScanBackward", outputs=len(graph.outputs))
