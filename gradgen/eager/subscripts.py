"""`x[...]` and `x[...] = v`: basic indexing as views, tensors and arrays and lists as gathers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy

import gradgen.eager.apply as recording
from gradgen.eager import inplace, masks
from gradgen.eager.conversion import refuse_trace, to_index
from gradgen.eager.creation import as_tensor, tensor
from gradgen.eager.internal import filled, to_dtype
from gradgen.eager.printing import tensor_type_name
from gradgen.eager.tensor import Tensor
from gradgen.eager.views import check_partial_overlap
from gradgen.errors import TraceError
from gradgen.ir import dtypes
from gradgen.ir.symbols import Extent, same_extent
from gradgen.ops.requirements import dim_hint, require
from gradgen.ops.shapes import require_sizes
from gradgen.ops.subscripting import ALIAS, GATHER, NEW_AXIS, PUT, SELECT, SLICE, WRAP, slice_of
from gradgen.record.records import is_traced, spec
from gradgen.record.user_lines import users_line

# --- parsing --------------------


def _is_flag(item: Any) -> bool:
    """Whether an index is one truth value in a tensor."""
    return isinstance(item, Tensor) and item.dtype is dtypes.bool_ and not item.ndim


def _is_advanced(item: Any) -> bool:
    if isinstance(item, Tensor):
        return item.ndim > 0 or item.dtype is dtypes.bool_
    return isinstance(item, (list, np.ndarray, range))


def _expanded(index: Any, ndim: int) -> list[Any]:
    """The items of an index, the ellipsis and what is left out written as full slices."""
    items = list(index) if isinstance(index, tuple) else [index]
    used = 0
    for item in items:
        if (isinstance(item, Tensor) and item.dtype is dtypes.bool_) or (
            isinstance(item, np.ndarray) and item.dtype == bool
        ):
            used += item.ndim
        elif item is not None and item is not Ellipsis and not isinstance(item, bool):
            used += 1
    if used > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    ellipses = [k for k, item in enumerate(items) if item is Ellipsis]
    for k in reversed(ellipses):  # of several, the first stands for all axes left out
        items[k : k + 1] = [slice(None)] * (ndim - used) if k == ellipses[0] else []
    return items


def _sliced(view: Tensor, dim: int, item: slice) -> Tensor:
    extent = view._spec.shape[dim]
    step = 1 if item.step is None else _as_int(item.step)
    if step <= 0:
        raise ValueError("slice step cannot be zero" if step == 0 else "step must be greater than zero")
    bounds = [None if b is None else _as_int(b) for b in (item.start, item.stop)]
    first, length = slice_of(extent, bounds[0], bounds[1], step)
    if same_extent(length, extent) and step == 1:
        return view
    return recording.apply(SLICE, (view,), {"dim": dim, "start": first, "length": length, "step": step})


def _as_int(value: Any) -> int:
    if isinstance(value, Tensor):
        return to_index(value)
    if isinstance(value, sympy.Expr):
        raise TraceError(f"the bound {value} of a slice depends on a named dimension", where=users_line(),
                         hint="bounds count from either end: x[:-1], x[2:]; or use narrow() or a mask")
    if not hasattr(value, "__index__"):
        raise TypeError("slice indices must be integers or None or have an __index__ method")
    return value.__index__()


def _selected(view: Tensor, dim: int, index: int, position: int) -> Tensor:
    extent = view._spec.shape[dim]
    require(extent - 1 - index if index >= 0 else extent + index, IndexError,
            "index {index} is out of bounds for dimension {position} with size {extent}", index=index, position=position,
            extent=extent)
    wrapped = index + extent if index < 0 and isinstance(extent, int) else index
    return recording.apply(SELECT, (view,), {"dim": dim, "index": wrapped})


def basic(tensor: Tensor, items: Sequence[Any]) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    """Slices, integers and new axes applied as views; the tensors among the items with the axes they index."""
    view, dim, position = tensor, 0, 0
    advanced: list[tuple[int, Tensor]] = []
    for item in items:
        if item is None:
            view, dim = recording.apply(NEW_AXIS, (view,), {"dim": dim}), dim + 1
        elif isinstance(item, bool) or (_is_flag(item) and not masks.is_open(item)):
            view = recording.apply(NEW_AXIS, (view,), {"dim": dim})
            advanced.append((dim, _mask_of(bool(item))))
            dim += 1
        elif isinstance(item, slice):
            view, dim, position = _sliced(view, dim, item), dim + 1, position + 1
        elif masks.is_open(item):
            masks.check_mask(item, view._spec.shape, dim)
            advanced.append((dim, item))
            dim, position = dim + item.ndim, position + item.ndim
        elif _is_advanced(item):
            for found in _index_tensors(item, view, dim):
                advanced.append((dim, found))
                dim, position = dim + 1, position + 1
        elif hasattr(item, "__index__"):
            if isinstance(item, Tensor) and item._record.value is None and _traced(item):
                advanced.append((dim, item))
                dim += 1
            else:
                view = _selected(view, dim, _as_int(item), position)
            position += 1
        elif isinstance(item, sympy.Expr):
            raise TraceError(f"the index {item} depends on a named dimension", where=users_line(),
                             hint="negative indices count from the end: x[-1]; or use an index tensor")
        elif isinstance(item, str):
            raise TypeError("new(): invalid data type 'str'")
        else:
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
                f"{type(item).__name__})"
            )
    return view, advanced


def _traced(tensor: Tensor) -> bool:
    return is_traced(tensor._record)


def _mask_of(value: bool) -> Tensor:
    return Tensor._of(np.zeros(1 if value else 0, np.int64), dtypes.int64)


def _index_tensors(item: Any, view: Tensor, dim: int) -> list[Tensor]:
    """One integer tensor per axis that the item indexes; a mask becomes the positions where it is true."""
    found = item if isinstance(item, Tensor) else as_tensor(np.array(item)) if isinstance(item, range) else tensor(item)
    if found.dtype is dtypes.bool_:
        for k in range(found.ndim):
            if found.shape[k] != view.shape[dim + k]:
                raise IndexError(
                    f"The shape of the mask {list(found.shape)} at index {k} does not match the shape of the indexed "
                    f"tensor {list(view.shape)} at index {dim + k}"
                )
        places = np.nonzero(found._value())
        return [Tensor._of(np.asarray(p, np.int64, order="C"), dtypes.int64) for p in places]
    if found.dtype.is_floating_point:
        if found.numel() == 0:
            return [found.to(dtypes.int64)]  # type: ignore[attr-defined]
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return [_in_range(found, view._spec.shape[dim], dim)]


def _in_range(index: Tensor, extent: Extent, dim: int) -> Tensor:
    """The index with negative entries wrapped; IndexError where one is out of range and its value known."""
    record = index._record
    traced = record.value is None and _traced(index)
    if traced or not isinstance(extent, int):
        return recording.apply(WRAP, (index,), {"extent": extent})
    values = index._value()
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if values.size and (low < -extent or high >= extent):
        worst = low if low < -extent else high
        raise IndexError(f"index {worst} is out of bounds for dimension {dim} with size {extent}")
    return recording.apply(WRAP, (index,), {"extent": extent}) if low < 0 else index


def getitem(self: Tensor, index: Any) -> Tensor:
    """`self[index]`: a view for integers, slices, None and `...`; a copy where the index has tensors, arrays or lists."""
    if not self.ndim and not (
        index is Ellipsis or index is None or index == () or isinstance(index, (tuple, bool)) or _is_advanced(index)
    ):
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
            "convert a 0-dim tensor to a number"
        )
    if isinstance(index, list) and any(isinstance(i, (slice, type(None), type(Ellipsis))) for i in index):
        index = tuple(index)
    items = _expanded(index, self.ndim)
    view, advanced = basic(self, items)
    if view is self and isinstance(index, slice) and not advanced:
        whole = {"dim": 0, "start": 0, "length": self._spec.shape[0], "step": 1}
        return recording.apply(SLICE, (self,), whole)
    if not advanced:
        return recording.apply(ALIAS, (view,)) if view is self else view
    if (mask := _open_mask(advanced)) is not None:
        return masks.selected(view, advanced[0][0], mask)
    dims = tuple(d for d, _ in advanced)
    return recording.apply(GATHER, (view, *(t for _, t in advanced)), {"dims": dims})


def _open_mask(advanced: list[tuple[int, Tensor]]) -> Tensor | None:
    """The mask, where one indexes whose values a trace does not know.  TraceError beside other index tensors."""
    found = [t for _, t in advanced if masks.is_open(t)]
    if found and len(advanced) > 1:
        refuse_trace(found[0], "a mask beside other index tensors (its number of true elements decides the shape)")
    return found[0] if found else None


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """`self[index] = value`, broadcast and converted; the gradient goes to `value`."""
    tracked = recording.state.grad and (self.requires_grad or (isinstance(value, Tensor) and value.requires_grad))
    if not isinstance(value, (Tensor, bool, int, float, np.generic)):
        kind = type(value)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        raise TypeError(f"can't assign a {name} to a {tensor_type_name(self.dtype)}")
    view, advanced = basic(self, _expanded(index, self.ndim))
    if advanced:
        _put_items(view, advanced, value)
        return
    if isinstance(value, Tensor) and not value.ndim and view.ndim:
        inplace.fill_(view, value)
        return
    if isinstance(value, Tensor):
        value = _stripped(value, view._spec.shape)
    if view is self:
        inplace.check_in_place(self, tracked)
    inplace.copy_(view, value.item() if isinstance(value, np.generic) else value)


def _stripped(value: Tensor, shape: Sequence[Extent]) -> Tensor:
    """Leading axes of extent 1 beyond the target's are dropped; RuntimeError where the rest does not broadcast to it."""
    own = value._spec.shape
    if own == shape:
        return value
    while own and same_extent(own[0], 1):
        own = own[1:]
    require_sizes(value.dtype, own, shape)
    for k in range(1, len(own) + 1):
        if not same_extent(own[-k], 1) and not same_extent(own[-k], shape[-k]):
            raise RuntimeError(
                f"The expanded size of the tensor ({shape[-k]}) must match the existing size ({own[-k]}) at non-singleton "
                f"dimension {len(shape) - k}.  Target sizes: {list(shape)}.  Tensor sizes: {list(own)}"
                f"{dim_hint(own[-k], shape[-k])}"
            )
    return value.view(*own).expand(*shape)  # type: ignore[attr-defined]


def _put_items(view: Tensor, advanced: list[tuple[int, Tensor]], value: Any) -> None:
    given = value if isinstance(value, Tensor) else as_tensor(value, dtype=view.dtype)
    if given.dtype is not view.dtype:
        if isinstance(value, Tensor):
            names = [
                tensor_type_name(d).removeprefix("torch.").removesuffix("Tensor")
                for d in (view.dtype, given.dtype)
            ]
            raise RuntimeError(
                f"Index put requires the source and destination dtypes match, got {names[0]} for the destination and "
                f"{names[1]} for the source."
            )
        given = to_dtype(given, view.dtype)
    while given._selection is None and given.ndim and given._spec.shape[0] == 1:
        given = given[0]  # type: ignore[index]
    dims = tuple(d for d, _ in advanced)
    indices = [t for _, t in advanced]
    inplace.check_in_place(view, recording.state.grad and (view.requires_grad or given.requires_grad))
    check_partial_overlap(view, given, whole=True)
    if (mask := _open_mask(advanced)) is not None:
        inplace.overwrite(view, masks.assigned(view, dims[0], mask, given))
        return
    result = recording.apply(PUT, (view, given, *indices), {"dims": dims, "accumulate": False})
    inplace.overwrite(view, result)


def index_put(input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """`input` with the elements at `indices` replaced by `values`, or increased by them."""
    view, advanced = basic(input, list(indices))
    if (mask := _open_mask(advanced)) is not None:
        if accumulate:
            refuse_trace(mask, "an index that is a mask (its number of true elements decides the shape)")
        return masks.assigned(view, advanced[0][0], mask, values)
    dims = tuple(d for d, _ in advanced)
    return recording.apply(PUT, (view, values, *(t for _, t in advanced)), {"dims": dims, "accumulate": accumulate})


def stack_rows(rows: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape as the rows of a new first axis."""
    result = filled(spec((len(rows), *rows[0]._spec.shape), rows[0].dtype), 0)
    for k, row in enumerate(rows):
        setitem(result, k, row)
    return result


METHODS: dict[str, Any] = {
    "__getitem__": getitem,
    "__setitem__": setitem,
    "index_put": index_put,
    "index_put_": lambda self, indices, values, accumulate=False: _index_put_in_place(
        self, indices, values, accumulate
    ),
}


def _index_put_in_place(self: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool) -> Tensor:
    inplace.check_in_place(self, recording.state.grad and (self.requires_grad or values.requires_grad))
    check_partial_overlap(self, values, whole=True)
    return inplace.overwrite(self, index_put(self, indices, values, accumulate))
