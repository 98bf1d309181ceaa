"""Pooling over windows: guarded reads, the largest element by its place (the first of a tie takes the gradient)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.guards import GE, Condition, Guard, conjunction, in_range
from gradgen.ir.indexing import delinearise, linearise, product, quotient
from gradgen.ir.minima import least
from gradgen.ir.nodes import Compute, Constant, Node, Read, identity_read
from gradgen.ir.symbols import Extent, axes, axis, reduce_axis
from gradgen.ops.axis_counts import Axes, Reaching, between
from gradgen.ops.convolution import Ints, each, floor_ratio
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.requirements import Joined, require
from gradgen.ops.samples import INF, NAN, edges, one, plain, sample, t
from gradgen.ops.shapes import A0, A1, extreme, known, over
from gradgen.ops.table import call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Numbers = tuple[int, ...]


def _outputs(n: Extent, size: int, stride: int, pad: int, dilation: int, ceil_mode: bool) -> Extent:
    """How many windows; in ceil mode the last may hang over, but starts inside or in the left padding."""
    rest = n + 2 * pad - dilation * (size - 1) - 1
    if not ceil_mode:
        return known(floor_ratio(rest, stride) + 1)
    count = floor_ratio(rest + stride - 1, stride) + 1
    if stride + pad > dilation * (size - 1) + 1:
        count = least(count, floor_ratio(n + pad + stride - 1, stride))
    return known(count)


def _windows(
    node: Node, name: str, size: Numbers, stride: Numbers, pad: Numbers, dilation: Numbers, ceil_mode: bool
) -> list[Extent]:
    """How many windows there are along each axis.  RuntimeError, in the words of torch's function `name`, where there are
    none or the tensor has nothing but its batch empty."""
    rank = len(size)
    spatial = list(node.shape[node.ndim - rank:])
    _refuse_nothing(node, name, rank)
    for k in range(rank):
        if 2 * pad[k] > size[k]:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={pad[k]}, kernel_size={size[k]} and "
                f"dilation={dilation[k]}"
            )
    counts = [_outputs(n, size[k], stride[k], pad[k], dilation[k], ceil_mode) for k, n in enumerate(spatial)]
    one_axis = [1] if rank == 1 else []  # torch pools one axis as two
    given, found = [*node.shape[node.ndim - rank - 1:node.ndim - rank], *one_axis, *spatial], [*one_axis, *counts]
    message = "Given input size: ({given}). Calculated output size: ({channels}x{found}). Output size is too small"
    if name == "max_pool1d":
        message = "max_pool1d() Invalid computed output size: {count}"
    elif name == "avg_pool3d":
        message = ("input image (T: {n[0]} H: {n[1]} W: {n[2]}) smaller than kernel size (kT: {size[0]} kH: {size[1]} kW: "
                   "{size[2]})")
    for count in counts:
        require(known(count - 1), RuntimeError, message, given=Joined(given, "x"), channels=given[0],
                found=Joined(found, "x"), count=count, n=spatial, size=size)
    return counts


def _refuse_nothing(node: Node, name: str, rank: int) -> None:
    shape = list(node.shape)
    seen = [*shape[:-1], 1, shape[-1]] if name == "avg_pool1d" else shape
    for k, extent in enumerate(shape[node.ndim - rank - 1:]):
        if rank == 3:
            function = {"max_pool3d": "max_pool3d_with_indices_out_cpu_template"}.get(name, name)
            require(extent - 1, RuntimeError,
                    "{function}(): Expected input's non-batch dimensions to have positive length, but input has a shape of "
                    "{shape} and non-batch dimension {k} has length zero!", function=function, shape=shape, k=k)
        else:
            require(extent - 1, RuntimeError,
                    "{prefix}Expected {low}D or {high}D (batch mode) tensor with optional 0 dim batch size for input, but "
                    "got:{shape}", prefix="max_pool1d: " if name == "max_pool1d" else "",
                    low=rank + 1 + (name == "avg_pool1d"), high=rank + 2 + (name == "avg_pool1d"), shape=seen)


def _lower_max(
    node: Node, *, size: Numbers, stride: Numbers, padding: Numbers, dilation: Numbers, ceil_mode: bool
) -> tuple[Node, Node]:
    rank = len(size)
    lead = node.ndim - rank
    shape = (*node.shape[:lead], *_windows(node, f"max_pool{rank}d", size, stride, padding, dilation, ceil_mode))

    def places(inside: sympy.Expr) -> list[sympy.Expr]:
        steps = delinearise(inside, size)
        return [axis(lead + k) * stride[k] + steps[k] * dilation[k] - padding[k] for k in range(rank)]

    area = product(size)
    index = places(reduce_axis(0))
    guard = conjunction(*(c for k in range(rank) for c in in_range(index[k], node.shape[lead + k]))) or ()
    if not any(padding) and not ceil_mode:
        guard = ()
    window = Read(node, [*axes(lead), *index], guard, extreme(node.dtype, -1))
    best = Compute(shape, A0, [window], dtypes.int64, reduce_shape=(area,), reducer="argpeak")
    if guard:
        best = _inside(best, [axis(lead + k) * stride[k] - padding[k] for k in range(rank)], size, dilation)
    found = places(A0)
    values = Compute(shape, A1, [identity_read(best), Read(node, [*axes(lead), *found])], node.dtype)
    flat = Compute(shape, fn.index_body(linearise(found, node.shape[lead:])), [identity_read(best)], dtypes.int64)
    return values, flat


def _inside(best: Node, starts: Sequence[sympy.Expr], size: Numbers, dilation: Numbers) -> Node:
    """The places in windows that begin at `starts`, of which the first lies in the padding where nothing beats its -inf:
    then the first inside."""
    first = [fn.maximum(0, fn.floor_div(d - 1 - s, d)) for s, d in zip(starts, dilation)]
    in_padding = fn.and_(fn.eq(A0, 0), _any(fn.lt(s, 0) for s in starts))
    body = fn.select(in_padding, linearise(first, size), A0)
    return Compute(best.shape, body, [identity_read(best)], dtypes.int64)


def _any(conditions: Iterable[sympy.Expr]) -> sympy.Expr:
    return reduce(fn.or_, conditions)


def _pool_ops(name: str, lower: Any, grad: str, outputs: int = 1) -> dict[int, Op]:
    names = {1: "SqueezeBackward1", 2: grad.format(2), 3: grad.format(3)}  # torch pools one axis as two
    return {rank: register(Op(f"{name}{rank}d", lower, names[rank], KEEP, outputs=outputs)) for rank in names}


_POOLED = {  # how many axes may be there
    1: Axes(2, 3, "{name}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but got:{shape}"),
    2: Axes(3, 4, "non-empty 3D or 4D (batch mode) tensor expected for input"),
    3: Axes(4, 5, "non-empty 4D or 5D (batch mode) tensor expected for input"),
}
_max_pools = _pool_ops("max_pool", _lower_max, "MaxPool{}DWithIndicesBackward0", 2)


def _max_pool(rank: int, samples: Sequence[Any]) -> Any:
    def max_pool(
        input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:
        size = each(kernel_size, rank, "kernel_size")
        found = call(
            _max_pools[rank],
            input,
            size=size,
            stride=size if stride is None or stride in ([], ()) else each(stride, rank, "stride"),
            padding=each(padding, rank, "padding"),
            dilation=each(dilation, rank, "dilation"),
            ceil_mode=bool(ceil_mode),
        )
        return found if return_indices else found[0]

    max_pool.__name__ = max_pool.__qualname__ = f"max_pool{rank}d"
    max_pool.__doc__ = "The largest element of every window; the first of a tie takes the gradient."
    return public("nn.functional", "", name=f"max_pool{rank}d", samples=samples, axes=_POOLED[rank])(max_pool)


TIED = edges((((1.0, 1.0, 2.0, 2.0), (1.0, 1.0, 2.0, -INF), (0.0, -0.0, 3.0, 3.0), (0.0, 0.0, 3.0, 3.0)),))
LOST = edges(((  # windows of -inf alone, in part padding, and of several nans: the last one counts
    (-INF, -INF, -INF, 1.0, NAN), (-INF, -INF, -INF, NAN, 2.0), (-INF, -INF, 0.0, NAN, NAN), (-INF, -INF, NAN, -INF, -INF),
    (-INF, 3.0, NAN, -INF, -INF),
),))
max_pool1d = _max_pool(1, [
    sample(t(2, 3, 6), 2), one(t(1, 2, 7), 3, 2, 1), one(t(1, 2, 7), 2, ceil_mode=True), one(LOST, 3, 1, 1),
    one(LOST, 2, 2, 1, 2),
])
max_pool2d = _max_pool(
    2,
    [
        sample(t(1, 2, 4, 6), 2),
        one(t(1, 2, 5, 5), 3, 2, 1),
        one(t(1, 2, 5, 5), (2, 3), (2, 1), (1, 0), (1, 2), True),
        one(TIED, 2),
        one(t(2, 5, 5), 2),
        plain(t(1, 2, 4, 6), 2, return_indices=True),
        one(LOST, 3, 2, 1),
        one(LOST, 2, 1, 1, 2),
        one(LOST, 2, 2, 0, 1, True),
        plain(LOST, 3, 1, 1, return_indices=True),
    ],
)
max_pool3d = _max_pool(3, [
    one(t(1, 2, 4, 4, 4), 2), one(edges(((((-INF, NAN), (-INF, -INF)), ((1.0, NAN), (-INF, 0.0))),)), 2, 1, 1),
])


# --- averages --------------------------------------------------------------------------------------------------------


def _lower_avg(
    node: Node, *, size: Numbers, stride: Numbers, padding: Numbers, ceil_mode: bool, include: bool, divisor: int | None
) -> Node:
    rank = len(size)
    lead = node.ndim - rank
    spatial = _windows(node, f"avg_pool{rank}d", size, stride, padding, (1,) * rank, ceil_mode)
    shape = (*node.shape[:lead], *spatial)
    index = [axis(lead + k) * stride[k] + reduce_axis(k) - padding[k] for k in range(rank)]
    conditions = [c for k in range(rank) for c in in_range(index[k], node.shape[lead + k])]
    guard = (conjunction(*conditions) or ()) if any(padding) or ceil_mode else ()
    total = Compute(shape, A0, [Read(node, [*axes(lead), *index], guard)], node.dtype, reduce_shape=size, reducer="sum")
    if divisor is not None or (not guard) or (include and not ceil_mode):
        by = sympy.sympify(divisor if divisor is not None else product(size))
        return over(fn.div(A0, by), shape, (total,), node.dtype)
    counted = [axis(k) * stride[k] + reduce_axis(k) - padding[k] for k in range(rank)]
    extra = padding if include else (0,) * rank
    inside = conjunction(*(
        c for k in range(rank) for c in in_range(counted[k] + extra[k], node.shape[lead + k] + 2 * extra[k])))
    one_ = Constant(1, node.dtype)
    count = Compute(spatial, A0, [Read(one_, (), inside or ())], node.dtype, reduce_shape=size, reducer="sum")
    reads = [identity_read(total), Read(count, [axis(lead + k) for k in range(rank)])]
    return Compute(shape, fn.div(A0, A1), reads, node.dtype)


_avg_pools = _pool_ops("avg_pool", _lower_avg, "AvgPool{}DBackward0")


def _average(
    rank: int, input: Any, kernel_size: Any, stride: Any, padding: Any, ceil: bool, include: bool, by: Any
) -> Any:
    if by == 0:
        raise RuntimeError("divisor must be not zero")
    size = each(kernel_size, rank, "kernel_size")
    return call(
        _avg_pools[rank],
        input,
        size=size,
        stride=size if stride is None or stride in ([], ()) else each(stride, rank, "stride"),
        padding=each(padding, rank, "padding"),
        ceil_mode=bool(ceil),
        include=bool(include),
        divisor=by,
    )


AVG = [
    sample(t(1, 2, 6), 2),
    one(t(1, 2, 7), 3, 2, 1),
    one(t(1, 2, 7), 3, 2, 1, False, False),
    one(t(1, 2, 6), 4, 3, 1, True),
]


@public("nn.functional", "", samples=AVG, axes=between(2, 3))
def avg_pool1d(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window."""
    return _average(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def _avg_function(rank: int, samples: Sequence[Any]) -> Any:
    def avg_pool(
        input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> Tensor:
        return _average(rank, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)

    avg_pool.__name__ = avg_pool.__qualname__ = f"avg_pool{rank}d"
    avg_pool.__doc__ = "The mean of every window; the padding counts unless count_include_pad is False."
    axes = (Reaching(-3), Axes(3, 4, "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but "
                                     "got:{shape}")) if rank == 2 else _POOLED[3]
    return public("nn.functional", name=f"avg_pool{rank}d", samples=samples, axes=axes)(avg_pool)


avg_pool2d = _avg_function(2, [
    sample(t(1, 2, 4, 6), 2), one(t(1, 2, 5, 5), 3, 2, 1), one(t(1, 2, 5, 5), 3, 2, 1, False, False),
    one(t(1, 2, 5, 5), 2, 2, 0, True), one(t(1, 2, 4, 4), 2, divisor_override=3), one(t(1, 2, 5, 5), 3, 2, 1, True),
])
avg_pool3d = _avg_function(3, [one(t(1, 1, 4, 4, 4), 2)])


# --- adaptive --------------------------------------------------------------------------------------------------------


def _adaptive(node: Node, out: Numbers) -> tuple[list[sympy.Expr], list[int], list[Any]]:
    """Starts of the windows, their greatest widths, and their ends: [floor(i n / o), ceil((i + 1) n / o))."""
    rank = len(out)
    lead = node.ndim - rank
    starts, widths, ends = [], [], []
    for k in range(rank):
        n, o = node.shape[lead + k], out[k]
        if not isinstance(n, int):
            raise RuntimeError("adaptive pooling needs spatial extents that are known")
        i = axis(lead + k)
        even = n % o == 0
        starts.append(i * (n // o) if even else quotient(i * n, sympy.Integer(o)))
        ends.append(None if even else quotient((i + 1) * n + o - 1, sympy.Integer(o)))
        widths.append(n // o if even else max(-(-(j + 1) * n // o) - j * n // o for j in range(o)))
    return starts, widths, ends


def _adaptive_guard(places: Sequence[sympy.Expr], ends: Sequence[Any]) -> Guard:
    return tuple(Condition(GE, e - 1 - p) for p, e in zip(places, ends) if e is not None)


def _lower_adaptive_avg(node: Node, *, out: Numbers) -> Node:
    lead = node.ndim - len(out)
    starts, widths, ends = _adaptive(node, out)
    places = [s + reduce_axis(k) for k, s in enumerate(starts)]
    guard = _adaptive_guard(places, ends)
    shape = (*node.shape[:lead], *out)
    total = Compute(
        shape, A0, [Read(node, [*axes(lead), *places], guard)], node.dtype, reduce_shape=widths, reducer="sum"
    )
    area: sympy.Expr = sympy.Integer(1)
    for s, w, e in zip(starts, widths, ends):
        area = area * (w if e is None else e - s)
    if area.is_Integer:
        return over(fn.div(A0, area), shape, (total,), node.dtype)
    count = Compute(shape, fn.index_body(area), [], dtypes.int64)
    return Compute(shape, fn.div(A0, A1), [identity_read(total), identity_read(count)], node.dtype)


def _lower_adaptive_max(node: Node, *, out: Numbers) -> tuple[Node, Node]:
    lead = node.ndim - len(out)
    starts, widths, ends = _adaptive(node, out)
    shape = (*node.shape[:lead], *out)
    places = [s + p for s, p in zip(starts, delinearise(reduce_axis(0), widths))]
    best = Compute(
        shape,
        A0,
        [Read(node, [*axes(lead), *places], _adaptive_guard(places, ends), extreme(node.dtype, -1))],
        dtypes.int64,
        reduce_shape=(product(widths),),
        reducer="argpeak",
    )
    found = [s + p for s, p in zip(starts, delinearise(A0, widths))]
    values = Compute(shape, A1, [identity_read(best), Read(node, [*axes(lead), *found])], node.dtype)
    return values, Compute(shape, fn.index_body(linearise(found, node.shape[lead:])), [identity_read(best)], dtypes.int64)


_adaptive_avg = _pool_ops("adaptive_avg_pool", _lower_adaptive_avg, "AdaptiveAvgPool{}DBackward0")
_adaptive_max = _pool_ops("adaptive_max_pool", _lower_adaptive_max, "AdaptiveMaxPool{}DBackward0", 2)


def _out_sizes(name: str, input: Any, output_size: Any, rank: int) -> Numbers:
    colon = ":" if "max" in name else ""
    rule = between(2, 3) if rank == 1 else Axes(
        rank + 1, rank + 2, f"{{name}}(): Expected {rank + 1}D or {rank + 2}D tensor, but got{colon} {{shape}}")
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * rank
    if isinstance(output_size, (tuple, list)) and rank > 1 and input.ndim <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")
    rule.check(name, input.shape)
    return tuple(input.shape[input.ndim - rank + k] if s is None else int(s) for k, s in enumerate(sizes))


def adaptive_average(input: Any, out: Numbers) -> Any:
    """adaptive_avg_pool of as many axes as `out` has."""
    return call(_adaptive_avg[len(out)], input, out=out)


def _adaptive_functions(rank: int, samples: Sequence[Any]) -> None:
    def average(input: Tensor, output_size: Ints) -> Tensor:
        return call(_adaptive_avg[rank], input, out=_out_sizes(f"adaptive_avg_pool{rank}d", input, output_size, rank))

    def largest(input: Tensor, output_size: Ints, return_indices: bool = False) -> Any:
        found = call(_adaptive_max[rank], input, out=_out_sizes(f"adaptive_max_pool{rank}d", input, output_size, rank))
        return found if return_indices else found[0]

    for kind, function in (("avg", average), ("max", largest)):
        function.__name__ = function.__qualname__ = name = f"adaptive_{kind}_pool{rank}d"
        function.__doc__ = "Pooling over windows that divide the input into `output_size` parts."
        public("nn.functional", name=name, samples=samples)(function)


_adaptive_functions(1, [one(t(1, 2, 6), 3), one(t(1, 2, 7), 3), one(LOST, 3)])
_adaptive_functions(
    2, [one(t(1, 2, 4, 6), 2), one(t(1, 2, 5, 7), (2, 3)), one(t(1, 2, 4, 4), 1), one(t(1, 2, 4, 3), (2, None)), one(LOST, 2)]
)
_adaptive_functions(3, [one(t(1, 1, 4, 4, 4), 2)])


@public("nn.functional", samples=[one(t(1, 2, 6, domain="positive"), 2.0, 2)])
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: Ints | None = None, ceil_mode: bool = False
) -> Tensor:
    """(sum over the window of x**p) ** (1/p)."""
    mean = avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return (mean.sign() * mean.abs().relu() * kernel_size).pow(1.0 / norm_type)
