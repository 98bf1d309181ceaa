"""Compiler discovery, identity and flags, with scripts in the place of compilers where their answers matter."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gradgen.build import compiler as compiler_module
from gradgen.build import standalone
from gradgen.build.cache import Cache
from gradgen.build.compiler import Compiler, find_compiler
from gradgen.build.flags import PROFILES, flags_for
from gradgen.errors import BuildError, CompilerNotFoundError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="scripts stand for compilers")
REAL = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
needs_compiler = pytest.mark.skipif(REAL is None, reason="no C compiler")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_module, "_known", {})
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CFLAGS", raising=False)
    monkeypatch.setattr(standalone.importlib.util, "find_spec", lambda name: None)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


GCC_LIKE = """case "$*" in *-dM*) echo "#define __STDC__ 1"; echo "#define __GNUC__ 12"
echo "Target: x86_64-linux-gnu" >&2; echo "gcc version 12.2.0 (imagined)" >&2; exit 0;; esac
exit 1"""
OTHER = """case "$*" in *-dM*) exit 1;; --version) echo "oddcc 0.1"; exit 0;;
*-fopenmp-simd*|*-march*|*-O9*) exit 1;; esac
while [ $# -gt 0 ]; do [ "$1" = -o ] && : > "$2"; shift; done"""


def a_compiler(kind: str, triple: str = "x86_64-linux-gnu") -> Compiler:
    return Compiler(("/nowhere/cc",), kind, "imagined", triple, "0" * 64)


# ---------------------------------------------------------------------------------------------- discovery


def test_the_order_is_cc_gcc_clang(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.setattr(standalone.shutil, "which", lambda name: _in(tmp_path, name))
    for name in ("clang", "gcc", "cc"):
        script(tmp_path / name, GCC_LIKE)
        assert find_compiler(cache).command == (str(tmp_path / name),)


def _in(folder: Path, name: str) -> str | None:
    path = Path(name) if os.sep in name else folder / name
    return str(path) if path.exists() else None


def test_one_that_does_not_work_is_passed_over(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(standalone.shutil, "which", lambda name: _in(tmp_path, name))
    script(tmp_path / "cc", "echo 'no developer tools were found' >&2; exit 1")
    script(tmp_path / "gcc", GCC_LIKE)
    found = find_compiler(cache)
    assert found.command == (str(tmp_path / "gcc"),)
    assert (found.kind, found.version, found.triple) == ("gcc", "gcc version 12.2.0 (imagined)", "x86_64-linux-gnu")


def test_CC_may_have_arguments_and_a_path_with_spaces(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "a b"
    folder.mkdir()
    path = script(folder / "cc", GCC_LIKE)
    monkeypatch.setenv("CC", str(path))
    assert find_compiler(cache).command == (str(path),)
    monkeypatch.setenv("CC", f"'{path}' -m32 '-DX=a b'")
    assert find_compiler(cache).command == (str(path), "-m32", "-DX=a b")


def test_a_CC_that_is_not_there_is_not_overruled(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CC", "no-such-compiler --really")
    with pytest.raises(CompilerNotFoundError, match="no-such-compiler") as caught:
        find_compiler(cache)
    for words in ("apt-get install gcc", "xcode-select --install", "gradgen[compiler]", "gradgen.emit"):
        assert words in str(caught.value)


def test_a_CC_that_fails_is_shown_with_its_words(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CC", str(script(tmp_path / "cc", "echo 'licence expired'; exit 3")))
    with pytest.raises(CompilerNotFoundError, match="licence expired"):
        find_compiler(cache)


def test_the_ziglang_package_is_the_last_resort(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    from importlib.machinery import ModuleSpec

    zig = script(tmp_path / "zig", GCC_LIKE.replace("__GNUC__ 12", "__clang__ 1"))
    spec = ModuleSpec("ziglang", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(standalone.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(standalone.shutil, "which", lambda name: None)
    found = find_compiler(cache)
    assert found.command == (str(zig), "cc") and found.kind == "zig"
    assert "-mcpu=baseline" in flags_for(found, "portable", cache=cache).compile


# ---------------------------------------------------------------------------------------------- identity


@needs_compiler
def test_a_later_process_starts_no_compiler_to_ask(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    first = find_compiler(cache)
    compiler_module._known.clear()
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("a compiler was started"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a compiler was started"))
    assert find_compiler(Cache(cache.root)) == first == find_compiler(cache)


def test_another_version_is_another_identity(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    path = script(tmp_path / "cc", GCC_LIKE)
    monkeypatch.setenv("CC", str(path))
    first = find_compiler(cache)
    script(path, GCC_LIKE.replace("12.2.0", "13.1.0"))
    second = find_compiler(cache)
    assert "13.1.0" in second.version and second.identity != first.identity
    script(path, GCC_LIKE.replace('"#define __STDC__ 1"', '"#define __STDC__ 1"; echo "#define __AVX9__ 1"'))
    assert find_compiler(cache).identity not in (first.identity, second.identity)


def test_a_damaged_record_is_asked_again(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    if REAL is None:
        pytest.skip("no C compiler")
    first = find_compiler(cache)
    compiler_module._known.clear()
    for path in cache.root.glob("v1/text/*/*.txt"):
        path.write_text("nonsense")
    assert find_compiler(cache) == first


# ---------------------------------------------------------------------------------------------- flags


@pytest.mark.parametrize("kind", ["gcc", "clang", "zig"])
@pytest.mark.parametrize("profile", PROFILES)
def test_flags_of_a_profile(kind: str, profile: str, cache: Cache):
    flags = flags_for(a_compiler(kind), profile, cache=cache)
    for flag in ("-std=c99", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-ffp-contract=fast"):
        assert flag in flags.compile
    assert not standalone.UNSAFE_FLAGS & {*flags.compile, *flags.shared, *flags.link}
    assert ("-march=native" in flags.compile) == (profile != "portable")
    assert ("-O3" in flags.compile) == (profile != "quick")


def test_the_bundles_own_build_uses_the_same_flags(cache: Cache):
    for profile in ("native", "portable"):
        tool = a_compiler("gcc")
        assert standalone.code_flags(tool.toolchain, profile) == list(flags_for(tool, profile, cache=cache).compile)


def test_processors_that_are_not_x86(cache: Cache):
    assert "-mcpu=native" in flags_for(a_compiler("gcc", "aarch64-linux-gnu"), "native", cache=cache).compile


def test_an_unknown_profile_is_an_error(cache: Cache):
    with pytest.raises(BuildError, match="native, portable, quick"):
        flags_for(a_compiler("gcc"), "fast", cache=cache)


def test_CFLAGS_come_last_and_count_in_the_key(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    before = flags_for(a_compiler("gcc"), "quick", cache=cache)
    monkeypatch.setenv("CFLAGS", "-O2 '-DA=b c'")
    after = flags_for(a_compiler("gcc"), "quick", cache=cache)
    assert after.user == ("-O2", "-DA=b c") and after.key != before.key


def test_CFLAGS_cannot_break_nan_and_inf(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CFLAGS", "-ffast-math -g -Ofast")
    with pytest.warns(UserWarning, match="-Ofast -ffast-math left out"):
        assert flags_for(a_compiler("gcc"), "quick", cache=cache).user == ("-g",)


def test_an_unknown_compiler_keeps_the_flags_it_takes(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CC", str(script(tmp_path / "oddcc", OTHER)))
    odd = find_compiler(cache)
    assert (odd.kind, odd.version) == ("other", "oddcc 0.1")
    flags = flags_for(odd, "native", cache=cache)
    assert "-O3" in flags.compile and "-ffp-contract=fast" in flags.compile
    assert "-fopenmp-simd" not in flags.compile and "-march=native" not in flags.compile
    monkeypatch.setattr(standalone, "probe", lambda *a: pytest.fail("probed again"))
    assert flags_for(odd, "native", cache=Cache(cache.root)) == flags


def test_threads_without_openmp_are_an_error(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CC", str(script(tmp_path / "oddcc", OTHER.replace("*-O9*", "*-fopenmp*"))))
    with pytest.raises(BuildError, match="no OpenMP"):
        flags_for(find_compiler(cache), "native", threads=True, cache=cache)


@needs_compiler
def test_guarded_stores_of_a_vector_loop_are_what_they_say(tmp_path: Path, cache: Cache):
    """gcc 12 with -fno-thread-jumps leaves elements unwritten here, at -O3 and where loops are vectorised for AVX."""
    lines = [f"v[l*28 + k*784 + {c}] = (j + l >= 2 && j + l <= 29 && k >= {2 - c} && k <= {29 - c}) ? "
             f"x[j*28 + l*28 + k + {c + 784 - 58}] : 0.0f;" for c in range(28)]
    source = tmp_path / "guards.c"
    source.write_text(
        "#include <string.h>\nvoid window(float *restrict v, const float *restrict x, long j) {\n"
        "for (long k = 0; k < 5; ++k) for (long l = 0; l < 28; ++l) {\n" + "\n".join(lines) + "\n}}\n"
        "int main(void) { static float x[784*3], v[784*5]; memset(v, 255, sizeof v);\n"
        "for (long i = 0; i < 784*3; ++i) x[i] = 1.0f;\nwindow(v, x, 1);\n"
        "for (long i = 0; i < 784*5; ++i) if (!(v[i] == 0.0f || v[i] == 1.0f)) return 1;\nreturn 0; }\n"
    )
    compiler = find_compiler(cache)
    flags = flags_for(compiler, "native", cache=cache)
    program = tmp_path / "guards"
    subprocess.run([*compiler.command, *flags.compile, str(source), "-o", str(program)], check=True)
    assert subprocess.run([str(program)], check=False).returncode == 0
