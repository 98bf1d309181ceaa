"""Making a graph of known shapes serve all shapes alike: extents become dimensions given at run time.

Every number from 3 on that is an extent or part of an index or guard becomes a Dim; equal numbers become the same one,
so that two graphs share code exactly when they have the same structure and the same pattern of equal numbers.  In bodies
only `extent(n)` is lifted: other numbers there are mathematics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import sympy

from gradgen.ir.functions import extent as extent_function
from gradgen.ir.graph import topological_until
from gradgen.ir.guards import Condition
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Read, Scan, Scatter
from gradgen.ir.symbols import Dim, Extent, dim

SMALLEST = 3


@dataclass
class Generalised:
    """`nodes` maps old nodes to new ones; `values[k]` is what Dim d<k> stood for."""

    nodes: dict[Node, Node] = field(default_factory=dict)
    numbers: dict[int, Dim] = field(default_factory=dict)

    @cached_property
    def values(self) -> tuple[int, ...]:
        return tuple(self.numbers)

    def lift(self, value: Extent) -> Extent:
        if not isinstance(value, int) or value < SMALLEST:
            return value
        found = self.numbers.get(value)
        if found is None:
            found = self.numbers[value] = dim(f"d{len(self.numbers)}")
        return found

    def shape(self, shape: Sequence[Extent]) -> tuple[Extent, ...]:
        return tuple(self.lift(e) for e in shape)

    def index(self, expr: sympy.Expr) -> sympy.Expr:
        """The expression with its numbers lifted."""
        if expr.is_Integer:
            n = int(expr)
            lifted = self.lift(abs(n))
            return expr if isinstance(lifted, int) else (lifted if n > 0 else -lifted)
        if not expr.args:
            return expr
        args = [self.index(a) for a in expr.args]
        return expr if all(a is b for a, b in zip(args, expr.args)) else expr.func(*args)

    def body(self, body: sympy.Expr) -> sympy.Expr:
        if not body.has(extent_function):
            return body
        return body.replace(
            lambda e: isinstance(e, extent_function), lambda e: sympy.sympify(self.index(e.args[0]))
        )

    def read(self, read: Read) -> Read:
        return Read(self.nodes[read.source], [self.index(e) for e in read.index], self.guard(read.guard), read.fill)

    def guard(self, guard: Sequence[Condition]) -> tuple[Condition, ...]:
        return tuple(Condition(c.kind, self.index(c.expr), self.lift(c.modulus) if isinstance(c.modulus, int)
                               else self.index(c.modulus)) for c in guard)


def generalise(outputs: Iterable[Node], given: Sequence[Node]) -> Generalised | None:
    """The graph above `given` with numbers lifted; None where it holds a node whose meaning fixes its sizes."""
    result = Generalised()
    stop = set(given)
    for k, node in enumerate(given):
        if not isinstance(node, Input):
            result.nodes[node] = Input(f"v{k}", result.shape(node.shape), node.dtype)
        else:
            result.nodes[node] = Input(node.name, result.shape(node.shape), node.dtype)
    for node in topological_until(tuple(outputs), stop):
        if node in result.nodes:
            continue
        match node:
            case Compute():
                result.nodes[node] = Compute(
                    result.shape(node.shape), result.body(node.body), [result.read(r) for r in node.reads], node.dtype,
                    reduce_shape=result.shape(node.reduce_shape), reducer=node.reducer)
            case Scatter():
                result.nodes[node] = Scatter(
                    result.shape(node.shape), node.base and result.nodes[node.base], result.shape(node.update_shape),
                    [result.index(e) for e in node.index], result.body(node.body), [result.read(r) for r in node.reads],
                    node.dtype, mode=node.mode, guard=result.guard(node.guard))
            case Constant() if node.array.size == 1:
                result.nodes[node] = node
            case Kernel():
                operands = [result.nodes[n] for n in node.operands]
                result.nodes[node] = Kernel(
                    node.name, operands, node.attributes, result.shape(node.shape), node.dtype, node.output)
            case Constant() | Input() | Scan():
                return None
    return result
