"""Programs whose C once named a local outside of its block; both were found by random programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg


def sums_beside_a_picked_column(x: Any, y: Any) -> Any:
    """A loop that would be written out reads sums over an inner loop, which stays."""
    mixed = gg.lerp(x, y.amax(-1), 0.3)
    rows = mixed[::2]
    total = rows[0] + 2 * rows[1]
    changed = rows.clone()
    changed[..., 2] += x.clamp(-0.5, 0.75)
    return changed, total.unflatten(0, (1, -1))


def position_of_another_nest(x: Any, y: Any, k: Any) -> Any:
    """Gathers from the smallest elements of rows: where those are is tested by the nest that finds them."""
    smallest = x.min(-1).values / (y.abs() + 1)
    return smallest[:, k % smallest.shape[1]]


CASES: dict[str, tuple[Callable[..., Any], dict[str, tuple[int, ...]]]] = {
    "sums": (sums_beside_a_picked_column, {"x": (), "y": (3, 3, 1)}),
    "positions": (position_of_another_nest, {"x": (3, 3), "y": (2, 1)}),
}


@pytest.mark.parametrize("level", ["none", "safe", "fast"])
@pytest.mark.parametrize("name", CASES)
def test_compiled_like_eager(name: str, level: str, tmp_path: Path) -> None:
    function, shapes = CASES[name]
    rng = np.random.default_rng(0)
    given: dict[str, np.ndarray] = {n: rng.normal(size=s) for n, s in shapes.items()}
    specs = {n: gg.spec(*s, dtype=gg.float64, requires_grad=True) for n, s in shapes.items()}
    if name == "positions":
        given["k"], specs["k"] = np.array([4, 0, -1]), gg.spec(3, dtype=gg.int64)
    module = gg.build(gg.trace(function, **specs), name="scopes", out=tmp_path, simplify=level)
    tensors = {n: gg.from_numpy(a.copy()) for n, a in given.items()}
    wanted = [tensors[n].requires_grad_() for n in shapes]
    found = function(**tensors)
    outputs = list(found) if isinstance(found, tuple) else [found]
    seeds = [rng.normal(size=tuple(o.shape)) for o in outputs]
    sum((o * gg.from_numpy(s)).sum() for o, s in zip(outputs, seeds)).backward()
    values, gradients = module.value_and_grad(**given, gradient=tuple(seeds) if len(seeds) > 1 else seeds[0])
    for value, output in zip(values if len(outputs) > 1 else [values], outputs):
        np.testing.assert_allclose(value, output.detach().numpy(), rtol=1e-13)
    for gradient, tensor in zip(gradients, wanted):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_positions_that_a_named_map_makes_of_an_argmax_are_tested(tmp_path: Path) -> None:
    """They are neither given nor the argmax itself, and nobody else tests them."""
    def pick(x: Any, w: Any) -> Any:
        at = x.argmax(1) * 30
        return w[at].sum(), at, (at * 2).sum()

    program = gg.trace(pick, x=gg.spec(4, 5, dtype=gg.float64), w=gg.spec(7, dtype=gg.float64, requires_grad=True))
    module = gg.build(program, name="positions", out=tmp_path)
    x, w = np.zeros((4, 5)), np.arange(7.0)
    assert module.forward(x, w)[0] == 0
    x[2, 3] = 1
    with pytest.raises(IndexError):
        module.forward(x, w)
