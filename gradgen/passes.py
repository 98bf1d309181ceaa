"""Passes as objects, and the one fold that runs them: over nodes and graphs, over procedures, over statements.

Whoever wants to look at every step (the verifiers, an interpreter, a listing) observes: `with observed(look): ...`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Pass(Generic[State]):
    """One step of the compiler.  `why` is its reason in a line.

    `level` is what it may change: "none" nothing but the form (it always runs), "safe" nothing up to rounding, "fast"
    what real numbers do not notice.  `run` takes a state and gives the next one; it changes nothing in the old one.
    """

    name: str
    why: str
    level: str
    run: Callable[[State], State]


Observer = Callable[[Pass[Any], Any, Any], None]
"""What is called after a pass: with the pass, the state before it and the state behind it."""

_observers: list[Observer] = []


@contextmanager
def observed(*observers: Observer) -> Iterator[None]:
    """Inside, these are called after every pass of every fold."""
    before = len(_observers)
    _observers.extend(observers)
    try:
        yield
    finally:
        del _observers[before : before + len(observers)]


@contextmanager
def unobserved() -> Iterator[None]:
    """Inside, nobody is called who observes outside."""
    before = [*_observers]
    _observers.clear()
    try:
        yield
    finally:
        _observers[:] = before


def fold(passes: Iterable[Pass[State]], state: State) -> State:
    """The state behind the last pass."""
    for one in passes:
        before, state = state, one.run(state)
        for observer in _observers:
            observer(one, before, state)
    return state
