"""Scheduling: a Procedure becomes a Program.  The passes over statements in their order, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.draft import Draft
from gradgen.loops.procedure import Output, Place, Procedure
from gradgen.loops.program import Program
from gradgen.loops.stack import deepest
from gradgen.loops.statements import SAVED, Buffer, Layout, Statement
from gradgen.passes import Pass, fold
from gradgen.schedule.allowed import NO_PASSES, PASSES, ScheduleOptions
from gradgen.schedule.called import with_names
from gradgen.schedule.conditions import merge_conditions
from gradgen.schedule.emit import emitted
from gradgen.schedule.emit_plan import planned
from gradgen.schedule.flatten import flatten
from gradgen.schedule.in_place import in_place
from gradgen.schedule.lanes import lanes
from gradgen.schedule.loads import unconditional
from gradgen.schedule.matrix_kernel import with_kernels
from gradgen.schedule.memory import (
    Life,
    SavedLayout,
    aligned,
    fits,
    lifetimes,
    plan_work,
    saved_layout,
    with_one_scratch,
)
from gradgen.schedule.outline import SharedNests
from gradgen.schedule.peel import peel
from gradgen.schedule.pieces import in_functions
from gradgen.schedule.preparation import prepared
from gradgen.schedule.reciprocals import reciprocals
from gradgen.schedule.registers import in_registers
from gradgen.schedule.running import with_parts
from gradgen.schedule.states import copied_last, in_their_places
from gradgen.schedule.straight import straighten
from gradgen.schedule.stretches import in_stretches
from gradgen.schedule.threads import run_in_threads
from gradgen.schedule.unroll import unroll

__all__ = ["NO_PASSES", "PASSES", "Output", "Place", "Procedure", "Program", "SavedLayout", "ScheduleOptions",
           "saved_layout", "schedule", "schedule_module"]

_RESERVED = ("saved", "work", "flags", "seed", "step", "NULL", "INFINITY", "NAN")

Statements = tuple[Statement, ...]
Fresh = Callable[[str], str]


def schedule(
    procedure: Procedure, options: ScheduleOptions | None = None, saved: SavedLayout | None = None
) -> Program:
    """Loops, memory and order of one procedure that is a module of its own.

    `saved` is the layout of SAVED; without it the procedure's own.
    """
    (program,) = schedule_module([procedure], options, saved)
    return program


def schedule_module(
    procedures: Sequence[Procedure], options: ScheduleOptions | None = None, saved: SavedLayout | None = None
) -> list[Program]:
    """Loops, memory and order of the procedures of a module, which share the layout of SAVED and the nests that are equal."""
    options = options or ScheduleOptions()
    saved = saved or saved_layout(procedures)
    drafts = [_draft(p, options) for p in procedures]
    last = list(_last_passes(drafts, options, saved))
    return [replace(fold(last, d).program(), target=options.target, size=options.size) for d in drafts]


def _draft(procedure: Procedure, options: ScheduleOptions) -> Draft:
    if not options.target.cache_bytes:  # nor memory for copies of gradients
        procedure = with_parts(procedure)
    emit: Pass[Any] = Pass("emit", "nodes become loops over memory", "none",
                           lambda nodes: _states_last(emitted(planned(nodes, options), procedure, _reserved(procedure))))
    made: Draft = fold((emit, *statement_passes(options)), prepared(procedure, options))
    return made


def _states_last(draft: Draft) -> Draft:
    statements, buffers = copied_last(draft.procedure, draft.statements, draft.buffers, draft.fresh)
    return draft if statements is draft.statements else replace(draft, statements=statements, buffers=buffers)


def statement_passes(options: ScheduleOptions) -> Iterator[Pass[Draft]]:
    """The passes over statements; those before "kernels" may run in any order, as far as results go."""
    threads = options.threads if options.has("threads") else 0

    def optional(name: str, run: Callable[[Draft], Draft]) -> Iterator[Pass[Draft]]:
        if options.has(name):
            yield Pass(name, PASSES[name], "safe", run)

    yield from optional("stretches", _with_names(in_stretches))
    yield from optional("straight", _with_names(lambda block, fresh: straighten(block, fresh, options.costs)))
    yield from optional("unroll", _statements(unroll))
    yield from optional("registers", _with_names(in_registers))
    yield from optional("peel", _statements(peel))
    yield Pass("conditions", "neighbours under one condition are tested together", "none", _statements(merge_conditions))
    if threads > 1:
        yield from optional("threads", lambda draft: _in_threads(draft, threads))
    yield from optional("reciprocals", _with_names(reciprocals))
    yield from optional("lanes", _with_names(lambda block, fresh: lanes(block, fresh, options.costs)))
    yield from optional("flatten", _statements(lambda block: flatten(block, options.costs)))  # chunks are whole rows
    yield from optional("loads", _with_names(unconditional))
    yield Pass("states", "what a state becomes is computed where it is", "none", in_their_places)
    yield from optional("merge", _merged)
    yield Pass("kernels", "products are calls of the matrix kernel, with scratch memory", "none",
               lambda draft: with_kernels(draft, options.costs))


def _last_passes(drafts: Sequence[Draft], options: ScheduleOptions, saved: SavedLayout) -> Iterator[Pass[Draft]]:
    """What looks at all functions of a module, and what comes behind that."""
    if options.has("outline") and not (options.has("threads") and options.threads > 1):  # a chunk is a part of its loop
        yield Pass("outline", PASSES["outline"], "safe", SharedNests(drafts, options.costs).outlined)
    yield Pass("names", "the user's names, and counters for each kind", "none",
               lambda draft: with_names(draft, _parameters(draft.procedure)))
    yield Pass("functions", "chunks of loops and pieces of what is long are functions of their own", "none", in_functions)
    yield Pass("memory", "every buffer gets its place, over all functions", "none",
               lambda draft: _planned(draft, options, saved))


def _statements(change: Callable[[Statements], Statements]) -> Callable[[Draft], Draft]:
    return lambda draft: replace(draft, statements=change(draft.statements))


def _with_names(change: Callable[[Statements, Fresh], Statements]) -> Callable[[Draft], Draft]:
    return lambda draft: replace(draft, statements=change(draft.statements, draft.fresh))


def _in_threads(draft: Draft, threads: int) -> Draft:
    statements, buffers, notes = run_in_threads(draft.statements, list(draft.buffers), threads, draft.fresh)
    return replace(draft, statements=statements, buffers=tuple(buffers), notes=notes)


def _planned(draft: Draft, options: ScheduleOptions, saved: SavedLayout) -> Draft:
    def plan(life: dict[Buffer, Life], buffers: Sequence[Buffer]) -> tuple[dict[Buffer, Extent], Extent]:
        return plan_work(buffers, life if options.has("reuse") else None, options.target.alignment)

    used = lifetimes(draft.statements)
    offsets, work = plan(used, draft.buffers)
    statements, scratch = with_one_scratch(draft.statements)
    if scratch:  # behind all else, one memory is a bound of what scratch may take; among the rest it is mostly nothing
        rest = tuple(b for b in draft.buffers if b not in scratch)
        life = lifetimes(statements)
        apart, end = plan(life, rest)
        (one,) = {*scratch.values()}
        most = as_extent(end + aligned(as_extent(one.size * one.dtype.itemsize)))
        if not fits(work, most):
            offsets, work, used = {**apart, one: end}, most, life
            draft = replace(draft, statements=statements, buffers=(*rest, one))
    offsets |= {b: saved.offsets[b.place.name if b.place else b.name] for b in draft.buffers if b.space == SAVED}
    stack, through = deepest(draft.statements, options.target)
    return replace(draft, layout=Layout(offsets, work, saved.bytes, used, stack, through))


def _merged(draft: Draft) -> Draft:
    statements, names = in_place(draft.statements)
    return replace(draft, statements=statements, names={node: names.get(n, n) for node, n in draft.names.items()})


def _reserved(procedure: Procedure) -> list[str]:
    return [*_parameters(procedure), *(p.name for p in _places(procedure))]


def _places(procedure: Procedure) -> list[Place]:
    return [*procedure.given.values(), *(o.place for o in procedure.outputs)]


def _parameters(procedure: Procedure) -> list[str]:
    """What the C function's parameters may be called."""
    names = [*_RESERVED, *(p.name for p in _places(procedure) if p.space != SAVED)]
    for node in procedure.given:
        names += [s.name for e in node.shape if not isinstance(e, int) for s in e.free_symbols]
    return names
