"""A vector times a matrix: the C of `c[n] (+)= sum_k x[k] b[k, n]` where everything is contiguous and n is whole vectors.

The general matrix product serves many rows; one row at a time, in a recurrence, is its own small kernel
(`templates/kernels/gemm/row.c`).
"""

from __future__ import annotations

from gradgen.codegen.fragments import Helper, filled, with_needs
from gradgen.schedule.matrix_kernel import GemmRequest


def row_function(name: str, request: GemmRequest) -> dict[str, Helper]:
    """The function and the fragments that it is made of; it has the signature of all matrix products."""
    s, t = request.dtype.suffix, request.dtype.ctype
    swapped = request.n == 1
    call = ("m, k, b, a, as_k, c" if swapped else "n, k, a, b, bs_k, c") + f", {int(request.accumulate)}"
    silent = ["n", "as_m", "bs_k", "bs_n"] if swapped else ["m", "as_m", "as_k", "bs_n"]
    head = (
        f"static void {name}(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {t} *GRADGEN_RESTRICT a,\n"
        f"    ptrdiff_t as_m, ptrdiff_t as_k, const {t} *GRADGEN_RESTRICT b, ptrdiff_t bs_k, ptrdiff_t bs_n,\n"
        f"    {t} *GRADGEN_RESTRICT c, ptrdiff_t cs_m, ptrdiff_t cs_n, void *work)"
    )
    silenced = " ".join(f"(void){x};" for x in (*silent, "cs_m", "cs_n", "work"))
    return {
        **with_needs(["GG_KERNEL"]),
        f"gg_row_times_{s}": filled(f"gg_row_times_{s}", size=request.dtype.itemsize),
        name: Helper(f"{head}\n{{\n    {silenced}\n    gg_row_times_{s}({call});\n}}", (name,)),
    }
