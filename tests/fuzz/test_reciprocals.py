"""Several divisions by one number: one division, and what comes out for every kind of number is what divisions give."""

from __future__ import annotations

import numpy as np
import pytest
from compiled import Compiled

import gradgen as gg
from gradgen.compiler.pipeline import stages
from gradgen.loops.statements import Apply
from gradgen.loops.walk import expressions, subexpressions
from gradgen.options import Options
from gradgen.schedule import PASSES, Procedure, ScheduleOptions, schedule

WITHOUT = ScheduleOptions(passes=tuple(p for p in PASSES if p != "reciprocals"))


def made(function, dtype) -> Procedure:
    specs = {"x": gg.spec("N", 4, dtype=dtype), "d": gg.spec("N", dtype=dtype)}
    return stages(gg.trace(function, **specs).graph, Options()).procedures[0]


def shares(x, d):
    return x / d[:, None]


def roots(x, d):
    return x / gg.sqrt(d)[:, None]


def mixed(x, d):
    scaled = d + x[:, 0]
    return gg.stack([x[:, 1] / scaled, x[:, 2] / scaled, gg.sin(x[:, 3]) / scaled], 1)


def cells(x, d):
    return gg.floor(x / d[:, None]) + x / d[:, None]


def divisions(procedure: Procedure, options: ScheduleOptions | None = None) -> int:
    return sum(isinstance(e, Apply) and e.op == "div" for s in schedule(procedure, options).walk()
               for e in subexpressions(expressions(s)))


def numbers(dtype: str) -> np.ndarray:
    """Zeros, subnormals, the ends of the normal range, ordinary numbers, infinities and nan, of both signs."""
    f = np.finfo(dtype)
    found = [0, f.smallest_subnormal, 3 * f.smallest_subnormal, f.tiny / 16, f.tiny / 2, f.tiny, 3 * f.tiny, 1e-20, 0.1, 1,
             3, 7, 49, 1e20, f.max / 8, f.max / 3, f.max, np.inf, np.nan]
    return np.array([*found, *(-np.array(found, dtype))], dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("function", [shares, roots, mixed])
def test_every_kind_of_number(function, dtype: str) -> None:
    each = numbers(dtype)
    d = np.repeat(each, len(each))
    x = np.stack([np.tile(each, len(each))] * 4, 1)
    if function is mixed:
        x[:, 0] = 0
    procedure = made(function, getattr(gg, dtype))
    values = {"x": x, "d": d}
    results = [next(iter(Compiled(procedure, o).run(values)[1].values())) for o in (None, WITHOUT)]
    tiny = np.finfo(dtype).tiny
    # 1.5 ulp, and 2 bits less where the reciprocal is subnormal; below the normal numbers one step of the subnormal ones
    np.testing.assert_allclose(results[0], results[1], rtol=8 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).eps * tiny)
    with np.errstate(all="ignore"):
        assert (np.signbit(results[0]) == np.signbit(results[1]))[~np.isnan(results[1])].all()


@pytest.mark.parametrize("function", [shares, mixed])
def test_one_division_each(function) -> None:
    procedure = made(function, gg.float64)
    assert divisions(procedure) == 1
    assert divisions(procedure, WITHOUT) >= 1


def test_what_is_rounded_down_is_divided() -> None:
    procedure = made(cells, gg.float64)
    x = np.full((50, 4), 1.0) * np.arange(1, 51)[:, None]
    _, got = Compiled(procedure).run({"x": x, "d": x[:, 0].copy()})
    np.testing.assert_array_equal(next(iter(got.values())), 2.0)


def test_the_derivative_of_a_root_is_a_product_too() -> None:
    def slope(x, d):
        return gg.func.vmap(gg.func.grad(lambda row: 1 / gg.sqrt((row * row).sum() + 1)))(x)

    assert divisions(made(slope, gg.float64), WITHOUT) > 1
    assert divisions(made(slope, gg.float64)) == 1


def test_two_divisions_do_not_pay_unless_the_number_is_normal() -> None:
    def two(x, d):
        root = gg.sqrt(x[:, 2])
        return gg.stack([x[:, 0] / d, x[:, 1] / d, x[:, 0] / root, x[:, 1] / root], 1)

    procedure = made(two, gg.float64)
    assert divisions(procedure, WITHOUT) == 4
    assert divisions(procedure) == 3
