"""The rooms of the design: which may import which, read from the imports in the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "gradgen"

MAY_IMPORT = {
    "ir": {"ir"},
    "target": {"target"},
    "autodiff": {"ir", "target", "autodiff"},
    "simplify": {"ir", "target", "simplify"},
    "loops": {"ir", "target", "loops"},
    "reference": {"ir", "loops", "reference"},
    "schedule": {"ir", "target", "loops", "schedule"},
    "codegen": {"ir", "target", "loops", "schedule", "codegen"},
    "build": {"build", "ir"},
    "frontend": {"ir", "frontend", "compiler", "show", "autograd"},
    "runtime": set(),
}
"""Room -> rooms it may know (show is part of the compiler's room).
errors, options, paths, version, debug and passes belong to the house, not to a room."""

HOUSE = {"errors", "options", "paths", "version", "debug", "passes"}


def imports_of(path: Path) -> set[str]:
    """Second components of every gradgen import in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module] if node.module != "gradgen" else [f"gradgen.{a.name}" for a in node.names]
        found.update(n.split(".")[1] for n in names if n.startswith("gradgen."))
    return found


def files() -> list[tuple[str, Path]]:
    result = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        room = parts[0].removesuffix(".py")
        if room in MAY_IMPORT:
            result.append((room, path))
    return result


@pytest.mark.parametrize("room, path", files(), ids=lambda v: v if isinstance(v, str) else v.relative_to(ROOT).as_posix())
def test_import_direction(room: str, path: Path) -> None:
    strangers = imports_of(path) - MAY_IMPORT[room] - HOUSE
    assert not strangers, f"{path.relative_to(ROOT)} (room {room}) imports {sorted(strangers)}"


def test_arrays_without_dimensions_stay_so() -> None:
    """np.ascontiguousarray makes [1] of a scalar; np.asarray(..., order="C") does what it is meant to."""
    callers = [p for p in ROOT.rglob("*.py") if "ascontiguousarray" in p.read_text()]
    assert not callers, callers
