"""Memory whose every element knows whether somebody wrote it, and who.

An access outside an array, a read of an element that nobody wrote, a write to what is const or to what is not there, and a
dependence between iterations that are said to be independent are each a `Fault`, which names the statement, the buffer and
the index.  Elements are Python integers, truth values and NumPy's floating scalars.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradgen.errors import GradgenError
from gradgen.ir.dtypes import DType, bool_

NOBODY = object()
"""What an element holds that nobody wrote."""


class Fault(GradgenError):
    """The emitted C would do what C, or the contract of the emitted functions, does not allow."""


class Watch:
    """Independent iterations: what one of them writes, no other may touch."""

    def __init__(self, loop: str) -> None:
        self.loop = loop
        self.turn = 0
        self.wrote: dict[tuple[object, int], int] = {}
        self.read: dict[tuple[object, int], int] = {}  # the last iteration that read it, -1 for several

    def note(self, array: Array, index: int, write: bool, statement: str) -> None:
        cell = array.place(index)
        writer = self.wrote.get(cell, self.turn)
        reader = self.read.get(cell, self.turn)
        if writer != self.turn or (write and reader != self.turn):
            first = f"iteration {writer} wrote" if writer != self.turn else "another iteration read"
            raise Fault(f"iteration {self.turn} {'writes' if write else 'reads'} {array.name}[{index}], which {first}",
                        where=f"{statement}\nin {self.loop}")
        if write:
            self.wrote[cell] = self.turn
        else:
            self.read[cell] = self.turn if reader == self.turn else -1


class Machine:
    """What all memory of one run shares: the texts of statements, and the independent loops that are under way."""

    def __init__(self, statements: list[str], set_grad: bool) -> None:
        self.statements = statements
        self.set_grad = set_grad
        self.watches: list[Watch] = []
        self.arrays = 0

    def independent(self, statement: int) -> Watch:
        watch = Watch(self.statements[statement])
        self.watches.append(watch)
        return watch

    def joined(self) -> None:
        self.watches.pop()

    def fault(self, what: str, statement: int) -> Fault:
        return Fault(what, where=self.statements[statement])


class Array:
    """`count` elements of one type that overlap nothing else."""

    there = True

    def __init__(self, machine: Machine, name: str, dtype: DType, count: int, constant: bool = False) -> None:
        self.machine, self.name, self.dtype, self.count, self.constant = machine, name, dtype, count, constant
        self.cells: list[Any] = [NOBODY] * count
        machine.arrays += 1
        self.number = machine.arrays

    def fill_from(self, values: np.ndarray) -> None:
        """The caller's values."""
        self.cells = elements_of(values, self.dtype)

    def get(self, index: int, statement: int) -> Any:
        if not 0 <= index < self.count:
            raise self.outside(index, statement, "reads")
        value = self.cells[index]
        if value is NOBODY:
            raise self.machine.fault(f"reads {self.name}[{index}], which nobody wrote", statement)
        for watch in self.machine.watches:
            watch.note(self, index, False, self.machine.statements[statement])
        return value

    def put(self, index: int, value: Any, statement: int) -> None:
        if not 0 <= index < self.count:
            raise self.outside(index, statement, "writes")
        if self.constant:
            raise self.machine.fault(f"writes {self.name}[{index}], which is const", statement)
        for watch in self.machine.watches:
            watch.note(self, index, True, self.machine.statements[statement])
        self.cells[index] = value

    def poison(self) -> None:
        self.cells = [NOBODY] * self.count

    def outside(self, index: int, statement: int, verb: str) -> Fault:
        return self.machine.fault(f"{verb} {self.name}[{index}], which has {self.count} elements", statement)

    def row(self, start: int, name: str, constant: bool, statement: int) -> Row:
        if not 0 <= start <= self.count:
            raise self.outside(start, statement, "points to")
        return Row(self, start, name, constant)

    def place(self, index: int) -> tuple[object, int]:
        """The memory that the element lies in, and where in it, in bytes."""
        return self.number, index * self.dtype.itemsize

    def written(self) -> list[int]:
        """The elements that hold a value."""
        return [k for k, value in enumerate(self.cells) if value is not NOBODY]

    def values(self) -> list[Any]:
        """The elements, where all are written."""
        return list(self.cells)


class Block:
    """Raw memory that several arrays share in turn: for each byte the element that was written over it last."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.bytes: list[tuple[Planned, int, Any] | None] = [None] * size


class Planned(Array):
    """An array at a planned address; what another array left there is not its own."""

    def __init__(self, machine: Machine, name: str, dtype: DType, count: int, block: Block, offset: int) -> None:
        super().__init__(machine, name, dtype, 0)
        self.count, self.block, self.offset = count, block, offset
        if offset % dtype.itemsize or offset < 0 or offset + count * dtype.itemsize > block.size:
            raise Fault(f"{name} lies at bytes {offset} to {offset + count * dtype.itemsize} of {block.name}, which has "
                        f"{block.size}")

    def get(self, index: int, statement: int) -> Any:
        if not 0 <= index < self.count:
            raise self.outside(index, statement, "reads")
        size = self.dtype.itemsize
        at = self.offset + index * size
        cell = self.block.bytes[at]
        if cell is None or not self.holds(index):
            held = next((c for c in self.block.bytes[at : at + size] if c is not None), None)
            what = "nobody wrote" if held is None else f"nobody wrote since {held[0].name}[{held[1]}] is there"
            raise self.machine.fault(f"reads {self.name}[{index}], which {what}", statement)
        for watch in self.machine.watches:
            watch.note(self, index, False, self.machine.statements[statement])
        return cell[2]

    def put(self, index: int, value: Any, statement: int) -> None:
        if not 0 <= index < self.count:
            raise self.outside(index, statement, "writes")
        for watch in self.machine.watches:
            watch.note(self, index, True, self.machine.statements[statement])
        size = self.dtype.itemsize
        at = self.offset + index * size
        self.block.bytes[at : at + size] = [(self, index, value)] * size

    def written(self) -> list[int]:
        return [k for k in range(self.count) if self.holds(k)]

    def values(self) -> list[Any]:
        size = self.dtype.itemsize
        cells = [self.block.bytes[self.offset + k * size] for k in range(self.count)]
        return [c[2] for c in cells if c is not None]

    def holds(self, index: int) -> bool:
        """Whether the element is there that was last written to it, whole."""
        size = self.dtype.itemsize
        at = self.offset + index * size
        cell = self.block.bytes[at]
        own = cell is not None and cell[0] is self and cell[1] == index
        return own and self.block.bytes[at : at + size] == [cell] * size

    def poison(self) -> None:
        self.block.bytes[self.offset : self.offset + self.count * self.dtype.itemsize] = (
            [None] * (self.count * self.dtype.itemsize))

    def place(self, index: int) -> tuple[object, int]:
        return self.block, self.offset + index * self.dtype.itemsize


class Row:
    """A pointer into an array."""

    there = True

    def __init__(self, array: Array, start: int, name: str, constant: bool) -> None:
        self.source, self.start, self.name, self.constant = array, start, name, constant
        self.dtype = array.dtype

    def get(self, index: int, statement: int) -> Any:
        return self.source.get(self.start + index, statement)

    def put(self, index: int, value: Any, statement: int) -> None:
        if self.constant:
            raise self.source.machine.fault(f"writes {self.name}[{index}], which is const", statement)
        self.source.put(self.start + index, value, statement)

    def row(self, start: int, name: str, constant: bool, statement: int) -> Row:
        return self.source.row(self.start + start, name, constant or self.constant, statement)

    def place(self, index: int) -> tuple[object, int]:
        return self.source.place(self.start + index)

    def poison(self) -> None:
        self.source.poison()


class Missing:
    """A NULL pointer."""

    there = False

    def __init__(self, machine: Machine, name: str, dtype: DType) -> None:
        self.machine, self.name, self.dtype = machine, name, dtype

    def get(self, index: int, statement: int) -> Any:
        raise self.machine.fault(f"reads {self.name}[{index}], which is NULL", statement)

    def put(self, index: int, value: Any, statement: int) -> None:
        raise self.machine.fault(f"writes {self.name}[{index}], which is NULL", statement)

    def row(self, start: int, name: str, constant: bool, statement: int) -> Missing:
        if start:
            raise self.machine.fault(f"points to {self.name} + {start}, which is NULL", statement)
        return Missing(self.machine, name, self.dtype)

    def place(self, index: int) -> tuple[object, int]:
        return 0, index

    def poison(self) -> None:
        raise Fault(f"{self.name} is NULL and nevertheless used")


Pointer = Array | Row | Missing


def elements_of(values: np.ndarray, dtype: DType) -> list[Any]:
    """The elements of an array in row-major order."""
    flat = np.asarray(values, dtype.numpy).ravel()
    return list(flat) if dtype.is_floating_point else [bool(v) for v in flat] if dtype is bool_ else flat.tolist()
