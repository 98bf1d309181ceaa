"""Scheduling: a Procedure becomes a Program.  `schedule` lists the passes in order and nothing else."""

from __future__ import annotations

from gradgen.ir.nodes import Node
from gradgen.loops.procedure import Output, Place, Procedure
from gradgen.loops.statements import SAVED, WORK, Part, Program
from gradgen.schedule.conditions import merge_conditions
from gradgen.schedule.digits import split_digits
from gradgen.schedule.emit import Emitter
from gradgen.schedule.flatten import flatten
from gradgen.schedule.fusion import Fusion
from gradgen.schedule.inline import Inliner
from gradgen.schedule.lanes import lanes
from gradgen.schedule.loads import unconditional
from gradgen.schedule.memory import SavedLayout, lifetimes, plan_work, saved_layout
from gradgen.schedule.options import NO_PASSES, PASSES, ScheduleOptions
from gradgen.schedule.outline import outline
from gradgen.schedule.packing import pack_invariants
from gradgen.schedule.pairs import in_pairs
from gradgen.schedule.peel import peel
from gradgen.schedule.reciprocals import reciprocals
from gradgen.schedule.registers import in_registers
from gradgen.schedule.sharing import share_functions
from gradgen.schedule.straight import straighten
from gradgen.schedule.threads import run_in_threads
from gradgen.schedule.unfold import unfold
from gradgen.schedule.unroll import unroll

__all__ = ["NO_PASSES", "PASSES", "Output", "Place", "Procedure", "Program", "SavedLayout", "ScheduleOptions",
           "saved_layout", "schedule"]

_RESERVED = ("saved", "work", "flags", "NULL", "INFINITY", "NAN")


def schedule(
    procedure: Procedure, options: ScheduleOptions | None = None, saved: SavedLayout | None = None
) -> Program:
    """Loops, memory and order of one procedure.

    `saved` is the layout shared by all procedures of a module (`saved_layout`); without it the procedure's own.
    """
    options = options or ScheduleOptions()
    saved = saved or saved_layout([procedure])
    if options.has("packing"):
        procedure = pack_invariants(procedure)
    if options.has("sharing"):
        procedure = share_functions(procedure)
    if options.has("pairs"):
        procedure = in_pairs(procedure)
    if options.has("digits") and options.has("contraction"):
        procedure = split_digits(procedure)
    laid: frozenset[Node] = frozenset()
    if options.has("unfold") and options.has("contraction"):
        procedure, laid = unfold(procedure)
    ops = Inliner(procedure, options, laid).ops()
    fusion = Fusion(ops, options, procedure)
    tree = fusion.tree()
    emitter = Emitter(procedure, ops, tree, _reserved(procedure), fusion.contractions, options)
    emitter.run()
    statements = emitter.builder.finish()
    if options.has("unroll"):
        statements = unroll(statements)
    if options.has("registers"):
        statements = in_registers(statements, emitter.builder.fresh)
    if options.has("straight"):
        statements = straighten(statements, emitter.builder.fresh)
    if options.has("peel"):
        statements = peel(statements)
    statements = merge_conditions(statements)
    buffers = [*emitter.places.values(), *emitter.constants.values(), *(b for b, _ in emitter.buffers.values()),
               *emitter.wasted.values(), *emitter.extra]
    buffers = list(dict.fromkeys(buffers))
    notes: tuple[str, ...] = ()
    threads = options.threads if options.has("threads") else 0
    if threads > 1:
        statements, buffers, notes = run_in_threads(statements, buffers, threads, emitter.builder.fresh)
    if options.has("reciprocals"):
        statements = reciprocals(statements, emitter.builder.fresh)
    if options.has("lanes"):
        statements = lanes(statements, emitter.builder.fresh)
    if options.has("flatten"):  # chunks are whole rows
        statements = flatten(statements)
    if options.has("loads"):
        statements = unconditional(statements, emitter.builder.fresh)
    for b in buffers:
        if b.space == SAVED:
            b.offset = saved.offsets[b.name]
    work = plan_work(buffers, statements, options.has("reuse"))
    used = lifetimes(statements)
    buffers = [b for b in buffers if b.space not in (WORK, SAVED) or b in used]
    parts: tuple[Part, ...] = ()
    if options.has("outline") and threads < 2:  # a chunk is a part of its loop, not of another function
        statements, parts = outline(statements, procedure.name)
    return Program(procedure.name, tuple(buffers), statements, work, saved.bytes, notes, parts)


def _reserved(procedure: Procedure) -> list[str]:
    names = list(_RESERVED)
    names += [p.name for p in procedure.given.values()] + [o.place.name for o in procedure.outputs]
    for node in procedure.given:
        names += [s.name for e in node.shape if not isinstance(e, int) for s in e.free_symbols]
    return names


