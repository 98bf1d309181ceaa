"""Normalisation: layer_norm, rms_norm, batch_norm, group_norm, instance_norm, normalize; dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy

from gradgen.ir import functions as fn
from gradgen.ir.guards import conjunction, in_range
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import Extent, axes, axis, reduce_axis, same_extent
from gradgen.ops.activation import written
from gradgen.ops.axis_counts import Axes
from gradgen.ops.norms import vector_norm
from gradgen.ops.reduction import count_of, moments
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.requirements import require_different, require_equal
from gradgen.ops.samples import edges, one, plain, sample, t
from gradgen.ops.shapes import A0, A1, A2, exact, known, numel, over, reduce, shape_text
from gradgen.ops.table import call, public
from gradgen.ops.tensors import current

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

NN = "nn.functional"
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


def _normalised(node: Node, dims: Sequence[int], eps: sympy.Expr) -> Node:
    """(x - mean) / sqrt(variance + eps) over `dims`, two passes."""
    count = count_of(node.shape, dims)
    center = reduce(node, dims, "sum", keepdim=True)
    center = over(fn.div(A0, count), center.shape, (center,), node.dtype)
    spread = reduce(node, dims, "sum", keepdim=True, body=(A0 - A1) ** 2, extra=[center])
    scale = over(fn.rsqrt(fn.div(A0, count) + eps), spread.shape, (spread,), node.dtype)
    return over((A0 - A1) * A2, node.shape, (node, center, scale), node.dtype)


def _affine(node: Node, weight: Node | None, bias: Node | None, index: Sequence[Any]) -> Node:
    """node * weight + bias, both read at `index`."""
    reads = [Read(node, axes(node.ndim))]
    body: sympy.Expr = A0
    if weight is not None:
        reads.append(Read(weight, index))
        body = body * A1
    if bias is not None:
        body = body + (A2 if weight is not None else A1)
        reads.append(Read(bias, index))
    return node if len(reads) == 1 else Compute(node.shape, body, reads, node.dtype)


def _require_elements(count: Extent, **tensors: Any) -> None:
    """RuntimeError, in batch_norm's words, where one of the tensors has not one element a channel."""
    for name, x in tensors.items():
        if x is not None:
            given = numel(tuple(x.shape))
            require_equal(given, count, RuntimeError, "{name} should contain {count} elements not {given}", name=name,
                          count=count, given=given)


def _require_shape(shape: Sequence[Extent], rank: int, **tensors: Any) -> None:
    """RuntimeError, in layer_norm's words, where one of the tensors has not the shape of the last axes."""
    wanted = list(shape)[len(shape) - rank:]
    message = ("Expected {name} to be of same shape as normalized_shape, but got {name} of shape {given} and "
               "normalized_shape = {wanted}")
    for name, x in tensors.items():
        if x is not None:
            given = list(x.shape)
            if len(given) != rank:
                raise RuntimeError(message.format(name=name, given=given, wanted=wanted))
            for a, b in zip(given, wanted):
                require_equal(a, b, RuntimeError, message, name=name, given=given, wanted=wanted)


def _options(weight: Any, bias: Any) -> tuple[tuple[Any, ...], dict[str, bool]]:
    return tuple(x for x in (weight, bias) if x is not None), {"scaled": weight is not None, "moved": bias is not None}


def _parts(nodes: Sequence[Node], scaled: bool, moved: bool) -> tuple[Node | None, Node | None]:
    rest = iter(nodes)
    return (next(rest) if scaled else None), (next(rest) if moved else None)


# --- layer and root mean square --------------------------------------------------------------------------------------


def _lower_layer_norm(node: Node, *rest: Node, rank: int, eps: sympy.Expr, scaled: bool, moved: bool) -> Node:
    dims = tuple(range(node.ndim - rank, node.ndim))
    return _affine(_normalised(node, dims, eps), *_parts(rest, scaled, moved), [axis(d) for d in dims])


def _lower_rms_norm(node: Node, *rest: Node, rank: int, eps: sympy.Expr, scaled: bool, moved: bool) -> Node:
    dims = tuple(range(node.ndim - rank, node.ndim))
    squares = reduce(node, dims, "sum", keepdim=True, body=A0**2)
    scale = over(fn.rsqrt(fn.div(A0, count_of(node.shape, dims)) + eps), squares.shape, (squares,), node.dtype)
    normal = over(A0 * A1, node.shape, (node, scale), node.dtype)
    return _affine(normal, *_parts(rest, scaled, moved), [axis(d) for d in dims])


_layer_norm = register(Op("layer_norm", _lower_layer_norm, "NativeLayerNormBackward0", KEEP))
_rms_norm = register(Op("rms_norm", _lower_rms_norm, "MulBackward0", KEEP))


def _check_normalized(input: Tensor, normalized_shape: Sequence[int]) -> int:
    wanted = tuple(normalized_shape)
    if not wanted:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    tail = tuple(input.shape)[-len(wanted):]
    if len(tail) != len(wanted) or not all(same_extent(a, b) for a, b in zip(tail, wanted)):
        stars = ", ".join(["*", *map(str, wanted)])
        raise RuntimeError(
            f"Given normalized_shape={list(wanted)}, expected input with shape [{stars}], but got input of size"
            f"{shape_text(input.shape)}"
        )
    return len(wanted)


NORM = [
    sample(t(2, 3), (3,)),
    one(t(2, 3, 4), (3, 4), t(3, 4, seed=1), t(3, 4, seed=2)),
    one(t(2, 3), (3,), t(3, seed=1)),
    one(edges(((2.0, 2.0, 2.0), (1.0, 2.0, 4.0))), (3,)),
]


@public(NN, "", samples=[*NORM, one(t(2, 3), (3,), eps=0.1)])
def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-05,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes (Ba, Kiros & Hinton 2016)."""
    rank = _check_normalized(input, normalized_shape)
    _require_shape(tuple(input.shape), rank, weight=weight, bias=bias)
    operands, flags = _options(weight, bias)
    return call(_layer_norm, input, *operands, rank=rank, eps=exact(eps), **flags)


@public(NN, "", samples=[sample(t(2, 3), (3,)), one(t(2, 3, 4), (3, 4), t(3, 4, seed=1)), one(t(2, 3), (3,), eps=0.1)])
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x**2) + eps) * weight over the last axes (Zhang & Sennrich 2019)."""
    if input.ndim < len(normalized_shape):
        raise ValueError(f"Input tensor must have at least {len(normalized_shape)} dimensions, but got {input.ndim}")
    rank = _check_normalized(input, normalized_shape)
    _require_shape(tuple(input.shape), rank, weight=weight)
    operands, flags = _options(weight, None)
    small = EPS[input.dtype.name] if eps is None else eps
    return call(_rms_norm, input, *operands, rank=rank, eps=exact(small), **flags)


# --- batch, group, instance ------------------------------------------------------------------------------------------


def _channel_dims(node: Node) -> tuple[int, ...]:
    return tuple(d for d in range(node.ndim) if d != 1)


def _lower_batch_norm(node: Node, *rest: Node, eps: sympy.Expr, scaled: bool, moved: bool) -> Node:
    normal = _normalised(node, _channel_dims(node), eps)
    return _affine(normal, *_parts(rest, scaled, moved), [axis(1)])


def _lower_batch_norm_fixed(
    node: Node, mean: Node, var: Node, *rest: Node, eps: sympy.Expr, scaled: bool, moved: bool
) -> Node:
    at = [axis(1)]
    reads = [Read(node, axes(node.ndim)), Read(mean, at), Read(var, at)]
    normal = Compute(node.shape, (A0 - A1) * fn.rsqrt(A2 + eps), reads, node.dtype)
    return _affine(normal, *_parts(rest, scaled, moved), at)


def _lower_channel_moments(node: Node) -> tuple[Node, Node]:
    """Mean and unbiased variance per channel, for running statistics; no derivative."""
    variance, center = moments(node, _channel_dims(node), sympy.Integer(1), False)
    stopped = [over(fn.stop(A0), n.shape, (n,), n.dtype) for n in (center, variance)]
    return stopped[0], stopped[1]


_batch_norm = register(Op("batch_norm", _lower_batch_norm, "NativeBatchNormBackward0", KEEP))
_batch_norm_fixed = register(Op("batch_norm_fixed", _lower_batch_norm_fixed, "NativeBatchNormBackward0", KEEP))
_channel_moments = register(Op("channel_moments", _lower_channel_moments, "NotDifferentiable", KEEP, outputs=2))
STATISTICS = (t(3, seed=3, grad=False), t(3, domain="positive", seed=4, grad=False))


_NO_CHANNELS = ("tuple index out of range", "Dimension out of range (expected to be in range of [-1, 0], but got 1)")


@public(
    NN,
    "",
    samples=[
        one(t(4, 3), *STATISTICS, t(3, seed=1), t(3, seed=2)),
        one(t(4, 3), *STATISTICS),
        one(t(4, 3), None, None, training=True),
        one(t(2, 3, 4), None, None, t(3, seed=1), t(3, seed=2), True),
    ],
)
def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-05,
) -> Tensor:
    """Per channel (axis 1): by the batch's own moments in training, by the running ones otherwise.

    In training the running statistics are updated in place (the variance unbiased), as in torch.
    """
    channels = input.shape[1] if input.ndim > 1 else 0
    for name, x in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if x is not None and not same_extent(x.numel(), channels):
            raise RuntimeError(f"{name} should contain {channels} elements not {x.numel()}")
    if input.ndim < 2:
        require_equal(numel(tuple(input.shape)), 0, IndexError, _NO_CHANNELS[input.ndim])
        return input.clone()
    operands, flags = _options(weight, bias)
    _require_elements(input.shape[1], running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
        return call(_batch_norm_fixed, input, running_mean, running_var, *operands, eps=exact(eps), **flags)
    _check_batch(input)
    if running_mean is not None and running_var is not None:
        mean, var = call(_channel_moments, input.detach())
        running_mean.copy_(running_mean * (1 - momentum) + mean * momentum)
        running_var.copy_(running_var * (1 - momentum) + var * momentum)
    return call(_batch_norm, input, *operands, eps=exact(eps), **flags)


def _check_batch(input: Tensor) -> None:
    shape = tuple(input.shape)
    require_different(numel((shape[0], *shape[2:])), 1, ValueError,
                      "Expected more than 1 value per channel when training, got input size torch.Size({shape})",
                      shape=list(shape))


def _lower_group_norm(node: Node, *rest: Node, groups: int, eps: sympy.Expr, scaled: bool, moved: bool) -> Node:
    per = node.shape[1] // groups
    inner = node.shape[2:]
    split = (node.shape[0], groups, per, *inner)
    index = [axis(0), axis(1) * per + axis(2), *(axis(d + 1) for d in range(2, node.ndim))]
    grouped = Compute(split, A0, [Read(node, index)], node.dtype)
    normal = _normalised(grouped, tuple(range(2, len(split))), eps)
    per_e = sympy.sympify(per)
    back = [axis(0), quotient(axis(1), per_e), modulo(axis(1), per_e), *(axis(d) for d in range(2, node.ndim))]
    flat = Compute(node.shape, A0, [Read(normal, back)], node.dtype)
    return _affine(flat, *_parts(rest, scaled, moved), [axis(1)])


_group_norm = register(Op("group_norm", _lower_group_norm, "NativeGroupNormBackward0", KEEP))


@public(
    NN,
    "",
    samples=[one(t(2, 4, 3), 2), one(t(2, 4), 2, t(4, seed=1), t(4, seed=2)), one(t(2, 4, 2, 2), 4, t(4, seed=1))],
    axes=Axes(2, None, "Expected at least 2 dimensions for input tensor but received {n}"),
)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-05
) -> Tensor:
    """Channels (axis 1) normalised in groups, per sample (Wu & He 2018)."""
    channels = input.shape[1]
    if not isinstance(channels, int) or channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{shape_text(input.shape)} and num_groups={num_groups}"
        )
    sizes = [known(input.shape[0] * channels // num_groups), num_groups, *input.shape[2:]]
    require_different(numel((sizes[0], *sizes[2:])), 1, ValueError,
                      "Expected more than 1 value per channel when training, got input size {sizes}", sizes=sizes)
    message = ("Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape "
               "{given} and input of shape {shape}")
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None:
            values = {"name": name, "given": list(x.shape), "shape": list(input.shape)}
            if x.ndim != 1:
                raise RuntimeError(message.format(**values))
            require_equal(x.shape[0], channels, RuntimeError, message, **values)
    operands, flags = _options(weight, bias)
    return call(_group_norm, input, *operands, groups=int(num_groups), eps=exact(eps), **flags)


def _lower_instance_norm(node: Node, *rest: Node, eps: sympy.Expr, scaled: bool, moved: bool) -> Node:
    normal = _normalised(node, tuple(range(2, node.ndim)), eps)
    return _affine(normal, *_parts(rest, scaled, moved), [axis(1)])


_instance_norm = register(Op("instance_norm", _lower_instance_norm, "ViewBackward0", KEEP))


@public(NN, samples=[one(t(2, 3, 4)), one(t(2, 3, 4), None, None, t(3, seed=1), t(3, seed=2))])
def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,
    bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-05,
) -> Tensor:
    """Every channel of every sample by its own moments."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    shape = tuple(input.shape)
    require_different(numel(shape[2:]), 1, ValueError,
                      "Expected more than 1 spatial element when training, got input size torch.Size({shape})",
                      shape=list(shape))
    _require_elements(shape[1], weight=weight, bias=bias)
    operands, flags = _options(weight, bias)
    if running_mean is not None and running_var is not None:  # the mean over the samples of each one's statistics
        samples = input.detach().transpose(0, 1).flatten(2)  # [C, N, *]
        for statistic, one in ((running_mean, samples.mean(2)), (running_var, samples.var(2))):
            statistic.copy_(statistic * (1 - momentum) + one.mean(1) * momentum)
    return call(_instance_norm, input, *operands, eps=exact(eps), **flags)


@public(NN, samples=[one(t(2, 3)), one(t(2, 3), p=1.0, dim=0), one(edges(((0.0, 0.0), (3.0, 4.0))))])
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    """input / max(norm, eps) along `dim`."""
    length = vector_norm(input, p, dim, True).clamp_min(eps)
    return input / length.expand_as(input)


@public(
    NN,
    samples=[one(t(1, 4, 3, 3), 2), one(t(1, 5, 4), 3, alpha=0.5, k=2.0)],
    axes=Axes(3, None, "Expected 3D or higher dimensionality" + " " * 25 + " input (got {n} dimensions)", ValueError),
)
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """input / (k + alpha * mean of squares of `size` neighbouring channels) ** beta (Krizhevsky et al. 2012)."""
    squares = input * input
    mean = call(_neighbours, squares, size=int(size))
    return input / (mean * alpha + k).pow(beta)


def _lower_neighbours(node: Node, *, size: int) -> Node:
    place = axis(1) + reduce_axis(0) - size // 2
    index = [place if d == 1 else axis(d) for d in range(node.ndim)]
    guard = conjunction(*in_range(place, node.shape[1])) or ()
    total = Compute(node.shape, A0, [Read(node, index, guard)], node.dtype, reduce_shape=(size,), reducer="sum")
    return over(fn.div(A0, sympy.Integer(size)), node.shape, (total,), node.dtype)


_neighbours = register(Op("neighbour_mean", _lower_neighbours, "AvgPool3DBackward0", KEEP))


# --- dropout ---------------------------------------------------------------------------------------------------------


def _masked(input: Tensor, mask: Tensor, p: float) -> Tensor:
    """input * mask / (1 - p), by the mask given: a tensor of 0 and 1, or of truth values."""
    scaled = mask.to(input.dtype) * (0.0 if p == 1 else 1.0 / (1.0 - p))
    return input * scaled


@public(NN, "", samples=[plain(t(2, 3), 0.5, False), one(t(2, 3), 0.0, True)])
def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, mask: Tensor | None = None
) -> Tensor:
    """Elements dropped with probability p, the others divided by 1 - p.

    Eager use draws from the default generator as torch does, a trace from its own seed and step.  `mask=` (true: keep)
    says instead which are dropped.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training:
        return input
    if mask is not None:
        return written(input, _masked(input, mask, p), inplace)
    return written(input, _masked(input, drawn_mask(input, p), p), inplace)


def drawn_mask(input: Tensor, p: float, shape: Sequence[int] | None = None) -> Tensor:
    """A mask: in a trace a draw, else from the default generator."""
    extents = tuple(input.shape) if shape is None else tuple(shape)
    if p == 0.0 and not all(isinstance(e, int) for e in extents):
        return (input * 0 == 0).detach()
    if p == 0.0:
        return input == input
    tensors = current.tensors
    order = None if shape is not None or tensors.recorded_draws() else tensors.memory_order(input)  # as torch fills them
    if order is None:
        return tensors.draw("bernoulli", extents, input.dtype, 1.0 - p)  # type: ignore[no-any-return]
    drawn = tensors.draw("bernoulli", tuple(extents[d] for d in order), input.dtype, 1.0 - p)
    return drawn.permute([order.index(d) for d in range(len(order))])


@public(NN, "", samples=[plain(t(2, 3), 0.5, False)])
def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean and variance of selu's outputs (Klambauer et al. 2017)."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        return written(input, input * 0.0, inplace)
    alpha = 1.7580993408473766
    a = 1.0 / ((alpha * alpha * p + 1) * (1 - p)) ** 0.5
    keep = drawn_mask(input, p)
    moved = (keep - 1) * (alpha * a) + alpha * a * p
    return written(input, input * (keep * a) + moved, inplace)


_CHANNELS = {  # how many axes come before those of a channel's elements
    "dropout1d": lambda n: 1 if n == 2 else 2,
    "dropout2d": lambda n: 2,
    "dropout3d": lambda n: 2 if n == 5 else 1,
}
_ONE_AXIS = (
    "dropout1d: Expected 2D or 3D input, but received a {n}D input. Note that dropout1d exists to provide channel-wise "
    "dropout on inputs with 1 spatial dimension, a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
)


def _channels(name: str) -> Any:
    def function(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        if not training:
            return input
        lead = _CHANNELS[name](input.ndim)
        require_channels(input.ndim, lead)
        shape = [e if d < lead else 1 for d, e in enumerate(input.shape)]
        return written(input, _masked(input, drawn_mask(input, p, shape), p), inplace)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Whole channels dropped with probability p, the others divided by 1 - p."
    axes = Axes(2, 3, _ONE_AXIS) if name == "dropout1d" else None
    sample_of = t(2, 3, 4, 4) if axes is None else t(2, 3, 4)
    return public(NN, name=name, samples=[plain(sample_of, 0.5, False)], axes=axes)(function)


def require_channels(ndim: int, lead: int = 2) -> None:
    """RuntimeError where a tensor has no such axes before its channels' elements."""
    if ndim < lead:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")


dropout1d, dropout2d, dropout3d = map(_channels, _CHANNELS)
