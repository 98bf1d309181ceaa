"""Operations over axes of open length do at every length what they do at that length: see openings.py."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.ir.evaluation import holds
from gradgen.ir.reach import with_conditions
from gradgen.reference.interpreter import evaluate

from .openings import SIZES, N, cases, differences, prepared, traced, words

FIRST = {c.path: c for c in reversed(cases())}
KNOWN = {
    "nn.functional.cross_entropy",  # label smoothing over no class: ZeroDivisionError eagerly
    "put",  # into an empty tensor
    "nanmedian", "median",  # of nothing is refused, where eager use gives nan
}
"""Where one of the two refuses what the other does; nothing is read outside."""


@pytest.mark.parametrize("path", sorted(set(FIRST) - KNOWN))
def test_open_axes(path: str) -> None:
    found = list(differences(FIRST[path], sizes=(0, 1, 3), most=3))
    assert not found, "\n".join(found)


def test_the_comparison_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the front end asks, a window larger than its axis is an empty result and no error."""
    recording = import_module("gradgen.trace.recording")  # gradgen.trace is the function
    monkeypatch.setattr(recording, "with_conditions", lambda graph: with_conditions(graph).__class__(
        graph.inputs, graph.outputs, graph.output_names, graph.where, ()))
    assert any("nothing is said" in line for line in differences(FIRST["nn.functional.max_pool1d"]))


# --- beside PyTorch ----------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, tuple[Callable[[Any, Any], Any], tuple[Any, ...]]] = {
    "x[2]": (lambda g, x: x[2], (N,)),
    "x[-3]": (lambda g, x: x[-3], (N, 2)),
    "x[:, 2]": (lambda g, x: x[:, 2], (2, N)),
    "x[1:, 1]": (lambda g, x: x[1:, 1], (3, N)),
    "select": (lambda g, x: x.select(0, 2), (N,)),
    "narrow": (lambda g, x: x.narrow(0, 1, 3), (N,)),
    "narrow from the end": (lambda g, x: x.narrow(0, -3, 2), (N,)),
    "unfold": (lambda g, x: x.unfold(0, 3, 2), (N,)),
    "slices": (lambda g, x: g.cat([x[2:5], x[-4:], x[:3], x[5:2], x[::2]]), (N,)),
    "slices of slices": (lambda g, x: x[1:][:4][-2:], (N,)),
    "max_pool1d": (lambda g, x: g.nn.functional.max_pool1d(x, 3), (1, 2, N)),
    "max_pool2d": (lambda g, x: g.nn.functional.max_pool2d(x, 2, 1), (1, 2, N, 4)),
    "max_pool2d ceil": (lambda g, x: g.nn.functional.max_pool2d(x, 3, 2, 1, ceil_mode=True), (1, 1, N, 5)),
    "max_pool2d sparse": (lambda g, x: g.nn.functional.max_pool2d(x, 2, 4, 1, ceil_mode=True), (1, 1, N, 5)),
    "avg_pool1d": (lambda g, x: g.nn.functional.avg_pool1d(x, 2), (1, 2, N)),
    "avg_pool2d": (lambda g, x: g.nn.functional.avg_pool2d(x, (2, 3), 2, 1, True), (1, 1, N, 5)),
    "conv1d": (lambda g, x: g.nn.functional.conv1d(x, g.ones(1, 1, 3, dtype=g.float64)), (1, 1, N)),
    "conv1d padded": (
        lambda g, x: g.nn.functional.conv1d(x, g.ones(1, 1, 5, dtype=g.float64), padding=1, stride=2), (1, 1, N)),
    "conv_transpose1d": (
        lambda g, x: g.nn.functional.conv_transpose1d(x, g.ones(1, 1, 3, dtype=g.float64), padding=2), (1, 1, N)),
    "im2col": (lambda g, x: g.nn.functional.unfold(x, 2), (1, 1, N, 3)),
    "pad": (lambda g, x: g.nn.functional.pad(x, (-1, -1)), (N,)),
    "reflect": (lambda g, x: g.nn.functional.pad(x, (2, 1), mode="reflect"), (1, 1, N)),
    "replicate": (lambda g, x: g.nn.functional.pad(x, (2, 1), mode="replicate"), (1, 1, N)),
    "circular": (lambda g, x: g.nn.functional.pad(x, (2, 1), mode="circular"), (1, 1, N)),
    "diff": (lambda g, x: x.diff(n=2), (N,)),
    "roll": (lambda g, x: x.roll(2, 0), (N, 2)),
    "flip": (lambda g, x: x.flip(0), (N, 2)),
    "cumsum": (lambda g, x: x.cumsum(0), (N, 2)),
    "cummax": (lambda g, x: x.cummax(0)[0], (N, 2)),
    "amax": (lambda g, x: x.amax(0), (N, 2)),
    "amax 1": (lambda g, x: x.amax(1), (N, 2)),
    "max": (lambda g, x: x.max(), (N, 2)),
    "max 0": (lambda g, x: x.max(0)[0], (N, 2)),
    "argmax": (lambda g, x: x.argmax(), (N,)),
    "topk": (lambda g, x: x.topk(2, 0)[0], (N, 2)),
    "kthvalue": (lambda g, x: x.kthvalue(2, 0)[0], (N,)),
    "sort": (lambda g, x: x.sort(0)[0], (N, 2)),
    "cat": (lambda g, x: g.cat([x, x * 2]), (N, 2)),
    "stack": (lambda g, x: g.stack([x, x * 2], 1), (N, 2)),
    "logsumexp": (lambda g, x: x.logsumexp(0), (N, 2)),
    "softmax": (lambda g, x: x.softmax(0), (N, 2)),
    "diagonal": (lambda g, x: x.diagonal(1), (3, N)),
    "tril": (lambda g, x: x.tril(-1), (N, 3)),
    "glu": (lambda g, x: g.nn.functional.glu(x, 0), (N, 2)),
    "trapezoid": (lambda g, x: g.trapezoid(x), (N,)),
    "instance_norm": (lambda g, x: g.nn.functional.instance_norm(x), (1, 2, N)),
    "batch_norm": (lambda g, x: g.nn.functional.batch_norm(x, None, None, training=True), (N, 2)),
    "hsplit": (lambda g, x: g.cat(g.hsplit(x, 2), 0), (2, N)),
}



@pytest.mark.parametrize("name", FUNCTIONS)
def test_like_pytorch_at_every_length(name: str) -> None:
    """Value, or exception and words, at N = 0, 1, 2, 3, 7 of what was traced once."""
    torch = pytest.importorskip("torch")
    function, shape = FUNCTIONS[name]
    graph = gg.trace(lambda x: function(gg, x), gg.spec(*("N" if e is N else e for e in shape), dtype=gg.float64),
                     check=False).graph
    for n in SIZES:
        x = np.cos(np.arange(float(np.prod([n if e is N else e for e in shape]))) * 1.7).reshape(
            [n if e is N else e for e in shape])
        broken = next((r for r in graph.conditions if not holds((r.condition,), {N: n})), None)
        try:
            expected = function(torch, torch.tensor(x)).numpy()
        except Exception as error:
            assert broken is not None, f"{name} at {n}: nothing where PyTorch raises {error}"
            assert words(broken, n) == (type(error).__name__, str(error)), n
            continue
        assert broken is None, f"{name} at {n}: {broken} where PyTorch raises nothing"
        with np.errstate(all="ignore"):
            (found,) = evaluate(list(graph.outputs), {graph.inputs[0]: x})
        assert found.shape == expected.shape, n
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_prepared_calls_are_the_samples() -> None:
    run, arrays = prepared(FIRST["narrow"])
    assert traced(run, arrays).outputs[0].shape == (2, 3)
