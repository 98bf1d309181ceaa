"""Names that C, C++ and their headers keep for themselves."""

from __future__ import annotations

import re
from functools import cache

_C_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
alignas alignof bool constexpr false nullptr static_assert thread_local true typeof typeof_unqual asm fortran
"""
_CPP_KEYWORDS = """
and and_eq asm bitand bitor bool catch char8_t char16_t char32_t class co_await co_return co_yield compl concept
const_cast consteval constinit decltype delete dynamic_cast explicit export false final friend import module mutable
namespace new noexcept not not_eq operator or or_eq override private protected public reinterpret_cast requires
static_cast template this throw true try typeid typename using virtual wchar_t xor xor_eq
"""
# object-like macros and types of the headers that emitted C, its example or a likely host include
_HEADER_WORDS = """
NULL EOF BUFSIZ INFINITY NAN HUGE_VAL HUGE_VALF HUGE_VALL I complex imaginary errno stdin stdout stderr offsetof assert
size_t ptrdiff_t FILE va_list fpos_t div_t ldiv_t float_t double_t max_align_t
int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t intmax_t uintmax_t
linux unix near far small interface EDOM ERANGE EILSEQ RAND_MAX EXIT_SUCCESS EXIT_FAILURE MATH_ERRNO MATH_ERREXCEPT
"""
# families of them: limits of <stdint.h>, <limits.h> and <float.h>, constants of <math.h>
_HEADER_MACROS = re.compile(
    r"(U?INT((_FAST|_LEAST)?[0-9]+|PTR|MAX)?|S?CHAR|UCHAR|U?SHRT|U?L?LONG|SIZE|SSIZE|PTRDIFF|SIG_ATOMIC|WCHAR|WINT)_(MIN|MAX|WIDTH)"
    r"|(CHAR|WORD|LONG)_BIT|MB_LEN_MAX|(FLT|DBL|LDBL|DECIMAL|FP)_[A-Z0-9_]+|M_[A-Z0-9_]+l?|_*[A-Z]+_SOURCE"
)
# functions of <math.h> and <string.h> that emitted C may call where the argument would hide them; others it hides from nobody
_MATH = """
acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma fmax fmin
fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan nearbyint nextafter
nexttoward pow remainder remquo rint round scalbln scalbn sin sinh sqrt tan tanh tgamma trunc
"""
_FUNCTIONS = "isnan isinf isfinite isnormal signbit fpclassify memcpy memmove memset"

KEYWORDS = {
    **{w: "a keyword of C++" for w in _CPP_KEYWORDS.split()},
    **{w: "a keyword of C" for w in _C_KEYWORDS.split()},
}
_LIBRARY = {
    **{w: "taken by the standard C headers" for w in _HEADER_WORDS.split()},
    **{f + s: "a function of the C library" for f in _MATH.split() for s in ("", "f", "l")},
    **{w: "a function of the C library" for w in _FUNCTIONS.split()},
}
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def is_identifier(name: str) -> bool:
    """Letters, digits and _ of ASCII, beginning with a letter."""
    return bool(_IDENTIFIER.match(name))


@cache
def taken_by_c(name: str) -> str | None:
    """Why C code cannot use the name for something of its own; None where it can."""
    if name in KEYWORDS or name in _LIBRARY:
        return KEYWORDS.get(name) or _LIBRARY[name]
    return "taken by the standard C headers" if _HEADER_MACROS.fullmatch(name) else None


__all__ = ["KEYWORDS", "is_identifier", "taken_by_c"]
