"""The C of the matrix kernel: one function for each way of computing `c[m, n] (+)= sum_k a[m, k] b[k, n]` that was chosen.

All products of a dtype share one general function (fragments: text to paste once, `templates/kernels/gemm/`), which its
caller gives the literals it knows.  Products of a few terms known beforehand are plain loops of their own, which the
compiler unrolls; a module with only such products has no fragment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from gradgen.codegen.fragments import Helper, filled, helper, with_needs
from gradgen.codegen.register_tiles import tiled_text
from gradgen.codegen.row_product import row_function
from gradgen.ir.dtypes import DType
from gradgen.schedule.matrix_kernel import (
    MANY,
    ROW,
    SHORT,
    SMALL,
    TILED,
    WIDE,
    GemmRequest,
    GemmTarget,
    MatrixKernel,
)

__all__ = ["kernel_texts", "kernels_text"]



@cache
def kernel_texts(kernel: MatrixKernel) -> dict[str, Helper]:
    """The function, behind what it needs.  Those that are no tiles all have one signature::

        static void NAME(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const T *a, ptrdiff_t as_m, ptrdiff_t as_k,
                         const T *b, ptrdiff_t bs_k, ptrdiff_t bs_n, T *c, ptrdiff_t cs_m, ptrdiff_t cs_n, void *work)

    Pass literals where values are known: the compiler then drops what they exclude.  The text expects `<stddef.h>`,
    `<string.h>` and the macro GRADGEN_RESTRICT.
    """
    name, request = kernel.name, kernel.request
    if request.absent:
        return _behind_a_test(kernel)
    if kernel.form == ROW:
        return row_function(name, request)
    if kernel.form == SMALL:
        return {name: Helper(_small_function(name, request), (name,))}
    if kernel.form == TILED:
        return {name: Helper(tiled_text(name, kernel), (name,))}
    general = f"gg_gemm_{request.dtype.suffix}"
    call = f"{general}(m, n, k, a, as_m, as_k, b, bs_k, bs_n, c, cs_m, cs_n, {int(request.accumulate)}, work);"
    return {
        **with_needs(["GG_KERNEL"]),
        general: _general_function(request.dtype, kernel.blocks),
        name: Helper(f"{_signature(name, request.dtype)}\n{{\n    {call}\n}}", (name,)),
    }


def kernels_text(kernels: Iterable[MatrixKernel]) -> str:
    """The text of several: what they share once, then the functions."""
    found: dict[str, Helper] = {}
    for kernel in kernels:
        found |= kernel_texts(kernel)
    return "\n".join(found.values())


def _behind_a_test(kernel: MatrixKernel) -> dict[str, Helper]:
    """The same function behind a test whether a term that is not there could be nan."""
    name, request = kernel.name, kernel.request
    plain = replace(request, absent="")
    s = request.dtype.suffix
    finite = {"a": f"gg_all_finite_{s}(k, n, b, bs_k, bs_n)", "b": f"gg_all_finite_{s}(m, k, a, as_m, as_k)"}
    test = " || ".join(f"!{finite[side]}" for side in request.absent)
    flags = ", ".join(str(int(flag)) for flag in (request.accumulate, "a" in request.absent, "b" in request.absent))
    rest = f"gg_gemm_absent_{s}(m, n, k, a, as_m, as_k, b, bs_k, bs_n, c, cs_m, cs_n, {flags});"
    head = f"    if ({test}) {{\n        {rest}\n        return;\n    }}\n"
    needed = {**with_needs(["GG_KERNEL"]), f"gg_gemm_absent_{s}": helper(f"gg_gemm_absent_{s}")}
    signature = _signature(name, request.dtype)
    if kernel.form == SMALL:  # a function of its own: it begins with the test
        text = _small_function(name, plain)
        start = text.index("{\n    ptrdiff_t i, j, p;\n") + 2
        return {**needed, name: Helper(text[:start] + head + text[start:], (name,))}
    if kernel.form == TILED:
        inner = replace(kernel, request=plain)
        call = f"    {name}0({', '.join(inner.parameters)});\n"
        text = f"{tiled_text(f'{name}0', inner)}\n{signature}\n{{\n    (void)work;\n{head}{call}}}\n"
        return {**needed, name: Helper(text.strip("\n"), (name,))}
    inner = replace(kernel, request=plain)
    call = f"    {inner.name}(m, n, k, a, as_m, as_k, b, bs_k, bs_n, c, cs_m, cs_n, work);\n"
    # inline, so that the literals of a call reach the kernel as they do without the test
    signature = signature.replace("static void", "GG_ALWAYS_INLINE void", 1)
    return {**kernel_texts(inner), **needed, name: Helper(f"{signature}\n{{\n{head}{call}}}", (name,))}


@cache
def _general_function(dtype: DType, target: GemmTarget) -> Helper:
    return filled(
        f"gg_gemm_{dtype.suffix}", size=dtype.itemsize, depth=target.depth,
        rows=target.rows, large=target.large, wide=WIDE, many=MANY, short=SHORT,
    )  # fmt: skip


def _signature(name: str, dtype: DType) -> str:
    t = dtype.ctype
    return (
        f"static void {name}(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {t} *GRADGEN_RESTRICT a,\n"
        f"    ptrdiff_t as_m, ptrdiff_t as_k, const {t} *GRADGEN_RESTRICT b, ptrdiff_t bs_k, ptrdiff_t bs_n,\n"
        f"    {t} *GRADGEN_RESTRICT c, ptrdiff_t cs_m, ptrdiff_t cs_n, void *work)"
    )


def _small_function(name: str, request: GemmRequest) -> str:
    """Plain loops with every known extent and stride as a literal."""
    r = request
    arguments = {
        "m": r.m, "n": r.n, "k": r.k, "as_m": r.a_strides[0], "as_k": r.a_strides[1], "bs_k": r.b_strides[0],
        "bs_n": r.b_strides[1], "cs_m": r.c_strides[0], "cs_n": r.c_strides[1],
    }  # fmt: skip
    x = {argument: argument if value is None else str(value) for argument, value in arguments.items()}
    unused = [f"(void){argument};" for argument in [*(a for a, text in x.items() if text != a), "work"]]
    a = f"a[{_term('i', x['as_m'])} + {_term('p', x['as_k'])}]"
    b = f"b[{_term('p', x['bs_k'])} + {_term('j', x['bs_n'])}]"
    c = f"c[{_term('i', x['cs_m'])} + {_term('j', x['cs_n'])}]"
    lines = [
        "ptrdiff_t i, j, p;",
        " ".join(unused),
        f"for (i = 0; i < {x['m']}; ++i)",
        f"    for (j = 0; j < {x['n']}; ++j) {{",
        f"        {r.dtype.ctype} sum = 0;",
        f"        for (p = 0; p < {x['k']}; ++p) sum += {a} * {b};",
        f"        {c} {'+=' if r.accumulate else '='} sum;",
        "    }",
    ]
    known = "".join(f", {extent} = {x[extent]}" for extent in "mnk" if x[extent] != extent)
    formula = f"/* c[m,n] {'+=' if r.accumulate else '='} sum_k a[m,k] b[k,n]{known} */"
    body = "".join(f"    {line}\n" for line in lines)
    return f"{formula}\n{_signature(name, r.dtype)}\n{{\n{body}}}"


def _term(index: str, stride: str) -> str:
    return index if stride == "1" else f"{index} * ({stride})" if stride.startswith("-") else f"{index} * {stride}"
