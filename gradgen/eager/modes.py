"""Autograd modes: recording history or not, as context managers and as decorators, per thread."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any


class _State(threading.local):
    grad = True
    inference = False
    border: Any = None  # that of the innermost function that is being recorded: see border.py
    source: Any = None  # what random numbers come from while a function is recorded: see drawing.py


state = _State()


def is_grad_enabled() -> bool:
    """Whether operations record history."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    return state.inference


def refuse_in_transform(name: str) -> None:
    """RuntimeError in PyTorch's words where a function that is given to a transform of gg.func calls the method."""
    if state.border is not None and state.border.transform:
        perhaps = " (or perhaps using torch.autograd.functional.* APIs)" if name == "requires_grad_" else ""
        raise RuntimeError(
            f"You are attempting to call Tensor.{name}(){perhaps} inside of a function being transformed by a functorch "
            "transform. This is unsupported, please attempt to use the functorch transforms (e.g. grad, vjp, jacrev, jacfwd, "
            f"hessian) or call {name}() outside of a function being transformed instead."
        )


class _Mode:
    """A context manager that is also a decorator: each call of the function enters the mode anew."""

    def _again(self) -> _Mode:
        return type(self)()

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        raise NotImplementedError

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isclass(function):
            function.__init__ = self(function.__init__)  # type: ignore[misc]
            return function
        if inspect.isgeneratorfunction(function):
            return self._generator(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return wrapped

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            send, argument = generator.send, None
            while True:
                try:
                    with self._again():
                        item = send(argument)
                except StopIteration as done:
                    return done.value
                try:
                    argument = yield item
                    send = generator.send
                except GeneratorExit:
                    with self._again():
                        generator.close()
                    raise
                except BaseException as error:
                    send, argument = generator.throw, error

        return wrapped


class _GradMode(_Mode):
    enabled = True

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        mode = object.__new__(cls)
        if function is not None:  # @no_grad without parentheses
            return mode(function)
        return mode

    def __enter__(self) -> None:
        self._before = state.grad
        state.grad = self.enabled

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        state.grad = self._before


class no_grad(_GradMode):
    """Operations in this context record no history; their results do not require a gradient."""

    enabled = False


class enable_grad(_GradMode):
    """Operations in this context record history again, inside of `no_grad`."""

    enabled = True


class set_grad_enabled(_Mode):
    """Recording on or off: at once, and back at the end where used as a context manager."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self._before = state.grad
        state.grad = self.mode

    def _again(self) -> _Mode:
        return set_grad_enabled(self.mode)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.grad = self._before  # a decorator changes nothing until the function is called
        return super().__call__(function)

    def __enter__(self) -> None:
        state.grad = self.mode

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        state.grad = self._before

    def __str__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.mode})"

    __repr__ = __str__


class inference_mode(_Mode):
    """As `no_grad`; its results are inference tensors, which autograd may never see again."""

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Any:
        if callable(mode):
            return cls()(mode)
        return object.__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode

    def _again(self) -> _Mode:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self._before = (state.grad, state.inference)
        state.inference = self.mode
        state.grad = not self.mode and (state.grad or self._before[1])

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        state.grad, state.inference = self._before
