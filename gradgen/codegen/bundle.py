"""Bundles: all files of one emitted module, path -> text, a pure function of what is to be emitted.

The texts of loops come from the scheduler's Program (`ProcedureCode`); everything around them, from the argument checks
to the Python package, comes from the Interface.  Templates hold the shape of files and no logic: each receives exactly
the keys it uses, and a test compares the two.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from gradgen.codegen import module_record as record
from gradgen.codegen.checks import checks_sizes, dims_fit_lines, function_checks
from gradgen.codegen.declarations import (
    args_members,
    comment_block,
    comment_text,
    documentation,
    signature,
    size_macro,
    size_parameters,
    struct_functions,
    wrap,
    wrapped_formulas,
)
from gradgen.codegen.demands import lines, needed
from gradgen.codegen.derivative_headers import pattern_macros
from gradgen.codegen.extents import constant, dims_of, elements, saturating_helpers, to_c
from gradgen.codegen.flash import flash_bytes
from gradgen.codegen.interface import Interface, Parameter
from gradgen.codegen.kernels_body import VECTOR_LOOPS
from gradgen.codegen.layout import short
from gradgen.codegen.manifest import manifest_text
from gradgen.codegen.names import check_interface
from gradgen.codegen.package import package_files
from gradgen.codegen.programs import Samples, example_text, selftest_text
from gradgen.codegen.prune import defined, pruned
from gradgen.codegen.readme import readme_text
from gradgen.codegen.templates import render, template_text
from gradgen.codegen.write import write_bundle
from gradgen.errors import CodegenError
from gradgen.ir.draws import STATE
from gradgen.ir.symbols import Extent
from gradgen.loops.bill import Bill, said
from gradgen.target import PORTABLE, Target

__all__ = ["ABI_VERSION", "ModuleCode", "ProcedureCode", "Samples", "make_bundle", "make_sources", "write_bundle"]

ABI_VERSION = 1
HEADER_DIMS = 7
"""Dimensions that the header of SAVED holds one by one; further ones are mixed into the last."""


class ProcedureCode(Protocol):
    """One function's loops as C, as `gradgen.codegen.kernels_body` makes them.

    `body` holds statements indented by 4, to stand after the argument checks and before the return; `helpers` maps the
    names of static functions and macros to their text, in the order in which they must be defined.
    """

    @property
    def name(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def helpers(self) -> Mapping[str, str]: ...
    @property
    def work_bytes(self) -> Extent: ...
    @property
    def work_bytes_c(self) -> str: ...


@dataclass(frozen=True, eq=False)
class ModuleCode:
    """Everything a bundle is made from; the sizes are C expressions over int64_t dimensions."""

    interface: Interface
    procedures: tuple[ProcedureCode, ...]
    saved_bytes_c: str
    work_bytes_c: str
    samples: Samples | None = None
    bill: Bill | None = None  # without its flash
    target: Target = PORTABLE
    optimise: str = "speed"


def make_bundle(code: ModuleCode, *, single_file: bool = False) -> dict[str, str]:
    """All files of the bundle: path relative to the bundle's folder -> text.

    With `single_file`, `<name>.h` holds everything a C program needs and `<name>.c` two lines that ask for it.
    Raises InvalidNameError for names that cannot be emitted, CodegenError where the parts do not fit together.
    """
    interface = code.interface
    files = make_sources(code, single_file=single_file)
    files["example.c"] = example_text(interface, banner(interface))
    files["selftest.c"] = selftest_text(interface, banner(interface), code.samples)
    files["CMakeLists.txt"] = render(
        "c/CMakeLists.txt.j2",
        banner_line=banner(interface).splitlines()[0],
        name=interface.name,
        upper=interface.name.upper(),
        threads=bool(_threads(interface)),
    )
    files |= package_files(interface, ABI_VERSION)
    files["README.md"] = readme_text(interface, files, ABI_VERSION, single_file=single_file)
    costs = with_flash(code, files[f"{interface.name}.{'h' if single_file else 'c'}"])
    files[f"{interface.name}.json"] = manifest_text(interface, files, ABI_VERSION, costs)
    return dict(sorted(files.items()))


def make_sources(code: ModuleCode, *, single_file: bool = False) -> dict[str, str]:
    """The C files of the module alone: less work than the whole bundle."""
    _verify(code)
    name, abi = code.interface.name, template_text("c/gradgen_abi.h")
    source = _source(code)
    header = _header(code, with_flash(code, source))
    if not single_file:
        return {f"{name}.h": header, f"{name}.c": source, "gradgen_abi.h": abi}
    implementation = f"{name.upper()}_IMPLEMENTATION"
    header = header.replace('#include "gradgen_abi.h"\n', abi, 1)
    source = source.replace(f'#include "{name}.h"\n\n', "", 1)
    both = f"""{header}
/* The implementation: define {implementation} before including this file in exactly one source file. */
#ifdef {implementation}
{source}#endif
"""
    return {f"{name}.h": both, f"{name}.c": f'#define {implementation}\n#include "{name}.h"\n'}


def with_flash(code: ModuleCode, source: str) -> Bill | None:
    """The bill with what the source takes in flash."""
    if code.bill is None:
        return None
    constants = sum(f.constants for f in code.bill.functions)
    return replace(code.bill, flash=constants + flash_bytes(source, code.target, code.optimise == "size"))


def _verify(code: ModuleCode) -> None:
    interface = code.interface
    check_interface(interface)
    wanted = {s for s in interface.functions if s != "zero_grad"}
    given = [p.name for p in code.procedures]
    if sorted(wanted) != sorted(given):
        raise CodegenError(f"{interface.name} needs the functions {sorted(wanted)}, but {sorted(given)} were made")
    extents = [e for a in (*interface.inputs, *interface.outputs) for e in a.shape]
    unknown = dims_of([*extents, interface.saved_bytes, interface.work_bytes]) - set(interface.dims)
    if unknown:
        listed = ", ".join(sorted(unknown))
        raise CodegenError(f"shapes of {interface.name} use dimensions it does not declare: {listed}")


def banner(interface: Interface) -> str:
    return (
        f"Generated by gradgen {interface.version} for {_purpose(interface)}, ABI {ABI_VERSION}, "
        f"digest {interface.digest}.  Do not edit.\n"
        " * This file belongs to whoever generated it: no licence is needed to use it."
    )


def _purpose(interface: Interface) -> str:
    """`target cortex-m4, optimise=size`: the target's name without its numbers, which stand in the manifest."""
    options = dict(interface.options)
    name = options.get("target", "portable").removeprefix("name=").split(" ", 1)[0]
    return f"target {name}" + (", optimised for size" if options.get("optimise") == "size" else "")


# --- header ----------------------------------------------------------------------------------------------------------


def _header(code: ModuleCode, costs: Bill | None) -> str:
    interface = code.interface
    docs = documentation(interface)
    return render(
        "c/module.h.j2",
        banner=banner(interface),
        name=interface.name,
        upper=interface.name.upper(),
        formula_lines=wrapped_formulas(interface, " * "),
        condition_lines=[comment_text(line) for line in lines(interface.conditions)],
        threads=_threads(interface),
        size_doc=comment_block([*_size_lines(interface), *_bill_lines(costs)]),
        size_parameters=size_parameters(interface),
        pattern_macros=pattern_macros(interface),
        saved_macro=size_macro(interface, "saved"),
        work_macro=size_macro(interface, "work"),
        functions=[{"doc": comment_block(docs[s]), "prototype": signature(interface, s)} for s in interface.functions],
        members=[record.struct_member(p) for p in args_members(interface)],
        struct_functions=struct_functions(interface),
    )


def _threads(interface: Interface) -> int:
    return int(dict(interface.options).get("threads", "0"))


def _size_lines(interface: Interface) -> list[str]:
    saved = "forward writes, backward reads" if interface.differentiable else "always 0: there is no backward"
    lines = [f"Bytes of SAVED ({saved}) and WORK (scratch, free after each call)."]
    if interface.dims:
        as_said = ", not as said above" if interface.conditions else ""
        lines += [f"SIZE_MAX where a dimension is negative{as_said} or too large.",
                  "The macros give the same for constant dimensions, so that memory can be static."]
    else:
        lines += ["The macros give the same, so that memory can be static."]
    return lines


def _bill_lines(costs: Bill | None) -> list[str]:
    """What else the module takes."""
    if costs is None or not costs.functions:
        return []
    done = ", ".join(f"{f.name} {comment_text(said(f.multiply_adds))}" for f in costs.functions)
    where = " -> ".join((costs.deepest.name, *costs.deepest.through))
    text = [f"About {said(costs.flash or 0)} bytes of code and constants; at most {said(costs.stack)} of stack, in {where}.",
            f"Multiply-adds of a call: {done}."]
    return [line for t in text for line in textwrap.wrap(t, 112)]


# --- source ----------------------------------------------------------------------------------------------------------


def _source(code: ModuleCode) -> str:
    interface = code.interface
    procedures = [_procedure(code, p) for p in _in_order(code)]
    bodies = [str(p["body"]) for p in procedures]
    checks = [str(p["head"]) for p in procedures]
    sizes = [code.saved_bytes_c, code.work_bytes_c]
    texts = merge_helpers(code)
    helpers = list(pruned(texts, [*bodies, *checks, *sizes]).values())
    names, macros = defined(helpers)
    zero = "zero_grad" in interface.functions
    fit = short(dims_fit_lines(interface)) if checks_sizes(interface) else []
    return render(
        "c/module.c.j2",
        banner=banner(interface),
        origin_lines=_origin_lines(interface),
        name=interface.name,
        upper=interface.name.upper(),
        size_checks=short(_size_checks(code)),
        quiet_pragmas=VECTOR_LOOPS in texts,
        helpers=helpers,
        helper_names=names,
        helper_macros=macros,
        dims_fit_lines=fit,
        conditions_text=", the conditions hold" if interface.conditions else "",
        size_helpers=saturating_helpers("\n".join(fit), interface.name),
        size_parameters=size_parameters(interface),
        dims_call=", ".join(interface.dims),
        saved_bytes=code.saved_bytes_c,
        work_bytes=code.work_bytes_c,
        state=_state(interface) if interface.differentiable else None,
        procedures=procedures,
        zero_lines=_zero_lines(interface) if zero else [],
        zero_signature=signature(interface, "zero_grad") if zero else "",
        members=bool(args_members(interface)),
        struct_functions=[_struct_call(interface, s) for s in struct_functions(interface)],
        wrappers=record.wrappers(interface),
        tables=record.tables(interface),
        record=_record(interface),
    )


def _in_order(code: ModuleCode) -> list[ProcedureCode]:
    by_name = {p.name: p for p in code.procedures}
    return [by_name[s] for s in code.interface.functions if s in by_name]


def merge_helpers(code: ModuleCode) -> dict[str, str]:
    """The helpers of all procedures, each once.  Raises CodegenError where one name stands for two texts."""
    merged: dict[str, str] = {}
    for procedure in _in_order(code):
        for name, text in procedure.helpers.items():
            if merged.setdefault(name, text) != text:
                raise CodegenError(f"two different helper functions are named {name}")
    return {name: text.strip("\n") for name, text in merged.items()}


def _origin_lines(interface: Interface) -> list[str]:
    return [f"From {wrap(interface.lines, '').strip()}."] if interface.lines else []


def _size_checks(code: ModuleCode) -> list[str]:
    """Arrays of size -1 where the macro of the header and the expression of the memory plan disagree."""
    interface = code.interface
    checks = []
    for which, planned in (("saved", code.saved_bytes_c), ("work", code.work_bytes_c)):
        macro = f"{interface.name.upper()}_{which.upper()}_BYTES"
        if interface.dims:
            values = {d: str(3 + 2 * k) for k, d in enumerate(interface.dims)}
            macro = f"{macro}({', '.join(values.values())})"
            planned = substitute(planned, {d: f"INT64_C({v})" for d, v in values.items()})
        head, value = f"typedef char {interface.name}_{which}_bytes_agree[{macro} ==", f"(size_t)({planned}) ? 1 : -1];"
        checks.append(f"{head} {value}" if len(head) + len(value) < 110 else f"{head}\n    {value}")
    return checks


def substitute(text: str, names: Mapping[str, str]) -> str:
    """C text with whole identifiers replaced."""
    return re.sub(r"\b[A-Za-z_]\w*", lambda m: names.get(m.group(), m.group()), text)


def _procedure(code: ModuleCode, procedure: ProcedureCode) -> dict[str, object]:
    interface, suffix = code.interface, procedure.name
    dims = "".join(f", {d}" for d in interface.dims)
    head = short(function_checks(interface, suffix, procedure.work_bytes, procedure.work_bytes_c))
    tail: list[str] = []
    if suffix == "forward" and interface.differentiable:
        head += ["    if (saved != NULL) {", f"        {interface.name}_set_state(saved, 0{dims});", "    }"]
        tail = [
            "    if (saved != NULL) {",
            f"        {interface.name}_set_state(saved, {interface.name.upper()}_READY{dims});",
            "    }",
        ]
    if suffix == "backward":
        head += [
            f"    const gradgen_status gradgen_state = {interface.name}_check_state(saved{dims});",
            "    if (gradgen_state != GRADGEN_OK) {",
            "        return gradgen_state;",
            "    }",
        ]
        tail = [
            "    if ((flags & GRADGEN_RETAIN_GRAPH) == 0) {",
            f"        {interface.name}_set_state(saved, {interface.name.upper()}_USED{dims});",
            "    }",
        ]
    body = procedure.body.strip("\n")
    if re.search(rf"\b{STATE.name}\b", body):
        head.append(f"    const int64_t {STATE.name}[2] = {{(int64_t)seed, (int64_t)step}};")
    unread = [p for p in _unread(interface.functions[suffix], "\n".join([*head, body, *tail]))]
    head += [f"    (void){p.name};" for p in unread]
    return {"signature": signature(interface, suffix, restrict=True), "head": head, "body": body, "tail": tail}


def _unread(parameters: tuple[Parameter, ...], text: str) -> list[Parameter]:
    """Parameters that the function's text never names: said in C, so that compilers need not warn."""
    words = set(re.findall(r"[A-Za-z_]\w*", text))
    return [p for p in parameters if p.name not in words]


def _state(interface: Interface) -> dict[str, object]:
    """Words that only this module's forward writes, and how the header of SAVED is filled and compared."""
    seed = hashlib.sha256(f"{interface.name} {interface.digest}".encode()).digest()
    slots = _header_slots(interface.dims)
    return {
        "ready": f"0x{seed[:8].hex()}",
        "used": f"0x{bytes(b ^ 0xFF for b in seed[:8]).hex()}",
        "parameters": "".join(f", int64_t {d}" for d in interface.dims),
        "store": [f"header.dims[{k}] = {text};" for k, text in enumerate(slots)],
        "compare": [f"header.dims[{k}] != {text}" for k, text in enumerate(slots)],
    }


def _header_slots(dims: tuple[str, ...]) -> list[str]:
    slots = list(dims[: HEADER_DIMS - 1])
    rest = dims[HEADER_DIMS - 1 :]
    if len(rest) > 1:  # mixed as in a polynomial hash, in unsigned arithmetic
        mixed = f"(uint64_t){rest[0]}"
        for d in rest[1:]:
            mixed = f"({mixed}) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t){d}"
        return [*slots, f"(int64_t)(({mixed}) >> 1)"]
    return [*slots, *rest]


def _zero_lines(interface: Interface) -> list[str]:
    """memset of each gradient: all bits zero is 0.0 in every format that C99 compilers of today use."""
    lines = []
    for p in interface.functions["zero_grad"]:
        if p.dtype is None:
            continue
        count = elements(p.shape)
        known = constant(count)
        if known == 0:
            continue
        size = f"sizeof(*{p.name})" if known == 1 else f"(size_t)({to_c(count)}) * sizeof(*{p.name})"
        size = f"{known} * sizeof(*{p.name})" if known not in (None, 1) else size
        condition = f"{p.name} != NULL" if known is not None else f"{p.name} != NULL && {to_c(count)} > 0"
        lines += [f"    if ({condition}) {{", f"        memset({p.name}, 0, {size});", "    }"]
    unread = _unread(interface.functions["zero_grad"], "\n".join(lines))
    return [f"    (void){p.name};" for p in unread] + lines


def _struct_call(interface: Interface, suffix: str) -> dict[str, str]:
    arguments = [f"args->{p.name}" for p in interface.functions[suffix]]
    return {"suffix": suffix, "arguments": wrap(arguments, "        ")}


def _record(interface: Interface) -> dict[str, object]:
    counts = (
        interface.dims, interface.inputs, interface.outputs, interface.parameters, interface.differentiable_outputs
    )  # fmt: skip
    count = len(needed(interface.conditions))
    return {
        "name": record.c_string(interface.name),
        "version": record.c_string(interface.version),
        "digest": record.c_string(interface.digest),
        "dims": f"{interface.name}_dims" if interface.dims else "NULL",
        "inputs": f"{interface.name}_inputs" if interface.inputs else "NULL",
        "outputs": f"{interface.name}_outputs" if interface.outputs else "NULL",
        "counts": ", ".join(str(len(c)) for c in counts),
        "draws": int(interface.draws),
        "functions": record.record_functions(interface),
        "conditions": f"{interface.name}_conditions, {count}" if count else "NULL, 0",
    }
