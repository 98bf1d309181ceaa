"""One function, scheduled: what is left to do is to print it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gradgen.ir.nodes import Node
from gradgen.loops.describe import describe
from gradgen.loops.statements import NEST, Buffer, Function, Layout, Statement
from gradgen.loops.walk import functions_in, statements_in
from gradgen.target import NATIVE, Target


@dataclass(frozen=True, eq=False)
class Program:
    """One function, scheduled: its buffers and statements, where they lie, and what the passes did."""

    name: str
    buffers: tuple[Buffer, ...]
    statements: tuple[Statement, ...]
    layout: Layout = field(default_factory=Layout)
    notes: tuple[str, ...] = field(default=())
    names: Mapping[Node, str] = field(default_factory=dict)  # what the C calls values that it has
    target: Target = NATIVE
    size: bool = False  # code is dear, time is not

    def describe(self) -> str:
        """The program as an indented listing, with the decisions of each pass."""
        return describe(self)

    @property
    def functions(self) -> tuple[Function, ...]:
        """What it calls, and what that calls, before its callers."""
        return functions_in(self.statements)

    @property
    def nests(self) -> tuple[Function, ...]:
        """The functions that are made of statements."""
        return tuple(f for f in self.functions if f.kind == NEST)

    def walk(self) -> Iterator[Statement]:
        """Every statement, outer before inner, those of functions that are made of statements last."""
        return statements_in((*self.statements, *(s for f in self.nests for s in f.body)))
