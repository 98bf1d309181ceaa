"""Small programs of many kinds, written once against PyTorch's names: each gives a function, its arrays, and which of
them have gradients.  What PyTorch makes of them is recorded in `expected.npz` (python -m tests.models.record)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Made = tuple[Callable[..., Any], list[np.ndarray], list[int]]
CASES: dict[str, Callable[[], Made]] = {}


def case(make: Callable[[], Made]) -> Callable[[], Made]:
    CASES[make.__name__] = make
    return make


def r(*shape: int) -> np.ndarray:
    return (np.random.default_rng(sum(shape) + len(shape)).normal(size=shape) * 0.5).astype(np.float32)


def ri(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, n, size=shape)


@case
def transformer():
    def f(ns, x, wq, wk, wv, wo, g, b, w1, w2):
        F = ns.nn.functional
        B, T, D = x.shape
        h = F.layer_norm(x, (D,), g, b)
        q = (h @ wq).reshape(B, T, 2, D // 2).transpose(1, 2)
        k = (h @ wk).reshape(B, T, 2, D // 2).transpose(1, 2)
        v = (h @ wv).reshape(B, T, 2, D // 2).transpose(1, 2)
        a = F.softmax(q @ k.transpose(-2, -1) / (D // 2) ** 0.5, dim=-1) @ v
        x = x + a.transpose(1, 2).reshape(B, T, D) @ wo
        return (x + F.gelu(x @ w1) @ w2).pow(2).mean()

    return f, [r(2, 5, 8), r(8, 8), r(8, 8), r(8, 8), r(8, 8), r(8), r(8), r(8, 16), r(16, 8)], [1] * 9


@case
def sdpa_causal():
    def f(ns, q, k, v):
        return ns.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).sin().sum()

    return f, [r(2, 3, 5, 4), r(2, 3, 5, 4), r(2, 3, 5, 4)], [1] * 3


@case
def cnn():
    def f(ns, x, w1, b1, w2, fc):
        F = ns.nn.functional
        h = F.max_pool2d(F.relu(F.conv2d(x, w1, b1, padding=1)), 2)
        h = F.avg_pool2d(F.conv2d(h, w2, stride=1), 2)
        return F.cross_entropy(h.flatten(1) @ fc, ns.arange(x.shape[0]))

    return f, [r(2, 3, 8, 8), r(4, 3, 3, 3), r(4), r(5, 4, 3, 3), r(5, 3)], [1] * 5


@case
def vae():
    def f(ns, x, we, wm, ws, wd, eps):
        F = ns.nn.functional
        h = ns.tanh(x @ we)
        mu = h @ wm
        lv = h @ ws
        z = mu + ns.exp(0.5 * lv) * eps
        rec = ns.sigmoid(z @ wd)
        return F.binary_cross_entropy(rec, ns.sigmoid(x), reduction="sum") - 0.5 * ns.sum(1 + lv - mu.pow(2) - lv.exp())

    return f, [r(4, 6), r(6, 5), r(5, 3), r(5, 3), r(3, 6), r(4, 3)], [0, 1, 1, 1, 1, 0]


@case
def embed():
    def f(ns, idx, e, w):
        F = ns.nn.functional
        h = F.embedding(idx, e).mean(1)
        return F.nll_loss(F.log_softmax(h @ w, dim=1), idx[:, 0] % 3)

    return f, [ri(10, 4, 6), r(10, 5), r(5, 3)], [0, 1, 1]


@case
def gather_scatter():
    def f(ns, x, i, u):
        y = x.gather(1, i)
        z = ns.zeros_like(x).scatter_add(1, i, u * y)
        return (z * x).sum() + x[i[:, 0]].prod()

    return f, [r(4, 5), ri(4, 4, 3), r(4, 3)], [1, 0, 1]


@case
def cosine():
    def f(ns, a, b):
        F = ns.nn.functional
        return F.cosine_similarity(a, b, dim=1).sum() + F.pairwise_distance(a, b).sum()

    return f, [r(4, 5), r(4, 5)], [1, 1]


@case
def gru_loop():
    def f(ns, x, h, wz, wr, wh):
        for t in range(4):
            c = ns.cat([x[t], h], 1)
            z = ns.sigmoid(c @ wz)
            rr = ns.sigmoid(c @ wr)
            hh = ns.tanh(ns.cat([x[t], rr * h], 1) @ wh)
            h = (1 - z) * h + z * hh
        return h.square().sum()

    return f, [r(4, 2, 3), r(2, 5), r(8, 5), r(8, 5), r(8, 5)], [1] * 5


@case
def stats():
    def f(ns, x):
        spread = x.var(0).sum() + x.std(1, unbiased=False).sum() + ns.logsumexp(x, 1).mean() + x.norm()
        return spread + x.amax(1).sum() + x.max(0).values.sum() + x.min(1)[0].sum()

    return f, [r(4, 6)], [1]


@case
def einsum():
    def f(ns, a, b, c):
        return (
            ns.einsum("bij,bjk,kl->bil", a, b, c).tanh().sum()
            + ns.einsum("bii->b", a[:, :, :3]).sum()
            + ns.einsum("bij,bij->", a, a)
        )

    return f, [r(2, 3, 4), r(2, 4, 5), r(5, 2)], [1, 1, 1]


@case
def views():
    def f(ns, x):
        y = x.permute(2, 0, 1).reshape(6, -1).t()[1:, ::2]
        z = ns.stack([y, y.flip(0)], -1).unbind(0)[1]
        w = ns.roll(x, 1, 0).unsqueeze(1).expand(-1, 3, -1, -1).sum(1)
        return (
            (z**3).sum()
            + (w * x).sum()
            + ns.nn.functional.pad(x, (1, 2)).cos().sum()
            + x.tril().sum()
            + x.diagonal(dim1=0, dim2=1).sum()
        )

    return f, [r(2, 3, 6)], [1]


@case
def bn():
    def f(ns, x, g, b):
        F = ns.nn.functional
        y = F.batch_norm(x, None, None, g, b, training=True)
        return (y * x).sin().sum() + F.group_norm(x, 2, g, b).pow(2).sum()

    return f, [r(3, 4, 5, 5), r(4), r(4)], [1, 1, 1]


@case
def losses():
    def f(ns, x, y):
        F = ns.nn.functional
        return (
            F.mse_loss(x, y)
            + F.l1_loss(x, y)
            + F.smooth_l1_loss(x, y)
            + F.huber_loss(x, y, delta=0.3)
            + F.kl_div(F.log_softmax(x, 1), F.softmax(y, 1), reduction="batchmean")
            + F.cross_entropy(x, F.softmax(y, 1), label_smoothing=0.1)
            + F.poisson_nll_loss(x, y.exp())
        )

    return f, [r(4, 5), r(4, 5)], [1, 1]


@case
def acts():
    def f(ns, x):
        F = ns.nn.functional
        return sum(
            g(x).sum()
            for g in [
                F.elu,
                F.selu,
                F.silu,
                F.mish,
                F.softsign,
                F.hardtanh,
                F.relu6,
                F.leaky_relu,
                F.celu,
                F.hardswish,
                F.hardsigmoid,
                F.logsigmoid,
                F.softplus,
                F.tanhshrink,
                F.glu,
            ]
        )

    return f, [r(4, 6)], [1]


@case
def where_():
    def f(ns, x, m):
        y = ns.where(x > 0, ns.sqrt(x.abs() + 0.1), x * 2)
        y = y.masked_fill(m > 0, -1e9)
        return (
            ns.softmax(y, -1).max()
            + ns.clamp(x, -0.2, 0.3).sum()
            + ns.maximum(x, m.float()).sum()
            + ns.lerp(x, x * 2, 0.3).sum()
        )

    return f, [r(3, 4), ri(2, 3, 4)], [1, 0]


@case
def inplace():
    def f(ns, x):
        y = x.clone()
        y[1:] *= 2
        y[:, 0] = 3.0
        y += x
        y[0, 1:].add_(5)
        z = y.t()
        z.mul_(x.t())
        y.tanh_()
        return (y**2).sum()

    return f, [r(3, 4)], [1]


@case
def linalg():
    def f(ns, a, b):
        return (
            (ns.outer(a[0], b[0]) @ b.t()).trace()
            + ns.dot(a[0], b[1])
            + ns.addmm(a @ b.t(), a, b.t(), beta=0.5, alpha=2).sum()
            + ns.bmm(a[None], b.t()[None]).sum()
        )

    return f, [r(3, 4), r(3, 4)], [1, 1]


@case
def double():
    def f(ns, x, w):
        y = (ns.tanh(x @ w) ** 2).sum()
        (g,) = ns.autograd.grad(y, w, create_graph=True)
        return (g**2).sum() + y

    return f, [r(3, 4), r(4, 2)], [0, 1]


@case
def poly():
    def f(ns, x, y):
        return (
            x**3
            - 2 * x * y
            + y / (x**2 + 1)
            + ns.exp(-x * x) * ns.sin(3 * y)
            + ns.log1p(x.abs())
            + ns.atan2(y, x + 3)
            + ns.hypot(x, y + 2)
            + (x % 0.7)
        ).sum()

    return f, [r(5), r(5)], [1, 1]
