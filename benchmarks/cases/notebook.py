"""The autograd notebook's model: one example, 5 inputs, 3 outputs, binary cross-entropy with logits."""

from __future__ import annotations

from benchmarks.harness import Case


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


CASES = [Case("notebook", arrays, loss, ("w", "b"), loss_jax, {"torch": 1 / 20, "jax": 1 / 3})]
