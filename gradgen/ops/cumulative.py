"""Running sums, products and extremes: recurrences along one axis, a loop in the emitted C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Compute, Input, Node, Read, Scan, identity_read
from gradgen.ir.symbols import axes, axis
from gradgen.ops.reduction import dtype_argument, summed
from gradgen.ops.registry import FLOAT, KEEP, Op, Saves, register
from gradgen.ops.samples import INF, NAN, edges, one, plain, sample, t
from gradgen.ops.shape import view_node
from gradgen.ops.shapes import A0, A1, A2, A3, extreme, return_text, wrap_dim
from gradgen.ops.table import call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor


def _leading(node: Node, dim: int) -> Node:
    """The axis `dim` first."""
    index = [axis(0) if d == dim else axis(d + 1 if d < dim else d) for d in range(node.ndim)]
    return view_node(node, (node.shape[dim], *(e for d, e in enumerate(node.shape) if d != dim)), index)


def _back(node: Node, dim: int) -> Node:
    """The first axis at `dim`."""
    index = [axis(dim), *(axis(d if d < dim else d + 1) for d in range(node.ndim - 1))]
    rest = node.shape[1:]
    return view_node(node, (*rest[:dim], node.shape[0], *rest[dim:]), index)


def _running(node: Node, dim: int, start: sympy.Expr, body: sympy.Expr) -> Node:
    """y[k] = body(y[k - 1], x[k]) along `dim`, y[-1] = start."""
    rest = tuple(e for d, e in enumerate(node.shape) if d != dim)
    carry, item = Input("carry", rest, node.dtype), Input("item", rest, node.dtype)
    new = Compute(rest, body, [identity_read(carry), identity_read(item)], node.dtype)
    step = Graph((carry, item), (new, new), ("carry", "y"))
    first = Compute(rest, start, [], node.dtype)
    return _back(Scan(step, [first], [_leading(node, dim)], [], node.shape[dim], 1), dim)


def _lower_cumsum(node: Node, *, dim: int, dtype: DType | None = None) -> Node:
    node = summed(node, dtype)
    return node if node.ndim == 0 else _running(node, dim, sympy.Integer(0), A0 + A1)


def _lower_cumprod(node: Node, *, dim: int, dtype: DType | None = None) -> Node:
    node = summed(node, dtype)
    return node if node.ndim == 0 else _running(node, dim, sympy.Integer(1), A0 * A1)


def _lower_logcumsumexp(node: Node, *, dim: int) -> Node:
    return node if node.ndim == 0 else _running(node, dim, -sympy.oo, fn.logaddexp(A0, A1))


_cumsum = register(Op("cumsum", _lower_cumsum, "CumsumBackward0", KEEP))
_cumprod = register(Op("cumprod", _lower_cumprod, "CumprodBackward0", KEEP, saves=Saves((0,), (0,))))
_logcumsumexp = register(Op("logcumsumexp", _lower_logcumsumexp, "LogcumsumexpBackward0", FLOAT))
INTEGERS = plain(edges(((1, 2, 3), (4, 5, 6))), 1, dtypes=("int32", "int64", "bool"))


@public("", method=True, inplace=True, samples=[sample(t(2, 3), 1), one(t(4), 0), one(t(2, 3, 2), -2), INTEGERS,
                                              plain(t(0, 2), 0), one(t(), 0)])
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sum along `dim`; integers sum to int64."""
    return call(_cumsum, input, dim=wrap_dim(dim, input.ndim), **dtype_argument(dtype))


@public("", method=True, inplace=True, samples=[sample(t(2, 3), 1), one(edges((2.0, 0.0, 3.0, 0.0, 4.0)), 0), INTEGERS])
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running product along `dim`; the derivative is right at zeros."""
    return call(_cumprod, input, dim=wrap_dim(dim, input.ndim), **dtype_argument(dtype))


@public("", method=True, samples=[sample(t(2, 3), 1), one(edges((1000.0, 0.0, -1000.0)), 0)])
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of the running sum of exp along `dim`."""
    return call(_logcumsumexp, input, dim=wrap_dim(dim, input.ndim))


# --- running extremes -------------------------------------------------------------------------------------------------


def _running_extremum(better: Callable[..., sympy.Expr], start: int) -> Callable[..., tuple[Node, Node]]:
    """Values and places; of equal elements the last, and a nan stays."""

    def lower(node: Node, *, dim: int) -> tuple[Node, Node]:
        if node.ndim == 0:
            return node, Compute((), sympy.Integer(0), [], dtypes.int64)
        rest = tuple(e for d, e in enumerate(node.shape) if d != dim)
        value, place = Input("value", rest, node.dtype), Input("place", rest, dtypes.int64)
        item, number = Input("item", rest, node.dtype), Input("number", (), dtypes.int64)
        taken = fn.or_(fn.isnan(A1), fn.and_(fn.not_(fn.isnan(A0)), better(A1, A0)))
        at = axes(len(rest))
        both = [Read(value, at), Read(item, at)]
        best = Compute(rest, fn.select(taken, A1, A0), both, node.dtype)
        where = Compute(rest, fn.select(taken, A3, A2), [*both, Read(place, at), Read(number, ())], dtypes.int64)
        step = Graph((value, place, item, number), (best, where, best, where), ("value", "place", "values", "places"))
        first = [Compute(rest, extreme(node.dtype, start), [], node.dtype),
                 Compute(rest, sympy.Integer(0), [], dtypes.int64)]
        made = [Scan(step, first, [_leading(node, dim)], [], node.shape[dim], k) for k in (2, 3)]
        return _back(made[0], dim), _back(made[1], dim)

    return lower


_cummax = register(Op("cummax", _running_extremum(fn.ge, -1), "CummaxBackward0", KEEP, outputs=2))
_cummin = register(Op("cummin", _running_extremum(fn.le, 1), "CumminBackward0", KEEP, outputs=2))


class cummax_result(NamedTuple):
    values: Any
    indices: Any
    __repr__ = return_text


class cummin_result(NamedTuple):
    values: Any
    indices: Any
    __repr__ = return_text


RUNNING: Sequence[Any] = [
    sample(t(2, 4), 1), one(edges((1.0, 3.0, 3.0, 2.0, 5.0, NAN, 7.0)), 0), one(edges((-INF, 1.0, -INF)), 0), one(t(3, 2), 0),
    plain(edges(((3, 1), (2, 2))), 1, dtypes=("int64",)),
]


@public("", method=True, samples=RUNNING)
def cummax(input: Tensor, dim: int) -> cummax_result:
    """Largest so far along `dim`, and where; of equal elements the last."""
    return cummax_result(*call(_cummax, input, dim=wrap_dim(dim, input.ndim)))


@public("", method=True, samples=RUNNING)
def cummin(input: Tensor, dim: int) -> cummin_result:
    """Smallest so far along `dim`, and where; of equal elements the last."""
    return cummin_result(*call(_cummin, input, dim=wrap_dim(dim, input.ndim)))
