"""What statements refer to that is not their own: what a function made of them must be given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gradgen.ir.dtypes import INDEX, DType
from gradgen.ir.symbols import Extent
from gradgen.loops.extremes import symbols_of
from gradgen.loops.statements import (
    CONSTANT,
    SAVED,
    Apart,
    Buffer,
    Contract,
    Expr,
    SetFlag,
    Statement,
    Variable,
)
from gradgen.loops.walk import (
    NAMELESS,
    ROWS,
    Role,
    blocks,
    bound,
    buffers,
    expressions,
    integers,
    statements_in,
    subexpressions,
    writes,
)

NOT_PRINTED: dict[type, tuple[str, ...]] = {Contract: ("limits",)}  # bounds, for whoever plans memory
_UNSAID = (Role.DATA, Role.BLOCK, Role.BINDS, Role.COUNTER)
_SAID = {k: tuple((f, role) for f, role in row.items() if role not in _UNSAID and f not in NOT_PRINTED.get(k, ()))
         for k, row in ROWS.items()}
_COUNTERS = {k: tuple(f for f, role in row.items() if role is Role.COUNTER) for k, row in ROWS.items()}


@dataclass
class Needs:
    """Memory and scalars, in order of appearance."""

    pointers: dict[str, Buffer] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    scalars: dict[str, DType] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    saved: bool = False
    flags: bool = False

    def index(self, e: Extent) -> None:
        """The names in an integer expression."""
        if not isinstance(e, int):
            for name in sorted(symbols_of(e)):
                self.scalar(name, INDEX)

    def scalar(self, name: str, dtype: DType) -> None:
        if name not in self.own:
            self.scalars.setdefault(name, dtype)


def needs(statements: Iterable[Statement]) -> Needs:
    """What the statements refer to."""
    found = Needs()
    inside = list(statements_in(statements))
    for s in inside:
        found.own.update(bound(s))
        found.own.update([getattr(s, f).name for f in _COUNTERS[type(s)]])
    for s in inside:
        for e in subexpressions(expressions(s)):
            if type(e) is SetFlag:
                found.flags = True
            elif type(e) not in NAMELESS:
                _note(e, found)
        _note(s, found)
    return found


def _note(p: Statement | Expr, found: Needs) -> None:
    if isinstance(p, Variable):
        found.scalar(p.name, p.dtype)
        return
    memory = list(buffers(p))
    written = {b.name for b in writes(p)} if memory else set()
    for name, role in _SAID[type(p)]:
        value = getattr(p, name)
        if role in (Role.USES, Role.ASSIGNS) and isinstance(value, Variable):
            found.scalar(value.name, value.dtype)
        elif role is Role.ASKS and value.space == SAVED:
            found.saved = True
        elif role is Role.ASKS:
            memory.append(value)
        elif not isinstance(value, Expr):
            for e in integers(value):
                found.index(e)
    for b in memory:
        if b.name not in found.own:
            found.pointers.setdefault(b.name, b)
            points = not getattr(p, "constant", True)  # a row that may be written through
            if (b.name in written or points) and b.space != CONSTANT:
                found.written.add(b.name)


def outside(statements: Iterable[Statement]) -> Iterator[Statement]:
    """The statements that are in no function of their own, outer before inner."""
    for s in statements:
        yield s
        if not isinstance(s, Apart):
            for block in blocks(s):
                yield from outside(block)


__all__ = ["Needs", "needs", "outside"]
