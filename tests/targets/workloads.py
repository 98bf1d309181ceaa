"""What is measured and trained: a function, its specs, and the sizes it is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradgen as gg
import gradgen.nn.functional as F


@dataclass(frozen=True)
class Workload:
    """One program.

    specs    name -> shape of the inputs; those in `given` have no gradient
    labels   inputs that are class numbers -> how many classes
    sizes    the values of N that it is called with; (0,) where nothing is open
    rate     of plain SGD, for the training example
    """

    function: Callable[..., Any]
    specs: Mapping[str, tuple[Any, ...]]
    given: frozenset[str]
    labels: Mapping[str, int] = field(default_factory=dict)
    sizes: tuple[int, ...] = (0,)
    rate: float = 0.25

    def program(self, name: str) -> Any:
        specs = {
            key: gg.spec(*shape, dtype=gg.int64 if key in self.labels else gg.float32, requires_grad=key not in self.given)
            for key, shape in self.specs.items()
        }
        return gg.trace(self.function, name=name, **specs)


def linear_bce(x, y, w, b):  # type: ignore[no-untyped-def]
    loss = F.binary_cross_entropy_with_logits(gg.matmul(x, w) + b, y)
    return loss


def network(x, t, w1, b1, w2, b2):  # type: ignore[no-untyped-def]
    loss = F.cross_entropy(gg.relu(x @ w1 + b1) @ w2 + b2, t)
    return loss


def linear(n: Any, sizes: tuple[int, ...]) -> Workload:
    return Workload(linear_bce, {"x": (n, 5), "y": (n, 3), "w": (5, 3), "b": (3,)}, frozenset("xy"), sizes=sizes)


def layers(n: Any, inside: int, hidden: int, classes: int, sizes: tuple[int, ...]) -> Workload:
    specs = {"x": (n, inside), "t": (n,), "w1": (inside, hidden), "b1": (hidden,), "w2": (hidden, classes), "b2": (classes,)}
    return Workload(network, specs, frozenset("xt"), {"t": classes}, sizes)


WORKLOADS = {
    "linear": linear("N", (1, 64)),
    "network": layers("N", 64, 64, 10, (1, 32)),
    "network_one": layers(1, 64, 64, 10, (0,)),
    "small": layers("N", 4, 8, 3, (1, 6)),
}
"""linear: logistic regression, 5 to 3.  network: 64-64-10 with cross-entropy, its batch open or one.  small: 4-8-3, for
machines with a few kilobytes."""
