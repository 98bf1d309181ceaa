"""The trainer of a generated module: its struct in C, seen from Python as arrays, and the functions on it.

This file is the same in every generated package that has a trainer and needs NumPy and cffi.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._native import Native, Tensor, convert, extent

BAD_STORE = 8


class Face(NamedTuple):
    """What a function of the trainer takes and gives."""

    suffix: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Member(NamedTuple):
    """An array or number in the trainer: its name, where it is in the struct, and PyTorch's name of a parameter."""

    name: str
    place: str
    dtype: str
    shape: tuple[int, ...]
    path: str = ""


class Layout(NamedTuple):
    """What the C has."""

    faces: tuple[Face, ...]
    members: tuple[Member, ...]
    draws: bool


class Trainer:
    """Parameters, an optimizer's state, the count of `steps` and the rate `lr`, as they are in C.

    `step(*data)` trains once and returns what the step returns, the loss first; `predict(*data)` gives results.  `params` are
    views of the parameters by name, `grad` of the gradients that `accumulate` adds up: writing to them changes the trainer.
    Numbers are attributes.
    """

    _native: Native
    _layout: Layout
    params: Parameters
    grad: Parameters

    def __init__(self, values: Mapping[str, Any] | None = None, *, seed: int = 0) -> None:
        ffi, name = self._native.ffi, self._native.info.name
        self._struct = ffi.new(f"{name}_trainer *")
        self._arena = np.empty(0, np.uint8)
        self._faces = {f.suffix: f for f in self._layout.faces}
        self._views = {m.name: self._view(m) for m in self._layout.members}
        for kind, prefix in (("params", "p."), ("grad", "grad.")):
            own = [m for m in self._layout.members if m.place.startswith(prefix)]
            setattr(self, kind, Parameters(name, own, self._views))
        self.reset()
        if self._layout.draws:
            self.seed = seed
        if values is not None:
            self.load_state_dict(values)

    def _view(self, m: Member) -> np.ndarray:
        ffi, owner = self._native.ffi, self._struct[0]
        *around, last = m.place.split(".")
        for part in around:
            owner = getattr(owner, part)
        memory = ffi.buffer(ffi.addressof(owner, last))
        count = int(np.prod(m.shape, dtype=np.int64))
        return np.frombuffer(memory, m.dtype, count).reshape(m.shape)

    def __getattr__(self, name: str) -> Any:
        views = self.__dict__.get("_views", {})
        if name in views and name not in self.__dict__.get("params", ()):
            return views[name] if views[name].shape else views[name].item()
        if name == "seed" and self._layout.draws:
            return int(self._struct.seed)
        raise AttributeError(f"{self._native.info.name}.Trainer has no {name!r}; it has {', '.join(views)}")

    def __setattr__(self, name: str, value: Any) -> None:
        views = self.__dict__.get("_views", {})
        if name in views:
            views[name][...] = value
        elif name == "seed" and self._layout.draws:
            self._struct.seed = int(value) % 2**64
        else:
            object.__setattr__(self, name, value)

    def reset(self) -> None:
        """The optimizer's state, `steps` and `lr` as they are in the beginning; parameters stay as they are."""
        self._native.function("reset")(self._struct)

    def step(self, *data: Any) -> Any:
        """One step of training.  Where it raises, nothing has changed."""
        return self._call("train_step", self._struct, data)

    def accumulate(self, *data: Any) -> Any:
        """Adds the gradients of one batch to those in the trainer, and returns what `step` returns."""
        return self._call("accumulate", self._struct, data)

    def apply(self) -> None:
        """The update by the gradients that were added up, which are cleared."""
        self._call("step", self._struct, ())

    def predict(self, *data: Any) -> Any:
        """Results of the parameters as they are."""
        if "predict" not in self._faces:
            raise AttributeError(f"{self._native.info.name} has no predict: its results depend on the targets")
        return self._call("predict", self._native.ffi.addressof(self._struct[0], "p"), data)

    def _call(self, suffix: str, subject: Any, data: Sequence[Any]) -> Any:
        if suffix not in self._faces:
            raise AttributeError(f"{self._native.info.name} was generated without accumulate=True")
        native, face = self._native, self._faces[suffix]
        name, ffi = native.info.name, native.ffi
        if len(data) != len(face.inputs):
            raise TypeError(f"{name}: {suffix} takes {', '.join(t.name for t in face.inputs) or 'nothing'}; {len(data)} came")
        arrays = [convert(f"{name}: {t.name}", v, np.dtype(t.dtype)) for t, v in zip(face.inputs, data, strict=True)]
        values = _dims(name, native.info.dims, face.inputs, arrays)
        dims = tuple(values.get(d, 1) for d in native.info.dims)
        size = native.function("arena_bytes")(*dims)
        dims = dims if face.inputs else ()
        if size > len(self._arena):
            self._arena = np.empty(size + 64, np.uint8)
        address = self._arena.ctypes.data
        results = [np.empty(tuple(extent(e, values) for e in t.shape), t.dtype) for t in face.outputs]
        pointers = [ffi.cast("void *", a.ctypes.data) for a in (*arrays, *results)]
        status = native.function(suffix)(subject, *dims, *pointers, ffi.cast("void *", -(-address // 64) * 64))
        if status:
            raise native.fail(status)
        found = [r if t.shape else r[()] for t, r in zip(face.outputs, results, strict=True)]
        kind: Any = namedtuple("Results", [t.name for t in face.outputs])  # type: ignore[misc]
        return found[0] if len(found) == 1 else kind(*found) if found else None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the parameters and buffers, by PyTorch's names where they have them."""
        return {key: self.params[key].copy() for key in self.params}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """All parameters, by PyTorch's names or C's; others are left out.  KeyError names what is missing."""
        arrays = {}
        for m in self._layout.members:
            if m.place.startswith("p."):
                key = m.path if m.path in values else m.name
                if key not in values:
                    raise KeyError(f"{self._native.info.name}: there is no value for {m.path or m.name}")
                given = values[key].detach() if hasattr(values[key], "detach") else values[key]
                arrays[m.name] = convert(f"{self._native.info.name}: {m.path or m.name}", given, np.dtype(m.dtype))
                if arrays[m.name].shape != m.shape:
                    raise ValueError(f"{self._native.info.name}: {m.path or m.name} must have shape {list(m.shape)}, not "
                                     f"{list(arrays[m.name].shape)}")
        for name, array in arrays.items():
            self._views[name][...] = array

    def store(self, before: bytes | None = None) -> bytes:
        """All of the trainer as bytes, as C's store writes them; `before` is the last store, where one has two slots."""
        ffi, size = self._native.ffi, self._native.function("store_bytes")()
        memory = ffi.new("unsigned char[]", before if before is not None and len(before) == size else size)
        status = self._native.function("store")(self._struct, memory)
        if status:
            raise self._native.fail(status)
        return bytes(ffi.buffer(memory, size))

    def load(self, stored: bytes) -> None:
        """What `store` gave, of this trainer on any machine.  ValueError where it is torn or of another one."""
        size = self._native.function("store_bytes")()
        if len(stored) != size or self._native.function("load")(self._struct, self._native.ffi.from_buffer(stored)):
            raise ValueError(f"{self._native.info.name}: the store is torn, or of another trainer")


class Parameters(Mapping[str, np.ndarray]):
    """Views of the parameters by PyTorch's names where they have them, else by C's; C's names are found, too."""

    def __init__(self, module: str, members: Sequence[Member], views: Mapping[str, np.ndarray]) -> None:
        self._module = module
        self._found = {m.path or m.name: views[m.name] for m in members}
        self._more = {m.place.partition(".")[2]: views[m.name] for m in members}

    def __getitem__(self, name: str) -> np.ndarray:
        found = self._found.get(name, self._more.get(name))
        if found is None:
            raise KeyError(f"{self._module} has no parameter {name!r}; it has {', '.join(self._found)}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _dims(module: str, names: Sequence[str], tensors: Sequence[Tensor], arrays: Sequence[np.ndarray]) -> dict[str, int]:
    """The dimensions that the arrays' shapes say.  ValueError for a shape that does not fit."""
    values: dict[str, int] = {}
    for t, a in zip(tensors, arrays, strict=True):
        if len(t.shape) == a.ndim:
            for e, n in zip(t.shape, a.shape, strict=True):
                if isinstance(e, str) and e in names:
                    values.setdefault(e, n)
    for t, a in zip(tensors, arrays, strict=True):
        if len(t.shape) != a.ndim or any(extent(e, values) != n for e, n in zip(t.shape, a.shape, strict=True)):
            raise ValueError(f"{module}: {t.name} must have shape {list(t.shape)}, not {list(a.shape)}".replace("'", ""))
    return values
