"""Loops over time: a two-layer LSTM over 1,000 steps, and a damped pendulum integrated by RK4; float64."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Arrays, Peer, Setup
from benchmarks.peers import c_by_hand, gradients, torch_tensors

LAYERS = tuple(f"{kind}{k}" for k in (1, 2) for kind in ("wi", "wh", "bi", "bh"))


def sequence(rng, steps, wide):
    def weights(*shape):
        return rng.uniform(-1, 1, size=shape) / wide**0.5

    parameters = {name: weights(4 * wide, wide) if name[0] == "w" else weights(4 * wide) for name in LAYERS}
    return {"x": rng.normal(size=(steps, wide)), **parameters}


def cell(ns, x, h, c, wi, wh, bi, bh):
    """One LSTM step; the gates stand in PyTorch's order: input, forget, cell, output."""
    n = h.shape[0]
    z = wi @ x + bi + wh @ h + bh
    i, f, g, o = ns.sigmoid(z[:n]), ns.sigmoid(z[n : 2 * n]), ns.tanh(z[2 * n : 3 * n]), ns.sigmoid(z[3 * n :])
    c = f * c + i * g
    return o * ns.tanh(c), c


def two_layers(ns, p):
    def step(carry, x):
        h1, c1, h2, c2 = carry
        h1, c1 = cell(ns, x, h1, c1, *p[:4])
        h2, c2 = cell(ns, h1, h2, c2, *p[4:])
        return (h1, c1, h2, c2), h2

    return step


def lstm(ns, x, *p):
    zero = ns.zeros(x.shape[1], dtype=ns.float64)
    if hasattr(ns, "scan"):
        _, out = ns.scan(two_layers(ns, p), (zero, zero, zero, zero), x)
        return (out * out).mean()
    step, carry, outs = two_layers(ns, p), (zero,) * 4, []  # eager PyTorch: a loop in Python
    for k in range(x.shape[0]):
        carry, h = step(carry, x[k])
        outs.append(h)
    out = ns.stack(outs)
    return (out * out).mean()


def lstm_jax(jnp, jax, x, *p):
    class Names:
        sigmoid, tanh = staticmethod(jax.nn.sigmoid), staticmethod(jnp.tanh)

    zero = jnp.zeros(x.shape[1])
    _, out = jax.lax.scan(two_layers(Names, p), (zero, zero, zero, zero), x)
    return jnp.mean(out * out)


def lstm_module(given: Arrays, setup: Setup) -> Peer:
    """PyTorch's own LSTM, whose loop is in C++."""
    torch, tensors, _ = torch_tensors(given, (), setup)
    wide = given["x"].shape[1]
    module = torch.nn.LSTM(wide, wide, num_layers=2).double()
    parameters = list(module.parameters())
    with torch.no_grad():
        for parameter, value in zip(parameters, tensors[1:], strict=True):
            parameter.copy_(value)

    def call():
        for parameter in parameters:
            parameter.grad = None
        out, _ = module(tensors[0][:, None, :])
        loss = (out * out).mean()
        loss.backward()
        return loss, [parameter.grad for parameter in parameters]

    return Peer(call)


def pendulum_arrays(rng, steps):
    return {"y": np.array([1.0, 0.2]), "p": np.array([9.81, 0.15]), "h": np.full(steps, 0.01)}


def slope(ns, y, p):
    return ns.stack([y[1], -p[0] * ns.sin(y[0]) - p[1] * y[1]])


def rk4(ns, y, p, h):
    a = slope(ns, y, p)
    b = slope(ns, y + 0.5 * h * a, p)
    c = slope(ns, y + 0.5 * h * b, p)
    d = slope(ns, y + h * c, p)
    return y + h / 6 * (a + 2 * b + 2 * c + d)


def pendulum(ns, y, p, h):
    if hasattr(ns, "scan"):
        y, _ = ns.scan(lambda y, step: (rk4(ns, y, p, step), None), y, h)
    else:
        for k in range(h.shape[0]):
            y = rk4(ns, y, p, h[k])
    return (y * y).sum()


def pendulum_jax(jnp, jax, y, p, h):
    y, _ = jax.lax.scan(lambda y, step: (rk4(jnp, y, p, step), None), y, h)
    return jnp.sum(y * y)


RK4_C = """
    static double kept[4 * h_0][2];
    double u = y[0], v = y[1], G = p[0], D = p[1];
    for (int t = 0; t < h_0; ++t) {
        double ku = 0, kv = 0, su = 0, sv = 0;
        for (int s = 0; s < 4; ++s) {
            double f = s == 0 ? 0 : s == 3 ? h[t] : 0.5 * h[t], q = s == 0 || s == 3 ? 1 : 2;
            double uu = u + f * ku, vv = v + f * kv;
            kept[4 * t + s][0] = uu, kept[4 * t + s][1] = vv;
            ku = vv, kv = -G * sin(uu) - D * vv;
            su += q * ku, sv += q * kv;
        }
        u += h[t] / 6 * su, v += h[t] / 6 * sv;
    }
    *r0 = u * u + v * v;
    double gu = 2 * u, gv = 2 * v, gG = 0, gD = 0;
    for (int t = h_0 - 1; t >= 0; --t) {
        double nu = gu, nv = gv, au = 0, av = 0; /* a: cotangent of the stage's slope by the later stage */
        for (int s = 3; s >= 0; --s) {
            double f = s == 0 ? 0 : s == 3 ? h[t] : 0.5 * h[t], q = s == 0 || s == 3 ? 1 : 2;
            double bu = q * h[t] / 6 * gu + au, bv = q * h[t] / 6 * gv + av;
            double uu = kept[4 * t + s][0], vv = kept[4 * t + s][1];
            double du = -G * cos(uu) * bv, dv = bu - D * bv;
            gG -= sin(uu) * bv, gD -= vv * bv;
            nu += du, nv += dv;
            au = f * du, av = f * dv;
        }
        gu = nu, gv = nv;
    }
    r1[0] = gu, r1[1] = gv, r2[0] = gG, r2[1] = gD;
"""

CASES = [
    gradients("lstm-2x14-1000", sequence, lstm, LAYERS, lstm_jax, size=(1000, 14), quick=(6, 5), tolerance=1e-9,
              targets={"jax": 1 / 2, "torch": 1 / 100}, more={"torch-module": lstm_module},
              note="torch: a loop in Python; torch-module: nn.LSTM"),
    gradients("rk4-pendulum-1000", pendulum_arrays, pendulum, ("y", "p"), pendulum_jax, size=(1000,), quick=(8,),
              tolerance=1e-9, targets={"jax": 1 / 10},
              more={"c": c_by_hand(RK4_C, lambda a: [np.zeros(()), np.zeros(2), np.zeros(2)])}),
]
