"""scan: a loop over the leading axis that stays a loop in the emitted C, with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradgen.eager.apply import apply
from gradgen.eager.callers import EAGER
from gradgen.eager.drawing import Source, drawing_from, states_by_step
from gradgen.eager.tensor import Tensor
from gradgen.errors import ShapeError, TraceError
from gradgen.ir.draws import STATE
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Node, Scan
from gradgen.ir.symbols import Extent, dim, same_extent
from gradgen.ops.registry import Op
from gradgen.trace.border import Border
from gradgen.trace.closure import closed_graph, flatten, hoisted, operation, symbol, unflatten


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
    gradients too.  `step` is traced once; random numbers that it draws are others in each step.  `length` is needed
    where there is no `xs`; a name makes it a dimension.
    With `reverse` the steps run from the last slice to the first.
    The gradient keeps, of every step, the carry and what is dear to compute again.  Where that would be more than 64 MB,
    a scan of scans keeps much less: of an inner scan only what it started from, its steps being computed once more.
    Raises ShapeError where the carry changes shape or dtype, or the sequences differ in length.
    """
    carries, carry_tree = flatten(init)
    sequences, sequence_tree = flatten(xs)
    count = _length(sequences, length)
    source = Source(None)
    with Border(step) as border, drawing_from(source):
        inner_carry = [symbol(f"scan_carry{k}", tuple(c.shape), c) for k, c in enumerate(carries)]
        inner_slice = [symbol(f"scan_slice{k}", tuple(x.shape)[1:], x) for k, x in enumerate(sequences)]
        own = [t._record for t in (*inner_carry, *inner_slice)]
        source.state = random = symbol("scan_random", (2,), STATE)
        result = step(unflatten(carry_tree, inner_carry), unflatten(sequence_tree, inner_slice) if sequences else None)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TraceError("the step of a scan returns (carry, y)",
                             hint="return carry, None where there is nothing to stack")
        new, new_tree = flatten(result[0])
        stacked, stacked_tree = flatten(result[1])
        _check_carry(carries, new, carry_tree, new_tree)
        results = [border.result(t) for t in (*new, *stacked)]
        border.audit((*new, *stacked))
    if source.count:
        sequences = [*sequences, states_by_step(count)]
        own.append(random._record)
    graph, outside = hoisted(*closed_graph(own, results, border), own=len(own))
    op = _operation(graph, len(carries), len(sequences), count, reverse)
    operands = (*carries, *sequences, *outside)
    results = apply(op, operands, {})
    results = results if isinstance(results, tuple) else (results,)
    last = unflatten(carry_tree, results[: len(carries)])
    return last, unflatten(stacked_tree, results[len(carries) :]) if stacked else None


def _length(sequences: Sequence[Tensor], length: int | str | None) -> Extent:
    found: Extent | None = dim(length) if isinstance(length, str) else length
    for x in sequences:
        if not len(x.shape):
            raise ShapeError("the sequences of a scan need a leading axis to loop over, one is a scalar")
        extent = x.shape[0]
        if found is None:
            found = extent
        elif not same_extent(found, extent):
            raise ShapeError(f"the sequences of a scan have different lengths: {found} and {extent}")
    if found is None:
        raise ShapeError("a scan without sequences needs length=")
    return found


def _check_carry(old: Sequence[Tensor], new: Sequence[Tensor], old_tree: Any, new_tree: Any) -> None:
    if old_tree != new_tree:
        raise ShapeError("the carry that a scan's step returns is nested otherwise than the first one")
    for k, (a, b) in enumerate(zip(old, new)):
        if len(a.shape) != len(b.shape) or not all(same_extent(x, y) for x, y in zip(a.shape, b.shape)):
            raise ShapeError(f"carry {k} of a scan starts with shape {list(a.shape)}, a step makes it {list(b.shape)}")
        if a.dtype is not b.dtype:
            raise ShapeError(f"carry {k} of a scan starts as {a.dtype.name}, a step makes it {b.dtype.name}")


def _operation(graph: Graph, carries: int, sequences: int, length: Extent, reverse: bool) -> Op:
    def lower_scan(*nodes: Node) -> Node | tuple[Node, ...]:
        init, rest = nodes[:carries], nodes[carries:]
        made = tuple(
            Scan(graph, init, rest[:sequences], rest[sequences:], length, k, reverse) for k in range(len(graph.outputs))
        )
        return made if len(made) > 1 else made[0]

    name = f"scan_{graph.key[:24]}_{carries}_{sequences}_{length}_{int(reverse)}"
    return operation(name, lower_scan, "ScanBackward", len(graph.outputs))


EAGER.loop = scan
