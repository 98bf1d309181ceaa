"""Losses over classes: nll_loss, cross_entropy with indices or probabilities, margin losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy
from sympy import Expr

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.nodes import Compute, Node, Read, identity_read
from gradgen.ir.symbols import Extent, axes, axis, same_extent
from gradgen.ops.activation import log_softmax, logsigmoid
from gradgen.ops.axis_counts import Axes, Reaching
from gradgen.ops.host import host_value
from gradgen.ops.loss import NN, divided, finished, reduced_loss, reduction_name
from gradgen.ops.registry import KEEP, Op, Saves, register
from gradgen.ops.requirements import require, require_equal
from gradgen.ops.samples import edges, index, one, sample, t
from gradgen.ops.shapes import A0, A1, A2, A3, TORCH_NAMES, exact, numel, over, reduce, shape_text
from gradgen.ops.table import call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

IGNORED = -100


def _safe(target: Node, ignore: int) -> Node:
    """The target with the ignored class read as class 0: never outside the tensor."""
    return Compute(target.shape, fn.select(fn.eq(A0, ignore), 0, A0), [identity_read(target)], target.dtype)


def _lower_nll(input: Node, target: Node, weight: Node | None = None, *, ignore: int, reduction: str) -> Node:
    """-weight[t] * input[n, t, ...] per target t, 0 where t is ignored; the mean divides by the weights used."""
    classes = min(1, input.ndim - 1)
    n = target.ndim
    place = [A1 if d == classes else axis(d if d < classes else d - 1) for d in range(input.ndim)]
    reads = [identity_read(target), identity_read(_safe(target, ignore)), Read(input, place)]
    used: Expr = sympy.Integer(1)
    if weight is not None:
        reads.append(Read(weight, (A1,)))
        used = A3
    skipped = fn.eq(A0, ignore)
    losses = Compute(target.shape, fn.select(skipped, 0, -A2 * used), reads, input.dtype)
    if reduction == "none":
        return losses
    total = reduce(losses, tuple(range(n)), "sum")
    if reduction == "sum":
        return total
    counted = [reads[0], reads[1]]
    part: Expr = sympy.Integer(1)
    if weight is not None:
        counted.append(reads[3])
        part = A2
    weights = Compute(target.shape, fn.select(skipped, 0, part), counted, input.dtype)
    count = reduce(weights, tuple(range(n)), "sum")
    return over(fn.div(A0, A1), (), (total, count), input.dtype)


_nll = register(Op("nll_loss", _lower_nll, "NllLossBackward0", KEEP, saves=Saves()))
_nll_spatial = register(Op("nll_loss_spatial", _lower_nll, "NllLoss2DBackward0", KEEP))

CLASSES = index(4, high=3)
SOME_IGNORED = edges((0, -100, 2, 1), "int64", False)
WEIGHTS = t(3, domain="positive", seed=5, grad=False)
NLL = [
    sample(t(4, 3), CLASSES), one(t(4, 3), CLASSES, reduction="sum"), one(t(4, 3), CLASSES, WEIGHTS, reduction="none"),
    one(t(4, 3), SOME_IGNORED, WEIGHTS), one(t(4, 3), CLASSES, ignore_index=1), one(t(2, 3, 4), index(2, 4, high=3)),
    one(t(2, 3, 2, 2), index(2, 2, 2, high=3), WEIGHTS), one(t(3), index(high=3)),
]


def _check_targets(input: Tensor, target: Tensor, weight: Tensor | None, ignore: int) -> None:
    """Shapes, dtype and, where they are known, values, each in the words of the operator that PyTorch takes for it."""
    n, given = input.ndim, list(target.shape)
    classes = input.shape[1 if n > 1 else 0]
    if n > 1:
        require_equal(input.shape[0], given[0] if given else 0, ValueError,
                      "Expected input batch_size ({rows}) to match target batch_size ({given}).", rows=input.shape[0],
                      given=given[0] if given else 0)
    if n <= 2 and len(given) > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if n == 1 and given:
        require_equal(given[0], 1, ValueError, "For 1D input, 1D target must have size 1, but got target size: {size}",
                      size=given[0])
    if n == 4 and len(given) != 3:
        raise RuntimeError("only batches of spatial targets supported (3D tensors) but got targets of dimension: "
                           f"{len(given)}")
    lead = [input.shape[0], *input.shape[2:]]
    if n > 2 and not (len(given) == len(lead) and all(same_extent(a, b) for a, b in zip(given, lead))):
        raise RuntimeError(f"size mismatch (got input: {shape_text(input.shape)} , target: {shape_text(given)}" if n == 4
                           else f"Expected target size {lead}, got {given}")
    if weight is not None:
        all_of_them = "weight tensor should be defined either for all "
        _require_weights(weight, classes, all_of_them + ("or no classes" if n > 2 else SOME_WEIGHTS))
    if target.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {TORCH_NAMES[target.dtype.name]}")
    values = host_value(target)
    if values is None or not isinstance(classes, int):
        return
    bad = values[(values != ignore) & ((values < 0) | (values >= classes))]
    if bad.size:
        raise IndexError(f"Target {int(bad.flat[0])} is out of bounds.")


SOME_WEIGHTS = "{classes} classes or no classes but got weight tensor of shape: {given}"


def _require_weights(weight: Tensor, classes: Extent, text: str) -> None:
    """One weight a class."""
    given = list(weight.shape)
    require_equal(given[0] if len(given) == 1 else -1, classes, RuntimeError, text, classes=classes, given=given)


@public(NN, samples=NLL, axes=Axes(1, None, "Expected 1 or more dimensions (got {n})", ValueError))
def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    ignore_index: int = IGNORED, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood: input holds log-probabilities [N, C, ...] (or [C]), target class numbers [N, ...]."""
    kind = reduction_name(reduction, size_average, reduce)
    _check_targets(input, target, weight, ignore_index)
    if input.ndim == 1:
        target = target.reshape(())
    op = _nll if input.ndim <= 2 else _nll_spatial
    operands = (input, target) if weight is None else (input, target, weight)
    return call(op, *operands, ignore=int(ignore_index), reduction=kind)


@public(
    NN,
    samples=[
        *NLL,
        one(t(4, 3), CLASSES, label_smoothing=0.1),
        one(t(4, 3), SOME_IGNORED, WEIGHTS, label_smoothing=0.2),
        one(t(4, 3), CLASSES, WEIGHTS, label_smoothing=0.2, reduction="sum"),
        one(t(4, 3), SOME_IGNORED, label_smoothing=0.2, reduction="none"),
        one(t(4, 3), t(4, 3, domain="probabilities", seed=1)),
        one(t(4, 3), t(4, 3, domain="probabilities", seed=1), WEIGHTS),
        one(t(4, 3), t(4, 3, domain="probabilities", seed=1), label_smoothing=0.1, reduction="sum"),
        one(t(2, 3, 2), t(2, 3, 2, domain="probabilities", seed=1), reduction="none"),
        sample(edges(((1000.0, 0.0, -1000.0), (-1000.0, 1000.0, 0.0))), edges((2, 1), "int64", False)),
    ],
)
def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    ignore_index: int = IGNORED, reduce: bool | None = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of softmax(input) over axis 1 against class numbers, or probabilities of input's shape."""
    kind = reduction_name(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    axis_of_classes = 0 if input.ndim == 1 else 1
    probabilities = target.ndim == input.ndim and all(same_extent(a, b) for a, b in zip(input.shape, target.shape))
    if probabilities and not target.dtype.is_floating_point:
        raise RuntimeError("Expected floating point type for target with class probabilities, got "
                           f"{TORCH_NAMES[target.dtype.name]}")
    if probabilities:
        Reaching(axis_of_classes).check("cross_entropy", input.shape)
    logs = log_softmax(input, axis_of_classes)
    if probabilities:
        return _against_probabilities(logs, target, weight, axis_of_classes, kind, label_smoothing)
    if label_smoothing == 0.0:
        return nll_loss(logs, target, weight, ignore_index=ignore_index, reduction=kind)
    return _smoothed(logs, target, weight, axis_of_classes, ignore_index, kind, label_smoothing)


def _class_shape(weight: Any, ndim: int, dim: int) -> Any:
    return weight.reshape(*[-1 if d == dim else 1 for d in range(ndim)])


def _against_probabilities(logs: Any, target: Any, weight: Any, dim: int, kind: str, smoothing: float) -> Any:
    classes = logs.shape[dim]
    if weight is not None:
        _require_weights(weight, classes, "cross_entropy: weight tensor should be defined either for all " + SOME_WEIGHTS)
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / classes
    products = logs * target
    if weight is not None:
        products = products * _class_shape(weight, logs.ndim, dim)
    if kind == "none":
        return -products.sum(dim)
    total = -products.sum()
    return total if kind == "sum" else divided(total, numel(tuple(logs.shape)) / classes)


def _smoothed(logs: Any, target: Any, weight: Any, dim: int, ignore: int, kind: str, smoothing: float) -> Any:
    """(1 - s) * nll + s / C * (minus the sum over classes), ignored targets left out."""
    classes = logs.shape[dim]
    exact_part = nll_loss(logs, target, weight, ignore_index=ignore, reduction=kind)
    spread = logs if weight is None else logs * _class_shape(weight, logs.ndim, dim)
    smooth = -spread.sum(dim)
    ignored = target == ignore
    smooth = smooth.masked_fill(ignored, 0.0)
    if kind == "sum":
        smooth = smooth.sum()
    elif kind == "mean":
        if weight is None:
            used = (~ignored).sum()
        else:
            used = weight.take(target.masked_fill(ignored, 0))
            used = used.masked_fill(ignored, 0.0).sum()
        smooth = smooth.sum() / used
    return exact_part * (1 - smoothing) + smooth * (smoothing / classes)


# --- margins ---------------------------------------------------------------------------------------------------------


def _lower_multi_margin(
    input: Node, target: Node, weight: Node | None = None, *, p: int, margin: Expr, reduction: str
) -> Node:
    """sum over j != t of max(0, margin - x_t + x_j)**p, times weight[t], over the number of classes."""
    n = target.ndim
    lead = list(axes(n))
    reads = [Read(target, lead), Read(input, [*lead, A0]), Read(input, [*lead, axis(n)])]
    gap = margin - A1 + A2
    term = fn.select(fn.or_(fn.le(gap, 0), fn.eq(A0, axis(n))), 0, gap**p)
    if weight is not None:
        reads.append(Read(weight, (A0,)))
        term = term * A3
    terms = Compute(input.shape, term, reads, input.dtype)
    total = reduce(terms, (n,), "sum")
    losses = over(fn.div(A0, sympy.sympify(input.shape[-1])), total.shape, (total,), input.dtype)
    return reduced_loss(losses, reduction)


_multi_margin = register(Op("multi_margin_loss", _lower_multi_margin, "MultiMarginLossBackward0", KEEP))


def _require_targets(input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """One target a row and one weight a class, in multi_margin_loss's words."""
    shape, rows = list(input.shape), input.shape[0] if input.ndim == 2 else 1
    require(shape[-1] - 1 if shape else 0, RuntimeError, VECTOR_OR_MATRIX.text, shape=shape)
    require_equal(numel(tuple(target.shape)) if target.ndim < 2 else -1, rows, RuntimeError,
                  "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch "
                  "size). Expected target size [{rows}], but got {given}. Input has shape {shape}.",
                  rows=rows, given=list(target.shape), shape=shape)
    if weight is not None:
        require_equal(weight.shape[0], shape[-1], RuntimeError,
                      "inconsistent weight size, expected {classes} but got {given}", classes=shape[-1],
                      given=list(weight.shape))


VECTOR_OR_MATRIX = Axes(0, 2, "Expected non-empty vector or matrix with optional 0-dim batch size, but got: {shape}")


@public(
    NN,
    samples=[one(t(4, 3), CLASSES), one(t(4, 3), CLASSES, 2, 0.5, WEIGHTS, reduction="none"), one(t(3), index(high=3))],
    axes={"input": VECTOR_OR_MATRIX, "weight": Axes(1, 1, "weight must be one-dimensional", ValueError)},
)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Hinge of every other class against the target class."""
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    _require_targets(input, target, weight)
    if target.ndim == 0 or input.ndim < 2:  # one row, whose loss has the target's shape
        kind = reduction_name(reduction, size_average, reduce)
        loss = multi_margin_loss(input.reshape(1, -1), target.reshape(1), p, margin, weight, reduction="none")
        return loss.reshape(tuple(target.shape) if kind == "none" else ())
    operands = (input, target) if weight is None else (input, target, weight)
    kind = reduction_name(reduction, size_average, reduce)
    return call(_multi_margin, *operands, p=int(p), margin=exact(margin), reduction=kind)


@public(NN, samples=[one(t(2, 3), t(2, 3, domain="unit", seed=1, grad=False)),
                     one(t(2, 3), t(2, 3, domain="unit", seed=1, grad=False), WEIGHTS, reduction="none")],
        axes=Reaching(-1))
def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of the logits, averaged over the classes."""
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    kind = reduction_name(reduction, size_average, reduce)
    return finished(divided(losses.sum(input.ndim - 1), input.shape[-1]), kind)


