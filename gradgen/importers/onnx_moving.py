"""ONNX operators that say where elements go: shapes, slices, gathers, scatters, padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradgen.eager.creation import arange, from_numpy, full
from gradgen.importers.onnx_table import At, Int, Ints, Known, Setting, Tensor, Tensors, Value, entry, lib, refuse

# --- shapes -------------------------------------------------------------------------------------------------------------


def sizes(shape: Sequence[Any]) -> np.ndarray:
    """A shape as a value that is known: int64, or of objects where a dimension has a name."""
    if all(isinstance(e, int) for e in shape):
        return np.array(shape, np.int64)
    found = np.empty(len(shape), object)
    found[:] = list(shape)
    return found


def _shape_of(value: Value) -> tuple[Any, ...]:
    return tuple(value.shape)


@entry("Shape", 1, 25)
def _shape(data: Value, start: int = 0, end: Any = None) -> Known:
    rank = len(data.shape)
    first = min(max(start + rank if start < 0 else start, 0), rank)
    last = rank if end is None else min(max(end + rank if end < 0 else end, 0), rank)
    return sizes(_shape_of(data)[first:max(first, last)])


@entry("Size", 1, 25)
def _size(data: Value) -> Known:
    return sizes((math.prod(_shape_of(data)),)).reshape(())


@entry("Reshape", 5, 25)
def _reshape(data: Tensor, shape: Ints, allowzero: int = 0) -> Tensor:
    return data.reshape(tuple(data.shape[k] if e == 0 and not allowzero else e for k, e in enumerate(shape)))


@entry("Flatten", 1, 25)
def _flatten(input: Tensor, axis: int) -> Tensor:
    at = axis + len(input.shape) if axis < 0 else axis
    return input.reshape((math.prod(input.shape[:at]), math.prod(input.shape[at:])))


@entry("Squeeze", 1, 25)
def _squeeze(data: Tensor, axes: Ints) -> Tensor:
    if axes is None:
        return lib.squeeze(data)
    over = {a % len(data.shape) for a in axes}
    wrong = [a for a in sorted(over) if isinstance(data.shape[a], int) and data.shape[a] != 1]
    if wrong:
        raise ValueError(f"Squeeze of axis {wrong[0]}, which has {data.shape[wrong[0]]} elements")
    return data.reshape(tuple(e for a, e in enumerate(data.shape) if a not in over))


@entry("Unsqueeze", 1, 25)
def _unsqueeze(data: Tensor, axes: Ints) -> Tensor:
    rank = len(data.shape) + len(axes)
    for a in sorted(a % rank for a in axes):
        data = lib.unsqueeze(data, a)
    return data


@entry("Transpose", 1, 25)
def _transpose(data: Tensor, perm: Ints) -> Tensor:
    return lib.permute(data, tuple(reversed(range(len(data.shape)))) if perm is None else perm)


@entry("Expand", 8, 13)
def _expand(input: Tensor, shape: Ints) -> Tensor:
    """Broadcasts both ways: a 1 in `shape` leaves what is there."""
    own = (1,) * (len(shape) - len(input.shape)) + tuple(input.shape)
    wanted = (1,) * (len(own) - len(shape)) + tuple(shape)
    return lib.broadcast_to(input, tuple(e if w == 1 else w for e, w in zip(own, wanted)))


@entry("Tile", 6, 13)
def _tile(input: Tensor, repeats: Ints) -> Tensor:
    return lib.tile(input, repeats)


@entry("Concat", 4, 13)
def _concat(inputs: Tensors, axis: int) -> Tensor:
    return lib.cat(inputs, axis)


@entry("Split", 2, 18)
def _split(input: Tensor, split: Ints, axis: int, num_outputs: Any = None, *, at: At) -> tuple[Tensor, ...]:
    n, count = input.shape[axis], num_outputs or len(at.node.output)
    if split is None:
        if not isinstance(n, int):
            parts = lib.chunk(input, count, axis)
            if len(parts) != count:
                raise refuse(f"an axis of {n} in {count} parts")
            return tuple(parts)
        step = -(-n // count)
        split = [step] * (count - 1) + [n - step * (count - 1)]
    return tuple(lib.split(input, list(split), axis))


@entry("DepthToSpace", 1, 28)
def _depth_to_space(input: Tensor, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = input.shape
    inner = c // blocksize**2
    parts, order = ((n, blocksize, blocksize, inner, h, w), (0, 3, 4, 1, 5, 2))
    if mode == "CRD":
        parts, order = ((n, inner, blocksize, blocksize, h, w), (0, 1, 4, 2, 5, 3))
    return lib.permute(input.reshape(parts), order).reshape((n, inner, h * blocksize, w * blocksize))


@entry("SpaceToDepth", 1, 28)
def _space_to_depth(input: Tensor, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = input.shape
    parts = input.reshape((n, c, h // blocksize, blocksize, w // blocksize, blocksize))
    order = (0, 1, 3, 5, 2, 4) if mode == "CRD" else (0, 3, 5, 1, 2, 4)
    return lib.permute(parts, order).reshape((n, c * blocksize**2, h // blocksize, w // blocksize))


# --- made from nothing --------------------------------------------------------------------------------------------------


@entry("ConstantOfShape", 9, 25)
def _constant_of_shape(input: Ints, value: Value, at: At) -> Tensor:
    element = np.zeros(1, np.float32) if value is None else np.asarray(value).reshape(1)
    kind = at.tensor(element).dtype
    return full(tuple(input), element[0].item(), dtype=kind)


@entry("Range", 11, 27, ignored="stash_type")
def _range(start: Known, limit: Known, delta: Known, at: At) -> Tensor:
    first, last, step = (v.reshape(-1).tolist()[0] for v in (start, limit, delta))
    kinds = [at.tensor(v).dtype for v in (start, limit, delta) if v.dtype != object]
    return arange(first, last, step, dtype=kinds[0] if kinds else None)


# --- slices and padding -------------------------------------------------------------------------------------------------


@entry("Slice", 10, 13)
def _slice(data: Tensor, starts: Ints, ends: Ints, axes: Ints, steps: Ints) -> Tensor:
    for k, (first, last) in enumerate(zip(starts, ends)):
        axis = k if axes is None else axes[k] % len(data.shape)
        step = 1 if steps is None else steps[k]
        n = data.shape[axis]
        if step > 0:
            data = data[(slice(None),) * axis + (slice(first, _end(last, n), step),)]
        elif isinstance(n, int):
            first = min(max(first + n if first < 0 else first, 0), n - 1)  # where NumPy would begin before the first
            rows = range(n)[slice(first, None if last < -n else last, step)] if n else range(0)
            flipped = lib.flip(data, (axis,))
            if not len(rows):
                data = lib.narrow(data, axis, 0, 0)
            else:
                data = flipped[(slice(None),) * axis + (slice(n - 1 - rows[0], n - rows[-1], -step),)]
        elif first in (-1, n - 1) or (isinstance(first, int) and first > 2**30):
            if not (isinstance(last, int) and last < -(2**30)):
                raise refuse(f"a slice backwards to {last} of an axis of {n}")
            data = lib.flip(data, (axis,))[(slice(None),) * axis + (slice(None, None, -step),)]
        else:
            raise refuse(f"a slice backwards from {first} of an axis of {n}")
    return data


def _end(last: Any, n: Any) -> Any:
    """ONNX says "to the end" by a large number."""
    return None if isinstance(last, int) and last >= 2**31 - 1 else last


BOOL = 9
"""TensorProto.BOOL."""


def padded(x: Tensor, before: Sequence[Any], after: Sequence[Any], value: float = 0.0) -> Tensor:
    """The last axes with so many elements `value` more."""
    if not any((*before, *after)):
        return x
    pads = [p for b, a in zip(reversed(before), reversed(after)) for p in (b, a)]
    return lib("nn.functional.pad")(x, pads, value=value)


@entry("Pad", 11, 25)
def _pad(data: Tensor, pads: Ints, constant_value: Setting, axes: Ints, mode: str, at: At) -> Tensor:
    rank = len(data.shape)
    over = list(range(rank)) if axes is None else [a % rank for a in axes]
    pairs = {a: (pads[k], pads[k + len(over)]) for k, a in enumerate(over)}
    cut = {a: (min(b, 0), min(e, 0)) if isinstance(b, int) and isinstance(e, int) else (0, 0) for a, (b, e) in pairs.items()}
    for a, (b, e) in cut.items():  # negative pads take elements away, before others are put
        if b or e:
            data = lib.narrow(data, a, -b, data.shape[a] + b + e)
    more = {a: (b - cut[a][0], e - cut[a][1]) for a, (b, e) in pairs.items()}
    if mode == "constant":
        return _pad_constant(data, [more.get(a, (0, 0)) for a in range(rank)], constant_value, at)
    for a, (b, e) in more.items():
        if b or e:
            data = lib.index_select(data, a, from_numpy(_outside(data.shape[a], b, e, mode)))
    return data


def _pad_constant(data: Tensor, more: list[tuple[Any, Any]], value: Value, at: At) -> Tensor:
    before, after = [b for b, _ in more], [e for _, e in more]
    if not isinstance(value, Tensor):
        return padded(data, before, after, 0.0 if value is None else value.reshape(()).item())
    inside = padded(full(tuple(data.shape), 1, dtype=at.kind(BOOL)), before, after, 0)
    return lib.where(inside, padded(data, before, after), value.reshape(()))


def _outside(n: Any, before: int, after: int, mode: str) -> np.ndarray:
    """Which element stands where an axis of n is padded by reflection, its edge or itself."""
    if not isinstance(n, int):
        raise refuse(f"{mode} padding of an axis of {n}")
    place = np.arange(-before, n + after)
    if mode == "edge":
        return place.clip(0, n - 1)
    if mode == "wrap":
        return place % n
    around = place % max(2 * n - 2, 1)
    return np.where(around < n, around, 2 * n - 2 - around)


@entry("CenterCropPad", 18)
def _center(input_data: Tensor, shape: Ints, axes: Ints) -> Tensor:
    rank = len(input_data.shape)
    for a, wanted in zip(range(rank) if axes is None else [a % rank for a in axes], shape):
        n = input_data.shape[a]
        if wanted < n:
            input_data = lib.narrow(input_data, a, (n - wanted) // 2, wanted)
        elif wanted > n:
            before = [(wanted - n) // 2 if k == a else 0 for k in range(rank)]
            after = [wanted - n - before[a] if k == a else 0 for k in range(rank)]
            input_data = padded(input_data, before, after)
    return input_data


# --- by index -----------------------------------------------------------------------------------------------------------


def _counted(indices: Tensor, n: Any) -> Tensor:
    """Indices from the end counted from the front."""
    return lib.where(indices < 0, indices + n, indices)


def _index(value: Value, n: Any, at: At) -> Tensor:
    """Indices along an axis of n; what is known is counted from the front now, what is not by the program."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        if isinstance(n, int):
            return at.tensor(np.where(value < 0, value + n, value).astype(np.int64))
        if (value >= 0).all():
            return at.tensor(value.astype(np.int64))
    return _counted(at.tensor(value), n).long()


@entry("Gather", 1, 13)
def _gather(data: Tensor, indices: Value, axis: int, at: At) -> Tensor:
    a = axis % len(data.shape)
    if isinstance(indices, np.ndarray) and indices.ndim == 0 and indices.dtype != object:
        return lib.select(data, a, indices.item())
    index = _index(indices, data.shape[a], at)
    if a == 0 and len(data.shape) == 2:
        return lib("nn.functional.embedding")(index, data) if data.dtype.is_floating_point else data[index]
    return data[(slice(None),) * a + (index,)]


@entry("GatherElements", 11, 13)
def _gather_elements(data: Tensor, indices: Value, axis: int, at: At) -> Tensor:
    return lib.gather(data, axis, _index(indices, data.shape[axis], at))


@entry("GatherND", 11, 13)
def _gather_nd(data: Tensor, indices: Value, at: At, batch_dims: int = 0) -> Tensor:
    known = at.tensor(indices)
    last, shape = known.shape[-1], tuple(known.shape[:-1])
    own = [arange(data.shape[k]).reshape((-1,) + (1,) * (len(shape) - k - 1)) for k in range(batch_dims)]
    parts = [_part(indices, k, data.shape[batch_dims + k], at) for k in range(last)]
    return data[tuple([*own, *parts])]


def _part(indices: Value, k: int, n: Any, at: At) -> Tensor:
    """The k-th of the coordinates that stand along the last axis."""
    if isinstance(indices, np.ndarray):
        return _index(np.array(indices[..., k]), n, at)
    return _index(lib.select(indices, -1, k), n, at)


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@entry("Scatter", 9, 11)
@entry("ScatterElements", 11, 18)
def _scatter_elements(data: Tensor, indices: Value, updates: Tensor, axis: int, at: At, reduction: str = "none") -> Tensor:
    index = _index(indices, data.shape[axis], at)
    if reduction == "none":
        return lib.scatter(data, axis, index, updates)
    if reduction == "add":
        return lib.scatter_add(data, axis, index, updates)
    return lib.scatter_reduce(data, axis, index, updates, _REDUCTIONS[reduction])


@entry("ScatterND", 11, 18)
def _scatter_nd(data: Tensor, indices: Value, updates: Tensor, at: At, reduction: str = "none") -> Tensor:
    count = at.tensor(indices).shape[-1]
    parts = tuple(_part(indices, k, data.shape[k], at) for k in range(count))
    if reduction in ("none", "add"):
        return data.index_put(parts, updates, accumulate=reduction == "add")
    row = parts[0]
    for k, part in enumerate(parts[1:], 1):  # the coordinates as one
        row = row * data.shape[k] + part
    rest = tuple(data.shape[count:])
    rows, many = data.reshape((math.prod(data.shape[:count]), *rest)), updates.reshape((-1, *rest))
    index = lib.broadcast_to(row.reshape((-1,) + (1,) * len(rest)), tuple(many.shape))
    return lib.scatter_reduce(rows, 0, index, many, _REDUCTIONS[reduction]).reshape(tuple(data.shape))


@entry("TensorScatter", 24)
def _tensor_scatter(past_cache: Tensor, update: Tensor, write_indices: Value, axis: int, mode: str, at: At) -> Tensor:
    a, length = axis % len(past_cache.shape), update.shape[axis]
    n = past_cache.shape[a]
    first = 0 if write_indices is None else at.tensor(write_indices).reshape((-1,) + (1,) * (len(past_cache.shape) - 1))
    place = first + arange(length).reshape((-1,) + (1,) * (len(past_cache.shape) - 1 - a))
    if mode == "circular":
        place = lib.remainder(place, n)
    return lib.scatter(past_cache, a, lib.broadcast_to(place, tuple(update.shape)), update)


@entry("OneHot", 9, 28)
def _one_hot(indices: Tensor, depth: Int, values: Tensor, axis: int) -> Tensor:
    """Indices outside of -depth .. depth - 1 select nothing."""
    place = indices.long()
    at = axis + len(indices.shape) + 1 if axis < 0 else axis
    counted = lib.unsqueeze(_counted(place, int(depth)), at)
    rank = len(indices.shape) + 1
    hot = counted == arange(int(depth)).reshape(tuple(-1 if k == at else 1 for k in range(rank)))
    return lib.where(hot, lib.select(values, 0, 1), lib.select(values, 0, 0))


@entry("ReverseSequence", 10, 28)
def _reverse_sequence(input: Tensor, sequence_lens: Value, batch_axis: int, time_axis: int, at: At) -> Tensor:
    return reversed_rows(input, at.tensor(sequence_lens), batch_axis, time_axis)


def reversed_rows(x: Tensor, lengths: Tensor, batch_axis: int, time_axis: int) -> Tensor:
    """Each row's first `lengths` elements along the axis of time backwards, the others as they are."""
    rank = len(x.shape)
    time = arange(x.shape[time_axis]).reshape(tuple(-1 if k == time_axis else 1 for k in range(rank)))
    count = lengths.long().reshape(tuple(-1 if k == batch_axis else 1 for k in range(rank)))
    place = lib.where(time < count, count - 1 - time, time)
    return lib.gather(x, time_axis, lib.broadcast_to(place, tuple(x.shape)))


@entry("Compress", 9, 28)
def _compress(input: Tensor, condition: Known, axis: Any) -> Tensor:
    data = input.reshape((-1,)) if axis is None else input
    return lib.index_select(data, axis or 0, from_numpy(np.flatnonzero(condition)))
