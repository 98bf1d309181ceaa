"""The matrix product kernels against NumPy in float64: sizes, strides, edges, every way to compile them."""

from __future__ import annotations

import ctypes
import itertools
import random
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sympy

from gradgen.codegen.gemm import kernel_texts, kernels_text
from gradgen.errors import CodegenError
from gradgen.ir import dtypes
from gradgen.ir.dtypes import float32, float64, int32
from gradgen.schedule.matrix_kernel import GemmRequest, GemmTarget, WorkBytes, chosen

HEADERS = "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"
RESTRICT = """\
#ifdef __cplusplus
#define GRADGEN_RESTRICT __restrict
#else
#define GRADGEN_RESTRICT restrict
#endif

"""
WARNINGS = (
    "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wfloat-conversion", "-Wshadow", "-Wdouble-promotion",
    "-Wcast-qual", "-Werror",
)  # fmt: skip
C_TYPE = {"float32": "float", "float64": "double"}
GENERAL = [GemmRequest(dtypes.dtype(dtype), None, None, None, add) for dtype in C_TYPE for add in (False, True)]
TRANSPOSES = ["nn", "nt", "tn", "tt"]
NAMES = [f"{dtype}_{'add' if add else 'set'}" for dtype in C_TYPE for add in (False, True)]


def exported(requests: list[GemmRequest], names: list[str], target: GemmTarget | None = None) -> str:
    """A translation unit with the functions of the requests behind external names."""
    kernels = [chosen(request, target) for request in requests]
    text = kernels_text(kernels)
    parts = [HEADERS, RESTRICT, '#ifdef __cplusplus\nextern "C" {\n#endif\n', text]
    for kernel, request, name in zip(kernels, requests, names, strict=True):
        t = request.dtype.ctype
        head = (
            f"void {name}(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {t} *a, ptrdiff_t am, ptrdiff_t ak, "
            f"const {t} *b, ptrdiff_t bk, ptrdiff_t bn, {t} *c, ptrdiff_t cm, ptrdiff_t cn, void *work)"
        )
        parts.append(f"{head};\n{head}\n{{\n    {kernel.name}(m, n, k, a, am, ak, b, bk, bn, c, cm, cn, work);\n}}\n")
        size = WorkBytes(request, kernel.blocks).c
        head = f"ptrdiff_t {name}_work(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k)"
        parts.append(f"{head};\n{head}\n{{\n    (void)m; (void)n; (void)k;\n    return {size};\n}}\n")
    return "\n".join([*parts, "#ifdef __cplusplus\n}\n#endif\n"])


def work_bytes(request: GemmRequest, target: GemmTarget | None = None) -> WorkBytes:
    return WorkBytes(request, target or GemmTarget())


@dataclass(frozen=True)
class Build:
    compiler: str
    flags: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.compiler, *self.flags))

    def available(self) -> bool:
        if shutil.which(self.compiler) is None:
            return False
        wanted = {"-mavx2": "avx2", "-mfma": "fma"}
        cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        return all(wanted[flag] in cpu for flag in self.flags if flag in wanted)


FAST = ("-O3", "-ffp-contract=fast")
BUILDS = [
    Build("gcc", (*FAST, "-march=native")),
    Build("gcc", (*FAST, "-mavx2", "-mfma")),
    Build("gcc", FAST),
    Build("gcc", ("-O1", "-march=native")),
    Build("gcc", ("-O2", "-DGRADGEN_NO_VECTOR_EXT")),
    Build("clang", (*FAST, "-march=native")),
    Build("clang", ("-O2", "-DGRADGEN_NO_VECTOR_EXT")),
]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gemm")


@cache
def library(folder: Path, build: Build, source: str) -> ctypes.CDLL:
    stem = folder / f"m{abs(hash((build, source)))}"
    stem.with_suffix(".c").write_text(source)
    command = [build.compiler, "-std=c99", *build.flags, "-fPIC", "-shared", "-o", f"{stem}.so", f"{stem}.c"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return ctypes.CDLL(f"{stem}.so")


@pytest.fixture(params=BUILDS, ids=str)
def general(request: pytest.FixtureRequest, workshop: Path) -> ctypes.CDLL:
    build: Build = request.param
    if not build.available():
        pytest.skip("compiler or CPU feature missing")
    return library(workshop, build, exported(GENERAL, NAMES))


@pytest.fixture
def native(workshop: Path) -> ctypes.CDLL:
    if not BUILDS[0].available():
        pytest.skip("needs gcc")
    return library(workshop, BUILDS[0], exported(GENERAL, NAMES))


def view(rng: np.random.Generator, rows: int, columns: int, dtype: str, layout: str) -> np.ndarray:
    """A random matrix as a view of a larger array that is nan everywhere else: using a wrong element shows."""
    row, column = {"n": (1, 1), "t": (1, 1), "gap": (1, 1), "tgap": (1, 1), "both": (3, 2), "flip": (1, -1)}[layout]
    transposed = layout in ("t", "tgap")
    extra = 5 if layout in ("gap", "tgap", "both") else 0
    shape = (columns, rows) if transposed else (rows, columns)
    big = np.full((shape[0] * row + 1, shape[1] * abs(column) + extra), np.nan, dtype)
    inner = big[: shape[0] * row : row, : shape[1] * abs(column) : abs(column)][:, :: 1 if column > 0 else -1]
    inner[...] = rng.standard_normal(shape)
    return inner.T if transposed else inner


def strides(x: np.ndarray) -> tuple[int, int]:
    return x.strides[0] // x.itemsize, x.strides[1] // x.itemsize


def call(function: ctypes._NamedFuncPointer, a: np.ndarray, b: np.ndarray, c: np.ndarray, work: int) -> None:
    size, pointer = ctypes.c_ssize_t, ctypes.c_void_p
    (m, k), n = a.shape, b.shape[1]
    values: list[object] = [size(m), size(n), size(k)]
    for x in (a, b, c):
        values += [pointer(x.ctypes.data), *(size(s) for s in strides(x))]
    function.restype = None
    function(*values, pointer(work))


def scratch(size: int, fill: int = 0xFF) -> tuple[np.ndarray, int]:
    """A block of `size` bytes at a multiple of 64 (NaN by default), and 64 bytes behind it that must stay 0xA5."""
    block = np.full(size + 192, 0xA5, np.uint8)
    start = -block.ctypes.data % 64
    block[start : start + size] = fill
    return block[start + size :], block.ctypes.data + start


def check(lib: ctypes.CDLL, name: str, a: np.ndarray, b: np.ndarray, layout: str, seed: int = 0) -> np.ndarray:
    """Multiply and compare with NumPy in float64; nothing outside c and work may change."""
    request = GENERAL[NAMES.index(name)]
    (m, k), n = a.shape, b.shape[1]
    c = view(np.random.default_rng(seed), m, n, request.dtype.name, layout)
    before, outside = c.copy(), np.isnan(c.base).sum() if c.base is not None else 0
    tail, work = scratch(work_bytes(request)(m, n, k))
    call(getattr(lib, name), a, b, c, work)
    assert (tail[:64] == 0xA5).all(), "wrote behind work"
    assert c.base is None or np.isnan(c.base).sum() == outside, "wrote outside c"
    start = before.astype(np.float64) if request.accumulate else np.zeros((m, n))
    exact = start + a.astype(np.float64) @ b.astype(np.float64)
    # Any order of summation stays within (k + 1) u sum |a||b| (Higham, Accuracy and Stability, 2002, section 3.1); for
    # float64 NumPy's sum may be off by as much again.
    units = (k + 3) * float(np.finfo(request.dtype.numpy).eps) / 2 * (1 + (request.dtype is float64))
    bound = units * (np.abs(start) + np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64))
    worst = np.abs(c.astype(np.float64) - exact) - bound
    assert c.size == 0 or worst.max() <= 0, f"{name} {m}x{n}x{k}: {np.argwhere(worst > 0)[:5].tolist()} wrong"
    return c


SIZES = (0, 1, 2, 3, 5, 7, 8, 10, 12, 13, 16, 17, 23, 31, 32, 33, 47, 64, 65, 97)
LAYOUTS = ("n", "t", "gap", "tgap", "both", "flip")


def test_random_sizes_and_strides(general: ctypes.CDLL) -> None:
    draw = random.Random(7)
    rng = np.random.default_rng(7)
    for trial in range(400):
        m, n, k = (draw.choice(SIZES) for _ in range(3))
        name = draw.choice(NAMES)
        dtype = name.split("_")[0]
        a, b = view(rng, m, k, dtype, draw.choice(LAYOUTS)), view(rng, k, n, dtype, draw.choice(LAYOUTS))
        check(general, name, a, b, draw.choice(LAYOUTS), trial)


# One shape for every branch: packed a and b, several blocks of k and of rows, outer products, short sums with wide
# rows, single rows and columns longer than a block, a few rows with contiguous sums.
BRANCHES = (
    (300, 290, 270), (500, 70, 513), (130, 1000, 600), (49, 700, 100), (5, 700, 100), (700, 5, 300), (12, 300, 700),
    (64, 700, 1), (37, 300, 4), (30, 513, 16), (1, 1100, 300), (1100, 1, 300), (1, 3, 9000), (3, 1, 9000), (11, 9, 600),
    (4, 4, 40), (2, 300, 5000), (1, 1, 1), (66, 66, 1000), (147, 64, 3136), (64, 147, 3136), (1100, 40, 1700),
)  # fmt: skip


@pytest.mark.parametrize("transposes", TRANSPOSES)
def test_every_branch(general: ctypes.CDLL, transposes: str) -> None:
    rng = np.random.default_rng(3)
    for number, (m, n, k) in enumerate(BRANCHES):
        name = NAMES[number % 4]
        dtype = name.split("_")[0]
        a, b = view(rng, m, k, dtype, transposes[0]), view(rng, k, n, dtype, transposes[1])
        check(general, name, a, b, "nt"[number % 3 == 0], number)


EMPTY = [(0, 4, 4), (4, 0, 4), (4, 4, 0), (0, 0, 0), (1, 5, 0), (5, 1, 0), (40, 40, 0)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty(general: ctypes.CDLL, name: str, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    dtype = name.split("_")[0]
    c = np.full((m, n), -0.0, dtype)
    call(getattr(general, name), np.zeros((m, k), dtype), np.zeros((k, n), dtype), c, 0)
    assert (np.signbit(c) == name.endswith("add")).all(), "an empty sum is +0 when set, and nothing when added"


@pytest.mark.parametrize("dtype", C_TYPE)
def test_broadcast_operands(native: ctypes.CDLL, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for m, n, k in ((9, 70, 33), (70, 9, 33), (1, 40, 40), (50, 40, 300)):
        a = np.broadcast_to(rng.standard_normal((1, k)).astype(dtype), (m, k))
        b = np.broadcast_to(rng.standard_normal((k, 1)).astype(dtype), (k, n))
        check(native, f"{dtype}_set", a, b, "n")


@pytest.mark.parametrize("dtype", C_TYPE)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_goes_where_it_belongs(general: ctypes.CDLL, dtype: str, value: float) -> None:
    for m, n, k in ((30, 50, 40), (1, 50, 40), (30, 1, 40), (5, 20, 300), (40, 600, 1), (3, 3, 3)):
        a, b = np.ones((m, k), dtype), np.ones((k, n), dtype)
        a[m // 2, k // 3] = value
        b[k // 2, n // 3] = 0
        c = np.zeros((m, n), dtype)
        _, work = scratch(work_bytes(GENERAL[0])(m, n, k) * 2)
        call(getattr(general, f"{dtype}_set"), a, b, c, work)
        with np.errstate(invalid="ignore"):
            expected = a @ b
        np.testing.assert_array_equal(c, expected)


def test_same_bits_whatever_the_memory_held(general: ctypes.CDLL) -> None:
    rng = np.random.default_rng(5)
    for m, n, k in ((65, 33, 300), (1, 100, 77), (300, 300, 300), (7, 10, 64), (300, 3, 300)):
        a, b = view(rng, m, k, "float32", "gap"), view(rng, k, n, "float32", "tgap")
        results = []
        for fill, old in ((0xFF, np.nan), (0, 0.0), (0x7B, 1e30)):
            c = np.full((m, n), old, np.float32)
            _, work = scratch(work_bytes(GENERAL[0])(m, n, k), fill)
            call(general.float32_set, a, b, c, work)
            results.append(c.tobytes())
        assert results[0] == results[1] == results[2]


# The RMS relative error of float32 products of 100,000 positive terms, in units of 2**-24, as PyTorch 2.13 with MKL
# has it: 4.9 to 5.1 for 40 x 40, 17 to 87 for 8 x 8, 12 to 88 for one row or column.
TORCH_ERROR = 4.9


@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (8, 8), (40, 40)], ids=str)
@pytest.mark.parametrize("transposes", TRANSPOSES)
def test_long_sums_are_as_accurate_as_pytorch(general: ctypes.CDLL, shape: tuple[int, int], transposes: str) -> None:
    (m, n), k = shape, 100_000
    rng = np.random.default_rng(11)
    # Of one sign, so that errors cannot hide behind cancellation.
    a = np.abs(view(rng, m, k, "float32", transposes[0]))
    b = np.abs(view(rng, k, n, "float32", transposes[1]))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    c = np.zeros((m, n), np.float32)
    _, work = scratch(work_bytes(GENERAL[0])(m, n, k))
    call(general.float32_set, a, b, c, work)
    assert np.sqrt(np.mean(((c - exact) / exact) ** 2)) <= 2 * TORCH_ERROR * 2.0**-24


KNOWN = [
    GemmRequest(float32, None, 10, 128, False, (128, 1), (10, 1), (10, 1)),
    GemmRequest(float32, 128, 10, None, True, (1, 128), (10, 1), (10, 1)),
    GemmRequest(float32, None, 3, 5, True, (5, 1), (3, 1), (3, 1)),
    GemmRequest(float64, 4, 4, 4, False, (4, 1), (1, 4), (4, 1)),
    GemmRequest(float64, 64, 64, 64, False, (64, 1), (64, 1), (64, 1)),
    GemmRequest(float32, None, 32, 300, False, (None, 1), (32, 1), (None, 1)),
    GemmRequest(float32, None, 128, 10, False, (10, 1), (1, 10), (128, 1)),
    GemmRequest(float32, 128, 128, None, True, (1, 128), (128, 1), (128, 1)),
]


@pytest.mark.parametrize("number", range(len(KNOWN)))
def test_known_extents_and_strides(workshop: Path, number: int) -> None:
    lib = library(workshop, BUILDS[0], exported(KNOWN, [f"known_{i}" for i in range(len(KNOWN))]))
    request = KNOWN[number]
    m, n, k = request.m or 37, request.n or 37, request.k or 37
    rng = np.random.default_rng(number)
    a = rng.standard_normal((m, k)).astype(request.dtype.numpy)
    b = rng.standard_normal((k, n)).astype(request.dtype.numpy)
    a = np.asfortranarray(a) if request.a_strides[0] == 1 else a
    b = np.asfortranarray(b) if request.b_strides[0] == 1 else b
    c = np.ones((m, n), request.dtype.numpy)
    tail, work = scratch(work_bytes(request)(m, n, k))
    call(getattr(lib, f"known_{number}"), a, b, c, work)
    assert (tail[:64] == 0xA5).all()
    exact = request.accumulate + a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(c, exact, rtol=0, atol=k * np.finfo(request.dtype.numpy).eps * 8)  # |a|, |b| < 4: k u 16


def test_work_bytes_as_call_as_extent_and_as_c(workshop: Path) -> None:
    m, n, k = sympy.symbols("m n k", integer=True, nonnegative=True)
    requests = [*GENERAL, *KNOWN]
    names = [f"f{i}" for i in range(len(requests))]
    lib = library(workshop, BUILDS[0], exported(requests, names))
    for request, name in zip(requests, names, strict=True):
        work = work_bytes(request)
        formula = sympy.sympify(work.extent(m, n, k))
        for sizes in itertools.product((0, 1, 65, 100, 3000), repeat=3):
            known = (request.m, request.n, request.k)
            values = [size if extent is None else extent for extent, size in zip(known, sizes, strict=True)]
            in_c = getattr(lib, f"{name}_work")(*map(ctypes.c_ssize_t, values))
            assert in_c == formula.subs(dict(zip((m, n, k), values, strict=True))), (request, values)
            assert work(*values) <= in_c


def test_products_that_need_no_scratch_say_so() -> None:
    assert [work_bytes(KNOWN[i])(99, 64, 64) for i in (2, 3, 4)] == [0, 0, 0]
    assert work_bytes(GENERAL[0])(10**6, 10**6, 10**6) == 128 * 256 + 256 * 240 * 4


@pytest.mark.parametrize("shape", [(300, 300, 400), (9000, 300, 8), (300, 9000, 17)], ids=str)
@pytest.mark.parametrize("transposes", TRANSPOSES)
def test_smaller_blocks_need_less_scratch(workshop: Path, shape: tuple[int, int, int], transposes: str) -> None:
    target = GemmTarget(depth=20, rows=12)
    lib = library(workshop, BUILDS[0], exported(GENERAL, NAMES, target))
    rng = np.random.default_rng(2)
    m, n, k = shape
    a, b = view(rng, m, k, "float32", transposes[0]), view(rng, k, n, "float32", transposes[1])
    size = work_bytes(GENERAL[0], target)(m, n, k)
    assert size <= 20 * 128 + 20 * 12 * 4
    tail, work = scratch(size)
    c = np.zeros((m, n), np.float32)
    call(lib.float32_set, a, b, c, work)
    assert (tail[:64] == 0xA5).all()
    np.testing.assert_allclose(c, a.astype(np.float64) @ b.astype(np.float64), rtol=0, atol=k * 2.0**-24 * 40)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("language", ["-xc -std=c99 -Wmissing-prototypes", "-xc++ -std=c++11"])
@pytest.mark.parametrize("flags", ["-O3 -march=native", "-O3 -mavx2", "-O3", "-O1", "-O2 -DGRADGEN_NO_VECTOR_EXT"])
def test_no_warnings(workshop: Path, compiler: str, language: str, flags: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    source = workshop / "strict.c"
    # Together, and one alone: then its literals reach the innermost loops, and warnings depend on them.
    for requests in ([*GENERAL, *KNOWN], KNOWN[:1], KNOWN[6:7]):
        source.write_text(exported(requests, [f"f{i}" for i in range(len(requests))]))
        command = [compiler, *language.split(), *WARNINGS, *flags.split(), "-c", str(source), "-o", "/dev/null"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


SANITIZED = """
#include <stdio.h>
#include <stdlib.h>
static unsigned state = 1;
static float next(void) { state = state * 1664525u + 1013904223u; return (float)(state >> 20) / 4096.0f - 0.5f; }
static float *block(ptrdiff_t count, int random)
{   /* exactly as many elements: the sanitizer sees the first one too many */
    float *p = malloc((size_t)count * sizeof(float) + (count == 0));
    for (ptrdiff_t i = 0; i < count; ++i) p[i] = random ? next() : 0;
    return p;
}
int main(void)
{
    static const ptrdiff_t sizes[] = {0, 1, 2, 3, 9, 10, 13, 16, 31, 33, 47, 70, 300};
    const unsigned count = sizeof sizes / sizeof *sizes;
    for (unsigned trial = 0; trial < 600; ++trial) {
        next();
        ptrdiff_t m = sizes[(state >> 8) % count], n = sizes[(state >> 13) % count], k = sizes[(state >> 18) % count];
        int ta = (int)(state >> 24 & 1), tb = (int)(state >> 25 & 1), tc = (state >> 26 & 7) == 0;
        float *a = block(m * k, 1), *b = block(k * n, 1), *c = block(m * n, 0);
        void *work = aligned_alloc(64, ((size_t)float32_set_work(m, n, k) + 63) / 64 * 64);
        ptrdiff_t am = ta ? 1 : k, ak = ta ? m : 1, bk = tb ? 1 : n, bn = tb ? k : 1, cm = tc ? 1 : n, cn = tc ? m : 1;
        (trial % 2 ? float32_add : float32_set)(m, n, k, a, am, ak, b, bk, bn, c, cm, cn, work);
        for (ptrdiff_t i = 0; i < m; ++i)
            for (ptrdiff_t j = 0; j < n; ++j) {
                double sum = 0, d;
                for (ptrdiff_t p = 0; p < k; ++p) sum += (double)a[i * am + p * ak] * (double)b[p * bk + j * bn];
                d = sum - (double)c[i * cm + j * cn];
                if (!(d < 1e-4 && d > -1e-4)) { printf("%td %td %td wrong\\n", m, n, k); return 1; }
            }
        free(a); free(b); free(c); free(work);
    }
    return 0;
}
"""


@pytest.mark.parametrize("flags", ["-march=native", "-mavx2 -mfma", "", "-DGRADGEN_NO_VECTOR_EXT"])
def test_sanitizers(workshop: Path, flags: str) -> None:
    build = Build("gcc", tuple(flags.split()))
    if not build.available():
        pytest.skip("compiler or CPU feature missing")
    source, program = workshop / "sanitized.c", workshop / "sanitized"
    source.write_text(exported(GENERAL[:2], NAMES[:2]) + SANITIZED)
    sanitize = ["-std=gnu99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *sanitize, *flags.split(), str(source), "-o", str(program)]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    if compiled.returncode != 0 and "asan" in compiled.stderr:
        pytest.skip("no sanitizer runtime")
    assert compiled.returncode == 0, compiled.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_text() -> None:
    kernels = [chosen(request) for request in (*KNOWN, *KNOWN)]
    text = kernels_text(kernels)
    assert [k.name for k in kernels][:4] == ["gg_gemm_f32_set", "gg_gemm_f32_add", "gg_gemm_f32_mx3x5_5x1_3x1_3x1_add",
                                             "gg_gemm_f64_4x4x4_4x1_1x4_4x1"]
    assert len({k.name for k in kernels}) == 5
    for name in ("gg_gemm_f32(", "gg_gemm_f32_set(", "gg_gemm_f64_set(", f"{kernels[2].name}("):
        assert text.count(f"static void {name}") == 1
    assert text == kernels_text(kernels)
    assert list(kernel_texts(kernels[2])) == [kernels[2].name], "a product of a few terms brings no general function"
    general = kernels_text(map(chosen, GENERAL[:2]))
    assert "double" not in general, "a float32 module computes in float32"
    assert max(map(len, text.splitlines())) <= 130
    # Five products of the gradient of a small network share this; their module may have 30 KB in all.
    assert len(general) < 15_000


def test_impossible_requests() -> None:
    with pytest.raises(CodegenError, match="int32"):
        GemmRequest(int32, None, None, None, False)
    with pytest.raises(CodegenError, match="k = -1"):
        GemmRequest(float32, None, None, -1, False)
    with pytest.raises(CodegenError, match="multiple of 12"):
        GemmTarget(rows=100)
