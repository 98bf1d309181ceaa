"""The Python side of a generated module: NumPy arrays in, calls of the compiled C, NumPy arrays out.

This file is the same in every generated package; what is specific stands in the package's `__init__.py`.  When the same
arrays come again, so do their pointers, and a call costs less than a microsecond more than the C function.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np

from ._held import Held
from ._native import (
    NEVER,
    NO_FORWARD,
    Arguments,
    Block,
    Condition,
    Info,
    Native,
    Plan,
    Results,
    Tensor,
    given_outputs,
    load,
    named,
    one_or_all,
    readable,
    seed_values,
    seeds,
)

__all__ = ["Condition", "Functions", "Info", "Module", "Native", "Tensor", "load"]

RETAIN_GRAPH, SET_GRAD = 1, 2
MEMORABLE = 1 << 20
"""Arguments of more bytes than this in all are not kept from one function call to the next."""


class Functions(threading.local):
    """`forward` and `value_and_grad` of a module; each thread has its own memory."""

    def __init__(self, native: Native) -> None:
        self.session = Session(native)


class Session:
    """The functions of a module for one thread: the last arguments and the calls that can be repeated for them.

    A call is repeated as it was when every argument is the very object that came last time.  Only objects whose memory
    stays where it is are remembered: arrays that C reads or writes without a copy, and tuples of them.
    """

    def __init__(self, native: Native) -> None:
        self.native, self.work, self.arguments = native, Block(native.ffi), Arguments(native)
        self.plan: Plan | None = None
        self.outputs = self.gradients = Results(native, (), ())
        self.take: Callable[[], Any] = tuple  # makes the outputs of a repeated call
        self.take_gradients: Callable[[], Any] = tuple
        self.seen: Sequence[Any] = [NEVER] * len(native.info.inputs)
        self.seeds: tuple[int, ...] = ()  # seed and step, where the module draws random numbers
        self.tail: tuple[Any, ...] = ()
        self.forward_call: tuple[Any, ...] | None = None
        self.forward_out: Any = None
        self.gradient_call: tuple[Any, ...] | None = None
        self.gradient_key: tuple[Any, ...] = ()  # what came beside the inputs

    def forward(self, values: tuple[Any, ...], out: Any = None, seeds: tuple[int, ...] = ()) -> Any:
        call = self.forward_call
        if seeds != self.seeds:
            self.seeds, call = seeds, None
        if call is None or out is not self.forward_out or not all(map(is_, values, self.seen)):
            return self._forward_new(values, out)
        status = self.native.forward(*call)
        if status:
            raise self.native.fail(status)
        return self.take() if out is None else out

    def _forward_new(self, values: tuple[Any, ...], out: Any) -> Any:
        native, plan = self.native, self._bind(values)
        pointers, arrays = self._outputs(out, plan)
        call = self.arguments.head + pointers + self.tail
        if self._finish(native.forward(*call)) and (self.outputs.small if out is None else _stays(out)):
            self.forward_call, self.forward_out = call, out
        return out if out is not None else one_or_all(native, self.outputs.hand_out(arrays))

    def value_and_grad(
        self, values: tuple[Any, ...], gradient: Any, gradients: Any, out: Any, seeds: tuple[int, ...] = ()
    ) -> Any:
        call, native = self.gradient_call, self.native
        if seeds != self.seeds:
            self.seeds, call = seeds, None
        if gradients is None and gradient is None and out is None:
            if call is None or self.gradient_key or not all(map(is_, values, self.seen)):
                return self._value_and_grad_new(values, None, None, None)
            status = native.value_and_grad(*call)
            if status:
                raise native.fail(status)
            return self.take(), self.take_gradients()
        targets = gradients if type(gradients) is tuple else (gradients,)
        key = (gradient, out, type(gradients), *targets)
        known = len(key) == len(self.gradient_key) and all(map(is_, key, self.gradient_key))
        if call is None or not known or not all(map(is_, values, self.seen)):
            return self._value_and_grad_new(values, gradient, gradients, out, key)
        status = native.value_and_grad(*call)
        if status:
            raise native.fail(status)
        made = self.take_gradients() if gradients is None else native.Gradients._make(targets)
        return self.take() if out is None else out, made

    def _value_and_grad_new(
        self, values: tuple[Any, ...], gradient: Any, gradients: Any, out: Any, key: tuple[Any, ...] = ()
    ) -> Any:
        native, plan = self.native, self._bind(values)
        outputs = native.seeded
        seeded = [] if len(outputs) == 1 and not outputs[0].shape else seeds(native, gradient, plan.outputs)
        pointers, arrays = self._outputs(out, plan)
        if gradients is None:
            flags, (added, fresh) = SET_GRAD, self.gradients.point()
        else:
            flags, (added, fresh) = 0, self._given_gradients(gradients)
        call = (*self.arguments.head, *seeded, *pointers, *added, self.work.pointer, flags)
        again = self._finish(native.value_and_grad(*call)) and native.reads_in_place(gradient)
        if again and (self.outputs.small if out is None else _stays(out)) and (
            self.gradients.small if gradients is None else _stays(gradients)
        ):  # fmt: skip
            self.gradient_call, self.gradient_key = call, key
        made = fresh if gradients is not None else self.gradients.hand_out(fresh)
        return (one_or_all(native, self.outputs.hand_out(arrays)) if out is None else out), native.Gradients._make(made)

    def _bind(self, values: tuple[Any, ...]) -> Plan:
        native, info = self.native, self.native.info
        self.forward_call = self.gradient_call = None
        self.arguments.seeds = seed_values(info, self.seeds)
        plan = self.arguments.bind(values)
        if plan is not self.plan:
            self.plan = plan
            self.outputs = Results(native, info.outputs, plan.outputs)
            self.take = self.outputs.taker(native.Outputs, single=True)
            shapes = [plan.inputs[k] for k in native.parameter_positions]
            self.gradients = Results(native, native.parameters, shapes)
            self.take_gradients = self.gradients.taker(native.Gradients)
            null = (native.ffi.NULL,) if info.differentiable else ()
            self.tail = (*null, self.work.reserve(plan.work_bytes))
        self.seen = self.arguments.seen
        return plan

    def _finish(self, status: int) -> bool:
        """Whether the call may be repeated as it was, as far as its inputs go."""
        if sum([a.nbytes for a in self.arguments.arrays]) > MEMORABLE:
            self.arguments.forget()
            self.seen = [NEVER] * len(self.seen)
        if status:
            raise self.native.fail(status)
        return self.seen is self.arguments.seen

    def _outputs(self, out: Any, plan: Plan) -> tuple[tuple[Any, ...], Sequence[Any]]:
        if out is None:
            return self.outputs.point()
        return given_outputs(self.native, out, plan, self.arguments.arrays), ()

    def _given_gradients(self, gradients: Any) -> tuple[tuple[Any, ...], list[np.ndarray | None]]:
        """Pointers to, and a list of, the caller's arrays that gradients are to be added to."""
        native, tensors = self.native, self.native.parameters
        given = named(native, "gradients", [t.name for t in tensors], gradients)
        for tensor, shape, array in zip(tensors, self.gradients.shapes, given, strict=True):
            if array is not None:
                native.writable(tensor, shape, array, self.arguments.arrays)
        return tuple([native.ffi.NULL if g is None else native.pointer(g) for g in given]), given


def _stays(value: Any) -> bool:
    """Whether arrays to write to are the same memory whenever the same object comes, and small enough to keep."""
    arrays = value if type(value) is tuple else (value,) if type(value) is np.ndarray else ()
    return bool(arrays) and sum([0 if a is None else a.nbytes for a in arrays]) <= MEMORABLE


class Gradients:
    """The gradients of a Module: attributes by the parameters' names in C, items by those in the model too.

    None before the first backward() and after zero_grad()."""

    __slots__ = ("_names", "_owner", "_values")
    _names: dict[str, int]
    _owner: Module
    _values: list[np.ndarray | None]

    def __init__(self, owner: Module, names: tuple[str, ...]) -> None:
        object.__setattr__(self, "_owner", owner)
        object.__setattr__(self, "_names", {n: k for k, n in enumerate(names)})
        object.__setattr__(self, "_values", [None] * len(names))

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[self._names[name]]
        except KeyError:
            raise AttributeError(f"no parameter {name!r}: there are {', '.join(self._names)}") from None

    def __setattr__(self, name: str, value: np.ndarray | None) -> None:
        if name not in self._names:
            raise AttributeError(f"no parameter {name!r}: there are {', '.join(self._names)}")
        self._owner._set_gradient(self._names[name], value)

    def __getitem__(self, name: str) -> np.ndarray | None:
        return self._values[self._index(name)]

    def __setitem__(self, name: str, value: np.ndarray | None) -> None:
        self._owner._set_gradient(self._index(name), value)

    def _index(self, name: str) -> int:
        k = self._owner._native.index(name)
        if k >= len(self._values):
            raise KeyError(f"{name} has no gradient")
        return k

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return iter(self._values)

    def __repr__(self) -> str:
        return f"Gradients({', '.join(f'{n}={v!r}' for n, v in zip(self._names, self._values, strict=True))})"


class Module(Held):
    """A generated model with its parameters: the inputs that have gradients.

    Arrays are held by reference: `m.w -= rate * m.grad.w` changes the caller's array if it was passed without conversion;
    a state_dict's are copied.  `forward` remembers its arguments until the next one, because `backward` reads them again.
    An instance has one SAVED and one WORK block, so use one per thread.
    """

    def __init__(self, values: Sequence[Any], state: Mapping[str, Any] | None = None) -> None:
        super().__init__(values, state)
        native = self._native
        self._out: Any = None  # the `out` of the call of forward that may be repeated
        self.grad = Gradients(self, tuple(t.name for t in native.parameters))
        self._saved, self._work, self._arguments = Block(native.ffi), Block(native.ffi), Arguments(native)
        self._seen: Sequence[Any] = [NEVER] * len(native.data_positions)
        self._plan: Plan | None = None
        self._outputs = Results(native, (), ())
        self._take: Callable[[], Any] = tuple  # makes the result of a repeated call
        self._tail: tuple[Any, ...] = ()  # SAVED and WORK
        self._back: tuple[Any, ...] | None = None  # a whole call of backward but for its flags
        self._back_tail: tuple[Any, ...] | None = None  # the same without the inputs
        self._seed: Any = None  # the incoming gradient of that call
        self._targets: list[np.ndarray] = []  # the gradients that backward writes
        self._target_pointers: tuple[Any, ...] = ()
        self._owners: list[int] = []  # how many references each has when nobody else holds it
        self._cleared = False  # all gradients are None: _targets are to be set, not added to
        self._pending = False  # _targets become the gradients when backward succeeds

    # forward

    def _forward(self, data: tuple[Any, ...], out: Any = None) -> Any:
        call = self._call
        if call is None or out is not self._out or not all(map(is_, data, self._seen)):
            return self._forward_new(data, out)
        status = self._native.forward(*call)
        if status:
            raise self._native.fail(status)
        return self._take() if out is None else out

    def _forward_new(self, data: tuple[Any, ...], out: Any) -> Any:
        native, arguments = self._native, self._arguments
        self._call = self._back = None
        values = self._template.copy()
        for position, value in zip(native.data_positions, data, strict=True):
            values[position] = value
        plan = arguments.bind(values)
        if plan is not self._plan:
            self._plan_changes(plan)
        if self._back_tail is not None:
            self._back = arguments.head + self._back_tail
        if out is None:
            pointers, arrays = self._outputs.point()
        else:
            pointers, arrays = given_outputs(native, out, plan, arguments.arrays), ()
        call = arguments.head + pointers + self._tail
        status = native.forward(*call)
        if status:
            raise native.fail(status)
        if self._outputs.small if out is None else type(out) is np.ndarray:
            self._call, self._out = call, out
            self._seen = data if arguments.seen is values else [arguments.seen[k] for k in native.data_positions]
            return self._take() if out is None else out
        return one_or_all(native, self._outputs.hand_out(arrays)) if out is None else out

    def _plan_changes(self, plan: Plan) -> None:
        """Memory for other dimensions."""
        native = self._native
        self._plan, self._back_tail = plan, None
        self._outputs = Results(native, native.info.outputs, plan.outputs)
        self._take = self._outputs.taker(native.Outputs, single=True)
        saved = (self._saved.reserve(plan.saved_bytes),) if native.info.differentiable else ()
        self._tail = (*saved, self._work.reserve(plan.work_bytes))

    # backward

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Adds the gradients of the last forward() into `self.grad`, as PyTorch's `Tensor.backward` does.

        `gradient` is the incoming gradient: an array of the output's shape, or for several outputs a tuple or dict;
        without it, a scalar output gets 1.  Raises RuntimeError with PyTorch's words for a second call without
        `retain_graph` before it, and for a missing `gradient`.
        """
        back = self._back
        if back is None or gradient is not self._seed or (self._cleared and self._count_owners() != self._owners):
            back = self._prepare_backward(gradient)
        flags = (RETAIN_GRAPH if retain_graph else 0) | (SET_GRAD if self._cleared else 0)
        status = self._native.backward(*back, flags)
        if status:
            raise self._native.fail(status)
        if self._pending:
            self.grad._values[:] = self._targets
            self._pending = self._cleared = False

    def _prepare_backward(self, gradient: Any) -> tuple[Any, ...]:
        """A call of backward; it may be repeated when it has no incoming gradient of the caller's."""
        native, plan = self._native, self._plan
        if not native.info.differentiable:
            raise RuntimeError(f"{native.info.name} was generated without gradients")
        if plan is None:
            raise native.fail(NO_FORWARD)
        seeded = seeds(native, gradient, plan.outputs)
        self._prepare_targets()
        tail = (self._saved.pointer, *seeded, *self._target_pointers, self._work.pointer)
        back = self._arguments.head + tail
        self._seed = gradient
        self._back, self._back_tail = (back, tail) if native.reads_in_place(gradient) else (None, None)
        return back

    def _prepare_targets(self) -> None:
        """Arrays for backward to write or add to: the gradients that are there, fresh or reused ones for the others."""
        native, values, arguments = self._native, self.grad._values, self._arguments
        tensors = native.parameters
        shapes = [arguments.arrays[k].shape for k in native.parameter_positions]
        self._cleared = all([g is None for g in values])
        if self._targets and [g.shape for g in self._targets] == shapes:
            if self._cleared and self._count_owners() == self._owners:
                self._pending = True
                return
            if all(map(is_, values, self._targets)):
                return
        make = np.empty if self._cleared else np.zeros
        self._targets = [
            make(s, native.dtypes[t.name]) if g is None else native.writable(t, s, g, arguments.arrays)
            for g, s, t in zip(values, shapes, tensors, strict=True)
        ]
        self._target_pointers = tuple([native.pointer(g) for g in self._targets])
        self._owners = self._count_owners() if self._cleared else [-1]
        self._pending = True

    def _count_owners(self) -> list[int]:
        """How many references each target has; equal to `_owners` when nobody but this object can see it."""
        count = getattr(sys, "getrefcount", None)
        return [count(g) for g in self._targets] if count else []

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, or with `set_to_none=False` fills those that exist with zeros."""
        values = self.grad._values
        if set_to_none:
            values[:] = [None] * len(values)
            self._cleared = self._pending = True
        else:
            for gradient in values:
                if gradient is not None:
                    gradient.fill(0)

    def _set_gradient(self, k: int, value: Any) -> None:
        if value is not None:
            tensor = self._native.parameters[k]
            value = self._native.writable(tensor, self._held[k].shape, readable(value), self._held)
        self.grad._values[k] = value
        self._back = self._back_tail = None
