"""Functions of torch.nn.functional that are compositions of others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradgen.ir import dtypes
from gradgen.ir.nodes import Compute, Constant, Node, Read
from gradgen.ir.symbols import axis
from gradgen.ops import activation
from gradgen.ops.activation import softmax, written
from gradgen.ops.axis_counts import Axes
from gradgen.ops.classification import VECTOR_OR_MATRIX
from gradgen.ops.convolution import each
from gradgen.ops.distance import pairwise_distance, require_alike
from gradgen.ops.gathering import embedding
from gradgen.ops.host import made
from gradgen.ops.loss import reduction_name
from gradgen.ops.normalisation import drawn_mask, require_channels
from gradgen.ops.pooling import avg_pool2d, avg_pool3d
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.samples import edges, index, one, sample, t
from gradgen.ops.shapes import A0, A1, known, shape_text
from gradgen.ops.table import FUNCTIONS, call, public
from gradgen.ops.tensors import current

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

NN = "nn.functional"


def _reduced(loss: Any, reduction: str) -> Any:
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


@public(NN)
def gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of the Gumbel-softmax distribution (Jang et al., 2017; Maddison et al., 2017); `hard`: one-hot, with the
    derivative of the soft one."""
    noise = current.tensors.draw("exponential", tuple(logits.shape), logits.dtype)
    soft: Any = softmax((logits - noise.log()) / tau, dim)
    if not hard:
        return soft  # type: ignore[no-any-return]
    place = soft.max(dim, keepdim=True)[1]
    ones = current.tensors.filled(tuple(logits.shape), logits.dtype, 0)
    return ones.scatter(dim, place, 1.0) - soft.detach() + soft  # type: ignore[no-any-return]


@public(NN, "")
def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """alpha_dropout of whole channels."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input  # type: ignore[no-any-return]
    require_channels(input.ndim)
    alpha = 1.7580993408473766
    a = 1.0 / ((alpha * alpha * p + 1) * (1 - p)) ** 0.5
    keep: Any = drawn_mask(input, p, [*tuple(input.shape)[:2], *([1] * (input.ndim - 2))])
    found = input * (keep * a) + ((keep - 1) * (alpha * a) + alpha * a * p)
    return written(input, found, inplace)


def _lp_pool(rank: int, average: Callable[..., Any], samples: Sequence[Any]) -> None:
    def lp_pool(
        input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> Tensor:
        area = 1
        for n in each(kernel_size, rank, "kernel_size"):
            area *= n
        mean = average(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
        return (mean.sign() * mean.abs().relu() * area).pow(1.0 / norm_type)  # type: ignore[no-any-return]

    lp_pool.__name__ = lp_pool.__qualname__ = f"lp_pool{rank}d"
    lp_pool.__doc__ = "(sum over the window of x**p) ** (1/p)."
    public(NN, name=f"lp_pool{rank}d", samples=samples)(lp_pool)


_lp_pool(2, avg_pool2d, [one(t(1, 2, 4, 6, domain="positive"), 2.0, 2), one(t(1, 1, 3, 3, domain="positive"), 3, 2, 1)])
_lp_pool(3, avg_pool3d, [one(t(1, 1, 4, 4, 4, domain="positive"), 2.0, 2)])


# --- losses -----------------------------------------------------------------------------------------------------------

LABELS = edges(((2, 0, -1, 1), (3, -1, 0, 1)), "int64", False)


@public(NN, samples=[
    one(t(2, 4), LABELS), one(t(2, 4), LABELS, reduction="none"), one(t(4), edges((1, -1, 0, 2), "int64", False)),
    sample(t(2, 4), LABELS, reduction="sum"),
], axes=VECTOR_OR_MATRIX)
def multilabel_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """sum over targets j and other classes i of max(0, 1 - (x[j] - x[i])) / classes; targets end at the first -1."""
    how = reduction_name(reduction, size_average, reduce)
    if tuple(target.shape) != tuple(input.shape):
        raise RuntimeError(f"inconsistent target size: {shape_text(target.shape)} for input of size: "
                           f"{shape_text(input.shape)}")
    x, y = (input.reshape(1, -1), target.reshape(1, -1)) if input.ndim < 2 else (input, target)
    listed = (y == -1).to(x.dtype).cumsum(1) == 0
    place = y.clamp(min=0)
    nothing = listed.to(x.dtype) * 0
    named = nothing.scatter_add(1, place, listed.to(x.dtype)) > 0
    gap = 1 - (x.gather(1, place).unsqueeze(2) - x.unsqueeze(1))
    counted = listed.unsqueeze(2) & ~named.unsqueeze(1)
    loss = gap.where(counted & (gap > 0), nothing.unsqueeze(2)).sum((1, 2)) / x.shape[1]
    return _reduced(loss.squeeze(0) if input.ndim < 2 else loss, how)  # type: ignore[no-any-return]


@public(NN, samples=[one(t(2, 3), t(2, 3, seed=1), t(2, 3, seed=2)), one(t(2, 3), t(2, 3, seed=1), t(2, 3, seed=2), swap=True,
                                                                         margin=3.0, reduction="sum")])
def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *, distance_function: Callable[..., Any] | None = None,
    margin: float = 1.0, swap: bool = False, reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin)."""
    how = reduction_name(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    require_alike(anchor, positive, negative)
    distance: Any = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return _reduced((margin + near - far).clamp(min=0), how)  # type: ignore[no-any-return]


def _lower_rows(node: Node, *, second: bool) -> Node:
    """The first (or second) row of every pair."""
    table = np.triu_indices(node.shape[0], 1)[int(second)].astype(np.int64)
    reads = [Read(Constant(table, dtypes.int64), [axis(0)]), Read(node, [A0, axis(1)])]
    return Compute((len(table), node.shape[1]), A1, reads, node.dtype)


_rows = register(Op("rows_of_pairs", _lower_rows, "PdistBackward0", KEEP))


@public(NN, "", samples=[sample(t(4, 3)), one(t(4, 3), 1.0), one(t(3, 2), 3.0)])
def pdist(input: Any, p: float = 2.0) -> Tensor:
    """Distances of all pairs of rows i < j, as a vector."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    n = input.shape[0]
    if not isinstance(n, int):
        raise RuntimeError(f"pdist() of {n} rows: the number of pairs is not known here")
    return (call(_rows, input, second=False) - call(_rows, input, second=True)).norm(p, 1)  # type: ignore[no-any-return]


# --- bags of embeddings -----------------------------------------------------------------------------------------------


@public(NN, "", samples=[
    sample(index(2, 3, high=5), t(5, 4)), one(index(2, 3, high=5), t(5, 4), mode="sum"),
    one(index(2, 3, high=5), t(5, 4), mode="max"),
    one(index(2, 3, high=5), t(5, 4), mode="sum", per_sample_weights=t(2, 3, seed=2)),
    one(index(2, 3, high=5), t(5, 4), padding_idx=1),
], axes={
    "weight": Axes(2, 2, "weight has to be a 2D Tensor, but got Tensor of dimension {n}", ValueError),
    "input": Axes(1, 2, "input has to be 1D or 2D Tensor, but got Tensor of dimension {n}", ValueError),
})
def embedding_bag(
    input: Any, weight: Any, offsets: Any = None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:
    """Bags of rows of `weight`: one a row of `input` [N, S], or of a vector cut at `offsets`; their sum, mean or max."""
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if max_norm is not None or scale_grad_by_freq:
        raise NotImplementedError("embedding_bag: max_norm and scale_grad_by_freq are not offered")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got "
            f"mode='{mode}'). Please open a feature request on GitHub."
        )
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(f"if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed "
                             f"length sequences. However, found offsets of type {type(offsets)}")
        return _bags(input, weight, mode, per_sample_weights, padding_idx)  # type: ignore[no-any-return]
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    cuts = [int(v) for v in offsets.tolist()]
    ends = [*cuts[1:], input.shape[0]] if not include_last_offset else cuts[1:]
    bags = []
    for a, b in zip(cuts, ends):
        some = None if per_sample_weights is None else per_sample_weights[a:b].unsqueeze(0)
        bags.append(_bags(input[a:b].unsqueeze(0), weight, mode, some, padding_idx) if b > a else weight.new_zeros(
            (1, weight.shape[1])))
    return FUNCTIONS[""]["cat"](bags)  # type: ignore[no-any-return]


def _bags(input: Any, weight: Any, mode: str, scales: Any, padding: int | None) -> Any:
    rows: Any = embedding(input, weight)
    if padding is None:
        if scales is not None:
            rows = rows * scales.unsqueeze(-1)
        return rows.sum(1) if mode == "sum" else rows.mean(1) if mode == "mean" else rows.max(1)[0]
    kept = (input != known(padding % weight.shape[0])).unsqueeze(-1)
    if mode == "max":
        found = rows.masked_fill(~kept, float("-inf")).max(1)[0]
        return found.masked_fill(found == float("-inf"), 0.0)
    if scales is not None:
        rows = rows * scales.unsqueeze(-1)
    total = rows.masked_fill(~kept, 0.0).sum(1)
    return total if mode == "sum" else total / kept.sum(1).clamp(min=1)


# --- connectionist temporal classification ----------------------------------------------------------------------------

FRAMES = t(5, 2, 4, domain="probabilities")


@public(NN, "", samples=[])
def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability that frames log_probs [T, N, classes] spell `targets` [N, S] (or all in one vector), with
    blanks between (Graves et al., 2006).  The derivative is PyTorch's: that by logits of which log_probs are log_softmax.
    """
    how = reduction_name(reduction)
    single = log_probs.ndim == 2
    frames = log_probs.unsqueeze(1) if single else log_probs
    steps, batch, classes = frames.shape
    lengths, sizes = _lengths(input_lengths, batch), _lengths(target_lengths, batch)
    if any(n > steps for n in lengths):
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {max(lengths)} (while checking "
            "arguments for ctc_loss_cpu)"
        )
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    labels = _padded_labels(targets, sizes, batch)
    wide = max([len(row) for row in labels], default=0)
    extended = [[blank if k % 2 == 0 else row[k // 2] for k in range(2 * wide + 1)]
                for row in ([*row, *[blank] * (wide - len(row))] for row in labels)]
    skips = [[k > 1 and row[k] != blank and row[k] != row[k - 2] for k in range(2 * wide + 1)] for row in extended]
    names: Any = made(np.asarray(extended), dtypes.int64)
    may_skip: Any = made(np.asarray(skips), dtypes.bool_)
    low = -1e30  # finite, so that paths that cannot be have derivative 0
    spelt = frames.gather(2, names.unsqueeze(0).expand(steps, batch, 2 * wide + 1))
    pad = FUNCTIONS[NN]["pad"]
    start: Any = made(np.asarray([[k < 2 for k in range(2 * wide + 1)]] * batch), dtypes.bool_)
    first = spelt[0].masked_fill(~start, low)

    def step(alpha: Any, emission: Any) -> tuple[Any, Any]:
        one_back = pad(alpha, (1, 0), value=low)[:, :-1]
        two_back = pad(alpha, (2, 0), value=low)[:, :-2].masked_fill(~may_skip, low) if wide else one_back
        paths = FUNCTIONS[""]["stack"]([alpha, one_back, two_back], -1)
        new = paths.logsumexp(-1) + emission
        return new, new

    alphas = first.unsqueeze(0)
    if steps > 1:
        alphas = FUNCTIONS[""]["cat"]([alphas, current.tensors.scan(step, first, spelt[1:])[1]])
    losses = []
    for n in range(batch):
        last = alphas[lengths[n] - 1, n]
        ends = last[max(2 * sizes[n] - 1, 0) : 2 * sizes[n] + 1]
        losses.append(-ends.logsumexp(0))
    loss: Any = FUNCTIONS[""]["stack"](losses)
    loss = loss.masked_fill(loss > 1e29, float("inf"))
    inside: Any = made(np.asarray([[s < n for n in lengths] for s in range(steps)]), frames.dtype)
    shares = (frames.exp() * inside.unsqueeze(-1)).sum((0, 2))
    loss = loss + (shares - shares.detach())
    if zero_infinity:
        loss = loss.masked_fill(loss.isinf(), 0.0)
    if how == "mean":
        by: Any = made(np.asarray([max(n, 1) for n in sizes]), loss.dtype)
        return (loss / by).mean()  # type: ignore[no-any-return]
    return loss.sum() if how == "sum" else loss.squeeze(0) if single else loss  # type: ignore[no-any-return]


def _lengths(given: Any, batch: int) -> list[int]:
    found = [int(n) for n in (given.reshape(-1).tolist() if hasattr(given, "tolist") else given)]
    if len(found) != batch:
        raise RuntimeError("input_lengths must be of size batch_size")
    return found


def _padded_labels(targets: Any, sizes: list[int], batch: int) -> list[list[int]]:
    listed = targets.tolist()
    if targets.ndim == 1:
        rows, at = [], 0
        for n in sizes:
            rows.append(listed[at : at + n])
            at += n
        return rows
    return [row[:n] for row, n in zip(listed, sizes)]


# --- in place ---------------------------------------------------------------------------------------------------------


def _in_place(name: str) -> None:
    function: Callable[..., Any] = getattr(activation, name)

    def method(input: Any, *args: Any, **kwargs: Any) -> Tensor:
        return written(input, function(input, *args, **kwargs), True)

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"{name} in place."
    signature = inspect.signature(function)
    kept = [p for p in signature.parameters.values() if p.name != "inplace"]
    method.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    FUNCTIONS.setdefault(NN, {})[f"{name}_"] = method


for _name in ("relu", "elu", "selu", "celu", "leaky_relu", "hardtanh", "threshold", "rrelu"):
    _in_place(_name)
