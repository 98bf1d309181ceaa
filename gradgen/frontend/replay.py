"""Replay: the second backward() of the same structure runs the first one's code without recording it again.

A step of training records the same operations again and again.  `Walk` reads off what decides what backward() does: the
nodes of autograd's graph and how they hang together, the records without a value below what they saved, and which of
those records somebody outside will still want.  The first time it is done in full and what it came to is kept under
that key: the compiled code, where its arguments are found on the walk, and where its results belong.

Whatever the key does not tell (hooks, several roots, nodes that are not of the library, saved tensors freed or changed)
is left to the full engine in autograd.py.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from gradgen.frontend.grad_fn import ACCUMULATES, REPLAYS, Node
from gradgen.frontend.record import Record, code_of

if TYPE_CHECKING:
    from gradgen.frontend.tensor import Tensor

_MANY = 1 << 12
_SHIFT = 24  # an edge in a key: the output's number above, the node's place below
_OWN = 4  # references to a record that looking at it adds: the list, the table, the name, getrefcount's own


class Walk:
    """What one backward() from one root starts from.

    `nodes` are autograd's nodes, `leaves` those of them that accumulate, `records` the records that count, the root's
    first; `key` decides everything else.
    """

    __slots__ = ("key", "leaves", "nodes", "records")

    def __init__(self, key: tuple[Any, ...], nodes: list[Any], leaves: list[Any], records: list[Record]) -> None:
        self.key, self.nodes, self.leaves, self.records = key, nodes, leaves, records


def walk(root: Tensor, keep: bool) -> Walk | None:
    """The walk from `root`; None where the key would not tell everything."""
    cell = root._cell
    if root._chain is not None or root._base is not None or cell.record is None or root._fn is None:
        return None
    for extent in cell.spec.shape:
        if extent != 1:
            return None  # an error, or a trace
    parts: list[Any] = [keep, root._nr]
    found = _nodes(root._fn, parts)
    if found is None:
        return None
    nodes, leaves = found
    return _records(cell.record, nodes, leaves, parts, keep)


def _nodes(start: Any, parts: list[Any]) -> tuple[list[Any], list[Any]] | None:
    """The nodes below `start` in the order they are met, and the accumulators; their structure goes to `parts`."""
    place: dict[Node, int] = {start: 0}
    order: list[Any] = [start]
    leaves: list[Any] = []
    previous = start.sequence
    sorted_ = True
    for node in order:
        if node.hooks is not None:
            return None
        kind = node.replay
        if kind == REPLAYS:
            if node.freed or not node.unchanged():
                return None
            sequence = node.sequence
            if sequence > previous:
                sorted_ = False
            previous = sequence
            parts.append(node.plan)
            for edge in node.edges:
                if edge is None:
                    parts.append(-1)
                    continue
                below, number = edge
                k = place.get(below)
                if k is None:
                    k = place[below] = len(order)
                    order.append(below)
                parts.append(k | number << _SHIFT if number else k)
        elif kind == ACCUMULATES:
            if node.variable._post_hooks:
                return None
            leaves.append(node)
            parts.append(node.variable._grad is None)
            parts.append(node.outs[0])
        else:
            return None
    if not sorted_:  # gradients meet in the order in which their nodes run
        parts.append(tuple(sorted(range(len(order)), key=[n.sequence for n in order].__getitem__)))
    if len({id(leaf.variable) for leaf in leaves}) < len(leaves):
        return None
    return order, leaves


def _records(root: Record, nodes: list[Any], leaves: list[Any], parts: list[Any], keep: bool) -> Walk | None:
    """The records below what the nodes saved and the gradients there are."""
    place: dict[Record, int] = {root: 0}
    order = [root]
    uses = [0]  # references from within what backward() lets go of

    def saved(records: tuple[Record, ...]) -> None:
        for r in records:
            if r.is_phantom:
                parts.append(-1)
                continue
            k = place.get(r)
            if k is None:
                k = place[r] = len(order)
                order.append(r)
                uses.append(0)
            if not keep:
                uses[k] += 1
            parts.append(k)

    for node in nodes:
        if node.replay == REPLAYS:
            plan = node.plan
            if node.inputs is not plan.phantom_ins:
                saved(node.inputs)
            else:
                parts.append(-2)
            if node.outputs is not plan.phantom_outs:
                saved(node.outputs)
            else:
                parts.append(-2)
    sums = []
    for leaf in leaves:
        before = leaf.variable._grad
        if before is not None:
            cell = before._cell
            if before._chain is not None or cell.record is None or before._fn is not None or cell.spec is not leaf.outs[0]:
                return None
            sums.append(cell)
    if sums:
        if len(set(sums)) < len(sums):
            return None
        saved(tuple([cell.record for cell in sums]))  # counted once each, as the reference that the new sum takes over
    waiting: list[int] = []
    calls: set[int] = set()
    for n, r in enumerate(order):
        if r.value is not None:
            parts.append(r.spec)
            continue
        if r.op is None:
            return None  # an input of a trace
        waiting.append(n)
        parts.append(r.code or code_of(r))
        counts = 1
        if r.call is not None:  # several results of one call share their inputs
            inputs = id(r.inputs)
            counts = 0 if inputs in calls else 1
            calls.add(inputs)
        for s in r.inputs:
            k = place.get(s)
            if k is None:
                k = place[s] = len(order)
                order.append(s)
                uses.append(counts)
            else:
                uses[k] += counts
            parts.append(k)
    r = s = None  # type: ignore[assignment]
    parts.append(-3)
    for n in waiting:
        r = order[n]
        if n and r.inputs and sys.getrefcount(r) > uses[n] + _OWN:
            parts.append(n)
    return Walk(tuple(parts), nodes, leaves, order)


class Program:
    """What a walk's backward() came to: its code, arguments and results by their places on the walk."""

    __slots__ = ("call", "places", "settled", "targets")

    def __init__(self, call: Any, places: list[int], settled: list[tuple[int, int]], targets: list[int]) -> None:
        self.call, self.places, self.settled, self.targets = call, places, settled, targets

    def run(self, walk: Walk, keep: bool) -> None:
        """Does what backward() does: values, gradients, and letting go of what was saved."""
        records = walk.records
        results = self.call.run([records[k].value for k in self.places])
        for k, n in self.settled:
            records[n].settle(results[k])
        if not keep:
            for node in walk.nodes:
                node.release()
        made: dict[int, Record] = {}
        for k, leaf in zip(self.targets, walk.leaves):
            record = made.get(k)
            if record is None:
                record = made[k] = Record(None, (), (), leaf.outs[0], value=results[k])
            variable = leaf.variable
            before = variable._grad
            if before is None:
                variable._grad = recording.Tensor._from_record(record)
            else:
                before._cell.put(record)
                before._versions().version += 1


_programs: dict[tuple[Any, ...], Program | None] = {}


def known(walk: Walk) -> Program | None:
    return _programs.get(walk.key)


class Note:
    """A walk that is being done in full: what is needed to recognise its records afterwards, without keeping them."""

    __slots__ = ("key", "leaves", "records")

    def __init__(self, walk: Walk) -> None:
        self.key, self.leaves = walk.key, walk.leaves
        self.records = [weakref.ref(r) for r in walk.records]

    def remember(self, evaluation: Any) -> None:
        """Keeps what the evaluation at the end of the full run did, if the walk accounts for all of it."""
        if evaluation is None or not hasattr(evaluation.runner, "arguments"):
            return
        place: dict[Record, int] = {}
        for n, reference in enumerate(self.records):
            record = reference()
            if record is not None:
                place[record] = n
        places = [place.get(evaluation.leaves[k], -1) for k in evaluation.runner.arguments]
        number = {r: k for k, r in enumerate(evaluation.pending)}
        targets = []
        for leaf in self.leaves:
            gradient = leaf.variable._grad
            record = gradient._cell.record if gradient is not None and gradient._chain is None else None
            targets.append(number.get(record, -1) if record is not None else -1)
        settled = [(k, place[r]) for k, r in enumerate(evaluation.pending) if r in place]
        if -1 in places or -1 in targets or len(settled) + len(set(targets)) != len(number):
            return
        if len(_programs) >= _MANY:
            _programs.clear()
        _programs[self.key] = Program(evaluation.runner, places, settled, targets)


__all__ = ["Note", "Program", "Walk", "known", "walk"]

import gradgen.frontend.apply as recording  # noqa: E402  (Tensor comes with it)
