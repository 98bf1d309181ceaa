"""What no machine, or no machine with addresses of 32 bits, can count is refused: by the emitted C, and where it is known
by Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import gradgen as gg
from tests.embed.toolchain import C_COMPILERS, STRICT, needs_c, run

MAIN = """#include "model.h"
#include <stdio.h>
int main(void)
{
    static float x[4];
    const struct { int64_t n, m; int fits[2]; } tests[] = {%s};
    int bad = 0;
    for (size_t k = 0; k < sizeof tests / sizeof *tests; k++) {
        const int fits = tests[k].fits[sizeof(void *) == 4];
        const gradgen_status status = %s;
        const size_t saved = %s, work = %s;
        /* what is representable is refused for its NULL pointers: nothing is read or written here */
        if ((status == GRADGEN_ERR_NULL) != fits || (status == GRADGEN_ERR_DIM) == fits || (saved == SIZE_MAX) == fits ||
            (work == SIZE_MAX) == fits) {
            printf("%%d: status %%d\\n", (int)k, (int)status);
            bad = 1;
        }
    }
    (void)x;
    return bad;
}
"""

OPEN = [  # n, m, whether they fit 64 and 32 bits
    (3, 5, 1, 1), (2**13, 2**13, 1, 1), (2**15, 2**15, 1, 0), (2**29, 1, 1, 0), (1, 2**29, 1, 0), (2**16, 2**16, 1, 0),
    (-1, 1, 0, 0), (1, -1, 0, 0), (-(2**63), 0, 0, 0), (0, 2**62, 0, 0), (2**32, 2**31, 0, 0), (2**31, 2**31, 0, 0),
    (2**62, 2**62, 0, 0), (2**63 - 1, 3, 0, 0), (2**61, 8, 0, 0), (2**32, 2**32, 0, 0),
]  # fmt: skip


def outer(x, y, z):  # type: ignore[no-untyped-def]
    """A product of two dimensions in WORK, in an output, and beside an axis without elements."""
    return (x[:, None] * y).cumsum(0), gg.tanh(x[:, None] + y).flatten().cumprod(0).sum() + z.sum()


def targets() -> list[list[str]]:
    """Host, and the host's 32 bits where its libraries are there."""
    probe = subprocess.run(["gcc", "-m32", "-fsanitize=undefined", "-x", "c", "-", "-o", "/dev/null"], capture_output=True,
                           text=True, input="#include <math.h>\nint main(void) { return 0; }\n") if C_COMPILERS else None
    return [[], ["-m32"]] if probe is not None and probe.returncode == 0 else [[]]


def check(folder: Path, rows: list[tuple[int, ...]], calls: tuple[str, str, str]) -> None:
    def integer(n: int) -> str:
        return "INT64_MIN" if n == -(2**63) else f"INT64_C({n})"

    table = ", ".join(f"{{{integer(n)}, {integer(m)}, {{{a}, {b}}}}}" for n, m, a, b in rows)
    (folder / "main.c").write_text(MAIN % (table, *calls))
    for flags in targets():
        sanitized = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
        run(["gcc", "-std=c99", *STRICT, *flags, *sanitized, "main.c", "model.c", "-lm", "-o", "program"], folder)
        run(["./program"], folder)


@needs_c
@pytest.mark.skipif("gcc" not in C_COMPILERS, reason="-m32 is gcc's")
def test_products_of_dimensions_do_not_overflow(tmp_path: Path) -> None:
    program = gg.trace(outer, x=gg.spec("N", requires_grad=True), y=gg.spec("M"), z=gg.spec("N", "M", 0))
    folder = gg.emit(program, "model", out=tmp_path)
    dims = "tests[k].n, tests[k].m"
    call = f"model_forward({dims}, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    check(folder, OPEN, (call, f"model_saved_bytes({dims})", f"model_work_bytes({dims})"))


@needs_c
@pytest.mark.skipif("gcc" not in C_COMPILERS, reason="-m32 is gcc's")
def test_fixed_shapes_of_more_than_two_gigabytes(tmp_path: Path) -> None:
    """Nothing that depends on a dimension, and too much for an address of 32 bits."""
    program = gg.trace(lambda x: x.sum(), x=gg.spec(2**30, requires_grad=True), name="model")
    folder = gg.emit(program, "model", out=tmp_path)
    call = "model_forward(NULL, NULL, NULL, NULL)"
    check(folder, [(0, 0, 1, 0)], (call, "model_saved_bytes()", "model_work_bytes()"))


def test_python_says_what_cannot_be_counted() -> None:
    for make in (
        lambda: gg.spec(2**40, 2**40),
        lambda: gg.spec("N", 2**62),
        lambda: gg.spec(2**70),
        lambda: gg.zeros(2**40, 2**40),
        lambda: gg.zeros(2**40, 2**40, 0),
        lambda: gg.zeros(1).expand(2**40, 2**40),
        lambda: gg.trace(lambda x: x.expand(2**40, 2**40).cumsum(0).sum(), x=gg.spec(1)),
    ):
        with pytest.raises(RuntimeError, match=r"Storage size calculation overflowed with sizes=\["):
            make()


@needs_c
def test_intermediate_values_of_eager_use_are_counted() -> None:
    """Each of them fits 64 bits, their sum does not."""
    x = gg.zeros(1).expand(2**30, 2**30)
    total = x.cumsum(0).cumsum(1).cumprod(0).cumsum(1).cumprod(1).cumsum(0).sum()
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        total.item()
