"""Views: tensors that are index maps into another tensor's storage.

A view keeps the chain of view operations that lead from its storage cell to it.  Reading it applies the chain to the
cell's record; writing through it makes a new value of the whole cell (functionalisation): the index map is inverted, and
every element of the base takes the new value where the view has it and keeps its own elsewhere.  Strides are worked out
from the same index maps, for `stride()`, contiguity, and for telling a view from a copy where PyTorch's rule does.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sympy

import gradgen.eager.apply as recording
from gradgen.autodiff import gradients
from gradgen.eager.grad_fn import Edge, Node, class_for, short_name
from gradgen.eager.internal import clone, filled
from gradgen.eager.layouts import index_map, layout, strides_of
from gradgen.eager.modes import state
from gradgen.eager.services import services
from gradgen.eager.tensor import Tensor
from gradgen.eager.view_values import cut
from gradgen.errors import TraceError
from gradgen.ir.functions import select
from gradgen.ir.guards import conjunction
from gradgen.ir.inversion import invert, target
from gradgen.ir.nodes import Compute, Constant, Input, Read, Scatter, identity_read
from gradgen.ir.nodes import Node as IRNode
from gradgen.ir.rewrite import substitute
from gradgen.ir.symbols import axes, axis, placeholder
from gradgen.ops.registry import KEEP, Op
from gradgen.record.records import Attributes, Record, Spec, spec

if TYPE_CHECKING:
    from gradgen.eager.apply import Plan

OVERLAP = (
    "unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please "
    "clone() the tensor before performing the operation."
)
NOT_VIEWABLE = (
    "view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous "
    "subspaces). Use .reshape(...) instead."
)


class Step(NamedTuple):
    """One view operation of a chain: output `output` of `op` with `attributes`, of shape and dtype `spec`."""

    op: Op
    attributes: Attributes
    spec: Spec
    output: int = 0

    def __repr__(self) -> str:
        return f"{self.op.name}{self.attributes}[{self.output}]"


Chain = tuple[Step, ...]


def read(record: Record, chain: Chain) -> Record:
    """The record of a view, given that of its storage."""
    if record.value is not None and not record.is_phantom:
        record, chain = _read_value(record, chain)
    return applied(record, chain)


def applied(record: Record, chain: Chain) -> Record:
    """The record of a view, all steps recorded."""
    for step in chain:
        record = Record(
            step.op,
            (record,),
            step.attributes,
            step.spec,
            output=step.output,
            requires_grad=record.requires_grad,
            depth=record.depth + 1,
        )
    return record


def _read_value(record: Record, chain: Chain) -> tuple[Record, Chain]:
    """As many steps as need no code, of a record whose value is known; the steps that are left."""
    value = record.value
    done = 0
    for step in chain:
        assert value is not None
        found = cut(value, step.op.name, dict(step.attributes), step.output, step.spec.shape)
        if found is None:
            break
        value, done = found, done + 1
    if not done:
        return record, chain
    assert value is not None
    if not value.flags.c_contiguous:
        value = value.copy(order="C")
    return Record(None, (), (), chain[done - 1].spec, value=value, depth=record.depth), chain[done:]


# --- making views --------------------


def make_view(source: Tensor, op: Op, attributes: Attributes, plan: Plan) -> Any:
    """The views that `op` gives of `source`; a copy where its strides cannot express one (reshape of a transpose)."""
    chain = source._chain or ()
    if source._selection is not None:
        raise TraceError("a view of what a mask selects depends on the mask's values, which a trace does not know",
                         hint="operations on single elements and assignment by the same mask are possible")
    if len(plan.outs) == 1 and (chain or source._cell.strides is not None) and _concrete(
        source._cell.spec, *(s.spec for s in chain), plan.outs[0]
    ):
        step = Step(op, attributes, plan.outs[0])
        if layout(source._cell.spec, (*chain, step), source._cell.strides) is None:
            if op.name == "view":
                raise RuntimeError(NOT_VIEWABLE)
            return _copied(source, op, attributes, plan)
    views = [_view(source, (*chain, Step(op, attributes, s, k))) for k, s in enumerate(plan.outs)]
    if state.grad and plan.differentiable and source.requires_grad:
        node = plan.node_class(plan, (), (source._edge(),), ())
        for k, v in enumerate(views):
            v._fn, v._nr = node, k
    several = len(views) > 1 or op.outputs != 1
    created = "inference" if state.inference else "no_grad" if not state.grad else "multi" if several else ""
    for v in views:
        v._created = created or source._created
    return tuple(views) if several else views[0]


def _concrete(*specs: Spec) -> bool:
    return all(type(e) is int for s in specs for e in s.shape)


def _view(source: Tensor, chain: Chain) -> Tensor:
    view = source._alias()
    view._chain, view._rec, view._gen = chain, None, -1
    if not source._inference:
        view._base = source._base if source._base is not None else source
    view._inference = source._inference
    view._fn_version = view._versions().version
    return view


def _copied(source: Tensor, op: Op, attributes: Attributes, plan: Plan) -> Tensor:
    copy = clone(source)
    copy._cell.strides = None
    result: Tensor = recording.apply(op, (copy,), dict(attributes))
    result._base = None
    result._cell, result._chain = type(result._cell)(result._record), None
    if result._fn is not None:
        unsafe = class_for("UnsafeViewBackward0")(plan, (copy._record,), result._fn.edges, (copy,))
        unsafe.keep_outputs([result])
        result._fn = unsafe
        if state.border is not None:
            state.border.carry((result,), (result._record,))
    return result


# --- writing through a view --------------------


def _write(base: IRNode, new: IRNode, chain: Chain) -> IRNode:
    """`base` with the view's elements taken from `new`.

    One step of the chain after the other: each has a plain inverse, which their composition (digits of digits) need not.
    """
    levels = [base]
    for step in chain[:-1]:
        found = step.op.lower(levels[-1], **dict(step.attributes))
        levels.append(found[step.output] if isinstance(found, tuple) else found)
    for level, step in zip(reversed(levels), reversed(chain)):
        new = _write_step(level, new, step)
    return new


def _write_step(base: IRNode, new: IRNode, step: Step) -> IRNode:
    if any(e == 0 for e in new.shape):
        return base
    index = index_map((step,), spec(base.shape, base.dtype))
    variables = tuple(zip(axes(len(new.shape)), new.shape))
    inversion = invert(index, variables, base.shape)
    if inversion is None:
        return Scatter(base.shape, base, new.shape, index, placeholder(0), [identity_read(new)], base.dtype, mode="set")
    if any(v not in inversion.solved and not _single(extent) for v, extent in variables):
        raise RuntimeError(OVERLAP)
    here = {target(d): axis(d) for d in range(len(base.shape))}
    at = [inversion.solved[v].xreplace(here) if v in inversion.solved else sympy.Integer(0) for v, _ in variables]
    guard = conjunction(*(c.substitute(here) for c in inversion.conditions))
    if guard is None:
        return base
    if not guard:
        return Compute(base.shape, placeholder(0), [Read(new, at)], base.dtype)
    inside = Read(Constant(np.ones((), np.bool_)), (), guard, 0)
    body = select(placeholder(0), placeholder(1), placeholder(2))
    return Compute(base.shape, body, [inside, Read(new, at, guard, 0), identity_read(base)], base.dtype)


def _single(extent: Any) -> bool:
    return extent == 1


def _adjoint(gradient: IRNode, chain: Chain, root: Spec) -> IRNode:
    """What a gradient of the view is for its base: summed where elements of the view share one of the base."""
    base, seed = Input("base", root.shape, root.dtype), Input("seed", gradient.shape, gradient.dtype)
    view: IRNode = base
    for step in chain:
        found = step.op.lower(view, **dict(step.attributes))
        view = found[step.output] if isinstance(found, tuple) else found
    (adjoint,) = gradients([view], [seed], [base])
    if adjoint is None:
        return Compute(root.shape, sympy.Integer(0), [], root.dtype)
    return substitute((adjoint,), {seed: gradient})[0]


ADJOINT = Op("view_adjoint", _adjoint, "AsStridedBackward0", KEEP)
WRITE = Op("write_view", _write, "CopySlices", KEEP)


def check_overlap(tensor: Tensor) -> None:
    """RuntimeError where two elements of the tensor are one in memory."""
    if tensor._chain is None or not _concrete(tensor._spec):
        return
    found = layout(tensor._cell.spec, tensor._chain, tensor._cell.strides)
    if found is not None and any(s == 0 and e > 1 for s, e in zip(found.strides, tensor.shape)):
        raise RuntimeError(OVERLAP)


PARTIAL_OVERLAP = (
    "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory "
    "location. Please clone() the tensor before performing the operation."
)


def check_partial_overlap(written: Tensor, other: Tensor, whole: bool = False) -> None:
    """RuntimeError where `other` shares some of the memory written to, but is not the same view of it; `whole`: even then."""
    if (written is other and not whole) or written._cell is not other._cell or not _concrete(written._spec, other._spec):
        return
    a, b = _extent_in_memory(written), _extent_in_memory(other)
    if a is None or b is None or a[0] >= b[1] or b[0] >= a[1]:
        return
    if a == b and strides_of(written) == strides_of(other) and not whole:
        return
    raise RuntimeError(PARTIAL_OVERLAP)


def _extent_in_memory(tensor: Tensor) -> tuple[int, int] | None:
    """The first element and one past the last; None where there are gaps or repetitions, as PyTorch looks no closer."""
    found = layout(tensor._cell.spec, tensor._chain or (), tensor._cell.strides)
    if found is None or 0 in tensor.shape:
        return None
    run = 1
    for stride, extent in sorted(zip(found.strides, tensor.shape)):
        if extent != 1:
            if stride != run:
                return None
            run *= extent
    return found.offset, found.offset + run


def store(tensor: Tensor, record: Record) -> None:
    """Makes `record` the value of the tensor, for everybody who shares its storage, and counts a version."""
    cell = tensor._cell
    if state.border is not None:
        state.border.writing(tensor)
        state.border.wrote(tensor, record)
    if tensor._chain is None:
        cell.put(record)
    else:
        base = cell.current()
        new = Record(
            WRITE,
            (base, record),
            (("chain", tensor._chain),),
            cell.spec,
            depth=max(base.depth, record.depth) + 1,
            requires_grad=base.requires_grad or record.requires_grad,
        )
        cell.put(new)
        if cell.owner is None:
            tensor._rec, tensor._gen = record, cell.generation
        if new.depth > recording.MAX_DEPTH:
            recording.evaluate_chain([new])
    tensor._versions().version += 1


# --- history of views --------------------


class ViewNode(Node):
    """The history of a view whose base was changed in place after the view was made: its base, looked at again."""

    __slots__ = ("chain", "root")

    def __init__(self, edge: Edge | None, root: Spec, chain: Chain) -> None:
        super().__init__((edge,), (chain[-1].spec,))
        self.root, self.chain = root, chain

    def pull(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        gradient = grads[0]
        if gradient is None:
            return [None]
        return [recording.apply(ADJOINT, (gradient,), {"chain": self.chain, "root": self.root})]


class AsStridedBackward0(ViewNode):
    """PyTorch's name for it."""

    __slots__ = ()


class CopySlices(Node):
    """The history of a base of which a view was changed in place by the operation behind `inner`."""

    __slots__ = ("chain", "inner", "number", "root")

    def name(self) -> str:
        """As PyTorch: with the namespaces of its C++ class."""
        return "torch::autograd::CopySlices"

    def __init__(self, edge: Edge | None, root: Spec, chain: Chain, inner: Node, number: int) -> None:
        super().__init__((edge, *inner.edges[1:]), (root,))
        self.root, self.chain, self.inner, self.number = root, chain, inner, number

    def pull(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        gradient = grads[0]
        if gradient is None:
            return [None] * len(self.edges)
        part = gradient
        for step in self.chain:
            part = recording.apply(step.op, (part,), dict(step.attributes))
            part = part[step.output] if isinstance(part, tuple) else part
        incoming: list[Tensor | None] = [None] * len(self.inner.outs)
        incoming[self.number] = part
        own, *others = self.inner.pull(incoming)
        if own is None:
            own = filled(self.chain[-1].spec, 0)
        return [recording.apply(WRITE, (gradient, own), {"chain": self.chain}), *others]

    def release(self) -> None:
        self.inner.release()


def below(view: Tensor) -> Chain:
    """The steps from the base tensor to its view."""
    base = view._base
    assert base is not None and view._chain is not None
    return view._chain[len(base._chain or ()) :]


_ENDS = {
    "multi": (
        "This view is the output of a function that returns multiple views. Such functions do not allow the output views "
        "to be modified inplace. You should replace the inplace operation by an out-of-place one."
    ),
    "no_grad": (
        "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both "
        "the view and the inplace either both inside the no_grad block (if you don't want the inplace to be tracked) or "
        "both outside (if you want the inplace to be tracked)."
    ),
    "custom": (
        "This view was created inside a custom Function (or because an input was returned as-is) and the autograd logic to "
        "handle view+inplace would override the custom backward associated with the custom Function, leading to incorrect "
        "gradients. This behavior is forbidden. You can fix this by cloning the output of the custom Function."
    ),
    "inference": (
        "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both "
        "the view and the inplace either both inside the inference_mode block (if you don't want the inplace to be "
        "tracked) or both outside (if you want the inplace to be tracked)."
    ),
}


def refuse_rebase(view: Tensor, changed: str) -> None:
    """RuntimeError for views whose history cannot be rebased after a change in place, by how they were made (`_created`)."""
    if view._created not in _ENDS:
        return
    made = f"Output {view._nr} of {short_name(view._fn)} is a view" if view._fn is not None else "A view"
    if view._fn is not None and view._created in ("multi", "custom"):
        begin = f"{made} and {changed} modified inplace."
    else:
        made = f"{made} of a view which was created" if view._fn is not None else f"{made} was created"
        mode, at = ("inference", "in normal mode") if view._created == "inference" else ("no_grad", "with grad mode enabled")
        begin = f"{made} in {mode} mode and {changed} modified inplace {at}."
    raise RuntimeError(f"{begin} {_ENDS[view._created]}")


def refresh_history(view: Tensor) -> None:
    """Brings the grad_fn of a view up to date with its base."""
    base = view._base
    assert base is not None
    version = view._versions().version
    if view._fn_version == version or (view._fn is None and not base.requires_grad):
        return
    refuse_rebase(view, "its base or another view of its base has been")
    edge = base._edge()
    view._fn_version = version
    set_history(view, AsStridedBackward0(edge, base._spec, below(view)), 0)


def set_history(tensor: Tensor, node: Node, number: int) -> None:
    """Makes the tensor output `number` of `node`; a gradient that is kept is kept of the tensor as it is now."""
    before = tensor._fn
    if tensor._retains and before is not None and before.hooks is not None:
        before.hooks.retain.pop(tensor._nr, None)
        node.own_hooks().retain[number] = weakref.ref(tensor)
    tensor._fn, tensor._nr = node, number
    tensor._fn_version = tensor._versions().version

services.make_view, services.read_view, services.refresh_history = make_view, read, refresh_history
