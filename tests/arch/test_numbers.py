"""Numbers that decide what the C looks like: asked of the target, or with a reason beside them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "gradgen"
OTHERS = ("codegen/gemm.py", "codegen/row_product.py", "codegen/register_tiles.py", "codegen/pieces.py", "codegen/printer.py",
          "autodiff/recompute.py", "autodiff/recurrences.py", "simplify/distribution.py", "compiler/runner.py")
FILES = [*sorted((ROOT / "schedule").glob("*.py")), *(ROOT / name for name in OTHERS if (ROOT / name).exists())]


def bare_numbers(text: str) -> list[str]:
    """Constants at the top of a module that are numbers and have neither a comment nor a text beside them."""
    lines, body = text.splitlines(), ast.parse(text).body
    found = []
    for statement, after in zip(body, [*body[1:], None]):
        if not isinstance(statement, ast.Assign):
            continue
        names = [n.id for t in statement.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        numbers = [n for n in ast.walk(statement.value) if isinstance(n, ast.Constant) and type(n.value) in (int, float)]
        if not numbers or not all(name.strip("_").isupper() for name in names):
            continue
        said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        beside = "#" in lines[statement.end_lineno - 1] or lines[statement.lineno - 2].lstrip().startswith("#")
        if not said and not beside:
            found.append(", ".join(names))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_number_has_a_reason(path: Path) -> None:
    assert not bare_numbers(path.read_text())


def test_a_bare_number_is_found() -> None:
    assert bare_numbers("A = 3\nB = 4  # why\nC = 5\n\"\"\"Why.\"\"\"\nD = (1, 2)\n# of all\nE = 1 << 3\n") == ["A", "D"]
