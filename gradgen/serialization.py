"""save and load: state dicts, tensors and what else holds them, in a file of gradgen's own.

The file is a pickle of tensors as NumPy arrays.  By default only tensors, numbers, text and containers are read back, so
that a file from elsewhere runs no code.
"""

from __future__ import annotations

import importlib
import io
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gradgen.eager.tensor import Tensor

MAGIC = b"gradgen-saved-1\n"
_ALLOWED = {
    ("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "set"), ("builtins", "complex"),
    ("gradgen.eager.conversion", "_rebuild"), ("gradgen.nn.parameter", "_rebuilt"), ("gradgen.eager.tensor", "Tensor"),
    ("gradgen.nn.parameter", "Parameter"), ("gradgen.ir.dtypes", "dtype"), ("gradgen.ir.dtypes", "DType"),
    ("gradgen.serialization", "_tensor"),
}

_EARLIER = {"conversion": "gradgen.eager.conversion", "tensor": "gradgen.eager.tensor", "random": "gradgen.eager.generators",
            "ops.size": "gradgen.ops.size", "printing": "gradgen.ops.size"}
"""Where modules of gradgen.frontend that files may name stand now."""


def _tensor(array: np.ndarray, dtype: str, requires_grad: bool, parameter: bool) -> Tensor:
    """A saved tensor."""
    from gradgen.ir import dtypes
    from gradgen.nn.parameter import Parameter

    made = Tensor._of(np.asarray(array, order="C"), dtypes.dtype(dtype))
    if parameter:
        found: Tensor = Parameter(made, requires_grad)
        return found
    made.requires_grad_(requires_grad)
    return made


def _array(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape).copy()


_ALLOWED.add(("gradgen.serialization", "_array"))


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            from gradgen.nn.parameter import Parameter

            whole = obj.detach().numpy()  # type: ignore[attr-defined]
            return _tensor, (whole, obj.dtype.name, obj.requires_grad, isinstance(obj, Parameter))
        if isinstance(obj, np.ndarray) and obj.dtype.kind in "biuf":
            return _array, (obj.tobytes(), obj.dtype.str, obj.shape)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Reads what it is given, under the names of today."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("gradgen.frontend."):
            module = _EARLIER.get(module.removeprefix("gradgen.frontend."), module)
        return self.found(module, name)

    def found(self, module: str, name: str) -> Any:
        return getattr(importlib.import_module(module), name)


class _Restricted(_Unpickler):
    def found(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"the file holds a {module}.{name}; load(..., weights_only=False) reads it, and runs what code it names: do "
                "that only with a file that you trust"
            )
        return super().found(module, name)


def save(obj: Any, f: str | Path | BinaryIO, pickle_module: Any = None, pickle_protocol: int = 4, **options: Any) -> None:
    """Writes `obj` (tensors in dicts, lists, ...; usually a state_dict) to a path or an open binary file."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle_protocol).dump(obj)
    data = MAGIC + buffer.getvalue()
    if hasattr(f, "write"):
        f.write(data)  # type: ignore[union-attr]
    else:
        Path(f).write_bytes(data)  # type: ignore[arg-type]


def load(
    f: str | Path | BinaryIO, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool | None = None,
    mmap: bool | None = None, **options: Any,
) -> Any:
    """What `save` wrote.  RuntimeError for a file of another kind; pickle.UnpicklingError for one that holds objects of
    other types, unless weights_only=False."""
    data = f.read() if hasattr(f, "read") else Path(f).read_bytes()  # type: ignore[union-attr,arg-type]
    if not data.startswith(MAGIC):
        raise RuntimeError(
            "this is no file of gradgen.save. To bring over a checkpoint of PyTorch, write its arrays there "
            "(numpy.savez(path, **{k: v.numpy() for k, v in model.state_dict().items()})) and pass them to load_state_dict"
        )
    buffer = io.BytesIO(data[len(MAGIC) :])
    return (_Unpickler if weights_only is False else _Restricted)(buffer).load()


