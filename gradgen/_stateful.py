"""States and random numbers of a generated module, between one call and the next.

This file is the same in every generated package that has either and needs NumPy and cffi.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._native import Native, named, seed_values


class Stateful:
    """What a Module has beside parameters: states, which each forward() replaces, and a seed and step of random numbers.

    To be put before `_runtime.Module` among the bases of a class.

    forward() draws from `seed` and `step` and advances `step` by one; backward() takes what the last forward() took and
    draws the same numbers.  States are held by name like parameters, without gradients.  Where forward() raises, neither
    has changed.
    """

    _native: Native
    _arguments: Any
    _held: list[Any]
    _set_held: Any
    _forward_new: Any

    def __init__(self, values: Sequence[Any], state: Any = None, *, seed: int = 0, step: int = 0) -> None:
        super().__init__(values, state)  # type: ignore[call-arg]
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
        for k, new in self._native.replaced:
            self._set_held(k, values.pop(new))
        return out if out is not None else self._native.own(values)

    def _with_states(self, out: Any) -> Any:
        """The caller's arrays to write to, with new ones for the states."""
        native = self._native
        if out is None or not native.info.states:
            return out
        names = [t.name for t in native.info.outputs if t.name not in native.following]
        given = dict(zip(names, named(native, "out", names, out), strict=True))
        return given | {new: np.empty_like(self._held[k]) for k, new in native.replaced}

    def _seeds(self) -> tuple[int, ...]:
        """Seed and step of the last forward(), with which derivatives are taken; before that those of the first."""
        return (self._drawn or (self.seed, self.step)) if self._native.info.draws else ()
