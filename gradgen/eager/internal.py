"""Operations that the front end itself records: constants, gradient sums, copies, sums down to a smaller shape."""

from __future__ import annotations

import sympy

import gradgen.eager.apply as recording
from gradgen.eager.layouts import lying_as
from gradgen.eager.services import services
from gradgen.eager.tensor import Tensor
from gradgen.ir.dtypes import DType
from gradgen.ir.nodes import Compute, Node, identity_read
from gradgen.ir.symbols import Extent, placeholder
from gradgen.ops.registry import KEEP, PROMOTE, Op, broadcast_read, broadcast_shapes, elementwise
from gradgen.ops.shapes import sum_to as lower_sum_to
from gradgen.record.records import Record, Spec


def _filled(shape: tuple[Extent, ...], dtype: DType, value: sympy.Expr) -> Node:
    return Compute(shape, value, [], dtype)


def _add(a: Node, b: Node) -> Node:
    return elementwise(placeholder(0) + placeholder(1), (a, b), a.dtype)


def _copy(node: Node) -> Node:
    return Compute(node.shape, placeholder(0), [identity_read(node)], node.dtype)


def _expand(node: Node, shape: tuple[Extent, ...]) -> Node:
    return Compute(shape, placeholder(0), [broadcast_read(node, shape)], node.dtype)


FILLED = Op("filled", _filled, "FullBackward0", KEEP)
ADD = Op("accumulate", _add, "AddBackward0", PROMOTE)
CLONE = Op("copy_of", _copy, "CloneBackward0", KEEP)
COPY = Op("copy_into", _copy, "CopyBackwards", KEEP)
EXPAND = Op("broadcast_to", _expand, "ExpandBackward0", KEEP)
SUM_TO = Op("sum_to_size", lower_sum_to, "SumToSizeBackward0", KEEP)


_filled_records: dict[tuple[Spec, int], Record] = {}


def filled(spec: Spec, value: int) -> Tensor:
    """A tensor of one small exact number, known to the compiler as such."""
    record = _filled_records.get((spec, value))
    if record is None or record.value is not None:  # one that was looked at is no constant to the compiler any more
        attributes = (("dtype", spec.dtype), ("shape", spec.shape), ("value", sympy.Integer(value)))
        record = _filled_records[spec, value] = Record(FILLED, (), attributes, spec, depth=1)
    return Tensor._from_record(record)


def clone(tensor: Tensor) -> Tensor:
    """A copy with history.  Records never change, so nothing is copied."""
    if recording.state.border is not None or (recording.state.grad and tensor.requires_grad):
        return recording.apply(CLONE, (tensor,))
    return lying_as(tensor._alone(), tensor)


def to_dtype(tensor: Tensor, dtype: DType) -> Tensor:
    """The tensor itself, or its conversion, with history."""
    if tensor.dtype is dtype:
        return tensor
    return recording.apply(recording.CAST, (tensor,), {"dtype": dtype})


def cast_record(record: Record, dtype: DType) -> Record:
    """A conversion that history does not show."""
    if record.dtype is dtype:
        return record
    return recording.apply_records(
        recording.CAST, (record,), (("dtype", dtype),), (recording.spec(record.shape, dtype),)
    )[0]._record


def sum_to(tensor: Tensor, shape: tuple[Extent, ...]) -> Tensor:
    """Summed down to a shape that broadcasts to the tensor's."""
    return tensor if tensor._spec.shape == shape else recording.apply(SUM_TO, (tensor,), {"shape": shape})


def expandable(shape: tuple[Extent, ...], wider: tuple[Extent, ...]) -> bool:
    """Whether `shape` broadcasts to exactly `wider`."""
    try:
        return broadcast_shapes(shape, wider) == tuple(wider)
    except RuntimeError:
        return False


services.filled = filled
