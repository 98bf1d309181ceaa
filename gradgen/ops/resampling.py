"""Resampling of images: interpolate, grid_sample, affine_grid.

Positions are small nodes of their own (index, weight per place along one axis), so that sizes may be named; an axis is
interpolated at a time, the last one first.  Positions follow PyTorch's conventions: corners aligned, or centres of areas
with the scale that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.dtypes import DType
from gradgen.ir.indexing import quotient
from gradgen.ir.nodes import Compute, Node, Read, identity_read
from gradgen.ir.symbols import Extent, axes, axis, placeholder
from gradgen.ops.axis_counts import Reaching
from gradgen.ops.pooling import adaptive_average
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.requirements import require, require_equal
from gradgen.ops.samples import edges, one, sample, t
from gradgen.ops.shapes import A0, A1, exact, known
from gradgen.ops.table import call, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Numbers = tuple[Any, ...]
_CORNERS = ("linear", "bilinear", "bicubic", "trilinear")
_RANKS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


# --- nearest elements -------------------------------------------------------------------------------------------------


def _nearest_places(n: int, out: int, scale: float | None, half: bool) -> np.ndarray:
    """PyTorch's source places, in its float32 arithmetic: floor(i scale), or floor((i + 1/2) scale)."""
    ratio = np.float32(1.0 / scale) if scale else np.float32(np.float32(n) / np.float32(out))
    steps = np.arange(out, dtype=np.float32) + np.float32(0.5 if half else 0)
    return np.minimum(np.floor(steps * ratio).astype(np.int64), n - 1)


def _nearest_index(i: sympy.Expr, n: Extent, out: Extent, scale: float | None, half: bool) -> Any:
    """A quotient that gives exactly PyTorch's places, or None where there is none of the forms tried."""
    if not isinstance(n, int) or not isinstance(out, int):
        return quotient(i * n, sympy.sympify(out)) if not half else quotient((2 * i + 1) * n, 2 * sympy.sympify(out))
    wanted = _nearest_places(n, out, scale, half)
    step = np.arange(out) * 2 + int(half)
    for ratio in (Fraction(n, out), *((1 / Fraction(scale).limit_denominator(1000),) if scale else ())):
        p, q = ratio.numerator, 2 * ratio.denominator
        if out and np.array_equal(step * p // q, wanted):
            return quotient((2 * i + int(half)) * p, sympy.Integer(q)) if half else quotient(i * p, sympy.Integer(q // 2))
    return None


def _lower_nearest(node: Node, *, out: Numbers, scales: Numbers, half: bool) -> Node:
    lead = node.ndim - len(out)
    for k in range(len(out) - 1, -1, -1):
        d = lead + k
        n = node.shape[d]
        index = _nearest_index(axis(d), n, out[k], scales[k], half)
        shape = [out[k] if e == d else x for e, x in enumerate(node.shape)]
        if index is not None:
            node = Compute(shape, A0, [Read(node, [index if e == d else axis(e) for e in range(node.ndim)])], node.dtype)
            continue
        ratio = exact(float(np.float32(1.0 / scales[k]))) if scales[k] else fn.div(n, out[k])
        place = fn.minimum(fn.floor((axis(0) + (sympy.Rational(1, 2) if half else 0)) * ratio), n - 1)
        where = Compute((out[k],), place, [], dtypes.int64)
        reads = [Read(where, [axis(d)]), Read(node, [A0 if e == d else axis(e) for e in range(node.ndim)])]
        node = Compute(shape, A1, reads, node.dtype)
    return node


# --- weighted neighbours ----------------------------------------------------------------------------------------------


def _position(i: sympy.Expr, n: Extent, out: Extent, scale: float | None, corners: bool) -> sympy.Expr:
    """Where output i lies in the input's coordinates."""
    if corners:
        if isinstance(out, int) and out == 1:
            return sympy.Integer(0)
        return fn.div(i * fn.extent(sympy.sympify(n - 1)), fn.extent(sympy.sympify(out - 1)))
    ratio = exact(1.0 / scale) if scale else fn.div(fn.extent(sympy.sympify(n)), fn.extent(sympy.sympify(out)))
    return ratio * (i + sympy.Rational(1, 2)) - sympy.Rational(1, 2)


def _cubic(x: sympy.Expr) -> list[sympy.Expr]:
    """Weights of the four neighbours at fraction x: cubic convolution with a = -3/4 (Keys, 1981)."""
    a = sympy.Rational(-3, 4)

    def near(v: sympy.Expr) -> sympy.Expr:
        return ((a + 2) * v - (a + 3)) * v * v + 1

    def far(v: sympy.Expr) -> sympy.Expr:
        return ((a * v - 5 * a) * v + 8 * a) * v - 4 * a

    return [far(x + 1), near(x), near(1 - x), far(2 - x)]


def _clamped(place: sympy.Expr, n: Extent) -> sympy.Expr:
    return fn.minimum(fn.maximum(place, 0), fn.extent(sympy.sympify(n)) - 1)


def _interpolated(node: Node, d: int, out: Extent, scale: float | None, corners: bool, cubic: bool) -> Node:
    """Axis d resized."""
    n, kind = node.shape[d], node.dtype
    place = _position(axis(0), n, out, scale, corners)
    real = Compute((out,), place if cubic else fn.maximum(place, 0), [], kind)
    vector = [Read(real, [axis(0)])]
    low = Compute((out,), fn.floor(A0) if cubic else _clamped(fn.floor(A0), n), vector, dtypes.int64)
    both = [Read(real, [axis(0)]), Read(low, [axis(0)])]
    part = Compute((out,), A0 - A1, both, kind)
    at = Read(part, [axis(d)])
    taps = range(-1, 3) if cubic else range(2)
    weights = _cubic(A0) if cubic else [1 - A0, A0]
    reads, terms = [at], []
    for tap, weight in zip(taps, weights):
        where = Compute((out,), _clamped(A0 + tap, n), [Read(low, [axis(0)])], dtypes.int64)
        index = placeholder(len(reads))
        reads.append(Read(where, [axis(d)]))
        value = placeholder(len(reads))
        reads.append(Read(node, [index if e == d else axis(e) for e in range(node.ndim)]))
        terms.append(weight * value)
    shape = [out if e == d else x for e, x in enumerate(node.shape)]
    return Compute(shape, sympy.Add(*terms), reads, kind)


def _lower_linear(node: Node, *, out: Numbers, scales: Numbers, corners: bool, cubic: bool) -> Node:
    lead = node.ndim - len(out)
    for k in range(len(out) - 1, -1, -1):
        if out[k] == node.shape[lead + k] and (corners or not scales[k] or scales[k] == 1):
            continue
        node = _interpolated(node, lead + k, out[k], scales[k], corners, cubic)
    return Compute(node.shape, A0, [identity_read(node)], node.dtype)


_NEAREST = {
    (rank, kind): register(
        Op(f"upsample_nearest{kind.lower()}{rank}d", _lower_nearest, f"UpsampleNearest{kind}{rank}DBackward0", KEEP)
    )
    for rank in (1, 2, 3) for kind in ("", "Exact")
}
_LINEAR = {
    mode: register(Op(f"upsample_{mode}{rank}d", _lower_linear, f"Upsample{mode.capitalize()}{rank}DBackward0", KEEP))
    for mode, rank in _RANKS.items()
}


def _sizes(input: Any, size: Any, scale_factor: Any, rank: int) -> tuple[Any, list[float] | None]:
    """Output sizes or None, scale factors or None.  ValueError in PyTorch's words."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    given = size if size is not None else scale_factor
    listed = list(given) if isinstance(given, (tuple, list)) else [given] * rank
    if len(listed) != max(rank, 0):
        space = list(input.shape)[2:]
        if size is not None:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got input with spatial dimensions "
                f"of {space} and output size of {size}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
                "output size in (o1, o2, ...,oK) format."
            )
        raise ValueError(
            "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
            f"dimensions of {space} and scale_factor of shape {scale_factor}. Please provide input tensor in (N, C, d1, "
            "d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
        )
    return (tuple(known(s) for s in listed), None) if size is not None else (None, [float(s) for s in listed])


def _scaled(n: Extent, factor: float) -> Extent:
    if isinstance(n, int):
        return math.floor(float(n) * factor)
    if factor != int(factor):
        raise NotImplementedError(f"interpolate: an axis of unknown extent {n} can be scaled by whole numbers only")
    found: Extent = known(n * int(factor))
    return found


IMAGE, LINE, VOLUME = t(1, 2, 3, 4), t(1, 2, 5), t(1, 1, 2, 3, 2)


@public("nn.functional", samples=[
    one(t(1, 2, 3), scale_factor=2), one(t(1, 1, 2, 3), size=(4, 5)),
    one(LINE, scale_factor=1.7), one(LINE, scale_factor=0.6), one(LINE, scale_factor=1.7, recompute_scale_factor=True),
    one(VOLUME, size=(3, 2, 4)), one(LINE, scale_factor=2.3, mode="nearest-exact"),
    one(IMAGE, size=(5, 3), mode="nearest-exact"),
    sample(LINE, size=8, mode="linear"), one(LINE, size=8, mode="linear", align_corners=True),
    one(LINE, size=3, mode="linear"),
    one(LINE, size=1, mode="linear", align_corners=True), one(LINE, scale_factor=1.7, mode="linear"),
    one(LINE, scale_factor=1.7, mode="linear", recompute_scale_factor=True),
    sample(IMAGE, scale_factor=2, mode="bilinear"), one(IMAGE, size=(5, 3), mode="bilinear", align_corners=True),
    one(IMAGE, scale_factor=(1.5, 0.5), mode="bilinear"), one(VOLUME, size=(3, 4, 3), mode="trilinear"),
    one(VOLUME, scale_factor=2, mode="trilinear", align_corners=True), sample(IMAGE, scale_factor=2, mode="bicubic"),
    one(IMAGE, size=(2, 7), mode="bicubic", align_corners=True), one(IMAGE, scale_factor=0.7, mode="bicubic"),
    one(IMAGE, size=(2, 3), mode="area"), one(LINE, scale_factor=0.5, mode="area"), one(IMAGE, size=(3, 4), mode="bilinear"),
])
def interpolate(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> Tensor:
    """[N, C, ...] resized to `size`, or by `scale_factor`, which is also the step between samples unless
    recompute_scale_factor.

    mode: nearest, nearest-exact, linear, bilinear, bicubic, trilinear, area.
    """
    require_tensor(input, "interpolate")
    rank = input.ndim - 2
    if mode in _CORNERS:
        corners = bool(align_corners)
    elif align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    out, factors = _sizes(input, size, scale_factor, rank)
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if antialias:
        if mode not in ("bilinear", "bicubic", "lanczos"):
            raise ValueError("Anti-alias option is restricted to bilinear, bicubic and lanczos modes and requires a 4-D "
                             "tensor as input")
        raise NotImplementedError("interpolate: antialias=True is not offered; average (mode='area') before enlarging")
    if rank not in (1, 2, 3):
        _refuse(input, mode)
    if factors is not None:
        out = tuple(_scaled(n, f) for n, f in zip(tuple(input.shape)[2:], factors))
        if recompute_scale_factor or mode == "area":
            factors = None
    space = tuple(input.shape)[2:]
    message = (f"Input and output sizes should be greater than 0, but got input ({_listed('space', rank)}) and output "
               f"({_listed('out', rank)})")
    for extent in (*space, *out):
        require(extent - 1, RuntimeError, message, space=space, out=out)
    require(input.shape[1] - 1, RuntimeError, "Non-empty {ndim}D data tensor expected but got a tensor with sizes {shape}",
            ndim=input.ndim, shape=list(input.shape))
    scales = tuple(factors) if factors is not None else (None,) * rank
    if mode in ("nearest", "nearest-exact"):
        kind = "Exact" if mode != "nearest" else ""
        return call(_NEAREST[rank, kind], input, out=out, scales=scales, half=mode != "nearest")
    if mode == "area":
        return adaptive_average(input, out)
    if mode not in _CORNERS or _RANKS[mode] != rank:
        _refuse(input, mode)
    return call(_LINEAR[mode], input, out=out, scales=scales, corners=corners, cubic=mode == "bicubic")


def _listed(name: str, rank: int) -> str:
    """`H: {name[0]}, W: {name[1]}`"""
    return ", ".join(f"{letter}: {{{name}[{k}]}}" for k, letter in enumerate("DHW"[3 - rank:]))


def _refuse(input: Any, mode: str) -> NoReturn:
    if mode in _RANKS and input.ndim in (3, 4, 5) and mode != "bicubic":
        raise NotImplementedError(f"Got {input.ndim}D input, but {mode} mode needs {_RANKS[mode] + 2}D input")
    raise NotImplementedError(
        f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: nearest | linear | "
        f"bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
    )


@public("nn.functional")
def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """interpolate by its older name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


@public("nn.functional")
def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate by nearest elements."""
    return interpolate(input, size, scale_factor, "nearest")


@public("nn.functional")
def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate between corners."""
    return interpolate(input, size, scale_factor, "bilinear", True)


# --- sampling at given places -----------------------------------------------------------------------------------------


def _lower_affine_grid(theta: Node, *, sizes: Numbers, corners: bool) -> Node:
    """base [x, y, (z,) 1] times theta transposed, coordinates from -1 to 1."""
    rank = len(sizes)
    reads, terms = [], []
    for k in range(rank + 1):
        reads.append(Read(theta, [axis(0), axis(rank + 1), sympy.Integer(k)]))
        if k == rank:
            terms.append(placeholder(k))
            continue
        size, i = sizes[rank - 1 - k], axis(rank - k)
        n = fn.extent(sympy.sympify(size))
        if corners:
            place = sympy.Integer(0) if size == 1 else fn.div(2 * i, n - 1) - 1
        else:
            place = fn.div(2 * i + 1, n) - 1
        terms.append(placeholder(k) * place)
    return Compute((theta.shape[0], *sizes, rank), sympy.Add(*terms), reads, theta.dtype)


_affine_grid = register(Op("affine_grid", _lower_affine_grid, "AffineGridGeneratorBackward0", KEEP))


@public("nn.functional", samples=[
    sample(t(2, 2, 3), [2, 1, 3, 4], align_corners=False), one(t(1, 2, 3), [1, 1, 2, 3], align_corners=True),
    one(t(1, 3, 4), [1, 1, 2, 3, 2], align_corners=False), one(t(1, 2, 3), [1, 1, 1, 3], align_corners=True),
])
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The sampling grid [N, H, W, 2] (or [N, D, H, W, 3]) of affine maps theta [N, 2, 3] ([N, 3, 4])."""
    if not theta.dtype.is_floating_point:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    rank = len(size) - 2
    if rank not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {size}."
        )
    if theta.ndim != 3 or tuple(theta.shape)[1:] != (rank, rank + 1):
        raise ValueError(
            f"Expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size {size}. Got {theta.shape}."
        )
    sizes = tuple(known(n) for n in tuple(size)[2:])
    return call(_affine_grid, theta, sizes=sizes, corners=bool(align_corners))


def _unnormalised(n: Extent, corners: bool) -> sympy.Expr:
    """A coordinate from -1 to 1 as a place among n elements."""
    size = fn.extent(sympy.sympify(n))
    return (A0 + 1) * fn.div(size - 1, 2) if corners else fn.div((A0 + 1) * size - 1, 2)


def _clipped(place: sympy.Expr, n: Extent) -> sympy.Expr:
    """Into [0, n - 1]; without a derivative outside and on the bounds, as PyTorch has it."""
    top = fn.extent(sympy.sympify(n)) - 1
    return fn.select(fn.gt(place, 0), fn.select(fn.lt(place, top), place, fn.stop(top)), 0)


def _reflected(place: sympy.Expr, low2: sympy.Expr, high2: sympy.Expr) -> sympy.Expr:
    """Reflected between low2/2 and high2/2."""
    low, span = fn.div(low2, 2), fn.div(high2 - low2, 2)
    away = fn.abs_(place - low)
    flips = fn.floor(fn.div(away, span))
    extra = away - flips * span
    even = fn.eq(flips - 2 * fn.floor(fn.div(flips, 2)), 0)
    return fn.select(even, extra + low, span - extra + low)


def _source(grid: Node, coordinate: int, n: Extent, padding: str, corners: bool) -> Node:
    """Source places along one axis."""
    shape = grid.shape[:-1]
    read = Read(grid, [*axes(len(shape)), sympy.Integer(coordinate)])
    place = Compute(shape, _unnormalised(n, corners), [read], grid.dtype)
    return place if padding == "zeros" else _inside(place, n, padding, corners)


def _inside(place: Node, n: Extent, padding: str, corners: bool) -> Node:
    if padding == "reflection":
        size = fn.extent(sympy.sympify(n))
        single = isinstance(n, int) and n == 1 and corners
        body = sympy.Integer(0) if single else _reflected(A0, *((0, 2 * (size - 1)) if corners else (-1, 2 * size - 1)))
        place = Compute(place.shape, body, [] if single else [identity_read(place)], place.dtype)
    return Compute(place.shape, _clipped(A0, n), [identity_read(place)], place.dtype)


def _lower_grid_sample(node: Node, grid: Node, *, mode: str, padding: str, corners: bool) -> Node:
    rank = node.ndim - 2
    sizes = [node.shape[2 + k] for k in range(rank)]
    own = "zeros" if mode == "bicubic" else padding
    places = [_source(grid, rank - 1 - k, sizes[k], own, corners) for k in range(rank)]
    taps: list[list[tuple[Node, Node]]] = [_taps(p, n, mode, padding, corners) for p, n in zip(places, sizes)]
    shape = (node.shape[0], node.shape[1], *grid.shape[1:-1])
    spread = [axis(0), *(axis(2 + k) for k in range(rank))]
    reads: list[Read] = []
    terms: list[sympy.Expr] = []
    known_reads: dict[Node, sympy.Expr] = {}

    def read(value: Node) -> sympy.Expr:
        if value not in known_reads:
            known_reads[value] = placeholder(len(reads))
            reads.append(Read(value, spread))
        return known_reads[value]

    for choice in np.ndindex(*(len(axis_taps) for axis_taps in taps)):
        chosen = [taps[k][c] for k, c in enumerate(choice)]
        indices = [read(where) for where, _ in chosen]
        weight = sympy.Mul(*(read(w) for _, w in chosen))
        clamped = [read(_within(where, n)) for (where, _), n in zip(chosen, sizes)]
        value = placeholder(len(reads))
        reads.append(Read(node, [axis(0), axis(1), *clamped]))
        condition: Any = sympy.true
        for i, n in zip(indices, sizes):
            here = fn.and_(fn.ge(i, 0), fn.lt(i, fn.extent(sympy.sympify(n))))
            condition = here if condition is sympy.true else fn.and_(condition, here)
        terms.append(fn.select(condition, weight * value, 0))
    return Compute(shape, sympy.Add(*terms), reads, node.dtype)


def _within(where: Node, n: Extent) -> Node:
    """Indices clamped to what can be read; what lies outside is not used."""
    return Compute(where.shape, _clamped(A0, n), [identity_read(where)], dtypes.int64)


def _taps(place: Node, n: Extent, mode: str, padding: str, corners: bool) -> list[tuple[Node, Node]]:
    """Indices of the neighbours along one axis, and their weights."""
    shape, kind = place.shape, place.dtype
    one_read = [identity_read(place)]
    if mode == "nearest":
        where = Compute(shape, fn.round_(A0), one_read, dtypes.int64)
        return [(where, Compute(shape, sympy.Integer(1), [], kind))]
    low = Compute(shape, fn.floor(A0), one_read, dtypes.int64)
    part = Compute(shape, A0 - fn.stop(A1), [identity_read(place), identity_read(low)], kind)
    cubic = mode == "bicubic"
    found = []
    for tap, weight in zip(range(-1, 3) if cubic else range(2), _cubic(A0) if cubic else [1 - A0, A0]):
        where = Compute(shape, A0 + tap, [identity_read(low)], dtypes.int64)
        if cubic and padding != "zeros":
            moved = Compute(shape, A0 + 0, [identity_read(where)], kind)
            where = Compute(shape, A0, [identity_read(_inside(moved, n, padding, corners))], dtypes.int64)
        found.append((where, Compute(shape, weight, [identity_read(part)], kind)))
    return found


_GRID = {rank: register(Op(f"grid_sampler_{rank}d", _lower_grid_sample, f"GridSampler{rank}DBackward0", KEEP))
         for rank in (2, 3)}
PLACES = edges(((((-0.9, -0.6), (0.3, 0.77), (1.3, 0.2)), ((0.1, -1.4), (0.55, 0.45), (-0.33, 0.92))),))
DEEP = edges((((((-0.9, -0.6, 0.2), (0.3, 0.77, -1.2)), ((0.1, -0.4, 0.6), (1.55, 0.45, 0.9))),),))


@public("nn.functional", samples=[
    sample(IMAGE, PLACES, align_corners=False), one(IMAGE, PLACES, align_corners=True),
    *(one(IMAGE, PLACES, m, p, c) for m in ("bilinear", "nearest", "bicubic") for p in ("border", "reflection", "zeros")
      for c in (False, True)),
    one(VOLUME, DEEP, align_corners=False), one(VOLUME, DEEP, "bilinear", "border", True),
    one(VOLUME, DEEP, "nearest", "zeros", False), one(VOLUME, DEEP, "bilinear", "reflection", False),
], axes={"input": Reaching(0), "grid": Reaching(0)})
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """input [N, C, H, W] at the places grid [N, Ho, Wo, 2] (x, y from -1 to 1), or [N, C, D, H, W] at [N, ..., 3].

    mode: bilinear, nearest, bicubic; padding_mode outside: zeros, border, reflection.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    sizes = {"sizes": list(input.shape), "grid": list(grid.shape)}
    require_equal(input.shape[0], grid.shape[0], RuntimeError, "grid_sampler(): expected grid and input to have same batch "
                  "size, but got input with sizes {sizes} and grid with sizes {grid}", **sizes)
    if input.ndim not in (4, 5) or grid.ndim != input.ndim:
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != input.ndim - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {input.ndim - 2} in last dimension, but got grid with sizes "
            f"{list(grid.shape)}"
        )
    for d in range(2, input.ndim):
        require(input.shape[d] - 1, RuntimeError, "grid_sampler(): expected input to have non-empty spatial dimensions, but "
                "input has sizes {sizes} with dimension {d} being empty", d=d, **sizes)
    if input.dtype is not grid.dtype:
        raise RuntimeError(f"grid_sampler(): expected input and grid to have same dtype, but input has "
                           f"{_lower_name(input.dtype)} and grid has {_lower_name(grid.dtype)}")
    if mode == "bicubic" and input.ndim == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    return call(_GRID[input.ndim - 2], input, grid, mode=mode, padding=padding_mode, corners=bool(align_corners))


def _lower_name(kind: DType) -> str:
    return {"float32": "float", "float64": "double"}.get(kind.name, kind.name)
