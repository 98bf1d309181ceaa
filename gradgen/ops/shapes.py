"""Axis numbers, extents and reductions: what the families of operations share.  Errors in PyTorch's words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy

from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.indexing import product
from gradgen.ir.nodes import Compute, Constant, Node, Read
from gradgen.ir.symbols import Extent, axis, placeholder, reduce_axis, same_extent
from gradgen.ops.registry import broadcast_read, cast

A0, A1, A2, A3, A4, A5 = (placeholder(k) for k in range(6))


TORCH_NAMES = {"bool": "Bool", "int32": "Int", "int64": "Long", "float32": "Float", "float64": "Double"}


def require_sizes(dtype: DType, own: Sequence[Any], wanted: Sequence[Any]) -> None:
    """RuntimeError, in the words of expand(), where fewer sizes are wanted than a tensor has axes."""
    if len(wanted) < len(own):
        raise RuntimeError(
            f"expand(torch.{TORCH_NAMES[dtype.name]}Tensor{{{list(own)}}}, size={list(wanted)}): the number of sizes "
            f"provided ({len(wanted)}) must be greater or equal to the number of dimensions in the tensor ({len(own)})"
        )


def return_text(self: Any) -> str:
    """The repr of several results, as torch.return_types shows them."""
    fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
    return f"torch.return_types.{type(self).__name__.removesuffix('_result')}(\n{fields})"


def extreme(dtype: DType, sign: int) -> sympy.Expr:
    """What no value of the dtype is above (`sign` 1) or below (-1): where a minimum or a maximum starts."""
    if dtype.is_floating_point:
        return sympy.oo if sign > 0 else -sympy.oo
    if not dtype.category:
        return sympy.Integer(1 if sign > 0 else 0)
    half = 2 ** (8 * dtype.itemsize - 1)
    return sympy.Integer(half - 1 if sign > 0 else -half)


def wrap_dim(dim: int, ndim: int) -> int:
    """`dim` counted from the front; IndexError in PyTorch's words.  A 0-d tensor takes 0 and -1."""
    if isinstance(dim, bool) or not isinstance(dim, int):
        if not hasattr(dim, "__index__"):
            raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}")
        dim = dim.__index__()
    bound = max(ndim, 1)
    if not -bound <= dim < bound:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got {dim})")
    return dim + bound if dim < 0 else dim


def wrap_dims(dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The axes named by `dim`, all of them for None and for an empty sequence, sorted."""
    if dim is None:
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if not dims:
        return tuple(range(ndim))
    found = [wrap_dim(d, ndim) for d in dims]
    for k, d in enumerate(found):
        if d in found[:k]:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return tuple(sorted(d for d in found if d < ndim))


def dims_argument(args: Sequence[Any]) -> tuple[Any, ...]:
    """`f(2, 3)` and `f((2, 3))` are the same call."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        return tuple(args[0])
    return tuple(args)


def spread(name: str, keyword: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(self, values, ...)` as a method that takes the values in any of PyTorch's ways: `x.view(2, 3)`,
    `x.view((2, 3))`, `x.view(size=(2, 3))`, where `keyword` is "size"."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if keyword in kwargs:
            if args:
                raise TypeError(f"{name}() got multiple values for argument '{keyword}'")
            args = (kwargs.pop(keyword),)
        return function(self, dims_argument(args), **kwargs)

    method.__name__, method.__doc__ = name, function.__doc__
    return method


def numel(shape: Sequence[Extent]) -> Extent:
    return product(shape)


def reduced_shape(shape: Sequence[Extent], dims: Sequence[int], keepdim: bool) -> tuple[Extent, ...]:
    if keepdim:
        return tuple(1 if d in dims else e for d, e in enumerate(shape))
    return tuple(e for d, e in enumerate(shape) if d not in dims)


def reduction_index(ndim: int, dims: Sequence[int], keepdim: bool) -> list[sympy.Expr]:
    """How the operand of a reduction over `dims` is indexed: reduce axes in order of `dims`, output axes elsewhere."""
    index: list[sympy.Expr] = []
    kept = 0
    for d in range(ndim):
        if d in dims:
            index.append(reduce_axis(list(dims).index(d)))
        else:
            index.append(axis(d if keepdim else kept))
            kept += 1
    return index


def reduce(
    node: Node,
    dims: Sequence[int],
    reducer: str,
    *,
    keepdim: bool = False,
    body: sympy.Expr = A0,
    dtype: DType | None = None,
    extra: Sequence[Node] = (),
) -> Node:
    """`reducer` of `body` over `dims` of `node`; `extra` nodes broadcast against it and are a1, a2, ... in the body."""
    index = reduction_index(node.ndim, dims, keepdim)
    mapping = {axis(d): e for d, e in enumerate(index)}
    reads = [Read(node, index)]
    for other in extra:
        plain = broadcast_read(other, node.shape)
        reads.append(Read(other, [e.xreplace(mapping) for e in plain.index]))
    kind = dtype or node.dtype
    if reducer == "sum" and kind.is_floating_point and all(same_extent(node.shape[d], 1) for d in dims):
        reads.append(Read(Constant(0, kind), ()))  # also a sum of one term begins with 0: that of -0.0 is 0
        body = body + placeholder(len(reads) - 1)
    if not dims:
        return Compute(node.shape, body, reads, kind)
    return Compute(
        reduced_shape(node.shape, dims, keepdim), body, reads, kind,
        reduce_shape=[node.shape[d] for d in dims], reducer=reducer,
    )


def sum_to(node: Node, shape: tuple[Extent, ...]) -> Node:
    """The adjoint of broadcasting: axes that `shape` lacks or has with extent 1 are summed."""
    lead = node.ndim - len(shape)
    over = [
        d
        for d in range(node.ndim)
        if d < lead or (same_extent(shape[d - lead], 1) and not same_extent(node.shape[d], 1))
    ]
    if not over:
        return node
    index = [reduce_axis(over.index(d)) if d in over else axis(d - lead) for d in range(node.ndim)]
    return Compute(
        shape,
        A0,
        [Read(node, index)],
        node.dtype,
        reduce_shape=[node.shape[d] for d in over],
        reducer="sum",
    )


def over(body: sympy.Expr, shape: Sequence[Extent], operands: Sequence[Node], dtype: DType) -> Compute:
    """body over `shape`, every operand broadcast to it."""
    return Compute(shape, body, [broadcast_read(n, shape) for n in operands], dtype)


def keep_of(node: Node, ndim: int, dims: Sequence[int], shape: Sequence[Extent]) -> Read:
    """Reads a reduction without keepdim as if it had been kept."""
    return Read(node, [axis(d) for d in range(ndim) if d not in dims])


def as_float(node: Node, dtype: DType = dtypes.float32) -> Node:
    return node if node.dtype.is_floating_point else cast(node, dtype)


def shape_text(shape: Sequence[Extent]) -> str:
    return "[" + ", ".join(str(e) for e in shape) + "]"


def require_extent(a: Extent, b: Extent, message: str) -> None:
    if not same_extent(a, b):
        raise RuntimeError(message)


def known(value: Any) -> Any:
    """A static attribute as an int where it is one, so that equal attributes are equal keys."""
    if isinstance(value, sympy.Expr):
        return int(value) if value.is_Integer else value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value
    return value.__index__()


def exact(value: float | int) -> sympy.Expr:
    """A Python number as the exact SymPy number it is."""
    if isinstance(value, bool):
        return sympy.Integer(int(value))
    if isinstance(value, int):
        return sympy.Integer(value)
    value = float(value)
    if value != value:
        return sympy.nan
    if value in (float("inf"), float("-inf")):
        return sympy.oo if value > 0 else -sympy.oo
    return sympy.Rational(*value.as_integer_ratio())
