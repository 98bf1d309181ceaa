"""Random programs of views, in-place writes, hooks, modes and backward, run with gradgen and with PyTorch.

Values, gradients, versions, grad_fn names, and the type and text of every error must agree.  The graphs are evaluated by
the reference interpreter: what is tested here is what gets recorded, not the compiled code.
"""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest

import gradgen as gg
from gradgen.compiler import runner as compiled
from gradgen.reference.interpreter import evaluate

torch = pytest.importorskip("torch")
SEEDS = range(240)
KINDS = [
    "view", "view", "inplace", "inplace", "inplace", "binary", "binary", "unary", "assign", "copy", "detach",
    "clone", "backward", "nograd_inplace", "fill", "zero", "backward_again", "unbind", "retain", "hook", "setitem",
    "gather", "put",
]  # fmt: skip


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    from gradgen.eager import engine

    monkeypatch.setattr(engine, "_runners", {})
    monkeypatch.setattr(compiled, "remembered", lambda structure: None)
    monkeypatch.setattr(
        compiled, "runner",
        lambda outputs, given, where, structure="": lambda values: evaluate(outputs, dict(zip(given, values))),
    )  # fmt: skip


def program(seed: int) -> list[tuple[str, float, float, int]]:
    draw = random.Random(seed)
    return [
        (draw.choice(KINDS), draw.random(), draw.random(), draw.randrange(1 << 30)) for _ in range(draw.randrange(4, 14))
    ]


def some_view(draw: random.Random, x: Any) -> Any:
    makers = [lambda: x.unsqueeze(draw.randrange(x.dim() + 1)), lambda: x.view(-1), lambda: x[...]]
    if x.dim() and all(x.shape):
        n = x.shape[0]
        makers += [
            lambda: x[draw.randrange(-n, n)],
            lambda: x[draw.randrange(n) :: draw.randrange(1, 3)],
            lambda: x[draw.randrange(n) : draw.randrange(1, n + 1)],
        ]
    if x.dim() == 2 and all(x.shape):
        rows, columns = x.shape
        makers += [
            lambda: x.t(),
            lambda: x[:, draw.randrange(columns)],
            lambda: x[draw.randrange(rows) :, draw.randrange(columns) :],
        ]
    return draw.choice(makers)()


class Machine:
    """A pool of tensors that a program's steps take from and add to, and a log of everything seen."""

    def __init__(self, module: Any) -> None:
        self.torch = module
        self.log: list[Any] = []
        a = module.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
        b = module.tensor([0.5, -1.5, 2.5], requires_grad=True)
        c = module.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
        self.leaves = [a, b]
        self.pool = [a, b, c, a * 1, c * 1, b.clone()]

    def attempt(self, function: Any, *args: Any) -> Any:
        try:
            return function(*args)
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            text = str(error)
            self.log.append((type(error).__name__, "sizes" if text.startswith("The size of tensor") else text))
            return None

    def keep(self, function: Any, *args: Any) -> None:
        result = self.attempt(function, *args)
        if result is not None:
            self.pool.append(result)

    def step(self, kind: str, u: float, v: float, seed: int) -> None:
        draw = random.Random(seed)
        x, y = self.pool[int(u * len(self.pool))], self.pool[int(v * len(self.pool))]
        self.log.append(kind)
        if kind in ("setitem", "gather", "put", "unbind") and not (x.dim() and x.shape[0]):
            return
        getattr(self, kind)(draw, x, y)

    def view(self, draw: random.Random, x: Any, y: Any) -> None:
        self.keep(some_view, draw, x)

    def inplace(self, draw: random.Random, x: Any, y: Any) -> None:
        name = draw.choice(["add_", "mul_", "sub_", "div_"])
        self.attempt(getattr(x, name), y if draw.random() < 0.6 else 1.5)

    def binary(self, draw: random.Random, x: Any, y: Any) -> None:
        self.keep(getattr(x, draw.choice(["add", "mul", "sub", "div"])), y)

    def unary(self, draw: random.Random, x: Any, y: Any) -> None:
        self.keep(getattr(x, draw.choice(["sin", "neg", "sigmoid", "relu", "tanh", "sum", "mean"])))

    def assign(self, draw: random.Random, x: Any, y: Any) -> None:
        self.attempt(x.__setitem__, Ellipsis, y)

    def setitem(self, draw: random.Random, x: Any, y: Any) -> None:
        self.attempt(x.__setitem__, draw.randrange(x.shape[0]), draw.choice([2.5, y]))

    def gather(self, draw: random.Random, x: Any, y: Any) -> None:
        self.keep(x.__getitem__, [draw.randrange(x.shape[0]) for _ in range(draw.randrange(1, 4))])

    def put(self, draw: random.Random, x: Any, y: Any) -> None:
        places = sorted({draw.randrange(x.shape[0]) for _ in range(draw.randrange(1, 4))})
        self.attempt(x.__setitem__, places, 1.25)

    def copy(self, draw: random.Random, x: Any, y: Any) -> None:
        self.attempt(x.copy_, y)

    def detach(self, draw: random.Random, x: Any, y: Any) -> None:
        self.pool.append(x.detach())

    def clone(self, draw: random.Random, x: Any, y: Any) -> None:
        self.pool.append(x.clone())

    def fill(self, draw: random.Random, x: Any, y: Any) -> None:
        self.attempt(x.fill_, 0.75)

    def zero(self, draw: random.Random, x: Any, y: Any) -> None:
        self.attempt(x.zero_)

    def unbind(self, draw: random.Random, x: Any, y: Any) -> None:
        parts = self.attempt(x.unbind, 0)
        if parts:
            self.pool.append(parts[0])

    def nograd_inplace(self, draw: random.Random, x: Any, y: Any) -> None:
        with self.torch.no_grad():
            self.attempt(x.mul_, 0.5)

    def retain(self, draw: random.Random, x: Any, y: Any) -> None:
        if x.requires_grad and not x.is_leaf:
            x.retain_grad()

    def hook(self, draw: random.Random, x: Any, y: Any) -> None:
        if x.requires_grad and x._base is None:
            self.attempt(lambda: x.register_hook(lambda g: g * 2) and None)

    def backward(self, draw: random.Random, x: Any, y: Any, retain: bool = False) -> None:
        self.attempt(lambda: (x * x).sum().backward(retain_graph=retain))
        self.log += [None if leaf.grad is None else leaf.grad.tolist() for leaf in self.leaves]

    def backward_again(self, draw: random.Random, x: Any, y: Any) -> None:
        self.backward(draw, x, y, retain=True)

    def state(self) -> None:
        for k, x in enumerate(self.pool):
            name = x.grad_fn.name() if x.grad_fn is not None else None
            grad = None if x.grad is None else x.grad.tolist()
            self.log.append((k, x.detach().tolist(), x.requires_grad, x.is_leaf, x._version, tuple(x.shape), name, grad))


def run(module: Any, steps: list[tuple[str, float, float, int]]) -> list[Any]:
    machine = Machine(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in steps:
            machine.step(*step)
        machine.state()
    return machine.log


def agree(a: Any, b: Any) -> bool:
    """Numbers to 2e-4: chains of a dozen float32 operations with divisions, rounded in different orders."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) <= 2e-4 * (1 + abs(a)) or (a != a and b != b) or abs(a) > 1e30
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(agree(p, q) for p, q in zip(a, b))
    return a == b


@pytest.mark.parametrize("seed", SEEDS)
def test_random_program(seed):
    steps = program(seed)
    try:
        expected = run(torch, steps)
    except RuntimeError:
        pytest.skip("PyTorch refuses to show the final state")
    found = run(gg, steps)
    for k, (a, b) in enumerate(zip(expected, found)):
        assert agree(a, b), f"after {[x for x in expected[:k] if isinstance(x, str)]}"
    assert len(expected) == len(found)
