"""Random numbers of a trace: every draw is recorded as an operation, a function of a seed and a step.

Outside of traces random tensors have values at once, in PyTorch's streams (`random.py`).  While a function is traced there is
a source: a state (the program's seed and step, those of one iteration of a loop, or two numbers from the default generator)
and a count, so that each draw of the function has a number of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradgen.eager.apply import apply
from gradgen.eager.generators import default_generator
from gradgen.eager.modes import state as modes
from gradgen.eager.tensor import Tensor
from gradgen.errors import TraceError
from gradgen.ir import draws, dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.symbols import Extent
from gradgen.ops.registry import KEEP, Op
from gradgen.record.records import leaf
from gradgen.record.user_lines import users_line


class Source:
    """Where draws come from while a function is recorded.

    `make` gives the state when it is first wanted, on the side of the border where the source was made; None: what records
    the function sets `state` itself.  `lasting`: what is recorded will run more than once, so that nothing may be drawn
    from a generator of Python's now.
    """

    def __init__(self, make: Callable[[], Tensor] | None, lasting: bool = True) -> None:
        self.make, self.lasting = make, lasting
        self.state: Tensor | None = None
        self.border = modes.border
        self.count = 0

    def next(self) -> tuple[Tensor, int]:
        """The state, and the number of one draw more."""
        if self.state is None and self.make is not None:
            inside, modes.border = modes.border, self.border
            try:
                self.state = self.make()
            finally:
                modes.border = inside
        assert self.state is not None
        self.count += 1
        return self.state, self.count - 1


@contextmanager
def drawing_from(source: Source | None) -> Iterator[None]:
    """Draws in this context are recorded with states of `source`."""
    before = modes.source
    modes.source = source
    try:
        yield
    finally:
        modes.source = before


def current() -> Source:
    """The open trace's source; outside of traces one with a fresh state, for what is called once."""
    return modes.source or Source(fresh_state, lasting=False)


def fresh_state() -> Tensor:
    """A seed and a step from the default generator."""
    return Tensor._from_record(leaf(default_generator.random((2,), np.int64), dtypes.int64))


def inner_state() -> Tensor:
    """The state for a program called from here, with draws of its own."""
    if modes.source is None:
        return fresh_state()
    state, number = modes.source.next()
    return _nameless(apply(_FOLDED, (state,), {"number": number}))


def states_by_step(length: Extent) -> Tensor:
    """[length, 2]: a state for each iteration of a loop, or each element of a batch."""
    state, number = current().next()
    return _nameless(apply(_BY_STEP, (state,), {"number": number, "length": length}))


def _nameless(state: Tensor) -> Tensor:
    """The user's variable in which the call's result is kept does not hold this one."""
    state._record.origin = None
    return state


_FOLDED = Op("draw_state", draws.folded, "", KEEP)
_BY_STEP = Op("draw_states", draws.folded_by_step, "", KEEP)


def traced(generator: Any = None) -> bool:
    """Whether a draw is to be recorded: in a trace.

    Raises TraceError for a generator of the caller's where the traced function will run without it.
    """
    if modes.source is None:
        return False
    if generator is None:
        return True
    if modes.source.lasting:
        raise TraceError(
            "generator= has no meaning while a function is traced: its numbers would be the same in every call",
            where=users_line(), hint="leave it out; the traced function draws from its own seed and step",
        )
    return False


_LONG = {"bool": "Bool", "int32": "Int", "int64": "Long"}


# --- distributions ----------------------------------------------------------------------------------------------------


def _op(name: str) -> Op:
    function = getattr(draws, name)

    def lower(state: Any, *, shape: Any, number: int, **options: Any) -> Any:
        return function(shape, state, number, **options)

    return Op(f"draw_{name}", lower, "", KEEP)


_OPS = {name: _op(name) for name in ("uniform", "normal", "logarithm", "integers")}


def _draw(name: str, shape: Sequence[Extent], **options: Any) -> Any:
    state, number = current().next()
    return apply(_OPS[name], (state,), {"shape": tuple(shape), "number": number, **options})


def _floating(dtype: DType, kernel: str) -> None:
    """RuntimeError as PyTorch's for what has no such numbers."""
    if not dtype.is_floating_point:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{_LONG[dtype.name]}'")


def uniform(shape: Sequence[Extent], dtype: DType, low: float = 0.0, high: float = 1.0) -> Any:
    """[low, high)."""
    _floating(dtype, "check_uniform_bounds")
    if not low <= high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}")
    unit = _draw("uniform", shape, dtype=dtype)
    if (low, high) == (0, 1):
        return unit
    value = unit * (high - low) + low
    return value.masked_fill(value >= high, low)  # rounding may have reached the excluded bound


def normal(shape: Sequence[Extent], dtype: DType, mean: Any = 0.0, std: Any = 1.0) -> Any:
    """Normal; mean and std are numbers or tensors, by which the derivative is 0, as in PyTorch."""
    _floating(dtype, "normal_kernel_cpu")
    if not isinstance(std, Tensor) and not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    unit = _draw("normal", shape, dtype=dtype)
    mean, std = (x.detach().to(dtype) if isinstance(x, Tensor) else x for x in (mean, std))
    value = unit if isinstance(std, (int, float)) and std == 1 else unit * std
    return value if isinstance(mean, (int, float)) and mean == 0 else value + mean


def bernoulli(shape: Sequence[Extent], dtype: DType, p: Any = 0.5) -> Any:
    """1 with probability p, a number or a tensor, else 0."""
    if isinstance(p, Tensor):
        wide = p.dtype if p.dtype.is_floating_point else dtypes.float64
        return (_draw("uniform", shape, dtype=wide) < p.detach()).to(dtype)
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    wide = dtype if dtype.is_floating_point else dtypes.float32
    return (_draw("uniform", shape, dtype=wide) < float(p)).to(dtype)


def exponential(shape: Sequence[Extent], dtype: DType, rate: float = 1.0) -> Any:
    """Density rate e^(-rate x)."""
    if not dtype.is_floating_point:
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. dtype must be a floating point but you "
            f"specified {_LONG[dtype.name]}"
        )
    if not rate > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    value = _draw("logarithm", shape, dtype=dtype)
    return value if rate == 1 else value * (1.0 / rate)


def log_normal(shape: Sequence[Extent], dtype: DType, mean: float = 1.0, std: float = 2.0) -> Any:
    """exp of a normal number."""
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    return normal(shape, dtype, mean, std).exp()


def geometric(shape: Sequence[Extent], dtype: DType, p: float) -> Any:
    """The number of trials up to the first success, each with chance p."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    if dtype is dtypes.bool_:
        raise NotImplementedError('"geometric_cpu" not implemented for \'Bool\'')
    wide = dtype if dtype.is_floating_point else dtypes.float64
    return (_draw("logarithm", shape, dtype=wide) * (-1.0 / float(np.log1p(-p)))).ceil().to(dtype)


def cauchy(shape: Sequence[Extent], dtype: DType, median: float = 0.0, sigma: float = 1.0) -> Any:
    """Cauchy: sigma times the tangent of an angle, around the median."""
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    _floating(dtype, "cauchy_cpu")
    return ((_draw("uniform", shape, dtype=dtype) - 0.5) * np.pi).tan() * sigma + median


def integers(shape: Sequence[Extent], dtype: DType, low: int, high: int) -> Any:
    """[low, high)."""
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    found = _draw("integers", shape, low=int(low), high=int(high))
    return found if dtype is dtypes.int64 else found.to(dtype)


def random(shape: Sequence[Extent], dtype: DType, *bounds: int | None, **named: int | None) -> Any:
    """`Tensor.random_`: to the largest integer of the dtype without `high` (of a floating one, up to which it has all)."""
    low, high = (bounds[0], bounds[1]) if len(bounds) > 1 else (None, bounds[0]) if bounds else (None, None)
    low, high = named.get("low", low) or 0, named.get("high", high)
    if high is None:
        digits = {"bool": 1, "int32": 31, "int64": 63, "float32": 24, "float64": 53}[dtype.name]
        high = 2**digits + int(dtype.is_floating_point)
    return integers(shape, dtype, low, min(high, low + 2**63))


def permutation(n: Extent, dtype: DType) -> Any:
    """A random order of 0 ... n - 1: that of random integers of 63 bits (two are equal with probability n^2 / 2^64)."""
    order = _draw("integers", (n,), low=0, high=2**63).argsort()
    return order if dtype is dtypes.int64 else order.to(dtype)


def multinomial(weights: Any, count: int, replacement: bool) -> Any:
    """Indices by weight along the last axis: the largest of weight / exponential (P. S. Efraimidis and P. G. Spirakis,
    Information Processing Letters 97, 2006); with replacement in a race for each sample."""
    if not weights.dtype.is_floating_point:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {_LONG[weights.dtype.name]}")
    if weights.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if count <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    size = weights.shape[-1]
    if not replacement and isinstance(size, int) and count > size:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    weights = weights.detach()
    if not replacement:
        race = weights / _draw("logarithm", tuple(weights.shape), dtype=weights.dtype)
        return race.topk(count, -1)[1] if count > 1 else race.argmax(-1, keepdim=True)
    shape = (*tuple(weights.shape)[:-1], count, size)
    return (weights.unsqueeze(-2) / _draw("logarithm", shape, dtype=weights.dtype)).argmax(-1)
