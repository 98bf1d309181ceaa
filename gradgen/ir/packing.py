"""Scalars packed into one tensor, and vectors of scalars.

The packed tensor is one Compute: a sum of reads, each guarded by one condition per axis, so that exactly one of them is
looked at for every element.  Its adjoint is a guarded read again, and loops split at the guards are one store an entry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import sympy

from gradgen.ir.dtypes import DType
from gradgen.ir.guards import EQ, Condition
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import Extent, axis, placeholder


def pack(entries: Sequence[Node | None], shape: Sequence[Extent], dtype: DType) -> Node:
    """The tensor of fixed `shape` with the scalar nodes `entries` in row-major order; None is zero."""
    sizes = [int(e) for e in shape]
    if len(entries) != math.prod(sizes):
        raise ValueError(f"{len(entries)} entries do not fill {sizes}")
    reads = []
    for k, node in enumerate(entries):
        if node is not None:
            reads.append(Read(node, (), position(k, sizes)))
    body = sympy.Add(*(placeholder(k) for k in range(len(reads))))
    return Compute(tuple(sizes), body, reads, dtype)


def position(k: int, sizes: Sequence[int]) -> tuple[Condition, ...]:
    """The guard that holds at row-major element `k` only; an axis of extent 1 needs no condition."""
    found: list[Condition] = []
    for d in range(len(sizes) - 1, -1, -1):
        k, i = divmod(k, sizes[d])
        if sizes[d] > 1:
            found.append(Condition(EQ, axis(d) - i))
    return tuple(reversed(found))
