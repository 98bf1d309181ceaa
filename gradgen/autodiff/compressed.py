"""Sparse Jacobians and Hessians from compressed products, as graphs.

The pattern is found once, when code is generated, and its columns (or rows) coloured; at run time one product per colour
gives sums of columns (rows), batched into one array, and every entry is picked out of it in CSR order.  The 0 of a column
that a product leaves out is no number but a column left out: seeds go with their liveness (see `liveness`), so that an
infinite entry stays in its own column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradgen.autodiff.colouring import column_colours, readable, symmetric, symmetric_colours, transposed
from gradgen.autodiff.jacobian import pushed
from gradgen.autodiff.reverse import gradients, gradients_alive
from gradgen.autodiff.sparsity import Rows, patterns, sizes
from gradgen.ir.batch import batched
from gradgen.ir.dtypes import SMALL_INDEX
from gradgen.ir.functions import eq, select
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read
from gradgen.ir.symbols import axes, axis, placeholder

__all__ = ["SparseBlock", "sparse_hessian", "sparse_jacobian"]


@dataclass(frozen=True, eq=False)
class SparseBlock:
    """The derivative of one node by another: [rows, columns], both flattened row-major, its entries in CSR order."""

    pattern: Rows
    columns: int
    values: Node
    colours: int


def sparse_jacobian(outputs: Sequence[Node], wrt: Sequence[Node], *, nan_safe: bool = False) -> list[list[SparseBlock]]:
    """Entry [o][w] is d outputs[o] / d wrt[w]; all blocks share their products, forward or reverse, whichever is fewer."""
    found, columns = patterns(outputs, wrt)
    whole = _stacked(found)
    by_column = column_colours(whole, columns)
    by_row = column_colours(transposed(whole, columns), whole.count)
    forward = by_column.max(initial=0) <= by_row.max(initial=0)
    colours = by_column if forward else by_row
    count = int(colours.max(initial=0)) + 1
    sums = _forward(outputs, wrt, colours, count, nan_safe) if forward else _reverse(outputs, wrt, colours, count, nan_safe)
    result, first_row = [], 0
    for k, output in enumerate(outputs):
        line, first_column = [], 0
        for j, w in enumerate(wrt):
            block = _block(found[k], first_column, sizes(w))
            row, column = block.row_of_entries(), block.indices
            if forward:
                node = _picked(sums[k], colours[first_column + column], row, output)
            else:
                node = _picked(sums[j], colours[first_row + row], column, w)
            line.append(SparseBlock(block, sizes(w), node, count))
            first_column += sizes(w)
        result.append(line)
        first_row += sizes(output)
    return result


def sparse_hessian(output: Node, wrt: Sequence[Node], *, nan_safe: bool = False) -> list[list[SparseBlock]]:
    """Entry [a][b] is d2 output / d wrt[a] d wrt[b]."""
    first = gradients([output], [Constant(1, output.dtype)], wrt, nan_safe=nan_safe)
    zero = [Compute(w.shape, placeholder(0), [Read(Constant(0, w.dtype), ())], w.dtype) for w in wrt]
    slopes = [g if g is not None else z for g, z in zip(first, zero, strict=True)]
    found, _ = patterns(slopes, wrt)
    whole = symmetric(_stacked(found))
    colours = symmetric_colours(whole)
    count = int(colours.max(initial=0)) + 1
    sums = _forward(slopes, wrt, colours, count, nan_safe)
    own_row = readable(whole, colours)
    starts = np.cumsum([0, *(sizes(w) for w in wrt)])
    result = []
    for a in range(len(wrt)):
        line = []
        for b, w in enumerate(wrt):
            rows = whole.part(starts[a], starts[a + 1])
            block = _block(rows, starts[b], sizes(w))
            inside = (rows.indices >= starts[b]) & (rows.indices < starts[b + 1])
            direct = own_row[whole.start[starts[a]] : whole.start[starts[a + 1]]][inside]
            line.append(SparseBlock(block, sizes(w), _either(sums, block, direct, colours, starts, wrt, a, b), count))
        result.append(line)
    return result


def _either(
    sums: Sequence[Node], block: Rows, direct: np.ndarray, colours: np.ndarray, starts: np.ndarray,
    wrt: Sequence[Node], a: int, b: int,
) -> Node:
    """Entries of a symmetric block, each from its row's sums, or where those mix it with others, from its column's."""
    row, column = block.row_of_entries(), block.indices
    colour = np.where(direct, colours[starts[b] + column], colours[starts[a] + row])
    if a == b or direct.all():
        return _picked(sums[a], colour, np.where(direct, row, column), wrt[a])
    if not direct.any():
        return _picked(sums[b], colour, column, wrt[b])
    own = _picked(sums[a], np.where(direct, colour, 0), np.where(direct, row, 0), wrt[a])
    other = _picked(sums[b], np.where(direct, 0, colour), np.where(direct, 0, column), wrt[b])
    reads = [Read(Constant(direct), (axis(0),)), Read(own, (axis(0),)), Read(other, (axis(0),))]
    body = select(placeholder(0), placeholder(1), placeholder(2))
    return Compute((len(row),), body, reads, wrt[a].dtype)


def _stacked(found: Sequence[Rows]) -> Rows:
    counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(r.start) for r in found)])
    return Rows(np.cumsum(counts), np.concatenate([np.zeros(0, np.int64), *(r.indices for r in found)]))


def _block(rows: Rows, first: int, width: int) -> Rows:
    """Columns first to first + width - 1."""
    inside = (rows.indices >= first) & (rows.indices < first + width)
    counts = np.bincount(rows.row_of_entries()[inside], minlength=rows.count)
    return Rows(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), rows.indices[inside] - first)


def _seeds(node: Node, colours: np.ndarray, count: int) -> Node:
    """[count, *shape]: slice c is 1 at the elements of colour c."""
    table = Constant(colours.reshape(node.shape).astype(SMALL_INDEX.numpy))
    read = Read(table, axes(node.ndim + 1)[1:])
    return Compute((count, *node.shape), select(eq(placeholder(0), axis(0)), 1, 0), [read], node.dtype)


def _split(nodes: Sequence[Node], colours: np.ndarray, count: int) -> dict[Node, Node]:
    """Each node with its seeds."""
    found, first = {}, 0
    for node in nodes:
        found[node] = _seeds(node, colours[first : first + sizes(node)], count)
        first += sizes(node)
    return found


def _forward(
    outputs: Sequence[Node], wrt: Sequence[Node], colours: np.ndarray, count: int, nan_safe: bool
) -> list[Node]:
    """For each output the products [count, *output.shape]."""
    directions = {w: Input(f"__direction{k}", w.shape, w.dtype) for k, w in enumerate(wrt)}
    lives = {w: Input(f"__alive{k}", w.shape, w.dtype) for k, w in enumerate(wrt)}
    moved = pushed(outputs, directions, nan_safe, lives)
    split = _split(wrt, colours, count)
    seeds: dict[Node, Node] = {of[w]: s for w, s in split.items() for of in (directions, lives)}
    return _batched(moved, outputs, seeds, count)


def _reverse(
    outputs: Sequence[Node], wrt: Sequence[Node], colours: np.ndarray, count: int, nan_safe: bool
) -> list[Node]:
    """For each of `wrt` the products [count, *wrt.shape]."""
    cotangents = [Input(f"__cotangent{k}", o.shape, o.dtype) for k, o in enumerate(outputs)]
    lives = [Input(f"__alive{k}", o.shape, o.dtype) for k, o in enumerate(outputs)]
    pulled = [g for g, _ in gradients_alive(outputs, cotangents, lives, wrt, nan_safe)]
    seeds: dict[Node, Node] = {}
    for cotangent, live, part in zip(cotangents, lives, _parts(colours, cotangents), strict=True):
        seeds[cotangent] = seeds[live] = _seeds(cotangent, part, count)
    return _batched(pulled, wrt, seeds, count)


def _parts(colours: np.ndarray, nodes: Sequence[Node]) -> list[np.ndarray]:
    return np.split(colours, np.cumsum([sizes(n) for n in nodes])[:-1])


def _batched(
    found: Sequence[Node | None], like: Sequence[Node], seeds: Mapping[Node, Node], count: int
) -> list[Node]:
    made = batched([f for f in found if f is not None], seeds, count)
    result = []
    for f, n in zip(found, like, strict=True):
        zero = Compute((count, *n.shape), placeholder(0), [Read(Constant(0, n.dtype), ())], n.dtype)
        result.append(made.get(f, zero) if f is not None else zero)
    return result


def _picked(sums: Node, colour: np.ndarray, element: np.ndarray, like: Node) -> Node:
    """[entries]: sums[colour, element] with the element's row-major number taken apart."""
    count = len(colour)
    if not count:
        return Compute((0,), placeholder(0), [Read(Constant(0, like.dtype), ())], like.dtype)
    tables = [colour, *(np.unravel_index(element, like.shape) if like.shape else ())]
    reads = [Read(Constant(np.asarray(t).astype(SMALL_INDEX.numpy)), (axis(0),)) for t in tables]
    body = placeholder(len(reads))
    reads.append(Read(sums, [placeholder(k) for k in range(len(tables))]))
    return Compute((count,), body, reads, like.dtype)
