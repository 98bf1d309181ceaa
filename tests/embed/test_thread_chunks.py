"""Modules with threads=n: the same bits however many threads run, in any order of the chunks, and without OpenMP."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import gradgen as gg
from tests.embed.toolchain import C_COMPILERS, STRICT, needs_c

pytestmark = needs_c
HOST = Path(__file__).with_name("host_chunks.c")
FLAGS = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O2", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
         "-fopenmp-simd", *STRICT]  # fmt: skip
F = gg.nn.functional


def network(x, t, w1, b1, w2, b2):  # type: ignore[no-untyped-def]
    return F.cross_entropy(gg.relu(x @ w1 + b1) @ w2 + b2, t)


def traced_network() -> gg.TracedFunction:  # type: ignore[name-defined]
    w = {"w1": gg.spec(96, 80, requires_grad=True), "b1": gg.spec(80, requires_grad=True),
         "w2": gg.spec(80, 50, requires_grad=True), "b2": gg.spec(50, requires_grad=True)}  # fmt: skip
    return gg.trace(network, x=gg.spec("N", 96), t=gg.spec("N", dtype=gg.int64), **w)


def traced_rows() -> gg.TracedFunction:  # type: ignore[name-defined]
    def f(x, g, v):  # type: ignore[no-untyped-def]
        return (F.gelu(F.layer_norm(x, (96,), g)) * v + x).sum()

    return gg.trace(f, x=gg.spec("N", 96, requires_grad=True), g=gg.spec(96, requires_grad=True), v=gg.spec("N", 96))


def traced_extremes() -> gg.TracedFunction:  # type: ignore[name-defined]
    def f(x, y):  # type: ignore[no-untyped-def]
        return gg.exp(x).max() + gg.sin(y).min() + (gg.exp(x) > 1).sum() + (gg.sin(x) * gg.cos(y)).sum()

    return gg.trace(f, x=gg.spec("N", requires_grad=True), y=gg.spec("N", requires_grad=True, dtype=gg.float64))


def traced_lookup() -> gg.TracedFunction:  # type: ignore[name-defined]
    def f(x, i, v):  # type: ignore[no-untyped-def]
        return (gg.exp(x)[i] * gg.sin(v) * v).sum()

    return gg.trace(f, x=gg.spec(50, requires_grad=True), i=gg.spec("N", dtype=gg.int64), v=gg.spec("N"))


CASES: dict[str, tuple[Callable[[], gg.TracedFunction], int]] = {  # type: ignore[name-defined]
    "network": (traced_network, 3000), "rows": (traced_rows, 2500), "extremes": (traced_extremes, 100_001),
    "lookup": (traced_lookup, 100_003),
}  # fmt: skip


def emitted(which: str, folder: Path, threads: int) -> Path:
    made = gg.emit(CASES[which][0](), "model", out=folder, threads=threads)
    shutil.copy(HOST, made)
    return made


def has_openmp(cc: str, folder: Path) -> bool:
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [cc, "-fopenmp", str(source), "-o", str(folder / "probe")]
    return subprocess.run(command, capture_output=True).returncode == 0


def result(cc: str, folder: Path, flags: list[str], n: int, threads: int | None = None, source: str = "model.c") -> str:
    command = [cc, *FLAGS, *flags, "host_chunks.c", source, "-lm", "-o", "program"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    env = {**os.environ, "OMP_WAIT_POLICY": "passive", "ASAN_OPTIONS": "detect_leaks=0"}
    if threads is not None:
        env["OMP_NUM_THREADS"] = env["OMP_THREAD_LIMIT"] = str(threads)
    ran = subprocess.run([folder / "program", str(n)], capture_output=True, text=True, env=env, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("cc", C_COMPILERS)
@pytest.mark.parametrize("which", CASES)
def test_bits_do_not_depend_on_who_runs_the_chunks(which: str, cc: str, tmp_path: Path) -> None:
    folder = emitted(which, tmp_path, 3)
    text = (folder / "model.c").read_text()
    assert "GRADGEN_PARALLEL_FOR(3, chunks" in text
    n = CASES[which][1]
    plain = result(cc, folder, [], n)
    turned, count = re.subn(r"(GRADGEN_PARALLEL_FOR.*\n *)for \(int64_t (\w+) = 0; \2 < (\w+); \+\+\2\)",
                            r"\1for (int64_t \2 = \3 - 1; \2 >= 0; --\2)", text)  # fmt: skip
    assert count == text.count("GRADGEN_PARALLEL_FOR")
    (folder / "turned.c").write_text(turned)
    assert result(cc, folder, [], n, source="turned.c") == plain, "no chunk reads what another writes"
    if has_openmp(cc, tmp_path):
        for threads in (1, 2, 4):
            assert result(cc, folder, ["-fopenmp"], n, threads) == plain


@pytest.mark.parametrize("which", CASES)
def test_memory_is_as_large_as_it_is_said_to_be(which: str, tmp_path: Path) -> None:
    """Also where a dimension is too small for several chunks, or 0."""
    folder = emitted(which, tmp_path, 4)
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags += ["-fopenmp"] if has_openmp("gcc", tmp_path) and "gcc" in C_COMPILERS else []
    for n in (CASES[which][1], 1):
        result(C_COMPILERS[0], folder, flags, n)


@pytest.mark.parametrize("which", CASES)
def test_chunks_compute_what_one_thread_computes(which: str, tmp_path: Path) -> None:
    """Sums in another order: a few ulp of the largest value, 1e-5 for 10^5 float32 terms."""
    import numpy as np

    n = CASES[which][1] // 4
    rng = np.random.default_rng(1)
    traced = CASES[which][0]()
    arrays = []
    for node in traced.graph.inputs:
        shape = [e if isinstance(e, int) else n for e in node.shape]
        made = rng.integers(0, 50, shape) if node.dtype is gg.int64 else rng.normal(size=shape)
        arrays.append(made.astype(node.dtype.numpy))
    found = []
    for threads in (0, 3):
        module = gg.build(traced, f"model{threads}", out=tmp_path / "built", threads=threads)
        value, *gradients = module.value_and_grad(*arrays)
        flat = gradients[0] if len(gradients) == 1 and isinstance(gradients[0], (tuple, list, dict)) else gradients
        flat = list(flat.values()) if isinstance(flat, dict) else list(flat)
        found.append([np.asarray(value), *map(np.asarray, flat)])
    for one, several in zip(*found, strict=True):
        assert np.allclose(one, several, rtol=1e-5, atol=1e-5 * max(1e-30, np.abs(one).max()))
