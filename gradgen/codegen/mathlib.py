"""The inline mathematics of emitted modules: which C function computes what, and the fragments that define it.

A fragment is a file of ``templates/kernels/math``: ``static inline`` C99 (also C++11) functions of one idea, without
includes, to be pasted into the emitted file after what it depends on. The emitted file includes ``<math.h>``,
``<stdint.h>`` and ``<string.h>`` before.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from gradgen.errors import GradgenError
from gradgen.paths import templates_dir

FLOATS = ("f32", "f64")
INTEGERS = ("i32", "i64")


class MathKernel(NamedTuple):
    """One C function: its name, the fragment file that defines it, and the fragments that file needs, in order."""

    c_name: str
    fragment: str
    depends: tuple[str, ...]


# What each fragment needs directly; a stem stands for the file of either precision, ``stem_f32.h`` or ``stem_f64.h``.
_NEEDS: dict[str, tuple[str, ...]] = {
    "inline": (),
    "bits": ("inline",),
    "pair": ("bits",),
    "scale": ("bits",),
    "split": ("pair",),
    "exp": ("scale",),
    "exp2": ("pair", "exp"),
    "expm1": ("bits",),
    "log_core": ("inline",),
    "log": ("split", "log_core"),
    "log1p": ("pair", "log_core"),
    "sigmoid": ("exp",),
    "softplus": ("exp", "log1p"),
    "logsigmoid": ("exp", "log1p"),
    "trig_reduce": ("pair",),
    "trig_poly": ("pair",),
    "sin": ("trig_reduce", "trig_poly"),
    "cos": ("trig_reduce", "trig_poly"),
    "tan": ("trig_reduce", "trig_poly"),
    "erfc_tail": ("pair", "exp"),
    "erfc": ("erfc_tail",),
    "log_pair": ("split",),
    "pow": ("log_pair", "exp"),
    "log2": ("split", "log_core"),
    "log10": ("split", "log_core"),
    "sinh": ("exp",),
    "cosh": ("exp",),
    "sqrt": ("inline",),
    "rsqrt": ("inline",),
    "asin": ("inline",),
    "acos": ("inline",),
    "atan": ("inline",),
    "atan2": ("bits",),
    "asinh": ("log1p",),
    "acosh": ("log1p",),
    "atanh": ("log1p",),
    "cbrt": ("pair",),
    "rint": ("inline",),
    "floor": ("rint",),
    "ceil": ("rint",),
    "trunc": ("rint",),
    "sign": ("inline",),
    "max": ("inline",),
    "min": ("inline",),
}

# Fragments whose needs depend on the precision.
_NEEDS_BY_SUFFIX: dict[tuple[str, str], tuple[str, ...]] = {
    ("tanh", "f32"): ("exp",),
    ("tanh", "f64"): ("expm1",),
    ("erf", "f32"): ("exp",),
    ("erf", "f64"): ("erfc_tail",),
}

ONE_ARGUMENT = (
    "exp exp2 expm1 log log1p sin cos tan tanh sigmoid softplus logsigmoid erf erfc log2 log10 sinh cosh sqrt rsqrt "
    "asin acos atan asinh acosh atanh cbrt rint floor ceil trunc sign"
).split()
TWO_ARGUMENTS: list[str] = "pow atan2 max min".split()


def _file(stem: str, suffix: str) -> str:
    return "inline.h" if stem == "inline" else f"{stem}_{suffix}.h"


def _closure(stem: str, suffix: str) -> list[str]:
    """Return the files that `stem` needs, each after its own needs, itself last."""
    files: list[str] = []
    for need in _NEEDS_BY_SUFFIX.get((stem, suffix)) or _NEEDS[stem]:
        files += [file for file in _closure(need, suffix) if file not in files]
    return [*files, _file(stem, suffix)]


def _kernel(name: str, suffix: str) -> MathKernel:
    *depends, fragment = _closure(name, suffix)
    return MathKernel(f"gg_{name}_{suffix}", fragment, tuple(depends))


REGISTRY: dict[str, dict[str, MathKernel]] = {
    name: {suffix: _kernel(name, suffix) for suffix in FLOATS} for name in [*ONE_ARGUMENT, *TWO_ARGUMENTS]
}


def kernel(function: str, suffix: str) -> MathKernel:
    """Return the C function that computes `function` for a dtype suffix (f32, f64, i32, i64).

    Raises GradgenError when there is none.
    """
    try:
        return REGISTRY[function][suffix]
    except KeyError:
        raise GradgenError(f"no math kernel computes {function!r} for {suffix!r}") from None


@lru_cache(maxsize=None)
def _text(file: str) -> str:
    return (templates_dir() / "kernels" / "math" / file).read_text(encoding="utf-8")


def fragments(used: Iterable[tuple[str, str]]) -> list[str]:
    """Return the texts of the fragments that the (function, suffix) pairs need.

    Each once, each after what it depends on, and in an order that depends only on the set of pairs.
    """
    files: dict[str, None] = {}
    for function, suffix in sorted(set(used)):
        found = kernel(function, suffix)
        files.update(dict.fromkeys((*found.depends, found.fragment)))
    return [_text(file) for file in files]
