"""Random programs in which a tape and a graph could part: views, writes in place, modes, twins, masks, gradients inside.

A program is Python source over `T`, which is PyTorch or gradgen, and two arguments of shape [3, 2]; `grow(seed)` needs none
of them.  Values stay small and smooth enough to be compared after a dozen statements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

SHAPE = (3, 2)
Shape = tuple[int, ...]
UNARY = ["{a}.sin()", "{a}.tanh()", "{a} * 0.5", "{a} + 1", "{a}.relu()", "{a}.abs()", "{a} * {a}", "{a}.sigmoid()",
         "1 - {a}", "{a}.clamp(-0.6, 0.7)", "{a}.clone()", "{a}.contiguous()", "{a}.flip(0)", "{a}.cumsum(0)"]
BINARY = ["{a} + {b}", "{a} * {b}", "{a} - {b}", "T.where({a} > {b}, {a}, {b})", "T.maximum({a}, {b})", "{a} * {b}.sum()",
          "T.lerp({a}, {b}, 0.3)", "{a} * {b}.detach()", "{a} * {b}.data", "T.stack([{a}, {b}])[1] * {a}"]
CHANGE = ["{a}.mul_({n})", "{a}.add_({n})", "{a} += {n}", "{a} *= {n}", "{a}.zero_()", "{a}.fill_({n})",
          "{a}.clamp_(-0.5, 0.5)", "{a}.sin_()", "{a}.sigmoid_()", "{a}.tanh_()", "{a}.relu_()",
          "{a}.neg_()", "{a}.copy_(T.ones(1, dtype=T.float64))",
          "{a}.clamp_(min={n})", "{a}.masked_fill_({a} > {n}, 0.3)"]
CHANGE_BY = ["{a}.mul_({b})", "{a}.add_({b})", "{a} += {b}", "{a} *= {b}", "{a}.copy_({b} + 0)", "{a}.sub_({b}, alpha=0.5)",
             "{a}.lerp_({b}, 0.25)", "{a}.addcmul_({b}, {b}, value=0.3)", "{a}.copy_({b} * {b})"]
TWIN = ["{a}.detach()", "{a}.data", "{a}.detach().clone()", "{a}.clone()", "{a}.detach().requires_grad_()"]
BEHIND = ["{a}.data.mul_({n})", "{a}.detach().add_({n})", "{a}.data.clamp_(-0.4, 0.4)", "{a}.detach().mul_({n})",
          "{a}.data.copy_({a}.data * {n})", "{a}.detach_()", "{a}.requires_grad_()", "{a}.data.fill_({n})"]
MASKED = ["{a}[{a} > {n}] = 0.4", "{a}[{a} < {n}] = 0.2 * {a}[{a} < {n}]", "{a}[{a} > {b}] = {n}", "{a}[{a} > {n}] *= 2",
          "{a}[{a} > {n}] = {a}.sum()", "{a}.index_put_(({a} < {n},), {b}.sum())", "{a}.masked_fill_({a} > {b}, {n})",
          "{a}[{a}.detach() > {n}] = {a}[{a}.detach() > {n}].sin()"]
ROWS = ["{a}[{a}.sum(-1) > {n}] = {r}", "{a}[0] = {r}", "{a}[[1, 0]] = {r}", "{a}[1:] = {r}", "{a}[-1] *= {r}",
        "{a}[:1] += {r}"]
ITEMS = ["{a}[0] = {n}", "{a}[-1] = {a}[0] * 2", "{a}[1:] = {a}[:-1] * 1.5", "{a}[..., 0] = {n}", "{a}[0] += {n}",
         "{a}[..., -1] *= {n}", "{a}[T.tensor([0, 1])] = {n}", "{a}.index_fill_(0, T.tensor([1]), {n})", "{a}[:] = {n}"]
INNER = ["T.autograd.grad(({a} * {a}).sum(), {a}, create_graph=True)[0]", "T.autograd.grad({a}.sin().sum(), {a})[0]",
         "T.autograd.grad(({a} * {b}).sum(), {a}, create_graph=True)[0]"]


@dataclass(frozen=True)
class Program:
    """Statements of a function of `T`, `x0` and `x1` whose result is the list `out`, and the numbers it is tried with."""

    statements: tuple[str, ...]
    results: tuple[str, ...]
    seed: int

    @property
    def source(self) -> str:
        body = "\n".join(f"    {line}" for s in self.statements for line in s.split("\n"))
        return f"def f(T, x0, x1):\n{body}\n    return {', '.join(self.results)},\n"

    def function(self) -> Callable[..., Any]:
        """The function, made from its source."""
        scope: dict[str, Any] = {}
        exec(compile(self.source, f"<program {self.seed}>", "exec"), scope)
        made: Callable[..., Any] = scope["f"]
        return made

    def loss(self, T: Any, x0: Any, x1: Any) -> Any:
        """One number that depends on every element of every result."""
        total = (x0 * 0.25).sum() + (x1 * 0.125).sum()
        for k, r in enumerate(self.function()(T, x0, x1)):
            weights = np.cos(np.arange(np.prod(r.shape, dtype=int)) + k).reshape(tuple(r.shape))
            total = total + (r * T.tensor(weights, dtype=T.float64)).sum()
        return total

    def arguments(self) -> tuple[np.ndarray, np.ndarray]:
        """Two arrays of numbers between -1.2 and 1.2, no two alike."""
        values = np.random.default_rng(self.seed).uniform(-1.2, 1.2, (2, *SHAPE))
        return values[0], values[1]

    def without(self, k: int) -> Program:
        """The program less one statement."""
        return Program(self.statements[:k] + self.statements[k + 1 :], self.results, self.seed)


class _Grower:
    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        self.shapes: dict[str, Shape] = {"x0": SHAPE, "x1": SHAPE, "v0": SHAPE, "v1": SHAPE}
        self.statements = ["v0 = x0 * 1.0", "v1 = x1 + x0"]

    def variable(self, shape: Shape | None = None) -> str:
        """A variable, most often not an argument, of the shape if one is given."""
        found = [n for n, s in self.shapes.items() if shape is None or s == shape]
        own = [n for n in found if n[0] == "v"]
        return self.draw.choice(own if own and self.draw.random() < 0.96 else found)

    def number(self) -> str:
        return self.draw.choice(["0.5", "-0.3", "1.5", "0.1", "0.8"])

    def fill(self, text: str, a: str) -> str:
        shape = self.shapes[a]
        row = self.draw.choice([self.number(), self.variable(shape[1:]) if shape[1:] in self.shapes.values() else "0.7"])
        return text.format(a=a, b=self.variable(shape), n=self.number(), r=row)

    def view(self, a: str) -> tuple[str, Shape]:
        shape = self.shapes[a]
        made: list[tuple[str, Shape]] = [(f"{a}.view(-1)", (int(np.prod(shape)),)), (f"{a}.unsqueeze(0)", (1, *shape)),
                                         (f"{a}[...]", shape), (f"{a}.view_as({a})", shape)]
        if shape and shape[0] > 1:
            made += [(f"{a}[1]", shape[1:]), (f"{a}[1:]", (shape[0] - 1, *shape[1:])), (f"{a}[-1]", shape[1:]),
                     (f"{a}.unbind(0)[0]", shape[1:]), (f"{a}.narrow(0, 0, 1)", (1, *shape[1:])),
                     (f"{a}[::2]", ((shape[0] + 1) // 2, *shape[1:])), (f"{a}.split(1)[0]", (1, *shape[1:]))]
        if len(shape) == 2:
            made += [(f"{a}.t()", shape[::-1]), (f"{a}[:, 0]", shape[:1]), (f"{a}.transpose(0, 1)", shape[::-1]),
                     (f"{a}.diagonal()", (min(shape),))]
        if shape and shape[0] == 1:
            made += [(f"{a}.squeeze(0)", shape[1:]), (f"{a}.expand(2, {', '.join(map(str, (*shape[1:], '')))})"
                                                      .replace(", )", ")"), (2, *shape[1:]))]
        return self.draw.choice(made)

    def statement(self) -> str:
        a = self.variable()
        kind = self.draw.choices(range(11), [5, 4, 6, 5, 5, 3, 3, 2, 2, 3, 1])[0]
        if kind in (6, 7, 9) and not self.shapes[a]:
            kind = 3
        if kind == 2:
            text, shape = self.view(a)
            return self.assigned(text, shape)
        if kind in (0, 1, 5, 10):
            options = {0: UNARY, 1: BINARY, 5: TWIN, 10: INNER}[kind]
            text = self.draw.choice(options)
            if not self.shapes[a] and ("flip" in text or "cumsum" in text):
                text = "{a}.cos()"
            return self.assigned(self.fill(text, a), self.shapes[a])
        options = {3: CHANGE, 4: CHANGE_BY, 6: MASKED, 7: ROWS, 8: BEHIND, 9: ITEMS}[kind]
        text = self.draw.choice(options)
        if self.shapes[a][:1] == (1,) and ("[1" in text or "tensor([" in text):
            text = CHANGE[1]
        return self.fill(text, a)

    def assigned(self, text: str, shape: Shape) -> str:
        name = f"v{len(self.shapes) - 2}"
        self.shapes[name] = shape
        return f"{name} = {text}"

    def grown(self, seed: int) -> Program:
        for _ in range(self.draw.randrange(3, 9)):
            if self.draw.random() < 0.22:
                mode = self.draw.choice([*["T.no_grad()"] * 3, "T.set_grad_enabled(False)", "T.enable_grad()"])
                inside = [self.statement() for _ in range(self.draw.choice([1, 1, 2]))]
                self.statements.append("\n".join([f"with {mode}:", *(f"    {s}" for s in inside)]))
            else:
                self.statements.append(self.statement())
        names = [n for n in self.shapes if n[0] == "v"]
        results = dict.fromkeys(self.draw.choice(names[-3:] + names) for _ in range(self.draw.choice([1, 2, 3])))
        return Program(tuple(self.statements), tuple(results), seed)


def grow(seed: int) -> Program:
    """The program of a seed."""
    return _Grower(seed).grown(seed)
