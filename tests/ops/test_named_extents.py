"""Functions over a named dimension: the graph made for any N gives, at N = 3, what the graph made for 3 gives."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sympy import Integer

from gradgen.autodiff import gradients
from gradgen.ir import dtypes
from gradgen.ir.nodes import Compute, Input, Node
from gradgen.ir.symbols import Extent, dim
from gradgen.ops import table
from gradgen.ops.symbolic import Symbolic
from gradgen.reference.interpreter import evaluate

from .symbolic import flat, symbolic_operations

N = dim("N")
NUMBER = 3
G: Any = SimpleNamespace(
    **table.FUNCTIONS[""], F=SimpleNamespace(**table.FUNCTIONS["nn.functional"]),
    linalg=SimpleNamespace(**table.FUNCTIONS["linalg"]), special=SimpleNamespace(**table.FUNCTIONS["special"]),
)

CALLS: dict[str, tuple[Callable[..., Any], tuple[tuple[Any, ...], ...]]] = {
    "arithmetic": (lambda x, y: (x + y) * x / (y * y + 1) - 2.0, ((N, 4), (4,))),
    "outer broadcast": (lambda x, y: x * y, ((N, 1), (1, N))),
    "sum": (lambda x: x.sum(), ((N, 4),)),
    "sum 0": (lambda x: x.sum(0), ((N, 4),)),
    "mean": (lambda x: x.mean() + x.mean(0, keepdim=True), ((N, 4),)),
    "var std": (lambda x: x.var(0) + x.std(), ((N, 4),)),
    "var 1": (lambda x: x.var(1, correction=0), ((N, 4),)),
    "prod": (lambda x: x.prod(0), ((N, 2),)),
    "amax": (lambda x: x.amax(0) + x.amin(), ((N, 4),)),
    "max 0": (lambda x: x.max(0)[0], ((N, 4),)),
    "argmax": (lambda x: (x.argmax(), x.argmin(0)), ((N, 4),)),
    "norm": (lambda x: x.norm() + x.norm(1, 0), ((N, 4),)),
    "logsumexp": (lambda x: G.logsumexp(x, 0), ((N, 4),)),
    "softmax": (lambda x: G.softmax(x, 0) + G.log_softmax(x, 1), ((N, 4),)),
    "matmul": (lambda x, w: x @ w, ((N, 4), (4, 2))),
    "gram": (lambda x: x.T @ x, ((N, 4),)),
    "square": (lambda x: x @ x.t(), ((N, 4),)),
    "bmm": (lambda x, y: G.bmm(x, y), ((N, 2, 3), (N, 3, 2))),
    "batched": (lambda x, y: G.matmul(x, y), ((N, 2, 3), (3, 2))),
    "linear": (lambda x, w, b: G.F.linear(x, w, b), ((N, 4), (2, 4), (2,))),
    "addmm": (lambda b, x, w: G.addmm(b, x, w), ((2,), (N, 4), (4, 2))),
    "einsum": (lambda x, y: G.einsum("ni,nj->ij", x, y), ((N, 2), (N, 3))),
    "reshape": (lambda x: x.reshape(-1, 2), ((N, 4),)),
    "reshape N": (lambda x: x.reshape(x.shape[0], 2, 2), ((N, 4),)),
    "flatten": (lambda x: x.flatten(1), ((N, 2, 2),)),
    "flatten all": (lambda x: x.flatten(), ((N, 4),)),
    "permute": (lambda x: x.permute(1, 0).unsqueeze(0), ((N, 4),)),
    "expand": (lambda x, y: x.expand(y.shape[0], 4) * y, ((4,), (N, 4))),
    "narrow": (lambda x: x.narrow(1, 1, 2), ((N, 4),)),
    "split": (lambda x: G.split(x, 2, 1)[1], ((N, 4),)),
    "unbind": (lambda x: G.unbind(x, 1)[2], ((N, 4),)),
    "cat 0": (lambda x, y: G.cat([x, y], 0), ((N, 4), (2, 4))),
    "cat 1": (lambda x, y: G.cat([x, y], 1), ((N, 4), (N, 2))),
    "stack": (lambda x, y: G.stack([x, y], 1), ((N, 4), (N, 4))),
    "flip roll": (lambda x: G.flip(x, (0,)) + G.roll(x, 1, 0), ((N, 4),)),
    "repeat": (lambda x: G.tile(x, (2, 1)), ((N, 4),)),
    "pad": (lambda x: G.F.pad(x, (1, 1, 2, 0)), ((N, 4),)),
    "tril": (lambda x: G.tril(x), ((N, N),)),
    "diagonal": (lambda x: G.diagonal(x) + x.trace(), ((N, N),)),
    "cumsum": (lambda x: G.cumsum(x, 0), ((N, 4),)),
    "diff": (lambda x: G.diff(x, dim=0), ((N, 4),)),
    "layer_norm": (lambda x, w: G.F.layer_norm(x, (4,), w), ((N, 4), (4,))),
    "batch_norm": (lambda x: G.F.batch_norm(x, None, None, training=True), ((N, 4),)),
    "group_norm": (lambda x: G.F.group_norm(x, 2), ((N, 4),)),
    "conv1d": (lambda x, w: G.F.conv1d(x, w, padding=1), ((N, 2, 5), (3, 2, 3))),
    "conv2d": (lambda x, w: G.F.conv2d(x, w, stride=2), ((N, 2, 5, 5), (3, 2, 2, 2))),
    "conv length": (lambda x, w: G.F.conv1d(x, w), ((1, 2, N), (3, 2, 2))),
    "max_pool2d": (lambda x: G.F.max_pool2d(x, 2), ((N, 2, 4, 4),)),
    "avg_pool2d": (lambda x: G.F.avg_pool2d(x, 2), ((N, 2, 4, 4),)),
    "attention": (lambda q, k, v: G.F.scaled_dot_product_attention(q, k, v, is_causal=True), ((N, 4), (N, 4), (N, 4))),
    "mse": (lambda x, y: G.F.mse_loss(x, y), ((N, 4), (N, 4))),
    "huber": (lambda x, y: G.F.huber_loss(x, y) + G.F.l1_loss(x, y), ((N, 4), (N, 4))),
    "bce": (lambda x, y: G.F.binary_cross_entropy_with_logits(x, y), ((N, 4), (N, 4))),
    "cross_entropy soft": (lambda x, y: G.F.cross_entropy(x, G.softmax(y, 1)), ((N, 4), (N, 4))),
    "kl_div": (lambda x, y: G.F.kl_div(x, G.softmax(y, 1), reduction="batchmean"), ((N, 4), (N, 4))),
    "cosine": (lambda x, y: G.F.cosine_similarity(x, y), ((N, 4), (N, 4))),
    "cdist": (lambda x, y: G.cdist(x, y), ((N, 4), (2, 4))),
    "kron": (lambda x, y: G.kron(x, y), ((N, 2), (2, 2))),
}
WITH_INDEX: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...], int]] = {
    "cross_entropy": (lambda x, i: G.F.cross_entropy(x, i), (N, 4), (N,), 4),
    "nll ignored": (lambda x, i: G.F.nll_loss(x, i, ignore_index=1), (N, 4), (N,), 4),
    "embedding": (lambda x, i: G.F.embedding(i, x), (5, 2), (N, 2), 5),
    "gather": (lambda x, i: G.gather(x, 1, i), (N, 4), (N, 2), 4),
    "index_select": (lambda x, i: G.index_select(x, 0, i), (5, 2), (N,), 5),
    "index_add": (lambda x, i: G.index_add(x * 0, 1, i, x), (N, 4), (4,), 4),
    "one_hot": (lambda x, i: G.F.one_hot(i, 4).to(dtypes.float64) * x, (N, 4), (N,), 4),
}


def _concrete(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(NUMBER if e is N else e for e in shape)


def _outcome(
    call: Callable[..., Any], shapes: list[tuple[Extent, ...]], arrays: list[np.ndarray]
) -> list[np.ndarray]:
    """Values, and the gradients of their sum."""
    nodes = [Input(f"x{k}", s, dtypes.dtype(a.dtype)) for k, (s, a) in enumerate(zip(shapes, arrays))]
    with symbolic_operations():
        outputs = [s.node for s in flat(call(*(Symbolic(n) for n in nodes)))]
    smooth = [n for n in outputs if n.dtype.is_floating_point]
    ones = [Compute(n.shape, Integer(1), [], n.dtype) for n in smooth]
    wrt = [n for n in nodes if n.dtype.is_floating_point]
    found = gradients(smooth, ones, wrt) if smooth else []
    given: dict[Node, np.ndarray] = dict(zip(nodes, arrays))
    return evaluate([*outputs, *(g for g in found if g is not None)], given)


def _same(call: Callable[..., Any], shapes: list[tuple[Any, ...]], arrays: list[np.ndarray]) -> None:
    named = _outcome(call, shapes, arrays)
    fixed = _outcome(call, [_concrete(s) for s in shapes], arrays)
    assert len(named) == len(fixed)
    for a, b in zip(named, fixed):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CALLS)
def test_named_dimension(name: str) -> None:
    call, shapes = CALLS[name]
    rng = np.random.RandomState(5)
    _same(call, list(shapes), [rng.standard_normal(_concrete(s)) for s in shapes])


@pytest.mark.parametrize("name", WITH_INDEX)
def test_named_dimension_with_indices(name: str) -> None:
    call, shape, where, high = WITH_INDEX[name]
    rng = np.random.RandomState(6)
    arrays = [rng.standard_normal(_concrete(shape)), rng.randint(0, high, _concrete(where)).astype(np.int64)]
    _same(call, [shape, where], arrays)
