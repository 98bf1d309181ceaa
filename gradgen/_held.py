"""What a generated Module keeps between calls: parameters, states and buffers, by their names in the model and in C.

This file is the same in every generated package and needs NumPy and cffi.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._native import Native, Tensor, readable

COUNTER = "num_batches_tracked"


class IncompatibleKeys(NamedTuple):
    """What load_state_dict returns, as PyTorch's."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Held:
    """The inputs that a Module has and forward() is not given: `info.held`, those with gradients first.

    They are attributes by their names in C, and items by those of the model: `m.layers_0_weight`, `m["layers.0.weight"]`.
    Arrays of the right dtype and layout are held, not copied, but for those of a state: they are copied and cast as PyTorch's
    load_state_dict does it.
    """

    _native: Native
    _held: list[Any]
    _template: list[Any]
    _unused: dict[str, np.ndarray]

    if TYPE_CHECKING:  # the inputs, by their names

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init_subclass__(cls) -> None:
        for k, tensor in enumerate(cls._native.held if hasattr(cls, "_native") else ()):
            setattr(cls, tensor.name, _property(k, tensor))

    def __init__(self, values: Sequence[Any], state: Mapping[str, Any] | None = None) -> None:
        native = self._native
        self._call: tuple[Any, ...] | None = None  # a whole call of forward, where it may be repeated
        self._held = [None] * len(native.held)
        self._template = [None] * len(native.info.inputs)  # all inputs of forward, what is held filled in
        self._unused = {}
        given = list(values)
        if state is not None:
            said = {k for k, v in enumerate(given) if v is not None}
            found, self._unused, _ = self._matched(state, [t.shape for t in native.held], native.keys, said)
            given = [found.get(k) if v is None else v for k, v in enumerate(given)]
        elif native.info.names and any(v is None for v in given):
            missing = ", ".join([native.labels[k] for k, v in enumerate(given) if v is None])
            what = f"{native.info.name}.Module: no value for {missing}"
            raise TypeError(f"{what}: give a state_dict, or arrays by their names in C")
        for k, value in enumerate(given):
            self._set_held(k, value)
        for path, tensor in native.unused.items() if state is not None else ():
            if path.rpartition(".")[2] == COUNTER:
                self._unused.setdefault(path, np.zeros((), tensor.dtype))

    def _set_held(self, k: int, value: Any) -> None:
        if value is self._held[k] and value is not None:  # what `m.w -= ...` ends with
            return
        native, tensor = self._native, self._native.held[k]
        array = native.array(tensor, value.detach() if hasattr(value, "detach") else value)  # a parameter of PyTorch's
        if not _fits(array.shape, tensor.shape):
            wanted = ", ".join(map(str, tensor.shape))
            raise ValueError(f"{native.info.name}: {tensor.name} must have shape [{wanted}], not {list(array.shape)}")
        self._held[k] = self._template[native.held_positions[k]] = array
        self._call = None

    def __getitem__(self, name: str) -> np.ndarray:
        """The array of a path of the model, or of a name in C."""
        return self._unused[name] if name in self._unused else self._held[self._native.index(name)]  # type: ignore[no-any-return]

    def __setitem__(self, name: str, value: Any) -> None:
        self._set_held(self._native.index(name), value)

    def named_parameters(self) -> Iterator[tuple[str, np.ndarray]]:
        """Pairs of name, the model's where it has one, and array of the inputs with gradients, in the order of C."""
        return iter([(self._native.labels[k], p) for k, p in enumerate(self.parameters())])

    def parameters(self) -> Iterator[np.ndarray]:
        """The arrays of the inputs with gradients, not copies."""
        return iter(self._held[: len(self._native.parameters)])

    def state_dict(self) -> dict[str, np.ndarray]:
        """Path -> array, not a copy: the model's state_dict as PyTorch orders it, with the other names of tied parameters and
        what came in and the program does not use; before it parameters, behind it states that no path leads to, by their
        names in C."""
        entries = self._native.entries
        return {p: self._unused[p] if k is None else self._held[k] for p, k in entries.items()
                if k is not None or p in self._unused}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copies values by name into the arrays that are here, from arrays and tensors of any kind, cast to their dtypes.

        Of the names of a tied parameter one is enough.  Raises RuntimeError in PyTorch's words, which says all missing and
        unexpected names (not with strict=False) and all shapes that do not fit; then nothing has changed.
        """
        found, unused, keys = self._matched(state, [a.shape for a in self._held], self.state_dict(), (), strict)
        for k, array in found.items():
            if self._held[k].flags.writeable:
                np.copyto(self._held[k], array, casting="unsafe")
            else:
                self._set_held(k, array)
        self._unused |= unused
        return keys

    def _matched(
        self, state: Mapping[str, Any], shapes: Sequence[tuple[Any, ...]], wanted: Iterable[str], said: Collection[int],
        strict: bool = True,
    ) -> tuple[dict[int, np.ndarray], dict[str, np.ndarray], IncompatibleKeys]:  # fmt: skip
        """Arrays of the state's values for what is held and for what is not used.

        Those of `wanted` must be there, but for what is held and was `said` otherwise, or neither used nor here."""
        if not isinstance(state, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state)}.")
        native = self._native
        found: dict[int, np.ndarray] = {}
        unused: dict[str, np.ndarray] = {}
        problems: list[str] = []
        for path, k in native.keys.items():
            if path not in state:
                continue
            tensor = native.unused[path] if k is None else native.held[k]
            array = readable(state[path])
            if array is None:
                problems.append(f'While copying the parameter named "{path}", expected torch.Tensor or Tensor-like object '
                                f"from checkpoint but received {type(state[path])}")  # fmt: skip
            elif not _fits(array.shape, tensor.shape if k is None else shapes[k]):
                shape = ", ".join(map(str, tensor.shape if k is None else shapes[k]))
                problems.append(f"size mismatch for {path}: copying a param with shape torch.Size({list(array.shape)}) from "
                                f"checkpoint, the shape in current model is torch.Size([{shape}]).")  # fmt: skip
            elif k is None:
                unused[path] = array.copy()
            else:
                found[k] = np.array(array, native.dtypes[tensor.name], order="C")
        come = {k for path, k in native.keys.items() if path in state and k is not None} | {*said}
        missing = [p for p in wanted if p not in state and native.keys[p] not in come]
        missing = [p for p in missing if (native.keys[p] is not None or p in self._unused) and not _came_later(p, state)]
        unexpected = [p for p in state if p not in native.keys]
        for what, names in (("Unexpected", unexpected), ("Missing", missing)):
            if strict and names:
                problems.insert(0, f"{what} key(s) in state_dict: " + ", ".join([f'"{n}"' for n in names]) + ". ")
        if problems:
            name = type(self).__name__
            raise RuntimeError(f"Error(s) in loading state_dict for {name}:\n\t" + "\n\t".join(problems))
        return found, unused, IncompatibleKeys(missing, unexpected)

    def tobytes(self) -> bytes:
        """What is held in the layout of C's `struct <name>_state`: wide elements first, the lowest byte first."""
        return b"".join([self._held[k].astype(dtype).tobytes() for k, dtype in self._layout()])

    def frombytes(self, data: bytes) -> None:
        """Takes what tobytes() gave, or C wrote; shapes are those that are held.  Raises ValueError for another length."""
        layout = self._layout()
        sizes = [self._held[k].size * dtype.itemsize for k, dtype in layout]
        if len(data) != sum(sizes):
            raise ValueError(f"{self._native.info.name}: the state has {sum(sizes)} bytes, not {len(data)}")
        place, found = 0, {}
        for (k, dtype), size in zip(layout, sizes, strict=True):
            array = np.frombuffer(data, dtype, self._held[k].size, place).reshape(self._held[k].shape)
            found[self._native.labels[k]], place = array, place + size
        self.load_state_dict(found, strict=False)

    def _layout(self) -> list[tuple[int, np.dtype]]:
        """Places of what is held, in the order of the file, and the dtypes there."""
        native = self._native
        places = sorted(range(len(native.held)), key=native.held_positions.__getitem__)
        dtypes = [(k, native.dtypes[native.held[k].name].newbyteorder("<")) for k in places]
        return sorted(dtypes, key=lambda pair: -pair[1].itemsize)

    def __repr__(self) -> str:
        return f"{self._native.info.name}.Module({', '.join(f'{t.name}={t}' for t in self._native.parameters)})"

    def __reduce__(self) -> tuple[Any, ...]:
        seeds = {"seed": self.seed, "step": self.step} if self._native.info.draws else {}
        held = {t.name: a.copy() for t, a in zip(self._native.held, self._held, strict=True)}
        return _again, (type(self), held | seeds, {p: a.copy() for p, a in self._unused.items()})


def _again(kind: Any, held: Mapping[str, Any], unused: dict[str, np.ndarray]) -> Any:
    """What pickle calls."""
    made = kind(**held)
    made._unused = unused
    return made


def _property(k: int, tensor: Tensor) -> property:
    def get(self: Held) -> np.ndarray:
        return self._held[k]  # type: ignore[no-any-return]

    def put(self: Held, value: Any) -> None:
        self._set_held(k, value)

    return property(get, put, doc=f"{tensor}{': gradient ' + tensor.formula if tensor.formula else ''}")


def _came_later(path: str, state: Any) -> bool:
    """Whether the entry is younger than the state_dict: PyTorch's normalisation layers count batches since version 2."""
    module, _, name = path.rpartition(".")
    versions = getattr(state, "_metadata", None) or {}
    return name == COUNTER and (versions.get(module, {}).get("version") or 1) < 2


def _fits(shape: tuple[int, ...], wanted: Sequence[int | str]) -> bool:
    """Whether an array of this shape can be what is wanted; open dimensions are looked at with the call."""
    return len(shape) == len(wanted) and all([not isinstance(w, int) or w == s for w, s in zip(wanted, shape, strict=True)])
