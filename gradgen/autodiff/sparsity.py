"""Which elements of a Jacobian can be other than zero: the pattern, from the index maps alone.

Every element of a node depends on what its reads depend on, at the indices that the read's index expressions give; the
sets are propagated through the graph as rows of a boolean matrix (Griewank & Walther, Evaluating Derivatives, 2nd ed.,
2008, section 7.1: forward propagation of index domains).  No value is looked at and nothing is probed, so the pattern
holds for every input; an index that is data may be any.  It is exact up to cancellation and to values that are zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sympy

from gradgen.autodiff.bodies import partial
from gradgen.errors import GradgenError
from gradgen.ir.evaluation import holds, integer
from gradgen.ir.graph import topological_until
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read, Scan, Scatter
from gradgen.ir.symbols import Placeholder, axis, is_nothing, placeholder, reduce_axis

MOST_PAIRS = 1 << 24
"""Elements of one node times what each reads: more than this is refused rather than computed for minutes."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Row k of a boolean matrix has its columns, ascending, in `indices[start[k]:start[k + 1]]`."""

    start: np.ndarray
    indices: np.ndarray

    @property
    def count(self) -> int:
        return len(self.start) - 1

    def row_of_entries(self) -> np.ndarray:
        """The row of every entry."""
        return np.repeat(np.arange(self.count), np.diff(self.start))

    def part(self, first: int, last: int) -> Rows:
        """Rows first to last - 1."""
        start = self.start[first : last + 1]
        return Rows(start - start[0], self.indices[start[0] : start[-1]])


def rows_of(keys: np.ndarray, count: int, columns: int) -> Rows:
    """Rows from distinct ascending keys row * columns + column."""
    row = keys // max(columns, 1)
    start = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=count), out=start[1:])
    return Rows(start, keys - row * columns)


def sizes(node: Node) -> int:
    """Elements of a node of fixed shape.  Raises GradgenError where a named dimension is in it."""
    if not all(isinstance(e, int) for e in node.shape):
        raise GradgenError(f"the sparsity pattern of a derivative needs fixed shapes, not {list(node.shape)}",
                           hint="give numbers instead of named dimensions to gg.spec, or leave out sparse=")
    return math.prod(node.shape)  # type: ignore[arg-type]


def patterns(outputs: Sequence[Node], wrt: Sequence[Node]) -> tuple[list[Rows], int]:
    """For each output the pattern of its derivative by all of `wrt` side by side, and how many columns that makes."""
    given: dict[Node, Rows] = {}
    columns = 0
    for node in wrt:
        n = sizes(node)
        given[node] = Rows(np.arange(n + 1), columns + np.arange(n))
        columns += n
    found = _propagated(outputs, given, columns)
    return [found[n] if n in found else _none(n) for n in outputs], columns


def _none(node: Node) -> Rows:
    return Rows(np.zeros(sizes(node) + 1, np.int64), np.zeros(0, np.int64))


def _propagated(outputs: Sequence[Node], given: Mapping[Node, Rows], columns: int) -> dict[Node, Rows]:
    rows = dict(given)
    calls: dict[tuple, list[Rows]] = {}  # of recurrences with several outputs
    for node in topological_until(tuple(outputs), set(given)):
        if node in rows or isinstance(node, (Input, Constant)) or not node.dtype.is_floating_point:
            continue
        if not any(s in rows for s in node.sources):
            continue
        match node:
            case Compute():
                keys = _through_reads(node, (*node.shape, *node.reduce_shape), None, rows, columns)
            case Scatter():
                keys = _through_reads(node, node.update_shape, node.index, rows, columns)
                if node.base is not None and node.base in rows:
                    keys.append(_keys(rows[node.base], columns))
            case Scan():
                if node.call not in calls:
                    calls[node.call] = _scan(node, rows, columns)
                rows[node] = calls[node.call][node.output]
                continue
            case _:  # a Kernel: every element of every operand may count
                keys = [_everything(node, rows, columns)]
        merged = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
        rows[node] = rows_of(merged, sizes(node), columns)
    return rows


def _keys(rows: Rows, columns: int) -> np.ndarray:
    return rows.row_of_entries() * columns + rows.indices


def _everything(node: Node, rows: Mapping[Node, Rows], columns: int) -> np.ndarray:
    reached = np.unique(np.concatenate([rows[s].indices for s in node.sources if s in rows]))
    return (np.arange(sizes(node))[:, None] * columns + reached).ravel()


def _through_reads(
    node: Compute | Scatter, shape: Sequence[object], index: Sequence[sympy.Expr] | None, rows: Mapping[Node, Rows],
    columns: int,
) -> list[np.ndarray]:
    """Keys of the node's rows, one array per read.  `index` says where an element of a Scatter's update goes."""
    if not all(isinstance(e, int) for e in shape):
        sizes(node)
        raise GradgenError("the sparsity pattern of a derivative needs fixed shapes")
    extents = [int(e) for e in shape]  # type: ignore[call-overload]
    grid = np.ogrid[tuple(slice(n) for n in extents)] if extents else []
    env = {(axis(k) if k < node.ndim or index is not None else reduce_axis(k - node.ndim)): g
           for k, g in enumerate(grid)}
    found = []
    for k, read in enumerate(node.reads):
        if read.source not in rows or not read.dtype.is_floating_point or partial(node.body, k, False) == 0:
            continue
        mask = _mask(node, k, env)
        target, spread_target = _flat(axes_of(node, index), node.shape, env)
        source, spread_source = _flat(read.index, read.source.shape, env)
        found.append(_joined(target, spread_target, source, spread_source, mask, extents, node, rows[read.source],
                             read, columns))
    return found


def axes_of(node: Compute | Scatter, index: Sequence[sympy.Expr] | None) -> Sequence[sympy.Expr]:
    return index if index is not None else [axis(k) for k in range(node.ndim)]


def _mask(node: Compute | Scatter, k: int, env: Mapping[sympy.Basic, np.ndarray]) -> np.ndarray | np.bool_:
    """Where read k counts: inside its own guard, and inside those of factors that are 0 outside theirs."""
    conditions = list(node.reads[k].guard)
    factors = sympy.Mul.make_args(node.body)
    for m, other in enumerate(node.reads):
        if m != k and other.guard and is_nothing(other.fill) and placeholder(m) in factors:
            conditions += other.guard
    if isinstance(node, Scatter):
        conditions += node.guard
    known = tuple(c for c in dict.fromkeys(conditions) if not _is_data(c.expr))
    return holds(known, dict(env))


def _is_data(expr: sympy.Basic) -> bool:
    return any(isinstance(s, Placeholder) for s in expr.free_symbols)


def _flat(
    index: Sequence[sympy.Expr], shape: Sequence[object], env: Mapping[sympy.Basic, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Row-major offsets over the grid, and what an index that is data may add to each."""
    offset, spread, stride = np.zeros((), np.int64), np.zeros(1, np.int64), 1
    for expr, extent in zip(reversed(index), reversed(shape), strict=True):
        n = int(extent)  # type: ignore[call-overload]
        if _is_data(expr):
            spread = (np.arange(n)[:, None] * stride + spread).ravel()
        else:
            offset = offset + np.asarray(integer(expr, dict(env)), np.int64) * stride
        stride *= n
    return offset, spread


def _joined(
    target: np.ndarray, spread_target: np.ndarray, source: np.ndarray, spread_source: np.ndarray,
    mask: np.ndarray | np.bool_, extents: Sequence[int], node: Node, below: Rows, read: Read, columns: int,
) -> np.ndarray:
    """Keys of the pairs (element, what the element it reads depends on)."""
    pairs = math.prod(extents) * len(spread_target) * len(spread_source)
    if pairs > MOST_PAIRS:
        raise GradgenError(f"the sparsity pattern would take {pairs:,} index pairs in one operation",
                           hint="leave out sparse= for this function")
    inside = np.broadcast_to(mask, extents).ravel()
    to = np.broadcast_to(target, extents).ravel()[inside]
    of = np.broadcast_to(source, extents).ravel()[inside]
    to, of = _crossed(to, of, spread_target, spread_source)
    pair = np.unique(to * sizes(read.source) + of)
    to, of = pair // max(sizes(read.source), 1), pair % max(sizes(read.source), 1)
    counts = below.start[of + 1] - below.start[of]
    first = np.repeat(below.start[of] - (np.cumsum(counts) - counts), counts)
    entries = below.indices[first + np.arange(int(counts.sum()))]
    return np.unique(np.repeat(to, counts) * columns + entries)


def _crossed(to: np.ndarray, of: np.ndarray, places: np.ndarray, reads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of the places that an element may go to and those that it may read."""
    shape = (len(to), len(places), len(reads))
    to = np.broadcast_to(to[:, None, None] + places[None, :, None], shape)
    of = np.broadcast_to(of[:, None, None] + reads[None, None, :], shape)
    return to.ravel(), of.ravel()


def _scan(node: Scan, rows: Mapping[Node, Rows], columns: int) -> list[Rows]:
    """The patterns of all outputs, step by step, as the recurrence runs."""
    step, length = node.step, int(node.length)
    empty = {i: _none(i) for i in step.inputs}
    carry = [rows[n] if n in rows else _none(n) for n in node.init]
    first_constant = len(step.inputs) - len(node.constants)
    fixed = {step.inputs[first_constant + k]: rows[n] for k, n in enumerate(node.constants) if n in rows}
    stacked: dict[int, list[Rows]] = {}
    for t in reversed(range(length)) if node.reverse else range(length):
        given = {**empty, **fixed, **dict(zip(step.inputs, carry, strict=False))}
        for inner, outer in zip(step.inputs[len(carry) :], node.sequences, strict=False):
            if outer in rows:
                size = sizes(inner)
                given[inner] = rows[outer].part(t * size, (t + 1) * size)
        done = _propagated(step.outputs, given, columns)
        made = [done[o] if o in done else _none(o) for o in step.outputs]
        carry = made[: len(carry)]
        stacked[t] = made[len(carry) :]
    ordered = zip(*(stacked[t] for t in range(length)), strict=True) if length else [()] * (len(step.outputs) - len(carry))
    return [*carry, *map(_one_after_another, ordered)]


def _one_after_another(parts: Sequence[Rows]) -> Rows:
    counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(r.start) for r in parts)])
    return Rows(np.cumsum(counts), np.concatenate([np.zeros(0, np.int64), *(r.indices for r in parts)]))
