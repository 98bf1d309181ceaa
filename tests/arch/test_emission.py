"""Emission is made of parts: none inherits from another, and none is given the whole of which it is a part."""

from __future__ import annotations

import ast
from pathlib import Path

SCHEDULE = Path(__file__).resolve().parents[2] / "gradgen" / "schedule"
MODULES = {p.stem: ast.parse(p.read_text()) for p in SCHEDULE.glob("*.py")}
WHOLE = "Emitter"


def classes(stem: str) -> list[ast.ClassDef]:
    return [n for n in ast.walk(MODULES[stem]) if isinstance(n, ast.ClassDef)]


PARTS = {stem for stem in MODULES if stem == "emit" or stem.startswith("emit_")}


def test_no_part_inherits() -> None:
    made = [(stem, c) for stem in PARTS for c in classes(stem)]
    assert {c.name for _, c in made} > {WHOLE, "Memory", "Reads", "Results"}
    names = {c.name for _, c in made}
    heirs = [f"{stem}.{c.name}" for stem in MODULES for c in classes(stem)
             if (stem in PARTS and c.bases) or any(isinstance(b, ast.Name) and b.id in names for b in c.bases)]
    assert not heirs, heirs


def test_the_whole_is_known_to_its_walk_alone() -> None:
    knows = {stem for stem, tree in MODULES.items() for n in ast.walk(tree)
             if (isinstance(n, ast.Name) and n.id == WHOLE) or (isinstance(n, ast.alias) and n.name == WHOLE)
             or (isinstance(n, ast.Constant) and n.value == WHOLE)}
    assert knows == {"emit"}, knows
