"""Order: sort, topk, kthvalue, median, searchsorted.

Only the order itself is a kernel; values are read at the places it gives, so their derivative is that of a gather.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.indexing import product, quotient, reshape_index
from gradgen.ir.kernels import call as kernel_call
from gradgen.ir.nodes import Compute, Node, Read, identity_read
from gradgen.ir.symbols import Extent, axes, axis, reduce_axis
from gradgen.ops.axis_counts import Axes
from gradgen.ops.gathering import as_tensor_like, gather
from gradgen.ops.registry import KEEP, Op, Saves, register
from gradgen.ops.requirements import require
from gradgen.ops.samples import INF, NAN, edges, one, plain, sample, t
from gradgen.ops.shape import taken, to_dtype
from gradgen.ops.shapes import A0, A1, reduced_shape, wrap_dim
from gradgen.ops.table import call, is_tensor, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor


def _swapped(node: Node, dim: int) -> Node:
    """Axis `dim` exchanged with the last one."""
    last = node.ndim - 1
    if dim == last:
        return node
    order = [last if d == dim else dim if d == last else d for d in range(node.ndim)]
    return Compute([node.shape[d] for d in order], A0, [Read(node, [axis(d) for d in order])], node.dtype)


def _order(node: Node, dim: int, descending: bool) -> Node:
    """The places of the elements along `dim` in order."""
    if node.ndim == 0:
        return Compute((), sympy.Integer(0), [], dtypes.int64)
    return _swapped(kernel_call("argsort", _swapped(node, dim), descending=descending)[0], dim)


def _at(node: Node, places: Node, dim: int) -> Node:
    """The elements at `places` along `dim`, which are different ones."""
    index = [A0 if d == dim else axis(d) for d in range(node.ndim)]
    return taken(Compute(places.shape, A1, [identity_read(places), Read(node, index)], node.dtype), dim)


def _lower_selected(node: Node, places: Node, *, dim: int) -> Node:
    return _at(node, places, dim)


selected = register(Op("selected", _lower_selected, "GatherBackward0", KEEP, saves=Saves((0,))))
"""gather where no element is taken twice."""


def _lower_sort(node: Node, *, dim: int, descending: bool) -> tuple[Node, Node]:
    places = _order(node, dim, descending)
    return _at(node, places, dim), places


def _lower_argsort(node: Node, *, dim: int, descending: bool) -> Node:
    return _order(node, dim, descending)


def _lower_topk(node: Node, *, k: Extent, dim: int, largest: bool) -> tuple[Node, Node]:
    places = _order(node, dim, largest)
    if node.ndim:
        shape = (*node.shape[:dim], k, *node.shape[dim + 1 :])
        places = Compute(shape, A0, [identity_read(places)], dtypes.int64)
    return _at(node, places, dim), places


def _picked(node: Node, places: Node, dim: int, keepdim: bool) -> tuple[Node, Node]:
    """The elements at `places`, which have extent 1 along `dim`, with or without that axis."""
    if not keepdim:
        index = [0 if d == dim else axis(d if d < dim else d - 1) for d in range(node.ndim)]
        shape = reduced_shape(node.shape, (dim,), False)
        places = Compute(shape, A0, [Read(places, index)], dtypes.int64)
        index = [A0 if d == dim else axis(d if d < dim else d - 1) for d in range(node.ndim)]
        return Compute(shape, A1, [identity_read(places), Read(node, index)], node.dtype), places
    return _at(node, places, dim), places


def _chosen(node: Node, order: Node, dim: int, position: Node) -> Node:
    """order[..., position, ...], with extent 1 along `dim`."""
    index = [A0 if d == dim else axis(d) for d in range(node.ndim)]
    return Compute(position.shape, A1, [identity_read(position), Read(order, index)], dtypes.int64)


def _lower_kthvalue(node: Node, *, k: int, dim: int, keepdim: bool) -> tuple[Node, Node]:
    if node.ndim == 0:
        return _at(node, _order(node, dim, False), dim), _order(node, dim, False)
    shape = reduced_shape(node.shape, (dim,), True)
    place = [sympy.Integer(k - 1) if d == dim else axis(d) for d in range(node.ndim)]
    places = Compute(shape, A0, [Read(_order(node, dim, False), place)], dtypes.int64)
    return _picked(node, places, dim, keepdim)


def _median_places(node: Node, dim: int, ignore_nan: bool) -> Node:
    """Where the lower median is; with a nan, the first nan (or, ignoring them, the lower median of the others)."""
    shape, n = reduced_shape(node.shape, (dim,), True), node.shape[dim]
    last = sympy.sympify(n) - 1
    order = _order(node, dim, False)
    if not node.dtype.is_floating_point:
        place = [quotient(last, sympy.Integer(2)) if d == dim else axis(d) for d in range(node.ndim)]
        return Compute(shape, A0, [Read(order, place)], dtypes.int64)
    inner = [reduce_axis(0) if d == dim else axis(d) for d in range(node.ndim)]
    count = Compute(shape, fn.select(fn.isnan(A0), 1, 0), [Read(node, inner)], dtypes.int64, reduce_shape=(n,),
                    reducer="sum")
    numbers = fn.extent(sympy.sympify(n)) - A0
    if ignore_nan:
        body = fn.select(fn.gt(numbers, 0), fn.floor_div(numbers - 1, 2), 0)
    else:
        body = fn.select(fn.gt(A0, 0), numbers, fn.floor_div(numbers - 1, 2))
    position = Compute(shape, body, [identity_read(count)], dtypes.int64)
    return _chosen(node, order, dim, position)


def _lower_median(node: Node, *, dim: int, keepdim: bool, ignore_nan: bool) -> tuple[Node, Node]:
    if node.ndim == 0:
        return _at(node, _order(node, dim, False), dim), _order(node, dim, False)
    return _picked(node, _median_places(node, dim, ignore_nan), dim, keepdim)


def _lower_median_of_all(node: Node, *, ignore_nan: bool) -> Node:
    """The derivative is shared evenly by the elements that are the median."""
    size = product(node.shape)
    flat = Compute((size,), A0, [Read(node, reshape_index((axis(0),), (size,), node.shape))], node.dtype)
    if size == 0:
        return Compute((), sympy.nan, [], node.dtype)
    value = _picked(flat, _median_places(flat, 0, ignore_nan), 0, False)[0]
    if not node.dtype.is_floating_point:
        return value
    known = fn.stop(A1)
    same = fn.or_(fn.eq(A0, known), fn.and_(fn.isnan(A0), fn.isnan(known)))
    both = [Read(flat, (reduce_axis(0),)), Read(value, ())]
    total, count = (Compute((), fn.select(same, what, 0), both, node.dtype, reduce_shape=(size,), reducer="sum")
                    for what in (A0, 1))
    mean = Compute((), fn.div(A0, fn.stop(A1)), [Read(total, ()), Read(count, ())], node.dtype)
    body = fn.select(fn.isfinite(A0), fn.stop(A0) + (A1 - fn.stop(A1)), A1)  # the value of the one, the slope of the other
    return Compute((), body, [Read(value, ()), Read(mean, ())], node.dtype)


_sort = register(Op("sort", _lower_sort, "SortBackward0", KEEP, outputs=2))
_argsort = register(Op("argsort", _lower_argsort, "NotDifferentiable", KEEP))
_topk = register(Op("topk", _lower_topk, "TopkBackward0", KEEP, outputs=2))
_kthvalue = register(Op("kthvalue", _lower_kthvalue, "KthvalueBackward0", KEEP, outputs=2))
_median = register(Op("median_dim", _lower_median, "MedianBackward1", KEEP, outputs=2))
_nanmedian = register(Op("nanmedian_dim", _lower_median, "NanmedianBackward1", KEEP, outputs=2))
_median_of_all = register(Op("median", _lower_median_of_all, "MedianBackward0", KEEP))
_nanmedian_of_all = register(Op("nanmedian", _lower_median_of_all, "NanmedianBackward0", KEEP))


class _Pair(NamedTuple):
    values: Any
    indices: Any


class sort_result(_Pair):
    """What torch.return_types.sort is; likewise the others."""

    __slots__ = ()

    def __repr__(self) -> str:
        name = type(self).__name__.removesuffix("_result")
        return f"torch.return_types.{name}(\nvalues={self.values!r},\nindices={self.indices!r})"


class topk_result(sort_result):
    __slots__ = ()


class kthvalue_result(sort_result):
    __slots__ = ()


class median_result(sort_result):
    __slots__ = ()


class nanmedian_result(sort_result):
    __slots__ = ()


ROW = edges(((3.0, 1.0, 2.0, 1.0, 3.0), (NAN, 1.0, -INF, NAN, INF), (0.0, -0.0, 0.0, -0.0, 0.0)))
WHOLE = ("int64", "int32")
SORTS = [
    sample(t(2, 5)), one(t(2, 5), descending=True), one(t(3, 2, 4), 0), one(t(3, 2, 4), 1, True), sample(ROW, stable=True),
    one(ROW, descending=True, stable=True), one(t(40)), one(t(2, 33), descending=True), one(t()), one(t(3, 1)),
    plain(t(0)), plain(t(2, 0)), plain(t(0, 3)), plain(edges((3, 1, 2, 1, -7)), stable=True, dtypes=(*WHOLE, "bool")),
    plain(edges((3, 1, 2, 1, -7)), stable=True, descending=True, dtypes=(*WHOLE, "bool")),
]


@public("", method=True, samples=SORTS)
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True, *, out: None = None
) -> sort_result:
    """Values in order along `dim`, and where they were.  Always stable; nan counts as the greatest."""
    require_tensor(input, "sort")
    return sort_result(*call(_sort, input, dim=wrap_dim(dim, input.ndim), descending=bool(descending)))


@public("", method=True, samples=[
    plain(t(2, 5)), plain(t(3, 4), 0, True), plain(ROW, stable=True), plain(t()),
    plain(ROW, descending=True, stable=True), plain(t(0)),
])
def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Tensor:
    """Where the elements in order along `dim` are."""
    require_tensor(input, "argsort")
    found: Tensor = call(_argsort, input, dim=wrap_dim(dim, input.ndim), descending=bool(descending))
    return found


@public("", method=True, samples=[sample(t(4, 3)), one(t(5)), one(t())])
def msort(input: Tensor) -> Tensor:
    """Values in order along the first axis."""
    found: Tensor = sort(input, 0)[0]
    return found


@public("", method=True, samples=[
    sample(t(2, 5), 3), one(t(2, 5), 2, largest=False), one(t(4, 3), 2, 0), one(t(4, 3), 4, 0, False), one(t(), 1),
    one(edges((NAN, 1.0, 3.0, INF, -INF)), 3), one(edges((NAN, 1.0, 3.0, INF, -INF)), 3, largest=False), one(t(3), 0),
    plain(edges((3, 1, 2, -7)), 2, dtypes=WHOLE),
])
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: None = None
) -> topk_result:
    """The k largest (or smallest) elements along `dim`, in order, and where they are; of equal ones the first."""
    require_tensor(input, "topk")
    if input.dtype is dtypes.bool_:
        raise RuntimeError("topk does not support bool dtypes on CPU")
    at = wrap_dim(dim, input.ndim)
    n = input.shape[at] if input.ndim else 1
    if k < 0:
        raise RuntimeError("selected index k out of range")
    require(n - k, RuntimeError, "selected index k out of range")
    return topk_result(*call(_topk, input, k=int(k), dim=at, largest=bool(largest)))


def _require_elements(input: Tensor, at: int, name: str) -> Extent:
    n: Extent = input.shape[at] if input.ndim else 1
    require(n - 1, IndexError, "{name}(): Expected reduction dim {at} to have non-zero size.", name=name, at=at)
    return n


def _require_numbers(input: Tensor, name: str) -> None:
    require_tensor(input, name)
    if input.dtype is dtypes.bool_:
        raise NotImplementedError(f'"{name}_cpu" not implemented for \'Bool\'')


@public("", method=True, samples=[
    sample(t(2, 5), 2), one(t(4, 3), 4, 0, True), one(t(), 1), one(t(2, 3, 4), 1, 1),
    one(edges((NAN, 1.0, 3.0, INF, -INF)), 5), plain(edges((3, 1, 2, -7)), 2, dtypes=WHOLE),
])
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out: None = None) -> kthvalue_result:
    """The k-th smallest element along `dim`, k counted from 1, and where it is; of equal ones the first."""
    _require_numbers(input, "kthvalue")
    at = wrap_dim(dim, input.ndim)
    n = _require_elements(input, at, "kthvalue")
    require(n - k if k >= 1 else -1, RuntimeError, "kthvalue(): selected number k out of range for dimension {at}", at=at)
    return kthvalue_result(*call(_kthvalue, input, k=int(k), dim=at, keepdim=bool(keepdim)))


HOLES = edges(((NAN, 1.0, 3.0, 2.0), (NAN, -INF, NAN, INF), (4.0, 3.0, 2.0, 1.0)))
MEDIANS = [
    sample(t(2, 5)), one(t(2, 4)), one(t()), one(edges((2.0, 1.0, 2.0, 3.0, 2.0))), one(HOLES), one(t(2, 5), 1),
    one(t(4, 3), 0, True), one(t(), 0), one(HOLES, 1), plain(edges((3, 1, 2, -7)), dtypes=WHOLE),
    plain(edges((3, 1, 2, -7)), 0, dtypes=WHOLE), plain(t(0)), plain(t(0, 3), 1), one(t(3, 1), 1),
]


def _middle(input: Tensor, dim: int | None, keepdim: bool, name: str, whole: Op, along: Op, pair: Any) -> Any:
    _require_numbers(input, "median")
    ignore = name == "nanmedian"
    if dim is None:
        return call(whole, input, ignore_nan=ignore)
    at = wrap_dim(dim, input.ndim)
    _require_elements(input, at, "median")
    return pair(*call(along, input, dim=at, keepdim=bool(keepdim), ignore_nan=ignore))


@public("", method=True, samples=MEDIANS)
def median(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: None = None) -> Any:
    """The lower of the middle elements, of all or along `dim` (and where it is); nan where there is one."""
    return _middle(input, dim, keepdim, "median", _median_of_all, _median, median_result)


@public("", method=True, samples=MEDIANS)
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: None = None) -> Any:
    """As median, of the elements that are not nan."""
    return _middle(input, dim, keepdim, "nanmedian", _nanmedian_of_all, _nanmedian, nanmedian_result)


# --- places in an order ---------------------------------------------------------------------------------------------------


def _lower_places(sequence: Node, values: Node, *, right: bool, small: bool) -> Node:
    """How many elements of the row stand before each value."""
    lead = axes(values.ndim)[:-1] if sequence.ndim > 1 else ()
    before = fn.not_(fn.gt(A0, A1) if right else fn.ge(A0, A1))
    reads = [Read(sequence, (*lead, reduce_axis(0))), identity_read(values)]
    kind = dtypes.int32 if small else dtypes.int64
    return Compute(values.shape, fn.select(before, 1, 0), reads, kind, reduce_shape=sequence.shape[-1:], reducer="sum")


_places = register(Op("searchsorted", _lower_places, "NotDifferentiable", KEEP))
STEPS = edges((-1.0, 0.0, 0.0, 1.0, 2.5), grad=False)
POINTS = edges((-2.0, 0.0, 0.5, 2.5, INF, NAN), grad=False)
ROWS = edges(((1.0, 3.0, 5.0), (2.0, 4.0, 6.0)), grad=False)


def _scalar_points(sequence: Tensor, values: Any) -> Any:
    return values if is_tensor(values) else as_tensor_like(values, sequence)


def _common(a: Tensor, b: Tensor) -> tuple[Any, Any]:
    kind = dtypes.promote(a.dtype, b.dtype)
    return to_dtype(a, kind), to_dtype(b, kind)


@public("", samples=[
    plain(STEPS, POINTS), plain(STEPS, POINTS, right=True), plain(ROWS, edges(((3.0, 7.0), (0.0, 4.0)), grad=False)),
    plain(STEPS, 0.5), plain(edges((1, 3, 5)), edges((0, 3, 9)), dtypes=("int64",)), plain(STEPS, POINTS, side="right"),
], axes=Axes(1, None, "torch.searchsorted(): boundaries tensor should have positive dimension, but got {n} dimension"))
def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each value would stand in the ascending rows: before equal elements, or after them with `right`."""
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if sorter is not None:
        sorted_sequence = gather(sorted_sequence, -1, sorter)
    values = _scalar_points(sorted_sequence, input)
    if sorted_sequence.ndim > 1 and tuple(sorted_sequence.shape[:-1]) != tuple(values.shape[:-1]):
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(sorted_sequence.shape)} and "
            f"input value tensor {list(values.shape)}"
        )
    found: Tensor = call(_places, *_common(sorted_sequence, values), right=bool(right or side == "right"),
                         small=bool(out_int32))
    return found


@public("", samples=[plain(POINTS, STEPS), plain(POINTS, STEPS, right=True), plain(0.5, STEPS)])
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """searchsorted with the arguments the other way round, the boundaries a vector."""
    if boundaries.ndim != 1:
        raise RuntimeError(f"torch.bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
