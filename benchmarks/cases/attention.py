"""Scaled dot-product attention: 8 heads, 256 tokens, 64 wide."""

from __future__ import annotations

from benchmarks.peers import gradients


def arrays(rng, heads, tokens, wide):
    return {k: rng.normal(size=(1, heads, tokens, wide)).astype("float32") for k in "qkvg"}


def loss(ns, q, k, v, g):
    return (ns.nn.functional.scaled_dot_product_attention(q, k, v) * g).sum()


def loss_jax(jnp, jax, q, k, v, g):
    weights = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5, axis=-1)
    return jnp.sum((weights @ v) * g)


CASES = [
    gradients("attention-8x256x64", arrays, loss, ("q", "k", "v"), loss_jax, size=(8, 256, 64), quick=(2, 9, 6),
              targets={"torch": 1.0}, compiled=True, tolerance=1e-3),
]
