"""ONNX's Resize, GridSample, AffineGrid and RoiAlign.

A resize works axis by axis: each place of the result is a sum of elements of the axis with weights that are known when the
model is read.  The formulas of the coordinates, of the weights and of what lies outside are those of the operator's
description in the standard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradgen.eager.creation import from_numpy
from gradgen.importers.onnx_table import At, Ints, Known, Tensor, entry, lib, refuse


@dataclass(frozen=True)
class _Way:
    """How the places of the result lie on those of the input."""

    coordinates: str
    mode: str
    nearest: str
    a: float
    exclude: bool
    antialias: bool


def _places(n: int, out: int, scale: float, way: _Way, roi: tuple[float, float]) -> np.ndarray:
    """Where on an axis of n each of `out` places lies."""
    x = np.arange(out, dtype=np.float64)
    match way.coordinates:
        case "half_pixel":
            return (x + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            adjusted = out / (n * scale)
            return n / 2 * (1 - adjusted) + (x + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (x + 0.5) / scale - 0.5 if out > 1 else np.full(out, 0.0)
        case "align_corners":
            whole = n * scale
            return x * ((n - 1) / (whole - 1)) if whole > 1 else np.zeros(out)
        case "asymmetric":
            return x / scale
        case "tf_half_pixel_for_nn":
            return (x + 0.5) / scale
        case "tf_crop_and_resize":
            first, last = roi
            if out > 1:
                return first * (n - 1) + x * ((last - first) * (n - 1) / (out - 1))
            return np.full(out, 0.5 * (first + last) * (n - 1))
    raise refuse(f"coordinate_transformation_mode={way.coordinates}")


def _nearest(places: np.ndarray, n: int, rule: str) -> np.ndarray:
    match rule:
        case "round_prefer_floor":
            found = np.ceil(places - 0.5)
        case "round_prefer_ceil":
            found = np.floor(places + 0.5)
        case "floor":
            found = np.floor(places)
        case "ceil":
            found = np.ceil(places)
        case _:
            raise refuse(f"nearest_mode={rule}")
    return found.clip(0, n - 1).astype(np.int64)


def _kernel(x: np.ndarray, way: _Way) -> np.ndarray:
    """The weight at distance x: of linear and of cubic interpolation (R. Keys, 1981, with coefficient a)."""
    x = np.abs(x)
    if way.mode == "linear":
        return np.maximum(1 - x, 0)
    a = way.a
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _taps(n: int, places: np.ndarray, scale: float, way: _Way) -> tuple[np.ndarray, np.ndarray]:
    """(indices, weights), each [taps, places]: antialiased where the axis becomes smaller."""
    shrink = min(scale, 1.0) if way.antialias else 1.0
    reach = (1 if way.mode == "linear" else 2) / shrink
    first = np.floor(places - reach).astype(np.int64) + 1
    taps = first + np.arange(math.ceil(2 * reach) + (shrink < 1))[:, None]
    weights = _kernel((taps - places) * shrink, way)
    if way.exclude:
        weights = np.where((taps >= 0) & (taps < n), weights, 0)
    weights = weights / weights.sum(0)
    used = (weights != 0).any(1)
    return taps[used].clip(0, n - 1), weights[used]


def _resized(x: Tensor, a: int, out: int, scale: float, way: _Way, roi: tuple[float, float]) -> Tensor:
    """Axis a of x."""
    n = x.shape[a]
    if not isinstance(n, int):
        raise refuse(f"{way.mode} resizing of an axis of {n} by {way.coordinates}")
    places = _places(n, out, scale, way, roi)
    if way.mode == "nearest":
        return lib.index_select(x, a, from_numpy(_nearest(places, n, way.nearest)))
    indices, weights = _taps(n, places, scale, way)
    shape = (-1,) + (1,) * (len(x.shape) - a - 1)
    found = None
    for index, weight in zip(indices, weights):
        term = lib.index_select(x, a, from_numpy(index)) * from_numpy(weight).to(x.dtype).reshape(shape)
        found = term if found is None else found + term
    assert found is not None
    return found


def _policy(n: Any, wanted: list[Any], policy: str) -> list[float]:
    """The scales of axes of n for `wanted` sizes: their own, or one for all so that no (some) axis is larger."""
    own = [w / e for w, e in zip(wanted, n)]
    if policy == "stretch":
        return own
    one = min(own) if policy == "not_larger" else max(own)
    return [one] * len(own)


@entry("Resize", 11, 19)
def _resize(
    X: Tensor, roi: Known, scales: Known, sizes: Ints, coordinate_transformation_mode: str, cubic_coeff_a: float,
    exclude_outside: int, extrapolation_value: float, mode: str, nearest_mode: str, antialias: int = 0, axes: Ints = None,
    keep_aspect_ratio_policy: str = "stretch",
) -> Tensor:
    rank = len(X.shape)
    over = list(range(rank)) if axes is None else [a % rank for a in axes]
    way = _Way(coordinate_transformation_mode, mode, nearest_mode, cubic_coeff_a, bool(exclude_outside), bool(antialias))
    n = [X.shape[a] for a in over]
    factors = None if scales is None or not scales.size else scales.reshape(-1).tolist()
    simple = _interpolated(X, over, factors, sizes, way, keep_aspect_ratio_policy)
    if simple is not None:
        return simple
    if not all(isinstance(e, int) for e, s in zip(n, factors or sizes) if s != 1 or factors is None):
        raise refuse(f"{mode} resizing of axes of {', '.join(map(str, n))} by {coordinate_transformation_mode}")
    if factors is None:
        factors = _policy(n, list(sizes), keep_aspect_ratio_policy)
        whole = [round_half_up(e * f) for e, f in zip(n, factors)]
        out = list(sizes) if keep_aspect_ratio_policy == "stretch" else whole
    else:
        out = [math.floor(e * f) if isinstance(e, int) else e for e, f in zip(n, factors)]
    crops = roi.reshape(2, -1).T.tolist() if roi is not None and roi.size else [(0.0, 1.0)] * len(over)
    found, outside = X, []
    for a, e, size, factor, crop in zip(over, n, out, factors, crops):
        crops_axis = coordinate_transformation_mode == "tf_crop_and_resize"
        if size == e and factor == 1 and not (crops_axis and tuple(crop) != (0.0, 1.0)):
            continue
        found = _resized(found, a, size, factor, way, (crop[0], crop[1]))
        if crops_axis:
            places = _places(e, size, factor, way, (crop[0], crop[1]))
            beyond = (places < 0) | (places > e - 1)
            outside.append(beyond.reshape((-1,) + (1,) * (rank - a - 1)))
    if any(o.any() for o in outside):
        mask = outside[0]
        for other in outside[1:]:
            mask = mask | other
        found = lib.where(from_numpy(np.array(mask)), extrapolation_value, found)
    return found


def round_half_up(x: float) -> int:
    return math.floor(x + 0.5)


_OF_RANK = {("linear", 1): "linear", ("linear", 2): "bilinear", ("linear", 3): "trilinear", ("cubic", 2): "bicubic",
            ("nearest", 1): "nearest", ("nearest", 2): "nearest", ("nearest", 3): "nearest"}


def _interpolated(x: Tensor, over: list[int], factors: Any, sizes: Any, way: _Way, policy: str) -> Tensor | None:
    """What torch's interpolate does just so, with named dimensions too; None otherwise."""
    rank = len(x.shape) - 2
    plain = rank >= 1 and over in (list(range(rank + 2)), list(range(2, rank + 2)))
    given = list(sizes if factors is None else factors)
    if plain and len(over) > rank:
        same = all(f == 1 for f in given[:2]) if factors is not None else all(
            str(s) == str(e) for s, e in zip(given[:2], x.shape[:2]))
        plain, given = same, given[2:]
    name = _OF_RANK.get((way.mode, rank))
    if not plain or name is None or policy != "stretch" or way.exclude or way.antialias:
        return None
    if factors is not None and all(isinstance(e, int) for e in x.shape[2:]):
        if any(math.floor(e * f) != e * f for e, f in zip(x.shape[2:], given)):
            return None
        sizes_now = [int(e * f) for e, f in zip(x.shape[2:], given)]
    elif factors is not None:
        if any(f != int(f) for f in given):
            return None
        sizes_now = [e * int(f) for e, f in zip(x.shape[2:], given)]
    else:
        sizes_now = given
    resize = lib("nn.functional.interpolate")
    if way.mode == "nearest":
        fits = (way.coordinates, way.nearest) == ("asymmetric", "floor") and factors is not None and all(
            f == int(f) for f in given)
        return resize(x, size=sizes_now, mode=name) if fits else None
    if way.mode == "cubic" and way.a != -0.75:
        return None
    if way.coordinates in ("half_pixel", "pytorch_half_pixel") and not (
        way.coordinates == "pytorch_half_pixel" and 1 in sizes_now
    ):
        return resize(x, size=sizes_now, mode=name, align_corners=False)
    if way.coordinates == "align_corners":
        return resize(x, size=sizes_now, mode=name, align_corners=True)
    return None


# --- sampling -----------------------------------------------------------------------------------------------------------

_MODES = {"linear": "bilinear", "cubic": "bicubic", "bilinear": "bilinear", "bicubic": "bicubic", "nearest": "nearest"}


@entry("GridSample", 16, 22)
def _grid_sample(X: Tensor, grid: Tensor, align_corners: int, mode: str, padding_mode: str) -> Tensor:
    return lib("nn.functional.grid_sample")(X, grid, _MODES[mode], padding_mode, bool(align_corners))


@entry("AffineGrid", 20)
def _affine_grid(theta: Tensor, size: Ints, align_corners: int) -> Tensor:
    return lib("nn.functional.affine_grid")(theta, list(size), bool(align_corners))


@entry("Upsample", 9, 10)
def _upsample(X: Tensor, scales: Known, mode: str, at: At) -> Tensor:
    return at.call("Resize", [X, None, scales], 13, mode=mode, coordinate_transformation_mode="asymmetric",
                   nearest_mode="floor")
