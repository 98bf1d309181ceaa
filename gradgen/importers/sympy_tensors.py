"""Index notation in SymPy: Indexed reads, index letters and their ranges, sums and products over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import sympy
from sympy.matrices.expressions.matexpr import MatrixElement

from gradgen.errors import GradgenError, ShapeError, UnsupportedOperationError
from gradgen.ir import functions as fn
from gradgen.ir.canonical import compute
from gradgen.ir.dtypes import DType
from gradgen.ir.guards import GE, Condition, Guard
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import Axis, Dim, Extent, Placeholder, as_extent, axis, dim, placeholder, reduce_axis

Range = tuple[sympy.Expr, Extent]
"""The first value of an index letter, and how many values it takes."""


@dataclass(frozen=True, slots=True)
class Value:
    """A lowered expression: a node with one axis per index letter it depends on, or an exact number."""

    node: Node | None
    letters: tuple[sympy.Symbol, ...] = ()
    number: sympy.Expr | None = None


def extent_of(expr: sympy.Expr | int) -> Extent:
    """An extent in which symbols are named dimensions."""
    found = sympy.sympify(expr)
    for s in found.free_symbols:
        if not s.is_Symbol or not s.name.isidentifier():
            raise ShapeError(f"{s} cannot be a dimension: extents are integers and symbols")
    return as_extent(found.xreplace({s: dim(s.name) for s in found.free_symbols}))


def indices_of(read: sympy.Indexed | MatrixElement) -> tuple[sympy.Expr, ...]:
    """The index expressions of a read of an IndexedBase or of a matrix."""
    return (read.i, read.j) if isinstance(read, MatrixElement) else tuple(read.indices)


def is_letter_like(s: sympy.Basic) -> bool:
    return isinstance(s, (sympy.Symbol, sympy.Idx))


@dataclass(frozen=True, slots=True)
class Limits:
    """A sum's or product's summand and letters, once their ranges are known.

    A letter whose limits depend on other letters runs over all values that they can take, under `conditions`
    (expressions in the letters that are at least 0 where there is a term).  `backwards`: by SymPy's convention, that of
    Karr (Journal of the ACM 28, 1981), the sum from a down to b is minus the sum from b + 1 to a - 1.
    """

    body: sympy.Expr
    letters: tuple[sympy.Basic, ...]
    conditions: tuple[sympy.Expr, ...] = ()
    backwards: bool = False


@dataclass
class Tensors:
    """Reads of IndexedBases and matrices under the ranges of the index letters."""

    bases: dict[sympy.Basic, Node]
    dtype: DType
    ranges: dict[sympy.Basic, Range] = field(default_factory=dict)
    declared: dict[sympy.Basic, Limits] = field(default_factory=dict)
    conditions: dict[sympy.Basic, tuple[sympy.Expr, ...]] = field(default_factory=dict)
    by_element: dict[sympy.Basic, tuple[sympy.Symbol, sympy.Symbol]] = field(default_factory=dict)
    shapes: dict[tuple, tuple[sympy.Symbol, sympy.Symbol]] = field(default_factory=dict)

    @property
    def dims(self) -> set[str]:
        return {s.name for n in self.bases.values() for e in n.shape if not isinstance(e, int)
                for s in e.free_symbols if isinstance(s, Dim)}

    def element_letters(self, shape: tuple[sympy.Expr, sympy.Expr]) -> tuple[sympy.Symbol, sympy.Symbol]:
        """Row and column letters of matrices of a shape, for what is done element by element."""
        if shape not in self.shapes:
            k = len(self.shapes)
            row, column = (sympy.Dummy(f"{side}_{k}", integer=True) for side in ("i", "j"))
            self.ranges |= {s: (sympy.Integer(0), extent_of(n)) for s, n in zip((row, column), shape)}
            self.shapes[shape] = row, column
        return self.shapes[shape]

    def scan(self, expr: sympy.Basic, known: Mapping[sympy.Basic, Node]) -> None:
        """Finds the ranges of free letters: from Idx, or from the axis that a letter indexes."""
        bound: set[sympy.Basic] = set()
        reads: list[sympy.Indexed | MatrixElement] = []
        seen: set[int] = set()
        stack = [expr]
        while stack:
            e = stack.pop()
            if id(e) in seen:
                continue
            seen.add(id(e))
            if isinstance(e, (sympy.Sum, sympy.Product)):
                bound.update(limit[0] for limit in e.limits)
            elif isinstance(e, (sympy.Indexed, MatrixElement)):
                reads.append(e)
            stack.extend(e.args)
        for read in reads:
            for letter, extent in zip(indices_of(read), self._shape(read)):
                free = is_letter_like(letter) and letter not in bound and letter not in known
                if free and str(letter) not in self.dims:
                    self._declare(letter, extent)

    def declare(self, left: sympy.Indexed) -> None:
        """The ranges that the left side of an equation gives its letters."""
        for letter, extent in zip(left.indices, left.base.shape or ()):
            if is_letter_like(letter):
                self._declare(letter, extent_of(extent))

    def _declare(self, letter: sympy.Basic, extent: Extent) -> None:
        given = idx_range(letter)
        found = given or (sympy.Integer(0), extent)
        if self.ranges.setdefault(letter, found) != found:
            raise ShapeError(f"index {letter} runs over {self.ranges[letter][1]} values in one place and "
                             f"{found[1]} in another", hint=f"give it a range: Idx({str(letter)!r}, n)")

    def _shape(self, read: sympy.Indexed | MatrixElement) -> tuple[Extent, ...]:
        if isinstance(read, MatrixElement):
            return tuple(extent_of(e) for e in read.parent.shape)
        return self._base(read).shape

    def _base(self, read: sympy.Indexed | MatrixElement) -> Node:
        if isinstance(read, MatrixElement):
            return self.bases[read.parent]
        node = self.bases.get(read.base)
        if node is None:
            raise GradgenError(f"{read.base.label} is no argument", hint="list the IndexedBase among the arguments")
        if len(read.indices) != node.ndim:
            raise ShapeError(f"{read} has {len(read.indices)} indices, its argument has {node.ndim} axes")
        return node

    def read(self, read: sympy.Indexed | MatrixElement, inner: Mapping[sympy.Basic, Value]) -> Value:
        """`base[indices]`; `inner` are values of integer tensors and arguments that stand in the indices."""
        node = self._base(read)
        indices = indices_of(read)
        used = {s for e in indices for s in e.free_symbols | {e} if s in self.ranges}
        used |= {s for v in inner.values() for s in v.letters}
        limits = () if inner else self._needed(read, indices, node, used)
        used |= {s for e in limits for s in e.free_symbols if s in self.ranges}
        letters = tuple(sorted(used, key=str))
        values: dict[sympy.Basic, sympy.Expr] = self._axes(letters)
        free = {s for e in indices for s in e.free_symbols if s not in self.ranges}
        values |= {s: dim(s.name) for s in free if s.is_Symbol and s.name in self.dims}
        reads: list[Read] = []
        for key, value in inner.items():
            assert value.node is not None
            reads.append(Read(value.node, [axis(letters.index(s)) for s in value.letters]))
            values[key] = placeholder(len(reads) - 1)
        index = [sympy.sympify(e).xreplace(values) for e in indices]
        lost = [s for e in index for s in e.free_symbols if not isinstance(s, (Axis, Dim, Placeholder))]
        if lost:
            raise GradgenError(f"{read}: the index {lost[0]} has no range here",
                               hint="free indices are for expressions of their own, not for entries of matrices")
        reads.append(Read(node, index, self._guard(limits, letters)))
        shape = tuple(self.ranges[s][1] for s in letters)
        return Value(Compute(shape, placeholder(len(reads) - 1), reads, node.dtype), letters)

    def _axes(self, letters: Sequence[sympy.Basic]) -> dict[sympy.Basic, sympy.Expr]:
        return {s: axis(k) + self.ranges[s][0] for k, s in enumerate(letters)}

    def _in_dims(self, e: sympy.Expr) -> sympy.Expr:
        """The symbols of SymPy's dimensions as gradgen's, which are not negative."""
        return sympy.expand(sympy.sympify(e).xreplace(
            {s: dim(s.name) for s in e.free_symbols if s not in self.ranges and s.is_Symbol and s.name in self.dims}))

    def _guard(self, limits: Sequence[sympy.Expr], letters: Sequence[sympy.Basic]) -> Guard:
        at = self._axes(letters)
        return tuple(Condition(GE, sympy.expand(e.xreplace(at))) for e in limits)

    def _least(self, e: sympy.Expr) -> sympy.Expr | None:
        """The smallest value over all letters, where the expression is affine in them."""
        e = sympy.expand(e)
        for s in [s for s in e.free_symbols if s in self.ranges]:
            slope = e.diff(s)
            if not slope.is_number:
                return None
            low, extent = self.ranges[s]
            e = sympy.expand(e.xreplace({s: low if slope >= 0 else low + extent - 1}))
        return e

    def _holds(self, e: sympy.Expr, conditions: Sequence[sympy.Expr]) -> tuple[sympy.Expr, ...] | None:
        """The few of these conditions from which e >= 0 follows, by subtracting them; None where it is not seen."""
        for count in range(min(len(conditions), 3) + 1):
            for some in combinations(conditions, count):
                least = self._least(e - sympy.Add(*some))
                if least is not None and self._in_dims(least).is_nonnegative:
                    return some
        return None

    def _needed(
        self, read: sympy.Basic, indices: Sequence[sympy.Expr], node: Node, letters: set[sympy.Basic]
    ) -> tuple[sympy.Expr, ...]:
        """Index expressions must stay inside: which dependent limits see to that."""
        limits = tuple(c for s in self.ranges for c in self.conditions.get(s, ()))
        found: dict[sympy.Expr, None] = {}
        for e, extent in zip(indices, node.shape):
            e = self._in_dims(sympy.sympify(e))
            if any(s not in self.ranges and not isinstance(s, Dim) for s in e.free_symbols):
                continue  # a letter without a range, which is said elsewhere
            for bound in (e, extent - 1 - e):
                some = self._holds(bound, limits)
                if some is None:
                    self._refuse(read, e, extent)
                found.update(dict.fromkeys(some or ()))
        return tuple(found)

    def _refuse(self, read: sympy.Basic, e: sympy.Expr, extent: Extent) -> None:
        low, high = self._least(e), self._least(-e)
        if low is None or high is None:
            raise UnsupportedOperationError(f"{read}: the index {e} is not linear in its letters")
        raise ShapeError(
            f"{read} may be out of range: the index goes from {low} to {sympy.expand(-high)}, the axis has {extent} elements",
            hint="narrow the range of the index letter",
        )

    def declare_limits(self, expr: sympy.Sum | sympy.Product) -> Limits:
        """The summand and its bound letters with their ranges set; a letter that has another range is renamed."""
        if expr in self.declared:
            return self.declared[expr]
        body, limits = expr.function, limits_of(expr)
        letters: list[sympy.Basic] = []
        conditions: list[sympy.Expr] = []
        backwards = False
        for k in reversed(range(len(limits))):  # the last one is outermost
            letter, low, high = limits[k]
            low, high, turned = self._forwards(expr, self._in_dims(low), self._in_dims(high))
            backwards ^= turned
            found, own = self._range(expr, letter, low, high)
            if self.ranges.get(letter, found) != found or self.conditions.get(letter, own) != own:
                fresh = sympy.Symbol(f"{letter}_{len(self.ranges)}", integer=True)
                body, own = body.xreplace({letter: fresh}), tuple(c.xreplace({letter: fresh}) for c in own)
                limits[:k] = [(s, a.xreplace({letter: fresh}), b.xreplace({letter: fresh})) for s, a, b in limits[:k]]
                letter = fresh
            self.ranges[letter] = found
            self.conditions[letter] = own
            letters.append(letter)
            conditions.extend(own)
        self.declared[expr] = Limits(body, tuple(letters), tuple(conditions), backwards)
        return self.declared[expr]

    def _forwards(self, expr: sympy.Basic, low: sympy.Expr, high: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr, bool]:
        """Limits in ascending order, and whether that turned them."""
        strangers = [s for s in low.free_symbols | high.free_symbols if s not in self.ranges and not isinstance(s, Dim)]
        if strangers or not (low.is_finite is not False and high.is_finite is not False):
            what = str(strangers[0]) if strangers else "infinity"
            raise UnsupportedOperationError(
                f"a limit is {what}, which is no number, dimension or index: {expr}",
                hint="a dimension is a symbol in the shape of an IndexedBase or MatrixSymbol among the arguments",
            )
        count = sympy.expand(high - low + 1)
        if count.is_negative:
            return high + 1, low - 1, True
        dims = [s for s in count.free_symbols if isinstance(s, Dim)]
        if dims and all(count.coeff(s).is_negative for s in dims):
            raise UnsupportedOperationError(
                f"the limits run backwards: {expr}",
                hint="SymPy reads that as minus the sum from high + 1 to low - 1: write it so",
            )
        return low, high, False

    def _range(
        self, expr: sympy.Basic, letter: sympy.Basic, low: sympy.Expr, high: sympy.Expr
    ) -> tuple[Range, tuple[sympy.Expr, ...]]:
        """All values of a letter, and the conditions under which each is taken where limits depend on other letters."""
        dependent = [any(s in self.ranges for s in e.free_symbols) for e in (low, high)]
        if not any(dependent):
            return (low, extent_of(sympy.expand(high - low + 1))), ()
        outer = tuple(c for s in self.ranges for c in self.conditions.get(s, ()))
        if self._holds(high - low + 1, outer) is None:
            raise UnsupportedOperationError(
                f"the limits from {low} to {high} depend on other indices and may run backwards: {expr}",
                hint="narrow the range of the outer index so that the inner one never runs backwards",
            )
        first, last = self._least(low), self._least(-high)
        assert first is not None and last is not None  # _holds saw that they are affine
        letter_ = sympy.sympify(letter)
        own = (*((letter_ - low,) if dependent[0] else ()), *((high - letter_,) if dependent[1] else ()))
        return (first, extent_of(sympy.expand(-last - first + 1))), own

    def reduce(self, expr: sympy.Sum | sympy.Product, body: Value) -> Value:
        """The sum or product of the lowered summand over its letters."""
        assert body.node is not None
        limits = self.declared[expr]
        letters = list(limits.letters)
        mentioned = {s for c in limits.conditions for s in c.free_symbols if s in self.ranges}
        kept = tuple(sorted(({*body.letters} | mentioned) - {*letters}, key=str))
        places = {s: axis(kept.index(s)) if s in kept else reduce_axis(letters.index(s)) for s in (*kept, *letters)}
        moved = {axis(k): places[s] for k, s in enumerate(body.letters)}
        extents = tuple(self.ranges[s][1] for s in letters)
        reducer, neutral = ("sum", 0) if isinstance(expr, sympy.Sum) else ("prod", 1)
        if limits.conditions:
            at = {s: e + self.ranges[s][0] for s, e in places.items()}
            guard = tuple(Condition(GE, sympy.expand(c.xreplace(at))) for c in limits.conditions)
            reads, inner = [Read(body.node, [moved[axis(k)] for k in range(body.node.ndim)], guard, neutral)], placeholder(0)
        else:
            reads, inner = _absorbed(body.node, moved)
        shape = tuple(self.ranges[s][1] for s in kept)
        node: Node = compute(shape, inner, reads, body.node.dtype, extents, reducer)
        if limits.backwards:
            turned = -placeholder(0) if reducer == "sum" else fn.div(1, placeholder(0))
            node = compute(shape, turned, [Read(node, [axis(k) for k in range(len(shape))])], node.dtype)
        return Value(node, kept)

    def letter(self, s: sympy.Basic) -> Value:
        """The value of an index letter."""
        low, extent = self.ranges[s]
        return Value(Compute((extent,), axis(0) + low, [], self.dtype), (s,))


def _absorbed(node: Node, moved: Mapping[sympy.Basic, sympy.Expr]) -> tuple[list[Read], sympy.Expr]:
    """Reads and body of a reduction over `node`: its own where it is pointwise."""
    if isinstance(node, Compute) and node.reducer is None and not any(r.guard for r in node.reads):
        reads = [Read(r.source, [e.xreplace(dict(moved)) for e in r.index]) for r in node.reads]
        return reads, node.body.xreplace(dict(moved))
    return [Read(node, [moved[axis(k)] for k in range(node.ndim)])], placeholder(0)


def limits_of(expr: sympy.Sum | sympy.Product) -> list[tuple[sympy.Basic, sympy.Expr, sympy.Expr]]:
    found = []
    for limit in expr.limits:
        letter = limit[0]
        if len(limit) == 3:
            found.append((letter, limit[1], limit[2]))
            continue
        given = idx_range(letter)
        if given is None:
            raise ShapeError(f"{type(expr).__name__} over {letter} has no limits")
        found.append((letter, given[0], letter.upper))
    return found


def idx_range(letter: sympy.Basic) -> Range | None:
    """The range that an Idx carries."""
    if not isinstance(letter, sympy.Idx) or letter.upper is None:
        return None
    return sympy.sympify(letter.lower), extent_of(letter.upper - letter.lower + 1)

