"""Accuracy and speed of the inline math kernels: prints docs/math-accuracy.md.

    python benchmarks/math_accuracy.py > docs/math-accuracy.md          all 2^32 floats and 10^7 doubles, about an hour
    python benchmarks/math_accuracy.py --step 1009 --doubles 100000     a sample
    python benchmarks/math_accuracy.py --only exp --into docs/math-accuracy.md      one function's rows again

Needs gcc with libquadmath, and glibc's libmvec.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "kernels")]

import math_samples  # noqa: E402
from math_harness import CHECKED_ONE_ARGUMENT, CHECKED_TWO_ARGUMENTS, FAST, Build, Harness, Report  # noqa: E402

from gradgen.codegen.c_types import FLOATS  # noqa: E402

BLOCK = 1024
FLAGS = (*FAST, "-march=native")
BUILD = {"compiler": f"gcc, {platform.machine()}", "flags": " ".join(FLAGS)}
DTYPES = {"f32": np.float32, "f64": np.float64}
DOMAINS = {
    **dict.fromkeys(["log", "log2", "log10", "sqrt", "rsqrt"], (0.01, 10.0)),
    **dict.fromkeys(["asin", "acos", "atanh"], (-0.99, 0.99)),
    "log1p": (-0.9, 10.0),
    "acosh": (1.0, 10.0),
}


def one_argument_f32(harness: Harness, name: str, step: int) -> Report:
    report = Report()
    count = 2**32 // step // BLOCK * BLOCK
    return harness.check_bits(name, 0, step, count, report)


def in_parts(harness: Harness, name: str, suffix: str, count: int) -> Report:
    """Check `count` random arguments, a million at a time; keep the worst."""
    rng = np.random.default_rng(7)
    sample = math_samples.two if name in CHECKED_TWO_ARGUMENTS else math_samples.one
    worst = Report()
    for _ in range(max(count // 10**6, 1)):
        arguments = sample(min(count, 10**6), DTYPES[suffix], rng)
        report = harness.check(name, suffix, *(arguments if isinstance(arguments, tuple) else (arguments,)))
        report.count += worst.count
        report.wrong += worst.wrong
        if report.max_error < worst.max_error:
            for field in ("max_error", "x", "y", "result", "reference"):
                setattr(report, field, getattr(worst, field))
        worst = report
    return worst


def nanoseconds(function: ctypes._CFuncPtr, x: np.ndarray) -> float:
    """Return the least time per element over several runs."""
    y = np.empty_like(x)
    pointers = (x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(x.size))
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        for _ in range(20):
            function(*pointers)
        best = min(best, (time.perf_counter() - start) / 20)
    return best / x.size * 1e9


def speed(harness: Harness, name: str, suffix: str) -> tuple[float, float]:
    low, high = DOMAINS.get(name, (-5.0, 5.0))
    x = np.random.default_rng(0).uniform(low, high, 4096).astype(DTYPES[suffix])
    return (
        nanoseconds(harness.library[f"run_{name}_{suffix}"], x),
        nanoseconds(harness.library[f"libm_{name}_{suffix}"], x),
    )


def row(name: str, suffix: str, report: Report, times: tuple[float, float] | None) -> str:
    digits = 9 if suffix == "f32" else 17
    at = f"{report.x:.{digits}g}"
    if name in CHECKED_TWO_ARGUMENTS:
        at += f", {report.y:.{digits}g}"
    at = at if report.max_error > 0 else "-"
    cells = [name, suffix, f"{report.max_error:.3f}", at, f"{report.count:,}", str(report.wrong)]
    cells += [f"{times[0]:.2f}", f"{times[1]:.2f}", f"{times[1] / times[0]:.1f}"] if times else ["", "", ""]
    return "| " + " | ".join(cells) + " |"


HEAD = """# Accuracy and speed of the math kernels

Written by `benchmarks/math_accuracy.py`. Errors are in units of the last place of the exact value; below the smallest
normal number, of the subnormal spacing. "Wrong" counts a wrong nan, a wrong infinity (overflow a float too early or too
late included) and a wrong sign of zero. One-argument float32 functions are checked at every {what} of the 2^32 bit
patterns against libm in double precision; double ones at random arguments (any bit pattern, magnitudes 2^-40 to 2^12,
-50 to 50, edges) against libquadmath. Two-argument functions take every pair of edges and random pairs. The promise:
2 ulp for float32, 4 ulp for float64.

Speed is nanoseconds per element of a loop over 4096 numbers in cache, least of 30 runs, against the same loop calling
libm one number at a time; ratio = libm / kernel. {compiler},
`{flags}`.

`exp_scalar` and the like are the forms that straight-line code calls: the same polynomials behind a predicted branch, for
one number at a time.

The kernels assume rounding to nearest and no `-ffast-math`. On 32-bit x86, double ones need `-msse2 -mfpmath=sse`: the
x87 unit's longer registers spoil exact products. Without a fused multiply-add `sin`, `cos` and `tan` in double precision take
a branch and stay scalar; `fmod`, `remainder` and `floor_div` call libm for huge quotients.

| function | dtype | max ulp | at | checked | wrong | ns | libm ns | ratio |
|---|---|---|---|---|---|---|---|---|"""


def merged(page: str, new: list[str]) -> str:
    """`page` with the rows of `new` in place of those of the same function and dtype, in the registry's order."""
    def key(row: str) -> tuple[str, ...]:
        return tuple(cell.strip() for cell in row.split("|")[1:3])

    _, _, table = page.partition("|---|---|---|---|---|---|---|---|---|\n")
    rows = {key(row): row for row in (*table.splitlines(), *new)}
    order = [(name, suffix) for name in (*CHECKED_ONE_ARGUMENT, *CHECKED_TWO_ARGUMENTS) for suffix in FLOATS]
    return "\n".join([HEAD.format(**BUILD, what="one"), *(rows[k] for k in order if k in rows)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=int, default=1, help="check every STEP-th float32")
    parser.add_argument("--doubles", type=int, default=10**7, help="how many float64 arguments")
    parser.add_argument("--only", nargs="*", help="names of functions")
    parser.add_argument("--into", type=Path, help="put the rows into this page instead of printing one")
    options = parser.parse_args()
    new: list[str] = []
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        build = Build("gcc", FLAGS, quad=True)
        checks, plain = Harness(Path(first), build, libmvec=True), Harness(Path(second), build)
        what = "one" if options.step == 1 else f"{options.step}th"
        if options.into is None:
            print(HEAD.format(**BUILD, what=what))
        for name in [*CHECKED_ONE_ARGUMENT, *CHECKED_TWO_ARGUMENTS]:
            if options.only and name not in options.only:
                continue
            for suffix in FLOATS:
                if name in CHECKED_ONE_ARGUMENT and suffix == "f32":
                    report = one_argument_f32(checks, name, options.step)
                else:
                    report = in_parts(checks, name, suffix, options.doubles)
                times = speed(plain, name, suffix) if name in CHECKED_ONE_ARGUMENT else None
                new.append(row(name, suffix, report, times))
                print(new[-1], flush=True)
    if options.into is not None:
        options.into.write_text(merged(options.into.read_text(encoding="utf-8"), new), encoding="utf-8")


if __name__ == "__main__":
    main()
