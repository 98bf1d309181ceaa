"""Losses of torch.nn.functional; `reduction` is "none", "mean" or "sum"."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import sympy
from sympy import Expr, Rational

from gradgen.ir import functions as fn
from gradgen.ir.nodes import Node
from gradgen.ir.symbols import same_extent
from gradgen.ops.registry import KEEP, PROMOTE, Op, broadcast_shapes, register
from gradgen.ops.samples import edges, one, plain, sample, t
from gradgen.ops.shapes import A0, A1, A2, A3, exact, numel, over, reduce
from gradgen.ops.table import call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

NN = "nn.functional"
REDUCTIONS = ("none", "mean", "sum")


def reduction_name(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The reduction, also from the two deprecated flags; ValueError in PyTorch's words."""
    if size_average is not None or reduce is not None:
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def reduced_loss(node: Node, reduction: str) -> Node:
    """All elements, their mean or their sum."""
    if reduction == "none":
        return node
    total = reduce(node, tuple(range(node.ndim)), "sum")
    if reduction == "sum":
        return total
    return over(fn.div(A0, fn.extent(sympy.sympify(numel(node.shape)))), (), (total,), node.dtype)


_div_extent = register(
    Op("div_extent", lambda node, *, by: over(fn.div(A0, by), node.shape, (node,), node.dtype), "DivBackward0", KEEP)
)


def divided(tensor: Tensor, extent: Any) -> Tensor:
    """tensor / extent, where the extent may be a named dimension."""
    if isinstance(extent, (int, float)):
        return tensor / extent  # type: ignore[operator]
    return call(_div_extent, tensor, by=sympy.sympify(extent))


def _pair(name: str, body: Any, grad_name: str) -> Op:
    """A loss of two tensors that broadcast, element by element, then reduced."""

    def lower(input: Node, target: Node, *, reduction: str, **attributes: Any) -> Node:
        shape = broadcast_shapes(input.shape, target.shape)
        return reduced_loss(over(body(A0, A1, **attributes), shape, (input, target), input.dtype), reduction)

    return register(Op(name, lower, grad_name, PROMOTE))


def _huber_body(x: Expr, y: Expr, delta: Expr) -> Expr:
    d = fn.abs_(x - y)
    return fn.select(fn.lt(d, delta), Rational(1, 2) * (x - y) ** 2, delta * (d - Rational(1, 2) * delta))


def _smooth_l1_body(x: Expr, y: Expr, beta: Expr) -> Expr:
    d = fn.abs_(x - y)
    return fn.select(fn.lt(d, beta), Rational(1, 2) * fn.div((x - y) ** 2, beta), d - Rational(1, 2) * beta)


_mse = _pair("mse_loss", lambda x, y: (x - y) ** 2, "MseLossBackward0")
_huber = _pair("huber_loss", _huber_body, "HuberLossBackward0")
_smooth_l1 = _pair("smooth_l1_loss", _smooth_l1_body, "SmoothL1LossBackward0")
_soft_margin = _pair("soft_margin_loss", lambda x, y: fn.softplus(-y * x), "SoftMarginLossBackward0")

PAIR = [
    sample(t(2, 3), t(2, 3, seed=1)), one(t(2, 3), t(2, 3, seed=1), reduction="sum"),
    one(t(2, 3), t(2, 3, seed=1), reduction="none"), plain(t(0), t(0)),
    one(edges((-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)), edges((0.0, 0.0, 0.0, 0.0, 0.0, 3.0))),
]


def _warn_shapes(input: Tensor, target: Tensor) -> None:
    if tuple(input.shape) != tuple(target.shape):
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will "
            f"likely "
            "lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


@public(NN, samples=PAIR)
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)**2."""
    _warn_shapes(input, target)
    kind = reduction_name(reduction, size_average, reduce)
    if weight is None:
        return call(_mse, input, target, reduction=kind)
    weighted = call(_mse, input, target, reduction="none") * weight
    return finished(weighted, kind) if kind != "mean" else weighted.sum() / weight.sum()


@public(NN, samples=PAIR)
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|."""
    _warn_shapes(input, target)
    kind = reduction_name(reduction, size_average, reduce)
    values = (input - target).abs()
    if weight is None:
        return finished(values, kind)
    weighted = values * weight
    return finished(weighted, kind) if kind != "mean" else weighted.sum() / weight.sum()


def finished(values: Tensor, reduction: str) -> Tensor:
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()


@public(NN, samples=[*PAIR, one(t(5), t(5, seed=1), beta=0.5), one(t(5), t(5, seed=1), beta=0.0)])
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Half a square over beta below beta, linear above."""
    _warn_shapes(input, target)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    kind = reduction_name(reduction, size_average, reduce)
    return call(_smooth_l1, input, target, reduction=kind, beta=exact(beta))


@public(NN, samples=[*PAIR, one(t(5), t(5, seed=1), delta=0.5)])
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Half a square up to delta, linear above."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _warn_shapes(input, target)
    if weight is None:
        return call(_huber, input, target, reduction=reduction_name(reduction), delta=exact(delta))
    weighted = call(_huber, input, target, reduction="none", delta=exact(delta)) * weight
    return finished(weighted, reduction) if reduction != "mean" else weighted.sum() / weight.sum()


SIGNS = edges((1.0, -1.0, 1.0, -1.0), grad=False)


@public(NN, samples=[one(t(4), SIGNS), one(t(4), SIGNS, reduction="none")])
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-target * input))."""
    whole = broadcast_shapes(input.shape, target.shape)
    if len(whole) != input.ndim:
        raise RuntimeError(f"output with shape {list(input.shape)} doesn't match the broadcast shape {list(whole)}")
    return call(_soft_margin, input, target, reduction=reduction_name(reduction, size_average, reduce))


# --- binary cross-entropy --------------------------------------------------------------------------------------------


def _bce_body(p: Expr, t_: Expr) -> Expr:
    return fn.bce(p, t_)


def _weighted(body: Any, name: str, grad_name: str, *, positive: bool = False) -> Op:
    """A loss of input and target times an optional weight, all broadcast; with a positive weight before it."""

    def lower(*nodes: Node, reduction: str, weighted: bool) -> Node:
        shape = broadcast_shapes(*(n.shape for n in nodes))
        count = 3 if positive else 2
        value = body(*(A0, A1, A2)[:count])
        if weighted:
            value = value * (A0, A1, A2, A3)[count]
        return reduced_loss(over(value, shape, nodes, nodes[0].dtype), reduction)

    return register(Op(name, lower, grad_name, PROMOTE))


def _logits_body(x: Expr, y: Expr) -> Expr:
    """softplus(x) - x*y, whose derivative is sigmoid(x) - y."""
    return fn.softplus(x) - x * y


def _positive_logits_body(x: Expr, y: Expr, p: Expr) -> Expr:
    """(1 + (p - 1) y) softplus(x) - p y x, which is (1 - y) x - (1 + (p - 1) y) logsigmoid(x)."""
    return (1 + (p - 1) * y) * fn.softplus(x) - p * y * x


_bce_logits = _weighted(_logits_body, "binary_cross_entropy_with_logits", "BinaryCrossEntropyWithLogitsBackward0")
_bce_logits_positive = _weighted(
    _positive_logits_body,
    "binary_cross_entropy_with_logits_positive",
    "BinaryCrossEntropyWithLogitsBackward0",
    positive=True,
)
_bce = _weighted(_bce_body, "binary_cross_entropy", "BinaryCrossEntropyBackward0")

TARGETS = t(2, 3, domain="unit", seed=1)
LOGITS = edges((-100.0, -30.0, -1.0, 0.0, 1.0, 30.0, 100.0, 100.0))
BINARY_TARGETS = edges((0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.5))


@public(
    NN,
    samples=[
        sample(t(2, 3), TARGETS),
        one(t(2, 3), TARGETS, reduction="sum"),
        one(t(2, 3), TARGETS, reduction="none"),
        sample(LOGITS, BINARY_TARGETS, reduction="none"),
        one(t(2, 3), TARGETS, t(3, domain="positive", seed=2, grad=False)),
        one(t(2, 3), TARGETS, pos_weight=t(3, domain="positive", seed=2, grad=False)),
        plain(t(0), t(0)),
        one(t(), t(domain="unit", seed=1)),
        one(
            t(2, 3),
            TARGETS,
            t(2, 1, domain="positive", seed=3, grad=False),
            pos_weight=t(3, domain="positive", seed=2, grad=False),
            reduction="none",
        ),
    ],
)
def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean", pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of sigmoid(input) against `target`, from the logits: nothing overflows."""
    kind = reduction_name(reduction, size_average, reduce)
    _same_size(input, target)
    extra = () if weight is None else (weight,)
    if pos_weight is not None:
        return call(_bce_logits_positive, input, target, pos_weight, *extra, reduction=kind, weighted=bool(extra))
    return call(_bce_logits, input, target, *extra, reduction=kind, weighted=bool(extra))


def _same_size(input: Tensor, target: Tensor) -> None:
    a, b = input.shape, target.shape
    if a != b and (len(a) != len(b) or not all(same_extent(x, y) for x, y in zip(a, b))):
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")


@public(NN, samples=[
    sample(t(2, 3, domain="unit"), TARGETS), one(t(2, 3, domain="unit"), TARGETS, reduction="none"),
    one(t(2, 3, domain="unit"), TARGETS, t(3, domain="positive", seed=2, grad=False), reduction="sum"),
    sample(edges((0.0, 1.0, 0.0, 1.0, 0.5)), edges((0.0, 1.0, 1.0, 0.0, 0.5), grad=False), reduction="none"),
])
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """-(target log(input) + (1 - target) log(1 - input)), the logarithms not below -100."""
    a, b = tuple(input.shape), tuple(target.shape)
    if len(a) != len(b) or not all(same_extent(x, y) for x, y in zip(a, b)):
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
        )
    extra = () if weight is None else (weight,)
    if weight is not None and len(whole := broadcast_shapes(a, tuple(weight.shape))) != len(a):
        raise RuntimeError(f"output with shape {list(a)} doesn't match the broadcast shape {list(whole)}")
    kind = reduction_name(reduction, size_average, reduce)
    return call(_bce, input, target, *extra, reduction=kind, weighted=bool(extra))


