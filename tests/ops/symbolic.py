"""The public functions run over bare graph nodes: no Tensor, no engine, no compiler.

A `Symbolic` carries a node; calling an operation on it promotes dtypes, lowers, and gives Symbolics.  So a public
function
becomes a graph, which the reference interpreter evaluates and autodiff differentiates.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np

from gradgen.autodiff import gradients
from gradgen.frontend.ops import table
from gradgen.frontend.registry import FLOAT, KEEP, cast
from gradgen.ir import dtypes
from gradgen.ir.nodes import Constant, Input, Node
from gradgen.reference.interpreter import evaluate

from .cases import Case, cotangent


class Symbolic:
    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def shape(self) -> tuple[Any, ...]:
        return tuple(self.node.shape)

    @property
    def dtype(self) -> Any:
        return self.node.dtype

    @property
    def ndim(self) -> int:
        return self.node.ndim

    def dim(self) -> int:
        return self.node.ndim

    def numel(self) -> Any:
        return int(np.prod(self.shape))

    def to(self, dtype: Any) -> Symbolic:
        from gradgen.frontend.ops.shape import to_dtype

        return to_dtype(self, dtype)

    def detach(self) -> Symbolic:
        from gradgen.frontend.engine import stopped

        return Symbolic(stopped(self.node))

    def __getattr__(self, name: str) -> Any:
        if name in table.PROPERTIES:
            return table.PROPERTIES[name](self)
        if name in table.METHODS:
            return lambda *args, **kwargs: table.METHODS[name](self, *args, **kwargs)
        raise AttributeError(name)

    def size(self, dim: int) -> Any:
        return self.shape[dim]

    def __iter__(self) -> Any:
        return iter(self.unbind(0))


def _dunder(name: str) -> Any:
    return lambda self, *args: table.METHODS[name](self, *args)


def _attach_operators() -> None:
    for name in table.METHODS:
        if name.startswith("__") and name != "__hash__":
            setattr(Symbolic, name, _dunder(name))
    Symbolic.__hash__ = object.__hash__  # type: ignore[method-assign]


_attach_operators()


def _number(value: Any) -> Any:
    return dtypes.bool_ if isinstance(value, bool) else dtypes.int64 if isinstance(value, int) else dtypes.float32


def result_type(operands: tuple[Any, ...]) -> Any:
    """torch.result_type, written again from its documentation: dimensioned tensors, then 0-d ones, then numbers."""
    levels: list[Any] = [None, None, None]
    for x in operands:
        level, kind = (0 if x.ndim else 1, x.dtype) if isinstance(x, Symbolic) else (2, _number(x))
        levels[level] = kind if levels[level] is None else dtypes.promote(levels[level], kind)
    result = None
    for kind in levels:
        if kind is not None and (result is None or kind.category > result.category):
            result = kind
    return result


def record(op: Any, operands: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
    """What gradgen.frontend.apply does, over nodes."""
    common = None if op.rule == KEEP else result_type(operands)
    if op.rule == FLOAT and not common.is_floating_point:
        common = dtypes.float32
    nodes = []
    for x in operands:
        if isinstance(x, Symbolic):
            nodes.append(cast(x.node, common) if common else x.node)
        else:
            nodes.append(Constant(x, common or _number(x)))
    hash(tuple(sorted(attributes.items())))  # attributes are keys
    found = op.lower(*nodes, **attributes)
    return tuple(Symbolic(n) for n in found) if op.outputs != 1 else Symbolic(found)


@contextmanager
def symbolic_operations() -> Any:
    """Within, public functions take and give Symbolics."""
    before = table._recorder, table._tensor_type
    table._recorder, table._tensor_type = (lambda: record), (lambda: Symbolic)  # type: ignore[assignment]
    try:
        yield
    finally:
        table._recorder, table._tensor_type = before


def function(path: str) -> Any:
    namespace, _, name = path.rpartition(".")
    return table.FUNCTIONS[namespace][name]


def flat(results: Any) -> list[Any]:
    """Tensors of a result in order, other values left out."""
    if isinstance(results, (tuple, list)):
        return [x for r in results for x in flat(r)]
    return [results] if hasattr(results, "dtype") else []


class Outcome:
    """Values, first and second derivatives of one case; a missing derivative is None."""

    def __init__(self, values: list[np.ndarray], first: list[Any], second: list[Any]) -> None:
        self.values, self.first, self.second = values, first, second


def run(case: Case, order: int = 2) -> Outcome:
    """Our value and derivatives, by the interpreter."""
    given: dict[Node, np.ndarray] = {}
    wrt: list[Node] = []

    def tensor(array: np.ndarray, wants: bool) -> Symbolic:
        node = Input(f"x{len(given)}", array.shape, dtypes.dtype(array.dtype), wants)
        given[node] = array
        if wants:
            wrt.append(node)
        return Symbolic(node)

    with symbolic_operations():
        args, kwargs = case.arguments(tensor)
        outputs = [s.node for s in flat(function(case.path)(*args, **kwargs))]
    values = evaluate(outputs, given)
    if not wrt or not case.sample.differentiable:
        return Outcome(values, [], [])
    smooth = [(k, n) for k, n in enumerate(outputs) if n.dtype.is_floating_point]
    seeds = [Constant(cotangent(n.shape, n.dtype.name, k), n.dtype) for k, n in smooth]
    found = gradients([n for _, n in smooth], seeds, wrt)
    second: list[Any] = []
    if order > 1:
        present = [(k, g) for k, g in enumerate(found) if g is not None]
        directions = [Constant(cotangent(g.shape, g.dtype.name, 7 + k), g.dtype) for k, g in present]
        second = gradients([g for _, g in present], directions, wrt)
    wanted = [g for g in (*found, *second) if g is not None]
    numbers = dict(zip(wanted, evaluate(wanted, given)))
    return Outcome(values, [g and numbers[g] for g in found], [g and numbers[g] for g in second])


def value_at(case: Case, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs with the differentiated arguments replaced, for finite differences."""
    given: dict[Node, np.ndarray] = {}
    left = iter(arrays)

    def tensor(array: np.ndarray, wants: bool) -> Symbolic:
        node = Input(f"x{len(given)}", array.shape, dtypes.dtype(array.dtype), wants)
        given[node] = next(left) if wants else array
        return Symbolic(node)

    with symbolic_operations():
        args, kwargs = case.arguments(tensor)
        outputs = [s.node for s in flat(function(case.path)(*args, **kwargs)) if s.dtype.is_floating_point]
    return evaluate(outputs, given)
