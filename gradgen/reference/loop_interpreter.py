"""The interpreter of loops: runs the statements of one procedure at any point between the emitter and the final Program.

Memory is poisoned at the start and every access is checked (`cells`), so that what it runs without a `Fault` touches only
what the caller gave, and reads only what somebody wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradgen.ir.symbols import Extent
from gradgen.loops.procedure import ACCUMULATE, Procedure
from gradgen.loops.statements import ARGUMENT, CONSTANT, SAVED, WORK, Buffer, Layout, Statement
from gradgen.reference.cells import NOBODY, Array, Block, Fault, Machine, Missing, Planned, elements_of
from gradgen.reference.index_python import NAMES, index_python, local
from gradgen.reference.translation import translate
from gradgen.reference.whole import Failed

OK = "GRADGEN_OK"


@dataclass(frozen=True)
class Outcome:
    """The status, and where it is OK the arrays that were written by name, and what is in SAVED by slot."""

    status: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    saved: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One call: `dims` by name, `values` of given arguments (None: NULL), results that are `unwanted` (NULL).

    `old` is what accumulated results hold before (nan where they are set: it may be read, and must not count), `saved` what
    forward left (None: SAVED is NULL; empty: a fresh block).
    """

    dims: Mapping[str, int]
    values: Mapping[str, np.ndarray | None]
    old: Mapping[str, np.ndarray] = field(default_factory=dict)
    unwanted: frozenset[str] = frozenset()
    saved: Mapping[str, list[Any]] | None = field(default_factory=dict)
    set_grad: bool = False


def extent_number(extent: Extent, dims: Mapping[str, int]) -> int:
    """An extent for given dimensions."""
    if isinstance(extent, int):
        return extent
    return int(eval(index_python(extent), dict(NAMES), {local(d): n for d, n in dims.items()}))


class Loops:
    """The statements of a procedure, ready to run.

    `layout` says where the buffers are in WORK and SAVED; without, each is memory of its own.
    Raises Fault where a name is not in scope.
    """

    def __init__(
        self, procedure: Procedure, statements: Sequence[Statement], buffers: Iterable[Buffer] = (),
        layout: Layout | None = None,
    ) -> None:
        self.procedure, self.layout = procedure, layout
        self.made = translate(statements)
        self.buffers = dict(self.made.buffers)
        for b in buffers:  # what nothing mentions must have its place too
            self.buffers.setdefault(b.name, b)
        self.modes = {o.place.name: o.mode for o in procedure.outputs}
        self.onto = {o.onto.name: o.place.name for o in procedure.outputs if o.onto is not None}

    def text(self) -> str:
        """What decides all that it does, the places of its buffers aside."""
        numbers = [f"{name} {value!r}" for name, value in self.made.names.items() if name.startswith("number")]
        return "\n".join([self.made.text(), *numbers])

    def run(self, request: Request) -> Outcome:
        """One call."""
        machine = Machine(self.made.statements, request.set_grad)
        memory = self.memory(machine, request)
        try:
            with np.errstate(all="ignore"):
                self.made.names["run"](machine, request.dims, memory)
        except Failed as failed:
            for name in self.onto:
                before = request.values[name]
                kept = name not in memory or before is None
                if not kept and not np.array_equal(memory[name].values(), np.ravel(before), equal_nan=True):  # type: ignore[arg-type]
                    raise Fault(f"fails with {failed.status}, and has changed {name}", where=self.procedure.name) from None
            return Outcome(failed.status)
        return self.results(memory)

    def memory(self, machine: Machine, request: Request) -> dict[str, Any]:
        blocks: dict[str, Block] = {}
        if self.layout is not None:
            for space, size in ((WORK, self.layout.work), (SAVED, self.layout.saved)):
                blocks[space] = Block(space.upper(), extent_number(size, request.dims))
        return {name: self.array(machine, request, b, blocks) for name, b in self.buffers.items()}

    def array(self, machine: Machine, request: Request, b: Buffer, blocks: Mapping[str, Block]) -> Array | Missing:
        count = extent_number(b.size, request.dims)
        if b.space == CONSTANT:
            array = Array(machine, b.name, b.dtype, count, constant=True)
            array.fill_from(np.asarray(b.values))
            return array
        if b.space == ARGUMENT:
            return self.argument(machine, request, b, count)
        if b.space == SAVED and request.saved is None:
            return Missing(machine, b.name, b.dtype)
        if self.layout is None or b not in self.layout.offsets:
            array = Array(machine, b.name, b.dtype, count)
        else:
            at = extent_number(self.layout.offsets[b], request.dims)
            array = Planned(machine, b.name, b.dtype, count, blocks[b.space], at)
        if b.space == SAVED and b.given and request.saved is not None:
            for k, value in enumerate(request.saved.get(_slot(b), ())):
                if value is not NOBODY:
                    array.put(k, value, 0)
            array.constant = True
        return array

    def argument(self, machine: Machine, request: Request, b: Buffer, count: int) -> Array | Missing:
        array = Array(machine, b.name, b.dtype, count, constant=b.given and b.name not in self.onto)
        if b.given:
            value = request.values.get(b.name)
            if value is None:
                return Missing(machine, b.name, b.dtype)
            array.fill_from(value)
        elif b.name in request.unwanted:
            return Missing(machine, b.name, b.dtype)
        elif self.modes.get(b.name) == ACCUMULATE:
            old = request.old[b.name]
            array.fill_from(np.full(np.shape(old), np.nan) if request.set_grad and b.dtype.is_floating_point else old)
        if len(array.cells) != count:
            raise Fault(f"{b.name} has {len(array.cells)} elements, its buffer {count}")
        return array

    def results(self, memory: Mapping[str, Any]) -> Outcome:
        """What was written; every element of what is wanted must have been."""
        found = Outcome(OK)
        for b in self.buffers.values():
            array = memory[b.name]
            if b.name in self.onto:
                found.arrays[self.onto[b.name]] = np.array(array.values(), b.dtype.numpy)
            if b.given or b.space not in (ARGUMENT, SAVED) or not array.there:
                continue
            missing = set(range(array.count)) - set(array.written())
            if missing:
                raise Fault(f"nobody wrote {b.name}[{min(missing)}], which has {array.count} elements",
                            where=f"{self.procedure.name}")
            if b.space == SAVED:
                found.saved[_slot(b)] = array.values()
            else:
                found.arrays[b.name] = np.array(array.values(), b.dtype.numpy)
        return found


def _slot(b: Buffer) -> str:
    """What forward and backward know a value in SAVED by, whatever the C calls it."""
    return b.name if b.place is None else b.place.name


__all__ = ["OK", "Fault", "Loops", "Outcome", "Request", "elements_of", "extent_number"]
