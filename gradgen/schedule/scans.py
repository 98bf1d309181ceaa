"""Recurrences: the step of a Scan is scheduled like a procedure of its own, inside a loop over the steps.

Carries live in WORK.  A step reads the old ones and writes new ones beside them, which become the old ones at its end;
sequences and stacked outputs are read and written row by row where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy

from gradgen.ir.dtypes import int64
from gradgen.ir.graph import topological
from gradgen.ir.nodes import Compute, Node, Scan
from gradgen.ir.symbols import axes
from gradgen.loops.procedure import Output, Place, Procedure
from gradgen.loops.statements import LOCAL, WORK, Buffer, Copy, Pointer
from gradgen.schedule.fusion import Fusion
from gradgen.schedule.inline import SCAN, Inliner, Op
from gradgen.schedule.preparation import prepared

if TYPE_CHECKING:
    from gradgen.schedule.emit import Emitter


def emit_scan(emitter: Emitter, op: Op, ops: list[Op]) -> None:
    """The loop of the recurrence that `op` is an output of; all of its outputs among `ops` are complete after it."""
    node = op.node
    assert isinstance(node, Scan)
    b = emitter.builder
    wanted: dict[int, list[Op]] = {}
    for other in ops:
        if other.kind == SCAN and isinstance(other.node, Scan) and other.node.call == node.call:
            wanted.setdefault(other.node.output, []).append(other)
    carries = len(node.init)
    old = [_memory(emitter, n) for n in node.step.inputs[:carries]]
    kept = {k for k in range(carries) if node.step.outputs[k] is node.step.inputs[k]}
    in_place = kept | ({k for k in range(carries) if updates_in_place(node, k)} if emitter.options.has("reuse") else set())
    new = [old[k] if k in in_place else _memory(emitter, n) for k, n in enumerate(node.step.inputs[:carries])]
    for buffer, source in zip(old, node.init, strict=True):
        b.emit(Copy(buffer, 0, emitter.whole_buffer(source), 0, buffer.size))
    stacked: dict[int, Buffer] = {}
    for k, members in wanted.items():
        if k >= carries:
            stacked[k] = emitter.own_buffer(members[0])[0]
    sequences = [emitter.whole_buffer(n) for n in node.sequences]
    constants = [emitter.whole_buffer(n) for n in node.constants]
    counter = b.open_loop(node.length)
    for buffer in old:
        b.will_write(buffer)
    position = sympy.sympify(node.length) - 1 - counter if node.reverse else counter
    _step(emitter, node, position, old, new, stacked, sequences, constants)
    for target, source_buffer in zip(old, new, strict=True):
        if target is not source_buffer:
            b.emit(Copy(target, 0, source_buffer, 0, target.size))
    b.close()
    for k, members in wanted.items():
        for member in members:
            buffer = old[k] if k < carries else stacked[k]
            emitter.finished(member, buffer)


def updates_in_place(node: Scan, k: int) -> bool:
    """The new carry is the old one plus something, element by element, and nothing else in the step reads either."""
    carry, result = node.step.inputs[k], node.step.outputs[k]
    if not isinstance(result, Compute) or result.reducer is not None or result.shape != carry.shape:
        return False
    if sum(o is result or o is carry for o in node.step.outputs) != 1:
        return False
    mine = [r for r in result.reads if r.source is carry]
    if len(mine) != 1 or mine[0].guard or mine[0].index != axes(carry.ndim):
        return False
    return all(result not in n.sources and (n is result or carry not in n.sources) for n in node.step.nodes)


def _memory(emitter: Emitter, node: Node) -> Buffer:
    buffer = Buffer(emitter.builder.fresh("carry"), node.dtype, node.shape, WORK)
    emitter.extra.append(buffer)
    return buffer


def _step(
    emitter: Emitter, node: Scan, position: sympy.Expr, old: list[Buffer], new: list[Buffer],
    stacked: dict[int, Buffer], sequences: list[Buffer], constants: list[Buffer],
) -> None:
    """One step: its inputs and outputs are memory that has a name already."""
    b = emitter.builder
    carries, count = len(old), len(sequences)
    inputs = list(node.step.inputs)
    has_index = len(inputs) > carries + count + len(constants)
    memory: dict[Place, Buffer] = {}
    given: dict[Node, Place] = {}

    def bind(inner: Node, buffer: Buffer) -> None:
        place = Place(b.fresh("step"))
        memory[place] = buffer
        given[inner] = place

    for inner, buffer in zip(inputs[:carries], old, strict=True):
        bind(inner, buffer)
    read = set(topological([o for k, o in enumerate(node.step.outputs) if k < carries or k in stacked]))
    for inner, buffer in zip(inputs[carries : carries + count], sequences, strict=True):
        if inner in read:  # a pointer that nothing uses is a warning
            bind(inner, _row(emitter, buffer, inner, position, True))
    index_node = inputs[carries + count] if has_index else None
    for inner, buffer in zip(inputs[carries + count + has_index :], constants, strict=True):
        bind(inner, buffer)
    outputs: list[Output] = []
    for k, inner in enumerate(node.step.outputs):
        if k < carries and inner is inputs[k]:
            continue  # a carry that stays what it was
        if k < carries or k in stacked:
            target = new[k] if k < carries else _row(emitter, stacked[k], inner, position, False)
            place = Place(b.fresh("step"))
            memory[place] = target
            outputs.append(Output(inner, place))
    if index_node is not None:
        given[index_node] = Place(b.fresh("step"))
    procedure = Procedure("step", tuple(outputs), given, {**emitter.procedure.where, **node.step.where})
    options = emitter.options
    procedure = prepared(procedure, options)
    ops = Inliner(procedure, options).ops()
    fusion = Fusion(ops, options, procedure, rows=options.has("packing"))
    inside = type(emitter)(procedure, ops, fusion.tree(), [], fusion.contractions, options, builder=b)
    inside.places.update(memory)
    if index_node is not None:
        inside.given_values[index_node] = b.index(position, int64)
    inside.run()
    emitter.adopt(inside, memory)


def _row(emitter: Emitter, buffer: Buffer, inner: Node, position: sympy.Expr, constant: bool) -> Buffer:
    """The row of a stacked tensor that belongs to this step."""
    name = emitter.builder.fresh("row")
    size = Buffer("", inner.dtype, inner.shape, LOCAL).size
    emitter.builder.emit(Pointer(name, buffer, sympy.expand(position * size), None, None, constant))
    return Buffer(name, inner.dtype, inner.shape, LOCAL)
