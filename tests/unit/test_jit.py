"""jit: what a function takes from outside stays live, and what its trace depended on is compared before each call."""

from __future__ import annotations

from typing import Any

import gradgen as gg

FACTOR = 2.0
SHIFT = gg.tensor([1.0, 2.0])


class Scaled(gg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = gg.nn.Linear(2, 2)
        self.scale = 2.0

    def forward(self, x: Any) -> Any:
        return self.linear(x) * (self.scale if self.training else 1.0)


def test_captured_tensors_are_live() -> None:
    s = gg.tensor([2.0, 2.0])
    f = gg.jit(lambda x: x * s + SHIFT)
    x = gg.tensor([1.0, 2.0])
    assert f(x).tolist() == [3.0, 6.0]
    s.mul_(5)
    assert f(x).tolist() == [11.0, 22.0]
    s = gg.tensor([7.0, 7.0])  # another tensor under the same name
    assert f(x).tolist() == [8.0, 16.0]
    s = gg.tensor(3.0)  # of another shape
    assert f(x).tolist() == [4.0, 8.0]


def test_gradients_flow_to_a_modules_parameters() -> None:
    net = Scaled()
    f = gg.jit(net)
    x = gg.tensor([[1.0, 2.0], [3.0, 4.0]])
    optimizer = gg.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        f(x).pow(2).sum().backward()
        gradients = [p.grad.clone() for p in net.parameters()]
        optimizer.zero_grad()
        net(x).pow(2).sum().backward()
        assert all(gg.allclose(a, p.grad) for a, p in zip(gradients, net.parameters()))
        optimizer.step()
    net.eval()
    assert gg.equal(f(x), net(x))
    net.train()
    net.scale = 3.0
    assert gg.equal(f(x), net(x))
    for p in net.parameters():
        p.requires_grad_(False)
    assert not f(x).requires_grad


def test_detached_and_not_are_two_operands() -> None:
    w = gg.tensor([1.0, 2.0], requires_grad=True)
    gg.jit(lambda x: x * w.detach() * w)(gg.tensor([3.0, 4.0])).sum().backward()
    assert w.grad.tolist() == [3.0, 8.0]


def test_values_that_were_looked_at_are_compared() -> None:
    global FACTOR
    x, at, mask = gg.tensor([1.0, 2.0]), gg.tensor([1, 0]), gg.tensor([True, False])
    f, g, h = gg.jit(lambda x: x[at]), gg.jit(lambda x: x[mask]), gg.jit(lambda x: x * FACTOR)
    assert (f(x).tolist(), g(x).tolist(), h(x).tolist()) == ([2.0, 1.0], [1.0], [2.0, 4.0])
    at[0], mask[1], FACTOR = -2, True, 3.0
    assert (f(x).tolist(), g(x).tolist(), h(x).tolist()) == ([1.0, 1.0], [1.0, 2.0], [3.0, 6.0])
    FACTOR = 2.0


def test_the_mode_is_part_of_the_trace() -> None:
    w = gg.tensor([1.0, 2.0], requires_grad=True)
    f = gg.jit(lambda x: x * 2)
    with gg.no_grad():
        assert not f(w).requires_grad
    assert f(w).requires_grad
