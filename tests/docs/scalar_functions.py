"""docs/scalar-functions.md, a row for each record of the table: `python -m tests.docs.scalar_functions` writes it."""

from __future__ import annotations

from pathlib import Path

import sympy

from gradgen.ir import special_functions  # noqa: F401  the whole table
from gradgen.ir.scalar_table import REGISTRY, Record, no_counterpart

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scalar-functions.md"
HEAD = """\
# Scalar functions

What bodies are made of beside sums, products and powers. The page is written from the table (`gradgen/ir/functions.py`) by
`python -m tests.docs.scalar_functions`; [adding an operation](adding-an-operation.md) adds a row. f is the function's own
value, `select(c, a, b)` a where c holds, else b.

| function | is | derivatives | where it is not smooth | C |
|---|---|---|---|---|
"""


def row(record: Record) -> str:
    names = "x" if len(record.partials) == 1 else "abc"
    x = [sympy.Symbol(n, real=True) for n in names[: len(record.partials)]]
    f = sympy.Symbol("f", real=True)
    slopes = [None if p is None else sympy.sympify(p(*x, f)) if callable(p) else p for p in record.partials]
    derivatives = ", ".join("none" if s is None else f"`{s}`" if len(str(s)) < 100 else "a series" for s in slopes)
    meaning = "" if record.sympy is no_counterpart else f"`{_meaning(record, x)}`"
    kind = {"smooth": "", "kink": "its slope jumps", "jump": "it jumps"}[record.continuity]
    way = f"`{record.operator or record.instruction}`" if record.operator or record.instruction else "a fragment"
    way = "written out" if record.expansion else "nothing" if record.identity else way
    cells = (f"`{record.key}({', '.join(map(str, x))})`", meaning, derivatives, kind, way)
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _meaning(record: Record, x: list[sympy.Symbol]) -> str:
    if record.logical:
        return str(record.sympy(*(sympy.Symbol(str(s)) for s in x)))
    return str(record.sympy(*x))


def page() -> str:
    return HEAD + "".join(f"{row(f.record)}\n" for f in REGISTRY.values())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
