"""A Program's statements as a Python function over checked memory: what the emitted C does, one access after the other.

Text rather than a walk at run time, since a test runs the same statements for many extents and sets of NULLs.  While it is
written, names are checked as C's scopes have them; every access carries the number of its statement, for faults.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import sympy

from gradgen.errors import GradgenError
from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.kernels import KernelSpec
from gradgen.ir.scalar_table import operator_of
from gradgen.ir.symbols import Dim, Extent
from gradgen.loops.describe import line
from gradgen.loops.dispatch import by_kind
from gradgen.loops.statements import (
    Apart,
    Apply,
    Array,
    Assign,
    Buffer,
    Call,
    Comment,
    Contract,
    Copy,
    Declare,
    Expr,
    Fail,
    Fill,
    Function,
    Holds,
    If,
    Index,
    Let,
    Literal,
    Load,
    Loop,
    PairwiseAdd,
    PairwiseBegin,
    PairwiseTotal,
    Pointer,
    Present,
    SetFlag,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import functions_in
from gradgen.reference import c_semantics
from gradgen.reference.cells import Fault
from gradgen.reference.index_python import NAMES, guard_python, index_python, local
from gradgen.reference.whole import Failed, attribute_names, contract, copy, fill, kernel_call, local_array

_PYTHON = {"&&": "and", "||": "or"}


@dataclass
class Translation:
    """The text of a function `run(m)` and of its parts, the objects that it refers to, and what it needs of its caller."""

    lines: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    dims: dict[str, None] = field(default_factory=dict)

    def text(self) -> str:
        return "\n".join(self.lines)


def memory(name: str) -> str:
    """The Python variable of a buffer or a pointer."""
    return f"b_{name}"


def translate(statements: Sequence[Statement]) -> Translation:
    """The statements of a procedure, at any point between the emitter and the final Program."""
    made = Translation(names={"Failed": Failed, "Pairwise": c_semantics.Pairwise, "fill": fill, "copy": copy,
                              "contract": contract, "kernel_call": kernel_call, "local_array": local_array, **NAMES})
    functions = {f.name: f for f in functions_in(statements)}
    for f in functions.values():
        if not f.body:
            continue
        writer = Writer(made, functions, f)
        writer.block(f.body)
        if f.result is not None:
            writer.out(f"return {local(f.result.name)}")
        names = [*(memory(b.name) for b in f.pointers), *(local(v.name) for v in f.scalars)]
        made.lines += [f"def function_{f.name}({', '.join(['m', *names])}):", *writer.body]
    main = Writer(made, functions, None)
    main.block(statements)
    made.lines.append("def run(m, dims, memory):")
    made.lines += [f"    {local(d)} = dims[{d!r}]" for d in made.dims]
    made.lines += [f"    {memory(b)} = memory[{b!r}]" for b in made.buffers]
    made.lines += main.body
    exec(compile(made.text(), "<loops>", "exec"), made.names)
    return made


class Writer:
    """The body of one function."""

    def __init__(self, made: Translation, functions: dict[str, Function], inside: Function | None) -> None:
        self.made, self.functions, self.inside = made, functions, inside
        self.depth = 1
        self.body: list[str] = ["    pass"]
        self.scopes: list[set[str]] = [set()]
        self.independent: list[tuple[int, set[str]]] = []  # (scopes outside of it, the sums it may assign)
        self.current = 0
        if inside is not None:
            self.scopes[0] = {p.name for p in inside.parameters}

    # --- names ----------------------------------------------------------------------------------------------------

    def out(self, text: str) -> None:
        self.body.append("    " * self.depth + text)

    def declare(self, name: str) -> str:
        self.scopes[-1].add(name)
        return local(name)

    def known(self, name: str) -> bool:
        return any(name in scope for scope in self.scopes)

    def fault(self, what: str) -> Fault:
        return Fault(what, where=self.made.statements[self.current])

    def variable(self, v: Variable) -> str:
        if not self.known(v.name):
            raise self.fault(f"{v.name} is not in scope")
        return local(v.name)

    def buffer(self, b: Buffer) -> str:
        """A pointer that is in scope, or memory of the procedure."""
        if not self.known(b.name):
            if self.inside is not None or b.space == "local":
                raise self.fault(f"{b.name} is not in scope")
            if self.made.buffers.setdefault(b.name, b) is not b:
                raise self.fault(f"two buffers are called {b.name}")
        return memory(b.name)

    def symbols(self, e: sympy.Basic) -> None:
        for s in e.free_symbols:
            if not self.known(s.name):  # type: ignore[attr-defined]
                if not isinstance(s, Dim) or self.inside is not None:
                    raise self.fault(f"{s} is not in scope")
                self.made.dims[s.name] = None

    def index(self, e: Extent) -> str:
        if isinstance(e, int):
            return str(e)
        self.symbols(e)
        return index_python(e)

    def guard(self, guard: Any) -> str:
        for c in guard:
            self.symbols(sympy.sympify(c.expr))
            self.symbols(sympy.sympify(c.modulus))
        return guard_python(guard)

    def constant(self, value: Any, kind: str) -> str:
        name = f"{kind}{len(self.made.names)}"
        self.made.names[name] = value
        return name

    # --- expressions ----------------------------------------------------------------------------------------------

    def value(self, e: Expr) -> str:
        return self.expr(e)

    @by_kind
    def expr(self, e: Expr) -> str:
        raise GradgenError(f"the interpreter of loops does not know {type(e).__name__}")

    @expr.register
    def _(self, e: Literal) -> str:
        value = c_semantics.number(e.value, e.dtype)
        if not e.dtype.is_floating_point:
            return f"({value})"
        return self.constant(value, "number")

    @expr.register
    def _(self, e: Index) -> str:
        return self.index(e.expr)

    @expr.register
    def _(self, e: Variable) -> str:
        return self.variable(e)

    @expr.register
    def _(self, e: Load) -> str:
        b = self.buffer(e.buffer)
        text = f"{b}.get({self.index(e.index)}, {self.current})"
        place = e.buffer.place
        if place is not None and place.optional and e.buffer.given:
            text = f"({text} if {b}.there else {self.expr(Literal(e.dtype, sympy.Integer(place.default)))})"
        if not e.guard:
            return text
        return f"({text} if {self.guard(e.guard)} else {self.expr(Literal(e.dtype, e.fill))})"

    @expr.register
    def _(self, e: Holds) -> str:
        return f"({self.guard(e.guard)})"

    @expr.register
    def _(self, e: Present) -> str:
        return f"{self.buffer(e.buffer)}.there"

    @expr.register
    def _(self, e: SetFlag) -> str:
        return "m.set_grad"

    @expr.register
    def _(self, e: PairwiseTotal) -> str:
        return f"{self.variable(e.accumulator)}.total()"

    @expr.register
    def _(self, e: Apply) -> str:
        args = [self.expr(a) for a in e.args]
        kinds = [a.dtype for a in e.args]
        if e.op == "select":
            return f"({args[1]} if {args[0]} else {args[2]})"
        if e.op == "cast":
            return args[0] if kinds[0] is e.dtype else f"{self.operation(('cast', kinds[0], e.dtype))}({args[0]})"
        sign = operator_of(e.op)
        if sign and e.dtype is bool_:
            return f"bool({args[0]} {_PYTHON.get(sign, sign)} {args[1]})"
        if e.op == "not_":
            return f"(not {args[0]})"
        if sign and e.dtype.is_floating_point:
            return f"({args[0]} {sign} {args[1]})"
        if e.dtype.is_floating_point and e.op == "neg":
            return f"(-{args[0]})"
        return f"{self.operation((e.op, e.dtype, kinds[0]))}({', '.join(args)})"

    def operation(self, key: tuple[str, DType, DType]) -> str:
        name = f"{key[0]}_{key[1].name}_{key[2].name}"
        if name not in self.made.names:
            found = c_semantics.cast(*key[1:]) if key[0] == "cast" else c_semantics.function(*key)
            self.made.names[name] = found
        return name

    # --- statements -----------------------------------------------------------------------------------------------

    def block(self, statements: Iterable[Statement]) -> None:
        for s in statements:
            if not isinstance(s, Comment):
                self.current = len(self.made.statements)
                self.made.statements.append(line(s))
                self.statement(s)

    def inner(self, statements: Iterable[Statement], names: Iterable[str] = ()) -> None:
        self.depth += 1
        self.scopes.append(set(names))
        self.out("pass")
        self.block(statements)
        self.scopes.pop()
        self.depth -= 1

    @by_kind
    def statement(self, s: Statement) -> None:
        raise GradgenError(f"the interpreter of loops does not know {type(s).__name__}")

    @statement.register
    def _(self, s: Let | Declare) -> None:
        value = self.value(s.value)
        self.out(f"{self.declare(s.variable.name)} = {value}")

    @statement.register
    def _(self, s: Assign) -> None:
        value, name = self.value(s.value), self.variable(s.variable)
        for outside, sums in self.independent:
            if s.variable.name not in sums and not any(s.variable.name in scope for scope in self.scopes[outside:]):
                raise self.fault(f"{s.variable.name} is assigned by iterations that should be independent")
        self.out(f"{name} = {value}")

    @statement.register
    def _(self, s: PairwiseBegin) -> None:
        self.out(f"{self.declare(s.accumulator.name)} = Pairwise({self.constant(s.accumulator.dtype, 'dtype')})")

    @statement.register
    def _(self, s: PairwiseAdd) -> None:
        self.out(f"{self.variable(s.accumulator)}.add({self.value(s.value)})")

    @statement.register
    def _(self, s: Store) -> None:
        self.out(f"{self.buffer(s.buffer)}.put({self.index(s.index)}, {self.value(s.value)}, {self.current})")

    @statement.register
    def _(self, s: Array) -> None:
        dtype = self.constant(s.buffer.dtype, "dtype")
        self.out(f"{memory(s.buffer.name)} = local_array(m, {s.buffer.name!r}, {dtype}, {self.index(s.buffer.size)})")
        self.scopes[-1].add(s.buffer.name)

    @statement.register
    def _(self, s: Pointer) -> None:
        row = f"{self.buffer(s.buffer)}.row({self.index(s.start)}, {s.name!r}, {s.constant}, {self.current})"
        if s.condition is not None and s.otherwise is not None:
            row = f"{row} if {self.value(s.condition)} else {self.buffer(s.otherwise)}"
        self.out(f"{memory(s.name)} = {row}")
        self.scopes[-1].add(s.name)

    @statement.register
    def _(self, s: Loop) -> None:
        name = s.variable.name
        start, stop, number = self.index(s.start), self.index(s.stop), self.current
        watched = s.simd or s.parallel
        if watched:
            self.out(f"watch{number} = m.independent({number})")
            self.independent.append((len(self.scopes), {v for _, v in s.reductions}))
        self.out(f"for {local(name)} in range({start}, {stop}, {s.step}):")
        if watched:
            self.depth += 1
            self.out(f"watch{number}.turn = {local(name)}")
            self.depth -= 1
        self.inner(s.body, (name,))
        if watched:
            self.independent.pop()
            self.out("m.joined()")

    @statement.register
    def _(self, s: If) -> None:
        self.out(f"if {self.value(s.condition)}:")
        self.inner(s.body)
        if s.otherwise:
            self.out("else:")
            self.inner(s.otherwise)

    @statement.register
    def _(self, s: Apart) -> None:
        self.out("if True:")
        self.inner(s.body)

    @statement.register
    def _(self, s: Fill) -> None:
        if s.value.dtype is not s.buffer.dtype:
            raise self.fault(f"{s.buffer.name} is filled with {s.value.dtype.name}")
        self.out(f"fill({self.buffer(s.buffer)}, {self.index(s.start)}, {self.index(s.count)}, {self.value(s.value)}, "
                 f"{self.current})")

    @statement.register
    def _(self, s: Copy) -> None:
        self.out(f"copy({self.buffer(s.target)}, {self.index(s.target_start)}, {self.buffer(s.source)}, "
                 f"{self.index(s.source_start)}, {self.index(s.count)}, {self.current})")

    @statement.register
    def _(self, s: Fail) -> None:
        self.out(f"raise Failed({s.status!r})")

    @statement.register
    def _(self, s: Contract) -> None:
        operands = [f"({self.buffer(o.buffer)}, {self.index(o.start)}, {self.index(o.strides[0])}, "
                    f"{self.index(o.strides[1])})" for o in (s.a, s.b, s.c)]
        sizes = ", ".join(self.index(e) for e in (s.m, s.n, s.k))
        limits = ", ".join(self.index(e) for e in s.limits)
        self.out(f"contract(m, ({sizes}), ({limits}), {', '.join(operands)}, {s.accumulate}, {s.absent!r}, "
                 f"{self.current})")

    @statement.register
    def _(self, s: Call) -> None:
        f = s.function
        if self.functions[f.name] is not f:
            raise self.fault(f"two functions are called {f.name}")
        scalars = [self.value(x) if isinstance(x, Expr) else self.index(x) for x in s.scalars]
        if not f.body:
            self.kernel(s, scalars)
            return
        args = ["m"]
        for p, o in zip(f.pointers, s.pointers, strict=True):
            if o is None:
                args.append("None")
                continue
            constant = p in f.reads
            args.append(f"{self.buffer(o.buffer)}.row({self.index(o.start)}, {o.buffer.name!r}, {constant}, {self.current})")
            if p in f.scratch:
                self.out(f"{args[-1]}.poison()")
        result = f"{self.variable(s.result)} = " if s.result is not None else ""
        self.out(f"{result}function_{f.name}({', '.join([*args, *scalars])})")

    def kernel(self, s: Call, scalars: list[str]) -> None:
        """A named kernel: sizes, then flags."""
        spec, dtype = cast(tuple[KernelSpec, DType], s.function.text)
        groups = [f"[{', '.join(self.buffer(o.buffer) for o in group)}]" for group in (s.reads, s.writes)]
        scratch = (f"({self.buffer(o.buffer)}, {self.index(o.buffer.size)})" for o in s.scratch if o is not None)
        groups.append("[" + ", ".join(scratch) + "]")
        count = len(scalars) - len(attribute_names(spec))
        sizes, flags = ("".join(x + ", " for x in part) for part in (scalars[:count], scalars[count:]))
        names = self.constant(spec, "spec"), self.constant(dtype, "dtype")
        self.out(f"kernel_call(m, {', '.join(names)}, ({sizes}), {', '.join(groups)}, ({flags}), {self.current})")


__all__ = ["Translation", "translate"]

