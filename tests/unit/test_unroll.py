"""Unrolled programs compute what the loops did, in straight-line code without the loops' tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy

from gradgen.autodiff import differentiate
from gradgen.compiler.pipeline import procedures, stages
from gradgen.ir import dtypes
from gradgen.ir.functions import cos, sin
from gradgen.ir.graph import Graph
from gradgen.ir.guards import Condition, Guard
from gradgen.ir.nodes import Compute, Input, Node, Read, identity_read
from gradgen.ir.packed import pack
from gradgen.ir.symbols import axes, dim, placeholder
from gradgen.loops import statements as pr
from gradgen.loops.program import Program
from gradgen.options import Options
from gradgen.reference.interpreter import evaluate
from gradgen.schedule import Procedure, schedule
from gradgen.schedule.allowed import PASSES, ScheduleOptions
from gradgen.schedule.unroll import unroll

F64 = dtypes.float64
a0, a1 = placeholder(0), placeholder(1)
i0, i1 = axes(2)


def packed(rows: int, columns: int) -> Graph:
    """M[i,j] = sin(q[i]) cos(q[j]) entry by entry, some entries zero."""
    q = Input("q", (max(rows, columns),), F64, True)
    cells = [Compute((), a0, [Read(q, (k,))], F64) for k in range(max(rows, columns))]
    entries: list[Node | None] = []
    for r in range(rows):
        for c in range(columns):
            body = sin(a0) * cos(a1)
            entry = Compute((), body, [Read(cells[r], ()), Read(cells[c], ())], F64)
            entries.append(None if (r + 2 * c) % 5 == 4 else entry)
    return Graph((q,), (pack(entries, (rows, columns), F64),), ("M",))


def without_unrolling(procedure: Procedure) -> Program:
    passes = tuple(p for p in PASSES if p not in ("unroll", "peel"))
    return schedule(procedure, ScheduleOptions(passes=passes))


def count(statements: tuple[pr.Statement, ...], kind: type) -> int:
    total = 0
    for s in statements:
        total += isinstance(s, kind)
        if isinstance(s, pr.Loop):
            total += count(s.body, kind)
        elif isinstance(s, pr.If):
            total += count(s.body, kind) + count(s.otherwise, kind)
    return total


class Machine:
    """Runs statements over NumPy arrays."""

    def __init__(self, memory: dict[pr.Buffer, np.ndarray]) -> None:
        self.memory = memory
        self.names: dict[str, Any] = {}

    def integer(self, e: Any) -> int:
        if isinstance(e, int):
            return e
        return int(e.xreplace({s: sympy.Integer(int(self.names[s.name])) for s in e.free_symbols}))

    def holds(self, guard: Guard) -> bool:
        tests = {"eq": lambda c: self.integer(c.expr) == 0, "ge": lambda c: self.integer(c.expr) >= 0}
        return all(tests[c.kind](c) for c in guard)

    def value(self, e: pr.Expr) -> Any:
        match e:
            case pr.Literal():
                return float(e.value)
            case pr.Variable():
                return self.names[e.name]
            case pr.Load():
                if not self.holds(e.guard):
                    return float(e.fill)
                return self.memory[e.buffer].ravel()[self.integer(e.index)]
            case pr.Holds():
                return self.holds(e.guard)
            case pr.Present() | pr.SetFlag():
                return True
            case pr.Apply(op="select"):
                return self.value(e.args[1] if self.value(e.args[0]) else e.args[2])
            case pr.Apply():
                rules: dict[str, Any] = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
                                         "sin": np.sin, "cos": np.cos, "or": np.logical_or, "bitor": np.logical_or,
                                         "and": np.logical_and, "or_": np.logical_or}
                return rules[e.op](*(self.value(a) for a in e.args))
        raise NotImplementedError(type(e))

    def run(self, statements: tuple[pr.Statement, ...]) -> None:
        for s in statements:
            match s:
                case pr.Let() | pr.Declare() | pr.Assign():
                    self.names[s.variable.name] = self.value(s.value)
                case pr.Store():
                    self.memory[s.buffer].ravel()[self.integer(s.index)] = self.value(s.value)
                case pr.If():
                    self.run(s.body if self.value(s.condition) else s.otherwise)
                case pr.Loop():
                    for k in range(self.integer(s.start), self.integer(s.stop), s.step):
                        self.names[s.variable.name] = k
                        self.run(s.body)
                case pr.Comment():
                    pass
                case _:
                    raise NotImplementedError(type(s))


def results(program: Program, statements: tuple[pr.Statement, ...], given: dict[str, np.ndarray]) -> dict[str, Any]:
    memory = {b: np.array(given[b.name]) if b.name in given else np.zeros([int(e) for e in b.shape])
              for b in program.buffers}
    Machine(memory).run(statements)
    return {b.name: a for b, a in memory.items() if b.space == pr.ARGUMENT}


def all_procedures(graph: Graph) -> tuple[Procedure, ...]:
    made = stages(graph, Options())
    assert made.procedures
    return made.procedures


@pytest.mark.parametrize("shape", [(3, 3), (1, 4), (4, 1), (7, 7)])
def test_packing_becomes_stores(shape: tuple[int, int]) -> None:
    program = without_unrolling(all_procedures(packed(*shape))[0])
    written = unroll(program.statements)
    assert count(program.statements, pr.Loop) > count(written, pr.Loop)
    assert count(written, pr.Store) >= shape[0] * shape[1]
    text = str(Program("p", program.buffers, written).describe())
    assert "holds(eq" not in text


@pytest.mark.parametrize("shape", [(3, 3), (1, 4), (5, 2)])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_same_values(shape: tuple[int, int], which: int) -> None:
    graph = packed(*shape)
    procedure = all_procedures(graph)[which]
    program = without_unrolling(procedure)
    rng = np.random.default_rng(0)
    given = {b.name: rng.normal(size=[int(e) for e in b.shape]) for b in program.buffers
             if b.space in (pr.ARGUMENT, pr.SAVED)}
    before = results(program, program.statements, given)
    after = results(program, unroll(program.statements), given)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_the_value_is_the_graphs() -> None:
    graph = packed(4, 4)
    program = without_unrolling(all_procedures(graph)[0])
    q = np.random.default_rng(1).normal(size=4)
    found = results(program, unroll(program.statements), {"q": q})["M"]
    np.testing.assert_allclose(found, evaluate(graph.outputs, {graph.inputs[0]: q})[0], rtol=1e-15)


def plain(node: Node, *inputs: Input) -> Program:
    return without_unrolling(all_procedures(Graph(inputs, (node,), ("y",)))[0])


def test_loops_without_such_guards_stay() -> None:
    x = Input("x", (8,), F64)
    program = plain(Compute((8,), sin(a0), [identity_read(x)], F64), x)
    assert unroll(program.statements) == program.statements
    shifted = Compute((8,), a0, [Read(x, (i0 - 1,), (Condition("ge", i0 - 1),))], F64)
    program = plain(shifted, x)
    assert count(unroll(program.statements), pr.Loop) == 1


def test_loops_of_open_or_great_length_stay() -> None:
    for extent in (dim("N"), 1000):
        x = Input("x", (extent,), F64)
        spike = Compute((extent,), a0 + a1, [identity_read(x), Read(x, (0,), (Condition("eq", i0 - 3),))], F64)
        program = plain(spike, x)
        assert count(unroll(program.statements), pr.Loop) == count(program.statements, pr.Loop) > 0


def test_code_does_not_grow_for_one_special_element() -> None:
    """A long body with a single guarded read would only be repeated."""
    x = Input("x", (40,), F64)
    node: Node = Compute((40,), a0 + a1, [identity_read(x), Read(x, (0,), (Condition("eq", i0 - 3),))], F64)
    for _ in range(6):
        node = Compute((40,), sin(a0) * cos(a0), [identity_read(node)], F64)
    program = plain(node, x)
    assert count(unroll(program.statements), pr.Loop) > 0


def test_what_does_not_depend_on_the_guards_keeps_its_loop() -> None:
    graph = packed(5, 5)
    joint = differentiate(graph, graph.inputs)
    backward = procedures(joint, joint)[1]
    program = without_unrolling(backward)
    written = unroll(program.statements)
    text = Program("p", program.buffers, written).describe()
    assert count(written, pr.Loop) <= count(program.statements, pr.Loop)
    assert "holds(eq" not in text


def test_a_local_goes_with_what_adds_to_it() -> None:
    """The guarded part alone changes it: declared by the rest, it would have the last element's value there."""
    k, size = pr.CVar("k", integer=True), 4
    x, y, z = (pr.Buffer(name, F64, (size,), pr.ARGUMENT) for name in "xyz")
    total = pr.Variable(F64, "total")
    adds = pr.If(pr.Holds(dtypes.bool_, (Condition("eq", k - 1),)),
                 (pr.Assign(total, pr.Apply(F64, "add", (total, pr.Load(F64, x, k)))), pr.Store(y, k, total)))
    body = (pr.Declare(total, pr.Load(F64, x, k)), pr.Store(z, k, pr.Load(F64, x, k)), adds)
    loop = (pr.Loop(k, 0, size, body),)
    program = Program("p", (x, y, z), loop)
    given = {"x": np.arange(1.0, size + 1)}
    before, after = results(program, loop, given), results(program, unroll(loop), given)
    np.testing.assert_array_equal(before["y"], [0, 4, 0, 0])
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
