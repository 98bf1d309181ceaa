"""The rooms of the design: which may import which, read from the imports in the source, those inside of functions too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "gradgen"

IR = {"ir"}
LOOPS = IR | {"loops", "target"}
COMPILER = LOOPS | {"notation", "autodiff", "simplify", "reference", "schedule", "codegen", "build", "compiler"}
FRONT = IR | {"autodiff", "notation", "codegen", "compiler", "show", "autograd", "ops", "record", "eager", "trace"}
MAY_IMPORT = {
    "ir": IR,
    "target": {"target"},
    "notation": IR | {"notation"},
    "autodiff": IR | {"target", "autodiff"},
    "simplify": IR | {"target", "simplify"},
    "loops": LOOPS,
    "reference": LOOPS | {"reference"},
    "schedule": LOOPS | {"schedule"},
    "codegen": LOOPS | {"notation", "schedule", "codegen"},
    "build": {"build", "ir"},
    "compiler": COMPILER,
    "ops": IR | {"ops"},
    "record": FRONT,
    "eager": FRONT,
    "trace": FRONT,
    "importers": FRONT | {"importers"},
    "runtime": {"_native"},
}
"""Room -> rooms it may know.  errors, options, paths, version, debug and passes belong to the house, not to a room."""

HOUSE = {"errors", "options", "paths", "version", "debug", "passes"}

KNOWN = {("schedule/emit_results.py", "notation")}
"""Imports that are still to go."""

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


def rooms() -> list[tuple[str, Path]]:
    found = [(p.relative_to(ROOT).parts[0].removesuffix(".py"), p) for p in FILES.values()]
    return [(room, path) for room, path in found if room in MAY_IMPORT]


@pytest.mark.parametrize("room, path", rooms(), ids=lambda v: v if isinstance(v, str) else v.relative_to(ROOT).as_posix())
def test_import_direction(room: str, path: Path) -> None:
    file = path.relative_to(ROOT).as_posix()
    known = {name.split(".")[1] for name in imports_of(path) if "." in name}
    strangers = known - MAY_IMPORT[room] - HOUSE - {other for f, other in KNOWN if f == file}
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
    to_go = ("gradgen.record.", "gradgen.eager.", "gradgen.trace.")
    found = [c for c in circles(edges) if not any(name.startswith(to_go) for name in c)]
    assert not found


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
