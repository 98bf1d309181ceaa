"""Several programs under one name and folder, and bundles that are not what they say: what runs is what was generated."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.build import standalone
from gradgen.build.cache import Cache
from gradgen.build.library import build_extension, code_of
from gradgen.build.load import load_package
from gradgen.codegen.write import write_bundle
from gradgen.errors import BuildError

pytestmark = pytest.mark.skipif(
    os.name == "nt" or not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler"
)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """These compile small things of which nobody measures the speed."""
    monkeypatch.setenv("CFLAGS", "-O0")
    yield
    for name in [n for n in sys.modules if n.startswith("same_name")]:
        del sys.modules[name]


def program(k: int) -> Any:
    return gg.trace(lambda x: (x * k).sum(), x=gg.spec(3, dtype=gg.float64, requires_grad=True))


def value(module: Any) -> float:
    return float(module.forward(np.ones(3)))


def alone(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A new process that has the folder's packages and no gradgen."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env={**os.environ, "PYTHONPATH": ""},
                          capture_output=True, text=True, check=False)


def test_another_process_writes_between_our_writing_and_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As two processes do that build different programs under one name: each has its own, the folder the last one's."""
    other = gg.emit(program(7), "one", out=tmp_path / "other")
    foreign = {p.name: p.read_text() for p in other.iterdir()}

    def write(files: dict[str, str], folder: Path) -> None:
        write_bundle(files, folder)
        write_bundle(foreign, folder)

    monkeypatch.setattr("gradgen.api.write_bundle", write)
    out = tmp_path / "same_name_race"
    module = gg.build(program(5), "one", out=out)
    assert value(module) == 15 and module.info.digest not in (out / "one" / "one.c").read_text()
    assert not list((out / "one").glob("_one_cffi*"))  # an extension of ours would lie beside sources of theirs
    assert module.self_test() and module._runtime.__file__ == str(out / "one" / "_runtime.py")
    shutil.rmtree(out / "one")
    assert value(module) == 15
    done = alone("import numpy as np; from other import one; print(one.forward(np.ones(3)))", tmp_path)
    assert done.stdout.strip() == "21.0", done.stderr


def test_one_process_builds_many_programs_under_one_name(tmp_path: Path) -> None:
    """Within a second and of equal sizes: neither bytecode nor the mapped extension of the one before is run."""
    out = tmp_path / "same_name_again"
    modules = [gg.build(program(k), "one", out=out) for k in (1, 2, 3, 1)]
    assert [value(m) for m in modules] == [3, 6, 9, 3]
    seconds = (out / "one" / "__init__.py").stat().st_mtime_ns // 10**9
    done = alone("import numpy as np; from same_name_again import one; print(one.forward(np.ones(3)))", tmp_path)
    assert done.stdout.strip() == "3.0", done.stderr
    gg.emit(program(4), "one", out=out)
    assert (out / "one" / "__init__.py").stat().st_mtime_ns // 10**9 > seconds
    done = alone("import numpy as np; from same_name_again import one; print(one.forward(np.ones(3)))", tmp_path)
    assert done.stdout.strip() == "12.0", done.stderr


def test_threads_build_different_programs_under_one_name(tmp_path: Path) -> None:
    found: dict[int, float] = {}

    def work(k: int) -> None:
        found[k] = value(gg.build(programs[k], "one", out=tmp_path / "same_name_threads"))

    programs = {k: program(k) for k in (2, 3, 4)}
    for p in programs.values():  # compiled one by one: what is tested is the loading
        gg.build(p, "one", out=tmp_path / "same_name_before")
    threads = [threading.Thread(target=work, args=(k,)) for k in programs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {2: 6, 3: 9, 4: 12}


def test_files_of_two_programs_in_one_folder_are_not_run(tmp_path: Path) -> None:
    """As after a kill between two renames: an import says so, and writing again mends it."""
    out = tmp_path / "same_name_mixed"
    folder = gg.emit(program(2), "one", out=out)
    init = (folder / "__init__.py").read_text()
    gg.emit(program(3), "one", out=out)
    (folder / "__init__.py").write_text(init)
    done = alone("from same_name_mixed import one", tmp_path)
    assert done.returncode != 0 and "write the bundle again" in done.stderr
    gg.emit(program(3), "one", out=out)
    done = alone("import numpy as np; from same_name_mixed import one; print(one.forward(np.ones(3)))", tmp_path)
    assert done.stdout.strip() == "9.0", done.stderr


def test_a_killed_writer_leaves_nothing_for_long(tmp_path: Path) -> None:
    left = tmp_path / ".one.abcd_123"
    (left / "new").mkdir(parents=True)
    keep = tmp_path / ".one.more"
    keep.mkdir()
    gg.emit(program(2), "one", out=tmp_path)
    assert left.is_dir()  # its writer may be at work, where folders cannot be locked
    os.utime(left, (0, 0))
    os.utime(keep, (0, 0))
    gg.emit(program(2), "one", out=tmp_path)
    assert not left.exists() and keep.is_dir()


# ------------------------------------------------------------------------------------------------ manifests


HOSTILE: dict[str, dict[str, Any]] = {
    "an option": {"sources": ["-fplugin=x.c"]},
    "an option file": {"sources": ["@x.c"]},
    "an absolute path": {"sources": ["/tmp/x.c"]},
    "a folder above": {"sources": ["../x.c"]},
    "a folder below": {"sources": ["below/x.c"]},
    "another separator": {"sources": ["..\\x.c"]},
    "a drive": {"sources": ["C:x.c"]},
    "a line": {"sources": ["x\n.c"]},
    "no text": {"sources": [3]},
    "nothing": {"sources": []},
    "not C": {"sources": ["one.so"]},
    "another script": {"sources": ["x\u0430.c"]},
    "a name as an option": {"name": "-o"},
    "a name as a path": {"name": "../one"},
    "a name with a quote": {"name": 'one"\n#include "x'},
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_manifest_cannot_speak_to_the_compiler(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    package = tmp_path / "one"
    package.mkdir()
    for name in [s for s in HOSTILE[how].get("sources", ()) if isinstance(s, str) and not s.startswith("/")]:
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text("int x;\n")
    (package / "one.c").write_text("int x;\n")
    (package / "one.h").write_text("")
    manifest = {"name": "one", "cdef": "int x;", "sources": ["one.c"], "abi": 1, **HOSTILE[how]}
    (package / "one.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a compiler was started"))
    with pytest.raises(standalone.BuildFailure):
        standalone.read_manifest(package)
    with pytest.raises(standalone.BuildFailure):
        standalone.stage_sources(package, manifest, tmp_path / "below")
    cache = Cache(tmp_path / "cache")
    for build in (build_extension, load_package):
        with pytest.raises(BuildError):
            build(package, "one", cache=cache)


def test_sources_are_given_as_paths() -> None:
    recipe = standalone.Recipe(standalone.Toolchain(("cc",), "gcc", "", "", ""), ())
    assert recipe.compile("x.c")[-3:] == ["./x.c", "-o", "./x.c.o"]


# ------------------------------------------------------------------------------------------------ what counts as code


def test_code_is_what_is_left_without_comments() -> None:
    text = '''/* a
 * b */ int x = '"'; // to the end
const char *s = "/* no comment */ // none \\" /*";   /* one "quoted" */
#define A 1 /* n.py:3 */

int y;'''
    assert code_of(text) == '''int x = '"';
const char *s = "/* no comment */ // none \\" /*";
#define A 1
int y;'''


def test_a_comment_above_the_function_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has the new lines, the machine code is the old one, and the module says the new text's digest."""
    source = "def f(x):\n    return (x * 3).sum()\n"

    def built(text: str, out: str) -> Any:
        scope: dict[str, Any] = {}
        exec(compile(text, "moved.py", "exec"), scope)
        traced = gg.trace(scope["f"], x=gg.spec(3, dtype=gg.float64, requires_grad=True))
        return gg.build(traced, "one", out=tmp_path / out)

    assert value(built(source, "same_name_first")) == 9
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a compiler was started"))
    assert value(built(f"# a comment\n\n{source}", "same_name_second")) == 9
    first, second = ((tmp_path / out / "one" / "one.c").read_text() for out in ("same_name_first", "same_name_second"))
    assert "moved.py:2" in first and "moved.py:4" in second and code_of(first) == code_of(second)
