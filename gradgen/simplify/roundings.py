"""Values of storage types (`DType.wider`) are computed in a wider type, and rounded once when a node is done."""

from __future__ import annotations

from gradgen.ir.nodes import Compute, Kernel, Node, Scatter, map_node
from gradgen.ir.symbols import Placeholder, placeholder


def compute_wider(node: Node) -> Node:
    """What the node computes, in wider types.  Bodies read stored values as they are: `schedule/scalars.py` widens them."""
    wide = node.dtype.compute
    match node:
        case Compute() if wide is not node.dtype and not (isinstance(node.body, Placeholder) and node.reducer is None):
            made: Node = Compute(node.shape, node.body, node.reads, wide, reduce_shape=node.reduce_shape,
                                 reducer=node.reducer)
        case Scatter() if wide is not node.dtype:
            base = None if node.base is None else _as(node.base)
            made = Scatter(node.shape, base, node.update_shape, node.index, node.body, node.reads, wide, mode=node.mode,
                           guard=node.guard)
        case Kernel() if any(n.dtype.wider for n in node.operands):
            made = Kernel(node.name, [_as(n) for n in node.operands], node.attributes, node.shape, wide, node.output)
        case _:
            return node
    return made if wide is node.dtype else map_node(placeholder(0), [made], node.dtype)


def _as(node: Node) -> Node:
    return map_node(placeholder(0), [node], node.dtype.compute) if node.dtype.wider else node
