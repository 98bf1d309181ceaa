"""One pass over a vector: sum(sigmoid(z)*tanh(z) + exp(-z*z)) and its gradient."""

from __future__ import annotations

from benchmarks.harness import Case


def loss(ns, z):
    return (ns.sigmoid(z) * ns.tanh(z) + ns.exp(-z * z)).sum()


def loss_jax(jnp, jax, z):
    return jnp.sum(jax.nn.sigmoid(z) * jnp.tanh(z) + jnp.exp(-z * z))


def of_size(n):
    return lambda rng: {"z": rng.normal(size=n).astype("float32")}


CASES = [
    Case(f"elementwise-1e{k}", of_size(10**k), loss, ("z",), loss_jax,
         {"jax": 1 / 2, "torch": 1 / 6, "torch.compile": 1 / 4}, compiled=True)
    for k in (3, 6, 7)
]
