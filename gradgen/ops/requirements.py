"""What operations ask of extents: an error in PyTorch's words where an extent is known, a condition where it is a name.

`require(n - size, RuntimeError, "maximum size is {n} but size is {size}", n=n, size=size)` says that n must be at least size.
While a function is traced, what is asked of named dimensions is collected and becomes part of the program: the emitted
functions check it, and the generated package raises the same error in the same words.
"""

from __future__ import annotations

import builtins
import linecache
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import Any

import sympy

from gradgen.ir.assumptions import Facts, Requirement, facts_of, follows, impossible, plain
from gradgen.ir.graph import Location
from gradgen.ir.guards import EQ, GE, MOD, NE, Condition
from gradgen.ir.inequalities import proves
from gradgen.ir.symbols import Extent, as_extent
from gradgen.ops.tensors import current


@dataclass
class Collector:
    """What one trace states of named dimensions, and what its operations ask."""

    stated: tuple[Requirement, ...] = ()
    asked: list[Requirement] = field(default_factory=list)

    @property
    def assumed(self) -> Facts:
        return facts_of(self.stated)


class _Open(threading.local):
    collectors: tuple[Collector, ...] = ()


_open = _Open()


@contextmanager
def collecting(stated: tuple[Requirement, ...]) -> Iterator[Collector]:
    """Collects what is asked of named dimensions, of which `stated` holds, until the end of the block."""
    before = _open.collectors
    own = Collector((*(before[-1].stated if before else ()), *stated))
    _open.collectors = (*before, own)
    try:
        yield own
    finally:
        _open.collectors = before


@contextmanager
def apart() -> Iterator[Collector]:
    """Collects what an operation asks of its operands, whoever uses it: nothing stated outside counts."""
    before, own = _open.collectors, Collector()
    _open.collectors = (own,)
    try:
        yield own
    finally:
        _open.collectors = before


def ask_again(requirements: Iterable[Requirement], *, here: bool = False) -> None:
    """Notes what an operation or a function asks that is used here; `here`: at the line that runs now."""
    if not _open.collectors:
        return
    own = _open.collectors[-1]
    for r in requirements:
        if impossible(r.condition, own.assumed):
            raise getattr(builtins, r.error)("".join(map(str, r.message)))
        own.asked.append(replace(r, where=_place()) if here else r)


# --- asking ------------------------------------------------------------------------------------------------------------


def require(excess: Extent, error: type[Exception], message: str, /, **values: Any) -> None:
    """Asks for `excess >= 0`: raises `error` where that is known not to hold, notes it where it depends on dimensions.

    `message` is a format string over `values`, in which extents may be names.
    """
    if isinstance(excess, int) or excess.is_Integer:
        if excess < 0:
            raise error(message.format(**values))
        return
    _ask(Condition(GE, sympy.expand(excess)), error, message, values)


def require_equal(a: Extent, b: Extent, error: type[Exception], message: str, /, **values: Any) -> None:
    """Asks for `a == b`, likewise."""
    if isinstance(a, int) and isinstance(b, int):
        if a != b:
            raise error(message.format(**values))
        return
    _ask(Condition(EQ, sympy.expand(sympy.sympify(a) - b)), error, message, values)


def require_different(a: Extent, b: Extent, error: type[Exception], message: str, /, **values: Any) -> None:
    """Asks for `a != b`, likewise."""
    if isinstance(a, int) and isinstance(b, int):
        if a == b:
            raise error(message.format(**values))
        return
    _ask(Condition(NE, sympy.expand(sympy.sympify(a) - b)), error, message, values)


def require_multiple(extent: Extent, of: int, error: type[Exception], message: str, /, **values: Any) -> None:
    """Asks for `extent % of == 0`, likewise."""
    if isinstance(extent, int):
        if extent % of:
            raise error(message.format(**values))
        return
    _ask(Condition(MOD, sympy.expand(extent), of), error, message, values)


def _ask(condition: Condition, error: type[Exception], message: str, values: dict[str, Any]) -> None:
    if not _open.collectors:  # nothing is traced: what is unproved is found when C is made
        if impossible(condition, ()):
            raise error(message.format(**values))
        return
    own, condition = _open.collectors[-1], plain(condition)
    if follows(condition, ()):
        return
    if impossible(condition, own.assumed):
        raise error(message.format(**values))
    own.asked.append(Requirement(condition, error.__name__, _parts(message, values), _place()))


def _parts(message: str, values: dict[str, Any]) -> tuple[str | sympy.Expr, ...]:
    """The message as text and expressions by turns."""
    found: list[sympy.Expr] = []

    def mark(value: Any) -> Any:
        if isinstance(value, Joined):
            return Joined([mark(v) for v in value.items], value.separator)
        if isinstance(value, (tuple, list)):
            return type(value)([mark(v) for v in value])
        if not isinstance(value, sympy.Expr):
            return value
        found.append(value)
        return _Mark(len(found) - 1)

    text = message.format(**{k: mark(v) for k, v in values.items()})
    pieces = text.split("\0")
    return tuple(found[int(p)] if k % 2 else p for k, p in enumerate(pieces))


@dataclass(frozen=True)
class Joined:
    """Extents in a message, with their own separator."""

    items: list[Any]
    separator: str

    def __str__(self) -> str:
        return self.separator.join(map(str, self.items))


class _Mark:
    """An expression in a text, also where it stands in a list."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"\0{self.number}\0"


def _place() -> Location | None:
    """The user's line, and what stands there: the expression itself where it is short."""
    origin = current.tensors.call_site()
    if origin is None:
        return None
    code, instruction = origin
    file, line, text = code.co_filename, code.co_firstlineno, ""
    start, end, left, right = _position(code, instruction)
    if start is not None:
        line = start
        if start == end:
            encoded = linecache.getline(file, start).encode()
            text = encoded[left:right].decode(errors="replace").strip()
    return Location(file.replace("\\", "/").rpartition("/")[2], line, text if 0 < len(text) <= _LONGEST else "")


_LONGEST = 60


def _position(code: CodeType, instruction: int) -> tuple[int | None, int | None, int | None, int | None]:
    for k, position in enumerate(code.co_positions()):
        if 2 * k == instruction:
            return position
    return None, None, None, None


# --- deciding ----------------------------------------------------------------------------------------------------------


def settled(extent: Extent) -> Extent:
    """The extent with every Min, Max and floor that what is stated of the dimensions decides: Min(3, N) is 3 for N >= 3."""
    if not isinstance(extent, sympy.Expr) or not extent.has(sympy.Min, sympy.Max, sympy.floor) or not _open.collectors:
        return extent
    facts = _open.collectors[-1].assumed
    return as_extent(extent.replace(
        lambda e: isinstance(e, (sympy.Min, sympy.Max, sympy.floor)), lambda e: _decided(e, facts)))


def _decided(e: sympy.Expr, facts: Facts) -> sympy.Expr:
    if isinstance(e, sympy.floor):
        terms = sympy.Add.make_args(sympy.expand(e.args[0]))
        whole = sympy.Add(*(t for t in terms if t.is_integer or is_whole(t, facts)))
        return whole + sympy.floor(e.args[0] - whole) if whole != 0 else e
    sign = 1 if isinstance(e, sympy.Max) else -1
    for chosen in e.args:
        if all(proves(facts, sign * (chosen - other)) for other in e.args if other is not chosen):
            return chosen
    return e


def dim_hint(*extents: Any) -> str:
    """For the end of a message: what to state about the named dimensions, were it true; nothing where all are known."""
    names = sorted({s.name for e in extents if isinstance(e, sympy.Expr) for s in e.free_symbols})
    if not names:
        return ""
    open_ = [e for e in extents if isinstance(e, sympy.Expr)]
    bounds = [int(a) for e in open_ for m in e.atoms(sympy.Min) for a in m.args if a.is_Integer]
    denominators = {int(d) for e in open_ if (d := sympy.denom(sympy.together(e))).is_Integer} - {1}
    known = f"min={max(bounds)}" if bounds else f"multiple={max(denominators)}" if denominators else "min=, max=, multiple="
    return f'\n  hint: if it holds, say so where the argument is described: gg.spec(gg.dim("{names[0]}", {known}), ...)'


def is_whole(e: sympy.Expr, facts: Facts | None = None) -> bool:
    """True where the quotient `e` of an extent by a number is an integer by what is stated: N/4 where 4 divides N."""
    if facts is None:
        facts = _open.collectors[-1].assumed if _open.collectors else ()
    numerator, denominator = sympy.fraction(sympy.together(e))
    if not denominator.is_Integer:
        return False
    if follows(Condition(MOD, sympy.expand(numerator), denominator), facts):
        return True
    sizes = possible_sizes(numerator)
    return sizes is not None and all(v % int(denominator) == 0 for v in sizes)


MOST = 1024
"""Of more sizes than this a range decides nothing: each is looked at."""


def possible_sizes(extent: Extent) -> tuple[int, ...] | None:
    """Every value of an extent of one dimension that what is stated of it leaves; None where there are too many."""
    if isinstance(extent, int) or extent.is_Integer:
        return (int(extent),)
    if len(extent.free_symbols) != 1 or not _open.collectors:
        return None
    (n,) = extent.free_symbols
    least, most, step = 0, math.inf, 1
    for condition in (r.condition for r in _open.collectors[-1].stated):
        if condition.kind == MOD and condition.expr == n:
            step = math.lcm(step, int(condition.modulus))
        elif condition.kind == GE and (condition.expr - n).is_Integer:
            least = max(least, int(n - condition.expr))
        elif condition.kind == GE and (condition.expr + n).is_Integer:
            most = min(most, int(condition.expr + n))
    if (most - least) / step >= MOST:
        return None
    values = [extent.subs(n, v) for v in range(-(-least // step) * step, int(most) + 1, step)]
    return tuple(sorted({int(v) for v in values})) if all(v.is_Integer for v in values) else None


def decided_parts(extent: Extent, cut: Callable[[int], Sequence[int]]) -> tuple[Extent, ...] | None:
    """The sizes of the parts that `cut(size)` gives of an axis, where what is stated of it decides how many there are, and of
    each its size or how much the rest is; None where it does not."""
    sizes = possible_sizes(extent)
    if not sizes:
        return None
    cuts = [tuple(cut(v)) for v in sizes]
    if any(len(c) != len(cuts[0]) for c in cuts):
        return None
    found: list[Extent] = []
    for k, first in enumerate(cuts[0]):
        if all(c[k] == first for c in cuts):
            found.append(first)
        elif all(v - c[k] == sizes[0] - first for v, c in zip(sizes, cuts)):
            found.append(extent - (sizes[0] - first))
        else:
            return None
    return tuple(found)


def assumed() -> Facts:
    """What is stated of the named dimensions of the innermost trace."""
    return _open.collectors[-1].assumed if _open.collectors else ()
