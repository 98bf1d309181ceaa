"""The autograd notebook's model: one example, 5 inputs, 3 outputs, binary cross-entropy with logits."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Arrays, Case, Peer, Setup
from benchmarks.peers import c_by_hand, gradgen_c, gradients, jax_gradients


def arrays(rng):
    return {
        "x": rng.normal(size=5).astype("float32"), "y": (rng.random(3) > 0.5).astype("float32"),
        "w": rng.normal(size=(5, 3)).astype("float32"), "b": rng.normal(size=3).astype("float32"),
    }


def loss(ns, x, y, w, b):
    return ns.nn.functional.binary_cross_entropy_with_logits(ns.matmul(x, w) + b, y)


def loss_jax(jnp, jax, x, y, w, b):
    z = x @ w + b
    return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))


BY_HAND = """
    float sum = 0;
    for (int j = 0; j < 3; ++j) {
        float z = b[j];
        for (int i = 0; i < 5; ++i) z += x[i] * w[3 * i + j];
        float e = expf(-fabsf(z)), s = (z >= 0 ? 1 : e) / (1 + e);
        sum += (z > 0 ? z : 0) - z * y[j] + log1pf(e);
        float g = (s - y[j]) / 3;
        r2[j] = g;
        for (int i = 0; i < 5; ++i) r1[3 * i + j] = g * x[i];
    }
    *r0 = sum / 3;
"""


def results(given: Arrays) -> list[np.ndarray]:
    return [np.zeros((), "float32"), np.zeros_like(given["w"]), np.zeros_like(given["b"])]


def eager(module: str):
    """The notebook's loop as a user writes it: tensors in, backward, gradients zeroed by hand."""

    def make(given: Arrays, setup: Setup) -> Peer:
        ns = __import__(module)
        if module == "torch":
            ns.set_num_threads(setup.threads)
        x, y = ns.from_numpy(given["x"].copy()), ns.from_numpy(given["y"].copy())
        w, b = (ns.from_numpy(given[k].copy()).requires_grad_() for k in "wb")

        def call():
            z = ns.matmul(x, w) + b
            value = ns.nn.functional.binary_cross_entropy_with_logits(z, y)
            value.backward()
            seen = value.item()
            found = w.grad.clone(), b.grad.clone()
            w.grad.zero_()
            b.grad.zero_()
            return np.float32(seen), found

        return Peer(call)

    return make


CASES = [
    gradients("notebook", arrays, loss, ("w", "b"), loss_jax, targets={"torch": 1 / 20, "jax": 1 / 3}, compiled=True),
    Case("notebook-c", arrays, {
        "gradgen-c": gradgen_c(loss, ("w", "b")), "c": c_by_hand(BY_HAND, results),
        "jax": jax_gradients(loss_jax, ("w", "b")),
    }, own="gradgen-c", limit=0.3e-6, targets={"c": 1.0}, note="the C function in a loop in C"),
    Case("notebook-eager", arrays, {"gradgen": eager("gradgen"), "torch": eager("torch")}, targets={"torch": 1.0},
         note="the notebook's statements, after the first pass"),
]
