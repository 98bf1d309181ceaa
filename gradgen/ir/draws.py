"""Random numbers as nodes: a draw is a function of two int64, the seed and the step, of the draw's own number, and of the
element.  Nothing else decides which element gets which number: no schedule, no threads, and no other draw.

Every draw has a key and half of a counter of its own (`fold`); the other half counts the elements, row-major.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import sympy

from gradgen.ir.dtypes import INDEX, SMALL_INDEX, DType
from gradgen.ir.functions import (
    bit_and,
    cos,
    eq,
    log,
    philox_high,
    philox_low,
    remainder,
    select,
    shift_right,
    sqrt_,
)
from gradgen.ir.nodes import Compute, Input, Node, Read, map_node
from gradgen.ir.symbols import Extent, axes, axis, placeholder

STATE = Input("gradgen_random", (2,), INDEX)
"""Seed and step of a program that draws: an input that no user names and no caller gives an array for."""

A0, A1 = placeholder(0), placeholder(1)
_HALF = sympy.Rational(1, 2)
_TAIL = 31  # random bits of a logarithm, or one less than the type has digits


@cache
def _bodies(digits: int) -> dict[str, sympy.Expr]:
    """What becomes of random bits, for a type of so many digits."""
    number = (A0 + _HALF) * _HALF ** max(_TAIL, digits - 1)
    return {
        "uniform": A0 * _HALF**digits,
        "exponential": -log(number * (1 - _HALF**digits) if digits <= _TAIL else number),
        "normal": sqrt_(2 * A0) * cos(A1 * (sympy.pi * _HALF ** (digits - 1))),
    }


def _whole(bits: int) -> DType:
    return SMALL_INDEX if bits < 8 * SMALL_INDEX.itemsize else INDEX


def _mask(bits: int) -> sympy.Expr:
    return bit_and(A0, sympy.Integer(2**bits - 1))


@cache
def _words(digits: int) -> dict[sympy.Expr, str]:
    return {body: word for word, body in _bodies(digits).items()} if digits else {_mask(63): "integer"}


def fold(state: Node, number: int) -> tuple[Node, Node]:
    """The key and upper counter of draw `number`, two scalars; `state` holds two int64."""
    reads = [Read(state, (0,)), Read(state, (1,))]
    return tuple(  # type: ignore[return-value]
        Compute((), f(A0, A1, sympy.Integer(number)), reads, INDEX) for f in (philox_low, philox_high)
    )


def folded(state: Node, number: int) -> Node:
    """A state for what stands where draw `number` would: a function with draws of its own."""
    key, high = fold(state, number)
    return Compute((2,), select(eq(axis(0), 0), A0, A1), [Read(key, ()), Read(high, ())], INDEX)


def folded_by_step(state: Node, number: int, length: Extent) -> Node:
    """[length, 2]: such a state for every iteration of a loop, or every element of a batch."""
    key, high = fold(state, number)
    body = select(eq(axis(1), 0), philox_low(A0, A1, axis(0)), philox_high(A0, A1, axis(0)))
    return Compute((length, 2), body, [Read(key, ()), Read(high, ())], INDEX)


def _bits(function: type, shape: Sequence[Extent], state: Node, number: int) -> Node:
    """64 random bits an element, as int64."""
    element: sympy.Expr = sympy.Integer(0)
    for position, extent in zip(axes(len(shape)), shape):
        element = sympy.expand(element * extent + position)
    return Compute(shape, function(A0, A1, element), [Read(n, ()) for n in fold(state, number)], INDEX)


def integers(shape: Sequence[Extent], state: Node, number: int, low: int, high: int) -> Node:
    """int64 in [low, high): the rest of 63 random bits, so that numbers differ in probability by high - low in 2^63."""
    bits = _bits(philox_low, shape, state, number)
    positive = map_node(_mask(63), [bits], INDEX)
    if high - low == 2**63:
        return map_node(A0 + low, [positive], INDEX)
    return map_node(remainder(A0, sympy.Integer(high - low)) + low, [positive], INDEX)


def uniform(shape: Sequence[Extent], state: Node, number: int, dtype: DType) -> Node:
    """[0, 1), never 1: 24 random bits for float32, 53 for float64."""
    bits = map_node(_mask(dtype.digits), [_bits(philox_low, shape, state, number)], _whole(dtype.digits))
    return map_node(_bodies(dtype.digits)["uniform"], [bits], dtype)


def logarithm(shape: Sequence[Extent], state: Node, number: int, dtype: DType) -> Node:
    """-log of a uniform number in (0, 1): exponentially distributed, positive and finite.

    (k + 1/2) / 2^31 with 31 random bits for float32, so that the tail reaches 22.2 where 24 bits would end at 17.3; 2^52
    with 52 bits for float64, up to 36.7.  The float32 is made smaller by its last bit, because it may round to 1.
    """
    count = max(_TAIL, dtype.digits - 1)
    bits = map_node(_mask(count), [_bits(philox_low, shape, state, number)], _whole(count))
    return map_node(_bodies(dtype.digits)["exponential"], [bits], dtype)


def normal(shape: Sequence[Extent], state: Node, number: int, dtype: DType) -> Node:
    """Standard normal by the transform of G. E. P. Box and M. E. Muller (1958): sqrt(-2 log u) cos(2 pi v).

    `u` as in `logarithm`, so that values reach 6.6 (float32) and 8.5 (float64); 2 pi v in [-pi, pi) has 24 or 53 bits.
    """
    bits = _bits(philox_high, shape, state, number)
    signed = map_node(shift_right(A0, 64 - dtype.digits), [bits], _whole(dtype.digits))
    return map_node(_bodies(dtype.digits)["normal"], [logarithm(shape, state, number, dtype), signed], dtype)


def described(node: Node) -> str | None:
    """The word for a node whose elements are random numbers, with the number of the draw (behind that of the program or
    loop which it belongs to): what formulas say for it."""
    word = _words(node.dtype.digits).get(node.body) if isinstance(node, Compute) and node.reducer is None else None
    if word is None:
        return None
    bits: Node = node
    while isinstance(bits, Compute) and bits.reads and not isinstance(bits.body, (philox_low, philox_high)):
        bits = bits.reads[-1].source
    key = bits.reads[0].source if isinstance(bits, Compute) and bits.reads else None
    if not isinstance(key, Compute) or not isinstance(key.body, philox_low):
        return None
    return word + "_".join(reversed(_numbers(key)))


def _numbers(key: Node) -> list[str]:
    """The numbers that a key was folded with, the last one first."""
    found = []
    while isinstance(key, Compute) and key.reads:
        if isinstance(key.body, philox_low) and key.body.args[2].is_Integer:
            found.append(str(key.body.args[2]))
        key = key.reads[0].source
    return found
