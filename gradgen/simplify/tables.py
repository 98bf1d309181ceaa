"""Tables that are formulas: a constant array whose elements follow from their index is not stored.

A program that says `eye(400)`, `tril(ones(n, n))` or `zeros(1000, 1000)` hands over an array; written out it would be
megabytes of C.  What such arrays have in common: they do not change along an axis, or only from diagonal to diagonal, and
along what is left they step once, have one entry, or count.  Elements are compared bit by bit, so that -0.0 and nan count as
themselves, and the choice between two values is a choice, not a product: nothing is said to vanish.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import sympy

from gradgen.ir.canonical import compute
from gradgen.ir.functions import and_, eq, ge, lt, select
from gradgen.ir.nodes import Compute, Constant, Kernel, Node, Read, Scan, Scatter
from gradgen.ir.rewrite import with_sources
from gradgen.ir.symbols import Placeholder, ReduceAxis, axis, placeholder

LEAST = 64
"""Elements below which a table is as good as its formula."""


def inline_tables(node: Node) -> Node:
    """Reads of large constant arrays become reads of smaller ones, or formulas of the axes."""
    if isinstance(node, (Scatter, Scan, Kernel)):
        return _computed_operands(node)
    if not isinstance(node, Compute) or not any(_is_table(r) for r in node.reads):
        return node
    reads = [_narrowed(k, r, node) if _is_table(r) else r for k, r in enumerate(node.reads)]
    reads = [_counted(r) if _is_table(r) and not _indexes(node, k) else r for k, r in enumerate(reads)]
    if node.reducer is not None:
        reads = [_made(r) if _is_table(r) else r for r in reads]
        same = all(a is b for a, b in zip(reads, node.reads))
        return node if same else Compute(
            node.shape, node.body, reads, node.dtype, reduce_shape=node.reduce_shape, reducer=node.reducer
        )
    mapping: dict[sympy.Expr, sympy.Expr] = {}
    for k in range(len(node.reads)):
        read = reads[k]
        found = _formula(read.source) if _is_table(read) and not read.guard and not _indexes(node, k) else None
        if found is not None and (not found.counts or node.body == placeholder(k) or not node.dtype.is_floating_point):
            mapping[placeholder(k)] = _placed(found, read, reads)
    if not mapping and all(a is b for a, b in zip(reads, node.reads)):
        return node
    return compute(node.shape, node.body.xreplace(mapping), reads, node.dtype)


def _computed_operands(node: Scatter | Scan | Kernel) -> Node:
    """What is needed as memory (the base of an update, operands of recurrences and kernels) is filled by a loop where it
    need not be stored.  Positions of an update stay: those of a table are checked when code is generated."""
    positions: set[Node] = set()
    if isinstance(node, Scatter):
        named = {s for e in (*node.index, *(e for r in node.reads for e in r.index)) for s in sympy.sympify(e).free_symbols}
        positions = {r.source for k, r in enumerate(node.reads) if placeholder(k) in named}
    new = {s: s if s in positions or not isinstance(s, Constant) else computed(s) for s in node.sources}
    return with_sources(node, new)


def _counted(read: Read) -> Read:
    """Whole numbers in a float's type that count are a tensor of their own: in a formula they would be added as integers."""
    found = _counting(read.source)  # type: ignore[arg-type]
    return read if found is None else Read(found, read.index, read.guard, read.fill)


@lru_cache(maxsize=1024)
def _counting(table: Constant) -> Node | None:
    """The loop that gives arange(...), in any shape, as floats; None where the array is something else."""
    array = table.array
    if not table.dtype.is_floating_point or array.size < LEAST or not np.isfinite(array[..., :2]).all():
        return None
    flat = array.ravel()
    start, step = int(flat[0]), int(flat[1]) - int(flat[0])
    last = start + step * (flat.size - 1)
    if step == 0 or max(abs(start), abs(last)) > 1 << np.finfo(array.dtype).nmant:
        return None
    if not (_bits(flat) == _bits((start + step * np.arange(flat.size)).astype(array.dtype))).all():
        return None
    place: sympy.Expr = sympy.S.Zero
    for d, extent in enumerate(array.shape):
        place = place * extent + axis(d)
    return Compute(table.shape, sympy.expand(start + step * place), [], table.dtype)


@lru_cache(maxsize=1024)
def computed(table: Node) -> Node:
    """A constant array as a loop over what is left of it; itself where it is small or nothing is known of it."""
    if not isinstance(table, Constant) or table.array.size < LEAST:
        return table
    counting = _counting(table)
    if counting is not None:
        return counting
    kept = [d for d in range(table.ndim) if d not in _flat_axes(table)]
    part = Constant(table.array[tuple(slice(None) if d in kept else 0 for d in range(table.ndim))], table.dtype)
    index = tuple(axis(d) for d in kept)
    found = _formula(part) if kept else None
    if found is None:
        return table if part.array.size == table.array.size else Compute(
            table.shape, placeholder(0), [Read(part, index)], table.dtype)
    reads: list[Read] = []
    return Compute(table.shape, _placed(found, Read(part, index), reads), reads, table.dtype)


def _is_table(read: Read) -> bool:
    return isinstance(read.source, Constant) and read.source.array.size >= LEAST


def _indexes(node: Compute, k: int) -> bool:
    """Whether other reads are indexed by what read k finds: tables of indices are checked when code is generated."""
    return any(placeholder(k) in e.free_symbols for r in node.reads for e in r.index)


def _narrowed(k: int, read: Read, node: Compute) -> Read:
    """Without the axes along which nothing changes; in a sum, only where something else still runs over them."""
    source = read.source
    assert isinstance(source, Constant)
    elsewhere = {s for j, r in enumerate(node.reads) if j != k for e in r.index for s in e.free_symbols}
    drop = [
        d for d in _flat_axes(source)
        if all(s in elsewhere for s in sympy.sympify(read.index[d]).free_symbols if isinstance(s, ReduceAxis))
        and not any(isinstance(s, Placeholder) for s in sympy.sympify(read.index[d]).free_symbols)
    ]  # fmt: skip
    if not drop:
        return read
    kept = [d for d in range(source.ndim) if d not in drop]
    part = source.array[tuple(slice(None) if d in kept else 0 for d in range(source.ndim))]
    return Read(Constant(part, source.dtype), tuple(read.index[d] for d in kept), read.guard, read.fill)


def _bits(array: np.ndarray) -> np.ndarray:
    """The elements as integers: equal where they are the same, bit by bit."""
    return np.asarray(array, order="C").view(f"u{array.dtype.itemsize}")


@lru_cache(maxsize=1024)
def _flat_axes(node: Constant) -> tuple[int, ...]:
    """The axes along which the array does not change."""
    bits = _bits(node.array)
    return tuple(d for d in range(bits.ndim) if (bits == np.take(bits, [0], axis=d)).all())


class _Formula:
    """An expression over the array's axes, with `p0` and `p1` for values that are constants of their own."""

    def __init__(self, expr: sympy.Expr, values: tuple[Constant, ...] = (), table: Constant | None = None) -> None:
        self.expr, self.values, self.table = expr, values, table

    @property
    def counts(self) -> bool:
        """A number made of indices: in a sum of floats these would be added to each other first."""
        return not self.values and self.table is None


@lru_cache(maxsize=1024)
def _formula(node: Constant) -> _Formula | None:
    """What the elements follow from, or None; axes with one value are gone already."""
    array = node.array
    if array.ndim == 1:
        return _line(node, axis(0))
    if array.ndim != 2:
        return None
    bits = _bits(array)
    if not (bits[1:, 1:] == bits[:-1, :-1]).all():
        return None
    columns = array.shape[1]
    diagonals = np.concatenate([array[0, ::-1], array[1:, 0]])  # from the upper right to the lower left
    place = axis(0) - axis(1) + columns - 1
    line = Constant(diagonals, node.dtype)
    return _line(line, place) or _Formula(place, table=line)


def _line(node: Constant, place: sympy.Expr) -> _Formula | None:
    """A row of numbers that counts, or is made of two values with one step or one stretch between others."""
    array, bits = node.array, _bits(node.array)
    if node.dtype.category == 1 and array.size > 2:
        steps = np.diff(array)
        if (steps == steps[0]).all():
            return _Formula(int(array[0]) + int(steps[0]) * place)
    changes = np.flatnonzero(bits[1:] != bits[:-1]) + 1
    if len(changes) not in (1, 2) or (len(changes) == 2 and bits[0] != bits[-1]):
        return None
    first = int(changes[0])
    if len(changes) == 1:
        condition = ge(place, first)
    elif changes[1] == first + 1:
        condition = eq(place, first)
    else:
        condition = and_(ge(place, first), lt(place, int(changes[1])))
    inside, outside = (Constant(array[k], node.dtype) for k in (first, 0))
    return _Formula(select(condition, placeholder(0), placeholder(1)), (inside, outside))


def _made(read: Read) -> Read:
    """In a sum of products the table is made once, so that the products stay what they are."""
    found = _formula(read.source)  # type: ignore[arg-type]
    if found is None or found.counts:
        return read
    source, reads = read.source, list[Read]()
    here = Read(source, tuple(axis(d) for d in range(source.ndim)))
    expr = _placed(found, here, reads)
    return Read(Compute(source.shape, expr, reads, source.dtype), read.index, read.guard, read.fill)


def _placed(found: _Formula, read: Read, reads: list[Read]) -> sympy.Expr:
    """The formula at the read's index; what it needs is appended to `reads`."""
    where: dict[sympy.Expr, sympy.Expr] = {axis(d): sympy.sympify(e) for d, e in enumerate(read.index)}
    if found.table is not None:
        reads.append(Read(found.table, (sympy.expand(found.expr.xreplace(where)),)))
        return placeholder(len(reads) - 1)
    names: dict[sympy.Expr, sympy.Expr] = {placeholder(k): placeholder(len(reads) + k) for k in range(len(found.values))}
    reads.extend(Read(value, ()) for value in found.values)
    return found.expr.xreplace({**where, **names})
