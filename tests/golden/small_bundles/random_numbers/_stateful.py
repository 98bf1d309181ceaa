"""States and random numbers of a generated module, between one call and the next.

This file is the same in every generated package that has either and needs NumPy and cffi.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._native import Native, Tensor, named, seed_values


class Stateful:
    """What a Module has beside parameters: states, which each forward() replaces, and a seed and step of random numbers.

    To be put before `_runtime.Module` among the bases of a class.

    forward() draws from `seed` and `step` and advances `step` by one; backward() takes what the last forward() took and
    draws the same numbers.  States are held by name like parameters, without gradients.  Where forward() raises, neither
    has changed.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        native = cls._native
        for k, (name, _) in enumerate(native.info.states):
            setattr(cls, name, _state(k, native.info.inputs[native.state_positions[k]]))

    _native: Native
    _arguments: Any
    _template: list[Any]
    _parameters: list[Any]
    _forward_new: Any
    _check_names: Any
    _load_parameters: Any

    def __init__(self, values: Sequence[Any], states: Sequence[Any] = (), seed: int = 0, step: int = 0) -> None:
        super().__init__(values)  # type: ignore[call-arg]
        self._states: list[Any] = [None] * len(states)
        for k, value in enumerate(states):
            self._set_state(k, value)
        if self._native.info.draws:
            self.seed, self.step = seed, step
        self._drawn: tuple[int, int] | None = None  # what the last forward took

    def _forward(self, data: tuple[Any, ...], out: Any = None) -> Any:
        info, seeds = self._native.info, (self.seed, self.step) if self._native.info.draws else ()
        self._arguments.seeds = seed_values(info, seeds)
        found = self._forward_new(data, self._with_states(out))
        if info.draws:
            self._drawn, self.step = (self.seed, self.step), self.step + 1
        if not info.states:
            return found
        values = found if isinstance(found, dict) else dict(zip(self._native.Outputs._fields, found, strict=True))
        for k, (_, new) in enumerate(info.states):
            self._set_state(k, values.pop(new))
        return out if out is not None else self._native.own(values)

    def _with_states(self, out: Any) -> Any:
        """The caller's arrays to write to, with new ones for the states."""
        native = self._native
        if out is None or not native.info.states:
            return out
        names = [t.name for t in native.info.outputs if t.name not in native.following]
        given = dict(zip(names, named(native, "out", names, out), strict=True))
        return given | {new: np.empty_like(s) for (_, new), s in zip(native.info.states, self._states, strict=True)}

    def _seeds(self) -> tuple[int, ...]:
        """Seed and step of the last forward(), with which derivatives are taken; before that those of the first."""
        return (self._drawn or (self.seed, self.step)) if self._native.info.draws else ()

    def _set_state(self, k: int, value: Any) -> None:
        native, position = self._native, self._native.state_positions[k]
        tensor = native.info.inputs[position]
        array = native.array(tensor, value)
        fixed = [e if isinstance(e, int) else size for e, size in zip(tensor.shape, array.shape, strict=False)]
        if len(tensor.shape) != array.ndim or tuple(fixed) != array.shape:
            wanted = ", ".join(map(str, tensor.shape))
            raise ValueError(f"{native.info.name}: {tensor.name} must have shape [{wanted}], not {list(array.shape)}")
        self._states[k] = self._template[position] = array

    def state_dict(self) -> dict[str, np.ndarray]:
        """Name -> array, not a copy: parameters, then states."""
        names = [name for name, _ in self._native.info.states]
        own: dict[str, np.ndarray] = super().state_dict()  # type: ignore[misc]
        return own | dict(zip(names, self._states, strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copies values into the parameters' arrays and replaces the states.  Raises RuntimeError as PyTorch does."""
        states = {name: k for k, (name, _) in enumerate(self._native.info.states)}
        self._check_names(state)
        self._load_parameters({n: v for n, v in state.items() if n not in states})
        for name, k in states.items():
            self._set_state(k, np.array(state[name]))

    def __reduce__(self) -> tuple[Any, ...]:
        values, states = ([a.copy() for a in held] for held in (self._parameters, self._states))
        seeds = {"seed": self.seed, "step": self.step} if self._native.info.draws else {}
        return _again, (type(self), [*values, *states], seeds)


def _again(kind: Any, values: Sequence[Any], seeds: dict[str, int]) -> Any:
    """What pickle calls: parameters and states go by position, seed and step by name."""
    return kind(*values, **seeds)


def _state(k: int, tensor: Tensor) -> property:
    def get(self: Stateful) -> np.ndarray:
        return self._states[k]  # type: ignore[no-any-return]

    def put(self: Stateful, value: Any) -> None:
        self._set_state(k, value)

    return property(get, put, doc=f"{tensor}: a state")
