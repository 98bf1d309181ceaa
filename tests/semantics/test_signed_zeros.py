"""What moves elements copies their bits: -0.0 stays -0.0, forward and backward, in eager use and in C."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.autodiff.reverse import gradients
from gradgen.ir.nodes import Input
from gradgen.reference.interpreter import evaluate

X = np.array([[-0.0, 0.0, -0.0, 1.0], [0.0, -0.0, -0.0, -0.0], [-2.0, -0.0, 0.0, 0.0]])
Y = np.array([[-0.0, -0.0, 3.0, 0.0], [-0.0, 0.0, -0.0, 0.0], [0.0, -0.0, 0.0, -0.0]])
M = np.array([[True, False, True, False], [False, True, False, True], [True, True, False, False]])

F = gg.nn.functional
MOVES: dict[str, tuple[Any, Any]] = {
    "cat": (lambda x, y: gg.cat([x, y, x[:1]], 0), lambda x, y: np.concatenate([x, y, x[:1]])),
    "cat columns": (lambda x, y: gg.cat([x, y], 1), lambda x, y: np.concatenate([x, y], 1)),
    "stack": (lambda x, y: gg.stack([x, y], 1), lambda x, y: np.stack([x, y], 1)),
    "hstack": (lambda x, y: gg.hstack([x, y]), lambda x, y: np.hstack([x, y])),
    "pad": (lambda x, y: F.pad(x, (1, 2, 1, 0)), lambda x, y: np.pad(x, ((1, 0), (1, 2)))),
    "reflect": (lambda x, y: F.pad(x[None], (1, 2), "reflect"), lambda x, y: np.pad(x, ((0, 0), (1, 2)), "reflect")[None]),
    "replicate": (lambda x, y: F.pad(x[None], (1, 2), "replicate"), lambda x, y: np.pad(x, ((0, 0), (1, 2)), "edge")[None]),
    "circular": (lambda x, y: F.pad(x[None], (1, 2), "circular"), lambda x, y: np.pad(x, ((0, 0), (1, 2)), "wrap")[None]),
    "tril": (lambda x, y: x.tril(), lambda x, y: np.tril(x)),
    "triu": (lambda x, y: x.triu(1), lambda x, y: np.triu(x, 1)),
    "roll": (lambda x, y: gg.roll(x, (1, 2), (0, 1)), lambda x, y: np.roll(x, (1, 2), (0, 1))),
    "flip": (lambda x, y: x.flip(1), lambda x, y: x[:, ::-1]),
    "where": (lambda x, y: gg.where(gg.tensor(M), x, y), lambda x, y: np.where(M, x, y)),
    "masked_fill": (lambda x, y: x.masked_fill(gg.tensor(M), 0.0), lambda x, y: np.where(M, 0.0, x)),
    "diag_embed": (lambda x, y: gg.diag_embed(x), lambda x, y: np.stack([np.diag(r) for r in x])),
    "block_diag": (lambda x, y: gg.block_diag(x, y), lambda x, y: np.block([[x, np.zeros((3, 4))], [np.zeros((3, 4)), y]])),
    "slice and transpose": (lambda x, y: x[1:, ::2].t(), lambda x, y: x[1:, ::2].T),
    "repeat": (lambda x, y: x.repeat(2, 1), lambda x, y: np.tile(x, (2, 1))),
    "select_scatter": (lambda x, y: gg.select_scatter(x, y[0], 0, 1), lambda x, y: np.stack([x[0], y[0], x[2]])),
    "expand": (lambda x, y: x[:, None, :].expand(3, 2, 4), lambda x, y: np.repeat(x[:, None, :], 2, 1)),
    "gather": (lambda x, y: gg.gather(x, 1, gg.tensor([[3, 0], [1, 1], [2, 3]])),
               lambda x, y: np.take_along_axis(x, np.array([[3, 0], [1, 1], [2, 3]]), 1)),
}
"""Name -> ours of two tensors, and the same in NumPy."""


def bits(a: Any) -> np.ndarray:
    return np.ascontiguousarray(a).view(np.int64)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def moves(x: Any, y: Any) -> Any:
        return {f"r{k}": ours(x, y) for k, (ours, _) in enumerate(MOVES.values())}

    program = gg.trace(moves, x=gg.spec(3, 4, dtype=gg.float64, requires_grad=True), y=gg.spec(3, 4, dtype=gg.float64))
    out: Path = tmp_path_factory.mktemp("signs")
    return gg.build(program, out=out, name="signed_zeros").Module(x=X)


@pytest.mark.parametrize("name", MOVES)
def test_eager_copies(name: str) -> None:
    ours, theirs = MOVES[name]
    np.testing.assert_array_equal(bits(ours(gg.tensor(X), gg.tensor(Y)).numpy()), bits(theirs(X, Y)))


def test_c_copies(module: Any) -> None:
    for (name, (_, theirs)), found in zip(MOVES.items(), module.forward(Y), strict=True):
        np.testing.assert_array_equal(bits(found), bits(theirs(X, Y)), err_msg=name)


@pytest.mark.parametrize(("name", "back"), [
    ("cat", lambda g: g[:3]), ("cat columns", lambda g: g[:, :4]), ("stack", lambda g: g[:, 0]),
    ("pad", lambda g: g[1:, 1:5]), ("block_diag", lambda g: g[:3, :4]), ("tril", np.tril),
    ("roll", lambda g: np.roll(g, (-1, -2), (0, 1))), ("where", lambda g: np.where(M, g, 0.0)),
    ("diag_embed", lambda g: np.diagonal(g, axis1=1, axis2=2)), ("flip", lambda g: g[:, ::-1]),
])
def test_gradients_copy(name: str, back: Any) -> None:
    ours, theirs = MOVES[name]
    shape = theirs(X, Y).shape
    g = np.resize([-0.0, 0.0, -0.0, 1.0, -0.0], shape)
    x = gg.tensor(X, requires_grad=True)
    z = ours(x, gg.tensor(Y)) if name != "cat" else gg.cat([x, gg.tensor(Y), gg.tensor(X[:1])], 0)
    z.backward(gg.tensor(g))
    np.testing.assert_array_equal(bits(x.grad.numpy()), bits(back(g)))


POSITIONS = [[3, 0], [1, 2], [2, 3]]


def sorted_back(g: np.ndarray, order: np.ndarray, count: int = 4) -> np.ndarray:
    """`g` where the elements came from."""
    found = np.zeros(X.shape)
    np.put_along_axis(found, order[:, :count], g, 1)
    return found


def placed(mask: np.ndarray, g: np.ndarray) -> np.ndarray:
    found = np.zeros(mask.shape)
    found[mask] = g[: mask.sum()]
    return found


DISTINCT = np.array([[0.3, -0.7, 1.1, 2.2], [0.9, 0.1, -2.2, 0.4], [-1.5, 0.25, 3.3, 0.7]])
ORDER = np.argsort(DISTINCT, 1)
COPIES: dict[str, tuple[Any, Any]] = {
    "split": (lambda x: x.split(2, 1), lambda g: np.concatenate(g, 1)),
    "split unevenly": (lambda x: x.split([1, 2, 1], 1), lambda g: np.concatenate(g, 1)),
    "chunk": (lambda x: x.chunk(2, 0), lambda g: np.concatenate(g, 0)),
    "unbind": (lambda x: x.unbind(0), lambda g: np.stack(g)),
    "unbind columns": (lambda x: x.unbind(1), lambda g: np.stack(g, 1)),
    "some parts": (lambda x: x.split(1, 1)[1:4:2], lambda g: np.concatenate([0 * M[:, :1], g[0], 0 * M[:, :1], g[1]], 1)),
    "first and last": (lambda x: x.unbind(0)[::2], lambda g: np.stack([g[0], np.zeros(4), g[1]])),
    "one part": (lambda x: x.unbind(1)[2:3], lambda g: np.stack([np.zeros(3), np.zeros(3), g[0], np.zeros(3)], 1)),
    "slices are added": (lambda x: (x[:2], x[2:]), lambda g: np.concatenate(g) + 0.0),
    "split twice is added": (lambda x: (*x.split(2, 1), *x.split(3, 1)),
                             lambda g: np.concatenate(g[:2], 1) + np.concatenate(g[2:], 1)),
    "sort": (lambda x: x.sort(1)[:1], lambda g: sorted_back(g[0], ORDER)),
    "topk": (lambda x: x.topk(2, 1)[:1], lambda g: sorted_back(g[0], ORDER[:, ::-1], 2)),
    "gather is added": (lambda x: (gg.gather(x, 1, gg.tensor(POSITIONS)),),
                        lambda g: sorted_back(g[0], np.array(POSITIONS), 2) + 0.0),
    "index_fill": (lambda x: (x.index_fill(1, gg.tensor([1, 3]), 2.0),), lambda g: np.where([1, 0, 1, 0], g[0], 0.0)),
    "scatter": (lambda x: (x.scatter(1, gg.tensor(POSITIONS), 5.0),),
                lambda g: np.where(sorted_back(np.ones((3, 2)), np.array(POSITIONS), 2), 0.0, g[0])),
    "masked_scatter": (lambda x: (gg.zeros(3, 4, dtype=gg.float64).masked_scatter(gg.tensor(M), x),),
                       lambda g: placed(np.arange(12).reshape(3, 4) < M.sum(), g[0][M])),
    "pixel_shuffle": (lambda x: (F.pixel_shuffle(x.reshape(1, 4, 3, 1), 2),),
                      lambda g: g[0].reshape(3, 2, 1, 2).transpose(1, 3, 0, 2).reshape(3, 4)),
}
"""Name -> parts of x, and the gradient of x from theirs."""


def cotangents(x: Any) -> list[np.ndarray]:
    values = [-0.0, -0.0, 2.0], [-0.0, 0.0, -0.0, 1.0, -0.0, -0.0]
    return [np.resize(values[k % 2], tuple(p.shape)) for k, p in enumerate(x)]


@pytest.mark.parametrize("name", COPIES)
def test_what_is_taken_once_is_put_back(name: str) -> None:
    """PyTorch's backward of one operation copies, that of several slices, or of an index, adds to zeros."""
    ours, back = COPIES[name]
    x = gg.tensor(DISTINCT, requires_grad=True)
    parts = ours(x)
    g = cotangents(parts)
    gg.autograd.backward(parts, [gg.tensor(v) for v in g])
    np.testing.assert_array_equal(bits(x.grad.numpy()), bits(back(g)))


def test_masked_select_puts_back() -> None:
    x = gg.tensor(DISTINCT, requires_grad=True)
    g = np.resize([-0.0, 0.0, 1.0], M.sum())
    x.masked_select(gg.tensor(M)).backward(gg.tensor(g))
    np.testing.assert_array_equal(bits(x.grad.numpy()), bits(placed(M, g)))


def test_c_puts_back(tmp_path: Path) -> None:
    """In one program each part's cotangent is an argument, and NULL is a part without one."""
    names = [n for n in COPIES if "added" not in n]

    def parts(**inputs: Any) -> Any:
        return {f"r{n}_{i}": p for n, x in inputs.items() for i, p in enumerate(COPIES[names[int(n[1:])]][0](x))}

    inputs = {f"x{k}": gg.spec(3, 4, dtype=gg.float64, requires_grad=True) for k in range(len(names))}
    scope: dict[str, Any] = {"parts": parts}
    exec(f"def taken({', '.join(inputs)}):\n    return parts({', '.join(f'{n}={n}' for n in inputs)})", scope)
    built = gg.build(gg.trace(scope["taken"], **inputs), out=tmp_path, name="puts_back")
    module = built.Module(**dict.fromkeys(inputs, DISTINCT))
    found = module.forward()
    sizes = [len(COPIES[n][0](gg.tensor(DISTINCT))) for n in names]
    starts = np.cumsum([0, *sizes])
    g = [c for a, b in pairwise(starts) for c in cotangents(found[a:b])]
    module.backward(gradient=g)
    for k, name in enumerate(names):
        wanted = COPIES[name][1](g[starts[k] : starts[k + 1]])
        np.testing.assert_array_equal(bits(getattr(module.grad, f"x{k}")), bits(wanted), err_msg=name)


@pytest.mark.parametrize("taken", [(0, 1, 2, 3), (1, 3), (2,)])
def test_parts_of_an_open_axis_are_put_back(taken: tuple[int, ...]) -> None:
    """Ranges are compared, and what nobody took is 0, without the length."""
    n = gg.dim("N", multiple=4)
    program = gg.trace(lambda x: {f"r{k}": x.chunk(4)[k] for k in taken}, x=gg.spec(n, dtype=gg.float64, requires_grad=True))
    (x,) = program.graph.inputs
    seeds = [Input(f"g{k}", y.shape, y.dtype) for k, y in enumerate(program.graph.outputs)]
    (found,) = gradients(program.graph.outputs, seeds, [x])
    assert found is not None and len(found.sources) == len(taken) + (1 < len(taken) < 4), "one choice, no sum"
    (value,) = evaluate([found], {x: np.zeros(8), **{g: np.full(2, -0.0) for g in seeds}})
    np.testing.assert_array_equal(np.signbit(value), np.repeat([k in taken for k in range(4)], 2))


def test_a_sum_of_one_term_begins_with_zero() -> None:
    x = gg.tensor([[-0.0], [1.0]], dtype=gg.float64)
    assert bits(x.sum(1).numpy()).tolist() == bits(np.array([0.0, 1.0])).tolist()
    assert bits(gg.tensor(-0.0, dtype=gg.float64).sum().numpy()) == 0
