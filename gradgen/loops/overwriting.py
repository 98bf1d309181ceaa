"""A value that takes the place of another: each of its elements is written after the other's was read for the last time.

Accesses are compared in pairs, a write with a read.  No element that was written is read later where
- the write of an iteration of the loops around both stays before, or behind, all that later iterations read, or
- both touch the same element, and no other iteration comes to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sympy

from gradgen.loops.extremes import (
    UNKNOWN,
    Poly,
    Stretch,
    exceeds,
    names_in,
    plus,
    poly,
    reaches,
    sign,
    slope,
    times,
)
from gradgen.loops.statements import Buffer


@dataclass(frozen=True, slots=True)
class Counter:
    """The values of a loop's counter; None where they are not known."""

    name: str
    low: Poly | None
    high: Poly | None
    steps: Poly | None
    start: Poly
    stop: Poly
    step: int = 1
    parallel: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """One statement's touch of memory: a stretch in terms of the counters of the loops around, from the outermost on."""

    buffer: Buffer
    writes: bool
    at: Stretch
    counters: tuple[Counter, ...]


def written_last(accesses: Sequence[Access], old: Buffer, new: Buffer) -> bool:
    """True where `new` may have the memory of `old`, which is given: proved for all accesses, in the order of the text."""
    seen = [(k, a) for k, a in enumerate(accesses) if a.buffer in (old, new)]
    if any(a.writes for _, a in seen if a.buffer is old):
        return False
    writes = [(k, a) for k, a in seen if a.writes]
    reads = [(k, a) for k, a in seen if a.buffer is old]
    return all(_in_order(w, r, k < j) for k, w in writes for j, r in reads)


def _in_order(write: Access, read: Access, written_first: bool) -> bool:
    """No element that is written is read afterwards, in this or a later iteration of the loops around both."""
    common = 0
    while common < min(len(write.counters), len(read.counters)) and write.counters[common] is read.counters[common]:
        common += 1
    if written_first and not _apart(_over(write, common), _over(read, common)):
        return False
    one = write.at.low is not None and write.at.low == write.at.high == read.at.low == read.at.high
    if one and len(write.counters) == common == len(read.counters) and own_element(write.at.low, write.counters):
        return True
    return all(_later_apart(write, read, k) for k in range(common))


def _over(a: Access, depth: int) -> Stretch:
    """What it touches in all iterations of the loops inside of so many; unknown where that depends on other locals."""
    at = a.at
    for c in reversed(a.counters[depth:]):
        at = at.over(c.name, c.low, c.high)
    around = {c.name for c in a.counters[:depth]}
    known = all(isinstance(f, sympy.Symbol) and (f.name in around or f.is_nonnegative)
                for p in (at.low, at.high) for m in p or {} for f in m)
    return at if known and not at.names() & {c.name for c in a.counters[depth:]} else UNKNOWN


def _apart(a: Stretch, b: Stretch) -> bool:
    return exceeds(a.low, b.high) or exceeds(b.low, a.high)


def _later_apart(write: Access, read: Access, k: int) -> bool:
    """What an iteration of their k-th loop writes, no later one reads."""
    c = write.counters[k]
    w, r = _over(write, k + 1), _over(read, k + 1)
    if c.parallel:
        return False
    return _passes(r.low, w.high, c, 1) or _passes(r.high, w.low, c, -1)


def _passes(read: Poly | None, write: Poly | None, c: Counter, way: int) -> bool:
    """An iteration on, the end of what is read is past the end of what was written, and it goes that way with every further
    one."""
    if read is None or write is None:
        return False
    by = slope(read, c.name)
    if by is None:
        return False
    later = plus(read, by, c.step)
    if way == 1:
        return (not by or sign(by) == 1) and exceeds(later, write)
    return (not by or sign({m: -k for m, k in by.items()}) == 1) and exceeds(write, later)


def own_element(at: Poly | None, around: Iterable[Counter]) -> bool:
    """No two iterations come to the same element: each stride passes over all that the shorter ones reach."""
    loops = list(around)
    if at is None or any(c.parallel for c in loops):
        return False
    counters = {c.name for c in loops}
    strides: list[tuple[Poly, Poly]] = []
    for c in loops:
        by = slope(at, c.name)
        if not by or names_in(by) & counters or c.low is None or c.high is None:
            return False
        strides.append((by, plus(c.high, c.low, -1)))
    reach: Poly = {}
    ordered = sorted(strides, key=lambda pair: (len(pair[0]), max(len(m) for m in pair[0]), sum(pair[0].values())))
    for by, most in ordered:
        if not reaches(by, plus(reach, poly(1))):
            return False
        reach = plus(reach, times(by, most))
    return True


__all__ = ["Access", "Counter", "own_element", "written_last"]
