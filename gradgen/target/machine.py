"""Target: one machine, as the scheduler and the printer see it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from gradgen.errors import GradgenError

INLINE, LIBM = "inline", "libm"
FLOATS = ("float32", "float64")


@dataclass(frozen=True, slots=True)
class Target:
    """A machine.  What is not said is that of a current PC.

    name              by which headers and manifests speak of it: letters, digits, and ._+- between them
    vector_bytes      of the widest vectors that the C is laid out for; 0: a machine that does one number at a time
    registers         floating-point numbers that a loop can keep at once: the sums and operands of a matrix product's tile
    near_bytes        of memory that costs no more than a register or two to read: a first-level cache; of a machine
                      without caches all its memory is near, so this is what temporaries may take
    cache_bytes       of the next cache, which an operand that is read again should fit in
    call_cost         of a call, in additions
    branch_cost       of a branch that is not foreseen, in additions
    hardware          floating-point types that it computes with; others are calls of a library
    fma               those of them whose fused multiply-add is one instruction
    index_bits        of size_t: 16, 32 or 64
    alignment         bytes, from 8 on, to which arrays inside a block of memory are aligned (the block is to GRADGEN_ALIGN)
    threads           whether the C may ask for threads
    mathematics       "inline": functions in the emitted file, the same everywhere, which compilers make vectors of;
                      "libm": those of <math.h> where it has them, outside of vector loops

    The C computes the same whatever is said here, up to rounding: numbers that do not fit a machine cost time or memory.
    Raises GradgenError for what no machine can be.
    """

    name: str
    vector_bytes: int = 64
    registers: int = 16
    near_bytes: int = 32 * 1024
    cache_bytes: int = 256 * 1024
    call_cost: int = 4
    branch_cost: int = 16
    hardware: tuple[str, ...] = FLOATS
    fma: tuple[str, ...] = FLOATS
    index_bits: int = 64
    alignment: int = 64
    threads: bool = True
    mathematics: str = INLINE

    def __post_init__(self) -> None:
        for name in ("hardware", "fma"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        for wrong, why in self._faults():
            if wrong:
                raise GradgenError(f"a target cannot be so: {why}", hint="help(gradgen.Target) says what each field is")

    def _faults(self) -> list[tuple[bool, str]]:
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "int"}
        odd = [f"{k}={v!r}" for k, v in numbers.items() if isinstance(v, bool) or not isinstance(v, int) or v < 0]
        named = isinstance(self.name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.name) is not None
        if odd or not named:
            what = f"name={self.name!r} is no word" if not named else f"{odd[0]} is no whole number from 0 on"
            return [(True, what)]
        unknown = [t for t in (*self.hardware, *self.fma) if t not in FLOATS]
        return [
            (self.vector_bytes > 0 and not _power_of_two(self.vector_bytes), f"vectors of {self.vector_bytes} bytes"),
            (not _power_of_two(self.alignment) or not 8 <= self.alignment <= 64,
             f"alignment={self.alignment} is no power of two from 8 to 64"),
            (self.index_bits not in (16, 32, 64), f"index_bits={self.index_bits} is not 16, 32 or 64"),
            (self.mathematics not in (INLINE, LIBM), f"mathematics={self.mathematics!r} is not 'inline' or 'libm'"),
            (bool(unknown), f"{', '.join(unknown)} is not float32 or float64"),
        ]

    def lanes(self, itemsize: int) -> int:
        """Numbers of so many bytes in one vector: 1 on a machine without."""
        return max(1, self.vector_bytes // itemsize)

    @property
    def scalar(self) -> bool:
        """It does one number at a time."""
        return self.vector_bytes < 8

    @property
    def most_bytes(self) -> int:
        """What the values of all steps of a loop may take together: 64 MiB where the cache is of 256 KiB, and all that there
        is on a machine without."""
        return 256 * self.cache_bytes or self.near_bytes

    @property
    def outer_bytes(self) -> int:
        """Of the last cache, which is 32 times the second on the PCs that were measured: 8 MiB."""
        return 32 * self.cache_bytes or self.near_bytes

    def text(self) -> str:
        """Every field, for digests and manifests."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        return " ".join(f"{k}={','.join(v) if isinstance(v, tuple) else v}" for k, v in shown.items())


def _power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
