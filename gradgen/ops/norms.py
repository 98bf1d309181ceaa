"""Norms of vectors and matrices, and distances made of them; the derivative is 0 where the norm is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy

from gradgen.ir import functions as fn
from gradgen.ir.dtypes import DType
from gradgen.ir.nodes import Node
from gradgen.ops.axis_counts import Axes
from gradgen.ops.reduction import TORCH_NAMES, DimArgument, Dims, amax, amin, dtype_argument, root
from gradgen.ops.registry import KEEP, Op, Saves, cast, register
from gradgen.ops.requirements import require
from gradgen.ops.samples import INF, edges, one, sample, t
from gradgen.ops.shapes import A0, exact, over, reduce, wrap_dim, wrap_dims
from gradgen.ops.table import FUNCTIONS, call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

def _lower_norm(node: Node, *, order: sympy.Expr, dims: Dims, keepdim: bool, dtype: DType | None = None) -> Node:
    node = cast(node, dtype) if dtype else node
    if not node.dtype.is_floating_point:
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{TORCH_NAMES[node.dtype.name]}"
        )
    if order in (sympy.oo, -sympy.oo):
        _refuse_infinite(node, dims, order)
        return reduce(node, dims, "max" if order > 0 else "min", keepdim=keepdim, body=fn.abs_(A0))
    if order == 0:
        return reduce(node, dims, "sum", keepdim=keepdim, body=fn.select(fn.ne(A0, 0), 1, 0))
    if order == 1:
        return reduce(node, dims, "sum", keepdim=keepdim, body=fn.abs_(A0))
    if order == 2:
        return root(reduce(node, dims, "sum", keepdim=keepdim, body=A0**2))
    term = fn.select(fn.eq(A0, 0), 0 if order > 0 else sympy.oo, fn.pow_(fn.abs_(A0), order))
    total = reduce(node, dims, "sum", keepdim=keepdim, body=term)
    body = fn.select(fn.eq(A0, 0), 0, fn.pow_(A0, 1 / order))
    return over(body, total.shape, (total,), node.dtype)


def _refuse_infinite(node: Node, dims: Dims, order: sympy.Expr) -> None:
    for d in dims:
        require(node.shape[d] - 1, RuntimeError, "linalg.vector_norm cannot compute the {order} norm on an empty tensor "
                "because the operation does not have an identity", order="inf" if order > 0 else "-inf")


_norm = register(Op("vector_norm", _lower_norm, "LinalgVectorNormBackward0", KEEP, saves=Saves((0,), (0,))))
_dist = register(Op("dist", _lower_norm, "DistBackward0", KEEP))
_cdist = register(Op("cdist", _lower_norm, "CdistBackward0", KEEP))
_pairwise = register(Op("pairwise_distance", _lower_norm, "NormBackward1", KEEP))

ZERO_ROWS = edges(((0.0, 0.0), (3.0, -4.0), (0.0, 2.0), (2.0, 2.0)))
NORMS = [
    sample(t(2, 3)),
    *(one(ZERO_ROWS, p, 1) for p in (2, 1, 0, INF, -INF, 3, 1.5, 0.5)),
    one(t(2, 3, 4), 2, (0, 2), True),
    one(t()),
    one(t(2, 3), 2, 1),
    sample(edges((1e20, 2e20)), dtypes=("float64",)),
]


@public("linalg", samples=NORMS)
def vector_norm(
    x: Tensor, ord: float = 2, dim: DimArgument = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """(sum |x|**ord) ** (1/ord); ord 0 counts, +-inf takes the extreme.  The derivative is 0 where the norm is."""
    dims = wrap_dims(dim, x.ndim)
    return call(_norm, x, order=exact(ord), dims=dims, keepdim=bool(keepdim), **dtype_argument(dtype))


@public(
    "",
    method=True,
    samples=[
        sample(t(2, 3)),
        one(t(2, 3), 1),
        one(t(2, 3), 2, 1),
        one(t(2, 3), "fro", (0, 1), True),
        one(edges((0.0, 0.0))),
        one(ZERO_ROWS, p=2, dim=1),
        one(ZERO_ROWS, INF, 1),
    ],
)
def norm(
    input: Tensor, p: float | str | None = "fro", dim: DimArgument = None, keepdim: bool = False, out: None = None,
    dtype: Any = None,
) -> Tensor:
    """The p-norm of the elements (of a matrix the Frobenius norm), along `dim`."""
    if p == "nuc":
        pair = (-2, -1) if dim is None else dim
        return matrix_norm(input, "nuc", pair, keepdim, dtype=dtype)  # type: ignore[arg-type]
    order = 2 if p in ("fro", None) else float(p)  # type: ignore[arg-type]
    return vector_norm(input, order, dim, keepdim, dtype=dtype)


@public("linalg", samples=[one(t(2, 3)), one(t(2, 3), "fro"), one(t(2, 3), 1), one(t(2, 3), INF), one(t(2, 3), -1),
                           one(t(2, 2, 3), "fro", (1, 2), True), one(t(3, 2), 2), one(t(2, 3), -2), one(t(2, 3), "nuc"),
                           one(t(2, 3, 4), 2, (0, 2), True)],
        axes=Axes(2, None, "linalg.matrix_norm: The input tensor A must have at least 2 dimensions."))
def matrix_norm(
    A: Tensor, ord: float | str = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Frobenius norm, the largest or smallest row or column sum (ord +-inf, +-1), or of the singular values the largest (2),
    the smallest (-2) or the sum ("nuc")."""
    rows, columns = (wrap_dim(d, A.ndim) for d in dim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim, dtype=dtype)
    if ord in (1, -1, INF, -INF):
        first, second = (rows, columns) if ord in (1, -1) else (columns, rows)
        sums = vector_norm(A, 1, first, True, dtype=dtype)
        best = (amax if ord > 0 else amin)(sums, second, True)  # type: ignore[operator]
        return best if keepdim else best.squeeze((rows, columns))
    if ord not in (2, -2, "nuc"):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    s = FUNCTIONS["linalg"]["svdvals"](A.movedim((rows, columns), (-2, -1)) if dtype is None else A.movedim(
        (rows, columns), (-2, -1)).to(dtype))
    found = s.sum(-1) if ord == "nuc" else (amax if ord > 0 else amin)(s, -1)  # type: ignore[operator]
    if keepdim:
        first, second = sorted((rows, columns))
        found = found.unsqueeze(first).unsqueeze(second)
    return found  # type: ignore[no-any-return]


@public("linalg", name="norm", samples=[one(t(3)), one(t(2, 3)), one(t(2, 3), 1, 0), one(t(2, 3), "fro")])
def linalg_norm(
    input: Tensor, ord: float | str | None = None, dim: DimArgument = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Vector norm, or matrix norm where `ord` is given for a matrix."""
    if ord is None:
        return vector_norm(input, 2, dim, keepdim, dtype=dtype)
    matrix = input.ndim == 2 if dim is None else not isinstance(dim, int) and len(dim) == 2
    if isinstance(ord, str) or matrix:
        pair = (-2, -1) if dim is None else dim
        return matrix_norm(input, ord, pair, keepdim, dtype=dtype)  # type: ignore[arg-type]
    return vector_norm(input, ord, dim, keepdim, dtype=dtype)


@public("", method=True, samples=[one(t(3), t(3, seed=1)), one(t(3), t(3))])
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    difference = input - other
    return call(_dist, difference, order=exact(p), dims=tuple(range(difference.ndim)), keepdim=False)


@public("", samples=[one(t(2, 3), t(4, 3, seed=1)), one(t(2, 2, 3), t(2, 4, 3, seed=1), p=1.0)], axes={
    f"x{k}": Axes(2, None, f"cdist only supports at least 2D tensors, X{k} got: {{n}}D") for k in (1, 2)})
def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """Distances of all rows of x1 from all rows of x2: [..., P, M], [..., R, M] -> [..., P, R]."""
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    return call(_cdist, difference, order=exact(p), dims=(difference.ndim - 1,), keepdim=False)


@public("nn.functional", samples=[one(t(2, 3), t(2, 3, seed=1)), one(t(2, 3), t(2, 3, seed=1), 1.0, 0.01, True)])
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-06, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    difference = x1 - x2 + eps
    rows = difference if difference.ndim else difference.reshape(1)
    return call(_pairwise, rows, order=exact(p), dims=(rows.ndim - 1,), keepdim=bool(keepdim and difference.ndim))


