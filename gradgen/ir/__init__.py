"""The intermediate representation: dtypes, scalar functions, nodes, graphs, and ways to look at them."""

from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Graph, Location, topological
from gradgen.ir.guards import ALWAYS, Condition, Guard, conjunction, in_range
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Read, Scan, Scatter, identity_read, map_node
from gradgen.ir.symbols import Axis, Dim, Extent, Placeholder, ReduceAxis, axes, axis, dim, placeholder, reduce_axes

__all__ = [
    "ALWAYS", "Axis", "Compute", "Condition", "Constant", "DType", "Dim", "Extent", "Graph", "Guard", "Input", "Kernel",
    "Location", "Node", "Placeholder", "Read", "ReduceAxis", "Scan", "Scatter", "axes", "axis", "conjunction", "dim",
    "identity_read", "in_range", "map_node", "placeholder", "reduce_axes", "topological",
]
