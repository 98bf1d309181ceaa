"""Masks whose values are not known while a function is traced: `y[m]` and `y[m] = v`.

How many elements such a mask selects is decided at run time, so `y[m]` is kept dense: every element of y stands at its place,
and the tensor knows the mask (`Tensor._selection`).  It can go through operations that treat all elements alike, and be
assigned where the same mask selects: `y[m] = 0.2 * y[m]` is one choice per element.  Whatever needs the number or the order
of the selected elements is a TraceError.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gradgen.eager.apply as recording
from gradgen.eager.apply import Plan
from gradgen.eager.tensor import Tensor
from gradgen.errors import TraceError
from gradgen.ir import dtypes
from gradgen.ir.functions import select
from gradgen.ir.graph import topological
from gradgen.ir.indexing import reshape_index
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read, identity_read
from gradgen.ir.symbols import Extent, axes, axis, placeholder, same_extent
from gradgen.ops.registry import KEEP, Op, broadcast_read, broadcast_shapes
from gradgen.record.pullbacks import lower_on
from gradgen.record.records import Record, is_traced
from gradgen.record.user_lines import users_line


class Selection(NamedTuple):
    """Which elements a dense tensor stands for: those where `mask` is true, which covers `count` axes from `dim` on.

    In front, where nothing broadcasts beyond them, the axes stay; behind other axes they are one.
    """

    mask: Record
    dim: int
    count: int


class Selected(Tensor):
    """A tensor of the elements that a traced mask selects; its extents are not known."""

    @property
    def ndim(self) -> int:
        return len(self._spec.shape) + 1 - self._selection.count

    def dim(self) -> int:
        return self.ndim

    @property
    def shape(self) -> Any:
        raise _unknown("the shape")

    def size(self, dim: int | None = None) -> Any:
        raise _unknown("size()")

    def numel(self) -> Any:
        raise _unknown("numel()")


def _unknown(what: str) -> TraceError:
    return TraceError(
        f"{what} of what a mask selects is known at run time only: the mask's values decide it",
        where=users_line(),
        hint="operations on single elements and assignment by the same mask are possible (y[m] = 0.2 * y[m]); for a sum or a "
        "mean use where(m, y, 0).sum() and m.sum()",
    )


def is_open(index: Any) -> bool:
    """Whether an index is a mask whose values are not known."""
    if not isinstance(index, Tensor) or index.dtype is not dtypes.bool_:
        return False
    record = index._record
    return record.value is None and is_traced(record)


def _choice(node: Node, value: Node, mask: Node, dim: int) -> Node:
    """`node` with `value` where `mask`, which covers the axes from `dim` on, is true."""
    at = [axis(dim + k) for k in range(mask.ndim)]
    if broadcast_shapes(node.shape, value.shape) != tuple(node.shape):
        raise RuntimeError(f"shape mismatch: {list(value.shape)} does not broadcast to {list(node.shape)}")
    reads = [identity_read(node), broadcast_read(value, node.shape), Read(mask, at)]
    return Compute(node.shape, select(placeholder(2), placeholder(1), placeholder(0)), reads, node.dtype)


PUT_WHERE = Op("index_put_where", _choice, "IndexPutBackward0", KEEP)


def check_mask(mask: Tensor, shape: tuple[Extent, ...], dim: int) -> None:
    """IndexError where the mask's extents are not those of the axes that it indexes."""
    for k, extent in enumerate(mask._spec.shape):
        if not same_extent(extent, shape[dim + k]):
            raise IndexError(
                f"The shape of the mask {list(mask._spec.shape)} at index {k} does not match the shape of the indexed "
                f"tensor {list(shape)} at index {dim + k}"
            )


def selected(view: Tensor, dim: int, mask: Tensor) -> Tensor:
    """`view[..., mask]`, dense."""
    refuse_selected(view, "an index")
    if not mask.ndim:
        raise _unknown("the number of elements")
    dense: Tensor = recording.apply(DENSE, (view,), {"dim": dim, "count": mask.ndim if dim else 1})
    dense.__class__ = Selected
    dense._selection = Selection(mask._record, dim, 1 if dim else mask.ndim)
    return dense


def _dense(node: Node, dim: int, count: int) -> Node:
    """The node with `count` axes from `dim` on as one."""
    if count == 1:
        return Compute(node.shape, placeholder(0), [identity_read(node)], node.dtype)
    return _reshaped(node, _flat(node.shape, dim, count))


DENSE = Op("index_where", _dense, "IndexBackward0", KEEP)


def _flat(shape: tuple[Extent, ...], dim: int, count: int) -> tuple[Extent, ...]:
    total: Extent = 1
    for extent in shape[dim : dim + count]:
        total = total * extent
    return (*shape[:dim], total, *shape[dim + count :])


def assigned(view: Tensor, dim: int, mask: Tensor, value: Tensor) -> Tensor:
    """`view` with `value` where the mask is true, with history."""
    refuse_selected(view, "an index")
    shape, covered = view._spec.shape, mask.ndim
    rest = len(shape) - dim - covered
    own = value._spec.shape
    chosen = value._selection
    if chosen is not None:
        if chosen.dim != dim or not same(chosen.mask, mask._record) or own != (_flat(shape, dim, covered) if dim else shape):
            raise TraceError("what one mask selects is assigned where another does: their numbers of elements may differ",
                             where=users_line(), hint="use where(), or the mask that selected the values")
        value = recording.apply(SPREAD, (_plain(value),), {"shape": shape})
    elif len(own) > rest:
        at = len(own) - rest - 1
        if not same_extent(own[at], 1):
            raise TraceError(
                f"a value of shape {list(own)} is assigned to as many elements as a mask selects, which is known at run time "
                "only",
                where=users_line(), hint="assign a number, a value of extent 1 there, or where(mask, value, y)",
            )
        value = recording.apply(SPREAD, (value,), {"shape": (*own[:at], *(1 for _ in range(covered)), *own[at + 1 :])})
    try:
        return recording.apply(PUT_WHERE, (view, value, mask), {"dim": dim})
    except (RuntimeError, IndexError):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(own)} cannot be broadcast to indexing result of shape "
            f"{list(_flat(shape, dim, covered))}"
        ) from None


def _spread(node: Node, shape: tuple[Extent, ...]) -> Node:
    return node if node.shape == shape else _reshaped(node, shape)


def _reshaped(node: Node, shape: tuple[Extent, ...]) -> Node:
    return Compute(shape, placeholder(0), [Read(node, reshape_index(axes(len(shape)), shape, node.shape))], node.dtype)


SPREAD = Op("index_spread", _spread, "ReshapeAliasBackward0", KEEP)


def _plain(tensor: Tensor) -> Tensor:
    """The dense tensor, without its selection."""
    found = tensor._alias()
    found.__class__, found._selection = Tensor, None
    found._fn, found._nr, found._requires = tensor._fn, tensor._nr, tensor._requires
    return found


def refuse_selected(tensor: Tensor, what: str) -> None:
    """TraceError where the tensor is what a traced mask selects."""
    if tensor._selection is not None:
        raise _unknown(what)


def selection_of(op: Op, plan: Plan, operands: tuple[Any, ...]) -> Selection | None:
    """The selection of an operation's result.  TraceError where the operation does not treat all elements alike."""
    chosen = [x for x in operands if isinstance(x, Tensor) and x._selection is not None]
    if not chosen:
        return None
    first = chosen[0]._selection
    assert first is not None
    alike = all(x._selection.dim == first.dim and same(x._selection.mask, first.mask) for x in chosen)
    shape = chosen[0]._spec.shape
    if not alike or any(s.shape != shape for s in plan.outs) or not _elementwise(op, plan):
        raise _unknown(f"the result of {op.name}()")
    behind = len(shape) - first.dim - first.count
    for x, spec in zip(operands, plan.ins):
        at = len(spec.shape) - behind - 1
        beyond = at >= 0 and (not same_extent(spec.shape[at], 1) or at > first.dim)
        if not (isinstance(x, Tensor) and x._selection is not None) and beyond:
            raise _unknown(f"an operand of {op.name} beside the elements")
    return first


def _elementwise(op: Op, plan: Plan) -> bool:
    """Whether every element of the result is made of the elements at its own place."""
    for node in topological(lower_on(op, plan.ins, plan.attributes)):
        if isinstance(node, (Input, Constant)):
            continue
        if not isinstance(node, Compute) or node.reducer is not None:
            return False
        for read in node.reads:
            lead = node.ndim - read.source.ndim
            if read.guard or any(e != axis(lead + d) and e != 0 for d, e in enumerate(read.index)):
                return False
    return True


def same(a: Record, b: Record) -> bool:
    """Whether two records say the same: the same operations on the same tensors and numbers."""
    pairs, done = [(a, b)], set()
    while pairs:
        a, b = pairs.pop()
        if a is b or (id(a), id(b)) in done:
            continue
        done.add((id(a), id(b)))
        if a.is_scalar and b.is_scalar and a.dtype is b.dtype and a.value is not None and b.value is not None:
            if a.value.tobytes() != b.value.tobytes():
                return False
            continue
        if a.op is None or a.op is not b.op or a.output != b.output or a.attributes != b.attributes:
            return False
        pairs.extend(zip(a.inputs, b.inputs))
    return True
