"""What the compiler does grows with the program as the program does: calls of Python functions are counted, not seconds.

A walk over shared structure that forgets where it has been doubles with every level instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import gradgen as gg
from gradgen.compiler.pipeline import generate
from gradgen.options import Options
from gradgen.passes import unobserved

MARGIN = 1.25
"""Twice the program takes at most 2 * MARGIN times the calls: sorting, and thresholds beyond which a pass begins."""

LIMIT = 30_000_000
"""Calls after which the count is given up; the largest program here takes 1.2 million."""


def spec(*shape: Any, grad: bool = True, dtype: Any = gg.float64) -> Any:
    return gg.spec(*shape, dtype=dtype, requires_grad=grad)


def rollout(n: int) -> Any:
    def loss(x: Any, u: Any) -> Any:
        state, states = x, []
        for k in range(n):
            state = gg.stack([state[0] * u[k] + state[1], state[1] * state[0] - u[k]])
            states.append(state)
        return gg.stack(states).pow(2).sum()

    return gg.trace(loss, x=spec(2), u=spec(n))


def nested_choices(n: int) -> Any:
    def loss(x: Any) -> Any:
        y = x
        for k in range(n):
            y = gg.where(x > k, y * x, y + k)
        return y.sum()

    return gg.trace(loss, x=spec(5))


def recurrent(n: int) -> Any:
    def loss(x: Any, w: Any, v: Any) -> Any:
        h = x[0]
        for k in range(n):
            h = gg.tanh(h @ w + x[k] @ v)
        return h.sum()

    return gg.trace(loss, x=spec(n, 4), w=spec(4, 4), v=spec(4, 4))


def cut_and_joined(n: int) -> Any:
    def loss(x: Any) -> Any:
        for k in range(n):
            a, b = x.split(3)
            joined = gg.cat([b * a, a + k])
            x = gg.stack([joined, joined * 2]).sum(0)
        return x.sum()

    return gg.trace(loss, x=spec(6))


def padded(n: int) -> Any:
    def loss(x: Any) -> Any:
        pad = gg.nn.functional.pad
        y = x
        for _ in range(n):
            y = pad(y, (1, 1))[1:-1] * x + pad(y, (1, 0))[:-1]
        return y.sum()

    return gg.trace(loss, x=spec(9))


def chain(n: int) -> Any:
    """benchmarks/cases/generation.py: four operations a step, nothing that a compiler could fold."""
    def loss(x: Any, p: Any) -> Any:
        for _ in range(n):
            x = gg.sin(p * x) + 0.5 * x
        return x

    return gg.trace(loss, x=spec(), p=spec())


def many_outputs(n: int) -> Any:
    def each(x: Any) -> Any:
        return {f"o{k}": (x * (k + 1)).sin().sum() for k in range(n)}

    return gg.trace(each, x=spec(7))


def many_dimensions(n: int) -> Any:
    names = [f"x{k}" for k in range(n)]
    scope: dict[str, Any] = {}
    exec(f"def loss({', '.join(names)}):\n    return sum((v * v).sum() for v in ({', '.join(names)},))", scope)
    return gg.trace(scope["loss"], **{name: spec(f"N{k}", 3) for k, name in enumerate(names)})


def gathered_and_scattered(n: int) -> Any:
    def loss(x: Any, i: Any) -> Any:
        y = x
        for _ in range(n):
            y = y[i] * x + y.index_add(0, i, x)
        return y.sum()

    return gg.trace(loss, x=spec(9), i=spec(9, grad=False, dtype=gg.int64))


def computed_positions(n: int) -> Any:
    def loss(x: Any, i: Any) -> Any:
        for k in range(n):
            i = gg.where(i > k, i * i, i + k).clamp(0, 8)
        return x[i].sum()

    return gg.trace(loss, x=spec(9), i=spec(9, grad=False, dtype=gg.int64))


def running_sums(n: int) -> Any:
    def loss(x: Any) -> Any:
        y = x
        for _ in range(n):
            y = (y * x).cumsum(0)
        return y.sum()

    return gg.trace(loss, x=spec(9))


def scans_in_scans(n: int) -> Any:
    def loss(x: Any) -> Any:
        def level(k: int) -> Callable[..., Any]:
            def step(carry: Any, row: Any) -> Any:
                if k:
                    carry, _ = gg.scan(level(k - 1), carry, x)
                return carry * row + 1, carry

            return step

        return gg.scan(level(n - 1), x[0], x)[0]

    return gg.trace(loss, x=spec(3))


def deep_network(n: int) -> Any:
    def loss(x: Any, w: Any) -> Any:
        for k in range(n):
            x = gg.relu(x @ w[k])
        return x.sum()

    return gg.trace(loss, x=spec("N", 4), w=spec(n, 4, 4))


def shared_twice(n: int) -> Any:
    def loss(x: Any) -> Any:
        y = x
        for _ in range(n):
            y = y.sin() * y.cos() + y
        return y.sum()

    return gg.trace(loss, x=spec(5))


def ring(n: int) -> Any:
    def loss(x: Any) -> Any:
        y = x
        for _ in range(n):
            y = y * y.roll(1) + y.sin()
        return y.sum()

    return gg.trace(loss, x=spec(4))


def reshaped(n: int) -> Any:
    def loss(x: Any) -> Any:
        y = x
        for _ in range(n):
            y = y.reshape(3, 4).t().reshape(2, 6).sin().t().reshape(12) + y
        return y.sum()

    return gg.trace(loss, x=spec(12))


def conditions_on_a_dimension(n: int) -> Any:
    return gg.trace(lambda x: sum(x[k:].sum() for k in range(n)), x=spec("N"))


HESSIAN = {"sparse": ("hessian",)}
FAMILIES: dict[str, tuple[Callable[[int], Any], int, dict[str, Any]]] = {
    "rollout, hessian": (rollout, 8, HESSIAN),
    "ring, hessian": (ring, 8, HESSIAN),
    "scans in scans": (scans_in_scans, 2, {}),
    "chain": (chain, 80, {}),
    **{f.__name__.replace("_", " "): (f, 8, {}) for f in (
        nested_choices, recurrent, cut_and_joined, padded, many_outputs, many_dimensions, gathered_and_scattered,
        computed_positions, running_sums, deep_network, shared_twice, reshaped, conditions_on_a_dimension)},
}


class TooMany(Exception):
    """The count has passed LIMIT."""


def calls(make: Callable[[int], Any], size: int, options: dict[str, Any]) -> int:
    """Python functions called from tracing to the text of all files."""
    count = 0

    def counted(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"
        if count > LIMIT:
            raise TooMany(f"size {size}")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        with unobserved():  # the verifiers' calls are not the compiler's
            generate(make(size).graph, "m", Options(**options))
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("name", FAMILIES)
def test_twice_the_program_is_twice_the_work(name: str) -> None:
    make, size, options = FAMILIES[name]
    calls(make, max(size // 4, 1), options)  # what every program shares is in caches then
    once, twice = calls(make, size, options), calls(make, 2 * size, options)
    assert twice <= 2 * MARGIN * once, f"{once} calls for {size}, {twice} for {2 * size}"
