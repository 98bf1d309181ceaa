"""Recurrences: the step of a Scan is scheduled like a procedure of its own, inside a loop over the steps.

Carries live in WORK.  A step reads the old ones and writes new ones beside them, which become the old ones at its end;
sequences and stacked outputs are read and written row by row where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import sympy

from gradgen.ir.dtypes import INDEX
from gradgen.ir.graph import topological
from gradgen.ir.nodes import Compute, Node, Scan
from gradgen.ir.symbols import axes
from gradgen.loops.procedure import Output, Place, Procedure
from gradgen.loops.statements import LOCAL, Buffer, Copy, Expr, Pointer
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan
from gradgen.schedule.emit_results import Results
from gradgen.schedule.inline import SCAN, Op
from gradgen.schedule.scope import Builder

Emit = Callable[[Procedure, Mapping[Place, Buffer], Mapping[Node, Expr]], None]
"""Emits a procedure right here, with memory for its places and the values of some given nodes."""


def emit_scan(plan: Plan, b: Builder, memory: Memory, results: Results, op: Op, emit: Emit) -> None:
    """The loop of the recurrence that `op` is an output of; all of its outputs among the plan's ops are complete after it."""
    node = op.node
    assert isinstance(node, Scan)
    wanted: dict[int, list[Op]] = {}
    for other in plan.ops:
        if other.kind == SCAN and isinstance(other.node, Scan) and other.node.call == node.call:
            wanted.setdefault(other.node.output, []).append(other)
    carries = len(node.init)
    inputs = node.step.inputs[:carries]
    old = [memory.more("carry", n.dtype, n.shape) for n in inputs]
    in_place = {k for k in range(carries) if node.step.outputs[k] is inputs[k]}
    if plan.options.has("reuse"):
        in_place |= {k for k in range(carries) if updates_in_place(node, k)}
    new = [old[k] if k in in_place else memory.more("carry", n.dtype, n.shape) for k, n in enumerate(inputs)]
    for buffer, source in zip(old, node.init, strict=True):
        b.emit(Copy(buffer, 0, memory.whole(source), 0, buffer.size))
    stacked = {k: memory.own(members[0])[0] for k, members in wanted.items() if k >= carries}
    sequences = [memory.whole(n) for n in node.sequences]
    constants = [memory.whole(n) for n in node.constants]
    counter = b.open_loop(node.length)
    for buffer in old:
        b.will_write(buffer)
    position = sympy.sympify(node.length) - 1 - counter if node.reverse else counter
    procedure, places, given = _step(b, node, position, old, new, stacked, sequences, constants)
    emit(replace(procedure, where={**plan.procedure.where, **node.step.where}), places, given)
    for target, source_buffer in zip(old, new, strict=True):
        if target is not source_buffer:
            b.emit(Copy(target, 0, source_buffer, 0, target.size))
    b.close()
    for k, members in wanted.items():
        for member in members:
            results.finished(member, old[k] if k < carries else stacked[k])


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


def _step(
    b: Builder, node: Scan, position: sympy.Expr, old: list[Buffer], new: list[Buffer], stacked: dict[int, Buffer],
    sequences: list[Buffer], constants: list[Buffer],
) -> tuple[Procedure, dict[Place, Buffer], dict[Node, Expr]]:
    """One step: its inputs and outputs are memory that has a name already, the number of the step a value."""
    carries, count = len(old), len(sequences)
    inputs = list(node.step.inputs)
    has_index = len(inputs) > carries + count + len(constants)
    memory: dict[Place, Buffer] = {}
    given: dict[Node, Place] = {}

    def place(buffer: Buffer) -> Place:
        made = Place(b.fresh("step"))
        memory[made] = buffer
        return made

    for inner, buffer in zip(inputs[:carries], old, strict=True):
        given[inner] = place(buffer)
    read = set(topological([o for k, o in enumerate(node.step.outputs) if k < carries or k in stacked]))
    for inner, buffer in zip(inputs[carries : carries + count], sequences, strict=True):
        if inner in read:  # a pointer that nothing uses is a warning
            given[inner] = place(_row(b, buffer, inner, position, True))
    for inner, buffer in zip(inputs[carries + count + has_index :], constants, strict=True):
        given[inner] = place(buffer)
    outputs: list[Output] = []
    for k, inner in enumerate(node.step.outputs):
        if k < carries and inner is inputs[k]:
            continue  # a carry that stays what it was
        if k < carries or k in stacked:
            outputs.append(Output(inner, place(new[k] if k < carries else _row(b, stacked[k], inner, position, False))))
    values: dict[Node, Expr] = {}
    if has_index:
        given[inputs[carries + count]] = Place(b.fresh("step"))
        values[inputs[carries + count]] = b.index(position, INDEX)
    return Procedure("step", tuple(outputs), given), memory, values


def _row(b: Builder, buffer: Buffer, inner: Node, position: sympy.Expr, constant: bool) -> Buffer:
    """The row of a stacked tensor that belongs to this step."""
    name = b.fresh("row")
    size = Buffer("", inner.dtype, inner.shape, LOCAL).size
    b.emit(Pointer(name, buffer, sympy.expand(position * size), None, None, constant))
    return Buffer(name, inner.dtype, inner.shape, LOCAL)
