"""In-place operations: a new value in a tensor's storage, a version counted, history rebased.

The in-place variant of an operation runs the operation and stores its result; the result's grad_fn becomes that of the
tensor, or, where the tensor is a view, is wrapped in a CopySlices that becomes its base's.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import sympy

import gradgen.eager.apply as recording
from gradgen.eager import internal
from gradgen.eager.grad_fn import Node, OpNode, noted
from gradgen.eager.modes import state
from gradgen.eager.printing import tensor_type_name
from gradgen.eager.services import services
from gradgen.eager.tensor import Tensor
from gradgen.eager.views import (
    CopySlices,
    below,
    check_overlap,
    check_partial_overlap,
    refresh_history,
    refuse_rebase,
    set_history,
    store,
)
from gradgen.ir.nodes import Compute
from gradgen.ir.nodes import Node as IRNode
from gradgen.ir.symbols import placeholder
from gradgen.ops.registry import KEEP, Op, broadcast_read, broadcast_shapes
from gradgen.record.records import Record


def check_in_place(tensor: Tensor, tracked: bool) -> None:
    """RuntimeError where PyTorch forbids changing `tensor`; `tracked`: an operand requires a gradient."""
    if tensor._inference and not state.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a normal "
            "tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details."
        )
    check_overlap(tensor)
    if not (tracked and state.grad):
        return
    refuse_rebase(tensor, "is being")
    if tensor._base is not None and tensor.requires_grad and tensor._base._fn is None:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if (
        tensor.requires_grad and tensor._fn is None
    ):  # as it stands: a view may not have noticed yet that it has a history
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


def overwrite(target: Tensor, result: Tensor) -> Tensor:
    """Stores `result`, made by an operation whose first operand was `target`, in `target`, and returns `target`."""
    if result._spec is not target._spec:
        result = _fitted(target, result)
    node, number = result._fn, result._nr
    before = target._base._record if target._base is not None else None
    store(target, result._record if result is not target else target._record)
    if node is not None:
        rebase(target, node, number, before)
    return target


def _fitted(target: Tensor, result: Tensor) -> Tensor:
    if result._spec.shape != target._spec.shape:
        raise RuntimeError(
            f"output with shape {list(target._spec.shape)} doesn't match the broadcast shape {list(result._spec.shape)}"
        )
    given, own = result.dtype, target.dtype
    if given.category > own.category:
        names = [tensor_type_name(d).removeprefix("torch.").removesuffix("Tensor") for d in (given, own)]
        raise RuntimeError(f"result type {names[0]} can't be cast to the desired output type {names[1]}")
    if given is own:
        return result
    record = internal.cast_record(result._record, own)
    found = Tensor._from_record(record)
    found._fn, found._nr = result._fn, result._nr
    return found


def rebase(target: Tensor, node: Node, number: int, before: Record | None) -> None:
    """`node` made the new value of `target`; `before` was that of its base."""
    if isinstance(node, OpNode):
        if node.versions:
            node.versions[0] = None  # the old value itself was saved
        versions = target._versions()
        node.output_versions[number] = noted(target, versions)
    base = target._base
    if base is None:
        set_history(target, node, number)
        return
    edge = base._edge()
    slices = CopySlices(edge, base._spec, below(target), node, number)
    if state.border is not None and before is not None:
        state.border.rebased(slices, before)
    set_history(base, slices, 0)
    target._fn_version = -1
    refresh_history(target)


def in_place(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """The method `name` (with its underscore) of an operation given as a function of its result."""

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_in_place(self, _tracked(self, args, kwargs))
        for other in args:
            if isinstance(other, Tensor):
                check_partial_overlap(self, other)
        found = function(self, *args, **kwargs)
        if name in COMPARED and state.grad and self.requires_grad:
            found = _fitted(self, found)
            zero = recording.apply(COMPARED[name], (self,))
            found._fn, found._nr = zero._fn, zero._nr
        return overwrite(self, found)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place version of `{name.rstrip('_')}`."
    return method


def _tracked(self: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if not state.grad:
        return False
    return self.requires_grad or any(isinstance(a, Tensor) and a.requires_grad for a in (*args, *kwargs.values()))


# --- zero_, fill_, copy_ ------------


def _constant(node: IRNode, value: sympy.Expr) -> IRNode:
    return Compute(node.shape, value, [], node.dtype)


def _fill(node: IRNode, value: IRNode) -> IRNode:
    return Compute(node.shape, placeholder(0), [broadcast_read(value, node.shape)], node.dtype)


ZERO = Op("zero", lambda node: _constant(node, sympy.Integer(0)), "ZeroBackward0", KEEP)
FILL_NUMBER = Op("fill_number", _fill, "FillBackward2", KEEP)
FILL_TENSOR = Op("fill_tensor", _fill, "FillBackward3", KEEP)
COMPARED = {
    f"{name}_": Op(f"{name}_in_place", ZERO.lower, f"{kind}Backward1", KEEP)
    for kind, names in {"Eq": ["eq"], "Ne": ["ne", "not_equal"], "Lt": ["lt", "less"], "Le": ["le", "less_equal"],
                        "Gt": ["gt", "greater"], "Ge": ["ge", "greater_equal"]}.items() for name in names
}
"""The derivative of comparisons in place is zero; what other operations make without one keeps the history that was."""
COPY_INTO = Op("copy_broadcast", _fill, "CopyBackwards", KEEP)


def zero_(self: Tensor) -> Tensor:
    """Every element becomes 0."""
    check_in_place(self, self.requires_grad)
    if state.grad and self.requires_grad:
        return overwrite(self, recording.apply(ZERO, (self,)))
    store(self, internal.filled(self._spec, 0)._record)
    return self


def fill_(self: Tensor, value: Any) -> Tensor:
    """Every element becomes `value`, a number or a 0-d tensor."""
    check_in_place(self, _tracked(self, (value,), {}))
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions."
            )
        return overwrite(self, recording.apply(FILL_TENSOR, (self, internal.to_dtype(value, self.dtype))))
    return overwrite(self, recording.apply(FILL_NUMBER, (self, _number_for(self, value))))


def _number_for(self: Tensor, value: Any) -> Tensor:
    """The number in the tensor's own dtype: a float fills an integer tensor by truncation, a float64 one exactly."""
    kind = (bool, int, float)[self.dtype.category]
    return Tensor._from_record(recording.number_record(kind(value), self.dtype))


def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Every element becomes that of `src`, broadcast and converted; the gradient goes to `src`."""
    if isinstance(src, (bool, int, float)):
        return fill_(self, src)
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    check_in_place(self, _tracked(self, (src,), {}))
    check_partial_overlap(self, src)
    wide = self._spec.shape
    if src._spec.shape != wide and broadcast_shapes(wide, src._spec.shape) != tuple(wide):
        raise RuntimeError(
            f"output with shape {list(wide)} doesn't match the broadcast shape "
            f"{list(broadcast_shapes(wide, src._spec.shape))}"
        )
    tracked = state.grad and (self.requires_grad or src.requires_grad) and self.dtype.is_floating_point
    if not tracked and src._spec is self._spec and state.border is None:
        store(self, src._record)
        return self
    return overwrite(self, recording.apply(COPY_INTO, (self, src)))


# --- views in place: the tensor itself takes another shape --------------------


def _view_in_place(name: str) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_in_place(self, self.requires_grad)
        view = getattr(self, name)(*args, **kwargs)
        if view is self:
            return self
        base = self._base
        self._chain, self._rec, self._gen = view._chain, None, -1
        self._versions().version += 1
        if view._fn is not None:
            self._fn, self._nr = view._fn, view._nr
        self._base = base
        self._fn_version = self._versions().version
        return self

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"In-place version of `{name}`: the tensor itself takes the shape, the storage stays."
    return method


VIEW_METHODS: dict[str, Callable[..., Tensor]] = {
    f"{name}_": _view_in_place(name) for name in ("t", "transpose", "swapaxes", "swapdims", "squeeze", "unsqueeze")
}


def detach_(self: Tensor) -> Tensor:
    """Cuts the tensor off its history: it becomes a leaf that requires no gradient.  RuntimeError for a view."""
    if self._base is not None:
        raise RuntimeError(
            "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel "
            "(DDP) for training, and gradient_as_bucket_view is set as True, gradients are views of DDP "
            "buckets, and hence detach_() cannot be called on these gradients. To fix this error, please "
            "refer to the Optimizer.zero_grad() function in torch/optim/optimizer.py as the solution."
        )
    if self._fn is not None:
        self._cell.cut = (*self._cell.cut, (weakref.ref(self._fn), self._nr))
    self._fn, self._nr, self._requires, self._still = None, 0, False, 2
    return self


VIEW_METHODS["detach_"] = detach_


def accumulate_into(before: Tensor | None, gradient: Tensor) -> Tensor:
    """The sum: in place where no history is recorded, so that every alias of the gradient sees it."""
    if before is None:
        return recording.apply(internal.COPY, (gradient,)) if state.grad else gradient._alone()
    total: Tensor = recording.apply(internal.ADD, (before, gradient))
    if not state.grad:
        overwrite(before, total)
    return total if state.grad else before


services.accumulate_into = accumulate_into
