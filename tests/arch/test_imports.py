"""The rooms of the design: which may import which, read from the imports in the source, those inside of functions too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "gradgen"

BESIDE = {
    "ir": "",
    "target": "",
    "notation": "ir",
    "ops": "ir",
    "autodiff": "ir target",
    "simplify": "ir target",
    "loops": "ir target",
    "reference": "ir loops",
    "schedule": "loops autodiff",
    "codegen": "loops notation schedule",
    "build": "codegen",
    "compiler": "ir target notation autodiff simplify loops reference schedule codegen build",
    "record": "ops autodiff",
    "eager": "record autodiff compiler",
    "trace": "eager compiler",
    "importers": "ops record eager trace func autograd nn",
    "exporters": "record",
    "linalg": "eager ops",
    "special": "eager ops",
    "autograd": "eager trace autodiff",
    "nn": "eager trace autodiff autograd",
    "optim": "eager trace autodiff nn",
    "training": "optim trace codegen",
    "utils": "eager trace autodiff",
    "func": "eager trace autodiff nn",
    "runtime": "_native _held",
    "_held": "_native",
    "_native": "",
}
"""The rooms of the design: each and those that it may know; what those may know, it may, too."""

FACES = {"_hidden", "api", "cli", "show", "checking", "scripts", "model_files", "serialization", "random", "gradgen",
         "__main__", "__init__"}
"""What users call: they know all rooms, and no room knows them."""

NEIGHBOURS = {"_programs", "_stateful", "_selfcheck", "_derivatives", "_training"}
"""Parts of the generated package beside runtime.py and _native.py."""

HOUSE = {"errors", "options", "paths", "version", "debug", "passes", "collector"}

PYTORCH = {"functional", "graph", "random", "stateless"}
"""Modules named by PyTorch (nn.functional, autograd.functional, autograd.graph, random, nn.utils.stateless)."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(p): p for p in sorted(ROOT.rglob("*.py"))}


def imports_of(path: Path, *, types: bool = True) -> set[str]:
    """The modules of gradgen that the file imports, wherever in it; without `types` not those for annotations alone."""
    found: set[str] = set()
    for node in _statements(ast.parse(path.read_text()), types):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{a.name}" for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module_of(path).split(".")[: 1 - node.level - (path.name != "__init__.py") or None]
            names = [".".join([*package, *([node.module] if node.module else []), a.name]) for a in node.names]
        for name in names:
            while name.startswith("gradgen") and name not in FILES:
                name = name.rpartition(".")[0]
            if name.startswith("gradgen") and name != module_of(path):
                found.add(name)
    return found


def _statements(tree: ast.AST, types: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _statements(node, types)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def may_know(room: str) -> set[str]:
    """The room itself, those beside it, and what those may know."""
    found = {room}
    for other in BESIDE[room].split():
        found |= {other} if other == room else may_know(other)
    return found


def test_every_file_has_a_room() -> None:
    """A new room needs a line in the table."""
    assert {room_of(p) for p in FILES.values()} <= {*BESIDE, *FACES, *HOUSE, *NEIGHBOURS}


INSIDE = [p for p in FILES.values() if room_of(p) in BESIDE]


@pytest.mark.parametrize("path", INSIDE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_import_direction(path: Path) -> None:
    room, file = room_of(path), path.relative_to(ROOT).as_posix()
    known = {room_of(FILES[name]) for name in imports_of(path)}
    strangers = known - may_know(room) - HOUSE
    assert not strangers, f"{file} (room {room}) imports {sorted(strangers)}"


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that reach each other (Tarjan's components of more than one)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(v: str) -> None:
        order[v] = low[v] = len(order)
        stack.append(v)
        for w in sorted(edges[v]):
            if w not in order:
                visit(w)
            if w in stack:
                low[v] = min(low[v], low[w])
        if low[v] == order[v]:
            at = stack.index(v)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for v in sorted(edges):
        if v not in order:
            visit(v)
    return found


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_no_circles() -> None:
    """Imports inside of functions count; those for annotations alone do not."""
    edges = {name: imports_of(path, types=False) for name, path in FILES.items()}
    assert not circles(edges)


def test_module_names_occur_once() -> None:
    where: dict[str, list[str]] = {}
    for name, path in FILES.items():
        stem = path.stem
        if stem not in ("__init__", "__main__") and stem not in PYTORCH:
            where.setdefault(stem, []).append(name)
    twice = {stem: names for stem, names in where.items() if len(names) > 1}
    assert not twice


def test_arrays_without_dimensions_stay_so() -> None:
    """np.ascontiguousarray makes [1] of a scalar; np.asarray(..., order="C") does what it is meant to."""
    callers = [p for p in ROOT.rglob("*.py") if "ascontiguousarray" in p.read_text()]
    assert not callers, callers
