"""Draft: a procedure between the emitter and the finished Program; what every pass over statements takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gradgen.ir.nodes import Node
from gradgen.loops.procedure import Procedure
from gradgen.loops.program import Program
from gradgen.loops.statements import Buffer, Layout, Statement


@dataclass(frozen=True, eq=False)
class Draft:
    """`procedure` is what was asked for, before any pass: its outputs and given nodes say what the statements must do.

    `fresh` makes names.  `layout` is None before the memory is planned; `names` are what values of nodes are
    called in the statements, as far as they are there.
    """

    procedure: Procedure
    fresh: Callable[[str], str]
    buffers: tuple[Buffer, ...]
    statements: tuple[Statement, ...]
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    names: Mapping[Node, str] = field(default_factory=dict)

    def program(self) -> Program:
        """The Program, when nothing is left to decide."""
        if self.layout is None:
            raise ValueError(f"{self.procedure.name}: the memory is not planned")
        return Program(self.procedure.name, self.buffers, self.statements, self.layout, self.notes, self.names)
