"""Definite assignment of memory: what was written under which conditions, and which stretch of it, when it is read.

A read is right where, in every case that its own conditions leave open, some producer has run, and where its ends lie in what
producers reach, as far as ranges decide that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gradgen.loops.atoms import ALWAYS, NEVER, Conjunction, atom_names, covered, implies, said
from gradgen.loops.extremes import UNKNOWN, Poly, Stretch, exceeds, names_in, plus, poly, times

_FEW = 48  # records of one buffer before those under one condition are joined

Where = Callable[[int], Stretch]
"""The stretch of an access in terms of the counters of so many outer loops."""


@dataclass(frozen=True, slots=True)
class Record:
    """One write: its conditions, its stretch, and in terms of how many outer loops these are.

    `count` is how many elements it stores, once each; None where that is not known.
    """

    path: Conjunction
    stretch: Stretch
    depth: int
    count: Poly | None = None


class Written:
    """What was written so far."""

    def __init__(self) -> None:
        self.records: dict[str, list[Record]] = {}
        self.at: list[set[str]] = []  # for each open loop, the memory that was written in it

    def enter(self) -> None:
        self.at.append(set())

    def leave(self, names: set[str], counter: str, low: Poly | None, high: Poly | None, steps: Poly | None) -> None:
        """A loop ends: what was written in it was written for all values of its counter; `names` are no longer known."""
        depth = len(self.at)
        inside = self.at.pop()
        for name in inside:
            self.records[name] = [
                r if r.depth < depth else self._outside(r, depth - 1, names, counter, low, high, steps)
                for r in self.records[name]
            ]
            self._join(name)
        if self.at:
            self.at[-1] |= inside

    def _outside(
        self, r: Record, depth: int, names: set[str], counter: str, low: Poly | None, high: Poly | None, steps: Poly | None
    ) -> Record:
        path = tuple(c for c in r.path if not any(atom_names(a) & names for a, _ in c))
        stretch = r.stretch.over(counter, low, high)
        if stretch.names() & names:
            stretch = UNKNOWN
        count = None
        if r.count is not None and steps is not None and len(path) == len(r.path):
            count = times(r.count, steps)
            count = None if names_in(count) & names else count
        return Record(path, stretch, depth, count)

    def write(self, name: str, path: Conjunction, stretch: Stretch, count: Poly | None) -> None:
        self.records.setdefault(name, []).append(Record(path, stretch, len(self.at), count))
        if self.at:
            self.at[-1].add(name)
        self._join(name)

    def _join(self, name: str) -> None:
        """Many writes under one condition become one from the first to the last element."""
        found = self.records[name]
        if len(found) <= _FEW:
            return
        joined: dict[tuple[Conjunction, int], list[Record]] = {}
        for r in found:
            joined.setdefault((r.path, r.depth), []).append(r)
        self.records[name] = [_together(group) for group in joined.values()]
        if len(self.records[name]) > _FEW:  # of many conditions: no more is said
            self.records[name] = [Record(ALWAYS, UNKNOWN, 0)]

    def fault(self, name: str, path: Conjunction, where: Where, given: bool = False) -> str | None:
        """Why a read is wrong, or None."""
        if given or NEVER[0] in path:
            return None
        found = self.records.get(name)
        if not found:
            return "nobody has written it"
        if not any(r.path == path[: len(r.path)] for r in found) and not covered(path, [r.path for r in found]):
            when = "; or ".join(dict.fromkeys(said(r.path) for r in found))
            return f"it was written where {when}, and is read where {said(path)}"
        reached = [r for r in found if implies(path, r.path)] or found
        for end in ("low", "high"):
            if all(self._misses(r, where(r.depth), end) for r in reached):
                return f"nobody has written its {'first' if end == 'low' else 'last'} element"
        return None

    def _misses(self, r: Record, read: Stretch, end: str) -> bool:
        at = getattr(read, end)
        return exceeds(at, r.stretch.high) or exceeds(r.stretch.low, at)


def _together(group: list[Record]) -> Record:
    low, high = group[0].stretch.low, group[0].stretch.high
    count = group[0].count
    for r in group[1:]:
        low, high = _least(low, r.stretch.low), _least(r.stretch.high, high, True)
        count = None if count is None or r.count is None else plus(count, r.count)
    return replace(group[0], stretch=Stretch(low, high), count=count)


def _least(a: Poly | None, b: Poly | None, greatest: bool = False) -> Poly | None:
    if a is None or b is None:
        return None
    if exceeds(a, b):
        return a if greatest else b
    if exceeds(b, a) or a == b:
        return b if greatest else a
    return None


def interval(first: Poly, count: Poly) -> Stretch:
    """`count` elements from `first` on."""
    return Stretch(first, plus(plus(first, count), poly(1), -1))
