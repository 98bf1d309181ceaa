"""Several programs of one model, as training and evaluation: one state, of which one program at a time has hold.

This file is the same in every generated package of that kind and needs NumPy and cffi.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class Module:
    """A model with several programs: `train()` and `eval()`, or `use(name)`, say which one is called; the first one at first.

    Parameters, buffers, gradients, seed and step are those of the model: what one program changes, the next one has.
    What a `Module` of the program in use offers, this one does: forward, backward, grad, state_dict, names as attributes.
    backward() belongs to the last forward(), whichever program that was of.
    """

    _packages: Mapping[str, Any]  # of the programs, by name
    _own = frozenset({"_modules", "_current", "_last"})

    def __init__(self, state: Any = None, /, *, seed: int = 0, step: int = 0, **values: Any) -> None:
        self._modules: dict[str, Any] = {}
        known = {key for p in self._packages.values() for key in p._compiled.keys}
        for name, package in self._packages.items():
            native = package._compiled
            given = state
            if isinstance(state, Mapping):  # what only other programs have is theirs
                given = {k: v for k, v in state.items() if k in native.keys or k not in known}
            held = {k: v for k, v in values.items() if k in native.dtypes or not any(
                k in p._compiled.dtypes for p in self._packages.values())}  # fmt: skip
            seeds = {"seed": seed, "step": step} if native.info.draws else {}
            self._modules[name] = package.Module(*([] if given is None else [given]), **held, **seeds)
        self._current = self._last = next(iter(self._modules.values()))
        first = self._current
        for module in self._modules.values():  # one memory for all
            self._hand_over(first, module)
            self._current = first

    def use(self, name: str) -> Module:
        """Calls the program of that name from now on; the module itself."""
        if name not in self._modules:
            raise RuntimeError(f"there is no program {name!r}: there are {', '.join(self._modules)}")
        if self._modules[name] is not self._current:
            self._hand_over(self._current, self._modules[name])
            self._current = self._modules[name]
        return self

    def train(self, mode: bool = True) -> Module:
        return self.use("train" if mode else "eval")

    def eval(self) -> Module:
        return self.train(False)

    @property
    def training(self) -> bool:
        return self._current is self._modules.get("train")

    def forward(self, *data: Any, out: Any = None) -> Any:
        self._last = self._current
        return self._current.forward(*data, out=out)

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Adds the gradients of the last forward(), as `Module.backward` of a single program."""
        if self._last is not self._current:
            self._hand_over_gradients(self._current, self._last)
        self._last.backward(gradient, retain_graph)
        if self._last is not self._current:
            self._hand_over_gradients(self._last, self._current)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for module in self._modules.values():
            module.zero_grad(set_to_none)

    def _hand_over(self, old: Any, new: Any) -> None:
        """What the one program keeps is what the other one has; arrays stay the same ones."""
        if new is old:
            return
        places = old._native.keys
        for key, k in new._native.keys.items():
            if key not in places:
                continue
            there = old._unused.get(key) if places[key] is None else old._held[places[key]]
            if there is None:
                continue
            if k is None:
                new._unused[key] = there
            else:
                new._set_held(k, there)
        if old._native.info.draws and new._native.info.draws:
            new.seed, new.step = old.seed, old.step
        self._hand_over_gradients(old, new)

    @staticmethod
    def _hand_over_gradients(old: Any, new: Any) -> None:
        ours = {old._native.labels[k]: g for k, g in enumerate(old.grad)}
        for k, g in enumerate(new.grad):
            label = new._native.labels[k]
            if label in ours and ours[label] is not g:
                new._set_gradient(k, ours[label])

    def __getitem__(self, name: str) -> np.ndarray:
        return self._current[name]  # type: ignore[no-any-return]

    def __setitem__(self, name: str, value: Any) -> None:
        self._current[name] = value

    def __getattr__(self, name: str) -> Any:
        if name in self._own:
            raise AttributeError(name)
        return getattr(self._current, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._own:
            object.__setattr__(self, name, value)
        else:
            setattr(self._current, name, value)

    def __repr__(self) -> str:
        return f"Module({', '.join(f'{n}={m!r}' for n, m in self._modules.items())})"
