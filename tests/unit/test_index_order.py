"""Terms of an index stand in the order of the loops: what GCC 12 makes wrong addresses of otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import sympy

import gradgen as gg
from gradgen.codegen.expressions import ExpressionPrinter
from gradgen.target import NATIVE

i, j, k = (sympy.Symbol(n, integer=True, nonnegative=True) for n in "ijk")


def test_outer_loops_first() -> None:
    printer = ExpressionPrinter(NATIVE, False)
    assert printer.index(k + 10 * j + 500 * i) == printer.index(500 * i + 10 * j + k)
    printer.loops = {"k": 1, "j": 2, "i": 3}
    assert printer.index(k + 10 * j + 500 * i) == "k + j * 10 + i * 500"
    printer.loops = {"i": 1, "j": 2, "k": 3}
    assert printer.index(k + 10 * j + 500 * i) == "i * 500 + j * 10 + k"
    assert printer.index(k + 10 * j + 500 * i - 7) == "i * 500 + j * 10 + k - 7"


@pytest.mark.parametrize("extents", [(2, 6, 5, 5, 10, 10), (3, 2, 7, 4, 9, 12)])
def test_deep_nests_in_vectors(extents: tuple[int, ...], tmp_path: Path) -> None:
    """Windows of an image as a whole tensor, written by loops six deep, for this processor."""
    n, c, kh, kw, h, w = extents

    def windows(x: gg.Tensor) -> gg.Tensor:
        return x.unfold(2, kh, 1).unfold(3, kw, 1).permute(0, 1, 4, 5, 2, 3) * 2.0

    x = np.arange(n * c * (h + kh - 1) * (w + kw - 1), dtype=np.float32).reshape(n, c, h + kh - 1, w + kw - 1)
    built = gg.build(gg.trace(windows, x=gg.spec(*x.shape)), name="windows", out=tmp_path, simplify="none")
    view = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3)).transpose(0, 1, 4, 5, 2, 3)
    assert (built.forward(x) == 2 * view).all()
    text = (tmp_path / "windows" / "windows.c").read_text()
    for line in re.findall(r"\[(\w+ \* \d+ \+ [^\]]*)\] =", text):
        factors = [int(f) for f in re.findall(r"\* (\d+)", line)]
        assert factors == sorted(factors, reverse=True), line
