"""Filling tensors with random numbers in place: `normal_`, `uniform_` and the others, with PyTorch's streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gradgen.eager.apply as recording
from gradgen.eager import drawing, inplace
from gradgen.eager.generators import Generator, default_generator
from gradgen.eager.grad_fn import class_for
from gradgen.eager.tensor import Tensor
from gradgen.eager.views import store
from gradgen.ir.dtypes import DType
from gradgen.record.records import Record, leaf


def _fill_with(self: Tensor, values: Record, grad_name: str) -> Tensor:
    """The values in the tensor's storage; the derivative by what was there is 0."""
    inplace.check_in_place(self, self.requires_grad)
    if recording.state.grad and self.requires_grad:
        result = recording.apply(inplace.ZERO, (self,))
        plan = result._fn.plan
        node = class_for(grad_name)(plan, result._fn.inputs, result._fn.edges, (self,))
        node.keep_outputs([result])
        found = Tensor._from_record(values)
        found._fn = node
        if recording.state.border is not None:
            recording.state.border.carry((found,), (found._record,))
        return inplace.overwrite(self, found)
    store(self, values)
    return self


def _method(name: str, draw: Callable[..., Any]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, generator: Generator | None = None, **kwargs: Any) -> Tensor:
        shape, dtype = tuple(self.shape), self.dtype
        if drawing.traced(generator):
            values = getattr(drawing, name)(shape, dtype, *args, **_plain(kwargs))._record
        else:
            stream = generator if generator is not None else default_generator
            array = np.asarray(draw(stream, shape, dtype, *args, **kwargs), dtype.numpy, order="C").reshape(shape)
            values = leaf(array, dtype)
        return _fill_with(self, values, f"{name.capitalize()}Backward0")

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"Fills the tensor with random numbers as `Generator.{name}` draws them."
    return method


def _plain(named: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's keywords in our words: `from` is none in Python."""
    words = {"from": "low", "from_": "low", "to": "high", "lambd": "rate"}
    return {words.get(name, name): value for name, value in named.items()}


def _normal(g: Generator, shape: Any, dtype: DType, mean: float = 0.0, std: float = 1.0) -> Any:
    return g.normal(mean, std, shape, dtype.numpy)


def _uniform(g: Generator, shape: Any, dtype: DType, from_: float = 0.0, to: float = 1.0, **named: float) -> Any:
    return g.uniform(shape, named.get("from", from_), to, dtype.numpy)


def _bernoulli(g: Generator, shape: Any, dtype: DType, p: Any = 0.5) -> Any:
    return g.bernoulli(p.detach()._value() if isinstance(p, Tensor) else p, shape, dtype.numpy)


def _exponential(g: Generator, shape: Any, dtype: DType, lambd: float = 1.0) -> Any:
    return g.exponential(shape, lambd, dtype.numpy)


def _log_normal(g: Generator, shape: Any, dtype: DType, mean: float = 1.0, std: float = 2.0) -> Any:
    return g.log_normal(shape, mean, std, dtype.numpy)


def _geometric(g: Generator, shape: Any, dtype: DType, p: float) -> Any:
    return g.geometric(shape, p, dtype.numpy)


def _cauchy(g: Generator, shape: Any, dtype: DType, median: float = 0.0, sigma: float = 1.0) -> Any:
    return g.cauchy(shape, median, sigma, dtype.numpy)


def _random(g: Generator, shape: Any, dtype: DType, *bounds: int | None, **named: int | None) -> Any:
    low, high = (bounds[0], bounds[1]) if len(bounds) > 1 else (None, bounds[0]) if bounds else (None, None)
    low, high = named.get("from", low), named.get("to", high)
    return g.random(shape, dtype.numpy, low, high)


METHODS: dict[str, Callable[..., Tensor]] = {
    f"{name}_": _method(name, draw)
    for name, draw in (
        ("normal", _normal),
        ("uniform", _uniform),
        ("bernoulli", _bernoulli),
        ("exponential", _exponential),
        ("log_normal", _log_normal),
        ("geometric", _geometric),
        ("cauchy", _cauchy),
        ("random", _random),
    )
}
