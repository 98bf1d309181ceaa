"""Constants: numbers known at generation time move into bodies, and bodies of numbers become numbers."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import sympy

from gradgen.ir.canonical import compute
from gradgen.ir.evaluation import of_constants
from gradgen.ir.functions import div, extent, pow_, scaled
from gradgen.ir.nodes import Compute, Constant, Node
from gradgen.ir.symbols import Dim, placeholder

_FOLD_LIMIT = 1 << 16
"""Elements up to which a Compute over constants alone is evaluated at generation time."""


def number(node: Node) -> sympy.Expr | None:
    """The exact value where every element of a constant is the same finite number other than zero, else None."""
    if isinstance(node, Compute) and not node.reads and node.body.is_Number and node.body != 0:
        return node.body
    if not isinstance(node, Constant) or node.array.size == 0 or node.array.size > 4096:
        return None
    first = node.array.flat[0]
    if node.array.size > 1 and not np.all(node.array == first):
        return None
    if node.dtype.is_floating_point:
        value = float(first)
        if value.is_integer() and abs(value) > 1 << 24:
            return None  # as an integer it would be reckoned with in integers
        return sympy.Rational(value) if math.isfinite(value) and value != 0.0 else None
    return sympy.Integer(int(first)) if int(first) != 0 else None


@lru_cache(maxsize=4096)
def _substituted(body: sympy.Expr, mapping: tuple[tuple[sympy.Expr, sympy.Expr], ...]) -> sympy.Expr:
    values = dict(mapping)
    body = body.xreplace(values)
    return body.replace(lambda e: isinstance(e, (pow_, div)), _strength)


def _strength(e: sympy.Expr) -> sympy.Expr:
    """x**n with a small integer n by multiplications, x/1 is x, x/2**k a product with the exact reciprocal."""
    x, n = e.args
    if isinstance(e, pow_):
        if n.is_Integer and 1 <= int(n) <= 8:
            return x ** int(n)
        return e
    if n.is_Integer and int(n) > 0 and int(n) & (int(n) - 1) == 0:
        return scaled(x, sympy.Rational(1, int(n)))
    if n == -1:
        return -x
    return e


def inline_constants(node: Node) -> Node:
    """Reads of one-valued constants become exact numbers in the body.

    Zero stays a read: 0*x and x + 0 are not what SymPy makes of them when x is inf, nan or -0.  A reduction keeps the
    constant as a read where it is all that the body reads over that axis.
    """
    if not isinstance(node, Compute) or node.reducer is not None:
        return node
    mapping = []
    for k, read in enumerate(node.reads):
        value = None if read.guard else number(read.source)
        if value is not None and placeholder(k) in node.body.free_symbols and not _indexes(node, k):
            mapping.append((placeholder(k), value))
    if not mapping:
        return node
    body = _substituted(node.body, tuple(mapping))
    return compute(node.shape, body, node.reads, node.dtype)


def _indexes(node: Compute, k: int) -> bool:
    return any(placeholder(k) in e.free_symbols for r in node.reads for e in r.index)


def fold_constants(node: Node) -> Node:
    """A Compute over constants alone, of known and moderate size, is evaluated now."""
    if not isinstance(node, Compute) or not all(isinstance(s, Constant) for s in node.sources):
        return node
    extents = (*node.shape, *node.reduce_shape)
    if not all(isinstance(e, int) for e in extents) or math.prod(extents) > _FOLD_LIMIT:
        return node
    if math.prod(node.shape) > 1 and node.reducer is None:
        return node  # a broadcast number stays a number: the loop needs no table
    if any(isinstance(s, Dim) for s in node.body.free_symbols) or node.body.has(extent):
        return node  # sizes are, or will be, arguments
    return Constant(of_constants(node), node.dtype)
