"""Options of code generation: one record, part of every digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from gradgen.errors import GradgenError
from gradgen.target import KNOWN, PORTABLE, Budget, Target, target_of

LEVELS = ("none", "safe", "fast")
DERIVATIVES = ("jvp", "jacobian", "hvp", "hessian")
SPARSE = ("jacobian", "hessian")
_UNSAID = ("in_place", "flash", "ram", "stack", "arena")


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may choose.

    simplify      "none", "safe" (default: PyTorch's result for every input) or "fast" (real-number algebra)
    nan_safe      the branch not taken cannot make a gradient nan (PyTorch's can: where(x > 0, sqrt(x), 0) at -1)
    forward_only  no backward, value_and_grad and zero_grad; what derivatives= and sparse= ask for is there
    single_file   everything in <name>.h
    in_place      a state's new value may be written where the old one is
    threads       0: no OpenMP in the emitted C
    derivatives   which of "jvp", "jacobian", "hvp" and "hessian" the module has beside its gradient, dense
    sparse        which of "jacobian" and "hessian" it has in compressed rows (needs fixed shapes)
    target        the machine that the C is for: a gradgen.target.Target or the name of a known one
    optimise      "speed", or "size" of code where there is a choice
    flash, ram, stack, arena   bytes that the module may take (`Budget`); BudgetError where it takes more
    """

    simplify: str = "safe"
    nan_safe: bool = False
    forward_only: bool = False
    single_file: bool = False
    threads: int = 0
    in_place: bool = False
    derivatives: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()
    target: Target = PORTABLE
    optimise: str = "speed"
    flash: int | None = None
    ram: int | None = None
    stack: int | None = None
    arena: int | None = None

    def __post_init__(self) -> None:
        for name, known in (("derivatives", DERIVATIVES), ("sparse", SPARSE)):
            object.__setattr__(self, name, _chosen(name, getattr(self, name), known))
        if self.simplify not in LEVELS:
            raise GradgenError(f"simplify={self.simplify!r} is not one of {', '.join(map(repr, LEVELS))}")
        object.__setattr__(self, "target", target_of(self.target))
        if self.threads and not self.target.threads:
            raise GradgenError(f"target={self.target.name!r} has no threads, threads={self.threads} was asked for")
        self.budget  # noqa: B018  refuses what is no budget

    @property
    def budget(self) -> Budget:
        return Budget(self.flash, self.ram, self.stack, self.arena, self.optimise)

    def items(self) -> tuple[tuple[str, str], ...]:
        """Name and value of every option, in order, as text; what was not asked for does not count."""
        found = []
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, tuple):
                found += [(f.name, " ".join(value))] if value else []
            elif isinstance(value, Target):
                found.append((f.name, value.name if KNOWN.get(value.name) == value else value.text()))
            elif f.name not in _UNSAID or value not in (False, None):
                found.append((f.name, str(value)))
        return tuple(found)


def _chosen(name: str, wanted: str | Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """The functions asked for, in the order of `known`; a single one may stand for itself."""
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    for one in wanted:
        if one not in known:
            raise GradgenError(f"{name}={one!r} is not one of {', '.join(map(repr, known))}")
    return tuple(k for k in known if k in wanted)
