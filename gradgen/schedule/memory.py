"""Addresses: SAVED slots that forward and backward agree on, and offsets in WORK from lifetimes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sympy

from gradgen.ir.nodes import Node
from gradgen.ir.symbols import Extent, as_extent
from gradgen.schedule.procedure import SAVED, Procedure
from gradgen.schedule.program import Buffer

ALIGNMENT = 64
HEADER_BYTES = 64


@dataclass(frozen=True)
class SavedLayout:
    """Byte offsets of the slots of SAVED; the first 64 bytes are the state header."""

    offsets: dict[str, Extent]
    bytes: Extent


def aligned(size: Extent) -> Extent:
    """`size` bytes rounded up to the alignment."""
    if isinstance(size, int):
        return -(-size // ALIGNMENT) * ALIGNMENT
    return as_extent(ALIGNMENT * sympy.floor((size + ALIGNMENT - 1) / ALIGNMENT))


def node_bytes(node: Node) -> Extent:
    total: Extent = node.dtype.itemsize
    for e in node.shape:
        total = total * e
    return as_extent(total)


def saved_layout(procedures: Iterable[Procedure]) -> SavedLayout:
    """One layout for all procedures of a module: slots in the order in which they first occur."""
    offsets: dict[str, Extent] = {}
    position: Extent = HEADER_BYTES
    for p in procedures:
        stored = [(o.place, o.node) for o in p.outputs if o.place.space == SAVED]
        given = [(place, node) for node, place in p.given.items() if place.space == SAVED]
        for place, node in (*stored, *given):
            if place.name not in offsets:
                offsets[place.name] = position
                position = as_extent(position + aligned(node_bytes(node)))
    return SavedLayout(offsets, position)


def plan_work(buffers: Iterable[Buffer]) -> Extent:
    """Gives every buffer its own range of WORK and returns the total."""
    position: Extent = 0
    for buffer in buffers:
        buffer.offset = position
        position = as_extent(position + aligned(as_extent(buffer.size * buffer.dtype.itemsize)))
    if not isinstance(position, int):
        position = as_extent(position + ALIGNMENT)  # never 0 where a dimension is, so that `work` is a real address
    return position
