"""Functions as graphs: what a Python function computes from its tensors, and which tensors it uses from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gradgen.errors import TraceError
from gradgen.frontend.engine import lower, plan_of
from gradgen.frontend.modes import state
from gradgen.frontend.record import Record, symbol_leaf
from gradgen.frontend.registry import Op
from gradgen.frontend.tensor import Tensor
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Input
from gradgen.ir.symbols import Extent


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


def symbol(name: str, shape: Sequence[Extent], like: Tensor) -> Tensor:
    """A symbolic tensor of `like`'s dtype, for tracing inside a trace or eager code.

    Inputs of equal name, shape and dtype are one node: inside of other functions the name says how deep, since what is
    traced here may use the symbols of those around it.
    """
    gradient = like.dtype.is_floating_point
    if state.captures:
        name = f"{name}_depth{len(state.captures)}"
    return Tensor._from_record(symbol_leaf(Input(name, tuple(shape), like.dtype, gradient), requires_grad=gradient))


@contextmanager
def capturing() -> Iterator[dict[Record, Tensor]]:
    """Collects which tensor each record came from while operations are recorded: a record does not know its tensor,
    and with it its place in autograd's history."""
    seen: dict[Record, Tensor] = {}
    before = state.captures
    state.captures = (*before, seen)
    try:
        yield seen
    finally:
        state.captures = before


_operations: dict[str, Op] = {}


def operation(name: str, lower_nodes: Callable[..., Any], grad_name: str, outputs: int) -> Op:
    """The operation of that name; `name` decides what it lowers to, so that equal ones are one object."""
    found = _operations.get(name)
    if found is None:
        if len(_operations) > 4096:
            _operations.clear()
        found = _operations[name] = Op(name, lower_nodes, grad_name, outputs=outputs)
    return found


def closure_graph(
    inner: Sequence[Tensor], outputs: Sequence[Tensor], seen: Mapping[Record, Tensor]
) -> tuple[Graph, list[Tensor]]:
    """What made `outputs` as a Graph whose inputs are `inner`, then the tensors from outside, which are returned too."""
    own = [t._record for t in inner]
    known = set(own)
    order, _ = plan_of([t._record for t in outputs])
    dependent: set[Record] = set(own)
    for record in order:
        if any(s in dependent for s in record.inputs):
            dependent.add(record)
    outside: dict[Record, None] = {}
    for record in order:
        if record in dependent and record not in known:
            outside.update(dict.fromkeys(s for s in record.inputs if s not in dependent))
    outside.update(dict.fromkeys(t._record for t in outputs if t._record not in dependent))
    numbers = {r for r in outside if (r.is_scalar or r.is_phantom) and r.value is not None}
    constants = [r for r in outside if r not in numbers]
    inside = [r for r in order if r in dependent]
    leaves = [*own, *constants, *numbers_in_order(outside, numbers)]
    nodes, where = lower([*leaves, *inside], leaves, numbers=numbers)
    inputs = tuple(nodes[r] for r in (*own, *constants))
    names = tuple(f"output{k}" for k in range(len(outputs)))
    graph = Graph(inputs, tuple(nodes[t._record] for t in outputs), names, where)  # type: ignore[arg-type]
    by_record = {**{t._record: t for t in outputs}, **seen}
    return graph, [by_record[r] if r in by_record else Tensor._from_record(r) for r in constants]


def numbers_in_order(outside: dict[Record, None], numbers: set[Record]) -> list[Record]:
    """Python numbers among the outside records: constants of the graph."""
    return [r for r in outside if r in numbers]


def capture(
    function: Callable[..., Any], tensors: Sequence[Tensor], shapes: Sequence[Sequence[Extent]], tree: Any, name: str
) -> tuple[Graph, list[Tensor], Any]:
    """Runs `function` on symbolic tensors of the given shapes (nested as `tree`, its positional arguments).

    Returns its Graph, the tensors it uses from outside (further inputs of the graph), and the nesting of its result.
    """
    symbols = [symbol(f"{name}_{k}", shape, t) for k, (t, shape) in enumerate(zip(tensors, shapes))]
    arguments = unflatten(tree, symbols)
    with capturing() as seen:
        result = function(*arguments)
    outputs, out_tree = flatten(result)
    graph, outside = closure_graph(symbols, outputs, seen)
    return graph, outside, out_tree
