"""Records: what the front end writes down instead of computing.

A `Record` says which operation on which records makes a tensor's value.  Values are computed when someone looks, by the
engine; a record's history never changes (an in-place operation gives its tensor a new record).  In a trace the leaves
are symbolic inputs and no record ever has a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradgen.frontend.registry import Op
from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Location
from gradgen.ir.nodes import Node, Shape


class Record:
    """One value: a leaf (`op` None: `value` holds an array, or `symbol` a traced Input), or output `output` of `op`.

    `attributes` are the static arguments, sorted (name, value) pairs, hashable.  Multi-output operations make one Record
    an output; they share `call`, a list whose first element identifies the call.
    `requires_grad` is False for everything recorded under no_grad: the derivative stops there.
    `freed` is set by a backward without retain_graph on records whose operation saved something.
    """

    __slots__ = (
        "__weakref__", "attributes", "dtype", "freed", "grad_fn", "inputs", "is_scalar", "location", "op", "output",
        "requires_grad", "shape", "symbol", "value", "versions",
    )

    def __init__(
        self,
        op: Op | None,
        inputs: tuple[Record, ...],
        attributes: tuple[tuple[str, Any], ...],
        shape: Shape,
        dtype: DType,
        *,
        output: int = 0,
        value: np.ndarray | None = None,
        symbol: Node | None = None,
        requires_grad: bool = False,
        location: Location | None = None,
        is_scalar: bool = False,
    ) -> None:
        self.op, self.inputs, self.attributes = op, inputs, attributes
        self.shape, self.dtype, self.output = shape, dtype, output
        self.value, self.symbol = value, symbol
        self.requires_grad, self.location = requires_grad, location
        self.is_scalar = is_scalar  # a Python number lifted to a 0-d leaf: a run-time argument of compiled code
        self.freed = False
        self.grad_fn: Any = None
        self.versions: tuple[Any, ...] = ()


def leaf(value: np.ndarray, dtype: DType, *, requires_grad: bool = False, is_scalar: bool = False) -> Record:
    """A record that holds its value."""
    return Record(None, (), (), value.shape, dtype, value=value, requires_grad=requires_grad, is_scalar=is_scalar)


def symbol_leaf(node: Node, *, requires_grad: bool = False) -> Record:
    """A record that stands for an Input of a trace."""
    return Record(None, (), (), node.shape, node.dtype, symbol=node, requires_grad=requires_grad)
