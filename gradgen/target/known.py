"""The known targets."""

from __future__ import annotations

from dataclasses import replace

from gradgen.errors import GradgenError
from gradgen.target.machine import LIBM, Target

NATIVE = Target("native")
"""What `build` compiles for: a PC.  A fixed record, so that the same C comes out on every machine; only the compiler is told
which one it is on."""

PORTABLE = replace(NATIVE, name="portable")
"""What `emit` writes for: right and fast on any PC, and right everywhere else."""

SCALAR = Target(
    "scalar", vector_bytes=0, near_bytes=16 * 1024, cache_bytes=0, branch_cost=3, alignment=8,
    threads=False,
)
"""One number at a time, nothing else known."""

_MICROCONTROLLER = replace(SCALAR, index_bits=32)

KNOWN = {t.name: t for t in (
    NATIVE,
    PORTABLE,
    SCALAR,
    replace(_MICROCONTROLLER, name="cortex-m0", registers=4, near_bytes=4 * 1024, hardware=(), fma=()),
    replace(_MICROCONTROLLER, name="cortex-m4", registers=32, hardware=("float32",), fma=("float32",)),
    replace(_MICROCONTROLLER, name="cortex-m7", registers=32, near_bytes=16 * 1024, cache_bytes=64 * 1024, branch_cost=4),
    replace(_MICROCONTROLLER, name="avr", registers=2, near_bytes=1024, hardware=(), fma=(), index_bits=16,
            mathematics=LIBM),  # its library is written by hand in the machine's own code
    replace(_MICROCONTROLLER, name="riscv32", registers=8, hardware=(), fma=()),
    replace(_MICROCONTROLLER, name="wasm", vector_bytes=16, near_bytes=32 * 1024, cache_bytes=256 * 1024, fma=(),
            branch_cost=8),
)}


def target_of(given: Target | str) -> Target:
    """The target of a name; a target stands for itself.  Raises GradgenError for a name that is not known."""
    if isinstance(given, Target):
        return given
    if isinstance(given, str) and given in KNOWN:
        return KNOWN[given]
    raise GradgenError(f"target={given!r} is not known",
                       hint=f"it is one of {', '.join(KNOWN)}, or a gradgen.Target of your own")
