"""In place: a value that is made element by element from one that nobody reads any more takes over its memory.

Both are arrays of WORK of one shape and type.  The first is read for the last time in the nest in which the second is
first written, at the very element that is stored, and no iteration comes back to an element of another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sympy

from gradgen.loops.extremes import names_in, plus, poly
from gradgen.loops.overwriting import Counter, own_element
from gradgen.loops.statements import WORK, Buffer, Load, Loop, Statement, Store
from gradgen.loops.walk import (
    blocks,
    bound,
    buffers,
    expressions,
    pointer_targets,
    renamed,
    statements_in,
    subexpressions,
    writes,
)
from gradgen.schedule.memory import lifetimes, moments


def in_place(statements: tuple[Statement, ...]) -> tuple[tuple[Statement, ...], dict[str, str]]:
    """The statements with such arrays merged, and the names that became others."""
    life = lifetimes(statements)
    rows = {b for found in pointer_targets(statements).values() for b in found}
    first: dict[int, list[Buffer]] = {}
    last: dict[int, list[Buffer]] = {}
    for b, (start, end) in life.items():
        if b.space == WORK and b not in rows and start < end:
            first.setdefault(start, []).append(b)
            last.setdefault(end, []).append(b)
    taken: dict[Buffer, Buffer] = {}
    given: set[Buffer] = set()
    for time, nest, _, _ in moments(statements):
        for new in first.get(time, ()):
            for old in last.get(time, ()):
                if old in given or not _alike(old, new) or not _elementwise(nest, old, new):
                    continue
                taken[new] = old
                given.add(old)
                break
    homes: dict[Buffer, Buffer] = {}
    for new, old in taken.items():
        homes[new] = homes.get(old, old)
    return (renamed(statements, homes, {}) if homes else statements), {n.name: o.name for n, o in homes.items()}


def _alike(a: Buffer, b: Buffer) -> bool:
    return a.dtype is b.dtype and len(a.shape) > 0 and a.shape == b.shape and a.below == b.below


def _elementwise(nest: Statement, old: Buffer, new: Buffer) -> bool:
    """All that the nest does with the two is to load elements of `old` and then to store the same ones of `new`, in one
    body that comes to every element once."""
    bodies = list(_bodies(nest, (), old, new))
    if len(bodies) != 1:
        return False
    body, around = bodies[0]
    index: sympy.Expr | None = None
    stored = False
    for s in body:
        for e in subexpressions(expressions(s)):
            if isinstance(e, Load) and e.buffer in (old, new):
                if index not in (None, e.index) or (stored and e.buffer is old):
                    return False
                index = e.index
        if isinstance(s, Store) and s.buffer is new:
            if s.index != index:
                return False
            stored = True
        elif any(b in (old, new) for b in (*buffers(s), *writes(s))):
            return False
    own = {name for s in statements_in((nest,)) for name in bound(s)}
    return stored and index is not None and _apart(index, around, own)


def _bodies(
    s: Statement, around: tuple[Loop, ...], old: Buffer, new: Buffer
) -> Iterator[tuple[Sequence[Statement], tuple[Loop, ...]]]:
    """The straight stretches of code inside a statement that touch either, with the loops around them."""
    if isinstance(s, Loop):
        around = (*around, s)
    for block in blocks(s):
        stretch = [t for t in block if old in _touched(t) or new in _touched(t)]
        if stretch:
            yield stretch, around
        for t in block:
            yield from _bodies(t, around, old, new)


def _touched(s: Statement) -> Iterator[Buffer]:
    """What a statement and its expressions touch, inner ones aside."""
    yield from buffers(s)
    for e in subexpressions(expressions(s)):
        yield from buffers(e)


def _apart(index: sympy.Expr, around: Sequence[Loop], own: set[str]) -> bool:
    """No two iterations come to the same element.  `own` are the locals of the nest, which say nothing about that."""
    at = poly(index)
    counters = [Counter(s.variable.name, poly(s.start), plus(poly(s.stop), {(): 1}, -1), None, poly(s.start), poly(s.stop),
                        parallel=bool(s.parallel)) for s in around]
    return not names_in(at) & (own - {c.name for c in counters}) and own_element(at, counters)


__all__ = ["in_place"]
