"""What kinds of statements and expressions do is said in one place: the walk's table.  Identity is that of objects.

Functions are counted that tell three or more kinds apart by hand, in `match` or with isinstance.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from gradgen.loops.walk import ROWS

ROOT = Path(__file__).resolve().parents[2] / "gradgen"
KINDS = {k.__name__ for k in ROWS}
BELOW = ("ir", "notation", "target", "autodiff", "simplify", "loops", "schedule", "codegen", "reference", "compiler", "build")
ABOVE = ("ops", "record", "eager", "trace", "importers", "exporters", "autograd", "func", "checking")
"""Rooms between a graph and a loaded module."""

BY_KIND = {
    "loops/walk.py", "loops/laws.py", "loops/atoms.py", "loops/proofs.py",  # the table, the verifier
    "loops/describe.py",  # a printer
    "codegen/printer.py", "codegen/expressions.py",
    "reference/translation.py",
}  # fmt: skip
"""Where kinds are told apart: walk, verifier, interpreter and printers."""


MEANINGS = {
    "schedule/values.py": "leaf statement",  # runs statements on symbols: a let is a name, a store an element's value
    "schedule/unroll.py": "statement",  # runs a body for one value of its counter: lets and absent terms vanish
    "schedule/accesses.py": "most_of statement",  # runs a body on windows: each kind reaches elements in its own way
    "schedule/lanes.py": "by_lanes check fetched finished is_sum loops results",  # on lanes: fetched, done, summed
    "schedule/threads.py": "block",  # a loop, a product, a block of memory are cut into chunks by rules of their own
    "schedule/cost.py": "_one", "loops/counting.py": "block statement", "loops/stack.py": "called frame",  # prices
}  # fmt: skip
"""Functions that give every kind a meaning of their own, as an interpreter does, and why."""


def sources(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def names(node: ast.AST | None, groups: dict[str, set[str]]) -> set[str]:
    """The kinds that an expression names, tuples of the module included."""
    found: set[str] = set()
    for n in ast.walk(node) if node is not None else ():
        if isinstance(n, (ast.Name, ast.Attribute)):
            name = n.id if isinstance(n, ast.Name) else n.attr
            found |= {name} & KINDS | groups.get(name, set())
    return found


def told_apart(function: ast.AST, groups: dict[str, set[str]]) -> set[str]:
    """The kinds that a function tells apart itself, those of inner functions aside."""
    found: set[str] = set()
    stack = list(ast.iter_child_nodes(function))
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        stack.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.MatchClass):
            found |= names(node.cls, groups)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            found |= names(node.args[1], groups)
        elif isinstance(node, ast.Compare) and "type" in {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}:
            found |= names(node, groups)
    return found


def dispatching() -> dict[str, set[str]]:
    """Functions that tell three or more kinds apart."""
    found: dict[str, set[str]] = {}
    for path, tree in sources("loops", "schedule", "codegen", "reference", "compiler"):
        assigned = [(t, s.value) for s in tree.body if isinstance(s, ast.Assign) for t in s.targets]
        groups = {t.id: names(value, {}) for t, value in assigned if isinstance(t, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                kinds = told_apart(node, groups)
                if len(kinds) >= 3:
                    found[f"{path}:{node.name}"] = kinds
    return found


def test_kinds_are_told_apart_where_they_have_a_meaning() -> None:
    found = {where for where in dispatching() if where.split(":")[0] not in BY_KIND}
    known = {f"{path}:{name}" for path, names in MEANINGS.items() for name in names.split()}
    assert found <= known, f"say it by the table in loops/walk.py: {sorted(found - known)}"
    assert known <= found, f"done, take it from the list: {sorted(known - found)}"


def test_identity_is_no_number() -> None:
    """Nodes, buffers, statements and expressions are keys themselves."""
    trees = sources("loops", "schedule", "codegen", "reference")
    found = [f"{path}:{n.lineno}" for path, tree in trees for n in ast.walk(tree)
             if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "id"]
    assert not found, found


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_private_names_stay_in_their_file() -> None:
    found: list[str] = []
    for path, tree in sources(*BELOW, *ABOVE):
        modules: set[str] = set()
        for n in ast.walk(tree):
            if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("gradgen"):
                modules |= {a.asname or a.name for a in n.names}
                found += [f"{path}: {n.module}.{a.name}" for a in n.names if private(a.name)]
        for n in ast.walk(tree):
            of_module = isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id in modules
            if of_module and private(n.attr) and not path.startswith(ABOVE):  # there a class keeps its own among friends
                found.append(f"{path}: {n.value.id}.{n.attr}")
    assert not found, found


if __name__ == "__main__":
    for where, kinds in sorted(dispatching().items()):
        print(len(kinds), where, *sorted(kinds))
