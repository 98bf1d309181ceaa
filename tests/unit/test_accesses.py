"""schedule/accesses.py: two iterations that are said to be apart are apart, by enumeration of what they touch."""

from __future__ import annotations

import itertools
import random

import sympy

from gradgen.ir.dtypes import bool_, float32, int64
from gradgen.loops.statements import (
    WORK,
    Apply,
    Assign,
    Buffer,
    CVar,
    Declare,
    Index,
    Let,
    Literal,
    Load,
    Loop,
    Statement,
    Store,
    Variable,
)
from gradgen.schedule.accesses import Accesses, Window, disjoint

S = sympy.Integer
ZERO = Literal(float32, S(0))


def touches(w: Window, p: int) -> set[int]:
    ranges = [range(int(most) + 1) for _, most in w.terms]
    factors = [int(f) for f, _ in w.terms]
    return {int(w.slope) * p + int(w.base) + sum(f * q for f, q in zip(factors, at, strict=True))
            for at in itertools.product(*ranges)}


def random_window(rng: random.Random, slope: int) -> Window:
    terms = [(S(rng.choice([1, 2, 3, 4, 6, 12, 24, 30])), S(rng.randrange(4))) for _ in range(rng.randrange(4))]
    return Window(S(slope), S(rng.choice([0, 0, 1, 2, 12, 13])), tuple(terms))


def test_what_is_called_disjoint_is_disjoint() -> None:
    rng = random.Random(5)
    proved = missed = 0
    for _ in range(4000):
        slope, last, step = rng.choice([1, 2, 4, 12, -3]), rng.randrange(1, 5), rng.choice([1, 1, 2])
        windows = [random_window(rng, slope) for _ in range(rng.randrange(1, 3))]
        steps = range(0, last + 1, step)
        meet = any(touches(a, p) & touches(b, q) for a in windows for b in windows
                   for p, q in itertools.permutations(steps, 2))
        said = disjoint(windows, step, S(last))
        assert not (said and meet), (windows, step, last)
        proved += said
        missed += not said and not meet and len(steps) > 1
    assert proved > 600, "and it is often seen"
    assert missed < 1500


def counter(name: str) -> CVar:
    return CVar(name, integer=True, nonnegative=True)


def loop(body: list[Statement], stop: int = 8) -> Loop:
    return Loop(counter("i"), 0, stop, tuple(body))


def apart(body: list[Statement], buffer: Buffer) -> bool:
    found = [a.window for a in Accesses(loop(body), {}).found if a.buffer is buffer]
    return disjoint(found, 1, S(7))


def test_positions_below_a_bound() -> None:
    """b[4*i + n], n an element of a table of positions below 4; not so for 5, or where nothing is known."""
    for below, expected in ((4, True), (5, False), (None, False)):
        b, table = Buffer("b", float32, (64,), WORK), Buffer("t", int64, (8,), WORK, below=below)
        n, i = counter("n"), counter("i")
        body: list[Statement] = [Let(Variable(int64, "n"), Load(int64, table, i)), Store(b, 4 * i + n, ZERO)]
        assert apart(body, b) is expected


def test_a_position_that_is_found_in_a_loop() -> None:
    """n = argmax over j < 4, kept in a local: known after the loop, and not inside it, where it may be any earlier one."""
    b, v = Buffer("b", float32, (64,), WORK), Buffer("v", float32, (64,), WORK)
    n, i, j = counter("n"), counter("i"), counter("j")
    better = Apply(bool_, "gt", (Load(float32, v, i + j), ZERO))
    for reach, expected in ((4, True), (5, False)):
        position = Apply(int64, "select", (better, Index(int64, j), Variable(int64, "n")))
        found = Loop(j, 0, reach, (Assign(Variable(int64, "n"), position),))
        start = Declare(Variable(int64, "n"), Literal(int64, S(0)))
        assert apart([start, found, Store(b, 4 * i + n, ZERO)], b) is expected
    inside = Loop(j, 0, 4, (Store(b, 4 * i + n, ZERO), Assign(Variable(int64, "n"), position)))
    assert not apart([start, inside], b)


def test_locals_that_exchange_their_values() -> None:
    """m takes n's value of the iteration before, which is assigned after it: nothing is known of m."""
    b = Buffer("b", float32, (64,), WORK)
    m, i, j = counter("m"), counter("i"), counter("j")
    zero = Literal(int64, S(0))
    swap = Loop(j, 0, 9, (Assign(Variable(int64, "m"), Variable(int64, "n")), Assign(Variable(int64, "n"), Index(int64, j))))
    body = [Declare(Variable(int64, "m"), zero), Declare(Variable(int64, "n"), zero), swap, Store(b, 2 * i + m, ZERO)]
    assert not apart(body, b)
