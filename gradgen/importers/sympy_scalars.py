"""SymPy's functions and arithmetic, one node per distinct subexpression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.functions.special.tensor_functions import KroneckerDelta
from sympy.logic.boolalg import BooleanFalse, BooleanTrue
from sympy.matrices.expressions.matexpr import MatrixElement

from gradgen.errors import GradgenError, UnsupportedOperationError
from gradgen.importers.sympy_functions import (
    CONDITIONS,
    FOLDED,
    FUNCTIONS,
    HANDLED,
    WITH_ORDER,
    assumptions,
    with_order,
)
from gradgen.importers.sympy_matrices import (
    MATRIX_SCALARS,
    by_element,
    derivative,
    is_matrix,
    matrix_node,
    matrix_parts,
)
from gradgen.importers.sympy_tensors import Tensors, Value, indices_of, is_letter_like
from gradgen.ir import functions as fn
from gradgen.ir.canonical import compute
from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.nodes import Compute, Constant, Node, Read
from gradgen.ir.symbols import axis, dim, placeholder
from gradgen.ops.registry import cast

CHUNK = 8
"""Operands of one sum or product: keeps the number of distinct bodies, and so of derivatives, small."""



class Lowering:
    """Expressions to nodes.  `known` are the arguments' symbols with their 0-d nodes."""

    def __init__(self, dtype: DType, known: Mapping[sympy.Basic, Node], tensors: Tensors) -> None:
        self.dtype, self.known, self.tensors = dtype, known, tensors
        self.memo: dict[sympy.Basic, Value] = {}

    def define(self, symbol: sympy.Symbol, expr: Any) -> None:
        """`symbol` stands for `expr` in what is lowered from now on."""
        if symbol in self.known:
            raise GradgenError(f"{symbol} is an argument and the name of a subexpression",
                               hint="give sympy.cse symbols of your own: cse(expr, symbols=numbered_symbols('t'))")
        self.tensors.scan(expr, self.known)
        self.memo[symbol] = self.lower(sympy.sympify(expr))

    def scalar(self, expr: Any) -> Node:
        """A 0-d node of the floating dtype."""
        expr = sympy.sympify(expr)
        if is_matrix(expr):
            raise GradgenError(f"a matrix where a number is wanted: {expr}",
                               hint="give a matrix expression as an output of its own")
        value = self.lower(expr)
        if value.letters:
            raise GradgenError(f"an entry of a matrix or list has a free index: {expr}")
        return self._typed(value)

    def tensor(self, expr: Any, order: Sequence[sympy.Basic] | None = None) -> tuple[Node, tuple[sympy.Basic, ...]]:
        """A node with one axis per free index, in `order` (default: by name), and those indices."""
        expr = sympy.sympify(expr)
        self.tensors.scan(expr, self.known)
        if order is not None:
            for s in order:
                if s not in self.tensors.ranges:
                    raise GradgenError(f"index {s} of the left side has no range: it indexes nothing on the right")
        value = self.lower(expr)
        letters = tuple(sorted(value.letters, key=str)) if order is None else tuple(order)
        missing = [s for s in value.letters if s not in letters]
        if missing:
            raise GradgenError(f"index {missing[0]} is free on the right side only: {expr}")
        node = self._typed(value)
        if letters == value.letters:
            return node, letters
        shape = tuple(self.tensors.ranges[s][1] for s in letters)
        read = Read(node, [axis(letters.index(s)) for s in value.letters])
        return Compute(shape, placeholder(0), [read], node.dtype), letters

    def matrix(self, expr: sympy.Basic) -> Node:
        """A node [rows, columns] of the floating dtype."""
        self.tensors.scan(expr, self.known)
        return self.node(self.lower(expr))

    def _typed(self, value: Value) -> Node:
        """Numbers and truth values in the floating dtype; integers stay integers."""
        node = self.node(value)
        if node.dtype is bool_:
            return self.apply(placeholder(0), [value], self.dtype).node or node
        return node

    # --- the walk -----------------------------------------------------------------------------------------------------

    def lower(self, expr: sympy.Basic) -> Value:
        """Post-order over distinct subexpressions, without recursion."""
        stack: list[tuple[sympy.Basic, tuple[sympy.Basic, ...] | None]] = [(expr, None)]
        while stack:
            e, parts = stack.pop()
            if e in self.memo:
                continue
            if parts is None:
                parts = self.parts(e)
                waiting = [p for p in parts if p not in self.memo]
                if waiting:
                    stack.append((e, parts))
                    stack.extend((p, None) for p in reversed(waiting))
                    continue
            self.memo[e] = self.visit(e, [self.memo[p] for p in parts])
        return self.memo[expr]

    def parts(self, e: sympy.Basic) -> tuple[sympy.Basic, ...]:
        """The subexpressions whose values `visit` wants, in its order."""
        if e in self.known or e in self.tensors.bases or not e.args:
            return ()
        if isinstance(e, sympy.Indexed):
            return tuple(self._inner_indices(e))
        if isinstance(e, MatrixElement):
            return (e.parent, *self._inner_indices(e))
        if is_matrix(e) or isinstance(e, MATRIX_SCALARS):
            letters = self.tensors.element_letters(e.shape) if is_matrix(e) else ()
            element = by_element(e, *letters) if letters else None
            if element is None:
                return matrix_parts(e)
            self.tensors.by_element[e] = letters
            return (element,)
        if isinstance(e, sympy.Derivative) and not e.atoms(AppliedUndef):
            return (derivative(e),)
        if isinstance(e, (sympy.Sum, sympy.Product)):
            return (self.tensors.declare_limits(e).body,)
        if isinstance(e, sympy.Mul):
            return tuple(_flipped(a) if _is_divisor(a) else a for a in e.args)
        if isinstance(e, sympy.Add):
            return tuple(-a if _is_minus(a) else a for a in e.args)
        if isinstance(e, sympy.Pow):
            return (e.base,) if e.exp.is_Rational else (e.base, e.exp)
        if isinstance(e, sympy.Piecewise):
            return tuple(x for pair in e.args for x in pair.args)
        if isinstance(e, (AppliedUndef, sympy.Derivative, sympy.Idx)):
            return ()
        if isinstance(e, KroneckerDelta):
            return e.args[:2]
        if not isinstance(e, HANDLED):
            raise _unsupported(e)
        return e.args

    def _inner_indices(self, e: sympy.Indexed | MatrixElement) -> list[sympy.Basic]:
        """Integer tensors and arguments within the indices: what is read before the element itself."""
        found: dict[sympy.Basic, None] = {}
        for index in indices_of(e):
            for part in sympy.preorder_traversal(index):
                if isinstance(part, sympy.Indexed) or part in self.known:
                    found[part] = None
        inner = [i for q in found if isinstance(q, sympy.Indexed) for i in q.indices]
        nested = {p for i in inner for p in sympy.preorder_traversal(i)}
        return [p for p in found if p not in nested]

    def visit(self, e: Any, values: list[Value]) -> Value:
        if e in self.known:
            return Value(self.known[e])
        if isinstance(e, (sympy.Number, sympy.NumberSymbol)) or e in (sympy.oo, -sympy.oo, sympy.nan):
            return Value(None, (), e)
        if isinstance(e, (BooleanTrue, BooleanFalse)):
            return Value(Constant(bool(e), bool_))
        if e in self.tensors.ranges:
            return self.tensors.letter(e)
        if isinstance(e, sympy.Symbol):
            if e.name in self.tensors.dims:
                return Value(Compute((), dim(e.name), [], self.dtype))
            raise self._unknown(e)
        if isinstance(e, sympy.Indexed):
            return self.tensors.read(e, dict(zip(self._inner_indices(e), values)))
        if isinstance(e, MatrixElement):
            self.tensors.bases.setdefault(e.parent, self.node(values[0]))
            return self.tensors.read(e, dict(zip(self._inner_indices(e), values[1:])))
        if e in self.tensors.bases:
            return Value(self.tensors.bases[e])
        if isinstance(e, sympy.MatrixSymbol):
            raise self._unknown(e)
        if is_matrix(e) or isinstance(e, MATRIX_SCALARS):
            return self._matrix(e, values)
        if isinstance(e, sympy.Derivative) and values:
            return values[0]
        if isinstance(e, (AppliedUndef, sympy.Derivative, sympy.Idx)):
            raise self._unknown(e)
        counted = isinstance(e, (sympy.Sum, sympy.Product))
        if values and not counted and all(v.number is not None for v in values) and e.is_number:
            return Value(None, (), e)
        return self.operation(e, values)

    def _unknown(self, e: sympy.Basic) -> GradgenError:
        twin = next((k for k in self.known if str(k) == str(e)), None)
        if twin is not None:
            return GradgenError(
                f"{e} is listed in `arguments` with other assumptions than it has in the expression",
                where="from_sympy",
                hint=f"the expression's {e}: {assumptions(e)}; the argument: {assumptions(twin)}; use one symbol for both",
            )
        kind = "index without a range" if is_letter_like(e) and getattr(e, "is_integer", False) else "argument"
        what = f"{e} is no {kind}" if kind == "argument" else f"{e} is an {kind}, or an argument that is not listed"
        names = ", ".join(str(s) for s in self.known)
        return GradgenError(what, where="from_sympy", hint=f"known are {names or 'no symbols'}; list it in `arguments`")

    def operation(self, e: Any, values: list[Value]) -> Value:
        a, b = placeholder(0), placeholder(1)
        if isinstance(e, sympy.Add):
            return self.add(e, values)
        if isinstance(e, sympy.Mul):
            return self.multiply(e, values)
        if isinstance(e, sympy.Pow):
            return self.power(e, values)
        if isinstance(e, (sympy.Sum, sympy.Product)):
            return self._reduced(e, values[0])
        if isinstance(e, sympy.Piecewise):
            return self.piecewise(values)
        if type(e) in WITH_ORDER:
            return self.apply(with_order(e, a), values[1:])
        for kind, rule in FOLDED.items():
            if isinstance(e, kind):
                found = values[0]
                for v in values[1:]:
                    found = self.apply(rule(a, b), [found, v], None if kind in (sympy.Max, sympy.Min) else bool_)
                return found
        for kind, rule in CONDITIONS.items():
            if isinstance(e, kind):
                result = self.dtype if kind is KroneckerDelta else bool_
                return self.apply(rule(*(placeholder(k) for k in range(len(values)))), values, result)
        if type(e) not in FUNCTIONS:
            raise _unsupported(e)
        return self.apply(FUNCTIONS[type(e)](*(placeholder(k) for k in range(len(values)))), values)

    # --- arithmetic --------------------------------------------------------------------------------------------------

    def add(self, e: sympy.Add, values: list[Value]) -> Value:
        minus = [_is_minus(a) for a in e.args]
        number = sympy.Add(*(-v.number if m else v.number for v, m in zip(values, minus) if v.number is not None))
        positive = [v for v, m in zip(values, minus) if v.number is None and not m]
        negative = [v for v, m in zip(values, minus) if v.number is None and m]
        if number != 0:
            positive.append(Value(None, (), number))
        terms = [(v, 1) for v in positive] + [(v, -1) for v in negative]
        while len(terms) > 1 or terms[0][1] < 0:
            grouped = []
            for start in range(0, len(terms), CHUNK):
                part = terms[start:start + CHUNK]
                body = sympy.Add(*(sign * placeholder(k) for k, (_, sign) in enumerate(part)))
                whole = len(part) > 1 or part[0][1] < 0
                grouped.append((self.apply(body, [v for v, _ in part]) if whole else part[0][0], 1))
            terms = grouped
        return terms[0][0]

    def multiply(self, e: sympy.Mul, values: list[Value]) -> Value:
        below = [_is_divisor(a) for a in e.args]
        numbers = [1 / v.number if d else v.number for v, d in zip(values, below) if v.number is not None]
        coefficient = sympy.Mul(*numbers)
        above_values = [v for v, d in zip(values, below) if v.number is None and not d]
        below_values = [v for v, d in zip(values, below) if v.number is None and d]
        if not above_values:
            found = Value(None, (), coefficient)
        else:
            found = self._product(above_values, coefficient)
        if below_values:
            divisor = self._product(below_values, sympy.Integer(1))
            found = self.apply(fn.div(placeholder(0), placeholder(1)), [found, divisor], self.dtype)
        return found

    def _product(self, values: list[Value], coefficient: sympy.Expr) -> Value:
        if coefficient != 1 and not _is_plain(coefficient):
            values = [*values, Value(None, (), coefficient)]
            coefficient = sympy.Integer(1)
        while len(values) > CHUNK:
            groups = [values[k:k + CHUNK] for k in range(0, len(values), CHUNK)]
            values = [self._product(g, sympy.Integer(1)) for g in groups]
        if coefficient == 1 and len(values) == 1:
            return values[0]
        body = sympy.Mul(coefficient, *(placeholder(k) for k in range(len(values))))
        return self.apply(body, values)

    def power(self, e: sympy.Pow, values: list[Value]) -> Value:
        x, n = placeholder(0), e.exp
        if not n.is_Rational:
            if e.base == sympy.E:
                return self.apply(fn.exp(x), values[1:])
            return self.apply(fn.pow_(x, placeholder(1)), values, self.dtype)
        if n.is_Integer and n > 0:
            return self.apply(x**n if n <= 16 else fn.pow_(x, n), values, self.dtype)
        if n == sympy.Rational(1, 2):
            return self.apply(fn.sqrt_(x), values, self.dtype)
        if n == -sympy.Rational(1, 2):
            return self.apply(fn.rsqrt(x), values, self.dtype)
        if n.is_Integer:
            return self.apply(fn.div(1, x**-n), values, self.dtype)
        return self.apply(fn.pow_(x, n), values, self.dtype)

    def _matrix(self, e: sympy.Basic, values: list[Value]) -> Value:
        """A matrix expression, or a number made of matrices."""
        letters = self.tensors.by_element.get(e)
        if letters is None:
            for v in values:
                if v.letters:
                    raise GradgenError(f"an entry of a matrix has the free index {v.letters[0]}: {str(e)[:80]}")
            return Value(matrix_node(e, [cast(self.node(v), self.dtype) for v in values], self.dtype))
        (value,) = values
        read = Read(self.node(value), [axis(letters.index(s)) for s in value.letters])
        return Value(compute([self.tensors.ranges[s][1] for s in letters], placeholder(0), [read], self.dtype))

    def _reduced(self, e: sympy.Sum | sympy.Product, body: Value) -> Value:
        return self.tensors.reduce(e, Value(cast(self.node(body), self.dtype), body.letters))

    def piecewise(self, values: list[Value]) -> Value:
        """Nested selections from the last pair to the first; nan where no condition holds."""
        pairs = list(zip(values[::2], values[1::2]))
        found: Value = Value(None, (), sympy.nan)
        for value, condition in reversed(pairs):
            node = condition.node
            if isinstance(node, Constant) and bool(node.array):
                found = value
                continue
            body = fn.select(placeholder(0), placeholder(1), placeholder(2))
            found = self.apply(body, [condition, value, found])
        return found

    # --- nodes -------------------------------------------------------------------------------------------------------

    def node(self, value: Value) -> Node:
        """The value as a node; an exact number is rounded once."""
        if value.node is not None:
            return value.node
        number = sympy.sympify(value.number)
        rounded = sympy.N(number, 40) if number.is_finite else number
        if not rounded.is_extended_real and rounded is not sympy.nan:
            raise UnsupportedOperationError(f"{number} is not real")
        return Constant(float(rounded), self.dtype)

    def apply(self, body: sympy.Expr, values: Sequence[Value], dtype: DType | None = None) -> Value:
        """`body` over the values, broadcast over the union of their index letters.

        Integer operands are numbers like others: they are converted when they are read, so that n/2 is no whole number and
        n**8 does not wrap; only comparisons of integers with each other stay exact.
        """
        chosen = dtype or self.dtype
        compared = chosen is bool_ and all(v.node is not None and v.node.dtype.category == 1 for v in values)
        letters = tuple(sorted({s for v in values for s in v.letters}, key=str))
        reads: list[Read] = []
        numbers: dict[sympy.Basic, sympy.Expr] = {}
        for k, v in enumerate(values):
            if v.number is not None and _is_plain(v.number):
                numbers[placeholder(k)] = v.number
            node = self.node(v)
            if node.dtype.category == 1 and not compared:
                node = cast(node, self.dtype)
            reads.append(self._through(node, [axis(letters.index(s)) for s in v.letters]))
        shape = tuple(self.tensors.ranges[s][1] for s in letters)
        return Value(compute(shape, body.xreplace(numbers) if numbers else body, reads, chosen), letters)

    def _through(self, node: Node, index: Sequence[sympy.Expr]) -> Read:
        """Reads what a plain re-indexing reads."""
        if isinstance(node, Compute) and node.reducer is None and node.body == placeholder(0) and len(node.reads) == 1:
            inner = node.reads[0]
            if inner.dtype is node.dtype and not inner.guard and inner.index and node.shape:
                mapping = {axis(k): e for k, e in enumerate(index)}
                return Read(inner.source, [e.xreplace(mapping) for e in inner.index])
        return Read(node, index)


def _is_minus(a: sympy.Basic) -> bool:
    """A negative number, or a product with one."""
    if isinstance(a, sympy.Mul):
        a = a.args[0]
    return isinstance(a, sympy.Number) and bool(a.is_negative)


def _is_divisor(a: sympy.Basic) -> bool:
    return isinstance(a, sympy.Pow) and a.exp.is_Rational and a.exp < 0 and a.exp != -sympy.Rational(1, 2)


def _flipped(a: sympy.Pow) -> sympy.Expr:
    return sympy.Pow(a.base, -a.exp)


def _is_plain(number: sympy.Expr) -> bool:
    """Small enough to stand in a body: bodies should be few and alike."""
    return bool(number.is_Rational and abs(number.p) <= 64 and number.q <= 64)


def _unsupported(e: sympy.Basic) -> UnsupportedOperationError:
    name = type(e).__name__
    return UnsupportedOperationError(
        f"SymPy's {name} has no counterpart in gradgen",
        where=f"{name}(...) of {', '.join(sorted(str(s) for s in e.free_symbols)[:8]) or 'numbers'}",
        hint="rewrite it first, for example with expr.rewrite(...) or expr.doit()",
    )
