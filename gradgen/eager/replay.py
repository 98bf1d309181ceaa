"""Replay: the second backward() of the same structure runs the first one's code without recording it again.

A step of training records the same operations again and again.  `Walk` reads off what decides what backward() does: the
nodes of autograd's graph and how they hang together, the records without a value below what they saved, and which of
those records somebody outside will still want.  The first time it is done in full and what it came to is kept under
that key: the compiled code, where its arguments are found on the walk, and where its results belong.

Whatever the key does not tell (hooks, several roots, nodes that are not of the library, saved tensors freed or changed)
is left to the full engine in autograd.py.
"""

from __future__ import annotations

import weakref
from typing import Any

from gradgen.eager.grad_fn import ACCUMULATES, REPLAYS, Node
from gradgen.eager.references import places_held
from gradgen.eager.storage import Cell
from gradgen.eager.tensor import Tensor
from gradgen.record.records import Record, code_of

_MANY = 1 << 12
_SHIFT = 24  # an edge in a key: the output's number above, the node's place below


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
    saved: list[Record] = []
    found = _nodes(root._fn, parts, saved)
    if found is None:
        return None
    nodes, leaves = found
    sums = _sums(leaves)
    if sums is None:
        return None
    return _records(cell.record, nodes, leaves, saved, sums, parts, keep)


def _nodes(start: Any, parts: list[Any], saved: list[Record]) -> tuple[list[Any], list[Any]] | None:
    """The nodes below `start` in the order they are met, and the accumulators.

    Their structure goes to `parts`, the records that they saved to `saved`, the same one perhaps several times.
    """
    place: dict[Node, int] = {start: 0}
    order: list[Any] = [start]
    leaves: list[Any] = []
    previous = start.sequence
    descending = True
    for node in order:
        if node.hooks is not None:
            return None
        kind = node.replay
        if kind == REPLAYS:
            if not _as_recorded(node, parts, saved):
                return None
            sequence = node.sequence
            if sequence > previous:
                descending = False
            previous = sequence
            for edge in node.edges:
                if edge is not None:
                    below, number = edge
                    k = place.get(below)
                    if k is None:
                        k = place[below] = len(order)
                        order.append(below)
                    parts.append(k | number << _SHIFT if number else k)
        elif kind == ACCUMULATES:
            variable = node.variable
            current = variable._accumulator_ref
            if (variable._post_hooks or current is None or current() is not node or not variable._requires
                    or variable._fn is not None or variable._base is not None):
                return None
            leaves.append(node)
            parts.append(variable._grad is None)
            parts.append(node.outs[0])
        else:
            return None
    if not descending:  # gradients meet in the order in which their nodes run
        parts.append(tuple(sorted(range(len(order)), key=[n.sequence for n in order].__getitem__)))
    return order, leaves


def _as_recorded(node: Any, parts: list[Any], saved: list[Record]) -> bool:
    """Whether what the node saved is still there as it was; which derivative it will take, and of what."""
    if node.freed:
        return False
    for version in node.versions:
        if version is not None:
            cell = version[3]
            if version[0].version != version[1] or cell.generation != version[4] or cell.cut:
                return False
    for version in node.output_versions:
        if version is not None:
            cell = version[3]
            if version[0].version != version[1] or cell.generation != version[4] or cell.cut:
                return False
    known = node.known
    if known is not None:  # tells the operation, which edges there are, and what is saved
        parts.append(known)
        for k in known.saved_inputs:
            saved.append(node.inputs[k])
        for k in known.saved_outputs:
            saved.append(node.outputs[k])
        return True
    parts.append(node.plan)
    parts.append(node.wanted)
    for record in (*node.inputs, *node.outputs):
        if record.is_phantom:
            parts.append(-1)
        else:
            parts.append(-2)
            saved.append(record)
    return True


def _sums(leaves: list[Any]) -> list[Cell] | None:
    """The cells of the gradients that are there already and will be added to."""
    sums: list[Cell] = []
    for leaf in leaves:
        before = leaf.variable._grad
        if before is not None:
            cell = before._cell
            if before._chain is not None or before._fn is not None:
                return None
            if cell.record is None or cell.spec is not leaf.outs[0] or cell in sums:
                return None
            sums.append(cell)
    return sums


def _records(
    root: Record, nodes: list[Any], leaves: list[Any], saved: list[Record], sums: list[Cell], parts: list[Any], keep: bool
) -> Walk:
    """The records below what the nodes saved and below the gradients there are, with who else wants them."""
    place: dict[Record, int] = {root: 0}
    order = [root]
    uses = [0]  # references from within what backward() lets go of
    given = [*saved, *[cell.record for cell in sums]] if sums else saved
    once = 0 if keep else 1
    r = s = None
    for r in given:
        k = place.get(r)  # type: ignore[arg-type]
        if k is None:
            k = place[r] = len(order)  # type: ignore[index]
            order.append(r)  # type: ignore[arg-type]
            uses.append(0)
        uses[k] += once
        parts.append(k)
    given.clear()
    saved.clear()
    waiting: list[int] = []
    calls: set[int] = set()
    for n, r in enumerate(order):
        if r.value is not None:
            parts.append(r.spec)
            continue
        waiting.append(n)
        parts.append(r.code or (code_of(r) if r.op is not None else 0))
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
    parts.append(-3)
    r = s = None
    parts += places_held(order, waiting, uses)
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
                variable._grad = Tensor._from_record(record)
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
