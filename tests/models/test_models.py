"""Small programs of many kinds: eagerly and as modules, against PyTorch's recorded results and live ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gradgen as gg
from tests.models.cases import CASES
from tests.models.record import EXPECTED, evaluate

TOLERANCE = 3e-5
"""Relative to the largest entry: about 250 float32 roundings, which sums of a few hundred terms in another order need."""


def difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    assert len(found) == len(expected)
    assert all(a.shape == b.shape for a, b in zip(found, expected))
    return max(float(np.abs(a - b).max() / max(1e-3, np.abs(b).max())) for a, b in zip(found, expected))


def recorded(name: str) -> list[np.ndarray]:
    with np.load(EXPECTED) as data:
        return [data[k] for k in data.files if k.startswith(f"{name}.")]


@pytest.mark.parametrize("name", CASES)
def test_eager(name: str) -> None:
    assert difference(evaluate(gg, name), recorded(name)) < TOLERANCE


def built(name: str, folder: Path, **options: object) -> tuple[object, list[np.ndarray], list[bool]]:
    """The model as a module, its arrays, and which of them have gradients."""
    function, arrays, wanted = CASES[name]()
    names = [f"a{k}" for k in range(len(arrays))]
    scope = {"function": function, "gg": gg}
    exec(f"def model({', '.join(names)}):\n    return function(gg, {', '.join(names)})", scope)
    specs = {
        n: gg.spec(*a.shape, dtype=getattr(gg, a.dtype.name), requires_grad=bool(w))
        for n, a, w in zip(names, arrays, wanted)
    }
    return gg.build(gg.trace(scope["model"], outputs=["loss"], **specs), name="model", out=folder, **options), arrays, wanted


@pytest.mark.parametrize("name", CASES)
def test_module(name: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O1")  # the loops are the same, the compiler is three times as quick
    module, arrays, wanted = built(name, tmp_path / "out")
    expected = recorded(name)
    loss, gradients = module.value_and_grad(*arrays)
    assert difference([np.asarray(loss), *gradients], expected) < TOLERANCE
    names = [f"a{k}" for k in range(len(arrays))]
    parameters = {n: a.copy() for n, a, w in zip(names, arrays, wanted) if w}
    model = module.Module(**parameters)
    for repeat in (1, 2):
        model.forward(**{n: a for n, a, w in zip(names, arrays, wanted) if not w})
        model.backward()
        doubled = [expected[0], *(repeat * g for g in expected[1:])]
        assert difference([np.asarray(loss), *model.grad], doubled) < TOLERANCE


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_module_in_chunks(name: str, threads: int, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With threads=n and everything cut that can be, however small; the same bits at every call."""
    monkeypatch.setenv("CFLAGS", "-O1")
    for limit in ("WORTH", "REGION"):
        monkeypatch.setattr(f"gradgen.schedule.threads.{limit}", 0.0)
    module, arrays, _ = built(name, tmp_path / "out", threads=threads)
    first = [np.array(a) for a in flat(module.value_and_grad(*arrays))]
    assert difference(first, recorded(name)) < TOLERANCE
    for _ in range(5):
        assert [a.tobytes() for a in flat(module.value_and_grad(*arrays))] == [a.tobytes() for a in first]


def flat(result: tuple) -> list[np.ndarray]:
    loss, gradients = result
    return [np.asarray(loss), *gradients]


@pytest.mark.parametrize("name", CASES)
def test_recorded_results_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert difference(evaluate(torch, name), recorded(name)) < TOLERANCE
