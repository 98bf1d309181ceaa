"""The C program of examples/digits_c: built by CMake and by one command, no heap, the losses of PyTorch."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.embed.toolchain import C_COMPILERS, STRICT, needs_c, run
from tests.examples.test_examples import CLOSE, recorded, worst
from tests.golden.reference import ROOT, example

HERE = ROOT / "examples" / "digits_c"
BUNDLE = ROOT / "generated" / "digits"
pytestmark = needs_c

COUNTING = """\
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
/* Counts what the program and the C library ask of the heap between the start of main and its end. */
int __real_main(int argc, char **argv);
static int counting, calls;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *malloc(size_t n) { calls += counting; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { calls += counting; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { calls += counting; return __libc_realloc(p, n); }
int __wrap_main(int argc, char **argv)
{
    counting = 1;
    int code = __real_main(argc, argv);
    fflush(stdout);
    counting = 0;
    return calls ? 100 : code;
}
"""


def one_command() -> str:
    """The cc line of the README."""
    found = re.search(r"^cc .*$", (HERE / "README.md").read_text(), re.M)
    assert found
    return found.group()


def steps(program: Path) -> list[float]:
    return [float(line) for line in run([program, "--steps"], program.parent).split()]


def test_one_command(tmp_path: Path) -> None:
    """As the README says it, apart from the name of the result."""
    command = one_command().replace("-o digits_c", f"-o {tmp_path}/digits_c")
    subprocess.run(command, shell=True, cwd=HERE, check=True, timeout=300)
    assert worst(steps(tmp_path / "digits_c"), recorded()) < CLOSE
    last = run([tmp_path / "digits_c"], tmp_path).splitlines()[-1]
    accuracy = re.fullmatch(r"epoch 40  loss \d\.\d{5}  test accuracy (\d+\.\d\d) %", last)
    assert accuracy and float(accuracy.group(1)) >= 97


@pytest.mark.parametrize("cc", C_COMPILERS)
def test_strict(cc: str, tmp_path: Path) -> None:
    run([cc, "-std=c99", *STRICT, "-O2", f"-I{BUNDLE}", "-c", HERE / "main.c", "-o", tmp_path / "o.o"], tmp_path)


@pytest.mark.skipif(not shutil.which("cmake"), reason="cmake is not installed")
def test_cmake(tmp_path: Path) -> None:
    run(["cmake", "-S", HERE, "-B", tmp_path / "build"], tmp_path)
    run(["cmake", "--build", tmp_path / "build"], tmp_path)
    run(["ctest", "--output-on-failure"], tmp_path / "build")
    assert worst(steps(tmp_path / "build" / "digits_c"), recorded()) < CLOSE


def test_no_heap(tmp_path: Path) -> None:
    """Neither the objects nor the C library on their behalf allocate anything while main runs."""
    for source, name in ((HERE / "main.c", "main.o"), (BUNDLE / "digits.c", "digits.o")):
        run([C_COMPILERS[0], "-std=c99", "-O2", f"-I{BUNDLE}", "-c", source, "-o", tmp_path / name], tmp_path)
        wanted = {line.split()[-1] for line in run(["nm", "-u", tmp_path / name], tmp_path).splitlines()}
        assert not wanted & {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "free", "mmap", "sbrk"}
        if name == "digits.o":
            assert wanted <= {"memset", "memcpy", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"} | MATH
    if "glibc" not in run(["ldd", "--version"], tmp_path).lower():
        pytest.skip("counting calls needs glibc")
    (tmp_path / "counting.c").write_text(COUNTING)
    run([C_COMPILERS[0], "-O2", "counting.c", "main.o", "digits.o", "-lm", "-Wl,--wrap=main", "-o", "counted"], tmp_path)
    run([tmp_path / "counted"], tmp_path)


MATH = {"expf", "logf", "log1pf", "fmaxf", "fminf", "fabsf", "sqrtf", "rintf", "ldexpf"}


def test_data_header() -> None:
    """The committed data are scikit-learn's."""
    pytest.importorskip("sklearn")
    import importlib.util

    spec = importlib.util.spec_from_file_location("digits_export", HERE / "export.py")
    assert spec is not None and spec.loader is not None
    example("digits")  # so that a missing dependency of it shows here
    export = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(export)
    assert (HERE / "digits_data.h").read_text(encoding="utf-8") == export.header()
