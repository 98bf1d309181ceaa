"""Convolutions alone, 3x3 and 1x1, and LeNet on 28x28 images; batch 32."""

from __future__ import annotations

from benchmarks.peers import gradients


def images(rng, n, channels, outputs, side, kernel):
    return {
        "x": rng.normal(size=(n, channels, side, side)).astype("float32"),
        "w": rng.normal(size=(outputs, channels, kernel, kernel)).astype("float32"),
        "b": rng.normal(size=outputs).astype("float32"),
        "v": rng.normal(size=(n, outputs, side, side)).astype("float32"),
    }


def convolution(ns, x, w, b, v):
    return (ns.nn.functional.conv2d(x, w, b, padding=w.shape[-1] // 2) * v).sum()


def conv_jax(jax, x, w, b, pad):
    out = jax.lax.conv_general_dilated(x, w, (1, 1), [(pad, pad)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW"))
    return out + b[None, :, None, None]


def convolution_jax(jnp, jax, x, w, b, v):
    return jnp.sum(conv_jax(jax, x, w, b, w.shape[-1] // 2) * v)


def lenet_arrays(rng, n):
    def weights(*shape):
        fan = 1
        for extent in shape[1:]:
            fan *= extent
        return (rng.normal(size=shape) / fan**0.5).astype("float32")

    return {
        "x": rng.normal(size=(n, 1, 28, 28)).astype("float32"), "t": rng.integers(0, 10, size=n),
        "k1": weights(6, 1, 5, 5), "c1": weights(6, 1)[:, 0].copy(),
        "k2": weights(16, 6, 5, 5), "c2": weights(16, 1)[:, 0].copy(),
        "w3": weights(120, 400), "b3": weights(120, 1)[:, 0].copy(),
        "w4": weights(84, 120), "b4": weights(84, 1)[:, 0].copy(),
        "w5": weights(10, 84), "b5": weights(10, 1)[:, 0].copy(),
    }


def lenet(ns, x, t, k1, c1, k2, c2, w3, b3, w4, b4, w5, b5):
    f = ns.nn.functional
    h = f.max_pool2d(f.relu(f.conv2d(x, k1, c1, padding=2)), 2)
    h = f.max_pool2d(f.relu(f.conv2d(h, k2, c2)), 2)
    h = h.flatten(1)
    h = f.relu(f.linear(h, w3, b3))
    h = f.relu(f.linear(h, w4, b4))
    return f.cross_entropy(f.linear(h, w5, b5), t)


def lenet_jax(jnp, jax, x, t, k1, c1, k2, c2, w3, b3, w4, b4, w5, b5):
    def pool(h):
        return jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    h = pool(jax.nn.relu(conv_jax(jax, x, k1, c1, 2)))
    h = pool(jax.nn.relu(conv_jax(jax, h, k2, c2, 0)))
    h = h.reshape(h.shape[0], -1)
    h = jax.nn.relu(h @ w3.T + b3)
    h = jax.nn.relu(h @ w4.T + b4)
    logp = jax.nn.log_softmax(h @ w5.T + b5)
    return -jnp.mean(jnp.take_along_axis(logp, t[:, None], axis=1))


PARAMETERS = ("k1", "c1", "k2", "c2", "w3", "b3", "w4", "b4", "w5", "b5")
CASES = [
    gradients("conv2d-3x3", images, convolution, ("x", "w", "b"), convolution_jax, size=(32, 16, 32, 28, 3),
              quick=(2, 3, 4, 7, 3), targets={"torch": 1.0}, tolerance=1e-3),
    gradients("conv2d-1x1", images, convolution, ("x", "w", "b"), convolution_jax, size=(32, 32, 32, 28, 1),
              quick=(2, 3, 4, 7, 1), targets={"torch": 1.0}, tolerance=1e-3),
    gradients("lenet-n32", lenet_arrays, lenet, PARAMETERS, lenet_jax, size=(32,), quick=(2,), targets={"torch": 1.0},
              tolerance=1e-3),
]
