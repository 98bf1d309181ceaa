"""JAX's primitives that move elements: shapes, slices, padding, gathers and scatters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradgen.eager.creation import arange, generated
from gradgen.importers.jax_table import At, Tensor, entry, lib, refuse
from gradgen.ir.indexing import product
from gradgen.ir.symbols import Extent, axis, same_extent


@entry("iota")
def _iota(at: At, *sizes: Tensor) -> Tensor:
    shape = at.sizes(at.eqn.params["shape"])
    return generated(tuple(shape), at.kind(), axis(at.dimension))


@entry("dim_as_value")
def _dim_as_value(at: At) -> Tensor:
    return generated((), at.kind(), at.size(at.dim))


@entry("broadcast_in_dim")
def _broadcast_in_dim(at: At, x: Tensor, *sizes: Tensor) -> Tensor:
    shape = at.sizes(at.eqn.params["shape"])
    places = dict(zip(at.broadcast_dimensions, x.shape))
    return x.reshape([places.get(d, 1) for d in range(len(shape))]).expand(shape)


@entry("reshape")
def _reshape(at: At, x: Tensor, *sizes: Tensor) -> Tensor:
    if at.dimensions is not None:
        x = x.permute(at.dimensions)
    return x.reshape(at.sizes(at.new_sizes))


@entry("squeeze", "expand_dims")
def _squeeze(at: At, x: Tensor) -> Tensor:
    return x.reshape(at.shape())


@entry("transpose")
def _transpose(at: At, x: Tensor) -> Tensor:
    return x.permute(at.permutation)


@entry("rev")
def _rev(at: At, x: Tensor) -> Tensor:
    return lib.flip(x, tuple(at.dimensions))


@entry("concatenate")
def _concatenate(at: At, *parts: Tensor) -> Tensor:
    return lib.cat(list(parts), at.dimension)


@entry("stack")
def _stack(at: At, *parts: Tensor) -> Tensor:
    return lib.stack(list(parts), at.eqn.params.get("axis", at.eqn.params.get("dimension", 0)))


@entry("split")
def _split(at: At, x: Tensor) -> tuple[Tensor, ...]:
    found, start = [], 0
    for size in at.sizes(at.eqn.params["sizes"]):
        found.append(lib.narrow(x, at.axis, start, size))
        start = start + size
    return tuple(found)


@entry("tile")
def _tile(at: At, x: Tensor) -> Tensor:
    return lib.tile(x, at.reps)


@entry("slice")
def _slice(at: At, x: Tensor) -> Tensor:
    strides = at.strides or [1] * len(x.shape)
    return x[tuple(slice(at.size(a), at.size(b), int(s)) for a, b, s in zip(at.start_indices, at.limit_indices, strides))]


@entry("pad")
def _pad(at: At, x: Tensor, value: Tensor) -> Tensor:
    for d, (low, high, inner) in enumerate(at.padding_config):
        x = padded(x, d, at.size(low), at.size(high), at.size(inner), value)
    return x


def padded(x: Tensor, d: int, low: Extent, high: Extent, inner: Extent, value: Tensor) -> Tensor:
    """`low` and `high` values around axis d, or fewer where negative, and `inner` between neighbours."""
    n = x.shape[d]
    if inner:
        spread = x.unsqueeze(d + 1)
        gap = value.expand([*x.shape[:d + 1], inner, *x.shape[d + 1:]])
        x = lib.cat([spread, gap], d + 1).flatten(d, d + 1)
        x = lib.narrow(x, d, 0, (n - 1) * (inner + 1) + 1 if n else 0)
    parts = [x]
    for size, first in ((low, True), (high, False)):
        if isinstance(size, int) and size < 0:
            n = parts[0].shape[d]
            parts = [lib.narrow(parts[0], d, -size if first else 0, n + size)]
    for size, place in ((low, 0), (high, 1)):
        if not (isinstance(size, int) and size <= 0):
            parts.insert(0 if place == 0 else len(parts), value.expand([*x.shape[:d], size, *x.shape[d + 1:]]))
    return lib.cat(parts, d) if len(parts) > 1 else parts[0]


# --- slices at places that are data -------------------------------------------------------------------------------------


@entry("dynamic_slice", raw=True)
def _dynamic_slice(at: At, x: Any, *starts: Any) -> Tensor:
    x = at.run.tensor(x)
    for d, (start, size) in enumerate(zip(starts, at.sizes(at.slice_sizes))):
        n = x.shape[d]
        if same_extent(n, size):
            continue
        known = at.run.number(start)
        if known is not None and isinstance(n, int):
            x = lib.narrow(x, d, min(max(int(known), 0), n - size), size)
        else:
            x = lib.index_select(x, d, _clamped(at, start, n - size) + arange(size))
    return x


def _clamped(at: At, start: Any, most: Extent) -> Tensor:
    """A place that the slice fits at, int64."""
    index = at.run.tensor(start).to(at.run.index)
    return lib.minimum(lib.maximum(index, _size(at, 0)), _size(at, most))


def _size(at: At, extent: Extent) -> Tensor:
    return generated((), at.run.index, extent)


@entry("dynamic_update_slice", raw=True)
def _dynamic_update_slice(at: At, x: Any, update: Any, *starts: Any) -> Tensor:
    """Where an element lies inside of the update it is that one, else what was there."""
    x, update = at.run.tensor(x), at.run.tensor(update)
    inside, place = None, []
    for d, (n, size, start) in enumerate(zip(x.shape, update.shape, starts)):
        if same_extent(n, size):
            place.append(None)
            continue
        offset = arange(n) - _clamped(at, start, n - size)
        fits = ((offset >= 0) & (offset < _size(at, size))).reshape([n if k == d else 1 for k in range(len(x.shape))])
        inside = fits if inside is None else inside & fits
        place.append(lib.minimum(lib.maximum(offset, _size(at, 0)), _size(at, size - 1)))
    for d, index in enumerate(place):
        if index is not None:
            update = lib.index_select(update, d, index)
    return update if inside is None else lib.where(inside, update, x)


# --- gather and scatter -------------------------------------------------------------------------------------------------


class _Indexing:
    """What the numbers of a gather or scatter mean: an index for every axis of the operand, over batch and window axes."""

    def __init__(self, at: At, operand: Tensor, indices: Any, window: Sequence[Extent], dropped: Sequence[int],
                 start_map: Sequence[int], batching: Sequence[int], indices_batching: Sequence[int]) -> None:
        """`window` is the size of the slice along each axis; `dropped` axes of it are not among those of the result."""
        self.at = at
        known = at.run.known(indices)
        starts = at.run.tensor(indices).to(at.run.index)
        self.batch = list(starts.shape[:-1])
        kept = [d for d in range(len(operand.shape)) if d not in dropped and d not in batching]
        self.window = [window[d] for d in kept]
        rank = len(self.batch) + len(kept)
        self.index: list[Tensor] = []
        self.valid: Tensor | None = None
        for d, n in enumerate(operand.shape):
            most = n - window[d]
            index = None
            if d in start_map:
                column = list(start_map).index(d)
                start = lib.select(starts, -1, column)
                inside = known is not None and isinstance(most, int) and bool(
                    (known[..., column] >= 0).all() and (known[..., column] <= most).all())
                if not inside:  # what is promised to be inside is not believed: C reads where it is told
                    clamped = lib.minimum(lib.maximum(start, _size(at, 0)), _size(at, most))
                    if "FILL" in str(at.mode).upper():
                        fits = start == clamped
                        self.valid = fits if self.valid is None else self.valid & fits
                    start = clamped
                index = start.reshape([*self.batch, *[1] * len(kept)])
            elif d in batching:
                b = list(indices_batching)[list(batching).index(d)]
                index = arange(n).reshape([n if k == b else 1 for k in range(rank)])
            if d in kept and not (isinstance(window[d], int) and window[d] == 1):
                offset = arange(window[d]).reshape([window[d] if k == len(self.batch) + kept.index(d) else 1
                                                        for k in range(rank)])
                index = offset if index is None else index + offset
            self.index.append(_size(at, 0).reshape([1] * rank) if index is None else index)
        if self.valid is not None:
            self.valid = self.valid.reshape([*self.batch, *[1] * len(kept)])

    @property
    def shape(self) -> list[Extent]:
        return [*self.batch, *self.window]


@entry("gather", raw=True)
def _gather(at: At, x: Any, indices: Any) -> Tensor:
    x, d = at.run.tensor(x), at.dimension_numbers
    batching = getattr(d, "operand_batching_dims", ())
    found = _Indexing(at, x, indices, at.sizes(at.slice_sizes), d.collapsed_slice_dims, d.start_index_map, batching,
                      getattr(d, "start_indices_batching_dims", ()))
    picked = x[tuple(found.index)] if found.index else x
    picked = picked.expand(found.shape)
    if found.valid is not None:
        picked = lib.where(found.valid, picked, at.run.filler(at.kind(), at.fill_value))
    others = [k for k in range(len(found.shape)) if k not in d.offset_dims]
    order = [*others, *d.offset_dims]
    return picked.permute([order.index(k) for k in range(len(order))])


_SCATTER = {"scatter": None, "scatter-add": "sum", "scatter_add": "sum", "scatter-mul": "prod", "scatter_mul": "prod",
            "scatter-min": "amin", "scatter_min": "amin", "scatter-max": "amax", "scatter_max": "amax"}


@entry(*_SCATTER, raw=True)
def _scatter(at: At, x: Any, indices: Any, updates: Any) -> Tensor:
    """By position in the flat operand; what is dropped goes to a place behind it, which is cut off."""
    x, updates, d = at.run.tensor(x), at.run.tensor(updates), at.dimension_numbers
    batching = getattr(d, "operand_batching_dims", ())
    window: list[Extent] = [1] * len(x.shape)
    sizes = [updates.shape[k] for k in d.update_window_dims]
    for k in range(len(x.shape)):
        if k not in d.inserted_window_dims and k not in batching:
            window[k] = sizes.pop(0)
    found = _Indexing(at, x, indices, window, d.inserted_window_dims, d.scatter_dims_to_operand_dims, batching,
                      getattr(d, "scatter_indices_batching_dims", ()))
    others = [k for k in range(len(updates.shape)) if k not in d.update_window_dims]
    values = updates.permute([*others, *d.update_window_dims]).expand(found.shape).reshape([product(found.shape)])
    count, flat, place = product(x.shape), x.reshape([product(x.shape)]), None
    for index, n in zip(found.index, x.shape):
        place = index if place is None else place * _size(at, n) + index
    if place is None:
        raise refuse("scatter into a scalar")
    if found.valid is not None:
        place = lib.where(found.valid, place, _size(at, count))
        flat = lib.cat([flat, generated((1,), x.dtype, 0)], 0)
    place = place.expand(found.shape).reshape([product(found.shape)])
    how = _SCATTER[at.eqn.primitive.name]
    if how is None:
        flat = lib.scatter(flat, 0, place, values)
    elif how == "sum":
        flat = lib.scatter_add(flat, 0, place, values)
    else:
        flat = lib.scatter_reduce(flat, 0, place, values, how)
    return lib.narrow(flat, 0, 0, count).reshape(x.shape)


