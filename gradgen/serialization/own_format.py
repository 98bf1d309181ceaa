"""What gradgen.save wrote before it wrote PyTorch's files: a pickle of NumPy arrays behind a line of text.  Only read."""

from __future__ import annotations

import importlib
import io
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np

from gradgen.eager.tensor import Tensor
from gradgen.errors import WeightsError
from gradgen.ir import dtypes
from gradgen.nn.parameter import Parameter
from gradgen.ops.size import Size
from gradgen.serialization.opcodes import Machine

MAGIC = b"gradgen-saved-1\n"
_EARLIER = {"conversion": "gradgen.eager.conversion", "tensor": "gradgen.eager.tensor", "random": "gradgen.eager.generators",
            "ops.size": "gradgen.ops.size", "printing": "gradgen.ops.size"}
"""Where modules of gradgen.frontend that files may name stand now."""


def _tensor(array: np.ndarray, dtype: str, requires_grad: bool, parameter: bool) -> Tensor:
    made = Tensor._of(np.asarray(array, order="C"), dtypes.dtype(dtype))
    if parameter:
        found: Tensor = Parameter(made, requires_grad)
        return found
    made.requires_grad_(requires_grad)
    return made


def _array(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape).copy()


_TABLE: dict[str, Any] = {
    "gradgen.serialization._tensor": _tensor, "gradgen.serialization._array": _array,
    "gradgen.ir.dtypes.dtype": dtypes.dtype, "gradgen.ops.size.Size": Size, "collections.OrderedDict": OrderedDict,
}


class _Trusting(pickle.Unpickler):
    """Imports and calls what the pickle names, under the names of today."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" in _TABLE:
            return _TABLE[f"{module}.{name}"]
        if module.startswith("gradgen.frontend."):
            module = _EARLIER.get(module.removeprefix("gradgen.frontend."), module)
        return getattr(importlib.import_module(module), name)


def _refuse(saved: Any) -> Any:
    raise WeightsError("the file's pickle has a persistent id: nothing was run")


def read(data: bytes, everything: bool) -> Any:
    """The object in the file.  `everything`: objects of any class, whose code is run."""
    program = data[len(MAGIC) :]
    return _Trusting(io.BytesIO(program)).load() if everything else Machine(_TABLE, _refuse).run(program)
