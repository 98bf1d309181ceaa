"""Matrix products of emitted modules: the C of `c[m, n] (+)= sum_k a[m, k] b[k, n]` with any strides.

Every module that needs products of a dtype contains one general function, `gg_gemm_f32` or `gg_gemm_f64` (a fragment:
text to paste once, `templates/kernels/gemm/gemm.c`), and per request a small function around it that fixes what is
known.  Products of a few terms are plain loops instead, which the compiler unrolls; a module with only such products
has no fragment.  The general function packs blocks of its operands into scratch memory (Goto & van de Geijn, Anatomy of
High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008); `WorkBytes` says how much.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import sympy

from gradgen.codegen.templates import render
from gradgen.errors import CodegenError
from gradgen.ir.symbols import Extent

__all__ = ["GemmCode", "GemmRequest", "GemmTarget", "WorkBytes", "gemm_function", "gemm_functions"]

_C_TYPE = {"float32": "float", "float64": "double"}
_SUFFIX = {"float32": "f32", "float64": "f64"}
_SIZE = {"float32": 4, "float64": 8}

Strides = tuple[int | None, int | None]

# Where packing begins to pay, in elements (measured; the C and the size of the scratch must agree on them).
_LARGE = 65536  # an operand of more elements no longer stays in the first- and second-level cache
_WIDE = 64  # a is packed for more columns of c than these
_MANY = 48  # b is packed for more rows of c than these
_PANEL_BYTES = 128  # two vectors of the widest target: a row of packed b
_TILE_ROWS = 12  # of the target with most registers
_SMALL_TERMS = 512  # products of at most so many terms are plain loops ...
_SMALL_MATRIX = 32  # ... and so are rows of any number times a b of at most so many elements


@dataclass(frozen=True)
class GemmTarget:
    """Block sizes: `depth` terms of a sum at a time, `rows` rows of a at a time (a multiple of 12).

    A packed block of a should fill half of the second-level cache: 256 x 240 float32 are 240 KiB.  Smaller blocks need
    less scratch memory.  The vector length is not here: the C asks the compiler that finally compiles it.
    """

    depth: int = 256
    rows: int = 240

    def __post_init__(self) -> None:
        if self.depth < 1 or self.rows < _TILE_ROWS or self.rows % _TILE_ROWS:
            raise CodegenError(
                f"matrix product blocks of {self.rows} rows and {self.depth} terms are impossible",
                hint=f"depth must be positive and rows a positive multiple of {_TILE_ROWS}",
            )


@dataclass(frozen=True)
class GemmRequest:
    """`c[m, n] = sum_k a[m, k] b[k, n]`, or `+=` with `accumulate`.  None: an extent or stride known at run time only.

    Strides count elements and may be zero or negative for a and b: a transpose, a broadcast or a flip is a matter of
    strides.  Elements of c must be distinct, and c must not overlap a or b.
    """

    dtype: str
    m: int | None
    n: int | None
    k: int | None
    accumulate: bool
    a_strides: Strides = (None, None)
    b_strides: Strides = (None, None)
    c_strides: Strides = (None, None)

    def __post_init__(self) -> None:
        if self.dtype not in _C_TYPE:
            raise CodegenError(f"no matrix product for dtype {self.dtype!r}", hint="use float32 or float64")
        for name in "mnk":
            extent = getattr(self, name)
            if extent is not None and extent < 0:
                raise CodegenError(f"a matrix product cannot have {name} = {extent}")


@dataclass(frozen=True)
class WorkBytes:
    """How many bytes of scratch memory, aligned to 64, a product of run-time extents m, n, k needs: an upper bound.

    It is exact for the packing buffers of the widest vectors; narrower ones use less of it.
    """

    request: GemmRequest
    target: GemmTarget

    def __call__(self, m: int, n: int, k: int) -> int:
        """The bytes for these extents."""
        return int(self.extent(m, n, k))

    def extent(self, m: Extent, n: Extent, k: Extent) -> Extent:
        """The bytes as an extent over the dimensions of m, n and k: sums, products, quotients, Min and Max."""
        m, n, k = self._known(m, n, k)
        if self._never(m, n, k):
            return 0
        if all(isinstance(e, int) or e.is_Integer for e in (m, n, k)):
            m, n, k = int(m), int(n), int(k)
            longest, shortest, depth = max(m, n), min(m, n), min(k, self.target.depth)
            packs_a = longest * k > _LARGE and shortest > _WIDE
            rows = min(-(-longest // _TILE_ROWS) * _TILE_ROWS, self.target.rows)
            return depth * (_PANEL_BYTES + _SIZE[self.request.dtype] * rows * packs_a)
        longest, shortest, depth = sympy.Max(m, n), sympy.Min(m, n), sympy.Min(k, self.target.depth)
        packs_a = sympy.Min(1, sympy.Max(0, longest * k - _LARGE), sympy.Max(0, shortest - _WIDE))
        rows = sympy.Min(sympy.ceiling(longest / sympy.Integer(_TILE_ROWS)) * _TILE_ROWS, self.target.rows)
        return depth * (_PANEL_BYTES + _SIZE[self.request.dtype] * rows * packs_a)

    @property
    def c(self) -> str:
        """The same as a C expression over integers named m, n and k, without side effects."""
        if self._never(*self._known(None, None, None)):
            return "0"
        size, target = _SIZE[self.request.dtype], self.target
        longest, shortest = "(m > n ? m : n)", "(m > n ? n : m)"
        depth = f"(k < {target.depth} ? k : {target.depth})"
        whole_tiles = f"({longest} + {_TILE_ROWS - 1}) / {_TILE_ROWS} * {_TILE_ROWS}"
        rows = f"({longest} < {target.rows} ? {whole_tiles} : {target.rows})"
        packed = f"({longest} * k > {_LARGE} && {shortest} > {_WIDE} ? {rows} * {size} : 0)"
        return f"{depth} * ({_PANEL_BYTES} + {packed})"

    def _known(self, m: Extent | None, n: Extent | None, k: Extent | None) -> tuple[Extent, Extent, Extent]:
        r = self.request
        return tuple(given if known is None else known for known, given in ((r.m, m), (r.n, n), (r.k, k)))  # type: ignore[return-value]

    def _never(self, m: Extent | None, n: Extent | None, k: Extent | None) -> bool:
        """Whether the function reads both operands in place whatever else the run time brings."""
        r = self.request
        if _is_small(r):
            return True
        if not (isinstance(m, int) and isinstance(n, int) and isinstance(k, int)):
            return False
        whole = n > 0 and n % (_PANEL_BYTES // _SIZE[r.dtype]) == 0
        in_place = whole and r.b_strides[1] == 1 and r.c_strides[1] == 1
        few_rows = (m <= _MANY or n * k <= _LARGE) and (n <= _WIDE or m * k <= _LARGE)
        return m == 0 or n == 0 or (in_place and few_rows)


@dataclass(frozen=True)
class GemmCode:
    """The C of one request: `source` defines the static function `name` and needs `fragments` (name to text) before it.

    The text expects `<stddef.h>`, `<string.h>` and the macro GRADGEN_RESTRICT.
    """

    name: str
    source: str
    fragments: dict[str, str] = field(repr=False)
    work_bytes: WorkBytes


def gemm_function(request: GemmRequest, target: GemmTarget | None = None, number: int = 1) -> GemmCode:
    """The C function of a request, named `gg_gemm_f32_<number>`: number the requests of a module 1, 2, 3, ...

    Its signature is that of the fragment's function without `add`::

        static void NAME(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const T *a, ptrdiff_t as_m, ptrdiff_t as_k,
                         const T *b, ptrdiff_t bs_k, ptrdiff_t bs_n, T *c, ptrdiff_t cs_m, ptrdiff_t cs_n, void *work)

    Arguments whose value the request knows are ignored.  `work` holds `work_bytes(m, n, k)` bytes, aligned to 64.
    """
    target = target or GemmTarget()
    suffix = _SUFFIX[request.dtype]
    name = f"gg_gemm_{suffix}_{number}"
    arguments = _arguments(request)
    body = _small_body(request, arguments) if _is_small(request) else _general_body(request, arguments)
    source = f"/* {_formula(request)} */\n{_signature(name, request)}\n{{\n{body}}}\n"
    fragments = {} if _is_small(request) else _fragments(request.dtype, target)
    return GemmCode(name, source, fragments, WorkBytes(request, target))


def gemm_functions(requests: Iterable[GemmRequest], target: GemmTarget | None = None) -> tuple[list[GemmCode], str]:
    """The functions of several requests, numbered in order, and the whole text: fragments once, then the functions."""
    codes = [gemm_function(request, target, number) for number, request in enumerate(requests, 1)]
    fragments: dict[str, str] = {}
    for code in codes:
        fragments.update(code.fragments)
    return codes, "\n".join([*fragments.values(), *(code.source for code in codes)])


def _fragments(dtype: str, target: GemmTarget) -> dict[str, str]:
    suffix = _SUFFIX[dtype]
    general = render(
        "kernels/gemm/gemm.c", T=_C_TYPE[dtype], s=suffix, size=_SIZE[dtype], depth=target.depth, rows=target.rows,
        large=_LARGE, wide=_WIDE, many=_MANY,
    )
    return {"gg_gemm_config": render("kernels/gemm/config.c"), f"gg_gemm_{suffix}": general}


def _is_small(request: GemmRequest) -> bool:
    m, n, k = request.m, request.n, request.k
    if n is None or k is None:
        return False
    return n * k <= _SMALL_MATRIX if m is None else m * n * k <= _SMALL_TERMS


def _arguments(request: GemmRequest) -> dict[str, str]:
    """The text of each integer argument: its name, or its value where known."""
    known = {
        "m": request.m, "n": request.n, "k": request.k,
        "as_m": request.a_strides[0], "as_k": request.a_strides[1],
        "bs_k": request.b_strides[0], "bs_n": request.b_strides[1],
        "cs_m": request.c_strides[0], "cs_n": request.c_strides[1],
    }  # fmt: skip
    return {name: name if value is None else str(value) for name, value in known.items()}


def _formula(request: GemmRequest) -> str:
    known = [f"{name} = {value}" for name in "mnk" if (value := getattr(request, name)) is not None]
    sign = "+=" if request.accumulate else "="
    return f"c[m,n] {sign} sum_k a[m,k] b[k,n]" + (", " if known else "") + ", ".join(known)


def _signature(name: str, request: GemmRequest) -> str:
    t = _C_TYPE[request.dtype]
    return (
        f"static void {name}(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k,\n"
        f"    const {t} *GRADGEN_RESTRICT a, ptrdiff_t as_m, ptrdiff_t as_k,\n"
        f"    const {t} *GRADGEN_RESTRICT b, ptrdiff_t bs_k, ptrdiff_t bs_n,\n"
        f"    {t} *GRADGEN_RESTRICT c, ptrdiff_t cs_m, ptrdiff_t cs_n, void *work)"
    )


def _unused(names: Iterable[str]) -> str:
    text = " ".join(f"(void){name};" for name in names)
    return f"    {text}\n" if text else ""


def _general_body(request: GemmRequest, arguments: dict[str, str]) -> str:
    x = arguments
    call = (
        f"gg_gemm_{_SUFFIX[request.dtype]}({x['m']}, {x['n']}, {x['k']}, a, {x['as_m']}, {x['as_k']}, "
        f"b, {x['bs_k']}, {x['bs_n']}, c, {x['cs_m']}, {x['cs_n']}, {int(request.accumulate)}, work);"
    )
    return _unused(name for name, text in x.items() if text != name) + f"    {call}\n"


def _small_body(request: GemmRequest, arguments: dict[str, str]) -> str:
    x = arguments
    a, b, c = (_element(m, row, x[rs], column, x[cs]) for m, row, rs, column, cs in _ELEMENTS)
    lines = [
        "ptrdiff_t i, j, p;",
        f"for (i = 0; i < {x['m']}; ++i)",
        f"    for (j = 0; j < {x['n']}; ++j) {{",
        f"        {_C_TYPE[request.dtype]} sum = 0;",
        f"        for (p = 0; p < {x['k']}; ++p) sum += {a} * {b};",
        f"        {c} {'+=' if request.accumulate else '='} sum;",
        "    }",
    ]
    unused = _unused([*(name for name, text in x.items() if text != name), "work"])
    return unused + "".join(f"    {line}\n" for line in lines)


_ELEMENTS = (
    ("a", "i", "as_m", "p", "as_k"), ("b", "p", "bs_k", "j", "bs_n"), ("c", "i", "cs_m", "j", "cs_n"),
)  # fmt: skip


def _element(matrix: str, row: str, row_stride: str, column: str, column_stride: str) -> str:
    def term(index: str, stride: str) -> str:
        return index if stride == "1" else f"{index} * ({stride})" if stride.startswith("-") else f"{index} * {stride}"

    return f"{matrix}[{term(row, row_stride)} + {term(column, column_stride)}]"
