"""Memory of value_and_grad for a batch of N rows: where only sums over the batch leave, it does not grow with N."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import gradgen as gg
from gradgen.compiler.pipeline import programs, stages
from gradgen.options import Options

F = gg.nn.functional


def weight(*shape: int) -> gg.spec:
    return gg.spec(*shape, requires_grad=True)


def regression() -> gg.TracedFunction:  # type: ignore[name-defined]
    x, t = gg.spec("N", 784), gg.spec("N", dtype=gg.int64)
    return gg.trace(lambda x, w, b, t: F.cross_entropy(x @ w + b, t), x=x, w=weight(784, 10), b=weight(10), t=t)


def network() -> gg.TracedFunction:  # type: ignore[name-defined]
    def f(x, w1, b1, w2, b2, t):  # type: ignore[no-untyped-def]
        return F.cross_entropy(gg.relu(x @ w1 + b1) @ w2 + b2, t)

    x, t = gg.spec("N", 784), gg.spec("N", dtype=gg.int64)
    return gg.trace(f, x=x, w1=weight(784, 64), b1=weight(64), w2=weight(64, 10), b2=weight(10), t=t)


def mixture() -> gg.TracedFunction:  # type: ignore[name-defined]
    """A batch of small products by component, inside of which nothing is long but the batch."""

    def f(x, a, mu, w):  # type: ignore[no-untyped-def]
        z = gg.einsum("kij,nkj->nki", w, x[:, None, :] - mu)
        return gg.logsumexp(a - 0.5 * (z * z).sum(-1), 1).sum()

    return gg.trace(f, x=gg.spec("N", 10), a=weight(25), mu=weight(25, 10), w=weight(25, 10, 10))


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("model", [regression, network, mixture])
def test_memory_is_independent_of_the_batch(model: Callable[[], gg.TracedFunction], threads: int) -> None:  # type: ignore[name-defined]
    made = stages(model().graph, Options(threads=threads))
    (p,) = [p for p in programs(made) if p.name == "value_and_grad"]
    assert isinstance(p.layout.work, int) or not p.layout.work.free_symbols, p.layout.work
