"""How reductions run in loops: identities, accumulators, blocks, and which loops may be vectorised.

Float sums are never one long chain: the innermost loop sums a block of at most `Costs.block` terms (in vector lanes), and
the sums of blocks are added pairwise.  The error bound is then that of pairwise summation, O(log n) ulp, for the price
of one chain per block (Higham, The Accuracy of Floating Point Summation, SIAM J. Sci. Comput. 14, 1993).
max and min let nan win: the vectorised comparison ignores it and a flag beside remembers it.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.nodes import Compute
from gradgen.ir.symbols import Extent
from gradgen.loops.statements import Variable
from gradgen.schedule.cost import Costs
from gradgen.schedule.inline import MAP, REDUCE, Op
from gradgen.schedule.tree import Leaf, LoopNode

FEW = 8  # additions that may be one chain

CLAUSE = {"sum": "+", "prod": "*", "max": "max", "min": "min", "any": "|", "all": "&"}
COMBINE = {"sum": "add", "add": "add", "prod": "mul", "any": "bitor", "all": "bitand"}


@dataclass(eq=False)
class Accumulator:
    """State of a reduction in locals: `total`, for argmax `position`, for float max and min the flag `nan`."""

    total: Variable
    position: Variable | None = None
    nan: Variable | None = None
    pairwise: bool = False
    apart: bool = False  # the innermost loop sums to a partial sum of its own
    partial: Variable | None = None  # of the block being summed


def extreme(dtype: DType, largest: bool) -> sympy.Expr:
    """The identity of min (`largest`) or max, exactly."""
    if dtype.is_floating_point:
        return sympy.oo if largest else -sympy.oo
    if dtype is bool_:
        return sympy.Integer(int(largest))
    bits = 8 * dtype.itemsize - 1
    return sympy.Integer(2**bits - 1 if largest else -(2**bits))


def initial(reducer: str, dtype: DType) -> sympy.Expr:
    """What a reduction over nothing gives."""
    if reducer in ("max", "argmax", "argpeak"):
        return extreme(dtype, False)
    if reducer in ("min", "argmin"):
        return extreme(dtype, True)
    return sympy.Integer(1 if reducer in ("prod", "all") else 0)


def reducer_of(op: Op) -> str:
    node = op.node
    assert isinstance(node, Compute) and node.reducer is not None
    return node.reducer


def is_float_sum(op: Op) -> bool:
    return op.kind == REDUCE and reducer_of(op) == "sum" and op.node.dtype.is_floating_point


def exceeds(extent: Extent, limit: int) -> bool:
    """The extent may be more than `limit`."""
    return not isinstance(extent, int) or extent > limit


def additions(op: Op, path: tuple[LoopNode, ...], contractions: object, costs: Costs) -> Extent:
    """How many partial sums a scalar sum adds up: one per step of its loops, one per block of a vector loop."""
    reduced = [loop for loop in path if loop.binding.get(op) in op.reduced_axes]
    total: Extent = 1
    if not reduced:
        return total
    for loop in reduced[:-1]:
        total = total * loop.extent
    last = reduced[-1]
    if not vectorisable(last, contractions):
        return total * last.extent
    if exceeds(last.extent, costs.uncut):
        total = total * (-(-last.extent // costs.block) if isinstance(last.extent, int) else last.extent)
    return total


def many_terms(op: Op, path: tuple[LoopNode, ...], costs: Costs) -> bool:
    """All loops together sum more than one chain may."""
    total: Extent = 1
    for loop in path:
        if loop.binding.get(op) in op.reduced_axes:
            total = total * loop.extent
    return exceeds(total, costs.uncut)


def vectorisable(node: LoopNode, contractions: object) -> bool:
    """No iteration of this innermost loop depends on another, reductions aside."""
    for child in node.children:
        if not isinstance(child, Leaf) or child.op in contractions:  # type: ignore[operator]
            return False
        op = child.op
        if op not in node.binding or op.kind not in (MAP, REDUCE):
            return False
    return bool(node.children)
