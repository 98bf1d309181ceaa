"""What moves elements copies their bits: -0.0 stays -0.0, forward and backward, in eager use and in C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg

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
    ("cat", lambda g: g[:3]), ("cat columns", lambda g: g[:, :4]),
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


def test_a_sum_of_one_term_begins_with_zero() -> None:
    x = gg.tensor([[-0.0], [1.0]], dtype=gg.float64)
    assert bits(x.sum(1).numpy()).tolist() == bits(np.array([0.0, 1.0])).tolist()
    assert bits(gg.tensor(-0.0, dtype=gg.float64).sum().numpy()) == 0
