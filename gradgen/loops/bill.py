"""The bill of a module: what it takes of a machine, before anything is compiled.

Bytes of SAVED and WORK are exact; those of a tensor count where it lies.  The stack is an upper bound along the calls
(stack.py).  Flash is an estimate, given by whoever prints the C.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sympy

from gradgen.errors import GradgenError
from gradgen.ir.evaluation import extent_value
from gradgen.ir.limits import Interval, greatest
from gradgen.ir.symbols import Extent, as_extent, free_symbols
from gradgen.loops.counting import counted
from gradgen.loops.heights import greatest_of
from gradgen.loops.program import Program
from gradgen.loops.statements import CONSTANT, SAVED, WORK
from gradgen.target import Target

CALLED = 128  # bytes of stack of what checks arguments and calls
TYPICAL = 64  # an open dimension, where tensors are put in order


@dataclass(frozen=True, slots=True)
class Held:
    """One tensor in a block of memory, from its first to its last moment."""

    name: str
    dtype: str
    shape: tuple[Extent, ...]
    space: str
    offset: Extent
    bytes: Extent
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class FunctionBill:
    """One function: `stack` along its deepest calls, which `through` names."""

    name: str
    work: Extent
    stack: int
    through: tuple[str, ...]
    constants: int
    multiply_adds: Extent
    moved: Extent
    held: tuple[Held, ...]

    def value(self, dims: Mapping[str, int]) -> FunctionBill:
        """At these dimensions."""
        held = tuple(replace(h, shape=tuple(_at(e, dims) for e in h.shape), offset=_at(h.offset, dims),
                             bytes=_at(h.bytes, dims)) for h in self.held)
        return replace(self, work=_at(self.work, dims), multiply_adds=_at(self.multiply_adds, dims),
                       moved=_at(self.moved, dims), held=held)


@dataclass(frozen=True, slots=True)
class Bill:
    """What a module takes: bytes of flash (None where nothing was printed), of SAVED and WORK over the named dimensions, of
    stack, and what each function does."""

    name: str
    target: str
    flash: int | None
    saved: Extent
    work: Extent
    functions: tuple[FunctionBill, ...]

    @property
    def ram(self) -> Extent:
        """SAVED and WORK."""
        return as_extent(sympy.sympify(self.saved) + self.work)

    @property
    def stack(self) -> int:
        """Of the deepest function."""
        return max((f.stack for f in self.functions), default=0)

    @property
    def deepest(self) -> FunctionBill:
        return max(self.functions, key=lambda f: f.stack)

    def value(self, **dims: int) -> Bill:
        """The bill at these dimensions; those that are not named stay.  Raises GradgenError for a name that there is not."""
        sizes = [self.saved, *(e for f in self.functions for e in (f.work, f.multiply_adds, f.moved))]
        known = sorted({s.name for e in sizes if not isinstance(e, int) for s in e.free_symbols})
        for name in dims:
            if name not in known:
                raise GradgenError(f"nothing that {self.name} takes depends on a dimension {name!r}",
                                   hint=f"on {', '.join(known)}" if known else "its sizes are fixed")
        return replace(self, saved=_at(self.saved, dims), work=_at(self.work, dims),
                       functions=tuple(f.value(dims) for f in self.functions))

    def as_dict(self) -> dict[str, Any]:
        """Numbers and texts alone, for JSON."""
        return {
            "target": self.target, "flash": self.flash, "ram": _plain(self.ram), "stack": self.stack,
            "functions": {
                f.name: {"work": _plain(f.work), "stack": f.stack, "constants": f.constants,
                         "multiply_adds": _plain(f.multiply_adds), "bytes_moved": _plain(f.moved)}
                for f in self.functions
            },
        }

    def __str__(self) -> str:
        return table(self)


def bill(name: str, programs: Sequence[Program], target: Target, saved: Extent) -> Bill:
    """The bill of the functions of a module."""
    functions = tuple(map(_function, programs))
    return Bill(name, target.name, None, saved, greatest_of([0, *(f.work for f in functions)]), functions)


def _function(p: Program) -> FunctionBill:
    done = counted(p.statements)
    constants = sum(int(b.size) * b.dtype.itemsize for b in p.buffers if b.space == CONSTANT)  # type: ignore[arg-type]
    return FunctionBill(p.name, p.layout.work, p.layout.stack + CALLED, p.layout.through, constants, done.multiply_adds,
                        done.moved, tuple(_held(p)))


def _held(p: Program) -> Iterable[Held]:
    for b in p.buffers:
        if b.space in (WORK, SAVED):
            first, last = p.layout.life.get(b, (0, 0))
            size = as_extent(sympy.sympify(b.size) * b.dtype.itemsize)
            yield Held(b.name, b.dtype.name, b.shape, b.space, p.layout.offsets[b], size, first, last)


def charges(b: Bill, known: Mapping[str, Interval]) -> dict[str, tuple[int | None, str]]:
    """For `Budget.check`, where the named dimensions are in these intervals."""
    most = max((h for f in b.functions for h in f.held), key=lambda h: _size(h.bytes), default=None)
    parts = f"SAVED {said(b.saved)} and WORK {said(b.work)} bytes"
    if most is not None:
        parts += f"; {most.name} of {most.dtype}[{', '.join(said(e) for e in most.shape)}] takes most of it"
    return {
        "flash": (b.flash, "an estimate of code and constants"),
        "ram": (greatest(b.ram, known), parts),
        "stack": (b.stack, f"at most, in {' -> '.join((b.deepest.name, *b.deepest.through))}"),
    }


# --- text ------------------------------------------------------------------------------------------------------------


def table(b: Bill, tensors: int = 12) -> str:
    """The bill for people: totals, functions, and the tensors of WORK and SAVED that take most."""
    flash = "?" if b.flash is None else f"about {b.flash:,} bytes"
    lines = [
        f"{b.name} for {b.target}",
        f"  flash  {flash}",
        f"  SAVED  {said(b.saved)} bytes",
        f"  WORK   {said(b.work)} bytes",
        f"  stack  at most {b.stack:,} bytes: {' -> '.join((b.deepest.name, *b.deepest.through))}",
        "",
    ]
    rows = [("function", "multiply-adds", "bytes moved", "stack", "WORK")]
    rows += [(f.name, said(f.multiply_adds), said(f.moved), f"{f.stack:,}", said(f.work)) for f in b.functions]
    lines += _columns(rows)
    for f in b.functions:
        held = sorted((h for h in f.held if h.space == WORK), key=lambda h: -_size(h.bytes))
        if held:
            lines += ["", f"WORK of {f.name}, the tensors that take most"]
            lines += _columns([("tensor", "", "bytes", "from", "to")] + [_row(h) for h in held[:tensors]])
    saved = {h.name: h for f in b.functions for h in f.held if h.space == SAVED}
    if saved:
        lines += ["", "SAVED, the tensors that take most"]
        ordered = sorted(saved.values(), key=lambda h: -_size(h.bytes))
        lines += _columns([("tensor", "", "bytes")] + [_row(h)[:3] for h in ordered[:tensors]])
    return "\n".join(lines)


def _row(h: Held) -> tuple[str, ...]:
    return h.name, f"{h.dtype}[{', '.join(said(e) for e in h.shape)}]", said(h.bytes), str(h.first), str(h.last)


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
    return ["  " + "  ".join(
        text.ljust(w) if k == 0 or text.endswith("]") else text.rjust(w)
        for k, (text, w) in enumerate(zip(r, widths, strict=True))).rstrip() for r in rows]


def said(extent: Extent) -> str:
    """A number with its thousands apart, or a formula."""
    return f"{extent:,}" if isinstance(extent, int) else _text(extent)


def _size(extent: Extent) -> int:
    return extent_value(extent, {} if isinstance(extent, int) else dict.fromkeys(free_symbols(extent), TYPICAL))


def _at(extent: Extent, dims: Mapping[str, int]) -> Extent:
    if isinstance(extent, int):
        return extent
    found = as_extent(extent.xreplace({s: sympy.Integer(dims[s.name]) for s in extent.free_symbols if s.name in dims}).doit())
    return found if isinstance(found, int) or found.free_symbols else int(sympy.ceiling(found))


def _plain(extent: Extent) -> int | str:
    return extent if isinstance(extent, int) else _text(extent)


@lru_cache(maxsize=1024)
def _text(extent: sympy.Expr) -> str:
    """Manifest, header and the bill itself say the same sizes."""
    return str(extent)


__all__ = ["Bill", "FunctionBill", "Held", "bill", "charges", "said", "table"]
