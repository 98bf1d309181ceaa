"""From a SymPy body to typed scalar operations: promotion, exact literals, powers as multiplications.

The result is a `Recipe`, memoised on (body, operand types, target type): a program has dozens of distinct bodies, not
thousands.  Comparisons run in the promoted type of their operands, an integer literal adopts the type it meets, exact
numeric subexpressions become one literal, and the value is cast to the node's type at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sympy

from gradgen.errors import ScheduleError
from gradgen.ir import dtypes
from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.scalar_table import BOOL, SAME, ScalarFunction
from gradgen.ir.symbols import Placeholder

WEAK_INT, WEAK_FLOAT = "weak int", "weak float"
_INTEGER_FORMS = (sympy.floor, sympy.ceiling, sympy.Mod, sympy.Min, sympy.Max)
MAX_POWER = 8  # that is multiplied out: at most four products, each rounded once


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: op "arg" (payload: position), "index" (payload: integer expression), "literal" (payload: number),
    else an operation over the results of earlier steps."""

    op: str
    args: tuple[int, ...]
    dtype: DType
    payload: object = None


@dataclass(frozen=True, eq=False, slots=True)
class Recipe:
    """Steps in order; the last one is the value."""

    steps: tuple[Step, ...]

    @property
    def arithmetic(self) -> int:
        return sum(1 for s in self.steps if s.op not in ("arg", "index", "literal", "cast"))


Item = tuple[object, object]  # (step number, dtype), or (exact number, WEAK_*)


@lru_cache(maxsize=65536)
def recipe(body: sympy.Expr, operands: tuple[tuple[Placeholder, DType], ...], target: DType) -> Recipe:
    """The typed steps of `body`; `operands` are its placeholders in order with their types."""
    return _Lowering(operands, target).run(body)


class _Lowering:
    def __init__(self, operands: tuple[tuple[Placeholder, DType], ...], target: DType) -> None:
        self.steps: list[Step] = []
        self.numbers: dict[Step, int] = {}
        self.position = {p: (k, t) for k, (p, t) in enumerate(operands)}
        self.target = target
        self.float_type = target.compute if target.is_floating_point else dtypes.widest_float(t for _, t in operands)
        self.memo: dict[sympy.Basic, Item] = {}

    def run(self, body: sympy.Expr) -> Recipe:
        self.copies = self.position.get(body, (0, None))[1] is self.target
        last = self.typed(self.visit_all(body), self.target)
        if last != len(self.steps) - 1:
            self.steps.append(Step("cast", (last,), self.target))
        return Recipe(tuple(self.steps))

    def emit(self, op: str, args: tuple[int, ...], dtype: DType, payload: object = None) -> int:
        step = Step(op, args, dtype, payload)
        if step not in self.numbers:
            self.numbers[step] = len(self.steps)
            self.steps.append(step)
        return self.numbers[step]

    def visit_all(self, body: sympy.Expr) -> Item:
        """Post-order over the expression, without recursion."""
        stack: list[tuple[sympy.Basic, bool]] = [(body, False)]
        while stack:
            expr, ready = stack.pop()
            if expr in self.memo:
                continue
            children = self.children(expr)
            if ready or not children:
                self.memo[expr] = self.visit(expr)
            else:
                stack.append((expr, True))
                stack.extend((c, False) for c in reversed(children) if c not in self.memo)
        return self.memo[body]

    def children(self, expr: sympy.Basic) -> tuple[sympy.Basic, ...]:
        if _exact(expr) or isinstance(expr, (sympy.Symbol, *_INTEGER_FORMS)):
            return ()
        if isinstance(expr, sympy.Pow):
            return (expr.base,) if _exact(expr.exp) else expr.args
        return tuple(a for a in expr.args if not _exact(a))

    def item(self, expr: sympy.Basic) -> Item:
        if _exact(expr):
            return expr, WEAK_INT if expr.is_Integer else WEAK_FLOAT
        return self.memo[expr]

    def visit(self, expr: sympy.Basic) -> Item:
        if _exact(expr):
            return self.item(expr)
        if expr in (sympy.true, sympy.false):
            return self.emit("literal", (), bool_, sympy.Integer(1 if expr is sympy.true else 0)), bool_
        if isinstance(expr, Placeholder):
            k, dtype = self.position[expr]
            read = self.emit("arg", (), dtype, k)
            return (read, dtype) if self.copies else (self.typed((read, dtype), dtype.compute), dtype.compute)
        if isinstance(expr, (sympy.Symbol, *_INTEGER_FORMS)):
            return self.index(expr)
        if isinstance(expr, ScalarFunction):
            return self.function(expr)
        if isinstance(expr, sympy.Add):
            return self.add(expr)
        if isinstance(expr, sympy.Mul):
            return self.mul(expr)
        if isinstance(expr, sympy.Pow):
            return self.power(expr)
        raise ScheduleError(
            f"a body contains {type(expr).__name__}, which has no C form", where=str(expr),
            hint="write it with the scalar functions of gradgen.ir.functions",
        )

    def index(self, expr: sympy.Basic) -> Item:
        if any(isinstance(s, Placeholder) for s in expr.free_symbols):
            raise ScheduleError("an integer form over read values", where=str(expr), hint="use floor_div or remainder")
        return self.emit("index", (), INDEX, expr), INDEX

    # --- types ----------------------------------------------------------------------------------------------------

    def typed(self, item: Item, dtype: DType) -> int:
        """The item as a step of exactly this type."""
        value, kind = item
        if kind in (WEAK_INT, WEAK_FLOAT):
            if dtype is bool_:
                value = sympy.Integer(0 if sympy.sympify(value).is_zero else 1)
            elif not dtype.is_floating_point and kind == WEAK_FLOAT:
                value = sympy.Integer(int(value))  # type: ignore[call-overload]
            return self.emit("literal", (), dtype, value)
        if kind is dtype:
            return value  # type: ignore[return-value]
        return self.emit("cast", (value,), dtype)  # type: ignore[arg-type]

    def promoted(self, items: list[Item]) -> DType:
        kinds = [k for _, k in items if isinstance(k, DType)]
        if not kinds:
            return self.float_type if any(k == WEAK_FLOAT for _, k in items) else INDEX
        found = kinds[0]
        for k in kinds[1:]:
            found = dtypes.promote(found, k)
        if found is bool_ and any(k == WEAK_INT for _, k in items):
            found = INDEX
        if not found.is_floating_point and any(k == WEAK_FLOAT for _, k in items):
            found = self.float_type
        return found

    def arithmetic_type(self, items: list[Item]) -> DType:
        found = self.promoted(items)
        return INDEX if found is bool_ else found

    # --- operations -----------------------------------------------------------------------------------------------

    def add(self, expr: sympy.Expr) -> Item:
        exact = sympy.Add(*[a for a in expr.args if _exact(a)])
        plus: list[Item] = []
        minus: list[Item] = []
        for a in expr.args:
            if _exact(a):
                continue
            negated = isinstance(a, sympy.Mul) and a.args[0].is_Rational and a.args[0] < 0
            (minus if negated else plus).append(self.negated(a) if negated else self.item(a))
        if exact != 0:
            number = (exact, WEAK_INT if exact.is_Integer else WEAK_FLOAT)
            if exact.is_number and exact.is_negative and plus:
                minus.append((-exact, number[1]))
            else:
                plus.append(number)
        dtype = self.arithmetic_type([*plus, *minus])
        if plus:
            total = self.typed(plus[0], dtype)
            rest = plus[1:]
        else:
            total, rest = self.emit("neg", (self.typed(minus.pop(0), dtype),), dtype), []
        for p in rest:
            total = self.emit("add", (total, self.typed(p, dtype)), dtype)
        for m in minus:
            total = self.emit("sub", (total, self.typed(m, dtype)), dtype)
        return total, dtype

    def negated(self, product: sympy.Mul) -> Item:
        return self.product(product, sympy.S.NegativeOne)

    def mul(self, expr: sympy.Mul) -> Item:
        return self.product(expr, sympy.S.One)

    def product(self, expr: sympy.Mul, sign: sympy.Expr) -> Item:
        exact = sympy.Mul(sign, *[a for a in expr.args if _exact(a)])
        above: list[Item] = []
        below: list[Item] = []
        for a in expr.args:
            if _exact(a):
                continue
            if isinstance(a, sympy.Pow) and a.exp.is_Integer and a.exp < 0:
                below.append(self.chain(self.memo[a.base], -int(a.exp)))
            else:
                above.append(self.memo[a])
        number: list[Item] = [] if exact in (1, -1) else [(exact, WEAK_INT if exact.is_Integer else WEAK_FLOAT)]
        dtype = self.arithmetic_type([*above, *below, *number])
        if below and not dtype.is_floating_point:
            dtype = self.float_type
        factors = [self.typed(i, dtype) for i in [*above, *number]]
        if not factors:
            factors = [self.emit("literal", (), dtype, sympy.S.One)]
        total = factors[0]
        for f in factors[1:]:
            total = self.emit("mul", (total, f), dtype)
        for b in below:
            total = self.emit("div", (total, self.typed(b, dtype)), dtype)
        if exact == -1:
            total = self.emit("neg", (total,), dtype)
        return total, dtype

    def chain(self, base: Item, exponent: int) -> Item:
        """base**exponent for a positive exponent, by repeated squaring."""
        dtype = self.arithmetic_type([base])
        square = self.typed(base, dtype)
        result: int | None = None
        while exponent:
            if exponent & 1:
                result = square if result is None else self.emit("mul", (result, square), dtype)
            exponent >>= 1
            if exponent:
                square = self.emit("mul", (square, square), dtype)
        assert result is not None
        return result, dtype

    def power(self, expr: sympy.Pow) -> Item:
        exponent = expr.exp
        if not _exact(expr.base):
            base = self.memo[expr.base]
        else:
            base = self.item(expr.base)
        if exponent.is_Integer and abs(int(exponent)) <= MAX_POWER and isinstance(base[1], DType):
            n = int(exponent)
            if n > 0:
                return self.chain(base, n)
            dtype = base[1] if base[1].is_floating_point else self.float_type
            below = self.typed(self.chain((self.typed(base, dtype), dtype), -n), dtype)
            return self.emit("div", (self.emit("literal", (), dtype, sympy.S.One), below), dtype), dtype
        dtype = self.promoted([base])
        if not dtype.is_floating_point:
            dtype = self.float_type
        value = self.typed(base, dtype)
        if exponent == sympy.S.Half:
            return self.emit("sqrt", (value,), dtype), dtype
        if exponent == -sympy.S.Half:
            return self.emit("rsqrt", (value,), dtype), dtype
        return self.emit("pow", (value, self.typed(self.item(exponent), dtype)), dtype), dtype

    def function(self, expr: ScalarFunction) -> Item:
        record = expr.record
        items = [self.item(a) for a in expr.args]
        if record.logical:
            return self.emit(record.key, tuple(self.typed(i, bool_) for i in items), bool_), bool_
        if record.key == "select":
            dtype = self.promoted(items[1:])
            if self.target.is_floating_point and all(_small(i) for i in items[1:]):
                dtype = self.float_type  # small integers, exact in either type
            values = tuple(self.typed(i, dtype) for i in items[1:])
            return self.emit("select", (self.typed(items[0], bool_), *values), dtype), dtype
        dtype = self.promoted(items)
        if record.result == BOOL:
            if isinstance(record.whole, int) and not dtype.is_floating_point:
                return self.emit("literal", (), bool_, sympy.Integer(record.whole)), bool_
            return self.emit(record.key, tuple(self.typed(i, dtype) for i in items), bool_), bool_
        if record.result == SAME:
            dtype = INDEX if dtype is bool_ else dtype
            if record.whole == SAME and not dtype.is_floating_point:
                return self.typed(items[0], dtype), dtype
        elif not dtype.is_floating_point:
            dtype = self.float_type
        return self.emit(record.key, tuple(self.typed(i, dtype) for i in items), dtype), dtype


def _small(item: Item) -> bool:
    """An untyped integer that every floating type holds exactly."""
    value, kind = item
    return kind == WEAK_INT and abs(int(value)) < 2**24  # type: ignore[call-overload]


def _exact(expr: sympy.Basic) -> bool:
    """A number that can be one literal: no symbols and no scalar function inside."""
    return bool(getattr(expr, "is_number", False)) and (not expr.args or not expr.has(ScalarFunction))
