"""Compiler flags by purpose.

========  =====================================================================  =======================================
profile   flags (gcc on x86)                                                     for
========  =====================================================================  =======================================
native    -O3 -march=native                                                      modules used on the machine that builds
portable  -O3                                                                    extensions that travel
quick     -O1 -ftree-loop-vectorize -fvect-cost-model=dynamic -march=native      eager use: the compiler's time counts
========  =====================================================================  =======================================

and standalone.COMMON_FLAGS with each of them.  The quick set is measured (gcc 12 and clang 14; CPU time to compile one
and six kernels, time to run loops over 100,000 float32).  gcc's -O1 with the loop vectoriser compiles in 3/4 of the
time of -O2 with the same vectoriser and in half of -O3's; pointwise loops and sums then run as at -O3, a plain matrix
product 1.4 times longer.  -O1 alone leaves loops 2 to 30 times slower, -O2 without -fvect-cost-model=dynamic a sigmoid
20 times.  Clang's -O1 with -fvectorize takes 2/3 to 9/10 of -O2's time; pointwise loops run the same, the matrix
product 1.8 times longer.  -pipe, the choice of linker and its -O0 change nothing measurable; leaving out the start
files saves 3 of 58 ms.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass

from gradgen.build import standalone
from gradgen.build.cache import Cache, default_cache, digest
from gradgen.build.compiler import Compiler
from gradgen.errors import BuildError, CacheError

__all__ = ["PROFILES", "Flags", "flags_for"]

PROFILES = ("native", "portable", "quick")

_QUICK = {
    "gcc": ("-O1", "-ftree-loop-vectorize", "-fvect-cost-model=dynamic"),
    "clang": ("-O1", "-fvectorize"),
    "zig": ("-O2",),  # its back end keeps its own cache; the lower levels turn on run-time checks
    "other": ("-O1",),
}


@dataclass(frozen=True)
class Flags:
    """What to tell a compiler.

    Attributes:
        compile: for the C.
        link: for any link.
        shared: for the link of a plain shared library, besides.
        user: CFLAGS, for every step, last.
    """

    compile: tuple[str, ...]
    link: tuple[str, ...]
    shared: tuple[str, ...]
    user: tuple[str, ...]

    @property
    def key(self) -> str:
        return digest("flags", *(" ".join(part) for part in (self.compile, self.link, self.shared, self.user)))


def flags_for(compiler: Compiler, profile: str, *, threads: bool = False, cache: Cache | None = None) -> Flags:
    """The flags of a profile, reduced to what the compiler takes.

    Args:
        profile: one of PROFILES.
        threads: with OpenMP.  Raises BuildError when the compiler has none.
        cache: remembers what an unknown compiler takes.
    """
    cache = cache or default_cache()
    if profile not in PROFILES:
        raise BuildError(f"unknown build profile {profile!r}", hint=f"it is one of {', '.join(PROFILES)}")
    tool = compiler.toolchain
    level = _QUICK[compiler.kind] if profile == "quick" else ("-O3",)
    compile_ = _supported(compiler, standalone.code_flags(tool, profile, level), cache)
    shared = ["-shared", *_undefined(), *(_quick_link(compiler) if profile == "quick" else ())]
    link: list[str] = []
    if threads:
        if _probe(compiler, ["-fopenmp"], cache, link=True) != ["-fopenmp"]:
            hint = "install its OpenMP library (Debian: libomp-dev for clang), or build without threads"
            raise BuildError("the C compiler has no OpenMP", where=str(compiler), hint=hint)
        compile_, link = [*compile_, "-fopenmp"], ["-fopenmp"]
    return Flags(tuple(compile_), tuple(link), tuple(shared), tuple(standalone.user_flags()))


def _quick_link(compiler: Compiler) -> list[str]:
    """Nothing of ours runs when a library is loaded or unloaded, so the start files serve nothing; libm, libc and the
    compiler's own library stay."""
    return ["-nostartfiles"] if compiler.kind in ("gcc", "clang") and sys.platform == "linux" else []


def _undefined() -> tuple[str, ...]:
    return ("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()


def _supported(compiler: Compiler, flags: list[str], cache: Cache) -> list[str]:
    return _probe(compiler, flags, cache) if standalone.needs_probe(compiler.toolchain) else flags


def _probe(compiler: Compiler, flags: list[str], cache: Cache, link: bool = False) -> list[str]:
    """standalone.probe, its answer kept on disk."""
    if not flags:
        return []
    key = digest("probe-1", compiler.identity, str(link), *flags)
    with contextlib.suppress(TypeError, ValueError):
        kept = json.loads(cache.get_text(key) or "null")
        if isinstance(kept, list):
            return [str(flag) for flag in kept]
    kept = standalone.probe(compiler.toolchain, flags, link)
    with contextlib.suppress(CacheError):
        cache.put_text(key, json.dumps(kept))
    return kept
