"""The named kernels' C files, each compiled alone, against their NumPy references: sizes, edges, every compiler."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradgen.codegen.fragments import defined, with_needs
from gradgen.ir import dtypes
from gradgen.ir.kernels import KERNELS, call, reference
from gradgen.ir.nodes import Input, Kernel

HEADERS = "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wfloat-conversion", "-Wshadow", "-Wdouble-promotion",
            "-Wcast-qual", "-Wmissing-prototypes", "-Werror")
COMPILERS = {
    "gcc": ("gcc", "-std=c99", "-O3", "-ffp-contract=fast"),
    "clang": ("clang", "-std=c99", "-O2"),
    "g++": ("g++", "-x", "c++", "-std=c++11", "-O1", "-Wno-missing-declarations"),
    "sanitizers": ("gcc", "-std=c99", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover"),
}
# Forward and backward substitution multiply roundings by the condition number, below 1e3 for these matrices.
RTOL = {"float32": 3e-4, "float64": 1e-11}


def source(spec_name: str, dtype: dtypes.DType) -> str:
    """The kernel behind one external function that takes arrays of sizes, pointers and flags."""
    spec = KERNELS[spec_name]
    s = dtype.suffix
    parts = [HEADERS, *with_needs([f"gg_{spec.name}_{s}"]).values()]
    node = nodes_for(spec_name, dtype, 1, 2, 1)[0]
    args = [f"sizes[{k}]" for k in range(len(spec.sizes(node.operands)))]
    args += [f"(const {node.operands[at].dtype.ctype} *)in[{k}]" for k, at in enumerate(spec.passed)]
    args += [f"({kind.ctype} *)out[{k}]" for k, (_, kind) in enumerate(spec.results(node.operands))]
    args += [f"flags[{k}]" for k in range(len(node.attributes))]
    work = spec.workspace(spec.sizes(node.operands), dtype)
    args += [f"({kind.ctype} *)work[{k}]" for k, (kind, _) in enumerate(work)]
    head = "void run(const int64_t *sizes, const void *const *in, void *const *out, const int *flags, void *const *work)"
    extern = '#ifdef __cplusplus\nextern "C"\n#endif\n'
    body = f"    (void)flags; (void)work;\n    gg_{spec_name}_{s}({', '.join(args)});\n"
    return "\n".join([*parts, f"{extern}{head};\n{head}\n{{\n{body}}}\n"])


FLAGS = {
    "argsort": [{"descending": d} for d in (False, True)],
    "solve": [{"transposed": d} for d in (False, True)],
    "triangular_solve": [{"transposed": t, "unit": u, "upper": p} for t in (0, 1) for u in (0, 1) for p in (0, 1)],
}


def nodes_for(name: str, dtype: dtypes.DType, count: int, n: int, columns: int, **flags: bool) -> tuple[Kernel, ...]:
    flags = flags or FLAGS.get(name, [{}])[0]
    a = Input("a", (count, n, n), dtype)
    b = Input("b", (count, n, columns), dtype)
    if name == "argsort":
        return call(name, Input("a", (count, n), dtype), **flags)
    if name in ("qr", "svd"):
        return call(name, Input("a", (count, n + columns, n), dtype))
    if name in ("cholesky", "lu", "eigh"):
        return call(name, a)
    if name == "triangular_solve":
        return call(name, a, b, **flags)
    packed, rows, exchanges = call("lu", a)
    rest = {"solve": (rows, b), "det": (rows, exchanges), "logabsdet": (rows,)}[name]
    return call(name, a, packed, *rest, **flags)


def values_for(node: Kernel, rng: np.random.RandomState) -> list[np.ndarray]:
    """Operands: well-conditioned matrices, rows with ties and nans."""
    found: list[np.ndarray] = []
    for operand in node.operands:
        shape = tuple(int(e) for e in operand.shape)
        if isinstance(operand, Kernel):
            done = reference(operand, found[:1])
            found.append(done[operand.output])
        elif node.name == "argsort":
            x = rng.randint(-4, 5, shape).astype(operand.dtype.numpy)
            if x.dtype.kind == "f" and x.size:
                x.ravel()[::7] = np.nan
                x.ravel()[::11] = -np.inf
            found.append(x)
        elif len(found) == 0:
            x = rng.standard_normal(shape)
            if node.name in ("cholesky", "eigh"):
                x = x @ x.swapaxes(-1, -2)
            found.append((x + np.eye(*shape[-2:]) * 2).astype(operand.dtype.numpy))
        else:
            found.append(rng.standard_normal(shape).astype(operand.dtype.numpy))
    return found


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


def library(folder: Path, compiler: str, name: str, dtype: dtypes.DType) -> ctypes.CDLL:
    path = folder / f"{compiler}_{name}_{dtype.suffix}"
    c = path.with_suffix(".c")
    c.write_text(source(name, dtype))
    command = [*COMPILERS[compiler], *WARNINGS, "-shared", "-fPIC", str(c), "-o", str(path.with_suffix(".so")), "-lm"]
    if compiler == "g++":
        command = [x for x in command if x != "-Wmissing-prototypes"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(path.with_suffix(".so")))


def run(lib: ctypes.CDLL, node: Kernel, operands: list[np.ndarray]) -> list[np.ndarray]:
    spec = KERNELS[node.name]
    dtype = node.operands[0].dtype
    sizes = [int(s) for s in spec.sizes(node.operands)]
    out = [np.full(tuple(int(e) for e in shape), 7, kind.numpy) for shape, kind in spec.results(node.operands)]
    work = [np.full(int(size), 7, kind.numpy) for kind, size in spec.workspace(sizes, dtype)]  # type: ignore[arg-type]
    passed = [np.ascontiguousarray(operands[k]) for k in spec.passed]

    def pointers(arrays: list[np.ndarray]) -> ctypes.Array:
        return (ctypes.c_void_p * max(len(arrays), 1))(*(a.ctypes.data for a in arrays))

    lib.run((ctypes.c_int64 * len(sizes))(*sizes), pointers(passed), pointers(out),
            (ctypes.c_int * max(len(node.attributes), 1))(*(int(v) for _, v in node.attributes)), pointers(work))
    return out


def alike(name: str, results: Any) -> list[np.ndarray]:
    """Eigenvectors are known up to their signs: the matrix that they make of other eigenvalues is not."""
    if name == "svd":
        u, w, v = results
        return [w, (u * w[..., None, :]) @ v.swapaxes(-1, -2), (v * np.arange(v.shape[-1])) @ v.swapaxes(-1, -2)]
    if name != "eigh":
        return list(results)
    values, vectors = results
    return [values, (vectors * np.arange(vectors.shape[-1])) @ vectors.swapaxes(-1, -2)]


CASES = [(name, dtypes.dtype(d)) for name in KERNELS if defined(f"gg_{name}_f32") for d in ("float32", "float64")]
CASES += [("argsort", dtypes.dtype(d)) for d in ("int32", "int64", "bool")]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name, dtype", CASES, ids=lambda v: v if isinstance(v, str) else v.name)
def test_like_reference(workshop: Path, compiler: str, name: str, dtype: dtypes.DType) -> None:
    if shutil.which(COMPILERS[compiler][0]) is None:
        pytest.skip(f"no {COMPILERS[compiler][0]}")
    lib = library(workshop, compiler, name, dtype)
    sizes = (0, 1, 2, 7, 8, 9, 17, 100) if name == "argsort" else (0, 1, 2, 3, 8, 13)
    rng = np.random.RandomState(3)
    for n in sizes:
        for count in (0, 1, 3):
            for flags in FLAGS.get(name, [{}]):
                node = nodes_for(name, dtype, count, n, n % 4, **flags)[0]
                operands = values_for(node, rng)
                results = run(lib, node, operands), reference(node, operands)
                for ours, expected in zip(*(alike(name, r) for r in results), strict=True):
                    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0)))
                    np.testing.assert_allclose(ours, expected, rtol=RTOL.get(dtype.name, 0),
                                               atol=RTOL.get(dtype.name, 0) * scale)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda d: d.name)
def test_matrices_without_a_result_give_nan(workshop: Path, dtype: dtypes.DType) -> None:
    """Not positive definite, and singular: nan everywhere, in C and in NumPy."""
    bad = np.array([[[1, 2, 0], [2, 1, 0], [0, 0, 1]], [[2, 0, 0], [0, 2, 0], [0, 0, 2]]], dtype.numpy)
    lib = library(workshop, "gcc", "cholesky", dtype)
    node = nodes_for("cholesky", dtype, 2, 3, 1)[0]
    for found in (run(lib, node, [bad]), reference(node, [bad])):
        assert np.isnan(found[0][0]).all()
        assert np.isfinite(found[0][1]).all()
    node = nodes_for("solve", dtype, 1, 3, 2)[0]
    singular = np.array([[[1, 2, 3], [2, 4, 6], [0, 1, 1]]], dtype.numpy)
    packed, rows, _ = reference(nodes_for("lu", dtype, 1, 3, 1)[0], [singular])
    operands = [singular, packed, rows, np.ones((1, 3, 2), dtype.numpy)]
    lib = library(workshop, "gcc", "solve", dtype)
    for found in (run(lib, node, operands), reference(node, operands)):
        assert np.isnan(found[0]).all()


def test_references_against_numpy() -> None:
    """The references themselves: factors multiply to what was factored, solutions solve."""
    rng = np.random.RandomState(5)
    a = rng.standard_normal((2, 6, 6))
    packed, rows, exchanges = reference(nodes_for("lu", dtypes.float64, 2, 6, 1)[0], [a])
    low, up = np.tril(packed, -1) + np.eye(6), np.triu(packed)
    np.testing.assert_allclose(low @ up, np.take_along_axis(a, rows[..., None], 1), rtol=1e-12, atol=1e-13)
    det = reference(nodes_for("det", dtypes.float64, 2, 6, 1)[0], [a, packed, rows, exchanges])[0]
    np.testing.assert_allclose(det, np.linalg.det(a), rtol=1e-12)
    logs = reference(nodes_for("logabsdet", dtypes.float64, 2, 6, 1)[0], [a, packed, rows])[0]
    np.testing.assert_allclose(logs, np.linalg.slogdet(a)[1], rtol=1e-11)
    b = rng.standard_normal((2, 6, 3))
    for transposed in (False, True):
        node = nodes_for("solve", dtypes.float64, 2, 6, 3, transposed=transposed)[0]
        x = reference(node, [a, packed, rows, b])[0]
        np.testing.assert_allclose((a.swapaxes(1, 2) if transposed else a) @ x, b, rtol=1e-10, atol=1e-11)
