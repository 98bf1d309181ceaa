"""One pass over a vector: sum(sigmoid(z)*tanh(z) + exp(-z*z)) and its gradient."""

from __future__ import annotations

import numpy as np

from benchmarks.peers import c_by_hand, copy_of, gradients


def loss(ns, z):
    return (ns.sigmoid(z) * ns.tanh(z) + ns.exp(-z * z)).sum()


def loss_jax(jnp, jax, z):
    return jnp.sum(jax.nn.sigmoid(z) * jnp.tanh(z) + jnp.exp(-z * z))


def arrays(rng, n):
    return {"z": rng.normal(size=n).astype("float32")}


BY_HAND = """
    double sum = 0;
    for (int i = 0; i < z_0; ++i) {
        float s = 1 / (1 + expf(-z[i])), t = tanhf(z[i]), e = expf(-z[i] * z[i]);
        sum += s * t + e;
        r1[i] = s * (1 - s) * t + s * (1 - t * t) - 2 * z[i] * e;
    }
    *r0 = (float)sum;
"""

CASES = [
    gradients(
        f"elementwise-1e{k}", arrays, loss, ("z",), loss_jax, size=(10**k,), quick=(1000,), compiled=True,
        targets={"jax": 1 / 2, "torch": 1 / 6, "torch.compile": 1 / 4},
        more={"c": c_by_hand(BY_HAND, lambda a: [np.zeros((), "float32"), np.zeros_like(a["z"])]), "memcpy": copy_of("z")},
        note="c: the plain loop with libm's functions",
    )
    for k in (3, 6, 7)
]
