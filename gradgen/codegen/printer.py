"""Statements of a Program as C: one function per kind of statement, dispatched on its class."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import sympy

from gradgen.codegen.expressions import OR, ExpressionPrinter, fits_counter
from gradgen.codegen.extents import as_size
from gradgen.codegen.fragments import Helper
from gradgen.codegen.layout import code_lines, comment
from gradgen.errors import CodegenError
from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.nodes import Node
from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.dispatch import by_kind
from gradgen.loops.needs import Needs, needs, outside
from gradgen.loops.statements import (
    ARGUMENT,
    PRODUCT,
    SAVED,
    WORK,
    Apart,
    Apply,
    Array,
    Assign,
    Buffer,
    Call,
    Comment,
    Copy,
    Declare,
    Expr,
    Fail,
    Fill,
    Function,
    If,
    Index,
    Layout,
    Let,
    Literal,
    Loop,
    Operand,
    PairwiseAdd,
    PairwiseBegin,
    Pointer,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import blocks, buffers, expressions, subexpressions
from gradgen.notation.formula import node_formula
from gradgen.target import NATIVE, Target

INDENT = "    "


MACROS = {"chunk": "GG_CHUNK", "piece": "GG_NOINLINE"}
"""What stands before a function of each kind."""

MANY_CALLS = 6  # of one function in straight-line code: inlined more often, it only makes the compiler slower
MOST_FORMULAS = 6  # above a nest


def called_often(statements: Sequence[Statement]) -> frozenset[tuple[str, str]]:
    """The functions that straight-line code uses so often that inlining each would only slow the compiler down."""
    count: dict[tuple[str, str], int] = {}
    stack: list[tuple[Statement, bool]] = [(s, False) for s in statements]
    while stack:
        s, vector = stack.pop()
        if isinstance(s, Loop):
            stack.extend((inner, s.simd) for inner in s.body)
        elif blocks(s):
            stack.extend((inner, vector) for block in blocks(s) for inner in block)
        elif isinstance(s, (Let, Declare, Assign, Store, PairwiseAdd)) and not vector:
            exprs: list[Expr] = [s.value]
            while exprs:
                e = exprs.pop()
                if isinstance(e, Apply):
                    exprs.extend(e.args)
                    key = (e.op, (e.args[0] if e.dtype is bool_ and e.args else e).dtype.suffix)
                    count[key] = count.get(key, 0) + 1
    return frozenset(k for k, n in count.items() if n > MANY_CALLS)


def wrapped(head: str, items: list[str], indent: str) -> str:
    """A list after `head`, over several lines where it is long."""
    lines = [head]
    for k, item in enumerate(items):
        text = item + (", " if k + 1 < len(items) else "")
        if len(lines[-1]) + len(text) > 112:
            lines[-1] = lines[-1].rstrip()
            lines.append(indent)
        lines[-1] += text
    return "\n".join(lines)


def sines_and_cosines(statements: Sequence[Statement], fixed: set[str]) -> dict[int, list[Variable]]:
    """Variables of which both sine and cosine are taken in one block, by the first statement that takes either.

    `fixed` are the names that keep their value; those that the block binds are added to it.
    """
    taken: dict[str, dict[str, int]] = {}
    found: dict[int, list[Variable]] = {}
    for k, s in enumerate(statements):
        if not isinstance(s, (Let, Declare, Assign, Store, PairwiseAdd)):
            continue
        for e in subexpressions([s.value]):
            match e:
                case Apply(op=("sin" | "cos") as op, args=(Variable() as x,)) if x.name in fixed and e.dtype is x.dtype:
                    uses = taken.setdefault(x.name, {})
                    if len(uses) == 1 and op not in uses:
                        found.setdefault(min(uses.values()), []).append(x)
                    uses.setdefault(op, k)
        if isinstance(s, Let):
            fixed.add(s.variable.name)
        elif isinstance(s, Declare):
            fixed.discard(s.variable.name)
    return found


def local_type(dtype: DType) -> str:
    """Locals of type bool are int: the type of a comparison in C."""
    return "int" if dtype is bool_ else dtype.ctype


def addressed_in(statements: Iterable[Statement], layout: Layout) -> set[Buffer]:
    """The memory that statements name: scratch of the functions that they call needs no name where its place is a number."""
    found: set[Buffer] = set()
    for s in outside(statements):
        found.update(b for e in subexpressions(expressions(s)) for b in buffers(e))
        scratch = {o.buffer for o in s.scratch if o is not None} if isinstance(s, Call) else set()
        found.update(b for b in buffers(s) if b not in scratch or not isinstance(layout.offsets.get(b), int))
    return found


def parameters(found: Needs, places: Sequence[Buffer]) -> list[tuple[str, str]]:
    """Names and declarations of what a function is given that finds `places` in SAVED and WORK by itself."""
    given = [(name, f"{local_type(dtype)} {name}") for name, dtype in found.scalars.items()]
    for name, b in found.pointers.items():
        if b in places:
            continue
        const = "" if name in found.written else "const "
        alone = "GRADGEN_RESTRICT " if b.space == ARGUMENT else ""
        given.append((name, f"{const}{b.dtype.ctype} *{alone}{name}"))
    if found.saved or any(b.space == SAVED for b in places):
        given.append(("saved", "void *saved"))
    if any(b.space == WORK for b in places):
        given.append(("work", "void *work"))
    if found.flags:
        given.append(("flags", "uint32_t flags"))
    return given


class StatementPrinter:
    """Collects lines; `out` is the text so far."""

    def __init__(
        self, procedure: str, layout: Layout, names: Mapping[Node, str] | None = None, target: Target = NATIVE,
        size: bool = False,
    ) -> None:
        self.target, self.size_counts = target, size
        self.expressions = ExpressionPrinter(target, size)
        self.out: list[str] = []
        self.depth = 1
        self.procedure, self.layout = procedure, layout
        self.names = names or {}  # of values that stand in the function
        self.functions: dict[str, Helper] = {}  # made of statements that stand apart
        self.apart: dict[str, int] = {}  # how many there are of each kind
        self.fixed: set[str] = set()  # variables that keep their value

    def pointers(self, buffers: Iterable[Buffer]) -> list[str]:
        """The lines that find arrays in SAVED and WORK."""
        lines = []
        for b in buffers:
            nobody = b.space == SAVED and not b.given  # forward without a backward to follow
            address = self.at("saved" if b.space == SAVED else "work", self.layout.offsets[b], nobody)
            lines += code_lines(f"{INDENT}{b.dtype.ctype} *const {b.name} = ({b.dtype.ctype} *){address};")
        return lines

    def at(self, block: str, offset: Extent, nobody: bool = False) -> str:
        """The address so many bytes into a block; NULL for a block that nobody wants."""
        if offset == 0:
            return block
        name = "gg_at_if" if nobody else "gg_at"
        self.expressions.helper(name)
        return f"{name}({block}, {self.bytes(offset)})"

    def bytes(self, extent: Extent) -> str:
        """A size or offset as size_t."""
        return as_size(self.expressions.index(extent))

    def line(self, text: str) -> None:
        self.out += code_lines(INDENT * self.depth + text)

    def block(self, statements: tuple[Statement, ...]) -> None:
        self.depth += 1
        self.sequence(statements)
        self.depth -= 1

    def sequence(self, statements: Sequence[Statement]) -> None:
        """The statements of one scope; sine and cosine of one variable are computed together, outside of vector loops."""
        e = self.expressions
        both = {} if e.vector or e.libm else sines_and_cosines(statements, self.fixed)
        for k, s in enumerate(statements):
            for x in both.get(k, ()):
                for text in e.sincos(x):
                    self.line(text)
            before = statements[k - 1] if k else None
            if isinstance(s, Array) and isinstance(before, Array) and before.buffer.dtype is s.buffer.dtype:
                continue  # declared with the one before
            if isinstance(s, Array):
                rest = itertools.takewhile(lambda t, s=s: isinstance(t, Array) and t.buffer.dtype is s.buffer.dtype,  # type: ignore[misc]
                                           statements[k:])
                self.arrays([t for t in rest if isinstance(t, Array)])
                continue
            self.visit(s)
        for variables in both.values():
            for x in variables:
                e.forget(x)

    @by_kind
    def visit(self, statement: Statement) -> None:
        raise CodegenError(f"no C form for {type(statement).__name__}")

    @visit.register
    def _comment(self, s: Comment) -> None:
        """The user's lines, and formulas of values that the C has, in its names."""
        values = [v for v in s.values if v.node in self.names][:MOST_FORMULAS]
        formulas = [node_formula(v.node, self.names, sign=v.sign, letters=dict(v.letters)) for v in values]
        lines = [", ".join(s.lines)] if s.lines else []
        self.out += comment([*lines, *formulas], INDENT * self.depth)

    @visit.register
    def _let(self, s: Let) -> None:
        e = self.expressions
        if e.counter != "int64_t" and isinstance(s.value, Index) and fits_counter(s.value.expr):
            e.wide.discard(s.variable.name)
            self.line(f"const {e.counter} {s.variable.name} = {e.index(s.value.expr)};")
            return
        self.note_local(s.variable)
        self.line(f"const {local_type(s.variable.dtype)} {s.variable.name} = {self.value(s)};")

    def note_local(self, variable: Variable) -> None:
        """Remembers the type of a local that may stand in an index."""
        if self.expressions.counter != "int64_t" and variable.dtype is INDEX:
            self.expressions.wide.add(variable.name)

    @contextmanager
    def function(self, scalars: Iterable[tuple[str, DType]]) -> Iterator[None]:
        """Inside a function of its own, whose parameters are these numbers."""
        e = self.expressions
        known, e.known, wide, e.wide = e.known, {}, e.wide, set()
        for name, dtype in scalars:
            self.note_local(Variable(dtype, name))
        yield
        e.known, e.wide = known, wide

    @visit.register
    def _declare(self, s: Declare) -> None:
        self.note_local(s.variable)
        self.line(f"{local_type(s.variable.dtype)} {s.variable.name} = {self.value(s)};")

    @visit.register
    def _assign(self, s: Assign) -> None:
        self.line(f"{s.variable.name} = {self.value(s)};")

    @visit.register
    def _pairwise_begin(self, s: PairwiseBegin) -> None:
        name = s.accumulator.name
        self.line(f"{self.expressions.pairwise(s.accumulator.dtype)} {name};")
        self.line(f"memset(&{name}, 0, sizeof {name});")

    @visit.register
    def _pairwise_add(self, s: PairwiseAdd) -> None:
        name = self.expressions.pairwise(s.accumulator.dtype, "_add")
        self.line(f"{name}(&{s.accumulator.name}, {self.expressions.text(s.value)});")

    def value(self, s: Let | Declare | Assign) -> str:
        return self.expressions.text(s.value)

    @visit.register
    def _store(self, s: Store) -> None:
        value = self.expressions.text(s.value)
        if s.buffer.dtype is bool_ and not isinstance(s.value, Literal):
            value = f"(uint8_t)({value})"
        self.line(f"{s.buffer.name}[{self.expressions.index(s.index)}] = {value};")

    def arrays(self, found: Sequence[Array]) -> None:
        """Arrays of one type that are declared one after the other."""
        names = ", ".join(f"{s.buffer.name}[{s.buffer.size}]" for s in found)
        self.line(f"{found[0].buffer.dtype.ctype} {names};")

    @visit.register
    def _pointer(self, s: Pointer) -> None:
        e = self.expressions
        ctype = f"const {s.buffer.dtype.ctype}" if s.constant else s.buffer.dtype.ctype
        start = e.index(s.start)
        row = s.buffer.name if start == "0" else f"{s.buffer.name} + {start}"
        if s.condition is None or s.otherwise is None:
            self.line(f"{ctype} *const {s.name} = {row};")
            return
        self.line(f"{ctype} *const {s.name} = {e.at_least(s.condition, OR)} ? {row} : {s.otherwise.name};")

    @visit.register
    def _loop(self, s: Loop) -> None:
        i = s.variable.name
        e = self.expressions
        if s.parallel:
            self.parallel(s)
            return
        if s.simd:
            self.simd(s)
        before, e.vector = e.vector, s.simd or e.vector
        step = f"++{i}" if s.step == 1 else f"{i} += {s.step}"
        e.wide.discard(i)
        self.line(f"for ({e.counter} {i} = {e.index(s.start)}; {i} < {e.index(s.stop)}; {step}) {{")
        e.loops[i] = len(e.loops) + 1
        self.block(s.body)
        self.line("}")
        del e.loops[i]
        e.vector = before

    def simd(self, s: Loop) -> None:
        """What tells compilers that the loop is a vector loop, in the words of gradgen_abi.h."""
        names: dict[str, list[str]] = {}
        for op, name in s.reductions:
            names.setdefault(op, []).append(name)
        clauses = [f"reduction({op}:{', '.join(several)})" for op, several in names.items()]
        self.line(f"GRADGEN_SIMD_WITH({' '.join(clauses)})" if clauses else "GRADGEN_SIMD")

    def parallel(self, s: Loop) -> None:
        """A loop over chunks."""
        i, e = s.variable.name, self.expressions
        worth = "1" if s.several is None else f"{s.several.name} > 1"
        self.line(f"GRADGEN_PARALLEL_FOR({s.parallel}, {worth})")
        self.line(f"for ({e.counter} {i} = {e.index(s.start)}; {i} < {e.index(s.stop)}; ++{i}) {{")
        e.loops[i] = len(e.loops) + 1
        self.block(s.body)
        self.line("}")
        del e.loops[i]

    @visit.register
    def _apart(self, s: Apart) -> None:
        """A call of a function made of the statements; arrays in SAVED and WORK are found anew in it."""
        found = needs(s.body)
        places = [b for b in found.pointers.values() if b.space in (SAVED, WORK)]
        for b in places:
            found.index(self.layout.offsets[b])
        given = parameters(found, places)
        addressed = addressed_in(s.body, self.layout)
        kept, depth, self.out, self.depth = self.out, self.depth, self.pointers(b for b in places if b in addressed), 1
        with self.function(found.scalars.items()):
            self.sequence(s.body)
        lines, self.out, self.depth = self.out, kept, depth
        self.apart[s.kind] = self.apart.get(s.kind, 0) + 1
        name = f"gg_{self.procedure}_{s.kind}{self.apart[s.kind]}"
        self.line(wrapped(f"{name}(", [v for v, _ in given], INDENT * 2) + ");")
        head = wrapped(f"{MACROS[s.kind]} void {name}(", [text for _, text in given], INDENT)
        self.expressions.helper(MACROS[s.kind])
        self.functions[name] = Helper(head + ")\n{\n" + "\n".join(lines) + "\n}", (name,))

    @visit.register
    def _if(self, s: If) -> None:
        self.line(f"if ({self.expressions.text(s.condition)}) {{")
        self.block(s.body)
        if s.otherwise:
            self.line("} else {")
            self.block(s.otherwise)
        self.line("}")

    @visit.register
    def _fill(self, s: Fill) -> None:
        e = self.expressions
        start, count = e.index(s.start), e.index(s.count)
        where = s.buffer.name if start == "0" else f"{s.buffer.name} + {start}"
        if isinstance(s.value, Literal) and s.value.value.is_zero:
            self.line(f"memset({where}, 0, {e.size_of(s.count, s.buffer.dtype)});")
            return
        i = self.counter()
        self.line(f"for ({e.counter} {i} = 0; {i} < {count}; ++{i}) {{")
        at = i if start == "0" else f"{start} + {i}"
        self.line(f"{INDENT}{s.buffer.name}[{at}] = {e.text(s.value)};")
        self.line("}")

    def counter(self) -> str:
        return "gg_element"

    @visit.register
    def _copy(self, s: Copy) -> None:
        e = self.expressions
        ends = []
        for buffer, start in ((s.target, s.target_start), (s.source, s.source_start)):
            text = e.index(start)
            ends.append(buffer.name if text == "0" else f"{buffer.name} + {text}")
        self.line(f"memcpy({ends[0]}, {ends[1]}, {e.size_of(s.count, s.target.dtype)});")

    @visit.register
    def _call(self, s: Call) -> None:
        f = s.function
        given: dict[str, str] = {}
        for b, o in zip(f.pointers, s.pointers, strict=True):
            given[b.name] = "NULL" if o is None else self.pointer(o) if b not in f.scratch else self.scratch(b, o, f)
        for v, e in zip(f.scalars, s.scalars, strict=True):
            text = self.size if f.kind == PRODUCT else self.expressions.index
            given[v.name] = text(e.expr) if isinstance(e, Index) else self.scalar(e)
        rows: list[list[str]] = [[]]
        for p in f.parameters:
            if f.kind == PRODUCT and isinstance(p, Buffer) and p not in f.scratch and rows[-1]:
                rows.append([])
            rows[-1].append(given[p.name])
        lines = [", ".join(row) for row in rows]
        result = f"{s.result.name} = " if s.result is not None else ""
        self.line(f"{result}{f.name}({lines[0]}{');' if len(lines) == 1 else ','}")
        for k, row in enumerate(lines[1:], 2):
            self.line(f"{INDENT}{row}{');' if k == len(lines) else ','}")

    def scalar(self, e: Expr | sympy.Symbol) -> str:
        return self.expressions.text(e) if isinstance(e, Expr) else e.name

    def scratch(self, p: Buffer, o: Operand, f: Function) -> str:
        """Scratch memory at a place that is a number needs no name."""
        place = self.layout.offsets.get(o.buffer)
        if not isinstance(place, int):
            return self.pointer(o)
        address = self.at("work", as_extent(place + o.start * o.buffer.dtype.itemsize))
        return address if f.kind == PRODUCT else f"({p.dtype.ctype} *){address}"

    def function_text(self, f: Function) -> Helper:
        """A nest as a static function."""
        constant = {b.name for b in f.reads}
        parameters = [
            f"{'const ' if p.name in constant else ''}{p.dtype.ctype} *{p.name}" if isinstance(p, Buffer)
            else f"{local_type(p.dtype)} {p.name}" for p in f.parameters
        ]
        result = local_type(f.result.dtype) if f.result is not None else "void"
        kept, self.out = self.out, []
        names, self.names = self.names, {}  # it serves several nests
        often, self.expressions.out_of_line = self.expressions.out_of_line, called_often(f.body)
        loops, self.expressions.loops = self.expressions.loops, {}
        with self.function((v.name, v.dtype) for v in f.scalars):
            self.sequence(f.body)
        self.expressions.loops = loops
        self.names, self.expressions.out_of_line = names, often
        lines, self.out = self.out, kept
        if f.result is not None:
            lines.append(f"{INDENT}return {f.result.name};")
        return Helper(f"static {result} {f.name}({', '.join(parameters)})\n{{\n" + "\n".join(lines) + "\n}", (f.name,))

    @visit.register
    def _fail(self, s: Fail) -> None:
        self.line(f"return {s.status};")

    def size(self, extent: Extent) -> str:
        """An argument of type ptrdiff_t, which has 32 bits on small machines."""
        text = self.expressions.index(extent)
        if text.lstrip("-").isdigit() or self.expressions.counter == "ptrdiff_t":
            return text
        return f"(ptrdiff_t){text if text.isidentifier() else f'({text})'}"

    def pointer(self, operand: Operand) -> str:
        start = self.expressions.index(operand.start)
        return operand.buffer.name if start == "0" else f"{operand.buffer.name} + {start}"


__all__ = ["StatementPrinter", "local_type"]
