"""Inverting index maps: given x[f(v)], which v touch a given element of x?

The map f takes iteration variables v (axes and reduce axes with extents) to one index per axis of x.  Where it can be
solved for some of the variables the adjoint of the read is a gather: those variables become expressions in the axes
of x, the rest stay as reduce axes, and conditions say where a solution exists.  Solved are permutations, projections,
diagonals, constants, affine maps (slices, strides, flips, windows i*s + p) and reshapes (mixed-radix splits and
merges).  An index read from data is solved as a selection where all that it depends on is solved already (the one-hot of
a cross-entropy), otherwise the caller falls back to a Scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import sympy

from gradgen.ir.guards import EQ, MOD, Condition, Guard, in_range
from gradgen.ir.indexing import modulo, product, quotient
from gradgen.ir.symbols import Axis, Extent, Placeholder, ReduceAxis, same_extent

Variable = Axis | ReduceAxis


@cache
def target(d: int) -> Axis:
    """Axis d of x, told apart from the iteration variables, which may have the same position."""
    return Axis(f"x{d}", integer=True, nonnegative=True)


@dataclass(frozen=True)
class Inversion:
    """`solved` maps variables to expressions in the axes of x (and unsolved variables), `free` are left to be summed.

    `conditions` must hold for a solution; `data` are pairs (index expression with placeholders, axis of x) that must be
    equal, tested in the body.
    """

    solved: dict[Variable, sympy.Expr]
    free: tuple[Variable, ...]
    conditions: tuple[Condition, ...]
    data: tuple[tuple[sympy.Expr, sympy.Expr], ...]


@dataclass
class _Equation:
    """expr(v) = value(axes of x), where 0 <= value < extent is known."""

    expr: sympy.Expr
    value: sympy.Expr
    extent: Extent


def _variables(expr: sympy.Expr) -> list[Variable]:
    return sorted((s for s in expr.free_symbols if isinstance(s, (Axis, ReduceAxis))), key=lambda s: s.name)


def _has_placeholder(expr: sympy.Expr) -> bool:
    return any(isinstance(s, Placeholder) for s in expr.free_symbols)


def _affine(expr: sympy.Expr, variables: Sequence[Variable]) -> tuple[dict[Variable, sympy.Expr], sympy.Expr] | None:
    """Coefficients per variable and the constant term, or None where `expr` is not affine in `variables`."""
    coefficients: dict[Variable, sympy.Expr] = {}
    constant: sympy.Expr = sympy.Integer(0)
    for term in sympy.Add.make_args(sympy.expand(expr)):
        inside = [v for v in variables if term.has(v)]
        if not inside:
            constant += term
            continue
        coefficient = term / inside[0]
        if len(inside) > 1 or coefficient.has(inside[0]):
            return None
        coefficients[inside[0]] = coefficients.get(inside[0], sympy.Integer(0)) + coefficient
    return coefficients, constant


def _merge_splits(equations: list[_Equation]) -> list[_Equation]:
    """Joins axes of x that are digits of one number e (as a reshape reads them) into one equation for e."""
    digits: dict[sympy.Expr, list[tuple[sympy.Expr, sympy.Expr | None, _Equation]]] = {}
    for q in equations:
        base, stride, radix = _digit(q.expr)
        digits.setdefault(base, []).append((stride, radix, q))
    result: list[_Equation] = []
    for base, group in digits.items():
        merged = _join(base, group) if len(group) > 1 else None
        result.extend([merged] if merged else [q for _, _, q in group])
    return result


def _digit(expr: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr, sympy.Expr | None]:
    """(e, stride, radix) of `modulo(quotient(e, stride), radix)`, either part optional."""
    radix = None
    if isinstance(expr, modulo):
        expr, radix = expr.args
    if isinstance(expr, quotient):
        return expr.args[0], expr.args[1], radix
    return expr, sympy.Integer(1), radix


def _join(base: sympy.Expr, group: list[tuple[sympy.Expr, sympy.Expr | None, _Equation]]) -> _Equation | None:
    leading = [g for g in group if g[1] is None]
    if len(leading) != 1 or base.is_Integer:
        return None
    stride: Extent = 1
    value: sympy.Expr = sympy.Integer(0)
    rest = [g for g in group if g[1] is not None]
    while rest:
        found = next((g for g in rest if same_extent(g[0], stride)), None)
        if found is None or not same_extent(found[1], found[2].extent):
            return None
        value = value + found[2].value * stride
        stride = stride * found[2].extent
        rest = [g for g in rest if g is not found]
    top = leading[0]
    if not same_extent(top[0], stride):
        return None
    return _Equation(base, value + top[2].value * stride, product([stride, top[2].extent]))


def _mixed_radix(
    coefficients: dict[Variable, sympy.Expr], extents: dict[Variable, Extent]
) -> tuple[list[Variable], Extent] | None:
    """Variables from the fastest to the slowest where sum c_v v counts every number below the second result once."""
    order: list[Variable] = []
    stride: Extent = 1
    left = dict(coefficients)
    while left:
        found = next((v for v, c in left.items() if same_extent(c, stride)), None)
        if found is None:
            return None
        order.append(found)
        stride = product([stride, extents[found]])
        del left[found]
    return order, stride


def _size_rank(extent: Extent) -> tuple[int, int]:
    return (1, 0) if not isinstance(extent, int) else (0, extent)


class _Solver:
    def __init__(self, extents: dict[Variable, Extent]) -> None:
        self.extents = extents
        self.solved: dict[Variable, sympy.Expr] = {}
        self.conditions: list[Condition] = []

    def bare(self, q: _Equation) -> None:
        """A variable alone."""
        v = q.expr
        if v in self.solved:
            self.conditions.append(Condition(EQ, q.value - self.solved[v]))
            return
        self.solved[v] = q.value
        if not same_extent(self.extents[v], q.extent):
            self.conditions.append(in_range(q.value, self.extents[v])[1])

    def rolled(self, q: _Equation) -> bool:
        """`modulo(c + v, n)` or `modulo(c - v, n)` where v runs over just n values: each is hit once."""
        if not isinstance(q.expr, modulo) or not same_extent(q.expr.args[1], q.extent):
            return False
        unknown = [v for v in _variables(q.expr) if v not in self.solved]
        parts = _affine(q.expr.args[0], unknown)
        if len(unknown) != 1 or parts is None or not same_extent(self.extents[unknown[0]], q.extent):
            return False
        coefficient, rest = parts[0][unknown[0]], parts[1].xreplace(self.solved)
        if coefficient not in (1, -1):
            return False
        self.solved[unknown[0]] = modulo(sympy.expand(coefficient * (q.value - rest)), q.expr.args[1])
        return True

    def affine(self, q: _Equation) -> bool:
        expr = q.expr.xreplace(self.solved)
        variables = [v for v in _variables(q.expr) if v not in self.solved]
        if not variables:
            self.conditions.append(Condition(EQ, q.value - expr))
            return True
        parts = _affine(q.expr, [v for v in _variables(q.expr)])
        if parts is None:
            return False
        coefficients, constant = parts
        known = constant + sum(c * self.solved[v] for v, c in coefficients.items() if v in self.solved)
        unknown = {v: c for v, c in coefficients.items() if v not in self.solved}
        if len(unknown) > 1 and self._radix(q, unknown, known):
            return True
        self._window(q, unknown, known)
        return True

    def pinned(self, c: Condition) -> None:
        """A variable that no index has left, but that the guard sets equal to what is known (a diagonal, one of a stack)."""
        unknown = [v for v in _variables(c.expr) if v not in self.solved]
        parts = _affine(c.expr, unknown) if c.kind == EQ and len(unknown) == 1 else None
        if parts is None or parts[0][unknown[0]] not in (1, -1) or _has_placeholder(c.expr):
            return
        v = unknown[0]
        self.solved[v] = sympy.expand(-parts[0][v] * parts[1].xreplace(self.solved))
        self.conditions.extend(in_range(self.solved[v], self.extents[v]))

    def _radix(self, q: _Equation, unknown: dict[Variable, sympy.Expr], known: sympy.Expr) -> bool:
        found = _mixed_radix(unknown, self.extents)
        if found is None:
            return False
        order, count = found
        value = q.value - known
        stride: Extent = 1
        for position, v in enumerate(order):
            part = quotient(value, sympy.sympify(stride))
            last = position == len(order) - 1
            self.solved[v] = part if last else modulo(part, sympy.sympify(self.extents[v]))
            stride = product([stride, self.extents[v]])
        if known != 0 or not same_extent(count, q.extent):
            self.conditions.extend(in_range(value, count))
        return True

    def _window(self, q: _Equation, unknown: dict[Variable, sympy.Expr], known: sympy.Expr) -> None:
        """Solves for the variable with the largest extent; the others of the sum stay free."""
        v = max(unknown, key=lambda u: (_size_rank(self.extents[u]), u.name))
        c = unknown[v]
        rest = known + sum(k * u for u, k in unknown.items() if u is not v)
        difference = sympy.expand(q.value - rest)
        if c == 1:
            solution = difference
        elif c == -1:
            solution = sympy.expand(-difference)
        elif c.is_Rational and c.p in (1, -1):  # a division known to be exact
            solution = sympy.expand(difference / c)
        else:
            step = abs(c) if c.is_Integer else c
            modulus = int(step) if step.is_Integer else step
            self.conditions.append(Condition(MOD, difference, modulus))
            solution = quotient(difference if c == step else -difference, step)
        self.solved[v] = solution
        self.conditions.extend(in_range(solution, self.extents[v]))


@lru_cache(maxsize=8192)
def invert(
    index: tuple[sympy.Expr, ...],
    variables: tuple[tuple[Variable, Extent], ...],
    shape: tuple[Extent, ...],
    depends: tuple[tuple[Placeholder, tuple[Variable, ...]], ...] = (),
    guard: Guard = (),
) -> Inversion | None:
    """Solves `index(variables) = (x0, x1, ...)` over a tensor of `shape`; None where only a Scatter will do.

    `depends` tells, per placeholder in `index`, the variables its value depends on.  Where `guard` says that a quotient
    has no remainder it is a division, and a variable that it sets equal to others is solved by it.
    """
    extents = dict(variables)
    divided = [(c.expr, c.modulus) for c in guard if c.kind == MOD and isinstance(c.modulus, int)]
    exact = {quotient(expr, sympy.Integer(by)): expr / by for expr, by in divided}
    if exact:
        index = tuple(e.xreplace(exact) for e in index)
    equations = [_Equation(e, target(d), shape[d]) for d, e in enumerate(index)]
    from_data = [q for q in equations if _has_placeholder(q.expr)]
    plain = _merge_splits([q for q in equations if not _has_placeholder(q.expr)])
    solver = _Solver(extents)
    bare = [q for q in plain if isinstance(q.expr, (Axis, ReduceAxis))]
    for q in bare:
        solver.bare(q)
    for q in sorted((q for q in plain if q not in bare), key=lambda q: len(_variables(q.expr))):
        if not solver.rolled(q) and not solver.affine(q):
            return None
    for c in guard:
        solver.pinned(c)
    uses = dict(depends)
    data: list[tuple[sympy.Expr, sympy.Expr]] = []
    for q in from_data:
        needed = set(_variables(q.expr))
        for p in q.expr.free_symbols:
            if isinstance(p, Placeholder):
                needed.update(uses[p])
        if not needed <= solver.solved.keys():
            return None
        data.append((q.expr, q.value))
    free = tuple(v for v, _ in variables if v not in solver.solved)
    return Inversion(solver.solved, free, tuple(solver.conditions), tuple(data))
