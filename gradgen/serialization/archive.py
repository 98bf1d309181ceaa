"""The zip files of torch.save, read and written: a pickle whose tensors point to records of raw bytes.

The layout is PyTorch's ("Serialization semantics", PyTorch documentation; torch/serialization.py says which records there
are): `NAME/data.pkl`, `NAME/data/KEY` for each storage, `NAME/byteorder`, `NAME/version`.  Records are not compressed, so
that a file can be mapped; whatever is, is refused.
"""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np

from gradgen.eager.creation import from_numpy
from gradgen.eager.device import Device, strided
from gradgen.eager.tensor import Tensor
from gradgen.errors import WeightsError
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.nn.parameter import Parameter
from gradgen.ops.size import Size
from gradgen.serialization.elements import BY_NAME, ELEMENTS, Element, refuse_unreadable, values
from gradgen.serialization.opcodes import Function, Machine, key
from gradgen.serialization.shared_storage import Storage, stored

ALIGNMENT = 64  # of records, as PyTorch writes them
_ENCRYPTED = 1  # bit of a zip entry's flags
_HEADER = 30  # bytes of a local zip header before the name
_SLACK = 1.05  # zipfile's own, by which it decides on the longer header
_FILLER = b"FB"  # PyTorch's id of the extra field that moves a record to its place


# --- the container -----------------------------------------------------------------------------------------------------


class Records:
    """The records of a zip file, each a slice of its bytes."""

    def __init__(self, data: np.ndarray, file: Any) -> None:
        self.data = data
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
            self.places: dict[str, tuple[int, int]] = {entry.filename: (0, 0) for entry in entries}
            folders = {name.partition("/")[0] for name in self.places}
            self.folder = next(iter(folders)) if len(folders) == 1 else ""
            self._refuse_others()
            places = [self._place(entry) for entry in entries]
        except WeightsError:
            raise
        except Exception as error:  # zipfile and struct have a dozen words for a damaged file
            raise WeightsError(f"the zip archive is damaged or ends early ({error})") from error
        ends = sorted(places)
        if len(self.places) != len(entries) or any(a[1] > b[0] for a, b in pairwise(ends)):
            raise WeightsError("the zip archive has two records of one name, or at one place")
        self.places = dict(zip(self.places, places))

    def _place(self, entry: zipfile.ZipInfo) -> tuple[int, int]:
        """Where the record begins and ends."""
        start = entry.header_offset
        header = self.data[start : start + _HEADER].tobytes()
        size = entry.file_size
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != size or entry.flag_bits & _ENCRYPTED:
            raise WeightsError(f"the record {entry.filename!r:.80} of the zip archive is compressed or encrypted",
                               hint="torch.save does neither: was the file packed again? Unpack it once")
        if len(header) != _HEADER or header[:4] != b"PK\x03\x04":
            raise WeightsError("the zip archive is damaged: a record is not where the directory says")
        start += _HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        if start + size > self.data.size:
            raise WeightsError(f"the file ends early: the record {entry.filename!r:.80} goes on beyond its end")
        return start, start + size

    def get(self, name: str) -> np.ndarray | None:
        """The bytes of a record of the archive's folder."""
        found = self.places.get(f"{self.folder}/{name}")
        return None if found is None else self.data[slice(*found)]

    def _refuse_others(self) -> None:
        """WeightsError for zip files of other kinds."""
        if self._has("data.pkl") and not self._has("constants.pkl"):
            return
        what, hint = "a zip archive without data.pkl, none of torch.save's", None
        if self._has("constants.pkl"):
            what = "a TorchScript archive, which holds code"
            hint = "with PyTorch: torch.save(torch.jit.load(path).state_dict(), path)"
        elif self._has("archive_format"):
            what = "a program of torch.export.save"
            hint = "with PyTorch: torch.save(torch.export.load(path).state_dict, path)"
        elif any(name.endswith(".npy") for name in self.places):
            what, hint = "a file of numpy.savez", "numpy.load reads it, and load_state_dict takes its arrays"
        raise WeightsError(f"the file is {what}", hint=hint)

    def _has(self, name: str) -> bool:
        return f"{self.folder}/{name}" in self.places


# --- reading --------------------------------------------------------------------------------------------------------------


def _plain(value: Any, *kinds: type) -> None:
    if type(value) not in kinds:
        expected = " or ".join(k.__name__ for k in kinds)
        raise WeightsError(f"the file's pickle gives a {type(value).__name__} where {expected} is expected")


def _refused(what: str, hint: str) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> Any:
        raise WeightsError(f"the file holds {what}, which gradgen does not read", hint=hint)

    return refuse


class Reader:
    """Makes the tensors of one archive."""

    def __init__(self, records: Records, wanted: DType | None) -> None:
        self.records, self.wanted = records, wanted
        order = records.get("byteorder")
        said = "little" if order is None else order.tobytes().decode("latin-1")
        if said not in ("little", "big"):
            raise WeightsError(f"the file's byte order is {said!r:.40}: neither little nor big")
        self.swapped = said != sys.byteorder
        self.raw: dict[str, np.ndarray] = {}
        self.storages: dict[str, tuple[Element, Storage]] = {}
        self.table: dict[str, Any] = {
            **_VALUES, "torch._utils._rebuild_tensor": self.tensor, "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.typed, "torch._utils._rebuild_parameter": self.parameter,
            "torch._utils._rebuild_parameter_with_state": self.parameter,
            "torch._tensor._rebuild_from_type_v2": self.with_attributes,
        }

    def persistent(self, saved: Any) -> Stored:
        """A storage, by what the pickle says of it: ("storage", its class, the record's name, device, number of elements)."""
        if type(saved) is not tuple or len(saved) != 5 or saved[0] != "storage" or not isinstance(saved[1], StorageClass):
            raise WeightsError("the file's pickle has a persistent id that is no storage: nothing was run")
        _, kind, name, _, count = saved
        _plain(name, str)
        _plain(count, int)
        raw = self.records.get(f"data/{name}")
        size = count * (1 if kind.element is None or not kind.element.code else kind.element.itemsize)
        if raw is None or count < 0 or (raw.size != size and not (kind.element is not None and not kind.element.code)):
            held = "is missing" if raw is None else f"has {raw.size} bytes"
            raise WeightsError(f"the file's pickle has a storage of {size} bytes in the record data/{name:.60}, which {held}")
        return Stored(name, kind.element, raw)

    def _storage(self, stored: Any, element: Element | None) -> Storage:
        _plain(stored, Stored)
        element = stored.element or element
        if element is None:
            raise WeightsError("the file's pickle has a tensor in a storage of no type")
        known = self.storages.get(stored.name)
        if known is None:
            refuse_unreadable(element)
            if stored.raw.size % element.itemsize:
                raise WeightsError(f"the record data/{stored.name} has {stored.raw.size} bytes: no number of {element.name}")
            known = self.storages[stored.name] = element, Storage(*values(stored.raw, element, self.swapped, self.wanted))
        if known[0] is not element:
            raise WeightsError(f"the file has torch.{element.name} and torch.{known[0].name} in one storage")
        return known[1]

    def _made(self, storage: Storage, offset: Any, size: Any, stride: Any, requires_grad: Any) -> Tensor:
        made = storage.tensor(offset, tuple(size) if type(size) is Size else size, stride)
        _plain(requires_grad, bool)
        if requires_grad:
            _differentiable(made)
            made.requires_grad_(setter=True)
        return made

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None,
               metadata: Any = None) -> Tensor:
        return self._made(self._storage(storage, None), offset, size, stride, requires_grad)

    def typed(self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any,
              metadata: Any = None) -> Tensor:
        element = BY_NAME.get(getattr(dtype, "name", ""))
        return self._made(self._storage(storage, element), offset, size, stride, requires_grad)

    def parameter(self, data: Any, requires_grad: Any = True, hooks: Any = None, state: Any = None) -> Parameter:
        _plain(data, Tensor)
        _plain(requires_grad, bool)
        if requires_grad:
            _differentiable(data)
        found: Parameter = Parameter(data, requires_grad)
        return found

    def with_attributes(self, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
        """A tensor that had attributes of its user's, which are left behind."""
        call = function.call if type(function) is Function else function
        if call not in (self.tensor, self.typed, self.parameter) or type(arguments) is not tuple:
            raise WeightsError("the file's pickle makes a tensor by what makes none: nothing was run")
        return call(*arguments)


def _differentiable(tensor: Tensor) -> None:
    if not tensor.dtype.is_floating_point:
        raise WeightsError(f"the file has a tensor of dtype {tensor.dtype} that requires a gradient")


class StorageClass:
    """What a class of storages stands for; element None: its tensors say their type."""

    __slots__ = ("element",)

    def __init__(self, element: Element | None) -> None:
        self.element = element


class Stored:
    """A storage of the file that no tensor has been made of."""

    __slots__ = ("element", "name", "raw")

    def __init__(self, name: str, element: Element | None, raw: np.ndarray) -> None:
        self.name, self.element, self.raw = name, element, raw


class OtherType:
    """A dtype that gradgen lacks: a name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


class TensorClass:
    """What stands for the classes of tensors."""


def _ordered(pairs: Iterable[Any] = ()) -> OrderedDict[Any, Any]:
    return OrderedDict([(key(k), v) for k, v in pairs])


def _set(items: Any = ()) -> set[Any]:
    _plain(items, list, tuple)
    return {key(v) for v in items}


def _counter(counts: Any = None) -> Counter[Any]:
    _plain(counts, dict, type(None))
    return Counter(counts)


def _complex(real: Any, imaginary: Any = 0.0) -> complex:
    _plain(real, int, float)
    _plain(imaginary, int, float)
    return complex(real, imaginary)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    _plain(text, str)
    if encoding not in ("latin1", "latin-1"):
        raise WeightsError(f"the file's pickle encodes bytes as {encoding!r:.40}")
    return text.encode("latin-1")  # type: ignore[no-any-return]


def _bytearray(text: Any = "", encoding: Any = "latin-1") -> bytearray:
    return bytearray(text if type(text) is bytes else _encode(text, encoding))


def _layout(name: Any) -> Any:
    return strided if name == "torch.strided" else OtherType(str(name).removeprefix("torch."))


def _size(extents: Any) -> Size:
    _plain(extents, tuple, list)
    return Size(extents)


_SPARSE = _refused("a sparse tensor", "make it dense where the file was made: tensor.to_dense()")
_QUANTISED = _refused("a quantised tensor", "make it floating-point where the file was made: tensor.dequantize()")
_DEVICE = _refused("a tensor of a device that keeps its values elsewhere", "save tensor.cpu() where the file was made")
_VALUES: dict[str, Any] = {
    "collections.OrderedDict": _ordered, "collections.Counter": _counter, "builtins.set": _set, "builtins.complex": _complex,
    "builtins.frozenset": lambda items=(): frozenset(_set(items)), "_codecs.encode": _encode,
    "builtins.bytearray": _bytearray, "torch.Size": _size, "torch.device": lambda *_: Device("cpu"),
    "torch.serialization._get_layout": _layout,
    **{f"torch.per_{q}": OtherType(f"per_{q}") for q in ("tensor_affine", "tensor_symmetric", "channel_affine",
                                                        "channel_symmetric", "channel_affine_float_qparams")},
    "torch.Tensor": TensorClass(), "torch.nn.parameter.Parameter": TensorClass(),
    "torch._utils._rebuild_sparse_tensor": _SPARSE, "torch._utils._rebuild_sparse_csr_tensor": _SPARSE,
    "torch._utils._rebuild_qtensor": _QUANTISED,
    "torch._utils._rebuild_nested_tensor": _refused("a nested tensor", "save its tensors as a list: tensor.unbind()"),
    "torch._utils._rebuild_meta_tensor_no_storage": _refused("a tensor of the device 'meta'", "that has no values to read"),
    "torch._utils._rebuild_wrapper_subclass": _refused("a tensor of a subclass", "save what it wraps"),
    "torch._utils._rebuild_device_tensor_from_numpy": _DEVICE, "torch._utils._rebuild_device_tensor_from_cpu_tensor": _DEVICE,
    **{f"torch.{e.name}": OtherType(e.name) for e in ELEMENTS}, **{f"torch.{d.name}": d for d in dtypes.ALL},
    **{f"torch{place}.{e.storage}": StorageClass(e) for e in ELEMENTS for place in ("", ".cuda") if e.storage},
    "torch.storage.UntypedStorage": StorageClass(None), "torch.UntypedStorage": StorageClass(None),
}


def read(data: np.ndarray, file: Any, wanted: DType | None, everything: bool) -> Any:
    """The object in the zip file whose bytes are `data`.  `everything`: objects of any class, whose code is run."""
    records = Records(data, file)
    reader = Reader(records, wanted)
    program = records.get("data.pkl")
    assert program is not None
    if everything:
        found = _Trusting(io.BytesIO(program.tobytes()), reader).load()
    else:
        found = Machine(reader.table, reader.persistent).run(program.tobytes())
    _refuse_leftovers(found)
    return found


class _Trusting(pickle.Unpickler):
    """Imports and calls what the pickle names: for files whose maker is trusted."""

    def __init__(self, file: BinaryIO, reader: Reader) -> None:
        super().__init__(file)
        self.reader = reader

    def persistent_load(self, saved: Any) -> Any:
        return self.reader.persistent(saved)

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] != "torch":
            return super().find_class(module, name)
        if f"{module}.{name}" not in self.reader.table:
            raise WeightsError(f"the file holds PyTorch's own object {module}.{name}, which gradgen does not read",
                               hint="with PyTorch: torch.save(torch.load(path, weights_only=False).state_dict(), path)")
        return self.reader.table[f"{module}.{name}"]


_LEFTOVERS = {Function: "a function", Stored: "a storage without a tensor", StorageClass: "a class", TensorClass: "a class"}


def _refuse_leftovers(value: Any) -> None:
    """WeightsError where something is left that is no value: a storage, a function, a class."""
    waiting, seen = [value], set()
    while waiting:
        entry = waiting.pop()
        if type(entry) in _LEFTOVERS:
            raise WeightsError(f"the file holds {_LEFTOVERS[type(entry)]}, which gradgen does not read")
        if isinstance(entry, (dict, list, tuple)) and id(entry) not in seen:
            seen.add(id(entry))
            waiting.extend(entry.values() if isinstance(entry, dict) else entry)


# --- writing --------------------------------------------------------------------------------------------------------------


class _Global:
    """Something of PyTorch's that a pickle names."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: Any) -> Any:
        raise TypeError(f"{self.name} is called where the file is read")


class _Storage(NamedTuple):
    """What an id in the pickle stands for."""

    kind: str
    key: str
    elements: int


class _Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes tensors as PyTorch does: in Python, since the names in the file are of modules that need not exist here."""

    def __init__(self, file: BinaryIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.arrays: list[np.ndarray] = []
        self.keys: dict[Any, str] = {}
        self.globals: dict[str, _Global] = {}

    def named(self, path: str) -> _Global:
        return self.globals.setdefault(path, _Global(path))  # one object each: the pickle names it once

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", self.named(obj.kind), obj.key, "cpu", obj.elements) if isinstance(obj, _Storage) else None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Parameter):
            return self.named("torch._utils._rebuild_parameter"), (obj.data, obj.requires_grad, OrderedDict())
        if isinstance(obj, np.ndarray) and obj.dtype != object:  # of a generated module's state_dict
            obj = from_numpy(np.asarray(obj, order="C"))
        if isinstance(obj, Tensor):
            return self.named("torch._utils._rebuild_tensor_v2"), self._tensor(obj)
        if isinstance(obj, Size):
            return self.named("torch.Size"), (tuple(obj),)
        return NotImplemented

    def _tensor(self, tensor: Tensor) -> tuple[Any, ...]:
        shared, elements, offset, strides = stored(tensor)
        name = self.keys.get(shared)
        if name is None:
            name = self.keys[shared] = str(len(self.arrays))
            self.arrays.append(elements)
        kind = f"torch.{BY_NAME[tensor.dtype.name].storage}"
        storage = _Storage(kind, name, elements.size)
        return storage, offset, tuple(tensor.shape), strides, tensor.requires_grad, OrderedDict()

    def _save_global(self, obj: _Global) -> None:
        module, _, name = obj.name.rpartition(".")
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    def _save_dtype(self, obj: DType) -> None:
        self.save(self.named(f"torch.{obj.name}"))

    dispatch: ClassVar[Any] = {**pickle._Pickler.dispatch, _Global: _save_global, DType: _save_dtype}


def write(obj: Any, file: BinaryIO, protocol: int) -> None:
    """`obj` as torch.save writes it, to a file that can be sought in."""
    program = io.BytesIO()
    pickler = _Pickler(program, protocol)
    pickler.dump(obj)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _record(archive, file, "data.pkl", program.getbuffer())
        _record(archive, file, ".format_version", b"1")
        _record(archive, file, ".storage_alignment", b"%d" % ALIGNMENT)
        _record(archive, file, "byteorder", sys.byteorder.encode())
        for k, array in enumerate(pickler.arrays):
            _record(archive, file, f"data/{k}", memoryview(array.view(np.uint8)))
        _record(archive, file, "version", b"3\n")


def _record(archive: zipfile.ZipFile, file: BinaryIO, name: str, content: Any) -> None:
    """One record, its bytes at a multiple of ALIGNMENT: an extra field of the header is as long as that takes."""
    entry = zipfile.ZipInfo(f"archive/{name}")  # dated 1980: equal objects are equal files
    entry.file_size, entry.compress_size, entry.CRC = len(content), len(content), 0
    header = len(entry.FileHeader(zip64=len(content) * _SLACK > zipfile.ZIP64_LIMIT)) + len(_FILLER) + 2
    padding = -(file.tell() + header) % ALIGNMENT
    entry.extra = _FILLER + padding.to_bytes(2, "little") + b"Z" * padding
    with archive.open(entry, "w") as record:
        record.write(content)
