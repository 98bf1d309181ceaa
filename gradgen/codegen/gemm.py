"""Matrix products of emitted modules: the C of `c[m, n] (+)= sum_k a[m, k] b[k, n]` with any strides.

All products of a dtype share one general function (fragments: text to paste once, `templates/kernels/gemm/`), which its
caller gives the literals it knows.  Products of a few terms known beforehand are plain loops of their own, which the
compiler unrolls; a module with only such products has no fragment.  The general function packs blocks of its operands
into scratch memory (Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008);
`WorkBytes` says how much.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache

import sympy

from gradgen.codegen.fragments import Helper, filled, helper, with_needs
from gradgen.codegen.row_product import is_row_product, row_function
from gradgen.errors import CodegenError
from gradgen.ir.minima import greatest, least
from gradgen.ir.symbols import Extent
from gradgen.schedule.cost import KERNEL_TERMS, VECTOR_BYTES
from gradgen.target import Target

__all__ = ["GemmCode", "GemmRequest", "GemmTarget", "WorkBytes", "gemm_function", "gemm_functions"]

_C_TYPE = {"float32": "float", "float64": "double"}
_SUFFIX = {"float32": "f32", "float64": "f64"}
_SIZE = {"float32": 4, "float64": 8}  # bytes of an element

Strides = tuple[int | None, int | None]

# Where packing begins to pay, in elements (measured; the C and the size of the scratch must agree on them).
_WIDE = 64  # a is packed for more columns of c than these
_MANY = 48  # b is packed for more rows of c than these
_SHORT = 16  # a is packed for sums of more terms than these
_PANEL_BYTES = 2 * VECTOR_BYTES  # a row of packed b
_TILE_ROWS = 12  # of the target with most registers
_SMALL_SUM = 16  # plain loops are faster for sums of at most so many terms ...
_SMALL_MATRIX = 64  # ... where b has at most so many elements ...
_SMALL_PRODUCT = 1024  # ... or all there is at most so many terms


@dataclass(frozen=True)
class GemmTarget:
    """Block sizes: `depth` terms of a sum at a time, `rows` rows of a at a time (a multiple of 12).

    An operand of more than `large` elements no longer stays in the cache.  A packed block of a should fill most of it: 256 x
    240 float32 are 240 of 256 KiB.  Smaller blocks need less scratch memory.  The vector length is not here: the C asks the
    compiler that finally compiles it.
    """

    depth: int = KERNEL_TERMS
    rows: int = 240
    large: int = 65536

    @classmethod
    def of(cls, target: Target) -> GemmTarget:
        """The blocks for a machine's cache."""
        fitting = target.cache_bytes * 15 // 16 // (4 * KERNEL_TERMS)
        return cls(rows=max(_TILE_ROWS, fitting // _TILE_ROWS * _TILE_ROWS), large=target.cache_bytes // 4)

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
    absent: str = ""  # "a", "b" or both: where -0 stands for a term that is not there (`templates/kernels/gemm/absent.c`)

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
        most = [_most(e) for e in (m, n, k)]
        if self._never(m, n, k) or self._never(most[0], n, most[2]):
            return 0
        if all(isinstance(e, int) or e.is_Integer for e in (m, n, k)):
            m, n, k = int(m), int(n), int(k)
            depth = min(k, self.target.depth)
            orders = ((m, n), (n, m)) if k > _SHORT else ()  # the C may compute the transpose
            packed = max((a for a, b in orders if b > _WIDE and a * k > self.target.large), default=0)
            rows = min(-(-packed // _TILE_ROWS) * _TILE_ROWS, self.target.rows)
            return depth * (_PANEL_BYTES + _SIZE[self.request.dtype] * rows)
        depth = k if most[2] is not None and most[2] <= self.target.depth else least(k, self.target.depth)
        if None not in most and not any(a > _WIDE and a * most[2] > self.target.large for a in most[:2]):  # type: ignore[operator]
            return depth * _PANEL_BYTES
        longest = greatest(m, n)
        over = (longest * k - self.target.large, longest - _WIDE, k - _SHORT)
        packs_a = least(1, *(greatest(0, excess) for excess in over))
        rows = least(sympy.ceiling(longest / sympy.Integer(_TILE_ROWS)) * _TILE_ROWS, self.target.rows)
        return depth * (_PANEL_BYTES + _SIZE[self.request.dtype] * rows * packs_a)

    @property
    def c(self) -> str:
        """The same as a C expression over integers named m, n and k, without side effects."""
        if self._never(*self._known(None, None, None)):
            return "0"
        size, target = _SIZE[self.request.dtype], self.target
        longest = "(m > n ? m : n)"
        depth = f"(k < {target.depth} ? k : {target.depth})"
        whole_tiles = f"({longest} + {_TILE_ROWS - 1}) / {_TILE_ROWS} * {_TILE_ROWS}"
        rows = f"({longest} < {target.rows} ? {whole_tiles} : {target.rows})"
        packed = f"({longest} * k > {target.large} && {longest} > {_WIDE} && k > {_SHORT} ? {rows} * {size} : 0)"
        return f"{depth} * ({_PANEL_BYTES} + {packed})"

    def _known(self, m: Extent | None, n: Extent | None, k: Extent | None) -> tuple[Extent, Extent, Extent]:
        r = self.request
        return tuple(given if known is None else known for known, given in ((r.m, m), (r.n, n), (r.k, k)))  # type: ignore[return-value]

    def _never(self, m: Extent | None, n: Extent | None, k: Extent | None) -> bool:
        """Whether the function reads both operands in place whatever else the run time brings."""
        r = self.request
        if _is_small(r) or is_row_product(r):
            return True
        if not (isinstance(m, int) and isinstance(n, int) and isinstance(k, int)):
            return False
        whole = r.n is not None and n > 0 and n % (_PANEL_BYTES // _SIZE[r.dtype]) == 0  # n may be a bound: strips end
        in_place = whole and r.b_strides[1] == 1 and r.c_strides[1] == 1
        few_rows = (m <= _MANY or n * k <= self.target.large) and (n <= _WIDE or k <= _SHORT or m * k <= self.target.large)
        return m == 0 or n == 0 or (in_place and few_rows)


class NoScratch(WorkBytes):
    """Of a function that packs nothing."""

    def __init__(self, request: GemmRequest) -> None:
        super().__init__(request, GemmTarget())

    def extent(self, m: Extent, n: Extent, k: Extent) -> Extent:
        return 0


PARAMETERS = ("m", "n", "k", "a", "as_m", "as_k", "b", "bs_k", "bs_n", "c", "cs_m", "cs_n", "work")


@dataclass(frozen=True)
class GemmCode:
    """The C of one request: call the static function `name`, after `fragments` (name to text, each once) and `source`.

    `source` is empty where a fragment has the function: requests may share it.  `parameters` are those of PARAMETERS that
    it has, in order, and perhaps "add".  The text expects `<stddef.h>`,
    `<string.h>` and the macro GRADGEN_RESTRICT.
    """

    name: str
    source: str
    fragments: dict[str, Helper] = field(repr=False)
    work_bytes: WorkBytes
    parameters: tuple[str, ...] = PARAMETERS
    kind: str = ""  # what else tells its text from others


def gemm_function(request: GemmRequest, target: GemmTarget | None = None, number: int = 1) -> GemmCode:
    """The C function of a request; `number` tells the functions of a module apart that requests have for themselves.

    Its signature is the same for all, and so are the arguments of a call; what the request knows, it may ignore::

        static void NAME(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const T *a, ptrdiff_t as_m, ptrdiff_t as_k,
                         const T *b, ptrdiff_t bs_k, ptrdiff_t bs_n, T *c, ptrdiff_t cs_m, ptrdiff_t cs_n, void *work)

    Pass literals where values are known: the compiler then drops what they exclude.  `work` holds `work_bytes(m, n, k)`
    bytes, aligned to 64.
    """
    target = target or GemmTarget()
    if request.absent:
        return with_absent_terms(gemm_function(replace(request, absent=""), target, number), request)
    if is_row_product(request):
        row, parts = row_function(request)
        return GemmCode(row, "", parts, WorkBytes(request, target))
    general = f"gg_gemm_{_SUFFIX[request.dtype]}"
    if _is_small(request):
        name = f"{general}_{number}"
        return GemmCode(name, _small_function(name, request), {}, WorkBytes(request, target))
    name = f"{general}_{'add' if request.accumulate else 'set'}"
    call = f"{general}(m, n, k, a, as_m, as_k, b, bs_k, bs_n, c, cs_m, cs_n, {int(request.accumulate)}, work);"
    fragments = {
        **with_needs(["GG_KERNEL"]),
        general: _general_function(request.dtype, target),
        name: Helper(f"{_signature(name, request.dtype)}\n{{\n    {call}\n}}", (name,)),
    }
    return GemmCode(name, "", fragments, WorkBytes(request, target))


def with_absent_terms(code: GemmCode, request: GemmRequest) -> GemmCode:
    """The same function behind a test whether a term that is not there could be nan."""
    s = _SUFFIX[request.dtype]
    finite = {"a": f"gg_all_finite_{s}(k, n, b, bs_k, bs_n)", "b": f"gg_all_finite_{s}(m, k, a, as_m, as_k)"}
    test = " || ".join(f"!{finite[side]}" for side in request.absent)
    flags = ", ".join(str(int(flag)) for flag in (request.accumulate, "a" in request.absent, "b" in request.absent))
    rest = f"gg_gemm_absent_{s}(m, n, k, a, as_m, as_k, b, bs_k, bs_n, c, cs_m, cs_n, {flags});"
    head = f"    if ({test}) {{\n        {rest}\n        return;\n    }}\n"
    absent = helper(f"gg_gemm_absent_{s}")
    fragments = {**with_needs(["GG_KERNEL"]), **code.fragments, f"gg_gemm_absent_{s}": absent}
    if code.parameters != PARAMETERS:
        name = f"{code.name}0"
        inner = code.source.replace(f"{code.name}(", f"{name}(")
        call = f"    {name}({', '.join(code.parameters)});\n"
        text = f"{inner}\n{_signature(code.name, request.dtype)}\n{{\n    (void)work;\n{head}{call}}}\n"
        return replace(code, source=text, fragments=fragments, parameters=PARAMETERS)
    if code.source:  # a function of its own: it begins with the test
        start = code.source.index("{\n    ptrdiff_t i, j, p;\n") + 2
        return replace(code, source=code.source[:start] + head + code.source[start:], fragments=fragments)
    name = f"{code.name}_absent_{request.absent}"
    call = f"    {code.name}(m, n, k, a, as_m, as_k, b, bs_k, bs_n, c, cs_m, cs_n, work);\n"
    # inline, so that the literals of a call reach the kernel as they do without the test
    signature = _signature(name, request.dtype).replace("static void", "GG_ALWAYS_INLINE void", 1)
    fragments[name] = Helper(f"{signature}\n{{\n{head}{call}}}", (name,))
    return replace(code, name=name, fragments=fragments)


def gemm_functions(requests: Iterable[GemmRequest], target: GemmTarget | None = None) -> tuple[list[GemmCode], str]:
    """The functions of several requests, numbered in order, and the whole text: fragments once, then the functions."""
    codes = [gemm_function(request, target, number) for number, request in enumerate(requests, 1)]
    fragments: dict[str, Helper] = {}
    for code in codes:
        fragments.update(code.fragments)
    return codes, "\n".join([*fragments.values(), *(code.source for code in codes if code.source)])


@cache
def _general_function(dtype: str, target: GemmTarget) -> Helper:
    return filled(
        f"gg_gemm_{_SUFFIX[dtype]}", size=_SIZE[dtype], depth=target.depth,
        rows=target.rows, large=target.large, wide=_WIDE, many=_MANY, short=_SHORT,
    )  # fmt: skip


def _signature(name: str, dtype: str) -> str:
    t = _C_TYPE[dtype]
    return (
        f"static void {name}(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {t} *GRADGEN_RESTRICT a,\n"
        f"    ptrdiff_t as_m, ptrdiff_t as_k, const {t} *GRADGEN_RESTRICT b, ptrdiff_t bs_k, ptrdiff_t bs_n,\n"
        f"    {t} *GRADGEN_RESTRICT c, ptrdiff_t cs_m, ptrdiff_t cs_n, void *work)"
    )


def _is_small(request: GemmRequest) -> bool:
    m, n, k = request.m, request.n, request.k
    if n is None or k is None or k > _SMALL_SUM:
        return False
    return n * k <= _SMALL_MATRIX or (m is not None and m * n * k <= _SMALL_PRODUCT)


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
        f"        {_C_TYPE[r.dtype]} sum = 0;",
        f"        for (p = 0; p < {x['k']}; ++p) sum += {a} * {b};",
        f"        {c} {'+=' if r.accumulate else '='} sum;",
        "    }",
    ]
    known = "".join(f", {extent} = {x[extent]}" for extent in "mnk" if x[extent] != extent)
    formula = f"/* c[m,n] {'+=' if r.accumulate else '='} sum_k a[m,k] b[k,n]{known} */"
    body = "".join(f"    {line}\n" for line in lines)
    return f"{formula}\n{_signature(name, r.dtype)}\n{{\n{body}}}\n"


def _most(extent: Extent) -> int | None:
    """The greatest that an extent with minima can be, where it has a bound."""
    if isinstance(extent, int):
        return extent
    numbers = {m: [a for a in m.args if a.is_Integer] for m in extent.atoms(sympy.Min)}
    found = extent.xreplace({m: min(found) for m, found in numbers.items() if found})
    return int(found) if found.is_Integer else None


def _term(index: str, stride: str) -> str:
    return index if stride == "1" else f"{index} * ({stride})" if stride.startswith("-") else f"{index} * {stride}"
