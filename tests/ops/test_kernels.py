"""Named kernels inside graphs: derivatives against finite differences, batches, named dimensions, emitted modules."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.autodiff import gradients
from gradgen.autodiff.forward import tangents
from gradgen.ir import dtypes
from gradgen.ir.batch import batched
from gradgen.ir.functions import eq, select
from gradgen.ir.generalise import generalise
from gradgen.ir.graph import topological
from gradgen.ir.kernels import call, same_call
from gradgen.ir.nodes import Compute, Input, Kernel, Node, Read
from gradgen.ir.symbols import axis, placeholder, reduce_axis
from gradgen.ir.verify import verify_nodes
from gradgen.reference.interpreter import evaluate

needs_compiler = pytest.mark.skipif(not any(shutil.which(c) for c in ("cc", "gcc", "clang")), reason="needs a C compiler")
A, B = Input("a", (3, 3), dtypes.float64), Input("b", (3, 2), dtypes.float64)
RNG = np.random.RandomState(11)
VALUES = {A: RNG.standard_normal((3, 3)), B: RNG.standard_normal((3, 2))}


def gram(a: Node) -> Node:
    """A A^T + I."""
    i, j, r = axis(0), axis(1), reduce_axis(0)
    square = Compute((3, 3), placeholder(0) * placeholder(1), [Read(a, (i, r)), Read(a, (j, r))], a.dtype,
                     reduce_shape=(3,), reducer="sum")
    return Compute((3, 3), placeholder(0) + select(eq(i, j), 1, 0), [Read(square, (i, j))], a.dtype)


def squared(v: Node) -> Node:
    """Element by element: whatever the signs of eigenvectors are."""
    return Compute(v.shape, placeholder(0) ** 2, [Read(v, (axis(0), axis(1)))], v.dtype)


def _solve(transposed: bool) -> Callable[[], Node]:
    def make() -> Node:
        packed, rows, _ = call("lu", A)
        return call("solve", A, packed, rows, B, transposed=transposed)[0]

    return make


def _triangular(**flags: bool) -> Callable[[], Node]:
    return lambda: call("triangular_solve", A, B, **flags)[0]


GRAPHS: dict[str, Callable[[], Node]] = {
    "cholesky": lambda: call("cholesky", gram(A))[0],
    "lu": lambda: call("lu", A)[0],
    "eigenvalues": lambda: call("eigh", gram(A))[0],
    "eigenvectors": lambda: squared(call("eigh", gram(A))[1]),
    "svd_u": lambda: squared(call("svd", B)[0]),
    "svd_values": lambda: call("svd", B)[1],
    "svd_v": lambda: squared(call("svd", A)[2]),
    "q": lambda: call("qr", A)[0],
    "r": lambda: call("qr", A)[1],
    "q_tall": lambda: call("qr", B)[0],
    "r_tall": lambda: call("qr", B)[1],
    "solve": _solve(False),
    "solve_transposed": _solve(True),
    "det": lambda: call("det", A, *call("lu", A))[0],
    "logabsdet": lambda: call("logabsdet", A, *call("lu", A)[:2])[0],
    **{f"triangular_{t:d}{u:d}{p:d}": _triangular(transposed=t, unit=u, upper=p)
       for t in (False, True) for u in (False, True) for p in (False, True)},
}


def direction(shape: tuple[Any, ...], salt: int) -> np.ndarray:
    n = int(np.prod(shape))
    return (0.5 + 0.25 * np.cos(1.7 * np.arange(n) + salt)).reshape(shape)


def slope(value: Callable[[dict[Node, np.ndarray]], float], ways: dict[Node, np.ndarray]) -> float:
    """Central difference along `ways`: of order STEP**2 and rounding/STEP, about 1e-9 each here."""
    step = 1e-5
    up = {n: v + step * ways[n] for n, v in VALUES.items()}
    down = {n: v - step * ways[n] for n, v in VALUES.items()}
    return (value(up) - value(down)) / (2 * step)


@pytest.mark.parametrize("name", GRAPHS)
def test_first_and_second_derivatives_and_tangents(name: str) -> None:
    node = GRAPHS[name]()
    seed = Input("g", node.shape, node.dtype)
    cotangent = direction(tuple(node.shape), 1)
    ways = {A: direction((3, 3), 2), B: direction((3, 2), 3)}
    first = gradients([node], [seed], [A, B])
    verify_nodes([node, *(g for g in first if g is not None)])

    def along(terms: list[Node | None], values: dict[Node, np.ndarray]) -> float:
        found = [(t, w) for t, w in zip(terms, ways.values()) if t is not None]
        numbers = evaluate([t for t, _ in found], {**values, seed: cotangent})
        return float(sum(np.sum(x * w) for x, (_, w) in zip(numbers, found)))

    expected = slope(lambda v: float(np.sum(evaluate([node], v)[0] * cotangent)), ways)
    assert along(first, VALUES) == pytest.approx(expected, rel=1e-6, abs=1e-7)
    # forward mode gives the same number
    dots = {A: Input("da", (3, 3), dtypes.float64), B: Input("db", (3, 2), dtypes.float64)}
    moved = tangents([node], dots)[0]
    assert moved is not None
    pushed = evaluate([moved], {**VALUES, **{dots[n]: w for n, w in ways.items()}})[0]
    assert float(np.sum(pushed * cotangent)) == pytest.approx(expected, rel=1e-6, abs=1e-7)
    # the derivative of the derivative along `ways`
    present = [(g, Input(f"w{k}", g.shape, g.dtype)) for k, g in enumerate(first) if g is not None]
    second = gradients([g for g, _ in present], [w for _, w in present], [A, B])
    bound = {w: ways[n] for (_, w), n in zip(present, [n for n, g in zip((A, B), first) if g is not None])}
    found = [(t, w) for t, w in zip(second, ways.values()) if t is not None]
    numbers = evaluate([t for t, _ in found], {**VALUES, **bound, seed: cotangent})
    ours = float(sum(np.sum(x * w) for x, (_, w) in zip(numbers, found)))
    assert ours == pytest.approx(slope(lambda v: along(first, v), ways), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("matrix", [
    [[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 4.0]],
    [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [5.0, 7.0, 9.0]],
])
def test_derivative_of_a_singular_determinant_is_the_adjugate(matrix: list[list[float]]) -> None:
    """PyTorch's create_graph form says the same; its plain one gives zeros (docs/decisions.md)."""
    value = np.array(matrix)
    n = len(matrix)
    a = Input("m", (n, n), dtypes.float64)
    one = Input("g", (), dtypes.float64)
    found = gradients([call("det", a, *call("lu", a))[0]], [one], [a])[0]
    assert found is not None
    cofactors = np.array([[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(value, i, 0), j, 1)) for j in range(n)]
                          for i in range(n)])
    ours = evaluate([found], {a: value, one: np.array(1.0)})[0]
    np.testing.assert_allclose(ours, cofactors, rtol=1e-9, atol=1e-9)


def test_batched_and_generalised() -> None:
    """A batch axis in front, also where one operand has none; sizes as run-time numbers."""
    packed, rows, _ = call("lu", A)
    node = call("solve", A, packed, rows, B, transposed=False)[0]
    many = Input("many", (4, 3, 2), dtypes.float64)
    new = batched([node], {B: many}, 4)[node]
    verify_nodes([new])
    right = RNG.standard_normal((4, 3, 2))
    np.testing.assert_allclose(evaluate([new], {A: VALUES[A], many: right})[0], np.linalg.solve(VALUES[A], right), rtol=1e-10)
    lifted = generalise([node], [A, B])
    assert lifted is not None and isinstance(lifted.nodes[node], Kernel)
    verify_nodes([lifted.nodes[node]])


def test_vmap() -> None:
    x = gg.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0]])
    assert gg.func.vmap(lambda row: row.sort()[0])(x).tolist() == [[1.0, 2.0, 3.0], [-1.0, 0.0, 5.0]]


@needs_compiler
def test_module_with_a_named_dimension(tmp_path: Path) -> None:
    """forward keeps what backward needs; every size by one function."""
    def model(x: Any, y: Any, ridge: Any) -> Any:
        n = x.shape[1]
        normal = x.T @ x + ridge * gg.eye(n)
        w = gg.cholesky_solve((x.T @ y).unsqueeze(1), gg.linalg.cholesky(normal))
        residual = ((x @ w)[:, 0] - y) ** 2
        return residual.sort()[0][:2].sum() + gg.logdet(normal) + gg.linalg.solve(normal, x.T @ y).sum()

    program = gg.trace(model, x=gg.spec("N", 3, dtype=gg.float64, requires_grad=True), y=gg.spec("N", dtype=gg.float64),
                       ridge=gg.spec(dtype=gg.float64, requires_grad=True))
    module: Any = gg.build(program, name="ridge", out=str(tmp_path))
    for n in (5, 40):
        x, y, ridge = RNG.standard_normal((n, 3)), RNG.standard_normal(n), np.array(0.5)
        tensors = [gg.tensor(v.tolist(), dtype=gg.float64) for v in (x, y, ridge)]
        tensors[0].requires_grad_()
        tensors[2].requires_grad_()
        expected = model(*tensors)
        expected.backward()
        value, found = module.value_and_grad(x, y, ridge)
        assert float(value) == pytest.approx(expected.item(), rel=1e-11)
        np.testing.assert_allclose(found.x, tensors[0].grad.numpy(), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(found.ridge, tensors[2].grad.numpy(), rtol=1e-9)
        m = module.Module(x=x, ridge=ridge)
        assert float(m.forward(y)) == pytest.approx(expected.item(), rel=1e-11)
        m.backward()
        np.testing.assert_allclose(m.grad.x, found.x, rtol=1e-11, atol=1e-13)


@needs_compiler
def test_an_output_of_extent_one() -> None:
    x = gg.tensor([[2.0]], requires_grad=True)
    gg.linalg.inv(x).backward()
    assert x.grad.tolist() == [[-0.25]]


def test_calls_of_one_factorisation_are_shared() -> None:
    """Backward uses forward's factors: one lu in the whole program."""
    def model(a: Any, b: Any) -> Any:
        return (gg.linalg.solve(a, b) ** 2).sum()

    program = gg.trace(model, a=gg.spec(4, 4, requires_grad=True), b=gg.spec(4, requires_grad=True))
    outputs = program.graph.outputs
    seed = Input("g", (), dtypes.float32)
    found = gradients(outputs, [seed], list(program.graph.inputs))
    kernels = {same_call(n) for n in topological([*outputs, *(g for g in found if g is not None)]) if isinstance(n, Kernel)}
    assert sorted(k[0] for k in kernels) == ["lu", "solve", "solve"]


def test_results_print_like_pytorch() -> None:
    x = gg.tensor([3.0, 1.0, 2.0])
    assert repr(x.sort()) == "torch.return_types.sort(\nvalues=tensor([1., 2., 3.]),\nindices=tensor([1, 2, 0]))"
    sign = gg.linalg.slogdet(gg.tensor([[1.0, 0.0], [0.0, -1.0]]))
    assert repr(sign) == "torch.return_types.linalg_slogdet(\nsign=tensor(-1.),\nlogabsdet=tensor(0.))"


@pytest.mark.parametrize("function, error, text", [
    (lambda: gg.linalg.cholesky(gg.ones(2, 3)), RuntimeError,
     "linalg.cholesky: A must be batches of square matrices, but they are 2 by 3 matrices"),
    (lambda: gg.linalg.cholesky(gg.ones(3)), RuntimeError,
     "linalg.cholesky: The input tensor A must have at least 2 dimensions."),
    (lambda: gg.linalg.inv(gg.eye(2, dtype=gg.int64)), RuntimeError,
     "linalg.inv: Expected a floating point or complex tensor as input. Got Long"),
    (lambda: gg.linalg.solve(gg.ones(2, 2), gg.ones(3)), RuntimeError,
     "linalg.solve: Incompatible shapes of A and B for the equation AX = B (2x2 and 3x1)"),
    (lambda: gg.linalg.solve(gg.ones(2, 2), gg.ones(2, dtype=gg.float64)), RuntimeError,
     "linalg.solve: Expected A and B to have the same dtype, but found A of type Float and B of type Double instead"),
    (lambda: gg.ones(3, 4).topk(5), RuntimeError, "selected index k out of range"),
    (lambda: gg.ones(3, 4).kthvalue(0), RuntimeError, "kthvalue(): selected number k out of range for dimension 1"),
    (lambda: gg.zeros(2, 0).median(1), IndexError, "median(): Expected reduction dim 1 to have non-zero size."),
])
def test_errors_in_pytorchs_words(function: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        function()
    assert str(caught.value) == text
