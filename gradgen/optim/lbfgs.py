"""L-BFGS (Nocedal, 1980; Nocedal & Wright, Numerical Optimization, 2006, algorithms 7.4, 3.5, 3.6), in torch.optim's form.

All parameters are one vector; the arithmetic between evaluations of the loss is NumPy's on that vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradgen.eager.creation import from_numpy
from gradgen.eager.modes import enable_grad, no_grad
from gradgen.eager.tensor import Tensor
from gradgen.optim.optimizer import Optimizer

SUFFICIENT, CURVATURE = 1e-4, 0.9
"""The constants of the strong Wolfe conditions."""


@dataclass(frozen=True)
class _Point:
    """A step length, the loss there, the gradient, and its component along the direction."""

    t: float
    loss: float
    gradient: np.ndarray
    slope: float


def _minimum(a: _Point, b: _Point, low: float, high: float) -> float:
    """Where the cubic through values and slopes of both points is least, within [low, high]; the middle if nowhere."""
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    first, second = (a, b) if a.t <= b.t else (b, a)
    d2 = math.sqrt(square)
    below = second.slope - first.slope + 2 * d2
    if below == 0:
        return (low + high) / 2.0
    place = second.t - (second.t - first.t) * ((second.slope + d2 - d1) / below)
    return min(max(place, low), high)


class _Search:
    """A line search for a step that meets the strong Wolfe conditions."""

    def __init__(self, evaluate: Callable[[float], _Point], start: _Point, widest: float, tolerance: float, limit: int):
        self.evaluate, self.start, self.widest = evaluate, start, widest
        self.tolerance, self.limit = tolerance, limit
        self.count = 0

    def _at(self, t: float) -> _Point:
        self.count += 1
        return self.evaluate(t)

    def _too_high(self, p: _Point) -> bool:
        return p.loss > self.start.loss + SUFFICIENT * p.t * self.start.slope

    def _flat(self, p: _Point) -> bool:
        return abs(p.slope) <= -CURVATURE * self.start.slope

    def run(self, t: float) -> _Point:
        before, point = self.start, self._at(t)
        steps = 0
        while steps < self.limit:
            if self._too_high(point) or (steps > 1 and point.loss >= before.loss):
                return self._zoom(before, point, steps)
            if self._flat(point):
                return point
            if point.slope >= 0:
                return self._zoom(before, point, steps)
            nearest, farthest = point.t + 0.01 * (point.t - before.t), point.t * 10
            t = _minimum(before, point, nearest, farthest)
            before, point = point, self._at(t)
            steps += 1
        return self._zoom(self.start, point, steps)

    def _zoom(self, a: _Point, b: _Point, steps: int) -> _Point:
        """Narrows the interval between two points, one of which is the best so far."""
        best, other = (a, b) if a.loss <= b.loss else (b, a)
        stuck = False
        while steps < self.limit and abs(b.t - a.t) * self.widest >= self.tolerance:
            low, high = min(best.t, other.t), max(best.t, other.t)
            t = _minimum(a, b, low, high)
            margin = 0.1 * (high - low)
            if min(high - t, t - low) < margin:
                if stuck or t >= high or t <= low:
                    t = high - margin if abs(t - high) < abs(t - low) else low + margin
                    stuck = False
                else:
                    stuck = True
            else:
                stuck = False
            point = self._at(t)
            steps += 1
            replaced_a = other is a
            if self._too_high(point) or point.loss >= best.loss:
                a, b = (point, b) if replaced_a else (a, point)
                best, other = (a, b) if a.loss <= b.loss else (b, a)
                continue
            if self._flat(point):
                return point
            if point.slope * (other.t - best.t) >= 0:
                other = best
            a, b = (other, point) if replaced_a else (point, other)
            best = point
        return best


def _converted(state: dict[str, Any], kind: type, convert: Callable[[Any], Any]) -> dict[str, Any]:
    """The state with what is of that kind, alone or in lists, converted."""
    def of(value: Any) -> Any:
        return [of(v) for v in value] if isinstance(value, list) else convert(value) if isinstance(value, kind) else value

    return {name: of(value) for name, value in state.items()}


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last `history_size` gradients; `step` needs a closure that evaluates loss and gradient.

    `line_search_fn` is None (steps of length lr) or "strong_wolfe".  One parameter group only.
    """

    def __init__(
        self, params: Any, lr: float = 1, max_iter: int = 20, max_eval: int | None = None, tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9, history_size: int = 100, line_search_fn: str | None = None,
    ) -> None:
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        })
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def state_dict(self) -> dict[str, Any]:
        """State by parameter number, vectors as tensors, and the group's options."""
        found = super().state_dict()
        return {**found, "state": {k: _converted(s, np.ndarray, from_numpy) for k, s in found["state"].items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` of an optimizer of the same group returned."""
        super().load_state_dict(state_dict)
        self.state = {p: _converted(s, Tensor, lambda t: np.array(t.numpy())) for p, s in self.state.items()}

    # --- parameters as one vector -------------------------------------------------------------------------------------

    def _vector(self, parts: list[Any]) -> np.ndarray:
        return np.concatenate([np.asarray(p.detach().numpy()).reshape(-1) for p in parts])

    def _gradient(self) -> np.ndarray:
        parameters = list(self._parameters())
        return np.concatenate([
            np.zeros(p.numel(), p.dtype.numpy) if p.grad is None else np.asarray(p.grad.detach().numpy()).reshape(-1)
            for p in parameters
        ])

    def _assign(self, vector: np.ndarray) -> None:
        from gradgen.eager.creation import tensor

        at = 0
        with no_grad():
            for p in self._parameters():
                n = p.numel()
                value = np.array(vector[at : at + n], p.dtype.numpy).reshape(tuple(p.shape))
                p.copy_(tensor(value, dtype=p.dtype))  # type: ignore[attr-defined]
                at += n

    # --- steps --------------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations; the loss from before.  TypeError without a closure."""
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")

        def evaluate() -> Any:
            with enable_grad():
                return closure()

        group = self.param_groups[0]
        state = self.state.setdefault(next(iter(self._parameters())), {})
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = evaluate()
        state["func_evals"] += 1
        loss, gradient, evaluations = float(first), self._gradient(), 1
        if np.abs(gradient).max() <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, gradient, group["history_size"])
            state["prev_flat_grad"], before = gradient, loss
            length = group["lr"] * (min(1.0, 1.0 / float(np.abs(gradient).sum())) if state["n_iter"] == 1 else 1.0)
            slope = float(gradient @ direction)
            state["d"], state["t"] = direction, length
            if slope > -group["tolerance_change"]:
                break
            last = iteration == group["max_iter"]
            left = group["max_eval"] - evaluations
            loss, gradient, length, count = self._move(
                evaluate, group, direction, _Point(0.0, loss, gradient, slope), length, left, last
            )
            state["t"], state["prev_loss"] = length, before
            evaluations += count
            state["func_evals"] += count
            small = np.abs(direction * length).max() <= group["tolerance_change"]
            if last or evaluations >= group["max_eval"] or np.abs(gradient).max() <= group["tolerance_grad"] or small:
                break
            if abs(loss - before) < group["tolerance_change"]:
                break
        return first

    def _move(
        self, evaluate: Callable[[], Any], group: dict[str, Any], direction: np.ndarray, start: _Point, length: float,
        left: int, last: bool,
    ) -> tuple[float, np.ndarray, float, int]:
        """Takes one step: loss and gradient there, its length, the number of evaluations."""
        origin = self._vector(list(self._parameters()))

        def at(t: float) -> _Point:
            self._assign(origin + direction * np.asarray(t, origin.dtype))
            loss = float(evaluate())
            gradient = self._gradient()
            return _Point(t, loss, gradient, float(gradient @ direction))

        if group["line_search_fn"] is None:
            if last:
                self._assign(origin + direction * np.asarray(length, origin.dtype))
                return start.loss, start.gradient, length, 0
            found = at(length)
            return found.loss, found.gradient, length, 1
        if group["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        search = _Search(at, start, float(np.abs(direction).max()), 1e-9, left)
        found = search.run(length)
        self._assign(origin + direction * np.asarray(found.t, origin.dtype))
        return found.loss, found.gradient, found.t, search.count

    @staticmethod
    def _direction(state: dict[str, Any], gradient: np.ndarray, size: int) -> np.ndarray:
        """-H gradient by the two-loop recursion."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -gradient
        change, move = gradient - state["prev_flat_grad"], state["d"] * np.asarray(state["t"], gradient.dtype)
        product = change @ move
        if product > 1e-10:
            if len(state["ro"]) == size:
                for name in ("old_dirs", "old_stps", "ro"):
                    state[name].pop(0)
            state["old_dirs"].append(change)
            state["old_stps"].append(move)
            state["ro"].append(float(1.0 / product))  # no NumPy scalars: gg.load reads none
            state["H_diag"] = float(product / (change @ change))
        pairs = list(zip(state["old_dirs"], state["old_stps"], state["ro"]))
        q = -gradient
        weights = []
        for y, s, rho in reversed(pairs):
            weights.append((s @ q) * rho)
            q = q - weights[-1] * y
        r: np.ndarray = q * state["H_diag"]
        for (y, s, rho), weight in zip(pairs, reversed(weights)):
            r = r + s * (weight - (y @ r) * rho)
        return r
