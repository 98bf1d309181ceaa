"""codegen prints what it is given: regular expressions stay out of it."""

from __future__ import annotations

import ast
from pathlib import Path

CODEGEN = Path(__file__).resolve().parents[2] / "gradgen" / "codegen"

HAVE_SOME = {
    "declarations.py": "the columns of formulas",
    "flash.py": "counts operations, changes nothing",
    "words.py": "which parameters a function's text names, so that the others are said to be unused; sizes for numbers",
    "write.py": "names of temporary folders",
}


def test_no_regular_expressions_over_c() -> None:
    found = set()
    for path in CODEGEN.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if "re" in names:
                found.add(path.name)
    assert found == HAVE_SOME.keys()
