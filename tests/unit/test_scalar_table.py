"""The table of scalar functions: no record has a hole, and what a record says is so."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

import gradgen as gg
from gradgen.codegen.c_types import FLOATS, INTEGERS
from gradgen.codegen.fragments import defined, enter, helper, sections
from gradgen.ir import functions as fn
from gradgen.ir.scalar_table import BOOL, JUMP, KINK, REGISTRY, SAME, SMOOTH, Record, define, no_counterpart
from gradgen.notation.latex import latex
from gradgen.ops.registry import FLOAT, OPS, pointwise
from gradgen.ops.table import call
from tests.docs.scalar_functions import PAGE, page, row
from tests.exact_values import exact_function

INTEGERS_ONLY = {"bit_and", "bit_or", "bit_xor", "shift_left", "shift_right", "philox_low", "philox_high", "extent", "select"}
OF_NUMBERS = [k for k, f in REGISTRY.items() if not f.record.logical and k not in INTEGERS_ONLY]
NUMERIC = [k for k in OF_NUMBERS if REGISTRY[k].record.result != BOOL and not REGISTRY[k].record.identity]
POINTS = np.array([-3.5, -2.5, -2.0, -1.0, -0.75, -0.5, -0.0, 0.0, 0.25, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 3.3])
STEP = 1e-6


def at(key: str, *args: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(REGISTRY[key].record.numpy(*map(np.asarray, args)), np.float64)


def arguments(key: str) -> list[np.ndarray]:
    """All combinations of the points."""
    arity = len(REGISTRY[key].record.partials)
    grid = [np.array(c) for c in zip(*itertools.product(POINTS, repeat=min(arity, 2)))]
    return grid + [np.ones(len(POINTS) ** 2)] * (arity - 2)


GOOD: dict[str, Any] = {"key": "fresh", "partials": (0,), "numpy": np.abs, "sympy": sympy.Abs}


@pytest.mark.parametrize(("wrong", "words"), [
    ({"key": ""}, "no name"), ({"partials": ()}, "no derivatives"),
    ({"partials": ("x",)}, "a derivative that is neither"), ({"numpy": None}, "NumPy"), ({"sympy": None}, "SymPy"),
    ({"result": "int"}, "result"), ({"cost": 3}, "cost"), ({"continuity": ""}, "continuity"),
    ({"operator": "!", "instruction": "fabs"}, "ways into C"), ({"latex": " < "}, "two arguments"),
])
def test_a_hole_is_named(wrong: dict[str, Any], words: str) -> None:
    Record(**GOOD)
    with pytest.raises(ValueError, match=rf"{wrong.get('key', 'fresh')}.*{words}"):
        Record(**GOOD | wrong)
    with pytest.raises(ValueError, match="there is a scalar function 'exp'"):
        define("exp", (0,), np.exp, sympy.exp)
    for missing in GOOD:
        with pytest.raises(TypeError, match=missing):
            Record(**{k: v for k, v in GOOD.items() if k != missing})


@pytest.mark.parametrize("key", REGISTRY)
def test_every_function_that_reaches_c_has_c(key: str) -> None:
    record = REGISTRY[key].record
    written = bool(record.operator or record.instruction or record.expansion or record.identity)
    forms = [s for s in FLOATS if defined(f"gg_{key}_{s}")]
    if key in INTEGERS_ONLY:
        assert written or all(defined(f"gg_{key}_{s}") for s in INTEGERS[-1:])
    else:
        assert forms == ([] if written else list(FLOATS))


@pytest.mark.parametrize("key", [k for k in OF_NUMBERS if REGISTRY[k].record.sympy is not no_counterpart])
def test_numpy_and_sympy_mean_the_same(key: str) -> None:
    found, exact = at(key, *arguments(key)), exact_function(key)
    compared = 0
    for *x, value in zip(*map(np.ravel, arguments(key)), found):
        try:
            with mpmath.workdps(40):
                wanted = exact(*map(mpmath.mpf, x))
                real = not isinstance(wanted, (mpmath.mpc, complex)) and mpmath.isfinite(wanted)
        except (ValueError, ZeroDivisionError, TypeError, OverflowError):
            continue
        if real and np.isfinite(value) and not any(v == 0 and np.signbit(v) for v in x):  # mathematics has one zero
            assert abs(value - float(wanted)) <= 1e-13 * max(1, abs(float(wanted))), (x, value, wanted)  # reflection cancels
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize("key", OF_NUMBERS)
def test_facts(key: str) -> None:
    record, args = REGISTRY[key].record, arguments(key)
    found = at(key, *args)
    real = found[~np.isnan(found)]
    if record.nonnegative:
        assert (real >= 0).all()
    if record.exact:
        values = np.array([*np.broadcast_arrays(*args), *(-np.abs(a) for a in args), *map(np.abs, args)])
        assert np.all((found == np.round(found)) | (found == values).any(0) | np.isnan(found))
    if record.identity:
        assert np.array_equal(found, args[0])
    if record.whole is not None:
        whole = np.array([-3, 0, 7])
        wanted = whole if record.whole == SAME else np.full(3, bool(record.whole))
        assert np.array_equal(record.numpy(whole), wanted)
    assert record.result != BOOL or set(np.unique(real)) <= {0, 1}


def sides(key: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Values a step and two to the left and right of the points, along every argument."""
    args = arguments(key)
    for k in range(len(args)):
        moved = [[a + (j == k) * d * STEP for j, a in enumerate(args)] for d in (-2, -1, 1, 2)]
        near, less, more, far = (at(key, *m) for m in moved)
        yield near, less, more, far


@pytest.mark.parametrize("key", NUMERIC)
def test_continuity(key: str) -> None:
    jumps = kinks = False
    for far_left, left, right, far_right in sides(key):
        with np.errstate(all="ignore"):
            tame = np.abs(np.array([far_left, left, right, far_right])).max(0) < 100  # no pole, and nowhere nan
            jump = tame & (np.abs(right - left) > 1e-2)
            slopes = (left - far_left) / STEP, (far_right - right) / STEP
            steepest = np.maximum(np.abs(slopes[0]), np.abs(slopes[1]))
            kink = tame & ~jump & (steepest < 1e4) & (np.abs(slopes[0] - slopes[1]) > 1e-2 * (1 + steepest))
        jumps, kinks = jumps or bool(jump.any()), kinks or bool(kink.any())
    assert (JUMP if jumps else KINK if kinks else SMOOTH) == REGISTRY[key].record.continuity


# --- a new function is one record and one fragment ---------------------------------------------------------------------

FRAGMENTS = """\
//= near: 0.6931472f | 0.6931471805599453
//: gg_log1mexp_{{ s }} < GG_INLINE, gg_log_{{ s }}, gg_expm1_{{ s }}, gg_log1p_{{ s }}, gg_exp_{{ s }}
GG_INLINE {{ T }} gg_log1mexp_{{ s }}({{ T }} x)
{
    return x < {{ near }} ? gg_log_{{ s }}(-gg_expm1_{{ s }}(-x)) : gg_log1p_{{ s }}(-gg_exp_{{ s }}(-x));
}

//: gg_softsign_{{ s }} < GG_INLINE
GG_INLINE {{ T }} gg_softsign_{{ s }}({{ T }} x)
{
    return x / (1.0{{ f }} + fabs{{ f }}(x));
}
"""


@pytest.fixture
def added() -> Iterator[dict[str, Any]]:
    """Two functions that gradgen has not, as operations."""
    define("log1mexp", (lambda x, f: fn.div(1, fn.expm1(x)),),
           lambda x: np.where(x < 0.7, np.log(-np.expm1(-x)), np.log1p(-np.exp(-x))), lambda x: sympy.log(1 - sympy.exp(-x)))
    define("softsign", (lambda x, f: (1 - fn.abs_(f)) ** 2,), lambda x: x / (1 + np.abs(x)),
           lambda x: x / (1 + sympy.Abs(x)), latex=r"\varsigma")
    enter(sections(), "math/added.h", FRAGMENTS)
    names = ("log1mexp", "softsign")
    yield {n: partial(call, pointwise(f"{n}_added", REGISTRY[n], rule=FLOAT)) for n in names}
    for n in names:
        del OPS[f"{n}_added"], REGISTRY[n], sections()[f"gg_{n}_{{{{ s }}}}"]
    helper.cache_clear()


def test_a_new_function(added: dict[str, Any], tmp_path: Path) -> None:
    """Value, slope and second derivative, eagerly and in C for both floating types; formulas, and a row of the docs."""
    x = np.array([0.01, 0.3, 0.69, 0.7, 2.0, 15.0])

    def three(function: Any, v: Any) -> tuple[Any, Any, Any]:
        slope = gg.func.grad(lambda u: function(u).sum())
        return function(v), slope(v), gg.func.grad(lambda u: slope(u).sum())(v)

    def both(v):  # type: ignore[no-untyped-def]
        return *three(added["log1mexp"], v), *three(added["softsign"], v)

    with mpmath.workdps(40):
        exact = [[float(mpmath.diff(exact_function(n), mpmath.mpf(v), k)) for v in x] for n in added for k in range(3)]
    for dtype in (gg.float32, gg.float64):
        program = gg.trace(both, v=gg.spec("N", dtype=dtype), name="both")
        module = gg.build(program, name=f"both_{dtype.suffix}", out=tmp_path)
        given = x.astype(dtype.numpy)
        for found, eager, wanted in zip(module.forward(given), both(gg.tensor(given)), exact):
            np.testing.assert_allclose(found, wanted, rtol=60 * np.finfo(dtype.numpy).eps)  # expm1(0.01) twice
            np.testing.assert_allclose(eager.numpy(), wanted, rtol=60 * np.finfo(dtype.numpy).eps)
    assert r"\varsigma\left(v_{n}\right)" in latex(program.graph) and "log1mexp(v[n])" in gg.show(program)
    leaf = gg.tensor(x, requires_grad=True)
    for n, function in added.items():
        assert gg.autograd.gradcheck(function, leaf) and gg.autograd.gradgradcheck(function, leaf)
        test_every_function_that_reaches_c_has_c(n)
        test_facts(n)
        test_continuity(n)
    assert row(REGISTRY["log1mexp"].record) == "| `log1mexp(x)` | `log(1 - exp(-x))` | `div(1, expm1(x))` |  | a fragment |"


def test_the_page() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.docs.scalar_functions"
