"""Where the counters of open loops stand: in the axes of ops, inside strips, along the row of a vector loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import sympy

from gradgen.ir.minima import least
from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.statements import CVar
from gradgen.schedule.inline import Op
from gradgen.schedule.tree import LoopNode, StripNode

Env = dict[sympy.Symbol, sympy.Expr]


@dataclass(frozen=True, slots=True)
class Row:
    """The stretch that a vector loop covers: its counter runs from `start` over at most `size` elements."""

    counter: CVar
    start: sympy.Expr
    size: Extent


class Position:
    """`counters` are those of loops, `open_strips` the first elements of strips, `strip_rows` how many a short one has."""

    def __init__(self, paths: Mapping[Op, tuple[LoopNode, ...]]) -> None:
        self.paths = paths
        self.fixed: dict[Op, Env] = {op: op.fixed for op in paths}
        self.counters: dict[LoopNode, CVar] = {}
        self.open_strips: dict[StripNode, CVar] = {}
        self.strip_rows: dict[StripNode, CVar] = {}
        self.row: Row | None = None

    def strip_of(self, op: Op, symbol: sympy.Symbol) -> StripNode | None:
        """The open strip loop over this axis of the op."""
        for node in self.open_strips:
            if node.binding.get(op) is symbol:
                return node
        return None

    def enclosing_strip(self, node: LoopNode) -> StripNode | None:
        """That of the axis that a loop goes over."""
        for op, symbol in node.binding.items():
            return self.strip_of(op, symbol)
        return None

    def rows(self, strip: StripNode) -> Extent:
        return self.strip_rows.get(strip, strip.size)

    def steps(self, node: LoopNode) -> Extent:
        """How often a loop runs: inside a strip, over its rows."""
        strip = self.enclosing_strip(node)
        return node.extent if strip is None else self.rows(strip)

    def span(self, op: Op, symbol: sympy.Symbol) -> Extent:
        """The extent of an axis inside the open strips."""
        strip = self.strip_of(op, symbol)
        return op.extent_of(symbol) if strip is None else self.rows(strip)

    def limit(self, extent: Extent) -> Extent:
        """The most that an extent inside a strip can be."""
        if isinstance(extent, int) or not self.open_strips:
            return extent
        rows = {self.strip_rows[s]: sympy.sympify(most_rows(s)) for s in self.open_strips if s in self.strip_rows}
        return as_extent(extent.xreplace(rows))

    def shifted(self, op: Op, symbol: sympy.Symbol, counter: sympy.Expr | None = None) -> sympy.Expr:
        """Where a counter inside an axis' strip (without one: the axis itself) stands along the axis."""
        strip = self.strip_of(op, symbol)
        inside = symbol if counter is None else counter
        return inside if strip is None else self.open_strips[strip] + inside

    def env(self, op: Op) -> Env:
        """The axes of an op that have a value."""
        found = dict(self.fixed[op])
        for loop in self.paths[op]:
            if op in loop.binding and loop in self.counters:
                symbol = loop.binding[op]
                found[symbol] = self.shifted(op, symbol, self.counters[loop])
        return found

    def whole_index(self, op: Op) -> tuple[sympy.Expr, ...]:
        """Where the current counters stand in the op's value; axes that nothing binds stay symbols."""
        env = self.env(op)
        return tuple(env[s] if s in env else self.shifted(op, s) for s in op.output_axes)


def most_rows(strip: StripNode) -> Extent:
    """The rows of the longest strip."""
    return strip.size if isinstance(strip.extent, int) else _least(strip.size, strip.extent)


@cache
def _least(size: int, extent: sympy.Expr) -> Extent:
    return as_extent(least(size, extent))


__all__ = ["Env", "Position", "Row", "most_rows"]
