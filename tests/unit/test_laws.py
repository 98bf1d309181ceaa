"""The laws of statements: each broken by hand, and faults that the scheduler once had, made again; all are named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sympy

import gradgen as gg
from gradgen.compiler.pipeline import stages
from gradgen.ir import Input, map_node, placeholder
from gradgen.ir.dtypes import bool_, float32, float64, int64
from gradgen.ir.guards import EQ, GE, MOD, Condition
from gradgen.loops import walk
from gradgen.loops.atoms import covered, formula, implies
from gradgen.loops.draft import Draft
from gradgen.loops.extremes import poly, sign
from gradgen.loops.laws import LoopError, verify
from gradgen.loops.procedure import ACCUMULATE, STORE, Output, Place, Procedure
from gradgen.loops.statements import (
    ARGUMENT,
    LOCAL,
    WORK,
    Apply,
    Array,
    Assign,
    Buffer,
    Copy,
    CVar,
    Declare,
    Expr,
    Fill,
    Holds,
    If,
    Index,
    Layout,
    Let,
    Literal,
    Load,
    Loop,
    PairwiseAdd,
    PairwiseTotal,
    Pointer,
    Present,
    SetFlag,
    Statement,
    Store,
    Variable,
)
from gradgen.options import Options
from gradgen.schedule import ScheduleOptions, conditions, memory, schedule, threads
from gradgen.schedule import wanted as wanted_module
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.scope import Builder
from gradgen.schedule.tree import Leaf

unroll_module, lanes_module, peel_module, unfold_module = (
    sys.modules[f"gradgen.schedule.{name}"] for name in ("unroll", "lanes", "peel", "unfold"))  # functions have their names

F = float64
i, j, n0 = (CVar(n, integer=True, nonnegative=True) for n in ("i", "j", "n0"))
x = Input("x", (6,), F)
OUT, GRAD = Place("y", optional=True), Place("g", optional=True)
X = Buffer("x", F, (6,), ARGUMENT, Place("x"), given=True)
Y = Buffer("y", F, (6,), ARGUMENT, OUT)
G = Buffer("g", F, (6,), ARGUMENT, GRAD)
V, W, H = Buffer("v", F, (6,), WORK), Buffer("w", F, (6,), WORK), Buffer("h", float32, (6,), WORK)
R = Buffer("row", F, (), LOCAL)
t, s = Variable(F, "t"), Variable(F, "s")
ONE = Literal(F, sympy.S.One)
there, wanted = Present(bool_, Y), Present(bool_, G)
result = map_node(placeholder(0) + 1, [x], F)


def draft(*statements: Statement, mode: str = STORE, **more: Any) -> Draft:
    p = Procedure("run", (Output(result, OUT, mode),), {x: Place("x")})
    return Draft(p, str, (X, Y, G, V, W, H), statements, **more)


def all_of(b: Buffer, value: Expr = ONE, stop: Any = 6, step: int = 1) -> Loop:
    return Loop(i, 0, stop, (Store(b, i, value),), step)


GOOD = If(there, (all_of(Y),))


def add(a: Expr, b: Expr) -> Expr:
    return Apply(F, "add", (a, b))


def test_what_is_right_passes() -> None:
    keep = Apply(bool_, "not_", (SetFlag(bool_),))
    verify(draft(GOOD))
    verify(draft(all_of(V), If(there, (Copy(Y, 0, V, 0, 6),))))
    verify(draft(Let(t, Load(F, X, sympy.Integer(5))), If(there, (all_of(Y, add(t, Load(F, X, i))),))))
    verify(draft(Pointer("row", Y, sympy.S.Zero, there, V), all_of(R)))
    verify(draft(If(SetFlag(bool_), (all_of(V),)), If(keep, (all_of(V, ONE),)), If(there, (Copy(Y, 0, V, 0, 6),))))
    verify(draft(If(Apply(bool_, "or_", (there, wanted)), (all_of(V),)), If(there, (Copy(Y, 0, V, 0, 6),))))
    late = Let(n := Variable(bool_, "late"), there)
    verify(draft(late, If(n, (all_of(V),)), If(there, (Copy(Y, 0, V, 0, 6),))))


BROKEN: dict[str, tuple[str, str, tuple[Statement, ...]]] = {
    "a local of another block": ("scope", "t", (Loop(i, 0, 2, (Let(t, ONE),)), Let(s, t))),
    "a counter behind its loop": ("scope", "i", (all_of(V), Let(t, Load(F, X, i)))),
    "an index read before it is assigned": ("scope", "n0", (
        Let(t, Load(F, X, n0)), Let(Variable(int64, "n0"), Index(int64, sympy.S.One)))),
    "a counter in a counter": ("scope", "i", (Loop(i, 0, 6, (all_of(V),)),)),
    "a local hides another": ("scope", "t", (Let(t, ONE), If(there, (Let(t, ONE),)))),
    "a constant changes": ("scope", "t", (Let(t, ONE), Assign(t, ONE))),
    "a sum that never began": ("scope", "s", (PairwiseAdd(s, ONE),)),
    "a local taken for a sum": ("scope", "s", (Declare(s, ONE), Let(t, PairwiseTotal(F, s)))),
    "a row that is not there": ("scope", "row", (all_of(R),)),
    "memory that is not listed": ("scope", "z", (all_of(Buffer("z", F, (6,), WORK)),)),
    "an input is written": ("scope", "x", (all_of(X),)),
    "a reduction of nothing": ("scope", "s", (replace(all_of(V), reductions=(("+", "s"),)),)),
    "a local of another type": ("dtype", "t", (Let(t, Literal(float32, sympy.S.One)),)),
    "an element of another type": ("dtype", "v", (all_of(V, Literal(float32, sympy.S.One)),)),
    "mixed arithmetic": ("dtype", "add", (Let(t, add(ONE, Literal(float32, sympy.S.One))),)),
    "a copy across types": ("dtype", "v", (all_of(H, Literal(float32, sympy.S.One)), Copy(V, 0, H, 0, 6))),
    "an output without a test": ("presence", "y", (all_of(Y),)),
    "an output under another test": ("presence", "y", (If(wanted, (all_of(Y),)),)),
    "a row without a test": ("presence", "y", (Pointer("row", Y, sympy.S.Zero, None, None), all_of(R))),
    "nobody wrote": ("assigned", "v", (Let(t, Load(F, V, sympy.S.Zero)),)),
    "written under a condition": ("assigned", "v", (If(wanted, (all_of(V),)), Let(t, Load(F, V, sympy.S.Zero)))),
    "written under another condition": ("assigned", "v", (If(wanted, (all_of(V),)), If(there, (Copy(Y, 0, V, 0, 6),)))),
    "one of two wants it": ("assigned", "v", (
        If(wanted, (all_of(V),)), If(Apply(bool_, "or_", (there, wanted)), (Let(t, Load(F, V, sympy.S.Zero)),)))),
    "only one branch writes": ("assigned", "v", (If(SetFlag(bool_), (all_of(V),)), Copy(W, 0, V, 0, 6))),
    "half is written": ("assigned", "v", (all_of(V, stop=3), Copy(W, 0, V, 0, 6))),
    "read before it is written": ("assigned", "v", (Loop(i, 0, 6, (Let(t, Load(F, V, i)), Store(V, i, t))),)),
    "an array without values": ("assigned", "a", (
        Array(Buffer("a", F, (4,), LOCAL)), Let(t, Load(F, Buffer("a", F, (4,), LOCAL), sympy.S.One)))),
    "one too many": ("inside", "v", (all_of(V, stop=7),)),
    "one before the first": ("inside", "v", (Loop(i, 0, 6, (Store(V, i - 1, ONE),)),)),
    "a window without its guard": ("inside", "x", (Loop(i, 0, 6, (Loop(j, 0, 3, (Store(V, i, Load(F, X, i + j - 1)),)),)),)),
    "the last block": ("inside", "x", (Loop(i, 0, 6, (Loop(j, 0, 4, (Store(V, i, Load(F, X, i + j)),)),), 4),)),
    "a fill too long": ("inside", "v", (Fill(V, 2, 5, ONE),)),
    "a row beyond its array": ("inside", "v", (Pointer("row", V, sympy.Integer(2), None, None), all_of(R))),
    "memory to waste that is short": ("inside", "short", (
        Pointer("row", Y, sympy.S.Zero, there, Buffer("short", F, (3,), WORK)), all_of(R))),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_law_is_named(name: str) -> None:
    rule, what, statements = BROKEN[name]
    made = draft(*statements, GOOD)
    short = Buffer("short", F, (3,), WORK)
    if name == "memory to waste that is short":
        made = replace(draft(replace(statements[0], otherwise=short), statements[1]), buffers=(*made.buffers, short))
    with pytest.raises(LoopError) as error:
        verify(made)
    assert (error.value.rule, error.value.name) == (rule, what)


def test_the_last_block_reads_its_last_item_again() -> None:
    item = sympy.Min(i + j, 5)
    inner = Loop(j, 0, 4, (Let(Variable(int64, "n0"), Index(int64, item)), Let(t, Load(F, X, n0))))
    verify(draft(Loop(i, 0, 6, (inner,), 4), GOOD))
    far = replace(inner, body=(Let(Variable(int64, "n0"), Index(int64, sympy.Min(i + j, 6))), inner.body[1]))
    with pytest.raises(LoopError, match="inside: x: element 6 of 6"):
        verify(draft(Loop(i, 0, 6, (far,), 4), GOOD))


def test_results() -> None:
    for statements in ((), (If(there, (all_of(Y, stop=5),)),), (If(wanted, (If(there, (all_of(Y),)),)),)):
        with pytest.raises(LoopError, match="result: y"):
            verify(draft(*statements))
    old = Load(F, Y, i)
    once = If(there, (all_of(Y, add(old, ONE)),))
    verify(draft(once, mode=ACCUMULATE))
    with pytest.raises(LoopError, match="result: y: 12 elements are stored, it has 6"):
        verify(draft(once, once, mode=ACCUMULATE))
    with pytest.raises(LoopError, match="result: y: 8 elements"):
        verify(draft(If(there, (all_of(Y, old, 4), Loop(i, 2, 6, (Store(Y, i, old),)))), mode=ACCUMULATE))
    keep = Apply(bool_, "not_", (SetFlag(bool_),))
    verify(draft(If(there, (If(SetFlag(bool_), (all_of(Y),)), If(keep, (all_of(Y, old),)))), mode=ACCUMULATE))


def test_what_lives_at_the_same_time_lies_apart() -> None:
    def memory(v: int, w: int, total: int, *statements: Statement) -> None:
        verify(draft(*statements, GOOD, layout=Layout({V: v, W: w}, total)))

    together = (all_of(V), all_of(W), Let(t, add(Load(F, V, sympy.S.Zero), Load(F, W, sympy.S.Zero))))
    apart = (all_of(V), Let(t, Load(F, V, sympy.S.Zero)), all_of(W), Let(s, Load(F, W, sympy.S.Zero)))
    memory(0, 64, 128, *together)
    memory(0, 0, 64, *apart)
    memory(0, 0, 64, Loop(j, 0, 3, apart))
    with pytest.raises(LoopError, match="memory: v: lives at the same time as w"):
        memory(0, 40, 128, *together)
    with pytest.raises(LoopError, match="memory: v: reaches beyond its block"):
        memory(96, 0, 128, *together)
    with pytest.raises(LoopError, match="memory"):  # w is needed in the next round
        memory(0, 0, 64, all_of(W), Loop(j, 0, 3, (Let(s, Load(F, W, j)), all_of(V), Let(t, Load(F, V, j)))))
    with pytest.raises(LoopError, match="memory"):  # chunks run side by side
        memory(0, 0, 64, Loop(j, 0, 3, apart, parallel=2))
    row = Pointer("row", V, sympy.S.Zero, None, None)
    through = (all_of(V), row, all_of(W), Let(s, Load(F, W, j)), Let(t, Load(F, R, j)))
    with pytest.raises(LoopError, match="memory"):  # what is behind a row lives as long as the row
        memory(0, 0, 64, Loop(j, 0, 3, through))


def test_conditions_as_cases() -> None:
    a, b = there, wanted
    both = Apply(bool_, "and_", (a, b))
    either = Apply(bool_, "or_", (a, b))
    no = Apply(bool_, "not_", (a,))

    def said(e: Expr, truth: bool = True) -> Any:
        return formula(e, truth, lambda name: None)

    assert implies(said(both), said(a)) and implies(said(a), said(either)) and implies(said(both), said(either))
    assert not implies(said(a), said(both)) and not implies(said(either), said(a)) and not implies((), said(a))
    assert implies((*said(either), *said(no)), said(b))
    assert implies((*said(a), *said(no)), said(b))  # nobody comes here
    assert covered((), [said(a), said(no)]) and not covered((), [said(a), said(b)])
    assert covered(said(either), [said(a), said(b)])
    guard = (Condition(GE, i - 2), Condition(EQ, j), Condition(MOD, i, 2))
    assert implies(said(Holds(bool_, guard)), said(Holds(bool_, guard[1:])))
    assert not implies(said(Holds(bool_, guard[1:])), said(Holds(bool_, guard)))
    assert implies(said(Holds(bool_, guard[:1]), False), said(Holds(bool_, guard), False))


def test_signs() -> None:
    n = sympy.Symbol("n", integer=True, nonnegative=True)
    assert [sign(poly(e)) for e in (n * i + 2, n - 1, -n - 1, -n, sympy.S.Zero)] == [1, None, -1, None, 1]


# --- faults that the scheduler once had ------------------------------------------------------------------------------

Function = Callable[..., Any]


def spec(*shape: Any, grad: bool = True) -> Any:
    return gg.spec(*shape, dtype=gg.float64, requires_grad=grad)


def table_of_positions(x: Any, i: Any, w: Any) -> Any:
    v = x.clone()
    v[i] = v * 2
    m = x.amin(dim=0)
    h = gg.cat([m[..., 1:], m, m[..., :1] * 2], -1)
    return {"b": gg.hstack([h, h]) @ w, "a": v}


def scattered(x: Any, i: Any, w: Any) -> Any:
    v = x.clone()
    v[i] = v * 2
    return v, w.sum()


def sums_beside_a_picked_column(x: Any, y: Any) -> Any:
    mixed = gg.lerp(x, y.amax(-1), 0.3)
    rows = mixed[::2]
    total = rows[0] + 2 * rows[1]
    changed = rows.clone()
    changed[..., 2] += x.clamp(-0.5, 0.75)
    return changed, total.unflatten(0, (1, -1))


def products_so_far(x: Any) -> Any:
    return x.sin().cumprod(-1)


def recurrence(x: Any, w: Any) -> Any:
    h, _ = gg.scan(lambda h, row: ((h @ w + row).tanh(),) * 2, gg.zeros(3, 40, dtype=gg.float64), x)
    return (h * x[0]).sum()


def padded(x: Any, w: Any) -> Any:
    return gg.nn.functional.conv2d(x, w, padding=1).tanh().sum()


def logistic(x: Any, w: Any, b: Any) -> Any:
    return gg.nn.functional.softplus(x @ w + b).mean()


def network(x: Any, w: Any, v: Any) -> Any:
    return {"h": (x @ w).tanh(), "y": ((x @ w).tanh() @ v).exp()}


def pendulum(x: Any) -> Any:
    for _ in range(4):
        x = x + 0.1 * gg.stack([x[:, 1], -x[:, 0].sin()], 1)
    return (x * x).sum(1).exp()


POSITIONS = {"x": spec(16, 2, 1, 2), "i": gg.spec(16, dtype=gg.int64), "w": spec(4, 16)}
NETWORK = {"x": spec(30, 20), "w": spec(20, 70), "v": spec(70, 9)}


def schedules(function: Function, specs: dict[str, Any], options: ScheduleOptions | None = None) -> None:
    """Schedules all procedures of a function; they are verified behind every pass (see conftest)."""
    for p in stages(gg.trace(function, **specs).graph, Options()).procedures:
        schedule(p, options)


def conditions_of_what_readers_work_for(patch: pytest.MonkeyPatch) -> None:
    """A table in WORK was filled where somebody wants what its reader makes, and the reader ran in any case."""

    def inside(self: Any, node: Any, around: Any) -> None:
        if isinstance(node, Leaf):
            self.runs[node.op] = self.checked[node.op] = self.needs(node.op, {})
        else:
            for child in reversed(node.children):
                self.inside(child, self.child(child, around))

    patch.setattr(wanted_module._Tests, "inside", inside)


def copies_of_absent_cotangents(patch: pytest.MonkeyPatch) -> None:
    """A cotangent that may be NULL was copied as it is."""
    patch.setattr(Memory, "whole", Memory.source)


def loads_in_front_of_their_loops(patch: pytest.MonkeyPatch) -> None:
    """A value read from a buffer that a loop fills went in front of the loop."""
    patch.setattr(Builder, "written", lambda self, buffer: self.root)


def parted_sums(patch: pytest.MonkeyPatch) -> None:
    """A loop was parted from the sums over an inner loop that it needs."""
    patch.setattr(unroll_module, "_lacks", lambda uses, part: False)


def rows_without_targets(patch: pytest.MonkeyPatch) -> None:
    """What a row points into was given to others while the row was in use."""
    patch.setattr(memory, "pointer_targets", lambda statements: {})


def loops_as_moments(patch: pytest.MonkeyPatch) -> None:
    """What a loop reads in every round lived to its first round only."""

    def lifetimes(statements: Any) -> dict[Buffer, tuple[int, int]]:
        found: dict[Buffer, tuple[int, int]] = {}
        rows = walk.pointer_targets(statements)
        for k, one in enumerate(walk.statements_in(statements)):
            for p in (one, *walk.subexpressions(walk.expressions(one))):
                for b in walk.behind(walk.buffers(p), rows):
                    found[b] = (found.get(b, (k, k))[0], k)
        return found

    patch.setattr("gradgen.schedule.lifetimes", lifetimes)


def stretches_without_guards(patch: pytest.MonkeyPatch) -> None:
    """The border of a padded window was read like its inside."""
    patch.setattr(peel_module._Stretch, "guard", lambda self, guard: ())


def short_rows_of_waste(patch: pytest.MonkeyPatch) -> None:
    """Memory for what nobody wants was shorter than a row."""
    waste = Memory.waste
    patch.setattr(Memory, "waste", lambda self, what, dtype, size: waste(self, what, dtype, 8))


def all_conditions_alike(patch: pytest.MonkeyPatch) -> None:
    """Neighbours under different conditions became one."""
    patch.setattr(conditions, "alike", lambda a, b: True)


def pieces_of_one_length(patch: pytest.MonkeyPatch) -> None:
    """The last of several chunks was as long as the others."""

    def piece(self: Any, total: Any, chunks: Any, c: CVar, body: list[Statement]) -> Any:
        first = self.index_name("first")
        body.append(Let(Variable(int64, first.name), Index(int64, c * chunks.per)))
        return first, chunks.per

    patch.setattr(threads.Threads, "piece", piece)


def whole_last_blocks(patch: pytest.MonkeyPatch) -> None:
    """The lanes of the last block went on behind the last item."""
    patch.setattr(lanes_module, "least", lambda a, *rest: sympy.sympify(a))


def narrow_borders(patch: pytest.MonkeyPatch) -> None:
    """The copy with a border was one element short."""
    bounds = unfold_module._range

    def narrow(index: Any, extents: Any) -> Any:
        found = bounds(index, extents)
        return None if found is None else (found[0] + 1, found[1])

    patch.setattr(unfold_module, "_range", narrow)


def test_what_is_written_out_stays_in_front_of_what_reads_it() -> None:
    """unroll put the stores of elements that a guard singles out behind a loop that reads them, through a Let."""

    def squares(x: Any) -> Any:
        v = gg.stack([x, x], 1)
        return v, v.square().diagonal(), x.reshape(-1)

    schedules(squares, {"x": spec(2)})


TWO = ScheduleOptions(threads=2)
FAULTS: list[tuple[Callable[[pytest.MonkeyPatch], None], Function, dict[str, Any], str, str, ScheduleOptions | None]] = [
    (conditions_of_what_readers_work_for, table_of_positions, POSITIONS, "assigned", "emit", None),
    (copies_of_absent_cotangents, scattered, POSITIONS, "presence", "emit", None),
    (loads_in_front_of_their_loops, products_so_far, {"x": spec(1, 3)}, "scope", "emit", None),
    (loops_as_moments, recurrence, {"x": spec(5, 3, 40), "w": spec(40, 40)}, "memory", "memory", None),
    (stretches_without_guards, padded, {"x": spec(2, 3, 8, 8), "w": spec(4, 3, 3, 3)}, "inside", "peel", None),
    (short_rows_of_waste, network, NETWORK, "inside", "emit", None),
    (all_conditions_alike, network, NETWORK, "presence", "conditions", None),
    (pieces_of_one_length, network, {"x": spec(333, 200), "w": spec(200, 70), "v": spec(70, 9)}, "inside", "threads", TWO),
    (whole_last_blocks, pendulum, {"x": spec(37, 2)}, "inside", "lanes", None),
    (narrow_borders, padded, {"x": spec(2, 3, 8, 8), "w": spec(4, 3, 3, 3)}, "inside", "emit", None),
]


@pytest.mark.parametrize("fault, function, specs, rule, by, options", FAULTS, ids=[f[0].__name__ for f in FAULTS])
def test_a_fault_made_again_is_named(
    fault: Callable[[pytest.MonkeyPatch], None], function: Function, specs: dict[str, Any], rule: str, by: str,
    options: ScheduleOptions | None, monkeypatch: pytest.MonkeyPatch,
) -> None:
    schedules(function, specs, options)
    fault(monkeypatch)
    with pytest.raises(LoopError) as error:
        schedules(function, specs, options)
    assert error.value.rule == rule, error.value
    assert f"{by!r}" in error.value.__notes__[0], error.value.__notes__
