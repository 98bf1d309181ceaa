"""Random programs (tape_programs.py) run three ways: by PyTorch, by eager gradgen, and as a traced graph.

    python -m tests.fuzz.three_way --programs 100000 --through-c 3000 [--first 0]

Values and gradients must agree.  Where PyTorch raises, eager use raises and the trace is refused; where it does not, a trace
may be refused for the reasons in REFUSALS only, which a graph cannot say.  Mismatches are printed with as few statements as
show them; a range of seeds can be gone on with by --first.  Eager programs and traced graphs are run by the interpreter of
graphs; of those --through-c, many are compiled into one module.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gradgen as gg
from gradgen.autodiff import gradients
from gradgen.compiler import runner as compiled
from gradgen.errors import GradgenError
from gradgen.ir.nodes import Constant
from gradgen.reference.interpreter import evaluate
from tests.fuzz.tape_programs import SHAPE, Program, grow

REFUSALS = ("the caller's tensor would stay as it is", "the caller's stays as it is", "a hook",
            "saved for backward was changed in place",
            "known at run time only", "assigned where another does", "depends on the mask's values")
RTOL = 1e-9
"""A dozen smooth float64 operations on numbers of order 1, in any order of summation."""
PER_MODULE = 20


@dataclass(frozen=True)
class Outcome:
    """Value and gradients by both arguments, or the error."""

    value: Any = None
    gradients: tuple[np.ndarray, ...] = ()
    error: Exception | None = None

    def differs(self, other: Outcome) -> bool:
        found, wanted = [self.value, *self.gradients], [other.value, *other.gradients]
        return not all(np.allclose(a, b, rtol=RTOL, atol=RTOL, equal_nan=True) for a, b in zip(found, wanted, strict=True))

    def __str__(self) -> str:
        if self.error is not None:
            return f"{type(self.error).__name__}: {str(self.error)[:200]}"
        return f"{np.asarray(self.value)} {[g.tolist() for g in self.gradients]}"


def on_tape(program: Program, T: Any) -> Outcome:
    """The program as it is written, and backward()."""
    before = T.is_grad_enabled()
    try:
        leaves = [T.tensor(a, requires_grad=True) for a in program.arguments()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = program.loss(T, *leaves)
            loss.backward()
        grads = tuple(np.zeros(SHAPE) if x.grad is None else np.array(x.grad.detach().numpy()) for x in leaves)
        return Outcome(np.array(loss.detach().numpy()), grads)
    except Exception as error:
        return Outcome(error=error)
    finally:
        T.set_grad_enabled(before)


def traced(program: Program) -> Any:
    """The program as a graph of its two arguments; raises what tracing raises."""
    before = gg.is_grad_enabled()
    spec = gg.spec(*SHAPE, dtype=gg.float64, requires_grad=True)
    try:
        return gg.trace(lambda x0, x1: program.loss(gg, x0, x1), x0=spec, x1=spec, check=False)
    finally:
        gg.set_grad_enabled(before)


def as_graph(program: Program) -> Outcome:
    """The traced graph and its derivative, interpreted."""
    try:
        graph = traced(program).graph
        found = gradients(graph.outputs, [Constant(1.0)], list(graph.inputs))
        values = dict(zip(graph.inputs, program.arguments()))
        nodes = [*graph.outputs, *(g for g in found if g is not None)]
        value, *rest = evaluate(nodes, values)
        grads = iter(rest)
        return Outcome(value, tuple(np.zeros(SHAPE) if g is None else next(grads) for g in found))
    except Exception as error:
        return Outcome(error=error)


@contextmanager
def interpreted() -> Iterator[None]:
    """Inside, eager values are computed by the interpreter of graphs: nothing is compiled."""
    from gradgen.eager import engine

    kept = engine._runners, compiled.remembered, compiled.runner
    engine._runners = {}
    compiled.remembered = lambda structure: None  # type: ignore[assignment]
    compiled.runner = (  # type: ignore[assignment]
        lambda outputs, given, where, structure="": lambda values: evaluate(outputs, dict(zip(given, values)))
    )
    try:
        yield
    finally:
        engine._runners, compiled.remembered, compiled.runner = kept


def judged(program: Program, torch: Any = None) -> tuple[str, str]:
    """("right" | "raises" | "refused" | "wrong", what is wrong); without PyTorch, eager use is the judge."""
    engine_runners()
    eager = on_tape(program, gg)
    wanted = on_tape(program, torch) if torch is not None else eager
    graph = as_graph(program)
    if wanted.error is not None:
        if isinstance(wanted.error, (SyntaxError, NameError)):
            return "raises", ""
        for name, found in (("eager", eager), ("trace", graph)):
            if found.error is None or _internal(found.error):
                return "wrong", f"PyTorch raises {wanted}\n{name} gives {found}"
        return "raises", ""
    if eager.error is not None and REFUSALS[3] in str(eager.error):  # the derivative reads another value than PyTorch's
        return "refused", str(eager.error)
    if eager.error is not None or eager.differs(wanted):
        return "wrong", f"PyTorch gives {wanted}\neager gives {eager}"
    if graph.error is not None:
        allowed = isinstance(graph.error, GradgenError) and any(r in str(graph.error) for r in REFUSALS)
        return ("refused", str(graph.error)) if allowed else ("wrong", f"PyTorch gives {wanted}\nthe trace raises {graph}")
    if graph.differs(wanted):
        return "wrong", f"PyTorch gives {wanted}\nthe trace gives {graph}"
    return "right", ""


def engine_runners() -> None:
    """Code of other programs is let go: no two have a structure in common."""
    from gradgen.eager import engine

    if len(engine._runners) > 2000:
        engine._runners.clear()


def _internal(error: Exception) -> bool:
    """Whether an error is a fault of the program's author rather than what a user should see."""
    return isinstance(error, (AttributeError, KeyError, AssertionError, NotImplementedError))


def smallest(program: Program, torch: Any) -> Program:
    """The program with as few statements as are still wrong."""
    k = len(program.statements) - 1
    while k >= 0:
        shorter = program.without(k)
        if judged(shorter, torch)[0] == "wrong":
            program = shorter
        k -= 1
    return program


def through_c(programs: list[Program], folder: Path) -> list[str]:
    """What the compiled C of all programs in one module gives differently from eager use."""
    spec = gg.spec(*SHAPE, dtype=gg.float64, requires_grad=True)
    names = [f"x{k}_{side}" for k in range(len(programs)) for side in range(2)]

    def run(*xs: Any) -> Any:
        return gg.stack([p.loss(gg, *xs[2 * k : 2 * k + 2]) for k, p in enumerate(programs)])

    scope: dict[str, Any] = {"run": run}
    exec(f"def model({', '.join(names)}):\n    return run({', '.join(names)})\n", scope)
    program = gg.trace(scope["model"], outputs=["losses"], **dict.fromkeys(names, spec))
    values = [a for p in programs for a in p.arguments()]
    module = gg.build(program, name="tapes", out=folder).Module(**dict(zip(names, values)))
    losses = module.forward()
    module.backward(gradient=np.ones(len(programs)))
    wrong = []
    for k, p in enumerate(programs):
        grads = tuple(np.asarray(getattr(module.grad, f"x{k}_{side}")) for side in range(2))
        found, wanted = Outcome(np.asarray(losses)[k], grads), on_tape(p, gg)
        if found.differs(wanted):
            wrong.append(f"{p.source}eager gives {wanted}\nC gives {found}")
    return wrong


def compilable(seeds: Iterator[int]) -> Iterator[Program]:
    """The programs of the seeds that PyTorch and a trace take."""
    for seed in seeds:
        program = grow(seed)
        if on_tape(program, gg).error is None and as_graph(program).error is None:
            yield program


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=1000, help="how many are interpreted")
    parser.add_argument("--through-c", type=int, default=0, help="how many are compiled")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    asked = parser.parse_args(arguments)
    torch = torch_if_there()
    count: Counter[str] = Counter()
    wrong = 0
    with interpreted():
        for seed in range(asked.first, asked.first + asked.programs):
            kind, text = judged(grow(seed), torch)
            count[kind] += 1
            if kind == "refused":
                count[next(f"refused: {r}" for r in REFUSALS if r in text)] += 1
            if kind == "wrong":
                wrong += 1
                program = smallest(grow(seed), torch)
                print(f"--- seed {seed}\n{program.source}{judged(program, torch)[1]}", flush=True)
            if (seed + 1) % 1000 == 0:
                print(f"{seed + 1}: {dict(count)}", flush=True)
    wrong += _compiled(asked.through_c, asked.first)
    print(f"programs {asked.first} to {asked.first + asked.programs}: {dict(count)}; {wrong} wrong")
    return 1 if wrong else 0


def _compiled(number: int, first: int) -> int:
    wrong = done = 0
    with interpreted():
        source = compilable(iter(range(first, first + 100 * number + 1)))
        while done < number:
            batch = [next(source) for _ in range(min(PER_MODULE, number - done))]
            with tempfile.TemporaryDirectory() as folder:
                found = through_c(batch, Path(folder))
            done += len(batch)
            wrong += len(found)
            print(*found, f"through C: {done}", sep="\n", flush=True)
    return wrong


def torch_if_there() -> Any:
    """PyTorch on one thread, or None."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    return torch


if __name__ == "__main__":
    os.environ.setdefault("CFLAGS", "-O1")
    sys.exit(main(sys.argv[1:]))
