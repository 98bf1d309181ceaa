"""Bundle adjustment: each observation's reprojection error (2) and its Jacobian (2x15) by camera, point and weight.

A camera has 11 parameters: rotation vector, centre, focal length, principal point, two radial distortions.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Case
from benchmarks.peers import casadi_c, gradgen, gradgen_c, jax_values, torch_values


def arrays(rng, observations):
    cameras, points = max(2, observations // 600), max(4, observations // 5)
    camera = np.concatenate([
        0.3 * rng.normal(size=(cameras, 3)), rng.normal(size=(cameras, 3)), 1 + 0.1 * rng.normal(size=(cameras, 1)),
        0.1 * rng.normal(size=(cameras, 2)), 0.01 * rng.normal(size=(cameras, 2)),
    ], axis=1)
    return {
        "camera": camera, "point": rng.normal(size=(points, 3)) + np.array([0, 0, 12.0]), "weight": rng.random(observations),
        "seen": rng.normal(size=(observations, 2)), "ci": np.sort(rng.integers(0, cameras, observations)),
        "pi": rng.integers(0, points, observations),
    }


def project(c, x, sqrt, sin, cos):
    """The image of point x: Rodrigues' rotation about c[0:3], then a pinhole with radial distortion."""
    a, b, d = x[0] - c[3], x[1] - c[4], x[2] - c[5]
    angle = sqrt(c[0] * c[0] + c[1] * c[1] + c[2] * c[2])
    u, v, w = c[0] / angle, c[1] / angle, c[2] / angle
    s, o = sin(angle), cos(angle)
    t = (u * a + v * b + w * d) * (1 - o)
    px = a * o + (v * d - w * b) * s + u * t
    py = b * o + (w * a - u * d) * s + v * t
    pz = d * o + (u * b - v * a) * s + w * t
    x0, x1 = px / pz, py / pz
    r = x0 * x0 + x1 * x1
    scale = (1 + c[9] * r + c[10] * r * r) * c[6]
    return x0 * scale + c[7], x1 * scale + c[8]


def residual(ns, c, x, w, seen):
    p, q = project(c, x, ns.sqrt, ns.sin, ns.cos)
    return ns.stack([w * (p - seen[0]), w * (q - seen[1])])


def jacobians(ns, camera, point, weight, seen, ci, pi):
    def both(c, x, w, m):
        def inner(c, x, w):
            return residual(ns, c, x, w, m)

        error = inner(c, x, w)
        dc, dx, dw = ns.func.jacrev(inner, argnums=(0, 1, 2))(c, x, w)
        return error, dc, dx, dw

    return ns.func.vmap(both)(camera[ci], point[pi], weight, seen)


def jacobians_jax(jnp, jax, camera, point, weight, seen, ci, pi):
    def inner(c, x, w, m):
        return residual(jnp, c, x, w, m)

    given = camera[ci], point[pi], weight, seen
    return jax.vmap(inner)(*given), *jax.vmap(jax.jacrev(inner, argnums=(0, 1, 2)))(*given)


def in_casadi(casadi):
    c, x, w, m = (casadi.SX.sym(n, k) for n, k in (("c", 11), ("x", 3), ("w", 1), ("m", 2)))
    p, q = project([c[k] for k in range(11)], [x[k] for k in range(3)], casadi.sqrt, casadi.sin, casadi.cos)
    e = casadi.vertcat(w * (p - m[0]), w * (q - m[1]))
    rows = [casadi.densify(casadi.jacobian(e, v)).T for v in (c, x, w)]  # by columns: transposed, our rows
    return casadi.Function("observation", [c, x, w, m], [e, *rows])


def results(given):
    n = len(given["ci"])
    return [np.zeros((n, 2)), np.zeros((n, 2, 11)), np.zeros((n, 2, 3)), np.zeros((n, 2))]


CASADI = casadi_c(in_casadi, results, {"camera": "ci", "point": "pi", "weight": "", "seen": ""}, lambda a: len(a["ci"]))
CASES = [
    Case(f"bundle-adjustment-{n}", arrays, {
        "gradgen": gradgen(jacobians), "gradgen-c": gradgen_c(jacobians), "casadi": CASADI, "jax": jax_values(jacobians_jax),
        "torch": torch_values(jacobians),
    }, size=(n,), quick=(50,), own="gradgen-c", tolerance=1e-9, targets={"casadi": 1.0, "jax": 1 / 4},
        note="casadi: its SX function in a loop in C; gradgen-c: the emitted function called from C")
    for n in (30_000, 200_000)
]
