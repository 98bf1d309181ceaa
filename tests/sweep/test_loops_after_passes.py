"""The interpreter of loops behind every pass of the scheduler, against the graph interpreter; and passes broken on purpose,
which it must name.  `python -m tests.sweep loops` makes all the calls that are a sample here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy

import gradgen.schedule
import gradgen.schedule.threads
from gradgen.errors import GradgenError
from gradgen.ir.dtypes import float64
from gradgen.ir.guards import Condition
from gradgen.loops import walk
from gradgen.loops.procedure import Place, Procedure
from gradgen.loops.statements import (
    ARGUMENT,
    WORK,
    Apply,
    Buffer,
    Comment,
    CVar,
    Expr,
    If,
    Let,
    Literal,
    Load,
    Loop,
    Statement,
    Store,
    Variable,
)
from gradgen.passes import unobserved
from gradgen.reference.loop_interpreter import Fault, Loops, Request
from gradgen.reference.translation import Writer
from gradgen.schedule import ScheduleOptions
from tests.sweep import generated
from tests.sweep.after_passes import Report, check, check_procedures
from tests.sweep.programs import CASES

CALLS = 8  # of each function after each pass, beside one for each set of dimensions


@pytest.mark.parametrize("name", CASES)
def test_programs(name: str) -> None:
    report = Report()
    check(CASES[name].program, report, CALLS)
    assert report.runs and not report.wrong, "\n".join(report.wrong)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_procedures(first: int) -> None:
    report = Report()
    for seed in range(first, first + 20):
        program, procedure = generated.plain(seed)
        check_procedures(program, (procedure,), ScheduleOptions(), report, CALLS)
    assert report.runs and not report.wrong, "\n".join(report.wrong)


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_random_gradients(first: int) -> None:
    report = Report()
    for seed in range(first, first + 10):
        check(generated.differentiable(seed), report, CALLS)
    assert report.runs and not report.wrong, "\n".join(report.wrong)


def test_every_kind_is_known() -> None:
    statement, expression = (vars(Writer)[n].dispatcher.registry for n in ("statement", "expr"))
    assert {k for k in walk.ROWS if issubclass(k, Statement)} - {Comment} <= set(statement)
    assert {k for k in walk.ROWS if issubclass(k, Expr)} <= set(expression)


# --- single statements ------------------------------------------------------------------------------------------------

i = CVar("i", integer=True, nonnegative=True)
X, Y = (Buffer(n, float64, (4,), ARGUMENT, Place(n, optional=n == "y"), given=n == "x") for n in "xy")
V = Buffer("v", float64, (4,), WORK)
ONE = Literal(float64, sympy.S.One)


def copied(**changes: Any) -> Loop:
    """`for i in 0..4: y[i] = x[i]`."""
    made = Loop(i, 0, 4, (Store(Y, i, Load(float64, X, i)),))
    return replace(made, **changes)


def run(*statements: Statement, unwanted: str = "") -> np.ndarray:
    procedure = Procedure("run", (), {})
    request = Request({}, {"x": np.arange(4.0)}, unwanted=frozenset([unwanted]))
    return Loops(procedure, statements).run(request).arrays["y"]


def test_a_copy() -> None:
    assert run(copied()).tolist() == [0, 1, 2, 3]


FAULTS: dict[str, tuple[Callable[[], Iterable[Statement]], str]] = {
    "reads behind the end": (lambda: [copied(stop=5)], r"reads x\[4\], which has 4 elements\n  where: y\[i\] = x\[i\]"),
    "reads before the start": (lambda: [copied(start=-1)], r"reads x\[-1\]"),
    "writes behind the end": (lambda: [copied(body=(Store(Y, 2 * i, ONE),))], r"writes y\[4\], which has 4 elements"),
    "leaves something out": (lambda: [copied(stop=3)], r"nobody wrote y\[3\]"),
    "reads what nobody wrote": (lambda: [copied(body=(Store(Y, i, Load(float64, V, i)),))], r"reads v\[0\], which nobody"),
    "writes what is const": (lambda: [Store(X, sympy.S.Zero, ONE), copied()], r"writes x\[0\], which is const"),
    "depends on the step before": (
        lambda: [Store(Y, sympy.S.Zero, ONE),
                 copied(start=1, simd=True, body=(Store(Y, i, Load(float64, Y, i - 1)),))],
        r"iteration 2 reads y\[1\], which iteration 1 wrote"),
    "uses what is out of scope": (
        lambda: [copied(body=(Let(Variable(float64, "t"), ONE), Store(Y, i, ONE))), Store(Y, i, Variable(float64, "t"))],
        "i is not in scope"),
    "takes an integer for a real number": (
        lambda: [copied(body=(Store(Y, i, Apply(float64, "no such function", (ONE,))),))], "does not know"),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_faults(what: str) -> None:
    statements, said = FAULTS[what]
    with pytest.raises(GradgenError, match=said):
        run(*statements())


def test_null() -> None:
    with pytest.raises(Fault, match=r"writes y\[0\], which is NULL"):
        run(copied(), unwanted="y")


def test_a_guard_that_fails_touches_nothing() -> None:
    guard = (Condition("ge", 2 - i),)
    value = Load(float64, X, 10 * i, (Condition("ge", -i),), sympy.Integer(7))
    assert run(copied(body=(Store(Y, i, value),))).tolist() == [0, 7, 7, 7]
    with pytest.raises(Fault, match=r"reads x\[10\]"):
        run(copied(body=(Store(Y, i, replace(value, guard=guard)),)))


# --- broken passes ----------------------------------------------------------------------------------------------------

Block = tuple[Statement, ...]


def changed(block: Iterable[Statement], change: Callable[[Statement], Iterable[Statement]]) -> Block:
    """Every statement replaced, from the inside."""
    found: list[Statement] = []
    for s in block:
        if isinstance(s, Loop):
            s = replace(s, body=changed(s.body, change))
        elif isinstance(s, If):
            s = replace(s, body=changed(s.body, change), otherwise=changed(s.otherwise, change))
        found += change(s)
    return tuple(found)


def once(test: Callable[[Statement], bool], to: Callable[[Statement], Iterable[Statement]]) -> Callable[[Block], Block]:
    """The first statement that passes the test is replaced."""
    def apply(block: Block) -> Block:
        done = False

        def change(s: Statement) -> Iterable[Statement]:
            nonlocal done
            if done or not test(s):
                return (s,)
            done = True
            return to(s)

        return changed(block, change)

    return apply


def is_store(s: Statement) -> bool:
    return isinstance(s, Store)


def longer(s: Any) -> Iterable[Statement]:
    return (replace(s, stop=s.stop + 1),)


def shifted(e: Expr) -> Expr:
    if isinstance(e, Load):
        return replace(e, index=e.index + 1)
    return Apply(e.dtype, e.op, tuple(shifted(a) for a in e.args)) if isinstance(e, Apply) else e


def nested(s: Statement) -> bool:
    return isinstance(s, Loop) and any(isinstance(t, Store) for t in s.body)


def lanes_of_all(s: Statement) -> Iterable[Statement]:
    """The last block of lanes writes as many results as the others."""
    if isinstance(s, Let) and s.variable.name.startswith("rest"):
        return (replace(s, value=Literal(s.variable.dtype, sympy.Integer(16))),)
    return (s,)


def unasked(s: Statement) -> Iterable[Statement]:
    return s.body if isinstance(s, If) else (s,)


BROKEN: list[tuple[str, str, str, Callable[[Block], Block], str]] = [
    # program, pass, the function of it, what is done to its result, what must be said
    ("two_layers", "unroll", "unroll", once(is_store, lambda s: ()), "nobody wrote"),
    ("borders", "peel", "peel", once(nested, longer), "which has"),
    ("statistics", "flatten", "flatten", once(is_store, lambda s: ()), "nobody wrote"),
    ("scan_of_a_stack", "loads", "unconditional", once(is_store, lambda s: (replace(s, value=shifted(s.value)),)), "element"),
    ("many_rotations", "lanes", "lanes", lambda b: changed(b, lanes_of_all), "which has"),
    ("four_outputs", "conditions", "merge_conditions", lambda b: changed(b, unasked), "which is NULL"),
    ("golden_pointwise", "reciprocals", "reciprocals",
     once(is_store, lambda s: (replace(s, value=Apply(s.buffer.dtype, "neg", (s.value,))),)), "instead of"),
    ("golden_reduction", "straight", "straighten", lambda b: tuple(reversed(b)), "scope"),
    ("scan_with_constant_carry", "registers", "in_registers", once(nested, lambda s: (s, s)), "instead of"),
]


@pytest.fixture
def only_interpreted() -> Iterator[None]:
    """Without the verifiers, which would name most of these faults first."""
    with unobserved():
        yield


@pytest.mark.usefixtures("only_interpreted")
@pytest.mark.parametrize("name, broken, function, how, said", BROKEN, ids=[b[1] for b in BROKEN])
def test_a_broken_pass_is_named(
    name: str, broken: str, function: str, how: Callable[[Block], Block], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(gradgen.schedule, function)
    monkeypatch.setattr(gradgen.schedule, function, lambda block, *rest: how(right(block, *rest)))
    report = Report()
    check(CASES[name].program, report, 40)
    assert report.wrong and f"after {broken}:" in report.wrong[0] and said in "".join(report.wrong), report.wrong


@pytest.mark.usefixtures("only_interpreted")
def test_memory_that_is_reused_too_early_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every buffer at the start of WORK."""
    right = gradgen.schedule.plan_work

    def plan(buffers: Iterable[Buffer], *rest: Any) -> Any:
        offsets, size = right(buffers, *rest)
        return dict.fromkeys(offsets, 0), size

    monkeypatch.setattr(gradgen.schedule, "plan_work", plan)
    report = Report()
    check(CASES["two_layers"].program, report, 4)
    assert "after memory:" in report.wrong[0] and "nobody wrote since" in report.wrong[0], report.wrong


CHUNKED = ["chunks_of_products", "threads_in_a_small_batch", "two_layers", "mixture", "classifier", "gather_and_scatter",
           "statistics"]


def chunked(name: str, monkeypatch: pytest.MonkeyPatch) -> Report:
    """A program in three chunks, which are cut from the first item on."""
    monkeypatch.setattr(gradgen.schedule.threads, "WORTH", 1.0)
    report, program = Report(), CASES[name].program
    check_procedures(program, program.stages.procedures, ScheduleOptions(threads=3), report, 6)
    return report


@pytest.mark.parametrize("name", CHUNKED)
def test_chunks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    report = chunked(name, monkeypatch)
    assert report.runs and not report.wrong, "\n".join(report.wrong)


@pytest.mark.usefixtures("only_interpreted")
def test_chunks_that_write_the_same_element_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gradgen.schedule.run_in_threads
    shared = Buffer("shared", float64, (1,), WORK)

    def all_at_once(s: Statement) -> Iterable[Statement]:
        if isinstance(s, Loop) and s.parallel:
            return (replace(s, body=(Store(shared, sympy.S.Zero, ONE), *s.body)),)
        return (s,)

    def broken(statements: Block, buffers: list[Buffer], *rest: Any) -> Any:
        made, buffers, notes = right(statements, buffers, *rest)
        return changed(made, all_at_once), [*buffers, shared], notes

    monkeypatch.setattr(gradgen.schedule, "run_in_threads", broken)
    wrong = chunked("threads_in_a_small_batch", monkeypatch).wrong[0]
    assert "after threads:" in wrong and "iteration 1 writes shared[0], which iteration 0 wrote" in wrong, wrong
