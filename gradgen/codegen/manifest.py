"""The manifest of a bundle: what is in it, for machines.  `_build.py` compiles from it; loaders check its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gradgen.codegen.declarations import cdef
from gradgen.codegen.demands import as_python, message
from gradgen.codegen.extents import constant, to_python
from gradgen.codegen.interface import Argument, Interface, Parameter, Pattern
from gradgen.ir.assumptions import Requirement
from gradgen.ir.symbols import Extent
from gradgen.loops.bill import Bill


def manifest_text(interface: Interface, files: Mapping[str, str], abi: int, costs: Bill | None = None,
                  declared: Sequence[str] = (), trainer: dict[str, Any] | None = None) -> str:
    """JSON with sorted, stable content; `files` are all other files of the bundle, `declared` further lines for cffi."""
    data = {
        "name": interface.name,
        "abi": abi,
        "digest": interface.digest,
        "generator": f"gradgen {interface.version}",
        "options": dict(interface.options),
        "dims": list(interface.dims),
        **({"conditions": [_condition(r) for r in interface.conditions]} if interface.conditions else {}),
        **({"draws": True} if interface.draws else {}),
        **({"states": dict(interface.states)} if interface.states else {}),
        **_model(interface),
        "inputs": [_argument(a, interface) for a in interface.inputs],
        "outputs": [_argument(a, interface) for a in interface.outputs],
        "saved_bytes": _extent(interface.saved_bytes),
        "work_bytes": _extent(interface.work_bytes),
        **({"bill": costs.as_dict()} if costs is not None else {}),
        "functions": {s: [_parameter(p) for p in ps] for s, ps in interface.functions.items()},
        **({"trainer": trainer} if trainer is not None else {}),
        **({"patterns": [_pattern(p) for p in interface.patterns]} if interface.patterns else {}),
        "cdef": "".join([cdef(interface), *(f"{line}\n" for line in declared)]),
        "sources": [f"{interface.name}.c"],
        "headers": sorted(path for path in files if path.endswith(".h")),
        "files": {path: hashlib.sha256(text.encode()).hexdigest() for path, text in sorted(files.items())},
    }
    return json.dumps(data, indent=2, ensure_ascii=True) + "\n"


def _model(interface: Interface) -> dict[str, Any]:
    """`names`: path -> input; `aliases`: further path -> path; `state_dict`: the paths in order; `unused`: what of them the
    program does not read."""
    model = interface.model
    unused = {a.name: {"dtype": a.dtype.name, "shape": [_extent(e) for e in a.shape]} for a in model.unused}
    if not model.names:
        return {}
    found: dict[str, Any] = {"names": dict(model.names), "state_dict": list(model.order)}
    return found | ({"aliases": dict(model.aliases)} if model.aliases else {}) | ({"unused": unused} if unused else {})


def _condition(requirement: Requirement) -> dict[str, Any]:
    """`message`: text and expressions over the dimensions by turns, text first."""
    return {
        "text": as_python(requirement.condition), "where": str(requirement.where or ""), "error": requirement.error,
        "message": message(requirement),
    }


def _argument(argument: Argument, interface: Interface) -> dict[str, Any]:
    listed = (*interface.parameters, *interface.differentiable_outputs)
    found: dict[str, Any] = {
        "name": argument.name,
        "dtype": argument.dtype.name,
        "shape": [_extent(e) for e in argument.shape],
        "requires_grad": argument in listed,
    }
    return found | ({"formula": argument.formula} if argument.formula else {})


def _parameter(parameter: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {"name": parameter.name, "kind": parameter.kind}
    if parameter.of != parameter.name:
        found["of"] = parameter.of
    return found | ({"optional": True} if parameter.optional else {})


def _pattern(pattern: Pattern) -> dict[str, Any]:
    """Where the entries are stands in the C, as tables."""
    return {
        "name": pattern.name, "function": pattern.function, "of": pattern.of, "by": pattern.by, "rows": pattern.rows,
        "columns": pattern.columns, "nonzeros": len(pattern.column), "products": pattern.products,
    }


def _extent(extent: Extent) -> int | str:
    """A number, or an expression over the dimensions in Python's words."""
    known = constant(extent)
    return to_python(extent) if known is None else known
