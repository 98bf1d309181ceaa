"""Which tensors of a graph get a line of their own, and under which name.

Decided by estimated text lengths alone, in linear time: outputs, what is long and used twice, what does not fit into
its reader's line.  What is not named is written where it is read (gradgen.notation.definitions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy

from gradgen.ir.draws import described
from gradgen.ir.graph import topological
from gradgen.ir.guards import EQ
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Read, Scan, Scatter
from gradgen.ir.scalar_table import ScalarFunction
from gradgen.ir.symbols import Placeholder, axes

SHARED = 64
"""Estimated characters beyond which a value that is read twice gets a name."""

LONGEST = 110
"""Estimated characters beyond which parts of a line get names."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A node that must be defined under this name; sign "+=" is an accumulated gradient."""

    node: Node
    name: str
    sign: str = "="


def readers(node: Node) -> list[Read]:
    """What the node reads, as Reads where it has them."""
    return list(node.reads) if isinstance(node, (Compute, Scatter)) else []


def walk(wanted: Sequence[Node], stop: Iterable[Node] = (), is_end: Callable[[Node], object] = lambda n: None) -> list[Node]:
    """Sources first; nodes in `stop` are not looked behind (unless they are wanted themselves), nor those of `is_end`."""
    behind = set(stop) - set(wanted)
    return topological(wanted, is_end=lambda n: n in behind or is_end(n))


@lru_cache(maxsize=4096)
def measure(body: sympy.Expr) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Characters of a body apart from its placeholders, and how often each of these stands in it."""
    own = 0
    count: dict[int, int] = {}
    stack: list[sympy.Basic] = [body]
    while stack:
        e = stack.pop()
        if isinstance(e, Placeholder):
            k = int(e.name[1:])
            count[k] = count.get(k, 0) + 1
        elif isinstance(e, ScalarFunction):
            own += len(e.key) + 2 * len(e.args)
            stack.extend(e.args)
        elif e.args and not e.is_number:
            own += (3 if isinstance(e, sympy.Add) else 1) * len(e.args)
            stack.extend(e.args)
        else:
            own += 2
        if own > 1 << 14:
            break
    return own, tuple(sorted(count.items()))


class Plan:
    """Which nodes are named.  `named` maps them to their names, in the order of the graph.

    A tensor packed from scalars, or a sum of such, has room for a line an element; its length, which counts where it is
    read, is that of all of them.
    """

    def __init__(self, wanted: Sequence[Wanted], names: Mapping[Node, str], taken: Iterable[str] = ()) -> None:
        self.wanted = wanted
        self.given = names
        self.order = walk([w.node for w in wanted], names, described)
        self.keep: dict[Node, str] = {}
        self.uses = self._uses()
        self._name_wanted()
        self.length: dict[Node, int] = {}
        self.reduces: dict[Node, bool] = {}
        self.auto: set[Node] = set()
        self.spread: set[Node] = set()
        for node in self.order:
            self._look(node)
        self.named = self._number(taken)

    def _uses(self) -> dict[Node, int]:
        uses = dict.fromkeys(self.order, 0)
        for node in self.order:
            if node in self.given and all(w.node is not node for w in self.wanted):
                continue
            if described(node):
                continue
            reads = readers(node)
            for source in [r.source for r in reads] if reads else node.sources:
                uses[source] = uses.get(source, 0) + 1
        return uses

    def _name_wanted(self) -> None:
        for node, name in self.given.items():
            self.keep[node] = name
        for w in self.wanted:
            if w.node not in self.keep and not isinstance(w.node, Input) and (w.sign == "=" or not self.uses[w.node]):
                self.keep[w.node] = w.name

    def is_named(self, node: Node) -> bool:
        return isinstance(node, Input) or node in self.keep or node in self.auto

    def _element(self, node: Node) -> int:
        name = node.name if isinstance(node, Input) else self.keep.get(node, "t10")
        return len(name) + (2 * node.ndim + 1 if node.ndim else 0)

    def _look(self, node: Node) -> None:
        if isinstance(node, Constant):
            self.length[node], self.reduces[node] = 4, False
            if uniform(node) is None:
                self.auto.add(node)
            return
        if described(node):
            self.length[node], self.reduces[node] = 9 + 2 * node.ndim, False
            return
        if isinstance(node, (Scan, Kernel, Scatter)):
            for s in node.sources:
                self._force(s)
            self.auto.add(node)
            return
        if isinstance(node, Compute) and not (node in self.keep and all(w.node is not node for w in self.wanted)):
            self._look_compute(node)

    def _force(self, source: Node) -> None:
        if not self.is_named(source) and not (isinstance(source, Constant) and uniform(source) is not None):
            self.auto.add(source)

    def _look_compute(self, node: Compute) -> None:
        own, found = measure(node.body)
        own += 1 + (4 + len(node.reduce_shape) if node.reducer else 0)
        count = dict(found)
        for k, read in enumerate(node.reads):
            self._look_read(node, read, count.get(k, 1))
        costs = [self._cost(r) for r in node.reads]
        total = own + sum(count.get(k, 1) * c for k, c in enumerate(costs))
        if self._is_spread(node):
            self.spread.add(node)
        while total > LONGEST and node not in self.spread:
            open_reads = [k for k, r in enumerate(node.reads) if self._can_name(r.source)]
            if not open_reads:
                break
            worst = max(open_reads, key=lambda k: costs[k] * count.get(k, 1))
            self.auto.add(node.reads[worst].source)
            costs = [self._cost(r) for r in node.reads]
            total = own + sum(count.get(k, 1) * c for k, c in enumerate(costs))
        self.length[node] = total
        self.reduces[node] = node.reducer is not None or any(
            self.reduces.get(r.source, False) for r in node.reads if not self.is_named(r.source)
        )

    def _is_spread(self, node: Compute) -> bool:
        """Each scalar that is read stands in one element, so in one line."""
        return node.reducer is None and bool(node.reads) and all(
            picks_one(r) or (r.source in self.spread and not r.guard and r.index == axes(node.ndim)
                             and not self.is_named(r.source) and self.uses[r.source] == 1)
            for r in node.reads
        )

    def _can_name(self, source: Node) -> bool:
        return not self.is_named(source) and self.length.get(source, 0) > self._element(source)

    def _look_read(self, node: Compute, read: Read, count: int) -> None:
        source = read.source
        if self.is_named(source) or not self._can_name(source):
            return
        often = count > 1 or self.uses[source] > 1
        nested = self.reduces[source] and (node.reducer is not None or often)
        long = (self.uses[source] > 1 and self.length[source] > SHARED) or (count > 1 and self.length[source] > 20)
        if nested or long:
            self.auto.add(source)

    def _cost(self, read: Read) -> int:
        source = read.source
        own = self._element(source) if self.is_named(source) else self.length.get(source, 4)
        return own + 14 * len(read.guard) + sum(3 for e in read.index if e.args)

    def _number(self, taken: Iterable[str]) -> dict[Node, str]:
        used = {*taken, *self.keep.values(), *(n.name for n in self.order if isinstance(n, Input))}
        used |= {w.name for w in self.wanted}
        fresh = (name for name in (f"t{k}" for k in range(1, 1 << 30)) if name not in used)
        named: dict[Node, str] = {}
        for node in self.order:
            if isinstance(node, Input):
                named[node] = self.keep.get(node, node.name)
            elif node in self.keep:
                named[node] = self.keep[node]
            elif node in self.auto:
                named[node] = next(fresh)
        return named


def picks_one(read: Read) -> bool:
    """A scalar that stands at one place of a tensor."""
    return not read.index and bool(read.guard) and all(c.kind == EQ for c in read.guard)


def uniform(node: Constant) -> sympy.Expr | None:
    """The number that every element of a constant is, if it is."""
    import numpy as np

    flat = node.array.ravel()
    if flat.size == 0:
        return None
    value = flat[0]
    if node.dtype.is_floating_point:
        if np.isnan(value):
            return sympy.nan if np.isnan(flat).all() else None
        if not (flat == value).all():
            return None
        return sympy.Rational(float(value)) if np.isfinite(value) else sympy.oo if value > 0 else -sympy.oo
    return sympy.Integer(int(value)) if (flat == value).all() else None
