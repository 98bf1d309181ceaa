"""`gg.dim("N", min=3)`: a named dimension with what is known of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gradgen.errors import ShapeError
from gradgen.ir.assumptions import Requirement, condition_text
from gradgen.ir.guards import GE, MOD, Condition
from gradgen.ir.symbols import Dim
from gradgen.ir.symbols import dim as symbol_of


@dataclass(frozen=True)
class Dimension:
    """A dimension known at run time; None where nothing is stated."""

    name: str
    min: int | None = None
    max: int | None = None
    multiple: int | None = None

    @property
    def symbol(self) -> Dim:
        return symbol_of(self.name)

    def __str__(self) -> str:
        given = [f"{k}={v}" for k, v in (("min", self.min), ("max", self.max), ("multiple", self.multiple)) if v is not None]
        return f"gg.dim({', '.join([repr(self.name), *given])})"


def dim(name: str, *, min: int | None = None, max: int | None = None, multiple: int | None = None) -> Dimension:
    """A named dimension for `spec`, and what is known of it: `spec(dim("N", min=3, multiple=4), 784)`.

    The emitted functions check what is stated (GRADGEN_ERR_DIM, in Python ValueError), and the trace may count on it: with
    min=3 the slice x[:3] has three elements, with multiple=4 the axis can be reshaped to (-1, 4).  A bare name in another
    spec is the same dimension.  Raises ShapeError for bounds that no size satisfies.
    """
    if not isinstance(name, str):
        raise ShapeError(f"the name of a dimension is a string, not {name!r}")
    for word, value, least in (("min", min, 0), ("max", max, 0), ("multiple", multiple, 1)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ShapeError(f"dim({name!r}): {word} is an int from {least} on, not {value!r}")
    return _possible(Dimension(name, min, max, multiple))


def _possible(found: Dimension) -> Dimension:
    step = found.multiple or 1
    least = -(-(found.min or 0) // step) * step
    if found.max is not None and least > found.max:
        raise ShapeError(f"no size of {found.name} satisfies {found}")
    return found


def merged(dimensions: Iterable[Dimension]) -> tuple[Dimension, ...]:
    """One Dimension a name.  Raises ShapeError where two statements contradict each other."""
    found: dict[str, Dimension] = {}
    for new in dimensions:
        old = found.setdefault(new.name, new)
        both = {}
        for word in ("min", "max", "multiple"):
            a, b = getattr(old, word), getattr(new, word)
            if a is not None and b is not None and a != b:
                raise ShapeError(f"two statements about {new.name} contradict each other: {old} and {new}",
                                 hint=f"state it once, and write {new.name!r} elsewhere")
            both[word] = b if a is None else a
        found[new.name] = _possible(Dimension(new.name, **both))
    return tuple(found.values())


def stated_of(dimensions: Iterable[Dimension]) -> tuple[Requirement, ...]:
    """What the statements ask, as conditions of the program."""
    found: list[Requirement] = []
    for d in merged(dimensions):
        n = d.symbol
        conditions = [Condition(GE, n - d.min)] if d.min else []
        conditions += [Condition(GE, d.max - n)] if d.max is not None else []
        conditions += [Condition(MOD, n, d.multiple)] if d.multiple not in (None, 1) else []
        found += [Requirement(c, "ValueError", (f"{condition_text(c)} was stated by {d}, and {d.name} is ", n, ""))
                  for c in conditions]
    return tuple(found)
