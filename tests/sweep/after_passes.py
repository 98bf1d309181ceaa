"""After every pass of the scheduler: the interpreter of loops must give what the graph interpreter gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradgen.compiler.pipeline import schedule_options
from gradgen.errors import GradgenError
from gradgen.loops.draft import Draft
from gradgen.loops.procedure import SAVED, Procedure
from gradgen.passes import Pass, observed
from gradgen.reference.loop_interpreter import OK, Loops, Outcome, Request
from gradgen.schedule import ScheduleOptions, saved_layout, schedule
from tests.sweep import calls
from tests.sweep.calls import Expected, Program

INDEX = "GRADGEN_ERR_INDEX"


@dataclass
class Report:
    """What was run, and what was wrong, a line each; the first fault of a procedure after a pass stands for its others."""

    programs: int = 0
    runs: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """One call and what it must give."""

    request: Request
    want: Mapping[str, np.ndarray]
    status: str = OK

    def wrong(self, outcome: Outcome, added: set[str]) -> str:
        """Nothing, or what is wrong with the outcome."""
        if outcome.status != self.status:
            return f"status {outcome.status} instead of {self.status}"
        for name, array in outcome.arrays.items():
            target = self.want[name]
            if name in added and not self.request.set_grad:
                target = target + self.request.old[name]
            found = calls.disagreement(array, target)
            if found:
                return f"{name}: {found}"
        return ""

    def plain(self) -> bool:
        """Everything is there."""
        r = self.request
        return not r.unwanted and not r.set_grad and r.saved is not None and all(v is not None for v in r.values.values())

    def label(self) -> str:
        null = sorted({*self.request.unwanted, *(n for n, v in self.request.values.items() if v is None)})
        null += ["SAVED"] if self.request.saved is None else []
        return f"dims {dict(self.request.dims)}, NULL {null}{', set' if self.request.set_grad else ''}"


def drafts(procedure: Procedure, options: ScheduleOptions, layout: Any) -> list[tuple[str, Draft]]:
    """The statements behind every pass, with the pass that made them."""
    found: list[tuple[str, Draft]] = []

    def look(one: Pass[Any], _: Any, after: Any) -> None:
        if isinstance(after, Draft) and after.procedure.given is procedure.given:  # a target may have marked its outputs
            found.append((one.name, after))

    with observed(look):
        schedule(procedure, options, layout)
    return found


def loops_of(draft: Draft) -> Loops:
    """The statements, ready to run, in the memory that is planned if it is; results that nothing mentions are missed, too."""
    if draft.layout is None:
        return Loops(draft.procedure, draft.statements, [b for b in draft.buffers if b.place is not None])
    return Loops(draft.procedure, draft.statements, draft.buffers, draft.layout)


def calls_of(
    program: Program, procedure: Procedure, dims_of: Sequence[str], kept: Mapping[str, Any],
    sizes: Sequence[int] = calls.SIZES,
) -> Iterator[Call]:
    """The calls of one procedure; `kept` is what forward left in SAVED, by the text of the dimensions."""
    added = calls.accumulated(procedure)
    reads_saved = any(p.space == SAVED for p in procedure.given.values())
    writes_saved = any(o.place.space == SAVED for o in procedure.outputs)
    for dims in calls.assignments(dims_of, program.sizes or sizes):
        if not program.fits(dims) or (reads_saved and str(dims) not in kept):
            continue
        values = calls.values_of(program, procedure, dims)
        expected = Expected(procedure, dims, values)
        saved = kept[str(dims)] if reads_saved else {}
        names = calls.optional(procedure)
        for null in calls.subsets(names):
            try:
                want, status = expected.without(null), OK
            except IndexError:
                if null:
                    continue
                want, status = {}, INDEX
            given = {n: None if n in null else v for n, v in values.items()}
            old = calls.old_values(procedure, dims)
            yield Call(Request(dims, given, old, null, saved, bool(null)), want, status)
            if not null and added:
                yield Call(Request(dims, given, old, null, saved, True), want, status)
        for wrong in () if reads_saved else calls.outside(program, values):
            given = {**values, **wrong}
            try:
                want, status = Expected(procedure, dims, given).without(frozenset()), OK
            except IndexError:
                want, status = {}, INDEX
            yield Call(Request(dims, given, calls.old_values(procedure, dims), set_grad=True), want, status)
        if writes_saved:
            yield Call(Request(dims, values, calls.old_values(procedure, dims), saved=None), expected.without(frozenset()))


def few(todo: list[Call], most: int) -> list[Call]:
    """The plain calls, which keep what backward needs, and others as far as there is room, spread evenly."""
    plain = [c for c in todo if c.plain()]
    others = [c for c in todo if not c.plain()]
    room = max(most - len(plain), 2)
    return plain + (others if len(others) <= room else [others[k * len(others) // room] for k in range(room)])


def check(program: Program, report: Report, most: int = 10**6) -> None:
    """All functions of a program, after every pass; `most` calls of each after each."""
    check_procedures(program, program.stages.procedures, schedule_options(program.options), report, most)


def check_procedures(
    program: Program, procedures: Sequence[Procedure], options: ScheduleOptions, report: Report, most: int = 10**6
) -> None:
    report.programs += 1
    layout, dims = saved_layout(procedures), calls.dims_of(procedures)
    kept: dict[str, Any] = {}
    for procedure in procedures:
        todo = few(list(calls_of(program, procedure, dims, kept)), most)
        before = ""
        for name, draft in drafts(procedure, options, layout):
            where = f"{program.name}: {procedure.name} after {name}"
            try:
                loops = loops_of(draft)
            except GradgenError as fault:
                report.wrong.append(f"{where}: {fault}")
                break
            text = loops.text()
            if (text != before or name == "memory") and not run(loops, todo, where, report, kept):
                break
            before = text


def run(loops: Loops, todo: list[Call], where: str, report: Report, kept: dict[str, Any]) -> bool:
    """Makes the calls; False after the first that is wrong."""
    added = calls.accumulated(loops.procedure)
    for call in todo:
        report.runs += 1
        try:
            outcome = loops.run(call.request)
            wrong = call.wrong(outcome, added)
        except GradgenError as fault:
            wrong = str(fault)
        if wrong:
            report.wrong.append(f"{where}: {wrong}\n  {call.label()}")
            return False
        if outcome.saved and call.request.saved is not None:
            kept[str(dict(call.request.dims))] = outcome.saved
    return True


__all__ = ["Call", "Report", "calls_of", "check", "check_procedures", "drafts", "few", "loops_of", "run"]
