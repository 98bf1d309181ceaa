"""Joining and cutting: cat, stack, split, chunk, unbind and their relatives, as guarded reads and slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sympy

from gradgen.ir import dtypes
from gradgen.ir.guards import EQ, Condition, conjunction, in_range
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.packed import one_of
from gradgen.ir.symbols import Extent, axis, placeholder, same_extent
from gradgen.ops.axis_counts import Axes
from gradgen.ops.registry import KEEP, PROMOTE, Op, broadcast_shapes, register
from gradgen.ops.requirements import decided_parts, dim_hint, is_whole, possible_sizes, require, settled
from gradgen.ops.samples import one, plain, sample, t
from gradgen.ops.shape import atleast_1d, atleast_2d, atleast_3d, taken, view_node
from gradgen.ops.shapes import known, shape_text, wrap_dim
from gradgen.ops.table import call, is_tensor, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Tensors = Sequence[Any]


def _joined(nodes: Sequence[Node], dim: int, sizes: Sequence[Extent], lead: bool) -> Node:
    """Parts one after another along `dim`: each read where it lies, and all summed; `lead` for a new axis."""
    total: Extent = 0
    reads, starts = [], []
    first = nodes[0]
    for size in sizes:
        starts.append(total)
        total = known(total + size)
    for node, start, size in zip(nodes, starts, sizes):
        place = axis(dim) - start
        guard = conjunction(Condition(EQ, place)) if lead else conjunction(*in_range(place, size))
        if guard is None:
            continue
        if lead:
            index = [axis(d if d < dim else d + 1) for d in range(node.ndim)]
        else:
            index = [place if d == dim else axis(d) for d in range(node.ndim)]
        reads.append(Read(node, index, guard))
    shape = (*first.shape[:dim], total, *first.shape[dim + (0 if lead else 1):])
    return one_of(shape, reads, first.dtype)


def _lower_cat(*nodes: Node, dim: int) -> Node:
    kept = [n for n in nodes if not (n.ndim == 1 and same_extent(n.shape[0], 0))]  # torch skips empty vectors
    if not kept:
        return nodes[0]
    first = kept[0]
    for k, n in enumerate(kept):
        if n.ndim != first.ndim:
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {first.ndim} and {n.ndim}"
            )
        for d in range(n.ndim):
            if d != dim and not same_extent(n.shape[d], first.shape[d]):
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {first.shape[d]} but "
                    f"got size "
                    f"{n.shape[d]} for tensor number {k} in the list.{dim_hint(n.shape[d], first.shape[d])}"
                )
    return _joined(kept, dim, [n.shape[dim] for n in kept], False)


def _lower_stack(*nodes: Node, dim: int) -> Node:
    for k, n in enumerate(nodes):
        if n.ndim != nodes[0].ndim or not all(same_extent(a, b) for a, b in zip(n.shape, nodes[0].shape)):
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {shape_text(nodes[0].shape)} at entry 0 and "
                f"{shape_text(n.shape)} at entry {k}{dim_hint(*n.shape, *nodes[0].shape)}"
            )
    return _joined(nodes, dim, [1] * len(nodes), True)


_cat = register(Op("cat", _lower_cat, "CatBackward0", PROMOTE))
_stack = register(Op("stack", _lower_stack, "StackBackward0", PROMOTE))


def _listed(tensors: Any, name: str) -> tuple[Any, ...]:
    if is_tensor(tensors):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    found = tuple(tensors)
    for k, x in enumerate(found):
        if not is_tensor(x):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type(x).__name__}")
    return found


@public("", aliases=["concat", "concatenate"], samples=[
    sample((t(2, 3), t(1, 3, seed=1)), 0), one((t(2, 3), t(2, 1, seed=1), t(2, 2, seed=2)), -1), one((t(2),)),
    plain((t(0), t(2, 3)), 0), plain((t(2), t(3, dtype="int64"))), plain((t(0, 3), t(2, 3)), 0),
])
def cat(tensors: Tensors, dim: int = 0) -> Tensor:
    """The tensors one after another along `dim`; their other extents agree."""
    found = _listed(tensors, "cat")
    if not found:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    for k, x in enumerate(found):
        if x.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {k}) cannot be concatenated")
    rank = max(x.ndim for x in found)
    return call(_cat, *found, dim=wrap_dim(dim, rank))


@public("", samples=[sample((t(2, 3), t(2, 3, seed=1)), 0), one((t(2, 3), t(2, 3, seed=1)), 1), one((t(), t(seed=1))),
                     one((t(2), t(2, seed=1), t(2, seed=2)), -1)])
def stack(tensors: Tensors, dim: int = 0) -> Tensor:
    """The tensors, of one shape, along a new axis."""
    found = _listed(tensors, "stack")
    if not found:
        raise RuntimeError("stack expects a non-empty TensorList")
    return call(_stack, *found, dim=wrap_dim(dim, found[0].ndim + 1))


@public("", samples=[one((t(2), t(3, seed=1))), one((t(2, 2), t(2, 1, seed=1)))])
def hstack(tensors: Tensors) -> Tensor:
    """Joined along the second axis, vectors along the first."""
    found = [atleast_1d(x) for x in _listed(tensors, "hstack")]
    return cat(found, 0 if found[0].ndim == 1 else 1)


@public("", aliases=["row_stack"], samples=[one((t(2), t(2, seed=1))), one((t(2, 2), t(1, 2, seed=1)))])
def vstack(tensors: Tensors) -> Tensor:
    """Joined along the first axis, vectors as rows."""
    return cat([atleast_2d(x) for x in _listed(tensors, "vstack")], 0)


@public("", samples=[one((t(2), t(2, seed=1)))])
def dstack(tensors: Tensors) -> Tensor:
    """Joined along the third axis."""
    return cat([atleast_3d(x) for x in _listed(tensors, "dstack")], 2)


@public("", samples=[one((t(2), t(2, seed=1)))])
def column_stack(tensors: Tensors) -> Tensor:
    """Vectors as columns of a matrix."""
    found = [x.reshape(-1, 1) if x.ndim <= 1 else x for x in _listed(tensors, "column_stack")]
    return cat(found, 1)


# --- cutting ---------------------------------------------------------------------------------------------------------


def slice_node(node: Node, dim: int, start: Extent, length: Extent, step: int = 1) -> Compute:
    """`length` elements along `dim` from `start`, every `step`-th."""
    index = [axis(d) * step + start if d == dim else axis(d) for d in range(node.ndim)]
    shape = [length if d == dim else e for d, e in enumerate(node.shape)]
    return view_node(node, shape, index)


def _lower_narrow(node: Node, *, dim: int, start: Extent, length: Extent) -> Node:
    return slice_node(node, dim, start, length)


def _lower_select(node: Node, *, dim: int, index: Extent) -> Compute:
    at: list[Any] = [axis(d if d < dim else d - 1) for d in range(node.ndim)]
    at[dim] = sympy.sympify(index)
    return view_node(node, [e for d, e in enumerate(node.shape) if d != dim], at)


def _lower_split(node: Node, *, dim: int, sizes: tuple[Extent, ...]) -> tuple[Node, ...]:
    parts, start = [], sympy.Integer(0)
    for size in sizes:
        parts.append(taken(slice_node(node, dim, start, size), dim, sizes))
        start = start + size
    return tuple(parts)


def _lower_unbind(node: Node, *, dim: int) -> tuple[Node, ...]:
    return tuple(taken(_lower_select(node, dim=dim, index=k), dim) for k in range(node.shape[dim]))  # type: ignore[arg-type]


_narrow = register(Op("narrow", _lower_narrow, "SliceBackward0", KEEP, view=True))
_select = register(Op("select", _lower_select, "SelectBackward0", KEEP, view=True))
_split = register(Op("split", _lower_split, "SplitBackward0", KEEP, view=True, outputs=0))
_split_sizes = register(Op("split_with_sizes", _lower_split, "SplitWithSizesBackward0", KEEP, view=True, outputs=0))
_unbind = register(Op("unbind", _lower_unbind, "UnbindBackward0", KEEP, view=True, outputs=0))


@public("", method=True, samples=[one(t(4, 3), 0, 1, 2), one(t(4, 3), -1, 0, 2)],
        axes=Axes(1, None, "narrow() cannot be applied to a 0-dim tensor."))
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` elements along `dim` from `start`."""
    at = wrap_dim(dim, input.ndim)
    extent = input.shape[at]
    if isinstance(length, int) and length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if isinstance(start, int):
        require(extent - start if start >= 0 else extent + start, IndexError,
                "start out of range (expected to be in range of [{low}, {extent}], but got {start})", low=-extent,
                extent=extent, start=start)
        start = known(start + extent if start < 0 else start)
    require(known(extent - start - length), RuntimeError,
            "start ({start}) + length ({length}) exceeds dimension size ({extent}).", start=start, length=length,
            extent=extent)
    return call(_narrow, input, dim=at, start=known(start), length=known(length))


def part(input: Any, at: int, start: int, length: Extent) -> Any:
    """narrow() where `start` may lie behind the end of an axis of which nothing is taken."""
    return call(_narrow, input, dim=at, start=start, length=known(length))


def require_index(input: Any, at: int, index: int) -> None:
    """IndexError, in select()'s words, where there is no element `index` along axis `at`."""
    n = input.shape[at]
    require(n - 1 - index if index >= 0 else n + index, IndexError,
            "select(): index {index} out of range for tensor of size {shape} at dimension {at}", index=index,
            shape=list(input.shape), at=at)


@public("", method=True, samples=[one(t(4, 3), 0, -1), one(t(4, 3), 1, 0)])
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Element `index` along `dim`."""
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    at = wrap_dim(dim, input.ndim)
    extent = input.shape[at]
    require_index(input, at, index)
    return call(_select, input, dim=at, index=known(index + extent if index < 0 else index))


_PARTED = Axes(1, None, "{name} expects at least a 1-dimensional tensor")


@public("", method=True, samples=[sample(t(5, 3), 2), one(t(5, 3), [1, 4]), one(t(2, 4), 2, 1)], axes=_PARTED)
def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of a size along `dim` (the last may be smaller), or of the sizes listed."""
    if isinstance(split_size_or_sections, (tuple, list)):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    at = wrap_dim(dim, tensor.ndim)
    size = settled(known(split_size_or_sections))
    parts = known(sympy.cancel(tensor.shape[at] / size)) if isinstance(size, sympy.Expr) else None
    if isinstance(parts, int):
        require(size - 1, RuntimeError, "split expects split_size be positive, but got split_size={size}", size=size)
        return tuple(call(_split, tensor, dim=at, sizes=(size,) * parts))

    def cut(extent: int) -> list[int]:
        if size < 0 or (size == 0 and extent > 0):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
        return [min(size, extent - s) for s in range(0, extent, size)] if extent else [0]

    return tuple(call(_split, tensor, dim=at, sizes=_parts(tensor, at, "split", cut, size)))


def _parts(tensor: Tensor, dim: int, name: str, cut: Callable[[int], list[int]], parts: Any = 1) -> tuple[Extent, ...]:
    """The extents of the parts that `cut` gives of axis `dim`; RuntimeError where nobody stated how many there are."""
    extent = tensor.shape[dim]
    found = None if isinstance(parts, sympy.Expr) else decided_parts(extent, cut)
    if found is None:
        raise RuntimeError(f"{name}() along the named dimension {extent}: the number of parts is not known here"
                           f"{dim_hint(sympy.sympify(extent) / parts)}")
    return found


def _equal_parts(tensor: Tensor, at: int, count: int) -> tuple[Extent, ...] | None:
    """The extents of `count` equal parts of an axis of named extent, where it is stated to have such."""
    extent = tensor.shape[at]
    if isinstance(extent, int) or not is_whole(extent / count):
        return None
    return (extent / count,) * count


@public("", method=True, samples=[one(t(5, 3), [1, 4])], axes=Axes(1, None, "split expects at least a 1-dimensional tensor"))
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of the sizes listed, along `dim`."""
    at = wrap_dim(dim, input.ndim)
    sizes = tuple(known(s) for s in split_sizes)
    total = known(sum(sizes))
    if not same_extent(total, input.shape[at]) and possible_sizes(input.shape[at]) != (total,):
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {input.shape[at]} (input tensor's size at "
            f"dimension "
            f"{at}), but got split_sizes={list(sizes)}{dim_hint(input.shape[at], *sizes)}"
        )
    for size in sizes:
        require(size, RuntimeError, "split_with_sizes expects split_sizes have only non-negative entries, but got "
                "split_sizes={sizes}", sizes=list(sizes))
    return tuple(call(_split_sizes, input, dim=at, sizes=sizes))


@public("", method=True, samples=[one(t(5, 3), 2), one(t(2, 4), 2, 1), one(t(2), 3)], axes=_PARTED)
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` parts of equal size along `dim`."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    at = wrap_dim(dim, input.ndim)
    equal = (0,) * chunks if same_extent(input.shape[at], 0) else _equal_parts(input, at, chunks)
    if equal is not None:
        return tuple(call(_split, input, dim=at, sizes=equal))

    def cut(extent: int) -> list[int]:
        size = max(math.ceil(extent / chunks), 1)
        return [min(size, extent - s) for s in range(0, extent, size)] if extent else [0] * chunks

    return tuple(call(_split, input, dim=at, sizes=_parts(input, at, "chunk", cut, chunks)))


@public("", method=True, samples=[one(t(5, 3), 2), one(t(5, 3), (1, 3)), one(t(2, 5), 3, 1)],
        axes=Axes(1, None, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with {n} dims"))
def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of nearly equal size, or cut at the indices listed."""
    at = wrap_dim(dim, input.ndim)
    sections = indices_or_sections if isinstance(indices_or_sections, int) and indices_or_sections > 0 else 1
    equal = _equal_parts(input, at, sections) if isinstance(indices_or_sections, int) else None
    if equal is not None:
        return tuple(narrow(input, at, k * equal[0], equal[0]) for k in range(sections))
    if is_tensor(indices_or_sections):
        if indices_or_sections.dtype is not dtypes.int64 or indices_or_sections.ndim > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor of "
                "Long"
            )
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int) and indices_or_sections <= 0:
        raise RuntimeError(f"number of sections must be larger than 0, got {indices_or_sections}")

    def starts(extent: int) -> list[int]:
        if isinstance(indices_or_sections, int):
            size, more = divmod(extent, indices_or_sections)
            return [k * size + min(k, more) for k in range(indices_or_sections + 1)]
        return [0, *(min(max(i + extent if i < 0 else i, 0), extent) for i in indices_or_sections), extent]

    def cut(extent: int) -> list[int]:
        return [max(b - a, 0) for a, b in pairwise(starts(extent))]

    sizes = _parts(input, at, "tensor_split", cut, sections)
    at_start = _parts(input, at, "tensor_split", starts, sections)
    return tuple(narrow(input, at, start, size) for start, size in zip(at_start, sizes))


@public("", method=True, samples=[sample(t(2, 3)), one(t(2, 3), 1)])
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The elements along `dim`."""
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    at = wrap_dim(dim, input.ndim)
    count = len(_parts(input, at, "unbind", lambda extent: [1] * extent))
    return tuple(call(_unbind, input if isinstance(input.shape[at], int) else narrow(input, at, 0, count), dim=at))


# --- more of the same ------------------------------------------------------------------------------------------------


@public("", samples=[one(t(2), t(3, seed=1), indexing="ij"), one(t(2), t(3, seed=1), indexing="xy")])
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of a grid: the k-th tensor along axis k ("ij") or with the first two axes exchanged ("xy")."""
    found = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    swap = indexing == "xy" and len(found) > 1
    order = [1, 0, *range(2, len(found))] if swap else list(range(len(found)))
    shape = [found[k].shape[0] if found[k].ndim else 1 for k in order]
    result = []
    for k, x in enumerate(found):
        at = order.index(k)
        result.append(x.reshape(*[-1 if d == at else 1 for d in range(len(found))]).expand(*shape))
    return tuple(result)


_VECTOR = Axes(1, 1, "Expect a 1D vector, but got shape {shape}")


@public("", samples=[one(t(2), t(3, seed=1)), one(t(2))])
def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of elements, one a row."""
    for x in tensors:
        _VECTOR.check("cartesian_prod", x.shape)
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors, indexing="ij")], 1)


@public("", samples=[one(t(2, 2), t(1, 3, seed=1))])
def block_diag(*tensors: Any) -> Tensor:
    """The matrices along the diagonal, 0 elsewhere."""
    for k, x in enumerate(tensors):
        if x.ndim > 2:
            raise RuntimeError("torch.block_diag: Input tensors must have 2 or fewer dimensions. Input "
                               f"{k} has {x.ndim} dimensions")
    found = [atleast_2d(x) for x in tensors]
    return call(_block_diag, *found)


def _lower_block_diag(*nodes: Node) -> Node:
    total = known(sum(n.shape[1] for n in nodes))
    column: Extent = 0
    rows = []
    for n in nodes:
        j = axis(1) - column
        guard = conjunction(*in_range(j, n.shape[1]))
        if guard is not None:
            rows.append(Compute((n.shape[0], total), placeholder(0), [Read(n, (axis(0), j), guard)], n.dtype))
        else:
            rows.append(Compute((n.shape[0], total), sympy.Integer(0), [], n.dtype))
        column = known(column + n.shape[1])
    return _joined(rows, 0, [n.shape[0] for n in nodes], False)


_block_diag = register(Op("block_diag", _lower_block_diag, "BlockDiagBackward0", PROMOTE))


@public("", name="broadcast_tensors")
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape."""
    found = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    shape = broadcast_shapes(*(tuple(x.shape) for x in found))
    return tuple(x.expand(*shape) for x in found)


