"""Loop nests over buffers with planned addresses.  What will be printed, with nothing left to decide.

Expressions are typed trees; index expressions are SymPy integer expressions over symbols that are named like the C
variables they stand for.  Everything is immutable; where a buffer lies is said by the Layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy

from gradgen.ir.dtypes import DType
from gradgen.ir.guards import Guard
from gradgen.ir.nodes import Node
from gradgen.ir.symbols import Extent
from gradgen.loops.procedure import Place

ARGUMENT, SAVED, WORK, CONSTANT, LOCAL = "argument", "saved", "work", "constant", "local"


class CVar(sympy.Symbol):
    """An int64 variable of the emitted C in an index expression: a loop counter or a loaded index."""

    __slots__ = ()


HALVED = (4, 8, 16)
"""Elements of an array from its start on that have an operation, "by_halves": their sum, each half added to the other."""


@dataclass(frozen=True, eq=False, slots=True)
class Buffer:
    """Dense row-major memory; two of them are one only where they are the same object."""

    name: str
    dtype: DType
    shape: tuple[Extent, ...]
    space: str
    place: Place | None = None
    values: object = None  # CONSTANT: the NumPy array
    given: bool = False  # holds a value before the function starts
    below: Extent | None = None  # its elements are positions from 0 to below that: what an argmax gives

    @property
    def size(self) -> Extent:
        total: Extent = 1
        for e in self.shape:
            total = total * e
        return total


# --- expressions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Expr:
    dtype: DType


@dataclass(frozen=True, eq=False, slots=True)
class Literal(Expr):
    """An exact number, printed as one literal of its type."""

    value: sympy.Basic


@dataclass(frozen=True, eq=False, slots=True)
class Index(Expr):
    """The value of an integer index expression."""

    expr: sympy.Expr


@dataclass(frozen=True, eq=False, slots=True)
class Variable(Expr):
    name: str


@dataclass(frozen=True, eq=False, slots=True)
class Load(Expr):
    """`buffer[index]` where `guard` holds, else `fill`; the element is not touched where it does not hold."""

    buffer: Buffer
    index: sympy.Expr
    guard: Guard = ()
    fill: sympy.Expr = sympy.S.Zero


@dataclass(frozen=True, eq=False, slots=True)
class Apply(Expr):
    """A typed operation: arithmetic ("add", "mul", ...), "cast", "select", or a scalar function by its key."""

    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Truth(Expr):
    """A truth about where the program stands, not about values."""


@dataclass(frozen=True, eq=False, slots=True)
class Holds(Truth):
    """1 where the guard holds."""

    guard: Guard


@dataclass(frozen=True, eq=False, slots=True)
class Present(Truth):
    """1 where the optional argument is not NULL."""

    buffer: Buffer


@dataclass(frozen=True, eq=False, slots=True)
class SetFlag(Truth):
    """1 where the caller asked for gradients to be written instead of added to."""


@dataclass(frozen=True, eq=False, slots=True)
class PairwiseTotal(Expr):
    """The sum of what was added to a pairwise accumulator."""

    accumulator: Variable


# --- statements -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Statement:
    pass


@dataclass(frozen=True, eq=False, slots=True)
class Said:
    """What a nest computes, to be written as a formula in the names of the C: `letters` are counters of the node's axes."""

    node: Node
    sign: str = "="
    letters: tuple[tuple[sympy.Symbol, str], ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Comment(Statement):
    """The user's lines behind what follows, and what it computes."""

    lines: tuple[str, ...]
    values: tuple[Said, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Let(Statement):
    """A constant local."""

    variable: Variable
    value: Expr


@dataclass(frozen=True, eq=False, slots=True)
class Declare(Statement):
    """A local that will be assigned again."""

    variable: Variable
    value: Expr


@dataclass(frozen=True, eq=False, slots=True)
class Assign(Statement):
    variable: Variable
    value: Expr


@dataclass(frozen=True, eq=False, slots=True)
class PairwiseBegin(Statement):
    """An empty pairwise accumulator: partial sums of equal numbers of terms meet, like in a tournament."""

    accumulator: Variable


@dataclass(frozen=True, eq=False, slots=True)
class PairwiseAdd(Statement):
    accumulator: Variable
    value: Expr


@dataclass(frozen=True, eq=False, slots=True)
class Store(Statement):
    buffer: Buffer
    index: sympy.Expr
    value: Expr


@dataclass(frozen=True, eq=False, slots=True)
class Array(Statement):
    """A small array on the stack, without values yet; its length is a number."""

    buffer: Buffer


@dataclass(frozen=True, eq=False, slots=True)
class Pointer(Statement):
    """`const pointer name = condition ? buffer + start : otherwise`: a row of an argument, or memory to waste."""

    name: str
    buffer: Buffer
    start: sympy.Expr
    condition: Expr | None
    otherwise: Buffer | None
    constant: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Loop(Statement):
    """`for (variable = start; variable < stop; variable += step) body`.

    `parallel`: the iterations are chunks for so many threads, started where `several` (None: certainly) exceeds 1.
    """

    variable: CVar
    start: Extent
    stop: Extent
    body: tuple[Statement, ...]
    step: int = 1
    simd: bool = False
    reductions: tuple[tuple[str, str], ...] = ()  # (operator of the pragma, variable)
    parallel: int = 0
    several: CVar | None = None


@dataclass(frozen=True, eq=False, slots=True)
class If(Statement):
    condition: Expr
    body: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Apart(Statement):
    """Statements in a function of their own, which is called here alone and is given what it refers to.

    `kind`: "piece" of a long function, or "chunk" of a loop that may run in threads."""

    kind: str
    body: tuple[Statement, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Fill(Statement):
    """`count` elements of the buffer from `start` become `value`."""

    buffer: Buffer
    start: Extent
    count: Extent
    value: Expr


@dataclass(frozen=True, eq=False, slots=True)
class Copy(Statement):
    """`count` elements from one buffer to another of the same type."""

    target: Buffer
    target_start: Extent
    source: Buffer
    source_start: Extent
    count: Extent


@dataclass(frozen=True, eq=False, slots=True)
class Fail(Statement):
    """Leave the function with a status code."""

    status: str


@dataclass(frozen=True, eq=False, slots=True)
class Operand:
    """An address, and the strides of the two axes of a matrix that is there, in elements."""

    buffer: Buffer
    start: Extent = 0
    strides: tuple[Extent, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Contract(Statement):
    """`c[m, n] (+)= sum_k a[m, k] b[k, n]`."""

    dtype: DType
    m: Extent
    n: Extent
    k: Extent
    a: Operand
    b: Operand
    c: Operand
    accumulate: bool
    limits: tuple[Extent, Extent, Extent]  # the largest m, n and k of any call, over dims alone
    absent: str = ""  # "a", "b": an operand in which -0 is a term that is not there, whatever it is multiplied with


NEST, PRODUCT, KERNEL = "nest", "product", "kernel"
"""Kinds of functions: a nest that several places share, the matrix kernel for one kind of product, a named kernel."""


@dataclass(frozen=True, eq=False, slots=True)
class Function:
    """A function beside those of the contract, and what it is given: memory that it reads, that it writes without reading,
    that it may read and write, scratch without values, and numbers.

    `body` says what it does, in the names of its parameters; a named kernel has none.  `text` is what codegen makes its C
    of where that is not the body, `order` the names of the parameters as the C has them (none: as they stand here), `stack`
    the bytes of a frame that no statements tell.
    """

    name: str
    kind: str
    reads: tuple[Buffer, ...] = ()
    writes: tuple[Buffer, ...] = ()
    updates: tuple[Buffer, ...] = ()
    scratch: tuple[Buffer, ...] = ()
    scalars: tuple[Variable, ...] = ()
    body: tuple[Statement, ...] = ()
    result: Variable | None = None  # a scalar parameter whose final value is returned
    text: object = None
    order: tuple[str, ...] = ()
    stack: int = 0

    @property
    def pointers(self) -> tuple[Buffer, ...]:
        return (*self.reads, *self.writes, *self.updates, *self.scratch)

    @property
    def parameters(self) -> tuple[Buffer | Variable, ...]:
        """All of them as the C has them."""
        found: dict[str, Buffer | Variable] = {p.name: p for p in self.pointers}
        found |= {v.name: v for v in self.scalars}
        return tuple(found[name] for name in self.order or found)


@dataclass(frozen=True, eq=False, slots=True)
class Call(Statement):
    """`result = function(...)`: operands without strides are addresses; scratch may be None where none is needed."""

    function: Function
    reads: tuple[Operand, ...] = ()
    writes: tuple[Operand, ...] = ()
    updates: tuple[Operand, ...] = ()
    scratch: tuple[Operand | None, ...] = ()
    scalars: tuple[Expr | sympy.Symbol, ...] = ()
    result: Variable | None = None

    @property
    def pointers(self) -> tuple[Operand | None, ...]:
        """In the order of the function's."""
        return (*self.reads, *self.writes, *self.updates, *self.scratch)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the buffers of WORK and SAVED start, in bytes from the start of their block, and the bytes of the blocks.

    `life`: the first and last moment of each, counted in statements of the function.  `stack`: the most bytes of it along the
    calls that `through` names."""

    offsets: Mapping[Buffer, Extent] = field(default_factory=dict)
    work: Extent = 0
    saved: Extent = 0
    life: Mapping[Buffer, tuple[int, int]] = field(default_factory=dict)
    stack: int = 0
    through: tuple[str, ...] = ()
