"""Losses and measures between pairs of vectors or distributions, composed as in torch."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from gradgen.ops.arithmetic import minimum
from gradgen.ops.axis_counts import Axes
from gradgen.ops.comparison import where
from gradgen.ops.joining import broadcast_tensors
from gradgen.ops.loss import NN, divided, finished, reduction_name
from gradgen.ops.norms import pairwise_distance, vector_norm
from gradgen.ops.samples import edges, one, t
from gradgen.ops.shapes import shape_text
from gradgen.ops.table import public
from gradgen.ops.unary import xlogy

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

SIGNS = edges((1.0, -1.0, 1.0, -1.0), grad=False)


@public(NN, samples=[
    one(t(2, 3), t(2, 3, domain="positive", seed=1), reduction=r) for r in ("batchmean", "sum", "none", "mean")
] + [one(t(2, 3), t(2, 3, seed=1), reduction="batchmean", log_target=True)])
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (log(target) - input), input being log-probabilities; "batchmean" divides by the batch."""
    if log_target:
        values = target.exp() * (target - input)
    else:
        values = xlogy(target, target) - target * input
    if reduction == "batchmean" and size_average is None and reduce is None:
        total = values.sum()
        return divided(total, input.shape[0]) if input.ndim else total
    kind = reduction_name(reduction, size_average, reduce)
    if kind == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' "
            "divides only "
            "by the batch size, and aligns with the KL div math definition.'mean' will be changed to behave the "
            "same as "
            "'batchmean' in the next major release.",
            stacklevel=2,
        )
    return finished(values, kind)


@public(NN, samples=[one(t(2, 3), t(2, 3, seed=1), t(2, 3, domain="positive", seed=2)),
                     one(t(2, 3), t(2, 3, seed=1), t(2, 3, domain="positive", seed=2), full=True, reduction="none")])
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-06, reduction: str = "mean"
) -> Tensor:
    """Half of log(var) + (input - target)**2 / var, var not below eps; `full` adds log(2 pi) / 2."""
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input.detach() * 0 + var
    whole, given = tuple(input.shape), tuple(var.shape)
    if given != whole and given == whole[:-1]:
        var = var.unsqueeze(-1)
    elif given != whole and (len(given) != len(whole) or sum(g for g, n in zip(given, whole) if g != n) != 1):
        raise ValueError("var is of incorrect size")
    kind = reduction_name(reduction)
    bounded = var + (var.clamp_min(eps) - var).detach()  # torch clamps without recording: the derivative passes
    loss = (bounded.log() + (input - target) ** 2 / bounded) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return finished(loss, kind)


@public(NN, samples=[one(t(5), t(5, domain="positive", seed=1)), one(t(5), t(5, domain="large", seed=1), full=True),
                     one(t(5, domain="positive"), t(5, domain="positive", seed=1), log_input=False, reduction="sum")])
def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, size_average: bool | None = None,
    eps: float = 1e-08, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """exp(input) - target * input, or input - target * log(input + eps); `full` adds Stirling's term."""
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return finished(loss, reduction_name(reduction, size_average, reduce))


@public(NN, samples=[one(t(4), SIGNS), one(t(4), SIGNS, margin=0.5, reduction="none")])
def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where the target is 1, max(0, margin - input) where it is -1."""
    hinge = where(target != 1, (margin - input).clamp_min(0), 0.0)
    plain = where(target != -1, input, 0.0)
    return finished(hinge + plain, reduction_name(reduction, size_average, reduce))


@public(NN, samples=[one(t(4), t(4, seed=1), SIGNS, margin=0.3), one(t(4), t(4, seed=1), SIGNS, reduction="none")])
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin)."""
    if not input1.ndim == input2.ndim == target.ndim:
        sizes = ", ".join(f"{name}: torch.Size({shape_text(x.shape)})" for name, x in (
            ("input1", input1), ("input2", input2), ("target", target)))
        raise RuntimeError(f"margin_ranking_loss : All input tensors should have same dimension but got sizes: {sizes} ")
    loss = (-target * (input1 - input2) + margin).clamp_min(0)
    return finished(loss, reduction_name(reduction, size_average, reduce))


@public(NN, "", samples=[one(t(2, 3), t(2, 3, seed=1)), one(t(2, 3), t(3, seed=1), dim=-1),
                         one(edges(((0.0, 0.0), (3.0, 4.0))), edges(((1.0, 2.0), (3.0, 4.0))))])
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-08) -> Tensor:
    """The cosine of the angle between vectors along `dim`, the lengths not below eps."""
    a, b = broadcast_tensors(x1, x2)
    first = a / _bounded_length(a, dim, eps)
    second = b / _bounded_length(b, dim, eps)
    return (first * second).sum(dim)


def _bounded_length(x: Any, dim: int, eps: float) -> Any:
    """The norm, clamped without recording as torch does."""
    length = vector_norm(x, 2, dim, True)
    return length + (length.clamp_min(eps) - length).detach()


@public(NN, samples=[one(t(4, 3), t(4, 3, seed=1), SIGNS, margin=0.1)],
        axes={"target": Axes(0, 1, "0D or 1D target tensor expected, multi-target not supported")})
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1: of two vectors, or of the rows of two matrices."""
    if not input1.ndim == input2.ndim == target.ndim + 1:
        raise RuntimeError(f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with "
                           f"sizes {shape_text(input1.shape)} and {shape_text(input2.shape)}.")
    dim = input1.ndim - 1
    eps = 1e-12
    product = (input1 * input2).sum(dim)
    lengths = ((input1 * input1).sum(dim) + eps) * ((input2 * input2).sum(dim) + eps)
    cos = product / lengths.sqrt()
    loss = where(target == 1, 1 - cos, 0.0) + where(target == -1, (cos - margin).clamp_min(0), 0.0)
    return finished(loss, reduction_name(reduction, size_average, reduce))


@public(NN, "", samples=[one(t(2, 3), t(2, 3, seed=1), t(2, 3, seed=2)),
                         one(t(2, 3), t(2, 3, seed=1), t(2, 3, seed=2), 0.5, 1.0, swap=True, reduction="none")])
def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-06,
    swap: bool = False, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin)."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    require_alike(anchor, positive, negative)
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return finished((near - far + margin).clamp_min(0), reduction_name(reduction, size_average, reduce))


def require_alike(anchor: Tensor, positive: Tensor, negative: Tensor) -> None:
    """RuntimeError, in PyTorch's words, where the numbers of axes differ."""
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError("The anchor, positive, and negative tensors are expected to have the same number of dimensions, "
                           f"but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs")
