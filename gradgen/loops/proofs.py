"""Proofs that every access lies inside its memory, for all sizes that the conditions of a procedure allow.

The verifier names what is certainly outside; here the opposite is asked for: from the ranges of counters, what is known where
the access stands, integer locals and the conditions on dimensions follows 0 <= element < size, through quotients, remainders,
Min and Max (`ir/inequalities.py`).  Positions from data are checked when the program runs, and left out.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy

from gradgen.ir.assumptions import facts_of, guard_facts
from gradgen.ir.guards import GE, Condition
from gradgen.ir.inequalities import contradictory, proves
from gradgen.loops.atoms import NEVER, Conjunction, literals
from gradgen.loops.draft import Draft
from gradgen.loops.extremes import Poly, Stretch, symbols_of
from gradgen.loops.laws import Verifier
from gradgen.loops.statements import Apply, Buffer, Index, Literal, Loop


def unproved(draft: Draft) -> list[str]:
    """The accesses for which there is no proof, a line each: procedure, memory, what could not be shown."""
    found = _Proofs(draft)
    found.run()
    return found.open


class _Proofs(Verifier):
    """Verifies, and proves what is inside."""

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.open: list[str] = []
        self.always = list(facts_of(draft.procedure.conditions))

    def loop(self, s: Loop) -> None:
        if s.parallel:  # what the field says: it has so many chunks at most
            self.always.append(s.parallel - _expr(self.at(s.stop)))
        super().loop(s)

    def inside(self, b: Buffer, at: Stretch, path: Conjunction) -> None:
        super().inside(b, at, path)
        if NEVER[0] in path or self.quick(b, at) or not b.shape or at.low is None or at.high is None:
            return
        low, high = _expr(at.low), _expr(at.high)
        if self._is_from_data((low, high)):
            return
        goals = [g for g in (low, sympy.expand(b.size - 1 - high)) if not g.is_nonnegative]
        if not goals:
            return
        few, all_ = self._facts(goals, path), None
        if at.low != at.high:
            few.append(sympy.expand(high - low))
        for goal in goals:
            if proves(few, goal):
                continue
            all_ = all_ or self._facts([*goals, *few], path, everything=True)
            if not proves((*few, *all_), goal) and not contradictory((*few, *all_)):
                self.open.append(f"{self.draft.procedure.name}: {b.name}: {goal} >= 0 where {', '.join(map(str, all_))}")

    def _is_from_data(self, exprs: Iterable[sympy.Expr]) -> bool:
        counters = {c.name for c in self.counters}
        names = {n for e in exprs for n in symbols_of(e)}
        return any(n in self.names and n not in counters and self._number(n) is None for n in names)

    def _facts(self, exprs: Iterable[sympy.Expr], path: Conjunction, everything: bool = False) -> list[sympy.Expr]:
        """What is known of the symbols of these, or of all counters around."""
        symbols = {s.name: s for e in exprs for s in e.free_symbols}
        found: list[sympy.Expr] = []

        def add(*facts: sympy.Expr) -> None:
            for e in facts:
                found.append(sympy.expand(e))
                for s in e.free_symbols:
                    symbols.setdefault(s.name, s)

        add(*self.always, *_of_path(path))
        for c in reversed(self.counters):
            if c.name not in symbols and not everything:
                continue
            counter = symbols.get(c.name, sympy.Symbol(c.name, integer=True))
            start, stop = _expr(c.start), _expr(c.stop)
            add(counter - start, stop - 1 - counter)
        done: set[str] = set()
        while todo := sorted(symbols.keys() - done):
            done.update(todo)
            for n in todo:
                value = self.definition(n)
                if isinstance(value, Index):
                    add(symbols[n] - value.expr, value.expr - symbols[n])
        return found


def _of_path(path: Conjunction) -> list[sympy.Expr]:
    """What conditions on integers say."""
    found: list[sympy.Expr] = []
    for (what, *rest), truth in sorted(literals(path), key=str):
        if what == "opaque":
            found += _of_comparison(getattr(rest[0], "value", None), truth)
        elif what == "integer" and truth:
            found += guard_facts((Condition(*rest),))
        elif what == "integer" and rest[0] == GE:
            found.append(-rest[1] - 1)
    return found


def _of_comparison(e: object, truth: bool) -> list[sympy.Expr]:
    """`a < b` and its like between integers."""
    match e:
        case Apply(op=("lt" | "le" | "gt" | "ge") as op, args=(Index() | Literal() as a, Index() | Literal() as b)):
            x, y = (v.expr if isinstance(v, Index) else v.value for v in (a, b))
            if a.dtype.is_floating_point:
                return []
            below, strict = (op in ("lt", "le")) == truth, (op in ("lt", "gt")) == truth
            return [sympy.expand((y - x if below else x - y) - int(strict))]
    return []


def _expr(p: Poly) -> sympy.Expr:
    return sympy.Add(*(k * sympy.Mul(*m) for m, k in p.items()))


__all__ = ["unproved"]
