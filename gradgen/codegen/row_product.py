"""A vector times a matrix: the C of `c[n] (+)= sum_k x[k] b[k, n]` where everything is contiguous and n is whole vectors.

The general matrix product serves many rows; one row at a time, in a recurrence, is its own small kernel
(`templates/kernels/gemm/row.c`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradgen.codegen.fragments import Helper, filled, with_needs
from gradgen.schedule.cost import VECTOR_BYTES

if TYPE_CHECKING:
    from gradgen.codegen.gemm import GemmRequest

SIZE = {"float32": 4, "float64": 8}  # bytes of an element
TYPE = {"float32": "float", "float64": "double"}
SUFFIX = {"float32": "f32", "float64": "f64"}


def is_row_product(request: GemmRequest) -> bool:
    """One row, or one column of the transpose, in the layout that the kernel wants."""
    r = request
    if r.n == 1 and r.m is not None:
        n, x, b, c = r.m, r.b_strides[0], (r.a_strides[1], r.a_strides[0]), r.c_strides[0]
    elif r.m == 1 and r.n is not None:
        n, x, b, c = r.n, r.a_strides[1], r.b_strides, r.c_strides[1]
    else:
        return False
    return n > 0 and n % (VECTOR_BYTES // SIZE[r.dtype]) == 0 and x == 1 and b[1] == 1 and c == 1 and b[0] is not None


def row_function(request: GemmRequest) -> tuple[str, dict[str, Helper]]:
    """The function's name and the fragments that it is made of; it has the signature of all matrix products."""
    s, t = SUFFIX[request.dtype], TYPE[request.dtype]
    swapped = request.n == 1
    name = f"gg_row_{s}_{'column_' if swapped else ''}{'add' if request.accumulate else 'set'}"
    call = ("m, k, b, a, as_k, c" if swapped else "n, k, a, b, bs_k, c") + f", {int(request.accumulate)}"
    silent = ["n", "as_m", "bs_k", "bs_n"] if swapped else ["m", "as_m", "as_k", "bs_n"]
    head = (
        f"static void {name}(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {t} *GRADGEN_RESTRICT a,\n"
        f"    ptrdiff_t as_m, ptrdiff_t as_k, const {t} *GRADGEN_RESTRICT b, ptrdiff_t bs_k, ptrdiff_t bs_n,\n"
        f"    {t} *GRADGEN_RESTRICT c, ptrdiff_t cs_m, ptrdiff_t cs_n, void *work)"
    )
    silenced = " ".join(f"(void){x};" for x in (*silent, "cs_m", "cs_n", "work"))
    fragments = {
        **with_needs(["GG_KERNEL"]),
        f"gg_row_times_{s}": filled(f"gg_row_times_{s}", size=SIZE[request.dtype]),
        name: Helper(f"{head}\n{{\n    {silenced}\n    gg_row_times_{s}({call});\n}}", (name,)),
    }
    return name, fragments
