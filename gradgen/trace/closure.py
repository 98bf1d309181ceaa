"""Functions as graphs: what a Python function computes from its tensors, and which tensors it uses from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradgen.eager.apply as recording
from gradgen.eager.drawing import Source, current, drawing_from
from gradgen.eager.modes import enable_grad, state
from gradgen.eager.tensor import Tensor
from gradgen.errors import TraceError
from gradgen.ir.draws import STATE
from gradgen.ir.graph import Graph, topological, topological_until
from gradgen.ir.nodes import Input, Node
from gradgen.ir.rewrite import substitute, with_sources
from gradgen.ir.symbols import Extent
from gradgen.ops.registry import Op
from gradgen.record.lowering import lower, plan_of
from gradgen.record.records import Record, symbol_leaf
from gradgen.trace.border import Border


def flatten(tree: Any) -> tuple[list[Tensor], Any]:
    """The tensors of nested tuples, lists and dicts, and the nesting."""
    if tree is None:
        return [], None
    if isinstance(tree, Tensor):
        return [tree], Tensor
    if isinstance(tree, dict):
        parts = [(k, flatten(v)) for k, v in tree.items()]
        return [t for _, (ts, _) in parts for t in ts], {k: inner for k, (_, inner) in parts}
    if isinstance(tree, (tuple, list)):
        items = [flatten(v) for v in tree]
        return [t for ts, _ in items for t in ts], (type(tree), [inner for _, inner in items])
    raise TraceError(f"expected a tensor, or a tuple, list or dict of tensors, not {type(tree).__name__}")


def unflatten(tree: Any, values: Sequence[Any]) -> Any:
    """The inverse of `flatten`."""
    return _take(tree, iter(values))


def _take(tree: Any, values: Any) -> Any:
    if tree is None:
        return None
    if tree is Tensor:
        return next(values)
    if isinstance(tree, dict):
        return {k: _take(v, values) for k, v in tree.items()}
    kind, items = tree
    parts = [_take(v, values) for v in items]
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def symbol(name: str, shape: Sequence[Extent], like: Tensor | Node, gradient: bool | None = None) -> Tensor:
    """A symbolic tensor of `like`'s dtype, for tracing inside a trace or eager code.

    Inputs of equal name, shape and dtype are one node: inside of other functions the name says how deep, since what is
    traced here may use the symbols of those around it.
    """
    border: Border = state.border
    gradient = like.dtype.is_floating_point if gradient is None else gradient
    if border.outer is not None:
        name = f"{name}_depth{border.depth}"
    record = symbol_leaf(Input(name, tuple(shape), like.dtype, gradient), requires_grad=gradient)
    return border.argument(Tensor._from_record(record))


_operations: dict[str, Op] = {}


def operation(name: str, lower_nodes: Callable[..., Any], grad_name: str, outputs: int) -> Op:
    """The operation of that name; `name` decides what it lowers to, so that equal ones are one object."""
    found = _operations.get(name)
    if found is None:
        if len(_operations) > 4096:
            _operations.clear()
        found = _operations[name] = Op(name, lower_nodes, grad_name, outputs=outputs)
    return found


def closed_graph(own: Sequence[Record], outputs: Sequence[Record], border: Border) -> tuple[Graph, list[Tensor]]:
    """What made `outputs` as a Graph whose inputs are `own`, then the tensors from outside, which are returned too."""
    order, leaves = plan_of(outputs)
    numbers = {r for r in leaves if (r.is_scalar or r.is_phantom) and r.value is not None}
    nodes, where = lower(order, leaves, numbers=numbers)
    known = set(own)
    outside = [r for r in leaves if r not in known and r not in numbers]
    inputs = (*(r.symbol for r in own), *(nodes[r] for r in outside))
    names = tuple(f"output{k}" for k in range(len(outputs)))
    graph = Graph(inputs, tuple(nodes[r] for r in outputs), names, where)  # type: ignore[arg-type]
    return graph, [border.entered[r] if r in border.entered else Tensor._from_record(r) for r in outside]


def hoisted(graph: Graph, outside: Sequence[Tensor], own: int) -> tuple[Graph, list[Tensor]]:
    """The graph with what depends on none of its first `own` inputs computed before: further inputs, and tensors for them."""
    dependent: set[Node] = set(graph.inputs[:own])
    computed: dict[Node, None] = {}
    for node in graph.nodes:
        if any(s in dependent for s in node.sources):
            dependent.add(node)
    for node in graph.nodes:
        for s in node.sources if node in dependent else ():
            if s not in dependent and s.sources:
                computed[s] = None
    computed.update(dict.fromkeys(n for n in graph.outputs if n not in dependent and n.sources))
    frontier = [n for n in computed if any(isinstance(s, Input) for s in topological((n,)))]
    if not frontier:
        return graph, list(outside)
    entered = graph.inputs[own:]
    before = Graph(entered, tuple(frontier), tuple(f"output{k}" for k in range(len(frontier))))

    def lowered(*nodes: Node) -> Any:
        found = substitute(frontier, dict(zip(entered, nodes)))
        return found if len(found) > 1 else found[0]

    made = recording.apply(operation(f"hoisted_{before.key[:24]}", lowered, "HoistedBackward", len(frontier)), tuple(outside))
    tensors = made if isinstance(made, tuple) else (made,)
    depth = 0 if state.border is None else state.border.depth + 1
    symbols = [Input(f"hoisted{k}_depth{depth}", n.shape, n.dtype, n.dtype.is_floating_point) for k, n in enumerate(frontier)]
    new: dict[Node, Node] = dict(zip(frontier, symbols))
    for node in topological_until(graph.outputs, set(frontier)):
        if node not in new:
            new[node] = with_sources(node, new) if node.sources else node
    outputs = tuple(new[n] for n in graph.outputs)
    needed = set(topological(outputs))
    kept = [(n, t) for n, t in zip(entered, outside) if n in needed]
    where = {new[n]: line for n, line in graph.where.items() if n in new and not isinstance(new[n], Input)}
    inputs = (*graph.inputs[:own], *(n for n, _ in kept), *symbols)
    return Graph(inputs, outputs, graph.output_names, where), [*(t for _, t in kept), *tensors]


def capture(
    function: Callable[..., Any], tensors: Sequence[Tensor], shapes: Sequence[Sequence[Extent]], tree: Any, name: str,
    source: Source | None = None,
) -> tuple[Graph, list[Tensor], Any]:
    """Runs `function` on symbolic tensors of the given shapes (nested as `tree`, its positional arguments).

    Random numbers come from `source`; where that has no state yet, its state is one more input of the graph.
    Returns its Graph, the tensors it uses from outside (further inputs of the graph), and the nesting of its result.
    """
    source = source or current()
    border = Border(function)
    border.transform = name
    with border, enable_grad(), drawing_from(source):
        symbols = [symbol(f"{name}_{k}", shape, t) for k, (t, shape) in enumerate(zip(tensors, shapes))]
        own = [t._record for t in symbols]
        if source.make is None:
            source.state = symbol(f"{name}_random", (2,), STATE)
        outputs, out_tree = flatten(function(*unflatten(tree, symbols)))
        results = [border.result(t) for t in outputs]
        border.arguments_unchanged(symbols, own, [f"{k}" for k in range(len(symbols))])
        border.audit(outputs)
    if source.make is None and source.state is not None and source.count:
        own.append(source.state._record)
    graph, outside = closed_graph(own, results, border)
    return graph, outside, out_tree
