"""The files of safetensors: a length, a table in JSON, the elements.

The format is that of https://huggingface.co/docs/safetensors ("Format"), and so are the checks: the table says exactly what
the rest of the file is, without holes and overlaps.
"""

from __future__ import annotations

import json
import math
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from gradgen.eager.creation import from_numpy
from gradgen.eager.layouts import layout
from gradgen.eager.tensor import Tensor
from gradgen.errors import WeightsError
from gradgen.ir.dtypes import DType
from gradgen.serialization.elements import BY_NAME, BY_SHORT, Element, refuse_unreadable, values

LONGEST = 100_000_000  # bytes of a table: the format's own bound
_LENGTH = 8  # bytes in which its length stands
_ABOUT = "__metadata__"
_FORMAT = "format"  # the entry of the metadata that says which library wrote the file


class State(OrderedDict[str, Tensor]):
    """Tensors by name; `metadata` are the texts that the file had beside them."""

    metadata: dict[str, str]


def is_table(start: bytes) -> bool:
    """Whether a file that starts so (16 bytes) is one of safetensors'."""
    return len(start) > _LENGTH and start[_LENGTH : _LENGTH + 1] == b"{" and _length(start) <= LONGEST


def _length(start: bytes) -> int:
    return int.from_bytes(start[:_LENGTH], "little")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WeightsError("the file's table has a name twice")
    return found


def read(data: np.ndarray, wanted: DType | None) -> State:
    """The tensors in the file whose bytes are `data`."""
    start = _LENGTH + _length(data[:_LENGTH].tobytes())
    if start > min(data.size, _LENGTH + LONGEST):
        raise WeightsError(f"the file ends early: its table of {start - _LENGTH} bytes goes on beyond its end")
    try:
        table = json.loads(data[_LENGTH:start].tobytes().decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"the file's table is no JSON ({error!s:.100})") from error
    about = table.pop(_ABOUT, {}) if isinstance(table, dict) else None
    if not isinstance(about, dict) or not all(isinstance(v, str) for v in about.values()):
        raise WeightsError("the file's table is no table of tensors, or has metadata that are no texts")
    places = {name: _place(name, entry) for name, entry in table.items()}
    end = 0
    for name, (_, _, first, last) in sorted(places.items(), key=lambda p: p[1][2:]):
        if first != end:
            raise WeightsError(f"the file's table says that {name!r:.80} begins at {first}, the one before ends at {end}")
        end = last
    if start + end != data.size:
        raise WeightsError(f"the file has {data.size - start} bytes of elements, its table says {end}")
    found = State()
    found.metadata = about
    for name, (element, shape, first, last) in places.items():
        array, kind = values(data[start + first : start + last], element, sys.byteorder == "big", wanted)
        found[name] = Tensor._of(array.reshape(shape), kind)
    for name, kept in about.items():  # tensors that shared memory when safetensors' save_model, or `write`, wrote the file
        if kept in found and name not in found and name != _FORMAT:
            found[name] = found[kept].detach()  # type: ignore[attr-defined]
    return found


def _place(name: str, entry: Any) -> tuple[Element, tuple[int, ...], int, int]:
    """Type, shape, first byte and the one behind the last."""
    said = isinstance(entry, dict) and set(entry) == {"dtype", "shape", "data_offsets"}
    shape: Any = entry["shape"] if said else None
    offsets: Any = entry["data_offsets"] if said else None
    if not _extents(shape) or not _extents(offsets) or len(offsets) != 2 or not isinstance(entry["dtype"], str):
        raise WeightsError(f"the file's table has no dtype, shape and data_offsets for {name!r:.80}")
    element = BY_SHORT.get(entry["dtype"])
    if element is None:
        raise WeightsError(f"the file's table says that {name!r:.80} is of dtype {entry['dtype']!r:.20}, which is unknown")
    refuse_unreadable(element)
    size = math.prod(shape) * element.itemsize
    if offsets[1] - offsets[0] != size:
        raise WeightsError(f"the file's table says that {name!r:.80} has {offsets[1] - offsets[0]} bytes, its shape {size}")
    return element, tuple(shape), *offsets


def _extents(value: Any) -> bool:
    """Within NumPy's bounds."""
    return isinstance(value, list) and len(value) <= 64 and all(type(n) is int and 0 <= n < 2**63 for n in value)


def write(state: Any, file: BinaryIO, metadata: Mapping[str, str] | None) -> None:
    """Tensors by name.  Those that are one in memory are written once; the others' names stand in the metadata."""
    tensors = _checked(state)
    about = {**getattr(state, "metadata", {}), **(metadata or {})}
    if not all(isinstance(t, str) for pair in about.items() for t in pair):
        raise TypeError("metadata= of a safetensors file are texts by texts")
    written: dict[Any, str] = {}
    for name, tensor in tensors.items():
        place = tensor._cell, layout(tensor._cell.spec, tensor._chain or (), tensor._cell.strides), tuple(tensor.shape)
        if written.setdefault(place if place[1] is not None else name, name) != name:
            about[name] = written[place]
    order = sorted(written.values(), key=lambda n: (-tensors[n].dtype.itemsize, n))
    arrays = {name: np.asarray(tensors[name]._value(), order="C") for name in order}
    table: dict[str, Any] = {_ABOUT: about} if about else {}
    end = 0
    for name, array in arrays.items():
        table[name] = {"dtype": BY_NAME[tensors[name].dtype.name].short, "shape": list(array.shape),
                       "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH)
    file.write(len(text).to_bytes(_LENGTH, "little") + text)
    for array in arrays.values():
        file.write(memoryview((array.byteswap() if sys.byteorder == "big" else array).reshape(-1).view(np.uint8)))


def _checked(state: Any) -> dict[str, Tensor]:
    if not isinstance(state, Mapping) or not all(isinstance(k, str) for k in state):
        raise TypeError("a safetensors file holds tensors by name: save net.state_dict(), or a .pt file")
    made = {id(v): from_numpy(np.asarray(v, order="C")) for v in state.values() if isinstance(v, np.ndarray)}
    state = {name: made.get(id(value), value) for name, value in state.items()}
    for name, value in state.items():
        if not isinstance(value, Tensor) or name == _ABOUT:
            raise TypeError(f"a safetensors file holds tensors, and {name!r} is a {type(value).__name__}: save a .pt file")
    return state
