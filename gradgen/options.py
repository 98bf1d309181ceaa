"""Options of code generation: one record, part of every digest."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gradgen.errors import GradgenError

LEVELS = ("none", "safe", "fast")


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may choose.

    simplify      "none", "safe" (default: PyTorch's result for every input) or "fast" (real-number algebra)
    nan_safe      the branch not taken cannot make a gradient nan (PyTorch's can: where(x > 0, sqrt(x), 0) at -1)
    forward_only  no backward, value_and_grad and zero_grad
    single_file   everything in <name>.h
    threads       0: no OpenMP in the emitted C
    """

    simplify: str = "safe"
    nan_safe: bool = False
    forward_only: bool = False
    single_file: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        if self.simplify not in LEVELS:
            raise GradgenError(f"simplify={self.simplify!r} is not one of {', '.join(map(repr, LEVELS))}")

    def items(self) -> tuple[tuple[str, str], ...]:
        """Name and value of every option, in order, as text."""
        return tuple((f.name, str(getattr(self, f.name))) for f in fields(self))
