"""The five kinds of node (and Constant/Input leaves): immutable, interned, so that equal means identical.

A node is a statement about one tensor.  `Compute` says

    value[i0, i1, ...] = reducer over r0, r1, ... of body(a0, a1, ..., axes)

where placeholder `a_k` stands for `reads[k]`, and a read is a node with one integer index expression per axis of it.
Index expressions may mention axes, Dims, and *earlier* integer placeholders of the same node: a data-dependent read.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import sympy

from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.guards import ALWAYS, Guard
from gradgen.ir.symbols import Extent, axes

Shape = tuple[Extent, ...]
ARG_REDUCERS = ("argmax", "argmin", "argpeak")
REDUCERS = ("sum", "prod", "max", "min", *ARG_REDUCERS, "any", "all")
SCATTER_MODES = ("set", "add", "max", "min", "prod")

_table: weakref.WeakValueDictionary[tuple, Node] = weakref.WeakValueDictionary()


class Node:
    """Base of all kinds: a shape, a dtype and the nodes it depends on.  Compare with `is`."""

    __slots__ = ("__weakref__", "_key", "dtype", "shape", "sources")
    _key: tuple
    shape: Shape
    dtype: DType
    sources: tuple[Node, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.dtype.name}{list(self.shape)}>"


def _intern(cls: type, key: tuple, fields: dict[str, Any]) -> Any:
    found = _table.get(key)
    if found is not None:
        return found
    node: Any = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(node, name, value)
    object.__setattr__(node, "_key", key)
    _table[key] = node
    return node


class Read:
    """One operand: `source[index]` where `guard` holds, `fill` where it does not (an exact SymPy number)."""

    __slots__ = ("_hash", "fill", "guard", "index", "source")

    def __init__(
        self, source: Node, index: Iterable[sympy.Expr | int], guard: Guard = ALWAYS, fill: sympy.Expr | int = 0
    ) -> None:
        self.source = source
        self.index = tuple(i if isinstance(i, sympy.Basic) else sympy.Integer(i) for i in index)
        self.guard = guard
        self.fill = sympy.sympify(fill) if guard else sympy.S.Zero
        self._hash = hash((id(source), self.index, guard, self.fill))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Read)
            and self.source is other.source
            and self.index == other.index
            and self.guard == other.guard
            and self.fill == other.fill
        )

    @property
    def dtype(self) -> DType:
        return self.source.dtype

    def __repr__(self) -> str:
        return f"Read({self.source!r}, {list(self.index)}{f', if {self.guard}' if self.guard else ''})"


class Input(Node):
    """An argument: `name` is the user's and unique in a graph."""

    __slots__ = ("name", "requires_grad")
    name: str
    requires_grad: bool

    def __new__(cls, name: str, shape: Iterable[Extent], dtype: DType, requires_grad: bool = False) -> Input:
        shape = tuple(shape)
        return _intern(
            cls,
            ("input", name, shape, dtype, requires_grad),
            {"name": name, "shape": shape, "dtype": dtype, "requires_grad": requires_grad, "sources": ()},
        )


class Constant(Node):
    """A value known when the graph is built.  The array is read-only, C-contiguous."""

    __slots__ = ("array",)
    array: np.ndarray

    def __new__(cls, array: Any, dtype: DType | None = None) -> Constant:
        value = np.array(array, dtype=dtype.numpy if dtype else None, order="C")
        value.setflags(write=False)
        kind = dtypes.dtype(value.dtype)
        return _intern(
            cls,
            ("constant", value.shape, kind, value.tobytes()),
            {"array": value, "shape": value.shape, "dtype": kind, "sources": ()},
        )


class Compute(Node):
    """`value[axes] = reducer over reduce_axes of body(reads, axes)`; `reducer` is None without reduce axes.

    `reduce_shape` are the extents of r0, r1, ....  argmax/argmin reduce over exactly one axis, take the first of a tie
    and the first nan, and give that axis' index; argpeak takes the last nan, as PyTorch's pooling does.
    """

    __slots__ = ("body", "reads", "reduce_shape", "reducer")
    body: sympy.Expr
    reads: tuple[Read, ...]
    reduce_shape: Shape
    reducer: str | None

    def __new__(
        cls,
        shape: Iterable[Extent],
        body: sympy.Expr,
        reads: Iterable[Read],
        dtype: DType,
        *,
        reduce_shape: Iterable[Extent] = (),
        reducer: str | None = None,
    ) -> Compute:
        shape, reads, reduce_shape = tuple(shape), tuple(reads), tuple(reduce_shape)
        body = sympy.sympify(body)
        return _intern(
            cls,
            ("compute", shape, reduce_shape, reducer, body, reads, dtype),
            {
                "shape": shape,
                "dtype": dtype,
                "body": body,
                "reads": reads,
                "reduce_shape": reduce_shape,
                "reducer": reducer,
                "sources": tuple(dict.fromkeys(r.source for r in reads)),
            },
        )


class Scatter(Node):
    """`value = base; for every axes in update_shape where guard holds: value[index(axes)] mode= body(reads, axes)`.

    `base` None is zeros.  `index` has one expression per axis of the value, over axes, Dims and placeholders.
    """

    __slots__ = ("base", "body", "guard", "index", "mode", "reads", "update_shape")
    base: Node | None
    update_shape: Shape
    index: tuple[sympy.Expr, ...]
    body: sympy.Expr
    reads: tuple[Read, ...]
    guard: Guard
    mode: str

    def __new__(
        cls,
        shape: Iterable[Extent],
        base: Node | None,
        update_shape: Iterable[Extent],
        index: Iterable[sympy.Expr],
        body: sympy.Expr,
        reads: Iterable[Read],
        dtype: DType,
        *,
        mode: str,
        guard: Guard = ALWAYS,
    ) -> Scatter:
        shape, update_shape, index, reads = tuple(shape), tuple(update_shape), tuple(index), tuple(reads)
        index = tuple(sympy.sympify(e) for e in index)
        body = sympy.sympify(body)
        sources = tuple(dict.fromkeys(([base] if base is not None else []) + [r.source for r in reads]))
        return _intern(
            cls,
            ("scatter", shape, base and id(base), update_shape, index, body, reads, guard, mode, dtype),
            {
                "shape": shape,
                "dtype": dtype,
                "base": base,
                "update_shape": update_shape,
                "index": index,
                "body": body,
                "reads": reads,
                "guard": guard,
                "mode": mode,
                "sources": sources,
            },
        )


class Scan(Node):
    """Output `output` of a loop-carried recurrence of `length` steps.

    `step` is a Graph whose inputs are first the carries, then one slice per sequence, then the step index where
    `step` has one input more (int64, scalar), then the constants; its outputs are first the new carries, then one
    slice per stacked output.  Outputs of the Scan: the final carries, then the stacked outputs with a leading `length`.
    `reverse` runs the sequences from the last to the first (stacked outputs land at their own position).
    """

    __slots__ = ("call", "constants", "init", "length", "output", "reverse", "sequences", "step")
    call: tuple  # equal for the outputs of one recurrence
    step: Any
    init: tuple[Node, ...]
    sequences: tuple[Node, ...]
    constants: tuple[Node, ...]
    length: Extent
    output: int
    reverse: bool

    def __new__(
        cls,
        step: Any,
        init: Iterable[Node],
        sequences: Iterable[Node],
        constants: Iterable[Node],
        length: Extent,
        output: int,
        reverse: bool = False,
    ) -> Scan:
        init, sequences, constants = tuple(init), tuple(sequences), tuple(constants)
        out = step.outputs[output]
        shape = out.shape if output < len(init) else (length, *out.shape)
        call = ("scan", step.key, *(id(n) for n in (*init, *sequences, *constants)), len(init), len(sequences), length,
                reverse)
        return _intern(
            cls,
            (*call, output),
            {
                "call": call,
                "step": step,
                "init": init,
                "sequences": sequences,
                "constants": constants,
                "length": length,
                "output": output,
                "reverse": reverse,
                "shape": shape,
                "dtype": out.dtype,
                "sources": tuple(dict.fromkeys((*init, *sequences, *constants))),
            },
        )


class Kernel(Node):
    """Output `output` of a call of the named C kernel on whole, contiguous `sources`: sort, cholesky, random.

    `attributes` is a tuple of (name, value) pairs.  Nodes that agree in all but `output` are one call.
    """

    __slots__ = ("attributes", "name", "operands", "output")
    attributes: tuple[tuple[str, Any], ...]
    name: str
    operands: tuple[Node, ...]
    output: int

    def __new__(
        cls,
        name: str,
        operands: Iterable[Node],
        attributes: tuple[tuple[str, Any], ...],
        shape: Iterable[Extent],
        dtype: DType,
        output: int = 0,
    ) -> Kernel:
        operands, shape = tuple(operands), tuple(shape)
        return _intern(
            cls,
            ("kernel", name, *(id(n) for n in operands), attributes, shape, dtype, output),
            {
                "name": name,
                "operands": operands,
                "attributes": attributes,
                "output": output,
                "shape": shape,
                "dtype": dtype,
                "sources": tuple(dict.fromkeys(operands)),
            },
        )


def identity_read(node: Node) -> Read:
    """`node[i0, i1, ...]`."""
    return Read(node, axes(node.ndim))


def map_node(body: sympy.Expr, operands: Iterable[Node], dtype: DType) -> Compute:
    """A pointwise Compute over operands of one common shape: placeholder a_k is operand k at the same position."""
    operands = tuple(operands)
    return Compute(operands[0].shape, body, [identity_read(n) for n in operands], dtype)
