"""Long straight-line procedures in pieces: functions of bounded length, which compilers take linear time for.

gcc's time grows faster than the length of a function: 34 s for one of 10,000 statements.  A piece computes in locals; a
value that a later piece needs is stored once, in an array in WORK, and loaded once by each piece that needs it.
(Memory to memory, statement by statement, would be slower to compile and to run than one long function.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sympy

from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.symbols import Dim
from gradgen.loops.draft import Draft
from gradgen.loops.needs import needs
from gradgen.loops.statements import (
    LOCAL,
    WORK,
    Apart,
    Apply,
    Assign,
    Buffer,
    Call,
    Comment,
    Declare,
    Expr,
    Let,
    Load,
    Loop,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import (
    PORTABLE,
    Rewriting,
    blocks,
    buffers,
    expressions,
    index_symbols,
    mapped,
    parts_in,
    renamed,
    statements_in,
    subexpressions,
    used,
)

LONG = 1200  # statements from which on a procedure is cut
LENGTH = 400  # statements of a piece, about
SHORT = 40  # a run of fewer statements stays where it is


def in_functions(draft: Draft) -> Draft:
    """Chunks of loops and pieces of a long procedure as functions of their own."""
    statements = _in_chunks(draft.statements)
    buffers = draft.buffers
    if sum(not isinstance(s, Comment) for s in statements) >= LONG:
        runs = list(_runs(_sines_apart(statements)))
        if any(piece for _, piece in runs):
            statements, arrays = _Live(runs).cut()
            buffers = (*buffers, *arrays)
    return draft if statements is draft.statements else replace(draft, statements=statements, buffers=buffers)


def _in_chunks(block: tuple[Statement, ...]) -> tuple[Statement, ...]:
    made = tuple(
        replace(s, body=(Apart("chunk", s.body),)) if isinstance(s, Loop) and s.parallel else mapped(s, block=_in_chunks)
        for s in block
    )
    return block if all(a is b for a, b in zip(made, block, strict=True)) else made


def _assigned(run: Iterable[Statement]) -> set[str]:
    """The variables that statements give another value."""
    found = {s.variable.name for s in statements_in(run) if isinstance(s, Assign)}
    return found | {s.result.name for s in statements_in(run) if isinstance(s, Call) and s.result is not None}


def _movable(s: Statement) -> bool:
    """Whether the statement can stand in a function of its own."""
    return all(type(p) in PORTABLE and not (isinstance(p, Loop) and p.parallel) for p in parts_in((s,)))


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
        self.needs = [needs(run) for run, _ in runs]
        self.types: dict[str, DType] = {}
        self.home: dict[str, int] = {}  # the run that declares it
        self.changes: list[set[str]] = []  # variables of other runs that a run assigns
        for k, (run, _) in enumerate(runs):
            for s in run:
                if isinstance(s, (Let, Declare)):
                    self.home[s.variable.name], self.types[s.variable.name] = k, s.variable.dtype
            self.changes.append(_assigned(run) - self.needs[k].own)
        self.tests = _tests(s for run, _ in runs for s in run)
        self.changing = {name for names in self.changes for name in names}
        self.declared = {s.variable.name for run, _ in runs for s in run if isinstance(s, Declare)}
        self.slots: dict[str, tuple[Buffer, int]] = {}
        self.arrays: dict[str, Buffer] = {}
        self.lengths: dict[Buffer, int] = {}

    def cut(self) -> tuple[tuple[Statement, ...], list[Buffer]]:
        """The statements with pieces, and the arrays of live values."""
        for k in range(len(self.runs)):
            for name in self.needs[k].scalars:
                if name in self.tests or name not in self.home or self.home[name] == k:
                    continue
                if not self._both_stay(k, self.home[name], name):
                    self._slot(name)
        made: list[Statement] = []
        here: set[str] = set()  # declared in the procedure itself
        for k, (run, piece) in enumerate(self.runs):
            statements = self._with_live(k, run, piece, here)
            if piece:
                made.append(Apart("piece", statements))
            else:
                made += statements
                here |= {n for n, home in self.home.items() if home == k}
        arrays = {b: Buffer(b.name, b.dtype, (length,), WORK) for b, length in self.lengths.items()}
        return renamed(made, arrays, {}), list(arrays.values())

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
            if self.home.get(name, k) == k:
                continue
            if name in self.tests and (piece or name not in here):
                found[name] = Let(Variable(self.types[name], name), self.tests[name])
                if not piece:
                    here.add(name)
            if name not in self.slots:
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
                for name in needs((s,)).scalars:
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


def _tests(statements: Iterable[Statement]) -> dict[str, Expr]:
    """What is asked of the arguments, by the local that holds it: asked again in each piece, rather than kept in memory."""
    found: dict[str, Expr] = {}
    leaf = Rewriting(leaf=lambda e: found.get(e.name, e) if isinstance(e, Variable) else e)
    for s in statements:
        if isinstance(s, Let) and s.variable.dtype is bool_:
            value = leaf.expr(s.value)
            if all(_asks(e) for e in subexpressions((value,))):
                found[s.variable.name] = value
    return found


def _asks(e: Expr) -> bool:
    """It depends on nothing but arguments' being there, flags and dimensions."""
    if isinstance(e, Apply):
        return e.op in ("and_", "or_", "not_")
    mentioned = (*used(e), *buffers(e), *(s for s in index_symbols(e) if not isinstance(s, Dim)))
    return e.dtype is bool_ and not mentioned


def _sines_apart(statements: Sequence[Statement]) -> list[Statement]:
    """Sine and cosine of one variable as variables of their own where both are taken: they are computed together even
    where the second is needed in another piece."""
    fixed = {s.variable.name for s in statements if isinstance(s, Let)}
    taken: dict[str, set[str]] = {}
    angles: dict[Statement, list[Variable]] = {}
    for s in statements:
        for e in subexpressions(_own(s)):
            angle = _angle(e)
            if angle is not None:
                angles.setdefault(s, []).append(angle)
                if angle.name in fixed and e.dtype is angle.dtype:
                    taken.setdefault(angle.name, set()).add(e.op)  # type: ignore[attr-defined]
    both = {name for name, ops in taken.items() if len(ops) == 2}
    if not both:
        return list(statements)
    made: dict[tuple[str, str], Variable] = {}
    found: list[Statement] = []

    def replaced(e: Expr) -> Expr:
        angle = _angle(e)
        return e if angle is None else made.get((e.op, angle.name), e)  # type: ignore[attr-defined]

    change = Rewriting(leaf=replaced)
    for s in statements:
        for x in angles.get(s, ()):
            if x.name in both and ("sin", x.name) not in made:
                for op in ("sin", "cos"):
                    made[op, x.name] = Variable(x.dtype, f"gg_{op}_of_{x.name}")
                    found.append(Let(made[op, x.name], Apply(x.dtype, op, (x,))))
        found.append(mapped(s, expr=change.expr) if s in angles and made else s)
    return found


def _own(s: Statement) -> tuple[Expr, ...]:
    """The expressions of a statement that has none inside it."""
    return () if blocks(s) else expressions(s)


def _angle(e: Expr) -> Variable | None:
    """The local whose sine or cosine an expression is."""
    of = e.args[0] if isinstance(e, Apply) and e.op in ("sin", "cos") else None
    return of if isinstance(of, Variable) else None


def _is_cosine(s: Statement) -> bool:
    """The second of a pair that `_sines_apart` made: it stays with the first."""
    return isinstance(s, Let) and s.variable.name.startswith("gg_cos_of_")


__all__ = ["in_functions"]
