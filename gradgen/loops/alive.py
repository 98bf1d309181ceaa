"""Lifetimes and places: two buffers that live at the same time do not overlap, and each lies inside its block.

Found anew from the statements, not taken from the planner: a buffer lives from the first to the last statement that touches
it in the innermost block that holds them all; in a loop that only some of them are in, during all of the loop.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradgen.loops.draft import Draft
from gradgen.loops.extremes import exceeds, plus, poly
from gradgen.loops.statements import SAVED, WORK, Buffer, Layout, Loop, Statement
from gradgen.loops.walk import behind, blocks, buffers, expressions, pointer_targets, subexpressions

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
    """The first and the last moment of each buffer."""
    rows = pointer_targets(statements)
    touches: dict[Buffer, list[tuple[int, tuple[Loop, ...]]]] = {}
    spans: dict[Statement, Life] = {}
    clock = 0

    def look(block: tuple[Statement, ...], around: tuple[Loop, ...]) -> None:
        nonlocal clock
        for s in block:
            first = clock
            clock += 1
            own = [*buffers(s), *(b for e in subexpressions(expressions(s)) for b in buffers(e))]
            for b in behind(own, rows):
                touches.setdefault(b, []).append((first, around))
            for inner in blocks(s):
                look(inner, (*around, s) if isinstance(s, Loop) else around)
            spans[s] = (first, clock)
            clock += 1

    look(statements, ())
    return {b: _life(found, spans) for b, found in touches.items()}


def _life(touches: list[tuple[int, tuple[Loop, ...]]], spans: dict[Statement, Life]) -> Life:
    common = touches[0][1]
    for _, around in touches:
        common = tuple(a for a, b in zip(common, around) if a is b)
    for k, loop in enumerate(common):
        if loop.parallel:  # its iterations run side by side
            common = common[:k]
            break
    found: list[Life] = []
    for at, around in touches:
        found.append(spans[around[len(common)]] if len(around) > len(common) else (at, at))
    return min(x for x, _ in found), max(y for _, y in found)
