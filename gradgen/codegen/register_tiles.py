"""Matrix products of machines that do one number at a time: the C of `c[m, n] (+)= sum_k a[m, k] b[k, n]` in tiles whose
sums stay in registers.

Every product has a function of its own with the extents and strides that are known as literals: addresses are then parts
of instructions, tiles that cannot occur are left out, and nothing is packed.  Sums of more than `DEPTH` terms are done in
blocks, each completed before it is added to the result.
"""

from __future__ import annotations

from dataclasses import replace

from gradgen.codegen.gemm import GemmCode, GemmRequest, NoScratch, with_absent_terms
from gradgen.ir import dtypes
from gradgen.ir.symbols import Extent
from gradgen.schedule.cost import Costs

DEPTH = 256  # terms of one chain of additions: what the kernel for machines with vectors has


def tiled_function(request: GemmRequest, costs: Costs, most_terms: Extent) -> GemmCode:
    """The function of one product; `most_terms` is the greatest k of any call.  Its parameters are what the request does
    not know."""
    if request.absent:
        return with_absent_terms(tiled_function(replace(request, absent=""), costs, most_terms), request)
    r = request
    known = {
        "m": r.m, "n": r.n, "k": r.k, "as_m": r.a_strides[0], "as_k": r.a_strides[1], "bs_k": r.b_strides[0],
        "bs_n": r.b_strides[1], "cs_m": r.c_strides[0], "cs_n": r.c_strides[1],
    }  # fmt: skip
    long = not isinstance(most_terms, int) or most_terms > DEPTH
    dtype = dtypes.dtype(r.dtype)
    product = _Product({name: value for name, value in known.items() if value is not None}, dtype.ctype, r.accumulate, long,
                       *costs.tile(r.m, r.n, dtype))
    name = f"gg_gemm_{dtype.suffix}_1"
    parameters = tuple(p for p in ("m", "n", "k", "a", "as_m", "as_k", "b", "bs_k", "bs_n", "c", "cs_m", "cs_n")
                       if p not in product.known)
    return GemmCode(name, product.text(name, parameters), {}, NoScratch(r), parameters)


class _Product:
    """The text of one function; `known` are the values of extents and strides that are literals."""

    def __init__(self, known: dict[str, int], ctype: str, add: bool, long: bool, rows: int, columns: int) -> None:
        self.known, self.ctype, self.add, self.long = known, ctype, add, long
        self.rows, self.columns = rows, columns

    def of(self, name: str) -> str:
        return str(self.known.get(name, name))

    def at(self, *terms: tuple[str, str]) -> str:
        """A sum of products of a factor and a stride, as an index; those that are 0 are left out."""
        found = []
        for factor, stride in terms:
            by = self.of(stride)
            if factor == "0" or by == "0":
                continue
            if factor.isdigit() and stride in self.known:
                found.append(str(int(factor) * self.known[stride]))
            elif by == "1" or factor == "1":
                found.append(factor if by == "1" else by)
            else:
                found.append(f"{factor} * {by}" if not by.startswith("-") else f"{factor} * ({by})")
        return " + ".join(found) or "0"

    def text(self, name: str, parameters: tuple[str, ...]) -> str:
        t = self.ctype
        kinds = {p: f"{'' if p == 'c' else 'const '}{t} *GRADGEN_RESTRICT {p}" for p in "abc"}
        lines = [f"static void {name}("]
        items = [kinds.get(p, f"ptrdiff_t {p}") for p in parameters]
        for k, item in enumerate(items):
            item += ", " if k + 1 < len(items) else ")"
            if len(lines[-1]) + len(item) > 112:
                lines[-1] = lines[-1].rstrip()
                lines.append("    ")
            lines[-1] += item
        body = self.over("i", "m", self.rows, self.row_block)
        if self.long:
            last = f"q + {DEPTH} < {self.of('k')} ? q + {DEPTH} : {self.of('k')}"
            body = ["ptrdiff_t q = 0;", "do {", *_indented([f"const ptrdiff_t last = {last};", *body, f"q += {DEPTH};"]),
                    f"}} while (q < {self.of('k')});"]
        extents = "".join(f", {e} = {self.known[e]}" for e in "mnk" if e in self.known)
        formula = f"/* c[m,n] {'+=' if self.add else '='} sum_k a[m,k] b[k,n]{extents} */"
        return "\n".join([formula, *lines, "{", *_indented(body), "}"]) + "\n"

    def over(self, counter: str, extent: str, step: int, inside: object) -> list[str]:
        """Loops over blocks of `step`, and over what is left one by one."""
        stop, known = self.of(extent), self.known.get(extent)
        if known == 1:
            return inside("0", 1)  # type: ignore[operator]
        if step == 1 or (known is not None and known < step):
            return [f"for (ptrdiff_t {counter} = 0; {counter} < {stop}; ++{counter}) {{", *_indented(inside(counter, 1)), "}"]  # type: ignore[operator]
        whole = f"{counter} < {known // step * step}" if known is not None else f"{counter} + {step - 1} < {stop}"
        if known is not None and known % step == 0:
            head = f"for (ptrdiff_t {counter} = 0; {whole}; {counter} += {step}) {{"
            return [head, *_indented(inside(counter, step)), "}"]  # type: ignore[operator]
        return [
            f"ptrdiff_t {counter} = 0;",
            f"for (; {whole}; {counter} += {step}) {{", *_indented(inside(counter, step)), "}",  # type: ignore[operator]
            f"for (; {counter} < {stop}; ++{counter}) {{", *_indented(inside(counter, 1)), "}",  # type: ignore[operator]
        ]  # fmt: skip

    def row_block(self, i: str, rows: int) -> list[str]:
        return self.over("j", "n", self.columns, lambda j, columns: self.tile(i, j, rows, columns))

    def tile(self, i: str, j: str, rows: int, columns: int) -> list[str]:
        """`rows` x `columns` sums."""
        t = self.ctype
        first = (("q", "as_k"),) if self.long else ()
        below = (("q", "bs_k"),) if self.long else ()
        x, y = f"a + {self.at((i, 'as_m'), *first)}", f"b + {self.at(*below, (j, 'bs_n'))}"
        single = self.known.get("k") == 1
        sums = [[f"s{r}{c}" for c in range(columns)] for r in range(rows)]
        const = "const " if single else ""
        lines = [f"const {t} *{const}x = {x};", f"const {t} *{const}y = {y};"]
        loads = [f"const {t} y{c} = y[{self.at((str(c), 'bs_n'))}];" for c in range(columns)]
        loads += [f"const {t} x{r} = x[{self.at((str(r), 'as_m'))}];" for r in range(rows)]
        if single:
            lines += loads
            lines += [f"const {t} {sums[r][c]} = x{r} * y{c};" for r in range(rows) for c in range(columns)]
        else:
            lines += [f"{t} {', '.join(f'{s} = 0' for s in row)};" for row in sums]
            terms = [f"{sums[r][c]} += x{r} * y{c};" for r in range(rows) for c in range(columns)]
            begin, end = ("q", "last") if self.long else ("0", self.of("k"))
            steps = [f"{pointer} += {self.of(stride)};" for pointer, stride in (("x", "as_k"), ("y", "bs_k"))]
            lines += [f"for (ptrdiff_t p = {begin}; p < {end}; ++p) {{", *_indented([*loads, *terms, *steps]), "}"]
        lines.append(f"{t} *const z = c + {self.at((i, 'cs_m'), (j, 'cs_n'))};")
        for r in range(rows):
            for c in range(columns):
                at, s = f"z[{self.at((str(r), 'cs_m'), (str(c), 'cs_n'))}]", sums[r][c]
                later = f"q > 0 ? {at} + {s} : {s}" if self.long else s
                lines.append(f"{at} += {s};" if self.add else f"{at} = {later};")
        return lines


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


__all__ = ["tiled_function"]
