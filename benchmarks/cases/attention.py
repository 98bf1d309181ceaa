"""Scaled dot-product attention: 8 heads, 256 tokens, 64 wide; and a transformer's layer in composite operations and in steps.

In steps means what PyTorch's decompositions make of the operations: softmax beside products of batches of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Case
from benchmarks.peers import gradgen, gradients, torch_gradients

Attention = Callable[[Any, Any, Any, Any], Any]
HEADS = 4


def arrays(rng, heads, tokens, wide):
    return {k: rng.normal(size=(1, heads, tokens, wide)).astype("float32") for k in "qkvg"}


def loss(ns, q, k, v, g):
    return (ns.nn.functional.scaled_dot_product_attention(q, k, v) * g).sum()


def loss_jax(jnp, jax, q, k, v, g):
    weights = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5, axis=-1)
    return jnp.sum((weights @ v) * g)


# --- in steps ----------------------------------------------------------------------------------------------------------


def in_batches(ns, a, b):
    """a @ b over [..., rows, columns] as one product of batches of matrices."""
    *lead, rows, width = a.shape
    count = math.prod(lead)
    made = ns.bmm(a.expand(*lead, rows, width).reshape(count, rows, width), b.reshape(count, width, b.shape[-1]))
    return made.reshape(*lead, rows, b.shape[-1])


def softmax_in_steps(x):
    powers = (x - x.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def unmasked(ns, x):
    """softmax with zeros where a row is masked throughout."""
    weights = ns.softmax(x, -1)
    return ns.where((~(x == -math.inf)).any(-1, keepdim=True), weights, ns.zeros_like(weights))


def linear_in_steps(ns, x, w, b):
    *lead, width = x.shape
    return ns.addmm(b, x.reshape(math.prod(lead), width), w.t()).reshape(*lead, w.shape[0])


def composite(ns, q, k, v):
    return ns.nn.functional.scaled_dot_product_attention(q, k, v)


def by_softmax(ns, q, k, v):
    return ns.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), -1) @ v


def in_steps(ns, q, k, v):
    return softmax_in_steps(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5) @ v


def as_batches(ns, q, k, v):
    return in_batches(ns, softmax_in_steps(in_batches(ns, q, k.transpose(-2, -1)) * q.shape[-1] ** -0.5), v)


def as_aten(ns, q, k, v):
    """Scaled before the product, rows looked through for those that are masked, the result lying as ATen has it."""
    scale = q.shape[-1] ** -0.25
    weights = unmasked(ns, in_batches(ns, q * scale, k.permute(0, 1, 3, 2) * scale))
    return in_batches(ns, weights, v).permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3)


IN_STEPS: dict[str, Attention] = {f.__name__: f for f in (by_softmax, in_steps, as_batches, as_aten)}

# --- a layer -----------------------------------------------------------------------------------------------------------


def layer_shapes(n: Any, tokens: int, width: int) -> dict[str, tuple[Any, ...]]:
    matrices = dict.fromkeys(("wq", "wk", "wv", "wo"), (width, width))
    return {"x": (n, tokens, width), **matrices, "w1": (4 * width, width), "w2": (width, 4 * width), "b": (width,),
            "b1": (4 * width,), "g": (n, tokens, width)}


WEIGHTS = ("wq", "wk", "wv", "wo", "w1", "w2", "b", "b1")


def layer_arrays(rng, n, tokens, width):
    return {k: (rng.normal(size=s) * (width**-0.5 if k in WEIGHTS else 1)).astype("float32")
            for k, s in layer_shapes(n, tokens, width).items()}


def layer(attention: Attention, linear: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A transformer's layer with four heads, layers of its own being linear(ns, x, w, b)."""

    def program(ns, x, wq, wk, wv, wo, w1, w2, b, b1, g):
        f = ns.nn.functional
        line = linear or (lambda ns, x, w, b: f.linear(x, w, b))
        n, tokens, width = x.shape
        y = f.layer_norm(x, (width,))
        heads = [line(ns, y, w, b).reshape(n, tokens, HEADS, width // HEADS).permute(0, 2, 1, 3) for w in (wq, wk, wv)]
        x = x + line(ns, attention(ns, *heads).permute(0, 2, 1, 3).reshape(n, tokens, width), wo, b)
        x = x + line(ns, f.gelu(line(ns, f.layer_norm(x, (width,)), w1, b1)), w2, b)
        return (x * g).sum()

    return program


def layer_in_steps(name: str, attention: Attention) -> Case:
    made, whole = layer(attention, linear_in_steps), layer(composite)
    makers = {"gradgen": gradgen(made, WEIGHTS), "gradgen-composite": gradgen(whole, WEIGHTS),
              "torch": torch_gradients(whole, WEIGHTS)}
    return Case(f"layer-{name}", layer_arrays, makers, size=(4, 64, 128), quick=(2, 8, 16), tolerance=1e-3,
                targets={"gradgen-composite": 1.2, "torch": 1.0})


CASES = [
    gradients("attention-8x256x64", arrays, loss, ("q", "k", "v"), loss_jax, size=(8, 256, 64), quick=(2, 9, 6),
              targets={"torch": 1.0}, compiled=True, tolerance=1e-3),
    *(layer_in_steps(name.replace("_", "-"), attention) for name, attention in IN_STEPS.items()),
]
