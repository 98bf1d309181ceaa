"""The forward and backward graphs of a module, and what the one keeps for the other.

`differentiate` adds cotangent inputs and gradient nodes to a forward graph; `saved_nodes` decides which forward values
backward reads from SAVED and which it computes again: a value is recomputed where that needs no more saved bytes and
costs no more than loading it would.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradgen.autodiff.bodies import partial
from gradgen.autodiff.recompute import kept_values
from gradgen.autodiff.reverse import gradients
from gradgen.ir.graph import Graph, Location, topological
from gradgen.ir.nodes import Compute, Constant, Input, Node, Scatter
from gradgen.ir.rewrite import substitute
from gradgen.ir.scalar_table import NoDerivative
from gradgen.target import NATIVE, Target


@dataclass(frozen=True, eq=False)
class Joint:
    """`gradients[k]` belongs to `parameters[k]`; `seeds` are the cotangents of `outputs` that have one.

    A cotangent is an Input named grad_<output>.  `where` covers forward and backward nodes.
    """

    graph: Graph
    parameters: tuple[Input, ...]
    seeds: tuple[tuple[str, Node], ...]
    gradients: tuple[Node | None, ...]
    where: Mapping[Node, Location] = field(default_factory=dict)


def differentiable_outputs(graph: Graph, parameters: Sequence[Node]) -> tuple[int, ...]:
    """Positions of the floating outputs that depend on one of `parameters` through differentiable nodes."""
    wanted = set(parameters)
    reached: set[Node] = set()
    for node in graph.nodes:
        if node.dtype.is_floating_point and (node in wanted or any(s in reached for s in _differentiated(node))):
            reached.add(node)
    return tuple(k for k, n in enumerate(graph.outputs) if n in reached)


def _differentiated(node: Node) -> list[Node]:
    """The sources that a derivative of the node goes on to: not those whose partial is zero everywhere."""
    if not isinstance(node, (Compute, Scatter)):
        return [s for s in node.sources if s.dtype.is_floating_point]
    found = [
        read.source for k, read in enumerate(node.reads)
        if read.dtype.is_floating_point and _flows(node, k)
    ]
    if isinstance(node, Scatter) and node.base is not None:
        found.append(node.base)
    return found


def _flows(node: Compute | Scatter, k: int) -> bool:
    try:
        return bool(partial(node.body, k, False) != 0)
    except NoDerivative:  # the error is for whoever asks for the derivative
        return True


def gradient_reach(graph: Graph) -> set[Node]:
    """The nodes that the derivative of some floating output reaches: a partial that is zero everywhere stops it."""
    reached = {n for n in graph.outputs if n.dtype.is_floating_point}
    for node in reversed(graph.nodes):
        if node in reached:
            reached.update(_differentiated(node))
    return reached


def with_unit_seed(joint: Joint) -> Joint:
    """The joint with the constant 1 in place of the cotangents of scalar outputs."""
    ones = {seed: Constant(1, seed.dtype) for _, seed in joint.seeds if not seed.shape}
    found = [g for g in joint.gradients if g is not None]
    new = dict(zip(found, substitute(found, ones)))
    where = dict(joint.where)
    for old, node in _paired(found, new.values()):
        if old in joint.where:
            where.setdefault(node, joint.where[old])
    return replace(
        joint,
        seeds=tuple((name, ones.get(seed, seed)) for name, seed in joint.seeds),
        gradients=tuple(None if g is None else new[g] for g in joint.gradients),
        where=where,
    )


def _paired(old: Sequence[Node], new: Iterable[Node]) -> Iterable[tuple[Node, Node]]:
    """Nodes of two graphs of the same structure, in step."""
    return zip(topological(old), topological(new), strict=False)


def differentiate(
    graph: Graph, parameters: Sequence[Input], *, nan_safe: bool = False, target: Target = NATIVE
) -> Joint:
    """Gradients of all differentiable outputs with respect to `parameters`."""
    positions = differentiable_outputs(graph, parameters)
    outputs = [graph.outputs[k] for k in positions]
    seeds: list[tuple[str, Node]] = []
    for k in positions:
        node = graph.outputs[k]
        seed = Input(f"grad_{graph.output_names[k]}", node.shape, node.dtype)
        seeds.append((graph.output_names[k], seed))
    lines = dict(graph.where)
    found = gradients(
        outputs, [s for _, s in seeds], parameters, where=graph.where, found=lines, nan_safe=nan_safe, target=target
    )
    return Joint(graph, tuple(parameters), tuple(seeds), tuple(found), lines)


# --- saved values ---------------------------------------------------------------------------------------------------------


def saved_nodes(joint: Joint, held: Collection[Node] = ()) -> tuple[Node, ...]:
    """The forward values that backward will find in SAVED, in forward order; the inputs `held` are gone by then."""
    forward = joint.graph.nodes
    inside = set(forward)
    wanted: set[Node] = set()
    for node in topological([g for g in joint.gradients if g is not None]):
        if node in inside:
            continue
        wanted.update(s for s in node.sources if s in inside)
    wanted.update(g for g in joint.gradients if g is not None and g in inside)
    return kept_values(forward, wanted, costly=held)
