"""Several modules in one source file, and the reference bundles under the compilers of small machines."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from tests.embed.toolchain import C_COMPILERS, CXX_COMPILERS, STRICT, STRICT_CXX, needs_c, run

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "generated", ROOT / "tests" / "golden" / "small_bundles")
BUNDLES = [d for folder in FOLDERS for d in sorted(folder.iterdir()) if (d / f"{d.name}.c").is_file()]
HEADERS = f"-I{ROOT / 'generated' / 'linear_bce'}"  # the small bundles are kept without gradgen_abi.h

LANGUAGES = [(cc, "c", ["-std=c99", *STRICT]) for cc in C_COMPILERS]
LANGUAGES += [(cxx, "c++", ["-std=c++11", *STRICT_CXX]) for cxx in CXX_COMPILERS]

ARM = "arm-none-eabi-gcc"
MACHINES = {
    "M7, double": ["-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard"],
    "M4": ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"],
}


def compiled(command: list[str], text: str) -> str:
    """What the compiler says about a text; empty where it has nothing to say."""
    done = subprocess.run([*command, "-c", "-o", "/dev/null", "-"], input=text, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def together(bundles: list[Path]) -> str:
    return "".join(f'#include "{d}/{d.name}.c"\n' for d in bundles)


@needs_c
def test_all_reference_modules_are_one_translation_unit() -> None:
    """In both orders, so that what one leaves defined meets every other; as C and as C++."""
    for (compiler, language, flags), bundles in zip((LANGUAGES[0], LANGUAGES[-1]), (BUNDLES, BUNDLES[::-1])):
        assert not compiled([compiler, *flags, "-O0", HEADERS, "-x", language], together(bundles))


@pytest.mark.skipif(shutil.which(ARM) is None, reason=f"no {ARM}")
@pytest.mark.parametrize("machine", MACHINES)
def test_all_reference_modules_on_small_machines(machine: str) -> None:
    flags = [ARM, "-std=c99", *STRICT, "-O3", *MACHINES[machine], HEADERS, "-x", "c"]
    assert not compiled(flags, together(BUNDLES))
    if machine == "M7, double":
        for d in BUNDLES:
            for name in ("selftest.c", "example.c"):
                assert not compiled(flags, f'#include "{d}/{name}"\n'), d / name


MODELS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "first": (lambda x, w: gg.nn.functional.softplus(x @ w).sum(), {"dtype": gg.float32, "n": 5}, {}),
    "second": (lambda x, w: gg.nn.functional.softplus(x @ w).sum(), {"dtype": gg.float64, "n": 9}, {"simplify": "fast"}),
    "third": (lambda x, w: (x @ w).exp().log1p().sum(), {"dtype": gg.float32, "n": 64}, {"derivatives": ("jvp",)}),
}
MAIN = """#define FIRST_IMPLEMENTATION
#define SECOND_IMPLEMENTATION
#define THIRD_IMPLEMENTATION
#include "first/first.h"
#include "second/second.h"
#include "third/third.h"

#include <stdio.h>

static float x[64 * 64], w[64 * 64], f;
static double xd[81], wd[81], d;
static GRADGEN_ALIGNED unsigned char work[1 << 20];

int main(void)
{
    for (int k = 0; k < 64 * 64; k++) {
        x[k] = (float)(k % 7) / 64.0f;
        w[k] = (float)(k % 5) / 64.0f;
    }
    for (int k = 0; k < 81; k++) {
        xd[k] = (double)x[k];
        wd[k] = (double)w[k];
    }
    if (first_forward(x, w, &f, NULL, work) != GRADGEN_OK) { return 1; }
    printf("%.7g\\n", (double)f);
    if (second_forward(xd, wd, &d, NULL, work) != GRADGEN_OK) { return 1; }
    printf("%.15g\\n", d);
    if (third_forward(x, w, &f, NULL, work) != GRADGEN_OK) { return 1; }
    printf("%.7g\\n", (double)f);
    return 0;
}
"""


@needs_c
def test_three_single_file_headers_in_one_source(tmp_path: Path) -> None:
    """Other dtypes, options and sizes of the matrix kernel; each computes its own."""
    expected = []
    for name, (function, how, options) in MODELS.items():
        n, dtype = how["n"], how["dtype"]
        specs = {key: gg.spec(n, n, dtype=dtype, requires_grad=True) for key in "xw"}
        gg.emit(gg.trace(function, **specs), name, out=tmp_path, single_file=True, **options)
        count = np.arange(n * n)
        given = (gg.from_numpy((count % m / 64.0).reshape(n, n)) for m in (7, 5))
        expected.append(float(function(*given)))
    (tmp_path / "main.c").write_text(MAIN)
    for compiler, language, flags in LANGUAGES:
        run([compiler, *flags, "-O2", "-x", language, "main.c", "-o", "main", "-lm"], tmp_path)
        found = [float(line) for line in run(["./main"], tmp_path).split()]
        np.testing.assert_allclose(found, expected, rtol=2e-6)


# ------------------------------------------------------------------------------------------------ names

AWKWARD = """
main printf data exit j0 y1 signal abs malloc free puts abort index gamma time random read write select stat
system remove string vector begin end swap min array optional i j k n s t w0 t0 dims args
NULL_ call rows first outputs tensor value dim_N moved cotangents failures kept recorded_x model header state in_ m x0
"""


@needs_c
def test_awkward_names_are_names(tmp_path: Path) -> None:
    """Whatever is an identifier and hides nothing that the emitted functions call: in prototypes, bodies, the record, the
    example and the self-test, as input with and without gradient, output and dimension."""
    for number, line in enumerate(AWKWARD.split("\n")[1:-1]):
        names = line.split()
        inputs, dims, outputs = names[:12], names[12:14], names[14:]
        parts = ", ".join(f"({name}.exp() * 2).sum()" for name in inputs)
        body = ", ".join(f"{name!r}: total * {k + 1}" for k, name in enumerate(outputs))
        scope: dict[str, Any] = {}
        exec(f"def f({', '.join(inputs)}):\n    total = sum([{parts}])\n    return {{{body}}}\n", scope)
        specs = [gg.spec(dims[k % 2], 3, requires_grad=k % 3 != 2) for k in range(len(inputs))]
        check_bundle(gg.trace(scope["f"], *specs), f"m{number}", tmp_path)


@needs_c
@pytest.mark.parametrize("length", [40, 200])
def test_long_names(length: int, tmp_path: Path) -> None:
    """A row of the module's record is then cut at a formula, which may be empty."""
    def name(letter: str) -> str:
        return letter + "_x" * ((length - 1) // 2)

    inputs = [name(c) for c in "abc"]
    scope: dict[str, Any] = {}
    exec(f"def f({', '.join(inputs)}):\n    return {{{name('o')!r}: ({'*'.join(inputs)}).exp().sum()}}\n", scope)
    specs = [gg.spec(name("N"), 3, requires_grad=k != 1) for k in range(3)]
    check_bundle(gg.trace(scope["f"], *specs), name("m"), tmp_path, derivatives=("jvp", "hvp"))


def check_bundle(program: Any, name: str, out: Path, **options: Any) -> None:
    """All of its C compiles strictly, as C++ too, and its self-test passes."""
    folder = gg.emit(program, name, out=out, **options)
    for compiler, language, flags in {how[1]: how for how in LANGUAGES}.values():
        assert not compiled([compiler, *flags, f"-I{folder}", "-x", language], f'#include "{folder}/{name}.c"\n')
    for source in ("example.c", "selftest.c"):
        run([C_COMPILERS[0], "-std=c99", *STRICT, source, f"{name}.c", "-lm", "-o", source[:4]], folder)
    run(["./self"], folder)
