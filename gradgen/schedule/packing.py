"""Packing: a matrix that every step of a recurrence multiplies by is laid out for the kernel once, before the loop.

The product of a matrix and a vector runs fastest along the result: one element of the vector times a row of the matrix'
transpose, added to sums in registers.  Rows are filled up with zeros to whole vectors, so that nothing is left over.
(The packing of Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008, moved out
of the loop.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import sympy

from gradgen.ir.graph import Graph, topological, topological_until
from gradgen.ir.guards import GE, Condition
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Input, Node, Read, Scan
from gradgen.ir.rewrite import substitute, with_sources
from gradgen.ir.symbols import Axis, ReduceAxis, axis, placeholder, reduce_axis
from gradgen.loops.procedure import Procedure
from gradgen.schedule.cost import PC, VECTOR_BYTES, Costs

LEAST_PRODUCT = 64  # multiplications of one row that are worth a call
FEW_STEPS = 8  # steps over which the layout pays
MANY_ROWS = 48  # rows for which the kernel packs the matrix anyway


def pack_invariants(procedure: Procedure, costs: Costs = PC) -> Procedure:
    """The procedure with the matrices of its recurrences packed."""
    given = set(procedure.given)
    order = topological_until(tuple(o.node for o in procedure.outputs), given)
    if not any(isinstance(n, Scan) and n not in given for n in order):
        return procedure
    new: dict[Node, Node] = {n: n for n in given}
    where = dict(procedure.where)
    steps: dict[tuple, _Packed] = {}
    for node in order:
        if node in new:
            continue
        made = with_sources(node, new) if node.sources else node
        if isinstance(made, Scan):
            key = (made.step.key, len(made.init), len(made.sequences), len(made.constants))
            if key not in steps:
                steps[key] = _packed_step(made, costs)
            made = steps[key].applied(made)
        new[node] = made
        if node in where:
            where.setdefault(made, where[node])
    return replace(procedure, outputs=tuple(replace(o, node=new[o.node]) for o in procedure.outputs), where=where)


@dataclass(frozen=True, eq=False)
class _Product:
    """`node` sums over `summed` the products of `matrix`, whose axes are in the order `order`, with `factor`."""

    node: Compute
    matrix: Input
    transposed: bool  # the matrix' first axis is the result's
    factor: Read
    column: Axis  # the result's axis that the matrix has
    rows: int  # of the factor


@dataclass(frozen=True, slots=True)
class Layout:
    """A matrix of `columns` columns, or its transpose, with zeros behind each row; with `panel` in panels of so many."""

    transposed: bool
    columns: int
    panel: int = 0

    def shape(self, rows: int) -> tuple[int, ...]:
        return (self.columns // self.panel, rows, self.panel) if self.panel else (rows, self.columns)

    def of(self, matrix: Node) -> Compute:
        """The matrix in this layout."""
        rows, width = matrix.shape[::-1] if self.transposed else matrix.shape
        row, column = (axis(1), axis(0) * self.panel + axis(2)) if self.panel else (axis(0), axis(1))
        guard = () if width == self.columns else (Condition(GE, width - 1 - column),)
        index = (column, row) if self.transposed else (row, column)
        return Compute(self.shape(rows), placeholder(0), [Read(matrix, index, guard, 0)], matrix.dtype)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class _Packed:
    """A step over packed matrices: which of its constants are packed, and how."""

    step: Graph | None
    kept: tuple[int, ...] = ()  # constants that the step still reads as they are
    layouts: tuple[tuple[int, Layout], ...] = ()  # number of the constant, and how it is packed

    def applied(self, node: Scan) -> Scan:
        if self.step is None:
            return node
        more = [layout.of(node.constants[k]) for k, layout in self.layouts]
        constants = [*(node.constants[k] for k in self.kept), *more]
        return Scan(self.step, node.init, node.sequences, constants, node.length, node.output, node.reverse)


def _layout(found: _Product, costs: Costs) -> Layout | None:
    """The layout for a product, None where the matrix is as it should be.

    A matrix that leaves the first-level cache is cut into panels of as many columns as the kernel sums at a time, so that
    it is read in order.
    """
    node, item = found.node, found.node.dtype.itemsize
    width, terms = int(node.shape[_position(found.column)]), int(node.reduce_shape[0])
    unit = (2 * VECTOR_BYTES if found.rows > 1 else VECTOR_BYTES) // item
    columns = _whole_units(width, unit)
    if found.rows == 1 and columns * terms * item > costs.target.near_bytes:
        for vectors in (8, 4):
            panel = vectors * VECTOR_BYTES // item
            if columns > panel and 8 * _whole_units(width, panel) <= 9 * width:
                return Layout(found.transposed, _whole_units(width, panel), panel)
    return Layout(found.transposed, columns) if found.transposed or columns != width else None


def _whole_units(width: int, unit: int) -> int:
    return -(-width // unit) * unit


def _packed_step(node: Scan, costs: Costs) -> _Packed:
    if isinstance(node.length, int) and node.length < FEW_STEPS:
        return _Packed(None)
    constants = node.step.inputs[len(node.step.inputs) - len(node.constants) :]
    number = {c: k for k, c in enumerate(constants)}
    names = _fresh(node.step)
    inputs: dict[tuple[int, Layout], Input] = {}
    changes: dict[Node, Node] = {}
    for n in topological(node.step.outputs):
        found = _product(n, number)
        layout = _layout(found, costs) if found is not None else None
        if found is None or layout is None:
            continue
        key = (number[found.matrix], layout)
        if key not in inputs:
            inputs[key] = Input(next(names), layout.shape(int(found.node.reduce_shape[0])), n.dtype)
        changes[n] = _rewritten(found, inputs[key], layout)
    if not changes:
        return _Packed(None)
    outputs = substitute_upwards(node.step.outputs, changes)
    read = set(topological(outputs))
    others = node.step.inputs[: len(node.step.inputs) - len(constants)]
    kept = [k for k, c in enumerate(constants) if c in read]
    step = Graph((*others, *(constants[k] for k in kept), *inputs.values()), outputs, node.step.output_names,
                 node.step.where)
    return _Packed(step, tuple(kept), tuple(inputs))


def _position(column: Axis) -> int:
    return int(column.name[1:])


def _product(node: Node, number: dict[Node, int]) -> _Product | None:
    """How the node is the product of one of the constants, a matrix, with something else, if it is."""
    if not isinstance(node, Compute) or node.reducer != "sum" or node.body != placeholder(0) * placeholder(1):
        return None
    if len(node.reads) != 2 or len(node.reduce_shape) != 1 or not node.dtype.is_floating_point:
        return None
    if any(r.guard or r.dtype is not node.dtype for r in node.reads) or not node.shape:
        return None
    if not all(isinstance(e, int) for e in (*node.shape, *node.reduce_shape)):
        return None
    for read, other in (node.reads, node.reads[::-1]):
        if not isinstance(read.source, Input) or read.source not in number or len(read.index) != 2:
            continue
        first, second = read.index
        if isinstance(first, ReduceAxis) and isinstance(second, Axis):
            column, transposed = second, False
        elif isinstance(first, Axis) and isinstance(second, ReduceAxis):
            column, transposed = first, True
        else:
            continue
        mentioned = {s for e in other.index for s in e.free_symbols}
        if not _whole(read, node) or column in mentioned or reduce_axis(0) not in mentioned:
            continue
        if any(not isinstance(e, (Axis, ReduceAxis)) and not e.is_Integer for e in other.index):
            continue
        rows = prod(int(e) for k, e in enumerate(node.shape) if axis(k) is not column)
        width, terms = int(node.shape[_position(column)]), int(node.reduce_shape[0])
        if width < 2 or terms < 2 or width * terms < LEAST_PRODUCT or rows > MANY_ROWS:
            continue
        return _Product(node, read.source, transposed, other, column, rows)
    return None


def _whole(read: Read, node: Compute) -> bool:
    """All of the source is read, each axis by an axis of the node."""
    extents = {axis(k): e for k, e in enumerate(node.shape)} | {reduce_axis(0): node.reduce_shape[0]}
    return all(extents.get(s) == e for s, e in zip(read.index, read.source.shape, strict=True))


def _rewritten(found: _Product, matrix: Input, layout: Layout) -> Compute:
    """The product with the packed matrix, its columns last, and a view of what is not padding."""
    node, at = found.node, _position(found.column)
    rest = [axis(k) for k in range(node.ndim) if k != at]
    moved = {s: axis(k) for k, s in enumerate(rest)}
    factor = Read(found.factor.source, [e.xreplace(moved) for e in found.factor.index])
    last, count = axis(len(rest)), len(rest)
    columns: tuple[int, ...] = (layout.columns,)
    row = Read(matrix, (reduce_axis(0), last))
    place: list[sympy.Expr] = [axis(at)]
    if layout.panel:
        row = Read(matrix, (last, reduce_axis(0), axis(count + 1)))
        columns = (layout.columns // layout.panel, layout.panel)
        place = [quotient(axis(at), layout.panel), modulo(axis(at), layout.panel)]
    shape = (*(node.shape[k] for k in range(node.ndim) if k != at), *columns)
    product = Compute(shape, node.body, [factor, row], node.dtype, reduce_shape=node.reduce_shape, reducer="sum")
    return Compute(node.shape, placeholder(0), [Read(product, (*rest, *place))], node.dtype)


def substitute_upwards(outputs: tuple[Node, ...], changes: dict[Node, Node]) -> tuple[Node, ...]:
    """`outputs` with nodes replaced by others that may read further ones that are replaced."""
    new: dict[Node, Node] = {}
    for n in topological(outputs):
        made = with_sources(n, new) if n.sources else n
        if n in changes:
            made = substitute([changes[n]], {s: new[s] for s in n.sources})[0]
        new[n] = made
    return tuple(new[o] for o in outputs)


def _fresh(step: Graph) -> Iterator[str]:
    taken = {n.name for n in step.inputs}
    return (name for name in (f"packed{k}" for k in range(1 << 30)) if name not in taken)
