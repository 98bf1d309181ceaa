"""Shared libraries and extensions: built, found again, loaded, run."""

from __future__ import annotations

import ast
import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gradgen.build import standalone
from gradgen.build.cache import Cache
from gradgen.build.library import build_extension, build_shared
from gradgen.build.load import load_package, load_shared
from gradgen.errors import AbiError, BuildError

pytestmark = pytest.mark.skipif(
    os.name == "nt" or not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler"
)

SCALE = """#include <math.h>
#include <stdint.h>
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
double scale(int64_t n, const double *x, double *y)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i) {
        y[i] = FACTOR * x[i];
        sum += cbrt(y[i]);
    }
    return sum;
}
"""
CDEF = "double scale(int64_t n, const double *x, double *y);"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CFLAGS", raising=False)


def make_bundle(out: Path, name: str = "twice", factor: int = 2, abi: int = 1) -> Path:
    """What the emitter writes, as far as building is concerned."""
    package = out / name
    package.mkdir(parents=True, exist_ok=True)
    declarations = f"typedef struct {{ uint32_t abi_version; ...; }} gradgen_module;\nint {name}_times(int x);\n"
    cdef = f"{declarations}const gradgen_module *{name}_module(void);\n"
    (package / "gradgen_abi.h").write_text(
        "#include <stdint.h>\ntypedef struct { uint32_t abi_version, struct_size; } gradgen_module;\n"
    )
    (package / f"{name}.h").write_text(
        f'#include "gradgen_abi.h"\nint {name}_times(int x);\nconst gradgen_module *{name}_module(void);\n'
    )
    (package / f"{name}.c").write_text(
        f'#include "{name}.h"\nint {name}_times(int x) {{ return {factor} * x; }}\n'
        f"static const gradgen_module record = {{ {abi}, sizeof(gradgen_module) }};\n"
        f"const gradgen_module *{name}_module(void) {{ return &record; }}\n"
    )
    (package / f"{name}.json").write_text(
        json.dumps({"name": name, "cdef": cdef, "sources": [f"{name}.c"], "digest": f"sha256:{factor}", "abi": 1})
    )
    (package / "__init__.py").write_text(f"from ._{name}_cffi import ffi, lib\ntimes = lib.{name}_times\n")
    shutil.copy(standalone.__file__, package / "_build.py")
    return package


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": "", **environment}, capture_output=True, text=True, check=False
    )


# ---------------------------------------------------------------------------------------------- shared libraries


@pytest.mark.parametrize("profile", ["quick", "native", "portable"])
def test_a_library_is_compiled_loaded_and_run(profile: str, cache: Cache):
    path = build_shared({"scale.c": SCALE.replace("FACTOR", "8.0")}, flags_profile=profile, cache=cache)
    ffi, lib = load_shared(path, CDEF, cache=cache)
    x, y = ffi.new("double[3]", [1.0, 8.0, -1.0]), ffi.new("double[3]")
    assert lib.scale(3, x, y) == pytest.approx(4.0, rel=1e-15)  # 2 + 4 - 2; cbrt may be off by one ulp
    assert list(y) == [8.0, 64.0, -8.0]


def test_a_function_outlives_the_library_object_it_came_from(cache: Cache):
    path = build_shared({"one.c": "#pragma GCC visibility push(default)\nint one(void) { return 1; }\n"}, cache=cache)
    function = load_shared(path, "int one(void);", cache=cache)[1].one
    gc.collect()
    assert function() == 1


def test_the_same_text_is_compiled_once(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    files = {"scale.c": '#include "factor.h"\n' + SCALE, "factor.h": "#define FACTOR 3.0\n"}
    path = build_shared(files, cache=cache)
    other = build_shared({**files, "factor.h": "#define FACTOR 4.0\n"}, cache=cache)
    assert path != other
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a compiler was started"))
    assert build_shared(files, cache=Cache(cache.root)) == path


def test_several_files_make_one_library(cache: Cache):
    files = {"a.c": "int g(void);\nint f(void) { return g() + 1; }\n", "b.c": "int g(void) { return 1; }\n"}
    prefix = "#pragma GCC visibility push(default)\n"
    path = build_shared({name: prefix + text for name, text in files.items()}, cache=cache)
    assert load_shared(path, "int f(void);", cache=cache)[1].f() == 2
    assert sorted(p.name for p in path.parent.iterdir()) == ["entry.json", "module.so"]


def test_CFLAGS_make_another_library(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    paths = []
    for factor in ("2.0", "3.0"):
        monkeypatch.setenv("CFLAGS", f"-DFACTOR={factor}")
        paths.append(build_shared({"scale.c": SCALE}, cache=cache))
    assert paths[0] != paths[1]


def test_bad_file_names_and_declarations(cache: Cache):
    for files in ({}, {"only.h": ""}, {"../up.c": ""}, {"a.c": "", "b/c.h": ""}):
        with pytest.raises(BuildError, match="nothing to compile"):
            build_shared(files, cache=cache)
    path = build_shared({"scale.c": SCALE.replace("FACTOR", "1.0")}, cache=cache)
    with pytest.raises(BuildError, match="declarations"):
        load_shared(path, "double scale(", cache=cache)


def test_a_library_for_another_machine_is_an_error(tmp_path: Path, cache: Cache):
    path = tmp_path / "alien.so"
    path.write_bytes(b"not a library")
    with pytest.raises(AbiError, match="cannot be loaded"):
        load_shared(path, CDEF, cache=cache)


# ---------------------------------------------------------------------------------------------- extensions


def test_an_extension_is_built_beside_its_source(tmp_path: Path, cache: Cache):
    package = make_bundle(tmp_path / "made_here")
    before = {path.name for path in package.iterdir()}
    path = build_extension(package, "twice", cache=cache)
    assert {p.name for p in package.iterdir()} - before == {path.name} == {standalone.extension_file("twice")}
    done = run(tmp_path, "-c", "from made_here import twice; print(twice.times(21))")
    assert done.stdout == "42\n", done.stderr


def test_a_second_build_starts_no_compiler_and_touches_nothing(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
):
    package = make_bundle(tmp_path / "made_here")
    path = build_extension(package, "twice", cache=cache)
    state, content = path.stat(), path.read_bytes()
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a compiler was started"))
    assert build_extension(package, "twice", cache=cache) == path
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (state.st_mtime_ns, state.st_ino)
    path.write_bytes(content[:100])
    assert build_extension(package, "twice", cache=cache).read_bytes() == content


def test_a_changed_header_is_compiled_again(tmp_path: Path, cache: Cache):
    package = make_bundle(tmp_path / "made_here")
    first = build_extension(package, "twice", cache=cache).stat().st_ino
    with (package / "gradgen_abi.h").open("a") as header:
        header.write("#define CHANGED 1\n")
    build_extension(package, "twice", cache=cache)
    assert len(list(cache.root.glob("v1/entries/*/*"))) == 2 and first
    with (package / "gradgen_abi.h").open("a") as header:
        header.write("/* a comment */\n\n// and another\n")
    build_extension(package, "twice", cache=cache)
    assert len(list(cache.root.glob("v1/entries/*/*"))) == 2


def test_two_versions_in_one_process(tmp_path: Path, cache: Cache):
    modules = [
        load_package(make_bundle(tmp_path / "made_here", factor=factor), "twice", cache=cache) for factor in (2, 3, 2)
    ]
    assert [module.times(10) for module in modules] == [20, 30, 20]
    assert {module.__name__.split(".")[1] for module in modules} == {"twice"}
    assert sys.modules[modules[0].__name__] is modules[2]


def test_a_module_built_here_is_what_a_later_import_finds(tmp_path: Path, cache: Cache):
    package = make_bundle(tmp_path / "bundles_of_a_test", "later")
    (package / "__init__.py").write_text("from . import part\nfrom ._later_cffi import lib\n")
    (package / "part.py").write_text("here = __name__\n")
    module = load_package(package, "later", cache=cache)
    assert importlib.import_module("bundles_of_a_test.later") is module
    assert importlib.import_module("bundles_of_a_test").later is module
    assert module.part.here == "bundles_of_a_test.later.part"


def test_a_folder_with_the_name_of_a_library_does_not_disturb_it(tmp_path: Path, cache: Cache):
    for folder in ("json", "colorsys", "not a name"):
        module = load_package(make_bundle(tmp_path / folder), "twice", cache=cache)
        assert module.times(2) == 4 and module.__name__.startswith("gradgen_")
    assert json.loads("[1]") == [1] and not hasattr(json, "twice")


def test_the_record_in_the_machine_code_must_fit_the_manifest(tmp_path: Path, cache: Cache):
    package = make_bundle(tmp_path / "made_here", "foreign", abi=7)
    with pytest.raises(AbiError, match="ABI 7"):
        load_package(package, "foreign", cache=cache)
    assert not [name for name in sys.modules if name.endswith(".foreign")]


def test_a_package_that_fails_to_import_leaves_nothing(tmp_path: Path, cache: Cache):
    package = make_bundle(tmp_path / "made_here", "broken")
    (package / "__init__.py").write_text("from ._broken_cffi import nothing_of_that_name\n")
    before = set(sys.modules)  # other tests may have built a package of that name
    with pytest.raises(AbiError, match="nothing_of_that_name"):
        load_package(package, "broken", cache=cache)
    assert not [name for name in sys.modules if ".broken" in name and name not in before]


def test_manifests_that_cannot_be_built(tmp_path: Path, cache: Cache):
    package = make_bundle(tmp_path / "made_here")
    manifest = json.loads((package / "twice.json").read_text())
    for change in ({"sources": ["../../etc/passwd"]}, {"sources": ["missing.c"]}, {"name": "../up"}, {"cdef": 3}):
        (package / "twice.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(BuildError):
            build_extension(package, "twice", cache=cache)
    (package / "twice.json").write_text('{"name": "tw')
    with pytest.raises(BuildError, match="missing or damaged"):
        build_extension(package, "twice", cache=cache)


# ---------------------------------------------------------------------------------------------- the bundle's own build


def test_the_bundles_build_needs_the_standard_library_and_cffi_only():
    tree = ast.parse(Path(standalone.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"cffi"}


@pytest.mark.parametrize("profile", [[], ["--native"], ["--portable"]])
def test_the_bundle_builds_itself_without_gradgen_and_setuptools(profile: list[str], tmp_path: Path):
    package = make_bundle(tmp_path / "made_here")
    hidden = "import sys; sys.modules.update(gradgen=None, setuptools=None, distutils=None); "
    start = f"import runpy; sys.argv = ['_build.py', *{profile!r}]; runpy.run_path('_build.py', run_name='__main__')"
    done = run(package, "-c", hidden + start, TMPDIR=str(tmp_path))
    assert done.returncode == 0 and done.stdout.startswith("built "), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made_here"]
    use = "import sys; sys.modules['gradgen'] = None; from made_here import twice; print(twice.times(2))"
    done = run(tmp_path, "-c", use)
    assert done.stdout == "4\n", done.stderr


def test_the_bundles_build_explains_failures(tmp_path: Path):
    package = make_bundle(tmp_path / "made_here")
    (package / "twice.c").write_text("int twice_times(int x) { return y; }\n")
    done = run(package, "_build.py", TMPDIR=str(tmp_path))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    kept = done.stderr.strip().split(" ")[-1]
    assert "'y'" in done.stderr.replace("\u2018", "'").replace("\u2019", "'") and (Path(kept) / "twice.c").is_file()
    assert not list(package.glob("*.so")) and not list(package.glob(".*"))
    done = run(package, "_build.py", PATH="", CC="")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    done = run(package, "_build.py", CC="no-such-compiler")
    assert done.returncode == 1 and "apt-get install gcc" in done.stderr and "Traceback" not in done.stderr


def test_setuptools_builds_the_same_where_the_system_has_its_own_compiler(tmp_path: Path):
    pytest.importorskip("setuptools")
    package, folder = make_bundle(tmp_path / "made_here"), tmp_path / "work"
    folder.mkdir()
    built = standalone.build_extension(package, standalone.read_manifest(package), folder, None)
    standalone.install(built, package / built.name)
    assert run(tmp_path, "-c", "from made_here import twice; print(twice.times(4))").stdout == "8\n"
