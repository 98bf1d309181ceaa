"""Tensors that lie in one storage, wherever their strides say: out of files and into them.

Tensors here are index maps into their storage, not pointers with strides.  A tensor that fills its storage *is* the cell; one
that does not is a view of it: along each axis a window is cut every `stride` elements, which any strides can be said in.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import gradgen.eager.services as eager_services
from gradgen.eager.layouts import contiguous_strides, layout
from gradgen.eager.storage import Cell
from gradgen.eager.tensor import Tensor
from gradgen.errors import WeightsError
from gradgen.ir.dtypes import DType
from gradgen.record.records import leaf

_MOST_AXES = 64  # NumPy's own bound
_MOST = 2**63 - 1


def _alias(cell: Cell, chain: Any = None) -> Tensor:
    tensor = object.__new__(Tensor)
    tensor._cell, tensor._chain = cell, chain
    return tensor


class Storage:
    """The elements of one storage, `flat`, and the tensors that lie in it."""

    def __init__(self, flat: np.ndarray, dtype: DType) -> None:
        self.flat, self.dtype = flat, dtype
        self.whole: Tensor | None = None
        self.made: dict[tuple[Any, ...], Tensor] = {}

    def tensor(self, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        """The tensor that lies there.  WeightsError where that is not in the storage."""
        check_geometry(self.flat.size, offset, size, stride)
        place = offset, size, stride
        if place not in self.made:
            self.made[place] = self._cut(*place)
        found = self.made[place]
        return _alias(found._cell, found._chain)

    def _cut(self, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        if 0 in size:
            return Tensor._of(np.zeros(size, self.dtype.numpy), self.dtype)
        order = sorted(range(len(size)), key=lambda d: (-stride[d], size[d] == 1, d))
        if self.whole is None:
            self.whole = self._as_cell(offset, size, stride, order)
            if self.whole is not None:
                return self.whole
            self.whole = Tensor._of(self.flat, self.dtype)
        rows: Any = self.whole
        if self.whole._cell.strides is not None:
            strides = self.whole._cell.strides
            rows = rows.permute(sorted(range(rows.ndim), key=lambda d: (-strides[d], d)))
        return _strided(rows.reshape(-1), offset, size, stride)

    def _as_cell(self, offset: int, size: tuple[int, ...], stride: tuple[int, ...], order: list[int]) -> Tensor | None:
        """The tensor as the storage itself, if it fills it, in whichever order of its axes."""
        sorted_size = [size[d] for d in order]
        dense = contiguous_strides(sorted_size)
        wide = [(stride[d], s) for d, s in zip(order, dense) if size[d] > 1]
        if offset or math.prod(size) != self.flat.size or any(a != b for a, b in wide):
            return None
        value = self.flat.reshape(sorted_size).transpose(np.argsort(order)) if size else self.flat.reshape(())
        cell = Cell(leaf(np.asarray(value, order="C"), self.dtype))
        if order != sorted(order):
            cell.strides = stride
        return _alias(cell)


def check_geometry(elements: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
    """WeightsError unless sizes and strides are such, and all that they reach is among `elements`."""
    plain = type(offset) is int and all(type(t) is tuple and all(type(n) is int for n in t) for t in (size, stride))
    if not plain or len(size) != len(stride) or len(size) > _MOST_AXES or min((offset, *size, *stride)) < 0:
        said = ", ".join(_short(value) for value in (size, stride, offset))
        raise WeightsError(f"the file has a tensor whose size, stride and offset are no such: {said}")
    if math.prod(size) > _MOST:
        raise WeightsError(f"the file has a tensor of size {size}: no machine holds that many elements")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride))
    if 0 not in size and last >= elements:
        raise WeightsError(f"the file has a tensor of size {size}, stride {stride} and offset {offset}, beyond its "
                           f"storage: element {last} of {elements}")


def _short(value: Any) -> str:
    """What a stranger put where sizes belong, which may be long, or contain itself."""
    return repr(value)[:60] if type(value) in (int, tuple) else type(value).__name__


def _strided(flat: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """The view of `flat` with these strides."""
    order = sorted((d for d in range(len(size)) if size[d] > 1 and stride[d]), key=lambda d: (-stride[d], d))
    spans = [1]
    for d in reversed(order):
        spans.append(spans[-1] + (size[d] - 1) * stride[d])
    view = flat[offset : offset + spans.pop()]
    dense = [size[d] for d in order]
    if [stride[d] for d in order] == list(contiguous_strides(dense)):
        view = view.reshape(dense)
    else:
        for k, d in enumerate(order):
            view = view.unfold(k, spans.pop(), stride[d])
        view = view.select(-1, 0)
    view = view.permute(sorted(range(len(order)), key=lambda k: order[k]))
    for d in range(len(size)):
        if d not in order:
            view = view.unsqueeze(d)
    if tuple(view.shape) != size:
        view = view.expand(size)
    return view


def stored(tensor: Tensor) -> tuple[Any, np.ndarray, int, tuple[int, ...]]:
    """What a file says of a tensor: an object that all in its storage share, the storage's elements, offset and strides."""
    cell = tensor._cell
    found = layout(cell.spec, tensor._chain or (), cell.strides)
    if found is None:  # what PyTorch would have copied
        value = np.asarray(tensor._value(), order="C")
        return object(), value.reshape(-1), 0, contiguous_strides(value.shape)
    record = cell.current()
    if record.value is None:
        eager_services.services.evaluate_records([record])
    value: Any = record.value
    strides = cell.strides
    if strides is not None:
        value = value.transpose(sorted(range(value.ndim), key=lambda d: (-strides[d], d)))
    return cell, np.asarray(value, order="C").reshape(-1), found.offset, found.strides
