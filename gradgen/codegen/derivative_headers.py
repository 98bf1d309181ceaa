"""What the bundle says about derivative functions: their documentation, their patterns as C tables and macros."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from gradgen.codegen.extents import shape_text
from gradgen.codegen.interface import (
    DERIVATIVE,
    HESSIAN,
    HESSIAN_VALUES,
    HVP,
    JACOBIAN,
    JACOBIAN_VALUES,
    JVP,
    Interface,
    Parameter,
    Pattern,
)

WIDTH = 112
FORMULA_LINES = 12


def derivative_documentation(interface: Interface) -> dict[str, list[str]]:
    """Function suffix -> the lines of its comment in the header."""
    return {suffix: [*_LINES[suffix](interface), *_formulas(interface, suffix)] for suffix in interface.derivatives}


def _formulas(interface: Interface, suffix: str) -> list[str]:
    """The formulas of what a function writes, as far as they are known and short enough to be read."""
    known = dict(interface.derivative_formulas)
    lines = [line for p in results(interface, suffix) for line in known.get(p.name, "").splitlines()]
    if len(lines) > FORMULA_LINES:
        lines = [*lines[:FORMULA_LINES], "  ..."]
    return [w for line in lines for w in textwrap.wrap(f" {line}", WIDTH - 4, subsequent_indent="     ")]


def _jvp(interface: Interface) -> list[str]:
    outputs, p = _names(interface.differentiable_outputs), interface.parameters[0].name
    return [
        f"The outputs and their derivative along a direction: dot_{outputs[0]} <- sum over parameters p of "
        f"d{outputs[0]}/dp dot_p.",
        f"dot_{p} has the shape of {p}, and so on; NULL: zeros.  A result NULL: not wanted.  One pass, forward mode.",
    ]


def _hvp(interface: Interface) -> list[str]:
    output, p = interface.differentiable_outputs[0].name, interface.parameters[0].name
    return [
        f"The Hessian of {output} times a direction: hvp_a <- sum over parameters b of d2{output}/da db dir_b.",
        f"dir_{p} and hvp_{p} have the shape of {p}, and so on; dir NULL: zeros, hvp NULL: not wanted.",
    ]


def _jacobian(interface: Interface) -> list[str]:
    return [
        "First derivatives, dense and row-major: the extents of the output, then those of the parameter.",
        "NULL: not wanted.",
        *_shapes(interface, JACOBIAN, "d{}/d{}"),
    ]


def _hessian(interface: Interface) -> list[str]:
    output = interface.differentiable_outputs[0].name
    return [
        f"Second derivatives of {output}, dense and row-major: the extents of one parameter, then those of the other.",
        "NULL: not wanted.",
        *_shapes(interface, HESSIAN, f"d2{output}/d{{}} d{{}}"),
    ]


def _shapes(interface: Interface, suffix: str, formula: str) -> list[str]:
    found = results(interface, suffix)
    names, shapes = max(len(p.name) for p in found), max(len(shape_text(p.shape)) for p in found)
    return [
        f" {p.name:<{names}}  {shape_text(p.shape):<{shapes}}  {formula.format(*p.of.split(', '))}" for p in found
    ]


def _values(interface: Interface, suffix: str) -> list[str]:
    patterns = [p for p in interface.patterns if p.function == suffix]
    record = "jacobian_patterns" if suffix == JACOBIAN_VALUES else "hessian_patterns"
    lines = [
        f"The entries of sparse blocks in compressed rows, where {interface.name}_module()->{record} says: entry e of row r",
        "has start[r] <= e < start[r + 1] and stands in column[e]; rows and columns count elements row-major.",
        "NULL: not wanted.",
    ]
    output = interface.differentiable_outputs[0].name
    for p in patterns:
        what = f"d{p.of}/d{p.by}" if suffix == JACOBIAN_VALUES else f"d2{output}/d{p.of} d{p.by}"
        lines.append(f" {p.name}_values  {len(p.column)} of {p.rows} x {p.columns}  {what}, from {p.products} products")
    return lines


_LINES = {
    JVP: _jvp, JACOBIAN: _jacobian, HVP: _hvp, HESSIAN: _hessian,
    JACOBIAN_VALUES: lambda interface: _values(interface, JACOBIAN_VALUES),
    HESSIAN_VALUES: lambda interface: _values(interface, HESSIAN_VALUES),
}  # fmt: skip


def _names(arguments: Sequence[object]) -> list[str]:
    return [a.name for a in arguments]  # type: ignore[attr-defined]


def results(interface: Interface, suffix: str) -> list[Parameter]:
    """The derivatives that a function writes."""
    return [p for p in interface.functions[suffix] if p.kind == DERIVATIVE]


# --- patterns --------------------------------------------------------------------------------------------------------


def pattern_macros(interface: Interface) -> list[str]:
    """`ROSENBROCK_HESS_X_X_NONZEROS 2998` for each sparse block: so many values are written."""
    return [f"{interface.name.upper()}_{p.name.upper()}_NONZEROS {len(p.column)}" for p in interface.patterns]


def pattern_tables(interface: Interface) -> list[str]:
    """Static tables of row starts and columns, and the arrays that the module record points to."""
    lines = []
    for p in interface.patterns:
        for what, numbers in (("start", p.start), ("column", p.column)):
            lines.append(f"static const int32_t {_table(interface, p, what)}[] = {{\n{_numbers(numbers)}\n}};")
    for suffix in (JACOBIAN_VALUES, HESSIAN_VALUES):
        found = [p for p in interface.patterns if p.function == suffix]
        if found:
            rows = ",\n".join(_row(interface, p) for p in found)
            lines.append(f"static const gradgen_pattern {_array(interface, suffix)}[] = {{\n{rows}\n}};")
    return lines


def pattern_array(interface: Interface, suffix: str) -> str:
    return _array(interface, suffix) if suffix in interface.derivatives else "NULL"


def _array(interface: Interface, suffix: str) -> str:
    return f"{interface.name}_{suffix.removesuffix('_values')}_patterns"


def _table(interface: Interface, pattern: Pattern, what: str) -> str:
    return f"{interface.name}_{what}_{pattern.name}"


def _row(interface: Interface, p: Pattern) -> str:
    start, column = _table(interface, p, "start"), _table(interface, p, "column")
    return f'    {{"{p.name}", "{p.of}", "{p.by}", {p.rows}, {p.columns}, {len(p.column)}, {start}, {column}}}'


def _numbers(numbers: Sequence[int]) -> str:
    lines, line = [], "   "
    for n in numbers or (0,):  # C has no empty arrays
        text = f" {n},"
        if len(line) + len(text) > WIDTH:
            lines.append(line)
            line = "   "
        line += text
    return "\n".join([*lines, line]).rstrip(",")
