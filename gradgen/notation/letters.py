"""Index letters: axes that belong together across a graph get one letter, so that formulas read alike.

Where y[i0, i1] reads w[r0, i1], axis 1 of y and axis 1 of w belong together; a union-find over all reads makes
classes, and each class asks for one letter: `n` for a dimension named N, else i, j, k, ... in order of appearance.  Two
axes of one formula never share a letter: the second takes the next free one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, count

from gradgen.ir.nodes import Compute, Input, Node, Scatter
from gradgen.ir.symbols import Axis, Dim, Extent, ReduceAxis
from gradgen.notation.terms import Letter

ALPHABET = "ijklmnpqrsuvabcdefgh"
Slot = tuple[Node, str, int]


def letter(name: str) -> Letter:
    return Letter(name, integer=True, nonnegative=True)


class Letters:
    """The letter that each axis of each node asks for; `links` are tensors of one shape that belong together."""

    def __init__(
        self, nodes: Sequence[Node], taken: Iterable[str] = (), links: Iterable[tuple[Node, Node]] = ()
    ) -> None:
        self.taken = set(taken)
        self.parent: dict[Slot, Slot] = {}
        for node in nodes:
            self._unite(node)
        for a, b in links:
            for d in range(min(a.ndim, b.ndim)):
                self._join((a, "i", d), (b, "i", d))
        self.letter: dict[Slot, str] = {}
        dims: dict[Slot, str] = {}
        order: dict[Slot, None] = {}
        lettered = {self._find(slot) for n in nodes if n.sources for slot, _ in _slots(n)}
        for node in (*(n for n in nodes if isinstance(n, Input)), *nodes):
            for slot, extent in _slots(node):
                root = self._find(slot)
                if root not in lettered:
                    continue
                order.setdefault(root)
                if isinstance(extent, Dim):
                    dims.setdefault(root, extent.name)
        self._assign(order, dims)

    def _assign(self, order: dict[Slot, None], dims: dict[Slot, str]) -> None:
        used: dict[str, str] = {}
        for root, name in dims.items():
            wish = name[0].lower()
            if wish not in self.taken and used.get(wish, name) == name:
                used[wish] = name
                self.letter[root] = wish
        free = [c for c in ALPHABET if c not in self.taken and c not in used]
        rest = [root for root in order if root not in self.letter]
        for root, c in zip(rest, free):
            self.letter[root] = c

    def _unite(self, node: Node) -> None:
        if not isinstance(node, (Compute, Scatter)):
            return
        own = "u" if isinstance(node, Scatter) else "i"
        for read in node.reads:
            for d, e in enumerate(read.index):
                if isinstance(e, Axis):
                    self._join((read.source, "i", d), (node, own, int(e.name[1:])))
                elif isinstance(e, ReduceAxis):
                    self._join((read.source, "i", d), (node, "r", int(e.name[1:])))
        if isinstance(node, Scatter):
            for d, e in enumerate(node.index):
                if isinstance(e, Axis):
                    self._join((node, "i", d), (node, "u", int(e.name[1:])))
            if node.base is not None:
                for d in range(node.ndim):
                    self._join((node.base, "i", d), (node, "i", d))

    def _find(self, slot: Slot) -> Slot:
        root = slot
        while self.parent.get(root, root) != root:
            root = self.parent[root]
        while self.parent.get(slot, slot) != root:
            self.parent[slot], slot = root, self.parent[slot]
        return root

    def _join(self, a: Slot, b: Slot) -> None:
        a, b = self._find(a), self._find(b)
        if a != b:
            self.parent[b] = a

    def choose(self, slot: Slot, used: set[str]) -> Letter:
        """The wished letter, or the first one not in `used`; it is added to `used`."""
        wish = self.letter.get(self._find(slot))
        if wish is None or wish in used:
            spare = chain(ALPHABET, (f"i{k}" for k in count(2)))
            wish = next(c for c in spare if c not in used and c not in self.taken)
        used.add(wish)
        return letter(wish)


def _slots(node: Node) -> list[tuple[Slot, Extent]]:
    found: list[tuple[Slot, Extent]] = [((node, "i", d), e) for d, e in enumerate(node.shape)]
    if isinstance(node, Compute):
        found += [((node, "r", d), e) for d, e in enumerate(node.reduce_shape)]
    elif isinstance(node, Scatter):
        found += [((node, "u", d), e) for d, e in enumerate(node.update_shape)]
    return found
