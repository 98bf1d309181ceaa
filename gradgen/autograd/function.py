"""torch.autograd.Function: an operation whose backward the user writes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from gradgen.autograd.recorded import tracing, with_backward
from gradgen.frontend import internal
from gradgen.frontend.grad_fn import FREED, Edge, Node
from gradgen.frontend.modes import no_grad, state
from gradgen.frontend.tensor import Tensor


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
        raise NotImplementedError

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs forward and records backward."""
        edges = tuple(a._edge() if isinstance(a, Tensor) and state.grad else None for a in args)
        context = Context(tuple(e is not None for e in edges))
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, result)
            else:
                result = cls.forward(context, *args, **kwargs)
        if any(edges):
            if tracing():
                return _recorded(cls, context, args, edges, result)
            _record(cls, context, args, edges, result)
        return result


def _recorded(cls: type[Function], context: Context, args: Any, edges: tuple[Edge | None, ...], result: Any) -> Any:
    """In a trace: the results with backward as their derivative."""
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    places = [k for k, o in enumerate(outputs) if _differentiable(context, o)]
    if not places:
        return result
    node = _node_class(cls.__name__)(cls, context, edges, tuple(outputs[k]._spec for k in places))
    results = sum(isinstance(o, Tensor) for o in outputs)

    def pull(*cotangents: Tensor) -> Sequence[Tensor | None]:
        given = iter(cotangents)
        tensors = [o for o in outputs if isinstance(o, Tensor)]
        node.outs = tuple(o._spec for o in tensors)
        return node.pull([next(given) if _differentiable(context, o) else None for o in tensors])

    arguments = [a if e is not None else None for a, e in zip(args, edges)]
    once = getattr(cls.backward, "once_differentiable", False)
    made = with_backward(cls.__name__, pull, arguments, [outputs[k] for k in places], context.dirty_tensors, once,
                         context.materialize_grads or results == 1)
    for k, tensor in zip(places, made):
        outputs[k] = tensor
    return type(result)(outputs) if isinstance(result, (tuple, list)) else outputs[0]


def _differentiable(context: Context, output: Any) -> bool:
    """Whether a result has a gradient."""
    return (isinstance(output, Tensor) and output.dtype.is_floating_point
            and not any(output is n for n in context.non_differentiable))


def _record(cls: type[Function], context: Context, args: Any, edges: tuple[Edge | None, ...], result: Any) -> None:
    from gradgen.frontend.inplace import _rebase

    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    outs = tuple(o._spec for o in outputs if isinstance(o, Tensor))
    node = _node_class(cls.__name__)(cls, context, edges, outs)
    number = 0
    for output in outputs:
        if not isinstance(output, Tensor):
            continue
        plain = _differentiable(context, output)
        if plain and any(output is d for d in context.dirty_tensors):
            _rebase(output, node, number, None)
        elif plain:
            output._fn, output._nr = node, number
        number += 1


def once_differentiable(function: Any) -> Any:
    """Marks a backward that is not itself differentiated."""

    def wrapped(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            return function(ctx, *grads)

    wrapped.once_differentiable = True  # type: ignore[attr-defined]
    return wrapped
