"""The README of a bundle, for people who know C and not gradgen."""

from __future__ import annotations

from collections.abc import Iterable

from gradgen.codegen.declarations import aligned_formulas, state_bytes, wrap
from gradgen.codegen.demands import needed
from gradgen.codegen.extents import constant, evaluate, shape_text, to_python
from gradgen.codegen.interface import COTANGENT, DIM, FLAGS, GRADIENT, INPUT, OUTPUT, RANDOM, Interface
from gradgen.codegen.templates import render
from gradgen.ir.assumptions import Requirement, condition_text
from gradgen.ir.symbols import Extent

_FILES = {
    "README.md": "this page",
    "CMakeLists.txt": "the library, the example and the self-test as CMake targets",
    "example.c": "a complete program without a heap",
    "selftest.c": "tests on the target machine",
    "gradgen_abi.h": "status codes, flags and types, the same for all modules of one ABI number",
    "__init__.py": "the Python package",
    "_runtime.py": "its fixed part: `Module` and functions",
    "_native.py": "its fixed part: loading, arrays, pointers",
    "_held.py": "its fixed part: what a `Module` keeps between calls",
    "_selfcheck.py": "its fixed part: `self_test`",
    "_build.py": "compiles the package with cffi",
    "_derivatives.py": "its fixed part: derivatives beyond the gradient",
    "_stateful.py": "its fixed part: states and random numbers",
    "_training.py": "its fixed part: the trainer",
}


_DERIVATIVE_TEXT = {
    "jvp": "the outputs and their derivative along a direction",
    "jacobian": "first derivatives as dense arrays",
    "hvp": "the Hessian times a direction",
    "hessian": "second derivatives as dense arrays",
    "jacobian_values": "first derivatives in compressed rows, from products with columns that share colours",
    "hessian_values": "second derivatives in compressed rows, likewise",
}


def readme_text(interface: Interface, paths: Iterable[str], abi: int, align: int, *, single_file: bool,
                trainer: dict[str, object] | None = None) -> str:
    inputs, outputs = [a.name for a in interface.inputs], [a.name for a in interface.outputs]
    name = interface.name
    own = {
        f"{name}.h": "everything" if single_file else "declarations, with the documentation of each function",
        f"{name}.c": f"asks `{name}.h` for the implementation" if single_file else "the implementation",
        f"{name}.json": "the manifest: shapes, sizes, options, checksums",
    }
    gradients = f", and gradients of {_listed([a.name for a in interface.parameters])}" if interface.differentiable else ""
    computes = f"Computes {_listed(outputs)} from {_listed(inputs)}{gradients}."
    return render(
        "README.md.j2",
        name=name,
        upper=name.upper(),
        align=align,
        summary=f"{computes} Generated C with a Python package around it.",
        formula_lines=aligned_formulas(interface),
        rows=_rows(interface),
        dims_text=_dims_text(interface),
        single_file=single_file,
        snippet=_snippet(interface, single_file),
        differentiable=interface.differentiable,
        threads=int(dict(interface.options).get("threads", "0")),
        saved_text=_bytes_text(interface.saved_bytes, name, "saved"),
        work_text=_bytes_text(interface.work_bytes, name, "work"),
        derivatives=[{"name": s, "text": _DERIVATIVE_TEXT[s]} for s in interface.derivatives],
        trainer=trainer,
        python=_python(interface),
        package_hint=f"generated.{name}",
        files=[{"path": p, "text": (own | _FILES)[p]} for p in sorted({*paths, "README.md", f"{name}.json"})],
        version=interface.version,
        abi=abi,
        digest=interface.digest,
        state_bytes=state_bytes(interface),
        options_text=", with " + ", ".join(f"`{k}={v}`" for k, v in interface.options) if interface.options else "",
    )


def _listed(names: list[str]) -> str:
    names = [f"`{n}`" for n in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _rows(interface: Interface) -> list[dict[str, str]]:
    rows, states = [], {new: f"`{old}`" for old, new in interface.states}
    for a in interface.inputs:
        role = f"input, with gradient `grad_{a.name}`" if interface.differentiable and a in interface.parameters else "input"
        path = interface.model.paths.get(a.name)
        role = f"`{path}`: {role}" if path is not None else role
        rows.append({"name": a.name, "dtype": a.dtype.name, "shape": shape_text(a.shape), "role": role})
    for a in interface.outputs:
        role = f"output: {states[a.name]} in the next call" if a.name in states else "output"
        rows.append({"name": a.name, "dtype": a.dtype.name, "shape": shape_text(a.shape), "role": role})
    return rows


def _dims_text(interface: Interface) -> str:
    if not interface.dims:
        return ""
    one = len(interface.dims) == 1
    extents = [e for a in (*interface.inputs, *interface.outputs) for e in a.shape]
    empty = all(evaluate(e, dict.fromkeys(interface.dims, 0)) >= 0 for e in extents)
    zero = "; 0 is allowed" if empty else ", such that no extent is negative"
    asked = [r for r in needed(interface.conditions)]
    if asked:
        zero = ", such that " + " and ".join(f"`{condition_text(r.condition)}`{_place(r)}" for r in asked)
    return f"{_listed(list(interface.dims))} {'is' if one else 'are'} chosen with each call{zero}."


def _place(requirement: Requirement) -> str:
    return f" (`{str(requirement.where).replace('`', '')}`)" if requirement.where else ""


def _bytes_text(extent: Extent, name: str, which: str) -> str:
    macro, function = f"`{name.upper()}_{which.upper()}_BYTES`", f"`{name}_{which}_bytes`"
    known = constant(extent)
    return f"{known}: {macro}" if known is not None else f"`{to_python(extent)}`: {function}, {macro}"


def _snippet(interface: Interface, single_file: bool) -> str:
    name = interface.name
    macro = f"({', '.join(interface.dims)})" if interface.dims else ""
    lines = [f"#define {name.upper()}_IMPLEMENTATION  /* in one source file */"] if single_file else []
    lines += [f'#include "{name}.h"', ""]
    if interface.dims:
        constants = ", ".join(interface.dims)
        lines.append(f"/* for a constant {constants}; otherwise {name}_saved_bytes tells how much to get */")
    if interface.differentiable:
        lines.append(f"static GRADGEN_ALIGNED unsigned char saved[{name.upper()}_SAVED_BYTES{macro}];")
    work = f"{name.upper()}_WORK_BYTES{macro}"
    if constant(interface.work_bytes) != 0:
        lines.append(f"static GRADGEN_ALIGNED unsigned char work[{work}];")
    lines += ["", _call(interface, "forward")]
    if interface.differentiable:
        lines += [_call(interface, "backward"), _call(interface, "zero_grad")]
    return "\n".join(lines)


def _call(interface: Interface, suffix: str) -> str:
    values = []
    for p in interface.functions[suffix]:
        absent = (p.kind == COTANGENT and p.optional) or (p.kind == "work" and constant(interface.work_bytes) == 0)
        address = "&" if p.kind in (OUTPUT, GRADIENT, INPUT) and not p.shape else ""
        plain = p.kind in (DIM, RANDOM)
        values.append("NULL" if absent else "0" if p.kind == FLAGS else p.name if plain else address + p.name)
    head = f"{interface.name}_{suffix}("
    return f"{head}{wrap(values, ' ' * len(head)).lstrip()});"


def _python_derivative(interface: Interface, suffix: str) -> str:
    name, inputs = interface.name, ", ".join(a.name for a in interface.inputs)
    inputs += ", seed=1, step=0" if interface.draws else ""
    first = interface.parameters[0].name
    if suffix == "jvp":
        outputs = ", ".join(a.name for a in interface.outputs)
        outputs = outputs if len(interface.outputs) == 1 else f"({outputs})"
        return f"{outputs}, moved = {name}.jvp({inputs}, tangents={{'{first}': d{first}}})"
    if suffix == "hvp":
        return f"products = {name}.hvp({inputs}, directions={{'{first}': d{first}}})"
    if suffix.endswith("_values"):
        suffix = suffix.removesuffix("_values")
        return f"{suffix} = {name}.{suffix}_sparse({inputs})"
    return f"{suffix} = {name}.{suffix}({inputs})"


def _python(interface: Interface) -> str:
    name = interface.name
    inputs = ", ".join(a.name for a in interface.inputs)
    outputs = ", ".join(a.name for a in interface.outputs)
    following = {new for _, new in interface.states}
    own = ", ".join(a.name for a in interface.outputs if a.name not in following)
    inputs += ", seed=1, step=0" if interface.draws else ""
    lines = [f"from generated import {name}", "", f"{outputs} = {name}.forward({inputs})"]
    if interface.differentiable:
        data = ", ".join(a.name for a in interface.data)
        held = ", ".join(f"{a.name}={a.name}" for a in interface.held)
        held = "state" if interface.model.names else held
        parameters = [a.name for a in interface.parameters]
        scalar = len(interface.outputs) == 1 + len(interface.states) and not interface.outputs[0].shape
        seed = "" if scalar else "gradient"
        first = parameters[0] if parameters else "x"
        lines += [
            "",
            f"m = {name}.Module({held}{', seed=1' if interface.draws else ''})",
            f"{own} = m.forward({data})",
            f"m.backward({seed})  # adds to m.grad.{first}" + (" and so on" if len(parameters) > 1 else ""),
            "m.zero_grad()",
        ]
    lines += [_python_derivative(interface, suffix) for suffix in interface.derivatives]
    return "\n".join(lines)
