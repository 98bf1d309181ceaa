"""Graph: inputs, named outputs, and where in the user's code each node came from.  Immutable; all walks iterative."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Read, Scan, Scatter

if TYPE_CHECKING:
    from gradgen.ir.assumptions import Requirement


@dataclass(frozen=True, slots=True)
class Location:
    """The user's line: file name without folders, line number, and the operation's name as the user knows it.

    `variable` is the local variable that the line assigns the value to, where it does just that.
    """

    file: str
    line: int
    operation: str
    variable: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.operation}"


def topological(
    outputs: Iterable[Node], given: Iterable[Node] = (), is_end: Callable[[Node], object] | None = None
) -> list[Node]:
    """Every node the outputs depend on, sources first; the order is a function of the structure alone.  `given` nodes and
    what only they need are left out, and what only those need of which `is_end` holds."""
    order: list[Node] = []
    done = set(given)
    expanded: set[Node] = set()
    stack = [*outputs]
    stack.reverse()
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
        elif node in expanded or (is_end is not None and is_end(node)):
            stack.pop()
            done.add(node)
            order.append(node)
        else:
            expanded.add(node)
            stack += [s for s in reversed(node.sources) if s not in done]
    return order


def topological_until(outputs: tuple[Node, ...], stop: set[Node]) -> list[Node]:
    """Like `topological`, not going below the nodes in `stop`."""
    return topological(outputs, is_end=stop.__contains__ if stop else None)


@dataclass(frozen=True, eq=False)
class Graph:
    """`inputs` in the order of the user's arguments, `outputs` with their names, `where` from node to user line.

    `conditions`: what the named dimensions must satisfy, in the order of the program (see assumptions.py).
    `states` are the names of an input and of the output that is its value in the next call.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Node, ...]
    output_names: tuple[str, ...]
    where: Mapping[Node, Location] = field(default_factory=dict)
    conditions: tuple[Requirement, ...] = ()
    states: tuple[tuple[str, str], ...] = ()

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, sources first, deterministic."""
        return tuple(topological(self.outputs))

    @cached_property
    def users(self) -> dict[Node, tuple[Node, ...]]:
        found: dict[Node, dict[Node, None]] = {n: {} for n in self.nodes}
        for node in self.nodes:
            for source in node.sources:
                found[source][node] = None
        return {n: tuple(u) for n, u in found.items()}

    @cached_property
    def key(self) -> str:
        """sha256 over the structure, names included; independent of memory addresses and hash seeds."""
        return hashlib.sha256("\n".join(serialise(self)).encode()).hexdigest()


_text = lru_cache(maxsize=1 << 14)(str)  # of expressions, which nodes share


def _read_text(read: Read, number: Mapping[Node, int]) -> str:
    guard = ";".join(f"{c.kind} {c.expr} {c.modulus}" for c in read.guard)
    return f"%{number[read.source]}[{', '.join(map(_text, read.index))}]" + (f" if {guard} else {read.fill}" if guard else "")


def node_text(node: Node, number: Mapping[Node, int]) -> str:
    """One line that says everything about the node; operands by number."""
    shape = f"{node.dtype.name}[{', '.join(map(str, node.shape))}]"
    match node:
        case Input():
            return f"input {node.name} {shape}{' requires_grad' if node.requires_grad else ''}"
        case Constant():
            if node.array.size <= 4:
                return f"constant {shape} {node.array.ravel().tolist()!r} {node.array.tobytes().hex()}"
            return f"constant {shape} sha256:{hashlib.sha256(node.array.tobytes()).hexdigest()}"
        case Compute():
            over = f"{node.reducer} over [{', '.join(map(str, node.reduce_shape))}] " if node.reducer else ""
            return f"compute {shape} {over}{_text(node.body)} | " + ", ".join(_read_text(r, number) for r in node.reads)
        case Scatter():
            base = f"%{number[node.base]}" if node.base is not None else "0"
            guard = ";".join(f"{c.kind} {c.expr} {c.modulus}" for c in node.guard)
            return (
                f"scatter {shape} {node.mode} base {base} over [{', '.join(map(str, node.update_shape))}] "
                f"at [{', '.join(map(str, node.index))}] {guard} {node.body} | "
                + ", ".join(_read_text(r, number) for r in node.reads)
            )
        case Scan():
            groups = [",".join(f"%{number[n]}" for n in group) for group in (node.init, node.sequences, node.constants)]
            return f"scan {shape} {node.step.key} {groups} length {node.length} out {node.output} {node.reverse}"
        case Kernel():
            operands = ", ".join(f"%{number[n]}" for n in node.operands)
            return f"kernel {shape} {node.name}({operands}) {node.attributes!r} out {node.output}"
    raise TypeError(f"unknown node kind {type(node).__name__}")


def serialise(graph: Graph) -> list[str]:
    """The graph as text lines, deterministic: the structural digest is taken over them."""
    number = {n: k for k, n in enumerate(graph.nodes)}
    for extra in graph.inputs:
        number.setdefault(extra, len(number))
    lines = [f"%{k} = {node_text(n, number)}" for n, k in number.items()]
    lines.append("inputs " + " ".join(f"{n.name}" for n in graph.inputs))
    lines.append("outputs " + " ".join(f"{name}=%{number[n]}" for name, n in zip(graph.output_names, graph.outputs)))
    lines += [f"condition {r} {r.error} {r.message}" for r in graph.conditions]
    if graph.states:
        lines.append("states " + " ".join(f"{old}->{new}" for old, new in graph.states))
    return lines


def dim_names(inputs: Iterable[Any]) -> tuple[str, ...]:
    """The named dimensions, in the order in which the shapes of the inputs mention them."""
    found: dict[str, None] = {}
    for node in inputs:
        for extent in node.shape:
            if not isinstance(extent, int):
                found.update(dict.fromkeys(sorted(s.name for s in extent.free_symbols)))
    return tuple(found)
