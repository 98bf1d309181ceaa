"""What each pass decided: one line a pass, true, in `show("passes")` and where GRADGEN_DEBUG asks for it."""

from __future__ import annotations

from typing import Any

import pytest

import gradgen as gg
from gradgen.compiler.account import UNCHANGED, Account, watched
from gradgen.compiler.pipeline import generate, programs, stages
from gradgen.debug import debug_level
from gradgen.options import Options
from gradgen.passes import observed
from gradgen.schedule import PASSES
from gradgen.show import show
from gradgen.simplify.levels import LEVELS

NOT_ALONE = {"inline", "fusion", "strips", "contraction", "order", "simd", "pairwise", "reuse", "threads"}
"""Decisions inside of emit, memory, and of threads=."""


def traced() -> Any:
    return gg.trace(lambda x, w: gg.relu((x @ w)[:, 1:]).flip(0).sum(), name="f", x=gg.spec(6, 4),
                    w=gg.spec(4, 5, requires_grad=True))


def test_every_pass_has_its_line() -> None:
    text = show(traced(), "passes")
    parts = text.split("\n\n")
    assert [p.splitlines()[0] for p in parts] == ["graph", "forward", "backward", "value_and_grad"]
    graph = [line.split()[0] for line in parts[0].splitlines()[1:]]
    assert graph == list(LEVELS["safe"])[: len(graph)] and len(graph) > 10
    for part in parts[1:]:
        names = [line.split()[0] for line in part.splitlines()[1:]]
        assert set(names) == {*PASSES, "emit", "conditions", "states", "kernels", "memory", "names", "functions"} - NOT_ALONE


def test_a_line_says_what_happened() -> None:
    made = stages(traced().graph, Options())
    seen: dict[tuple[str, str], tuple[Any, Any]] = {}

    def look(one: Any, before: Any, after: Any) -> None:
        owner = getattr(after, "procedure", after).name
        seen[owner, one.name] = (before, after)

    with observed(look, account := Account()):
        programs(made)
    said = {(owner, name): done for owner, steps in account.steps.items() for name, done in steps}
    assert said.keys() == seen.keys()
    for key, (before, after) in seen.items():
        if after is before:
            assert said[key] == UNCHANGED, (key, said[key])
        if said[key] == UNCHANGED and hasattr(after, "statements"):
            assert (before.layout, before.notes) == (after.layout, after.notes)
            assert len(before.statements) == len(after.statements)
    assert "WORK" in said["backward", "memory"] and "Loop" in said["forward", "emit"]
    assert any(done != UNCHANGED for (_, name), done in said.items() if name not in ("emit", "kernels", "memory", "names"))


def test_steps_of_recurrences_are_accounted_for() -> None:
    program = gg.trace(lambda x: x.cumsum(0).sum(), x=gg.spec("N", 3, requires_grad=True))
    lines = watched(lambda: programs(stages(program.graph, Options())))
    assert any(line.startswith("  step: unfold") for line in lines)


@pytest.mark.parametrize("level", range(5))
def test_levels_of_debugging(level: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    graph = traced().graph
    monkeypatch.setenv("GRADGEN_DEBUG", str(level))
    assert debug_level() == level
    generate(graph, "f", Options())
    out, err = capsys.readouterr()
    assert out == ""
    said = [" ms" in err, "%0 = " in err, "  memory             WORK" in err, "for (int64_t" in err]
    assert said == [k < level for k in range(4)]


def test_debugging_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradgen.compiler import verification

    seen: list[str] = []
    monkeypatch.setattr(verification, "check", lambda one, before, after: seen.append(one.name))
    for level, some in ((0, False), (1, True)):
        monkeypatch.setenv("GRADGEN_DEBUG", str(level))
        generate(traced().graph, "f", Options())
        assert bool(seen) is some
