"""Records: what the front end writes down instead of computing.

A `Record` says which operation on which records makes a tensor's value.  Values are computed when someone looks, by the
engine; a record never changes its meaning (an in-place operation gives its tensor a new record), it only *settles*: once
its value is known, its inputs are let go.  In a trace the leaves are symbolic inputs and no record ever has a value.

Autograd's history is not here but in `grad_fn` objects (see grad_fn.py), as in PyTorch; `requires_grad` only tells a
trace where the derivative stops.
"""

from __future__ import annotations

import dis
import itertools
import math
import os
from functools import cache
from types import CodeType
from typing import Any

import numpy as np
import sympy

from gradgen.errors import ShapeError
from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Location
from gradgen.ir.nodes import Input, Node, Shape
from gradgen.ir.symbols import Dim
from gradgen.ops.registry import Op
from gradgen.ops.size import Size

Attributes = tuple[tuple[str, Any], ...]


@cache
def assigned_variable(code: CodeType, instruction: int) -> str:
    """The variable that the result of the call at `instruction` is stored in right away, or ""."""
    following = (i for i in dis.get_instructions(code) if i.offset > instruction and i.opname != "CACHE")
    first = next(following, None)
    if first is None or first.opname not in ("STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"):
        return ""
    return str(first.argval)


MOST_BYTES = 2**62
"""Of one tensor: the emitted C counts bytes in int64_t and leaves room for sums of two."""


def check_size(shape: Shape, dtype: DType) -> None:
    """Raises RuntimeError, in PyTorch's words, where no machine can count the bytes; axes without elements count as 1."""
    if math.prod(max(e, 1) for e in shape if isinstance(e, int)) * dtype.itemsize > MOST_BYTES:
        sizes = ", ".join(map(str, shape))
        raise ShapeError(f"Storage size calculation overflowed with sizes=[{sizes}]",
                         hint=f"{dtype.name} tensors have at most {MOST_BYTES // dtype.itemsize} elements")


class Spec:
    """A shape and a dtype, interned by `spec`: quick to hash and to compare."""

    __slots__ = ("_phantom", "dtype", "shape", "size")

    def __init__(self, shape: Shape, dtype: DType) -> None:
        check_size(shape, dtype)
        self.shape, self.dtype = shape, dtype
        self.size = Size(shape) if all(type(e) is int for e in shape) else shape  # what Tensor.shape gives
        self._phantom: Record | None = None

    @property
    def phantom(self) -> Record:
        """A leaf of this shape and dtype, whose value (zeros that take no memory) nobody reads."""
        if self._phantom is None:
            if all(isinstance(e, int) for e in self.shape):
                zeros = np.broadcast_to(np.zeros((), self.dtype.numpy), self.shape)
                self._phantom = Record(None, (), (), self, value=zeros)
            else:
                self._phantom = Record(None, (), (), self, symbol=Input("unread", self.shape, self.dtype))
            self._phantom.is_phantom = True
        return self._phantom

    def __repr__(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}"


_specs: dict[tuple[Shape, str], Spec] = {}


def spec(shape: Shape, dtype: DType) -> Spec:
    """The Spec of `shape` and `dtype`."""
    key = (shape, dtype.name)
    found = _specs.get(key)
    if found is None:
        if len(_specs) > 1 << 16:  # two Specs for one shape only cost a second look-up
            _specs.clear()
        found = _specs[key] = Spec(shape, dtype)
    return found


class Record:
    """One value: a leaf (`op` None), or output `output` of `op` over `inputs`.

    A leaf holds an array (`value`) or stands for an Input of a trace (`symbol`).  `is_phantom` marks a leaf that is only
    there for its shape and dtype (the operand of which a derivative asks nothing but the extents); nothing reads it.
    `attributes` are the static arguments, sorted (name, value) pairs, hashable.  The outputs of one call share `call`.
    `is_scalar`: a Python number lifted to a 0-d leaf, a run-time argument of compiled code.
    `depth`: the longest chain of records without a value below this one, about.
    `code`: a number for what is done to the inputs, see `code_of`; 0 where nobody asked yet.
    `origin`: code object and instruction of the user's call; `location` makes a line of it.
    """

    __slots__ = (
        "__weakref__",
        "attributes",
        "call",
        "code",
        "depth",
        "dtype",
        "inputs",
        "is_phantom",
        "is_scalar",
        "op",
        "origin",
        "output",
        "requires_grad",
        "shape",
        "spec",
        "symbol",
        "value",
    )

    def __init__(
        self,
        op: Op | None,
        inputs: tuple[Record, ...],
        attributes: Attributes,
        spec: Spec,
        output: int = 0,
        call: object = None,
        value: np.ndarray | None = None,
        symbol: Node | None = None,
        requires_grad: bool = False,
        origin: tuple[CodeType, int] | None = None,
        is_scalar: bool = False,
        depth: int = 0,
        code: int = 0,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attributes = attributes
        self.spec = spec
        self.shape = spec.shape
        self.dtype = spec.dtype
        self.output = output
        self.call = call
        self.value = value
        self.symbol = symbol
        self.requires_grad = requires_grad
        self.origin = origin
        self.is_scalar = is_scalar
        self.is_phantom = False
        self.depth = depth
        self.code = code

    @property
    def location(self) -> Location | None:
        """The user's line that made this record."""
        if self.origin is None:
            return None
        code, instruction = self.origin
        line = next((n for a, b, n in code.co_lines() if a <= instruction < b and n is not None), code.co_firstlineno)
        operation = self.op.name if self.op else "input"
        return Location(os.path.basename(code.co_filename), line, operation, assigned_variable(code, instruction))

    def settle(self, value: np.ndarray) -> None:
        """Gives the record its value; its inputs are not needed any more."""
        self.value = value
        self.op = None
        self.inputs = ()
        self.call = None
        self.depth = 0

    def __repr__(self) -> str:
        kind = self.op.name if self.op else "phantom" if self.is_phantom else "leaf"
        return f"<Record {kind} {self.spec}>"


_codes: dict[tuple[Any, ...], int] = {}
_code_numbers = itertools.count(1)


def code_of(record: Record) -> int:
    """What is done to the record's inputs, as a number: see `operation_code`."""
    assert record.op is not None
    record.code = operation_code(record.op, record.attributes, record.output, len(record.inputs))
    return record.code


def operation_code(op: Op, attributes: Attributes, output: int, arity: int) -> int:
    """A number for an operation, its attributes, one of its outputs and its number of inputs: equal for equal ones,
    never reused."""
    key = (op, attributes, output, arity)
    found = _codes.get(key)
    if found is None:
        if len(_codes) > 1 << 16:  # two numbers for one operation only cost a second look
            _codes.clear()
        found = _codes[key] = next(_code_numbers)
    return found


def leaf(value: np.ndarray, dtype: DType, *, requires_grad: bool = False, is_scalar: bool = False) -> Record:
    """A record that holds its value."""
    return Record(None, (), (), spec(value.shape, dtype), value=value, requires_grad=requires_grad, is_scalar=is_scalar)


def symbol_leaf(node: Node, *, requires_grad: bool = False) -> Record:
    """A record that stands for an Input of a trace."""
    return Record(None, (), (), spec(node.shape, node.dtype), symbol=node, requires_grad=requires_grad)


def is_traced(record: Record) -> bool:
    """Whether the value depends on an input of a trace, or on the extent of a named dimension."""
    seen: set[Record] = set()
    stack = [record]
    while stack:
        r = stack.pop()
        if r.symbol is not None and not r.is_phantom:
            return True
        if r.value is None:
            if not r.is_phantom and _has_named_extent(r):
                return True
            for s in r.inputs:
                if s not in seen:
                    seen.add(s)
                    stack.append(s)
    return False


def _has_named_extent(record: Record) -> bool:
    return not isinstance(record.spec.size, Size) or any(
        isinstance(v, sympy.Expr) and v.atoms(Dim) for _, v in record.attributes
    )
