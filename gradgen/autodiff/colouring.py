"""Colours for compressed derivatives: columns of one colour are found by one product.

Two columns that meet in no row may share a colour: their sum shows each entry (Curtis, Powell & Reid, On the Estimation
of Sparse Jacobian Matrices, 1974).  A symmetric matrix needs fewer, because an entry may be read on either side of the
diagonal: a star colouring of its graph is enough.  The greedy algorithms and their proofs: Gebremedhin, Manne & Pothen,
What Color Is Your Jacobian? Graph Coloring for Computing Derivatives, SIAM Review 47(4), 2005, sections 3.5 and 4.3.
"""

from __future__ import annotations

import numpy as np

from gradgen.autodiff.sparsity import Rows, rows_of


def transposed(rows: Rows, columns: int) -> Rows:
    """The pattern with rows and columns exchanged."""
    keys = rows.indices * max(rows.count, 1) + rows.row_of_entries()
    return rows_of(np.sort(keys), columns, max(rows.count, 1))


def symmetric(rows: Rows) -> Rows:
    """The union of a square pattern with its transpose."""
    n = rows.count
    row = rows.row_of_entries()
    return rows_of(np.unique(np.concatenate([row * n + rows.indices, rows.indices * n + row])), n, n)


def column_colours(rows: Rows, columns: int) -> np.ndarray:
    """A colour for each column such that no row has two of a colour; columns with many entries first."""
    by_column = transposed(rows, columns)
    used = [0] * rows.count  # per row, the colours of its columns as bits
    colours = np.zeros(columns, np.int64)
    for j in np.argsort(-np.diff(by_column.start), kind="stable").tolist():
        met = by_column.indices[by_column.start[j] : by_column.start[j + 1]].tolist()
        taken = 0
        for i in met:
            taken |= used[i]
        bit = ~taken & (taken + 1)
        for i in met:
            used[i] |= bit
        colours[j] = bit.bit_length() - 1
    return colours


def star_colours(rows: Rows) -> np.ndarray:
    """A colour for each column of a symmetric pattern: neighbours differ, and every path of four vertices has three."""
    n = rows.count
    near = [[j for j in rows.indices[rows.start[i] : rows.start[i + 1]].tolist() if j != i] for i in range(n)]
    colour = [-1] * n
    for v in sorted(range(n), key=lambda v: -len(near[v])):
        taken: set[int] = set()
        for w in near[v]:
            if colour[w] >= 0:
                taken.add(colour[w])
            for x in near[w]:
                if x == v or colour[x] < 0 or colour[x] in taken:
                    continue
                if colour[w] < 0 or any(y != w and colour[y] == colour[w] for y in near[x]):
                    taken.add(colour[x])
        chosen = 0
        while chosen in taken:
            chosen += 1
        colour[v] = chosen
    return np.array(colour, np.int64)


def symmetric_colours(rows: Rows) -> np.ndarray:
    """The better of both."""
    star, plain = star_colours(rows), column_colours(rows, rows.count)
    return plain if plain.max(initial=-1) <= star.max(initial=-1) else star


def readable(rows: Rows, colours: np.ndarray) -> np.ndarray:
    """For each entry whether its column is the only one of its colour in its row: whether the row's sums show it."""
    row, count = rows.row_of_entries(), int(colours.max(initial=0)) + 1
    key = row * count + colours[rows.indices]
    _, inverse, times = np.unique(key, return_inverse=True, return_counts=True)
    return times[inverse] == 1
