"""Modules of gradgen.nn inside traced functions: built as C, they give what they give eagerly (which is PyTorch's: see
tests/semantics/cases/modules.py), and loops over time stay loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg

TOLERANCE = 3e-5
"""Relative to the largest entry, as in test_models.py: about 250 float32 roundings."""
MODULES: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "lstm": (lambda: gg.nn.LSTM(3, 4, batch_first=True), (2, 6, 3)),
    "gru": (lambda: gg.nn.GRU(3, 4, 2, bidirectional=True), (5, 2, 3)),
    "encoder": (lambda: gg.nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True), (2, 5, 4)),
    "images": (
        lambda: gg.nn.Sequential(
            gg.nn.ConvTranspose2d(2, 3, 3, stride=2), gg.nn.InstanceNorm2d(3, affine=True), gg.nn.ReflectionPad2d(1),
            gg.nn.Upsample(size=(12, 10), mode="bilinear"), gg.nn.PixelUnshuffle(2),
        ),
        (1, 2, 3, 3),
    ),
}  # fmt: skip


def _program(name: str, shape: tuple[int, ...]) -> tuple[Any, Any, list[np.ndarray]]:
    """A traced function of the input and the parameters, the module, and the arrays."""
    gg.manual_seed(0)
    module = MODULES[name][0]()
    names = [n for n, _ in module.named_parameters()]
    letters = [f"p{k}" for k in range(len(names))]

    def run(x: Any, *parameters: Any) -> Any:
        found = gg.func.functional_call(module, dict(zip(names, parameters)), x)
        return ((found[0] if isinstance(found, tuple) else found) ** 2).mean()

    scope: dict[str, Any] = {"run": run}
    exec(f"def model(x, {', '.join(letters)}):\n    return run(x, {', '.join(letters)})", scope)
    values = [p.detach().numpy() for p in module.parameters()]
    x = np.cos(np.arange(np.prod(shape))).reshape(shape).astype(np.float32)
    specs = {n: gg.spec(*a.shape, requires_grad=True) for n, a in zip(["x", *letters], [x, *values])}
    return gg.trace(scope["model"], outputs=["loss"], **specs), module, [x, *values]


@pytest.mark.parametrize("name", MODULES)
def test_built_like_eager(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O1")  # the loops are the same, the compiler is quicker
    program, module, arrays = _program(name, MODULES[name][1])
    loss, gradients = gg.build(program, name="model", out=tmp_path / "out").value_and_grad(*arrays)
    x = gg.tensor(arrays[0], requires_grad=True)
    found = module(x)
    expected: Any = ((found[0] if isinstance(found, tuple) else found) ** 2).mean()
    expected.backward()
    theirs = [np.asarray(t.numpy()) for t in (expected.detach(), x.grad, *(p.grad for p in module.parameters()))]
    # the bias before a normalisation has gradient 0: a sum of terms that cancel is as exact as these are
    least = 1e-2 * max(np.abs(t).max() for t in theirs)
    for mine, other in zip([loss, *gradients], theirs):
        assert np.abs(np.asarray(mine) - other).max() <= TOLERANCE * max(least, np.abs(other).max())


def test_loops_over_time_stay_loops(tmp_path: Path) -> None:
    sizes = []
    for steps in (60, 600):
        program, _, _ = _program("lstm", (2, steps, 3))
        out = tmp_path / str(steps)
        gg.emit(program, name="model", out=out)
        sizes.append(next(out.rglob("model.c")).stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 0.05 * sizes[0]  # the same loops, other numbers
