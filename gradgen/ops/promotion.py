"""The dtype that operands of several dtypes come to: torch.result_type, and the rules of operations."""

from __future__ import annotations

from typing import Any

from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ops.registry import BOOL_RESULT, FLOAT, KEEP, PROMOTE


class _Defaults:
    dtype = dtypes.float32


defaults = _Defaults()
"""The default floating dtype, which `set_default_dtype` changes."""


def number_dtype(kind: type) -> DType:
    """The dtype of a Python number on its own."""
    return dtypes.bool_ if kind is bool else dtypes.int64 if kind is int else defaults.dtype


def result_dtype(kinds: tuple[Any, ...]) -> DType:
    """torch.result_type: among tensors with axes, 0-d tensors and Python numbers, the later only add a category.

    A kind is what has a shape and a dtype, or the type of a Python number.
    """
    found: list[DType | None] = [None, None, None]
    for kind in kinds:
        if isinstance(kind, type):
            rank, dtype = 2, number_dtype(kind)
        else:
            rank, dtype = (0 if kind.shape else 1), kind.dtype
        before = found[rank]
        found[rank] = dtype if before is None else dtypes.promote(before, dtype)
    result = _combine(found[0], _combine(found[1], found[2]))
    if result is None:
        raise RuntimeError("promotion needs at least one operand")
    return result


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return higher or lower
    if higher.is_floating_point:
        return higher
    if higher is dtypes.bool_ or lower.is_floating_point:
        return dtypes.promote(higher, lower)
    return higher


def common_dtype(rule: str, kinds: tuple[Any, ...]) -> DType | None:
    """The dtype that a rule casts all operands to; None where they come as they are."""
    if rule == KEEP or not kinds:
        return None
    found = result_dtype(kinds)
    if rule == FLOAT and not found.is_floating_point:
        return defaults.dtype
    if rule not in (PROMOTE, FLOAT, BOOL_RESULT):
        raise ValueError(f"unknown dtype rule {rule!r}")
    return found
