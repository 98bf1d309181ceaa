"""Random numbers: PyTorch's CPU generator, stream for stream and bit for bit.

`Generator` draws what `torch.Generator` draws for the same seed, in any interleaving of calls: every distribution
consumes the stream of the Mersenne twister as PyTorch 2.13 does on an x86-64 processor with AVX2. How much each takes
and how it turns bits into numbers was found by experiment and is written at each method.

PyTorch's results are not the same on all machines, and three differences are known: without AVX2 it draws other last
bits for normals and for uniforms with bounds; on Intel processors it hands `bernoulli_` with a scalar probability
(hence dropout), and perhaps `exponential_`, to Intel's MKL, which uses one 32-bit draw to seed a generator of its own.
What is reproduced here is the code it runs on all other processors.

Methods take a shape and a NumPy dtype (or its name) and return a new array. Errors are PyTorch's, type and text.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gradgen.eager.boxmuller import box_muller, fused_multiply_add, map_libm
from gradgen.eager.mersenne import MersenneTwister
from gradgen.eager.modes import state
from gradgen.errors import TraceError

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]

Shape = int | Sequence[int]

_WIDE_RANGE = 1 << 28  # from this many possible integers on, one takes 64 bits of the stream
_SMALL_PERMUTATION = (2**32 - 1) // 20
_INT64_MIN = -(2**63)
_FLOATS = {np.dtype(np.float16): "Half", np.dtype(np.float32): "Float", np.dtype(np.float64): "Double"}
_INTEGERS = {"bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long"}
_C_NAMES = {
    "bool": "bool", "uint8": "unsigned char", "int8": "signed char", "int16": "short int", "int32": "int",
    "int64": "long int", "float16": "c10::Half", "float32": "float", "float64": "double",
}  # fmt: skip


class Generator(MersenneTwister):
    """A stream of random numbers: the seeds and states of `torch.Generator`, and one method per distribution."""

    # ---------------------------------------------------------------------------------------------------- uniforms

    def rand(self, shape: Shape = (), dtype: DTypeLike = np.float32) -> np.ndarray:
        """Uniform on [0, 1): `torch.rand`. One word per number (float16 and float32), two for float64."""
        return self.uniform(shape, 0.0, 1.0, dtype)

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Uniform on [low, high): `Tensor.uniform_`, u (high - low) + low with one rounding."""
        dtype, extents = _floating(dtype, "check_uniform_bounds"), _extents(shape)
        limit, name = float(np.finfo(dtype).max), _FLOATS[dtype]
        for label, bound in (("from", low), ("to", high)):
            if not -limit <= bound <= limit:
                raise RuntimeError(f"{label} is out of bounds for {_C_NAMES[dtype.name]}")
        if low > high:
            raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}")
        if high - low > limit:
            raise RuntimeError(
                f"uniform_ expects to-from <= std::numeric_limits<{name}>::max(), but found to={high:g} and "
                f"from={low:g} which result in to-from to exceed the limit"
            )
        working: Any = np.float64 if dtype == np.float64 else np.float32
        unit = (self._unit64 if working is np.float64 else self._unit32)(math.prod(extents))
        start, stop = working(low), working(high)
        values = unit if (low, high) == (0, 1) else fused_multiply_add(unit, stop - start, start)
        values = values.astype(dtype, copy=False)
        # Rounding may have reached the excluded bound.
        return np.where(values == dtype.type(high), dtype.type(low), values).reshape(extents)

    def bernoulli(
        self, p: float | np.ndarray, shape: Shape | None = None, dtype: DTypeLike | None = None
    ) -> np.ndarray:
        """1 with probability `p`, else 0.

        A scalar `p` needs a shape and compares float64 units (`Tensor.bernoulli_(p)`; dtype float32 by default). An
        array of probabilities is broadcast to `shape` and compares units of its own precision (`torch.bernoulli(p)`;
        its own dtype by default).
        """
        if not isinstance(p, np.ndarray):
            if not 0 <= p <= 1:
                raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
            extents = _extents(() if shape is None else shape)
            hits = self._unit64(math.prod(extents)) < p
            return hits.astype(np.float32 if dtype is None else dtype).reshape(extents)
        kind = _floating(p.dtype, "bernoulli_tensor_cpu_p_")
        chances = p if shape is None else np.broadcast_to(p, _extents(shape))
        if not np.all((chances >= 0) & (chances <= 1)):
            raise RuntimeError(
                "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message be improved?  "
                "If so, please report an enhancement request to PyTorch.)"
            )
        unit = (self._unit64 if kind == np.float64 else self._unit32)(chances.size).reshape(chances.shape)
        return (unit < chances).astype(p.dtype if dtype is None else dtype)

    def dropout_noise(self, shape: Shape, p: float = 0.5, dtype: DTypeLike = np.float32) -> np.ndarray:
        """What `torch.nn.functional.dropout` multiplies its input with in training: 0, or 1 / (1 - p) if kept.

        Nothing is drawn where the answer is known: p = 0 (all ones) and p = 1 (all zeros). For the dropouts that drop
        whole channels pass the shape of the channels, with ones for the axes they share.
        """
        dtype, extents = np.dtype(dtype), _extents(shape)
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        if p in (0, 1):
            return np.full(extents, 1 - p, dtype)
        kept = self.bernoulli(1.0 - p, extents, dtype)
        if dtype == np.float16:
            return (kept.astype(np.float32) / np.float32(1.0 - p)).astype(dtype)
        return kept / np.asarray(1.0 - p, dtype)

    # ----------------------------------------------------------------------------------------------------- normals

    def randn(self, shape: Shape = (), dtype: DTypeLike = np.float32) -> np.ndarray:
        """Standard normal numbers: `torch.randn`. See `normal` for what they take from the stream."""
        return self.normal(0.0, 1.0, shape, dtype)

    def normal(
        self,
        mean: float | np.ndarray = 0.0,
        std: float | np.ndarray = 1.0,
        shape: Shape | None = None,
        dtype: DTypeLike | None = None,
    ) -> np.ndarray:
        """Normal numbers: `Tensor.normal_` and the scalar `torch.normal` for numbers, `torch.normal` for arrays.

        Up to 15 numbers are drawn one by one in float64: two units make a pair, of which the second is kept for the
        next such call. From 16 on a block of 16 units (of the result's precision; float32 for float16) becomes 16
        normals, and where 16 does not divide the count, the last 16 are drawn anew. `dtype` defaults to that of the
        first array among mean and std, or float32.
        """
        arrays = [operand for operand in (mean, std) if isinstance(operand, np.ndarray)]
        if arrays:
            return self._normal_around(mean, std, arrays[0].dtype if dtype is None else np.dtype(dtype))
        kind = np.dtype(np.float32 if dtype is None else dtype)
        return self._normal_alike(float(mean), float(std), () if shape is None else shape, kind)

    def _normal_alike(self, mean: float, std: float, shape: Shape, dtype: np.dtype) -> np.ndarray:
        extents = _extents(shape)
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        count = math.prod(extents)
        if count:
            _floating(dtype, "normal_kernel_cpu")
        values = self._normal_one_by_one if count < 16 else self._normal_blocks
        return values(count, mean, std, dtype).reshape(extents)

    def _normal_around(self, mean: Any, std: Any, dtype: np.dtype) -> np.ndarray:
        shape = np.broadcast_shapes(np.shape(mean), np.shape(std))
        if not isinstance(std, np.ndarray):
            return self.normal(0.0, std, shape, dtype) + mean.astype(dtype)
        if std.size and not np.min(std) >= 0:
            raise RuntimeError("normal expects all elements of std >= 0.0")
        unscaled = self.normal(0.0, 1.0, shape, dtype)
        return unscaled * std.astype(dtype) + np.asarray(mean, dtype)

    def _normal_one_by_one(self, count: int, mean: float, std: float, dtype: np.dtype) -> np.ndarray:
        raw = self._double_normals(count)
        return _narrow(fused_multiply_add(raw, std, mean), dtype)

    def _double_normals(self, count: int) -> np.ndarray:
        """`count` standard normals of PyTorch's scalar path: polar pairs of which a spare one waits for the next."""
        waiting = [] if self._spare_normal is None or not count else [self._spare_normal]
        pairs = (count - len(waiting) + 1) // 2
        units = self._unit64(2 * pairs)
        radius = np.sqrt(-2.0 * map_libm(math.log1p, -units[1::2]))
        angle = 2.0 * math.pi * units[0::2]
        drawn = np.stack([radius * map_libm(math.cos, angle), radius * map_libm(math.sin, angle)], axis=1).reshape(-1)
        available = np.concatenate([waiting, drawn])
        if count:
            self._spare_normal = float(available[count]) if available.size > count else None
        return available[:count]

    def _normal_blocks(self, count: int, mean: float, std: float, dtype: np.dtype) -> np.ndarray:
        draw = self._unit64 if dtype == np.float64 else self._unit32
        whole = count // 16 * 16
        # float16 goes through a buffer of one block; the others fill all of the result with units first, also the
        # places that the last block will take, and these units are lost.
        units = draw(whole if dtype == np.float16 else count)
        values = np.empty(count, units.dtype)
        values[:whole] = box_muller(units[:whole].reshape(-1, 16), mean, std).reshape(-1)
        if whole != count:
            values[-16:] = box_muller(draw(16).reshape(1, 16), mean, std)[0]
        return values.astype(dtype, copy=False)

    def log_normal(
        self, shape: Shape, mean: float = 1.0, std: float = 2.0, dtype: DTypeLike = np.float32
    ) -> np.ndarray:
        """exp of a normal number: `Tensor.log_normal_`. Draws one by one, however many."""
        dtype, extents = _floating(dtype, "log_normal_cpu"), _extents(shape)
        if not std > 0:
            raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
        normals = fused_multiply_add(self._double_normals(math.prod(extents)), float(std), float(mean))
        return _narrow(map_libm(_exp, normals), dtype).reshape(extents)

    # ----------------------------------------------------------------------------------------- other distributions

    def exponential(self, shape: Shape, rate: float = 1.0, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Exponentially distributed with density rate e^(-rate x): `Tensor.exponential_`. Two words per number."""
        dtype, extents = np.dtype(dtype), _extents(shape)
        if dtype not in _FLOATS:
            raise RuntimeError(
                "Exponential distribution is a continuous probability distribution. dtype must be a floating point "
                f"but you specified {_INTEGERS.get(dtype.name, dtype.name)}"
            )
        if not rate > 0:
            raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
        logarithm = map_libm(math.log1p, -self._unit64(math.prod(extents)))
        return _narrow(-1.0 / rate * logarithm, dtype).reshape(extents)

    def geometric(self, shape: Shape, p: float, dtype: DTypeLike = np.float32) -> np.ndarray:
        """The number of trials up to the first success, each with chance `p`: `Tensor.geometric_`. Two words each."""
        dtype, extents = np.dtype(dtype), _extents(shape)
        if not 0 < p < 1:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        if dtype == np.bool_:
            raise NotImplementedError('"geometric_cpu" not implemented for \'Bool\'')
        trials = np.ceil(map_libm(_log, self._unit64(math.prod(extents))) / math.log1p(-p))
        return _narrow(trials, dtype).reshape(extents)

    def cauchy(
        self, shape: Shape, median: float = 0.0, sigma: float = 1.0, dtype: DTypeLike = np.float32
    ) -> np.ndarray:
        """Cauchy distributed: `Tensor.cauchy_`. Two words per number."""
        dtype, extents = np.dtype(dtype), _extents(shape)
        if not sigma > 0:
            raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
        if dtype not in _FLOATS:
            raise RuntimeError(
                "Cauchy distribution is a continuous probability distribution. dtype must be a floating point but you "
                f"specified {_C_NAMES.get(dtype.name, dtype.name)}"
            )
        tangent = map_libm(math.tan, math.pi * (self._unit64(math.prod(extents)) - 0.5))
        return _narrow(fused_multiply_add(tangent, float(sigma), float(median)), dtype).reshape(extents)

    def multinomial(self, probabilities: ArrayLike, num_samples: int, replacement: bool = False) -> np.ndarray:
        """Indices drawn with the given weights along the last axis: `torch.multinomial`; int64, [rows,] num_samples.

        Without replacement (and for a single sample) the weights are divided by exponential numbers and the largest
        quotients win; with it the cumulated weights are searched for a float64 unit per sample.
        """
        weights = np.asarray(probabilities)
        if weights.dtype not in _FLOATS:
            name = _INTEGERS.get(weights.dtype.name, weights.dtype.name)
            raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {name}")
        if weights.ndim not in (1, 2):
            raise RuntimeError("prob_dist must be 1 or 2 dim")
        if num_samples <= 0:
            raise RuntimeError("cannot sample n_sample <= 0 samples")
        if not replacement and num_samples > weights.shape[-1]:
            raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
        if not np.all((weights >= 0) & (weights < np.inf)):
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if np.any(np.sum(weights, axis=-1) <= 0):
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        if replacement and num_samples > 1:
            return self._search_cumulated(weights, num_samples)
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = weights / self.exponential(weights.shape, 1.0, weights.dtype)
        return np.argsort(-quotient, axis=-1, kind="stable")[..., :num_samples].astype(np.int64)

    def _search_cumulated(self, weights: np.ndarray, num_samples: int) -> np.ndarray:
        rows = np.atleast_2d(weights)
        cumulated = np.cumsum(rows, axis=-1, dtype=rows.dtype)
        cumulated /= cumulated[:, -1:]
        units = self._unit64(len(rows) * num_samples).reshape(len(rows), num_samples)
        found = [np.searchsorted(row, unit) for row, unit in zip(cumulated.astype(np.float64), units, strict=True)]
        return np.array(found, np.int64).reshape(*weights.shape[:-1], num_samples)

    # ---------------------------------------------------------------------------------------------------- integers

    def randint(self, low: int, high: int, shape: Shape, dtype: DTypeLike = np.int64) -> np.ndarray:
        """Integers in [low, high): `torch.randint`. A word modulo the range, a double word for 2^28 and more."""
        return self.random(shape, dtype, low, high)

    def random(
        self, shape: Shape, dtype: DTypeLike = np.int64, low: int | None = None, high: int | None = None
    ) -> np.ndarray:
        """`Tensor.random_`: integers in [low, high), to the largest of the type without `high`, also from 0 without.

        The largest integer of a floating type is the last up to which it has all.
        """
        dtype, extents = np.dtype(dtype), _extents(shape)
        count = math.prod(extents)
        if low is None and high is None:
            return self._full_range(count, dtype).reshape(extents)
        if low == _INT64_MIN and high is None:
            return _narrow(self._draw64(count).view(np.int64), dtype).reshape(extents)
        low, high = _integer_bounds(0 if low is None else int(low), high, dtype)
        span = high - low
        words = (self._draw64 if span >= _WIDE_RANGE else self._draw32)(count)
        offset = np.uint64(low % 2**64)
        values = (words % np.uint64(span) + offset).view(np.int64) if span < 2**64 else words.view(np.int64)
        return _narrow(values, dtype).reshape(extents)

    def _full_range(self, count: int, dtype: np.dtype) -> np.ndarray:
        words = (self._draw64 if dtype in (np.int64, np.float64) else self._draw32)(count)
        possible = _largest_integer(dtype) + 1
        return _narrow((words % np.uint64(possible)).view(np.int64), dtype)

    def randperm(self, n: int, dtype: DTypeLike = np.int64) -> np.ndarray:
        """A random permutation of 0 ... n - 1: `torch.randperm`. Fisher-Yates from the front, a word for each place."""
        dtype = np.dtype(dtype)
        _extents(n)
        if dtype == np.bool_:
            raise NotImplementedError('"randperm" not implemented for \'Bool\'')
        _check_permutation_fits(n, dtype)
        places = max(n - 1, 0)
        words = (self._draw32 if n < _SMALL_PERMUTATION else self._draw64)(places)
        steps = words % np.arange(n, n - places, -1, dtype=np.uint64)
        order = list(range(n))
        for place, step in enumerate(steps.tolist()):
            other = place + step
            order[place], order[other] = order[other], order[place]
        return np.array(order, np.int64).astype(dtype)


# ------------------------------------------------------------------------------------------------------------ checks


def _extents(shape: Shape) -> tuple[int, ...]:
    extents = (operator.index(shape),) if not isinstance(shape, Sequence) else tuple(map(operator.index, shape))
    for extent in extents:
        if extent < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {extent}: {list(extents)}")
    return extents


def _floating(dtype: DTypeLike, kernel: str) -> np.dtype:
    kind = np.dtype(dtype)
    if kind not in _FLOATS:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{_INTEGERS.get(kind.name, kind.name)}'")
    return kind


def _narrow(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """C++'s conversion to the result's type; there is none from 64 bits to float16 but by way of float32."""
    if dtype == np.float16:
        values = values.astype(np.float32)
    return values.astype(dtype)


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _digits(dtype: np.dtype) -> int:
    """Binary digits of a floating type's significand."""
    return np.finfo(dtype).nmant + 1


def _largest_integer(dtype: np.dtype) -> int:
    if dtype in _FLOATS:
        return int(2 ** _digits(dtype))
    return 1 if dtype == np.bool_ else int(np.iinfo(dtype).max)


def _integer_bounds(low: int, high: int | None, dtype: np.dtype) -> tuple[int, int]:
    """The half-open range to draw from, moved inwards to numbers a floating type has; checked as PyTorch checks it."""
    if high is not None and low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    last = _largest_integer(dtype) if high is None else int(high) - 1
    if dtype in _FLOATS:
        low = _representable(low + 1, dtype, below=low, inwards=1)
        if high is not None:
            high = _representable(last, dtype, above=int(high), inwards=-1)
            last = high - 1
            if low >= high:
                raise RuntimeError(
                    "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got "
                    f"from={low} >= to={high}"
                )
        elif low >= last:
            raise RuntimeError(
                "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' casted to dtype, but got "
                f"from={low} > to_inc={last}"
            )
    _check_integers_fit(low, last, dtype)
    return low, last + 1


def _representable(
    value: int, dtype: np.dtype, *, below: int | None = None, above: int | None = None, inwards: int
) -> int:
    """The bound itself, or, if `value` next to it rounds across it, the next number inwards that the type has."""
    with np.errstate(over="ignore"):
        nearest = float(_narrow(np.array(value, np.int64), dtype))
    rounded = int(nearest) if -(2.0**63) <= nearest < 2.0**63 else _INT64_MIN  # what the processor makes of the others
    bound = below if below is not None else above
    assert bound is not None
    if (below is not None and rounded >= below) or (above is not None and rounded < above):
        return bound
    exponent = abs(value).bit_length() - 1
    return rounded + inwards * 2 ** (exponent - _digits(dtype) + 1)


def _check_integers_fit(low: int, last: int, dtype: np.dtype) -> None:
    name = _C_NAMES[dtype.name]
    if dtype in _FLOATS:
        smallest, largest = -float(np.finfo(dtype).max), float(np.finfo(dtype).max)
    else:
        smallest, largest = (0, 1) if dtype == np.bool_ else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for label, bound in (("from", low), ("to - 1", last)):
        if not smallest <= bound <= largest:
            raise RuntimeError(f"{label} is out of bounds for {name}")
        if dtype in _FLOATS and abs(bound) > 2 ** _digits(dtype):
            warnings.warn(
                f"{label} is out of bounds [-(2^{_digits(dtype)}), 2^{_digits(dtype)}]. Due to precision limitations "
                f"{name} can support discrete uniform distribution only within this range.",
                UserWarning,
                stacklevel=4,
            )


def _check_permutation_fits(n: int, dtype: np.dtype) -> None:
    if dtype in _FLOATS:
        if n > 2 ** _digits(dtype) + 1:
            limit = "2049 for Half type." if dtype == np.float16 else f"2^{_digits(dtype)}+1 for {_FLOATS[dtype]} type."
            raise RuntimeError(f"n cannot be greater than {limit}")
    elif n > np.iinfo(dtype).max:
        raise RuntimeError(f"value cannot be converted to type {dtype.name}_t without overflow")


# ------------------------------------------------------------------------------------------------- the default stream

default_generator = Generator()
default_generator.seed()


def _restarts(name: str) -> None:
    """The default stream begins anew: where a function is traced to run more than once, it cannot."""
    source = state.source
    if source is not None and source.lasting:
        raise TraceError(
            f"{name}() has no effect while a function is traced: the traced function draws from its own seed and step",
            hint="call it before; a program's seed is an argument of its functions and of its Module",
        )
    if source is not None:
        source.state = None


def manual_seed(seed: Any) -> Generator:
    """Start the default stream again from `int(seed)` and return its generator: `torch.manual_seed`."""
    _restarts("manual_seed")
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Start the default stream again from a seed of the operating system, and return that: `torch.seed`."""
    _restarts("seed")
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default stream: `torch.initial_seed`."""
    return default_generator.initial_seed()


def get_rng_state() -> np.ndarray:
    """The state of the default stream: `torch.get_rng_state`."""
    return default_generator.get_state()


def set_rng_state(new_state: np.ndarray) -> None:
    """Continue the default stream from a saved state: `torch.set_rng_state`."""
    _restarts("set_rng_state")
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True) -> Iterator[None]:
    """Restore the default stream's state at the end of the block: `torch.random.fork_rng`."""
    saved = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(saved)
