"""A Program as the inside of one C function, with the static functions and tables that it needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import sympy

from gradgen.codegen.extents import dims_of, evaluate, shape_text
from gradgen.codegen.fragments import Helper, with_needs
from gradgen.codegen.integers import index_text
from gradgen.codegen.literals import floating, literal
from gradgen.codegen.printer import StatementPrinter, called_often, set_and_added
from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.heights import greatest_of
from gradgen.loops.needs import outside
from gradgen.loops.program import Program
from gradgen.loops.statements import CONSTANT, SAVED, WORK, Apart, Buffer, Layout, Loop
from gradgen.loops.walk import buffers, expressions, subexpressions
from gradgen.schedule.memory import aligned

LINE = 116
VECTOR_LOOPS = "vector loops"
"""The helper of procedures that have some."""

QUIET_VECTORISER = """#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* a vector loop may stay scalar: that is no defect */
#endif
"""


@dataclass(frozen=True, eq=False)
class ProcedureCode:
    """`body` are C statements indented by 4, to stand after the argument checks; `helpers` go before the functions."""

    name: str
    body: str
    helpers: dict[str, Helper]
    work_bytes: Extent
    work_bytes_c: str
    saved_bytes: Extent
    saved_bytes_c: str


def c_procedure(program: Program) -> ProcedureCode:
    """The C of a Program."""
    printer = StatementPrinter(program.name, program.layout, program.names, program.target, program.size)
    printer.expressions.out_of_line = called_often(program.statements)
    printer.set_and_added = set_and_added(program.walk()) if program.target.scalar else frozenset()
    parts = [printer.part(p) for p in program.parts]
    printer.sequence(program.statements)
    tables = [_table(b) for b in program.buffers if b.space == CONSTANT]  # inside: procedures number theirs alike
    head = [f"    {line}" for table in tables for line in table.splitlines()]
    places = sorted_by_place(program.buffers, program.layout)
    head += [*memory_map(places, program.layout), *printer.pointers(_own(program, places))]
    work = program.layout.work
    if any("work" in code.parameters for code, _ in printer.products.values()):
        sizes = [size for _, calls in printer.products.values() for size in calls]
        head.append(f"    void *const gg_scratch = {printer.at('work', work)};")
        if printer.chunks > 1:
            head.append(f"    const size_t gg_scratch_bytes = (size_t)({index_text(aligned(greatest_of(sizes)))});")
        work = as_extent(work + printer.chunks * aligned(greatest_of(sizes)))
    saved, text = program.layout.saved, index_text(work)
    if not isinstance(work, int) and not work.is_positive:
        printer.expressions.note_helpers(text)  # it is asked whether there is any
    helpers = {**_helpers(program, printer), **{p.names[0]: p for p in parts}, **printer.functions}
    return ProcedureCode(
        program.name, "\n".join([*head, *printer.out]) + "\n", helpers, work, text, saved, index_text(saved),
    )


def _own(program: Program, places: Sequence[Buffer]) -> Sequence[Buffer]:
    """Those that the function itself refers to: functions made of its statements find theirs anew."""
    if not any(isinstance(s, Apart) for s in program.walk()):
        return places
    there: set[Buffer] = set()
    for s in outside(program.statements):
        there.update(b for e in subexpressions(expressions(s)) for b in buffers(e))
        there.update(buffers(s))
    return [b for b in places if b in there]


MAP_TITLES = {SAVED: "SAVED, after its header", WORK: "WORK; values that are never needed together share memory"}
FEWEST = 2  # places that are worth a map
LONGEST_PLACE = 24
TYPICAL = 1000  # an open dimension, where offsets are compared


def memory_map(buffers: Sequence[Buffer], layout: Layout) -> list[str]:
    """A comment that says where in SAVED and WORK everything is."""
    lines: list[str] = []
    for space, title in MAP_TITLES.items():
        found = [b for b in buffers if b.space == space]
        if len(found) < FEWEST:
            continue
        places = [index_text(layout.offsets[b]) for b in found]
        whats = [f"{b.dtype.ctype} {shape_text(b.shape)}" if b.shape else b.dtype.ctype for b in found]
        places = [at if len(at) <= LONGEST_PLACE else "then" for at in places]
        rows = list(zip(places, [b.name for b in found], whats, strict=True))
        widths = [max(len(row[k]) for row in rows) for k in range(2)]
        lines.append(f"    /* {title}:")
        lines += [f"     *   {at.rjust(widths[0])}  {name.ljust(widths[1])}  {what}" for at, name, what in rows]
        lines[-1] += " */"
    return lines


def sorted_by_place(buffers: Iterable[Buffer], layout: Layout) -> list[Buffer]:
    """In the order of their offsets, those of large dimensions."""
    def place(b: Buffer) -> float:
        offset = layout.offsets[b]
        return evaluate(offset, dict.fromkeys(dims_of([offset]), TYPICAL))

    return sorted((b for b in buffers if b.space in MAP_TITLES), key=lambda b: (b.space, place(b)))


def _helpers(program: Program, printer: StatementPrinter) -> dict[str, Helper]:
    """What stands before the function, in the order in which it must be defined."""
    expressions = printer.expressions
    found = {}
    if any(isinstance(s, Loop) and s.simd for s in program.walk()):
        found[VECTOR_LOOPS] = Helper(QUIET_VECTORISER.strip("\n"))
    kernels = [f"gg_{spec.name}_{dtype.suffix}" for spec, dtype in printer.kernels.values()]
    calls = [call for _, call in sorted(expressions.calls.items())]
    found |= with_needs([*(made for _, made in sorted(expressions.helpers.items())), *calls, *kernels])
    for code, _ in printer.products.values():
        found |= code.fragments
    for name, (code, _) in printer.products.items():
        if code.source:
            found[name] = Helper(code.source.strip("\n"), (name,))
    return found


def _table(buffer: Buffer) -> str:
    array = np.asarray(buffer.values).ravel()
    if buffer.dtype.is_floating_point:
        items = [floating(x, buffer.dtype) for x in array]
    else:
        items = [literal(sympy.Integer(int(x)), buffer.dtype) for x in array]
    lines: list[str] = []
    row = "   "
    for item in items:
        if len(row) + len(item) + 2 > LINE:
            lines.append(row)
            row = "   "
        row += f" {item},"
    lines.append(row)
    count = max(1, array.size)
    if not array.size:
        lines = ["    0"]
    return f"static const {buffer.dtype.ctype} {buffer.name}[{count}] = {{\n" + "\n".join(lines) + "\n};\n"
