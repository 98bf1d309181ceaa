"""Budget: what may be spent on a machine, and the refusal of what costs more."""

from __future__ import annotations

from dataclasses import dataclass

from gradgen.errors import BudgetError, GradgenError

OBJECTIVES = ("speed", "size")


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that a module may take, None for what does not matter, and what to spare where there is a choice.

    flash  code and constants of the module, linked
    ram    SAVED and WORK together, or of what trains its trainer, arena and stack; with open dimensions at their greatest
    arena  the memory that the functions of a trainer work in
    stack  of the deepest function
    """

    flash: int | None = None
    ram: int | None = None
    stack: int | None = None
    arena: int | None = None
    objective: str = "speed"

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise GradgenError(f"optimise={self.objective!r} is not one of {', '.join(map(repr, OBJECTIVES))}")
        for name, given in self.limits.items():
            if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
                raise GradgenError(f"{name}={given!r} is no number of bytes")

    @property
    def limits(self) -> dict[str, int | None]:
        return {"flash": self.flash, "ram": self.ram, "stack": self.stack, "arena": self.arena}

    def check(self, name: str, bill: dict[str, tuple[int | None, str]]) -> None:
        """Raises BudgetError where a module costs more than it may.

        `bill` has under the names of limits the bytes, None for what has no bound, and a line that says what they
        are made of; what is limited must be in it.
        """
        for what, limit in self.limits.items():
            if limit is None:
                continue
            if what not in bill:
                raise GradgenError(f"{what}= limits what trains, and {name} does not", hint="train=gg.optim.SGD(...)")
            bytes_, parts = bill[what]
            if bytes_ is None:
                raise BudgetError(f"{name} has no greatest {what}: {parts}",
                                  hint="bound the dimension: gg.spec(gg.dim(\"N\", max=...), ...)")
            if bytes_ > limit:
                raise BudgetError(f"{name} takes {bytes_:,} bytes of {what}, {limit:,} are allowed: {parts}")
