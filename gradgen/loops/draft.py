"""Draft: a procedure between the emitter and the finished Program; what every pass over statements takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gradgen.ir.symbols import Extent
from gradgen.loops.procedure import Procedure
from gradgen.loops.statements import Buffer, Part, Program, Statement


@dataclass(frozen=True, eq=False)
class Draft:
    """`procedure` is what was asked for, before any pass: its outputs and given nodes say what the statements must do.

    `fresh` makes names.  `work` and `saved` are bytes, known once the memory is planned (`work` is None before).
    """

    procedure: Procedure
    fresh: Callable[[str], str]
    buffers: tuple[Buffer, ...]
    statements: tuple[Statement, ...]
    work: Extent | None = None
    saved: Extent = 0
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    def program(self) -> Program:
        """The Program, when nothing is left to decide."""
        if self.work is None:
            raise ValueError(f"{self.procedure.name}: the memory is not planned")
        return Program(self.procedure.name, self.buffers, self.statements, self.work, self.saved, self.notes, self.parts)
