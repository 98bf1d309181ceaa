"""The part of `selftest.c` that tests derivative functions: products with a direction against finite differences."""

from __future__ import annotations

from collections.abc import Mapping

from gradgen.codegen.extents import elements, evaluate, to_c
from gradgen.codegen.interface import (
    DERIVATIVE,
    HESSIAN,
    HESSIAN_VALUES,
    HVP,
    INPUT,
    JACOBIAN,
    JACOBIAN_VALUES,
    JVP,
    Interface,
    Parameter,
)
from gradgen.codegen.module_record import c_dtype, c_string
from gradgen.codegen.templates import render

_SECOND = (HVP, HESSIAN, HESSIAN_VALUES)
_ARGUMENTS = {
    JVP: "dims, in, moved, out, derived, work",
    HVP: "dims, in, moved, derived, work",
    **dict.fromkeys((JACOBIAN, HESSIAN, JACOBIAN_VALUES, HESSIAN_VALUES), "dims, in, derived, work"),
}


def derivative_parameters(interface: Interface) -> list[Parameter]:
    """The tensors of derivative functions that the program needs memory for: directions once, results of each."""
    if not interface.derivatives:
        return []
    return _directions(interface) + [p for s in interface.derivatives for p in _results(interface, s)]


def _directions(interface: Interface) -> list[Parameter]:
    """One per parameter, shared by jvp and hvp."""
    return [Parameter(f"gradgen_to_{a.name}", INPUT, a.name, a.dtype, a.shape) for a in interface.parameters]


def _results(interface: Interface, suffix: str) -> list[Parameter]:
    return [p for p in interface.functions[suffix] if p.kind == DERIVATIVE]


def derivative_tests(interface: Interface, values: Mapping[str, int], first: bool, second: bool) -> str:
    """C text; empty for a module without derivative functions.  `first`, `second`: differences say something about
    derivatives of that order."""
    if not interface.derivatives:
        return ""
    sizes = [
        sum(evaluate(elements(a.shape), values) for a in group)
        for group in (interface.differentiable_outputs, interface.parameters)
    ]
    tables = [("directions", _directions(interface))]
    tables += [(f"{s}_blocks", _results(interface, s)) for s in interface.derivatives]
    return render(
        "c/selftest_derivatives.c.j2",
        most=max(*sizes, 1),
        blocks=max(len(rows) for _, rows in tables),
        tables=[{"name": name, "rows": [_row(interface, p) for p in rows]} for name, rows in tables],
        products=any(s in (JVP, HVP) for s in interface.derivatives),
        matrices=any(s not in (JVP, HVP) for s in interface.derivatives),
        functions=[_function(s, second if s in _SECOND else first) for s in interface.derivatives],
    ).rstrip("\n")


def _row(interface: Interface, p: Parameter) -> str:
    assert p.dtype is not None
    count = to_c(elements(p.shape), {d: f"dim_{d}" for d in interface.dims})
    return f"{{{c_string(p.name)}, {c_dtype(p.dtype)}, {count}, t.{p.name}, 0, NULL, NULL, 0.0, 0.0}}"


def _function(suffix: str, compared: bool) -> dict[str, object]:
    blocks, second = f"{suffix}_blocks", suffix in _SECOND
    if suffix in (JVP, HVP):
        take = f"take_products({blocks})"
    else:
        patterns = "NULL"
        if suffix in (JACOBIAN_VALUES, HESSIAN_VALUES):
            patterns = f"m->{suffix.removesuffix('_values')}_patterns"
        take = f"take_matrices({blocks}, {'gradients' if second else 'cotangents'}, {patterns})"
    return {"name": suffix, "arguments": _ARGUMENTS[suffix], "take": take, "second": str(int(second)),
            "compared": compared}
