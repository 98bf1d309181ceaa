"""Divisions by one number: the reciprocal once, and products with it.

A division takes as long as five to ten products.  x * (1/d) differs from x / d by a rounding, and in two places by more:
where d is subnormal its reciprocal overflows although x / d need not, so d is then brought up by a power of 2 that the
product takes away again; and where |d| is within a factor 4 of the largest number the reciprocal is subnormal itself and
has two bits less.  Zeros, infinities and nan come out as they do from a division.  What decides something (a comparison, a
floor, an index) keeps its division: 49 * (1/49) is below 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sympy

from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.scalar_table import JUMP, record_of
from gradgen.loops.statements import (
    Apply,
    Buffer,
    Expr,
    Let,
    Literal,
    Loop,
    Statement,
    Variable,
)
from gradgen.loops.walk import (
    VALUED,
    alike,
    blocks,
    changed,
    expressions,
    mapped,
    parts_in,
    seen,
    statements_in,
    subexpressions,
    used,
    without,
)

LEAST, LEAST_NORMAL = 3, 2  # divisions for which it pays; where the number is known to be no subnormal one
INSIDE = 8  # divisions that one in a loop inside counts for


@dataclass(frozen=True)
class Inverse:
    """The local that holds 1/d, or 1/(d*lift), and the one that holds the power of 2."""

    reciprocal: Variable
    lift: Variable | None


def reciprocals(statements: tuple[Statement, ...], fresh: Callable[[str], str]) -> tuple[Statement, ...]:
    """The statements with such divisions as products."""
    if not any(isinstance(e, Apply) and e.op == "div" for e in parts_in(statements)):
        return statements
    made = Reciprocals(statements, fresh)
    statements = made.block(statements, {})
    if not made.left:
        return statements
    left = made.left - {name for p in parts_in(statements) for name in used(p)}
    return without(statements, lambda s: isinstance(s, Let) and s.variable.name in left)


class Reciprocals:
    """The pass."""

    def __init__(self, statements: Sequence[Statement], fresh: Callable[[str], str]) -> None:
        self.fresh = fresh
        self.left: set[str] = set()  # divisors that may be mentioned no more
        self.divided: dict[Statement, Counter[str]] = {}
        self.deciding = deciding(statements)
        self.values = {s.variable.name: s.value for s in statements_in(statements) if isinstance(s, Let)}

    def block(self, block: Iterable[Statement], known: Mapping[str, Inverse]) -> tuple[Statement, ...]:
        block = tuple(block)
        known = dict(known)
        count = self.divisions(block)
        out: list[Statement] = []
        for s in block:
            made = self.statement(s, known)
            out.append(made)
            if isinstance(s, Let) and s.variable.name in count and s.variable.dtype.is_floating_point:
                normal = self.is_normal(s.value)
                if count[s.variable.name] >= (LEAST_NORMAL if normal else LEAST):
                    known[s.variable.name] = self.inverse(s.variable, normal, out)
        return tuple(out)

    def statement(self, s: Statement, known: Mapping[str, Inverse]) -> Statement:
        if blocks(s):
            return mapped(s, block=lambda inner: self.block(inner, known))
        return mapped(s, expr=lambda e: self.product(e, known)) if known and type(s) in VALUED and not self.decides(s) else s

    def decides(self, s: Statement) -> bool:
        return not self.deciding.isdisjoint(changed(s))

    def divisions(self, block: Iterable[Statement]) -> Counter[str]:
        """How often each name is divided by, in these statements and with what is inside them."""
        found: Counter[str] = Counter()
        for s in block:
            if s not in self.divided:
                self.divided[s] = self._divisions(s)
            found.update(self.divided[s])
        return found

    def _divisions(self, s: Statement) -> Counter[str]:
        found: Counter[str] = Counter()
        for inner in blocks(s):
            for name, times in self.divisions(inner).items():
                found[name] += INSIDE * times if isinstance(s, Loop) else times
        if not blocks(s) and not self.decides(s):
            found.update(filter(None, (self.divisor(e)[0] for e in continuous(expressions(s)))))
        return found

    def divisor(self, e: Expr) -> tuple[str, sympy.Expr]:
        """What an expression divides by: a name and a power of 2, a root's derivative being 1/(2*root)."""
        if not isinstance(e, Apply) or e.op != "div":
            return "", sympy.S.One
        d = e.args[1]
        value = self.resolved(d)
        if isinstance(value, Apply) and value.op == "mul":
            for root, number in (value.args, value.args[::-1]):
                if isinstance(root, Variable) and _is_power_of_2(number) and self.is_root(root):
                    return root.name, _number(number)
        return (d.name, sympy.S.One) if isinstance(d, Variable) else ("", sympy.S.One)

    def resolved(self, e: Expr) -> Expr:
        """What a constant local stands for."""
        for _ in range(8):
            name = next(used(e), "")
            if name not in self.values:
                break
            e = self.values[name]
        return e

    def is_root(self, v: Variable) -> bool:
        """Far from the ends of the range: no product with a small power of 2 overflows."""
        value = self.values.get(v.name)
        return isinstance(value, Apply) and value.op == "sqrt"

    def product(self, e: Expr, known: Mapping[str, Inverse]) -> Expr:
        """The expression with divisions by known numbers as products, except in what decides something."""
        if not isinstance(e, Apply) or _is_deciding(e):
            return e
        args = tuple(self.product(a, known) for a in e.args)
        name, power = self.divisor(e)
        if name not in known:
            return e if all(a is b for a, b in zip(args, e.args, strict=True)) else Apply(e.dtype, e.op, args)
        inverse = known[name]
        factors: list[Expr] = [inverse.reciprocal]
        if _number(args[0]) != 1:
            factors.insert(0, args[0])
        if power != 1:
            self.left.update(used(e.args[1]))
            factors.append(Literal(e.dtype, 1 / power))
        if inverse.lift is not None:
            factors.append(inverse.lift)
        made = factors[0]
        for f in factors[1:]:
            made = Apply(e.dtype, "mul", (made, f))
        return made

    def inverse(self, d: Variable, normal: bool, out: list[Statement]) -> Inverse:
        def let(op: str, args: tuple[Expr, ...], dtype: DType) -> Variable:
            made = Variable(dtype, self.fresh("t"))
            out.append(Let(made, Apply(dtype, op, args)))
            return made

        one = Literal(d.dtype, sympy.S.One)
        if normal:
            return Inverse(let("div", (one, d), d.dtype), None)
        least = sympy.Integer(2) ** d.dtype.least
        power = sympy.Integer(2) ** (d.dtype.digits + 1)  # brings the subnormal ones above it
        small = Apply(bool_, "lt", (Apply(d.dtype, "abs", (d,)), Literal(d.dtype, least)))
        lift = let("select", (small, Literal(d.dtype, power), one), d.dtype)
        return Inverse(let("div", (one, Apply(d.dtype, "mul", (d, lift))), d.dtype), lift)

    def is_normal(self, e: Expr, depth: int = 0) -> bool:
        """Zero, nan, or at least twice the smallest normal number: a root, and what a number of about 1 is added to."""
        e = self.resolved(e)
        if not isinstance(e, Apply) or depth >= 8:
            return False
        if e.op == "sqrt":
            return True
        if e.op == "mul":
            for a, b in (e.args, e.args[::-1]):
                if _is_moderate(a) and self.is_normal(b, depth + 1):
                    return True
        if e.op == "add":
            for a, b in (e.args, e.args[::-1]):
                if _is_moderate(a) and _number(a) > 0 and self.is_not_negative(b, depth + 1):
                    return True
        return False

    def is_not_negative(self, e: Expr, depth: int = 0) -> bool:
        e = self.resolved(e)
        if not isinstance(e, Apply) or depth >= 8:
            return bool(_number(e) >= 0)
        record = record_of(e.op)
        if record is not None and record.nonnegative:
            return True
        if e.op == "mul" and alike(*e.args):
            return True
        if e.op in ("add", "mul", "div"):
            return all(self.is_not_negative(a, depth + 1) for a in e.args)
        return False


def _number(e: Expr) -> sympy.Expr:
    """The number of a literal; minus infinity for anything else."""
    return e.value if isinstance(e, Literal) else -sympy.oo


def _is_power_of_2(e: Expr) -> bool:
    """A small one."""
    return _number(e) in (2, 4, 8, sympy.Rational(1, 2), sympy.Rational(1, 4))


def _is_moderate(e: Expr) -> bool:
    return bool(sympy.Rational(1, 2**20) <= abs(_number(e)) <= 2**20)


# --- what decides -----------------------------------------------------------------------------------------------------

Key = str | Buffer  # a name, or memory


def _is_deciding(e: Expr) -> bool:
    """Jumps where its operands change a little."""
    if not isinstance(e, Apply):
        return False
    record = record_of(e.op)
    return not e.dtype.is_floating_point or (record is not None and record.continuity == JUMP)


def continuous(roots: Iterable[Expr]) -> Iterable[Expr]:
    """The parts of expressions that are in nothing that decides."""
    stack = list(roots)
    while stack:
        e = stack.pop()
        if isinstance(e, Apply) and not _is_deciding(e):
            yield e
            stack.extend(e.args)


def deciding(statements: Sequence[Statement]) -> set[Key]:
    """Names and buffers whose values a comparison, a floor or an index depends on."""
    needs: dict[Key, set[Key]] = {}
    found: set[Key] = set()
    for s in statements_in(statements):
        for target in changed(s):
            needs.setdefault(target, set()).update(seen(expressions(s)))
        for e in subexpressions(expressions(s)):
            if _is_deciding(e):
                found.update(seen((e,)))
    stack = list(found)
    while stack:
        for more in needs.get(stack.pop(), ()):
            if more not in found:
                found.add(more)
                stack.append(more)
    return found


__all__ = ["reciprocals"]
