"""The table of scalar functions: one frozen record each, and the SymPy class that stands for it in bodies.

What any room knows of a function is a field here.  A record that lacks something cannot be made; that a function which
reaches C has C, and that what is said is so, is `tests/unit/test_scalar_table.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import sympy
from sympy import Expr

FLOAT, SAME, BOOL = "float", "same", "bool"
"""What a function returns: a floating value, the promoted type of its value arguments, or a truth value."""
SMOOTH, KINK, JUMP = "smooth", "kink", "jump"
CHEAP, DIVISION, FUNCTION = 1, 4, 8
"""Operations that a function counts for: one or two instructions, a division or root, exp and the like."""


class NoDerivative(ValueError):
    """A scalar function was differentiated that has no rule; callers add the user's line."""


def no_counterpart(*args: Expr) -> Expr:
    """The `sympy` of what mathematics has no word for."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known of one scalar function.

    key          names it in loops and printed formulas, and its C: the fragment gg_KEY_f32
    partials     `partials[k](*args, value)` is the derivative by argument k, an expression in the arguments and in the
                 function's own value; a plain 0 says it is zero everywhere, None that there is no rule
    numpy        the reference meaning; of integers, the one that C has
    sympy        ordinary SymPy again, of real numbers; a SymPy class is also read as this function; `no_counterpart`
    result       FLOAT, SAME or BOOL
    expansion    its value in other functions: such a one has a derivative of its own but no C, and is replaced by
                 `written_out` after differentiation
    logical      its arguments are truth values
    identity     its value is its first argument: what it says concerns derivatives or proofs
    exact        its value is one of its arguments or an integer: nothing is rounded
    whole        of integers: SAME, the argument itself, or the number that the value always is; None: computed
    cost         CHEAP, DIVISION or FUNCTION
    continuity   SMOOTH, KINK (the slope jumps somewhere) or JUMP (the value does)
    nonnegative  no value is below 0
    text, latex  in formulas: " < " between its two arguments, "not " before the one, "|%s|" around, else the name of a call
    operator     of C; arithmetic ones are for floating types
    instruction  the function of <math.h> that is right everywhere, and an instruction where there is one
    libm         C99's <math.h> has it under its key, with what accuracy the library has
    """

    key: str
    partials: tuple[Callable[..., Any] | int | None, ...]
    numpy: Callable[..., Any]
    sympy: Callable[..., Any]
    result: str = FLOAT
    expansion: Callable[..., Any] | None = None
    logical: bool = False
    identity: bool = False
    exact: bool = False
    whole: str | int | None = None
    cost: int = FUNCTION
    continuity: str = SMOOTH
    nonnegative: bool = False
    text: str = ""
    latex: str = ""
    operator: str = ""
    instruction: str = ""
    libm: bool = False

    def __post_init__(self) -> None:
        ways = [w for w in (self.operator, self.instruction, self.expansion, self.identity) if w]
        faults = {
            "no name": not self.key.isidentifier(),
            "no derivatives": not self.partials,
            "a derivative that is neither an expression nor 0 or None":
                not all(callable(p) or p is None or p in (0, 1) for p in self.partials),
            "no NumPy meaning": not callable(self.numpy),
            "no SymPy form": not callable(self.sympy),
            "an unknown result, cost or continuity": self.result not in (FLOAT, SAME, BOOL)
                or self.cost not in (CHEAP, DIVISION, FUNCTION) or self.continuity not in (SMOOTH, KINK, JUMP),
            "several ways into C": len(ways) > 1,
            "a sign between other than two arguments":
                any(t.startswith(" ") for t in (self.text, self.latex)) and len(self.partials) != 2,
        }
        wrong = [words for words, found in faults.items() if found]
        if wrong:
            raise ValueError(f"the record of the scalar function {self.key!r} has {', '.join(wrong)}")


class ScalarFunction(sympy.Function):
    """Base of every entry; `record` says all about it, `key` is the record's."""

    key: ClassVar[str]
    record: ClassVar[Record]
    is_extended_real = True
    is_commutative = True

    @classmethod
    def eval(cls, *args: Expr) -> None:
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        rule = self.record.partials[argindex - 1]
        if rule is None:
            raise NoDerivative(f"gradgen has no derivative of {self.key}() by argument {argindex}")
        return sympy.sympify(rule(*self.args, self) if callable(rule) else rule)


ScalarType = type[ScalarFunction]
REGISTRY: dict[str, ScalarType] = {}


def define(
    key: str, partials: tuple[Callable[..., Any] | int | None, ...], numpy: Callable[..., Any], sympy: Callable[..., Any],
    **facts: Any,
) -> ScalarType:
    """Adds one scalar function; `facts` are the other fields of its record."""
    if key in REGISTRY:
        raise ValueError(f"there is a scalar function {key!r}")
    record = Record(key, partials, numpy, sympy, **facts)
    REGISTRY[key] = type(
        key, (ScalarFunction,), {"key": key, "record": record, "nargs": len(partials), "__module__": __name__}
    )
    return REGISTRY[key]


def record_of(op: str) -> Record | None:
    """The record of an operation; None where it is arithmetic."""
    found = REGISTRY.get(op)
    return None if found is None else found.record


_SIGNS = {"add": "+", "sub": "-", "mul": "*", "bitor": "|", "bitand": "&"}


def operator_of(op: str) -> str:
    """C's sign between two operands; empty where an operation is no such."""
    found = record_of(op)
    return _SIGNS.get(op, "") if found is None else found.operator if len(found.partials) == 2 else ""


def is_costly(op: str) -> bool:
    """An operation that takes many instructions: exp, log, tanh, ..."""
    found = record_of(op)
    return found is not None and found.cost == FUNCTION


@lru_cache(maxsize=1 << 12)
def has_costly(body: sympy.Basic) -> bool:
    """Whether a body applies such a function."""
    return any(isinstance(e, ScalarFunction) and e.record.cost == FUNCTION for e in sympy.preorder_traversal(body))
