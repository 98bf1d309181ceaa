"""What a module asks of its dimensions, as C, as Python, and for people: from the conditions of its Interface."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import sympy

from gradgen.codegen.extents import to_c, to_python, to_saturating_c
from gradgen.ir.assumptions import Requirement, comparison, condition_text, without_implied
from gradgen.ir.guards import GE, MOD, Condition
from gradgen.ir.symbols import Dim

NEGATED = {">=": "<", "<=": ">", "==": "!=", "!=": "=="}
MOST_TRIED = 20_000
"""Combinations of sizes among which `fitting` looks."""


@lru_cache(maxsize=64)
def needed(conditions: tuple[Requirement, ...]) -> tuple[Requirement, ...]:
    """Those that say everything, in the order of the program."""
    return without_implied(conditions)


def violations(conditions: tuple[Requirement, ...], prefix: str) -> list[str]:
    """C that is true where a condition does not hold, for dimensions that are not negative.

    Sums and products saturate; what reaches INT64_MAX is refused as too large for a tensor afterwards.
    """
    found = []
    for r in needed(conditions):
        left, sign, right = comparison(r.condition)
        found.append(f"{_side(left, prefix)} {NEGATED[sign]} {_side(right, prefix)}")
    return found


def _side(e: sympy.Expr, prefix: str) -> str:
    single = isinstance(e, (Dim, sympy.Integer)) or (isinstance(e, sympy.Mod) and isinstance(e.args[0], Dim))
    return to_c(e).strip("()") if single else to_saturating_c(e, prefix)


def as_python(condition: Condition) -> str:
    """An expression over the dimensions: `N >= 3`."""
    left, sign, right = comparison(condition)
    return f"{to_python(left)} {sign} {to_python(right)}"


def lines(conditions: tuple[Requirement, ...]) -> list[str]:
    """`N >= 3   model.py:12 x[2]`, in columns."""
    rows = [(condition_text(r.condition), str(r.where or "").strip()) for r in needed(conditions)]
    width = max((len(text) for text, _ in rows), default=0)
    return [f"{text.ljust(width)}   {where}".rstrip() for text, where in rows]


def message(requirement: Requirement) -> list[str]:
    """Text and Python expressions by turns, text first."""
    return [p if isinstance(p, str) else to_python(p) for p in requirement.message]


# --- sizes that fit ----------------------------------------------------------------------------------------------------


def fitting(
    dims: Sequence[str], conditions: Sequence[Requirement], wanted: Mapping[str, int],
    also: Callable[[Mapping[str, int]], bool] = lambda _: True,
) -> dict[str, int]:
    """Sizes near the wanted ones with which every condition holds, and `also`; the wanted ones where there are none."""
    tests = [as_python(r.condition) for r in conditions]

    def holds(values: Mapping[str, int]) -> bool:
        return all(eval(t, {"__builtins__": {}, "max": max, "min": min}, dict(values)) for t in tests) and also(values)

    moved = next((v for k in range(64) if holds(v := {d: wanted[d] + k for d in dims})), None)
    if moved is not None:
        return moved
    candidates = [sorted(itertools.islice(_alone(d, conditions, wanted[d]), 96), key=lambda n: abs(n - wanted[d]))[:24]
                  for d in dims]
    combinations = (dict(zip(dims, c, strict=True)) for c in itertools.product(*candidates))
    return next((v for v in itertools.islice(combinations, MOST_TRIED) if holds(v)), dict(wanted))


def _alone(dim: str, conditions: Sequence[Requirement], wanted: int) -> Iterator[int]:
    """The sizes that satisfy what is asked of this dimension alone, the wanted one and larger ones first."""
    own = [r.condition for r in conditions if {s.name for s in r.condition.expr.free_symbols} == {dim}]
    tests = [as_python(c) for c in own]
    least = max([wanted, *(int(-c.expr.as_coeff_Add()[0]) for c in own if c.kind == GE and c.expr.as_coeff_Add()[0] < 0)])
    step = 1
    for c in own:
        step = int(sympy.ilcm(step, c.modulus)) if c.kind == MOD and isinstance(c.expr, Dim) else step
    upwards = range(-(-least // step) * step, least + 64 * step, step)
    for n in itertools.chain(upwards, range(wanted - 1, -1, -1)):
        if all(eval(t, {"__builtins__": {}, "max": max, "min": min}, {dim: n}) for t in tests):
            yield n

