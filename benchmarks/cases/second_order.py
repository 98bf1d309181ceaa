"""Hessian-vector products and full Hessians of a two-layer network and of Rosenbrock's function; float64."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Case
from benchmarks.peers import c_by_hand, casadi_c, gradgen, gradgen_c, jax_values, torch_values


def network_arrays(rng, n, inputs, hidden, outputs):
    return {
        "x": rng.normal(size=(n, inputs)), "t": rng.normal(size=(n, outputs)),
        "w1": rng.normal(size=(inputs, hidden)) / inputs**0.5, "w2": rng.normal(size=(hidden, outputs)) / hidden**0.5,
        "v1": rng.normal(size=(inputs, hidden)), "v2": rng.normal(size=(hidden, outputs)),
    }


def network(ns, x, t):
    def loss(w1, w2):
        e = ns.tanh(x @ w1) @ w2 - t
        return (e * e).mean()

    return loss


def product(function_of):
    """The Hessian-vector product by forward over reverse: torch.func and gradgen.func."""

    def function(ns, *given):
        function, primals, tangents = function_of(ns, *given)
        grad = ns.func.grad(function, argnums=tuple(range(len(primals))))
        return ns.func.jvp(grad, primals, tangents)[1]

    return function


def product_jax(function_of):
    def function(jnp, jax, *given):
        function, primals, tangents = function_of(jnp, *given)
        return jax.jvp(jax.grad(function, argnums=tuple(range(len(primals)))), primals, tangents)[1]

    return function


def network_at(ns, x, t, w1, w2, v1, v2):
    return network(ns, x, t), (w1, w2), (v1, v2)


def network_hessian(ns, x, t, w1, w2, v1, v2):
    return ns.func.hessian(network(ns, x, t), argnums=(0, 1))(w1, w2)


def network_hessian_jax(jnp, jax, x, t, w1, w2, v1, v2):
    return jax.hessian(network(jnp, x, t), argnums=(0, 1))(w1, w2)


def rosenbrock(x):
    a, b = x[1:] - x[:-1] * x[:-1], 1 - x[:-1]
    return (100 * a * a + b * b).sum()


def vectors(rng, n):
    return {"x": rng.normal(size=n), "v": rng.normal(size=n)}


def rosenbrock_at(ns, x, v):
    return rosenbrock, (x,), (v,)


def rosenbrock_hessian(ns, x, v):
    return ns.func.hessian(rosenbrock)(x)


def rosenbrock_hessian_jax(jnp, jax, x, v):
    return jax.hessian(rosenbrock)(x)


def casadi_product(n):
    def make(casadi):
        x, v = casadi.SX.sym("x", n), casadi.SX.sym("v", n)
        a, b = x[1:] - x[:-1] * x[:-1], 1 - x[:-1]
        f = casadi.sum1(100 * a * a + b * b)
        return casadi.Function("hvp", [x, v], [casadi.jtimes(casadi.gradient(f, x), x, v)])

    return make


PRODUCT_C = """
    for (int i = 0; i < x_0; ++i) r0[i] = 0;
    for (int i = 0; i + 1 < x_0; ++i) {
        double d = -400 * x[i];
        r0[i] += (1200 * x[i] * x[i] - 400 * x[i + 1] + 2) * v[i] + d * v[i + 1];
        r0[i + 1] += d * v[i] + 200 * v[i + 1];
    }
"""
HESSIAN_C = """
    memset(r0, 0, sizeof(double) * x_0 * x_0);
    for (int i = 0; i + 1 < x_0; ++i) {
        r0[i * x_0 + i] += 1200 * x[i] * x[i] - 400 * x[i + 1] + 2;
        r0[i * x_0 + i + 1] = r0[(i + 1) * x_0 + i] = -400 * x[i];
        r0[(i + 1) * x_0 + i + 1] += 200;
    }
"""
N = 1000


def vector(given):
    return [np.zeros_like(given["x"])]


CASES = [
    Case("hvp-network", network_arrays, {
        "gradgen": gradgen(product(network_at)), "jax": jax_values(product_jax(network_at)),
        "torch": torch_values(product(network_at)),
    }, size=(128, 32, 32, 8), quick=(5, 4, 3, 2), targets={"jax": 1.0}, tolerance=1e-9),
    Case("hessian-network", network_arrays, {
        "gradgen": gradgen(network_hessian), "jax": jax_values(network_hessian_jax), "torch": torch_values(network_hessian),
    }, size=(64, 16, 16, 4), quick=(5, 4, 3, 2), targets={"jax": 1.0}, tolerance=1e-9),
    Case("hvp-rosenbrock-1000", vectors, {
        "gradgen": gradgen(product(rosenbrock_at)), "gradgen-c": gradgen_c(product(rosenbrock_at)),
        "jax": jax_values(product_jax(rosenbrock_at)), "torch": torch_values(product(rosenbrock_at)),
        "c": c_by_hand(PRODUCT_C, vector), "casadi": lambda a, s: casadi_c(casadi_product(len(a["x"])), vector)(a, s),
    }, size=(N,), quick=(7,), targets={"jax": 1.0}, tolerance=1e-9),
    Case("hessian-rosenbrock-1000", vectors, {
        "gradgen": gradgen(rosenbrock_hessian), "jax": jax_values(rosenbrock_hessian_jax),
        "torch": torch_values(rosenbrock_hessian), "c": c_by_hand(HESSIAN_C, lambda a: [np.zeros((len(a["x"]),) * 2)]),
    }, size=(N,), quick=(7,), targets={"jax": 1.0}, tolerance=1e-9,
       note="as a dense array; c: zeroes it and fills three bands"),
]
