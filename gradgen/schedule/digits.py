"""Digits: an axis of a sum of products that reads take apart by a stride becomes two axes.

With groups, a channel is read as group and place in it; the adjoint of a strided window, and a transposed convolution,
read `x[(i - r)/s]` where s divides i - r.  With i = s I + a and r = s R + a the read is `x[I - R]`: a sum over every s-th
place of the window for each phase a, without a test, which the matrix kernel takes.  The value is read back through
quotient and remainder.  (The phases of an interpolating filter: Crochiere & Rabiner, Multirate Digital Signal
Processing, 1983, chapter 3.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import sympy

from gradgen.ir.graph import topological_until
from gradgen.ir.guards import GE, MOD, Condition, Guard, conjunction
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.rewrite import with_sources
from gradgen.ir.symbols import Axis, Extent, ReduceAxis, axes, placeholder, reduce_axes
from gradgen.loops.procedure import Procedure

Symbol = Axis | ReduceAxis
Term = tuple[sympy.Expr, int]  # an index and the stride by which it is taken apart


@dataclass(frozen=True)
class Split:
    """`high = (axis + offset) // stride` and `low` its remainder; `tied` has the same remainder and `other` as quotient."""

    axis: Symbol
    offset: int
    stride: int
    high: sympy.Symbol
    low: sympy.Symbol
    tied: Symbol | None = None
    other: sympy.Symbol | None = None

    def values(self) -> dict[sympy.Expr, sympy.Expr]:
        found: dict[sympy.Expr, sympy.Expr] = {self.axis: self.stride * self.high + self.low - self.offset}
        if self.tied is not None and self.other is not None:
            found[self.tied] = self.stride * self.other + self.low
        return found


def split_digits(procedure: Procedure) -> Procedure:
    """The procedure with such axes split."""
    given = set(procedure.given)
    new: dict[Node, Node] = {n: n for n in given}
    where = dict(procedure.where)
    for node in topological_until(tuple(o.node for o in procedure.outputs), given):
        if node in new:
            continue
        made = with_sources(node, new) if node.sources else node
        inner = _apart(made) if isinstance(made, Compute) else None
        new[node] = made if inner is None else inner[1]
        if node in where:
            for n in (inner or (made,)):
                where.setdefault(n, where[node])
    if all(new[o.node] is o.node for o in procedure.outputs):
        return procedure
    outputs = tuple(replace(o, node=new[o.node]) for o in procedure.outputs)
    return replace(procedure, outputs=outputs, where=where)


def _apart(node: Compute) -> tuple[Node, Node] | None:
    """The sum over split axes and its value read back, or None where nothing is to be split."""
    if node.reducer != "sum" or len(node.reads) != 2 or node.body != placeholder(0) * placeholder(1):
        return None
    terms = _terms(node.reads)
    if not terms or any(r.guard and r.fill != 0 for r in node.reads):
        return None
    extents: dict[sympy.Symbol, Extent] = dict(
        zip((*axes(node.ndim), *reduce_axes(len(node.reduce_shape))), (*node.shape, *node.reduce_shape))
    )
    splits = _splits(terms, extents)
    return _over_digits(node, splits, extents) if splits else None


def _terms(reads: Iterable[Read]) -> dict[Term, bool] | None:
    """What is taken apart, and whether it is known to be a multiple there; None where that is no plain index."""
    found: dict[Term, bool] = {}
    for read in reads:
        for e in (*read.index, *(c.expr for c in read.guard)):
            for atom in sorted(e.atoms(quotient, modulo), key=str):
                inner, stride = atom.args
                if not stride.is_Integer or inner.has(quotient, modulo):
                    return None
                found.setdefault((sympy.expand(inner), int(stride)), False)
        for c in read.guard:
            if c.kind == MOD:
                if not sympy.sympify(c.modulus).is_Integer or c.expr.has(quotient, modulo):
                    return None
                found[sympy.expand(c.expr), int(c.modulus)] = True
    return found


def _splits(terms: dict[Term, bool], extents: dict[sympy.Symbol, Extent]) -> list[Split] | None:
    """One split for every term, no axis twice; None where one is of another form."""
    found: list[Split] = []
    done: dict[sympy.Symbol, Split] = {}
    for (expr, stride), exact in terms.items():
        parts = expr.as_coefficients_dict()
        if any(s not in extents for s in parts if s != 1):
            return None
        odd = {s: int(c) for s, c in parts.items() if s != 1 and int(c) % stride}
        plus, minus = [s for s, c in odd.items() if c == 1], [s for s, c in odd.items() if c == -1]
        if len(plus) != 1 or len(odd) != len(plus) + len(minus) or len(minus) > 1 or bool(minus) != exact:
            return None
        made = _split(plus[0], minus[0] if minus else None, int(parts.get(1, 0)) % stride, stride, len(found), extents)
        if made is None:
            return None
        same = done.get(made.axis)
        if same is not None and (same.offset, same.stride, same.tied) == (made.offset, made.stride, made.tied):
            continue
        if any(s in done for s in (made.axis, made.tied) if s is not None):
            return None
        found.append(made)
        done[made.axis] = made
        if made.tied is not None:
            done[made.tied] = made
    return found


def _split(
    axis: sympy.Symbol, tied: sympy.Symbol | None, offset: int, stride: int, number: int,
    extents: dict[sympy.Symbol, Extent],
) -> Split | None:
    if not all(isinstance(extents[s], int) for s in (axis, tied) if s is not None):
        return None
    if tied is not None and isinstance(axis, Axis) and isinstance(tied, Axis):
        return None
    high, low, other = (sympy.Symbol(f"{name}{number}", integer=True, nonnegative=True) for name in ("h", "l", "o"))
    return Split(axis, offset, stride, high, low, tied, other if tied is not None else None)  # type: ignore[arg-type]


def _over_digits(node: Compute, splits: list[Split], extents: dict[sympy.Symbol, Extent]) -> tuple[Node, Node]:
    of = {s: p for p in splits for s in (p.axis, p.tied) if s is not None}
    sizes: dict[sympy.Symbol, Extent] = {s: e for s, e in extents.items() if s not in of}
    for p in splits:
        extent, tied = extents[p.axis], extents[p.tied] if p.tied is not None else 1
        assert isinstance(extent, int) and isinstance(tied, int)
        sizes |= {p.low: p.stride, p.high: (extent - 1 + p.offset) // p.stride + 1}
        if p.other is not None:
            sizes[p.other] = (tied - 1) // p.stride + 1
    kept = _order([s for s in extents if isinstance(s, Axis)], of)
    summed = _order([s for s in extents if isinstance(s, ReduceAxis)], of)
    summed = [s for s in summed if s not in kept]
    names: dict[sympy.Expr, sympy.Expr] = dict(zip((*kept, *summed), (*axes(len(kept)), *reduce_axes(len(summed)))))
    values = {a: e for p in splits for a, e in p.values().items()}
    outside = [Condition(GE, e) for s in values if isinstance(s, Axis) for e in (s, extents[s] - 1 - s)]
    reads = [_read(r, values, splits, sizes, outside) for r in node.reads]
    for s in values:
        if isinstance(s, ReduceAxis):
            reads = _inside(node.reads, reads, s, values[s], extents[s], sizes)
    reads = [_needed(r, other, sizes) for r, other in zip(reads, reversed(reads))]
    renamed = [Read(r.source, [e.xreplace(names) for e in r.index], tuple(c.substitute(names) for c in r.guard))
               for r in reads]
    inner = Compute(tuple(sizes[s] for s in kept), node.body, renamed, node.dtype,
                    reduce_shape=tuple(sizes[s] for s in summed), reducer="sum")
    back: dict[sympy.Symbol, sympy.Expr] = {}
    for p in splits:
        by = sympy.Integer(p.stride)
        for s, digit, shift in ((p.axis, p.high, p.offset), (p.tied, p.other, 0)):
            if isinstance(s, Axis) and digit is not None:
                back |= {digit: quotient(s + shift, by), p.low: modulo(s + shift, by)}
    return inner, Compute(node.shape, placeholder(0), [Read(inner, [back.get(s, s) for s in kept])], node.dtype)


def _order(symbols: list[Symbol], of: dict[sympy.Symbol, Split]) -> list[sympy.Symbol]:
    """The axes with digits in place of those that are split: group before place, all phases before the first place."""
    found: list[sympy.Symbol] = []
    at: int | None = None
    for s in symbols:
        p = of.get(s)
        if p is None:
            found.append(s)
        elif p.tied is None:
            found += [p.high, p.low]
        else:
            at = len(found) if at is None else at
            found.insert(at, p.low)
            at += 1
            found.append(p.high if s is p.axis else p.other)  # type: ignore[arg-type]
    return list(dict.fromkeys(found))


def _read(
    read: Read, values: dict[sympy.Expr, sympy.Expr], splits: list[Split], sizes: dict[sympy.Symbol, Extent],
    outside: list[Condition],
) -> Read:
    """The read over digits, its index tested wherever values that are not wanted would leave the source."""
    index = [_digits(e, values, splits) for e in read.index]
    wanted = {sympy.expand(c.expr.xreplace(values)) for c in outside}
    conditions: dict[Condition, None] = {}
    for c in read.guard:
        made = Condition(c.kind, _digits(c.expr, values, splits), c.modulus)
        low = _bounds(made.expr, sizes)
        if c.kind == GE and (made.expr in wanted or (low is not None and low[0] >= 0)):
            continue
        conditions[made] = None
    for e, extent in zip(index, read.source.shape):
        bounds = _bounds(e, sizes)
        if bounds is None or not isinstance(extent, int):
            continue
        if bounds[0] < 0:
            conditions[Condition(GE, e)] = None
        if bounds[1] >= extent:
            conditions[Condition(GE, sympy.expand(extent - 1 - e))] = None
    return Read(read.source, index, _conjunction(conditions))


def _inside(
    before: Iterable[Read], reads: list[Read], axis: ReduceAxis, value: sympy.Expr, extent: Extent,
    sizes: dict[sympy.Symbol, Extent],
) -> list[Read]:
    """Digits of a summed axis that no term has are kept out by a guard on the factors that have the axis by itself."""
    tests = [Condition(GE, value), Condition(GE, sympy.expand(extent - 1 - value))]
    tests = [c for c in tests if (b := _bounds(c.expr, sizes)) is None or b[0] < 0]
    if not tests:
        return reads
    plain = [k for k, r in enumerate(before) if axis in r.index] or [0]
    return [Read(r.source, r.index, _conjunction([*r.guard, *tests])) if k in plain else r for k, r in enumerate(reads)]


def _needed(read: Read, other: Read, sizes: dict[sympy.Symbol, Extent]) -> Read:
    """Without conditions that the other factor has too, which is 0 where they fail, if the index then stays inside."""
    kept = [c for c in read.guard if c not in other.guard]
    for e, extent in zip(read.index, read.source.shape):
        low, high = _bounds(e, sizes) or (-1, 0)
        fits = isinstance(extent, int) and high < extent
        if not (low >= 0 or Condition(GE, e) in kept):
            return read
        if not (fits or Condition(GE, sympy.expand(extent - 1 - e)) in kept or e in sizes):
            return read
    return Read(read.source, read.index, tuple(kept)) if len(kept) < len(read.guard) else read


def _conjunction(conditions: Iterable[Condition]) -> Guard:
    return conjunction(*conditions) or ()


def _digits(e: sympy.Expr, values: dict[sympy.Expr, sympy.Expr], splits: list[Split]) -> sympy.Expr:
    """An index in terms of digits, quotients and remainders resolved."""
    lows = {p.low: p.stride for p in splits}

    def resolved(atom: sympy.Expr) -> sympy.Expr:
        inner, by = sympy.expand(atom.args[0].xreplace(values)), atom.args[1]
        rest = sympy.Add(*(t for t in sympy.Add.make_args(inner) if lows.get(t) == by))
        whole = quotient(sympy.expand(inner - rest), by)
        return whole if isinstance(atom, quotient) else rest if rest else modulo(inner, by)

    atoms = {a: resolved(a) for a in e.atoms(quotient, modulo)}
    return sympy.expand(e.xreplace(atoms).xreplace(values))


def _bounds(e: sympy.Expr, sizes: dict[sympy.Symbol, Extent]) -> tuple[int, int] | None:
    """The least and the largest value of an affine index."""
    low = high = 0
    for s, c in e.as_coefficients_dict().items():
        if s == 1:
            low, high = low + int(c), high + int(c)
            continue
        extent = sizes.get(s)
        if not isinstance(extent, int) or not c.is_Integer:
            return None
        span = int(c) * (extent - 1)
        low, high = low + min(span, 0), high + max(span, 0)
    return low, high


__all__ = ["split_digits"]
