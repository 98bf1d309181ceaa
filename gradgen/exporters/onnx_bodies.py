"""Scalar bodies as ONNX nodes, in the arithmetic that bodies promise (`gradgen.ir.evaluation.Body`)."""

from __future__ import annotations

from typing import Any

import sympy

from gradgen.errors import UnsupportedOperationError
from gradgen.exporters.onnx_functions import form_of
from gradgen.exporters.onnx_reads import Place, Value
from gradgen.ir import functions as fn
from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.evaluation import WEAK_FLOAT, WEAK_INT, Body
from gradgen.ir.scalar_table import BOOL, SAME, ScalarFunction
from gradgen.ir.symbols import Axis, Dim, ReduceAxis, placeholder


class Scalars(Body):
    """One body over the axes of a place: an item is a Value and its type, or an exact number that is none yet."""

    def __init__(self, place: Place, reads: list[Value], target: DType) -> None:
        self.place, self.w = place, place.w
        values = {placeholder(k): v for k, v in enumerate(reads)}
        super().__init__(values, {s: v.dtype for s, v in values.items()}, target)

    def cast(self, item: tuple[Any, Any], dtype: DType) -> Any:
        value, kind = item
        if kind in (WEAK_INT, WEAK_FLOAT):
            plain = float(value) if dtype.is_floating_point else bool(value) if dtype is bool_ else int(value)
            return Value(self.w.constant(plain, dtype), (), dtype)
        return Value(self.w.cast(value.name, kind, dtype), value.labels, dtype)

    def node(self, op: str, args: list[Value], kind: DType, **attributes: Any) -> Value:
        return self.made(args, kind, lambda names: self.w.op(op, *names, **attributes))

    def made(self, args: list[Value], kind: DType, make: Any) -> Value:
        """`make` of the arguments' names, which broadcast."""
        labels = {v.labels for v in args if v.labels}
        if len(labels) < 2:  # as they lie
            return Value(make([v.name for v in args]), next(iter(labels), ()), kind)
        axes = {a for v in args for a in v.axes}
        return Value(make([self.place.aligned(v) for v in args]), self.place.pattern(axes), kind)

    def compute(self, expr: sympy.Basic) -> tuple[Any, Any]:
        if expr in self.env:
            return self.env[expr], self.types[expr]
        if isinstance(expr, (Axis, ReduceAxis, Dim, sympy.floor, sympy.ceiling, sympy.Mod, sympy.Min, sympy.Max)):
            return Value(self.place.index(expr), self.place.pattern(self.place.axes_of(expr)), INDEX), INDEX
        if expr in (sympy.true, sympy.false):
            return Value(self.w.constant(expr is sympy.true, bool_), (), bool_), bool_
        return super().compute(expr)

    def chain(self, expr: sympy.Expr) -> tuple[Any, Any]:
        numbers = [a for a in expr.args if a.is_number and not a.has(ScalarFunction)]
        others = [a for a in expr.args if a not in numbers]
        sums = isinstance(expr, sympy.Add)
        minus = [a for a in others if sums and a.could_extract_minus_sign()]
        items = [self.visit(-a if a in minus else a) for a in (*(a for a in others if a not in minus), *minus)]
        exact = expr.func(*numbers) if numbers else None
        if exact is not None:
            weak = (exact, WEAK_INT if exact.is_Integer else WEAK_FLOAT)
            items.insert(len(items) - len(minus) if len(minus) < len(others) else 0, weak)
        kind = self.promoted(items)
        kind = INDEX if kind is bool_ else kind
        values = [self.cast(i, kind) for i in items]
        if exact == -1 and not sums:
            values = [v for v, i in zip(values, items) if i is not weak]
            total = self.node("Neg", values[:1], kind)
            values[0] = total
        plus = len(values) - len(minus)
        total = values[0] if plus else self.node("Neg", values[:1], kind)
        for k, v in enumerate(values[1:], 1):
            total = self.node("Mul" if not sums else "Add" if k < plus else "Sub", [total, v], kind)
        return total, kind

    def power(self, expr: sympy.Pow) -> tuple[Any, Any]:
        base = self.visit(expr.base)
        kind = self.promoted([base])
        exponent = expr.exp
        whole = exponent.is_Integer and exponent > 0
        if not kind.is_floating_point:
            kind = (INDEX if kind is bool_ else kind) if whole else self.float_type
        value = self.cast(base, kind)
        if exponent == 2:
            return self.node("Mul", [value, value], kind), kind
        if exponent == sympy.Rational(1, 2):
            return self.node("Sqrt", [value], kind), kind
        if exponent == -1:
            return self.node("Reciprocal", [value], kind), kind
        return self.node("Pow", [value, self.cast(self.visit(exponent), kind)], kind), kind

    def function(self, expr: ScalarFunction) -> tuple[Any, Any]:
        record = expr.record
        if record.identity:
            return self.visit(expr.args[0])
        clipped = _relu(expr)
        if clipped is not None:
            value, kind = self.visit(clipped)
            if isinstance(kind, DType) and kind.is_floating_point:
                return self.node("Relu", [value], kind), kind
        items = [self.visit(a) for a in expr.args]
        if record.key == "select":
            kind = self.promoted(items[1:])
            args = [self.cast(items[0], bool_), self.cast(items[1], kind), self.cast(items[2], kind)]
            return self.made(args, kind, lambda names: self.w.where_(*names, kind)), kind
        kind = bool_ if record.logical else self.promoted(items)
        result = bool_ if record.result == BOOL else kind
        if record.result == SAME:
            kind = result = INDEX if kind is bool_ else kind
            if record.whole == SAME and not kind.is_floating_point:
                return self.cast(items[0], kind), kind
        elif record.result != BOOL and not kind.is_floating_point:
            kind = result = self.float_type
        elif record.result == BOOL and kind is bool_ and not record.logical and record.key not in ("eq", "ne"):
            kind = INDEX
        form = form_of(record.key, kind)
        if form is None:
            raise UnsupportedOperationError(f"{record.key}()")
        if record.whole in (0, 1) and not kind.is_floating_point:
            return Value(self.w.constant(bool(record.whole), bool_), (), bool_), bool_
        return self.made([self.cast(i, kind) for i in items], result, lambda names: form(self.w, names, kind)), result


def _relu(expr: sympy.Basic) -> sympy.Basic | None:
    """x of max(x, 0), as relu is written: select(x <= 0, 0, x)."""
    if isinstance(expr, fn.select) and expr.args[1] == 0 and expr.args[0] == fn.le(expr.args[2], 0):
        return expr.args[2]
    return None


def plain(body: sympy.Expr) -> sympy.Expr:
    """The body with functions that have no operator written out, and without what only derivatives see."""
    body = fn.written_out(body)
    while True:
        found = [f for f in body.atoms(ScalarFunction) if f.record.identity]
        if not found:
            return body
        inner = [f for f in found if not any(g is not f and f.has(g) for g in found)]
        body = body.xreplace({f: f.args[0] for f in inner})
