"""Patterns from index maps, colourings, and sparse derivatives from compressed products, seen on the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.autodiff.colouring import column_colours, readable, star_colours, symmetric, symmetric_colours
from gradgen.autodiff.compressed import SparseBlock, sparse_hessian, sparse_jacobian
from gradgen.autodiff.jacobian import hessian, jacobian
from gradgen.autodiff.sparsity import Rows, patterns, rows_of
from gradgen.errors import GradgenError
from gradgen.reference.interpreter import evaluate


def spec(*shape: Any) -> Any:
    return gg.spec(*shape, dtype=gg.float64, requires_grad=True)


def rosenbrock(x):  # type: ignore[no-untyped-def]
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


SCALARS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "rosenbrock": (rosenbrock, {"x": spec(12)}),
    "arrow": (lambda x: (x[0] * gg.sin(x[1:])).sum() + x[0] ** 3, {"x": spec(9)}),
    "separable": (lambda x: gg.exp(x).sum(), {"x": spec(3, 4)}),
    "linear": (lambda x: (3 * x).sum(), {"x": spec(5)}),
    "dense": (lambda x: x.sum() ** 3, {"x": spec(6)}),
    "several": (lambda a, b, c: gg.sin(a[:, None] * b * c).sum() + (a * a * a).sum(),
                {"a": spec(3), "b": spec(4), "c": spec()}),
    "banded": (lambda x, w: (gg.tanh(x[2:] * w[:-2] + x[:-2]) * x[1:-1]).sum(), {"x": spec(11), "w": spec(11)}),
    "blocks": (lambda x, a: ((x @ a) ** 4).sum(), {"x": spec(4, 3), "a": spec(3, 2)}),
    "shuffled": (lambda x: (x.T.reshape(2, 6).flip(1)[:, ::2] ** 3).sum() * 1.0, {"x": spec(3, 4)}),
    "maximum": (lambda x: (x.amax(1) ** 2).sum() + gg.relu(x).sum(), {"x": spec(4, 3)}),
}
VECTORS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "stencil": (lambda x, w: gg.tanh(x[1:] * w + x[:-1]), {"x": spec(14), "w": spec()}),
    "rows": (lambda x: (x ** 2).sum(1), {"x": spec(5, 4)}),
    "several": (lambda x, w: (gg.sin(x[::2]), (x.reshape(3, 4) * w).sum(0)), {"x": spec(12), "w": spec(4)}),
    "cat": (lambda x, w: gg.cat([x * 2, w[:2] ** 2, x[:1] * w[-1]]), {"x": spec(5), "w": spec(4)}),
    "padded": (lambda x: gg.nn.functional.conv1d(x[None, None], x[None, None, :3], padding=1)[0, 0], {"x": spec(8)}),
    "matrix": (lambda x, a: x @ a, {"x": spec(3, 4), "a": spec(4, 2)}),
    "cumulative": (lambda x: gg.cumsum(x, 0), {"x": spec(6)}),
    "constant": (lambda x: gg.stack([x[0], x[0].detach() * 2.0, x[1] * x[2]]), {"x": spec(4)}),
}


def traced(case: tuple[Callable[..., Any], dict[str, Any]]) -> tuple[Any, list[Any], dict[Any, np.ndarray]]:
    graph = gg.trace(case[0], **case[1]).graph
    rng = np.random.default_rng(3)
    return graph, list(graph.inputs), {n: rng.uniform(-1, 1, n.shape) for n in graph.inputs}


def dense(block: SparseBlock, values: dict[Any, np.ndarray]) -> np.ndarray:
    made = np.zeros((block.pattern.count, block.columns))
    made[block.pattern.row_of_entries(), block.pattern.indices] = evaluate([block.values], values)[0]
    return made


@pytest.mark.parametrize("name", SCALARS)
def test_sparse_hessian_is_the_dense_one(name: str) -> None:
    graph, inputs, values = traced(SCALARS[name])
    sparse, full = sparse_hessian(graph.outputs[0], inputs), hessian(graph.outputs[0], inputs)
    for line, row in zip(sparse, full, strict=True):
        for block, node in zip(line, row, strict=True):
            found = dense(block, values)
            expected = evaluate([node], values)[0].reshape(found.shape)
            # sums in another order: a few ulp of numbers of size 1 to 1000
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("name", VECTORS)
def test_sparse_jacobian_is_the_dense_one(name: str) -> None:
    graph, inputs, values = traced(VECTORS[name])
    sparse = sparse_jacobian(graph.outputs, inputs)
    for line, output in zip(sparse, graph.outputs, strict=True):
        for block, node in zip(line, jacobian(output, inputs), strict=True):
            found = dense(block, values)
            expected = evaluate([node], values)[0].reshape(found.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "nonzeros"), [
    ("rosenbrock", 34), ("arrow", 9 + 2 * 8), ("separable", 12), ("linear", 0), ("dense", 36), ("shuffled", 6),
])
def test_patterns_of_second_derivatives_are_exact(name: str, nonzeros: int) -> None:
    graph, inputs, _ = traced(SCALARS[name])
    (block,) = sparse_hessian(graph.outputs[0], inputs)[0]
    assert len(block.pattern.indices) == nonzeros


@pytest.mark.parametrize(("name", "products"), [("rosenbrock", 3), ("arrow", 2), ("separable", 1), ("dense", 6)])
def test_products_of_second_derivatives(name: str, products: int) -> None:
    graph, inputs, _ = traced(SCALARS[name])
    assert sparse_hessian(graph.outputs[0], inputs)[0][0].colours == products


def test_few_rows_are_compressed_the_other_way() -> None:
    """A sum has one row: one reverse product instead of a forward one per column."""
    graph, inputs, _ = traced((lambda x: gg.sin(x).sum(), {"x": spec(20)}))
    assert sparse_jacobian(graph.outputs, inputs)[0][0].colours == 1


def test_rosenbrock_of_1000() -> None:
    graph, inputs, _ = traced((rosenbrock, {"x": spec(1000)}))
    (block,) = sparse_hessian(graph.outputs[0], inputs)[0]
    assert (len(block.pattern.indices), block.colours) == (2998, 3)


def test_an_index_that_is_data_may_be_any() -> None:
    program = gg.trace(lambda x, i: x[i] * 2.0, x=spec(4, 3), i=gg.spec(2, dtype=gg.int64))
    (found,), columns = patterns(program.graph.outputs, program.graph.inputs[:1])
    assert columns == 12
    for row in range(6):  # element (k, j) may come from any row of x, but from column j
        assert found.indices[found.start[row] : found.start[row + 1]].tolist() == [row % 3 + 3 * k for k in range(4)]


def test_recurrences_step_by_step() -> None:
    """Element t of a scan's result depends on the sequence up to t, and on the other constants as they are read."""
    def step(c, s):  # type: ignore[no-untyped-def]
        new = c * 0.5 + s
        return new, new

    program = gg.trace(lambda c, s: gg.scan(step, c, s)[1], c=spec(2), s=spec(3, 2))
    (found,), _ = patterns(program.graph.outputs, program.graph.inputs)
    full = np.zeros((6, 8), bool)
    full[found.row_of_entries(), found.indices] = True
    expected = np.array([[(k == j) if k < 2 else (k - 2) % 2 == j and (k - 2) // 2 <= t for k in range(8)]
                         for t in range(3) for j in range(2)])
    assert (full == expected).all()


def test_named_dimensions_have_no_pattern() -> None:
    program = gg.trace(rosenbrock, x=spec("N"))
    with pytest.raises(GradgenError, match="needs fixed shapes"):
        sparse_hessian(program.graph.outputs[0], list(program.graph.inputs))


def random_rows(rng: np.random.Generator, rows: int, columns: int, density: float) -> Rows:
    keys = np.flatnonzero(rng.random(rows * columns) < density)
    return rows_of(keys, rows, columns)


@pytest.mark.parametrize("seed", range(10))
def test_colourings_of_random_patterns_can_be_read(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 30, 20, 0.1)
    assert readable(rows, column_colours(rows, 20)).all()
    square = symmetric(random_rows(rng, 25, 25, 0.06))
    for colours in (star_colours(square), symmetric_colours(square)):
        shown = readable(square, colours)
        row, column = square.row_of_entries(), square.indices
        place = {(int(r), int(c)): k for k, (r, c) in enumerate(zip(row, column, strict=True))}
        assert all(shown[k] or shown[place[c, r]] for (r, c), k in place.items())
    assert star_colours(square).max() <= column_colours(square, 25).max() or len(square.indices) == 0


def check_union(found: Sequence[Rows]) -> int:
    return sum(len(r.indices) for r in found)


def test_pattern_of_a_derivative_is_no_larger_than_needed() -> None:
    """Whatever reads an element counts, whatever does not is left out: against probing with random numbers."""
    for case in VECTORS.values():
        graph, inputs, values = traced(case)
        found, columns = patterns(graph.outputs, inputs)
        probed = 0
        for output in graph.outputs:
            blocks = [evaluate([j], values)[0].reshape(-1, max(int(np.prod(w.shape)), 1))
                      for j, w in zip(jacobian(output, inputs), inputs, strict=True)]
            probed += int((np.concatenate(blocks, axis=1) != 0).sum())
        assert columns == sum(int(np.prod(w.shape)) for w in inputs)
        assert check_union(found) == probed


# --- infinite entries stay in their own column ------------------------------------------------------------------------------

INFINITE: dict[str, tuple[Callable[[Any], Any], list[float], list[list[float]]]] = {
    "rows": (lambda x: gg.stack([x[0].log() + x[1], x[0] * x[1], x[2] / x[1]]), [0.0, 2.0, 3.0],
             [[np.inf, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, -0.75, 0.5]]),
    "operands": (lambda x: x[:-1] * x[1:], [np.inf, 2.0, 3.0], [[2.0, np.inf, 0.0], [0.0, 3.0, 2.0]]),
    "by rows": (lambda x: gg.stack([x[0] * x[1] + x[2].sqrt(), x[1] * x[2].sqrt()]), [1.0, 2.0, 0.0],
                [[2.0, 1.0, np.inf], [0.0, 0.0, np.inf]]),
    "quotients": (lambda x: x[1:] / x[:-1], [0.0, 1.0, 4.0], [[-np.inf, np.inf, 0.0], [0.0, -4.0, 1.0]]),
    "scan": (lambda x: gg.scan(lambda c, v: (c / 2 + v.sqrt(), c + v.log()), gg.tensor(0.0, dtype=gg.float64), x)[1],
             [1.0, 0.0, 2.0], [[1.0, 0.0, 0.0], [0.5, np.inf, 0.0], [0.25, np.inf, 0.5]]),
    "sums": (lambda x: gg.stack([x[:2].log().sum(), (x[1:] * x[1:]).sum()]), [0.0, 1.0, 2.0],
             [[np.inf, 1.0, 0.0], [0.0, 2.0, 4.0]]),
}


def entries(block: SparseBlock, env: dict[Any, np.ndarray]) -> np.ndarray:
    found = np.zeros((block.pattern.count, block.columns))
    with np.errstate(all="ignore"):
        found[block.pattern.row_of_entries(), block.pattern.indices] = evaluate([block.values], env)[0]
    return found


@pytest.mark.parametrize("name", INFINITE)
def test_an_infinite_entry_stays_in_its_column(name: str) -> None:
    """The seeds of a product are 0 at the columns that it leaves out, and 0 * inf is nan."""
    f, values, expected = INFINITE[name]
    graph = gg.trace(f, x=gg.spec(len(values), dtype=gg.float64, requires_grad=True)).graph
    env = {graph.inputs[0]: np.array(values)}
    np.testing.assert_array_equal(entries(sparse_jacobian(graph.outputs, graph.inputs)[0][0], env), expected)


def test_an_infinite_second_derivative_stays_in_its_column() -> None:
    graph = gg.trace(lambda x: (x[:-1].log() * x[1:]).sum(), x=gg.spec(4, dtype=gg.float64, requires_grad=True)).graph
    block = sparse_hessian(graph.outputs[0], graph.inputs)[0][0]
    np.testing.assert_array_equal(
        entries(block, {graph.inputs[0]: np.array([0.0, 1.0, 2.0, 5.0])}),
        [[-np.inf, np.inf, 0.0, 0.0], [np.inf, -2.0, 1.0, 0.0], [0.0, 1.0, -1.25, 0.5], [0.0, 0.0, 0.5, 0.0]])
