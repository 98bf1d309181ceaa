"""Creation: tensors from data, constants, ranges and random numbers, with PyTorch's dtypes, roundings and errors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy

import gradgen.eager.apply as recording
from gradgen.eager.device import device as device_of
from gradgen.eager.inplace import copy_
from gradgen.eager.internal import filled, to_dtype
from gradgen.eager.layouts import lying_as
from gradgen.eager.progressions import arange_values, linspace_values, logspace_values
from gradgen.eager.services import services
from gradgen.eager.tensor import Tensor
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.functions import eq, select
from gradgen.ir.nodes import Compute, Node
from gradgen.ir.symbols import as_extent, axis
from gradgen.ops.promotion import defaults, number_dtype
from gradgen.ops.registry import KEEP, Op
from gradgen.ops.shapes import exact
from gradgen.record.records import check_size, spec

PUBLIC = (
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "get_default_dtype",
    "is_tensor",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "scalar_tensor",
    "set_default_dtype",
    "tensor",
    "zeros",
    "zeros_like",
)
"""The names that users see."""

# --- defaults --------------------


def get_default_dtype() -> DType:
    """The dtype of Python floats."""
    return defaults.dtype


def set_default_dtype(d: Any) -> None:
    """Makes `d` the dtype of Python floats.  TypeError for one that is not floating."""
    kind = dtypes.dtype(d)
    if not kind.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    defaults.dtype = kind
    recording.forget_plans()


# --- from data --------------------


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A leaf with a copy of `data`: numbers, nested sequences, arrays, tensors."""
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        return make_leaf(np.array(data.detach()._value()), dtype or data.dtype, device, requires_grad)
    return _from_data(data, dtype, device, requires_grad)


def _from_data(data: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    if isinstance(data, (np.ndarray, np.generic)):
        array = np.array(data, order="C")
        if isinstance(data, np.ndarray):
            _check_native(data)
        return make_leaf(array, dtype or _array_dtype(array), device, requires_grad)
    if isinstance(data, (list, tuple, range)):
        shape = _shape_of(data)
        flat: list[Any] = []
        _flatten(data, shape, 0, flat)
        kind = dtypes.dtype(dtype) if dtype is not None else _kind_of(flat)
        try:
            array = np.array(flat, dtype=kind.numpy if kind.category != 0 else object)
        except OverflowError:
            raise ValueError("Overflow when unpacking long long") from None
        if kind.category == 0:
            array = array.astype(bool)
        return make_leaf(array.reshape(shape), kind, device, requires_grad)
    if isinstance(data, (bool, int, float)):
        kind = (
            dtypes.dtype(dtype)
            if dtype is not None
            else number_dtype(type(data) if type(data) in (bool, int, float) else float)
        )
        if kind is dtypes.int64 and isinstance(data, int) and not -(2**63) <= data < 2**63:
            raise ValueError("Overflow when unpacking long long")
        return make_leaf(np.array(data, kind.numpy), kind, device, requires_grad)
    if hasattr(data, "__array__"):
        return _from_data(np.asarray(data), dtype, device, requires_grad)
    if hasattr(data, "__dlpack__"):
        return _from_data(np.from_dlpack(data), dtype, device, requires_grad)
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")


def _check_native(array: np.ndarray) -> None:
    if not array.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion between byte "
            "orders is currently not supported."
        )


def _array_dtype(array: Any) -> DType:
    try:
        return dtypes.dtype(array.dtype)
    except TypeError:
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{array.dtype.type.__name__}. The only supported types are: float64, "
            "float32, int64, int32, and bool."
        ) from None


MOST_DIMENSIONS = 128
"""Of lists in lists; NumPy and PyTorch draw the line at the same order of magnitude."""


def _shape_of(data: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(data, (list, tuple, range)) or (isinstance(data, (np.ndarray, Tensor)) and data.ndim):
        if len(shape) == MOST_DIMENSIONS:  # a list that holds itself, for one
            raise ValueError(f"too many dimensions '{type(data).__name__}'")
        shape.append(len(data))
        if not len(data):
            break
        data = data[0]
    return tuple(shape)


def _flatten(data: Any, shape: tuple[int, ...], dim: int, flat: list[Any]) -> None:
    if dim == len(shape):
        if isinstance(data, (str, bytes)):
            raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
        if isinstance(data, (list, tuple)):
            raise TypeError(f"must be real number, not {type(data).__name__}")
        flat.append(data)
        return
    if not hasattr(data, "__len__"):
        raise TypeError(f"'{type(data).__name__}' object is not a sequence" if dim else "not a sequence")
    if len(data) != shape[dim]:
        raise ValueError(f"expected sequence of length {shape[dim]} at dim {dim} (got {len(data)})")
    for item in data:
        _flatten(item, shape, dim + 1, flat)


def _kind_of(flat: Sequence[Any]) -> DType:
    """The common dtype of numbers, NumPy scalars and 0-d tensors."""
    found: DType | None = None
    for value in flat:
        if isinstance(value, (bool, np.bool_)):
            kind = dtypes.bool_
        elif isinstance(value, int):
            kind = dtypes.int64
        elif isinstance(value, Tensor):
            kind = value.dtype
        elif isinstance(value, np.generic):
            kind = _array_dtype(value)
        elif isinstance(value, float) or hasattr(value, "__float__"):
            kind = get_default_dtype()
        else:
            raise RuntimeError(f"Could not infer dtype of {type(value).__name__}")
        found = kind if found is None else dtypes.promote(found, kind)
    return found or get_default_dtype()


def make_leaf(array: np.ndarray, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """A leaf over an array of its own."""
    kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
    if device is not None:
        device_of(device)
    if requires_grad and not kind.is_floating_point:
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    with np.errstate(all="ignore"):
        value = np.asarray(array, kind.numpy, order="C")
    result = Tensor._of(value, kind)
    result._requires = requires_grad
    result._inference = recording.state.inference
    return result


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor, without a copy where it is one, or an array of the right dtype."""
    if isinstance(data, Tensor):
        return data if dtype is None else to_dtype(data, dtypes.dtype(dtype))
    if isinstance(data, np.ndarray) and (dtype is None or dtypes.dtype(dtype).numpy == data.dtype):
        return from_numpy(data)
    return _from_data(data, dtype, device, False)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """`obj` as a tensor; `copy` True always copies."""
    made = (
        _from_data(obj, dtype, device, False) if copy and not isinstance(obj, Tensor) else as_tensor(obj, dtype, device)
    )
    if copy and isinstance(obj, Tensor) and made is obj:
        made = made.detach()._alone()
    return made.requires_grad_(setter=True) if requires_grad else made


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares memory with the array: a change of either is seen by the other."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    _check_native(ndarray)
    if any(s < 0 for s in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently "
            "supported. (You can probably work around this by making a copy of your array  with array.copy().) "
        )
    kind = _array_dtype(ndarray)
    made = Tensor._of(ndarray, kind)
    made._cell.share(ndarray)
    return made


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor that shares memory with any object that speaks DLPack."""
    array = np.from_dlpack(ext_tensor)
    return from_numpy(array) if array.flags.writeable else make_leaf(np.array(array), _array_dtype(array), None, False)


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-d tensor, floating by default."""
    kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
    return make_leaf(np.asarray(s, kind.numpy), kind, device, requires_grad)


# --- constants --------------------


def extents(size: tuple[Any, ...], function: str) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    found = []
    for k, e in enumerate(size):
        if isinstance(e, sympy.Expr):  # a named dimension, in a trace
            found.append(e)
            continue
        if isinstance(e, (bool, float, str)) or not hasattr(e, "__index__"):
            raise TypeError(
                f"{function}(): argument 'size' (position {k + 1}) must be tuple of ints, not {type(e).__name__}"
            )
        found.append(e.__index__())
    for e in found:
        if isinstance(e, int) and e < 0:
            raise RuntimeError(f"{function}: Dimension size must be non-negative.")
    check_size(tuple(found), dtypes.float64)
    return tuple(found)


def _generated(shape: tuple[Any, ...], dtype: DType, body: sympy.Expr) -> Node:
    return Compute(shape, body, [], dtype)


GENERATED = Op("generated", _generated, "", KEEP)


def in_trace(*extents_: Any) -> bool:
    """True where a size is a named dimension: the tensor is recorded then, not made."""
    return any(isinstance(e, sympy.Expr) and not e.is_Integer for e in extents_)


def generated(shape: tuple[Any, ...], kind: DType, body: Any, requires_grad: bool = False) -> Tensor:
    """A tensor whose elements follow from their index: `body` over i0, i1, ...."""
    body = exact(body) if isinstance(body, float) else sympy.sympify(body)
    result = recording.apply(GENERATED, (), {"shape": tuple(shape), "dtype": kind, "body": body})
    return result.requires_grad_(setter=True) if requires_grad else result


def _size(size: tuple[Any, ...], named: Any, function: str) -> tuple[int, ...]:
    return extents((named,) if named is not None else size, function)


def _filler(name: str, value: float) -> Any:
    def function(
        *given: Any,
        size: Any = None,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        memory_format: Any = None,
        out: Tensor | None = None,
    ) -> Tensor:
        kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
        shape = _size(given, size, name)
        if in_trace(*shape):
            return generated(shape, kind, int(value), requires_grad)
        return written(make_leaf(np.full(shape, value, kind.numpy), kind, device, requires_grad), out)

    def like(
        input: Tensor,
        *,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        memory_format: Any = None,
    ) -> Tensor:
        made = function(*like_shape(input), dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)
        return lying_as(made, input)

    function.__name__, function.__doc__ = name, f"A tensor of {name}, of the given size."
    like.__name__, like.__doc__ = f"{name}_like", f"A tensor of {name}, with the shape and dtype of `input`."
    return function, like


def like_shape(input: Tensor) -> tuple[int, ...]:
    return tuple(input.shape)


def written(result: Tensor, out: Tensor | None) -> Tensor:
    """Writes into `out=` where it is given."""
    if out is None:
        return result
    return copy_(out, result)


ones, _ones_like = _filler("ones", 1)
zeros, _zeros_like = _filler("zeros", 0)
empty, _empty_like = _filler("empty", 0)


def _traced_like(function: Any, value: int) -> Any:
    """`*_like` of a tensor whose extents are named dimensions is recorded, not computed."""

    def like(
        input: Tensor,
        *,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        memory_format: Any = None,
    ) -> Tensor:
        if all(type(e) is int for e in input._spec.shape):
            return function(input, dtype=dtype, device=device, requires_grad=requires_grad)
        return filled(spec(input._spec.shape, dtypes.dtype(dtype) if dtype is not None else input.dtype), value)

    like.__name__, like.__doc__ = function.__name__, function.__doc__
    return like


ones_like, zeros_like, empty_like = (
    _traced_like(_ones_like, 1),
    _traced_like(_zeros_like, 0),
    _traced_like(_empty_like, 0),
)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """A tensor of `fill_value`, whose dtype it takes unless given."""
    if isinstance(fill_value, Tensor):
        dtype, fill_value = dtype or fill_value.dtype, fill_value.item()  # type: ignore[attr-defined]
    kind = dtypes.dtype(dtype) if dtype is not None else number_dtype(type(fill_value))
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}")
    shape = extents((size,), "full")
    if in_trace(*shape):
        return generated(shape, kind, fill_value, requires_grad)
    return written(make_leaf(np.full(shape, fill_value, kind.numpy), kind, device, requires_grad), out)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of `fill_value`, with the shape and dtype of `input`."""
    made = full(like_shape(input), fill_value, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)
    return lying_as(made, input)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """Ones on the diagonal, n rows and m columns."""
    if in_trace(n, m):
        kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
        return generated((n, n if m is None else m), kind, select(eq(axis(0), axis(1)), 1, 0), requires_grad)
    for name, count in (("n", n), ("m", n if m is None else m)):
        if count < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {count}")
    kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
    return written(make_leaf(np.eye(n, m, dtype=kind.numpy), kind, device, requires_grad), out)


# --- ranges --------------------


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """From `start` (0) up to but without `end` in steps; integer where all of them are."""
    if end is None:
        start, end = 0, start
    if in_trace(start, end) and isinstance(step, int) and step > 0 and isinstance(start, (int, sympy.Expr)):
        count = as_extent(sympy.floor((sympy.sympify(end) - start + step - 1) / step) if step != 1 else end - start)
        kind = dtypes.int64 if dtype is None else dtypes.dtype(dtype)
        return generated((count,), kind, start + step * axis(0), requires_grad)
    numbers = [x.item() if isinstance(x, Tensor) else x for x in (start, end, step)]  # type: ignore[attr-defined]
    if dtype is None:
        dtype = get_default_dtype() if any(isinstance(x, float) for x in numbers) else dtypes.int64
    kind = dtypes.dtype(dtype)
    return written(make_leaf(arange_values(*numbers, kind), kind, device, requires_grad), out)


def range_(start: Any, end: Any, step: Any = 1, **options: Any) -> Tensor:
    """As arange, in the default dtype and with `end`."""
    options.setdefault("dtype", get_default_dtype())
    return arange(
        start, end + step * (1 if math.floor((end - start) / step) * step == end - start else 0.5), step, **options
    )


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """`steps` numbers evenly from `start` to `end`, both included."""
    first, last = (x.item() if isinstance(x, Tensor) else x for x in (start, end))  # type: ignore[attr-defined]
    kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
    return written(make_leaf(linspace_values(first, last, steps, kind), kind, device, requires_grad), out)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """`steps` numbers from base**start to base**end, evenly in the exponent."""
    first, last = (x.item() if isinstance(x, Tensor) else x for x in (start, end))  # type: ignore[attr-defined]
    kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
    values = logspace_values(first, last, steps, base, kind)
    return written(make_leaf(values, kind, device, requires_grad), out)


# --- torch.Tensor(...) --------------------


def legacy_tensor(cls: type, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor(2, 3)` is an uninitialised tensor of that size, `Tensor([2, 3])` one of those values, in the default dtype."""
    if len(args) == 1 and isinstance(args[0], Tensor):
        made = args[0].detach()
    elif len(args) == 1 and (isinstance(args[0], (list, tuple, np.ndarray)) and not hasattr(args[0], "numel")):
        made = _from_data(args[0], get_default_dtype(), None, False)
    else:
        made = empty(*args)
    found = object.__new__(cls)
    found.__dict__.update(made.__dict__)
    return found


def new_leaf(cls: type, data: Tensor, requires_grad: bool) -> Any:
    """A leaf of class `cls` that shares the storage of `data` (nn.Parameter)."""
    found = object.__new__(cls)
    found.__dict__.update(data.detach().__dict__)
    found._requires = requires_grad
    return found


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def _new(make: Any) -> Any:
    def method(
        self: Tensor,
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        **named: Any,
    ) -> Tensor:
        return make(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad, **named)

    method.__name__ = f"new_{make.__name__}"
    method.__doc__ = f"As `{make.__name__}`, with the dtype of the tensor unless another is given."
    return method


METHODS: dict[str, Any] = {f"new_{make.__name__}": _new(make) for make in (zeros, ones, empty, full)}
METHODS["new_tensor"] = lambda self, data, dtype=None, device=None, requires_grad=False: tensor(
    data, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad
)

services.legacy_tensor, services.as_tensor = legacy_tensor, as_tensor
