"""The math kernels: accuracy, edges, warnings, vectorisation, and agreement with torch.

The bounds are DESIGN section 8.4's: 2 ulp for float32, 4 for float64, of the exact value; edges exact. Here a sample is
checked; benchmarks/math_accuracy.py checks everything and prints docs/math-accuracy.md.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import math_samples
import mpmath
import numpy as np
import pytest
from math_harness import (
    CASTS,
    CHECKED_ONE_ARGUMENT,
    CHECKED_TWO_ARGUMENTS,
    FAST,
    HEADERS,
    INTEGER_TWO_ARGUMENTS,
    ONE_ARGUMENT,
    TWO_ARGUMENTS,
    WARNINGS,
    Build,
    Harness,
    Report,
    all_fragments,
    all_names,
    compile_c,
    find_compilers,
    fragments,
    has_quad,
)

from gradgen.codegen.c_types import FLOATS, INTEGERS
from gradgen.codegen.fragments import helper
from tests.exact_values import exact_function

BOUND = {"f32": 2.0, "f64": 4.0}
DTYPES: dict[str, Any] = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}
COMPILERS = find_compilers()
# coprime to every power of two, so that the low bits of the patterns vary too
STEP = 8191
BUILDS = {
    "native": (*FAST, "-march=native"),
    "plain -O2": ("-O2",),
    "no fma, vectorised": (*FAST, "-mno-fma", "-mno-avx"),
}
VARIANTS = [
    pytest.param(compiler, flags, id=f"{Path(compiler).name} {name}")
    for compiler in COMPILERS
    for name, flags in BUILDS.items()
]


@pytest.fixture(scope="module")
def main_harness(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """The build that also checks: with libquadmath where the compiler has it."""
    if not COMPILERS:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("math")
    quad = has_quad(COMPILERS[0], folder)
    return Harness(folder, Build(COMPILERS[0], (*FAST, "-march=native"), quad))


def compile_text(compiler: str, text: str, folder: Path, *flags: str, cpp: bool = False) -> str:
    """Compile to an object file; return the compiler's words, failing the test if it fails."""
    source = folder / ("text.cpp" if cpp else "text.c")
    source.write_text(HEADERS + text, encoding="utf-8")
    done = compile_c(Build(compiler, flags), source, folder / "text.o", "-c")
    assert done.returncode == 0, done.stderr[:4000]
    return done.stderr


# The fragments: tests/unit/test_fragments.py has their table


def test_fragment_style() -> None:
    for name in all_names():
        text = helper(name)
        assert "#include" not in text
        assert not any(len(line) > 125 for line in text.splitlines())
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        if name.endswith("_f32"):
            assert "double" not in code
            assert not re.search(r"\d\.\d*(?:e[+-]?\d+)?(?![\df.e])", code), "a double literal in a float fragment"
        elif name.endswith("_f64"):
            assert "float" not in code
            assert not re.search(r"\d\.\d*(?:e[+-]?\d+)?f", code), "a float literal in a double fragment"


# Compilers


@pytest.mark.parametrize("flags", [("-O0",), ("-O2",), (*FAST, "-march=native"), ("-Os",)], ids=" ".join)
@pytest.mark.parametrize("language", ["c99", "c++11"])
@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda path: Path(path).name)
def test_no_warnings(compiler: str, language: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    cpp = language == "c++11"
    warnings = [w for w in WARNINGS if not (cpp and w == "-Wmissing-prototypes")] + ["-Wno-unused-function"]
    text = all_fragments() + "\nint unit_is_not_empty(void);\nint unit_is_not_empty(void) { return 0; }\n"
    compile_text(compiler, text, tmp_path, f"-std={language}", *warnings, *flags, cpp=cpp)


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
def test_each_kernel_compiles_with_its_own_fragments_only(tmp_path: Path) -> None:
    for name in all_names():
        compile_text(COMPILERS[0], fragments([name]), tmp_path, "-std=c99", *WARNINGS, "-fsyntax-only")


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
def test_float_kernels_do_no_double_arithmetic(tmp_path: Path) -> None:
    names = [*ONE_ARGUMENT, *TWO_ARGUMENTS]
    text = fragments([f"gg_{name}_f32" for name in names])
    for name in names:
        two = name in TWO_ARGUMENTS
        text += f"float use_{name}(float x, float y);\nfloat use_{name}(float x, float y)\n"
        text += f"{{ return gg_{name}_f32({'x, y' if two else 'x + y'}); }}\n"
    compile_text(COMPILERS[0], text, tmp_path, "-O2", "-S")
    assembly = (tmp_path / "text.o").read_text()
    assert not re.search(r"\b(v?cvt(ss2sd|ps2pd|sd2ss|pd2ps)|v?(add|mul|div|sub)[sp]d)\b", assembly)


def vectorised(compiler: str, folder: Path, march: tuple[str, ...]) -> set[str]:
    """Return the kernels whose plain loop the compiler says it vectorised."""
    text, lines = all_fragments(), {}
    for name in [*ONE_ARGUMENT, *TWO_ARGUMENTS]:
        for suffix, scalar in (("f32", "float"), ("f64", "double")):
            second = f"const {scalar} *restrict y, " if name in TWO_ARGUMENTS else ""
            call = "x[i], y[i]" if second else "x[i]"
            text += f"void v_{name}_{suffix}(const {scalar} *restrict x, {second}{scalar} *restrict z)\n"
            text += f"{{ for (int i = 0; i < 4096; i++) z[i] = gg_{name}_{suffix}({call}); }}\n"
            lines[(HEADERS + text).count("\n")] = f"{name}_{suffix}"
    remarks = "-Rpass=loop-vectorize" if "clang" in compiler else "-fopt-info-vec-optimized"
    report = compile_text(compiler, text, folder, "-std=c99", *FAST, *march, remarks)
    found = {int(m[1]) for m in re.finditer(r"text\.c:(\d+):\d+: .*vectorized", report)}
    return {name for line, name in lines.items() if line in found}


@pytest.mark.parametrize("march", ["x86-64", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda path: Path(path).name)
def test_loops_vectorise(compiler: str, march: str, tmp_path: Path) -> None:
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    if compile_c(Build(compiler, (f"-march={march}",)), probe, tmp_path / "probe").returncode:
        pytest.skip(f"the compiler does not know {march}")
    calls_libm = {f"{name}_{suffix}" for name in ("fmod", "remainder", "floor_div") for suffix in FLOATS}
    if march == "x86-64":  # SSE2 compares no 64-bit integers, and selecting by them is what these do
        calls_libm |= {"sin_f64", "cos_f64", "tan_f64", "pow_f64", "atan2_f64"}
    wanted = {
        f"{name}_{suffix}" for name in [*ONE_ARGUMENT, *TWO_ARGUMENTS] for suffix in FLOATS
    }
    assert wanted - calls_libm - vectorised(compiler, tmp_path, (f"-march={march}",)) == set()


# Accuracy


@pytest.mark.parametrize("name", CHECKED_ONE_ARGUMENT)
def test_float32_one_argument(main_harness: Harness, name: str) -> None:
    report = main_harness.check_bits(name, 3, STEP, 2**32 // STEP // 1024 * 1024, Report())
    for edge in math_samples.edges(np.float32).view(np.uint32):
        main_harness.check_bits(name, int(edge) - 512, 1, 1024, report)
    assert report.max_error <= BOUND["f32"], report


@pytest.mark.parametrize("name", CHECKED_ONE_ARGUMENT)
def test_float64_one_argument(main_harness: Harness, name: str) -> None:
    if not main_harness.quad:
        pytest.skip("no libquadmath")
    report = main_harness.check(name, "f64", math_samples.one(20_000, np.float64, np.random.default_rng(1)))
    assert report.max_error <= BOUND["f64"], report


@pytest.mark.parametrize("suffix", FLOATS)
@pytest.mark.parametrize("name", CHECKED_TWO_ARGUMENTS)
def test_two_arguments(main_harness: Harness, name: str, suffix: str) -> None:
    if suffix == "f64" and not main_harness.quad:
        pytest.skip("no libquadmath")
    arguments = math_samples.two(50_000, DTYPES[suffix], np.random.default_rng(2))
    report = main_harness.check(name, suffix, *arguments)
    assert report.max_error <= BOUND[suffix], report


@pytest.mark.parametrize("suffix", FLOATS)
@pytest.mark.parametrize("name", CHECKED_ONE_ARGUMENT)
def test_against_mpmath(main_harness: Harness, name: str, suffix: str) -> None:
    """A reference that shares nothing with any libm; results outside the normal range are the other tests' business."""
    rng = np.random.default_rng(3)
    dtype = DTYPES[suffix]
    x = np.concatenate([2.0 ** rng.uniform(-30, 7, 100) * rng.choice([-1, 1], 100), rng.uniform(-1, 1, 50)])
    x = x.astype(dtype)
    worst, info = 0.0, np.finfo(dtype)
    reference = exact_function({"rint": "round"}.get(name, name.removesuffix("_scalar")))
    with mpmath.workprec(700):  # softplus(-100) is e^-100: 1 + e^-100 must not lose it
        for argument, result in zip(x, main_harness.run(name, suffix, x), strict=True):
            try:
                exact = reference(mpmath.mpf(float(argument)))
            except (ValueError, ZeroDivisionError):
                exact = mpmath.nan
            if not isinstance(exact, mpmath.mpf) or mpmath.isnan(exact):
                assert np.isnan(result), (name, argument)
            elif info.tiny <= abs(exact) <= info.max:
                unit = mpmath.ldexp(1, int(mpmath.floor(mpmath.log(abs(exact), 2))) - info.nmant)
                worst = max(worst, float(abs(mpmath.mpf(float(result)) - exact) / unit))
    assert worst <= BOUND[suffix]


@pytest.mark.parametrize(("compiler", "flags"), VARIANTS)
def test_other_builds(main_harness: Harness, compiler: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    """Other compilers and flags, with and without fused multiply-add: the same bounds on a smaller sample."""
    harness = Harness(tmp_path, Build(compiler, flags))
    failures = []
    for name in CHECKED_ONE_ARGUMENT:
        report = harness.check_bits(name, 5, 8191 * 16, 2**15, Report())
        for edge in math_samples.edges(np.float32).view(np.uint32):
            harness.check_bits(name, int(edge) - 512, 1, 1024, report)
        if report.max_error > BOUND["f32"]:
            failures.append(f"{name}_f32: {report}")
        if main_harness.quad:
            x = math_samples.one(3_000, np.float64, np.random.default_rng(4))
            report = main_harness.check_result(name, "f64", harness.run(name, "f64", x), x)
            if report.max_error > BOUND["f64"]:
                failures.append(f"{name}_f64: {report}")
    for name in CHECKED_TWO_ARGUMENTS:
        for suffix in FLOATS if main_harness.quad else ("f32",):
            arguments = math_samples.two(5_000, DTYPES[suffix], np.random.default_rng(5))
            report = main_harness.check_result(name, suffix, harness.run(name, suffix, *arguments), *arguments)
            if report.max_error > BOUND[suffix]:
                failures.append(f"{name}_{suffix}: {report}")
    assert failures == []


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@pytest.mark.parametrize("single", [True, False], ids=["float32 only", "none"])
def test_processors_whose_fused_multiply_add_is_not_for_double(
    main_harness: Harness, single: bool, tmp_path: Path
) -> None:
    """Cortex-M4F and M33 define __ARM_FEATURE_FMA, and their library's fma of doubles rounds twice (newlib's x*y + z)."""
    if not main_harness.quad:
        pytest.skip("no libquadmath")
    library = tmp_path / "library.h"
    library.write_text("#include <math.h>\n#define fma(x, y, z) ((x) * (y) + (z))\n"
                       + "#define __ARM_FEATURE_FMA 1\n" * single + "#define __ARM_FP 4\n")
    harness = Harness(tmp_path, Build(COMPILERS[0], ("-O1", "-ffp-contract=off", "-include", str(library))))
    x = math_samples.one(3_000, np.float64, np.random.default_rng(6))
    wrong = {}
    for name in CHECKED_ONE_ARGUMENT:
        report = main_harness.check_result(name, "f64", harness.run(name, "f64", x), x)
        if report.max_error > BOUND["f64"]:
            wrong[name] = str(report)
    arguments = math_samples.two(3_000, np.float64, np.random.default_rng(7))
    for name in CHECKED_TWO_ARGUMENTS:
        report = main_harness.check_result(name, "f64", harness.run(name, "f64", *arguments), *arguments)
        if report.max_error > BOUND["f64"]:
            wrong[name] = str(report)
    assert wrong == {}


@pytest.mark.parametrize("suffix", FLOATS)
def test_one_element_equals_a_vector_of_them(main_harness: Harness, suffix: str) -> None:
    """A loop's remainder is scalar code, where contraction may differ: each side has its own bound, so twice that."""
    x = math_samples.one(64, DTYPES[suffix], np.random.default_rng(6))
    for name in ONE_ARGUMENT:
        together = main_harness.run(name, suffix, x)
        alone = np.concatenate([main_harness.run(name, suffix, x[i : i + 1]) for i in range(x.size)])
        np.testing.assert_array_max_ulp(
            together[np.isfinite(together)], alone[np.isfinite(together)], maxulp=int(2 * BOUND[suffix])
        )
        np.testing.assert_array_equal(together[~np.isfinite(together)], alone[~np.isfinite(together)])


SINCOS = """
void both_{s}(const {t} *x, {t} *sine, {t} *cosine, int n);
void both_{s}(const {t} *x, {t} *sine, {t} *cosine, int n)
{{
    for (int i = 0; i < n; i++) {{
        gg_sincos_scalar_{s}(x[i], sine + i, cosine + i);
    }}
}}
"""


@pytest.mark.parametrize("flags", BUILDS.values(), ids=BUILDS.keys())
@pytest.mark.parametrize(("suffix", "ctype"), [("f32", "float"), ("f64", "double")])
def test_sine_and_cosine_together(
    main_harness: Harness, suffix: str, ctype: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """One reduction for both, right up to arguments that need the long one."""
    source = tmp_path / "both.c"
    text = fragments([f"gg_sincos_scalar_{suffix}"]) + SINCOS.format(s=suffix, t=ctype)
    source.write_text(HEADERS + text, encoding="utf-8")
    done = compile_c(Build(COMPILERS[0], flags), source, tmp_path / "both.so", "-shared", "-fPIC", "-lm")
    assert done.returncode == 0, done.stderr
    x = math_samples.one(20_000, DTYPES[suffix], np.random.default_rng(8))
    results = np.empty((2, x.size), x.dtype)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (x, *results)]
    ctypes.CDLL(str(tmp_path / "both.so"))[f"both_{suffix}"](*pointers, x.size)
    for name, result in zip(("sin", "cos"), results, strict=True):
        if suffix == "f32":  # the harness checks float32 by bit pattern only: against its own, exact to BOUND
            own = main_harness.run(name, suffix, x)
            finite = np.isfinite(own)
            np.testing.assert_array_max_ulp(result[finite], own[finite], maxulp=int(2 * BOUND[suffix]))
            assert np.isnan(result[~finite]).all()
        elif main_harness.quad:
            report = main_harness.check_result(name, suffix, result, x)
            assert report.max_error <= BOUND[suffix], report


# torch's own definitions


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """Answers of torch, written by record_math_torch.py."""
    data: dict[str, Any] = json.loads((Path(__file__).parent / "math_torch.json").read_text(encoding="utf-8"))
    return data


def decode(values: list[Any], suffix: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array([float.fromhex(v) if isinstance(v, str) else v for v in values], DTYPES[suffix])


KERNEL_OF = {"round": "rint", "floor_divide": "floor_div"}
# 0 or 1 ulp off the exact value is no difference between two libraries that promise 2 and 1 ulp
TORCH_ULP = {"f32": 3, "f64": 4}


def assert_same_as_torch(result: np.ndarray, expected: np.ndarray, suffix: str, *, zero_signs: bool) -> None:
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(result[~finite], expected[~finite])
    if suffix in FLOATS:
        np.testing.assert_array_max_ulp(result[finite], expected[finite], maxulp=TORCH_ULP[suffix])
        if zero_signs:
            zero = expected == 0
            np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(expected[zero]))
    else:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("suffix", FLOATS)
@pytest.mark.parametrize("name", ["pow", "atan2", "maximum", "minimum", "fmod", "remainder", "floor_divide"])
def test_two_arguments_as_torch(main_harness: Harness, recorded: dict[str, Any], name: str, suffix: str) -> None:
    x, y = (decode(v, suffix) for v in recorded[f"arguments_{suffix}"])
    expected = decode(recorded[f"{name}_{suffix}"], suffix)
    if name in ("fmod", "remainder"):  # torch's vector code gives nan where the quotient overflows; ours is exact there
        with np.errstate(all="ignore"):
            keep = ~(np.isnan(expected) & np.isfinite(x) & np.isfinite(y) & (y != 0))
        x, y, expected = x[keep], y[keep], expected[keep]
    # which of two zeros of different sign is the larger, torch's scalar and vector code answer differently
    result = main_harness.run(KERNEL_OF.get(name, name), suffix, x, y)
    assert_same_as_torch(result, expected, suffix, zero_signs=name not in ("maximum", "minimum"))


@pytest.mark.parametrize("suffix", FLOATS)
@pytest.mark.parametrize(
    "name",
    [
        "sign",
        "exp",
        "log",
        "log1p",
        "expm1",
        "tanh",
        "erf",
        "erfc",
        "rsqrt",
        "asin",
        "acosh",
        "atanh",
        "round",
        "floor",
    ],
)
def test_one_argument_as_torch(main_harness: Harness, recorded: dict[str, Any], name: str, suffix: str) -> None:
    x = decode(recorded[f"one_{suffix}"], suffix)
    result = main_harness.run(KERNEL_OF.get(name, name), suffix, x)
    # torch.sign(-0.) is 0. and torch.erf's vector code loses the sign of zero: a zero is a zero here
    assert_same_as_torch(result, decode(recorded[f"{name}_{suffix}"], suffix), suffix, zero_signs=False)


@pytest.mark.parametrize("suffix", FLOATS)
@pytest.mark.parametrize(("name", "target"), [("to_i32", np.int32), ("to_i64", np.int64)])
def test_casts_as_torch(main_harness: Harness, recorded: dict[str, Any], name: str, target: type, suffix: str) -> None:
    x = decode(recorded[f"casts_{suffix}"], suffix)
    result = main_harness.run(name, suffix, x, result_type=target)
    np.testing.assert_array_equal(result, recorded[f"{name}_{suffix}"])


@pytest.mark.parametrize("suffix", INTEGERS)
@pytest.mark.parametrize("name", INTEGER_TWO_ARGUMENTS)
def test_integers_as_torch(main_harness: Harness, recorded: dict[str, Any], name: str, suffix: str) -> None:
    torch_name = {"floor_div": "floor_divide", "trunc_div": "trunc_divide"}.get(
        name, name
    )
    x, y = (decode(v, suffix) for v in recorded[f"arguments_{suffix}"])
    np.testing.assert_array_equal(main_harness.run(name, suffix, x, y), recorded[f"{torch_name}_{suffix}"])


@pytest.mark.parametrize("suffix", INTEGERS)
def test_integer_division_never_traps(main_harness: Harness, suffix: str) -> None:
    """Division by zero gives 0 (torch raises, which C cannot), and the smallest integer over -1 wraps."""
    smallest = np.iinfo(DTYPES[suffix]).min
    x, y = (np.array(v, DTYPES[suffix]) for v in ([7, -7, 0, smallest], [0, 0, 0, -1]))
    for name, last in (("floor_div", smallest), ("trunc_div", smallest), ("remainder", 0), ("fmod", 0)):
        np.testing.assert_array_equal(main_harness.run(name, suffix, x, y), [0, 0, 0, last])


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
def test_undefined_behaviour_sanitizer(tmp_path: Path) -> None:
    """Every kernel at every pair of edges under -fsanitize=undefined, float-to-integer conversions included."""
    values = ", ".join(f"{v!r}" if np.isfinite(v) else f"{'-' if v < 0 else ''}HUGE_VAL" for v in EDGE_VALUES)
    calls = []
    for suffix, scalar in (("f32", "float"), ("f64", "double")):
        for name in [*ONE_ARGUMENT, *CASTS]:
            calls.append(f"sum += (double)gg_{name}_{suffix}(({scalar})e[i]);")
        calls += [f"sum += (double)gg_{n}_{suffix}(({scalar})e[i], ({scalar})e[j]);" for n in TWO_ARGUMENTS]
    integers = "{INT64_MIN, INT32_MIN, -3, -1, 0, 1, 2, 31, 63, INT32_MAX, INT64_MAX}"
    for suffix, scalar in (("i32", "int32_t"), ("i64", "int64_t")):
        for name in INTEGER_TWO_ARGUMENTS:
            calls.append(f"sum += (double)gg_{name}_{suffix}(({scalar})n[i % 11], ({scalar})n[j % 11]);")
    source = tmp_path / "ub.c"
    body = "\n            ".join(calls)
    source.write_text(
        HEADERS
        + all_fragments()
        + f"int main(void)\n{{\n    static const double e[] = {{{values}, NAN}};\n"
        + f"    static const int64_t n[] = {integers};\n    int count = (int)(sizeof e / sizeof *e);\n"
        + "    volatile double sum = 0.0;\n    for (int i = 0; i < count; i++) {\n"
        + f"        for (int j = 0; j < count; j++) {{\n            {body}\n        }}\n    }}\n    return 0;\n}}\n"
    )
    flags = ("-std=c99", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
    done = compile_c(Build(COMPILERS[0], flags), source, tmp_path / "ub", "-lm")
    if done.returncode and "ubsan" in done.stderr:
        pytest.skip("no sanitizer library")
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([str(tmp_path / "ub")], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


EDGE_VALUES = [v for v in math_samples.edges(np.float64).tolist() if v == v]
