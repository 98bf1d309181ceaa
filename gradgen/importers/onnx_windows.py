"""ONNX's convolutions and pooling: windows over the last axes, with their padding on either side and `auto_pad`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradgen.eager.creation import arange, from_numpy
from gradgen.importers.onnx_moving import padded
from gradgen.importers.onnx_table import At, Ints, Tensor, entry, lib, refuse


@dataclass(frozen=True)
class Windows:
    """Where windows lie over the last axes; `after` may reach further than the pads where the last window is cut off."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Any, ...]
    after: tuple[Any, ...]

    @property
    def plain(self) -> bool:
        """Whether PyTorch's operation takes the pads as they are."""
        return self.before == self.after and all(2 * p <= k for p, k in zip(self.before, self.kernel))


def windows_of(
    x: Tensor, kernel: Sequence[int], strides: Any, dilations: Any, pads: Any, auto_pad: str, ceil: bool = False
) -> Windows:
    """The windows that the attributes mean on x; with `ceil` also those that begin inside and end outside."""
    rank = len(kernel)
    steps, wide = tuple(strides or (1,) * rank), tuple(dilations or (1,) * rank)
    before, after = list((pads or (0,) * (2 * rank))[:rank]), list((pads or (0,) * (2 * rank))[rank:])
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, wide)]
    extents = tuple(x.shape)[-rank:]
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        for a, (n, r, s) in enumerate(zip(extents, reach, steps)):
            if not isinstance(n, int) and s != 1:
                raise refuse(f"auto_pad={auto_pad} of an axis of {n} with strides")
            total = max((-(-n // s) - 1) * s + r - n, 0) if isinstance(n, int) else r - 1
            small, large = total // 2, total - total // 2
            before[a], after[a] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    elif auto_pad == "VALID":
        before, after = [0] * rank, [0] * rank
    if ceil:
        for a, (n, r, s) in enumerate(zip(extents, reach, steps)):
            if not isinstance(n, int):
                raise refuse(f"ceil_mode of an axis of {n}")
            count = -(-(n + before[a] + after[a] - r) // s) + 1
            count -= (count - 1) * s >= n + before[a]  # a window that begins in the padding behind is none
            after[a] += max((count - 1) * s + r - (n + before[a] + after[a]), 0)
    return Windows(tuple(kernel), steps, wide, tuple(before), tuple(after))


def _cut(x: Tensor, w: Windows) -> Tensor:
    """[N, C, ..., outputs ..., window elements] of what is padded already."""
    rank = len(w.kernel)
    for a, (k, s, d) in enumerate(zip(w.kernel, w.strides, w.dilations)):
        x = x.unfold(2 + a, (k - 1) * d + 1, s)[..., ::d]
    return x.reshape((*x.shape[: 2 + rank], math.prod(w.kernel)))


# --- convolution --------------------------------------------------------------------------------------------------------


@entry("Conv", 1, 22, ignored="kernel_shape")
def _conv(X: Tensor, W: Tensor, B: Tensor, auto_pad: str, dilations: Ints, group: int, pads: Ints, strides: Ints) -> Tensor:
    w = windows_of(X, tuple(W.shape)[2:], strides, dilations, pads, auto_pad)
    even = w.before == w.after
    x = X if even else padded(X, w.before, w.after)
    pad = w.before if even else (0,) * len(w.kernel)
    return lib(f"conv{_rank(w)}d")(x, W, B, w.strides, pad, w.dilations, group)


def _rank(w: Windows) -> int:
    if len(w.kernel) > 3:
        raise refuse(f"{len(w.kernel)} axes")
    return len(w.kernel)


@entry("ConvTranspose", 1, 22, ignored="kernel_shape")
def _conv_transpose(
    X: Tensor, W: Tensor, B: Tensor, auto_pad: str, dilations: Ints, group: int, output_padding: Ints, output_shape: Ints,
    pads: Ints, strides: Ints
) -> Tensor:
    kernel = tuple(W.shape)[2:]
    w = Windows(kernel, strides or (1,) * len(kernel), dilations or (1,) * len(kernel), (), ())
    rank, more = _rank(w), tuple(output_padding or (0,) * len(kernel))
    before, after = (pads or (0,) * 2 * rank)[:rank], (pads or (0,) * 2 * rank)[rank:]
    whole = [(n - 1) * s + (k - 1) * d + 1 + m for n, s, k, d, m in zip(X.shape[2:], w.strides, kernel, w.dilations, more)]
    if output_shape is not None or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = output_shape[-rank:] if output_shape is not None else [n * s for n, s in zip(X.shape[2:], w.strides)]
        cut = [e - n for e, n in zip(whole, wanted)]
        small, large = [c // 2 for c in cut], [c - c // 2 for c in cut]
        before, after = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    if tuple(before) == tuple(after) and all(m < max(s, d) for m, s, d in zip(more, w.strides, w.dilations)) and all(
        not isinstance(b, int) or b >= 0 for b in before
    ):
        return lib(f"conv_transpose{rank}d")(X, W, B, w.strides, tuple(before), more, group, w.dilations)
    y = lib(f"conv_transpose{rank}d")(X, W, None, w.strides, 0, 0, group, w.dilations)
    y = padded(y, [max(-b, 0) for b in before], [m + max(-a, 0) for m, a in zip(more, after)])
    for k, (b, a) in enumerate(zip(before, after)):
        y = lib.narrow(y, 2 + k, max(b, 0), y.shape[2 + k] - max(b, 0) - max(a, 0))
    return y if B is None else y + B.reshape((-1,) + (1,) * rank)


@entry("Col2Im", 18)
def _col2im(input: Tensor, image_shape: Ints, block_shape: Ints, dilations: Ints, pads: Ints, strides: Ints) -> Tensor:
    """The sum of blocks, of any number of axes: each block's elements are scattered to where they came from."""
    rank = len(image_shape)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    pads = pads or (0,) * 2 * rank
    n, columns, _ = input.shape
    places, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
    for a in range(rank):
        reach = (block_shape[a] - 1) * dilations[a] + 1
        steps = (image_shape[a] + pads[a] + pads[a + rank] - reach) // strides[a] + 1
        one = (np.arange(block_shape[a]) * dilations[a])[:, None] + (np.arange(steps) * strides[a])[None, :] - pads[a]
        fits = (one >= 0) & (one < image_shape[a])
        places = (places[:, None, :, None] * image_shape[a] + one.clip(0, image_shape[a] - 1)[None, :, None, :])
        inside = inside[:, None, :, None] & fits[None, :, None, :]
        places, inside = (v.reshape(v.shape[0] * v.shape[1], -1) for v in (places, inside))
    channels, size = columns // math.prod(block_shape), math.prod(image_shape)
    target = np.where(inside, places, size).reshape(-1)  # what falls outside is gathered in one place more
    base = padded(input[:, :1, :1] * 0, (0, 0), (channels - 1, size))
    values = input.reshape((n, channels, -1))
    found = lib.index_add(base, 2, from_numpy(target), values)
    return lib.narrow(found, 2, 0, size).reshape((n, channels, *image_shape))


# --- pooling ------------------------------------------------------------------------------------------------------------


@entry("MaxPool", 8, 22)
def _max_pool(
    X: Tensor, auto_pad: str, ceil_mode: int, dilations: Ints, kernel_shape: Ints, pads: Ints, storage_order: int,
    strides: Ints, at: At
) -> Any:
    w = windows_of(X, kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
    if at.outputs == 1 and w.plain and len(w.kernel) <= 3:
        return lib(f"max_pool{len(w.kernel)}d")(X, w.kernel, w.strides, w.before, w.dilations)
    least = -math.inf if X.dtype.is_floating_point else -(2**31)
    rows = _cut(padded(X, w.before, w.after, least), w)
    values, place = lib.max(rows, -1)
    if at.outputs == 1:
        return values
    return values, _flat_places(X, w, place, bool(storage_order))


def _flat_places(x: Tensor, w: Windows, place: Tensor, columns_first: bool) -> Tensor:
    """The index of each window's largest element among all of x."""
    rank, extents = len(w.kernel), tuple(x.shape)[2:]
    order = range(rank) if not columns_first else reversed(range(rank))
    stride, steps = 1, {}
    for a in reversed(list(order)):
        steps[a], stride = stride, stride * extents[a]
    found = 0
    for a in reversed(range(rank)):
        inside = lib.remainder(place, w.kernel[a]) * w.dilations[a]
        place = lib.div(place, w.kernel[a], rounding_mode="floor")
        count = inside.shape[2 + a]
        start = (arange(count) * w.strides[a] - w.before[a]).reshape((-1,) + (1,) * (rank - 1 - a))
        found = found + (inside + start) * steps[a]
    image = arange(x.shape[0] * x.shape[1]).reshape((x.shape[0], x.shape[1]) + (1,) * rank)
    return found + image * stride


@entry("AveragePool", 7, 22)
def _average_pool(
    X: Tensor, auto_pad: str, ceil_mode: int = 0, count_include_pad: int = 0, dilations: Ints = None, *, kernel_shape: Ints,
    pads: Ints, strides: Ints
) -> Tensor:
    w = windows_of(X, kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
    rank, real = len(w.kernel), windows_of(X, kernel_shape, strides, dilations, pads, auto_pad)
    if w == real and w.plain and set(w.dilations) == {1} and rank <= 3:
        return lib(f"nn.functional.avg_pool{rank}d")(X, w.kernel, w.strides, w.before, False, bool(count_include_pad))
    total = lib.sum(_cut(padded(X, w.before, w.after), w), -1)
    return total / from_numpy(_counts(X, w, real, bool(count_include_pad))).to(X.dtype)


def _counts(x: Tensor, w: Windows, real: Windows, with_pads: bool) -> np.ndarray:
    """How many elements each window averages: those of x, and those of the padding that was asked for."""
    found = np.ones((), np.int64)
    for a, n in enumerate(tuple(x.shape)[2:]):
        if not isinstance(n, int):
            raise refuse(f"an average over windows that are cut off, of an axis of {n}")
        outputs = (n + w.before[a] + w.after[a] - (w.kernel[a] - 1) * w.dilations[a] - 1) // w.strides[a] + 1
        place = (np.arange(outputs) * w.strides[a])[:, None] + np.arange(w.kernel[a]) * w.dilations[a] - w.before[a]
        first, last = (-real.before[a], n + real.after[a]) if with_pads else (0, n)
        found = found[..., None] * ((place >= first) & (place < last)).sum(1)
    return found


@entry("LpPool", 2, 22)
def _lp_pool(X: Tensor, auto_pad: str, ceil_mode: int = 0, dilations: Ints = None, *, kernel_shape: Ints, p: int, pads: Ints,
             strides: Ints) -> Tensor:
    w = windows_of(X, kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
    return lib("linalg.vector_norm")(_cut(padded(X, w.before, w.after), w), p, -1)


@entry("GlobalAveragePool", 1, 22)
def _global_average(X: Tensor) -> Tensor:
    return lib.mean(X, tuple(range(2, len(X.shape))), True)


@entry("GlobalMaxPool", 1, 22)
def _global_max(X: Tensor) -> Tensor:
    return lib.amax(X, tuple(range(2, len(X.shape))), True)


@entry("GlobalLpPool", 2, 22)
def _global_lp(X: Tensor, p: int) -> Tensor:
    return lib("linalg.vector_norm")(X, p, tuple(range(2, len(X.shape))), True)


@entry("MaxUnpool", 9, 22)
def _max_unpool(X: Tensor, I: Tensor, output_shape: Ints, kernel_shape: Ints, pads: Ints, strides: Ints) -> Tensor:  # noqa: E741
    rank = len(kernel_shape)
    steps, pads = strides or (1,) * rank, pads or (0,) * 2 * rank
    places = enumerate(zip(X.shape[2:], steps, kernel_shape))
    natural = [(n - 1) * s + k - pads[a] - pads[a + rank] for a, (n, s, k) in places]
    size = math.prod((*X.shape[:2], *natural))
    flat = padded(X.reshape((-1,))[:1] * 0, (0,), (size - 1,))
    found = lib.scatter(flat, 0, I.reshape((-1,)), X.reshape((-1,))).reshape((*X.shape[:2], *natural))
    if output_shape is None:
        return found
    return padded(found, (0,) * rank, [w - n for w, n in zip(output_shape[-rank:], natural)])
