"""Files of weights: what PyTorch and safetensors wrote is read without them, what is written they read, and hostile files run
nothing and raise one error."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import struct
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.errors import GradgenError, WeightsError
from tests.importers.record_weights import DATA, contents

# --- recorded files -------------------------------------------------------------------------------------------------------


def same(found: Any, expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        array = found[name].detach().numpy()
        assert array.dtype == value.dtype and array.shape == value.shape and (array == value).all(), name


@pytest.mark.parametrize("mmap", [False, True])
def test_a_checkpoint_of_pytorch(mmap: bool) -> None:
    found = gg.load(DATA / "checkpoint.pt", mmap=mmap)
    state = found["state"]
    same(state, contents())
    assert found["epoch"] == 3 and found["nested"] == [(1, 2.5, None), "text", gg.Size([1, 2]), gg.float32]
    assert state._metadata == {"": {"version": 1}}
    weight = state["layers.0.weight"]
    assert isinstance(weight, gg.nn.Parameter) and weight.requires_grad and weight.is_leaf
    assert not state["layers.0.bias"].requires_grad
    places = {name: (state[name].stride(), state[name].storage_offset()) for name in state}
    assert places["slice"] == ((3, 1), 3) and places["transposed"] == ((1, 6), 0)
    assert places["every_fifth"] == ((5,), 0) and places["windows"] == ((2, 1), 0) and places["expanded"] == ((0, 1), 0)
    state["base"][5] = -1.0
    assert state["slice"][0, 2] == state["transposed"][5, 0] == state["every_fifth"][1] == state["windows"][1, 3] == -1
    state["slice"].mul_(2)
    assert state["base"][5] == -2


def test_a_mapped_file_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes((DATA / "checkpoint.pt").read_bytes())
    state = gg.load(path, mmap=True)["state"]
    state["base"].add_(1)
    state["layers.0.bias"].numpy()[0] = 9
    assert path.read_bytes() == (DATA / "checkpoint.pt").read_bytes()
    mapped = state["steps"]._cell.record.value
    while mapped.base is not None and not isinstance(mapped, np.memmap):
        mapped = mapped.base
    assert isinstance(mapped, np.memmap), "pages of the file, not a copy"
    with pytest.raises(ValueError, match="f must be a file path"):
        gg.load(io.BytesIO(path.read_bytes()), mmap=True)


def test_types_that_are_missing_here() -> None:
    with pytest.raises(WeightsError, match=r"torch\.float16, which gradgen lacks[^$]*dtype=gradgen\.float32"):
        gg.load(DATA / "half.pt")
    found = gg.load(DATA / "half.pt", dtype=gg.float64)
    assert (found["half"].numpy() == (np.arange(4, dtype=np.float16) / np.float16(3)).astype(np.float64)).all()
    assert found["brain"].tolist() == [0.0, 0.333984375, 0.66796875, 1.0] and found["brain"].dtype == gg.float64
    assert found["small"].tolist() == [0, 1, 2, 3] and found["small"].dtype == gg.int32
    assert gg.load(DATA / "checkpoint.pt", dtype="float32")["state"]["layers.0.bias"].dtype == gg.float32
    with pytest.raises(TypeError, match="float32 or float64"):
        gg.load(DATA / "half.pt", dtype=gg.int32)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.ones(2))
    with zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x/data.pkl", b"\x80\x02N." * 99)
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as script:
        script.writestr("x/data.pkl", b"")
        script.writestr("x/constants.pkl", b"")
    for name, content in {"empty": b"", "lfs": b"version https://git-lfs.github.com/spec/v1\n", "pickle": pickle.dumps({}),
                          "text": b"weights"}.items():
        (tmp_path / name).write_bytes(content)
    for path, what in {DATA / "legacy.pt": "before 1.6", tmp_path / "arrays.npz": "numpy.savez", tmp_path / "empty": "empty",
                       tmp_path / "packed.pt": "compressed", tmp_path / "script.pt": "TorchScript", tmp_path / "lfs": "LFS",
                       tmp_path / "pickle": "a pickle", tmp_path / "text": "none of"}.items():
        with pytest.raises(WeightsError, match=what) as caught:
            gg.load(path)
        assert caught.value.where == str(path)
    assert issubclass(WeightsError, (pickle.UnpicklingError, RuntimeError)) and issubclass(WeightsError, GradgenError)


# --- archives made here ---------------------------------------------------------------------------------------------------


def archive(program: bytes, records: dict[str, bytes] | None = None, folder: str = "x") -> bytes:
    """A file as torch.save makes it, of a pickle and storages."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(f"{folder}/data.pkl", program)
        for name, content in (records or {}).items():
            made.writestr(f"{folder}/{name}", content)
    return file.getvalue()


def load(content: bytes, **options: Any) -> Any:
    return gg.load(io.BytesIO(content), **options)


class Code:
    """A pickle of this calls `call`."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


RAN: list[str] = []


def canary(*arguments: Any) -> Any:
    RAN.append("run")
    return {}


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
"""A storage of 6 floats."""


def tensor(offset: bytes = b"K\x00", size: bytes = b"K\x02K\x03\x86", stride: bytes = b"K\x03K\x01\x86",
           storage: bytes = STORAGE) -> bytes:
    return (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + stride
            + b"\x89ccollections\nOrderedDict\n)RtR.")


FLOATS = {"data/0": np.arange(6, dtype="<f4").tobytes()}
MINUS = b"J" + struct.pack("<i", -1)
HUGE = b"\x8a\x09" + (2**64).to_bytes(9, "little")


def test_the_plain_tensor_is_read() -> None:
    assert load(archive(tensor(), FLOATS)).tolist() == [[0, 1, 2], [3, 4, 5]]
    big = {"data/0": np.arange(6, dtype=">f4").tobytes(), "byteorder": b"big"}
    assert load(archive(tensor(), big)).tolist() == [[0, 1, 2], [3, 4, 5]]
    shifted = b"\x80\x02](" + tensor()[2:-1] + tensor(b"K\x01", b"K\x02\x85", b"K\x01\x85")[2:-1] + b"e."
    both = load(archive(shifted, FLOATS))
    both[0][0, 1] = 8
    assert both[1].tolist() == [8, 2]


GEOMETRY = {
    "beyond the end": (b"K\x01",), "negative offset": (MINUS,), "negative stride": (b"K\x05", b"K\x06\x85", MINUS + b"\x85"),
    "negative size": (b"K\x00", MINUS + b"\x85", b"K\x01\x85"), "no sizes": (b"K\x00", b"N", b"N"),
    "sizes and no strides": (b"K\x00", b"K\x02\x85", b")"),
    "sizes that are texts": (b"K\x00", b"X\x01\x00\x00\x002\x85", b"K\x01\x85"),
    "sizes that are truths": (b"K\x00", b"\x88\x85", b"K\x01\x85"), "huge size": (b"K\x00", HUGE + b"\x85", b"K\x00\x85"),
    "huge stride": (b"K\x00", b"K\x02\x85", HUGE + b"\x85"), "huge offset": (HUGE, b"K\x01\x85", b"K\x01\x85"),
    "too many axes": (b"K\x00", b"(" + b"K\x01" * 99 + b"t", b"(" + b"K\x01" * 99 + b"t"),
    "a list that contains itself": (b"K\x00", b"]q\x00h\x00a", b"K\x01\x85"),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_tensors_that_are_not_in_their_storage(name: str) -> None:
    with pytest.raises(WeightsError, match="the file has a tensor"):
        load(archive(tensor(*GEOMETRY[name]), FLOATS))


def storage(saved: bytes) -> bytes:
    return tensor(storage=saved)


HOSTILE: dict[str, bytes] = {
    **{f"protocol {p}": pickle.dumps(Code(canary), p) for p in range(6)},
    "builtins": pickle.dumps(Code(eval, "canary()"), 2), "getattr": pickle.dumps(Code(getattr, "", "join"), 4),
    "os": b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00echo\x85R.",
    "a class": b"\x80\x02c__main__\nCode\n)\x81.", "NEWOBJ of what is allowed": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "INST": b"(iposix\nsystem\n.", "OBJ": b"(cposix\nsystem\no.",
    "extensions": b"\x80\x02\x82\x01.", "extensions of four bytes": b"\x80\x02\x84\x01\x00\x00\x00.",
    "dotted name": b"\x80\x04\x8c\x0bcollections\x8c\x1cOrderedDict.__init__.__globals__\x93.",
    "a name that is no text": b"\x80\x04K\x01K\x02\x93.", "module that is a tuple": b"\x80\x04)\x8c\x01a\x93.",
    "BUILD of a dict": b"\x80\x02}}X\x01\x00\x00\x00aK\x01sb.",
    "BUILD of a tensor": tensor()[:-1] + b"}X\x05\x00\x00\x00_cellNsb.",
    "call of a number": b"\x80\x02K\x01)R.",
    "call of a list": b"\x80\x02]K\x01\x85R.",
    "call with a list": b"\x80\x02c_codecs\nencode\n]R.",
    "call of a method": b"\x80\x02cbuiltins\nstr.join\n)R.", "a function alone": b"\x80\x02c_codecs\nencode\n.",
    "a function in a list": b"\x80\x02]c_codecs\nencode\na.", "a storage alone": b"\x80\x02" + STORAGE + b".",
    "a class alone": b"\x80\x02}X\x01\x00\x00\x00actorch\nTensor\ns.",
    "encoding": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
    "bytearray of a size": b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "bytes of a size": b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
    "persistent id of nothing": b"\x80\x02NQ.",
    "persistent id of a text": b"P0\n.",
    "id of a module": storage(b"(X\x06\x00\x00\x00moduleNNNNtQ"),
    "id too short": storage(b"X\x07\x00\x00\x00storage\x85Q"),
    "storage of no class": storage(STORAGE.replace(b"ctorch\nFloatStorage\n", b"N")),
    "storage of a tensor class": storage(STORAGE.replace(b"FloatStorage", b"Tensor")),
    "storage of another record": storage(STORAGE.replace(b"\x000X", b"\x001X")),
    "storage with a path": storage(STORAGE.replace(b"X\x01\x00\x00\x000", b"X\x0b\x00\x00\x00../data.pkl")),
    "storage of other size": storage(STORAGE.replace(b"K\x06t", b"K\x05t")),
    "storage of negative size": storage(STORAGE.replace(b"K\x06t", MINUS + b"t")),
    "storage of huge size": storage(STORAGE.replace(b"K\x06t", HUGE + b"t")),
    "storage of another type": storage(STORAGE.replace(b"Float", b"Double")),
    "storage of two types": b"\x80\x02]" + tensor()[2:-1] + b"a"
    + tensor(storage=STORAGE.replace(b"Float", b"Int"))[2:-1] + b"a.",
    "storage without a type": storage(
        STORAGE.replace(b"ctorch\nFloat", b"ctorch.storage\nUntyped").replace(b"K\x06t", b"K\x18t")),
    "integers with a gradient": storage(STORAGE.replace(b"Float", b"Int")).replace(b"\x89c", b"\x88c"),
    "a parameter of a number": b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01\x88N\x87R.",
    "attributes of what calls": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(c_codecs\nencode\nctorch\nTensor\n"
    b"X\x01\x00\x00\x00a\x85}tR.",
    "a list as a key": b"\x80\x02}]K\x01s.", "a tensor as a key": b"\x80\x02}" + tensor()[2:-1] + b"K\x01s.",
    "a deep tuple as a key": b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.",
    "a deep tuple in a set": b"\x80\x04\x8f()" + b"\x85" * 100_000 + b"\x90.",
    "a key that is shared tuples": b"\x80\x02})q\x00" + b"h\x00h\x00\x86q\x00" * 40 + b"K\x01s.",
    "an entry of a list": b"\x80\x02]K\x00K\x01s.",
    "an entry of a number": b"\x80\x02K\x00K\x00K\x01s.",
    "append to a tuple": b"\x80\x02)K\x01a.",
    "append to a dict": b"\x80\x02}(K\x01e.",
    "pairs without a value": b"\x80\x02}(K\x01u.",
    "memo that is not": b"\x80\x02h\x07.",
    "an empty stack": b"\x80\x02\x85.",
    "an empty stack at the end": b"\x80\x02.",
    "no mark": b"\x80\x02K\x01t.",
    "nothing": b"",
    "no end": b"\x80\x02K\x01",
    "a later protocol": b"\x80\x09K\x01.",
    "a text without an end": b"\x80\x02X\xff\xff\xff\x7fa.",
    "bytes without an end": b"\x80\x04B\xff\xff\xff\x7fa.",
    "a text that is none": b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
    "digits": b"I" + b"9" * 5000 + b"\n.",
    "a long number": b"\x80\x02\x8b\xff\xff\xff\x7f\x00.",
    "a negative length": b"\x80\x02\x8b\xff\xff\xff\xff\x00.",
    "opcodes that are none": b"\x80\x02\xff.", "sparse": b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n)R.",
    "quantised": b"\x80\x02ctorch._utils\n_rebuild_qtensor\n)R.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles(name: str) -> None:
    RAN.clear()
    with pytest.raises(WeightsError):
        load(archive(HOSTILE[name], FLOATS))
    with pytest.raises(WeightsError):
        load(b"gradgen-saved-1\n" + HOSTILE[name])
    assert not RAN


def test_the_canary_sings() -> None:
    """What the hostile files would do, if they were trusted."""
    RAN.clear()
    load(archive(HOSTILE["protocol 2"]), weights_only=False)
    assert RAN == ["run"]


def test_no_key_is_hashed_on_the_machines_stack() -> None:
    shared = load(archive(b"\x80\x02}K\x01K\x02\x86q\x00h\x00\x86K\x05s."))
    assert shared == {((1, 2), (1, 2)): 5}


def zipped(change: Callable[[zipfile.ZipFile], None]) -> bytes:
    file = io.BytesIO(archive(tensor(), FLOATS))
    with zipfile.ZipFile(file, "a") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own about two records of one name
        change(made)
    return file.getvalue()


def replaced(old: bytes, new: bytes, count: int = -1) -> bytes:
    content = archive(tensor(), FLOATS)
    assert old in content and len(old) == len(new)
    return content.replace(old, new, count)


def _moved(to: int) -> bytes:
    """The directory says that the second record is elsewhere."""
    content = bytearray(archive(tensor(), FLOATS))
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 42 : entry + 46] = struct.pack("<I", to)
    return bytes(content)


def _long(field: int, value: int) -> bytes:
    content = bytearray(archive(tensor(), FLOATS))
    entry = content.rindex(b"PK\x01\x02")
    content[entry + field : entry + field + 4] = struct.pack("<I", value)
    return bytes(content)


CONTAINERS: dict[str, Callable[[], bytes]] = {
    "a record twice": lambda: zipped(lambda z: z.writestr("x/data/0", b"")),
    "another folder": lambda: zipped(lambda z: z.writestr("y/data.pkl", b"\x80\x02N.")),
    "records in one place": lambda: _moved(0), "a record beyond the end": lambda: _moved(1 << 20),
    "a record that goes on": lambda: _long(20, 1 << 30), "two sizes": lambda: _long(24, 1 << 30),
    "a directory elsewhere": lambda: archive(tensor(), FLOATS)[:-6] + b"\xff\xff\xff\x7f\x00\x00",
    "no directory": lambda: archive(tensor(), FLOATS)[:-30],
    "a byte order of its own": lambda: archive(tensor(), {**FLOATS, "byteorder": b"middle"}),
    "no pickle": lambda: replaced(b"data.pkl", b"data.pk_"),
    "a header that is none": lambda: replaced(b"PK\x03\x04", b"PK\x03\x05")[4:],
    "a path": lambda: archive(tensor(), {"../../data/0": b""}),
    "encrypted": lambda: replaced(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
    "a text for data": lambda: b"PK\x03\x04" + b"\x00" * 50,
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_hostile_containers(name: str) -> None:
    with pytest.raises(WeightsError):
        load(CONTAINERS[name]())


def table(entries: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(first: int, last: int, shape: Any = (2,), dtype: Any = "F32", **more: Any) -> dict[str, Any]:
    sizes = list(shape) if isinstance(shape, tuple) else shape
    return {"dtype": dtype, "shape": sizes, "data_offsets": [first, last], **more}


EIGHT = bytes(8)
TABLES: dict[str, bytes] = {
    "a table that goes on": table({"a": entry(0, 8)}, EIGHT, 99),
    "a table of a petabyte": table({"a": entry(0, 8)}, EIGHT, 1 << 50),
    "a hole": table({"a": entry(0, 8), "b": entry(12, 20)}, bytes(20)),
    "an overlap": table({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
    "elements before": table({"a": entry(4, 12)}, bytes(12)), "elements behind": table({"a": entry(0, 8)}, bytes(9)),
    "too few elements": table({"a": entry(0, 8)}, bytes(7)), "another size": table({"a": entry(0, 8, (3,))}, EIGHT),
    "backwards": table({"a": entry(8, 0)}, EIGHT), "negative": table({"a": entry(-8, 0)}, EIGHT),
    "a name twice": table(b'{"a":%b,"a":%b}' % (2 * (json.dumps(entry(0, 8)).encode(),)), EIGHT),
    "no UTF-8": table(b'{"\xff":1}'),
    "no JSON": table(b'{"a":'),
    "deep JSON": table(b'{"a":' + b"[" * 100_000),
    "a number": table(b"{}1"),
    "digits": table(b'{"a":' + b"9" * 10_000 + b"}"),
    "no entry": table({"a": 1}),
    "more in an entry": table({"a": entry(0, 8, more=1)}, EIGHT),
    "less in an entry": table({"a": {"dtype": "F32", "shape": [2]}}, EIGHT),
    "a dtype of its own": table({"a": entry(0, 8, dtype="F33")}, EIGHT),
    "a dtype that is none": table({"a": entry(0, 8, dtype=None)}, EIGHT),
    "complex": table({"a": entry(0, 8, (1,), "C64")}, EIGHT),
    "a fraction": table({"a": entry(0, 8, [2.0])}, EIGHT), "a truth": table({"a": entry(0, 4, [True])}, bytes(4)),
    "huge sizes": table({"a": entry(0, 8, [2**62, 2**62, 0, 2**64])}, EIGHT),
    "many axes": table({"a": entry(0, 4, [1] * 99)}, bytes(4)),
    "negative sizes": table({"a": entry(0, 8, [-1, -2])}, EIGHT), "metadata that are none": table({"__metadata__": 1}),
    "metadata that are numbers": table({"__metadata__": {"a": 1}}), "half": table({"a": entry(0, 4, dtype="F16")}, bytes(4)),
}


@pytest.mark.parametrize("name", TABLES)
def test_hostile_tables(name: str) -> None:
    with pytest.raises(WeightsError):
        load(TABLES[name])


ARCHIVE, TABLE = (DATA / "checkpoint.pt").read_bytes(), (DATA / "plain.safetensors").read_bytes()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([ARCHIVE, TABLE, b"gradgen-saved-1\n" + tensor()]),
       st.lists(st.tuples(st.integers(0, 4300), st.integers(0, 255)), min_size=1, max_size=4),
       st.one_of(st.none(), st.integers(0, 4300)), st.booleans())
def test_damaged_files(content: bytes, changes: list[tuple[int, int]], end: int | None, mostly_pickle: bool) -> None:
    damaged = bytearray(content)
    for at, value in changes:
        damaged[at % (1400 if mostly_pickle else len(damaged)) % len(damaged)] = value
    try:
        found = load(bytes(damaged[:end]))
        for value in found.values() if isinstance(found, dict) else ():
            if isinstance(value, gg.Tensor) and value.numel() < 10_000:
                value.tolist()
    except WeightsError:
        pass


# --- written here ---------------------------------------------------------------------------------------------------------


def states() -> OrderedDict[str, Any]:
    return gg.load(DATA / "checkpoint.pt")["state"]  # type: ignore[no-any-return]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state = states()
    given = {"state": state, "list": [1, -(2**70), 2.5, None, True, b"ab", bytearray(b"c"), {1, 2}, frozenset([3]), 1j],
             "kind": gg.float64, "size": gg.Size([2]), "counter": Counter("aab"), "again": state["base"]}
    for protocol in (2, 4, 5):
        gg.save(given, tmp_path / "x.pt", pickle_protocol=protocol)
        found = gg.load(tmp_path / "x.pt", mmap=protocol == 5)
        same(found["state"], contents())
        assert {k: v for k, v in found.items() if k not in ("state", "again")} == {
            k: v for k, v in given.items() if k not in ("state", "again")}
        assert found["state"]._metadata == state._metadata
        found["again"][4] = 50
        assert found["state"]["slice"][0, 1] == 50 and found["state"]["transposed"][4, 0] == 50
    buffer = io.BytesIO()
    gg.save(state["windows"] * 2, buffer)
    assert load(buffer.getvalue()).tolist() == (contents()["windows"] * 2).tolist()
    gg.save(state, tmp_path / "y.pt")
    first = (tmp_path / "y.pt").read_bytes()
    gg.save(states(), tmp_path / "y.pt")
    assert (tmp_path / "y.pt").read_bytes() == first, "equal objects are equal files"


def test_records_begin_at_multiples_of_64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (zipfile.ZIP64_LIMIT, 10):  # the second: as if every record were longer than 2 GiB
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
        gg.save(states(), tmp_path / "x.pt")
        content = (tmp_path / "x.pt").read_bytes()
        with zipfile.ZipFile(tmp_path / "x.pt") as made:
            assert made.testzip() is None
            for record in made.infolist():
                start = record.header_offset + 30 + sum(struct.unpack("<HH", content[record.header_offset + 26 :][:4]))
                assert start % 64 == 0 and content[start : start + record.file_size] == made.read(record)
        same(gg.load(tmp_path / "x.pt"), contents())


def test_files_are_whole_or_what_they_were(tmp_path: Path) -> None:
    for name, bad in {"x.pt": {"a": gg.ones(2), "b": lambda: None}, "x.safetensors": {"a": gg.ones(2), "b": 1}}.items():
        path = tmp_path / name
        gg.save({"a": gg.zeros(1)}, path)
        os.chmod(path, 0o640)
        with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
            gg.save(bad, path)
        assert gg.load(path)["a"].tolist() == [0]
        gg.save({"a": gg.ones(1)}, path)
        assert gg.load(path)["a"].tolist() == [1] and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.pt", "x.safetensors"]
    with pytest.raises(RuntimeError, match=r"Parent directory .* does not exist"):
        gg.save({}, tmp_path / "nowhere" / "x.pt")


def test_modules_are_saved_and_trusted(tmp_path: Path) -> None:
    net = gg.nn.Sequential(gg.nn.Linear(2, 2), gg.nn.ReLU())
    gg.save(net, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=r"Unsupported global: GLOBAL gradgen.nn.containers.Sequential"):
        gg.load(tmp_path / "net.pt")
    found = gg.load(tmp_path / "net.pt", weights_only=False)
    assert (found[0].weight == net[0].weight).all() and isinstance(found[0].weight, gg.nn.Parameter)


def test_earlier_files_of_gradgen() -> None:
    import gradgen.serialization.own_format as own

    saved = {"a": Code(own._tensor, Code(own._array, np.arange(2.0).tobytes(), "<f8", (2,)), "float64", True, True)}
    program = pickle.dumps(saved, 4).replace(b"\x8c gradgen.serialization.own_format", b"\x8c\x15gradgen.serialization")
    program = program.replace(program[2:11], b"\x95" + struct.pack("<Q", len(program) - 11))
    found = load(own.MAGIC + program)
    assert isinstance(found["a"], gg.nn.Parameter) and found["a"].tolist() == [0, 1]


# --- safetensors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_of_safetensors(mmap: bool, tmp_path: Path) -> None:
    found = gg.load(DATA / "plain.safetensors", mmap=mmap)
    assert {k: v.dtype for k, v in found.items()} == {k: v.dtype for k, v in states().items()}
    same({k: found[k] for k in contents()}, contents())
    assert found.metadata == {"format": "pt", "made": "für gradgen"}
    gg.save(found, tmp_path / "x.safetensors")
    again = gg.load(tmp_path / "x.safetensors")
    same({k: again[k] for k in contents()}, contents())
    assert again.metadata == found.metadata
    start = 8 + struct.unpack("<Q", (tmp_path / "x.safetensors").read_bytes()[:8])[0]
    assert start % 8 == 0, "elements are aligned"
    gg.save(states(), tmp_path / "x.safetensors", metadata={"a": "b"})
    assert gg.load(tmp_path / "x.safetensors").metadata == {"a": "b"}


def test_tied_weights(tmp_path: Path) -> None:
    net = gg.nn.Sequential(gg.nn.Linear(2, 2, bias=False), gg.nn.Linear(2, 2, bias=False))
    net[0].weight = net[1].weight
    found = gg.load(DATA / "tied.safetensors")
    assert sorted(found) == ["0.weight", "1.weight"] and len(found.metadata) == 1
    net.load_state_dict(found)
    assert net[0].weight.tolist() == [[0, 1], [2, 3]]
    for name in ("x.safetensors", "x.pt"):
        gg.save(net.state_dict(), tmp_path / name)
        again = gg.load(tmp_path / name)
        again["0.weight"][0, 0] = 7
        assert again["1.weight"][0, 0] == 7
    one = {"1.weight": gg.ones(2, 2)}
    assert net.load_state_dict(one).missing_keys == [] and net[0].weight.tolist() == [[1, 1], [1, 1]]
    with pytest.raises(RuntimeError, match="Missing key"):
        net.load_state_dict(one, assign=True)  # would untie them


def test_a_checkpoint_in_several_files(tmp_path: Path) -> None:
    gg.save({"a": gg.ones(1)}, tmp_path / "1.safetensors")
    gg.save({"b": gg.zeros(1)}, tmp_path / "2.pt")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": "1.safetensors", "b": "2.pt"}}))
    assert {k: v.tolist() for k, v in gg.load(index).items()} == {"a": [1], "b": [0]}
    for bad in ('{"weight_map": {"a": "../1.safetensors"}}', '{"weight_map": []}', "{", '{"weight_map": {"c": "2.pt"}}',
                "[" * 99_999):
        index.write_text(bad)
        with pytest.raises(WeightsError):
            gg.load(index)


def test_what_safetensors_cannot_hold(tmp_path: Path) -> None:
    for bad in ([gg.ones(1)], {"a": 1}, {1: gg.ones(1)}, {"__metadata__": gg.ones(1)}):
        with pytest.raises(TypeError, match="safetensors file holds tensors"):
            gg.save(bad, tmp_path / "x.safetensors")
    with pytest.raises(TypeError, match="metadata="):
        gg.save({}, tmp_path / "x.pt", metadata={"a": "b"})


# --- beside PyTorch and safetensors ---------------------------------------------------------------------------------------


def test_pytorch_reads_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    state = states()
    state["leaf"] = gg.ones(2, requires_grad=True)
    given = {"state": state, "rest": [1, 2.5, None, (True, b"ab"), {1, 2}, gg.Size([2]), gg.float64, Counter("aab")]}
    for limit in (zipfile.ZIP64_LIMIT, 10):
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
        gg.save(given, tmp_path / "x.pt")
        for mmap in (False, True):
            found = torch.load(tmp_path / "x.pt", weights_only=True, mmap=mmap)
            assert found["rest"] == [1, 2.5, None, (True, b"ab"), {1, 2}, torch.Size([2]), torch.float64, Counter("aab")]
            for name, value in state.items():
                other = found["state"][name]
                assert torch.equal(other, torch.from_numpy(value.detach().numpy()))
                assert type(other).__name__ == type(value).__name__
                assert (other.stride(), other.storage_offset(), other.requires_grad) == (
                    value.stride(), value.storage_offset(), value.requires_grad)
            assert found["state"]["slice"].untyped_storage().data_ptr() == found["state"]["base"].data_ptr()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_strides_of_all_kinds(data: st.DataObject) -> None:
    """as_strided of a random kind comes and goes with its storage."""
    torch = pytest.importorskip("torch")
    size = data.draw(st.lists(st.integers(0, 4), max_size=4))
    stride = data.draw(st.lists(st.integers(0, 7), min_size=len(size), max_size=len(size)))
    offset = data.draw(st.integers(0, 3))
    x = torch.arange(100.0).as_strided(size, stride, offset)
    file = io.BytesIO()
    torch.save([x, x.clone()], file)
    found = load(file.getvalue())
    assert [f.tolist() for f in found] == [x.tolist(), x.tolist()]
    back = io.BytesIO()
    gg.save(found, back)
    assert torch.load(io.BytesIO(back.getvalue()))[0].tolist() == x.tolist()
    if x.numel() and 0 not in stride:
        assert found[0].storage_offset() == offset


def test_what_pytorch_has_beside(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    for bad, what in ((torch.eye(2).to_sparse(), "sparse"), (torch.ones(2, dtype=torch.complex64), "complex64"),
                      (torch.empty(2, device="meta"), "meta"), (torch.nn.Linear(1, 1), "Unsupported global: GLOBAL torch.nn"),
                      (torch.ones(2).untyped_storage(), "storage without"),
                      (torch.ones(2).to(torch.float8_e5m2), "float8_e5m2")):
        torch.save(bad, tmp_path / "x.pt")
        with pytest.raises(WeightsError, match=what):
            gg.load(tmp_path / "x.pt", dtype=gg.float32)
    x = torch.ones(2)
    x.label = "a user's"
    torch.save({"x": x, "kind": torch.bfloat16, "wide": torch.arange(3).to(torch.uint32)}, tmp_path / "x.pt")
    found = gg.load(tmp_path / "x.pt", dtype=gg.float32)
    assert found["x"].tolist() == [1, 1] and repr(found["kind"]) == "torch.bfloat16" and found["wide"].dtype == gg.int64


def test_safetensors_reads_what_is_written(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    gg.save(states(), tmp_path / "x.safetensors", metadata={"a": "ü"})
    found = numpy.load_file(tmp_path / "x.safetensors")
    for name, value in contents().items():
        assert (found[name] == value).all() and found[name].dtype == value.dtype
    with numpy.safe_open(tmp_path / "x.safetensors", "numpy") as file:
        assert file.metadata() == {"a": "ü"}
