"""The operation library's register: one entry an operation, from which everything else follows.

An `Op` says how an operation lowers to IR nodes; its gradient, C, documentation row, parity test, gradcheck and fuzzing
follow from the entry.  A pointwise operation is one call of `pointwise(...)`: its name, its SymPy expression, its dtype
rule, sample inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.functions import local, retold, stop
from gradgen.ir.nodes import Compute, Node, Read, identity_read
from gradgen.ir.symbols import Extent, axis, placeholder, same_extent
from gradgen.ops.requirements import dim_hint
from gradgen.ops.schema import Schema, schema_of

KEEP, PROMOTE, FLOAT, BOOL_RESULT = "keep", "promote", "float", "bool"
"""Dtype rules.  keep: `lower` decides alone, operands come as they are.  promote: operands are cast to their common
type first (PyTorch's promotion, Python scalars weak, 0-d tensors weaker than dimensioned ones), which is the result's.
float: as promote, integers and bools become the default floating type.  bool: as promote, the result is bool."""


@dataclass(frozen=True)
class Saves:
    """The operands and results of an operation that PyTorch keeps for its derivative.

    What is kept here are records, which never change; the check of versions serves PyTorch's contract alone, and refuses
    what PyTorch refuses and nothing else.  `by` says of an operand that it is kept only for the gradient by another.
    """

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    by: tuple[tuple[int, int], ...] = ()

    def inputs_for(self, wanted: Sequence[int]) -> tuple[int, ...]:
        """The operands kept where gradients by `wanted` flow."""
        only = dict(self.by)
        return tuple(k for k in self.inputs if k not in only or only[k] in wanted)


@dataclass(frozen=True, eq=False)
class Op:
    """One operation.

    `lower(*nodes, **attributes)` gives the Node (or a tuple of Nodes for several outputs); it raises PyTorch's exception
    types for bad shapes.  It must not look at values.  Attributes are hashable and static.
    `grad_name` is what PyTorch calls its grad_fn.  `view` marks index maps that share storage with their first operand.
    `saves` is what PyTorch keeps for the derivative, where ours keeps something else.
    """

    name: str
    lower: Callable[..., Node | tuple[Node, ...]]
    grad_name: str
    rule: str = KEEP
    view: bool = False
    outputs: int = 1
    saves: Saves | None = None
    results: range = range(0)  # of a pullback: which operands are results that the operation saved

    @property
    def schema(self) -> Schema | None:
        """The signature of the library's function of that name; None for what only other functions use."""
        function = PUBLIC.get(self.name)
        return None if function is None else schema_of(self.name, function)


@dataclass(frozen=True)
class Sample:
    """One call for the tests: tensors are given as nested lists or ("randn", shape) style specs, see tests/ops."""

    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...] = ()
    dtypes: tuple[str, ...] = ("float32", "float64")
    differentiable: bool = True


OPS: dict[str, Op] = {}
PUBLIC: dict[str, Callable[..., Any]] = {}
"""The public functions by name, as `table.public` lists them first."""


def register(op: Op) -> Op:
    """Adds `op`; names are unique within the register."""
    if op.name in OPS:
        raise ValueError(f"operation {op.name!r} is registered twice")
    OPS[op.name] = op
    return op


# --- lowering helpers -------------------------------------------------------------------------------------------------


def broadcast_shapes(*shapes: Sequence[Extent]) -> tuple[Extent, ...]:
    """PyTorch's broadcasting; RuntimeError with PyTorch's words, for the last axis that does not fit."""
    ndim = max((len(s) for s in shapes), default=0)
    result: list[Extent] = [1] * ndim
    for shape in shapes:
        for d in range(len(shape) - 1, -1, -1):
            k = ndim - len(shape) + d
            if same_extent(shape[d], 1):
                continue
            if same_extent(result[k], 1):
                result[k] = shape[d]
            elif not same_extent(result[k], shape[d]):
                raise RuntimeError(
                    f"The size of tensor a ({result[k]}) must match the size of tensor b ({shape[d]}) at non-singleton "
                    f"dimension {k}{dim_hint(result[k], shape[d])}"
                )
    return tuple(result)


def broadcast_read(node: Node, shape: Sequence[Extent]) -> Read:
    """Reads `node` as if expanded to `shape`: a broadcast axis is an index left out."""
    offset = len(shape) - node.ndim
    index = [
        sympy.Integer(0) if same_extent(extent, 1) and not same_extent(shape[offset + d], 1) else axis(offset + d)
        for d, extent in enumerate(node.shape)
    ]
    return Read(node, index)


def cast(node: Node, dtype: DType) -> Node:
    """The node itself, or its conversion to `dtype` (C rules; to bool: not equal to 0)."""
    if node.dtype is dtype:
        return node
    return Compute(node.shape, placeholder(0), [broadcast_read(node, node.shape)], dtype)


def stopped(node: Node) -> Node:
    """The value without its derivative: what detach leaves."""
    if isinstance(node, Compute) and isinstance(node.body, stop):
        return node
    return Compute(node.shape, stop(placeholder(0)), [identity_read(node)], node.dtype)


def untracked(node: Node) -> Node:
    """The value without its derivative in reverse mode: what no_grad leaves."""
    if isinstance(node, Compute) and isinstance(node.body, (stop, local, retold)):
        return node
    a0 = placeholder(0)
    return Compute(node.shape, retold(a0, 0, a0), [identity_read(node)], node.dtype)


def elementwise(body: sympy.Expr, operands: Sequence[Node], dtype: DType) -> Compute:
    """body(a0, a1, ...) over the broadcast of the operands."""
    shape = broadcast_shapes(*(n.shape for n in operands))
    return Compute(shape, body, [broadcast_read(n, shape) for n in operands], dtype)


# --- the one-line entry ---------------------------------------------------------------------------------------------------


def pointwise(
    name: str,
    expression: Callable[..., sympy.Expr],
    *,
    arity: int = 1,
    rule: str = PROMOTE,
    grad_name: str | None = None,
    saves: Saves | None = None,
) -> Op:
    """Registers a pointwise operation: `expression(a0, ..., **attributes)` over `arity` tensor operands.

    The operands arrive at `lower` in their common dtype (see the dtype rules); broadcasting is done here.
    """

    def lower(*nodes: Node, **attributes: Any) -> Node:
        body = expression(*(placeholder(k) for k in range(len(nodes))), **attributes)
        result = dtypes.bool_ if rule == BOOL_RESULT else nodes[-1].dtype
        return elementwise(body, nodes, result)

    camel = "".join(part.capitalize() for part in name.split("_"))
    return register(
        Op(name, lower, grad_name or f"{camel}Backward0", rule, saves=saves)
    )
