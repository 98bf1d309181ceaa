"""One matrix product, forward only, with either operand as the transposed view of a row-major array."""

from __future__ import annotations

from benchmarks.peers import values


def arrays(rng, n, dtype):
    return {"a": rng.normal(size=(n, n)).astype(dtype), "b": rng.normal(size=(n, n)).astype(dtype)}


def product(left, right):
    def function(ns, a, b):
        return (a.T if left else a) @ (b.T if right else b)

    def function_jax(jnp, jax, a, b):
        return (a.T if left else a) @ (b.T if right else b)

    return function, function_jax


def case(n, dtype, left, right):
    name = f"matmul-{n}-{dtype.replace('float', 'f')}-{'T' if left else 'N'}{'T' if right else 'N'}"
    aim = 1 / 0.95 if n >= 256 else 1.0
    return values(name, arrays, *product(left, right), size=(n, dtype), quick=(min(n, 40), dtype), targets={"torch": aim},
                  tolerance=1e-5 if dtype == "float32" else 1e-13)


CASES = [case(n, d, False, False) for d in ("float32", "float64") for n in (16, 32, 64, 128, 256, 512, 1024)]
CASES += [
    case(n, d, left, right) for d in ("float32", "float64") for n in (32, 256, 1024)
    for left, right in ((False, True), (True, False), (True, True))
]
