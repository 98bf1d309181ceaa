"""The numbers of arange and linspace, with PyTorch's roundings (found by experiment with PyTorch 2.13 on x86-64)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradgen.frontend.boxmuller import fused_multiply_add
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
    """start + k * step in double, rounded once."""
    return (start + step * np.arange(count, dtype=np.float64)).astype(dtype.numpy)


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
    """Steps of single precision, cut towards zero."""
    if steps == 1:
        return np.array([start], dtype.numpy)
    step = np.float32(np.float32(end - start) / np.float32(steps - 1))
    k = np.arange(steps)
    up = np.float32(start) + (step * k.astype(np.float32)).astype(np.float32)
    down = np.float32(end) - (step * (steps - 1 - k).astype(np.float32)).astype(np.float32)
    return np.trunc(np.where(k < steps // 2, up, down)).astype(dtype.numpy)
