"""States: what a traced function replaces outside of itself is a result of the program.

BatchNorm's running mean, a counter, a hidden state that `forward` keeps: tensors without gradient that the function reads
and changes in place, or attributes of a Module in whose place it puts other tensors.  The program takes the old value and
gives the new one; the tensors and modules themselves are put back when the trace ends (`Border.remember`).

Which they are is known when the function has run.  It runs once more then, with a symbol in each of them from the start, so
that every read of it, also through a view, is one of the program's input.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gradgen.eager.tensor import Tensor
from gradgen.errors import InvalidNameError, TraceError
from gradgen.ir.nodes import Input
from gradgen.record.records import Record, symbol_leaf
from gradgen.trace import tape
from gradgen.trace.border import Border, Constants, restored

PASSES = 8
"""A state that only shows when others are symbols is found in the next run; nobody has so many layers of them."""

T = TypeVar("T")


@dataclass(eq=False)
class Held:
    """One state: `holder` is the tensor that has it, all of its storage; `owner` and `attribute` say where the function puts
    another tensor in its place, None where it changes this one."""

    holder: Tensor
    owner: Any = None
    attribute: str = ""
    name: str = ""


class Replacing(Border):
    """A border at which tensors from outside may be changed: they are states, `held` those that are known already."""

    puts_back_numbers = True

    def __init__(self, function: Callable[..., Any], held: Sequence[Held] = ()) -> None:
        super().__init__(function)
        self.held = held
        self._kept: set[int] = set()
        self._set: dict[tuple[int, str], Held] = {}
        self._named: dict[str, tuple[Tensor, Record]] = {}
        self._places: dict[int, tuple[Any, str]] = {}

    def __enter__(self) -> Any:
        super().__enter__()
        for one in self.held:
            cell = one.holder._cell
            self.remember(restored(cell))
            cell.owner, cell.record = None, self.stand_in(one)
            cell.generation += 1
            self.changed[cell] = one.holder
        return self

    def become(self, tensor: Tensor, name: str, node: Input) -> None:
        """`tensor` is the symbol `node` until the border closes, with or without a gradient as that says."""
        self.remember(functools.partial(_put_back, tensor, dict(tensor.__dict__)))
        fresh = Tensor._from_record(symbol_leaf(node, requires_grad=node.requires_grad))
        users = {k: v for k, v in tensor.__dict__.items() if not k.startswith("_")}
        tensor.__dict__.clear()
        tensor.__dict__.update(users | fresh.__dict__)
        self._named[name] = self.argument(tensor), tensor._record

    def renewed(self) -> dict[str, Record]:
        """The new values of those that became symbols and were changed since, or had another tensor put in their place.

        TraceError for one with a gradient: that would belong to another value.
        """
        found: dict[str, Record] = {}
        for name, (tensor, before) in self._named.items():
            now = tensor._cell.current()
            if id(tensor) in self._places:
                owner, attribute = self._places[id(tensor)]
                now = self.result(getattr(owner, attribute))
            if now is before:
                continue
            if before.requires_grad:
                raise TraceError(f"{name} requires a gradient and is changed, which would then belong to another value",
                                 hint="update parameters outside of the traced function")
            found[name] = tape.stopped(_of_one_kind(now, before.spec, name))
        return found

    def stand_in(self, held: Held) -> Record:
        """The record of the state when the function begins."""
        raise NotImplementedError

    def may_change(self, tensor: Tensor) -> bool:
        base = tensor._base if tensor._base is not None else tensor
        return not (tensor.requires_grad or base.requires_grad)

    def writing(self, tensor: Tensor) -> None:
        if tensor._cell in self.changed or (not self.is_inside(tensor._cell) and self.may_change(tensor)):
            for one in (tensor, tensor._base):
                if one is not None and id(one) not in self._kept:
                    self._kept.add(id(one))
                    self.remember(functools.partial(_put_back, one, dict(one.__dict__)))
        super().writing(tensor)

    def setting(self, owner: Any, name: str, value: Any) -> None:
        super().setting(owner, name, value)
        old = owner._buffers.get(name, owner.__dict__.get(name))
        if isinstance(old, Tensor) and any(old is t for t, _ in self._named.values()):
            self._places[id(old)] = owner, name
        if not isinstance(old, Tensor) or not isinstance(value, Tensor) or value is old or old.requires_grad:
            return
        if old._cell in self.changed or not self.is_inside(old._cell):
            self._set.setdefault((id(owner), name), Held(_whole(old), owner, name))

    def replaced(self) -> list[Held]:
        """The states that there are, after the function has run: those that it was given first."""
        put = {one.holder._cell: one for one in self._set.values() if self._counts(one)}
        found = {cell: put.get(cell) or Held(_whole(tensor)) for cell, tensor in self.changed.items()}
        return list((found | {cell: one for cell, one in put.items() if cell not in found}).values())

    def _counts(self, held: Held) -> bool:
        """An attribute that is no buffer is a state where its old value was read: others are results that are kept."""
        cell = held.holder._cell
        return held.attribute in held.owner._buffers or cell in self.changed or any(
            t._cell is cell for t in self.entered.values()
        )

    def afterwards(self) -> list[Record]:
        """The new values of the states `held`, to be asked for while the border is open.  No derivative goes through them."""
        found = []
        for one in self.held:
            record = one.holder._cell.current()
            if one.owner is not None:
                record = self.result(getattr(one.owner, one.attribute))
            name = one.name or one.attribute or self.called(one.holder)
            found.append(tape.stopped(_of_one_kind(record, one.holder._spec, name)))
        return found


def _of_one_kind(record: Record, spec: Any, name: str) -> Record:
    if record.spec is not spec:
        raise TraceError(f"{name} is {spec} before the call and {record.spec} after it",
                         hint="a state keeps its shape and dtype, so that the next call can take it")
    return record


def settled(run: Callable[[Sequence[Held]], tuple[Replacing, T]]) -> tuple[Sequence[Held], T]:
    """What `run` records, run again until it was given all states that it has."""
    held: Sequence[Held] = ()
    for _ in range(PASSES):
        border, found = run(held)
        again = border.replaced()
        if len(again) == len(held):
            return held, found
        held = again
    raise TraceError("every run of the function changes other tensors from outside than the one before")


class Program(Replacing, Constants):
    """The border of `gg.trace`: a state is an input of the program by its own name."""

    def stand_in(self, held: Held) -> Record:
        spec = held.holder._spec
        return symbol_leaf(Input(held.name, spec.shape, spec.dtype))


def name_states(held: Iterable[Held], border: Border, taken: Iterable[str], usable: Callable[[str], bool]) -> None:
    """Names the states after the path that leads to them: `bn.running_mean` is `bn_running_mean`."""
    used = set(taken)
    for k, one in enumerate(held):
        path = border.called(one.holder)
        name = re.sub(r"_{2,}", "_", re.sub(r"\W+", "_", path)).strip("_")
        if " " in path or not usable(name):
            name = f"state{k}" if " " in path else f"state_{name}"
        if name in used or f"{name}_next" in used:
            raise InvalidNameError(f"the state {path} and an argument or result would both be named {name!r}",
                                   hint="rename the argument or result")
        used |= {name, f"{name}_next"}
        one.name = name


def _whole(tensor: Tensor) -> Tensor:
    """All of a tensor's storage, nothing of autograd."""
    found = tensor._alias()
    found._chain, found._rec, found._gen = None, None, -1
    return found


def _put_back(tensor: Tensor, attributes: dict[str, Any]) -> None:
    tensor.__dict__.clear()
    tensor.__dict__.update(attributes)
