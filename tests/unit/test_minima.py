"""Minima and maxima are SymPy's, whatever is compared here without it."""

from __future__ import annotations

import random
from typing import Any

import sympy

from gradgen.ir.minima import greatest, least
from gradgen.ir.symbols import dim
from gradgen.loops.statements import CVar

SYMBOLS = [dim("N"), dim("M"), CVar("i", integer=True, nonnegative=True), sympy.Min(dim("N"), 256),
           sympy.Symbol("p", integer=True, positive=True)]


def sums(r: random.Random) -> Any:
    some = r.sample(SYMBOLS, r.choice([0, 0, 1, 1, 2, 3]))
    return sum((r.choice([-2, -1, 1, 1, 3]) * s for s in some), sympy.Integer(r.choice([0, 0, 1, -1, 16, -300])))


def test_minima_and_maxima_are_those_of_sympy() -> None:
    r = random.Random(0)
    for _ in range(120):
        a, b = sums(r), sums(r)
        assert least(a, b) == sympy.Min(a, b)
        assert greatest(a, b) == sympy.Max(a, b)


def test_numbers_and_several() -> None:
    n = dim("N")
    assert least(3, 5) == 3
    assert greatest(n, n) == n
    assert least(n, greatest(n, 4), 7) == sympy.Min(n, sympy.Max(n, 4), 7)
