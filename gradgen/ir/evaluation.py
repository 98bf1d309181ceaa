"""Evaluation by NumPy of what one node says: index expressions, guards, scalar bodies, one Compute over arrays.

It is written to be obviously right: a node is computed whole, over dense index grids, in the arithmetic that bodies promise
(the promoted type of the operands; an integer literal adopts it; the result is cast to the node's dtype).  Float sums run
in float64 and are rounded once, which is at least as accurate as any order a loop may choose.  Whole graphs are evaluated
by `gradgen.reference.interpreter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from gradgen.errors import GradgenError
from gradgen.ir import dtypes
from gradgen.ir.dtypes import INDEX, REFERENCE, DType
from gradgen.ir.guards import EQ, GE, NE, Guard
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import ARG_REDUCERS, Compute, Constant, Node, Read, Scatter
from gradgen.ir.scalar_table import BOOL, SAME, ScalarFunction
from gradgen.ir.symbols import Dim, Extent, axis, placeholder, reduce_axis

Env = Mapping[sympy.Basic, Any]
Rounding = Callable[[str, Any], Any]
"""What is done to the result of every operation on floating-point numbers that rounds: its name ("add", "mul", that of a
scalar function, "kernel") and the values.  It shows how far the roundings of another implementation may lead."""
WEAK_INT, WEAK_FLOAT = "weak int", "weak float"
_REDUCERS = {
    "sum": np.add.reduce, "prod": np.multiply.reduce, "max": np.maximum.reduce, "min": np.minimum.reduce,
    "any": np.logical_or.reduce, "all": np.logical_and.reduce,
}


def _argpeak(values: np.ndarray, axis: int) -> np.ndarray:
    """The place of the first maximum, or of the last nan."""
    nan = np.isnan(values)
    last = values.shape[axis] - 1 - np.argmax(np.flip(nan, axis), axis)
    return np.where(nan.any(axis), last, np.argmax(values, axis))


_ARG_REDUCERS: Mapping[str, Callable[..., Any]] = {"argmax": np.argmax, "argmin": np.argmin, "argpeak": _argpeak}


def bind_dims(shapes: Sequence[tuple[tuple[Extent, ...], tuple[int, ...]]]) -> dict[sympy.Basic, int]:
    """The value of each named dimension, from (declared shape, actual shape) pairs."""
    found: dict[sympy.Basic, int] = {}
    for declared, actual in shapes:
        for extent, size in zip(declared, actual, strict=True):
            if isinstance(extent, Dim):
                found.setdefault(extent, int(size))
    for declared, actual in shapes:
        for extent, size in zip(declared, actual, strict=True):
            if extent_value(extent, found) != size:
                raise GradgenError(f"extent {extent} is {extent_value(extent, found)}, the array has {size}")
    return found


def extent_value(extent: Extent, dims: Env) -> int:
    """An extent as a number."""
    return extent if isinstance(extent, int) else int(integer(extent, dims))


def integer(expr: sympy.Basic, env: Env) -> Any:
    """An integer index expression over NumPy int64 arrays."""
    if expr in env:
        return np.asarray(env[expr], dtype=np.int64)
    if expr.is_Integer:
        return np.int64(int(expr))
    if isinstance(expr, sympy.Add):
        return sum((integer(a, env) for a in expr.args[1:]), integer(expr.args[0], env))
    if isinstance(expr, sympy.Mul):
        number, factors = expr.as_coeff_mul()
        value = np.int64(int(number.p))
        for a in factors:
            value = value * integer(a, env)
        return value // np.int64(int(number.q))  # N/4 stands where conditions on the dimensions make it whole
    if isinstance(expr, sympy.Pow) and expr.exp.is_Integer and expr.exp > 0:
        return integer(expr.base, env) ** int(expr.exp)
    if isinstance(expr, (sympy.floor, sympy.ceiling)):
        numerator, denominator = sympy.together(expr.args[0]).as_numer_denom()
        a, b = integer(numerator, env), integer(denominator, env)
        b = np.where(b == 0, 1, b)
        return a // b if isinstance(expr, sympy.floor) else -((-a) // b)
    if isinstance(expr, (sympy.Mod, modulo)):
        b = integer(expr.args[1], env)
        return integer(expr.args[0], env) % np.where(b == 0, 1, b)
    if isinstance(expr, quotient):
        b = integer(expr.args[1], env)
        return integer(expr.args[0], env) // np.where(b == 0, 1, b)
    if isinstance(expr, (sympy.Min, sympy.Max)):
        choose = np.minimum if isinstance(expr, sympy.Min) else np.maximum
        value = integer(expr.args[0], env)
        for a in expr.args[1:]:
            value = choose(value, integer(a, env))
        return value
    if isinstance(expr, ScalarFunction):
        return np.asarray(expr.record.numpy(*[integer(a, env) for a in expr.args])).astype(np.int64)
    raise GradgenError(f"not an integer index expression: {expr}")


def holds(guard: Guard, env: Env) -> Any:
    """Where the guard holds, as a boolean array."""
    result: Any = np.bool_(True)
    for c in guard:
        value = integer(c.expr, env)
        if c.kind == GE:
            result = result & (value >= 0)
        elif c.kind == EQ:
            result = result & (value == 0)
        elif c.kind == NE:
            result = result & (value != 0)
        else:
            result = result & (value % integer(sympy.sympify(c.modulus), env) == 0)
    return result


class Body:
    """One body over arrays: a subexpression is a pair of value and type; literals stay untyped until they meet one."""

    def __init__(
        self, env: Env, types: Mapping[sympy.Basic, DType], target: DType, rounding: Rounding | None = None
    ) -> None:
        self.env, self.types, self.rounding = env, types, rounding
        self.float_type = target.compute if target.is_floating_point else dtypes.widest_float(types.values())
        self.memo: dict[sympy.Basic, tuple[Any, Any]] = {}

    def value(self, expr: sympy.Basic, dtype: DType) -> np.ndarray:
        return self.cast(self.visit(expr), dtype)

    def cast(self, item: tuple[Any, Any], dtype: DType) -> np.ndarray:
        value, kind = item
        if kind in (WEAK_INT, WEAK_FLOAT):
            if dtype.is_floating_point:
                return np.asarray(float(value) if value is not sympy.nan else np.nan, dtype=dtype.numpy)
            return np.asarray(bool(value) if dtype is dtypes.bool_ else int(value), dtype=dtype.numpy)
        with np.errstate(all="ignore"):
            return np.asarray(value).astype(dtype.numpy)

    def promoted(self, items: Sequence[tuple[Any, Any]]) -> DType:
        kinds = [k for _, k in items if isinstance(k, DType)]
        if not kinds:
            return self.float_type if any(k == WEAK_FLOAT for _, k in items) else INDEX
        found = kinds[0]
        for k in kinds[1:]:
            found = dtypes.promote(found, k)
        if found is dtypes.bool_ and any(k == WEAK_INT for _, k in items):
            found = INDEX
        if not found.is_floating_point and any(k == WEAK_FLOAT for _, k in items):
            found = self.float_type
        return found

    def visit(self, expr: sympy.Basic) -> tuple[Any, Any]:
        found = self.memo.get(expr)
        if found is None:
            with np.errstate(all="ignore"):
                found = self.memo[expr] = self.compute(expr)
        return found

    def rounded(self, name: str, value: Any, kind: DType) -> tuple[Any, DType]:
        return (self.rounding(name, value) if self.rounding and kind.is_floating_point else value), kind

    def compute(self, expr: sympy.Basic) -> tuple[Any, Any]:
        if expr in self.env:
            dtype = self.types.get(expr, INDEX)
            return (self.env[expr] if dtype.wider is None else self.env[expr].astype(dtype.wider.numpy)), dtype.compute
        if expr in (sympy.true, sympy.false):
            return np.bool_(expr is sympy.true), dtypes.bool_
        if expr.is_number and not expr.has(ScalarFunction):
            return (expr, WEAK_INT) if expr.is_Integer else (expr, WEAK_FLOAT)
        if isinstance(expr, ScalarFunction):
            return self.function(expr)
        if isinstance(expr, (sympy.Add, sympy.Mul)):
            return self.chain(expr)
        if isinstance(expr, sympy.Pow):
            return self.power(expr)
        if isinstance(expr, (sympy.floor, sympy.ceiling, sympy.Mod, sympy.Min, sympy.Max)):
            return integer(expr, self.env), INDEX
        raise GradgenError(f"a body may not contain {type(expr).__name__}: {expr}")

    def chain(self, expr: sympy.Expr) -> tuple[Any, Any]:
        numbers = [a for a in expr.args if a.is_number and not a.has(ScalarFunction)]
        items = [self.visit(a) for a in expr.args if a not in numbers]
        if numbers:  # exact subexpressions are one literal
            exact = expr.func(*numbers)
            items.append((exact, WEAK_INT if exact.is_Integer else WEAK_FLOAT))
        kind = self.promoted(items)
        compute_in = INDEX if kind is dtypes.bool_ else kind
        values = [self.cast(i, compute_in) for i in items]
        total = values[0]
        for v in values[1:]:
            total = total + v if isinstance(expr, sympy.Add) else total * v
        if len(items) == 2 and -1 in numbers:
            return total, compute_in  # a sign
        return self.rounded("add" if isinstance(expr, sympy.Add) else "mul", total, compute_in)

    def power(self, expr: sympy.Pow) -> tuple[Any, Any]:
        base = self.visit(expr.base)
        kind = self.promoted([base])
        exponent = expr.exp
        if exponent.is_Integer and exponent > 0 and not kind.is_floating_point:
            kind = INDEX if kind is dtypes.bool_ else kind
            return self.cast(base, kind) ** int(exponent), kind
        if not kind.is_floating_point:
            kind = self.float_type
        return self.rounded("pow", np.power(self.cast(base, kind), self.cast(self.visit(exponent), kind)), kind)

    def function(self, expr: ScalarFunction) -> tuple[Any, Any]:
        record = expr.record
        items = [self.visit(a) for a in expr.args]
        if record.logical:
            return record.numpy(*[self.cast(i, dtypes.bool_) for i in items]), dtypes.bool_
        if record.key == "select":
            kind = self.promoted(items[1:])
            yes, no = self.cast(items[1], kind), self.cast(items[2], kind)
            return np.where(self.cast(items[0], dtypes.bool_), yes, no), kind
        kind = self.promoted(items)
        if record.result == BOOL:
            return record.numpy(*[self.cast(i, kind) for i in items]), dtypes.bool_
        if record.result == SAME:
            kind = INDEX if kind is dtypes.bool_ else kind
        elif not kind.is_floating_point:
            kind = self.float_type
        value = np.asarray(record.numpy(*[self.cast(i, kind) for i in items])).astype(kind.numpy)
        return (value, kind) if record.exact else self.rounded(record.key, value, kind)


def _grid(shape: Sequence[int]) -> list[np.ndarray]:
    ranges = [np.arange(n, dtype=np.int64) for n in shape]
    return list(np.meshgrid(*ranges, indexing="ij", sparse=True)) if ranges else []


def _load(read: Read, value: np.ndarray, env: Env) -> np.ndarray:
    """The values of one read over the grid; outside its guard, and only there, the fill."""
    inside = holds(read.guard, env)
    index = [np.where(inside, integer(e, env), 0) for e in read.index]
    something = all(np.size(v) for v in env.values())  # else nothing is computed, and nothing read
    for number, n in zip(index, value.shape, strict=True):
        if something and np.any(inside & ((number < 0) | (number >= n))):
            raise IndexError(f"index out of range in {read}")
    if value.size == 0:
        picked = np.zeros(np.broadcast_shapes(*[i.shape for i in index], np.shape(inside)), value.dtype)
    else:
        picked = value[tuple(index)] if index else value
    if not read.guard:
        return picked
    fill = np.asarray(float(read.fill) if value.dtype.kind == "f" else int(read.fill)).astype(value.dtype)
    return np.where(inside, picked, fill)


def environment(
    node: Compute | Scatter, shape: Sequence[int], reduce_shape: Sequence[int], values: Mapping[Node, np.ndarray],
    dims: Env,
) -> tuple[dict[sympy.Basic, Any], dict[sympy.Basic, DType]]:
    """Axes as index grids, placeholders as what they read; and the dtypes of the reads."""
    grid = _grid([*shape, *reduce_shape])
    env: dict[sympy.Basic, Any] = dict(dims)
    env |= {axis(k): grid[k] for k in range(len(shape))}
    env |= {reduce_axis(k): grid[len(shape) + k] for k in range(len(reduce_shape))}
    types: dict[sympy.Basic, DType] = {}
    for k, read in enumerate(node.reads):
        env[placeholder(k)] = _load(read, values[read.source], env)
        types[placeholder(k)] = read.dtype
    return env, types


def compute_value(
    node: Compute, values: Mapping[Node, np.ndarray], dims: Env, rounding: Rounding | None = None
) -> np.ndarray:
    """The value of a Compute, given those of its sources; IndexError where it reads outside of one."""
    shape = tuple(extent_value(e, dims) for e in node.shape)
    reduce_shape = tuple(extent_value(e, dims) for e in node.reduce_shape)
    env, types = environment(node, shape, reduce_shape, values, dims)
    arg = node.reducer in ARG_REDUCERS
    body = Body(env, types, node.dtype, rounding)
    kind = body.visit(node.body)[1]
    inner = kind if (arg or node.reducer in ("any", "all")) and isinstance(kind, DType) else node.dtype.compute
    full = np.broadcast_to(body.value(node.body, inner), (*shape, *reduce_shape))
    if node.reducer is None:
        return np.asarray(full, order="C")
    over = tuple(range(len(shape), len(shape) + len(reduce_shape)))
    if arg:
        return np.asarray(_ARG_REDUCERS[node.reducer](full, axis=over[0])).astype(np.int64)
    if 0 in reduce_shape and node.reducer in ("max", "min"):
        return np.full(shape, lowest(node.dtype) if node.reducer == "max" else highest(node.dtype), node.dtype.numpy)
    wide = full
    if node.reducer == "sum" and node.dtype.is_floating_point and node.dtype.digits < REFERENCE.digits:
        wide = full.astype(REFERENCE.numpy)
    with np.errstate(all="ignore"):
        if rounding is None or node.reducer not in ("sum", "prod") or not node.dtype.is_floating_point:
            return np.asarray(_REDUCERS[node.reducer](wide, axis=over)).astype(node.dtype.numpy)
        return np.asarray(rounding("add", _REDUCERS[node.reducer](rounding("add", wide), axis=over))).astype(node.dtype.numpy)


def lowest(dtype: DType) -> Any:
    """The identity of max: -inf, the least integer, False."""
    if dtype.is_floating_point:
        return -np.inf
    return False if dtype is dtypes.bool_ else np.iinfo(dtype.numpy).min


def highest(dtype: DType) -> Any:
    """The identity of min."""
    if dtype.is_floating_point:
        return np.inf
    return True if dtype is dtypes.bool_ else np.iinfo(dtype.numpy).max


def of_constants(node: Compute) -> np.ndarray:
    """The value of a Compute whose sources are all constants and whose extents are numbers."""
    return compute_value(node, {s: s.array for s in node.sources if isinstance(s, Constant)}, {})
