"""What a scalar function is in mathematics: the SymPy form of its record, by mpmath in its working precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import sympy

from gradgen.ir import special_functions  # noqa: F401  the whole table
from gradgen.ir.scalar_table import REGISTRY


@cache
def exact_function(key: str) -> Callable[..., Any]:
    record = REGISTRY[key].record
    symbols = [sympy.Symbol(f"x{k}", real=True) for k in range(len(record.partials))]
    made: Callable[..., Any] = sympy.lambdify(symbols, record.sympy(*symbols), "mpmath")
    return made
