"""Modules with threads=n: the same bits however many threads run, in any order of the chunks, and without OpenMP."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import gradgen as gg
from tests.embed.toolchain import C_COMPILERS, STRICT, needs_c

pytestmark = needs_c
HOST = Path(__file__).with_name("host_chunks.c")
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "embedder.md"
DOCUMENTED = re.findall(r" (-f\S+)", next(line for line in GUIDE.read_text().splitlines() if line.startswith("cc ")))
"""What the embedder's guide says to compile with: equal bits hold for that."""

FLAGS = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O2", *DOCUMENTED, *STRICT]
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


def traced_images() -> gg.TracedFunction:  # type: ignore[name-defined]
    """Padded convolution, normalisation over the batch, max pooling."""

    def f(x, k, v):  # type: ignore[no-untyped-def]
        y = F.conv2d(x, k, padding=1)
        y = gg.relu((y - y.mean((0, 2, 3), keepdim=True)) * v)
        return (F.max_pool2d(y, 2) ** 2).mean()

    x, k = gg.spec("N", 3, 12, 12, requires_grad=True), gg.spec(4, 3, 3, 3, requires_grad=True)
    return gg.trace(f, x=x, k=k, v=gg.spec(4, 12, 12))


def traced_recurrence() -> gg.TracedFunction:  # type: ignore[name-defined]
    """Over a batch: forward by parts of it; backward by products inside the loop."""

    def f(x, w, c):  # type: ignore[no-untyped-def]
        return gg.scan(lambda c, r: (gg.tanh(c @ w + r), None), c, x)[0].mean()

    x, w = gg.spec(6, "N", 40, requires_grad=True), gg.spec(40, 40, requires_grad=True)
    return gg.trace(f, x=x, w=w, c=gg.spec("N", 40, requires_grad=True))


def traced_columns() -> gg.TracedFunction:  # type: ignore[name-defined]
    """Sums and greatest elements down the columns; a product of a small result and a long sum; blocks that are filled."""

    def f(x, y):  # type: ignore[no-untyped-def]
        z = gg.cumsum(gg.sin(x), 0)
        return (z.amax(0) ** 2).sum() + ((x.T @ y) ** 2).mean() + (F.pad(y, (0, 2)).softmax(0) ** 2).sum()

    return gg.trace(f, x=gg.spec("N", 20, requires_grad=True), y=gg.spec("N", 10, requires_grad=True))


def traced_middle() -> gg.TracedFunction:  # type: ignore[name-defined]
    """Outer loops over a middle axis, and over one that is short."""

    def f(x, w):  # type: ignore[no-untyped-def]
        z = gg.einsum("kij,nj->nki", w, x)
        return (z * z).sum(-1).logsumexp(1).sum()

    return gg.trace(f, x=gg.spec("N", 24, requires_grad=True), w=gg.spec(5, 24, 24, requires_grad=True))


CASES: dict[str, tuple[Callable[[], gg.TracedFunction], int]] = {  # type: ignore[name-defined]
    "network": (traced_network, 3000), "rows": (traced_rows, 2500), "extremes": (traced_extremes, 100_001),
    "lookup": (traced_lookup, 100_003), "images": (traced_images, 70), "recurrence": (traced_recurrence, 300),
    "columns": (traced_columns, 3001), "middle": (traced_middle, 1501),
}  # fmt: skip


@cache
def texts(which: str, threads: int) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(gg.emit(CASES[which][0](), "model", out=folder, threads=threads))
        return {p.name: p.read_text() for p in made.iterdir() if p.suffix in (".c", ".h")}


def emitted(which: str, folder: Path, threads: int) -> Path:
    for name, text in texts(which, threads).items():
        (folder / name).write_text(text)
    shutil.copy(HOST, folder)
    return folder


def has_openmp(cc: str, folder: Path) -> bool:
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [cc, "-fopenmp", str(source), "-o", str(folder / "probe")]
    return subprocess.run(command, capture_output=True).returncode == 0


def program(cc: str, folder: Path, flags: list[str], source: str = "model.c") -> Path:
    command = [cc, *FLAGS, *flags, "host_chunks.c", source, "-lm", "-o", "program"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "program"


def result(program: Path, n: int, threads: int | None = None) -> str:
    env = {**os.environ, "OMP_WAIT_POLICY": "passive", "ASAN_OPTIONS": "detect_leaks=0"}
    if threads is not None:
        env["OMP_NUM_THREADS"] = env["OMP_THREAD_LIMIT"] = str(threads)
    ran = subprocess.run([program, str(n)], capture_output=True, text=True, env=env, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("cc", C_COMPILERS)
@pytest.mark.parametrize("which", CASES)
def test_bits_do_not_depend_on_who_runs_the_chunks(which: str, cc: str, tmp_path: Path) -> None:
    folder = emitted(which, tmp_path, 3)
    text = (folder / "model.c").read_text()
    assert "GRADGEN_PARALLEL_FOR(3, " in text
    n = CASES[which][1]
    plain = result(program(cc, folder, []), n)
    turned, count = re.subn(r"(GRADGEN_PARALLEL_FOR.*\n *)for \(int64_t (\w+) = 0; \2 < (\w+); \+\+\2\)",
                            r"\1for (int64_t \2 = \3 - 1; \2 >= 0; --\2)", text)  # fmt: skip
    assert count == text.count("GRADGEN_PARALLEL_FOR")
    (folder / "turned.c").write_text(turned)
    assert result(program(cc, folder, [], "turned.c"), n) == plain, "no chunk reads what another writes"
    if has_openmp(cc, tmp_path):
        parallel = program(cc, folder, ["-fopenmp"])
        for threads in (1, 2, 4):
            assert result(parallel, n, threads) == plain


@pytest.mark.parametrize("which", CASES)
def test_memory_is_as_large_as_it_is_said_to_be(which: str, tmp_path: Path) -> None:
    """Also where a dimension is too small for several chunks, or 0."""
    folder = emitted(which, tmp_path, 4)
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags += ["-fopenmp"] if has_openmp("gcc", tmp_path) and "gcc" in C_COMPILERS else []
    checked = program(C_COMPILERS[0], folder, flags)
    for n in (CASES[which][1], 1):
        result(checked, n)


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


def races_are_seen(folder: Path) -> bool:
    """Whether gcc has ThreadSanitizer, and what it makes runs here."""
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    command = ["gcc", "-fsanitize=thread", str(source), "-o", str(folder / "probe")]
    made = shutil.which("gcc") is not None and subprocess.run(command, capture_output=True).returncode == 0
    return made and subprocess.run([folder / "probe"], capture_output=True).returncode == 0


@pytest.mark.parametrize("which", CASES)
def test_no_two_chunks_race(which: str, tmp_path: Path) -> None:
    """Under ThreadSanitizer, with OpenMP's regions started by threads that it follows."""
    if not races_are_seen(tmp_path):
        pytest.skip("no ThreadSanitizer")
    folder = emitted(which, tmp_path, 3)
    shutil.copy(HOST.with_name("regions.c"), folder)
    flags = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O1", "-g", "-fsanitize=thread"]
    for source, more in (("model.c", ["-fopenmp"]), ("host_chunks.c", []), ("regions.c", [])):
        done = subprocess.run(["gcc", *flags, *more, "-c", source], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    link = ["gcc", "-fsanitize=thread", "model.o", "host_chunks.o", "regions.o", "-lm", "-lpthread", "-o", "program"]
    assert subprocess.run(link, cwd=folder, capture_output=True).returncode == 0
    n = CASES[which][1]
    ran = subprocess.run([folder / "program", str(n)], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "WARNING" not in ran.stderr


def test_a_race_would_be_seen(tmp_path: Path) -> None:
    """Chunks that all write the first chunk's elements."""
    if not races_are_seen(tmp_path):
        pytest.skip("no ThreadSanitizer")
    (tmp_path / "race.c").write_text("""
        #include <stdio.h>
        static double a[4];
        int main(void)
        {
        #pragma omp parallel for schedule(static) num_threads(2)
            for (int i = 0; i < 2; i++) { a[0] += i; }
            printf("%g\\n", a[0]);
            return 0;
        }""")
    shutil.copy(HOST.with_name("regions.c"), tmp_path)
    for source, more in (("race.c", ["-fopenmp"]), ("regions.c", [])):
        command = ["gcc", "-O1", "-fsanitize=thread", *more, "-c", source]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    link = ["gcc", "-fsanitize=thread", "race.o", "regions.o", "-lpthread", "-o", "program"]
    assert subprocess.run(link, cwd=tmp_path, capture_output=True).returncode == 0
    assert "data race" in subprocess.run([tmp_path / "program"], capture_output=True, text=True).stderr


NESTED = """
#include "wave.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum { N = 60000, CALLS = 6 };
static GRADGEN_ALIGNED float x[N], gradient[CALLS][N];
int main(void)
{
    float loss[CALLS];
    int bad = 0;
    for (int k = 0; k < N; k++) {
        x[k] = (float)(k % 97) / 97.0f;
    }
#ifdef _OPENMP
#pragma omp parallel for num_threads(3)
#endif
    for (int c = 0; c < CALLS; c++) {
        void *const work = aligned_alloc(GRADGEN_ALIGN, (wave_work_bytes(N) + 63) / 64 * 64);
        if (wave_value_and_grad(N, x, &loss[c], gradient[c], work, GRADGEN_SET_GRAD) != GRADGEN_OK) {
            loss[c] = -1.0f;
        }
        free(work);
    }
    for (int c = 1; c < CALLS; c++) {
        bad |= memcmp(&loss[c], &loss[0], sizeof(float)) != 0 || memcmp(gradient[c], gradient[0], sizeof x) != 0;
    }
    printf("%d %.9g %.9g\\n", bad, (double)loss[0], (double)gradient[0][N - 1]);
    return 0;
}
"""


def test_calls_from_the_hosts_own_parallel_loop(tmp_path: Path) -> None:
    """Each call has its own blocks; its chunks then run one after the other, or on more threads: the same bits."""
    traced = gg.trace(lambda x: (gg.sin(x) * gg.exp(x)).sum(), x=gg.spec("N", requires_grad=True))
    folder = gg.emit(traced, "wave", out=tmp_path, threads=2)
    (folder / "host.c").write_text(NESTED)
    found = set()
    for flags in ([], ["-fopenmp"]):
        if flags and not has_openmp("gcc", tmp_path):
            continue
        command = [C_COMPILERS[0], "-std=c11", "-O2", *flags, "host.c", "wave.c", "-lm", "-o", "program"]
        assert subprocess.run(command, cwd=folder, capture_output=True).returncode == 0
        for levels in ("1", "2"):
            env = {**os.environ, "OMP_MAX_ACTIVE_LEVELS": levels, "OMP_WAIT_POLICY": "passive"}
            found.add(subprocess.run([folder / "program"], capture_output=True, text=True, env=env).stdout)
    assert len(found) == 1 and found.pop().startswith("0 ")


def test_header_readme_and_guide_say_the_same_flags(tmp_path: Path) -> None:
    folder = gg.emit(traced_rows(), "rows", out=tmp_path, threads=3)
    readme, header = ((folder / name).read_text() for name in ("README.md", "rows.h"))
    flags = re.search(r"Optimise with `-O3 (.*?)`", readme)
    assert flags is not None and sorted(flags[1].split()) == sorted(DOCUMENTED)
    cmake = (folder / "CMakeLists.txt").read_text()
    assert all(flag in cmake for flag in DOCUMENTED) and "-fopenmp-simd" in DOCUMENTED
    assert "`-fopenmp`" in readme and "up to 3 threads" in readme and "-fopenmp-simd alone" in header
    assert "threads" not in (gg.emit(traced_rows(), "rows", out=tmp_path) / "rows.h").read_text().replace("one thread", "")
