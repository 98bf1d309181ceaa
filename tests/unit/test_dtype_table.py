"""The table of element types: no record has a hole, and a third floating type is one record."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.ir import dtypes
from gradgen.ir.dtypes import ALL, DType
from tests.embed.toolchain import STRICT, needs_c

HALF: dict[str, Any] = {"name": "float16", "ctype": "_Float16", "suffix": "f16", "numpy": np.dtype(np.float16), "category": 2,
                        "digits": 11, "least": -14, "step": 2.0**-3, "slack": 3e-2, "wider": dtypes.float32}
ULP = 2.0**-10
N = 7


@pytest.mark.parametrize("wrong", [
    {"digits": 0}, {"least": 0}, {"step": 0.0}, {"slack": 0.0}, {"name": "float32"}, {"ctype": "float"}, {"ctype": ""},
    {"suffix": "f64"},
], ids=str)
def test_a_hole_is_named(wrong: dict[str, Any]) -> None:
    before = list(ALL)
    with pytest.raises(ValueError, match=rf"{wrong.get('name', 'float16')}.* {next(iter(wrong))} of its own"):
        dtypes.add(DType(**HALF | wrong))
    assert before == ALL


@pytest.mark.parametrize("kind", ALL, ids=lambda d: d.name)
def test_records_say_what_numpy_says(kind: DType) -> None:
    assert dtypes.dtype(kind.name) is dtypes.dtype(kind.numpy) is kind
    if kind.is_floating_point:
        info = np.finfo(kind.numpy)
        assert (kind.digits, kind.least, kind.itemsize) == (info.nmant + 1, info.minexp, info.bits // 8)


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> Iterator[DType]:
    monkeypatch.setattr(dtypes, "_BY_NAME", dict(dtypes._BY_NAME))
    made = dtypes.add(DType(**HALF), "half")
    yield made
    ALL.remove(made)


def network(m: Any, x: Any, w: Any, b: Any, t: Any) -> Any:
    h = m.tanh(x @ w + b)
    p = m.softmax(h * 2, 1)
    return -(t * m.log(p + 1e-3)).sum(1).mean(), p.amax(1), p.argmax(1), m.cumsum(h, 0)


def values() -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    shapes = ((N, 5), (5, 4), (4,), (N, 4))
    return [(rng.normal(size=s) / 2).astype(np.float16) for s in shapes[:3]] + [np.eye(4, dtype=np.float16)[np.arange(N) % 4]]


def taped(m: Any, arrays: list[np.ndarray], **of: Any) -> list[np.ndarray]:
    x, w, b, t = (m.tensor(a, **of) for a in arrays)
    w.requires_grad_(True)
    b.requires_grad_(True)
    outputs = network(m, x, w, b, t)
    outputs[0].backward()
    return [v.detach().numpy() for v in (*outputs, w.grad, b.grad)]


@needs_c
def test_half_precision_is_one_record(half: DType, tmp_path: Path) -> None:
    """Stored in 16 bits and computed in float32: eagerly, in C with its self-test, and by the generated package."""
    arrays, specs = values(), {"x": ("N", 5), "w": (5, 4), "b": (4,), "t": ("N", 4)}
    given = {n: gg.spec(*s, dtype=half, requires_grad=n in "wb") for n, s in specs.items()}
    program = gg.trace(lambda x, w, b, t: network(gg, x, w, b, t), name="low", **given)
    folder = Path(gg.emit(program, name="low", out=tmp_path))
    # _Float16 is C23, in Annex H
    sources = [folder / "low.c", folder / "selftest.c"]
    subprocess.run(["cc", *STRICT, "-Wno-pedantic", *map(str, sources), "-o", str(folder / "selftest"), "-lm"], check=True)
    ran = subprocess.run([folder / "selftest"], check=True, capture_output=True, text=True)
    assert "all tests passed" in ran.stdout
    exact = taped(gg, arrays, dtype=gg.float64)
    eager = taped(gg, arrays)
    module = gg.build(program, name="low", out=tmp_path / "built")
    found, slopes = module.value_and_grad(*arrays, gradient=(np.float16(1), None, None))
    for low, tape, high in zip((*found, *slopes), eager, exact):
        assert low.dtype == tape.dtype and low.shape == high.shape
        np.testing.assert_allclose(low.astype(float), tape.astype(float), rtol=2 * ULP, atol=2 * ULP)  # other roundings
        np.testing.assert_allclose(low.astype(float), high.astype(float), rtol=8 * ULP, atol=4 * ULP)
    torch = pytest.importorskip("torch")
    for tape, theirs in zip(eager, taped(torch, arrays)):
        np.testing.assert_allclose(tape.astype(float), theirs.astype(float), rtol=2 * ULP, atol=2 * ULP)
