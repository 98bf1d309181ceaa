"""Matrix products of machines that do one number at a time: the C of `c[m, n] (+)= sum_k a[m, k] b[k, n]` in tiles whose
sums stay in registers.

Every product has a function of its own with the extents and strides that are known as literals: addresses are then parts
of instructions, tiles that cannot occur are left out, and nothing is packed.  Sums of more than `KERNEL_TERMS` terms are
done in blocks, each completed before it is added to the result.
"""

from __future__ import annotations

from gradgen.schedule.cost import KERNEL_TERMS
from gradgen.schedule.matrix_kernel import MatrixKernel


def tiled_text(name: str, kernel: MatrixKernel) -> str:
    """The function of one product under a name.  Its parameters are what the request does not know."""
    rows, columns = kernel.tile
    ctype = kernel.request.dtype.ctype

    def text(some: bool, rows: int, columns: int) -> str:
        return _Product(kernel.known, ctype, kernel.add, kernel.long, some, rows, columns).text(name, kernel.parameters)

    large = text(kernel.some, rows, columns)
    if rows * columns == 1:
        return large.strip("\n")
    small = text(False, 1, 1)  # the same sums one by one, where the compiler is asked for little code
    return f"#if defined(__OPTIMIZE_SIZE__)\n{small}#else\n{large}#endif"


class _Product:
    """The text of one function; `known` are the values of extents and strides that are literals."""

    def __init__(
        self, known: dict[str, int], ctype: str, add: bool | None, long: bool, some: bool, rows: int, columns: int
    ) -> None:
        self.known, self.ctype, self.add, self.long = known, ctype, add, long
        self.some = some  # the first term needs no test
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
        items = [kinds.get(p, "int add" if p == "add" else f"ptrdiff_t {p}") for p in parameters]
        for k, item in enumerate(items):
            item += ", " if k + 1 < len(items) else ")"
            if len(lines[-1]) + len(item) > 112:
                lines[-1] = lines[-1].rstrip()
                lines.append("    ")
            lines[-1] += item
        body = self.over("i", "m", self.rows, self.row_block)
        if self.long:
            last = f"q + {KERNEL_TERMS} < {self.of('k')} ? q + {KERNEL_TERMS} : {self.of('k')}"
            inside = [f"const ptrdiff_t last = {last};", *body, f"q += {KERNEL_TERMS};"]
            body = ["ptrdiff_t q = 0;", "do {", *_indented(inside), f"}} while (q < {self.of('k')});"]
        extents = "".join(f", {e} = {self.known[e]}" for e in "mnk" if e in self.known)
        sign = "(+)=" if self.add is None else "+=" if self.add else "="
        formula = f"/* c[m,n] {sign} sum_k a[m,k] b[k,n]{extents} */"
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
        start = (("q", "as_k"),) if self.long else ()
        below = (("q", "bs_k"),) if self.long else ()
        x, y = f"a + {self.at((i, 'as_m'), *start)}", f"b + {self.at(*below, (j, 'bs_n'))}"
        single = self.known.get("k") == 1
        sums = [[f"s{r}{c}" for c in range(columns)] for r in range(rows)]
        const = "const " if single and self.add is not None else ""
        kept = "const " if single else ""
        lines = [f"const {t} *{kept}x = {x};", f"const {t} *{kept}y = {y};"]
        loads = [f"const {t} y{c} = y[{self.at((str(c), 'bs_n'))}];" for c in range(columns)]
        loads += [f"const {t} x{r} = x[{self.at((str(r), 'as_m'))}];" for r in range(rows)]
        if single:
            lines += loads
            lines += [f"{const}{t} {sums[r][c]} = x{r} * y{c};" for r in range(rows) for c in range(columns)]
        else:
            steps = [f"{pointer} += {self.of(stride)};" for pointer, stride in (("x", "as_k"), ("y", "bs_k"))]
            if self.some:
                first = [f"{sums[r][c]} = x[{self.at((str(r), 'as_m'))}] * y[{self.at((str(c), 'bs_n'))}]"
                         for r in range(rows) for c in range(columns)]
                lines += [f"{t} {text};" for text in first]
                lines += steps
            else:
                lines += [f"{t} {', '.join(f'{s} = 0' for s in row)};" for row in sums]
            terms = [f"{sums[r][c]} += x{r} * y{c};" for r in range(rows) for c in range(columns)]
            begin, end = ("q", "last") if self.long else ("1" if self.some else "0", self.of("k"))
            lines += [f"for (ptrdiff_t p = {begin}; p < {end}; ++p) {{", *_indented([*loads, *terms, *steps]), "}"]
        lines.append(f"{t} *const z = c + {self.at((i, 'cs_m'), (j, 'cs_n'))};")
        if self.add is None:
            old = [f"{sums[r][c]} += z[{self.at((str(r), 'cs_m'), (str(c), 'cs_n'))}];"
                   for r in range(rows) for c in range(columns)]
            lines += ["if (add) {", *_indented(old), "}"]
        for r in range(rows):
            for c in range(columns):
                at, s = f"z[{self.at((str(r), 'cs_m'), (str(c), 'cs_n'))}]", sums[r][c]
                later = f"q > 0 ? {at} + {s} : {s}" if self.long else s
                lines.append(f"{at} += {s};" if self.add else f"{at} = {later};")
        return lines


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


__all__ = ["tiled_text"]
