"""Element types are asked what they are: below the graph no line knows one by its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradgen.ir.dtypes import ALL

ROOT = Path(__file__).resolve().parents[2] / "gradgen"
ROOMS = ("ir", "target", "notation", "autodiff", "simplify", "loops", "schedule", "codegen", "reference", "compiler", "build")
NAMES = {d.name for d in ALL if d.category} | {d.suffix for d in ALL if d.category}
WORD = re.compile(rf"\b({'|'.join(sorted(NAMES))})\b")

EXCEPTIONS = {
    "ir/dtypes.py": "the table",
    "target/machine.py": "what hardware may have; the room knows no other",
    "target/known.py": "the machines",
}
"""Files that name types, and why."""


def concrete(text: str) -> list[int]:
    """Lines that name a type other than bool: as a name, or in a text that is neither documentation nor a message."""
    tree = ast.parse(text)
    silent = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    silent |= {id(n) for raised in ast.walk(tree) if isinstance(raised, ast.Raise) for n in ast.walk(raised)}
    found = []
    for n in ast.walk(tree):
        named = isinstance(n, ast.Name) and n.id in NAMES
        named = named or (isinstance(n, ast.alias) and n.name in NAMES)
        named = named or (isinstance(n, ast.Attribute) and n.attr in NAMES and ast.unparse(n.value) == "dtypes")
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in silent:
            named = WORD.search(n.value) is not None
        if named:
            found.append(n.lineno)
    return found


def files() -> Iterator[str]:
    for room in ROOMS:
        yield from (p.relative_to(ROOT).as_posix() for p in sorted((ROOT / room).rglob("*.py")))


def test_no_line_knows_a_type_by_name() -> None:
    found = {path: concrete((ROOT / path).read_text()) for path in files()}
    assert {p: lines for p, lines in found.items() if lines and p not in EXCEPTIONS} == {}
    assert set(EXCEPTIONS) <= {p for p, lines in found.items() if lines}, "done, take it from the list"


@pytest.mark.parametrize("line", [
    "x = d is float32", "x = d is dtypes.float64", "x = d.name == 'int32'", "x = {'f32': 1}", "x = f'gg_to_{d} of f32'",
    "from gradgen.ir.dtypes import int64",
])
def test_a_name_is_found(line: str) -> None:
    assert concrete(line) == [1]


def test_what_decides_nothing_is_not() -> None:
    assert concrete('"""Of float32."""\nraise ValueError("use float32")\nx = np.int64(3)\ny = "int64_t n"\n') == []
