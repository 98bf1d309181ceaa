"""Reductions: sum mean prod, extremes and their places, any and all, logsumexp, moments, norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.dtypes import DType
from gradgen.ir.indexing import reshape_index
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import Extent, axis, reduce_axis
from gradgen.ops.arithmetic import maximum, minimum
from gradgen.ops.registry import FLOAT, KEEP, Op, Saves, cast, register
from gradgen.ops.requirements import require
from gradgen.ops.samples import INF, NAN, edges, mask, one, plain, sample, t
from gradgen.ops.shapes import (
    A0,
    A1,
    TORCH_NAMES,
    exact,
    numel,
    over,
    reduce,
    reduced_shape,
    return_text,
    wrap_dim,
    wrap_dims,
)
from gradgen.ops.table import call, is_tensor, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Dims = tuple[int, ...]
DimArgument = int | Sequence[int] | None


def dtype_argument(dtype: Any) -> dict[str, DType]:
    return {} if dtype is None else {"dtype": dtypes.dtype(dtype)}


def count_of(shape: Sequence[Extent], dims: Sequence[int]) -> sympy.Expr:
    """How many elements a reduction over `dims` takes in, as an expression for a body."""
    return fn.extent(sympy.sympify(numel([shape[d] for d in dims])))


# --- sum, mean, prod -------------------------------------------------------------------------------------------------


def summed(node: Node, dtype: DType | None) -> Node:
    return cast(node, dtype or (node.dtype if node.dtype.is_floating_point else dtypes.int64))


def _lower_sum(node: Node, *, dims: Dims, keepdim: bool, dtype: DType | None = None) -> Node:
    return reduce(summed(node, dtype), dims, "sum", keepdim=keepdim)


def _lower_prod(node: Node, *, dims: Dims, keepdim: bool, dtype: DType | None = None) -> Node:
    return reduce(summed(node, dtype), dims, "prod", keepdim=keepdim)


def _lower_mean(node: Node, *, dims: Dims, keepdim: bool, dtype: DType | None = None) -> Node:
    node = cast(node, dtype) if dtype else node
    if not node.dtype.is_floating_point:
        kind = "Input" if dtype is None else "Optional"
        raise RuntimeError(
            f"mean(): could not infer output dtype. {kind} dtype must be either a floating point or complex "
            f"dtype. Got: "
            f"{TORCH_NAMES[node.dtype.name]}"
        )
    total = reduce(node, dims, "sum", keepdim=keepdim)
    return over(fn.div(A0, count_of(node.shape, dims)), total.shape, (total,), node.dtype)


def _two(name: str, lower: Callable[..., Node], grad: str) -> tuple[Op, Op]:
    """The entry over all axes and the one over given axes: PyTorch tells their grad_fn apart."""
    return (
        register(Op(name, lower, f"{grad}Backward0", KEEP)),
        register(Op(f"{name}_dim", lower, f"{grad}Backward1", KEEP)),
    )


_sum = _two("sum", _lower_sum, "Sum")
_mean = _two("mean", _lower_mean, "Mean")
_prod = _two("prod", _lower_prod, "Prod")


def _reduced(ops: tuple[Op, Op], input: Tensor, dim: DimArgument, keepdim: bool, **attributes: Any) -> Tensor:
    require_tensor(input, ops[0].name)
    dims = wrap_dims(dim, input.ndim)
    return call(ops[dim is not None], input, dims=dims, keepdim=bool(keepdim), **attributes)


SUMS = [
    sample(t(2, 3)), sample(t(2, 3), 0), one(t(2, 3, 4), (0, 2)), one(t(2, 3, 4), 1, True), one(t()), one(t(), 0),
    one(t(2, 3), -1, keepdim=True), sample(edges((INF, 1.0, NAN))), one(t(3, 1), 1),
]
INT_SUMS = [
    plain(edges(((1, 2), (3, 4))), dtypes=("int32", "int64")),
    plain(mask(2, 3), 1),
    plain(t(0, 3), 0),
    plain(t(0)),
]


@public("", method=True, samples=[*SUMS, *INT_SUMS, plain(t(3), dtype="float64", dtypes=("float32",))])
def sum(input: Tensor, dim: DimArgument = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over `dim` (all axes); integers and bools sum to int64."""
    return _reduced(_sum, input, dim, keepdim, **dtype_argument(dtype))


@public("", method=True, samples=[*SUMS, plain(t(0, 3), 0), plain(mask(2, 3), dtype="float32")])
def mean(input: Tensor, dim: DimArgument = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean over `dim` (all axes); floating types only."""
    return _reduced(_mean, input, dim, keepdim, **dtype_argument(dtype))


@public(
    "",
    method=True,
    samples=[
        sample(t(2, 3)),
        sample(t(2, 3), 0),
        one(t(2, 3), 1, True),
        one(edges((2.0, 0.0, 3.0))),
        one(edges((0.0, 0.0, 3.0))),
        one(edges(((2.0, 0.0), (0.0, 0.0), (1.0, 5.0))), 1),
        INT_SUMS[0],
        plain(t(0)),
        plain(mask(2, 3)),
    ],
)
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Product over one axis, or of all elements; the gradient is right where elements are 0."""
    return _reduced(_prod, input, dim, keepdim, **dtype_argument(dtype))


@public("", method=True, samples=[one(edges((1.0, NAN, 2.0))), one(edges(((1.0, NAN), (NAN, 2.0))), 0)])
def nansum(input: Tensor, dim: DimArgument = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum without the nans."""
    return _reduced((_nansum, _nansum), input, dim, keepdim, **dtype_argument(dtype))


def _lower_nansum(node: Node, *, dims: Dims, keepdim: bool, dtype: DType | None = None) -> Node:
    return reduce(summed(node, dtype), dims, "sum", keepdim=keepdim, body=fn.select(fn.isnan(A0), 0, A0))


_nansum = register(Op("nansum", _lower_nansum, "NansumBackward0", KEEP))


@public("", method=True, samples=[one(edges((1.0, NAN, 2.0))), one(edges(((1.0, NAN), (NAN, NAN))), 1)])
def nanmean(input: Tensor, dim: DimArgument = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean of what is not nan."""
    return nansum(input, dim, keepdim, dtype=dtype) / sum(~input.isnan(), dim, keepdim)


def _lower_count(node: Node, *, dims: Dims) -> Node:
    body = fn.select(fn.ne(A0, 0), 1, 0)
    return reduce(node, dims, "sum", body=body, dtype=dtypes.int64)


_count_nonzero = register(Op("count_nonzero", _lower_count, "NotDifferentiable", KEEP))


@public("", method=True, samples=[plain(edges((0.0, 1.0, NAN))), plain(mask(2, 3), 1)])
def count_nonzero(input: Tensor, dim: DimArgument = None) -> Tensor:
    """How many elements are not 0."""
    return call(_count_nonzero, input, dims=wrap_dims(dim, input.ndim))


# --- any, all --------------------------------------------------------------------------------------------------------


def _truth(reducer: str) -> Callable[..., Node]:
    def lower(node: Node, *, dims: Dims, keepdim: bool) -> Node:
        body = A0 if node.dtype is dtypes.bool_ else fn.ne(A0, 0)
        return reduce(node, dims, reducer, keepdim=keepdim, body=body, dtype=dtypes.bool_)

    return lower


_any = register(Op("any", _truth("any"), "NotDifferentiable", KEEP))
_all = register(Op("all", _truth("all"), "NotDifferentiable", KEEP))
TRUTHS = [
    plain(mask(2, 3)),
    plain(mask(2, 3), 0),
    plain(edges((0.0, NAN))),
    plain(t(0, 2), 0),
    plain(mask(2, 3), 1, True),
]


@public("", method=True, samples=TRUTHS)
def any(input: Tensor, dim: DimArgument = None, keepdim: bool = False) -> Tensor:
    """Whether an element is not 0."""
    return call(_any, input, dims=wrap_dims(dim, input.ndim), keepdim=bool(keepdim))


@public("", method=True, samples=TRUTHS)
def all(input: Tensor, dim: DimArgument = None, keepdim: bool = False) -> Tensor:
    """Whether no element is 0."""
    return call(_all, input, dims=wrap_dims(dim, input.ndim), keepdim=bool(keepdim))


# --- extremes --------------------------------------------------------------------------------------------------------


def _refuse_empty(node: Node, dims: Dims, name: str, whole: bool) -> None:
    for extent in node.shape if whole else ():
        require(extent - 1, RuntimeError,
                "{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the "
                "'dim' argument.", name=name)
    for d in dims:
        require(node.shape[d] - 1, IndexError, "{name}(): Expected reduction dim {d} to have non-zero size.", name=name, d=d)


def _extremum(name: str, reducer: str) -> Callable[..., Node]:
    def lower(node: Node, *, dims: Dims, keepdim: bool) -> Node:
        _refuse_empty(node, dims, name, len(dims) == node.ndim)
        return reduce(node, dims, reducer, keepdim=keepdim)

    return lower


_amax = register(Op("amax", _extremum("amax", "max"), "AmaxBackward0", KEEP))
_amin = register(Op("amin", _extremum("amin", "min"), "AminBackward0", KEEP))
_aminmax = register(
    Op(
        "aminmax",
        lambda node, **how: (_extremum("aminmax", "min")(node, **how), _extremum("aminmax", "max")(node, **how)),
        "AminmaxBackward0",
        KEEP,
        outputs=2,
    )
)
_max_all = register(Op("max", _extremum("max", "max"), "MaxBackward1", KEEP))
_min_all = register(Op("min", _extremum("min", "min"), "MinBackward1", KEEP))
TIES = edges(((1.0, 3.0, 3.0), (-2.0, -2.0, -2.0), (0.0, -0.0, -1.0)))
NANS = edges(((1.0, NAN, 3.0), (INF, -INF, INF), (0.0, -0.0, -1.0)))
EXTREMES = [sample(t(2, 3), 1), one(t(2, 3, 4), 1, True), sample(TIES, 1), sample(NANS, 1), one(t(), 0),
            plain(edges(((3, 1), (2, 2))), 1, dtypes=("int32", "int64"))]


@public("", method=True, samples=[*EXTREMES, one(TIES), one(t(2, 3, 4), (0, 2))])
def amax(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """Largest elements; ties share the gradient evenly."""
    return call(_amax, input, dims=wrap_dims(dim, input.ndim), keepdim=bool(keepdim))


@public("", method=True, samples=[*EXTREMES, one(TIES), one(t(2, 3, 4), (0, 2))])
def amin(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """Smallest elements; ties share the gradient evenly."""
    return call(_amin, input, dims=wrap_dims(dim, input.ndim), keepdim=bool(keepdim))


class aminmax_result(NamedTuple):
    min: Any
    max: Any
    __repr__ = return_text


@public("", method=True, samples=[one(t(2, 3), dim=1), one(TIES)])
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> aminmax_result:
    """Both extremes."""
    dims = tuple(range(input.ndim)) if dim is None else wrap_dims(dim, input.ndim)
    return aminmax_result(*call(_aminmax, input, dims=dims, keepdim=bool(keepdim)))


def _lower_arg(node: Node, *, dim: int | None, keepdim: bool, reducer: str) -> Node:
    if dim is None:
        for extent in node.shape:
            require(extent - 1, IndexError, "{name}(): Expected reduction dim to be specified for input.numel() == 0.",
                    name=reducer)
        size = numel(node.shape)
        source = reshape_index((reduce_axis(0),), (size,), node.shape) if node.ndim else ()
        shape = (1,) * node.ndim if keepdim else ()
        return Compute(shape, A0, [Read(node, source)], dtypes.int64, reduce_shape=(size,), reducer=reducer)
    if node.ndim == 0:
        return Compute((), sympy.Integer(0), [Read(node, ())], dtypes.int64)
    _refuse_empty(node, (dim,), reducer, False)
    return reduce(node, (dim,), reducer, keepdim=keepdim, dtype=dtypes.int64)


_arg = register(Op("argmax", _lower_arg, "NotDifferentiable", KEEP))
_ARGS = [plain(t(2, 3), 1), plain(TIES, 1), plain(NANS, 1), plain(t(2, 3)), plain(t(2, 3), 0, True), plain(t()),
         plain(edges(((3, 1), (2, 2))), 1, dtypes=("int32", "int64"))]


@public("", method=True, samples=_ARGS)
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest element is: the first of a tie, the first nan; without `dim` in the flattened tensor."""
    return _place(input, dim, keepdim, "argmax")


@public("", method=True, samples=_ARGS)
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest element is: the first of a tie, the first nan."""
    return _place(input, dim, keepdim, "argmin")


def _place(input: Tensor, dim: int | None, keepdim: bool, reducer: str) -> Tensor:
    require_tensor(input, reducer)
    at = None if dim is None else wrap_dim(dim, input.ndim)
    return call(_arg, input, dim=at, keepdim=bool(keepdim), reducer=reducer)


def _lower_along(node: Node, *, dim: int, keepdim: bool, reducer: str) -> tuple[Node, Node]:
    """Value and place along one axis: the value is read at the place, so the first of a tie takes the gradient."""
    where = _lower_arg(node, dim=dim, keepdim=keepdim, reducer=reducer)
    if node.ndim == 0:
        return Compute((), A0, [Read(node, ())], node.dtype), where
    shape = reduced_shape(node.shape, (dim,), keepdim)
    outer = iter([axis(d) for d in range(len(shape)) if not (keepdim and d == dim)])
    place = Read(where, [axis(d) for d in range(len(shape))])
    index = [A0 if d == dim else next(outer) for d in range(node.ndim)]
    return Compute(shape, A1, [place, Read(node, index)], node.dtype), where


_max_dim = register(Op("max_dim", _lower_along, "MaxBackward0", KEEP, outputs=2))
_min_dim = register(Op("min_dim", _lower_along, "MinBackward0", KEEP, outputs=2))


class max_result(NamedTuple):
    values: Any
    indices: Any
    __repr__ = return_text


class min_result(NamedTuple):
    values: Any
    indices: Any
    __repr__ = return_text


def _best(input: Tensor, dim: Any, keepdim: bool, whole: Op, along: Op, reducer: str, pair: Any) -> Any:
    require_tensor(input, whole.name)
    if dim is None:
        return call(whole, input, dims=tuple(range(input.ndim)), keepdim=False)
    at = wrap_dim(dim, input.ndim)
    if input.ndim:
        require(input.shape[at] - 1, IndexError, "{name}(): Expected reduction dim {at} to have non-zero size.",
                name=whole.name, at=at)
    found = call(along, input, dim=at, keepdim=bool(keepdim), reducer=reducer)
    return pair(*found)


ALONG = [sample(t(2, 3)), one(TIES), sample(t(2, 3), 1), one(t(2, 3), 0, True), sample(TIES, 1), sample(NANS, 1),
         one(t(2, 3), t(2, 3, seed=1)), one(t(), 0),
         plain(edges(((3, 1, 2), (5, 7, 7))), 1, dtypes=("int32", "int64")),
]


@public("", method=True, samples=ALONG)
def max(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """The largest element; with `dim` (values, indices) along it; with another tensor `maximum`.

    Of tied elements all share the gradient evenly without `dim`, the first takes it with `dim`.
    """
    if is_tensor(dim) or other is not None:
        return maximum(input, other if other is not None else dim)  # type: ignore[arg-type]
    return _best(input, dim, keepdim, _max_all, _max_dim, "argmax", max_result)


@public("", method=True, samples=ALONG)
def min(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """The smallest element; with `dim` (values, indices) along it; with another tensor `minimum`."""
    if is_tensor(dim) or other is not None:
        return minimum(input, other if other is not None else dim)  # type: ignore[arg-type]
    return _best(input, dim, keepdim, _min_all, _min_dim, "argmin", min_result)


# --- logsumexp -------------------------------------------------------------------------------------------------------


def _lower_logsumexp(node: Node, *, dims: Dims, keepdim: bool) -> Node:
    top = (
        reduce(node, dims, "max", keepdim=True, body=fn.stop(A0))
        if dims
        else over(fn.stop(A0), node.shape, (node,), node.dtype)
    )
    top = over(fn.select(fn.isinf(A0), 0, A0), top.shape, (top,), node.dtype)
    total = reduce(node, dims, "sum", keepdim=keepdim, body=fn.exp(A0 - A1), extra=[top])
    kept = [axis(d) for d in range(total.ndim)]
    position = iter(kept)
    index = [(axis(d) if keepdim else sympy.Integer(0)) if d in dims else (axis(d) if keepdim else next(position))
             for d in range(node.ndim)]
    index = [sympy.Integer(0) if d in dims else e for d, e in enumerate(index)]
    return Compute(total.shape, fn.log(A0) + A1, [Read(total, kept), Read(top, index)], node.dtype)


_logsumexp = register(Op("logsumexp", _lower_logsumexp, "LogsumexpBackward0", FLOAT, saves=Saves((0,), (0,))))


@public("", "special", method=True, samples=[
    sample(t(2, 3), 1), one(t(2, 3, 4), (0, 2)), one(t(2, 3), 0, True), one(t(), 0),
    sample(edges(((1000.0, 0.0, -1000.0), (-INF, 0.0, 1.0), (INF, 0.0, 1.0), (NAN, 0.0, 1.0))), 1),
])
def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """log(sum(exp(input))) along `dim`, from the largest element down."""
    return call(_logsumexp, input, dims=wrap_dims(dim, input.ndim), keepdim=bool(keepdim))


# --- moments ---------------------------------------------------------------------------------------------------------


def moments(node: Node, dims: Dims, correction: Any, keepdim: bool) -> tuple[Node, Node]:
    """Variance (sum of squares from the mean, by n - correction) and mean, in two passes."""
    if not node.dtype.is_floating_point:
        raise RuntimeError("std and var only support floating point and complex dtypes")
    center = _lower_mean(node, dims=dims, keepdim=True)
    squares = reduce(node, dims, "sum", keepdim=keepdim, body=(A0 - A1) ** 2, extra=[center])
    (count,) = count_of(node.shape, dims).args
    divisor = count - correction
    divisor = sympy.Max(divisor, 0) if divisor.is_number else fn.maximum(divisor, 0)
    divisor = fn.extent(divisor) if divisor.is_Integer else divisor
    variance = over(fn.div(A0, divisor), squares.shape, (squares,), node.dtype)
    return variance, center if keepdim else _lower_mean(node, dims=dims, keepdim=False)


def _lower_var(node: Node, *, dims: Dims, correction: Any, keepdim: bool) -> Node:
    return moments(node, dims, correction, keepdim)[0]


def root(node: Node) -> Node:
    """sqrt with derivative 0 at 0: standard deviations and norms."""
    return over(fn.select(fn.eq(A0, 0), 0, fn.sqrt_(A0)), node.shape, (node,), node.dtype)


def _lower_std(node: Node, *, dims: Dims, correction: Any, keepdim: bool) -> Node:
    return root(moments(node, dims, correction, keepdim)[0])


def _lower_var_mean(node: Node, *, dims: Dims, correction: Any, keepdim: bool) -> tuple[Node, Node]:
    return moments(node, dims, correction, keepdim)


def _lower_std_mean(node: Node, *, dims: Dims, correction: Any, keepdim: bool) -> tuple[Node, Node]:
    variance, center = moments(node, dims, correction, keepdim)
    return root(variance), center


_var = register(Op("var", _lower_var, "VarBackward0", KEEP))
_std = register(Op("std", _lower_std, "StdBackward0", KEEP, saves=Saves((0,), (0,))))
_var_mean = register(Op("var_mean", _lower_var_mean, "VarMeanBackward0", KEEP, outputs=2))
_std_mean = register(Op("std_mean", _lower_std_mean, "StdMeanBackward0", KEEP, outputs=2))

MOMENTS = [
    sample(t(2, 3)), sample(t(2, 3), 1), one(t(2, 3, 4), (0, 2), correction=0), one(t(2, 3), 0, keepdim=True),
    one(t(2, 3), 1, unbiased=False), plain(t(1)), one(t(4), correction=2), sample(edges((NAN, 1.0))),
]
CONSTANT = one(edges((2.0, 2.0, 2.0)))


def _moment(op: Op, input: Tensor, dim: Any, unbiased: bool | None, keepdim: bool, correction: float | None) -> Any:
    require_tensor(input, op.name)
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is None:
        correction = 1 if unbiased else 0
    correction = 1 if correction is None else correction
    return call(op, input, dims=wrap_dims(dim, input.ndim), correction=exact(correction), keepdim=bool(keepdim))


def _moment_function(name: str, op: Op, doc: str, samples: Sequence[Any]) -> Any:
    def moment(
        input: Tensor, dim: DimArgument | bool = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None,
    ) -> Any:
        return _moment(op, input, dim, unbiased, keepdim, correction)

    moment.__name__ = moment.__qualname__ = name
    moment.__doc__ = doc
    # the pairs are functions only, as in torch
    public("", method=not name.endswith("_mean"), samples=samples, name=name)(moment)
    return moment


var = _moment_function("var", _var, "Variance over `dim`, divided by n - correction (1).", [*MOMENTS, CONSTANT])
std = _moment_function("std", _std, "Standard deviation; its derivative is 0 where it is 0.", [*MOMENTS, CONSTANT])
var_mean = _moment_function("var_mean", _var_mean, "(variance, mean).", MOMENTS[:4])
std_mean = _moment_function("std_mean", _std_mean, "(standard deviation, mean).", MOMENTS[:4])
