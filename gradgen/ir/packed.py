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
from gradgen.ir.nodes import Compute, Node, Read, Shape
from gradgen.ir.symbols import NEGATIVE_ZERO, Extent, axis, placeholder


def pack(entries: Sequence[Node | None], shape: Sequence[Extent], dtype: DType) -> Node:
    """The tensor of fixed `shape` with the scalar nodes `entries` in row-major order; None is zero."""
    sizes = [int(e) for e in shape]
    if len(entries) != math.prod(sizes):
        raise ValueError(f"{len(entries)} entries do not fill {sizes}")
    reads = []
    for k, node in enumerate(entries):
        if node is not None:
            reads.append(Read(node, (), position(k, sizes)))
    return one_of(tuple(sizes), reads, dtype, everywhere=len(reads) == len(entries))


def one_of(shape: Shape, reads: Sequence[Read], dtype: DType, *, everywhere: bool = True) -> Compute:
    """The one of guarded reads whose guard holds, bit for bit: the others add -0.0, which changes nothing.

    Not `everywhere`: where no guard holds the element is 0.0.
    """
    if everywhere and dtype.is_floating_point and len(reads) > 1:
        reads = [Read(r.source, r.index, r.guard, NEGATIVE_ZERO) for r in reads]
    return Compute(shape, sympy.Add(*(placeholder(k) for k in range(len(reads)))), reads, dtype)


def position(k: int, sizes: Sequence[int]) -> tuple[Condition, ...]:
    """The guard that holds at row-major element `k` only; an axis of extent 1 needs no condition."""
    found: list[Condition] = []
    for d in range(len(sizes) - 1, -1, -1):
        k, i = divmod(k, sizes[d])
        if sizes[d] > 1:
            found.append(Condition(EQ, axis(d) - i))
    return tuple(reversed(found))
