"""A 7-joint arm from SymPy: pose of its hand (3x4) and the Jacobian of the hand's place by the joints, unrolled."""

from __future__ import annotations

from functools import cache

import numpy as np

from benchmarks.harness import Arrays, Case
from benchmarks.peers import casadi_c, gradgen_c

# Denavit-Hartenberg parameters (a, d, alpha) of an arm of the proportions of common 7-axis arms, in metres.
LINKS = ((0.0, 0.333, -1), (0.0, 0.0, 1), (0.0825, 0.316, 1), (-0.0825, 0.0, -1), (0.0, 0.384, 1), (0.088, 0.0, 1),
         (0.0, 0.107, 0))


def arrays(rng):
    return {"q": rng.uniform(-1, 1, size=7)}


def chain(q, sin, cos, product):
    """The product of the joints' transforms; alpha is -90, 0 or 90 degrees, so its sine and cosine are integers."""
    pose = None
    for k, (a, d, alpha) in enumerate(LINKS):
        s, c, sa, ca = sin(q[k]), cos(q[k]), alpha, 1 - abs(alpha)
        link = [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]
        pose = link if pose is None else product(pose, link)
    return pose


@cache
def program():
    import sympy

    import gradgen as gg

    q = sympy.Matrix(sympy.symbols("q0:7"))
    pose = chain(list(q), sympy.sin, sympy.cos, lambda a, b: (sympy.Matrix(a) * sympy.Matrix(b)).tolist())
    outputs = {"pose": sympy.Matrix(pose)[:3, :], "place": [row[3] for row in pose[:3]]}
    return gg.from_sympy(outputs, {"q": list(q)}, name="arm", requires_grad=False, jacobians={"jacobian": ("place", "q")})


def in_casadi(casadi):
    q = casadi.SX.sym("q", 7)

    def product(a, b):
        return (casadi.SX(a) if isinstance(a, casadi.SX) else casadi.blockcat(a)) @ casadi.blockcat(b)

    pose = chain([q[k] for k in range(7)], casadi.sin, casadi.cos, product)
    place = pose[:3, 3]
    rows = [casadi.densify(e) for e in (pose[:3, :].T, place, casadi.jacobian(place, q).T)]
    return casadi.Function("arm", [q], rows)


def results(given: Arrays) -> list[np.ndarray]:
    return [np.zeros((3, 4)), np.zeros(3), np.zeros((3, 7))]


CASES = [
    Case("robot-arm-7", arrays, {
        "gradgen-c": gradgen_c(None, program=lambda given: program()), "casadi": casadi_c(in_casadi, results),
    }, own="gradgen-c", targets={"casadi": 1.0}, tolerance=1e-12),
]
