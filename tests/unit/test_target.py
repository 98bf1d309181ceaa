"""Targets and budgets: records, their names in what is emitted, and the refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import gradgen as gg
from gradgen.ir.assumptions import Requirement
from gradgen.ir.guards import GE, Condition
from gradgen.ir.limits import greatest, limits
from gradgen.ir.symbols import dim
from gradgen.options import Options
from gradgen.target import KNOWN, Budget


def program(extent: object = "N") -> gg.TracedFunction:
    return gg.trace(lambda x, w: ((x @ w).sigmoid() ** 2).sum(), name="m",
                    x=gg.spec(extent, 3), w=gg.spec(3, 2, requires_grad=True))


def test_the_target_is_in_the_header_the_manifest_and_the_digest(tmp_path: Path):
    seen = set()
    for target in (*KNOWN, replace(KNOWN["avr"], near_bytes=512)):
        folder = gg.emit(program(), out=tmp_path, target=target)
        manifest = json.loads((folder / "m.json").read_text())
        name = target if isinstance(target, str) else "avr"
        assert f"for target {name}, ABI" in (folder / "m.h").read_text()
        assert manifest["options"]["target"] == (target if isinstance(target, str) else target.text())
        seen.add(manifest["digest"])
    assert len(seen) == len(KNOWN) + 1


def test_emit_is_portable_and_build_native(tmp_path: Path):
    assert json.loads((gg.emit(program(), out=tmp_path) / "m.json").read_text())["options"]["target"] == "portable"
    folder = Path(gg.build(program(), out=tmp_path).__file__).parent
    assert json.loads((folder / "m.json").read_text())["options"]["target"] == "native"


@pytest.mark.parametrize("wrong, words", [
    ({"name": "two words"}, "name="), ({"vector_bytes": 24}, "vectors of 24"), ({"registers": -1}, "registers"),
    ({"index_bits": 24}, "index_bits"), ({"mathematics": "tables"}, "mathematics"), ({"alignment": 128}, "alignment"),
    ({"fma": "float16"}, "float16"), ({"near_bytes": 1.5}, "near_bytes"), ({"call_cost": True}, "call_cost"),
])
def test_what_no_machine_can_be_is_refused(wrong: dict, words: str):
    with pytest.raises(gg.GradgenError, match=words):
        gg.Target(**{"name": "mine", **wrong})


@pytest.mark.parametrize("options, words", [
    ({"target": "cortex-m5"}, "cortex-m4"), ({"optimise": "space"}, "'size'"), ({"ram": -1}, "ram=-1"),
    ({"flash": 1.5}, "flash"), ({"stack": True}, "stack"), ({"target": "avr", "threads": 2}, "no threads"),
])
def test_options_that_are_none(options: dict, words: str):
    with pytest.raises(gg.GradgenError, match=words):
        Options(**options)


def test_a_budget_refuses_with_the_numbers(tmp_path: Path):
    for extent in (4, gg.dim("N", max=4)):
        gg.emit(program(extent), out=tmp_path, ram=100_000, stack=100_000)
        with pytest.raises(gg.errors.BudgetError, match=r"of ram, 10 are allowed: SAVED .* WORK"):
            gg.emit(program(extent), out=tmp_path, ram=10)
        with pytest.raises(gg.errors.BudgetError, match="of stack, 10 are allowed"):
            gg.emit(program(extent), out=tmp_path, stack=10)
    with pytest.raises(gg.errors.BudgetError, match="no greatest ram"):  # forward saves for each of N rows
        gg.emit(program(), out=tmp_path, ram=1 << 40)


def test_nothing_is_written_where_the_budget_is_exceeded(tmp_path: Path):
    with pytest.raises(gg.errors.BudgetError):
        gg.emit(program(4), out=tmp_path, ram=10)
    assert not list(tmp_path.iterdir())


def test_the_greatest_size_under_conditions():
    n, m = dim("N"), dim("M")
    conditions = [Requirement(Condition(GE, e), "ValueError", ("",)) for e in (9 - 2 * n, n - 2, m - n)]
    known = limits(conditions)
    assert known == {"N": (2, 4)}
    import sympy

    for extent, bound in ((12 * n + 64, 112), (64 * sympy.floor((12 * n + 63) / 64), 64), (100 - n, 98),
                          (sympy.Max(0, n * n - 3), 13), (sympy.Min(m, 7) * n, 28), (7, 7)):
        assert greatest(extent, known) == bound, extent
    assert greatest(n * m, known) is None
    assert Budget().check("m", {}) is None


def test_what_values_may_take_grows_with_the_cache() -> None:
    pc, small = gg.Target("pc"), gg.Target("small", cache_bytes=0, near_bytes=4096)
    assert (pc.outer_bytes, pc.most_bytes) == (8 * 2**20, 64 * 2**20)
    assert (small.outer_bytes, small.most_bytes) == (4096, 4096), "all that there is"
