"""Long straight-line procedures in pieces: functions of bounded length, which compilers take linear time for.

gcc's time grows faster than the length of a function: 34 s for one of 10,000 statements.  A piece computes in locals; a
value that a later piece needs is stored once, in an array in WORK, and loaded once by each piece that needs it.
(Memory to memory, statement by statement, would be slower to compile and to run than one long function.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import sympy

from gradgen.codegen.chunks import Needs, declare, expression, index, scalar, statement
from gradgen.ir.dtypes import DType
from gradgen.loops.statements import (
    LOCAL,
    Apply,
    Assign,
    Buffer,
    Call,
    Comment,
    Copy,
    Declare,
    Expr,
    Fill,
    If,
    KernelCall,
    Let,
    Load,
    Loop,
    PairwiseTotal,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import expressions, statements_in, subexpressions

LONG = 1200  # statements from which on a procedure is cut
LENGTH = 400  # statements of a piece, about
SHORT = 40  # a run of fewer statements stays where it is


@dataclass(frozen=True, eq=False)
class Segment:
    """A run of statements, loads and stores of live values among them: a piece, or what stays in the procedure."""

    statements: tuple[Statement, ...]
    piece: bool


@dataclass
class Cut:
    """A procedure in segments, and the arrays of live values with their lengths."""

    segments: list[Segment]
    arrays: dict[Buffer, int] = field(default_factory=dict)

    def own_buffers(self, buffers: Iterable[Buffer]) -> list[Buffer]:
        """Those that the procedure itself refers to: pieces find theirs in SAVED and WORK anew."""
        found: dict[str, Buffer] = {}
        for segment in self.segments:
            if not segment.piece:
                found |= pointers_of(segment.statements)
        return [b for b in buffers if b.name in found]


def pointers_of(statements: Iterable[Statement]) -> dict[str, Buffer]:
    """The buffers that statements refer to, those of calls included."""
    found = dict(used(statements).pointers)
    for s in statements_in(statements):
        if isinstance(s, Call):
            found |= {b.name: b for b, _ in s.pointers}
        elif isinstance(s, KernelCall):
            found |= {b.name: b for b in (*s.operands, *s.results, *s.workspace)}
    return found


def cut(statements: Sequence[Statement]) -> Cut | None:
    """The statements in segments, or None where they are few or nothing of them can stand apart."""
    if sum(not isinstance(s, Comment) for s in statements) < LONG:
        return None
    runs = list(_runs(_sines_apart(statements)))
    if not any(piece for _, piece in runs):
        return None
    return _Live(runs).cut()


def used(statements: Iterable[Statement]) -> Needs:
    """What a piece refers to outside of itself."""
    found = Needs()
    inside = list(statements_in(statements))
    for s in inside:
        declare(s, found)
    for s in inside:
        statement(s, found)
        if isinstance(s, Call):
            _arguments_of(s, found)
    return found


def _arguments_of(s: Call, found: Needs) -> None:
    for given in s.scalars:
        if isinstance(given, Expr):
            for e in subexpressions((given,)):
                expression(e, found)
        else:
            index((given,), found)
    if s.result is not None:
        scalar(s.result, found)


def _assigned(run: Iterable[Statement]) -> set[str]:
    """The variables that statements give another value."""
    found = {s.variable.name for s in statements_in(run) if isinstance(s, Assign)}
    return found | {s.result.name for s in statements_in(run) if isinstance(s, Call) and s.result is not None}


def _movable(s: Statement) -> bool:
    """Whether the statement can stand in a function of its own."""
    for inner in statements_in((s,)):
        if not isinstance(inner, (Comment, Let, Declare, Assign, Store, Fill, Copy, If, Loop)):
            return False
        if isinstance(inner, Loop) and inner.parallel:
            return False
        if any(isinstance(e, PairwiseTotal) for e in subexpressions(expressions(inner))):
            return False
    return True


def _runs(statements: Sequence[Statement]) -> Iterable[tuple[list[Statement], bool]]:
    """Runs of about LENGTH statements that can move, and of those between them."""
    run: list[Statement] = []
    movable, size = True, 0
    for s in statements:
        fits = _movable(s) if not isinstance(s, Comment) else movable
        if run and (fits != movable or (fits and size >= LENGTH and not _is_cosine(s))):
            yield run, movable and size >= SHORT
            run, size = [], 0
        movable = fits
        run.append(s)
        size += sum(not isinstance(inner, Comment) for inner in statements_in((s,)))
    if run:
        yield run, movable and size >= SHORT


class _Live:
    """Which variables cross from one run to another, and where each is kept."""

    def __init__(self, runs: Sequence[tuple[list[Statement], bool]]) -> None:
        self.runs = runs
        self.needs = [used(run) for run, _ in runs]
        self.types: dict[str, DType] = {}
        self.home: dict[str, int] = {}  # the run that declares it
        self.changes: list[set[str]] = []  # variables of other runs that a run assigns
        for k, (run, _) in enumerate(runs):
            for s in run:
                if isinstance(s, (Let, Declare)):
                    self.home[s.variable.name], self.types[s.variable.name] = k, s.variable.dtype
            self.changes.append(_assigned(run) - self.needs[k].own)
        self.changing = {name for names in self.changes for name in names}
        self.declared = {s.variable.name for run, _ in runs for s in run if isinstance(s, Declare)}
        self.slots: dict[str, tuple[Buffer, int]] = {}
        self.arrays: dict[str, Buffer] = {}
        self.lengths: dict[Buffer, int] = {}

    def cut(self) -> Cut:
        for k in range(len(self.runs)):
            for name in self.needs[k].scalars:
                if name in self.home and self.home[name] != k and not self._both_stay(k, self.home[name], name):
                    self._slot(name)
        found = Cut([], self.lengths)
        here: set[str] = set()  # declared in the procedure itself
        for k, (run, piece) in enumerate(self.runs):
            found.segments.append(Segment(self._with_live(k, run, piece, here), piece))
            if not piece:
                here |= {n for n, home in self.home.items() if home == k}
        return found

    def _both_stay(self, a: int, b: int, name: str) -> bool:
        """Neither run is a piece, and no piece changes the variable."""
        changed = any(name in c and self.runs[k][1] for k, c in enumerate(self.changes))
        return not self.runs[a][1] and not self.runs[b][1] and not changed

    def _slot(self, name: str) -> None:
        if name in self.slots:
            return
        dtype = self.types[name]
        array = self.arrays.setdefault(dtype.name, Buffer(f"gg_live_{dtype.suffix}", dtype, (), LOCAL))
        self.slots[name] = (array, self.lengths.get(array, 0))
        self.lengths[array] = self.slots[name][1] + 1

    def _loads(self, k: int, piece: bool, here: set[str]) -> dict[str, Statement]:
        """For each variable of another run, the statement that brings it in."""
        found: dict[str, Statement] = {}
        for name in self.needs[k].scalars:
            if self.home.get(name, k) == k or name not in self.slots:
                continue
            array, at = self.slots[name]
            variable = Variable(self.types[name], name)
            value = Load(variable.dtype, array, sympy.Integer(at))
            changing = name in self.changing
            if piece or name not in here:
                found[name] = (Declare if changing else Let)(variable, value)
            elif changing:
                found[name] = Assign(variable, value)
            if not piece:
                here.add(name)
        return found

    def _with_live(self, k: int, run: Sequence[Statement], piece: bool, here: set[str]) -> tuple[Statement, ...]:
        """The run with loads just before the first use of a value and stores just after its definition, so that no
        register or stack slot holds it meanwhile; what is assigned more than once is stored at the end."""
        loads = self._loads(k, piece, here)
        found: list[Statement] = [loads.pop(name) for name in list(loads) if name in self.changing]
        for s in run:
            if loads:
                for name in used((s,)).scalars:
                    if name in loads:
                        found.append(loads.pop(name))
            found.append(s)
            if isinstance(s, Let) and s.variable.name in self.slots:
                found.append(self._store(s.variable.name))
        kept = [n for n in self.slots if n in self.changes[k] or (self.home[n] == k and n in self.declared)]
        return (*found, *(self._store(n) for n in kept))

    def _store(self, name: str) -> Store:
        array, at = self.slots[name]
        return Store(array, sympy.Integer(at), Variable(self.types[name], name))


def _sines_apart(statements: Sequence[Statement]) -> list[Statement]:
    """Sine and cosine of one variable as variables of their own where both are taken: they are computed together even
    where the second is needed in another piece."""
    both = {name for name, ops in _taken(statements).items() if len(ops) == 2}
    made: dict[tuple[str, str], Variable] = {}
    found: list[Statement] = []
    for s in statements:
        if isinstance(s, (Let, Declare, Assign, Store)):
            for x in _arguments(s.value, both):
                if ("sin", x.name) not in made:
                    for op in ("sin", "cos"):
                        made[op, x.name] = Variable(x.dtype, f"gg_{op}_of_{x.name}")
                        found.append(Let(made[op, x.name], Apply(x.dtype, op, (x,))))
            value = _replaced(s.value, made) if made else s.value
            if value is not s.value:
                s = _with_value(s, value)
        found.append(s)
    return found


def _is_cosine(s: Statement) -> bool:
    """The second of a pair that `_sines_apart` made: it stays with the first."""
    return isinstance(s, Let) and s.variable.name.startswith("gg_cos_of_")


def _taken(statements: Sequence[Statement]) -> dict[str, set[str]]:
    """The functions of sin and cos that are taken of constant locals."""
    fixed = {s.variable.name for s in statements if isinstance(s, Let)}
    found: dict[str, set[str]] = {}
    for s in statements:
        if isinstance(s, (Let, Declare, Assign, Store)):
            for e in subexpressions((s.value,)):
                match e:
                    case Apply(op=("sin" | "cos") as op, args=(Variable() as x,)) if x.name in fixed and e.dtype is x.dtype:
                        found.setdefault(x.name, set()).add(op)
    return found


def _arguments(value: Expr, names: set[str]) -> list[Variable]:
    return [
        e.args[0] for e in subexpressions((value,))
        if isinstance(e, Apply) and e.op in ("sin", "cos") and isinstance(e.args[0], Variable) and e.args[0].name in names
    ]


def _replaced(e: Expr, made: dict[tuple[str, str], Variable]) -> Expr:
    if not isinstance(e, Apply):
        return e
    if e.op in ("sin", "cos") and isinstance(e.args[0], Variable) and (e.op, e.args[0].name) in made:
        return made[e.op, e.args[0].name]
    args = tuple(_replaced(a, made) for a in e.args)
    return e if all(a is b for a, b in zip(args, e.args, strict=True)) else Apply(e.dtype, e.op, args)


def _with_value(s: Let | Declare | Assign | Store, value: Expr) -> Statement:
    if isinstance(s, Store):
        return Store(s.buffer, s.index, value)
    return type(s)(s.variable, value)


__all__ = ["Cut", "Segment", "cut", "used"]
