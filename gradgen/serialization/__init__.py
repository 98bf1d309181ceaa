"""save and load: state dicts, tensors and what else holds them, in PyTorch's files and in those of safetensors.

`save` writes what torch.load reads, `load` what torch.save wrote, without PyTorch.  By default only tensors, numbers, text
and containers are read, and nothing that a file names is run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gradgen.errors import WeightsError
from gradgen.ir.dtypes import DType
from gradgen.serialization import archive, own_format, tensor_table
from gradgen.serialization.elements import floating

SAFETENSORS = ".safetensors"
_TAR = slice(257, 262)  # where a tar archive says that it is one
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled number that files of PyTorch before 1.6 begin with."""
_LONGEST = 1 << 27  # bytes of an index of a checkpoint in several files


def save(obj: Any, f: str | Path | BinaryIO, pickle_module: Any = None, pickle_protocol: int = 2, *,
         metadata: dict[str, str] | None = None, **options: Any) -> None:
    """Writes `obj` (tensors or arrays in dicts, lists, ...; usually a state_dict) to a path or an open binary file.

    The file is torch.save's zip archive, which torch.load reads; at a path that ends in .safetensors it is safetensors':
    `obj` is a dict of tensors by name then, and `metadata` are texts to be kept beside them (by default those of the file
    that `obj` was loaded from).  Tensors that share storage share it in the file.  A path has the whole file, or what it had
    before.  TypeError for objects that safetensors' files cannot hold; RuntimeError where the folder does not exist.
    """
    table = not hasattr(f, "write") and os.fspath(f).endswith(SAFETENSORS)  # type: ignore[arg-type]
    if metadata is not None and not table:
        raise TypeError("metadata= belongs to files of safetensors; put texts into the object that you save")

    def write(file: BinaryIO) -> None:
        if table:
            tensor_table.write(obj, file, metadata)
        else:
            archive.write(obj, file, pickle_protocol)

    if not hasattr(f, "write"):
        _replace(Path(f), write)  # type: ignore[arg-type]
        return
    buffer = io.BytesIO()
    write(buffer)
    f.write(buffer.getbuffer())  # type: ignore[union-attr]


def _replace(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Writes a file beside `path` and gives it that name in one step."""
    if not path.parent.is_dir():
        raise RuntimeError(f"Parent directory {path.parent} does not exist.")
    if path.exists() and not path.is_file():  # a pipe, a device: there is nothing to keep
        buffer = io.BytesIO()
        write(buffer)
        path.write_bytes(buffer.getbuffer())
        return
    path = path.resolve()  # a link stays one
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def load(
    f: str | Path | BinaryIO, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool | None = None,
    mmap: bool | None = None, dtype: Any = None, **options: Any,
) -> Any:
    """What torch.save, `save` or safetensors wrote; which of them is told by the file's content.

    Args:
        f: a path or an open binary file.  An index of a checkpoint in several files (*.index.json) gives their union.
        weights_only: False reads objects of any class, and runs what code the file names: for files that you trust.
        mmap: the file is mapped: what is not looked at is not read, and processes share memory.  Changes of tensors are not
            written to the file, which should be left alone as long as its tensors live.
        dtype: float32 or float64, for floating-point tensors of every type; without it types that gradgen lacks (half
            precision) are refused.  With it small integers become int32 or int64, too.

    Tensors that share storage in the file do so again, all on the CPU.  What gradgen does not read (sparse, quantised and
    complex tensors, files of PyTorch before 1.6, TorchScript) and what is damaged raises WeightsError (a RuntimeError and
    pickle.UnpicklingError).  The result for a file of safetensors is a dict whose `metadata` are the file's.
    """
    wanted = floating(dtype)
    if hasattr(f, "read"):
        if mmap:
            raise ValueError("f must be a file path in order to use the mmap argument")
        content = f.read()  # type: ignore[union-attr]
        data = np.frombuffer(content, np.uint8) if content else np.zeros(0, np.uint8)
        return _read(data, io.BytesIO(content), "the file", wanted, weights_only is False)
    path = Path(f)  # type: ignore[arg-type]
    if path.name.endswith(".index.json"):
        return _shards(path, bool(mmap), wanted)
    empty = path.stat().st_size == 0
    data = np.zeros(0, np.uint8) if empty else np.memmap(path, np.uint8, "c") if mmap else np.fromfile(path, np.uint8)
    return _read(np.asarray(data), path, str(path), wanted, weights_only is False)


def _read(data: np.ndarray, file: Any, name: str, wanted: DType | None, everything: bool) -> Any:
    start = data[:512].tobytes()
    try:
        if start.startswith(b"PK\x03\x04"):
            return archive.read(data, file, wanted, everything)
        if tensor_table.is_table(start):
            return tensor_table.read(data, wanted)
        if start.startswith(own_format.MAGIC):
            return own_format.read(data.tobytes(), everything)
        raise _other(start)
    except WeightsError as error:
        error.where = error.where or name
        raise


def _other(start: bytes) -> WeightsError:
    """What is wrong with a file that starts so."""
    again = "with PyTorch: torch.save(torch.load(path), path) writes today's"
    if not start:
        return WeightsError("the file is empty")
    if start.startswith(_LEGACY) or start[_TAR] == b"ustar":
        return WeightsError("the file is of PyTorch before 1.6: a program that would be run", hint=again)
    if start.startswith(b"version https://git-lfs"):
        return WeightsError("the file is a pointer of Git LFS, not the weights", hint="git lfs pull fetches them")
    if start.startswith(b"\x80"):
        return WeightsError("the file is a pickle: a program that would be run", hint="save weights by torch.save")
    return WeightsError("the file is none of torch.save, gradgen.save or safetensors, or its beginning is damaged")


def _shards(path: Path, mmap: bool, wanted: DType | None) -> dict[str, Any]:
    """The tensors that an index puts into several files of its folder."""
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("longer than any index")
        places = json.loads(path.read_text("utf-8"))["weight_map"]
        files = sorted({str(name) for name in places.values()})
        if any(Path(name).name != name or name in ("", "..") for name in files):
            raise ValueError("it names files outside of its folder")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"the index is damaged ({error!s:.100})", where=str(path)) from error
    found: dict[str, Any] = {}
    for name in files:
        part = load(path.parent / name, mmap=mmap, dtype=wanted)
        found.update({k: v for k, v in part.items() if places.get(k) == name})
    missing = [k for k in places if k not in found]
    if missing:
        raise WeightsError(f"the files of the index lack {', '.join(missing[:5])}", where=str(path))
    return found
