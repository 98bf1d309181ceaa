"""torch.autograd.Function: an operation whose backward the user writes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from gradgen.autograd.recorded import tracing, with_backward
from gradgen.eager import internal
from gradgen.eager.grad_fn import FREED, Edge, Node
from gradgen.eager.inplace import check_in_place, detach_, rebase
from gradgen.eager.modes import no_grad, state
from gradgen.eager.tensor import Tensor
from gradgen.eager.views import set_history

VIEW_AND_MORE = (
    "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot return more than one "
    "Tensor. This is not supported by the current autograd engine. You should either make sure the input is not a view "
    "(using .clone() for example) or make your Function only return one Tensor (potentially splitting it into two "
    "Functions: one doing the inplace that returns a single Tensor and a second one that does the other operations). You "
    "can ask on the forum https://discuss.pytorch.org/ if you need help to do this change."
)


class Context:
    """What `forward` leaves for `backward`: saved tensors, flags, and any attribute."""

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self.to_save: tuple[Tensor | None, ...] = ()
        self.dirty_tensors: tuple[Tensor, ...] = ()
        self.non_differentiable: tuple[Tensor, ...] = ()
        self.materialize_grads = True
        self._freed = False

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for `backward`, where `saved_tensors` gives them back."""
        self.to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What was saved; RuntimeError once the graph was freed."""
        if self._freed and self.to_save == ():
            raise RuntimeError(FREED)
        return self.to_save

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Results that have no gradient."""
        self.non_differentiable = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Inputs that `forward` changed in place and returns."""
        self.dirty_tensors = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing gradients reach `backward` as zeros (True) or None."""
        self.materialize_grads = value


class _FunctionNode(Node):
    __slots__ = ("context", "function", "had_saved")

    def __init__(self, function: type[Function], context: Context, edges: tuple[Edge | None, ...], outs: Any) -> None:
        super().__init__(edges, outs)
        self.function, self.context = function, context
        self.had_saved = bool(context.to_save)

    def pull(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        if self.context.materialize_grads:
            grads = [internal.filled(s, 0) if g is None else g for g, s in zip(grads, self.outs)]
        found = self.function.backward(self.context, *grads)
        result = list(found) if isinstance(found, (tuple, list)) else [found]
        count = len(self.edges)
        if len(result) < count or any(g is not None for g in result[count:]):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {count}, got {len(result)})"
            )
        return [g if e is not None else None for g, e in zip(result, self.edges)]

    def release(self) -> None:
        if self.had_saved:
            self.context.to_save, self.context._freed = (), True


def _repr(node: _FunctionNode) -> str:
    return f"<torch.autograd.function.{type(node).__name__} object at {id(node):#x}>"


@cache
def _node_class(name: str) -> type[_FunctionNode]:
    return type(f"{name}Backward", (_FunctionNode,), {"__slots__": (), "__repr__": _repr})


class Function:
    """Subclass with static methods `forward(ctx, ...)` and `backward(ctx, *grads)`, and call `apply`.

    `forward` may also come without ctx, with a `setup_context(ctx, inputs, output)` beside it.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The results."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """One gradient per argument of forward."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function "
            "to use it with backward mode AD."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Saves what backward needs, where forward has no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs forward and records backward."""
        needs = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        tracked = state.grad and any(needs)
        edges = tuple(a._edge() if tracked and isinstance(a, Tensor) else None for a in args)
        context = Context(needs)
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, result)
            else:
                result = cls.forward(context, *args, **kwargs)
        for t in context.dirty_tensors:
            t._versions().version += 1
        outputs = list(result) if isinstance(result, tuple) else [result]
        if any(edges) and tracing():
            _record(cls, context, args, edges, outputs)
        else:
            outs = tuple(o._spec for o in outputs if isinstance(o, Tensor))
            _attach(_node_class(cls.__name__)(cls, context, edges, outs) if tracked else None, context, args, outputs)
        return tuple(outputs) if isinstance(result, tuple) else outputs[0]


def _record(cls: type[Function], context: Context, args: Any, edges: tuple[Edge | None, ...], outputs: list[Any]) -> None:
    """In a trace: the results get backward as their derivative."""
    places = [k for k, o in enumerate(outputs) if _differentiable(context, o)]
    if not places:
        return
    for k in places:
        old = outputs[k]
        if old._base is not None and not _among(old._base, args) and _among(old, context.to_save):
            outputs[k] = internal.clone(old)  # what is saved is the result itself, not what it is a view of
            context.to_save = tuple(outputs[k] if t is old else t for t in context.to_save)
    node = _node_class(cls.__name__)(cls, context, edges, tuple(outputs[k]._spec for k in places))
    tensors = [o for o in outputs if isinstance(o, Tensor)]

    def pull(*cotangents: Tensor) -> Sequence[Tensor | None]:
        given = iter(cotangents)
        node.outs = tuple(o._spec for o in tensors)
        return node.pull([next(given) if _differentiable(context, o) else None for o in tensors])

    arguments = [a if e is not None else None for a, e in zip(args, edges)]
    once = getattr(cls.backward, "once_differentiable", False)
    made = with_backward(cls.__name__, pull, arguments, [outputs[k] for k in places], context.dirty_tensors, once,
                         context.materialize_grads or len(tensors) == 1)
    for k, tensor in zip(places, made):
        if (outputs[k]._base is not None or _among(outputs[k], args)) and not _among(outputs[k], context.dirty_tensors):
            tensor._created = "multi" if len(places) > 1 else "custom"
        outputs[k] = tensor


def _among(tensor: Any, others: Sequence[Any]) -> bool:
    return any(tensor is o for o in others)


def _differentiable(context: Context, output: Any) -> bool:
    """Whether a result has a gradient."""
    return (isinstance(output, Tensor) and output.dtype.is_floating_point
            and not _among(output, context.non_differentiable))


def _attach(node: _FunctionNode | None, context: Context, args: Any, outputs: list[Any]) -> None:
    """In eager use: the results become those of `node`; None where no argument has a history."""
    number = several = 0
    for k, output in enumerate(outputs):
        if not isinstance(output, Tensor):
            continue
        given, changed = _among(output, args), _among(output, context.dirty_tensors)
        if node is not None and _differentiable(context, output):
            several += 1
            if given and changed:
                _changed(output, node, number)
            else:
                outputs[k] = output = _itself(output) if given else output
                set_history(output, node, number)
        else:
            outputs[k] = output = _without_history(output, given, changed)
        if output._base is not None and not (given and changed):
            output._created = "custom"
        number += 1
    for output in outputs:
        if several > 1 and isinstance(output, Tensor) and output._base is not None:
            output._created = "multi"


def _changed(argument: Tensor, node: _FunctionNode, number: int) -> None:
    """An argument that forward changed in place becomes a result."""
    if argument.requires_grad and argument._fn is None:
        raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
    if argument._base is not None and len(node.outs) > 1:
        raise RuntimeError(VIEW_AND_MORE)
    check_in_place(argument, True)
    rebase(argument, node, number, None)


def _without_history(output: Tensor, given: bool, changed: bool) -> Tensor:
    """A result that has no gradient; a view of an argument stays one, as one that `no_grad` made."""
    if not output.requires_grad:
        return _itself(output) if given and not changed else output
    if given:
        return output.detach()
    return output if output._base is not None else detach_(output)


def _itself(argument: Tensor) -> Tensor:
    """An argument that is returned as it is: a view, which can have a history of its own."""
    with no_grad():
        return argument.view_as(argument)


def once_differentiable(function: Any) -> Any:
    """Marks a backward that is not itself differentiated."""

    def wrapped(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            return function(ctx, *grads)

    wrapped.once_differentiable = True  # type: ignore[attr-defined]
    return wrapped
