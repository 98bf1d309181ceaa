"""What torch does past its functions: autograd.Function, the transforms of torch.func, checkpoint.

They are no functions that a mode sees; while a session runs, the few of torch's own through which all of them go are others.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils import _pytree as pytree

from gradgen import func as transforms
from gradgen.autograd.function import Function, once_differentiable
from gradgen.eager import namespace
from gradgen.eager.tensor import Tensor
from gradgen.errors import TraceError, UnsupportedOperationError
from gradgen.importers.torch_traced import Session, opened
from gradgen.record.user_lines import users_line

_zeros_like = namespace.functions()["zeros_like"]

# --- autograd.Function ------------------------------------------------------------------------------------------------


class _Context:
    """ctx as torch's code uses it, over gradgen's; its other attributes are the user's."""

    def __init__(self, own: Any, session: Session) -> None:
        self._own, self._session = own, session

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        return tuple(map(self._session.wrapped, self._own.saved_tensors))

    saved_variables = saved_tensors

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        found: tuple[bool, ...] = self._own.needs_input_grad
        return found

    def save_for_backward(self, *tensors: Any) -> None:
        self._own.save_for_backward(*self._session.own(tensors))

    def save_for_forward(self, *tensors: Any) -> None:
        """Nothing: forward mode differentiates backward's graph."""

    def mark_dirty(self, *tensors: Any) -> None:
        self._own.mark_dirty(*self._session.own(tensors))

    def mark_non_differentiable(self, *tensors: Any) -> None:
        self._own.mark_non_differentiable(*self._session.own(tensors))

    def set_materialize_grads(self, value: bool) -> None:
        self._own.set_materialize_grads(value)


@functools.cache
def _own_function(theirs: type[torch.autograd.Function]) -> type[Function]:
    """gradgen's autograd.Function that runs torch's forward and backward."""

    def forward(own: Any, *args: Any) -> Any:
        session = opened()
        own.theirs = ctx = _Context(own, session)
        if theirs.setup_context is torch.autograd.Function.setup_context:
            return session.callback(functools.partial(theirs.forward, ctx))(*args)

        def both(*given: Any) -> Any:
            output = theirs.forward(*given)
            theirs.setup_context(ctx, given, output)
            return output

        return session.callback(both)(*args)

    backward: Any = theirs.backward if theirs.backward is not torch.autograd.Function.backward else theirs.vjp
    once = getattr(backward, "__code__", None) is _ONCE
    if once:
        backward = backward.__wrapped__

    def own_backward(own: Any, *grads: Any) -> Any:
        return opened().callback(functools.partial(backward, own.theirs))(*grads)

    if once:
        own_backward = once_differentiable(own_backward)
    made = {"forward": staticmethod(forward), "backward": staticmethod(own_backward)}
    return type(theirs.__name__, (Function,), made)


def _register_hook(session: Session, tensor: Any, hook: Callable[..., Any]) -> _Hook:
    """`tensor` is from now on one whose gradient goes through the hook."""
    own = session.held(tensor)
    if not own.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")

    def backward(ctx: Any, grad: Any) -> Any:
        changed = session.callback(hook)(grad)
        return grad if changed is None else changed

    made = {"forward": staticmethod(lambda ctx, x: x.clone()), "backward": staticmethod(backward)}
    session.replaced(tensor, type("Hook", (Function,), made).apply(own))
    return _Hook()


class _Hook:
    """The handle of a hook, which is in the program."""

    def remove(self) -> None:
        """Nothing: hooks that take themselves away run once in each backward."""


def _assert(session: Session, condition: Any, message: Any) -> None:
    """As torch._assert; what depends on values is asserted by nobody, as in an exported graph."""
    if not isinstance(condition, torch.Tensor) and not condition:
        raise AssertionError(message)


def _no_dual(session: Session, *args: Any, **kwargs: Any) -> None:
    raise UnsupportedOperationError("gradgen has no torch.autograd.forward_ad", where=users_line(),
                                    hint="torch.func.jvp has the same derivatives")


Session.own_ways |= {torch._VF._make_dual: _no_dual, torch.Tensor.register_hook: _register_hook, torch._assert: _assert}
_ONCE = torch.autograd.function.once_differentiable(lambda ctx: None).__code__


def _apply(theirs: Any, *args: Any, **kwargs: Any) -> Any:
    """`theirs.apply`."""
    if theirs is torch.utils.checkpoint.CheckpointFunction:
        return args[0](*args[2:])
    session = opened()
    if kwargs:
        raise TraceError(f"{theirs.__name__}.apply() takes no keyword arguments", where=users_line())
    return session.called(_own_function(theirs).apply, args, {})


# --- torch.func -------------------------------------------------------------------------------------------------------


class _Flat:
    """A function of nested arguments as one of their tensors, for gradgen's transforms."""

    def __init__(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any] | None = None,
                 has_aux: bool = False) -> None:
        self.function, self.kwargs, self.has_aux = function, kwargs or {}, has_aux
        self.leaves, self.spec = pytree.tree_flatten(tuple(args))
        self.places = [k for k, v in enumerate(self.leaves) if isinstance(v, torch.Tensor)]
        self.session = opened()
        self.tensors: tuple[Tensor, ...] = tuple(self.session.held(self.leaves[k]) for k in self.places)
        counts = [len([v for v in pytree.tree_leaves(a) if isinstance(v, torch.Tensor)]) for a in args]
        self.spans = [range(sum(counts[:k]), sum(counts[:k + 1])) for k in range(len(args))]
        self.result: Any = None
        self.aux: Any = None

    def positions(self, argnums: Any) -> tuple[int, ...]:
        """Which of the tensors belong to the chosen arguments."""
        wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for a in wanted:
            if not -len(self.spans) <= a < len(self.spans):
                raise RuntimeError(f"Got argnum={a}, but only {len(self.spans)} positional inputs")
        return tuple(k for a in wanted for k in self.spans[a])

    def nested(self, values: Sequence[Any], argnums: Any) -> Any:
        """`values`, one per tensor of the chosen arguments, nested as these are."""
        given = iter(values)
        args = pytree.tree_unflatten(self.leaves, self.spec)
        wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        found = tuple(pytree.tree_map(lambda v: next(given) if isinstance(v, torch.Tensor) else v, args[a]) for a in wanted)
        return found[0] if isinstance(argnums, int) else found

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors of the result, after them those of aux."""
        leaves = list(self.leaves)
        for k, tensor in zip(self.places, tensors):
            leaves[k] = self.session.wrapped(tensor)
        with self.session.again():
            result = self.function(*pytree.tree_unflatten(leaves, self.spec), **self.kwargs)
        self.result, self.aux = result if self.has_aux else (result, None)
        both = pytree.tree_leaves((self.result, self.aux))
        return tuple(self.session.held(v) for v in both if isinstance(v, torch.Tensor))

    def back(self, tensors: Sequence[Any]) -> tuple[Any, Any]:
        """Result and aux of the last call with these tensors in the place of its own."""
        given = iter(map(self.session.wrapped, tensors))
        leaves, spec = pytree.tree_flatten((self.result, self.aux))
        made = [next(given) if isinstance(v, torch.Tensor) else v for v in leaves]
        result, aux = pytree.tree_unflatten(made, spec)
        return result, aux

    @property
    def count(self) -> int:
        """The number of tensors of the result."""
        return len([v for v in pytree.tree_leaves(self.result) if isinstance(v, torch.Tensor)])

    def wrap(self, values: Sequence[Any]) -> list[Any]:
        return [self.session.wrapped(v) for v in values]


def _grad_and_value(func: Any, argnums: Any, has_aux: bool, args: Any, kwargs: Any) -> Any:
    flat = _Flat(func, args, kwargs, has_aux)

    def scalar(*tensors: Tensor) -> Any:
        first, *rest = flat(*tensors)
        return first, tuple(rest)

    found, (value, rest) = transforms.grad_and_value(scalar, flat.positions(argnums), has_aux=True)(*flat.tensors)
    result, aux = flat.back((value, *rest))
    return flat.nested(flat.wrap(found), argnums), ((result, aux) if has_aux else result)


def _grad(func: Any, argnums: Any, has_aux: bool, args: Any, kwargs: Any) -> Any:
    found, value = _grad_and_value(func, argnums, has_aux, args, kwargs)
    return (found, value[1]) if has_aux else found


def _vjp(func: Any, *primals: Any, argnums: Any = None, has_aux: bool = False) -> Any:
    flat = _Flat(func, primals, None, has_aux)
    outputs, pull = transforms.vjp(flat, *flat.tensors)
    count, template = flat.count, flat.result
    result, aux = flat.back(outputs)

    def pulled(*cotangents: Any, retain_graph: Any = None, create_graph: Any = None) -> Any:
        given = cotangents[0] if len(cotangents) == 1 and not isinstance(template, tuple) else cotangents
        given = given[0] if isinstance(template, tuple) and len(cotangents) == 1 and len(template) != 1 else given
        seeds = [flat.session.held(v) for v in pytree.tree_leaves(given) if isinstance(v, torch.Tensor)]
        seeds += [_zeros_like(t) for t in outputs[count:]]
        found = flat.wrap(pull(tuple(seeds)))
        if argnums is None:
            return flat.nested(found, tuple(range(len(primals))))
        chosen = [found[k] for k in flat.positions(argnums)]
        return flat.nested(chosen, argnums)

    return (result, pulled, aux) if has_aux else (result, pulled)


def _jvp(func: Any, primals: Any, tangents: Any, argnums: Any = None, *, strict: bool = False, has_aux: bool = False) -> Any:
    flat = _Flat(func, primals, None, has_aux)
    given = [flat.session.held(v) for v in pytree.tree_leaves(tangents) if isinstance(v, torch.Tensor)]
    if argnums is not None:
        moving = dict(zip(flat.positions(argnums), given))
        given = [moving[k] if k in moving else _zeros_like(t) for k, t in enumerate(flat.tensors)]
    outputs, moved = transforms.jvp(flat, flat.tensors, tuple(given))
    result, aux = flat.back(outputs)
    tangent, _ = flat.back(moved)
    return (result, tangent, aux) if has_aux else (result, tangent)


def _vmap(func: Any, in_dims: Any, out_dims: Any, randomness: str, chunk_size: Any, *args: Any, **kwargs: Any) -> Any:
    flat = _Flat(func, args, kwargs)
    dims = pytree._broadcast_to_and_flatten(in_dims, flat.spec)
    if dims is None:
        raise ValueError(f"vmap(...)(<inputs>): in_dims {in_dims} is not compatible with the structure of inputs")
    outputs = transforms.vmap(flat, tuple(dims[k] for k in flat.places), 0, randomness)(*flat.tensors)
    result, _ = flat.back(outputs)
    leaves, spec = pytree.tree_flatten(result)
    axes = pytree._broadcast_to_and_flatten(out_dims, spec)
    return pytree.tree_unflatten([v.movedim(0, d) if d else v for v, d in zip(leaves, axes)], spec)


_PLACES: tuple[tuple[str, str, Any], ...] = (
    ("torch._functorch.eager_transforms", "grad_impl", _grad),
    ("torch._functorch.eager_transforms", "grad_and_value_impl", _grad_and_value),
    ("torch._functorch.eager_transforms", "_vjp_with_argnums", _vjp),
    ("torch._functorch.eager_transforms", "_jvp_with_argnums", _jvp),
    ("torch._functorch.apis", "vmap_impl", _vmap),
)
"""Module, name, and what stands there while a session runs: jacrev and the others are torch's own Python over these."""


@contextmanager
def redirected() -> Iterator[None]:
    """torch's own transforms and autograd.Function go through the session that is open."""
    with ExitStack() as stack:
        for space, name, made in _PLACES:
            stack.enter_context(mock.patch.object(importlib.import_module(space), name, made))
        stack.enter_context(mock.patch.object(torch.autograd.Function, "apply", classmethod(_apply)))
        yield
