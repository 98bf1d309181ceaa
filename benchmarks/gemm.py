"""The emitted matrix product against torch.mm on one thread, interleaved in one process; best of the repetitions.

    python benchmarks/gemm.py [--sizes 16,64,256] [--shapes 64x10x64,1x512x512] [--dtype float32] [--flags "-O3 -mavx2"]

Each line is one product c[m, n] = a[m, k] b[k, n]; NN, NT, TN, TT say which operands are transposed views of row-major
arrays.  torch.mm is called from Python (its own overhead is about a microsecond), ours from a loop in C, as an emitted
module would call it.  ratio = time of torch / time of ours.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from gradgen.codegen.gemm import kernels_text
from gradgen.ir import dtypes
from gradgen.schedule.matrix_kernel import GemmRequest, GemmTarget, WorkBytes, chosen

C_TYPE = {"float32": "float", "float64": "double"}
SIZES = (16, 32, 64, 128, 256, 512, 1024)
SHAPES = (
    "1x64x64,1x512x512,1x2048x2048,512x1x512,64x64x1,1024x1024x1,512x512x4,64x10x64,1024x10x64,10x64x64,4x512x512,"
    "8x512x512,784x128x64,64x128x784,100x100x100,33x47x29,1000x2x1000"
)


def build(folder: Path, flags: str) -> ctypes.CDLL:
    """Compile, for each dtype, a loop that repeats the product."""
    text = kernels_text(chosen(GemmRequest(dtypes.dtype(dtype), None, None, None, False)) for dtype in C_TYPE)
    parts = ["#include <stddef.h>\n#include <string.h>\n#define GRADGEN_RESTRICT restrict\n", text]
    for dtype, t in C_TYPE.items():
        name = chosen(GemmRequest(dtypes.dtype(dtype), None, None, None, False)).name
        parts.append(
            f"void repeat_{dtype}(ptrdiff_t times, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {t} *a, ptrdiff_t am,\n"
            f"    ptrdiff_t ak, const {t} *b, ptrdiff_t bk, ptrdiff_t bn, {t} *c, void *work)\n"
            f"{{\n    while (times-- > 0) {name}(m, n, k, a, am, ak, b, bk, bn, c, n, 1, work);\n}}\n"
        )
    source = folder / "products.c"
    source.write_text("\n".join(parts))
    command = [os.environ.get("CC", "cc"), "-std=c99", *flags.split(), "-fPIC", "-shared"]
    start = time.perf_counter()
    subprocess.run([*command, "-o", str(folder / "products.so"), str(source)], check=True)
    print(f"{' '.join(command)}: {len(text)} bytes of C for two dtypes in {time.perf_counter() - start:.2f} s")
    return ctypes.CDLL(str(folder / "products.so"))


def best_times(first: Callable[[int], None], second: Callable[[int], None], seconds: float) -> tuple[float, float]:
    """Seconds per call of both, measured in turns."""
    start = time.perf_counter()
    first(1)
    times = max(1, min(5000, int(2e-3 / max(time.perf_counter() - start, 1e-7))))
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + seconds
    while best[1] == float("inf") or time.perf_counter() < end:
        for i, function in enumerate((first, second)):
            start = time.perf_counter()
            function(times)
            best[i] = min(best[i], (time.perf_counter() - start) / times)
    return best[0], best[1]


def compare(library: ctypes.CDLL, dtype: str, m: int, n: int, k: int, layout: str, seconds: float) -> None:
    kind = getattr(torch, dtype)
    a = torch.randn(m, k, dtype=kind) if layout[0] == "N" else torch.randn(k, m, dtype=kind).t()
    b = torch.randn(k, n, dtype=kind) if layout[1] == "N" else torch.randn(n, k, dtype=kind).t()
    theirs, ours = torch.empty(m, n, dtype=kind), torch.empty(m, n, dtype=kind)
    request = GemmRequest(dtypes.dtype(dtype), None, None, None, False)
    work = torch.empty(WorkBytes(request, GemmTarget())(m, n, k) + 64, dtype=torch.uint8)
    size, pointer = ctypes.c_ssize_t, ctypes.c_void_p
    arguments = [size(m), size(n), size(k), pointer(a.data_ptr()), *map(size, a.stride())]
    arguments += [pointer(b.data_ptr()), *map(size, b.stride())]
    arguments += [pointer(ours.data_ptr()), pointer((work.data_ptr() + 63) // 64 * 64)]
    repeat = getattr(library, f"repeat_{dtype}")
    repeat.restype = None

    def call_torch(times: int) -> None:
        for _ in range(times):
            torch.mm(a, b, out=theirs)

    def call_ours(times: int) -> None:
        repeat(size(times), *arguments)

    slow, fast = best_times(call_torch, call_ours, seconds)
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    if error > 1e-4:
        raise SystemExit(f"wrong result: {dtype} {m}x{n}x{k} {layout} differs by {error}")
    work_per_call = 2e-9 * m * n * k
    print(
        f"{dtype} {f'{m}x{n}x{k}':>14} {layout}  torch {slow * 1e6:9.2f} us {work_per_call / slow:6.1f} GFLOP/s"
        f"  ours {fast * 1e6:9.2f} us {work_per_call / fast:6.1f} GFLOP/s  ratio {slow / fast:5.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="square products")
    parser.add_argument("--shapes", default=SHAPES, help="others, as MxNxK")
    parser.add_argument("--dtype", choices=[*C_TYPE], action="append")
    parser.add_argument("--flags", default="-O3 -march=native -ffp-contract=fast")
    parser.add_argument("--seconds", type=float, default=0.05, help="to spend on each line")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shapes = [(int(s),) * 3 for s in options.sizes.split(",") if s]
    shapes += [tuple(map(int, s.split("x"))) for s in options.shapes.split(",") if s]
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder), options.flags)
        for dtype, (m, n, k), layout in itertools.product(options.dtype or C_TYPE, shapes, ("NN", "NT", "TN", "TT")):
            compare(library, dtype, m, n, k, layout, options.seconds)


if __name__ == "__main__":
    main()
