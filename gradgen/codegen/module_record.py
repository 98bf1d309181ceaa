"""The module record of an emitted file: tables of names and shapes, and the functions behind generic signatures."""

from __future__ import annotations

from gradgen.codegen.declarations import TENSORS, parameter_text, pointer_base, return_type, wrap
from gradgen.codegen.demands import needed
from gradgen.codegen.derivative_headers import pattern_array, pattern_tables
from gradgen.codegen.extents import constant, shape_text, to_c
from gradgen.codegen.interface import (
    COTANGENT,
    DERIVATIVE,
    DERIVATIVES,
    DIM,
    FLAGS,
    GRADIENT,
    HESSIAN,
    HESSIAN_VALUES,
    HVP,
    INPUT,
    JACOBIAN,
    JACOBIAN_VALUES,
    JVP,
    OUTPUT,
    RANDOM,
    SEEDS,
    TANGENT,
    Argument,
    Interface,
    Parameter,
)
from gradgen.codegen.layout import WIDTH
from gradgen.ir.assumptions import condition_text
from gradgen.ir.dtypes import DType

_TABLES = {INPUT: "inputs", OUTPUT: "outputs", COTANGENT: "cotangents", GRADIENT: "gradients",
           TANGENT: "directions", DERIVATIVE: "derivatives"}
_CONST_TABLE, _TABLE = "const void *const *", "void *const *"
_WRAPPERS = {
    "forward": ("dims", "inputs", "outputs", "saved", "work"),
    "backward": ("dims", "inputs", "saved", "cotangents", "gradients", "work", "flags"),
    "value_and_grad": ("dims", "inputs", "cotangents", "outputs", "gradients", "work", "flags"),
    "zero_grad": ("dims", "gradients"),
    JVP: ("dims", "inputs", "directions", "outputs", "derivatives", "work"),
    HVP: ("dims", "inputs", "directions", "derivatives", "work"),
    **{s: ("dims", "inputs", "derivatives", "work") for s in (JACOBIAN, HESSIAN, JACOBIAN_VALUES, HESSIAN_VALUES)},
}
_GENERIC = {
    "dims": "const int64_t *dims", "inputs": f"{_CONST_TABLE}inputs", "outputs": f"{_TABLE}outputs",
    "cotangents": f"{_CONST_TABLE}cotangents", "gradients": f"{_TABLE}gradients", "saved": "void *saved",
    "work": "void *work", "flags": "uint32_t flags", "directions": f"{_CONST_TABLE}directions",
    "derivatives": f"{_TABLE}derivatives",
}  # fmt: skip


def c_string(text: str) -> str:
    """A C string literal of UTF-8 bytes, safe from trigraphs and from hexadecimal escapes that run on."""
    pieces = []
    for byte in text.encode():
        character = chr(byte)
        if character in '"\\?':
            pieces.append("\\" + character)
        elif character == "\n":
            pieces.append("\\n")
        else:
            pieces.append(character if 32 <= byte < 127 else f"\\{byte:03o}")
    return '"' + "".join(pieces) + '"'


def c_dtype(dtype: DType) -> str:
    return f"GRADGEN_{dtype.name.upper()}"


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(interface: Interface) -> list[str]:
    """Static constant tables, in order of use."""
    lines = []
    if interface.dims:
        listed = wrap([c_string(d) for d in interface.dims], "    ").lstrip()
        lines.append(f"static const char *const {interface.name}_dims[] = {{{listed}}};")
    arguments = [("input", a) for a in interface.inputs] + [("output", a) for a in interface.outputs]
    for kind, argument in arguments:
        if argument.shape:
            extents = ", ".join(_shape_entry(e, interface) for e in argument.shape)
            lines.append(f"static const int64_t {_shape_name(interface, kind, argument)}[] = {{{extents}}};")
    for kind, group in (("input", interface.inputs), ("output", interface.outputs)):
        if group:
            rows = ",\n".join(_info_row(interface, kind, a) for a in group)
            lines.append(f"static const gradgen_tensor_info {interface.name}_{kind}s[] = {{\n{rows}\n}};")
    if interface.conditions:
        texts = [f"    {{{c_string(condition_text(r.condition))}, {c_string(str(r.where or ''))}}}"
                 for r in needed(interface.conditions)]
        rows = ",\n".join(texts)
        lines.append(f"static const gradgen_condition {interface.name}_conditions[] = {{\n{rows}\n}};")
    return lines + pattern_tables(interface)


def _shape_entry(extent: object, interface: Interface) -> str:
    known = constant(extent)  # type: ignore[arg-type]
    if known is not None:
        return to_c(known)
    name = str(extent)
    return str(-1 - interface.dims.index(name)) if name in interface.dims else "GRADGEN_EXTENT_DERIVED"


def _shape_name(interface: Interface, kind: str, argument: Argument) -> str:
    return f"{interface.name}_{kind}_shape_{argument.name}"


def _info_row(interface: Interface, kind: str, argument: Argument) -> str:
    listed = interface.parameters if kind == "input" else interface.differentiable_outputs
    shape = _shape_name(interface, kind, argument) if argument.shape else "NULL"
    head = ", ".join([c_string(argument.name), c_string(shape_text(argument.shape))])
    tail = ", ".join([shape, str(len(argument.shape)), c_dtype(argument.dtype), str(int(argument in listed)), "0"])
    row = f"    {{{head}, {c_string(argument.formula)}, {tail}}}"
    if len(row) < WIDTH:
        return row
    formula = "\n".join("     " + c_string(piece) for piece in _pieces(argument.formula) or [""])
    return f"    {{{head},\n{formula},\n     {tail}}}"


def _pieces(text: str, size: int = 90) -> list[str]:
    return [text[k : k + size] for k in range(0, len(text), size)]


# --- functions behind generic signatures -----------------------------------------------------------------------------


def wrappers(interface: Interface) -> list[dict[str, object]]:
    """Data for the template: return type, suffix, parameter list, statements."""
    found = [_size_wrapper(interface, f"{which}_bytes") for which in ("saved", "work")]
    return found + [_wrapper(interface, suffix) for suffix in _WRAPPERS if suffix in interface.functions]


def record_functions(interface: Interface) -> list[str]:
    names = ["saved_bytes", "work_bytes", *(n for n in _WRAPPERS if n not in DERIVATIVES)]
    known = ("saved_bytes", "work_bytes", *interface.functions)
    found = [f"{interface.name}_any_{n}" if n in known else "NULL" for n in names]
    derived = [f"{interface.name}_any_{n}" if n in known else "NULL" for n in DERIVATIVES]
    derived += [pattern_array(interface, n) for n in (JACOBIAN_VALUES, HESSIAN_VALUES)]
    return [*found, *derived] if interface.derivatives else [*found, ", ".join(derived)]


def _size_wrapper(interface: Interface, suffix: str) -> dict[str, object]:
    if interface.dims:
        values = ", ".join(f"dims[{k}]" for k in range(len(interface.dims)))
        lines = [f"    return dims == NULL ? SIZE_MAX : {interface.name}_{suffix}({values});"]
    else:
        lines = ["    (void)dims;", f"    return {interface.name}_{suffix}();"]
    return {"returns": "size_t", "suffix": suffix, "parameters": "const int64_t *dims", "lines": lines}


def _wrapper(interface: Interface, suffix: str) -> dict[str, object]:
    parameters = interface.functions[suffix]
    generic = _WRAPPERS[suffix]
    used = {_TABLES.get(p.kind, "dims" if p.kind in (DIM, RANDOM) else p.name) for p in parameters}
    lines = [f"    (void){name};" for name in generic if name not in used]
    counters: dict[str, int] = {}
    values = [_value(p, interface, counters) for p in parameters]
    required = [t for t in ("dims", "inputs") if t in used]
    status = return_type(suffix) != "void"
    if required and status:
        condition = " || ".join(f"{t} == NULL" for t in required)
        lines += [f"    if ({condition}) {{", "        return GRADGEN_ERR_NULL;", "    }"]
    elif required:
        lines += [f"    if ({required[0]} == NULL) {{", "        return;", "    }"]
    call = f"{interface.name}_{suffix}(\n{wrap(values, '        ')});"
    lines.append(f"    {'return ' if status else ''}{call}")
    return {
        "returns": return_type(suffix),
        "suffix": suffix,
        "parameters": _parameter_list([_GENERIC[g] for g in generic]),
        "lines": lines,
    }


def _parameter_list(items: list[str]) -> str:
    """On the line of the function's name where it fits, else on lines of its own."""
    return ", ".join(items) if len(items) <= 2 else "\n" + wrap(items, "    ")


def _value(parameter: Parameter, interface: Interface, counters: dict[str, int]) -> str:
    """The expression that fetches one parameter from the generic tables."""
    if parameter.kind == DIM:
        return f"dims[{interface.dims.index(parameter.name)}]"
    if parameter.kind == RANDOM:
        return f"(uint64_t)dims[{len(interface.dims) + SEEDS.index(parameter.name)}]"
    if parameter.kind == FLAGS or parameter.kind not in TENSORS:
        return parameter.name
    table = _TABLES[parameter.kind]
    position = counters.get(table, 0)
    counters[table] = position + 1
    cast = f"({pointer_base(parameter)} *)"
    fetched = f"{cast}{table}[{position}]"
    return fetched if parameter.kind == INPUT else f"{table} == NULL ? NULL : {fetched}"


def struct_member(parameter: Parameter) -> str:
    return parameter_text(parameter)
