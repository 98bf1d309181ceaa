"""Elements of images rearranged: fold, pixel_shuffle and its inverse, channel_shuffle, max_unpool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy

from gradgen.ir.guards import MOD, Condition, conjunction, in_range
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import axes, axis, reduce_axis
from gradgen.ops.axis_counts import Axes
from gradgen.ops.convolution import Ints, each, floor_ratio, window_count
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.requirements import require_equal, require_multiple
from gradgen.ops.samples import edges, one, sample, t
from gradgen.ops.shapes import A0, known, shape_text
from gradgen.ops.table import call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Numbers = tuple[int, ...]

# --- columns as patches -----------------------------------------------------------------------------------------------


def _lower_fold(
    node: Node, *, out: Numbers, size: Numbers, dilation: Numbers, padding: Numbers, stride: Numbers
) -> Node:
    """out[i, j] = sum over kernel places k of columns[c, k, (i + padding - k dilation) / stride], where that divides."""
    counts = [window_count(out[d], size[d], stride[d], padding[d], padding[d], dilation[d]) for d in range(2)]
    places, conditions = [], []
    for d in range(2):
        reach = axis(2 + d) + padding[d] - reduce_axis(d) * dilation[d]
        place = quotient(reach, sympy.Integer(stride[d])) if stride[d] != 1 else reach
        if stride[d] != 1:
            conditions.append(Condition(MOD, reach, stride[d]))
        conditions.extend(in_range(place, counts[d]))
        places.append(place)
    area = size[0] * size[1]
    channels = floor_ratio(node.shape[1], area)
    row = (axis(1) * size[0] + axis(2)) * size[1] + axis(3)
    column = axis(4) * counts[1] + axis(5)
    apart = Compute((node.shape[0], channels, *size, *counts), A0, [Read(node, [axis(0), row, column])], node.dtype)
    read = Read(apart, [axis(0), axis(1), reduce_axis(0), reduce_axis(1), *places], conjunction(*conditions) or ())
    return Compute((node.shape[0], channels, *out), A0, [read], node.dtype, reduce_shape=size, reducer="sum")


_fold = register(Op("col2im", _lower_fold, "Col2ImBackward0", KEEP))


@public("nn.functional", samples=[
    one(t(1, 12, 12), (4, 5), (2, 2)), one(t(2, 8, 4), 4, 2, padding=1, stride=3, dilation=1), one(t(8, 4), 3, 2),
    one(t(1, 4, 9), (5, 5), 2, dilation=2, padding=1, stride=2),
], axes=Axes(2, 3, "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
                   "input, but got: {shape}"))
def fold(
    input: Tensor, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
) -> Tensor:
    """Columns [N, C*KH*KW, patches] added up as the patches of [N, C, H, W]: the adjoint of unfold."""
    batched = input if input.ndim == 3 else input.unsqueeze(0)
    names = ("output_size", "kernel_size", "dilation", "padding", "stride")
    out, size, spread, pad, step = (
        each(v, 2, n) for v, n in zip((output_size, kernel_size, dilation, padding, stride), names)
    )
    _check_fold(batched, out, size, spread, pad, step)
    found = call(_fold, batched, out=out, size=size, dilation=spread, padding=pad, stride=step)
    return found if input.ndim == 3 else found.squeeze(0)


def _check_fold(input: Any, out: Numbers, size: Numbers, spread: Numbers, pad: Numbers, step: Numbers) -> None:
    channels, columns = input.shape[1], input.shape[2]
    area = size[0] * size[1]
    require_multiple(channels, area, RuntimeError,
                     "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
                     "input.size(1)={channels} and kernel_size={size}.", channels=channels, size=size)
    counts = [(out[d] + 2 * pad[d] - spread[d] * (size[d] - 1) - 1) // step[d] + 1 for d in range(2)]
    pairs = ", ".join(f"{n}=({v[0]}, {v[1]})" for n, v in (
        ("output_size", out), ("kernel_size", size), ("dilation", spread), ("padding", pad), ("stride", step)))
    require_equal(columns, counts[0] * counts[1], RuntimeError,
                  "Given {pairs}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
                  "{counts[0]} * {counts[1]} = {total}, but got input.size(2)={columns}.", pairs=pairs, counts=counts,
                  total=counts[0] * counts[1], columns=columns)


# --- shuffles ---------------------------------------------------------------------------------------------------------


def _lower_shuffle(node: Node, *, factor: int) -> Node:
    lead = node.ndim - 3
    c, h, w = node.shape[lead:]
    channel, row, column, *rest = (axis(lead + k) for k in range(6))
    r, channels = sympy.Integer(factor), floor_ratio(c, factor**2)
    apart = Compute((*node.shape[:lead], channels, factor, factor, h, w), A0,
                    [Read(node, [*axes(lead), (channel * factor + row) * factor + column, *rest[:2]])], node.dtype)
    place = [*axes(lead), channel, modulo(row, r), modulo(column, r), quotient(row, r), quotient(column, r)]
    return Compute((*node.shape[:lead], channels, known(h * factor), known(w * factor)), A0, [Read(apart, place)], node.dtype)


_shuffle = register(Op("pixel_shuffle", _lower_shuffle, "PixelShuffleBackward0", KEEP))


def _require_image(name: str, input: Tensor, factor_name: str, factor: int) -> None:
    if input.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {factor_name}, but got {factor}")


@public("nn.functional", "", samples=[
    one(t(1, 8, 2, 3), 2), sample(t(8, 2, 3), 2), one(t(3, 2, 4, 1, 2), 2), one(t(2, 1, 2, 9, 1, 2), 3),
])
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """[..., C r r, H, W] -> [..., C, H r, W r]."""
    _require_image("pixel_shuffle", input, "upscale_factor", upscale_factor)
    channels = input.shape[-3]
    require_multiple(channels, int(upscale_factor) ** 2, RuntimeError,
                     "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
                     "upscale_factor, but input.size(-3)={channels} is not divisible by {square}", channels=channels,
                     square=upscale_factor**2)
    return call(_shuffle, input, factor=int(upscale_factor))


def _lower_unshuffle(node: Node, *, factor: int) -> Node:
    lead = node.ndim - 3
    channels, height, width = node.shape[lead:]
    r = sympy.Integer(factor)
    c = axis(lead)
    row = axis(lead + 1) * factor + modulo(quotient(c, r), r)
    column = axis(lead + 2) * factor + modulo(c, r)
    index = [*axes(lead), quotient(c, r * r), row, column]
    shape = (*node.shape[:lead], known(channels * factor**2), floor_ratio(height, factor), floor_ratio(width, factor))
    return Compute(shape, A0, [Read(node, index)], node.dtype)


_unshuffle = register(Op("pixel_unshuffle", _lower_unshuffle, "PixelUnshuffleBackward0", KEEP))


@public("nn.functional", "", samples=[sample(t(1, 2, 4, 6), 2), one(t(2, 3, 3), 3), one(t(2, 3, 1, 2, 4), 2)])
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """[..., C, H r, W r] -> [..., C r r, H, W]."""
    _require_image("pixel_unshuffle", input, "downscale_factor", downscale_factor)
    for name, at in (("height", -2), ("width", -1)):
        require_multiple(input.shape[at], int(downscale_factor), RuntimeError,
                         "pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({at})={n} is "
                         "not divisible by {factor}", name=name, at=at, n=input.shape[at], factor=downscale_factor)
    return call(_unshuffle, input, factor=int(downscale_factor))


def _lower_channel_shuffle(node: Node, *, groups: int) -> Node:
    per = floor_ratio(node.shape[1], groups)
    g = sympy.Integer(groups)
    index = [axis(0), modulo(axis(1), g) * per + quotient(axis(1), g), *(axis(d) for d in range(2, node.ndim))]
    return Compute(node.shape, A0, [Read(node, index)], node.dtype)


_channel_shuffle = register(Op("channel_shuffle", _lower_channel_shuffle, "ChannelShuffleBackward0", KEEP))


@public("nn.functional", "", samples=[one(t(1, 6, 2, 2), 2), one(t(2, 6, 3), 3)],
        axes=Axes(3, None, "channel_shuffle expects input with > 2 dims, but got input with sizes {shape}"))
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels [groups, C / groups] transposed."""
    channels = input.shape[1]
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    require_multiple(channels, int(groups), RuntimeError,
                     "Number of channels must be divisible by groups. Got {channels} channels and {groups} groups.",
                     channels=channels, groups=groups)
    return call(_channel_shuffle, input, groups=int(groups))


_zeros = register(
    Op("zeros_of_shape", lambda node, *, shape: Compute(shape, sympy.Integer(0), [], node.dtype), "NotDifferentiable", KEEP)
)

# --- unpooling --------------------------------------------------------------------------------------------------------


def _unpool(rank: int, samples: Sequence[Any]) -> None:
    def max_unpool(
        input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:
        size, pad = each(kernel_size, rank, "kernel_size"), each(padding, rank, "padding")
        step = size if stride is None else each(stride, rank, "stride")
        lead = input.ndim - rank
        usual = [(input.shape[lead + d] - 1) * step[d] + size[d] - 2 * pad[d] for d in range(rank)]
        out = usual if output_size is None else list(output_size)[-rank:]
        for d in range(rank):
            low, high = usual[d] - step[d], usual[d] + step[d]
            if not low < out[d] < high:
                raise ValueError(f"invalid output_size {out} (dim {d} must be between {low} and {high})")
        if tuple(indices.shape) != tuple(input.shape):
            seen = [shape_text((*x.shape, *([1] if rank == 1 else []))) for x in (input, indices)]
            raise RuntimeError(f"Expected shape of indices to be same as that of the input tensor ({seen[0]}) but got "
                               f"indices tensor with shape: {seen[1]}")
        total = 1
        for n in out:
            total *= n
        zeros = call(_zeros, input, shape=(*tuple(input.shape)[:lead], total))
        found = zeros.scatter(-1, indices.flatten(lead), input.flatten(lead))
        return found.reshape((*tuple(input.shape)[:lead], *out))

    max_unpool.__name__ = max_unpool.__qualname__ = f"max_unpool{rank}d"
    max_unpool.__doc__ = "The elements put at the places max_pool found them at, zeros elsewhere."
    flat, n = max(rank, 2), "{more}" if rank == 1 else "{n}"  # torch pools one axis as two
    text = (f"Input to max_unpooling{flat}d should be a {flat + 1}d or {flat + 2}d Tensor, but got a tensor with {n} "
            "dimensions.")
    axes = (Axes(rank, None, "tuple index out of range", IndexError), Axes(rank + 1, rank + 2, text))
    public("nn.functional", name=f"max_unpool{rank}d", samples=samples, axes=axes)(max_unpool)


_unpool(1, [one(t(1, 1, 2), edges((((1, 2),),), "int64", False), 2)])
_unpool(2, [one(t(1, 1, 2, 2), edges(((((0, 3), (9, 14)),),), "int64", False), 2)])
_unpool(3, [one(t(1, 1, 1, 1, 2), edges((((((1, 14),),),),), "int64", False), 2)])
