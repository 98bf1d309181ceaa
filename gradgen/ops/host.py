"""Operations whose result's shape depends on values: computed on the host, refused in a trace; and checks of
indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradgen.errors import TraceError
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.nodes import Compute, Node, Read, identity_read
from gradgen.ops.registry import KEEP, Op, broadcast_shapes, register
from gradgen.ops.shape import taken
from gradgen.ops.shapes import A0, A1, wrap_dim
from gradgen.ops.table import call, public
from gradgen.ops.tensors import current

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor


def host_value(tensor: Any) -> np.ndarray | None:
    """The values, computed if need be; None for an input of a trace and what is made of it."""
    return current.tensors.value(tensor)


def required_value(tensor: Tensor, name: str, instead: str) -> np.ndarray:
    value = host_value(tensor)
    if value is None:
        raise TraceError(f"the shape of the result of {name}() depends on values, which a trace does not have",
                         where=current.tensors.line(), hint=f"use {instead}")
    return value


def made(array: np.ndarray, dtype: DType, device: Any = None) -> Tensor:
    """A tensor of these values."""
    return current.tensors.leaf(np.asarray(array, dtype.numpy, order="C"), dtype, device)  # type: ignore[no-any-return]


def indices_of(array: np.ndarray) -> Tensor:
    return made(array, dtypes.int64)


def check_indices(index: Any, extent: Any, message: str, *, error: type[Exception] = IndexError, low: int = 0) -> None:
    """Raises where an index whose value is known lies outside [low, extent); `message` is formatted with it."""
    if not isinstance(extent, int):
        return
    values = host_value(index)
    if values is None or not values.size:
        return
    worst = int(values.min())
    if worst >= low:
        worst = int(values.max())
        if worst < extent:
            return
    raise error(message.format(worst))


@public("", method=True)
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Where the elements are not 0: a row of indices each, or one tensor of indices an axis."""
    value = required_value(input, "nonzero", "where(condition, x, y) or a masked operation")
    places = np.nonzero(np.atleast_1d(value))
    if as_tuple:
        return tuple(indices_of(p) for p in places)
    return indices_of(np.stack(places, 1)[:, : value.ndim])


@public("", method=True)
def argwhere(input: Tensor) -> Tensor:
    """nonzero as rows."""
    return nonzero(input)


def _lower_masked_select(node: Node, places: Node) -> Node:
    return taken(Compute(places.shape, A1, [identity_read(places), Read(node, [A0])], node.dtype))


_masked_select = register(Op("masked_select", _lower_masked_select, "MaskedSelectBackward0", KEEP))


@public("", method=True)
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, as a vector."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    required_value(mask, "masked_select", "where(mask, x, 0)")
    shape = broadcast_shapes(tuple(input.shape), tuple(mask.shape)) or (1,)
    places = mask.expand(*shape).reshape(-1).nonzero()[:, 0]
    return call(_masked_select, input.expand(*shape).reshape(-1), places)


@public("", method=True)
def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
           dim: int | None = None) -> Any:
    """The distinct elements in ascending order."""
    if dim is not None:
        dim = wrap_dim(dim, input.ndim)
    found = np.unique(
        required_value(input, "unique", "a fixed set of values"), return_inverse=return_inverse, return_counts=return_counts,
        axis=dim,
    )
    parts = found if isinstance(found, tuple) else (found,)
    first = made(parts[0], input.dtype)
    rest = [indices_of(p) for p in parts[1:]]
    if return_inverse and dim is None:
        rest[0] = rest[0].reshape(tuple(input.shape))
    return (first, *rest) if rest else first


def repeated_places(repeats: Tensor, count: Any, output_size: int | None) -> Tensor:
    """0, 1, 2, ..., place k as often as `repeats[k]` says; a single number counts for all `count` places."""
    if repeats.ndim > 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if repeats.dtype not in (dtypes.int32, dtypes.int64):
        raise RuntimeError("repeats has to be Long or Int tensor")
    times = np.atleast_1d(required_value(repeats, "repeat_interleave", "an int, or index_select by an input of the trace"))
    if count is not None and isinstance(count, int):
        if len(times) == 1:
            times = np.repeat(times, count)
        elif len(times) != count:
            raise RuntimeError("repeats must have the same size as input along dim, but got repeats.size(0) = "
                               f"{len(times)} and input.size(0) = {count}")
    if times.size and times.min() < 0:
        raise RuntimeError("repeats can not be negative")
    places = np.repeat(np.arange(len(times), dtype=np.int64), times)
    if output_size is not None and output_size != len(places):
        raise RuntimeError("allocated size does not match required size")
    return indices_of(places)
