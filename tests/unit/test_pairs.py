"""Sums over three and more factors, two at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gradgen as gg
from gradgen.compiler.pipeline import stages
from gradgen.ir.graph import topological_until
from gradgen.ir.nodes import Compute, Node
from gradgen.loops.procedure import Procedure
from gradgen.options import Options
from gradgen.reference.interpreter import evaluate
from gradgen.schedule.pairs import in_pairs


def procedure(f: Callable[..., Any], *shapes: tuple[int, ...], name: str = "value_and_grad") -> Procedure:
    names = "abcde"[: len(shapes)]
    specs: dict[str, Any] = {n: gg.spec(*s, dtype=gg.float64, requires_grad=True) for n, s in zip(names, shapes)}
    scope: dict[str, Any] = {"f": f}
    exec(f"def program({', '.join(names)}):\n    return f({', '.join(names)})", scope)
    made = stages(gg.trace(scope["program"], **specs).graph, Options())
    return next(p for p in made.procedures if p.name == name)


def sums(p: Procedure) -> list[Compute]:
    nodes = topological_until(tuple(o.node for o in p.outputs), set(p.given))
    return [n for n in nodes if isinstance(n, Compute) and n.reducer == "sum" and n not in p.given]


def work(p: Procedure) -> int:
    """Multiplications of all sums of products."""
    return sum(int(np.prod([*n.shape, *n.reduce_shape])) * (len(n.reads) - 1) for n in sums(p))


def values(p: Procedure) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    given: dict[Node, np.ndarray] = {n: rng.normal(size=n.shape) for n in p.given}
    return [np.asarray(v) for v in evaluate([o.node for o in p.outputs], given)]


def bilinear(x: Any, y: Any, w: Any) -> Any:
    return (gg.nn.functional.bilinear(x, y, w) ** 2).sum()


def test_fewer_multiplications_and_the_same_values() -> None:
    p = procedure(bilinear, (20, 16), (20, 12), (14, 16, 12))
    apart = in_pairs(p)
    assert work(apart) < 0.7 * work(p)
    assert all(len(n.reads) <= 2 for n in sums(apart))
    for one, other in zip(values(p), values(apart), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-11, atol=1e-9)  # float64 in another order


def test_where_nothing_is_gained_the_sum_stays_one() -> None:
    p = procedure(lambda a, b, c: (a * b * c).sum(), (200, 200), (200, 200), (200, 200))
    assert in_pairs(p) is p


def test_einsum_takes_the_cheapest_order() -> None:
    p = procedure(lambda a, b, c: gg.einsum("ij,jk,kl->il", a, b, c), (100, 4), (4, 100), (100, 3), name="forward")
    assert work(p) == 4 * 100 * 3 * 2
    q = procedure(lambda a, b, c: gg.einsum("ij,jk,kl->il", a, b, c), (3, 100), (100, 4), (4, 100), name="forward")
    assert work(q) == 3 * 100 * 4 * 2
