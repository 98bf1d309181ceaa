"""A Program as the inside of one C function, with the static functions and tables that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy

from gradgen.codegen import mathlib
from gradgen.codegen.chunks import GG_CHUNK, index
from gradgen.codegen.integers import index_text
from gradgen.codegen.literals import floating, literal
from gradgen.codegen.pieces import Cut, cut, used
from gradgen.codegen.printer import INDENT, StatementPrinter, called_often, local_type, wrapped
from gradgen.codegen.templates import render
from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.statements import CONSTANT, SAVED, WORK, Buffer, Layout, Loop, Program, Statement
from gradgen.schedule.memory import aligned

LINE = 116
QUIET_VECTORISER = """#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* a vector loop may stay scalar: that is no defect */
#endif
"""
STACK_BYTES = 8192  # of locals and the register tiles of matrix kernels, an upper estimate


@dataclass(frozen=True, eq=False)
class ProcedureCode:
    """`body` are C statements indented by 4, to stand after the argument checks; `helpers` go before the functions."""

    name: str
    body: str
    helpers: dict[str, str]
    work_bytes: Extent
    work_bytes_c: str
    saved_bytes: Extent
    saved_bytes_c: str
    stack_bytes: int


def c_procedure(program: Program) -> ProcedureCode:
    """The C of a Program."""
    printer = StatementPrinter(program.name)
    printer.expressions.out_of_line = called_often(program)
    parts = [(p.name, printer.part(p)) for p in program.parts]
    pieces = cut(program.statements)
    if pieces is None:
        printer.sequence(program.statements)
    else:
        parts += in_pieces(printer, pieces, program.layout)
    tables = [_table(b) for b in program.buffers if b.space == CONSTANT]  # inside: procedures number theirs alike
    head = [f"    {line}" for table in tables for line in table.splitlines()]
    own = program.buffers if pieces is None else pieces.own_buffers(program.buffers)
    head += [line for b in own for line in _pointer(b, program.layout)]
    work = program.layout.work
    if printer.products:
        sizes = [size for _, calls in printer.products.values() for size in calls]
        head.append(f"    void *const gg_scratch = (unsigned char *)work + {index_text(work)};")
        if printer.chunks > 1:
            head.append(f"    const size_t gg_scratch_bytes = (size_t)({index_text(aligned(_largest(sizes)))});")
        work = as_extent(work + printer.chunks * aligned(_largest(sizes)))
    for array, length in pieces.arrays.items() if pieces is not None else ():
        head.append(_array(array.dtype.ctype, array.name, "work", index_text(work)))
        work = as_extent(work + aligned(length * array.dtype.itemsize))
    for text in (*head, *(text for _, text in parts)):  # offsets that depend on dimensions
        printer.expressions.note_helpers(text)
    helpers = {**_helpers(program, printer), **dict(parts)}
    if printer.parts:
        helpers |= {"GG_CHUNK": GG_CHUNK, **printer.parts}
    return ProcedureCode(
        program.name, "\n".join([*head, *printer.out]) + "\n", helpers, work, bytes_text(work), program.layout.saved,
        bytes_text(program.layout.saved), STACK_BYTES + printer.stack_bytes,
    )


def _largest(sizes: list[Extent]) -> Extent:
    """An upper bound of several extents."""
    numbers = [s for s in sizes if isinstance(s, int)]
    rest = list(dict.fromkeys(s for s in sizes if not isinstance(s, int)))
    if not rest:
        return max(numbers)
    return as_extent(sympy.Max(max(numbers, default=0), *rest))


def bytes_text(extent: Extent) -> str:
    """C text of a size in bytes."""
    return index_text(extent)


def _pointer(buffer: Buffer, layout: Layout) -> list[str]:
    if buffer.space not in (SAVED, WORK):
        return []
    base = "saved" if buffer.space == SAVED else "work"
    # forward without a backward to follow
    absent = "saved == NULL ? NULL : " if buffer.space == SAVED and not buffer.given else ""
    return [_array(buffer.dtype.ctype, buffer.name, base, index_text(layout.offsets[buffer]), absent)]


def _array(ctype: str, name: str, base: str, offset: str, absent: str = "") -> str:
    return f"    {ctype} *const {name} = {absent}({ctype} *)(void *)((unsigned char *){base} + {offset});"


def in_pieces(printer: StatementPrinter, pieces: Cut, layout: Layout) -> list[tuple[str, str]]:
    """Prints a procedure's segments, pieces as calls; the functions called, by name, and the macro they need."""
    made = [("noinline", mathlib.noinline())]
    for segment in pieces.segments:
        if segment.piece:
            made.append(_piece(printer, f"gg_{printer.procedure}_piece{len(made)}", segment.statements, layout))
        else:
            printer.sequence(segment.statements)
    return made


def _piece(printer: StatementPrinter, name: str, statements: tuple[Statement, ...], layout: Layout) -> tuple[str, str]:
    """A piece's function: arrays in SAVED and WORK are found anew in it, everything else is a parameter."""
    found = used(statements)
    blocks = [b for b in found.pointers.values() if b.space in (SAVED, WORK)]
    index((layout.offsets[b] for b in blocks), found)
    given = [(v, f"{local_type(dtype)} {v}") for v, dtype in found.scalars.items()]
    for b in found.pointers.values():
        if b.space not in (SAVED, WORK):
            const = "" if b.name in found.written else "const "
            given.append((b.name, f"{const}{b.dtype.ctype} *GRADGEN_RESTRICT {b.name}"))
    if found.saved or any(b.space == SAVED for b in blocks):
        given.append(("saved", "void *saved"))
    if any(b.space == WORK for b in blocks):
        given.append(("work", "void *work"))
    if found.flags:
        given.append(("flags", "uint32_t flags"))
    lines = printer.apart(statements)
    printer.line(wrapped(f"{name}(", [v for v, _ in given], INDENT * 2) + ");")
    head = wrapped(f"GG_NOINLINE void {name}(", [text for _, text in given], INDENT)
    body = "\n".join([*(line for b in blocks for line in _pointer(b, layout)), *lines])
    return name, f"{head}) {{\n{body}\n}}\n"


def _helpers(program: Program, printer: StatementPrinter) -> dict[str, str]:
    found: dict[str, str] = {}
    expressions = printer.expressions
    if any(isinstance(s, Loop) and s.simd for s in program.walk()):
        found["vector loops"] = QUIET_VECTORISER
    if expressions.math:
        for k, fragment in enumerate(mathlib.fragments(expressions.math)):
            found[f"math {_fragment_name(fragment, k)}"] = fragment
    if expressions.calls:
        found[f"math {_fragment_name(mathlib.noinline(), 0)}"] = mathlib.noinline()
        for (op, suffix), text in sorted(expressions.calls.items()):
            found[f"gg_{op}_{suffix}_call"] = text
    found.update(expressions.helpers)
    for code, _ in printer.products.values():
        found.update(code.fragments)
    for name, (code, _) in printer.products.items():
        if code.source:
            found[name] = code.source
    for spec, dtype in printer.kernels.values():
        for file in spec.files:
            found[f"{file} {dtype.suffix}"] = render(f"kernels/{file}", T=dtype.ctype, s=dtype.suffix)
    return found


@lru_cache(maxsize=1024)
def _fragment_name(fragment: str, k: int) -> str:
    import hashlib

    return hashlib.sha256(fragment.encode()).hexdigest()[:16]


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
