"""Compiles the math fragments together with math_harness.c and calls the result through ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gradgen.codegen.c_types import FLOATS, INTEGERS
from gradgen.codegen.fragments import sections, with_needs

HEADERS = "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n\n"
FAST = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fopenmp-simd"]
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wfloat-conversion",
    "-Wshadow",
    "-Wdouble-promotion",
    "-Wcast-qual",
    "-Wmissing-prototypes",
    "-Werror",
]
ONE_ARGUMENT = [
    "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos",
    "atan", "asinh", "acosh", "atanh", "sigmoid", "softplus", "logsigmoid", "erf", "erfc", "sqrt", "rsqrt", "rint", "floor",
    "ceil", "trunc", "sign",
]  # fmt: skip
TWO_ARGUMENTS = ["pow", "atan2", "maximum", "minimum", "fmod", "remainder", "floor_div"]
SCALAR = [f"{name}_scalar" for name in ("exp", "log", "sigmoid", "sin", "cos", "tan")]  # for one number, with branches
CASTS = ["to_i32", "to_i64"]
INTEGER_TWO_ARGUMENTS = ["floor_div", "remainder", "trunc_div", "fmod", "pow", "maximum", "minimum"]
CHECKED_ONE_ARGUMENT = [*ONE_ARGUMENT, *SCALAR]
# the others are defined by rounded steps: compared with those in NumPy, not with an exact value
CHECKED_TWO_ARGUMENTS = ["pow", "atan2", "maximum", "minimum", "fmod"]


class Report(ctypes.Structure):
    """The worst element of a check, as math_harness.c fills it in."""

    _fields_ = [
        *((name, ctypes.c_double) for name in ("max_error", "x", "y", "result", "reference")),
        ("count", ctypes.c_uint64),
        ("wrong", ctypes.c_uint64),
    ]

    def __str__(self) -> str:
        return (
            f"{self.max_error:.3f} ulp at {self.x!r}, {self.y!r}: got {self.result!r}, exact {self.reference!r}; "
            f"{self.wrong} wrong of {self.count}"
        )


class Build(NamedTuple):
    """A compiler and its flags; quad says that libquadmath is there."""

    compiler: str
    flags: tuple[str, ...]
    quad: bool = False


def fragments(names: Iterable[str]) -> str:
    """Return the C of these functions and of what they need."""
    return "\n".join(with_needs(names).values()) + "\n"


def all_names() -> list[str]:
    """Return every function of math and small, for every dtype that it has."""
    found: dict[str, None] = {}
    for name, section in sections().items():
        if name.startswith("gg_") and section.file.startswith(("math/", "small/")) and "indices" not in section.file:
            for kind, suffixes in (("s", FLOATS), ("i", INTEGERS)):
                found |= {name.replace(f"{{{{ {kind} }}}}", s): None for s in suffixes if f"{{{{ {kind} }}}}" in name}
            found |= {} if "{{" in name else {name: None}
    return list(found)


def all_fragments() -> str:
    """Return every fragment that computes something, in order."""
    return fragments(all_names())


def compile_c(build: Build, source: Path, output: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    """Run the compiler; never raises for a failed compile."""
    command = [build.compiler, *build.flags, "-o", str(output), str(source), *extra]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def has_quad(compiler: str, folder: Path) -> bool:
    """Say whether the compiler finds libquadmath."""
    source = folder / "quad.c"
    source.write_text("#include <quadmath.h>\nint main(void) { return (int)expq(0.0Q) - 1; }\n")
    return compile_c(Build(compiler, ()), source, folder / "quad", "-lquadmath").returncode == 0


class Harness:
    """The compiled kernels and checks."""

    def __init__(self, folder: Path, build: Build, *, libmvec: bool = False) -> None:
        source = folder / "harness.c"
        checks = (Path(__file__).parent / "math_harness.c").read_text(encoding="utf-8")
        source.write_text(HEADERS + all_fragments() + checks, encoding="utf-8")
        lists = [
            f"-D{name}(M)={' '.join(f'M({function})' for function in functions)}"
            for name, functions in (
                ("ONE_ARG", CHECKED_ONE_ARGUMENT),
                ("TWO_ARG", TWO_ARGUMENTS),
                ("TWO_ARG_CHECKED", CHECKED_TWO_ARGUMENTS),
                ("INTEGER_TWO_ARG", INTEGER_TWO_ARGUMENTS),
            )
        ]
        options = ["-DQUAD"] * build.quad + ["-DLIBMVEC"] * libmvec
        libraries = ["-lquadmath"] * build.quad + ["-lmvec"] * libmvec + ["-lm"]
        done = compile_c(
            build, source, folder / "harness.so", "-shared", "-fPIC", "-std=gnu99", *lists, *options, *libraries
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        self.quad = build.quad
        self.library = ctypes.CDLL(str(folder / "harness.so"))

    def run(self, name: str, suffix: str, *arguments: np.ndarray, result_type: type | None = None) -> np.ndarray:
        """Evaluate a kernel elementwise on arrays of its dtype."""
        result = np.empty_like(arguments[0], dtype=result_type)
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*map(np.ascontiguousarray, arguments), result)]
        getattr(self.library, f"run_{name}_{suffix}")(*pointers, ctypes.c_size_t(result.size))
        return result

    def check_bits(self, name: str, first: int, step: int, count: int, report: Report) -> Report:
        """Check a one-argument float32 kernel on the bit patterns first, first + step, ... (a multiple of 1024)."""
        numbers = [ctypes.c_uint64(value) for value in (first, step, count)]
        getattr(self.library, f"check_{name}_f32")(*numbers, ctypes.byref(report))
        return report

    def check_result(self, name: str, suffix: str, result: np.ndarray, *arguments: np.ndarray) -> Report:
        """Check results, of this build or another: a float64 kernel, or a float32 one of two arguments."""
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*map(np.ascontiguousarray, arguments), result)]
        report = Report()
        getattr(self.library, f"check_{name}_{suffix}")(*pointers, ctypes.c_size_t(result.size), ctypes.byref(report))
        return report

    def check(self, name: str, suffix: str, *arguments: np.ndarray) -> Report:
        """Run a kernel and check what it gives."""
        return self.check_result(name, suffix, self.run(name, suffix, *arguments), *arguments)


def find_compilers() -> list[str]:
    """Return the C compilers that are there, by full path."""
    return [path for name in ("gcc", "clang") if (path := shutil.which(name))]
