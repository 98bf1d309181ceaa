"""C declarations of a module, from its Interface: parameter lists, prototypes, cffi's cdef, and their documentation."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from gradgen.codegen.derivative_headers import derivative_documentation
from gradgen.codegen.extents import constant, elements, shape_text, to_c
from gradgen.codegen.interface import (
    COTANGENT,
    DERIVATIVE,
    DIM,
    FLAGS,
    GRADIENT,
    INPUT,
    OUTPUT,
    RANDOM,
    SAVED,
    TANGENT,
    WORK,
    Argument,
    Interface,
    Parameter,
)
from gradgen.codegen.templates import template_text
from gradgen.ir.dtypes import ALL

TENSORS = (INPUT, OUTPUT, COTANGENT, GRADIENT, TANGENT, DERIVATIVE)
MANY_TENSORS = 12
"""With more tensor parameters than this in a function, the module also offers calls through one struct."""

_WIDTH = 110
_RETURNS = {"zero_grad": "void"}
STATUS = "gradgen_status"


def abi_text() -> str:
    """The header that all modules share."""
    types = [f"GRADGEN_{d.name.upper()} = {k}{',' * (d is not ALL[-1])}" for k, d in enumerate(ALL)]
    types[0] += " /* uint8_t, 0 or 1 */"
    return template_text("c/gradgen_abi.h").replace("{{ types }}", "\n    ".join(types))


def return_type(suffix: str) -> str:
    return _RETURNS.get(suffix, STATUS)


def parameter_text(parameter: Parameter, *, restrict: bool = False) -> str:
    """One parameter as C: `const float *x`, `int64_t N`, `void *saved`."""
    if parameter.kind == DIM:
        return f"int64_t {parameter.name}"
    if parameter.kind == RANDOM:
        return f"uint64_t {parameter.name}"
    if parameter.kind == FLAGS:
        return f"uint32_t {parameter.name}"
    star = "*GRADGEN_RESTRICT " if restrict and not parameter.aliased else "*"
    return f"{pointer_base(parameter)} {star}{parameter.name}"


def pointer_base(parameter: Parameter) -> str:
    """What the parameter points at, with its const: `const float`, `void`."""
    if parameter.kind in (SAVED, WORK):
        return "void"
    assert parameter.dtype is not None
    return f"const {parameter.dtype.ctype}" if parameter.is_const else parameter.dtype.ctype


def signature(interface: Interface, suffix: str, *, restrict: bool = False) -> str:
    """`gradgen_status linear_bce_forward(` and the parameters on indented lines of their own, without the last `;`."""
    parameters = interface.functions[suffix]
    if not parameters:
        return f"{return_type(suffix)} {interface.name}_{suffix}(void)"
    head = [p for p in parameters if p.kind in (DIM, RANDOM, INPUT)]
    tail = [p for p in parameters if p.kind not in (DIM, RANDOM, INPUT)]
    groups = [[parameter_text(p, restrict=restrict) for p in group] for group in (head, tail) if group]
    one_line = f"{return_type(suffix)} {interface.name}_{suffix}({', '.join(t for g in groups for t in g)})"
    if len(one_line) <= 90:
        return one_line
    lines = ",\n".join(wrap(group, "    ") for group in groups)
    return f"{return_type(suffix)} {interface.name}_{suffix}(\n{lines})"


def wrap(items: Sequence[str], indent: str, separator: str = ", ") -> str:
    """Items joined and broken between items, so that lines stay within the page."""
    lines, line = [], ""
    for position, item in enumerate(items):
        piece = item + (separator.rstrip() if position < len(items) - 1 else "")
        if line and len(indent) + len(line) + 1 + len(piece) > _WIDTH:
            lines.append(line)
            line = piece
        else:
            line = f"{line} {piece}" if line else piece
    return "\n".join(indent + text for text in [*lines, line])


def size_parameters(interface: Interface) -> str:
    return ", ".join(f"int64_t {d}" for d in interface.dims) or "void"


def tensor_count(parameters: Iterable[Parameter]) -> int:
    return sum(p.kind in TENSORS for p in parameters)


def args_members(interface: Interface) -> list[Parameter]:
    """The members of `struct <name>_args`: every parameter of its functions once.

    Empty where the functions are short enough to be called directly.
    """
    if max(tensor_count(ps) for ps in interface.functions.values()) <= MANY_TENSORS:
        return []
    order = (DIM, RANDOM, INPUT, OUTPUT, COTANGENT, GRADIENT, TANGENT, DERIVATIVE, SAVED, WORK, FLAGS)
    members = {p.name: p for suffix in struct_functions(interface) for p in interface.functions[suffix]}
    return sorted(members.values(), key=lambda p: order.index(p.kind))  # stable: the order of the functions


def state_members(interface: Interface) -> list[Argument]:
    """The members of `struct <name>_state`, what a model keeps between calls: wide elements first, so that nothing is between
    them on any machine.  Empty where there is no model, or where the target cannot have so large a type."""
    held = {a.name for a in interface.held} if interface.model.names else set()
    members = [a for a in interface.inputs if a.name in held]
    counts = [constant(elements(a.shape)) for a in members]
    sizes = [n * a.dtype.numpy.itemsize if n else 0 for n, a in zip(counts, members, strict=True)]
    if 0 in sizes or sum(sizes) >= 2 ** (interface.index_bits - 1):
        return []
    return sorted(members, key=lambda a: -a.dtype.numpy.itemsize)


def state_bytes(interface: Interface) -> int:
    """The bytes of its members."""
    return sum((constant(elements(a.shape)) or 0) * a.dtype.numpy.itemsize for a in state_members(interface))


def path_note(parameter: Parameter, interface: Interface) -> str:
    """What the parameter is in the model, as a comment behind it in C."""
    path = interface.model.paths.get(parameter.of)
    if path is None or parameter.kind not in (INPUT, GRADIENT):
        return ""
    return f" /* {'gradient of ' if parameter.kind == GRADIENT else ''}{comment_text(path)} */"


def struct_functions(interface: Interface) -> list[str]:
    return [s for s in interface.functions if s != "zero_grad"]


def cdef(interface: Interface) -> str:
    """What cffi reads: exactly the header's functions, statuses as int, the head of the module record."""
    patterns = {p.function: None for p in interface.patterns}
    lines = [*_PATTERN_CDEF] if patterns else []
    lines += [
        "typedef struct {",
        "    uint32_t abi_version, struct_size;",
        "    const char *name, *generator, *digest;",
        *(f"    const gradgen_pattern *{suffix.removesuffix('_values')}_patterns;" for suffix in patterns),
        "    ...;",
        "} gradgen_module;",
        f"size_t {interface.name}_saved_bytes({size_parameters(interface)});",
        f"size_t {interface.name}_work_bytes({size_parameters(interface)});",
    ]
    for suffix, parameters in interface.functions.items():
        result = "void" if return_type(suffix) == "void" else "int"
        unknown = {p: f"void *{p.name}" for p in parameters if p.dtype is not None and p.dtype.wider}  # to cffi
        listed = ", ".join(unknown.get(p) or parameter_text(p) for p in parameters) or "void"
        lines.append(f"{result} {interface.name}_{suffix}({listed});")
    lines.append(f"const gradgen_module *{interface.name}_module(void);")
    return "\n".join(lines) + "\n"


_PATTERN_CDEF = (
    "typedef struct {",
    "    int64_t rows, columns, nonzeros;",
    "    const int32_t *start, *column;",
    "    ...;",
    "} gradgen_pattern;",
)


# --- documentation ---------------------------------------------------------------------------------------------------


def comment_text(text: str) -> str:
    """Text that may stand in a C comment: no end of comment, no trigraph, no line splice."""
    text = text.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
    return "\n".join(line.rstrip().rstrip("\\") for line in text.splitlines())


def comment_block(lines: Sequence[str]) -> str:
    """A documentation comment, its end on the last line."""
    return "/** " + "\n *  ".join(lines) + " */"


def statement(left: str, sign: str, formula: str) -> str:
    """`left sign formula`, unless the formula already names what it defines."""
    head = formula.lstrip()
    if head.startswith((f"{left} ", f"{left}[")):
        return formula.strip()
    return f"{left} {sign} {formula.strip()}"


def formulas(interface: Interface) -> list[str]:
    """One text per known formula: outputs first, then gradients."""
    found = [statement(a.name, "=", a.formula) for a in interface.outputs if a.formula]
    found += [statement(f"grad_{a.name}", "+=", a.formula) for a in interface.parameters if a.formula]
    return [comment_text(f) for f in found]


def wrapped_formulas(interface: Interface, prefix: str) -> list[str]:
    """The formulas as comment lines."""
    lines = []
    for line in aligned_formulas(interface):
        lines += textwrap.wrap(
            line, _WIDTH, initial_indent=prefix, subsequent_indent=f"{prefix}    ", break_long_words=False
        ) or [prefix.rstrip()]
    return lines


_STATEMENT = re.compile(r"(\w+(?:\[[\w, ]*\])?) +(\+?=) +(.*)")


def aligned_formulas(interface: Interface) -> list[str]:
    """The lines of all formulas, their equality signs below each other."""
    lines = [line for formula in formulas(interface) for line in formula.splitlines()]
    found = [_STATEMENT.fullmatch(line) for line in lines]
    width = max([len(m[1]) for m in found if m and len(m[1]) <= 24], default=0)
    return [f"{m[1]:<{width}} {m[2]} {m[3]}" if m else line for m, line in zip(found, lines, strict=True)]


def argument_lines(arguments: Sequence[Argument], notes: Mapping[str, str]) -> list[str]:
    """`x     float32 [N, 5]  note`, in columns."""
    rows = [(a.name, a.dtype.name, shape_text(a.shape), notes.get(a.name, "")) for a in arguments]
    widths = [max((len(r[k]) for r in rows), default=0) for k in range(3)]
    return [
        "  ".join([name.ljust(widths[0]), dtype.ljust(widths[1]), shape.ljust(widths[2]), note]).rstrip()
        for name, dtype, shape, note in rows
    ]


def documentation(interface: Interface) -> dict[str, list[str]]:
    """Function suffix -> the lines of its comment in the header, in the words of the C contract."""
    call = ", ".join
    inputs, outputs = [a.name for a in interface.inputs], [a.name for a in interface.outputs]
    arguments = ", ".join(interface.dims)
    align = f"{interface.name.upper()}_ALIGN"
    notes = interface.model.paths | {a.name: "NULL: not wanted" for a in interface.outputs}
    docs = {
        "forward": [
            f"{call(outputs)} <- forward({call(inputs)}).  Tensors are dense and row-major.",
            *(f" {line}" for line in argument_lines((*interface.inputs, *interface.outputs), notes)),
            *([f" saved: {interface.name}_saved_bytes({arguments}) bytes, aligned to {align}; NULL: no backward "
               "will follow"] if interface.differentiable else []),
            *(_SEED_LINES if interface.draws else []),
            f" work: {interface.name}_work_bytes({arguments}) bytes, aligned to {align}; NULL where that is 0",
            *_state_lines(interface),
            f"Buffers that are written must not overlap others{', but for those' if interface.in_place else ''}.  Reentrant: "
            "one saved and one work per thread.",
        ]
    }
    if interface.differentiable:
        docs["backward"] = _backward_lines(interface)
        docs["value_and_grad"] = [
            f"Both in one pass, nothing saved: {call(outputs)} written, gradients added to (or set: GRADGEN_SET_GRAD).",
            *(["Incoming gradients as for backward."] if _seeds(interface, "value_and_grad") else []),
        ]
        docs["zero_grad"] = ["Zeroes what is not NULL."]
    docs |= derivative_documentation(interface)
    return {suffix: [comment_text(line) for line in lines] for suffix, lines in docs.items()}


def _state_lines(interface: Interface) -> list[str]:
    where = ", and may be the same memory" if interface.in_place else ""
    return [f" {new} is what {old} becomes: the next call is given it{where}." for old, new in interface.states]


_SEED_LINES = (
    " seed, step: the random numbers follow from these two alone.  Another step, or another seed, draws others; backward",
    "       takes forward's, and draws the same.",
)


def _backward_lines(interface: Interface) -> list[str]:
    cotangents = _seeds(interface, "backward")
    seeds = " ".join(_cotangent_note(p) for p in cotangents)
    first = interface.parameters[0].name if interface.parameters else "x"
    if len(cotangents) == 1:
        (seed,) = cotangents
        return [
            f"grad_{first} += d{seed.of}/d{first} * {seed.name}, and so on.  NULL gradient: not wanted.  {seeds}",
            *_flag_lines(),
        ]
    return [
        f"grad_{first} += sum over outputs o of do/d{first} * grad_o, and so on.  NULL gradient: not wanted.",
        *textwrap.wrap(seeds, _WIDTH - 4),
        *_flag_lines(),
    ]


def _seeds(interface: Interface, suffix: str) -> list[Parameter]:
    return [p for p in interface.functions[suffix] if p.kind == COTANGENT]


def _cotangent_note(parameter: Parameter) -> str:
    if not parameter.optional:
        return f"{parameter.name} is needed."
    return f"{parameter.name} NULL: {0 if parameter.shape else 1}."


def _flag_lines() -> list[str]:
    return [
        "Inputs must hold what forward saw.  flags: GRADGEN_RETAIN_GRAPH keeps saved for another backward,",
        "GRADGEN_SET_GRAD writes instead of adding.",
        "GRADGEN_ERR_NO_FORWARD, GRADGEN_ERR_GRAPH_FREED: saved holds no forward, or one already used.",
    ]


# --- sizes -----------------------------------------------------------------------------------------------------------


def size_macro(interface: Interface, which: str) -> str:
    """`LINEAR_BCE_SAVED_BYTES 1024`, or `LINEAR_BCE_SAVED_BYTES(N) (64 + 4 * (N))` with open dimensions."""
    extent = interface.saved_bytes if which == "saved" else interface.work_bytes
    name = f"{interface.name.upper()}_{which.upper()}_BYTES"
    if interface.dims:
        text = to_c(extent, {d: f"(int64_t)({d})" for d in interface.dims})
        head, value = f"{name}({', '.join(interface.dims)})", f"((size_t)({text}))"
        if len(head) + len(value) < _WIDTH:
            return f"{head} {value}"
        return " \\\n    ".join([head, *textwrap.wrap(value, _WIDTH + 2, break_long_words=False, break_on_hyphens=False)])
    return f"{name} ((size_t){to_c(extent)})"
