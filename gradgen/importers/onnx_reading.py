"""ONNX files: the model, its tensors as arrays, what lies in files beside it.  `onnx` is imported here and nowhere before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gradgen.errors import GradgenError


def package() -> ModuleType:
    """The `onnx` package.  GradgenError where it is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.numpy_helper
    except ImportError as error:
        raise GradgenError(f"reading ONNX needs the package onnx: {error}", hint="pip install onnx") from None
    return onnx


def model_of(source: Any) -> tuple[Any, Path | None]:
    """(the ModelProto, the folder its external data lie in) of a path, of bytes, or of a ModelProto."""
    onnx = package()
    if isinstance(source, onnx.ModelProto):
        return source, None
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _parsed(bytes(source), "the bytes given"), None
    if not isinstance(source, (str, Path)):
        raise GradgenError(f"from_onnx takes a path, bytes or a ModelProto, not {type(source).__name__}")
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GradgenError(f"the model cannot be read: {error}", where=str(path)) from None
    return _parsed(data, str(path)), path.resolve().parent


def _parsed(data: bytes, where: str) -> Any:
    onnx = package()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # the class belongs to protobuf, whose place differs between versions
        raise GradgenError(f"this is no ONNX model: {error}", where=where) from None
    if not model.HasField("graph") or not model.opset_import:
        raise GradgenError("this is no ONNX model: it has no graph, or no opset", where=where)
    return model


def array_of(proto: Any, folder: Path | None = None) -> np.ndarray:
    """The elements of a TensorProto.  GradgenError for external data that are missing, cut off or outside of `folder`."""
    onnx = package()
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return _external(proto, folder)
    try:
        return onnx.numpy_helper.to_array(proto)
    except Exception as error:  # numpy_helper raises what the bytes make NumPy raise
        raise GradgenError(f"the tensor {proto.name!r} cannot be read: {error}") from None


def _external(proto: Any, folder: Path | None) -> np.ndarray:
    """A view of the file: nothing is read before it is used."""
    onnx = package()
    said = {e.key: e.value for e in proto.external_data}
    location = said.get("location", "")
    where = f"tensor {proto.name!r}, file {location!r}"
    if folder is None:
        raise GradgenError("a tensor's data lie in a file beside the model, and the model was not read from a file",
                           where=where, hint="pass the model's path, or load it with onnx.load, which reads them")
    path = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not path.is_relative_to(folder):
        raise GradgenError("a tensor's data lie outside of the model's folder, and are not read", where=where)
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(proto.data_type)).newbyteorder("<")
    shape = tuple(proto.dims)
    count = int(np.prod(shape, dtype=np.int64))
    try:
        start, length = int(said.get("offset", 0)), int(said.get("length", count * kind.itemsize))
        size = path.stat().st_size
    except (ValueError, OSError) as error:
        raise GradgenError(f"a tensor's data cannot be read: {error}", where=where) from None
    if start < 0 or min(shape, default=0) < 0 or length != count * kind.itemsize or start + length > size:
        raise GradgenError(f"a tensor of {count * kind.itemsize} bytes is said to be {length} bytes from {start} on of a "
                           f"file that has {size}", where=where)
    if not count:
        return np.zeros(shape, kind)
    return np.memmap(path, kind, "c", start, shape).view(np.ndarray)


@dataclass(frozen=True)
class Reference:
    """The attribute of this name of the function that a node stands in."""

    name: str


def attributes_of(node: Any, folder: Path | None) -> dict[str, Any]:
    """A node's attributes: numbers, texts, lists of them, arrays, and graphs as they are.

    What stands for an attribute of the function around the node is an instance of `Reference`.
    """
    onnx = package()
    found: dict[str, Any] = {}
    for a in node.attribute:
        if a.ref_attr_name:
            found[a.name] = Reference(a.ref_attr_name)
            continue
        value = onnx.helper.get_attribute_value(a)
        if a.type == onnx.AttributeProto.TENSOR:
            value = array_of(value, folder)
        elif a.type == onnx.AttributeProto.STRING:
            value = value.decode("utf-8", "replace")
        elif a.type == onnx.AttributeProto.STRINGS:
            value = [v.decode("utf-8", "replace") for v in value]
        found[a.name] = value
    return found


def default_of(attribute: Any) -> Any:
    """The default of an attribute of a schema, None where it has none."""
    onnx = package()
    if not attribute.default_value.type:
        return None
    value = onnx.helper.get_attribute_value(attribute.default_value)
    if isinstance(value, list):
        return [v.decode() if isinstance(v, bytes) else v for v in value]
    return value.decode() if isinstance(value, bytes) else value
