"""Addresses: SAVED slots that forward and backward agree on, and offsets in WORK from lifetimes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from zlib import crc32

import sympy

from gradgen.ir.evaluation import extent_value
from gradgen.ir.nodes import Node
from gradgen.ir.symbols import Extent, as_extent, free_symbols
from gradgen.loops.extremes import Poly, plus, poly, sign
from gradgen.loops.heights import ENDS, as_maximum, greatest_of, highest
from gradgen.loops.procedure import SAVED, Procedure
from gradgen.loops.statements import KERNEL, NEST, WORK, Buffer, Call, Loop, Statement
from gradgen.loops.walk import (
    behind,
    blocks,
    expressions,
    mapped,
    pointer_targets,
    reads,
    rows_of,
    statements_in,
    subexpressions,
    touched,
)

ALIGNMENT = 64  # of the blocks: GRADGEN_ALIGN of gradgen_abi.h
HEADER_BYTES = 64  # of SAVED: its state and dimensions, in the C contract


@dataclass(frozen=True)
class SavedLayout:
    """Byte offsets of the slots of SAVED; the first 64 bytes are the state header."""

    offsets: dict[str, Extent]
    bytes: Extent


def aligned(size: Extent, to: int = ALIGNMENT) -> Extent:
    """`size` bytes rounded up to the alignment."""
    if isinstance(size, int):
        return -(-size // to) * to
    if _whole(size, to):
        return size
    count, flag = size.as_coeff_Mul()
    if isinstance(flag, sympy.Min) and 1 in flag.args and count.is_Integer:  # all or nothing
        return as_extent(aligned(int(count), to) * flag)
    return as_extent(to * sympy.floor((size + to - 1) / to))


def _whole(size: sympy.Expr, to: int) -> bool:
    """A multiple of the alignment whatever the dimensions are."""
    if isinstance(size, (sympy.Max, sympy.Min)):
        return all(_whole(a, to) for a in size.args)
    return all(
        k % to == 0 or (len(m) == 1 and isinstance(m[0], (sympy.Max, sympy.Min)) and _whole(m[0], to))
        for m, k in poly(size).items()
    )


def node_bytes(node: Node) -> Extent:
    total: Extent = node.dtype.itemsize
    for e in node.shape:
        total = total * e
    return as_extent(total)


def saved_layout(procedures: Iterable[Procedure]) -> SavedLayout:
    """One layout for all procedures of a module: slots in the order in which they first occur.

    Those of less than 64 bytes stand first, side by side, so that hundreds of saved scalars cost what they hold.
    """
    slots: dict[str, Node] = {}
    for p in procedures:
        stored = [(o.place, o.node) for o in p.outputs if o.place.space == SAVED]
        given = [(place, node) for node, place in p.given.items() if place.space == SAVED]
        for place, node in (*stored, *given):
            slots.setdefault(place.name, node)
    offsets: dict[str, Extent] = {}
    small = HEADER_BYTES
    for name, node in slots.items():
        size = node_bytes(node)
        if isinstance(size, int) and size < ALIGNMENT:
            small = -(-small // node.dtype.itemsize) * node.dtype.itemsize
            offsets[name] = small
            small += size
    position: Extent = aligned(small)
    for name, node in slots.items():
        if name not in offsets:
            offsets[name] = position
            position = as_extent(position + aligned(node_bytes(node)))
    return SavedLayout(offsets, position)


Offsets = dict[Buffer, Extent]
Life = tuple[int, int]


def plan_work(
    buffers: Iterable[Buffer], life: Mapping[Buffer, Life] | None, alignment: int = ALIGNMENT
) -> tuple[Offsets, Extent]:
    """The offset of every buffer of WORK that is used, and the total.

    Buffers whose lifetimes, in top-level statements, do not meet may share memory, where lifetimes are given; scratch of a
    function lives where it is called.
    """
    found = [b for b in buffers if b.space == WORK]
    sizes = {b: aligned(as_extent(b.size * b.dtype.itemsize), alignment) for b in found}
    if life is None:
        offsets, total = _side_by_side(found, sizes)
    else:
        offsets, total = _placed([b for b in found if b in life], sizes, life)
    if not isinstance(total, int) and not poly(total).get((), 0) > 0:
        total = as_extent(total + ALIGNMENT)  # never 0 where a dimension is, so that `work` is a real address
    return offsets, total


def _placed(found: list[Buffer], sizes: dict[Buffer, Extent], life: Mapping[Buffer, Life]) -> tuple[Offsets, Extent]:
    """By the planner that so many sizes of this kind are for."""
    fixed = all(isinstance(sizes[b], int) for b in found)
    if len(found) <= MANY and fixed:
        return _best_fit(found, sizes, life)  # type: ignore[arg-type]
    stacked = None if fixed or len(found) > FEW else _stacked(found, sizes, life)
    return stacked or _slots(found, sizes, life)


def with_one_scratch(statements: tuple[Statement, ...]) -> tuple[tuple[Statement, ...], dict[Buffer, Buffer]]:
    """The statements with the same scratch memory in all calls of the matrix kernel, and what that was before: of one call
    each, or of all calls in a loop in threads."""
    calls = (s for s in statements_in(statements) if isinstance(s, Call) and s.function.kind != KERNEL)
    found = {o.buffer: None for s in calls for o in s.scratch if o is not None}
    if not found:
        return statements, {}
    one = replace(next(iter(found)), shape=(greatest_of(b.size for b in found),))

    def block(old: tuple[Statement, ...]) -> tuple[Statement, ...]:  # scratch stands nowhere but in calls
        return tuple(mapped(s, buffer=lambda b: one if b in found else b) if isinstance(s, Call) else mapped(s, block=block)
                     for s in old)

    return block(statements), dict.fromkeys(found, one)


MANY = 400  # buffers up to which the quadratic planner is used ...
FEW = 48  # ... and where sizes depend on dimensions
LIKELY = 32  # what a dimension counts as when buffers are put in order


def _side_by_side(buffers: list[Buffer], sizes: dict[Buffer, Extent]) -> tuple[Offsets, Extent]:
    position: Extent = 0
    offsets: Offsets = {}
    for b in buffers:
        offsets[b] = position
        position = as_extent(position + sizes[b])
    return offsets, position


def _best_fit(buffers: list[Buffer], sizes: dict[Buffer, int], life: Mapping[Buffer, Life]) -> tuple[Offsets, int]:
    """Largest first, each at the lowest offset where nothing that lives at the same time is."""
    offsets: dict[Buffer, int] = {}
    total = 0
    for b in sorted(buffers, key=lambda b: -sizes[b]):  # stable
        first, last = life[b]
        busy = sorted((at, at + sizes[p]) for p, at in offsets.items() if life[p][0] <= last and first <= life[p][1])
        position = 0
        for start, stop in busy:
            if start - position >= sizes[b]:
                break
            position = max(position, stop)
        offsets[b] = position
        total = max(total, position + sizes[b])
    return {**offsets}, total


def _stacked(
    buffers: list[Buffer], sizes: dict[Buffer, Extent], life: Mapping[Buffer, Life]
) -> tuple[Offsets, Extent] | None:
    """Largest first, each on top of those that live at the same time; None where too little is known of their heights."""
    ends: dict[Buffer, list[Poly]] = {}
    starts: dict[Buffer, list[Poly]] = {}
    for b in sorted(buffers, key=lambda b: -_likely(sizes[b])):  # stable
        first, last = life[b]
        below = [ends[p] for p in ends if life[p][0] <= last and first <= life[p][1]]
        starts[b] = highest(e for found in below for e in found)
        if len(starts[b]) > ENDS:
            return None
        ends[b] = [plus(at, poly(sizes[b])) for at in starts[b]]
    offsets = {b: as_maximum(found) for b, found in starts.items()}
    return offsets, as_maximum(highest(e for found in ends.values() for e in found))


def _likely(size: Extent) -> int:
    return extent_value(size, {} if isinstance(size, int) else dict.fromkeys(free_symbols(size), LIKELY))


def _slots(buffers: list[Buffer], sizes: dict[Buffer, Extent], life: Mapping[Buffer, Life]) -> tuple[Offsets, Extent]:
    """In order of first use; a slot is reused where it is certainly large enough."""
    free: dict[Extent, list[int]] = {}
    size_of: list[Extent] = []
    owner: dict[Buffer, int] = {}
    ends: dict[int, list[Buffer]] = {}
    time = 0
    for b in sorted(buffers, key=lambda b: life[b][0]):
        first, last = life[b]
        while time < first:
            for done in ends.pop(time, []):
                free.setdefault(size_of[owner[done]], []).append(owner[done])
            time += 1
        owner[b] = _slot(sizes[b], free, size_of)
        ends.setdefault(last, []).append(b)
    offsets: list[Extent] = []
    position: Extent = 0
    for s in size_of:
        offsets.append(position)
        position = as_extent(position + s)
    return {b: offsets[k] for b, k in owner.items()}, position


def _slot(size: Extent, free: dict[Extent, list[int]], size_of: list[Extent]) -> int:
    """A free slot that fits, the tightest among the fixed ones; else a new one."""
    candidates = [s for s, slots in free.items() if slots and fits(size, s)]
    if candidates:
        numbers = [s for s in candidates if isinstance(s, int)]
        chosen = size if size in candidates else min(numbers) if numbers else candidates[0]
        return free[chosen].pop()
    size_of.append(size)
    return len(size_of) - 1


@lru_cache(maxsize=4096)
def fits(size: Extent, slot: Extent) -> bool:
    """True where it certainly does, whatever the dimensions are."""
    if isinstance(size, int) and isinstance(slot, int):
        return size <= slot
    if size == slot or sign(plus(poly(slot), poly(size), -1)) == 1:
        return True
    if any(a > b for a, b in zip(_tried(size), _tried(slot))):
        return False
    difference = sympy.sympify(slot) - size
    return bool(difference == 0 or difference.is_nonnegative)


TRIED = (0, 1, 7, 40, 300, 1000)
"""Dimensions of which one mostly shows that a size does not fit, where a proof that it does would be looked for long."""


@lru_cache(maxsize=4096)
def _tried(size: Extent) -> tuple[int, ...]:
    """The size where all dimensions are the same, and where each is of another length."""
    if isinstance(size, int):
        return (size,) * (2 * len(TRIED))
    dims = sorted(free_symbols(size), key=str)
    turns = [0] * len(dims), [crc32(d.name.encode()) for d in dims]
    lengths = [[TRIED[(k + turn) % len(TRIED)] for turn in turned] for turned in turns for k in range(len(TRIED))]
    return tuple(extent_value(size, dict(zip(dims, row))) for row in lengths)


Rows = Mapping[str, tuple[Buffer, ...]]


def moments(statements: tuple[Statement, ...]) -> Iterator[tuple[int, Statement, Life | None, Rows]]:
    """The statements between which memory can change hands, with their times, those of the loop around them, and what
    their rows point into.

    These are top-level statements and the statements right inside a top-level loop; what a nest that is called holds is done
    where it is called.
    """
    time = 0
    for top, rows in in_order(statements, pointer_targets(statements)):
        parts: tuple[tuple[Statement, Rows], ...] = ((top, rows),)
        if isinstance(top, Loop) and not top.parallel:  # chunks are at different places
            parts = tuple(in_order(top.body, rows, inside=True))
        whole = (time, time + len(parts)) if isinstance(top, Loop) else None
        for part, there in parts:
            yield time, part, whole, there
            time += 1
        time += 1


def in_order(block: Iterable[Statement], rows: Rows, inside: bool = False) -> Iterator[tuple[Statement, Rows]]:
    """The statements of a block, and what rows point into there.  What stands under a condition that reads no memory stands
    in order, too; and, but inside of a loop, what stands in a piece or in a function."""
    stack = [(s, rows) for s in reversed(tuple(block))]
    while stack:
        s, here = stack.pop()
        inner: tuple[Statement, ...] = ()
        if isinstance(s, Call) and not inside and s.function.kind == NEST:
            inner, here = s.function.body, rows_of(s, here)
        elif not isinstance(s, (Call, Loop)) and (expressions(s) or not inside):
            inner = tuple(t for found in blocks(s) for t in found)
            if inner and any(True for e in subexpressions(expressions(s)) for _ in reads(e)):
                inner = ()
        if inner:
            stack.extend((t, here) for t in reversed(inner))
        else:
            yield s, here


def lifetimes(statements: tuple[Statement, ...]) -> dict[Buffer, Life]:
    """First and last moment at which each buffer is touched.

    A buffer that only one loop touches is written anew at every iteration, so it lives between two statements of the body;
    any other one that a loop touches lives through all of the loop.
    """
    found: dict[Buffer, Life] = {}
    within: dict[Buffer, Life | None] = {}
    for at, part, whole, rows in moments(statements):
        for b in behind(touched(part), rows):
            if b not in found:
                found[b], within[b] = (at, at), whole
                continue
            if whole is None or within[b] != whole:
                outer = within[b] or found[b]
                found[b] = (min(found[b][0], outer[0]), max(found[b][1], outer[1]))
                within[b] = None
                at_first, at_last = whole or (at, at)
                found[b] = (min(found[b][0], at_first), max(found[b][1], at_last))
            else:
                found[b] = (min(found[b][0], at), max(found[b][1], at))
    return found
