"""The stack: an upper bound along the calls.

Arrays and accumulators are counted, locals as if none ever shared a register.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradgen.ir.scalar_table import is_costly
from gradgen.loops.needs import outside
from gradgen.loops.statements import Apart, Apply, Array, Call, Declare, Function, Let, Loop, PairwiseBegin, Statement
from gradgen.loops.walk import expressions, subexpressions
from gradgen.target import Target

WORD = 8  # bytes of a local, of an address, of a number
FRAME = 192  # of a function: registers that it must keep, arguments of calls, alignment
VECTORS = 2048  # of a function with vector loops, on a machine with vectors
MATHEMATICS = 640  # of a mathematical function: the longest reduces its argument in two numbers
LEVELS, SCALAR_LEVELS = 64, 3  # of a pairwise accumulator, and of the cascade that a small machine has instead
Depth = tuple[int, tuple[str, ...]]


def deepest(statements: Sequence[Statement], target: Target) -> Depth:
    """The stack of a function with these statements and of what it calls, and the names of the calls."""
    return _Stack(target).of(statements)


class _Stack:
    def __init__(self, target: Target) -> None:
        self.target = target
        self.known: dict[str, Depth] = {}

    def of(self, statements: Sequence[Statement]) -> Depth:
        inside = list(outside(statements))
        below: Depth = max((found for s in inside for found in self.called(s)), default=(0, ()))
        return self.frame(inside) + below[0], below[1]

    def called(self, s: Statement) -> Iterable[Depth]:
        if isinstance(s, Call):
            size, through = self.function(s.function)
            yield size, (s.function.name, *through)
        elif isinstance(s, Apart):
            size, through = self.of(s.body)
            yield size, (s.kind, *through)
        if any(isinstance(e, Apply) and is_costly(e.op) for e in subexpressions(expressions(s))):
            yield MATHEMATICS, ("mathematics",)

    def function(self, f: Function) -> Depth:
        if f.stack:
            return f.stack, ()
        if f.name not in self.known:
            size, through = self.of(f.body)
            self.known[f.name] = size + WORD * len(f.parameters), through
        return self.known[f.name]

    def frame(self, inside: Iterable[Statement]) -> int:
        total = FRAME
        vectors = False
        names: dict[str, int] = {}
        for s in inside:
            match s:
                case Array():
                    total += int(s.buffer.size) * s.buffer.dtype.itemsize  # type: ignore[arg-type]
                case PairwiseBegin():
                    total += (SCALAR_LEVELS if self.target.scalar else LEVELS) * s.accumulator.dtype.itemsize + WORD
                case Let() | Declare():
                    names[s.variable.name] = WORD
                case Loop():
                    vectors = vectors or s.simd
                    names[s.variable.name] = WORD
        return total + sum(names.values()) + (VECTORS if vectors and not self.target.scalar else 0)


__all__ = ["deepest"]
