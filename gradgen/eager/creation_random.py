"""Random tensors: rand, randn, randint, randperm and the distributions, with PyTorch's streams; in a trace as draws."""

from __future__ import annotations

from typing import Any

from gradgen.eager import drawing, generators
from gradgen.eager.creation import extents, get_default_dtype, like_shape, make_leaf, written
from gradgen.eager.tensor import Tensor
from gradgen.ir import dtypes
from gradgen.ops.registry import broadcast_shapes

PUBLIC = (
    "bernoulli",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
)
"""The names that users see."""


def _generator(generator: Any, function: str) -> generators.Generator:
    if generator is None:
        return generators.default_generator
    if not isinstance(generator, generators.Generator):
        raise TypeError(f"{function}(): argument 'generator' must be torch.Generator, not {type(generator).__name__}")
    return generator


def _recorded(value: Any, requires_grad: bool, out: Tensor | None) -> Tensor:
    """A draw of a trace, as the caller wanted it."""
    return written(value.requires_grad_(setter=True) if requires_grad else value, out)


def _random_filler(name: str, draw: Any, recorded: Any) -> Any:
    def function(
        *size: Any,
        generator: Any = None,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        out: Tensor | None = None,
    ) -> Tensor:
        kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
        if drawing.traced(generator):
            return _recorded(recorded(extents(size, name), kind), requires_grad, out)
        values = draw(_generator(generator, name), extents(size, name), kind.numpy)
        return written(make_leaf(values, kind, device, requires_grad), out)

    def like(
        input: Tensor,
        *,
        dtype: Any = None,
        generator: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        memory_format: Any = None,
    ) -> Tensor:
        return function(
            *like_shape(input),
            generator=generator,
            dtype=dtype or input.dtype,
            device=device,
            requires_grad=requires_grad,
        )

    function.__name__, like.__name__ = name, f"{name}_like"
    return function, like


rand, rand_like = _random_filler("rand", lambda g, shape, dtype: g.rand(shape, dtype), drawing.uniform)
randn, randn_like = _random_filler("randn", lambda g, shape, dtype: g.randn(shape, dtype), drawing.normal)
rand.__doc__, randn.__doc__ = "Uniform on [0, 1).", "Standard normal."


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """Integers from `low` (0) up to but without `high`."""
    if size is None:
        low, high, size = 0, low, high
    kind = dtypes.dtype(dtype) if dtype is not None else dtypes.int64
    if drawing.traced(generator):
        return _recorded(drawing.integers(extents((size,), "randint"), kind, low, high), requires_grad, out)
    values = _generator(generator, "randint").randint(low, high, extents((size,), "randint"), kind.numpy)
    return written(make_leaf(values, kind, device, requires_grad), out)


def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Integers, in the shape and dtype of `input`."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, like_shape(input), dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randperm(
    n: int,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """A random order of 0 ... n-1."""
    kind = dtypes.dtype(dtype) if dtype is not None else dtypes.int64
    if drawing.traced(generator):
        return _recorded(drawing.permutation(extents((n,), "randperm")[0], kind), requires_grad, out)
    return written(
        make_leaf(_generator(generator, "randperm").randperm(n, kind.numpy), kind, device, requires_grad), out
    )


def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None, out: Tensor | None = None) -> Tensor:
    """1 with the probability that `input` (or `p`) gives, else 0."""
    if drawing.traced(generator):
        return written(drawing.bernoulli(like_shape(input), input.dtype, input if p is None else p), out)
    g = _generator(generator, "bernoulli")
    values = g.bernoulli(input.detach()._value()) if p is None else g.bernoulli(p, like_shape(input), input.dtype.numpy)
    return written(make_leaf(values, input.dtype, None, False), out)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None, out: Tensor | None = None
) -> Tensor:
    """Indices drawn with the weights in the last axis of `input`."""
    if drawing.traced(generator):
        return written(drawing.multinomial(input, num_samples, replacement), out)
    values = _generator(generator, "multinomial").multinomial(input.detach()._value(), num_samples, replacement)
    return written(make_leaf(values, dtypes.int64, None, False), out)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Normal numbers; mean and standard deviation are numbers (with `size`) or tensors."""
    if drawing.traced(generator):
        return _recorded(_normal_recorded(mean, std, size, dtype), requires_grad, out)
    g = _generator(generator, "normal")
    if size is not None:
        kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
        return written(
            make_leaf(g.normal(mean, std, extents((size,), "normal"), kind.numpy), kind, device, requires_grad), out
        )
    given = mean if isinstance(mean, Tensor) else std
    parts = [x.detach()._value() if isinstance(x, Tensor) else x for x in (mean, std)]
    values = g.normal(*parts, dtype=given.dtype.numpy)
    return written(make_leaf(values, given.dtype, device, requires_grad), out)


def _normal_recorded(mean: Any, std: Any, size: Any, dtype: Any) -> Any:
    if size is not None:
        kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
        return drawing.normal(extents((size,), "normal"), kind, mean, std)
    given = [x for x in (mean, std) if isinstance(x, Tensor)]
    return drawing.normal(broadcast_shapes(*(tuple(x.shape) for x in given)), given[0].dtype, mean, std)


METHODS: dict[str, Any] = {"bernoulli": bernoulli, "multinomial": multinomial}
