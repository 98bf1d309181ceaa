"""Activations of torch.nn.functional."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from sympy import Expr, Rational, pi, sqrt

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.dtypes import DType
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import Extent, axis, same_extent
from gradgen.ops.axis_counts import Axes
from gradgen.ops.host import host_value, made
from gradgen.ops.registry import FLOAT, KEEP, Op, Saves, cast, pointwise, register
from gradgen.ops.requirements import require_multiple
from gradgen.ops.samples import INF, NAN, edges, one, plain, sample, t
from gradgen.ops.shapes import A0, A1, A2, exact, known, over, reduce, wrap_dim
from gradgen.ops.table import call, public, require_tensor
from gradgen.ops.tensors import current

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

NN = "nn.functional"
EDGES = edges((-INF, -30.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0, 30.0, INF, NAN))
CALLS = [sample(t(2, 3)), sample(EDGES)]
HALF = Rational(1, 2)


def written(target: Tensor, result: Tensor, inplace: bool) -> Tensor:
    """The result, put into its tensor where the call says `inplace=True`."""
    return current.tensors.overwritten(target, result) if inplace else result  # type: ignore[no-any-return]


# --- piecewise linear ------------------------------------------------------------------------------------------------

_relu = pointwise("relu", lambda x: fn.select(fn.le(x, 0), 0, x), saves=Saves((), (0,)))
_hardtanh = pointwise(
    "hardtanh", lambda x, low, high: fn.select(fn.le(x, low), low, fn.select(fn.ge(x, high), high, x))
)
_leaky_relu = pointwise("leaky_relu", lambda x, slope: fn.select(fn.gt(x, 0), x, x * slope))
_threshold = pointwise("threshold", lambda x, threshold, value: fn.select(fn.le(x, threshold), value, x))
_hardsigmoid = pointwise(
    "hardsigmoid",
    lambda x: fn.select(fn.and_(fn.gt(x, -3), fn.lt(x, 3)), (x + 3) * Rational(1, 6),
                        fn.select(fn.le(x, -3), 0, fn.select(fn.ge(x, 3), 1, fn.stop(x)))),
)
_hardswish = pointwise(
    "hardswish", lambda x: fn.select(fn.le(x, -3), 0, fn.select(fn.lt(x, 3), x * (x + 3) * Rational(1, 6), x))
)
_softshrink = pointwise(
    "softshrink",
    lambda x, k: fn.select(fn.gt(x, k), x - k, fn.select(fn.lt(x, -k), x + k, fn.select(fn.isnan(x), x, 0))),
)
_hardshrink = pointwise("hardshrink", lambda x, k: fn.select(fn.and_(fn.ge(x, -k), fn.le(x, k)), 0, x))


@public(NN, "", method=True, inplace=True, samples=CALLS)
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0); the derivative at 0 is 0."""
    require_tensor(input, "relu")
    return written(input, call(_relu, input), inplace)


@public(NN, samples=CALLS)
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """hardtanh between 0 and 6."""
    return hardtanh(input, 0.0, 6.0, inplace)


@public(NN, samples=[*CALLS, sample(EDGES, -0.5, 3.0)])
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """input cut to [min_val, max_val]; the derivative at both bounds is 0."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return written(input, call(_hardtanh, input, low=exact(min_val), high=exact(max_val)), inplace)


@public(NN, samples=[*CALLS, sample(EDGES, 0.2)])
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where positive, negative_slope * input elsewhere."""
    return written(input, call(_leaky_relu, input, slope=exact(negative_slope)), inplace)


@public(NN, "", samples=[sample(EDGES, 0.5, -1.0)])
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where it is above the threshold, else `value`."""
    return written(input, call(_threshold, input, threshold=exact(threshold), value=exact(value)), inplace)


@public(NN, samples=CALLS)
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(input + 3) / 6."""
    return written(input, call(_hardsigmoid, input), inplace)


@public(NN, samples=CALLS)
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * relu6(input + 3) / 6."""
    return written(input, call(_hardswish, input), inplace)


@public(NN, samples=[*CALLS, sample(EDGES, 1.0)])
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input moved by lambd towards 0, 0 within."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    return call(_softshrink, input, k=exact(lambd))


@public(NN, "", method=True, samples=[*CALLS, sample(EDGES, 1.0)])
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input outside [-lambd, lambd], 0 within."""
    return call(_hardshrink, input, k=exact(lambd))


# --- smooth ----------------------------------------------------------------------------------------------------------


def _softplus_body(x: Expr, beta: Expr, threshold: Expr) -> Expr:
    return fn.select(
        fn.gt(x * beta, threshold), x, fn.div(fn.softplus(x * beta), beta) if beta != 1 else fn.softplus(x)
    )


def _elu_body(x: Expr, alpha: Expr, scale: Expr, rate: Expr) -> Expr:
    return fn.select(fn.le(x, 0), alpha * scale * fn.expm1_(x * rate), x * scale)


_gelu = pointwise("gelu", lambda x: x * fn.normal_cdf(x))
_gelu_tanh = pointwise(
    "gelu_tanh",
    lambda x: HALF * x * (1 + fn.tanh(sqrt(2 / pi) * (x + Rational(44715, 1000000) * x**3))),
    grad_name="GeluBackward0",
)
_silu = pointwise("silu", lambda x: x * fn.sigmoid(x))
_mish = pointwise("mish", lambda x: x * fn.tanh(fn.softplus(x)))
_softplus = pointwise("softplus", _softplus_body)
_logsigmoid = pointwise("logsigmoid", fn.logsigmoid, grad_name="LogSigmoidBackward0")
_elu = pointwise("elu", _elu_body)
_celu = pointwise("celu", _elu_body)
_SELU_ALPHA, _SELU_SCALE = exact(1.6732632423543772848170429916717), exact(1.0507009873554804934193349852946)


@public(NN, samples=[*CALLS, sample(t(2, 3), approximate="tanh"), sample(EDGES, approximate="tanh")])
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input times the normal distribution function; approximate="tanh" for Hendrycks & Gimpel's tanh form."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return call(_gelu if approximate == "none" else _gelu_tanh, input)


@public(NN, samples=CALLS)
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input)."""
    return written(input, call(_silu, input), inplace)


@public(NN, samples=CALLS)
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(softplus(input))."""
    return written(input, call(_mish, input), inplace)


@public(NN, samples=[*CALLS, sample(EDGES, beta=2.0, threshold=5.0)])
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta; the input itself where beta * input is above the threshold."""
    return call(_softplus, input, beta=exact(beta), threshold=exact(threshold))


@public(NN, samples=CALLS)
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input))."""
    return call(_logsigmoid, input)


@public(NN, samples=[*CALLS, sample(EDGES, 0.5)])
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha * (exp(input) - 1) elsewhere."""
    return written(input, call(_elu, input, alpha=exact(alpha), scale=exact(1), rate=exact(1)), inplace)


@public(NN, "", samples=CALLS)
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the self-normalising constants of Klambauer et al. 2017."""
    return written(input, call(_elu, input, alpha=_SELU_ALPHA, scale=_SELU_SCALE, rate=exact(1)), inplace)


@public(NN, "", samples=[*CALLS, sample(EDGES, 0.5)])
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha * (exp(input / alpha) - 1) elsewhere."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return written(input, call(_celu, input, alpha=exact(alpha), scale=exact(1), rate=exact(1.0 / alpha)), inplace)


@public(NN, samples=CALLS)
def tanh(input: Tensor) -> Tensor:
    """tanh of every element."""
    return input.tanh()


@public(NN, samples=CALLS)
def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return input / (input.abs() + 1)


@public(NN, samples=CALLS)
def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return input - input.tanh()


# --- two tensors, halves ---------------------------------------------------------------------------------------------


def _lower_glu(node: Node, *, dim: int) -> Node:
    n = node.shape[dim]
    require_multiple(n, 2, RuntimeError, "Halving dimension must be even, but dimension {dim} is size {n}", dim=dim, n=n)
    half: Extent = known(sympy.sympify(n) / 2)
    shape = (*node.shape[:dim], half, *node.shape[dim + 1:])
    first = [axis(d) for d in range(node.ndim)]
    second = [axis(d) + (half if d == dim else 0) for d in range(node.ndim)]
    return Compute(shape, A0 * fn.sigmoid(A1), [Read(node, first), Read(node, second)], node.dtype)


_glu = register(Op("glu", _lower_glu, "GluBackward0", KEEP))


@public(NN, samples=[one(t(2, 4)), one(t(4, 3), dim=0)],
        axes=Axes(1, None, "glu does not support scalars because halving size must be even"))
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """First half times sigmoid of the second, along `dim`."""
    return call(_glu, input, dim=wrap_dim(dim, input.ndim))


def _lower_prelu(node: Node, weight: Node) -> Node:
    ndim = node.ndim
    index = [axis(1 if ndim > 1 else 0)] if not same_extent(weight.shape[0], 1) else [0]
    reads = [Read(node, [axis(d) for d in range(ndim)]), Read(weight, index)]
    return Compute(node.shape, fn.select(fn.gt(A0, 0), A0, A0 * A1), reads, node.dtype)


_prelu = register(Op("prelu", _lower_prelu, "PreluKernelBackward0", KEEP))


@public(NN, "", samples=[one(t(2, 3), t(3, seed=1)), one(t(2, 3, 2), t(1, seed=1)), one(EDGES, t(1, seed=1))])
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, weight * input elsewhere; one weight, or one per channel (axis 1)."""
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim == 0:
        weight = weight.reshape(1)
    if weight.ndim != 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if not same_extent(weight.shape[0], 1) and not same_extent(weight.shape[0], channels):
        raise RuntimeError(
            f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.shape[0]} and "
            f"channel size = {channels}."
        )
    return call(_prelu, input, weight)


@public(NN, samples=[one(t(2, 3))])
def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """leaky_relu with the mean slope; in training with a slope drawn for every element that is not positive."""
    if training:
        return written(input, input * _drawn_slopes(input, lower, upper), inplace)
    return leaky_relu(input, (lower + upper) / 2, inplace)


def _drawn_slopes(input: Tensor, lower: float, upper: float) -> Tensor:
    """1 where the input is positive, elsewhere uniform in [lower, upper): in a trace a draw, else from the default
    generator."""
    tensors = current.tensors
    if tensors.recorded_draws():
        drawn = tensors.draw("uniform", tuple(input.shape), input.dtype, lower, upper)
        return drawn.masked_fill(input > 0, 1.0)  # type: ignore[no-any-return]
    values = host_value(input.detach())
    assert values is not None
    slopes = np.ones(values.shape)
    below = values <= 0
    slopes[below] = host_value(tensors.draw("uniform", (int(below.sum()),), dtypes.float64, lower, upper))
    return made(slopes, input.dtype)


# --- softmax ---------------------------------------------------------------------------------------------------------


def shifted(node: Node, dim: int) -> Node:
    """The largest element along `dim` (kept), without derivative: what makes exp safe."""
    return reduce(node, (dim,), "max", keepdim=True, body=fn.stop(A0))


def _lower_softmax(node: Node, *, dim: int, dtype: DType | None = None) -> Node:
    node = cast(node, dtype) if dtype else node
    if node.ndim == 0:
        return Compute((), fn.div(fn.exp(A0 - fn.stop(A1)), fn.exp(A0 - fn.stop(A1))), [Read(node, ())] * 2, node.dtype)
    top = shifted(node, dim)
    powers = over(fn.exp(A0 - A1), node.shape, (node, top), node.dtype)
    total = reduce(powers, (dim,), "sum", keepdim=True)
    return over(fn.div(A0, A1), node.shape, (powers, total), node.dtype)


def _lower_log_softmax(node: Node, *, dim: int, dtype: DType | None = None) -> Node:
    node = cast(node, dtype) if dtype else node
    if node.ndim == 0:
        return Compute((), (A0 - fn.stop(A0)) - (A0 - fn.stop(A0)), [Read(node, ())], node.dtype)
    top = shifted(node, dim)
    total = reduce(node, (dim,), "sum", keepdim=True, body=fn.exp(A0 - A1), extra=[top])
    return over((A0 - A1) - fn.log(A2), node.shape, (node, top, total), node.dtype)


_softmax = register(Op("softmax", _lower_softmax, "SoftmaxBackward0", FLOAT, saves=Saves((), (0,))))
_log_softmax = register(Op("log_softmax", _lower_log_softmax, "LogSoftmaxBackward0", FLOAT, saves=Saves((), (0,))))
SOFTMAX = [
    sample(t(2, 3), dim=1), sample(t(2, 3, 4), dim=-2), one(t(5), dim=0), one(t(3, 1), dim=1), plain(t(0, 3), dim=1),
    sample(edges(((1000.0, 0.0, -1000.0), (-INF, 0.0, 1.0), (NAN, 0.0, 1.0), (INF, 0.0, 1.0))), dim=1), one(t(), dim=0),
    plain(t(3), dim=0, dtype="float64", dtypes=("float32",)),
]


def _softmax_dim(dim: int | None, ndim: int) -> int:
    """Without `dim` torch chooses 0 for 0, 1 and 3 dimensions, else 1."""
    return wrap_dim((0 if ndim in (0, 1, 3) else 1) if dim is None else dim, ndim)


def _dtype_attribute(dtype: Any) -> dict[str, Any]:
    return {} if dtype is None else {"dtype": dtypes.dtype(dtype)}


@public(NN, samples=SOFTMAX)
def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(input) divided by its sum along `dim`, computed from the largest element down."""
    return call(_softmax, input, dim=_softmax_dim(dim, input.ndim), **_dtype_attribute(dtype))


@public(NN, samples=SOFTMAX)
def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """log(softmax(input)), computed without forming it."""
    return call(_log_softmax, input, dim=_softmax_dim(dim, input.ndim), **_dtype_attribute(dtype))


@public(NN, samples=[sample(t(2, 3), dim=1)])
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(-input)."""
    return softmax(-input, dim, dtype=dtype)


def _top_level(name: str, function: Any) -> None:
    def with_dim(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
        return function(input, dim, dtype=dtype)

    with_dim.__name__ = with_dim.__qualname__ = name
    with_dim.__doc__ = function.__doc__
    public("", "special", method=True, name=name)(with_dim)


_top_level("softmax", softmax)
_top_level("log_softmax", log_softmax)
