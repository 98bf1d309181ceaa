"""Nodes as tensors: the library's functions over a graph, with no values, no history and no storage.

A `Symbolic` carries a node; what an operation makes of it is lowered at once, and carried by another.  So a function of the
library, one of several entries too, becomes nodes by being called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import sympy

from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.nodes import Compute, Constant, Node
from gradgen.ir.symbols import Extent
from gradgen.ops import table
from gradgen.ops.promotion import common_dtype, number_dtype
from gradgen.ops.registry import Op, cast, stopped
from gradgen.ops.shapes import numel
from gradgen.ops.size import Size
from gradgen.ops.sizes import SIZE
from gradgen.ops.subscripting import GATHER, NEW_AXIS, SELECT, SLICE, WRAP, slice_of
from gradgen.ops.tensors import Tensors

_CASTS = {"float": dtypes.float32, "double": dtypes.float64, "int": dtypes.int32, "long": dtypes.int64, "bool": dtypes.bool_}


class Symbolic:
    """A node, with the methods of a tensor.  Writing in place (`copy_`, `add_`) gives it another node."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def shape(self) -> tuple[Any, ...]:
        shape = tuple(self.node.shape)
        return Size(shape) if all(isinstance(e, int) for e in shape) else shape

    @property
    def dtype(self) -> DType:
        return self.node.dtype

    @property
    def ndim(self) -> int:
        return self.node.ndim

    @property
    def requires_grad(self) -> bool:
        return self.node.dtype.is_floating_point

    def dim(self) -> int:
        return self.node.ndim

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> Any:
        return numel(self.shape)

    def to(self, dtype: Any) -> Symbolic:
        return Symbolic(cast(self.node, dtypes.dtype(dtype)))

    def type_as(self, other: Any) -> Symbolic:
        return self.to(other.dtype)

    def detach(self) -> Symbolic:
        return Symbolic(stopped(self.node))

    def clone(self) -> Symbolic:
        return Symbolic(self.node)

    def contiguous(self) -> Symbolic:
        return self

    def is_contiguous(self) -> bool:
        return True

    def copy_(self, source: Any) -> Symbolic:
        if not isinstance(source, Symbolic):
            source = Symbolic(Constant(source, self.dtype))
        self.node = source.to(self.dtype).expand(*self.shape).node
        return self

    def __getattr__(self, name: str) -> Any:
        if name in table.PROPERTIES:
            return table.PROPERTIES[name](self)
        if name in table.METHODS:
            return lambda *args, **kwargs: table.METHODS[name](self, *args, **kwargs)
        if name in table.INPLACE:
            return lambda *args, **kwargs: self.copy_(table.INPLACE[name](self, *args, **kwargs))
        if name in _CASTS:
            return lambda: self.to(_CASTS[name])
        raise AttributeError(f"nodes have no {name!r}")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.unbind(0))

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Any) -> Any:
        items = list(index) if isinstance(index, tuple) else [index]
        used = sum(i is not None and i is not Ellipsis for i in items)
        at = items.index(Ellipsis) if any(i is Ellipsis for i in items) else len(items)
        items[at:at + 1] = [slice(None)] * (self.ndim - used)
        view, dim = self, 0
        gathered: dict[int, Symbolic] = {}
        for item in items:
            if item is None:
                view = table.call(NEW_AXIS, view, dim=dim)
            elif isinstance(item, slice):
                first, length = slice_of(view.shape[dim], item.start, item.stop, item.step or 1)
                view = table.call(SLICE, view, dim=dim, start=first, length=length, step=item.step or 1)
            elif isinstance(item, Symbolic):
                gathered[dim] = table.call(WRAP, item, extent=view.shape[dim])
            else:
                view, dim = table.call(SELECT, view, dim=dim, index=int(item)), dim - 1
            dim += 1
        return table.call(GATHER, view, *gathered.values(), dims=tuple(gathered)) if gathered else view


class Nodes(Tensors):
    """Nodes as the operation library sees them."""

    kind = Symbolic

    def apply(self, op: Op, operands: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
        common = common_dtype(op.rule, tuple(x if isinstance(x, Symbolic) else _number(x) for x in operands))
        nodes = [_node(x, common) for x in operands]
        hash(tuple(sorted(attributes.items())))  # attributes are keys
        found = op.lower(*nodes, **attributes)
        return tuple(map(Symbolic, found)) if op.outputs != 1 else Symbolic(found)

    def leaf(self, array: np.ndarray, dtype: DType, device: Any = None) -> Any:
        return Symbolic(Constant(array, dtype))

    def filled(self, shape: Sequence[Extent], dtype: DType, value: int) -> Any:
        return Symbolic(Compute(tuple(shape), sympy.Integer(value), [], dtype))

    def value(self, tensor: Any) -> np.ndarray | None:
        node = getattr(tensor, "node", None)
        return node.array if isinstance(node, Constant) else None


def _number(value: Any) -> type:
    if isinstance(value, sympy.Expr):
        return int if value.is_integer else float
    return bool if isinstance(value, bool) else int if isinstance(value, int) else float


def _node(value: Any, common: DType | None) -> Node:
    if isinstance(value, Symbolic):
        return cast(value.node, common) if common else value.node
    kind = common or number_dtype(_number(value))
    if isinstance(value, sympy.Expr):  # a size
        return SIZE.lower(size=value, dtype=kind)  # type: ignore[return-value]
    return Constant(value, kind)


def _on_the_type(name: str) -> Callable[..., Any]:
    return lambda self, *args: table.METHODS[name](self, *args)


def _attach_operators() -> None:
    """What Python looks up on the type: operators by their dunder names."""
    for name in table.METHODS:
        if name.startswith("__") and name != "__hash__" and name not in vars(Symbolic):
            setattr(Symbolic, name, _on_the_type(name))
    Symbolic.__hash__ = object.__hash__  # type: ignore[method-assign]


table.load_operations()
_attach_operators()
