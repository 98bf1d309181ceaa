"""Constant arrays that are formulas: no table is left of them, and every bit of their values stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gradgen as gg
from gradgen.ir import Compute, Constant, Input, Node, Read, axes, placeholder, reduce_axes
from gradgen.ir.dtypes import dtype as dtype_of
from gradgen.ir.dtypes import float64
from gradgen.ir.graph import topological
from gradgen.reference.interpreter import evaluate
from gradgen.simplify import simplify
from gradgen.simplify.tables import computed

N = 80
i0, i1 = axes(2)
(r0,) = reduce_axes(1)
a0, a1 = placeholder(0), placeholder(1)
x = Input("x", (N, N), float64)
ones = np.ones((N, N))
rng = np.random.default_rng(0)

FORMULAS = {
    "zeros": np.zeros((N, N)),
    "negative zeros": np.full((N, N), -0.0),
    "nan": np.full((N, N), np.nan),
    "identity": np.eye(N),
    "diagonal above": np.where(np.eye(N, k=3) > 0, -np.inf, 0.0),
    "lower triangle": np.tril(ones),
    "upper triangle of infinities": np.triu(np.full((N, N), -np.inf), 1),
    "band": np.tril(ones, 2) - np.tril(ones, -4),
    "one column": (np.arange(N) == 7) * ones,
    "rows after": ((np.arange(N) > 30) * ones).T.copy(),
    "signs of zero": np.where(np.tril(ones) > 0, 0.0, -0.0),
}
TABLES = {
    "numbers": rng.normal(size=(N, N)),
    "two steps": (np.minimum(np.arange(N) // 15, 2) * ones),
    "a triangle with a hole": np.tril(ones) - (np.arange(N * N).reshape(N, N) == 10 * N + 3),
}


def tables(node: Node, least: int = 2) -> list[int]:
    return [n.array.size for n in topological([node]) if isinstance(n, Constant) and n.array.size >= least]


def same(node: Node) -> Node:
    """The simplified node; its values have the same bits."""
    new = simplify([node])[node]
    given = {x: rng.normal(size=x.shape)}
    np.testing.assert_array_equal(evaluate([new], given)[0].view(np.uint64), evaluate([node], given)[0].view(np.uint64))
    return new


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str) -> None:
    table = Constant(FORMULAS[name])
    new = same(Compute((N, N), a0 + a1, [Read(x, (i1, i0)), Read(table, (i0, i1))], float64))
    assert not tables(new)


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str) -> None:
    node = Compute((N, N), a0 * a1, [Read(x, (i0, i1)), Read(Constant(TABLES[name]), (i0, i1))], float64)
    sizes = tables(same(node))
    assert sizes == ([N] if name == "two steps" else [N * N])


def test_a_toeplitz_matrix_is_one_line() -> None:
    distance = np.abs(np.arange(N)[:, None] - np.arange(N)[None, :])
    node = Compute((N, N), a0 * a1, [Read(x, (i0, i1)), Read(Constant(np.exp(-distance)), (i1, i0))], float64)
    assert tables(same(node)) == [2 * N - 1]


def test_counting() -> None:
    table = Constant(np.arange(3, 3 + 2 * N, 2))
    cast = Compute((N,), a0, [Read(table, (i0,))], float64)
    assert not tables(same(cast))
    total = Compute((N, N), a0 + a1, [Read(x, (i0, i1)), Read(cast, (i1,))], float64)
    assert not tables(same(total))


def test_products_in_sums_read_a_table_that_is_made() -> None:
    """x @ tril(ones): the product stays one of two matrices; no zero of the table is taken for structure."""
    table = Constant(np.tril(ones))
    node = Compute((N, N), a0 * a1, [Read(x, (i0, r0)), Read(table, (r0, i1))], float64, reduce_shape=(N,), reducer="sum")
    new = same(node)
    assert not tables(new) and isinstance(new, Compute) and new.body == a0 * a1
    given = {x: np.full((N, N), np.inf)}
    assert np.isnan(evaluate([new], given)[0][:, 1:]).all()  # inf * 0, as PyTorch has it


def test_an_axis_that_only_the_table_runs_over_stays() -> None:
    table = Constant(np.full((N, N), 2.0))
    node = Compute((N,), a0, [Read(table, (i0, r0))], float64, reduce_shape=(N,), reducer="sum")
    np.testing.assert_array_equal(evaluate([simplify([node])[node]], {})[0], np.full(N, 2.0 * N))


def test_tables_of_indices_stay() -> None:
    """They are checked when code is generated."""
    table = Constant(np.repeat(np.arange(N // 2), 4))
    node = Compute((2 * N, N), a1, [Read(table, (i0,)), Read(x, (a0, i1))], float64)
    assert tables(same(node)) == [2 * N]


@pytest.mark.parametrize("kind", ["bool", "int32", "int64", "float32"])
def test_dtypes(kind: str) -> None:
    array = np.tril(ones).astype(kind)
    node = Compute((N, N), a0, [Read(Constant(array), (i1, i0))], dtype_of(array.dtype))
    new = simplify([node])[node]
    assert not tables(new)
    np.testing.assert_array_equal(evaluate([new], {})[0], array.T)


def test_emitted(tmp_path: Path) -> None:
    """A causal mask and a diagonal of 300 x 300 leave no table in the C."""
    n = 300

    def function(x):  # type: ignore[no-untyped-def]
        scores = x.masked_fill(gg.triu(gg.ones(n, n, dtype=gg.bool), 1), float("-inf"))
        return (scores.softmax(-1) + 0.5 * gg.eye(n)).pow(2).sum() + (x @ gg.tril(gg.ones(n, n))).mean()

    module = gg.build(gg.trace(function, gg.spec(n, n, requires_grad=True)), name="masked", out=tmp_path)
    assert (tmp_path / "masked" / "masked.c").stat().st_size < 60_000
    given = gg.from_numpy(rng.normal(size=(n, n)).astype("float32")).requires_grad_()
    expected = function(given)
    expected.backward()
    value, gradients = module.value_and_grad(given.detach().numpy())
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-6)
    # sums of 300 float32, in another order
    np.testing.assert_allclose(gradients[0], given.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("where", ["counting", "backwards", "column", "both", "beside labels"])
def test_an_index_that_counts_is_a_slice(where: str, tmp_path: Path) -> None:
    """No scatter in the derivative, and nothing to check, where the index is a progression."""
    n, labels = 30, gg.tensor([3, 5, 7] * 10)
    index = {
        "counting": lambda: (gg.arange(0, n, 3),), "backwards": lambda: (gg.arange(n - 1, -1, -1),),
        "column": lambda: (slice(None), gg.arange(4, n)[:, None]),
        "both": lambda: (gg.arange(n)[:, None], gg.arange(0, n, 2)[None, :]),
        "beside labels": lambda: (gg.arange(n), labels),
    }[where]  # fmt: skip
    program = gg.trace(lambda x: (x[index()] ** 3).sum(), gg.spec(n, n, dtype=gg.float64, requires_grad=True))
    values = rng.normal(size=(n, n))
    array = tuple(i if isinstance(i, slice) else i.numpy() for i in index())
    expected = np.zeros((n, n))
    np.add.at(expected, array, 3 * values[array] ** 2)
    _, (found,) = gg.build(program, name="counted", out=tmp_path).value_and_grad(values)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    reads = [r for node in topological(program.graph.outputs) if isinstance(node, Compute) for r in node.reads]
    indexed = [e for r in reads for e in r.index if any(s in e.free_symbols for s in (a0, a1))]
    assert len(indexed) == (1 if where == "beside labels" else 0)


COUNTING = {"arange": np.arange(N * N * 1.0).reshape(N, N), "backwards": np.arange(9.0, 9.0 - 3 * N * N, -3).reshape(N, N)}


@pytest.mark.parametrize("name", COUNTING)
@pytest.mark.parametrize("reducer", [None, "sum"])
def test_floats_that_count(name: str, reducer: str | None) -> None:
    """They are a tensor of their own: x + k is not what x + (k as an integer plus another) would be."""
    reads = [Read(x, (i0, i1)), Read(Constant(COUNTING[name]), (i0, i1))]
    node = Compute((N, N), a0 * a1 + a1, reads, float64)
    if reducer is not None:
        reads = [Read(x, (i0, r0)), Read(Constant(COUNTING[name]), (r0, i1))]
        node = Compute((N, N), a0 * a1, reads, float64, reduce_shape=(N,), reducer="sum")
    assert not tables(same(node))


@pytest.mark.parametrize("name", ["zeros", "negative zeros", "identity", "one column", "arange", "numbers"])
def test_operands_that_need_memory(name: str) -> None:
    """The base of an update, what a recurrence starts from and reads, operands of kernels, results: filled by a loop."""
    array = (FORMULAS | TABLES | COUNTING)[name]
    table, stored = Constant(array), name in TABLES

    def left(f: object, **specs: object) -> int:
        graph = gg.trace(f, **specs).graph  # type: ignore[arg-type]
        return max([0, *tables(simplify(graph.outputs)[graph.outputs[0]], N + 1)])

    def tensor() -> gg.Tensor:
        return gg.from_numpy(array.copy())

    row, at = gg.spec(1, N, dtype=gg.float64), gg.spec(1, dtype=gg.int64)
    assert bool(left(lambda x, i: tensor().index_put((i,), x), x=row, i=at)) is stored
    assert bool(left(lambda x: gg.scan(lambda c, r: (c * r.sum(), c), tensor(), x)[0], x=row)) is stored
    assert bool(left(lambda x: gg.scan(lambda c, r: (c * r.sum(), c), x[0], tensor())[0], x=row)) is stored
    assert bool(left(lambda x: gg.linalg.solve(tensor(), x[0]), x=row)) is stored
    made = computed(table)
    assert (made is table) is stored
    np.testing.assert_array_equal(evaluate([made], {})[0].view(np.uint64), array.view(np.uint64))
