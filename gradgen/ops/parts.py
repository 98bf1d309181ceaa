"""Pieces of tensors: windows, writes into slices and diagonals, masked and indexed writes, splits, combinations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.guards import EQ, GE, MOD, Condition, conjunction, in_range
from gradgen.ir.indexing import product, quotient, reshape_index
from gradgen.ir.nodes import Compute, Constant, Node, Read, Scatter, identity_read
from gradgen.ir.symbols import Extent, axes, axis, placeholder, same_extent
from gradgen.ops.convolution import floor_ratio
from gradgen.ops.gathering import as_tensor_like, require_source, scatter, scatter_add, scatter_reduce
from gradgen.ops.host import host_value
from gradgen.ops.joining import cat, narrow, require_index, tensor_split
from gradgen.ops.registry import KEEP, Op, broadcast_shapes, register
from gradgen.ops.requirements import dim_hint, require, require_equal, require_multiple
from gradgen.ops.samples import edges, index, mask, one, plain, sample, t
from gradgen.ops.shape import view_node
from gradgen.ops.shapes import A0, A1, A2, A3, TORCH_NAMES, known, shape_text, wrap_dim
from gradgen.ops.table import INPLACE, METHODS, call, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

# --- windows ----------------------------------------------------------------------------------------------------------


def _lower_windows(node: Node, *, dim: int, size: int, step: int) -> Node:
    if node.ndim == 0:
        return view_node(node, (1,) if size else (0,), [])
    n = node.shape[dim]
    count = known(floor_ratio(n - size, step) + 1)
    index = [axis(d) * step + axis(node.ndim) if d == dim else axis(d) for d in range(node.ndim)]
    return view_node(node, [*(count if d == dim else e for d, e in enumerate(node.shape)), size], index)


_windows = register(Op("unfold", _lower_windows, "UnfoldBackward0", KEEP, view=True))


def _unfold_method(self: Any, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` along `dimension`, every `step`-th, as a further axis: a view."""
    at = wrap_dim(dimension, self.ndim)
    n = self.shape[at] if self.ndim else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    require(n - size, RuntimeError, "maximum size for tensor at dimension {at} is {n} but size is {size}", at=at, n=n,
            size=size)
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return call(_windows, self, dim=at, size=int(size), step=int(step))  # type: ignore[no-any-return]


METHODS["unfold"] = _unfold_method


# --- writes into pieces -----------------------------------------------------------------------------------------------


def _lower_slice_scatter(node: Node, source: Node, *, dim: int, start: Extent, stop: Extent, step: int) -> Node:
    i = axis(dim)
    inside = fn.and_(fn.ge(i, start), fn.lt(i, stop))
    conditions = [Condition(GE, i - start), Condition(GE, stop - 1 - i)]
    if step != 1:
        inside = fn.and_(inside, fn.eq(fn.remainder(i - start, step), 0))
        conditions.append(Condition(MOD, i - start, step))
    place = quotient(i - start, sympy.Integer(step)) if step != 1 else i - start
    guard = conjunction(*conditions)
    if guard is None:
        return Compute(node.shape, A0, [identity_read(node)], node.dtype)
    at = [place if d == dim else axis(d) for d in range(node.ndim)]
    return Compute(node.shape, fn.select(inside, A1, A0), [identity_read(node), Read(source, at, guard)], node.dtype)


def _lower_select_scatter(node: Node, source: Node, *, dim: int, index: Extent) -> Node:
    at = [axis(d) for d in range(node.ndim) if d != dim]
    here = fn.eq(axis(dim), index)
    reads = [identity_read(node), Read(source, at, conjunction(Condition(EQ, axis(dim) - index)) or ())]
    return Compute(node.shape, fn.select(here, A1, A0), reads, node.dtype)


def _lower_diagonal_scatter(node: Node, source: Node, *, offset: int, dims: tuple[int, int]) -> Node:
    row, column = axis(dims[0]), axis(dims[1])
    along = row + min(offset, 0)
    guard = conjunction(Condition(EQ, column - row - offset), *in_range(along, source.shape[-1]))
    if guard is None:
        return Compute(node.shape, A0, [identity_read(node)], node.dtype)
    at = [*(axis(d) for d in range(node.ndim) if d not in dims), along]
    here = fn.eq(column - row, offset)
    return Compute(node.shape, fn.select(here, A1, A0), [identity_read(node), Read(source, at, guard)], node.dtype)


_slice_scatter = register(Op("slice_scatter", _lower_slice_scatter, "SliceScatterBackward0", KEEP))
_select_scatter = register(Op("select_scatter", _lower_select_scatter, "SelectScatterBackward0", KEEP))
_diagonal_scatter = register(Op("diagonal_scatter", _lower_diagonal_scatter, "DiagonalScatterBackward0", KEEP))


def _same_shape(source: Any, shape: Sequence[Extent]) -> None:
    if len(source.shape) != len(shape) or not all(same_extent(a, b) for a, b in zip(source.shape, shape)):
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {shape_text(source.shape)}, slice size = "
            f"{shape_text(shape)}{dim_hint(*source.shape, *shape)}"
        )


@public("", method=True, samples=[
    sample(t(4, 3), t(2, 3, seed=1), 0, 1, 3), one(t(4, 3), t(4, 2, seed=1), 1, 0, None, 2), one(t(4, 3), t(4, 3, seed=1)),
    one(t(5), t(2, seed=1), 0, -4, -1, 2), one(t(3), t(0, seed=1), 0, 2, 1),
])
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of `input` with `src` in the slice start:end:step along `dim`."""
    at = wrap_dim(dim, input.ndim)
    n = input.shape[at]
    if not isinstance(n, int):
        raise RuntimeError(f"slice_scatter() along the named dimension {n}: assign to a slice instead, y[2:] = x")
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    first, last, _ = slice(start, end, step).indices(n)
    count = len(range(first, last, step))
    _same_shape(src, [count if d == at else e for d, e in enumerate(input.shape)])
    return call(_slice_scatter, input, src, dim=at, start=first, stop=first + (count - 1) * step + 1 if count else first,
                step=int(step))


@public("", method=True, samples=[sample(t(4, 3), t(3, seed=1), 0, -1), one(t(4, 3), t(4, seed=1), 1, 0)])
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of `input` with `src` in the place of element `index` along `dim`."""
    at = wrap_dim(dim, input.ndim)
    n = input.shape[at]
    require_index(input, at, index)
    _same_shape(src, [e for d, e in enumerate(input.shape) if d != at])
    return call(_select_scatter, input, src, dim=at, index=known(index + n if index < 0 else index))


@public("", method=True, samples=[
    sample(t(3, 3), t(3, seed=1)), one(t(3, 4), t(3, seed=1), 1), one(t(4, 3), t(3, seed=1), -1),
    one(t(2, 3, 2), t(3, 2, seed=1), 0, 0, 2),
])
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of `input` with `src` on a diagonal."""
    dims = wrap_dim(dim1, input.ndim), wrap_dim(dim2, input.ndim)
    _same_shape(src, tuple(input.diagonal(offset, dim1, dim2).shape))
    return call(_diagonal_scatter, input, src, offset=int(offset), dims=dims)


def _lower_masked_scatter(node: Node, chosen: Node, order: Node, source: Node) -> Node:
    size, count = source.shape[0], product(node.shape)
    place = Compute(node.shape, fn.minimum(fn.maximum(A0 - 1, 0), fn.extent(sympy.sympify(size)) - 1),
                    [identity_read(order)], dtypes.int64)
    (flat,) = reshape_index(axes(node.ndim), node.shape, (count,))
    spread = _spread(chosen, place, flat, source, count)
    reads = [identity_read(place), identity_read(chosen), identity_read(node), Read(source, [A0]), Read(spread, [flat])]
    return Compute(node.shape, fn.select(A1, fn.instead(A3, placeholder(4)), A2), reads, node.dtype)


def _spread(chosen: Node, place: Node, flat: sympy.Expr, source: Node, count: Extent) -> Node:
    """The elements of `source` where they go in a vector of `count`, what is left over behind it: its derivative copies."""
    size = source.shape[0]
    target = fn.select(A1, A0, fn.extent(sympy.sympify(size)))
    slot = Compute(place.shape, target, [identity_read(place), identity_read(chosen)], dtypes.int64)
    behind = Compute((known(size + 1),), fn.extent(sympy.sympify(count)), [], dtypes.int64)
    goal = Scatter(behind.shape, behind, slot.shape, [A0], fn.index_body(flat), [identity_read(slot)], dtypes.int64,
                   mode="set")
    reads = [Read(goal, [axis(0)]), identity_read(source)]
    return Scatter((known(count + 1),), None, (size,), [A0], A1, reads, source.dtype, mode="set")


_masked_scatter = register(Op("masked_scatter", _lower_masked_scatter, "MaskedScatterBackward0", KEEP))


@public("", method=True, inplace=True, samples=[
    sample(t(3, 4), mask(3, 4), t(12, seed=1)), one(t(3, 4), mask(4), t(3, 4, seed=1)), one(t(4), mask(2, 4), t(9, seed=1)),
])
def masked_scatter(input: Any, mask: Any, source: Any) -> Tensor:
    """`source`'s elements, one after another, where the mask holds; `input` elsewhere."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype "
                           f"{TORCH_NAMES[mask.dtype.name]}")
    if source.dtype is not input.dtype:
        raise RuntimeError("masked_scatter: expected self and source to have same dtypes but got "
                           f"{TORCH_NAMES[input.dtype.name]} and {TORCH_NAMES[source.dtype.name]}")
    shape = broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    x, chosen = input.expand(*shape), mask.expand(*shape)
    values = host_value(chosen)
    flat = source.reshape(-1)
    if values is not None and isinstance(flat.shape[0], int) and int(values.sum()) > flat.shape[0]:
        raise RuntimeError("masked_scatter: expected the number of elements in source to be at least the number of ones in "
                           f"mask, but got {flat.shape[0]} and {int(values.sum())}")
    order = chosen.reshape(-1).cumsum(0).reshape(shape)
    return call(_masked_scatter, x, chosen, order, flat)  # type: ignore[no-any-return]


def _fill_diagonal(input: Any, fill_value: float, wrap: bool = False) -> Tensor:
    """fill_diagonal_: the main diagonal, in tall matrices with `wrap` again below."""
    if input.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if input.ndim > 2 and len(set(input.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    return call(_filled_diagonal, input, as_tensor_like(fill_value, input), wrap=bool(wrap))  # type: ignore[no-any-return]


def _lower_filled_diagonal(node: Node, value: Node, *, wrap: bool) -> Node:
    here = fn.eq(axis(0), axis(1))
    if wrap and node.ndim == 2:
        here = fn.eq(fn.remainder(axis(0), fn.extent(sympy.sympify(node.shape[1])) + 1), axis(1))
    for d in range(2, node.ndim):
        here = fn.and_(here, fn.eq(axis(0), axis(d)))
    return Compute(node.shape, fn.select(here, A1, A0), [identity_read(node), Read(value, ())], node.dtype)


_filled_diagonal = register(Op("fill_diagonal", _lower_filled_diagonal, "FillDiagonalBackward0", KEEP))
INPLACE["fill_diagonal_"] = _fill_diagonal


@public("", method=True, inplace=True, samples=[
    plain(t(3, 4), 0, index(5, high=3), t(5, 4, seed=1), "prod"), one(t(3, 4), 1, index(2, high=4), t(3, 2, seed=1), "mean"),
    plain(t(3, 4), 0, index(5, high=3), t(5, 4, seed=1), "amax", include_self=False),
])
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The slices of `source` combined into those numbered `index` along `dim`: prod, mean, amax or amin."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    at = wrap_dim(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError(f"index_reduce_(): Index is supposed to be a vector, but got dim: {index.ndim} with type: "
                         f"{TORCH_NAMES[index.dtype.name]} and size: {shape_text(index.shape)}")
    require_source("index_reduce", tuple(input.shape), at, index.numel(), tuple(source.shape))
    if not input.ndim:
        folded = index_reduce(input.reshape(1), 0, index, source.reshape(-1), reduce, include_self=include_self)
        return folded.reshape(())
    shape = [1] * input.ndim
    shape[at] = -1
    places = index.reshape(tuple(shape)).expand(*tuple(source.shape))
    return scatter_reduce(input, at, places, source, reduce, include_self=include_self)


@public("", method=True, inplace=True, samples=[
    one(t(2, 3), edges((1, 4), "int64", False), t(2, seed=1)), one(t(2, 3), index(4, high=6), t(4, seed=1), accumulate=True),
])
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of `input` with elements of `source` at places of the flattened tensor."""
    size = input.numel()
    wrapped = index.reshape(-1)
    flat, values = input.reshape(-1), source.reshape(-1)
    require_equal(values.shape[0], wrapped.shape[0], IndexError, "put_(): Expected source and index to have the same number "
                  "of elements, but got source.numel() = {given}, index.numel() = {count}", given=values.shape[0],
                  count=wrapped.shape[0])
    values_at = host_value(wrapped)
    if values_at is not None and values_at.size and isinstance(size, int) and not (
        -size <= values_at.min() and values_at.max() < size
    ):
        worst = int(values_at.max() if values_at.max() >= size else values_at.min())
        raise IndexError(f"out of range: tried to access index {worst} on a tensor of {size} elements.")
    places = wrapped + size * (wrapped < 0)
    found = scatter_add(flat, 0, places, values) if accumulate else scatter(flat, 0, places, values)
    return found.reshape(tuple(input.shape))


# --- splits -----------------------------------------------------------------------------------------------------------


def _splitter(name: str, dim: int, least: int) -> None:
    def split(input: Any, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
        if input.ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor "
                f"with {input.ndim} dimensions!"
            )
        at = 0 if input.ndim == 1 else dim
        n = input.shape[at]
        if not isinstance(indices_or_sections, int):
            return tensor_split(input, indices_or_sections, at)
        words = ("torch.{name} attempted to split along dimension {at}, but the size of the dimension {n} is not divisible "
                 "by the split_size {size}!")
        if indices_or_sections <= 0:
            raise RuntimeError(words.format(name=name, at=at, n=n, size=indices_or_sections))
        require_multiple(n, indices_or_sections, RuntimeError, words, name=name, at=at, n=n, size=indices_or_sections)
        each = known(sympy.sympify(n) / indices_or_sections)
        return tuple(narrow(input, at, k * each, each) for k in range(indices_or_sections))

    split.__name__ = split.__qualname__ = name
    split.__doc__ = f"tensor_split along axis {dim}, into equal parts where a number is given."
    shape = (2, 4, 2) if least == 3 else (4, 4)
    public("", method=True, name=name, samples=[one(t(*shape), 2), one(t(*shape), (1,))])(split)


_splitter("hsplit", 1, 1)
_splitter("vsplit", 0, 2)
_splitter("dsplit", 2, 3)


@public("", method=True, samples=[plain(t(4, 3), 0, 1, 2)])
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """narrow with storage of its own."""
    return narrow(input, dim, start, length).clone()


# --- combinations -----------------------------------------------------------------------------------------------------


def _lower_table(node: Node, *, rows: tuple[tuple[int, ...], ...]) -> Node:
    table = Constant(np.array(rows, np.int64).reshape(len(rows), -1), dtypes.int64)
    reads = [identity_read(table), Read(node, [A0])]
    return Compute(table.shape, A1, reads, node.dtype)


_table = register(Op("combinations", _lower_table, "IndexBackward0", KEEP))


@public("", samples=[sample(t(4)), one(t(3), 2, True), one(t(4), 3), one(t(3), 1)])
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of `r` elements, one a row."""
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {shape_text(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    n = input.shape[0]
    if not isinstance(n, int):
        raise RuntimeError(f"combinations() of {n} elements: their number is not known here")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = tuple(choose(range(n), r))
    if not rows or r == 0:
        return input[:0].reshape(0, r) if r else input[:0]
    return call(_table, input, rows=rows)


@public("", method=True, samples=[
    plain(t(3), 4), plain(t(3)), plain(t(3), 3, True), plain(edges((1, 2, 3)), dtypes=("int64",)),
])
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements as columns, the highest first."""
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    return _powers(x, range(count) if increasing else range(count - 1, -1, -1))


def _powers(x: Any, exponents: Sequence[int]) -> Tensor:
    columns = [x.pow(k).unsqueeze(-1) for k in exponents]
    return cat(columns, -1) if columns else x.unsqueeze(-1)[..., :0]


@public("linalg", name="vander", samples=[plain(t(3)), plain(t(2, 3), N=4)])
def linalg_vander(x: Any, *, N: int | None = None) -> Tensor:
    """The powers 0 .. N-1 of the elements, along a further axis."""
    require_tensor(x, "linalg.vander", "x")
    count = (x.shape[-1] if x.ndim else 1) if N is None else N
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    x = x if x.ndim else x.reshape(1)
    return _powers(x, range(count))
