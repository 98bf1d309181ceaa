"""The inline mathematics of emitted modules: which C function computes what, and the fragments that define it.

A fragment is a file of ``templates/kernels/math``: ``static inline`` C99 (also C++11) functions of one idea, without
includes, to be pasted into the emitted file after what it depends on. The emitted file includes ``<math.h>``,
``<stdint.h>`` and ``<string.h>`` before. Accuracy and speed: ``docs/math-accuracy.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
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


# float -> float, by the names of torch
ONE_ARGUMENT = [
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "asin",
    "acos",
    "atan",
    "asinh",
    "acosh",
    "atanh",
    "sigmoid",
    "softplus",
    "logsigmoid",
    "erf",
    "erfc",
    "sqrt",
    "rsqrt",
    "cbrt",
    "rint",
    "floor",
    "ceil",
    "trunc",
    "sign",
]
TWO_ARGUMENTS = ["pow", "atan2", "max", "min", "fmod", "remainder", "floor_div"]
# float -> float for code that is not a vector loop: branches instead of computing every case; "sin_scalar" does for
# one number what "sin" does for a vector
SCALAR = ["exp", "log", "sigmoid", "sin", "cos", "tan"]
# both of one argument, through pointers
SINCOS = "sincos_scalar"
# float -> int32 or int64; the suffix is that of the float
CASTS = ["to_i32", "to_i64"]
INTEGER_ONE_ARGUMENT = ["sign"]
INTEGER_TWO_ARGUMENTS = ["floor_div", "remainder", "trunc_div", "fmod", "pow", "max", "min"]
# random bits, of int64 only
RANDOM = ["philox_low", "philox_high"]

# What each fragment needs directly; a stem stands for one file per dtype, ``stem_f32.h``. What is absent needs
# inline.h.
_FLOAT_NEEDS: dict[str, tuple[str, ...]] = {
    "pair": ("bits",),
    "scale": ("bits",),
    "split": ("pair",),
    "exp": ("scale",),
    "exp2": ("pair", "exp"),
    "expm1": ("bits",),
    "log": ("split", "log_core"),
    "log1p": ("pair", "log_core"),
    "log2": ("split", "log_core"),
    "log10": ("split", "log_core"),
    "log_pair": ("split",),
    "pow": ("log_pair", "exp"),
    "trig_reduce": ("pair",),
    "trig_poly": ("pair",),
    "sin": ("trig_reduce", "trig_poly"),
    "cos": ("trig_reduce", "trig_poly"),
    "tan": ("trig_reduce", "trig_poly"),
    "sinh": ("exp",),
    "cosh": ("exp",),
    "sigmoid": ("exp",),
    "softplus": ("exp", "log1p"),
    "logsigmoid": ("exp", "log1p"),
    "erfc_tail": ("pair", "exp"),
    "erfc": ("erfc_tail",),
    "atan2": ("bits",),
    "asinh": ("log1p",),
    "acosh": ("log1p",),
    "atanh": ("log1p",),
    "cbrt": ("pair",),
    "trig_scalar": ("noinline", "trig_reduce"),
    "sin_scalar": ("trig_scalar",),
    "cos_scalar": ("trig_scalar",),
    "tan_scalar": ("trig_scalar",),
    "sincos_scalar": ("trig_scalar",),
    "exp_scalar": ("noinline", "exp"),
    "log_scalar": ("noinline", "log"),
    "sigmoid_scalar": ("exp_scalar",),
    "floor": ("rint",),
    "ceil": ("rint",),
    "trunc": ("rint",),
    "fmod": ("pair", "trunc"),
    "remainder": ("fmod",),
    "floor_div": ("fmod", "floor"),
}
_INTEGER_NEEDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("floor_div", "remainder", "trunc_div", "fmod"), ("quotient",)),
    **dict.fromkeys(RANDOM, ("philox",)),
}
_NEEDS_OF_ONE: dict[tuple[str, str], tuple[str, ...]] = {
    ("tanh", "f32"): ("exp",),
    ("tanh", "f64"): ("expm1",),
    ("erf", "f32"): ("exp",),
    ("erf", "f64"): ("erfc_tail",),
}


def _needs(stem: str, suffix: str) -> tuple[str, ...]:
    by_type = _FLOAT_NEEDS if suffix in FLOATS else _INTEGER_NEEDS
    return _NEEDS_OF_ONE.get((stem, suffix)) or by_type.get(stem) or ("inline",)


def _closure(stem: str, suffix: str) -> list[str]:
    """Return the files that `stem` needs, each after its own needs, itself last."""
    if stem in ("inline", "noinline"):
        return [f"{stem}.h"]
    files: list[str] = []
    for need in _needs(stem, suffix):
        files += [file for file in _closure(need, suffix) if file not in files]
    return [*files, f"{stem}_{suffix}.h"]


def scalar_name(function: str) -> str:
    """Return the registry's name of the form of `function` for code that is not a vector loop."""
    return f"{function}_scalar" if function in SCALAR else function


def _registry() -> dict[str, dict[str, MathKernel]]:
    scalar = [scalar_name(name) for name in SCALAR]
    by_suffix = {
        **{suffix: [*ONE_ARGUMENT, *TWO_ARGUMENTS, *CASTS, *scalar, SINCOS] for suffix in FLOATS},
        **{suffix: [*INTEGER_ONE_ARGUMENT, *INTEGER_TWO_ARGUMENTS] for suffix in INTEGERS},
    }
    by_suffix["i64"] += RANDOM
    registry: dict[str, dict[str, MathKernel]] = {}
    for suffix, names in by_suffix.items():
        for name in names:
            *depends, fragment = _closure(name, suffix)
            registry.setdefault(name, {})[suffix] = MathKernel(f"gg_{name}_{suffix}", fragment, tuple(depends))
    return registry


#: function name -> dtype suffix -> kernel
REGISTRY: dict[str, dict[str, MathKernel]] = _registry()


def kernel(function: str, suffix: str) -> MathKernel:
    """Return the C function that computes `function` for a dtype suffix (f32, f64, i32, i64).

    Raises GradgenError when there is none.
    """
    try:
        return REGISTRY[function][suffix]
    except KeyError:
        raise GradgenError(f"no math kernel computes {function!r} for {suffix!r}") from None


def noinline() -> str:
    """Return the definition of GG_NOINLINE."""
    return _text("noinline.h")


@cache
def _text(file: str) -> str:
    return (templates_dir() / "kernels" / "math" / file).read_text(encoding="utf-8")


def fragments(used: Iterable[tuple[str, str]]) -> list[str]:
    """Return the texts of the fragments that the (function, suffix) pairs need.

    Each once, each after what it depends on, and in an order that depends only on the set of pairs. Raises
    GradgenError for a pair that has no kernel.
    """
    files: dict[str, None] = {}
    for function, suffix in sorted(set(used)):
        found = kernel(function, suffix)
        files.update(dict.fromkeys((*found.depends, found.fragment)))
    return [_text(file) for file in files]
