"""What is not wanted is not computed, where that is worth a test; small loops are not tested and stay loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradgen as gg


def text(function: Any, tmp_path: Path, **specs: Any) -> str:
    folder = gg.emit(gg.trace(function, **specs), "small", out=tmp_path)
    source = (folder / "small.c").read_text()
    return source[source.index("gradgen_status small_value_and_grad(") : source.index("void small_zero_grad(")]


def test_a_small_network_is_loops_without_tests(tmp_path: Path) -> None:
    """Nobody calls a function for nothing, and 15 additions are no reason to ask; rows of sums stay vector loops."""
    source = text(
        lambda x, w, b, y: gg.nn.functional.binary_cross_entropy_with_logits(x @ w + b, y), tmp_path,
        x=gg.spec(4, 5), w=gg.spec(5, 3, requires_grad=True), b=gg.spec(3, requires_grad=True), y=gg.spec(4, 3),
    )  # fmt: skip
    loop = source[source.index("for (") : source.index("GRADGEN_SET_GRAD")]
    assert "gg_sigmoid" in loop and "if (" not in loop
    assert "[14]" not in source and "lane" not in source


def test_a_label_is_looked_up_in_its_own_row(tmp_path: Path) -> None:
    """Items in lanes: what one result reads, another must not have written in a loop of its own."""
    import numpy as np

    def loss(x, w, t):  # type: ignore[no-untyped-def]
        return gg.nn.functional.cross_entropy(x @ w, t)

    rng = np.random.default_rng(0)
    x, w, t = rng.normal(size=(37, 6)), rng.normal(size=(6, 3)), rng.integers(0, 3, 37)
    specs = {"x": gg.spec("N", 6, dtype=gg.float64), "w": gg.spec(6, 3, dtype=gg.float64, requires_grad=True),
             "t": gg.spec("N", dtype=gg.int64)}  # fmt: skip
    module = gg.build(gg.trace(loss, **specs), name="labels", out=tmp_path)
    logits = x @ w
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    softmax = shifted / shifted.sum(1, keepdims=True)
    expected = -np.log(softmax[np.arange(37), t]).mean()
    rows = softmax.copy()
    rows[np.arange(37), t] -= 1
    value, (gradient,) = module.value_and_grad(x, w, t)
    np.testing.assert_allclose(module.forward(x, w, t), expected, rtol=1e-13)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(gradient, x.T @ rows / 37, rtol=1e-12)
