"""Arguments at which the math kernels are checked."""

from __future__ import annotations

import numpy as np

# zeros, ones, infinities, nan, the ends of the subnormal and normal ranges, where exp, sinh and pow overflow or
# underflow, and where the kernels change their ways
EDGES = np.array(
    [
        0.0,
        1.0,
        0.5,
        2.0,
        3.0,
        1.5,
        10.0,
        np.inf,
        np.nan,
        5e-324,
        1e-310,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        1e-45,
        1e-40,
        1.1754943508222875e-38,
        3.4028234663852886e38,
        1e308,
        1e-30,
        1e30,
        0.1,
        0.25,
        0.99999994,
        88.722839,
        88.72284,
        89.41599,
        103.97207,
        103.97208,
        104.0,
        87.33654,
        16.635532,
        9.0109,
        10.05,
        27.3,
        26.6,
        709.782712893384,
        709.7827128933841,
        710.4758600739439,
        745.1332191019411,
        745.1332191019412,
        708.0,
        708.4,
        87.0,
        512.0,
        8192.0,
        1048576.0,
        37.0,
        np.pi / 4,
        np.pi / 2,
        np.pi,
        2.0**22,
        2.0**23 + 0.5,
        2.0**23 - 1,
        2.0**24 - 1,
        2.0**24 + 1,
        2.0**31,
        2.0**32,
        2.0**52 + 0.5,
        2.0**52 - 1,
        2.0**53 - 1,
        2.0**53 + 2,
        2.0**62,
        2.0**63,
        2.0**64,
        6381956970095103.0 * 2.0**797,
        0.41421356,
        2.4142135,
        0.35,
        0.3466,
        1.0397,
        0.55,
        0.95,
        4.0,
        22.0,
        1023.0,
        1024.0,
        1074.0,
        1075.0,
        127.0,
        149.0,
    ]
)


def edges(dtype: type) -> np.ndarray:
    """Return the edges and their negatives, rounded to the dtype."""
    with np.errstate(over="ignore"):
        return np.concatenate([EDGES, -EDGES]).astype(dtype)


def one(count: int, dtype: type, rng: np.random.Generator) -> np.ndarray:
    """Return about `count` arguments for a function of one: any bit pattern, any magnitude, ordinary ones, edges."""
    bits = np.uint64 if dtype is np.float64 else np.uint32
    quarter = max(count // 4, 1)
    anything = rng.integers(0, np.iinfo(bits).max, quarter, dtype=bits, endpoint=True).view(dtype)
    scaled = 2.0 ** rng.uniform(-40, 12, 2 * quarter) * rng.choice([-1, 1], 2 * quarter)
    return np.concatenate([edges(dtype), anything, scaled.astype(dtype), rng.uniform(-50, 50, quarter).astype(dtype)])


def two(count: int, dtype: type, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return about `count` pairs: every pair of edges, any bits, ordinary ones, whole exponents, and for pow results
    over the whole range of the dtype with a base near 1 or of any size.
    """
    part = max(count // 5, 1)
    every = [m.ravel() for m in np.meshgrid(edges(dtype), edges(dtype))]
    bits = np.uint64 if dtype is np.float64 else np.uint32
    anything = rng.integers(0, np.iinfo(bits).max, 2 * part, dtype=bits, endpoint=True).view(dtype)
    ordinary = 2.0 ** rng.uniform(-6, 6, 2 * part) * rng.choice([-1, 1, 1], 2 * part)
    exponents = np.concatenate([rng.uniform(-30, 30, part), np.round(rng.uniform(-30, 30, part))])
    near_one = 1 + rng.uniform(-1, 1, part) * 2.0 ** rng.uniform(-24, -1, part)
    positive = np.nan_to_num(np.abs(anything[:part]), nan=1.0).astype(np.float64)
    bases = np.concatenate([near_one, positive]).astype(dtype)
    ends = (-745.0, 709.7) if dtype is np.float64 else (-103.9, 88.7)
    with np.errstate(all="ignore"):
        logs = rng.uniform(0, 1.03, 2 * part) * rng.choice(ends, 2 * part)
        powers = (logs / np.log(bases.astype(np.float64))).astype(dtype)
    x = [every[0], ordinary.astype(dtype), bases, anything[:part]]
    y = [every[1], exponents.astype(dtype), powers, anything[part:]]
    return np.concatenate(x), np.concatenate(y)
