"""The one walk: what each kind of statement and expression binds, uses, reads, writes, indexes and contains.

`ROWS` says of every field of every kind what role it plays.  Everything that goes through statements (walks, what is
touched, renaming, substitution, rebuilding) is made from it, so that a new kind is one row and a new field one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from enum import Enum
from operator import is_
from typing import Any, TypeVar

import sympy

from gradgen.ir.guards import Condition
from gradgen.ir.symbols import free_symbols
from gradgen.loops import statements
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
    Operand,
    PairwiseAdd,
    PairwiseBegin,
    PairwiseTotal,
    Pointer,
    Present,
    SetFlag,
    Statement,
    Store,
    Truth,
    Variable,
)


class Role(Enum):
    """What a field is for.  A value of a role is what the comment says, or a tuple of such, or None."""

    DATA = "neither name nor memory"
    VALUE = "an expression, or an index symbol that is passed as one"
    BLOCK = "statements"
    INDEX = "integer expressions and guards over counters, integer locals and dimensions"
    BINDS = "a name (Variable, str, or the Buffer of an array) that is there from this statement on"
    COUNTER = "an index symbol that is there inside of this statement"
    USES = "a local that is read"
    ASSIGNS = "a local that was declared before and changes"
    READS = "memory (Buffer, or Operand with its strides) that is read"
    WRITES = "memory that is written"
    UPDATES = "memory that is read and written"
    SCRATCH = "memory that has no value before or after"
    POINTS = "memory whose address is taken; what is done with it is done under the name that the statement binds"
    ASKS = "memory that is tested for being there"


_R = Role
ROWS: dict[type, dict[str, Role]] = {
    # expressions
    Literal: {"dtype": _R.DATA, "value": _R.DATA},
    Index: {"dtype": _R.DATA, "expr": _R.INDEX},
    Variable: {"dtype": _R.DATA, "name": _R.USES},
    Load: {"dtype": _R.DATA, "buffer": _R.READS, "index": _R.INDEX, "guard": _R.INDEX, "fill": _R.DATA},
    Apply: {"dtype": _R.DATA, "op": _R.DATA, "args": _R.VALUE},
    Holds: {"dtype": _R.DATA, "guard": _R.INDEX},
    Present: {"dtype": _R.DATA, "buffer": _R.ASKS},
    SetFlag: {"dtype": _R.DATA},
    PairwiseTotal: {"dtype": _R.DATA, "accumulator": _R.USES},
    # statements
    Comment: {"lines": _R.DATA, "values": _R.DATA},
    Let: {"variable": _R.BINDS, "value": _R.VALUE},
    Declare: {"variable": _R.BINDS, "value": _R.VALUE},
    Assign: {"variable": _R.ASSIGNS, "value": _R.VALUE},
    PairwiseBegin: {"accumulator": _R.BINDS},
    PairwiseAdd: {"accumulator": _R.ASSIGNS, "value": _R.VALUE},
    Store: {"buffer": _R.WRITES, "index": _R.INDEX, "value": _R.VALUE},
    Array: {"buffer": _R.BINDS},
    Pointer: {"name": _R.BINDS, "buffer": _R.POINTS, "start": _R.INDEX, "condition": _R.VALUE, "otherwise": _R.POINTS,
              "constant": _R.DATA},
    Loop: {"variable": _R.COUNTER, "start": _R.INDEX, "stop": _R.INDEX, "body": _R.BLOCK, "step": _R.DATA,
           "simd": _R.DATA, "reductions": _R.ASSIGNS, "parallel": _R.DATA, "several": _R.INDEX},
    Apart: {"kind": _R.DATA, "body": _R.BLOCK},
    If: {"condition": _R.VALUE, "body": _R.BLOCK, "otherwise": _R.BLOCK},
    Fill: {"buffer": _R.WRITES, "start": _R.INDEX, "count": _R.INDEX, "value": _R.VALUE},
    Copy: {"target": _R.WRITES, "target_start": _R.INDEX, "source": _R.READS, "source_start": _R.INDEX, "count": _R.INDEX},
    Fail: {"status": _R.DATA},
    Contract: {"dtype": _R.DATA, "m": _R.INDEX, "n": _R.INDEX, "k": _R.INDEX, "a": _R.READS, "b": _R.READS,
               "c": _R.UPDATES, "accumulate": _R.DATA, "limits": _R.INDEX, "absent": _R.DATA},
    Call: {"function": _R.DATA, "reads": _R.READS, "writes": _R.WRITES, "updates": _R.UPDATES, "scratch": _R.SCRATCH,
           "scalars": _R.VALUE, "result": _R.ASSIGNS},
}  # fmt: skip

STARTS: dict[type, dict[str, str]] = {
    Load: {"buffer": "index"}, Store: {"buffer": "index"}, Fill: {"buffer": "start"}, Pointer: {"buffer": "start"},
    Copy: {"target": "target_start", "source": "source_start"},
}  # fmt: skip
"""Of fields that are memory, those that say which element of it."""

_MEMORY = (_R.READS, _R.WRITES, _R.UPDATES, _R.SCRATCH, _R.POINTS)
_READ = (_R.READS, _R.UPDATES, _R.SCRATCH)
_NAMES = (_R.BINDS, _R.USES, _R.ASSIGNS)
Part = Expr | Statement
P = TypeVar("P", bound=Part)


def _of(*roles: Role) -> dict[type, tuple[str, ...]]:
    return {kind: tuple(f for f, role in row.items() if role in roles) for kind, row in ROWS.items()}


_VALUES, _BLOCKS, _TOUCHED = _of(_R.VALUE), _of(_R.BLOCK), _of(*_MEMORY)
_WITH_INDEX = _of(_R.INDEX, _R.VALUE, *_MEMORY)  # symbols are passed to calls
_READS, _WRITES, _POINTED = _of(*_READ), _of(_R.WRITES, _R.UPDATES, _R.SCRATCH), _of(_R.POINTS)
NAMELESS = frozenset(k for k, row in ROWS.items() if set(row.values()) <= {_R.DATA, _R.VALUE} and k is not Call)
"""Kinds that have neither names nor indices nor memory, but for those of their operands."""

VALUED = frozenset(k for k, row in ROWS.items() if row.get("value") is _R.VALUE)
"""Kinds of statements that give something the value of an expression, their field `value`."""

ELEMENTWISE = frozenset(
    k for k, row in ROWS.items()
    if issubclass(k, Statement) and ("index" in row or not ({*row.values()} & {*_MEMORY} or "buffer" in row)))
"""Kinds of statements that touch memory element by element, if at all."""

STRETCHES = {
    k: tuple(f for f in row if f.endswith("start")) for k, row in ROWS.items() if "count" in row
}  # fmt: skip
"""Kinds of statements that go through `count` neighbouring elements, with the fields that say from where on."""

HARMLESS = frozenset(k for k, row in ROWS.items() if issubclass(k, Statement) and k is not Fail
                     and not set(row.values()) & {_R.BLOCK, _R.ASSIGNS, _R.WRITES, _R.UPDATES})
"""Kinds of statements that change nothing that was there before, and go on to the next."""

ELSEWHERE = frozenset(k for k, row in ROWS.items() if k is Fail or set(row.values()) & {_R.UPDATES, _R.SCRATCH})
"""Kinds of statements that are no code of their own: calls, and the way out of the function."""

PORTABLE = frozenset(
    k for k, row in ROWS.items()
    if k not in ELSEWHERE and "accumulator" not in row and _R.POINTS not in row.values()
    and (_R.BINDS not in row.values() or _R.VALUE in row.values()))
"""Kinds that can stand in another function that is given the values of locals: no calls, rows, arrays, pairwise sums."""

_BOUND, _ASSIGNED, _USED = _of(_R.BINDS), _of(_R.ASSIGNS), _of(_R.USES)


# --- children ---------------------------------------------------------------------------------------------------------


def blocks(s: Statement) -> tuple[tuple[Statement, ...], ...]:
    """The blocks of statements inside a statement."""
    return tuple([getattr(s, f) for f in _BLOCKS[type(s)]])


def expressions(p: Part) -> tuple[Expr, ...]:
    """The expressions right inside a statement or an expression, those of inner statements aside."""
    found: tuple[Expr, ...] = ()
    for f in _VALUES[type(p)]:
        value = getattr(p, f)
        if isinstance(value, Expr):
            found += (value,)
        elif value is not None:
            found += tuple([v for v in value if isinstance(v, Expr)])
    return found


def subexpressions(roots: Iterable[Expr]) -> Iterator[Expr]:
    """Every expression in these, as often as it occurs."""
    stack = list(roots)
    while stack:
        e = stack.pop()
        yield e
        if type(e) is Apply:
            stack += e.args
        elif _VALUES[type(e)]:
            stack += expressions(e)


def statements_in(block: Iterable[Statement]) -> Iterator[Statement]:
    """These statements and all inside them, in order."""
    stack = [*block]
    stack.reverse()
    while stack:
        s = stack.pop()
        yield s
        for f in reversed(_BLOCKS[type(s)]):
            stack += reversed(getattr(s, f))


def functions_in(block: Iterable[Statement]) -> tuple[Function, ...]:
    """The functions that statements call, each behind those that it calls itself, by name: equal ones are one."""
    found: dict[str, Function] = {}
    for s in statements_in(block):
        if isinstance(s, Call):
            for f in (*functions_in(s.function.body), s.function):
                found.setdefault(f.name, f)
    return tuple(found.values())


def parts_in(block: Iterable[Statement]) -> Iterator[Part]:
    """Every statement and every expression in these, a statement before what it holds."""
    for s in statements_in(block):
        yield s
        yield from subexpressions(expressions(s))


# --- names and indices ------------------------------------------------------------------------------------------------


def _name(value: Any) -> str:
    if isinstance(value, tuple):  # of a loop's reductions: operator and variable
        return value[1]
    return value if isinstance(value, str) else value.name


def _names(p: Part, which: Mapping[type, tuple[str, ...]]) -> Iterator[str]:
    found: list[str] = []
    for f in which[type(p)]:
        value = getattr(p, f)
        if isinstance(value, tuple):
            found += map(_name, value)
        elif value is not None:
            found.append(_name(value))
    return iter(found)


def bound(p: Part) -> Iterator[str]:
    """The names that a statement binds for those after it."""
    return _names(p, _BOUND)


def assigned(p: Part) -> Iterator[str]:
    """The locals that it changes."""
    return _names(p, _ASSIGNED)


def used(p: Part) -> Iterator[str]:
    """The locals that it reads itself, operands aside."""
    return _names(p, _USED)


def indices(p: Part) -> Iterator[sympy.Expr | int]:
    """The integer expressions of a statement or expression itself, strides and guards included, operands aside."""
    found: list[sympy.Expr | int] = []
    for f in _WITH_INDEX[type(p)]:
        _add_integers(getattr(p, f), found)
    return iter(found)


def integers(value: Any) -> Iterator[sympy.Expr | int]:
    """Those in the value of a field."""
    found: list[sympy.Expr | int] = []
    _add_integers(value, found)
    return iter(found)


def _add_integers(value: Any, found: list[sympy.Expr | int]) -> None:
    if isinstance(value, (int, sympy.Basic)):
        found.append(value)
    elif isinstance(value, tuple):
        for v in value:
            _add_integers(v, found)
    elif isinstance(value, Condition):
        found += (value.expr, value.modulus)
    elif isinstance(value, Operand):
        found += (value.start, *value.strides)


def index_symbols(p: Part) -> Iterator[sympy.Symbol]:
    """Counters, integer locals and dimensions in these."""
    for e in indices(p):
        if not isinstance(e, int):
            yield from free_symbols(e)


def mentioned(block: Iterable[Statement]) -> set[str]:
    """The names of locals, counters and integer locals that anything in the block uses."""
    found: set[str] = set()
    for p in parts_in(block):
        found.update(used(p))
        found.update(s.name for s in index_symbols(p))
    return found


def conditions(roots: Iterable[Expr]) -> Iterator[Condition]:
    """The conditions of the guards in expressions."""
    for e in subexpressions(roots):
        if "guard" in ROWS[type(e)]:
            yield from e.guard  # type: ignore[attr-defined]


def alike(a: Expr, b: Expr) -> bool:
    """Two expressions that say the same whenever both are there: a name, a number, a test; not what has operands or reads."""
    if a is b:
        return True
    return type(a) is type(b) and _R.VALUE not in ROWS[type(a)].values() and signature(a) == signature(b)


def signature(e: Expr) -> Hashable:
    """Equal for two expressions that say the same; what reads memory says the same as itself alone."""
    row = ROWS[type(e)]
    if _R.READS in row.values():
        return e
    values = (getattr(e, f) for f in row)
    return (type(e), *(tuple(map(_signed, v)) if isinstance(v, tuple) else _signed(v) for v in values))


def _signed(value: Any) -> Any:
    return signature(value) if isinstance(value, Expr) else value


def changed(s: Statement) -> Iterator[str | Buffer]:
    """The locals and the memory that have another value after a statement, inner ones aside."""
    yield from bound(s)
    yield from assigned(s)
    yield from writes(s)


def seen(roots: Iterable[Expr]) -> Iterator[str | Buffer]:
    """The locals, counters and memory that expressions depend on."""
    for e in subexpressions(roots):
        yield from used(e)
        yield from reads(e)
        yield from (s.name for s in index_symbols(e))


# --- memory -----------------------------------------------------------------------------------------------------------


def _buffers(p: Part, which: Mapping[type, tuple[str, ...]]) -> Iterator[Buffer]:
    found: list[Buffer] = []
    for f in which[type(p)]:
        value = getattr(p, f)
        if isinstance(value, Buffer):
            found.append(value)
        elif value is not None:
            found += [v.buffer if isinstance(v, Operand) else v for v in (value if isinstance(value, tuple) else (value,))
                      if v is not None]
    return iter(found)


def buffers(p: Part) -> Iterator[Buffer]:
    """The memory that a statement or expression itself reads, writes or points at."""
    return _buffers(p, _TOUCHED)


def reads(p: Part) -> Iterator[Buffer]:
    """The memory whose values it may see."""
    return _buffers(p, _READS)


def writes(p: Part) -> Iterator[Buffer]:
    """The memory that it may change."""
    return _buffers(p, _WRITES)


def pointed(p: Part) -> Iterator[Buffer]:
    """The memory that may be changed under the name that it binds."""
    return iter(()) if getattr(p, "constant", False) else _buffers(p, _POINTED)


def touched(top: Statement) -> Iterator[Buffer]:
    """The buffers and rows that a statement and those inside it read, write or point at."""
    for p in parts_in((top,)):
        if _TOUCHED[type(p)]:
            yield from _buffers(p, _TOUCHED)


def pointer_targets(block: Iterable[Statement]) -> dict[str, tuple[Buffer, ...]]:
    """What each row may point into."""
    found: dict[str, tuple[Buffer, ...]] = {}
    for s in statements_in(block):
        if isinstance(s, Pointer):
            found[s.name] = tuple(inner for b in buffers(s) for inner in found.get(b.name, (b,)))
    return found


def rows_of(call: Call, rows: Mapping[str, tuple[Buffer, ...]]) -> dict[str, tuple[Buffer, ...]]:
    """What the pointers inside of a function point into, where it is called."""
    pairs = zip(call.function.pointers, call.pointers, strict=True)
    given = {p.name: tuple(behind((o.buffer,), rows)) for p, o in pairs if o is not None}
    inside = {name: tuple(behind(found, given)) for name, found in pointer_targets(call.function.body).items()}
    return {**given, **inside}


def behind(found: Iterable[Buffer], rows: Mapping[str, tuple[Buffer, ...]]) -> Iterator[Buffer]:
    """These buffers, rows as what is behind them."""
    for b in found:
        yield from rows.get(b.name, (b,))


def read_names(block: Iterable[Statement]) -> set[str]:
    """The names of buffers and rows that are ever read; what is behind a row that is read counts as well."""
    block = tuple(block)
    found = {b.name for p in parts_in(block) for b in reads(p)}
    targets = pointer_targets(block)
    return found | {b.name for name in found for b in targets.get(name, ())}


# --- rebuilding -------------------------------------------------------------------------------------------------------

ExprMap = Callable[[Expr], Expr]
IndexMap = Callable[[Any], Any]
BufferMap = Callable[[Buffer], Buffer]
NameMap = Callable[[str], str]


def _mapped(value: Any, role: Role, expr: ExprMap | None, index: IndexMap | None, buffer: BufferMap | None,
            name: NameMap | None) -> Any:
    """The value of a field with the functions of its role applied; itself where nothing changes."""
    if value is None:
        return None
    if isinstance(value, tuple):
        if role is _R.VALUE and expr is not None:
            several = tuple([expr(v) if isinstance(v, Expr) else _mapped(v, role, expr, index, buffer, name) for v in value])
        else:
            several = tuple([_mapped(v, role, expr, index, buffer, name) for v in value])
        return value if all(map(is_, several, value)) else several
    if isinstance(value, Buffer):
        return buffer(value) if buffer is not None else value
    if isinstance(value, Operand):
        at = {f: _mapped(getattr(value, f), _R.INDEX, expr, index, buffer, name) for f in ("start", "strides")}
        at["buffer"] = _mapped(value.buffer, role, expr, index, buffer, name)
        return value if all(new is getattr(value, f) for f, new in at.items()) else replace(value, **at)
    if role in _NAMES:
        if name is None:
            return value
        if isinstance(value, Variable):
            new = name(value.name)
            return value if new == value.name else Variable(value.dtype, new)
        return name(value)
    if isinstance(value, Expr):
        return expr(value) if expr is not None else value
    if isinstance(value, Condition) and index is not None:
        made, modulus = index(value.expr), index(value.modulus)
        return value if made is value.expr and modulus is value.modulus else Condition(value.kind, made, modulus)
    if index is not None and (role is _R.INDEX or isinstance(value, sympy.Basic)):
        return index(value)
    return value


def _own_name(value: Any, name: NameMap | None) -> Any:
    """The (operator, name) pairs of a loop."""
    return value if name is None else tuple((op, name(n)) for op, n in value)


_EXPR, _INDEX, _BUFFER, _NAME, _BLOCK = 1, 2, 4, 8, 16
_SEES = {_R.VALUE: _EXPR | _INDEX, _R.INDEX: _INDEX, _R.BINDS: _NAME | _BUFFER, _R.USES: _NAME, _R.ASSIGNS: _NAME,
         _R.BLOCK: _BLOCK, _R.ASKS: _BUFFER} | dict.fromkeys(_MEMORY, _BUFFER | _INDEX)
"""The functions of `mapped` that a field of this role can change by."""

_CHANGED = [{k: tuple((f, role) for f, role in row.items() if _SEES.get(role, 0) & given) for k, row in ROWS.items()}
            for given in range(2 * _BLOCK)]
_FIELDS = {kind: tuple(f.name for f in fields(kind)) for kind in ROWS}


def _changeable(expr: ExprMap | None, index: IndexMap | None, buffer: BufferMap | None, name: NameMap | None,
                block: object) -> Mapping[type, tuple[tuple[str, Role], ...]]:
    """Of each kind, the fields that these functions can change."""
    given = _EXPR if expr is not None else 0
    given |= _INDEX if index is not None else 0
    given |= _BUFFER if buffer is not None else 0
    given |= _NAME if name is not None else 0
    return _CHANGED[given | _BLOCK if block is not None else given]


def mapped(
    p: P, *, expr: ExprMap | None = None, index: IndexMap | None = None, buffer: BufferMap | None = None,
    name: NameMap | None = None, block: Callable[[tuple[Statement, ...]], tuple[Statement, ...]] | None = None,
) -> P:
    """A statement or expression with these applied to what it holds itself; the same object where nothing changes.

    `expr` to expressions right inside it, `index` to integer expressions, `buffer` to memory, `name` to the names of
    locals and rows (not to index symbols), `block` to blocks.
    """
    return _rebuilt(p, _changeable(expr, index, buffer, name, block)[type(p)], expr, index, buffer, name, block)


def _rebuilt(
    p: P, changeable: Iterable[tuple[str, Role]], expr: ExprMap | None, index: IndexMap | None, buffer: BufferMap | None,
    name: NameMap | None, block: Callable[[tuple[Statement, ...]], tuple[Statement, ...]] | None,
) -> P:
    changes: dict[str, Any] = {}
    for f, role in changeable:
        value = getattr(p, f)
        if role is _R.BLOCK:
            new: Any = value if block is None else block(value)
        elif role is _R.VALUE and expr is not None and isinstance(value, Expr):
            new = expr(value)
        elif f == "reductions":
            new = _own_name(value, name)
        else:
            new = _mapped(value, role, expr, index, buffer, name)
        if new is not value and not (isinstance(new, (str, tuple)) and new == value):
            changes[f] = new
    if not changes:
        return p
    return type(p)(*[changes[f] if f in changes else getattr(p, f) for f in _FIELDS[type(p)]])  # `replace` takes longer


class Rewriting:
    """A change of everything in blocks of statements; what does not change stays the same object.

    `leaf` gets every expression behind its operands, `index`, `buffer` and `name` what `mapped` gives them.
    """

    def __init__(
        self, *, leaf: ExprMap | None = None, index: IndexMap | None = None, buffer: BufferMap | None = None,
        name: NameMap | None = None,
    ) -> None:
        self.leaf, self.index, self.buffer, self.name = leaf, index, buffer, name
        self.changeable = _changeable(self.expr, index, buffer, name, self.block)

    def expr(self, e: Expr) -> Expr:
        fields = self.changeable[type(e)]
        made = _rebuilt(e, fields, self.expr, self.index, self.buffer, self.name, None) if fields else e
        return made if self.leaf is None else self.leaf(made)

    def statement(self, s: Statement) -> Statement:
        fields = self.changeable[type(s)]
        return _rebuilt(s, fields, self.expr, self.index, self.buffer, self.name, self.block) if fields else s

    def block(self, block: Iterable[Statement]) -> tuple[Statement, ...]:
        block = tuple(block)
        made = tuple(map(self.statement, block))
        return block if all(map(is_, made, block)) else made


def renamed(
    block: Iterable[Statement], buffers: Mapping[Buffer, Buffer], names: Mapping[str, str]
) -> tuple[Statement, ...]:
    """The block with other buffers (by identity) and other locals (by name); counters and indices stay."""
    change = Rewriting(buffer=(lambda b: buffers.get(b, b)) if buffers else None,
                       name=(lambda n: names.get(n, n)) if names else None)
    return change.block(block)


def substituted(block: Iterable[Statement], symbols: Mapping[sympy.Basic, sympy.Basic]) -> tuple[Statement, ...]:
    """The block with other expressions for index symbols."""
    known = dict(symbols)

    def index(e: Any) -> Any:
        return e if isinstance(e, int) or known.keys().isdisjoint(free_symbols(e)) else e.xreplace(known)

    return Rewriting(index=index).block(block)


def without(block: Iterable[Statement], drop: Callable[[Statement], bool]) -> tuple[Statement, ...]:
    """The block without some statements of it and of those inside."""
    return tuple(mapped(s, block=lambda inner: without(inner, drop)) for s in block if not drop(s))


def same(a: tuple[Statement, ...], b: tuple[Statement, ...]) -> bool:
    """The same statements, loops and conditions perhaps made anew around them."""
    return len(a) == len(b) and all(x is y or _made_anew(x, y) for x, y in zip(a, b))


def _made_anew(x: Statement, y: Statement) -> bool:
    if type(x) is not type(y) or not _BLOCKS[type(x)]:
        return False
    own = all(getattr(x, f) == getattr(y, f) for f, role in ROWS[type(x)].items() if role is not Role.BLOCK)
    return own and all(same(a, b) for a, b in zip(blocks(x), blocks(y)))


def unclassified() -> list[str]:
    """Fields of kinds that no row mentions, and entries for fields that are not there: none, if this file is right."""
    kinds = {k for k in vars(statements).values() if isinstance(k, type) and issubclass(k, (Expr, Statement))}
    found = [f"{k.__name__}: no row" for k in kinds - {Expr, Statement, Truth} - ROWS.keys()]
    for kind, row in ROWS.items():
        found += [f"{kind.__name__}.{name}" for name in {f.name for f in fields(kind)} ^ row.keys()]
    return sorted(found)


__all__ = [
    "ELEMENTWISE",
    "ELSEWHERE",
    "HARMLESS",
    "NAMELESS",
    "PORTABLE",
    "ROWS",
    "STARTS",
    "STRETCHES",
    "VALUED",
    "Rewriting",
    "Role",
    "alike",
    "assigned",
    "behind",
    "blocks",
    "bound",
    "buffers",
    "changed",
    "conditions",
    "expressions",
    "functions_in",
    "index_symbols",
    "indices",
    "integers",
    "mapped",
    "mentioned",
    "parts_in",
    "pointed",
    "pointer_targets",
    "read_names",
    "reads",
    "renamed",
    "rows_of",
    "seen",
    "signature",
    "statements_in",
    "subexpressions",
    "substituted",
    "touched",
    "unclassified",
    "used",
    "without",
    "writes",
]
