"""What depends on what in a step: live carries, cycles of carries, and sums that nothing in the step reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gradgen.ir.canonical import compute
from gradgen.ir.graph import Graph, topological
from gradgen.ir.nodes import Compute, Node, Scan
from gradgen.ir.symbols import axes, placeholder


@dataclass(frozen=True, eq=False)
class Step:
    """The step of a Scan with the roles of its inputs."""

    graph: Graph
    carries: tuple[Node, ...]
    sequences: tuple[Node, ...]
    index: Node | None
    constants: tuple[Node, ...]
    new: tuple[Node, ...] = field(default=())  # the carries after the step

    @staticmethod
    def of(node: Scan) -> Step:
        inputs, a, b = node.step.inputs, len(node.init), len(node.init) + len(node.sequences)
        has_index = len(inputs) > b + len(node.constants)
        return Step(node.step, inputs[:a], inputs[a:b], inputs[b] if has_index else None, inputs[b + has_index :],
                    node.step.outputs[:a])


def live_carries(step: Step, wanted: Iterable[int]) -> list[int]:
    """The carries that the wanted outputs depend on, over any number of steps."""
    live: dict[int, None] = {}
    todo = list(wanted)
    seen: set[int] = set()
    while todo:
        k = todo.pop()
        if k in seen:
            continue
        seen.add(k)
        if k < len(step.carries):
            live[k] = None
        reached = set(topological([step.graph.outputs[k]]))
        todo += [j for j, carry in enumerate(step.carries) if carry in reached]
    return sorted(live)


def components(edges: Sequence[int]) -> list[list[int]]:
    """Strongly connected components in topological order; bit j of `edges[k]` says that k depends on j."""
    count = len(edges)
    reach = list(edges)
    for j in range(count):  # the transitive closure, by Warshall's algorithm
        for k in range(count):
            if reach[k] >> j & 1:
                reach[k] |= reach[j]
    found: list[list[int]] = []
    done = 0
    while done != (1 << count) - 1:
        for k in range(count):
            if done >> k & 1:
                continue
            together = [j for j in range(count) if j == k or (reach[k] >> j & 1 and reach[j] >> k & 1)]
            own = sum(1 << j for j in together)
            if not reach[k] & ~own & ~done:
                found.append(together)
                done |= own
    return found


def accumulated(carry: Node, result: Node, users: dict[Node, list[Node]]) -> list[Compute] | None:
    """The terms that the step adds to a carry which nothing else reads, element by element; None where it is not so.

    A term that is a sum used nowhere else counts as its summands.
    """
    terms: list[Compute] = []
    while result is not carry:
        if not isinstance(result, Compute) or result.reducer is not None or result.shape != carry.shape:
            return None
        if result.dtype is not carry.dtype:
            return None
        reads = [k for k, r in enumerate(result.reads) if _leads_to(r.source, carry)]
        if len(reads) != 1:
            return None
        k = reads[0]
        read, rest = result.reads[k], result.body - placeholder(k)
        plain = not read.guard and read.index == axes(carry.ndim) and read.source.shape == carry.shape
        if not plain or placeholder(k) in rest.free_symbols or len(users[read.source]) != 1:
            return None
        if any(placeholder(k) in e.free_symbols for r in result.reads for e in r.index):
            return None
        terms += _summands(compute(result.shape, rest, result.reads, result.dtype), users)
        result = read.source
    return terms if len(users[carry]) == 1 else None


def _leads_to(node: Node, carry: Node) -> bool:
    """Through sums of the carry's own shape."""
    stack, seen = [node], {node}
    while stack:
        n = stack.pop()
        if n is carry:
            return True
        if isinstance(n, Compute) and n.reducer is None and n.shape == carry.shape:
            stack += [s for s in n.sources if s not in seen]
            seen.update(n.sources)
    return False


def _summands(node: Compute, users: dict[Node, list[Node]]) -> list[Compute]:
    found: list[Compute] = []
    stack: list[Compute] = [node]
    a0, a1 = placeholder(0), placeholder(1)
    while stack:
        n = stack.pop()
        plain = n.reducer is None and all(not r.guard and r.index == axes(n.ndim) for r in n.reads)
        whole = plain and all(r.source.shape == n.shape and r.source.dtype is n.dtype for r in n.reads)
        if whole and n.body == a0 and isinstance(n.reads[0].source, Compute) and len(users.get(n.reads[0].source, ())) <= 1:
            stack.append(n.reads[0].source)
        elif whole and n.body == a0 + a1:
            stack += [compute(n.shape, a0, [r], n.dtype) for r in n.reads]
        else:
            found.append(n)
    return found
