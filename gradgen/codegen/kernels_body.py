"""A Program as the inside of one C function, with the static functions and tables that it needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import sympy

from gradgen.codegen.extents import dims_of, evaluate, shape_text
from gradgen.codegen.fragments import Helper, with_needs
from gradgen.codegen.gemm import kernel_texts
from gradgen.codegen.integers import index_text
from gradgen.codegen.literals import floating, literal
from gradgen.codegen.printer import StatementPrinter, addressed_in, called_often
from gradgen.ir.symbols import Extent
from gradgen.loops.extremes import is_positive
from gradgen.loops.program import Program
from gradgen.loops.statements import CONSTANT, KERNEL, SAVED, WORK, Buffer, Call, Layout, Loop
from gradgen.schedule.matrix_kernel import MatrixKernel

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
    nests = [printer.function_text(f) for f in program.nests]
    printer.sequence(program.statements)
    tables = [_table(b) for b in program.buffers if b.space == CONSTANT]  # inside: procedures number theirs alike
    head = [f"    {line}" for table in tables for line in table.splitlines()]
    places = sorted_by_place(program.buffers, program.layout)
    addressed = addressed_in(program.statements, program.layout)
    calls = (s for s in program.walk() if isinstance(s, Call))
    scratch = {o.buffer for s in calls for o in s.scratch if o is not None and o.buffer not in addressed}
    head += [*memory_map(places, scratch, program.layout), *printer.pointers(b for b in places if b in addressed)]
    work, saved = program.layout.work, program.layout.saved
    text = index_text(work)
    if not isinstance(work, int) and not is_positive(work):
        printer.expressions.note_helpers(text)  # it is asked whether there is any
    helpers = {**_helpers(program, printer), **{n.names[0]: n for n in nests}, **printer.functions}
    return ProcedureCode(
        program.name, "\n".join([*head, *printer.out]) + "\n", helpers, work, text, saved, index_text(saved),
    )


MAP_TITLES = {SAVED: "SAVED, after its header", WORK: "WORK; values that are never needed together share memory"}
FEWEST = 2  # places that are worth a map
LONGEST_PLACE = 24
SCRATCH = "(scratch)"
TYPICAL = 1000  # an open dimension, where offsets are compared


def memory_map(buffers: Sequence[Buffer], scratch: Collection[Buffer], layout: Layout) -> list[str]:
    """A comment that says where in SAVED and WORK everything is; `scratch` has no names."""
    lines: list[str] = []
    for space, title in MAP_TITLES.items():
        found = [b for b in buffers if b.space == space]
        if len(found) < FEWEST:
            continue
        places = [index_text(layout.offsets[b]) for b in found]
        whats = [f"{b.dtype.ctype} {shape_text(b.shape)}" if b.shape else b.dtype.ctype for b in found]
        places = [at if len(at) <= LONGEST_PLACE else "then" for at in places]
        names = [SCRATCH if b in scratch else b.name for b in found]
        whats = ["" if b in scratch else what for b, what in zip(found, whats, strict=True)]
        rows = list(dict.fromkeys(zip(places, names, whats, strict=True)))
        widths = [max(len(row[k]) for row in rows) for k in range(2)]
        lines.append(f"    /* {title}:")
        lines += [f"     *   {at.rjust(widths[0])}  {name.ljust(widths[1])}  {what}".rstrip() for at, name, what in rows]
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
    functions = program.functions
    kernels = [f.name for f in functions if f.kind == KERNEL]
    calls = [call for _, call in sorted(expressions.calls.items())]
    found |= with_needs([*(made for _, made in sorted(expressions.helpers.items())), *calls, *kernels])
    for f in functions:
        if isinstance(f.text, MatrixKernel):
            found |= kernel_texts(f.text)
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
