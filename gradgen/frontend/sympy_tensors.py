"""Index notation in SymPy: Indexed reads, index letters and their ranges, sums and products over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sympy

from gradgen.errors import GradgenError, ShapeError, UnsupportedOperationError
from gradgen.ir.canonical import compute
from gradgen.ir.dtypes import DType
from gradgen.ir.nodes import Compute, Input, Node, Read
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


def is_letter_like(s: sympy.Basic) -> bool:
    return isinstance(s, (sympy.Symbol, sympy.Idx))


@dataclass
class Tensors:
    """Reads of IndexedBases under the ranges of the index letters."""

    bases: Mapping[sympy.Basic, Input]
    dtype: DType
    ranges: dict[sympy.Basic, Range] = field(default_factory=dict)
    declared: dict[sympy.Basic, tuple[sympy.Expr, tuple[sympy.Basic, ...]]] = field(default_factory=dict)

    @property
    def dims(self) -> set[str]:
        return {s.name for n in self.bases.values() for e in n.shape if not isinstance(e, int)
                for s in e.free_symbols if isinstance(s, Dim)}

    def scan(self, expr: sympy.Basic, known: Mapping[sympy.Basic, Node]) -> None:
        """Finds the ranges of free letters: from Idx, or from the axis that a letter indexes."""
        bound: set[sympy.Basic] = set()
        reads: list[sympy.Indexed] = []
        seen: set[int] = set()
        stack = [expr]
        while stack:
            e = stack.pop()
            if id(e) in seen:
                continue
            seen.add(id(e))
            if isinstance(e, (sympy.Sum, sympy.Product)):
                bound.update(limit[0] for limit in e.limits)
            elif isinstance(e, sympy.Indexed):
                reads.append(e)
            stack.extend(e.args)
        for read in reads:
            node = self._base(read)
            for letter, extent in zip(read.indices, node.shape):
                free = is_letter_like(letter) and letter not in bound and letter not in known
                if free and str(letter) not in self.dims:
                    self._declare(letter, extent)

    def _declare(self, letter: sympy.Basic, extent: Extent) -> None:
        given = idx_range(letter)
        found = given or (sympy.Integer(0), extent)
        if self.ranges.setdefault(letter, found) != found:
            raise ShapeError(f"index {letter} runs over {self.ranges[letter][1]} values in one place and "
                             f"{found[1]} in another", hint=f"give it a range: Idx({str(letter)!r}, n)")

    def _base(self, read: sympy.Indexed) -> Input:
        node = self.bases.get(read.base)
        if node is None:
            raise GradgenError(f"{read.base.label} is no argument", hint="list the IndexedBase among the arguments")
        if len(read.indices) != node.ndim:
            raise ShapeError(f"{read} has {len(read.indices)} indices, {node.name} has {node.ndim} axes")
        return node

    def read(self, read: sympy.Indexed, inner: Mapping[sympy.Basic, Value]) -> Value:
        """`base[indices]`; `inner` are values of integer tensors and arguments that stand in the indices."""
        node = self._base(read)
        used = {s for e in read.indices for s in e.free_symbols | {e} if s in self.ranges}
        used |= {s for v in inner.values() for s in v.letters}
        letters = tuple(sorted(used, key=str))
        values: dict[sympy.Basic, sympy.Expr] = {s: axis(k) + self.ranges[s][0] for k, s in enumerate(letters)}
        free = {s for e in read.indices for s in e.free_symbols if s not in self.ranges}
        values |= {s: dim(s.name) for s in free if s.is_Symbol and s.name in self.dims}
        reads: list[Read] = []
        for key, value in inner.items():
            assert value.node is not None
            reads.append(Read(value.node, [axis(letters.index(s)) for s in value.letters]))
            values[key] = placeholder(len(reads) - 1)
        index = [sympy.sympify(e).xreplace(values) for e in read.indices]
        lost = [s for e in index for s in e.free_symbols if not isinstance(s, (Axis, Dim, Placeholder))]
        if lost:
            raise GradgenError(f"{read}: the index {lost[0]} has no range here",
                               hint="free indices are for expressions of their own, not for entries of matrices")
        if not reads:
            self._check_range(read, index, node, letters)
        reads.append(Read(node, index))
        shape = tuple(self.ranges[s][1] for s in letters)
        return Value(Compute(shape, placeholder(len(reads) - 1), reads, node.dtype), letters)

    def _check_range(
        self, read: sympy.Indexed, index: Sequence[sympy.Expr], node: Input, letters: Sequence[sympy.Basic]
    ) -> None:
        """Index expressions must stay inside: at both ends of every letter, where they are affine in it."""
        ends = {axis(k): sympy.sympify(self.ranges[s][1]) - 1 for k, s in enumerate(letters)}
        for e, extent in zip(index, node.shape):
            low = high = e
            for s, last in ends.items():
                slope = sympy.diff(e, s) if e.has(s) else sympy.Integer(0)
                if not slope.is_number:
                    raise UnsupportedOperationError(f"{read}: the index {e} is not linear in its letters")
                first, second = (sympy.Integer(0), last) if slope >= 0 else (last, sympy.Integer(0))
                low, high = low.xreplace({s: first}), high.xreplace({s: second})
            if not (sympy.expand(low).is_nonnegative and sympy.expand(extent - 1 - high).is_nonnegative):
                raise ShapeError(
                    f"{read} may be out of range: the index goes from {sympy.expand(low)} to {sympy.expand(high)}, the "
                    f"axis has {extent} elements", hint="narrow the range of the index letter",
                )

    def declare_limits(self, expr: sympy.Sum | sympy.Product) -> tuple[sympy.Expr, tuple[sympy.Basic, ...]]:
        """The summand and its bound letters with their ranges set; a letter that has another range is renamed."""
        if expr in self.declared:
            return self.declared[expr]
        body, letters = expr.function, []
        for letter, low, high in limits_of(expr):
            if any(str(s) not in self.dims for s in (low.free_symbols | high.free_symbols)):
                raise UnsupportedOperationError(f"limits that are no dimensions, or depend on indices: {expr}")
            found = (sympy.sympify(low), extent_of(sympy.expand(high - low + 1)))
            if self.ranges.setdefault(letter, found) != found:
                fresh = sympy.Symbol(f"{letter}_{len(self.ranges)}", integer=True)
                self.ranges[fresh] = found
                body, letter = body.xreplace({letter: fresh}), fresh
            letters.append(letter)
        self.declared[expr] = body, tuple(letters)
        return self.declared[expr]

    def reduce(self, expr: sympy.Sum | sympy.Product, body: Value) -> Value:
        """The sum or product of the lowered summand over its letters."""
        assert body.node is not None
        letters = list(self.declared[expr][1])
        kept = tuple(s for s in body.letters if s not in letters)
        moved = {axis(k): axis(kept.index(s)) if s in kept else reduce_axis(letters.index(s))
                 for k, s in enumerate(body.letters)}
        extents = tuple(self.ranges[s][1] for s in letters)
        reads, inner = _absorbed(body.node, moved)
        reducer = "sum" if isinstance(expr, sympy.Sum) else "prod"
        shape = tuple(self.ranges[s][1] for s in kept)
        return Value(compute(shape, inner, reads, body.node.dtype, extents, reducer), kept)

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

