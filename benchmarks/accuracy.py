"""Errors of values and gradients beside PyTorch's and JAX's: python -m benchmarks.accuracy > docs/accuracy.md

Every case of `benchmarks/cases` that has a function is run in float32 and float64 by gradgen, PyTorch and JAX on the
same inputs, a few draws of them, at a size at which the reference is affordable.  The reference is the case's graph,
gradients included, node by node through the interpreter of `gradgen/reference/interpreter.py` in NumPy's long double (64 bits
of mantissa on x86: 2,000 times finer than float64).  It shares the symbolic derivative with gradgen, not the code
generator nor the kernels; that the derivative is right shows in PyTorch's and JAX's columns, whose errors against it are
roundings too.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import peers
from benchmarks.__main__ import all_cases
from benchmarks.harness import Arrays, Case, Setup, flat

# By the beginning of the case's name: large enough for sums to matter, small enough for dense grids of long doubles.
SIZES: dict[str, tuple[Any, ...]] = {
    "attention": (2, 96, 32), "conv2d-3x3": (4, 8, 8, 14, 3), "conv2d-1x1": (4, 16, 16, 14, 1), "lenet": (4,),
    "elementwise-1e3": (1000,), "elementwise-1e6": (1_000_000,), "softmax-ce": (256, 1000), "layernorm-gelu": (16, 768),
    "mlp-784": (32, 784, 64, 10), "mlp-64": (32, 64, 64, 10), "matmul-128-f32-NN": (128, "float32"),
    "matmul-32-f32-TN": (32, "float32"), "mixture-d10-k25-n1000": (10, 25, 200), "lstm": (20, 14),
    "rk4": (60,), "bundle-adjustment-30000": (300,), "hvp-network": (64, 16, 16, 4), "hessian-network": (16, 8, 8, 4),
    "hvp-rosenbrock": (1000,), "hessian-rosenbrock": (60,), "notebook": (),
}
DRAWS = 6
PEERS = ("gradgen", "torch", "jax")
FLOOR = {"float32": 2.0**-24, "float64": 2.0**-53}
"""Half a unit in the last place of the largest entry: errors below are not told apart."""


class _Captured(Exception):
    def __init__(self, program: Any) -> None:
        self.program = program


def program_of(case: Case, arrays: Arrays) -> Any:
    """The traced function of the case's gradgen peer."""
    def stop(program: Any, setup: Setup, **options: Any) -> Any:
        raise _Captured(program)

    try:
        with mock.patch.object(peers, "built", stop):
            case.makers["gradgen"](arrays, Setup())
    except _Captured as found:
        return found.program
    raise LookupError(f"{case.name} builds no module")


def _wide_erf(name: str) -> Any:
    import mpmath

    def one(x: Any) -> Any:
        with mpmath.workprec(80):
            low = float(x)
            exact = getattr(mpmath, name)(mpmath.mpf(low) + mpmath.mpf(float(x - np.longdouble(low))))
            high = float(exact)
            return np.longdouble(high) + np.longdouble(float(exact - high))

    made = np.vectorize(one, otypes=[np.longdouble])
    return staticmethod(lambda x: made(np.asarray(x, np.longdouble)))


@contextlib.contextmanager
def wide() -> Iterator[None]:
    """Inside, the interpreter computes float64 in long double, literals included."""
    import sympy

    from gradgen.ir import evaluation, functions
    from gradgen.ir.dtypes import DType

    narrow, usual = DType.numpy, evaluation.Body.cast

    def numpy_type(self: DType) -> Any:
        return np.dtype(np.longdouble) if self.name == "float64" else narrow.__get__(self)  # type: ignore[attr-defined]

    def cast(self: Any, item: tuple[Any, Any], dtype: DType) -> np.ndarray:
        value, kind = item
        weak = kind in (evaluation.WEAK_INT, evaluation.WEAK_FLOAT)
        if weak and dtype.name == "float64" and getattr(value, "is_finite", False):
            return np.asarray(np.longdouble(str(sympy.N(value, 25))))
        return usual(self, item, dtype)

    with (mock.patch.object(DType, "numpy", property(numpy_type)), mock.patch.object(evaluation.Body, "cast", cast),
          mock.patch.object(functions.erf, "record", replace(functions.erf.record, numpy=_wide_erf("erf"))),
          mock.patch.object(functions.erfc, "record", replace(functions.erfc.record, numpy=_wide_erf("erfc")))):
        yield


def reference(case: Case, arrays: Arrays) -> list[np.ndarray]:
    """Values, then gradients, in long double."""
    from gradgen.autodiff import differentiate
    from gradgen.autodiff.joint import with_unit_seed
    from gradgen.reference.interpreter import evaluate

    graph = program_of(case, in_dtype(arrays, "float64")).graph
    wanted = [n for n in graph.inputs if n.requires_grad]
    outputs = list(graph.outputs)
    if wanted:
        outputs += [g for g in with_unit_seed(differentiate(graph, wanted)).gradients if g is not None]
    given = {n: np.asarray(a, np.longdouble) if a.dtype.kind == "f" else a
             for n, a in zip(graph.inputs, arrays.values(), strict=True)}
    with wide():
        return evaluate(outputs, given)


def in_dtype(arrays: Arrays, dtype: str) -> Arrays:
    return {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in arrays.items()}


def errors(found: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> tuple[float, float]:
    """Largest and mean error of several arrays, each relative to the largest entry of its reference."""
    worst = [0.0]
    mean = [0.0]
    for a, b in zip(found, exact, strict=True):
        scale = np.abs(b).max(initial=0) or 1
        gap = np.abs(np.asarray(a, np.longdouble).reshape(b.shape) - b) / scale
        worst.append(float(gap.max(initial=0)))
        mean.append(float(gap.mean()) if gap.size else 0.0)
    return max(worst), max(mean)


def measure(case: Case, size: tuple[Any, ...], dtype: str) -> dict[str, list[tuple[float, float]]]:
    """By peer: (largest, mean) error of the values, and of the gradients where the case has some.

    Each is a geometric mean over several draws of the inputs: how far a single number is off is mostly luck, and how
    ill-conditioned a draw is (a sum near zero) is the same for all peers.
    """
    assert case.arrays is not None
    arrays = in_dtype(case.arrays(np.random.default_rng(0), *size), dtype)
    count = len(program_of(case, arrays).graph.outputs)
    own = case.makers["gradgen"](arrays, Setup())  # reads `arrays` at every call: compiled once for all draws
    logs: dict[str, list[np.ndarray]] = {}
    given_jax = peers._jax

    def jax_of_this_width() -> tuple[Any, Any]:
        jnp, jax = given_jax()
        jax.config.update("jax_enable_x64", dtype == "float64")  # or arrays of the default type are float64
        return jnp, jax

    for draw in range(DRAWS):
        redraw(case, size, arrays, draw)
        exact = reference(case, arrays)
        for name in PEERS:
            if name not in case.makers:
                continue
            try:
                with mock.patch.object(peers, "_jax", jax_of_this_width):
                    results = flat((own if name == "gradgen" else case.makers[name](arrays, Setup())).call())
            except ImportError:
                continue
            except Exception as error:  # a case written for one dtype: PyTorch refuses to mix
                print(f"{case.name} {dtype} {name}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
                continue
            parts = [slice(0, count)] + [slice(count, None)] * (len(exact) > count)
            found = [errors(results[p], exact[p]) for p in parts]
            logs.setdefault(name, []).append(np.log(np.maximum(found, FLOOR[dtype] / np.array([1, 64]))))
    return {name: [(float(a), float(b)) for a, b in np.exp(np.mean(found, axis=0))] for name, found in logs.items()}


def redraw(case: Case, size: tuple[Any, ...], arrays: Arrays, draw: int) -> None:
    """Other numbers into the same arrays; fixed inputs are shaken by a thousandth."""
    assert case.arrays is not None
    rng = np.random.default_rng(draw)
    for name, fresh in case.arrays(rng, *size).items():
        shaken = fresh * (1 + 1e-3 * rng.normal(size=fresh.shape)) if fresh.dtype.kind == "f" else fresh
        np.copyto(arrays[name], shaken, casting="same_kind")


def chosen(names: Sequence[str]) -> Iterator[tuple[Case, tuple[Any, ...]]]:
    for begin, size in SIZES.items():
        case = next((c for c in all_cases() if c.name.startswith(begin) and "gradgen" in c.makers and c.arrays), None)
        if case is not None and (not names or any(n in case.name for n in names)):
            yield case, size


def rows(case: Case, size: tuple[Any, ...], dtype: str, found: Mapping[str, list[tuple[float, float]]]) -> Iterator[str]:
    if "gradgen" not in found:
        return
    for k, what in enumerate(("value", "gradient")[: len(found["gradgen"])]):
        others = [found[p][k][0] for p in found if p != "gradgen"]
        ratio = f"{found['gradgen'][k][0] / min(others):.2f}" if others else ""
        cells = [f"{found[p][k][0]:.1e} ({found[p][k][1]:.0e})" if p in found else "" for p in PEERS]
        yield "| " + " | ".join([case.name, "x".join(map(str, size)), dtype, what, *cells, ratio]) + " |"


HEAD = """# Accuracy of values and gradients

Written by `python -m benchmarks.accuracy` on {machine}. Largest (mean) error of an entry, relative to the largest entry of
its array, of the worst array of each kind, as the geometric mean over {draws} draws of the inputs: a single number's error is
mostly luck. Errors below half a unit in the last place of the largest entry count as that. Sizes are smaller than in the
[timings](performance.md), because the reference is slow.

The reference is the case's graph and its symbolic gradient, evaluated node by node by gradgen's NumPy interpreter in long
double (64 bits of mantissa), without scheduler, code generator or kernels. It shares the derivative's formulas with gradgen;
that these are right is seen in the columns of PyTorch and JAX, which share nothing with it.

The last column is gradgen's largest error over the smaller one of the peers. The aim is at most 2.

| case | size | dtype | of | gradgen | torch | jax | ratio |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="names, or parts of names; default: all")
    options = parser.parse_args()
    print(HEAD.format(draws=DRAWS, machine=f"{platform.machine()}, {platform.system()}"), flush=True)
    for case, size in chosen(options.cases):
        for dtype in ("float32", "float64"):
            try:
                found = measure(case, size, dtype)
            except RuntimeError as error:  # a case written for one dtype: mixing is refused
                print(f"{case.name} {dtype}: {error}", file=sys.stderr)
                continue
            for row in rows(case, size, dtype, found):
                print(row, flush=True)


if __name__ == "__main__":
    main()
