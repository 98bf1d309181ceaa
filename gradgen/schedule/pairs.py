"""Pairs: a sum over a product of three or more factors is done two factors at a time, in the cheapest order.

`sum_kl x[n,k] y[n,l] w[o,k,l]` takes N O K L multiplications as one sum; over l first it is a matrix product and a short
sum.  (The order of contraction of a tensor network: Pfeifer, Haegeman & Verstraete, Faster identification of optimal
contraction sequences, Physical Review E 90, 033315, 2014; here all orders are tried, factors being few.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import sympy

from gradgen.ir.graph import topological_until
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.rewrite import with_sources
from gradgen.ir.symbols import Axis, Extent, Placeholder, ReduceAxis, axes, placeholder, reduce_axes
from gradgen.loops.procedure import Procedure
from gradgen.schedule.unfold import SMALLEST_PRODUCT, mentioned_axes

MOST_FACTORS = 5  # all orders are tried: 180 for five
GAIN = 1.5  # times fewer multiplications than in one sum
MANY = 64  # what a named dimension counts as

Symbol = Axis | ReduceAxis


@dataclass(frozen=True)
class Factor:
    """An operand and the axes that it mentions."""

    read: Read
    own: frozenset[Symbol]


def in_pairs(procedure: Procedure) -> Procedure:
    """The procedure with such sums taken apart."""
    given = set(procedure.given)
    new: dict[Node, Node] = {n: n for n in given}
    where = dict(procedure.where)
    for node in topological_until(tuple(o.node for o in procedure.outputs), given):
        if node in new:
            continue
        made = with_sources(node, new) if node.sources else node
        steps = _steps(made) if isinstance(made, Compute) else []
        new[node] = steps[-1] if steps else made
        if node in where:
            for n in steps or [made]:
                where.setdefault(n, where[node])
    if all(new[o.node] is o.node for o in procedure.outputs):
        return procedure
    return replace(procedure, outputs=tuple(replace(o, node=new[o.node]) for o in procedure.outputs), where=where)


def _steps(node: Compute) -> list[Node]:
    """The sums of two factors that the node becomes, the last one being its value; none where it stays as it is."""
    if node.reducer != "sum" or not node.dtype.is_floating_point or len(node.reads) < 3:
        return []
    number, product = node.body.as_coeff_Mul()
    factors = _factors(node, product)
    if factors is None:
        return []
    shapes: dict[Symbol, Extent] = dict(zip((*axes(node.ndim), *reduce_axes(len(node.reduce_shape))),
                                            (*node.shape, *node.reduce_shape)))
    extents: dict[Symbol, int] = {s: _count(e) for s, e in shapes.items()}
    kept: frozenset[Symbol] = frozenset(axes(node.ndim))
    direct = _product(frozenset(extents), extents) * (len(factors) - 1)
    order = _cheapest(tuple(f.own for f in factors), kept, extents)
    if direct < SMALLEST_PRODUCT or order.cost * GAIN > direct:
        return []
    steps: list[Node] = []
    left = list(factors)
    for k, (i, j) in enumerate(order.pairs):
        b, a = left.pop(j), left.pop(i)
        last = k == len(order.pairs) - 1
        later = kept.union(*(f.own for f in left)) if left else kept
        out = list(axes(node.ndim)) if last else [s for s in shapes if s in a.own | b.own and s in later]
        steps.append(_sum_of_two(node, a.read, b.read, out, a.own | b.own, shapes))
        left.insert(i, Factor(Read(steps[-1], out), frozenset(out)))
    if number != 1:
        steps.append(Compute(node.shape, number * placeholder(0), [Read(steps[-1], axes(node.ndim))], node.dtype))
    return steps


def _factors(node: Compute, product: sympy.Expr) -> list[Factor] | None:
    """The operands, each a factor once, with plain indices and zeros outside of their guards."""
    args = sympy.Mul.make_args(product)
    if len(args) != len(node.reads) or len(args) > MOST_FACTORS or not all(isinstance(a, Placeholder) for a in args):
        return None
    found = []
    for read in node.reads:
        own = mentioned_axes(read)
        if own is None or read.dtype is not node.dtype or (read.guard and read.fill != 0):
            return None
        found.append(Factor(read, frozenset(own)))
    return found


def _sum_of_two(
    node: Compute, a: Read, b: Read, out: list[Symbol], own: frozenset[Symbol], shapes: Mapping[Symbol, Extent]
) -> Compute:
    summed = [s for s in shapes if s in own and s not in out]
    names: dict[sympy.Expr, sympy.Expr] = dict(zip((*out, *summed), (*axes(len(out)), *reduce_axes(len(summed)))))
    reads = [Read(r.source, [e.xreplace(names) for e in r.index], tuple(c.substitute(names) for c in r.guard))
             for r in (a, b)]
    shape, body = [shapes[s] for s in out], placeholder(0) * placeholder(1)
    if not summed:
        return Compute(shape, body, reads, node.dtype)
    return Compute(shape, body, reads, node.dtype, reduce_shape=[shapes[s] for s in summed], reducer="sum")


@dataclass(frozen=True)
class Order:
    """Which two of the factors that are left go together, step by step; `memory` counts what is in between."""

    cost: int
    memory: int
    pairs: tuple[tuple[int, int], ...]


def _cheapest(own: tuple[frozenset[Symbol], ...], kept: frozenset[Symbol], extents: Mapping[Symbol, int]) -> Order:
    if len(own) == 1:
        return Order(0, 0, ())
    best: Order | None = None
    for i in range(len(own)):
        for j in range(i + 1, len(own)):
            rest = [f for k, f in enumerate(own) if k not in (i, j)]
            together = own[i] | own[j]
            result = together & kept.union(*rest)
            after = _cheapest((*rest[:i], result, *rest[i:]), kept, extents)
            found = Order(after.cost + _product(together, extents), after.memory + _product(result, extents),
                          ((i, j), *after.pairs))
            if best is None or (found.cost, found.memory) < (best.cost, best.memory):
                best = found
    assert best is not None
    return best


def _product(symbols: frozenset[Symbol], extents: Mapping[Symbol, int]) -> int:
    total = 1
    for s in symbols:
        total *= extents[s]
    return total


def _count(extent: Extent) -> int:
    return extent if isinstance(extent, int) else MANY


__all__ = ["in_pairs"]
