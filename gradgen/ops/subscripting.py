"""What `x[...]` and `x[...] = v` lower to: slices, elements, new axes; gathers by index tensors and writes through them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import sympy

from gradgen.ir.canonical import compute
from gradgen.ir.functions import lt, select
from gradgen.ir.minima import greatest, least
from gradgen.ir.nodes import Compute, Constant, Node, Read, Scatter
from gradgen.ir.symbols import Extent, as_extent, axes, axis, placeholder, same_extent
from gradgen.ops.registry import KEEP, Op, broadcast_shapes
from gradgen.ops.requirements import settled


def _select(node: Node, dim: int, index: int) -> Node:
    at: list[Any] = [axis(d if d < dim else d - 1) for d in range(node.ndim)]
    at[dim] = sympy.Integer(index) if index >= 0 else sympy.sympify(node.shape[dim]) + index
    return Compute([e for d, e in enumerate(node.shape) if d != dim], placeholder(0), [Read(node, at)], node.dtype)


def _slice(node: Node, dim: int, start: int, length: Extent, step: int) -> Node:
    at: list[Any] = [axis(d) for d in range(node.ndim)]
    at[dim] = axis(dim) * step + start
    shape = [length if d == dim else e for d, e in enumerate(node.shape)]
    return Compute(shape, placeholder(0), [Read(node, at)], node.dtype)


def _new_axis(node: Node, dim: int) -> Node:
    at = [axis(d if d < dim else d + 1) for d in range(node.ndim)]
    return Compute((*node.shape[:dim], 1, *node.shape[dim:]), placeholder(0), [Read(node, at)], node.dtype)


def _alias(node: Node) -> Node:
    return Compute(node.shape, placeholder(0), [Read(node, [axis(d) for d in range(node.ndim)])], node.dtype)


SELECT = Op("index_select_one", _select, "SelectBackward0", KEEP, view=True)
SLICE = Op("index_slice", _slice, "SliceBackward0", KEEP, view=True)
NEW_AXIS = Op("index_new_axis", _new_axis, "UnsqueezeBackward0", KEEP, view=True)
ALIAS = Op("index_alias", _alias, "AliasBackward0", KEEP, view=True)


def _places(ndim: int, dims: tuple[int, ...], rank: int) -> tuple[int, list[Any]]:
    """Where the result's index axes go (PyTorch's and NumPy's rule), and the index of the axes not indexed."""
    adjacent = all(b - a == 1 for a, b in pairwise(dims))
    first = dims[0] if adjacent else 0
    rest = [d for d in range(ndim) if d not in dims]
    at: list[Any] = [None] * ndim
    for position, d in enumerate(rest):
        at[d] = axis(position if position < first else position + rank)
    return first, at


def _index_reads(
    indices: Sequence[Node], shape: Sequence[Extent], first: int, rank: int, offset: int = 0
) -> list[Read]:
    """The index tensors, read over the index axes of the result."""
    reads = []
    for node in indices:
        lead = rank - node.ndim
        reads.append(
            Read(
                node,
                [
                    sympy.Integer(0)
                    if same_extent(e, 1) and not same_extent(shape[lead + d], 1)
                    else axis(first + lead + d)
                    for d, e in enumerate(node.shape)
                ],
            )
        )
    return reads


def _wrapped(k: int, extent: Extent) -> sympy.Expr:
    """A negative index counts from the end."""
    a = placeholder(k)
    return select(lt(a, 0), a + extent, a)


def _gather(node: Node, *indices: Node, dims: tuple[int, ...]) -> Node:
    """node[..., i, j, ...] with index tensors for the axes `dims`, broadcast against each other."""
    shape = _broadcast([i.shape for i in indices])
    first, at = _places(node.ndim, dims, len(shape))
    reads = _index_reads(indices, shape, first, len(shape))
    for k, d in enumerate(dims):
        counted = progression(indices[k], node.shape[d])
        at[d] = placeholder(k) if counted is None else counted.xreplace(dict(zip(axes(indices[k].ndim), reads[k].index)))
    rest = [e for d, e in enumerate(node.shape) if d not in dims]
    result = (*rest[:first], *shape, *rest[first:])
    return compute(result, placeholder(len(indices)), [*reads, Read(node, at)], node.dtype)


def progression(node: Node, extent: Extent) -> sympy.Expr | None:
    """What an index tensor that counts (`arange`) says as an expression over its axes, if it stays below `extent`.

    Such an index is a slice: its derivative needs no scatter, and nothing is checked at run time.
    """
    if isinstance(node, Compute) and node.reducer is None:
        if not node.reads and node.body in axes(node.ndim):  # arange(N) in a trace
            k = axes(node.ndim).index(node.body)
            return node.body if same_extent(node.shape[k], extent) else None
        if node.body == placeholder(0) and len(node.reads) == 1 and not node.reads[0].guard:
            inner = node.reads[0]
            found = progression(inner.source, extent)
            return None if found is None else found.xreplace(dict(zip(axes(inner.source.ndim), inner.index)))
        return None
    if not isinstance(node, Constant) or not isinstance(extent, int) or not node.array.size:
        return None
    long = [d for d, e in enumerate(node.array.shape) if e > 1]
    values = node.array.reshape(-1)
    steps = np.diff(values)
    if len(long) != 1 or values.min() < 0 or values.max() >= extent or not (steps == steps[0]).all():
        return None
    return int(values[0]) + int(steps[0]) * axis(long[0])


def _put(node: Node, values: Node, *indices: Node, dims: tuple[int, ...], accumulate: bool) -> Node:
    """node with the elements at the indices replaced by `values`, or increased."""
    shape = _broadcast([i.shape for i in indices])
    first, at = _places(node.ndim, dims, len(shape))
    reads = _index_reads(indices, shape, first, len(shape))
    for k, d in enumerate(dims):
        at[d] = placeholder(k)
    rest = [e for d, e in enumerate(node.shape) if d not in dims]
    update = (*rest[:first], *shape, *rest[first:])
    lead = len(update) - values.ndim
    fits = lead >= 0 and all(same_extent(e, 1) or same_extent(e, update[lead + d]) for d, e in enumerate(values.shape))
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to indexing "
            f"result of shape {list(update)}"
        )
    given = [
        sympy.Integer(0) if same_extent(e, 1) and not same_extent(update[lead + d], 1) else axis(lead + d)
        for d, e in enumerate(values.shape)
    ]
    return Scatter(
        node.shape,
        node,
        update,
        at,
        placeholder(len(indices)),
        [*reads, Read(values, given)],
        node.dtype,
        mode="add" if accumulate else "set",
    )


def _broadcast(shapes: Sequence[Sequence[Extent]]) -> tuple[Extent, ...]:
    try:
        return broadcast_shapes(*shapes)
    except RuntimeError:
        texts = ", ".join(str(list(s)) for s in shapes)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {texts}"
        ) from None


def _wrap_negative(node: Node, extent: int) -> Node:
    return Compute(node.shape, _wrapped(0, extent), [Read(node, [axis(d) for d in range(node.ndim)])], node.dtype)


GATHER = Op("index_gather", _gather, "IndexBackward0", KEEP)
PUT = Op("index_put", _put, "IndexPutBackward0", KEEP)
WRAP = Op("index_wrap", _wrap_negative, "IndexBackward0", KEEP)


def slice_of(extent: Extent, start: int | None, stop: int | None, step: int = 1) -> tuple[Any, Extent]:
    """First element and length of `start:stop:step` of an axis, clamped as Python's slices are; of an axis whose extent is
    a name the bounds count from its ends."""
    if isinstance(extent, int):
        first, last, _ = slice(start, stop).indices(extent)
        length = max(0, -((first - last) // step))
        return (first if length else 0), length
    start = start or 0
    if start == 0 and stop is None and step == 1:
        return 0, extent
    begin = greatest(0, extent + start) if start < 0 else least(start, extent)
    end = extent if stop is None else greatest(0, extent + stop) if stop < 0 else least(stop, extent)
    found = greatest(0, extent - start) if stop is None and start >= 0 else greatest(0, end - begin)
    if step != 1:
        found = sympy.floor((found + step - 1) / step)
    return (sympy.Integer(start) if start >= 0 else begin), settled(as_extent(found))  # of an empty slice nothing is read
