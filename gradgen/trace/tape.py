"""What autograd's tape says of a tensor, as a record.

A trace differentiates records; PyTorch differentiates its tape.  The two are one thing as long as a tensor's value is what
the last recorded operation gave it.  It is not after a change of the value that the tape does not see (`x.data.mul_(2)`,
`x += 1` under `no_grad`, a write through `x.detach()`) nor after a change of the tape that the value does not see
(`detach_()`, `requires_grad_(False)`).  So each operation in a trace reads of a tensor the value that its storage holds with
the derivative that its edge in the tape has: `instead(value, history)`, one node that says both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradgen.eager import views
from gradgen.eager.apply import CAST
from gradgen.eager.grad_fn import AccumulateGrad, Edge, OpNode
from gradgen.ir.functions import instead, stop
from gradgen.ir.nodes import Compute, Node, identity_read
from gradgen.ir.symbols import placeholder
from gradgen.ops.registry import KEEP, Op
from gradgen.record.records import Record

if TYPE_CHECKING:
    from gradgen.trace.border import Border


def _graft(value: Node, history: Node) -> Node:
    if value is history:
        return value
    return Compute(value.shape, instead(placeholder(0), placeholder(1)), [identity_read(value), identity_read(history)],
                   value.dtype)


def _stop(node: Node) -> Node:
    return Compute(node.shape, stop(placeholder(0)), [identity_read(node)], node.dtype)


GRAFT = Op("graft", _graft, "AliasBackward0", KEEP, method=False)
STOP = Op("detach", _stop, "DetachBackward0", KEEP, method=False)


def stopped(record: Record) -> Record:
    """The value without a derivative."""
    if not record.requires_grad:
        return record
    return Record(STOP, (record,), (), record.spec, depth=record.depth + 1)


def grafted(value: Record, history: Record | None) -> Record:
    """`value` with the derivative of `history`, or with none."""
    if history is None or not history.requires_grad:
        return stopped(value)
    if history.dtype is not value.dtype:  # stored in a tensor of another dtype
        history = _derived(history, CAST, (("dtype", value.dtype),), value)
    if _alike(value, history):
        return value
    return Record(GRAFT, (value, history), (), value.spec, requires_grad=True, depth=max(value.depth, history.depth) + 1)


def _derived(record: Record, op: Op, attributes: tuple, like: Record) -> Record:
    return Record(op, (record,), attributes, like.spec, requires_grad=record.requires_grad, depth=record.depth + 1)


def _alike(a: Record, b: Record) -> bool:
    """Whether two records say the same, as far as views, writes through them and casts go; lowering finds the rest."""
    pairs = [(a, b)]
    while pairs:
        a, b = pairs.pop()
        if a is b:
            continue
        op = a.op
        if (op is None or op is not b.op or not (op.view or op is CAST or op is views.WRITE) or a.output != b.output
                or a.attributes != b.attributes or a.requires_grad != b.requires_grad):
            return False
        pairs.extend(zip(a.inputs, b.inputs))
    return True


def meaning(edge: Edge, border: Border) -> Record | None:
    """The record whose derivative is that of output `edge[1]` of node `edge[0]`; None for a leaf made in the trace.

    Operations tell theirs when they are recorded (`Border.carry`); views follow from what they are views of.
    """
    found = border.carried.get(edge)
    if found is not None:
        return found
    node, number = edge
    if isinstance(node, AccumulateGrad) and border.is_inside(node.variable._cell):
        return None
    if isinstance(node, views.ViewNode):
        chain = node.chain
    elif isinstance(node, OpNode) and node.plan.op.view:
        chain = (views.Step(node.plan.op, node.plan.attributes, node.outs[number], number),)
    else:
        raise KeyError(edge)
    base = meaning(node.edges[0], border) if node.edges[0] is not None else None
    if base is None:
        return None
    found = border.carried[edge] = views.read(base, chain)
    return found


def rebased(slices: Edge, chain: views.Chain, before: Record, below: Record | None, part: Record | None,
            border: Border) -> None:
    """A view was changed in place: what its base's new history says.

    `before` is the base's value before the change, `below` what its history said then, `part` what the history of the new
    value of the view says; None for no history.
    """
    base = grafted(before, below)
    inner = part if part is not None else stopped(views.read(before, chain))
    shape = chain[-1].spec
    if inner.dtype is not shape.dtype:
        inner = Record(CAST, (inner,), (("dtype", shape.dtype),), shape, requires_grad=inner.requires_grad,
                       depth=inner.depth + 1)
    border.carried[slices] = Record(
        views.WRITE, (base, inner), (("chain", chain),), base.spec, requires_grad=base.requires_grad or inner.requires_grad,
        depth=max(base.depth, inner.depth) + 1,
    )
