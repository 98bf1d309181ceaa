"""Memory of value_and_grad for a batch of N rows: where only sums over the batch leave, it is as small as N asks, and has a
bound."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import gradgen as gg
from gradgen.codegen.extents import evaluate
from gradgen.compiler.pipeline import bodies, programs, stages
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
def test_memory_grows_with_the_batch_up_to_a_strip(model: Callable[[], gg.TracedFunction], threads: int) -> None:  # type: ignore[name-defined]
    made = stages(model().graph, Options(threads=threads))
    work = {b.name: b.work_bytes for b in bodies(programs(made))}["value_and_grad"]
    bytes_ = {n: evaluate(work, {"N": n}) for n in (1, 16, 256, 257, 10_000, 1_000_000)}
    assert bytes_[10_000] == bytes_[1_000_000]
    assert bytes_[1] < bytes_[16] < bytes_[256] <= bytes_[257] <= bytes_[10_000]
    assert threads or bytes_[1] < 40_000  # chunks have their own sums


def test_a_batch_of_one_takes_what_one_sample_takes() -> None:
    """No copies of the gradients (200 KB here), no strips of 256 rows."""
    made = stages(network().graph, Options())
    (p,) = [p for p in programs(made) if p.name == "value_and_grad"]
    packed = 64 * 128  # the matrix kernel's, for a sum of 64 terms
    assert evaluate(p.layout.work, {"N": 1}) <= 2048 + packed
    assert evaluate(p.layout.work, {"N": 32}) <= 32 * 1024 + packed
