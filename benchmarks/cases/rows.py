"""Row-wise chains: softmax cross-entropy, and layer_norm + gelu + residual."""

from __future__ import annotations

from benchmarks.harness import Case


def logits(rng):
    return {"z": rng.normal(size=(4096, 1000)).astype("float32"), "t": rng.integers(0, 1000, size=4096)}


def cross_entropy(ns, z, t):
    return ns.nn.functional.cross_entropy(z, t)


def cross_entropy_jax(jnp, jax, z, t):
    logp = jax.nn.log_softmax(z, axis=-1)
    return -jnp.mean(jnp.take_along_axis(logp, t[:, None], axis=1))


def features(rng):
    return {
        "x": rng.normal(size=(4096, 768)).astype("float32"), "g": rng.normal(size=768).astype("float32"),
        "b": rng.normal(size=768).astype("float32"), "v": rng.normal(size=(4096, 768)).astype("float32"),
    }


def norm_gelu(ns, x, g, b, v):
    functional = ns.nn.functional
    return ((x + functional.gelu(functional.layer_norm(x, (768,), g, b))) * v).sum()


def norm_gelu_jax(jnp, jax, x, g, b, v):
    mean = jnp.mean(x, axis=-1, keepdims=True)
    var = jnp.mean((x - mean) ** 2, axis=-1, keepdims=True)
    h = (x - mean) * jax.lax.rsqrt(var + 1e-5) * g + b
    return jnp.sum((x + jax.nn.gelu(h, approximate=False)) * v)


CASES = [
    Case("softmax-ce-4096x1000", logits, cross_entropy, ("z",), cross_entropy_jax, {"torch": 1 / 2}, compiled=True),
    Case("layernorm-gelu-4096x768", features, norm_gelu, ("x", "g", "b"), norm_gelu_jax,
         {"torch": 1 / 2, "torch.compile": 1.0, "jax": 1.0}, compiled=True, tolerance=1e-3),
]
