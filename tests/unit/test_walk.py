"""The table of kinds: complete, and what is made from it."""

from __future__ import annotations

from dataclasses import fields

import pytest
import sympy

from gradgen.ir.dtypes import bool_, float64, int64
from gradgen.ir.guards import GE, Condition
from gradgen.loops import statements, walk
from gradgen.loops.statements import (
    ARGUMENT,
    WORK,
    Apply,
    Assign,
    Buffer,
    Contract,
    Copy,
    CVar,
    Expr,
    If,
    Let,
    Literal,
    Load,
    Loop,
    Operand,
    Pointer,
    Present,
    Statement,
    Store,
    Truth,
    Variable,
)

i, j = CVar("i", integer=True, nonnegative=True), CVar("j", integer=True, nonnegative=True)
a, b, c = (Buffer(name, float64, (6,), WORK) for name in "abc")
x = Buffer("x", float64, (6,), ARGUMENT)
row = Buffer("row", float64, (), "local")
t = Variable(float64, "t")


def test_every_kind_has_a_row_and_every_field_a_role() -> None:
    kinds = [k for k in vars(statements).values() if isinstance(k, type) and issubclass(k, (Expr, Statement))]
    assert set(walk.ROWS) == set(kinds) - {Expr, Statement, Truth}
    assert all({f.name for f in fields(kind)} == row.keys() for kind, row in walk.ROWS.items())
    assert walk.unclassified() == []


def test_a_new_kind_or_field_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(walk.ROWS, Store, {"buffer": walk.Role.WRITES, "value": walk.Role.VALUE})
    monkeypatch.delitem(walk.ROWS, Present)
    assert walk.unclassified() == ["Present: no row", "Store.index"]


def nest() -> tuple[Statement, ...]:
    value = Apply(float64, "add", (Load(float64, x, i + j, (Condition(GE, 5 - i - j),)), t))
    inner = Loop(j, 0, sympy.Symbol("n", integer=True) - i, (Store(row, j, value), Assign(t, Load(float64, b, j))))
    return (
        Let(t, Literal(float64, sympy.S.Zero)),
        Pointer("row", a, i, Present(bool_, x), c),
        Loop(i, 0, 3, (If(Present(bool_, x), (inner,), (Copy(c, 0, b, i, 6),)),), reductions=(("+", "t"),)),
    )


def test_what_a_nest_binds_reads_and_writes() -> None:
    assert [type(s).__name__ for s in walk.statements_in(nest())] == [
        "Let", "Pointer", "Loop", "If", "Loop", "Store", "Assign", "Copy"]
    parts = list(walk.parts_in(nest()))
    assert {n for p in parts for n in walk.bound(p)} == {"t", "row"}
    assert {n for p in parts for n in walk.assigned(p)} == {"t"}
    assert walk.mentioned(nest()) == {"t", "i", "j", "n"}
    assert {m.name for p in parts for m in walk.writes(p)} == {"row", "c"}
    assert {m.name for p in parts for m in walk.reads(p)} == {"x", "b"}
    rows = walk.pointer_targets(nest())
    assert {m.name for m in walk.behind(walk.touched(nest()[2]), rows)} == {"x", "a", "b", "c"}
    assert walk.read_names((*nest(), Let(t, Load(float64, row, j)))) == {"x", "b", "row", "a", "c"}


def test_a_product_reads_and_writes_its_result() -> None:
    operands = [Operand(m, i, (j, 1)) for m in (a, b, c)]
    s = Contract(float64, 2, 3, 4, operands[0], operands[1], operands[2], True, (2, 3, 4))
    assert [m.name for m in walk.reads(s)] == ["a", "b", "c"]
    assert [m.name for m in walk.writes(s)] == ["c"]
    assert set(walk.index_symbols(s)) == {i, j}
    (new,) = walk.substituted((s,), {i: sympy.Integer(2)})
    assert isinstance(new, Contract) and (new.a.start, new.a.strides, new.c.buffer) == (2, (j, 1), c)


def test_renaming_and_substitution() -> None:
    new = walk.renamed(nest(), {a: b, x: c}, {"t": "u", "row": "line"})
    parts = list(walk.parts_in(new))
    assert {n for p in parts for n in (*walk.bound(p), *walk.assigned(p), *walk.used(p))} == {"u", "line"}
    assert {m.name for p in parts for m in walk.buffers(p)} == {"row", "b", "c"}
    assert isinstance(new[2], Loop) and new[2].reductions == (("+", "u"),)
    moved = walk.substituted(nest(), {j: j + 1})
    (store,) = (s for s in walk.statements_in(moved) if isinstance(s, Store))
    (load,) = (e for e in walk.subexpressions(walk.expressions(store)) if isinstance(e, Load))
    assert (store.index, load.index, load.guard[0].expr) == (j + 1, i + j + 1, 4 - i - j)


def test_what_does_not_change_stays_the_same_object() -> None:
    block = nest()
    assert walk.renamed(block, {}, {"other": "name"}) is block
    assert walk.substituted(block, {CVar("k", integer=True): sympy.S.Zero}) is block
    changed = walk.renamed(block, {b: a}, {})
    assert [one is other for one, other in zip(changed, block)] == [True, True, False]


def test_an_index_symbol_that_is_passed_to_a_function_counts() -> None:
    function = statements.Function("f", statements.NEST, scalars=(Variable(int64, "k"),))
    call = statements.Call(function, updates=(Operand(a, 2 * j),), scalars=(i, Literal(int64, sympy.S.One)))
    assert set(walk.index_symbols(call)) == {i, j}
    assert [m.name for m in walk.buffers(call)] == ["a"]
    (new,) = walk.substituted((call,), {i: j})
    assert isinstance(new, statements.Call) and new.scalars[0] is j


def test_what_is_alike() -> None:
    two = Literal(float64, sympy.Integer(2))
    assert walk.alike(t, Variable(float64, "t")) and walk.alike(two, Literal(float64, sympy.Integer(2)))
    assert walk.alike(Present(bool_, x), Present(bool_, x)) and not walk.alike(Present(bool_, x), Present(bool_, a))
    load = Load(float64, a, i)
    assert walk.alike(load, load) and not walk.alike(load, Load(float64, a, i))  # something may have been stored meanwhile
    assert not walk.alike(Apply(float64, "neg", (t,)), Apply(float64, "neg", (t,))) and not walk.alike(t, two)


def test_blocks_without_some_statements() -> None:
    block = nest()
    left = walk.without(block, lambda s: isinstance(s, Store))
    assert not any(isinstance(s, Store) for s in walk.statements_in(left))
    assert walk.without(block, lambda s: False) == block
