"""Looking at values, and conversions: item, tolist, numpy, bool, float, dtypes, copies, pickling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradgen.eager import internal
from gradgen.eager.device import Device, contiguous_format, device, strided
from gradgen.eager.layouts import is_contiguous, layout, strides_of
from gradgen.eager.printing import tensor_type_name
from gradgen.eager.services import services
from gradgen.eager.tensor import Tensor
from gradgen.errors import TraceError
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ops.requirements import possible_sizes
from gradgen.record.records import is_traced
from gradgen.record.user_lines import users_line


def refuse_trace(tensor: Tensor, what: str) -> None:
    """TraceError, naming the user's line, where the tensor has no value because it is part of a trace."""
    record = tensor._record
    if record.value is not None or not is_traced(record):
        return
    raise TraceError(
        f"{what} looks at the value of a tensor, which has none while the function is traced",
        where=users_line(),
        hint="use where() or masked operations instead of Python's if, gg.scan instead of a loop that runs until a value "
        "is reached, and return the tensor to look at it later",
    )


def refuse_hook(tensor: Tensor) -> None:
    """TraceError where the tensor is part of a trace: what is emitted from it runs no Python."""
    record = tensor._record
    if record.value is None and is_traced(record):
        raise TraceError("a hook on a tensor that is traced would never run", where=users_line(),
                         hint="change the gradient by operations: x.detach() + 2 * (x - x.detach()) doubles it, for example")


def _single(self: Tensor, what: str, error: type[Exception], message: str) -> Any:
    refuse_trace(self, what)
    if self.numel() != 1:
        raise error(message)
    return self._value().reshape(()).item()


def item(self: Tensor) -> bool | int | float:
    """The value of a one-element tensor as a Python number.  RuntimeError for any other number of elements."""
    return _single(self, "item()", RuntimeError, f"a Tensor with {self.numel()} elements cannot be converted to Scalar")


def tolist(self: Tensor) -> Any:
    """The values as nested lists, a number for a 0-d tensor."""
    refuse_trace(self, "tolist()")
    return self._value().tolist()


def to_bool(self: Tensor) -> bool:
    refuse_trace(self, "a truth value (if, while, and, or, not, bool())")
    n = self.numel()
    if n == 0:
        raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
    if n > 1:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
    return bool(self._value().reshape(()).item())


_ONE = "only one element tensors can be converted to Python scalars"


def to_float(self: Tensor) -> float:
    return float(_single(self, "float()", ValueError, _ONE))


def to_int(self: Tensor) -> int:
    return int(_single(self, "int()", ValueError, _ONE))


def to_complex(self: Tensor) -> complex:
    return complex(_single(self, "complex()", ValueError, _ONE))


def to_index(self: Tensor) -> int:
    refuse_trace(self, "an index")
    if self.numel() != 1 or self.dtype.is_floating_point:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(self._value().reshape(()).item())


def length(self: Tensor) -> int:
    if not self.ndim:
        raise TypeError("len() of a 0-d tensor")
    extent = self._spec.shape[0]
    if not isinstance(extent, int):
        sizes = possible_sizes(extent)
        if sizes is not None and len(sizes) == 1:
            return sizes[0]
        raise TraceError(
            f"len() of a tensor whose first extent is the named dimension {extent}",
            hint="a Python loop needs a number; use operations over the whole axis, or gg.scan",
        )
    return extent


def iterate(self: Tensor) -> Iterator[Tensor]:
    if not self.ndim:
        raise TypeError("iteration over a 0-d tensor")
    length(self)
    return iter(self.unbind(0))  # type: ignore[attr-defined]


def contains(self: Tensor, element: Any) -> bool:
    """Whether any element equals the given number or 0-d tensor."""
    if not isinstance(element, (Tensor, bool, int, float)):
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")
    return bool((self == element).any())  # type: ignore[attr-defined]


# --- NumPy --------------------


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """An array that shares memory with the tensor: a change of either is seen by the other.

    RuntimeError for a tensor that requires a gradient, unless `force`.
    """
    if force:
        return numpy(self.detach())
    if self.requires_grad:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    refuse_trace(self, "numpy()")
    return shared_array(self)


def shared_array(self: Tensor) -> np.ndarray:
    """The memory of the tensor, as an array with its shape and strides."""
    whole = self._cell.export()
    if self._chain is None:
        return whole
    found = layout(self._cell.spec, self._chain, self._cell.strides)
    if found is None:
        return np.array(self._value())
    flat = np.lib.stride_tricks.as_strided(whole, (whole.size,), (whole.itemsize,))
    if 0 in self.shape:
        return np.zeros(self.shape, self.dtype.numpy)
    strides = [s * whole.itemsize for s in found.strides]
    return np.lib.stride_tricks.as_strided(flat[found.offset :], self.shape, strides)


def as_array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """NumPy's `__array__`."""
    array = numpy(self)
    if dtype is not None and np.dtype(dtype) != array.dtype:
        if copy is False:
            raise ValueError("a conversion of dtype needs a copy")
        return array.astype(dtype)
    return array.copy() if copy else array


def dlpack(self: Tensor, **options: Any) -> Any:
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    return numpy(self).__dlpack__(**options)


def dlpack_device(self: Tensor) -> tuple[int, int]:
    return (1, 0)


# --- dtypes, devices, copies --------------------


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In another dtype: `to(dtype)`, `to(other)`, `to(device, dtype)`; the tensor itself where nothing changes."""
    target, copy = _target(self, args, kwargs)
    if target is self.dtype:
        return internal.clone(self) if copy else self
    return internal.to_dtype(self, target)


def _target(self: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[DType, bool]:
    found = kwargs.get("dtype") or self.dtype
    copy = bool(kwargs.get("copy", False))
    if kwargs.get("device") is not None:
        device(kwargs["device"])
    for position, arg in enumerate(args):
        if isinstance(arg, Tensor):
            found = arg.dtype
        elif isinstance(arg, bool):
            copy = copy or (arg and position == len(args) - 1 and position > 1)
        elif isinstance(arg, (str, Device)) and not _names_dtype(arg):
            device(arg)
        elif arg is not None:
            found = dtypes.dtype(arg)
    return dtypes.dtype(found), copy


def _names_dtype(value: Any) -> bool:
    return isinstance(value, str) and value in {d.name for d in dtypes.ALL}


def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The type's name, or the tensor in another dtype."""
    if dtype is None:
        return tensor_type_name(self.dtype)
    if isinstance(dtype, str):
        by_name = {tensor_type_name(d): d for d in dtypes.ALL}
        if dtype not in by_name:
            raise ValueError(f"invalid type: '{dtype}'")
        return internal.to_dtype(self, by_name[dtype])
    return internal.to_dtype(self, dtypes.dtype(dtype))


def clone(self: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with storage of its own, row-major where the format is `contiguous_format`; the gradient passes."""
    copy = internal.clone(self)
    if memory_format is contiguous_format:
        copy._cell.strides = None
    return copy


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself where it is row-major, a copy otherwise."""
    return self if is_contiguous(self) else clone(self, memory_format=contiguous_format)


def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself: all tensors are in the machine's own memory."""
    return self


def stride(self: Tensor, dim: int | None = None) -> Any:
    """The strides in elements, all or that of one axis."""
    found = strides_of(self)
    return found if dim is None else found[dim]


def data_ptr(self: Tensor) -> int:
    """A number that is equal for tensors that begin at the same place of the same storage."""
    found = layout(self._cell.spec, self._chain or (), self._cell.strides)
    return id(self._cell) + self.dtype.itemsize * (found.offset if found is not None else 0)


def storage_offset(self: Tensor) -> int:
    """Where in its storage the tensor begins, in elements."""
    found = layout(self._cell.spec, self._chain or (), self._cell.strides)
    return found.offset if found is not None else 0


def deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """A leaf with a copy of value and gradient.  RuntimeError for a tensor that an operation made."""
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  If "
            "you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, see "
            "https://github.com/pytorch/pytorch/pull/103001"
        )
    if id(self) in memo:
        return memo[id(self)]
    copy = object.__new__(type(self))
    storage = memo.get(id(self._cell))  # tensors that share storage have copies that share theirs
    if storage is None:
        storage = memo[id(self._cell)] = type(self._cell)(self._cell.current())
    copy._cell, copy._chain = storage, self._chain
    copy._requires = self._requires
    if self._grad is not None:
        copy._grad = deepcopy(self._grad, memo)
    for name, value in self.__dict__.items():
        if not name.startswith("_"):
            copy.__dict__[name] = value
    memo[id(self)] = copy
    return copy


def reduce_ex(self: Tensor, protocol: Any) -> Any:
    if not self.is_leaf:
        raise RuntimeError("Cannot pickle a tensor that an operation made; use detach() first.")
    return _rebuild, (type(self), np.array(self._value()), self.dtype, self._requires)


def _rebuild(cls: type, array: np.ndarray, dtype: DType, requires_grad: bool) -> Tensor:
    made = Tensor._of(array, dtype, requires_grad)
    tensor = object.__new__(cls)
    tensor.__dict__.update(made.__dict__)
    return tensor


def _caster(dtype: DType) -> Any:
    def method(self: Tensor, memory_format: Any = None) -> Tensor:
        return internal.to_dtype(self, dtype)

    method.__doc__ = f"The tensor in {dtype.name}."
    return method


METHODS: dict[str, Any] = {
    "item": item,
    "tolist": tolist,
    "__bool__": to_bool,
    "__float__": to_float,
    "__int__": to_int,
    "__complex__": to_complex,
    "__index__": to_index,
    "__len__": length,
    "__iter__": iterate,
    "__contains__": contains,
    "numpy": numpy,
    "__array__": as_array,
    "__dlpack__": dlpack,
    "__dlpack_device__": dlpack_device,
    "to": to,
    "type": type_,
    "clone": clone,
    "contiguous": contiguous,
    "cpu": cpu,
    "stride": stride,
    "data_ptr": data_ptr,
    "storage_offset": storage_offset,
    "is_contiguous": lambda self, memory_format=None: is_contiguous(self),
    "__deepcopy__": deepcopy,
    "__reduce_ex__": reduce_ex,
    "element_size": lambda self: self.dtype.itemsize,
    "float": _caster(dtypes.float32),
    "double": _caster(dtypes.float64),
    "long": _caster(dtypes.int64),
    "int": _caster(dtypes.int32),
    "bool": _caster(dtypes.bool_),
    "type_as": lambda self, other: internal.to_dtype(self, other.dtype),
    "is_floating_point": lambda self: self.dtype.is_floating_point,
    "is_complex": lambda self: False,
    "is_signed": lambda self: self.dtype.is_signed,
    "get_device": lambda self: -1,
}
PROPERTIES: dict[str, Any] = {
    "device": lambda self: device("cpu"),
    "itemsize": lambda self: self.dtype.itemsize,
    "nbytes": lambda self: self.dtype.itemsize * self.numel(),
    "is_cuda": lambda self: False,
    "is_cpu": lambda self: True,
    "is_sparse": lambda self: False,
    "is_quantized": lambda self: False,
    "is_meta": lambda self: False,
    "layout": lambda self: strided,
}

services.refuse_hook = refuse_hook
