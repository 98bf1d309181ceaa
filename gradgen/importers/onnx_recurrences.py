"""ONNX's RNN, GRU and LSTM: one scan over time a direction, whatever the activations, peepholes and lengths are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradgen.eager.creation import arange, full
from gradgen.importers.onnx_moving import reversed_rows
from gradgen.importers.onnx_table import At, Tensor, Value, entry, lib, refuse
from gradgen.trace.scan import scan

Activation = Callable[[Tensor], Tensor]
Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""x_t [batch, input] and the states [batch, hidden] -> the new states, the shown one first."""

_ACTIVATIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "Relu": lambda x, a, b: lib("nn.functional.relu")(x),
    "Tanh": lambda x, a, b: lib.tanh(x),
    "Sigmoid": lambda x, a, b: lib.sigmoid(x),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a, b: lib("nn.functional.leaky_relu")(x, a),
    "ThresholdedRelu": lambda x, a, b: lib("nn.functional.threshold")(x, a, 0.0),
    "ScaledTanh": lambda x, a, b: a * lib.tanh(b * x),
    "HardSigmoid": lambda x, a, b: lib.clamp(a * x + b, 0, 1),
    "Elu": lambda x, a, b: lib("nn.functional.elu")(x, a),
    "Softsign": lambda x, a, b: lib("nn.functional.softsign")(x),
    "Softplus": lambda x, a, b: lib("nn.functional.softplus")(x),
}
_DEFAULTS = {"Affine": (1.0, 0.0), "LeakyRelu": (0.01, 0.0), "ThresholdedRelu": (1.0, 0.0), "ScaledTanh": (1.0, 1.0),
             "HardSigmoid": (0.2, 0.5), "Elu": (1.0, 0.0)}
_TAKES = {"Affine": 2, "LeakyRelu": 1, "ThresholdedRelu": 1, "ScaledTanh": 2, "HardSigmoid": 2, "Elu": 1}
"""How many of the numbers in activation_alpha and activation_beta are an activation's."""


def _activations(names: Sequence[str], alphas: Any, betas: Any, clip: float | None) -> list[Activation]:
    """The activations in order, their argument clipped; alpha and beta are given for those only that have them."""
    alpha, beta, found = list(alphas or ()), list(betas or ()), []
    known = {n.lower(): n for n in _ACTIVATIONS}
    for name in names:
        own = known.get(name.lower())
        if own is None:
            raise refuse(f"the activation {name}")
        a, b = _DEFAULTS.get(own, (0.0, 0.0))
        a = alpha.pop(0) if alpha and _TAKES.get(own, 0) > 0 else a
        b = beta.pop(0) if beta and _TAKES.get(own, 0) > 1 else b

        def apply(x: Tensor, own: str = own, a: float = a, b: float = b) -> Tensor:
            return _ACTIVATIONS[own](x if clip is None else lib.clamp(x, -clip, clip), a, b)

        found.append(apply)
    return found


def _directions(direction: str) -> list[bool]:
    """Whether each direction runs backwards."""
    return {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]


class _Layer:
    """What the three have in common: their inputs, cut by direction, and the walk over time."""

    def __init__(self, X: Tensor, sequence_lens: Value, layout: int, direction: str, at: At) -> None:
        self.X = lib.transpose(X, 0, 1) if layout else X
        self.lengths = None if sequence_lens is None else at.tensor(sequence_lens)
        self.layout, self.directions = layout, _directions(direction)

    def first(self, state: Tensor | None, d: int, hidden: int) -> Tensor:
        if state is None:
            return full((self.X.shape[1], hidden), 0.0, dtype=self.X.dtype)
        return lib.select(state, 1 if self.layout else 0, d)

    def walk(self, d: int, step: Step, states: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """(the hidden states [time, batch, hidden], the last states)."""
        backwards, X, lengths = self.directions[d], self.X, self.lengths
        if lengths is None:
            def plain(carry: Any, x: Tensor) -> Any:
                new = step(x, carry)
                return new, new[0]

            last, every = scan(plain, states, X, reverse=backwards)
            return every, list(last)
        rows = lengths.reshape((-1, 1))
        if backwards:
            X = reversed_rows(X, lengths, 1, 0)

        def masked(carry: Any, given: Any) -> Any:
            """Rows that are over keep their state, and show zeros."""
            x, t = given
            alive = t < rows
            new = tuple(lib.where(alive, n, o) for n, o in zip(step(x, carry), carry))
            return new, lib.where(alive, new[0], new[0] * 0)

        last, every = scan(masked, states, (X, arange(X.shape[0]).to(rows.dtype)))
        return (reversed_rows(every, lengths, 1, 0) if backwards else every), list(last)

    def results(self, every: list[Tensor], last: list[list[Tensor]]) -> tuple[Tensor, ...]:
        """Y [time, directions, batch, hidden], the last states [directions, batch, hidden]; the batch first by layout 1."""
        y = lib.stack(every, 1)
        states = [lib.stack([one[k] for one in last], 1 if self.layout else 0) for k in range(len(last[0]))]
        return (lib.permute(y, (2, 0, 1, 3)) if self.layout else y), *states


def _parts(v: Tensor | None, d: int, count: int, hidden: int) -> list[Any]:
    """A direction's rows, cut in `count` gates; None for a bias or peephole that is not there."""
    if v is None:
        return [None] * count
    own = lib.select(v, 0, d)
    return [lib.narrow(own, 0, k * hidden, hidden) for k in range(count)]


def _linear(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return lib("nn.functional.linear")(x, w, b)


def _walked(layer: _Layer, states: Sequence[Tensor | None], hidden: int, steps: Sequence[Step]) -> tuple[Tensor, ...]:
    """The results of a layer, from a step and the given first states for each direction."""
    every, last = [], []
    for d, step in enumerate(steps):
        ys, end = layer.walk(d, step, tuple(layer.first(s, d, hidden) for s in states))
        every.append(ys)
        last.append(end)
    return layer.results(every, last)


@entry("RNN", 7, 22, ignored="hidden_size")
def _rnn(
    X: Tensor, W: Tensor, R: Tensor, B: Tensor, sequence_lens: Value, initial_h: Tensor, activation_alpha: Value,
    activation_beta: Value, activations: Value, clip: Value, direction: str, layout: int = 0, *, at: At
) -> tuple[Tensor, ...]:
    layer, hidden = _Layer(X, sequence_lens, layout, direction, at), R.shape[-1]
    count = len(layer.directions)
    own = _activations(activations or ["Tanh"] * count, activation_alpha, activation_beta, clip)

    def step_of(d: int) -> Step:
        (w,), (r,), b, f = _parts(W, d, 1, hidden), _parts(R, d, 1, hidden), _parts(B, d, 2, hidden), own[d]
        return lambda x, states: (f(_linear(x, w, b[0]) + _linear(states[0], r, b[1])),)

    return _walked(layer, [initial_h], hidden, [step_of(d) for d in range(count)])


@entry("GRU", 7, 22, ignored="hidden_size")
def _gru(
    X: Tensor, W: Tensor, R: Tensor, B: Tensor, sequence_lens: Value, initial_h: Tensor, activation_alpha: Value,
    activation_beta: Value, activations: Value, clip: Value, direction: str, linear_before_reset: int, layout: int = 0, *,
    at: At
) -> tuple[Tensor, ...]:
    """Gates in the order z, r, h.  PyTorch's GRU is linear_before_reset=1."""
    layer, hidden = _Layer(X, sequence_lens, layout, direction, at), R.shape[-1]
    count = len(layer.directions)
    own = _activations(activations or ["Sigmoid", "Tanh"] * count, activation_alpha, activation_beta, clip)

    def step_of(d: int) -> Step:
        w, r, b = _parts(W, d, 3, hidden), _parts(R, d, 3, hidden), _parts(B, d, 6, hidden)
        f, g = own[2 * d: 2 * d + 2]

        def step(x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (h,) = states
            update = f(_linear(x, w[0], b[0]) + _linear(h, r[0], b[3]))
            reset = f(_linear(x, w[1], b[1]) + _linear(h, r[1], b[4]))
            recurrent = reset * _linear(h, r[2], b[5]) if linear_before_reset else _linear(reset * h, r[2], b[5])
            return ((1 - update) * g(_linear(x, w[2], b[2]) + recurrent) + update * h,)

        return step

    return _walked(layer, [initial_h], hidden, [step_of(d) for d in range(count)])


@entry("LSTM", 7, 22, ignored="hidden_size")
def _lstm(
    X: Tensor, W: Tensor, R: Tensor, B: Tensor, sequence_lens: Value, initial_h: Tensor, initial_c: Tensor, P: Tensor,
    activation_alpha: Value, activation_beta: Value, activations: Value, clip: Value, direction: str, input_forget: int,
    layout: int = 0, *, at: At
) -> tuple[Tensor, ...]:
    """Gates in the order i, o, f, c, peepholes i, o, f."""
    layer, hidden = _Layer(X, sequence_lens, layout, direction, at), R.shape[-1]
    count = len(layer.directions)
    own = _activations(activations or ["Sigmoid", "Tanh", "Tanh"] * count, activation_alpha, activation_beta, clip)

    def step_of(d: int) -> Step:
        w, r, b, p = (_parts(v, d, k, hidden) for v, k in ((W, 4), (R, 4), (B, 8), (P, 3)))
        f, g, shown = own[3 * d: 3 * d + 3]

        def step(x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            h, c = states

            def gate(k: int, seen: Tensor | None) -> Tensor:
                z = _linear(x, w[k], b[k]) + _linear(h, r[k], b[k + 4])
                return z if seen is None or p[0] is None else z + p[k] * seen

            enter = f(gate(0, c))
            keep = 1 - enter if input_forget else f(gate(2, c))
            cell = keep * c + enter * g(gate(3, None))
            return f(gate(1, cell)) * shown(cell), cell

        return step

    return _walked(layer, [initial_h, initial_c], hidden, [step_of(d) for d in range(count)])
