"""What nodes reach: the proof that every read and write is inside its tensor, and every extent 0 or more.

A read is inside where, for every axis of its source, 0 <= index < extent follows from the ranges of the node's axes, the
read's guard and the conditions on the dimensions.  Where it does not, and no guard stands before it, the worst corner of the
axes turns it into a condition on the dimensions.  Indices read from data are checked at run time (GRADGEN_ERR_INDEX).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import sympy

from gradgen.errors import GradgenError
from gradgen.ir.assumptions import Facts, Requirement, condition_text, facts_of, guard_facts, in_order, plain
from gradgen.ir.evaluation import integer
from gradgen.ir.graph import Graph, Location, topological
from gradgen.ir.guards import GE, Condition, Guard
from gradgen.ir.inequalities import contradictory, proves
from gradgen.ir.nodes import Compute, Node, Read, Scan, Scatter
from gradgen.ir.symbols import Axis, Dim, Extent, Placeholder, ReduceAxis, axes, free_symbols, reduce_axes

Ranges = tuple[tuple[sympy.Symbol, Extent], ...]
MOST_POSITIONS = 1 << 20
"""Positions that are looked at one by one where there is no proof."""

class ReachError(GradgenError):
    """A read, a write or an extent that no condition on the dimensions makes right: a fault of gradgen's own."""


@dataclass(frozen=True, slots=True)
class Obligation:
    """`goal >= 0` wherever the axes are in range, `facts` hold and there is an element to compute.

    `extent`: what has to be greater than `goal`'s index, for words; None where the goal is an extent itself.
    """

    node: Node
    goal: sympy.Expr
    ranges: Ranges = ()
    facts: Facts = ()
    guarded: bool = False
    what: str = "an extent"

    @property
    def assumed(self) -> Facts:
        return (*self.facts, *(sympy.sympify(extent) - 1 - s for s, extent in self.ranges))


def with_conditions(graph: Graph) -> Graph:
    """The graph with all its conditions: those it has, and after them what is still unproved.

    Raises ReachError where something is wrong whatever the dimensions are.
    """
    found = list(in_order(graph.conditions))
    for obligation in obligations(graph.nodes):
        facts = facts_of(found)
        if not _discharged(obligation, facts):
            found.append(replace(_required(obligation, facts), where=graph.where.get(obligation.node)))
    return replace(graph, conditions=tuple(found))


def check_reach(outputs: Iterable[Node], conditions: Iterable[Requirement]) -> None:
    """Raises ReachError for the first thing that the conditions do not cover."""
    facts = facts_of(conditions)
    for obligation in obligations(topological(outputs)):
        if not _discharged(obligation, facts):
            raise _fault(obligation)


def _discharged(obligation: Obligation, facts: Facts) -> bool:
    known = (*facts, *obligation.assumed)
    if proves(known, obligation.goal):
        return True
    corner = _without_free_axes(obligation)
    return (corner != obligation.goal and proves(known, corner)) or _tried(obligation)


def _without_free_axes(obligation: Obligation) -> sympy.Expr:
    """The goal at the worst place of the axes that stand in it with a number in front and nowhere else: whole numbers are
    rounded where rational proofs cannot."""
    goal = obligation.goal
    for symbol, extent in obligation.ranges:
        slope = goal.coeff(symbol, 1)
        if slope.is_Integer and slope != 0 and not (goal - slope * symbol).has(symbol) \
                and not any(f.has(symbol) for f in obligation.facts):
            goal = sympy.expand(goal.xreplace({symbol: sympy.sympify(extent) - 1 if slope < 0 else sympy.Integer(0)}))
    return goal


def _tried(obligation: Obligation) -> bool:
    """Every position looked at, where all extents are numbers and not too many: beyond what is linear."""
    used = set().union(*(e.free_symbols for e in (obligation.goal, *obligation.facts)))
    sizes = {s: n for s, n in obligation.ranges if s in used}
    if used - set(sizes) or not all(isinstance(n, int) for n in sizes.values()):
        return False
    if math.prod(sizes.values()) > MOST_POSITIONS:  # type: ignore[arg-type]
        return False
    grid = np.ogrid[tuple(slice(n) for n in sizes.values())] if sizes else []
    env = dict(zip(sizes, grid))
    inside = np.all([np.broadcast_to(integer(f, env) >= 0, np.broadcast_shapes(*(g.shape for g in grid)))
                     for f in obligation.facts], axis=0) if obligation.facts else np.bool_(True)
    return bool(np.all((integer(obligation.goal, env) >= 0) | ~inside))


# --- what is to be proved ----------------------------------------------------------------------------------------------


def obligations(nodes: Iterable[Node], known: Facts = ()) -> Iterator[Obligation]:
    """Everything that does not hold by its form alone, once.  `known`: what holds of the dimensions where nodes are used."""
    steps: set[tuple] = set()
    seen: set[tuple] = set()
    for node in nodes:
        for extent in _extents(node):
            yield from _of_extent(node, extent, known)
        match node:
            case Compute():
                ranges = (*zip(axes(node.ndim), node.shape), *zip(reduce_axes(len(node.reduce_shape)), node.reduce_shape))
                yield from _of_reads(node, node.reads, ranges, known, seen)
            case Scatter():
                ranges = tuple(zip(axes(len(node.update_shape)), node.update_shape))
                yield from _of_reads(node, node.reads, ranges, known, seen)
                yield from _of_index(node, node.index, node.shape, node.guard, ranges, known, seen, "a write")
            case Scan() if node.call not in steps:
                steps.add(node.call)
                yield from obligations(node.step.nodes, (*known, sympy.sympify(node.length) - 1))


def _extents(node: Node) -> Sequence[Extent]:
    match node:
        case Compute():
            return (*node.shape, *node.reduce_shape)
        case Scatter():
            return (*node.shape, *node.update_shape)
        case Scan():
            return (*node.shape, node.length)
    return node.shape


def _of_extent(node: Node, extent: Extent, known: Facts) -> Iterator[Obligation]:
    if isinstance(extent, (int, Dim)):
        return
    for division in sorted(extent.atoms(sympy.floor, sympy.ceiling, sympy.Mod), key=str):
        divisor = sympy.fraction(sympy.together(division.args[0]))[1] if len(division.args) == 1 else division.args[1]
        if not divisor.is_positive:
            yield Obligation(node, divisor - 1, facts=known, what="a divisor")
    for factor in sympy.Mul.make_args(extent):
        if not factor.is_nonnegative:
            yield Obligation(node, factor, facts=known)


def _of_reads(node: Node, reads: Sequence[Read], ranges: Ranges, known: Facts, seen: set[tuple]) -> Iterator[Obligation]:
    for read in reads:
        yield from _of_index(node, read.index, read.source.shape, read.guard, ranges, known, seen, "a read")


def _of_index(
    node: Node, index: Sequence[sympy.Expr], shape: Sequence[Extent], guard: Guard, ranges: Ranges, known: Facts,
    seen: set[tuple], what: str,
) -> Iterator[Obligation]:
    """Of one place in a tensor; `seen` are those that were asked before."""
    extents = dict(ranges)
    for e, extent in zip(index, shape):
        own = extents.get(e)
        if own is extent or (own is not None and own == extent):
            continue
        key = (e, extent, guard, ranges)
        if key in seen:
            continue
        seen.add(key)
        symbols = free_symbols(e)
        if any(isinstance(s, Placeholder) for s in symbols):
            continue
        used = {s: extents[s] for s in symbols if s in extents}
        if isinstance(extent, int) and not any(isinstance(s, Dim) for s in symbols) \
                and all(isinstance(n, int) for n in used.values()) and not guard and _inside(e, extent, used):
            continue
        facts = (*known, *guard_facts(guard))
        for goal in (e, sympy.sympify(extent) - 1 - e):
            if not (goal is e and e.is_nonnegative):
                yield Obligation(node, sympy.expand(goal), ranges, facts, bool(guard), what)


def _inside(e: sympy.Expr, extent: int, used: dict[sympy.Symbol, int]) -> bool:
    """True where 0 <= e < extent by the coefficients of a sum over axes; an axis without positions asks nothing."""
    if not all(used.values()):
        return True
    low = high = 0
    for term in sympy.Add.make_args(e):
        coefficient, rest = term.as_coeff_Mul()
        if rest not in used and rest != 1:
            return False
        reach = int(coefficient) * (used[rest] - 1 if rest != 1 else 1)
        low, high = low + (reach if rest == 1 else min(reach, 0)), high + (reach if rest == 1 else max(reach, 0))
    return low >= 0 and high < extent


# --- what is asked where there is no proof -----------------------------------------------------------------------------


def _required(obligation: Obligation, facts: Facts) -> Requirement:
    """The condition on the dimensions that proves the obligation, in words of its own."""
    corner = None if obligation.guarded else _worst_corner(obligation, facts)
    if corner is None or contradictory((*facts, corner)):
        raise _fault(obligation)
    condition = plain(Condition(GE, corner))
    return Requirement(condition, "RuntimeError", _words(obligation, condition))


def _words(obligation: Obligation, condition: Condition) -> tuple[str | sympy.Expr, ...]:
    dims = sorted((s for s in condition.expr.free_symbols), key=str)
    outside = "outside of its tensor" if obligation.ranges else "negative"
    text: list[str | sympy.Expr] = [
        f"{obligation.what} would be {outside}: {condition_text(condition)} does not hold for "]
    for k, d in enumerate(dims):
        text[-1] = f"{text[-1]}{', ' if k else ''}{d} = "
        text += [d, ""]
    return tuple(text)


def _worst_corner(obligation: Obligation, facts: Facts) -> sympy.Expr | None:
    """The goal at the corner of the axes where it is smallest; None where that is not known."""
    goal = obligation.goal
    known = (*facts, *obligation.facts)
    for symbol, extent in reversed(obligation.ranges):
        if not goal.has(symbol):
            continue
        slope = goal.coeff(symbol, 1)
        if sympy.expand(goal - slope * symbol).has(symbol):
            return None
        if not proves(known, slope):
            if not proves(known, -slope):
                return None
            goal = sympy.expand(goal.xreplace({symbol: sympy.sympify(extent) - 1}))
        else:
            goal = sympy.expand(goal.xreplace({symbol: sympy.Integer(0)}))
    return goal if not any(isinstance(s, (Axis, ReduceAxis)) for s in goal.free_symbols) else None


def _fault(obligation: Obligation) -> ReachError:
    node = obligation.node
    ranges = ", ".join(f"{s} < {e}" for s, e in obligation.ranges)
    return ReachError(
        f"{obligation.what} of a {type(node).__name__} {node.dtype.name}{list(node.shape)} is not proved: "
        f"{obligation.goal} >= 0 for {ranges or 'all dimensions'}"
        f"{' where ' + ', '.join(f'{f} >= 0' for f in obligation.facts) if obligation.facts else ''}",
        hint="this is a fault of gradgen: please report it with the function",
    )


__all__ = ["Location", "Obligation", "ReachError", "check_reach", "obligations", "with_conditions"]
