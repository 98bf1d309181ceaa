"""The compiled part of a generated module: loading it, and taking arrays to it and back.

This file is the same in every generated package and needs NumPy and cffi.  Arrays of the right dtype that are
C-contiguous go to C without a copy; anything else that can be read as such an array without loss is converted.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

ABI_VERSION = 1
ALIGN = 64
SMALL = 16384
"""Results of at most this many bytes are copied out of one kept array: cheaper than a pointer to a fresh one."""

NO_FORWARD, GRAPH_FREED, BAD_INDEX = 4, 5, 7
STATUS = {
    1: "NULL where a value is needed",
    2: "a dimension is out of range or differs from forward's",
    3: "a buffer is not aligned",
    NO_FORWARD: "no forward() of this module came before backward()",
    GRAPH_FREED: "Trying to backward through the graph a second time (or directly access saved tensors after they have "
    "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
    "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need "
    "to access saved tensors after calling backward.",
    6: "the compiled module and its Python package were made for different ABI numbers",
    BAD_INDEX: "index out of range",
    8: "a store is torn, or of another trainer",
}
NO_IMPLICIT_GRADIENT = "grad can be implicitly created only for scalar outputs"
NEVER = object()  # identical to nothing a caller can pass


class Tensor(NamedTuple):
    """An input or output: extents are ints, names of dimensions, or expressions over them."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    requires_grad: bool = False
    formula: str = ""

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class Condition(NamedTuple):
    """What the dimensions must satisfy: `text` is Python over them, `where` the user's line that asks for it.

    `error` and `message` say how the original refuses other dimensions; text and expressions take turns in `message`.
    """

    text: str
    where: str
    error: str
    message: tuple[str, ...]


class Info(NamedTuple):
    """What a generated package says about itself, as `package.info`."""

    name: str
    digest: str
    generator: str
    abi: int
    dims: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    differentiable: bool
    options: tuple[tuple[str, str], ...] = ()
    conditions: tuple[Condition, ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()  # small ones that satisfy the conditions, where there are any
    draws: bool = False  # random numbers: every call takes a seed and a step
    states: tuple[tuple[str, str], ...] = ()  # an input, and the output that is its value in the next call
    names: Mapping[str, str] = {}  # of a model's parameters and buffers: path -> input
    state_dict: tuple[str, ...] = ()  # the model's paths in PyTorch's order; those of `names` beside are not persistent
    aliases: Mapping[str, str] = {}  # further paths of tied parameters -> the first path
    unused: tuple[Tensor, ...] = ()  # what of the state_dict the program does not read, by path

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The inputs that have gradients."""
        return tuple(t for t in self.inputs if t.requires_grad)

    @property
    def held(self) -> tuple[Tensor, ...]:
        """The inputs that a Module keeps: parameters, then states, then what else belongs to the model."""
        states, named = dict(self.states), {*self.names.values()}
        rest = [t for t in self.inputs if not t.requires_grad]
        return (*self.parameters, *[t for t in rest if t.name in states],
                *[t for t in rest if t.name in named and t.name not in states])  # fmt: skip

    @property
    def differentiable_outputs(self) -> tuple[Tensor, ...]:
        return tuple(t for t in self.outputs if t.requires_grad)


class Plan(NamedTuple):
    """Everything that follows from the values of the dimensions."""

    dims: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    saved_bytes: int
    work_bytes: int


# --- loading ---------------------------------------------------------------------------------------------------------


def load(package: str, folder: str, info: Info) -> Native:
    """The compiled part of a generated package, built first where it is missing or made from other sources.

    Raises ImportError, with what to do, when that is not possible.
    """
    extension = f"_{info.name}_cffi"
    known = f"{package}.{extension}" in sys.modules  # gradgen.build puts it there itself
    if not known and not os.path.isdir(folder):
        what = f"{package} is inside of an archive ({folder}), where its compiled part can be neither built nor loaded"
        raise ImportError(f"{what}: unpack it into a folder", name=package)
    if not known and not _is_current(folder, extension, info.digest):
        _build(package, folder, info)
        importlib.invalidate_caches()
    try:
        module = importlib.import_module(f"{package}.{extension}")
    except ModuleNotFoundError as error:
        if error.name == "_cffi_backend":
            raise ImportError(f"{package} needs cffi: pip install cffi", name=package) from error
        raise
    if int(dict(info.options).get("threads", "0")) > 1:
        _threads_end_before_fork(module.__file__)
    return Native(module.ffi, module.lib, info)


def _threads_end_before_fork(extension: str) -> None:
    """A forked process has no threads but knows of them, and its first parallel loop would wait for them: whoever forks
    lets OpenMP's go before, and gets new ones at the next loop."""
    import ctypes

    pause = getattr(ctypes.CDLL(extension), "omp_pause_resource_all", None)  # of the OpenMP that it is linked with
    if pause is not None and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lambda: pause(1))  # omp_pause_soft


def _is_current(folder: str, extension: str, digest: str) -> bool:
    """Whether an extension for this Python is there and was compiled from these sources: they contain the digest."""
    from importlib.machinery import EXTENSION_SUFFIXES

    for suffix in EXTENSION_SUFFIXES:
        try:
            with open(os.path.join(folder, f"{extension}{suffix}"), "rb") as file:
                return digest.encode() in file.read()
        except OSError:
            continue
    return False


def _build(package: str, folder: str, info: Info) -> None:
    from pathlib import Path  # takes longer to import than all the rest of this file

    command = f"{Path(sys.executable).name} -m {package}._build"
    try:
        build = importlib.import_module(f"{package}._build")
        build.build_here(Path(folder), "native")
    except Exception as error:
        what = f"{package} is not compiled for this Python, and compiling it failed"
        raise ImportError(f"{what}:\n{error}\nto try again by hand: {command}", name=package) from error


# --- arrays ----------------------------------------------------------------------------------------------------------


class Native:
    """The C functions of one module with what Python must know to call them."""

    def __init__(self, ffi: Any, lib: Any, info: Info) -> None:
        self.ffi, self.lib, self.info = ffi, lib, info
        self._check_abi()
        element = {"bool": "uint8_t", "int32": "int32_t", "int64": "int64_t", "float32": "float", "float64": "double"}
        types = {*element, *(t.dtype for t in (*info.inputs, *info.outputs))}
        self._arrays = {np.dtype(n): ffi.typeof(f"{element.get(n, 'char')}[]") for n in types}  # char: C declares void *
        self.dtypes = {t.name: np.dtype(t.dtype) for t in (*info.inputs, *info.outputs)}
        self.slots = [(self.dtypes[t.name], self._arrays[self.dtypes[t.name]]) for t in info.inputs]
        self._plans: dict[tuple[int, ...], Plan] = {}
        self._binders = [self._binder(d) for d in info.dims]
        self.Outputs: Any = namedtuple("Outputs", [t.name for t in info.outputs])  # type: ignore[misc]
        self.Gradients: Any = namedtuple("Gradients", [t.name for t in info.parameters])  # type: ignore[misc]
        self.parameters, self.seeded = info.parameters, info.differentiable_outputs
        self.held = info.held
        place = {t.name: k for k, t in enumerate(info.inputs)}
        self.held_positions = [place[t.name] for t in self.held]
        held = {*self.held_positions}
        self.parameter_positions = self.held_positions[: len(self.parameters)]
        self.data_positions = [k for k in place.values() if k not in held]
        self._name_held()
        self.seeded_positions = [k for k, t in enumerate(info.outputs) if t in self.seeded]
        self.following = {new for _, new in info.states}
        own = [t.name for t in info.outputs if t.name not in self.following]
        self.own: Any = _taken(own)
        self.forward = self.function("forward")
        if info.differentiable:
            self.backward = self.function("backward")
            self.value_and_grad = self.function("value_and_grad")

    def _name_held(self) -> None:
        """`labels`, the name in a state_dict of what is held; `entries`, the places of a state_dict's names, None for those
        of values that are not used; `keys`, the same with the names of buffers that are not persistent."""
        info = self.info
        self._places = {t.name: k for k, t in enumerate(self.held)}
        known: dict[str, int | None] = {p: self._places[n] for p, n in info.names.items()}
        known |= {p: known[of] for p, of in info.aliases.items()}
        self.unused = {t.name: t for t in info.unused}
        known |= dict.fromkeys(self.unused)
        paths = {n: p for p, n in info.names.items()}
        self.labels = [paths.get(t.name, t.name) for t in self.held]
        others: dict[str, int | None] = {t.name: k for k, t in enumerate(self.held) if t.name not in paths}
        own = {n: k for n, k in others.items() if k is not None and k < len(self.parameters)}
        self.entries = own | {p: known[p] for p in info.state_dict} | others
        self.keys = self.entries | known
        self.replaced = [(self._places[old], new) for old, new in info.states]

    def index(self, name: str) -> int:
        """The place among what is held of a path of the model, or of a name in C.  Raises KeyError."""
        k = self.keys.get(name, self._places.get(name))
        if k is None:
            raise KeyError(f"{self.info.name} has no {name!r}: it has {', '.join(self.keys)}")
        return k

    def function(self, suffix: str) -> Callable[..., int]:
        return getattr(self.lib, f"{self.info.name}_{suffix}")  # type: ignore[no-any-return]

    def _check_abi(self) -> None:
        record = getattr(self.lib, f"{self.info.name}_module")()
        digest = self.ffi.string(record.digest).decode()
        if record.abi_version != ABI_VERSION or digest != self.info.digest:
            raise ImportError(
                f"the compiled part of {self.info.name} that this process has loaded (ABI {record.abi_version}, "
                f"{digest}) belongs to other sources (ABI {ABI_VERSION}, {self.info.digest}): start Python anew; if that "
                "does not help, the files in the folder are of two modules: write the bundle again"
            )

    def _binder(self, dim: str) -> tuple[int, int]:
        """An input and axis that tell the value of a dimension."""
        for position, tensor in enumerate(self.info.inputs):
            if dim in tensor.shape:
                return position, tensor.shape.index(dim)
        raise ImportError(f"no input of {self.info.name} has dimension {dim}")

    def plan(self, dims: tuple[int, ...]) -> Plan:
        """The cached Plan for these dimensions.  Raises ValueError where they are out of range, and what eager use raises
        where the program asks for others."""
        found = self._plans.get(dims)
        if found is None:
            found = self._make_plan(dims)
            if len(self._plans) >= 256:
                self._plans.clear()
            self._plans[dims] = found
        return found

    def _make_plan(self, dims: tuple[int, ...]) -> Plan:
        values = dict(zip(self.info.dims, dims, strict=True))
        for condition in self.info.conditions:
            if min(dims) >= 0 and not evaluate(condition.text, values):
                raise self.refusal(condition, values)
        saved, work = self.function("saved_bytes")(*dims), self.function("work_bytes")(*dims)
        if saved > sys.maxsize or work > sys.maxsize:
            raise ValueError(f"{self.info.name}: dimensions out of range: {values}")
        shapes = [tuple(extent(e, values) for e in t.shape) for t in (*self.info.inputs, *self.info.outputs)]
        count = len(self.info.inputs)
        return Plan(dims, tuple(shapes[:count]), tuple(shapes[count:]), saved, work)

    def refusal(self, condition: Condition, values: Mapping[str, int]) -> Exception:
        """The exception that eager use raises for these dimensions, in its words."""
        known: tuple[type[Exception], ...] = (IndexError, NotImplementedError, RuntimeError, ValueError)
        kinds = {k.__name__: k for k in known}
        text = "".join([str(evaluate(p, values)) if k % 2 else p for k, p in enumerate(condition.message)])
        error = kinds.get(condition.error, ValueError)(text)
        where = f", asked for by {condition.where}" if condition.where else ""
        given = ", ".join([f"{k} is {v}" for k, v in values.items()])
        error.add_note(f"{self.info.name} needs {condition.text}{where}; {given}")
        return error

    def bind(self, arrays: Sequence[np.ndarray]) -> Plan:
        """The Plan that fits the arrays' shapes.  Raises ValueError that names the argument that does not fit."""
        try:
            dims = tuple([arrays[k].shape[axis] for k, axis in self._binders])
        except IndexError:  # a dimension is missing
            raise self._shape_error(arrays) from None
        plan = self.plan(dims)
        for array, shape in zip(arrays, plan.inputs, strict=True):
            if array.shape != shape:
                raise self._shape_error(arrays)
        return plan

    def _shape_error(self, arrays: Sequence[np.ndarray]) -> ValueError:
        values: dict[str, int] = {}
        owner: dict[str, str] = {}
        for tensor, array in zip(self.info.inputs, arrays, strict=True):
            expected = f"{self.info.name}: {tensor.name} must have shape {list(tensor.shape)}"
            came = f"not {list(array.shape)}"
            if len(tensor.shape) != array.ndim:
                return ValueError(f"{expected}, {came}".replace("'", ""))
            for wanted, size in zip(tensor.shape, array.shape, strict=True):
                if isinstance(wanted, str) and wanted.isidentifier() and wanted not in values:
                    values[wanted], owner[wanted] = size, tensor.name
                elif extent(wanted, values) != size:
                    known = isinstance(wanted, str) and wanted in values
                    why = f" ({wanted} is {values[str(wanted)]} from {owner[str(wanted)]})" if known else ""
                    return ValueError(f"{expected}{why}, {came}".replace("'", ""))
        return ValueError(f"{self.info.name}: dimensions out of range: {values}")

    def array(self, tensor: Tensor, value: Any) -> np.ndarray:
        """`value` as a C-contiguous array of the tensor's dtype: itself where it is one, else a lossless copy.

        Raises TypeError that names the argument where the conversion could lose something.
        """
        dtype = self.dtypes[tensor.name]
        if type(value) is np.ndarray and value.dtype is dtype:
            flags = value.flags
            if flags.c_contiguous and flags.aligned:
                return value
        return convert(f"{self.info.name}: {tensor.name}", value, dtype)

    def pointer(self, array: np.ndarray) -> Any:
        """A cffi pointer to the elements, which keeps the array alive."""
        return self.ffi.from_buffer(self._arrays[array.dtype], array)

    def reads_in_place(self, gradient: Any) -> bool:
        """Whether an incoming gradient is absent or an array that C reads where it is."""
        if gradient is None:
            return True
        if type(gradient) is not np.ndarray or not gradient.ndim or len(self.seeded) != 1:
            return False
        flags = gradient.flags
        return gradient.dtype is self.dtypes[self.seeded[0].name] and flags.c_contiguous and flags.aligned

    def writable(self, tensor: Tensor, shape: tuple[int, ...], value: Any, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Checks an array that C is to write: exactly the dtype, shape and layout, and no memory shared with inputs."""
        name, dtype = f"{self.info.name}: the array for {tensor.name}", self.dtypes[tensor.name]
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{name} must be a NumPy array, not {type(value).__name__}")
        if value.dtype != dtype or not value.dtype.isnative:
            raise TypeError(f"{name} must have dtype {dtype}, not {value.dtype}")
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {list(shape)}, not {list(value.shape)}")
        if not (value.flags.c_contiguous and value.flags.writeable and value.flags.aligned):
            raise ValueError(f"{name} must be C-contiguous, aligned and writable")
        if any(np.may_share_memory(value, other) for other in inputs):
            raise ValueError(f"{name} overlaps another argument")
        return value

    def fail(self, status: int) -> Exception:
        """The exception for a status code, in PyTorch's type and words where it has them."""
        text = STATUS.get(status, f"unknown status {status}")
        if status == GRAPH_FREED:
            return RuntimeError(text)
        if status == BAD_INDEX:
            names = [t.name for t in self.info.inputs if t.dtype in ("int32", "int64")]
            return IndexError(f"{self.info.name}: {text} in {' or '.join(names)}")
        return RuntimeError(f"{self.info.name}: {text}")


def _taken(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Any]:
    """Makes what a function returns of values by name: the only one, or a named tuple."""
    if len(names) == 1:
        return lambda values: values[names[0]]
    kind: Any = namedtuple("Outputs", names)  # type: ignore[misc]
    return lambda values: kind(**values)


def extent(value: int | str, dims: Mapping[str, int]) -> int:
    """The number that an extent stands for."""
    if isinstance(value, int):
        return value
    return dims[value] if value in dims else int(evaluate(value, dims))


def evaluate(text: str, dims: Mapping[str, int]) -> int | bool:
    """What an expression over the dimensions comes to."""
    return eval(text, {"__builtins__": {}, "max": max, "min": min}, dict(dims))  # type: ignore[no-any-return]


def convert(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """A C-contiguous native array of `dtype` from anything array-like, without loss; shared memory where possible.

    Python numbers have no dtype of their own and become `dtype` as in `torch.tensor`; arrays must be of a dtype of
    which every value exists in `dtype`.  Raises TypeError otherwise, with `name` in it.
    """
    plain = isinstance(value, bool | int | float | list | tuple)
    try:
        if not (hasattr(value, "__array__") or plain) and hasattr(value, "__dlpack__"):
            array = np.from_dlpack(value)
        else:
            array = np.asarray(value)
    except Exception as error:
        raise TypeError(f"{name} cannot be read as an array of {dtype} from {type(value).__name__}: {error}") from error
    fits = _rank(array.dtype) <= _rank(dtype) if plain else np.can_cast(array.dtype, dtype, "safe")
    if not fits:
        came = f"a {type(value).__name__} of {array.dtype}" if plain else f"{array.dtype}"
        how = f"give numbers that fit {dtype}" if plain else f"convert it with {name.split()[-1]}.astype('{dtype}')"
        raise TypeError(f"{name} must be {dtype}, not {came}; {how}")
    try:
        return np.require(array, dtype, ["C", "A"]) if array.ndim else np.array(array, dtype)
    except (OverflowError, ValueError) as error:
        raise TypeError(f"{name} must be {dtype}: {error}") from error


def readable(value: Any) -> np.ndarray | None:
    """A tensor of any library, or an array, as an array that shares its memory where that can be; None for anything else."""
    if not (hasattr(value, "__array__") or hasattr(value, "__dlpack__")):
        return None
    value = value.detach() if hasattr(value, "detach") else value
    value = value.cpu() if hasattr(value, "cpu") else value
    try:
        return np.asarray(value) if hasattr(value, "__array__") else np.from_dlpack(value)
    except TypeError:  # a type that NumPy has not
        return np.asarray(value.float()) if hasattr(value, "float") else None


def _rank(dtype: np.dtype) -> int:
    """Category of numbers: bool below integers below floating point."""
    return {"b": 0, "i": 1, "u": 1, "f": 2}.get(dtype.kind, 3)


class Block:
    """A piece of memory aligned for C that grows when asked and never shrinks."""

    __slots__ = ("_ffi", "_memory", "capacity", "pointer")

    def __init__(self, ffi: Any) -> None:
        self._ffi, self._memory, self.capacity, self.pointer = ffi, np.empty(0, np.uint8), 0, ffi.NULL

    def reserve(self, size: int) -> Any:
        """A pointer to at least `size` bytes; NULL for none.  The content is lost when the block grows."""
        if size > self.capacity:
            self._memory = memory = np.empty(size + ALIGN, np.uint8)
            address = int(self._ffi.cast("uintptr_t", self._ffi.from_buffer(memory)))
            self.pointer = self._ffi.cast("void *", -(-address // ALIGN) * ALIGN)
            self.capacity = size
        return self.pointer


class Results:
    """Where C writes one kind of result: a kept array where it is small, a fresh one per call where it is large."""

    __slots__ = ("_kept", "_native", "_pointers", "_tensors", "shapes", "small")

    def __init__(self, native: Native, tensors: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> None:
        self._native, self._tensors, self.shapes = native, tensors, shapes
        self._kept = [
            np.empty(shape, native.dtypes[tensor.name]) if _bytes(tensor, shape) <= SMALL else None
            for tensor, shape in zip(tensors, shapes, strict=True)
        ]
        self.small = all([kept is not None for kept in self._kept])
        self._pointers = tuple([None if kept is None else native.pointer(kept) for kept in self._kept])

    def point(self) -> tuple[tuple[Any, ...], Sequence[Any]]:
        """Pointers for one call, and the arrays behind them."""
        if self.small:
            return self._pointers, self._kept
        native = self._native
        arrays = [
            np.empty(shape, native.dtypes[tensor.name]) if kept is None else kept
            for kept, tensor, shape in zip(self._kept, self._tensors, self.shapes, strict=True)
        ]
        return tuple([p or native.pointer(a) for p, a in zip(self._pointers, arrays, strict=True)]), arrays

    def hand_out(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the caller may keep."""
        return [a if kept is None else kept.copy() for a, kept in zip(arrays, self._kept, strict=True)]

    def taker(self, make: Any, single: bool = False) -> Callable[[], Any]:
        """A function that hands out results which are all small, as a named tuple; a `single` one by itself."""
        copies = [kept.copy for kept in self._kept if kept is not None]
        if single and len(copies) == 1:
            return copies[0]
        new = tuple.__new__
        if len(copies) == 2:
            first, second = copies
            return lambda: new(make, (first(), second()))
        return lambda: new(make, [copy() for copy in copies])


def _bytes(tensor: Tensor, shape: tuple[int, ...]) -> int:
    size = np.dtype(tensor.dtype).itemsize
    for extent in shape:
        size *= extent
    return size


def named(native: Native, what: str, names: Sequence[str], value: Any) -> list[Any]:
    """One entry per name from a tuple, a mapping, or for a single name the thing itself; None where absent."""
    if value is None:
        return [None] * len(names)
    if isinstance(value, Mapping):
        unknown = [k for k in value if k not in names]
        if unknown:
            raise TypeError(f"{native.info.name}: {what} has no {unknown[0]!r}: it has {', '.join(names)}")
        return [value.get(n) for n in names]
    if len(names) == 1 and not (isinstance(value, tuple) and len(value) == 1):
        return [value]
    if not isinstance(value, list | tuple) or len(value) != len(names):
        raise TypeError(f"{native.info.name}: {what} must be a tuple or a dict of {', '.join(names)}")
    return list(value)


def seeds(native: Native, gradient: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Pointers to incoming gradients, NULL where none was given.  Raises RuntimeError as PyTorch does."""
    tensors = native.seeded
    given = named(native, "gradient", [t.name for t in tensors], gradient)
    shapes = [shapes[k] for k in native.seeded_positions]
    sizes = [_bytes(t, s) // np.dtype(t.dtype).itemsize for t, s in zip(tensors, shapes, strict=True)]
    if all(g is None for g in given) and 1 not in sizes:
        raise RuntimeError(NO_IMPLICIT_GRADIENT)
    pointers = []
    for tensor, shape, value in zip(tensors, shapes, given, strict=True):
        if value is None:  # C takes NULL for a scalar, and for any where there are several
            fill = bool(shape) and len(tensors) == 1
            pointers.append(native.pointer(np.ones(shape, tensor.dtype)) if fill else native.ffi.NULL)
            continue
        array = convert(f"{native.info.name}: gradient of {tensor.name}", value, native.dtypes[tensor.name])
        if array.shape != shape:
            raise RuntimeError(
                f"Mismatch in shape: the gradient of {tensor.name} has shape {list(array.shape)} and "
                f"{tensor.name} has shape {list(shape)}"
            )
        pointers.append(native.pointer(array))
    return pointers


def seed_values(info: Info, seeds: tuple[int, ...]) -> tuple[int, ...]:
    """Seed and step as C takes them, modulo 2^64.  Raises TypeError for what is no integer."""
    for name, value in zip(("seed", "step"), seeds, strict=False):
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{info.name}: {name} must be an integer, not {type(value).__name__}")
    return tuple([int(s) % 2**64 for s in seeds])


class Arguments:
    """The inputs of a call: arrays, pointers to them, and the Plan for their shapes.

    Remembers what came last, so that only arguments that are new are looked at.  An array that is remembered is kept
    alive, and NumPy does not reallocate an array in place while others refer to it; so its pointer stays good.
    """

    __slots__ = ("arrays", "head", "native", "plan", "pointers", "seeds", "seen")

    def __init__(self, native: Native) -> None:
        self.native = native
        self.seeds: tuple[int, ...] = ()  # seed and step, where the module draws random numbers
        self.forget()

    def forget(self) -> None:
        count = len(self.native.info.inputs)
        self.plan: Plan | None = None
        self.arrays: list[np.ndarray] = [None] * count  # type: ignore[list-item]
        self.pointers: list[Any] = [None] * count
        self.seen: Sequence[Any] = [NEVER] * count
        self.head: tuple[Any, ...] = ()  # dimensions, seeds and pointers, as all functions begin

    def bind(self, values: Sequence[Any]) -> Plan:
        """Sets `head` for these arguments.  Raises TypeError or ValueError that names what does not fit."""
        plan, native, seen = self.plan, self.native, self.seen
        self.seen = [NEVER] * len(values)  # until all is well
        if plan is None:
            return self._bind_anew(values)
        for k, value in enumerate(values):
            if value is not seen[k]:
                dtype, pointer_type = native.slots[k]
                if type(value) is not np.ndarray or value.dtype is not dtype or value.shape != plan.inputs[k]:
                    return self._bind_anew(values)
                flags = value.flags
                if not (flags.c_contiguous and flags.aligned):
                    return self._bind_anew(values)
                self.arrays[k] = value
                self.pointers[k] = native.ffi.from_buffer(pointer_type, value)
        self.seen = values
        self.head = (*plan.dims, *self.seeds, *self.pointers)
        return plan

    def _bind_anew(self, values: Sequence[Any]) -> Plan:
        native = self.native
        arrays = [native.array(t, v) for t, v in zip(native.info.inputs, values, strict=True)]
        self.plan = plan = native.bind(arrays)
        self.arrays, self.pointers = arrays, [native.pointer(a) for a in arrays]
        # only a NumPy array keeps its memory: a list, or another library's tensor, is looked at again
        self.seen = [v if a is v else NEVER for a, v in zip(arrays, values, strict=True)]
        self.head = (*plan.dims, *self.seeds, *self.pointers)
        return plan


def given_outputs(native: Native, out: Any, plan: Plan, inputs: Sequence[np.ndarray]) -> tuple[Any, ...]:
    """Pointers to the arrays of `out=`, checked; NULL where there is none."""
    given = named(native, "out", [t.name for t in native.info.outputs], out)
    checked = zip(native.info.outputs, plan.outputs, given, strict=True)
    null = native.ffi.NULL
    return tuple([null if g is None else native.pointer(native.writable(t, s, g, inputs)) for t, s, g in checked])


def one_or_all(native: Native, arrays: Sequence[np.ndarray]) -> Any:
    """What a function with one result, or with several, returns."""
    return arrays[0] if len(arrays) == 1 else native.Outputs._make(arrays)
