"""How many axes an operation's operands may have: declared beside it (`public(axes=...)`), tested before it runs.

The numbers and the words are PyTorch's, which says it differently almost everywhere.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Axes:
    """From `least` to `most` axes; others raise `error(text)`, a format string over `n` (how many there are), `more`
    (with one for a batch), `shape`, and the function's `name`."""

    least: int
    most: int | None
    text: str
    error: type[Exception] = RuntimeError

    def check(self, name: str, shape: Sequence[Any]) -> None:
        n = len(shape)
        if n < self.least or (self.most is not None and n > self.most):
            raise self.error(self.text.format(n=n, more=n + 1, shape=list(shape), name=name))


@dataclass(frozen=True)
class Reaching:
    """As many axes as it takes to have axis `dim`, which PyTorch asks for before it looks how many there are."""

    dim: int

    def check(self, name: str, shape: Sequence[Any]) -> None:
        n = len(shape)
        if n == 0:
            raise IndexError(f"Dimension specified as {self.dim} but tensor has no dimensions")
        if not -n <= self.dim < n:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {self.dim})")


Rule = Axes | Reaching
Rules = Rule | Sequence[Rule] | Mapping[str, Rule | Sequence[Rule]]
"""Of the first argument, or of several by name; where there is more than one rule they are tested in that order."""


def between(least: int, most: int) -> Axes:
    """In the words that PyTorch has for many functions."""
    text = f"Expected {least} to {most} dimensions, but got {{n}}-dimensional tensor for argument #1 'self' "
    return Axes(least, most, text + "(while checking arguments for {name})")


def counted(function: F, rules: Rules) -> F:
    """The function, which tests the numbers of axes of what it is given first.  What has no shape it does not look at."""
    parameters = list(inspect.signature(function).parameters)
    named = rules if isinstance(rules, Mapping) else {parameters[0]: rules}
    places = [(parameters.index(p), p, (r,) if isinstance(r, Rule) else tuple(r)) for p, r in named.items()]
    name = function.__name__

    @functools.wraps(function)
    def tested(*args: Any, **kwargs: Any) -> Any:
        for at, parameter, all_rules in places:
            shape = getattr(args[at] if at < len(args) else kwargs.get(parameter), "shape", None)
            if shape is not None:
                for rule in all_rules:
                    rule.check(name, shape)
        return function(*args, **kwargs)

    tested.axes = named  # type: ignore[attr-defined]
    return tested  # type: ignore[return-value]
