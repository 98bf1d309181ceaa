"""Two-layer networks with cross-entropy."""

from __future__ import annotations

from benchmarks.peers import gradients


def network(rng, n, inputs, hidden, outputs):
    scale = (2 / inputs) ** 0.5
    return {
        "x": rng.normal(size=(n, inputs)).astype("float32"), "t": rng.integers(0, outputs, size=n),
        "w1": (rng.normal(size=(inputs, hidden)) * scale).astype("float32"),
        "b1": rng.normal(size=hidden).astype("float32"),
        "w2": (rng.normal(size=(hidden, outputs)) * scale).astype("float32"),
        "b2": rng.normal(size=outputs).astype("float32"),
    }


def loss(ns, x, t, w1, b1, w2, b2):
    h = ns.relu(x @ w1 + b1)
    return ns.nn.functional.cross_entropy(h @ w2 + b2, t)


def loss_jax(jnp, jax, x, t, w1, b1, w2, b2):
    h = jax.nn.relu(x @ w1 + b1)
    logp = jax.nn.log_softmax(h @ w2 + b2)
    return -jnp.mean(jnp.take_along_axis(logp, t[:, None], axis=1))


def case(n, inputs, hidden, outputs, targets):
    return gradients(f"mlp-{inputs}-{hidden}-{outputs}-n{n}", network, loss, ("w1", "b1", "w2", "b2"), loss_jax,
                     size=(n, inputs, hidden, outputs), quick=(min(n, 3), 20, 12, 5), targets=targets, compiled=True)


CASES = [
    case(128, 784, 256, 10, {"torch": 1.0, "jax": 1.0}),
    case(1, 64, 64, 10, {"torch": 1 / 5, "jax": 1 / 2}),
    case(32, 64, 64, 10, {"torch": 1 / 5, "jax": 1 / 2}),
]
