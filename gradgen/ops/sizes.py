"""Named sizes in formulas: in `loss / x.shape[0]` the size of a trace stands as the Python number it will be."""

from __future__ import annotations

import sympy

from gradgen.ir import functions as fn
from gradgen.ir.dtypes import DType
from gradgen.ir.nodes import Compute, Node
from gradgen.ops.registry import KEEP, Op


def as_body(size: sympy.Expr) -> sympy.Expr:
    """The expression over named dimensions as a scalar body: exact numbers, roots and powers by our own functions."""
    exact = size.replace(lambda e: e.is_Float, sympy.Rational)
    return exact.replace(lambda e: e.is_Pow and not e.exp.is_Integer, _power)


def _power(e: sympy.Expr) -> sympy.Expr:
    if e.exp == sympy.Rational(1, 2):
        return fn.sqrt_(e.base)
    if e.exp == sympy.Rational(-1, 2):
        return fn.rsqrt(e.base)
    return fn.pow_(e.base, e.exp)


def _lower(*, size: sympy.Expr, dtype: DType) -> Node:
    return Compute((), fn.extent(as_body(size)), [], dtype)


SIZE = Op("size", _lower, "", KEEP)
