"""Bundles: names, extents, reproducibility, templates, single source of truth, writing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.codegen import package, templates
from gradgen.codegen.bundle import make_bundle, make_sources, write_bundle
from gradgen.codegen.declarations import abi_text, cdef, comment_text
from gradgen.codegen.extents import (
    comfortable_limit,
    evaluate,
    saturating_helpers,
    shape_text,
    to_c,
    to_python,
    to_saturating_c,
)
from gradgen.codegen.fragments import Helper
from gradgen.codegen.interface import Argument
from gradgen.codegen.module_record import c_string
from gradgen.codegen.names import check_argument_names, check_module_name
from gradgen.codegen.programs import SUMS, Recorded, Samples, made_up, weights
from gradgen.compiler.pipeline import generate
from gradgen.errors import CodegenError, InvalidNameError
from gradgen.ir.dtypes import float32
from gradgen.ir.symbols import dim
from gradgen.options import Options
from gradgen.paths import templates_dir
from gradgen.training.step import trainer_of, training
from tests.embed.handmade import ALL, HandCode, linear_bce, with_interface

ROOT = Path(__file__).resolve().parents[2]
N, M = dim("N"), dim("M")


# --- names -----------------------------------------------------------------------------------------------------------

BAD_MODULES = ["class", "x; y", "../up", "", "a" * 201, "int", "template", "1abc", "a-b", "a b", "_x", "a__b",
               "math", "string", "example", "selftest", "gradgen_abi", "con", "COM1", "None", "naïve", "a\n",
               "gradgen_x"]  # fmt: skip
BAD_ARGUMENTS = ["class", "x; y", "", "float", "NULL", "exp", "expf", "memset", "size_t", "saved", "work", "flags",
                 "lambda", "_a", "a__b", "self", "out", "a" * 201, "linux", "I"]  # fmt: skip


@pytest.mark.parametrize("name", BAD_MODULES)
def test_bad_module_names(name: str) -> None:
    with pytest.raises(InvalidNameError, match=r"(?s)cannot be a module name|is empty") as caught:
        check_module_name(name)
    assert caught.value.hint


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_argument_names(name: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_argument_names((), [name], ["loss"])
    assert caught.value.hint


@pytest.mark.parametrize("name", ["linear_bce", "x", "a" * 200, "softmax_regression", "Model2"])
def test_good_module_names(name: str) -> None:
    check_module_name(name)


def test_good_argument_names() -> None:
    inputs = ["x", "gamma", "beta", "index", "y1", "weight", "bias", "grad", "info", "i0", "t0", "min"]
    check_argument_names(["N"], inputs, ["loss", "out"], gradients=["weight"], cotangents=["loss"])


@pytest.mark.parametrize(
    ("dims", "inputs", "outputs", "gradients", "cotangents", "name"),
    [
        (["N"], ["N"], ["y"], [], [], "N"),
        ([], ["x", "x"], ["y"], [], [], "x"),
        ([], ["x"], ["x"], [], [], "x"),
        ([], ["x", "grad_x"], ["y"], ["x"], [], "grad_x"),
        ([], ["x", "grad_y"], ["y"], [], ["y"], "grad_y"),
    ],
)
def test_collisions(dims, inputs, outputs, gradients, cotangents, name) -> None:
    with pytest.raises(InvalidNameError, match=f"would be named '{name}'") as caught:
        check_argument_names(dims, inputs, outputs, gradients=gradients, cotangents=cotangents)
    assert " and " in (caught.value.where or "")


def test_parameter_named_like_an_attribute_of_module() -> None:
    check_argument_names([], ["forward"], ["y"])
    with pytest.raises(InvalidNameError, match="Python wrapper"):
        check_argument_names([], ["forward"], ["y"], gradients=["forward"])


def test_make_bundle_checks_names() -> None:
    with pytest.raises(InvalidNameError):
        make_bundle(linear_bce("class"))


# --- extents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extent", "c", "python"),
    [
        (7, "7", "7"),
        (2**40, "INT64_C(1099511627776)", "1099511627776"),
        (N, "N", "N"),
        (5 * N * M, "5 * M * N", "5 * M * N"),
        (N - 2, "N - 2", "N - 2"),
        (12 * N + 64, "12 * N + 64", "12 * N + 64"),
        (N**2, "N * N", "N * N"),
        (sympy.floor(N / 2), "N / 2", "N // 2"),
        (64 * sympy.ceiling(N / 16), "64 * ((N + 15) / 16)", "64 * ((N + 15) // 16)"),
        (sympy.Max(N - 4, 0), "GRADGEN_MAX(0, N - 4)", "max(0, N - 4)"),
        (sympy.Mod(N, 8), "N % 8", "N % 8"),
        (N * (N - 1) / 2, "(N * (N - 1)) / 2", "(N * (N - 1)) // 2"),
    ],
)
def test_extent_texts(extent, c: str, python: str) -> None:
    assert (to_c(extent), to_python(extent)) == (c, python)


EXTENTS = [N, 3 * N * M + 64, N - 2, sympy.floor((N - 3) / 2), sympy.ceiling(N * M / 7), N**2 * M, sympy.Max(N - 4, M)]


@given(n=st.integers(0, 1000), m=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_extents_evaluate_like_sympy(n: int, m: int) -> None:
    for extent in EXTENTS:
        assert evaluate(extent, {"N": n, "M": m}) == int(extent.subs({N: n, M: m}))


def test_c_extents_evaluate_like_sympy(tmp_path: Path) -> None:
    """Compiled, plain and saturating, for small and for overflowing dimensions."""
    from tests.embed.toolchain import C_COMPILERS, program, run

    if not C_COMPILERS:
        pytest.skip("no C compiler")
    points = [(0, 0), (1, 5), (2, 3), (17, 4), (2**62, 9), (2**63 - 1, 2**63 - 1)]
    small = [f'    printf("%lld\\n", (long long)({to_c(e)}));' for e in EXTENTS]
    large = [f'    printf("%lld\\n", (long long)({to_saturating_c(e, "linear_bce")}));' for e in EXTENTS]
    helpers = "\n".join(saturating_helpers("\n".join(large), "linear_bce"))
    tests = []
    for n, m in points:
        lines = "\n".join(large if n > 100 else small + large)
        tests.append(f"    {{\n    const int64_t N = INT64_C({n}), M = INT64_C({m});\n    (void)M;\n{lines}\n    }}")
    (tmp_path / "gradgen_abi.h").write_text(abi_text())
    text = '#include "gradgen_abi.h"\n#include <stdio.h>\n' + helpers + "\nint main(void)\n{\n" + "\n".join(tests)
    (tmp_path / "e.c").write_text(text + "\n    return 0;\n}\n")
    said = run([program(C_COMPILERS[0], ["e.c"], tmp_path, "-fsanitize=undefined")], tmp_path).split()
    expected = []
    for n, m in points:
        values = [int(e.subs({N: n, M: m})) for e in EXTENTS]
        expected += values if n > 100 else values * 2
    for got, want, k in zip(map(int, said), expected, range(len(expected)), strict=True):
        assert got == want or (want > 2**53 and got > 2**53), k  # large ones need only stay large


def test_comfortable_limit() -> None:
    assert comfortable_limit([12 * N + 64]) == 2**27
    assert comfortable_limit([N * M]) == 2**15
    assert comfortable_limit([N - M]) == 0
    assert comfortable_limit([5]) == 0


def test_shape_text() -> None:
    assert shape_text((N, 2 * M, 3)) == "[N, 2 * M, 3]"


# --- texts -----------------------------------------------------------------------------------------------------------


def test_comments_cannot_end_early() -> None:
    assert "*/" not in comment_text("a */ b") and "??" not in comment_text("what??/") and comment_text("x\\") == "x"


def test_c_strings() -> None:
    assert c_string('a"b\\c??/\n') == '"a\\"b\\\\c\\?\\?/\\n"'
    assert c_string("é1") == '"\\303\\2511"'


def test_formula_with_hostile_text_still_compiles(tmp_path: Path) -> None:
    from tests.embed.toolchain import C_COMPILERS, STRICT, run

    code = linear_bce()
    loss = Argument("loss", float32, (), True, 'x */ + """ \\ ??/ ' + "long " * 60 + "αβγ")
    for path, text in make_bundle(with_interface(code, outputs=(loss,))).items():
        (tmp_path / path).write_text(text)
        if path.endswith(".py"):
            compile(text, path, "exec")
    for cc in C_COMPILERS:
        run([cc, "-std=c99", *STRICT, "-c", "linear_bce.c"], tmp_path)


# --- one source of truth ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_header_cdef_and_manifest_agree(name: str) -> None:
    """The prototypes of header and cdef are the same, and the manifest lists the same parameters."""
    code = ALL[name]()
    files = make_bundle(code)
    manifest = json.loads(files[f"{name}.json"])
    assert manifest["cdef"] == cdef(code.interface)

    def prototypes(text: str) -> dict[str, list[str]]:
        flat = re.sub(r"\s+", " ", text)
        return {f: p.strip().split(", ") for f, p in re.findall(rf"\b({name}_\w+)\(([^()]*)\);", flat)}

    in_header = {f: p for f, p in prototypes(files[f"{name}.h"]).items() if not f.endswith("_args")}
    assert in_header == prototypes(manifest["cdef"])
    for suffix, parameters in manifest["functions"].items():
        listed = [re.sub(r".*\W", "", p) for p in in_header[f"{name}_{suffix}"] if p != "void"]
        assert listed == [p["name"] for p in parameters]


@pytest.mark.parametrize("name", ALL)
def test_manifest(name: str) -> None:
    files = make_bundle(ALL[name]())
    manifest = json.loads(files[f"{name}.json"])
    assert set(manifest["files"]) == set(files) - {f"{name}.json"}
    for path, digest in manifest["files"].items():
        assert hashlib.sha256(files[path].encode()).hexdigest() == digest
    assert all(s in files for s in (*manifest["sources"], *manifest["headers"]))


def test_header_is_the_contract() -> None:
    """The prototypes of the C contract, character by character."""
    header = make_bundle(linear_bce())["linear_bce.h"]
    for text in (
        "GRADGEN_API size_t linear_bce_saved_bytes(int64_t N);",
        "GRADGEN_API gradgen_status linear_bce_forward(\n"
        "    int64_t N, const float *x, const float *y, const float *w, const float *b,\n"
        "    float *loss, void *saved, void *work);",
        "GRADGEN_API gradgen_status linear_bce_backward(\n"
        "    int64_t N, const float *x, const float *y, const float *w, const float *b,\n"
        "    void *saved, const float *grad_loss, float *grad_w, float *grad_b, void *work, uint32_t flags);",
        "GRADGEN_API gradgen_status linear_bce_value_and_grad(\n"
        "    int64_t N, const float *x, const float *y, const float *w, const float *b,\n"
        "    float *loss, float *grad_w, float *grad_b, void *work, uint32_t flags);",
        "GRADGEN_API void linear_bce_zero_grad(float *grad_w, float *grad_b);",
        "GRADGEN_API const gradgen_module *linear_bce_module(void);",
    ):
        assert text in header


# --- reproducibility and templates -----------------------------------------------------------------------------------

_DIGESTS = """
import hashlib, sys
from gradgen.codegen.bundle import make_bundle
from tests.embed.handmade import ALL
h = hashlib.sha256()
for make in ALL.values():
    for single in (False, True):
        for path, text in make_bundle(make(), single_file=single).items():
            h.update(path.encode() + text.encode())
print(h.hexdigest())
"""


def test_same_bytes_under_any_hash_seed() -> None:
    digests = set()
    for seed in ("0", "1", "2"):
        environment = dict(os.environ, PYTHONHASHSEED=seed, PYTHONPATH=str(ROOT))
        command = [sys.executable, "-c", _DIGESTS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_nothing_of_this_machine_in_a_bundle() -> None:
    for make in ALL.values():
        for path, text in make_bundle(make()).items():
            assert str(ROOT) not in text and str(Path.home()) + "/" not in text, path
            assert "{{" not in text and "{%" not in text, path
            assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text), path


def test_emitted_lines_have_no_trailing_blanks() -> None:
    for make in ALL.values():
        for path, text in make_bundle(make()).items():
            assert text.endswith("\n") and not text.endswith("\n\n"), path
            for k, line in enumerate(text.splitlines(), 1):
                assert line == line.rstrip() and "\t" not in line, f"{path}:{k}"


def test_every_template_is_used_and_gets_what_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """`render` compares keys given with keys used; here, that every template of a bundle goes through it."""
    rendered = set()
    real = templates.render

    def spy(path: str, **keys: object) -> str:
        rendered.add(path)
        return real(path, **keys)

    for module in ("bundle", "package", "programs", "readme", "selftest_derivatives"):
        monkeypatch.setattr(f"gradgen.codegen.{module}.render", spy)
    make_bundle(linear_bce())
    scalar = gg.trace(lambda x: (x ** 3).sum(), x=gg.spec(4, requires_grad=True))
    generate(scalar.graph, "cubes", Options(derivatives=("hvp",), sparse=("hessian",)))
    generate(scalar.graph, "cubes", Options(), trainer=trainer_of(scalar, training(gg.optim.SGD())))
    package.programs_files("both", {"train": "cubes"}, "0")
    folders = (templates_dir() / "c", templates_dir() / "python")
    own = {p.relative_to(templates_dir()).as_posix() for folder in folders for p in folder.rglob("*.j2")}
    assert rendered == own | {"README.md.j2"}


def test_render_refuses_unknown_and_missing_keys() -> None:
    with pytest.raises(CodegenError, match="unused keys"):
        templates.render("c/CMakeLists.txt.j2", banner_line="", name="", upper="", more="")
    with pytest.raises(CodegenError, match="missing keys"):
        templates.render("c/CMakeLists.txt.j2", banner_line="", name="")


# --- parts that do not fit -------------------------------------------------------------------------------------------


def test_missing_procedure() -> None:
    code = linear_bce()
    with pytest.raises(CodegenError, match="needs the functions"):
        make_bundle(type(code)(code.interface, code.procedures[:2], code.saved_bytes_c, code.work_bytes_c))


def test_helpers_of_one_name_and_two_texts() -> None:
    code = linear_bce()
    first = code.procedures[0]
    changed = HandCode(first.name, first.body, {**first.helpers, "logistic": Helper("static float logistic(float x);")})
    procedures = (changed, *code.procedures[1:])
    with pytest.raises(CodegenError, match="two different helper functions are named logistic"):
        make_bundle(type(code)(code.interface, procedures, code.saved_bytes_c, code.work_bytes_c))


def test_undeclared_dimension() -> None:
    with pytest.raises(CodegenError, match="does not declare: N"):
        make_bundle(with_interface(linear_bce(), dims=()))


def test_a_wrong_memory_plan_does_not_compile(tmp_path: Path) -> None:
    from tests.embed.toolchain import C_COMPILERS

    code = linear_bce()
    wrong = type(code)(code.interface, code.procedures, "64 + N * 8", code.work_bytes_c)
    for path, text in make_sources(wrong).items():
        (tmp_path / path).write_text(text)
    for cc in C_COMPILERS:
        done = subprocess.run([cc, "-c", "linear_bce.c"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode != 0 and "saved_bytes_agree" in done.stderr


# --- recorded values -------------------------------------------------------------------------------------------------


def test_recorded_values_in_the_selftest(tmp_path: Path) -> None:
    """Right values pass; wrong ones are found and named."""
    np = pytest.importorskip("numpy")
    from tests.embed.handmade import lookup
    from tests.embed.toolchain import C_COMPILERS, program

    if not C_COMPILERS:
        pytest.skip("no C compiler")
    table, index, keep = made_up(18, 2).reshape(6, 3), np.array([5, 0, 3, 3]), np.array([True, True, False, True])
    rows = table[index] * keep[:, None]
    of_rows, of_total = made_up(12, 0).reshape(4, 3) + 0.5, made_up(1, 1)[0] + 0.5
    grad = np.zeros_like(table)
    np.add.at(grad, index[keep], (of_rows + 2.0 * of_total * table[index])[keep])
    results = {"rows": rows, "total": (rows**2).sum(), "grad_table": grad}
    for wrong in ("", "rows", "grad_table"):
        recorded = {}
        for name, value in results.items():
            terms = value.reshape(-1) * weights(value.size) * (1.0001 if name == wrong else 1.0)
            recorded[name] = Recorded(tuple(float(terms[j::SUMS].sum()) for j in range(min(SUMS, terms.size))), 1e-5)
        samples = Samples({}, {"index": index, "keep": keep}, recorded, {"table": 2.0**-6})
        code = lookup()
        code = type(code)(code.interface, code.procedures, code.saved_bytes_c, code.work_bytes_c, samples)
        for path, text in make_bundle(code).items():
            (tmp_path / path).write_text(text)
        made = program(C_COMPILERS[0], ["selftest.c", "lookup.c"], tmp_path)
        done = subprocess.run([made], capture_output=True, text=True)
        assert (done.returncode == 0) == (not wrong), done.stdout
        assert f"recorded values: {wrong}" in done.stdout if wrong else "all tests passed" in done.stdout


# --- writing ---------------------------------------------------------------------------------------------------------


def test_write_bundle(tmp_path: Path) -> None:
    files = make_bundle(linear_bce())
    target = tmp_path / "generated" / "linear_bce"
    write_bundle(files, target)
    assert {p.name for p in target.iterdir()} == set(files)
    assert (tmp_path / "generated" / "__init__.py").exists()
    assert sorted(p.name for p in (tmp_path / "generated").iterdir()) == ["__init__.py", "linear_bce"]


def test_write_bundle_again(tmp_path: Path) -> None:
    """What is not the bundle's stays, what does not change is not touched, the package's __init__ is kept."""
    target = tmp_path / "linear_bce"
    (tmp_path / "__init__.py").write_text("mine = 1\n")
    write_bundle(make_bundle(linear_bce()), target)
    (target / "_linear_bce_cffi.so").write_bytes(b"machine code")
    os.utime(target / "gradgen_abi.h", (1, 1))
    write_bundle(make_bundle(with_interface(linear_bce(), digest="sha256:other")), target)
    assert "sha256:other" in (target / "linear_bce.c").read_text()
    assert (target / "_linear_bce_cffi.so").read_bytes() == b"machine code"
    assert (target / "gradgen_abi.h").stat().st_mtime == 1
    assert (tmp_path / "__init__.py").read_text() == "mine = 1\n"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_failed_write_leaves_the_old_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "linear_bce"
    old = make_bundle(linear_bce())
    write_bundle(old, target)
    real, count = os.replace, iter(range(100))

    def failing(source: object, destination: object) -> None:
        if next(count) == 3:
            raise OSError(28, "No space left on device")
        real(source, destination)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(CodegenError, match="No space left"):
        write_bundle(make_bundle(with_interface(linear_bce(), digest="sha256:other")), target)
    monkeypatch.undo()
    assert {p.name: p.read_text() for p in target.iterdir()} == old
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CodegenError, match="cannot be written") as caught:
        write_bundle(make_bundle(linear_bce()), tmp_path / "file" / "linear_bce")
    assert "out=" in (caught.value.hint or "")
