"""The numbers of arange and linspace, with PyTorch's roundings (found by experiment with PyTorch 2.13 on x86-64)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradgen.eager.boxmuller import fused_multiply_add
from gradgen.ir.dtypes import DType


def arange_values(start: Any, end: Any, step: Any, dtype: DType) -> np.ndarray:
    """start, start + step, ... below end; RuntimeError in PyTorch's words."""
    if step == 0:
        raise RuntimeError("step must be nonzero")
    for bound in (start, end):
        if not math.isfinite(bound):
            raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if not dtype.is_floating_point:
        start, end, step = (int(x) if dtype.category else x for x in (start, end, step))
        count = max(0, -((start - end) // step)) if isinstance(step, int) else math.ceil((end - start) / step)
        return (start + step * np.arange(count, dtype=np.int64)).astype(dtype.numpy)
    count = math.ceil((float(end) - float(start)) / float(step))
    return float_range(float(start), float(step), count, dtype)


def float_range(start: float, step: float, count: int, dtype: DType) -> np.ndarray:
    """start + k * step in double, fused.

    PyTorch's kernel works in pairs of 32-byte vectors, each counted on from its own first number after that was rounded
    to `dtype`; what is left over is computed one by one.
    """
    lanes = 32 // dtype.itemsize
    whole = count // (2 * lanes) * (2 * lanes)
    k = np.arange(count, dtype=np.float64)
    values = fused_multiply_add(k, step, start)
    first = values[:whole:lanes].astype(dtype.numpy).astype(np.float64)
    values[:whole] = fused_multiply_add(k[:lanes], step, first[:, None]).reshape(-1)
    return values.astype(dtype.numpy)


def linspace_values(start: Any, end: Any, steps: int, dtype: DType) -> np.ndarray:
    """`steps` numbers from start to end, computed from both ends to the middle with fused multiply-add."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if steps == 0:
        return np.empty(0, dtype.numpy)
    if not dtype.is_floating_point:
        return _integers(int(start), int(end), steps, dtype)
    working: Any = dtype.numpy.type
    first, last = working(start), working(end)
    if steps == 1:
        return np.array([first], dtype.numpy)
    step = working((last - first) / working(steps - 1))
    k = np.arange(steps)
    up = fused_multiply_add(k.astype(dtype.numpy), np.full(steps, step), np.full(steps, first))
    down = fused_multiply_add((steps - 1 - k).astype(dtype.numpy), np.full(steps, -step), np.full(steps, last))
    return np.where(k < steps // 2, up, down).astype(dtype.numpy)


def _integers(start: int, end: int, steps: int, dtype: DType) -> np.ndarray:
    """In double, cut towards zero."""
    if steps == 1:
        return np.array([start], dtype.numpy)
    step = (end - start) / (steps - 1)
    k = np.arange(steps)
    values = np.where(k < steps // 2, start + step * k, end - step * (steps - 1 - k))
    return np.trunc(values).astype(dtype.numpy)


def logspace_values(start: Any, end: Any, steps: int, base: float, dtype: DType) -> np.ndarray:
    """base to the power of linspace, the exponents in double; within two units in the last place of PyTorch's."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if not dtype.is_floating_point:
        exponents = np.linspace(float(int(start)), float(int(end)), steps)
    elif steps < 2:
        exponents = np.linspace(float(start), float(end), steps)
    else:
        working: Any = dtype.numpy.type
        first, last = float(working(start)), float(working(end))
        step = float(working(working(working(end) - working(start)) / working(steps - 1)))
        k = np.arange(steps)
        exponents = np.where(k < steps // 2, first + step * k, last - step * (steps - 1 - k))
    with np.errstate(all="ignore"):
        return np.power(float(base), exponents).astype(dtype.numpy)
