"""Convolutions as contractions over guarded, strided reads: one body for every rank, stride, padding, dilation,
groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy

from gradgen.ir.dtypes import DType, float32
from gradgen.ir.guards import MOD, Condition, conjunction, in_range
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import Extent, axes, axis, reduce_axis, same_extent
from gradgen.ops.axis_counts import Axes, Reaching
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.requirements import Joined, require, require_equal, require_multiple
from gradgen.ops.samples import one, sample, t
from gradgen.ops.shapes import A0, A1, known, shape_text
from gradgen.ops.table import call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Ints = int | Sequence[int]


def each(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """One number for every spatial axis, from a number or a sequence."""
    if not isinstance(value, (tuple, list)):
        return (int(value),) * rank
    found = tuple(int(v) for v in value)
    if len(found) == 1:
        return found * rank
    if len(found) != rank:
        raise RuntimeError(f"expected {name} to be a single integer value or a list of {rank} values to match the "
                           f"convolution dimensions, but got {name}={list(found)}")
    return found


def floor_ratio(a: Extent, b: int) -> Extent:
    """floor(a / b) of extents."""
    if isinstance(a, int):
        return a // b
    return a if b == 1 else sympy.floor(sympy.sympify(a) / b)


def window_count(n: Extent, size: int, stride: int, before: int, after: int, dilation: int) -> Extent:
    """How many windows fit."""
    return known(floor_ratio(n + before + after - dilation * (size - 1) - 1, stride) + 1)


@dataclass(frozen=True)
class _Channels:
    """The channel axes of the sum: an output channel is one axis, or, where groups have several, group and place in it."""

    groups: int
    per_in: Extent
    per_out: Extent

    @property
    def apart(self) -> bool:
        return self.groups > 1 and self.per_out != 1

    def bare(self, dtype: DType) -> bool:
        """PyTorch does not multiply padding: one channel makes one, in float32."""
        return self.per_in == 1 and self.per_out == 1 and dtype is float32

    @property
    def first(self) -> int:
        """The first spatial axis of the sum."""
        return 3 if self.apart else 2

    @property
    def shape(self) -> tuple[Extent, ...]:
        return (self.groups, self.per_out) if self.apart else (known(self.groups * self.per_out),)

    @property
    def into(self) -> sympy.Expr:
        """The input channel, for reduce axis 0."""
        return reduce_axis(0) if self.groups == 1 else axis(1) * self.per_in + reduce_axis(0)

    @property
    def out(self) -> sympy.Expr:
        """The output channel."""
        return axis(1) * self.per_out + axis(2) if self.apart else axis(1)

    @property
    def place(self) -> sympy.Expr:
        """The output channel's place in its group."""
        return axis(2) if self.apart else axis(1) if self.groups == 1 else sympy.S.Zero

    def joined(self, node: Compute) -> Node:
        """Group and place in it as one axis again."""
        if not self.apart:
            return node
        whole, per = axis(1), sympy.sympify(self.per_out)
        index = [axis(0), quotient(whole, per), modulo(whole, per), *(axis(k) for k in range(2, node.ndim - 1))]
        shape = (node.shape[0], known(self.groups * self.per_out), *node.shape[3:])
        return Compute(shape, A0, [Read(node, index)], node.dtype)


def _with_bias(node: Node, bias: Node | None) -> Node:
    if bias is None:
        return node
    return Compute(node.shape, A0 + A1, [Read(node, axes(node.ndim)), Read(bias, [axis(1)])], node.dtype)


def _lower_conv(
    node: Node,
    weight: Node,
    bias: Node | None = None,
    *,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Node:
    rank = node.ndim - 2
    _check(node, weight, bias, groups)
    channels = _Channels(groups, weight.shape[1], floor_ratio(weight.shape[0], groups))
    sizes = weight.shape[2:]
    _require_windows(node, sizes, padding, dilation)
    spatial, places, conditions = [], [], []
    for k in range(rank):
        n, (before, after) = node.shape[2 + k], padding[k]
        count = window_count(n, sizes[k], stride[k], before, after, dilation[k])  # type: ignore[arg-type]
        place = axis(channels.first + k) * stride[k] + reduce_axis(1 + k) * dilation[k] - before
        spatial.append(count)
        places.append(place)
        if before or after:
            conditions.extend(in_range(place, n))
    guard = conjunction(*conditions) or ()
    reads = [
        Read(node, [axis(0), channels.into, *places], guard),
        Read(weight, [channels.out, *(reduce_axis(k) for k in range(rank + 1))], guard if channels.bare(node.dtype) else ()),
    ]
    shape = (node.shape[0], *channels.shape, *spatial)
    product = Compute(shape, A0 * A1, reads, node.dtype, reduce_shape=(channels.per_in, *sizes), reducer="sum")
    return _with_bias(channels.joined(product), bias)


def _check(node: Node, weight: Node, bias: Node | None, groups: int) -> None:
    if node.dtype is not weight.dtype:
        raise RuntimeError(f"Input type ({node.dtype.ctype}) and bias type ({weight.dtype.ctype}) should be the same")
    channels = known(weight.shape[1] * groups)
    if not same_extent(node.shape[1], channels):
        raise RuntimeError(
            f"Given groups={groups}, weight of size {shape_text(weight.shape)}, expected "
            f"input{shape_text(node.shape)} to "
            f"have {channels} channels, but got {node.shape[1]} channels instead"
        )
    require(weight.shape[0] - groups, RuntimeError,
            "Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            "{shape} instead", groups=groups, shape=list(weight.shape))
    require_multiple(weight.shape[0], groups, RuntimeError,
                     "Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
                     "size {shape} instead", groups=groups, shape=list(weight.shape))
    if bias is not None:
        _require_bias(weight, bias, weight.shape[0], "Given weight")


def _require_bias(weight: Node, bias: Node, channels: Extent, given: str) -> None:
    message = (given + " of size {shape}, expected bias to be 1-dimensional with {channels} elements, but got bias of size "
               "{bias} instead")
    values = {"shape": list(weight.shape), "channels": channels, "bias": list(bias.shape)}
    if bias.ndim != 1:
        raise RuntimeError(message.format(**values))
    require_equal(bias.shape[0], channels, RuntimeError, message, **values)


def _require_windows(
    node: Node, sizes: Sequence[Extent], padding: Sequence[tuple[int, int]], dilation: Sequence[int]
) -> None:
    padded = [known(e + a + b) for e, (a, b) in zip(node.shape[2:], padding)]
    covered = [known(d * (k - 1) + 1) for k, d in zip(sizes, dilation)]
    rank = len(sizes)
    seen = [*node.shape[:2], *([1] if rank == 1 else []), *node.shape[2:]]  # torch convolves one axis as two
    for size in sizes:
        require(known(size - 1), RuntimeError, "kernel size should be greater than zero, but got {sizes}", sizes=list(sizes))
    for n, k in zip(padded, covered):
        require(known(n - k), RuntimeError,
                "Calculated padded input size per channel: ({padded}). Kernel size: ({covered}). Kernel size can't be "
                "greater than actual input size", padded=Joined(padded, " x "), covered=Joined(covered, " x "))
    for n in node.shape[2:]:
        require(n - 1, RuntimeError, "Only zero batch or zero channel inputs are supported, but got input shape: {shape}",
                shape=seen)


_CONVOLUTIONS = {rank: register(Op(f"conv{rank}d", _lower_conv, "ConvolutionBackward0", KEEP)) for rank in (1, 2, 3)}


def _paddings(padding: Any, rank: int, sizes: Sequence[int], dilation: Sequence[int], stride: Sequence[int]) -> Any:
    if padding == "valid":
        return ((0, 0),) * rank
    if padding == "same":
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        totals = [d * (k - 1) for d, k in zip(dilation, sizes)]
        return tuple((p // 2, p - p // 2) for p in totals)
    if isinstance(padding, str):
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    found = each(padding, rank, "padding")
    if any(p < 0 for p in found):
        raise RuntimeError("negative padding is not supported")
    return tuple((p, p) for p in found)


def _convolve(
    rank: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    steps, spread = each(stride, rank, "stride"), each(dilation, rank, "dilation")
    if any(s <= 0 for s in steps):
        raise RuntimeError("non-positive stride is not supported")
    sizes = tuple(weight.shape[2:])
    pads = _paddings(padding, rank, sizes, spread, steps)
    batched = input if input.ndim == rank + 2 else input.unsqueeze(0)
    _require_rank(batched, weight, steps)
    operands = (batched, weight) if bias is None else (batched, weight, bias)
    result = call(_CONVOLUTIONS[rank], *operands, stride=steps, padding=pads, dilation=spread, groups=int(groups))
    return result if input.ndim == rank + 2 else result.squeeze(0)


def _require_rank(batched: Any, weight: Any, stride: tuple[int, ...]) -> None:
    """RuntimeError, in PyTorch's words, where a weight has another number of axes than the input with its batch."""
    n = weight.ndim
    if n != batched.ndim and len(stride) > 1:
        raise RuntimeError(f"expected stride to be a single integer value or a list of {n - 2} values to match the "
                           f"convolution dimensions, but got stride={list(stride)}")
    if n != batched.ndim:
        raise RuntimeError(f"Expected {n}-dimensional input for {n}-dimensional weight {shape_text(weight.shape)}, but got "
                           f"{batched.ndim}-dimensional input of size {shape_text(batched.shape)} instead")


def _axes(rank: int) -> Any:
    wanted = f"{rank + 1}D (unbatched) or {rank + 2}D (batched)"
    return {"input": Axes(rank + 1, rank + 2, f"Expected {wanted} input to {{name}}, but got input of size: {{shape}}"),
            "weight": Axes(3, None, "weight should have at least three dimensions")}


@public("nn.functional", "", axes=_axes(1), samples=[
    sample(t(2, 3, 7), t(4, 3, 3, seed=1), t(4, seed=2)), one(t(2, 4, 7), t(4, 2, 3, seed=1), None, 2, 1, 1, 2),
    one(t(2, 6), t(3, 2, 3, seed=1)), one(t(1, 2, 6), t(3, 2, 3, seed=1), padding="same"),
    one(t(1, 2, 8), t(3, 2, 3, seed=1), stride=2, padding=2, dilation=2),
])
def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
    dilation: Ints = 1, groups: int = 1,
) -> Tensor:
    """Cross-correlation over [N, C, L] with weight [O, C/groups, K]."""
    return _convolve(1, input, weight, bias, stride, padding, dilation, groups)


@public(
    "nn.functional",
    "",
    axes=_axes(2),
    samples=[
        sample(t(1, 2, 5, 4), t(3, 2, 3, 2, seed=1), t(3, seed=2)),
        one(t(2, 2, 5, 5), t(2, 1, 3, 3, seed=1), None, 2, 1, 1, 2),
        one(t(2, 5, 5), t(3, 2, 3, 3, seed=1)),
        one(t(1, 2, 4, 5), t(3, 2, 3, 2, seed=1), padding="same"),
        one(t(1, 1, 6, 6), t(1, 1, 2, 3, seed=1), stride=(1, 2), padding=(1, 0), dilation=(2, 1)),
    ],
)
def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
    dilation: Ints = 1, groups: int = 1,
) -> Tensor:
    """Cross-correlation over [N, C, H, W] with weight [O, C/groups, KH, KW]."""
    return _convolve(2, input, weight, bias, stride, padding, dilation, groups)


@public("nn.functional", "", axes=_axes(3), samples=[
    one(t(1, 2, 3, 4, 3), t(2, 2, 2, 2, 2, seed=1), t(2, seed=2), padding=1),
])
def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
    dilation: Ints = 1, groups: int = 1,
) -> Tensor:
    """Cross-correlation over [N, C, D, H, W] with weight [O, C/groups, KD, KH, KW]."""
    return _convolve(3, input, weight, bias, stride, padding, dilation, groups)


# --- transposed ------------------------------------------------------------------------------------------------------


def _lower_transposed(
    node: Node, weight: Node, bias: Node | None = None, *, stride: tuple[int, ...], padding: tuple[int, ...],
    output_padding: tuple[int, ...], dilation: tuple[int, ...], groups: int,
) -> Node:
    """out[q] = sum over c, k of x[c, (q + padding - k dilation) / stride] w[c, o, k], where that divides."""
    rank = node.ndim - 2
    if not same_extent(node.shape[1], weight.shape[0]):
        raise RuntimeError(
            f"Given transposed=1, weight of size {shape_text(weight.shape)}, expected "
            f"input{shape_text(node.shape)} to have "
            f"{weight.shape[0]} channels, but got {node.shape[1]} channels instead"
        )
    channels = _Channels(groups, floor_ratio(weight.shape[0], groups), weight.shape[1])
    if bias is not None:
        _require_bias(weight, bias, known(weight.shape[1] * groups), "Given transposed=1, weight")
    spatial, places, conditions = [], [], []
    for k in range(rank):
        n, size = node.shape[2 + k], weight.shape[2 + k]
        reach = axis(channels.first + k) + padding[k] - reduce_axis(1 + k) * dilation[k]
        place = quotient(reach, sympy.Integer(stride[k]))
        if stride[k] != 1:
            conditions.append(Condition(MOD, reach, stride[k]))
        conditions.extend(in_range(place, n))
        places.append(place)
        spatial.append(known((n - 1) * stride[k] - 2 * padding[k] + dilation[k] * (size - 1) + output_padding[k] + 1))
    _require_outputs(node, spatial)
    guard = conjunction(*conditions) or ()  # of both: an infinite weight is not multiplied by what is not there
    reads = [
        Read(node, [axis(0), channels.into, *places], guard),
        Read(weight, [channels.into, channels.place, *(reduce_axis(1 + k) for k in range(rank))], guard),
    ]
    shape = (node.shape[0], *channels.shape, *spatial)
    terms = (channels.per_in, *weight.shape[2:])
    product = Compute(shape, A0 * A1, reads, node.dtype, reduce_shape=terms, reducer="sum")
    return _with_bias(channels.joined(product), bias)


def _require_outputs(node: Node, spatial: Sequence[Extent]) -> None:
    one_axis = [1] if len(spatial) == 1 else []  # torch convolves one axis as two
    given = [*one_axis, *node.shape[2:]]
    for n in node.shape[2:]:
        require(n - 1, RuntimeError, "Only zero batch or zero channel inputs are supported, but got input shape: {shape}",
                shape=[*node.shape[:2], *given])
    for size in spatial:
        require(known(size - 1), RuntimeError,
                "Given input size per channel: ({given}). Calculated output size per channel: ({found}). Output size is too "
                "small", given=Joined(given, " x "), found=Joined([*one_axis, *spatial], " x "))


_TRANSPOSED = {
    rank: register(Op(f"conv_transpose{rank}d", _lower_transposed, "ConvolutionBackward0", KEEP)) for rank in (1, 2, 3)
}


def _transposed_function(rank: int, samples: Sequence[Any]) -> Any:
    def conv_transpose(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
        output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
    ) -> Tensor:
        batched = input if input.ndim == rank + 2 else input.unsqueeze(0)
        operands = (batched, weight) if bias is None else (batched, weight, bias)
        steps = each(stride, rank, "stride")
        _require_rank(batched, weight, steps)
        result = call(
            _TRANSPOSED[rank], *operands, stride=steps, padding=each(padding, rank, "padding"),
            output_padding=each(output_padding, rank, "output_padding"), dilation=each(dilation, rank, "dilation"),
            groups=int(groups),
        )
        return result if input.ndim == rank + 2 else result.squeeze(0)

    conv_transpose.__name__ = conv_transpose.__qualname__ = f"conv_transpose{rank}d"
    conv_transpose.__doc__ = f"The adjoint of conv{rank}d as a map of its own; weight [C, O/groups, K...]."
    return public("nn.functional", "", name=f"conv_transpose{rank}d", samples=samples, axes=_axes(rank))(conv_transpose)


conv_transpose1d = _transposed_function(1, [
    one(t(1, 2, 4), t(2, 3, 3, seed=1), t(3, seed=2)), one(t(1, 4, 4), t(4, 2, 3, seed=1), None, 2, 1, 1, 2),
    one(t(1, 2, 4), t(2, 3, 3, seed=1), dilation=2),
])
conv_transpose2d = _transposed_function(2, [one(t(1, 2, 3, 3), t(2, 3, 2, 3, seed=1), t(3, seed=2), (2, 1), (0, 1))])
conv_transpose3d = _transposed_function(3, [])


# --- patches as columns ----------------------------------------------------------------------------------------------


_PATCHED = ("Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but "
            "got: {shape}")


def _lower_unfold(
    node: Node, *, size: tuple[int, int], dilation: tuple[int, int], padding: tuple[int, int], stride: tuple[int, int]
) -> Node:
    n, c, h, w = node.shape
    rows = window_count(h, size[0], stride[0], padding[0], padding[0], dilation[0])
    columns = window_count(w, size[1], stride[1], padding[1], padding[1], dilation[1])
    for extent in (c, h, w):
        require(extent - 1, RuntimeError, _PATCHED, shape=list(node.shape))
    for count in (rows, columns):
        require(known(count - 1), RuntimeError,
                "Given input with spatial size ({h}, {w}), kernel_size={size}, dilation={dilation}, padding={padding}, "
                "calculated shape of the array of sliding blocks as ({rows}, {columns}), but its components must be at least "
                "one.", h=h, w=w, size=size, dilation=dilation, padding=padding, rows=rows, columns=columns)
    area = size[0] * size[1]
    kernel = modulo(axis(1), sympy.Integer(area))
    at_row = quotient(axis(2), sympy.sympify(columns)) * stride[0]
    at_column = modulo(axis(2), sympy.sympify(columns)) * stride[1]
    i = at_row + quotient(kernel, sympy.Integer(size[1])) * dilation[0] - padding[0]
    j = at_column + modulo(kernel, sympy.Integer(size[1])) * dilation[1] - padding[1]
    guard = conjunction(*in_range(i, h), *in_range(j, w)) if any(padding) else ()
    shape = (n, known(c * area), known(rows * columns))
    return Compute(
        shape, A0, [Read(node, [axis(0), quotient(axis(1), sympy.Integer(area)), i, j], guard or ())], node.dtype
    )


_unfold = register(Op("im2col", _lower_unfold, "Im2ColBackward0", KEEP))


@public("nn.functional", samples=[one(t(1, 2, 4, 5), (2, 3)), one(t(1, 2, 4, 4), 2, padding=1, stride=2)],
        axes=(Reaching(1), Reaching(2), Axes(3, 4, _PATCHED)))
def unfold(input: Tensor, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> Tensor:
    """Patches of [N, C, H, W] as columns: [N, C*KH*KW, patches]."""
    batched = input if input.ndim == 4 else input.unsqueeze(0)
    result = call(
        _unfold, batched, size=each(kernel_size, 2, "kernel_size"), dilation=each(dilation, 2, "dilation"),
        padding=each(padding, 2, "padding"), stride=each(stride, 2, "stride"),
    )
    return result if input.ndim == 4 else result.squeeze(0)
