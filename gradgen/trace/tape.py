"""What autograd's tape says of a tensor, as a record.

A trace differentiates records; PyTorch differentiates its tape.  The two are one thing as long as a tensor's value is what
the last recorded operation gave it.  It is not after a change of the value that the tape does not see (`x.data.mul_(2)`,
`x += 1` under `no_grad`, a write through `x.detach()`) nor after a change of the tape that the value does not see
(`detach_()`, `requires_grad_(False)`).  So each operation in a trace reads of a tensor the value that its storage holds with
the derivative that its edge in the tape has: `instead(value, history)`, one node that says both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gradgen.eager import views
from gradgen.eager.apply import CAST
from gradgen.eager.grad_fn import AccumulateGrad, Edge, OpNode
from gradgen.ir.functions import instead, local, retold, stop
from gradgen.ir.kernels import Pullback, given
from gradgen.ir.nodes import Compute, Kernel, Node, Scan, identity_read
from gradgen.ir.rewrite import rewrite
from gradgen.ir.symbols import placeholder, placeholder_place
from gradgen.ops.registry import KEEP, Op
from gradgen.record.records import Record

if TYPE_CHECKING:
    from gradgen.eager.tensor import Tensor
    from gradgen.trace.border import Border


def _graft(value: Node, history: Node) -> Node:
    if value is history:
        return value
    return Compute(value.shape, instead(placeholder(0), placeholder(1)), [identity_read(value), identity_read(history)],
                   value.dtype)


def _local(value: Node, derived: Node) -> Node:
    return Compute(value.shape, local(placeholder(0), placeholder(1)), [identity_read(value), identity_read(derived)],
                   value.dtype)


def _stop(node: Node) -> Node:
    return Compute(node.shape, stop(placeholder(0)), [identity_read(node)], node.dtype)


def _retell(value: Node, *others: Node, history: bool, moving: bool) -> Node:
    """What moves is `value` itself, or the last of `others`, or nothing."""
    last = len(others) if len(others) > history else 0
    body = retold(placeholder(0), placeholder(1) if history else 0, placeholder(last) if moving else 0)
    return Compute(value.shape, body, [identity_read(n) for n in (value, *others)], value.dtype)


GRAFT = Op("graft", _graft, "AliasBackward0", KEEP)
RETELL = Op("retell", _retell, "AliasBackward0", KEEP)
LOCAL = Op("local", _local, "AliasBackward0", KEEP)
STOP = Op("detach", _stop, "DetachBackward0", KEEP)


def stopped(record: Record) -> Record:
    """The value without a derivative."""
    if not moves(record):
        return record
    return Record(STOP, (record,), (), record.spec, depth=record.depth + 1)


def moves(record: Record) -> bool:
    """Whether forward mode, which goes through what was computed under no_grad, finds a derivative."""
    seen = {record}
    stack = [record]
    while stack:
        found = stack.pop()
        if found.requires_grad:
            return True
        if found.op is not STOP and found.value is None:
            below = [r for r in found.inputs if r not in seen]
            seen.update(below)
            stack += below
    return False


def grafted(value: Record, history: Record | None, moving: Record | None) -> Record:
    """`value` with the derivative of `history` in reverse mode and of `moving` in forward mode; None for no derivative."""
    history = _as(value, history if history is not None and history.requires_grad else None)
    moving = _as(value, moving if moving is not None and moves(moving) else None)
    if history is None and moving is None:
        return stopped(value)
    if history is not None and moving is not None and _alike(moving, history):
        if _alike(value, history):
            return value
        inputs, op, attributes = (value, history), GRAFT, ()
    elif history is None and moving is not None and _alike(value, moving) and not value.requires_grad:
        return value
    else:
        others = [history] if history is not None else []
        others += [moving] if moving is not None and not _alike(value, moving) else []
        inputs, op = (value, *others), RETELL
        attributes = (("history", history is not None), ("moving", moving is not None))
    return Record(op, inputs, attributes, value.spec, requires_grad=history is not None,
                  depth=max(r.depth for r in inputs) + 1)


def localised(value: Record, derived: Record) -> Record:
    """`derived` to the transform that records it, and to those around it just its value."""
    return value if derived is value else Record(LOCAL, (value, derived), (), value.spec,
                                                 requires_grad=derived.requires_grad, depth=derived.depth + 1)


def _as(value: Record, history: Record | None) -> Record | None:
    """A history in the dtype of the value, where that is stored in a tensor of another."""
    if history is None or history.dtype is value.dtype:
        return history
    return _derived(history, CAST, (("dtype", value.dtype),), value)


def settled(outputs: Sequence[Node]) -> dict[Node, Node]:
    """The nodes of a whole program, old to new: nothing is around it, and its derivatives are those of reverse mode, in which
    what no_grad computed is constant."""

    def rule(node: Node) -> Node:
        if isinstance(node, Scan):
            new = settled(node.step.outputs)
            step = replace(node.step, outputs=tuple(new[n] for n in node.step.outputs))
            return node if step.outputs == node.step.outputs else Scan(
                step, node.init, node.sequences, node.constants, node.length, node.output, node.reverse)
        if isinstance(node, Kernel) and node.name == "given":
            return _settled_backward(node)
        if not isinstance(node, Compute):
            return node
        if isinstance(node.body, local):
            return node.reads[placeholder_place(node.body.args[1])].source
        if isinstance(node.body, retold):
            value, history, _ = node.body.args
            return Compute(node.shape, stop(value) if history == 0 else instead(value, history), node.reads, node.dtype)
        return node

    return rewrite(outputs, rule)


def _settled_backward(node: Kernel) -> Node:
    """Likewise what a custom Function's backward computed under no_grad."""
    pullback: Pullback = dict(node.attributes)["pullback"]
    if pullback.graph is None:
        return node
    new = settled(pullback.graph.outputs)
    outputs = tuple(new[n] for n in pullback.graph.outputs)
    if outputs == pullback.graph.outputs:
        return node
    return given(node.operands[0], node.operands[1:], replace(pullback, graph=replace(pullback.graph, outputs=outputs)))


def seen_around(outputs: Sequence[Node]) -> list[Node]:
    """What a transform gives, to the transforms around it: what its function cut off by `.data` is whole again."""

    def rule(node: Node) -> Node:
        if not (isinstance(node, Compute) and isinstance(node.body, local)):
            return node
        return node.reads[placeholder_place(node.body.args[0])].source

    new = rewrite(outputs, rule)
    return [new[n] for n in outputs]


# --- forward mode -------------------------------------------------------------------------------------------------------
#
# PyTorch keeps a tangent with a tensor and its views; no_grad does not matter to it.  Twins by detach() and .data have none
# of their own: a write through one of them changes the value that all share, and its own tangent only.


def moving(tensor: Tensor, record: Record, border: Border) -> Record | None:
    """The record whose derivative is the tangent of `tensor`, whose value is `record`; None for none."""
    root = tensor._base if tensor._base is not None else tensor
    key = root if root._still else None
    known = border.moving.get(tensor._cell, {})
    if key not in known:
        return record if key is None else None
    return views.read(known[key], tensor._chain) if tensor._chain is not None else known[key]


def written(tensor: Tensor, record: Record, border: Border) -> None:
    """`record` becomes the value of `tensor`: its tangent, and not that of its twins."""
    root, cell = tensor._base if tensor._base is not None else tensor, tensor._cell
    key = root if root._still else None
    if key is None and cell not in border.moving:
        return
    if root._still == 2:
        border.behind.add(cell)
    known, before = border.moving.setdefault(cell, {}), cell.current()
    if key is not None:
        known.setdefault(None, before)
    if tensor._chain is None:
        known[key] = record
        return
    base = known[key] if key in known else stopped(before) if key is not None else before
    known[key] = Record(views.WRITE, (base, record), (("chain", tensor._chain),), cell.spec,
                        requires_grad=base.requires_grad or record.requires_grad, depth=max(base.depth, record.depth) + 1)


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
    base = grafted(before, below, before)
    inner = part if part is not None else stopped(views.read(before, chain))
    shape = chain[-1].spec
    if inner.dtype is not shape.dtype:
        inner = Record(CAST, (inner,), (("dtype", shape.dtype),), shape, requires_grad=inner.requires_grad,
                       depth=inner.depth + 1)
    border.carried[slices] = Record(
        views.WRITE, (base, inner), (("chain", chain),), base.spec, requires_grad=base.requires_grad or inner.requires_grad,
        depth=max(base.depth, inner.depth) + 1,
    )
