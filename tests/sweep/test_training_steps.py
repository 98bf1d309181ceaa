"""Training steps after every pass: what becomes of parameters and an optimizer's state, in the places where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import sympy

import gradgen as gg
from gradgen.compiler.pipeline import _training, schedule_options
from gradgen.ir.dtypes import float64
from gradgen.loops.draft import Draft
from gradgen.loops.laws import Verifier
from gradgen.loops.overwriting import written_last
from gradgen.loops.procedure import ARGUMENT, Place, Procedure
from gradgen.loops.statements import WORK, Buffer, Copy, CVar, Load, Loop, Statement, Store
from gradgen.options import Options
from gradgen.schedule import states
from gradgen.training.step import trainer_of, training
from tests.sweep.after_passes import Report, check_procedures, drafts
from tests.sweep.calls import Program

F = gg.nn.functional


def mlp(x: Any, t: Any, w1: Any, b1: Any, w2: Any) -> Any:
    out = gg.tanh(x @ w1 + b1) @ w2
    loss = F.cross_entropy(out, t)
    return loss, out


def tied(x: Any, w: Any) -> Any:
    """Each weight is read on both sides of its own gradient."""
    return (gg.tanh(x @ w @ w.T) - x).square().mean() + 0.1 * (w @ w).sum()


def shifted(x: Any, w: Any) -> Any:
    """Neighbours of a weight are read when it changes."""
    return (x * w).sum() + (w[1:] * w[:-1]).square().sum() + (w.flip(0) * w).sum()


def looked_up(x: Any, t: Any, b: Any, w: Any) -> Any:
    """What is no position is seen when b could have changed."""
    return (x * b).square().sum() + w[t].square().sum()


def windows(x: Any, k: Any, b: Any) -> Any:
    return F.conv2d(x, k, b, padding=1).relu().square().mean()


def scanned(xs: Any, w: Any) -> Any:
    last, _ = gg.scan(lambda h, x: (gg.tanh(h @ w + x), h.sum()), xs[0] * 0, xs)
    return last.square().sum()


PROGRAMS: dict[str, Callable[[], Any]] = {
    "mlp": lambda: gg.trace(mlp, x=gg.spec("N", 5), t=gg.spec("N", dtype=gg.int64), w1=gg.spec(5, 8, requires_grad=True),
                            b1=gg.spec(8, requires_grad=True), w2=gg.spec(8, 3, requires_grad=True)),
    "one sample": lambda: gg.trace(mlp, x=gg.spec(1, 33), t=gg.spec(1, dtype=gg.int64),
                                   w1=gg.spec(33, 20, requires_grad=True), b1=gg.spec(20, requires_grad=True),
                                   w2=gg.spec(20, 3, requires_grad=True)),
    "tied": lambda: gg.trace(tied, x=gg.spec(4, 6), w=gg.spec(6, 6, requires_grad=True)),
    "shifted": lambda: gg.trace(shifted, x=gg.spec(17), w=gg.spec(17, requires_grad=True)),
    "looked up": lambda: gg.trace(looked_up, x=gg.spec(7), t=gg.spec("N", dtype=gg.int64), b=gg.spec(7, requires_grad=True),
                                  w=gg.spec(3, requires_grad=True)),
    "windows": lambda: gg.trace(windows, x=gg.spec("N", 2, 5, 5), k=gg.spec(3, 2, 3, 3, requires_grad=True),
                                b=gg.spec(3, requires_grad=True)),
    "scan": lambda: gg.trace(scanned, xs=gg.spec(5, 3), w=gg.spec(3, 3, requires_grad=True)),
}
RECIPES: dict[str, Callable[[], Any]] = {
    "SGD": lambda: training(gg.optim.SGD(lr=0.1)),
    "clipped": lambda: training(gg.optim.SGD(lr=0.1, momentum=0.9), clip_norm=1.0),
    "Adam": lambda: training(gg.optim.Adam(lr=0.1)),
}


def steps(name: str, recipe: str, target: str) -> tuple[Program, tuple[Procedure, ...]]:
    program = PROGRAMS[name]()
    trainer = trainer_of(program, RECIPES[recipe](), predict=False)
    assert trainer.step is not None
    options = Options(target=target)
    found = tuple(replace(p, conditions=trainer.step.conditions) for p in _training(trainer, options))
    below = {"t": lambda dims: 3} if "t" in program.specs else {}
    return Program(f"{name}, {recipe}, {target}", trainer.step, options, below, positive=True), found


@pytest.mark.parametrize("target", ["portable", "native", "cortex-m4"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_after_every_pass(name: str, recipe: str, target: str) -> None:
    report = Report()
    program, procedures = steps(name, recipe, target)
    check_procedures(program, procedures, schedule_options(program.options), report, 4)
    assert report.runs and not report.wrong, "\n".join(report.wrong)


def test_in_their_places() -> None:
    """A step of plain SGD keeps no gradient and no copy of a parameter, but for what is read afterwards."""
    for name, kept in (("one sample", []), ("mlp", []), ("tied", []), ("shifted", ["next"])):
        program, (procedure,) = steps(name, "SGD", "cortex-m4")
        last = drafts(procedure, schedule_options(program.options), None)[-1][1]
        found = [s.source.name for s in last.statements if isinstance(s, Copy)]
        assert found == kept, name


def test_the_comparison_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the law, neighbours are read too late."""
    monkeypatch.setattr(states, "written_last", lambda *_: True)
    report = Report()
    program, procedures = steps("shifted", "SGD", "portable")
    check_procedures(program, procedures, schedule_options(program.options), report, 8)
    assert report.wrong


# --- the law by itself ------------------------------------------------------------------------------------------------

i, j = (CVar(n, integer=True, nonnegative=True) for n in "ij")
W = Buffer("w", float64, (8, 8), ARGUMENT, Place("w"), given=True)
NEW = Buffer("new", float64, (8, 8), WORK)
V = Buffer("v", float64, (8, 8), WORK)


def over(*body: Statement, rows: int = 8, start: int = 0) -> Loop:
    return Loop(i, start, rows, (Loop(j, 0, 8, body),))


def moved(to: Any, at: Any, target: Buffer = NEW) -> Store:
    return Store(target, sympy.sympify(to), Load(float64, W, sympy.sympify(at)))


CASES: dict[str, tuple[bool, Callable[[], Iterable[Statement]]]] = {
    "element by element": (True, lambda: [over(moved(8 * i + j, 8 * i + j))]),
    "in columns": (True, lambda: [over(moved(i + 8 * j, i + 8 * j))]),
    "read, then written": (True, lambda: [over(moved(8 * i + j, 8 * i + j, V)), over(moved(8 * i + j, 8 * i + j))]),
    "written, then read": (False, lambda: [over(moved(8 * i + j, 8 * i + j)), over(moved(8 * i + j, 8 * i + j, V))]),
    "the next one is read": (True, lambda: [over(moved(8 * i + j, 8 * i + j + 1), rows=7)]),
    "the one before is read": (False, lambda: [over(moved(8 * i + j, 8 * i + j - 1), start=1)]),
    "transposed": (False, lambda: [over(moved(8 * i + j, i + 8 * j))]),
    "a row is read, then written": (True, lambda: [Loop(i, 0, 8, (
        Loop(j, 0, 8, (moved(8 * i + 7 - j, 8 * i + j, V),)), Loop(j, 0, 8, (moved(8 * i + j, 8 * i + j),))))]),
    "the row before is read": (False, lambda: [Loop(i, 1, 8, (
        Loop(j, 0, 8, (moved(8 * i + j, 8 * i + j - 8, V),)), Loop(j, 0, 8, (moved(8 * i + j, 8 * i + j),))))]),
    "halves apart": (True, lambda: [over(moved(8 * i + j, 8 * i + j), rows=4),
                                    over(moved(8 * i + j, 8 * i + j, V), start=4)]),
    "in threads": (False, lambda: [replace(over(moved(8 * i + j, 8 * i + j + 1), rows=7), parallel=2)]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_law(name: str) -> None:
    expected, made = CASES[name]
    verifier = Verifier(Draft(Procedure("run", (), {}), str, (W, NEW, V), tuple(made())))
    verifier.touch()
    assert written_last(verifier.accesses, W, NEW) is expected
