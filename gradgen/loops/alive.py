"""Lifetimes and places: two buffers that live at the same time do not overlap, and each lies inside its block.

Found anew from the statements, not taken from the planner: a buffer lives from the first to the last statement that touches
it in the innermost block that holds them all; in a loop that only some of them are in, during all of the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gradgen.loops.draft import Draft
from gradgen.loops.extremes import exceeds, plus, poly
from gradgen.loops.statements import SAVED, WORK, Buffer, Call, Layout, Loop, Statement
from gradgen.loops.walk import behind, blocks, buffers, expressions, pointer_targets, rows_of, subexpressions

Life = tuple[int, int]


def overlaps(draft: Draft, layout: Layout) -> Iterator[tuple[str, str]]:
    """Pairs of names that break the law; the other one is empty where a buffer reaches beyond its block."""
    found = _lives(draft.statements)
    for space, total in ((WORK, layout.work), (SAVED, layout.saved)):
        placed = [(b, poly(at), plus(poly(at), poly(b.size * b.dtype.itemsize)))
                  for b, at in layout.offsets.items() if b.space == space and (b in found or space == SAVED)]
        for b, _, end in placed:
            if exceeds(end, poly(total)):
                yield b.name, ""
        yield from _meeting(placed, found if space == WORK else {})


def _meeting(placed: list[tuple[Buffer, dict, dict]], lives: dict[Buffer, Life]) -> Iterator[tuple[str, str]]:
    for k, (b, start, end) in enumerate(placed):
        for other, at, until in placed[k + 1 :]:
            if lives and not (lives[b][0] <= lives[other][1] and lives[other][0] <= lives[b][1]):
                continue
            if b.size == 0 or other.size == 0:
                continue
            if start == at or (exceeds(end, at) and exceeds(until, start)):
                yield b.name, other.name


def _lives(statements: tuple[Statement, ...]) -> dict[Buffer, Life]:
    """The first and the last moment of each buffer; what a call does is done where it stands."""
    touches: dict[Buffer, list[tuple[int, tuple[_Around, ...]]]] = {}
    clock = 0

    def look(block: tuple[Statement, ...], around: tuple[_Around, ...], rows: Mapping[str, tuple[Buffer, ...]]) -> None:
        nonlocal clock
        for s in block:
            first = clock
            clock += 1
            own = _without_body(s) if isinstance(s, Call) else list(buffers(s))
            own += [b for e in subexpressions(expressions(s)) for b in buffers(e)]
            for b in behind(own, rows):
                touches.setdefault(b, []).append((first, around))
            if isinstance(s, Call):
                look(s.function.body, around, rows_of(s, rows))
            here = _Around(bool(s.parallel), first) if isinstance(s, Loop) else None
            for inner in blocks(s):
                look(inner, around if here is None else (*around, here), rows)
            if here is not None:
                here.last = clock
            clock += 1

    look(statements, (), pointer_targets(statements))
    return {b: _life(found) for b, found in touches.items()}


@dataclass(eq=False, slots=True)
class _Around:
    """A loop where it stands: that of a part stands at every call."""

    parallel: bool
    first: int
    last: int = 0


def _without_body(s: Call) -> list[Buffer]:
    """What no statement of the function tells."""
    return [o.buffer for o in (s.pointers if not s.function.body else s.scratch) if o is not None]


def _life(touches: list[tuple[int, tuple[_Around, ...]]]) -> Life:
    common = touches[0][1]
    for _, around in touches:
        common = tuple(a for a, b in zip(common, around) if a is b)
    for k, loop in enumerate(common):
        if loop.parallel:  # its iterations run side by side
            common = common[:k]
            break
    found: list[Life] = []
    for at, around in touches:
        outer = around[len(common)] if len(around) > len(common) else None
        found.append((at, at) if outer is None else (outer.first, outer.last))
    return min(x for x, _ in found), max(y for _, y in found)
