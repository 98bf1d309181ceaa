"""Row-wise chains: softmax cross-entropy, and layer_norm + gelu + residual."""

from __future__ import annotations

from benchmarks.peers import copy_of, gradients


def logits(rng, n, classes):
    return {"z": rng.normal(size=(n, classes)).astype("float32"), "t": rng.integers(0, classes, size=n)}


def cross_entropy(ns, z, t):
    return ns.nn.functional.cross_entropy(z, t)


def cross_entropy_jax(jnp, jax, z, t):
    logp = jax.nn.log_softmax(z, axis=-1)
    return -jnp.mean(jnp.take_along_axis(logp, t[:, None], axis=1))


def features(rng, n, wide):
    return {
        "x": rng.normal(size=(n, wide)).astype("float32"), "g": rng.normal(size=wide).astype("float32"),
        "b": rng.normal(size=wide).astype("float32"), "v": rng.normal(size=(n, wide)).astype("float32"),
    }


def norm_gelu(ns, x, g, b, v):
    functional = ns.nn.functional
    return ((x + functional.gelu(functional.layer_norm(x, (x.shape[-1],), g, b))) * v).sum()


def norm_gelu_jax(jnp, jax, x, g, b, v):
    mean = jnp.mean(x, axis=-1, keepdims=True)
    var = jnp.mean((x - mean) ** 2, axis=-1, keepdims=True)
    h = (x - mean) * jax.lax.rsqrt(var + 1e-5) * g + b
    return jnp.sum((x + jax.nn.gelu(h, approximate=False)) * v)


CASES = [
    gradients("softmax-ce-4096x1000", logits, cross_entropy, ("z",), cross_entropy_jax, size=(4096, 1000), quick=(33, 50),
              targets={"torch": 1 / 2, "memcpy": 1.3}, compiled=True, more={"memcpy": copy_of("z")}),
    gradients("layernorm-gelu-4096x768", features, norm_gelu, ("x", "g", "b"), norm_gelu_jax, size=(4096, 768), quick=(9, 40),
              targets={"torch": 1 / 2, "torch.compile": 1.0, "jax": 1.0}, compiled=True, tolerance=1e-3,
              more={"memcpy": copy_of("x", "v")}),
]
