"""ONNX's own node tests through gradgen's interpreter; `python -m tests.importers.onnx_nodes` writes docs/onnx-operators.md.

A node test is a model of one operator with inputs and outputs; most come a second time, expanded into the operators of
the standard's definition.  Inputs that an operator has to know become constants, as a user is told to make them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gradgen.errors import GradgenError, UnsupportedOperationError
from gradgen.importers.from_onnx import from_onnx
from gradgen.importers.onnx_table import ENTRIES
from gradgen.ir.draws import STATE
from gradgen.reference.interpreter import run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "onnx-operators.md"
TYPES = {1: "float32", 11: "float64", 6: "int32", 7: "int64", 9: "bool"}
"""TensorProto's numbers of the dtypes that gradgen has."""
ROUNDED = {"test_dft_inverse": 1e-6, "test_dft_inverse_opset19": 1e-6}
"""Expected values that are rounding errors of float32 where the exact result, and ours, is 0."""


@dataclass
class Outcome:
    """How a test went: passed, known (all of it was computed at import), refused, failed, types."""

    kind: str
    why: str = ""


def cases() -> dict[str, Any]:
    from onnx.backend.test.case.node import collect_testcases

    return {c.name: c for c in collect_testcases(None) if c.kind == "node"}


def element_types(kind: Any) -> set[int]:
    """The types of elements of a value, of sequences and optional values too."""
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        return {getattr(kind, which).elem_type}
    return element_types(getattr(kind, which).elem_type) if which in ("sequence_type", "optional_type") else set()


def outcome(case: Any) -> Outcome:
    graph = case.model.graph
    if not set().union(*(element_types(v.type) for v in (*graph.input, *graph.output))) <= set(TYPES):
        return Outcome("types")
    try:
        known = all([agrees(case, *data) for data in case.data_sets])
    except UnsupportedOperationError as error:
        return Outcome("refused", error.what.rpartition("\n")[2].strip().partition(" (the node")[0])
    except AssertionError as error:
        return Outcome("failed", str(error).strip().partition("\n")[0])
    except Exception as error:  # whatever else is raised is a test that fails
        return Outcome("failed", f"{type(error).__name__}: {error}".partition("\n")[0])
    return Outcome("known" if known else "passed")


def agrees(case: Any, inputs: Any, outputs: Any) -> bool:
    """Compares one set of data, AssertionError where it disagrees; whether all inputs had to be known."""
    names = [i.name for i in case.model.graph.input]
    arrays = dict(zip(names, map(plain, inputs)))
    program, constants = imported(case.model, arrays)
    given = {n: arrays[n] for n in names if n not in constants}
    draws = {STATE.name: np.zeros(2, np.int64)} if STATE in program.graph.inputs else {}
    with np.errstate(all="ignore"):
        found = run(program.graph, *given.values(), **draws)
    assert len(found) == len(outputs)
    for ours, theirs in zip(found, map(plain, outputs)):
        theirs = np.asarray(theirs)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if not draws:  # of random numbers only the shape is said
            np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=ROUNDED.get(case.name, case.atol))
    return not given and bool(names)


def plain(value: Any) -> Any:
    import onnx

    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def imported(model: Any, arrays: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The program, and the inputs that it had to have as constants: those that the errors named."""
    constants: dict[str, Any] = {}
    for _ in arrays:
        shapes = {n: np.shape(a) for n, a in arrays.items() if n not in constants and isinstance(a, np.ndarray)}
        try:
            return from_onnx(model, constants=constants, dims=shapes), constants
        except GradgenError as error:
            asked = getattr(error, "roots", None)
            if not asked:
                raise
            constants |= {n: arrays[n] for n in asked}
    return from_onnx(model, constants=constants), constants


@cache
def outcomes() -> dict[str, Outcome]:
    """By the tests' names."""
    return {name: outcome(case) for name, case in cases().items()}


# --- the page -----------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    counts: Counter[str] = field(default_factory=Counter)
    why: dict[str, None] = field(default_factory=dict)


def rows() -> dict[str, Row]:
    """By operator; the expanded tests count for the operator that they are the definition of."""
    known, found = cases(), {}
    for name, one in outcomes().items():
        base = known.get(name.partition("_expanded")[0], known[name])
        nodes = base.model.graph.node
        named = (n for n in nodes if n.op_type.lower() in name.replace("_", ""))
        operator = nodes[0] if len(nodes) == 1 else next(named, nodes[0])
        row = found.setdefault(f"{operator.domain}.{operator.op_type}".lstrip("."), Row())
        row.counts[one.kind] += 1
        if one.why:
            row.why[one.why] = None
    return found


HEAD = """\
# ONNX operators

Generated by `python -m tests.importers.onnx_nodes` from the node tests of onnx {version}, run through gradgen's interpreter;
a test compares this page with what they say. Of {total} tests {passed} pass, {failed} fail, {refused} are refused by name,
and {types} are about types that gradgen does not have (half precision, small integers, texts).

versions: the operator's versions (ONNX's since_version) that `gg.from_onnx` does by a rule of its own; "defined": by the
standard's definition in other operators; "known": only where all inputs are known when the model is read. Tests of an
operator count those of its definition too.

| operator | versions | pass | fail | refused | other types | refused or failing is |
|---|---|---|---|---|---|---|"""


def page() -> str:
    import onnx

    found = rows()
    schemas = {s.name: s for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated}
    total = sum((r.counts for r in found.values()), Counter())
    lines = [HEAD.format(
        version=onnx.__version__, total=total.total(), passed=total["passed"] + total["known"], failed=total["failed"],
        refused=total["refused"], types=total["types"],
    )]
    for name in sorted({*schemas, *ENTRIES, *(n for n in found if "." not in n)}):
        row = found.get(name, Row())
        c = row.counts
        how = versions(name, schemas.get(name), c)
        if how:
            lines.append(f"| {name} | {how} | {c['passed'] + c['known']} | {c['failed']} | {c['refused']} | {c['types']} "
                         f"| {'; '.join(row.why)} |")
    missing = [n for n in sorted(schemas) if not versions(n, schemas[n], found.get(n, Row()).counts)]
    return "\n".join([*lines, "", f"Missing: {', '.join(missing)}; and all operators of other domains.", ""])


def versions(name: str, schema: Any, counts: Counter[str]) -> str:
    if name in ENTRIES:
        return ", ".join(f"{e.first} to {e.last}" if e.last > e.first else str(e.first)
                         for e in sorted(ENTRIES[name], key=lambda e: e.first))
    if schema is not None and (schema.has_function or schema.has_context_dependent_function) and counts["passed"]:
        return "defined"
    return "known" if counts["known"] else ""


if __name__ == "__main__":
    PAGE.write_text(page())
