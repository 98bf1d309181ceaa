"""Small C functions behind operations: integer arithmetic that wraps and never traps, conversions, plain libm names.

Signed overflow and division by zero are undefined in C; PyTorch's integers wrap (two's complement), and a division by
zero that PyTorch would raise gives 0.  Conversions from floating types saturate to the type's minimum outside its
range, like the x86 instruction that PyTorch's own conversion compiles to.
"""

from __future__ import annotations


def _plain() -> dict[tuple[str, str], str]:
    names = {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "nearbyint", "abs": "fabs",
             "fmod": "fmod", "fmax": "fmax", "fmin": "fmin"}
    found = {}
    for op, c_name in names.items():
        found[op, "f32"] = c_name + "f"
        found[op, "f64"] = c_name
    return found


PLAIN_FUNCTIONS = _plain()

LIBM = {
    op: op
    for op in [
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin",
        "acos", "atan", "atan2", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "pow",
    ]
}
"""Functions that the C library has by the same meaning."""


def _integer_text(suffix: str, ctype: str, utype: str, low: str) -> dict[str, tuple[tuple[str, ...], str]]:
    head = f"static inline {ctype} gg_{{}}_{suffix}"
    two = f"({ctype} a, {ctype} b)"

    def function(name: str, arguments: str, *lines: str) -> str:
        return head.format(name) + arguments + "\n{\n" + "".join(f"    {line}\n" for line in lines) + "}\n"

    wrap = {
        name: ((), function(name, two, f"return ({ctype})(({utype})a {sign} ({utype})b);"))
        for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"))
    }
    wrap |= {name: ((), function(name, two, f"return ({ctype})(a {sign} b);"))
             for name, sign in (("bit_and", "&"), ("bit_or", "|"), ("bit_xor", "^"))}
    bits = 32 if suffix == "i32" else 64
    return {f"gg_{name}_{suffix}": value for name, value in wrap.items()} | {
        f"gg_neg_{suffix}": ((), function("neg", f"({ctype} a)", f"return ({ctype})(0u - ({utype})a);")),
        f"gg_abs_{suffix}": ((), function("abs", f"({ctype} a)", f"return a < 0 ? ({ctype})(0u - ({utype})a) : a;")),
        f"gg_sign_{suffix}": ((), function("sign", f"({ctype} a)", f"return ({ctype})((a > 0) - (a < 0));")),
        f"gg_maximum_{suffix}": ((), function("maximum", two, "return a > b ? a : b;")),
        f"gg_minimum_{suffix}": ((), function("minimum", two, "return a < b ? a : b;")),
        f"gg_fmax_{suffix}": ((), function("fmax", two, "return a > b ? a : b;")),
        f"gg_fmin_{suffix}": ((), function("fmin", two, "return a < b ? a : b;")),
        f"gg_trunc_div_{suffix}": ((f"gg_neg_{suffix}",), function(
            "trunc_div", two, f"return b == 0 ? 0 : b == -1 ? gg_neg_{suffix}(a) : ({ctype})(a / b);")),
        f"gg_floor_div_{suffix}": ((f"gg_neg_{suffix}",), function(
            "floor_div", two, f"if (b == 0 || b == -1) return b == 0 ? 0 : gg_neg_{suffix}(a);",
            f"return ({ctype})(a / b - (a % b != 0 && (a < 0) != (b < 0)));")),
        f"gg_remainder_{suffix}": ((), function(
            "remainder", two, "if (b == 0 || b == -1) return 0;",
            f"return ({ctype})(a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0));")),
        f"gg_fmod_{suffix}": ((), function(
            "fmod", two, f"return b == 0 || b == -1 ? 0 : ({ctype})(a % b);")),
        f"gg_shift_left_{suffix}": ((), function(
            "shift_left", two,
            f"return b < 0 || b >= {bits} ? 0 : ({ctype})(({utype})a << b);")),
        f"gg_shift_right_{suffix}": ((), function(  # arithmetic for every compiler: the bits of a negative a are inverted
            "shift_right", two, f"const {ctype} n = b < 0 || b > {bits - 1} ? {bits - 1} : b;",
            f"return ({ctype})(a < 0 ? ~(~a >> n) : a >> n);")),
        f"gg_pow_{suffix}": ((), function(
            "pow", two, f"{utype} result = 1u;", f"{utype} square = ({utype})a;", f"{ctype} left = b;",
            "if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;",
            "while (left > 0) {", "    if (left % 2 == 1) result *= square;", "    square *= square;", "    left /= 2;",
            "}", f"return ({ctype})result;")),
    } | {
        f"gg_to_{suffix}_{f}": ((), (
            f"static inline {ctype} gg_to_{suffix}_{f}({ft} a)\n{{\n"
            f"    return a >= {bound[0]} && a < {bound[1]} ? ({ctype})a : {low};\n}}\n"))
        for f, ft, bound in (
            ("f32", "float", ("-2147483648.0f", "2147483648.0f") if suffix == "i32"
             else ("-9223372036854775808.0f", "9223372036854775808.0f")),
            ("f64", "double", ("-2147483648.0", "2147483648.0") if suffix == "i32"
             else ("-9223372036854775808.0", "9223372036854775808.0")),
        )
    }


def _float_text(suffix: str, ctype: str, f: str, infinity: str) -> dict[str, tuple[tuple[str, ...], str]]:
    head = f"static inline {ctype} gg_{{}}_{suffix}"
    two = f"({ctype} a, {ctype} b)"
    one = f"1.0{'f' if suffix == 'f32' else ''}"
    zero, half = (("0.0f", "0.5f") if suffix == "f32" else ("0.0", "0.5"))

    def function(name: str, arguments: str, *lines: str) -> tuple[tuple[str, ...], str]:
        return (), head.format(name) + arguments + "\n{\n" + "".join(f"    {line}\n" for line in lines) + "}\n"

    found = {
        f"gg_maximum_{suffix}": function("maximum", two, "return a > b || a != a ? a : b;"),
        f"gg_minimum_{suffix}": function("minimum", two, "return a < b || a != a ? a : b;"),
        f"gg_sign_{suffix}": function(
            "sign", f"({ctype} a)", f"return a > {zero} ? {one} : a < {zero} ? -{one} : a == a ? {zero} : a;"),
        f"gg_rsqrt_{suffix}": function("rsqrt", f"({ctype} a)", f"return {one} / sqrt{f}(a);"),
        f"gg_trunc_div_{suffix}": function("trunc_div", two, f"return trunc{f}(a / b);"),
        f"gg_remainder_{suffix}": function(
            "remainder", two, f"const {ctype} r = fmod{f}(a, b);",
            f"return r != {zero} && (r < {zero}) != (b < {zero}) ? r + b : r;"),
        f"gg_floor_div_{suffix}": function(  # as Python's //: from the exact remainder, rounded to the nearest integer
            "floor_div", two, f"if (b == {zero}) return a / b;", f"const {ctype} r = fmod{f}(a, b);",
            f"{ctype} q = (a - r) / b;", f"if (r != {zero} && (r < {zero}) != (b < {zero})) q -= {one};",
            f"if (q == {zero}) return a / b < {zero} ? -{zero} : {zero};",
            f"const {ctype} whole = floor{f}(q);", f"return q - whole > {half} ? whole + {one} : whole;"),
        f"gg_sigmoid_{suffix}": function(
            "sigmoid", f"({ctype} a)", f"const {ctype} e = exp{f}(-fabs{f}(a));",
            f"return (a >= {zero} ? {one} : e) / ({one} + e);"),
        f"gg_softplus_{suffix}": function(
            "softplus", f"({ctype} a)", f"return (a > {zero} ? a : {zero}) + log1p{f}(exp{f}(-fabs{f}(a)));"),
        f"gg_logsigmoid_{suffix}": function(
            "logsigmoid", f"({ctype} a)", f"return (a < {zero} ? a : {zero}) - log1p{f}(exp{f}(-fabs{f}(a)));"),
    }
    tests = {
        "isnan": "a != a", "isinf": f"fabs{f}(a) == {infinity}", "isfinite": f"fabs{f}(a) < {infinity}",
    }
    for name, test in tests.items():
        text = f"static inline int gg_{name}_{suffix}({ctype} a)\n{{\n    return {test};\n}}\n"
        found[f"gg_{name}_{suffix}"] = (), text
    for name, c_name in LIBM.items():
        arguments, call = (two, "a, b") if name in ("pow", "atan2") else (f"({ctype} a)", "a")
        found[f"gg_{name}_{suffix}"] = function(name, arguments, f"return {c_name}{f}({call});")
    return found


def digamma_text() -> dict[str, tuple[tuple[str, ...], str]]:
    """Recurrence to x >= 10, then the asymptotic series (Abramowitz & Stegun 6.3.5, 6.3.18); 6.3.7 below 0."""
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for suffix, ctype, f, s in (("f32", "float", "f", "f"), ("f64", "double", "", "")):
        lines = [
            f"static inline {ctype} gg_digamma_{suffix}({ctype} a)", "{",
            f"    {ctype} x = a, shift = 0.0{s}, y;",
            f"    if (a == 0.0{s}) return -1.0{s} / a;",
            f"    if (a < 0.0{s}) {{",
            f"        const {ctype} part = a - floor{f}(a);",
            f"        if (part == 0.0{s}) return {'NAN' if f else '(double)NAN'};",
            f"        shift = -3.14159265358979323846{s} / tan{f}(3.14159265358979323846{s} * part);",
            f"        x = 1.0{s} - a;",
            "    }",
            f"    for (; x < 10.0{s}; x += 1.0{s}) shift -= 1.0{s} / x;",
            f"    y = 1.0{s} / (x * x);",
            f"    return shift + log{f}(x) - 0.5{s} / x",
            f"        - y * (1.0{s} / 12.0{s} - y * (1.0{s} / 120.0{s} - y * (1.0{s} / 252.0{s}",
            f"        - y * (1.0{s} / 240.0{s}",
            f"        - y * (1.0{s} / 132.0{s} - y * (691.0{s} / 32760.0{s} - y / 12.0{s}))))));",
            "}\n",
        ]
        found[f"gg_digamma_{suffix}"] = (), "\n".join(lines)
    return found


def pairwise_text() -> dict[str, tuple[tuple[str, ...], str]]:
    """Pairwise summation by a binary counter: level b holds a sum of 2**b terms wherever bit b of the count is set."""
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for suffix, ctype in (("f32", "float"), ("f64", "double")):
        name = f"gg_pairwise_{suffix}"
        zero = "0.0f" if suffix == "f32" else "0.0"
        found[name] = (), (
            "/* Pairwise summation: level[b] is a sum of 2^b terms where bit b of the count is set. */\n"
            f"typedef struct {{\n    uint64_t count;\n    {ctype} level[64];\n}} {name};\n\n"
            f"static inline void {name}_add({name} *s, {ctype} x)\n{{\n    int b = 0;\n"
            "    for (uint64_t count = s->count++; (count & 1u) != 0u; count >>= 1) x += s->level[b++];\n"
            "    s->level[b] = x;\n}\n\n"
            f"static inline {ctype} {name}_total(const {name} *s)\n{{\n    {ctype} x = {zero};\n"
            "    for (int b = 0; b < 64; ++b) {\n        if ((s->count >> b & 1u) != 0u) x += s->level[b];\n    }\n"
            "    return x;\n}\n"
        )
        name = f"gg_cascade_{suffix}"
        found[name] = (), (
            "/* A sum in three levels, for machines with little memory: 64 terms are one of the next level. */\n"
            f"typedef struct {{\n    unsigned count;\n    {ctype} level[3];\n}} {name};\n\n"
            f"static inline void {name}_add({name} *s, {ctype} x) {{\n    s->level[0] += x;\n"
            "    if ((++s->count & 63u) == 0u) {\n"
            f"        s->level[1] += s->level[0];\n        s->level[0] = {zero};\n"
            "        if ((s->count & 4095u) == 0u) {\n"
            f"            s->level[2] += s->level[1];\n            s->level[1] = {zero};\n        }}\n    }}\n}}\n\n"
            f"static inline {ctype} {name}_total(const {name} *s) {{\n"
            "    return s->level[2] + (s->level[1] + s->level[0]);\n}\n"
        )
    return found


HELPERS: dict[str, tuple[tuple[str, ...], str]] = {
    **_integer_text("i32", "int32_t", "uint32_t", "(-2147483647 - 1)"),
    **_integer_text("i64", "int64_t", "uint64_t", "(-INT64_C(9223372036854775807) - 1)"),
    **_float_text("f32", "float", "f", "INFINITY"),
    **_float_text("f64", "double", "", "(double)INFINITY"),
    **digamma_text(),
    **pairwise_text(),
}
