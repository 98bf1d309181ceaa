"""Integer index arithmetic: quotient and modulo by extents, and the index maps of reshapes.

SymPy's own `floor` and `Mod` rewrite in ways that cost time and hide the structure that inversion needs; these two
functions stay as written except where the answer is plain.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import sympy

from gradgen.ir.symbols import Extent, same_extent


def is_multiple(e: sympy.Expr, m: sympy.Expr) -> bool:
    """True where every term of a sum has a factor that is a multiple of the number m."""
    if not m.is_Integer or m == 0:
        return False
    for term in sympy.Add.make_args(e):
        factor = term if term.is_Integer else term.args[0] if term.is_Mul else None
        if factor is None or not factor.is_Integer or int(factor) % int(m):
            return False
    return True


class quotient(sympy.Function):
    """floor(e / m) for integers, m > 0."""

    nargs = 2
    is_integer = True

    @classmethod
    def eval(cls, e: sympy.Expr, m: sympy.Expr) -> sympy.Expr | None:
        if m == 1:
            return e
        if e.is_Integer and m.is_Integer and m != 0:
            return sympy.Integer(int(e) // int(m))
        return sympy.expand(e / m) if is_multiple(e, m) else None

    def _eval_is_nonnegative(self) -> bool | None:
        return self.args[0].is_nonnegative


class modulo(sympy.Function):
    """e - m*floor(e / m) for integers, m > 0: Python's %."""

    nargs = 2
    is_integer = True
    is_nonnegative = True

    @classmethod
    def eval(cls, e: sympy.Expr, m: sympy.Expr) -> sympy.Expr | None:
        if m == 1:
            return sympy.Integer(0)
        if e.is_Integer and m.is_Integer and m != 0:
            return sympy.Integer(int(e) % int(m))
        return sympy.Integer(0) if is_multiple(e, m) else None


def recombined(e: sympy.Expr) -> sympy.Expr:
    """The expanded expression with m*quotient(x, m) + modulo(x, m) written as x."""
    for q in sorted(e.atoms(quotient), key=str):
        x, m = q.args
        rest = modulo(x, m)
        factor = e.coeff(rest, 1)
        if factor != 0 and sympy.expand(e.coeff(q, 1) - factor * m) == 0:
            e = sympy.expand(e - factor * (m * q + rest - x))
    return e


def product(extents: Sequence[Extent]) -> Extent:
    """The number of elements, an int where all extents are known."""
    total: Extent = 1
    for e in extents:
        total = total * e
    return int(total) if isinstance(total, sympy.Integer) else total


def linearise(index: Sequence[sympy.Expr], shape: Sequence[Extent]) -> sympy.Expr:
    """Row-major offset of `index` in `shape`."""
    offset: sympy.Expr = sympy.Integer(0)
    for i, extent in zip(index, shape):
        offset = offset * extent + i
    return offset


def delinearise(offset: sympy.Expr, shape: Sequence[Extent]) -> tuple[sympy.Expr, ...]:
    """The row-major index of `offset` in `shape`; the first axis takes no modulo, the offset being in range."""
    result: list[sympy.Expr] = []
    stride: Extent = 1
    for k in range(len(shape) - 1, -1, -1):
        part = quotient(offset, sympy.sympify(stride))
        result.append(part if k == 0 else modulo(part, sympy.sympify(shape[k])))
        stride = stride * shape[k]
    return tuple(reversed(result))


def _groups(out: Sequence[Extent], source: Sequence[Extent]) -> list[tuple[range, range]]:
    """Smallest runs of axes with equal products: reshape acts within each of them alone."""
    groups: list[tuple[range, range]] = []
    i = j = 0
    while i < len(out) or j < len(source):
        i0, j0 = i, j
        if i < len(out) and j < len(source) and same_extent(out[i], source[j]):
            i, j = i + 1, j + 1
        else:
            p: Extent = 1
            q: Extent = 1
            while True:
                grow_out = i < len(out) and (j >= len(source) or _smaller(p, q))
                if grow_out:
                    p, i = p * out[i], i + 1
                elif j < len(source):
                    q, j = q * source[j], j + 1
                else:
                    break
                if same_extent(p, q) and not (p == 1 and (i < len(out) or j < len(source))):
                    break
        groups.append((range(i0, i), range(j0, j)))
    return groups


def _smaller(p: Extent, q: Extent) -> bool:
    if isinstance(p, int) and isinstance(q, int):
        return p <= q
    ratio = sympy.sympify(q) / p
    return bool(sympy.denom(sympy.together(ratio)) == 1)


@lru_cache(maxsize=4096)
def reshape_index(
    index: tuple[sympy.Expr, ...], out: tuple[Extent, ...], source: tuple[Extent, ...]
) -> tuple[sympy.Expr, ...]:
    """Where to read a tensor of shape `source` for element `index` of its reshape to `out` (row-major, equal sizes).

    Axes are matched in groups of equal product, so that leading (also symbolic) axes pass through untouched.
    """
    result: list[sympy.Expr] = []
    for outs, sources in _groups(out, source):
        if len(outs) == 1 and len(sources) == 1:
            result.append(index[outs[0]])
            continue
        kept = [k for k in outs if out[k] != 1]
        offset = linearise([index[k] for k in kept], [out[k] for k in kept])
        wide = [k for k in sources if source[k] != 1]
        parts = dict(zip(wide, delinearise(offset, [source[k] for k in wide])))
        result.extend(parts.get(k, sympy.Integer(0)) for k in sources)
    return tuple(result)
