"""The nodes of autograd's graph: `grad_fn` objects with PyTorch's names, what they saved, and the leaves' accumulators.

A node knows its operation's plan, its input and output records as far as the derivative reads them, and where gradients
go next.  Running it backward (`pull`) records the operation's pullback; with grad mode on that is recorded with history,
so a gradient can be differentiated again.
"""

from __future__ import annotations

import itertools
import re
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradgen.eager.hooks import Hooks, RemovableHandle
from gradgen.eager.modes import state
from gradgen.eager.printing import tensor_type_name
from gradgen.eager.services import services
from gradgen.eager.tensor import Tensor
from gradgen.record.records import Record, Spec

if TYPE_CHECKING:
    from gradgen.eager.apply import Plan
    from gradgen.eager.tensor import Tensor
    from gradgen.record.pullbacks import Pullback

Edge = tuple["Node", int]
Version = tuple[Any, int, Any, Any, int, Any]
"""A version counter, the version when saved, a weak reference to the tensor (None for results); its storage, how often that
had been written, and the view of it that was saved."""

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)
CUT = (
    "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_().This is not supported, please use "
    "out-of-place `.detach()` instead"
)
_HINT = (
    "Hint: enable anomaly detection to find the operation that failed to compute its gradient, with "
    "torch.autograd.set_detect_anomaly(True, check_nan=False)."
)

REPLAYS, ACCUMULATES = 1, 2
"""Kinds of nodes that replay.py understands: those of the library's operations, and the accumulators."""

_sequence = itertools.count()


class Node:
    """What PyTorch calls torch.autograd.graph.Node.

    `edges[k]` says where the gradient of operand k goes: (node, output number), or None.  `outs` are shape and dtype of
    the results, that is, of the gradients that arrive.
    """

    __slots__ = ("__dict__", "__weakref__", "edges", "hooks", "metadata_", "outs", "sequence")
    replay = 0

    def __init__(self, edges: tuple[Edge | None, ...], outs: tuple[Spec, ...]) -> None:
        self.edges, self.outs = edges, outs
        self.sequence = next(_sequence)
        self.hooks: Hooks | None = None

    def name(self) -> str:
        """The name of the node's class, as PyTorch has it."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """Per operand, the node its gradient goes to and the output number there."""
        return tuple([edge if edge is not None else (None, 0) for edge in self.edges])

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for the user's own notes."""
        try:
            return self.metadata_
        except AttributeError:
            self.metadata_: dict[str, Any] = {}
            return self.metadata_

    @property
    def requires_grad(self) -> bool:
        return True

    def pull(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """Gradients of the outputs in, gradients of the operands out; both in order, None for no gradient."""
        raise NotImplementedError

    def release(self) -> None:
        """Lets go of what was saved."""

    def own_hooks(self) -> Hooks:
        if self.hooks is None:
            self.hooks = Hooks()
        return self.hooks

    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """`fn(grad_inputs, grad_outputs)` runs after the node; what it returns replaces the gradients of the operands."""
        return self.own_hooks().add("post", fn)

    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """`fn(grad_outputs)` runs before the node; what it returns replaces the gradients of the results."""
        return self.own_hooks().add("pre", fn)

    def __call__(self, *grads: Tensor | None) -> Any:
        found = tuple(self.pull(grads))
        return found[0] if len(found) == 1 else found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}>"


class OpNode(Node):
    """The node of an operation of the library.

    `versions` holds, per saved tensor, its version counter and the version it had; `own` is the position of the operand
    that the operation then overwrote in place: its old value is what was saved.  `known` is the pullback that is taken
    when cotangents of all outputs arrive, once there has been one.
    """

    __slots__ = ("freed", "inputs", "known", "origin", "output_versions", "outputs", "plan", "versions", "wanted")
    replay = REPLAYS

    def __init__(
        self, plan: Plan, inputs: tuple[Record, ...], edges: tuple[Edge | None, ...], operands: tuple[Any, ...]
    ) -> None:
        self.edges, self.outs = edges, plan.outs
        self.sequence = next(_sequence)
        self.hooks = None
        self.plan = plan
        self.wanted = wanted = tuple([edge is not None for edge in edges])
        self.versions: list[Version | None] = [None] * len(edges)
        self.origin = None
        self.freed = False
        self.known = known = plan.usual.get(wanted) if True in wanted else None
        if not inputs:  # a view: an index map, whose derivative needs no values
            self.inputs, self.outputs = plan.phantom_ins, plan.phantom_outs
            self.output_versions: list[Version | None] = [None] * len(plan.outs)
            return
        if known is None:
            self.inputs = tuple([*inputs])  # a tuple of its own: see live_below in apply.py
            for k, x in enumerate(operands):
                if plan.casts[k] is None and hasattr(x, "_cell"):
                    self._note_version(k, x)
        else:
            self.inputs = plan.phantom_ins
            if known.saved_inputs:
                kept = list(plan.phantom_ins)
                for k in known.saved_inputs:
                    kept[k] = inputs[k]
                self.inputs = tuple(kept)
            for k in known.checked_inputs:
                x = operands[k]
                if plan.casts[k] is None and hasattr(x, "_cell"):
                    self._note_version(k, x)

    def _note_version(self, k: int, x: Tensor) -> None:
        counter = x._counter if x._counter is not None else x._cell
        cell = x._cell
        self.versions[k] = (counter, counter.version, weakref.ref(x), cell, cell.generation, x._chain)

    def keep_outputs(self, tensors: Sequence[Tensor]) -> None:
        """The results' records are kept where the derivative is written in them.

        Once it is known what the derivative reads, everything else is let go at once.
        """
        record = tensors[0]._cell.record
        self.origin = record.origin if record is not None else None
        known = self.known
        if known is not None and not known.saved_outputs:
            self.outputs = self.plan.phantom_outs
            if not known.checked_outputs:
                self.output_versions = [None] * len(tensors)
                return
        else:
            self.outputs = tuple([t._record for t in tensors])
        self.output_versions = [noted(t, t._cell) for t in tensors]

    def release(self) -> None:
        self.freed = True
        self.inputs, self.outputs = self.plan.phantom_ins, self.plan.phantom_outs

    def pull(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        given = tuple([g is not None for g in grads])
        if True not in given:
            return [None] * len(self.edges)
        if True not in self.wanted:  # its operands are views made under no_grad, which lead nowhere
            self._check_unguarded()
            return [None] * len(self.edges)
        pullback = self.plan.pullback(self.wanted, given)
        if pullback.saves:
            if self.freed:
                raise RuntimeError(FREED)
            self._check_versions(pullback.checked_inputs, pullback.checked_outputs)
            self._look_again(pullback)
        found = self._differentiably(pullback, grads) if state.grad else self._plainly(pullback, grads)
        result: list[Tensor | None] = [None] * len(self.edges)
        for slot, tensor in zip(pullback.slots, found):
            result[slot] = tensor
        if len(found) < self.wanted.count(True):
            for k in self.zeros(given):
                if result[k] is None:
                    result[k] = _zeros(self.plan.ins[k])
        return result

    def zeros(self, given: tuple[bool, ...]) -> list[int]:
        """The operands whose gradient is 0 everywhere: not where it only lacks the cotangent that it comes from, nor where a
        saved result does not count."""
        whole = self.plan.pullback(self.wanted, (True,) * len(given)).slots
        return [k for k, wanted in enumerate(self.wanted) if wanted and k not in whole and k not in self.plan.op.results]

    def flows(self, given: tuple[bool, ...]) -> set[int]:
        """The operands that gradients of the outputs `given` flow to."""
        if False not in given:
            return set(range(len(self.edges)))
        return {*self.plan.pullback(self.wanted, given).slots, *self.zeros(given)}

    def _plainly(self, pullback: Pullback, grads: Sequence[Tensor | None]) -> list[Tensor]:
        if not pullback.slots:
            return []
        cotangents = [g._record for g in grads if g is not None]
        inputs = (*self.inputs, *self.outputs, *cotangents)
        return services.apply_records(pullback.op, inputs, self.plan.attributes, pullback.specs, self.origin)

    def _differentiably(self, pullback: Pullback, grads: Sequence[Tensor | None]) -> Sequence[Tensor]:
        if not pullback.slots:
            return []
        operands = [
            self._saved(record, edge if saved else None)
            for record, edge, saved in zip(self.inputs, self.edges, pullback.saves_inputs)
        ]
        operands += [
            self._saved(record, (self, k) if saved else None)
            for k, (record, saved) in enumerate(zip(self.outputs, pullback.saves_outputs))
        ]
        operands += [g for g in grads if g is not None]
        found = services.apply(pullback.op, tuple(operands), dict(self.plan.attributes))
        return found if isinstance(found, tuple) else (found,)

    @staticmethod
    def _saved(record: Record, edge: Edge | None) -> Tensor:
        tensor: Tensor = Tensor._from_record(record)
        if edge is not None and record.dtype.is_floating_point:
            tensor._set_edge(edge)
        return tensor

    def _look_again(self, pullback: Pullback) -> None:
        """What was saved is what its storage holds: a write that no version counts (through `.data`) is seen here."""
        for k in pullback.saved_inputs:
            if k not in pullback.checked_inputs:
                continue  # PyTorch saves another tensor: what is read here is the value of then
            if k < len(self.versions) and (record := _written(self.versions[k])) is not None:
                self.inputs = (*self.inputs[:k], record, *self.inputs[k + 1 :])
        for k in pullback.saved_outputs:
            if (record := _written(self.output_versions[k])) is not None:
                self.outputs = (*self.outputs[:k], record, *self.outputs[k + 1 :])
        checked = [k for k in pullback.checked_outputs if k not in pullback.saved_outputs]
        if any(_overwritten(self.output_versions[k], self.outputs[k]) for k in checked):
            raise RuntimeError(f"what {self.name()} saved for backward was changed in place, through .data")

    def changed_unseen(self) -> bool:
        """Whether a saved tensor was changed in place without a version counted; RuntimeError where one was counted."""
        saved = [v for v in (*self.versions, *self.output_versions) if v is not None]
        if all(v[0].version == v[1] and _written(v) is None and not v[3].cut for v in saved):
            return False
        if True not in self.wanted:
            self._check_unguarded()
            return False
        pullback = self.plan.pullback(self.wanted, tuple(True for _ in self.outs))
        self._check_versions(pullback.checked_inputs, pullback.checked_outputs)
        return any(_written(self.versions[k]) is not None for k in pullback.checked_inputs if k < len(self.versions)) or any(
            _written(self.output_versions[k]) is not None for k in {*pullback.saved_outputs, *pullback.checked_outputs}
        )

    def _check_versions(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        for k in inputs:
            if k < len(self.versions) and self.versions[k] is not None:
                _check_version(self.versions[k], self.plan.ins[k], self.edges[k])
        for k in outputs:
            if self.output_versions[k] is not None:
                _check_version(self.output_versions[k], self.outs[k], (self, k))

    def _check_unguarded(self) -> None:
        if self.plan.op.view:
            return
        inputs, outputs = self.plan.unguarded()
        if self.freed and (inputs or outputs):
            raise RuntimeError(FREED)
        self._check_versions(inputs, outputs)


def noted(tensor: Tensor, counter: Any) -> Version:
    """What is noted of a result that is saved, or stored in place."""
    cell = tensor._cell
    return (counter, counter.version, None, cell, cell.generation, tensor._chain)


def _is_cut(version: Version, edge: Edge | None) -> bool:
    """Whether `detach_()` was called on the saved operand that `edge` leads to."""
    cut = version[3].cut
    return bool(cut) and edge is not None and any(node() is edge[0] and k == edge[1] for node, k in cut)


def _written(version: Version | None) -> Record | None:
    """What the storage of a saved tensor holds now, where it was written since."""
    if version is None or version[3].generation == version[4]:
        return None
    record: Record = version[3].current()
    return record if version[5] is None else services.read_view(record, version[5])


def _overwritten(version: Version | None, saved: Record) -> bool:
    """Whether a saved tensor holds another value now.  That numpy() handed its array out is no reason to refuse."""
    record = _written(version)
    if record is None or record.value is None or saved.value is None:
        return record is not None and record.value is None
    return not np.array_equal(record.value, saved.value, equal_nan=record.dtype.is_floating_point)


def _check_version(version: Version | None, spec: Spec, edge: Edge | None) -> None:
    """RuntimeError in PyTorch's words where a saved tensor was changed, or cut off its history, in place."""
    if version is not None and version[2] is not None and _is_cut(version, edge):
        raise RuntimeError(CUT)
    if version is None or version[0].version == version[1]:
        return
    raise RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{tensor_type_name(spec.dtype)} [{', '.join(map(str, spec.shape))}]]{_origin(version, edge)} is at version "
        f"{version[0].version}; expected version {version[1]} instead. {_HINT}"
    )


def _origin(version: Version, edge: Edge | None) -> str:
    """Which node made the variable, as far as it is known: its present history, or the one it was saved with."""
    tensor = version[2]() if version[2] is not None else None
    if tensor is not None and tensor.grad_fn is not None:
        edge = (tensor.grad_fn, tensor._nr)
    if edge is None or isinstance(edge[0], AccumulateGrad):
        return ""
    return f", which is output {edge[1]} of {short_name(edge[0])},"


def short_name(node: Node) -> str:
    """The node's name as PyTorch's messages have it: AddBackward0 is Add, FillBackward2 Fill2."""
    return re.sub(r"Backward(\d*)$", lambda m: m[1].removeprefix("0"), node.name())


def _zeros(spec: Spec) -> Tensor:
    return services.filled(spec, 0)


@cache
def class_for(name: str) -> type[OpNode]:
    """The class of nodes called `name`."""
    own: dict[str, Any] = {"name": lambda self: f"torch::autograd::{name}"} if name == "CopyBackwards" else {}
    if name == "NotImplemented":
        own["pull"], own["replay"] = _refuse, 0
    return type(name, (OpNode,), {"__slots__": (), "__module__": "builtins", **own})


def _refuse(node: OpNode, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    raise RuntimeError(f"derivative for aten::{node.plan.op.name} is not implemented")


class AccumulateGrad(Node):
    """Where a leaf's gradients end: they are added into its `.grad`."""

    __slots__ = ("variable",)
    replay = ACCUMULATES

    def __init__(self, variable: Tensor) -> None:
        super().__init__((), (variable._spec,))
        self.variable = variable

    def name(self) -> str:
        """As PyTorch: with the namespaces of its C++ class."""
        return "torch::autograd::AccumulateGrad"

    def pull(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        gradient = grads[0]
        if gradient is not None and self.variable.requires_grad:  # it may have been cut off since
            self.check_leaf()
            accumulate(self.variable, gradient)
        return ()

    def check_leaf(self) -> None:
        """RuntimeError for a view that was a leaf and got a history since, by a change of its base."""
        if self.variable.grad_fn is not None:
            raise RuntimeError("leaf variable has been moved into the graph interior")


def accumulate(variable: Tensor, gradient: Tensor) -> None:
    """Adds into `.grad`: in place where no history is recorded, so that every alias of it sees the sum."""
    if state.border is not None:
        state.border.accumulating(variable)
    variable._grad = services.accumulate_into(variable._grad, gradient)


services.accumulator = AccumulateGrad
