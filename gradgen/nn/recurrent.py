"""Recurrent networks: RNN, LSTM, GRU and their cells.

A layer is one matrix product over all steps (the input's part of the gates) and a scan over time for the rest, so that
emitted C has a loop over the steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from gradgen.eager import creation, namespace
from gradgen.nn import functional as F
from gradgen.nn import init
from gradgen.nn.module import Module
from gradgen.nn.parameter import Parameter
from gradgen.nn.utils.rnn import PackedSequence
from gradgen.trace.scan import scan

functional: Any = F
_functions: Any = namespace.functions()
Step = Callable[..., Any]


# --- one step ---------------------------------------------------------------------------------------------------------


def _rnn_step(activation: Step) -> Step:
    def step(gates: Any, h: Any, recurrent: Step, weights: Any) -> Any:
        return (activation(gates + recurrent(h[0])),)

    return step


def _lstm_step(gates: Any, state: Any, recurrent: Step, project: Any) -> Any:
    h, c = state
    i, f, g, o = (gates + recurrent(h)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if project is None else functional.linear(h, project)), c


def _gru_step(gates: Any, state: Any, recurrent: Step, project: Any) -> Any:
    (h,) = state
    r, z, n = gates.chunk(3, -1)
    hr, hz, hn = recurrent(h).chunk(3, -1)
    r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
    n = (n + r * hn).tanh()
    return (n + z * (h - n),)


_STEPS: dict[str, tuple[Step, int, int]] = {
    "RNN_TANH": (_rnn_step(lambda x: x.tanh()), 1, 1),
    "RNN_RELU": (_rnn_step(lambda x: x.relu()), 1, 1),
    "LSTM": (_lstm_step, 4, 2),
    "GRU": (_gru_step, 3, 1),
}
"""Mode: its step, how many gates, how many states."""


def _steps(mode: str, xs: Any, state: tuple[Any, ...], weights: dict[str, Any], reverse: bool) -> Any:
    """One layer in one direction over xs [T, N, input]: the last states and the outputs [T, N, out]."""
    step = _STEPS[mode][0]
    gates = functional.linear(xs, weights["ih"], weights.get("bias_ih"))

    def recurrent(h: Any) -> Any:
        return functional.linear(h, weights["hh"], weights.get("bias_hh"))

    def body(carry: Any, x: Any) -> Any:
        new = step(x, carry, recurrent, weights.get("hr"))
        return new, new[0]

    return scan(body, state, gates, reverse=reverse)


def _ragged(mode: str, packed: list[Any], state: tuple[Any, ...], weights: dict[str, Any], reverse: bool) -> Any:
    """As `_steps`, over steps of fewer and fewer sequences: those that have ended keep their state."""
    step = _STEPS[mode][0]
    cat = _functions["cat"]

    def recurrent(h: Any) -> Any:
        return functional.linear(h, weights["hh"], weights.get("bias_hh"))

    outputs: list[Any] = []
    for x in reversed(packed) if reverse else packed:
        n = x.shape[0]
        gates = functional.linear(x, weights["ih"], weights.get("bias_ih"))
        new = step(gates, tuple(s[:n] for s in state), recurrent, weights.get("hr"))
        outputs.append(new[0])
        state = tuple(cat([a, s[n:]]) if n < s.shape[0] else a for a, s in zip(new, state))
    return state, outputs[::-1] if reverse else outputs


def layers(
    mode: str, x: Any, state: tuple[Any, ...], weights: list[dict[str, Any]], bidirectional: bool, dropout: float,
) -> tuple[Any, tuple[Any, ...]]:
    """All layers over x [T, N, input] from the states [layers * directions, N, out]: outputs of the last one, last states.

    `weights` has for each layer and direction `ih`, `hh`, and where there are any `bias_ih`, `bias_hh` and `hr`.
    """
    cat, stack = _functions["cat"], _functions["stack"]
    directions = 2 if bidirectional else 1
    last: list[tuple[Any, ...]] = []
    for first in range(0, len(weights), directions):
        found = []
        for k in range(first, first + directions):
            end, outputs = _steps(mode, x, tuple(s[k] for s in state), weights[k], k > first)
            last.append(end)
            found.append(outputs)
        x = found[0] if directions == 1 else cat(found, -1)
        if dropout and first + directions < len(weights):
            x = functional.dropout(x, dropout, True)
    return x, tuple(stack(list(parts), 0) for parts in zip(*last))


def cell(mode: str, x: Any, state: tuple[Any, ...], weights: dict[str, Any]) -> tuple[Any, ...]:
    """One step from x [N, input] and the states [N, out]: the new states."""
    def recurrent(h: Any) -> Any:
        return functional.linear(h, weights["hh"], weights.get("bias_hh"))

    gates = functional.linear(x, weights["ih"], weights.get("bias_ih"))
    found: tuple[Any, ...] = _STEPS[mode][0](gates, state, recurrent, None)
    return found


# --- layers -----------------------------------------------------------------------------------------------------------


class RNNBase(Module):
    """What RNN, LSTM and GRU share; `mode` is "RNN_TANH", "RNN_RELU", "LSTM" or "GRU"."""

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__()
        self._check(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self._all_weights: list[list[str]] = []
        rows, out = _STEPS[mode][1] * hidden_size, proj_size or hidden_size
        directions = 2 if bidirectional else 1
        for layer in range(num_layers):
            width = input_size if layer == 0 else out * directions
            for suffix in ("", "_reverse")[:directions]:
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, out)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in names.items():
                    self.register_parameter(name, Parameter(creation.empty(*shape, dtype=dtype)))
                self._all_weights.append(list(names))
        self.reset_parameters()

    @staticmethod
    def _check(
        mode: str, input_size: Any, hidden_size: Any, num_layers: int, bias: Any, batch_first: Any, dropout: Any,
        proj_size: int,
    ) -> None:
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
                f"greater than 1, but got dropout={dropout} and num_layers={num_layers}", UserWarning, stacklevel=4,
            )
        for name, value, kind in (("bias", bias, bool), ("batch_first", batch_first, bool)):
            if not isinstance(value, kind):
                raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(value, int):
                raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
            if value <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")

    def reset_parameters(self) -> None:
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: the weights are used where they lie."""

    @property
    def all_weights(self) -> list[list[Any]]:
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def _weights(self, k: int) -> dict[str, Any]:
        """Layer k's (counting directions) weights by their short names."""
        found = {}
        for name in self._all_weights[k]:
            kind, _, rest = name.partition("_")
            found[rest.partition("_")[0] if kind == "weight" else f"bias_{rest.partition('_')[0]}"] = getattr(self, name)
        return found

    def _start(self, like: Any, batch: Any) -> tuple[Any, ...]:
        """States of zeros."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [self.proj_size or self.hidden_size, self.hidden_size][: _STEPS[self.mode][2]]
        return tuple(_functions["zeros"](count, batch, n, dtype=like.dtype) for n in sizes)

    def _check_input(self, input: Any) -> None:
        name = type(self).__name__
        if input.ndim not in (2, 3):
            more = " tensor" if name == "RNN" else ""
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.ndim}D{more} instead")

    def _check_sizes(self, input: Any, state: tuple[Any, ...], batch: Any) -> None:
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype is not weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [self.proj_size or self.hidden_size, self.hidden_size]
        for k, s in enumerate(state):
            expected = (count, batch, sizes[k])
            if tuple(s.shape) != expected:
                what = f"hidden[{k}]" if len(state) > 1 else "hidden"
                raise RuntimeError(f"Expected {what} size {expected}, got {list(s.shape)}")

    def _check_ranks(self, input: Any, state: tuple[Any, ...]) -> None:
        wanted = input.ndim
        if all(s.ndim == wanted for s in state):
            return
        kind = "batched" if wanted == 3 else "unbatched"
        lead = f"For {kind} {wanted}-D input, hx"
        if len(state) > 1:
            ranks = ", ".join(f"{s.ndim}-D" for s in state)
            raise RuntimeError(f"{lead} and cx should also be {wanted}-D but got ({ranks}) tensors")
        raise RuntimeError(f"{lead} should also be {wanted}-D but got {state[0].ndim}-D tensor")

    def forward(self, input: Any, hx: Any = None) -> Any:
        """`input` [T, N, in] ([N, T, in] with batch_first, [T, in] without a batch) and the first state(s)
        [layers * directions, N, out]: outputs of the last layer at every step, and the last states."""
        states = _STEPS[self.mode][2]
        state = None if hx is None else tuple(hx) if states > 1 else (hx,)
        if isinstance(input, PackedSequence):
            return self._packed(input, state)
        self._check_input(input)
        if state is not None:
            self._check_ranks(input, state)
        batched = input.ndim == 3
        if not batched:
            input = input.unsqueeze(1)
            state = None if state is None else tuple(s.unsqueeze(1) for s in state)
        elif self.batch_first:
            input = input.transpose(0, 1)
        batch = input.shape[1]
        state = self._start(input, batch) if state is None else state
        self._check_sizes(input, state, batch)
        weights = [self._weights(k) for k in range(len(self._all_weights))]
        output, last = layers(self.mode, input, state, weights, self.bidirectional, self.dropout if self.training else 0.0)
        if not batched:
            output, last = output.squeeze(1), tuple(s.squeeze(1) for s in last)
        elif self.batch_first:
            output = output.transpose(0, 1)
        return output, last if states > 1 else last[0]

    def _packed(self, input: PackedSequence, state: Any) -> Any:
        cat, stack = _functions["cat"], _functions["stack"]
        sizes = [int(n) for n in input.batch_sizes.tolist()]
        batch = sizes[0]
        if state is None:
            state = self._start(input.data, batch)
        elif input.sorted_indices is not None:
            state = tuple(s.index_select(1, input.sorted_indices) for s in state)
        self._check_sizes(input.data, state, batch)
        steps = list(input.data.split(sizes))
        directions = 2 if self.bidirectional else 1
        last: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            found = []
            for d in range(directions):
                k = layer * directions + d
                end, outputs = _ragged(self.mode, steps, tuple(s[k] for s in state), self._weights(k), d == 1)
                last.append(end)
                found.append(outputs)
            steps = found[0] if directions == 1 else [cat(list(pair), -1) for pair in zip(*found)]
            if self.dropout and self.training and layer < self.num_layers - 1:
                steps = list(functional.dropout(cat(steps), self.dropout, True).split(sizes))
        ends = tuple(stack(list(parts), 0) for parts in zip(*last))
        if input.unsorted_indices is not None:
            ends = tuple(e.index_select(1, input.unsorted_indices) for e in ends)
        return input._replace(data=cat(steps)), ends if len(ends) > 1 else ends[0]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        shown = (("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0),
                 ("bidirectional", False))
        return text + "".join(f", {n}={getattr(self, n)}" for n, usual in shown if getattr(self, n) != usual)


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu (Elman, 1990)."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, 0, device, dtype)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997), gates i, f, g, o; `proj_size` after Sak et al., 2014."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         proj_size, device, dtype)


class GRU(RNNBase):
    """Gated recurrent unit (Cho et al., 2014), gates r, z, n."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0,
                         device, dtype)


# --- cells ------------------------------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """What the cells share."""

    mode = "RNN_TANH"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = _STEPS[self.mode][1] * hidden_size
        self.weight_ih = Parameter(creation.empty(rows, input_size, dtype=dtype))
        self.weight_hh = Parameter(creation.empty(rows, hidden_size, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(creation.empty(rows, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, mode: str, input: Any, state: Any) -> tuple[Any, ...]:
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        states = _STEPS[mode][2]
        given = None if state is None else tuple(state) if states > 1 else (state,)
        for k, s in enumerate(given or ()):
            if s.ndim not in (1, 2):
                what = f"hx[{k}]" if states > 1 else "hidden"
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {s.ndim}D instead")
        if given is None:
            zeros = _functions["zeros"](*tuple(input.shape)[:-1], self.hidden_size, dtype=input.dtype)
            given = (zeros,) * states
        weights = {"ih": self.weight_ih, "hh": self.weight_hh, "bias_ih": self.bias_ih, "bias_hh": self.bias_hh}
        return cell(mode, input, given, weights)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += "" if self.bias is True else f", bias={self.bias}"
        other = getattr(self, "nonlinearity", "tanh")
        return text if other == "tanh" else f"{text}, nonlinearity={other}"


class RNNCell(RNNCellBase):
    """One step of RNN."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Any:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, hx)[0]


class LSTMCell(RNNCellBase):
    """One step of LSTM: (h, c)."""

    mode = "LSTM"

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._step("LSTM", input, hx)


class GRUCell(RNNCellBase):
    """One step of GRU."""

    mode = "GRU"

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._step("GRU", input, hx)[0]
