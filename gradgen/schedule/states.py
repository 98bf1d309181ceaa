"""States in place: what a state becomes may be written where the state is.

A function reads the old value until it ends, in an order that its loops decide.  So the new one is computed in WORK and
copied when all else is done (`copied_last`).  Where its place is the old value's (`Output.onto`) and each element is written
after it was read for the last time, it is computed right there (`in_their_places`).  (That backward needs no state is the
compiler's part.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gradgen.ir.dtypes import bool_
from gradgen.loops.draft import Draft
from gradgen.loops.laws import Verifier
from gradgen.loops.overwriting import written_last
from gradgen.loops.procedure import Procedure
from gradgen.loops.statements import WORK, Buffer, Copy, Expr, If, Present, Statement
from gradgen.loops.walk import Rewriting, renamed


def copied_last(
    procedure: Procedure, statements: tuple[Statement, ...], buffers: tuple[Buffer, ...], fresh: Callable[[str], str]
) -> tuple[tuple[Statement, ...], tuple[Buffer, ...]]:
    """The statements with memory in WORK for such values, and copies of them at the end."""
    places = {o.place: o for o in procedure.outputs if o.last}
    kept = {b: Buffer(fresh("next"), b.dtype, b.shape, WORK) for b in buffers if b.place in places}
    if not kept:
        return statements, buffers
    own = {new: old for old, new in kept.items()}

    def asked(e: Expr) -> Expr:
        return replace(e, buffer=own.get(e.buffer, e.buffer)) if isinstance(e, Present) else e

    made = list(Rewriting(leaf=asked, buffer=lambda b: kept.get(b, b)).block(statements))
    given = {b.place: b for b in buffers if b.given}
    taken: dict[Buffer, Buffer] = {}  # the buffer of a result that takes the place of a given value, and that one's
    for b in kept:
        onto = places[b.place].onto if b.place is not None else None
        if onto is not None:
            taken[b] = given.get(onto) or Buffer(onto.name, b.dtype, b.shape, b.space, onto, given=True)
    for old, new in kept.items():
        copy: Statement = Copy(taken.get(old, old), 0, new, 0, old.size)
        optional = old.place is not None and old.place.optional
        made.append(If(Present(bool_, old), (copy,)) if optional else copy)
    rest = [b for b in buffers if b not in taken]
    return tuple(made), (*rest, *(b for b in taken.values() if b not in rest), *kept.values())


def in_their_places(draft: Draft) -> Draft:
    """Results that take the place of a given value are computed there, where nobody reads that afterwards and the function
    cannot fail any more."""
    places = {o.onto for o in draft.procedure.outputs if o.onto is not None}
    copies = [s for s in draft.statements if isinstance(s, Copy) and s.target.place in places]
    if not copies:
        return draft
    seen = Verifier(replace(draft, statements=tuple(s for s in draft.statements if s not in copies)))
    seen.touch()
    moved = {s.source: s.target for s in copies
             if not _fails_afterwards(seen, s.source) and written_last(seen.accesses, s.target, s.source)}
    kept = tuple(s for s in draft.statements if not (s in copies and isinstance(s, Copy) and s.source in moved))
    names = {new.name: old.name for new, old in moved.items()}
    return replace(draft, statements=renamed(kept, moved, {}), buffers=tuple(b for b in draft.buffers if b not in moved),
                   names={node: names.get(name, name) for node, name in draft.names.items()})


def _fails_afterwards(seen: Verifier, b: Buffer) -> bool:
    """Whether the function may end with an error when it has written to the buffer."""
    writes = [(k, a.counters[:1]) for k, a in enumerate(seen.accesses) if a.writes and a.buffer is b]
    return any(k < at or (loops and loops == counters[:1]) for at, counters in seen.failures for k, loops in writes)


__all__ = ["copied_last", "in_their_places"]
