"""Builds on machines where something is wrong: no compiler, a bad one, damaged files, races, kills, a full disk.

Scripts stand for bad compilers; they hand the questions of discovery and, where a build is to succeed, the whole work
to the real one.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gradgen.build import standalone
from gradgen.build.cache import Cache, CacheWarning
from gradgen.build.library import build_extension, build_shared
from gradgen.build.load import load_shared
from gradgen.errors import CacheError, CompileError, CompilerNotFoundError
from tests.children import HANG, python, until

REAL = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(os.name == "nt" or REAL is None, reason="needs a C compiler and scripts around it")

SOURCE = {"answer.c": '#pragma GCC visibility push(default)\nint answer(void) { return 42; }\n'}
CDEF = "int answer(void);"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CFLAGS", raising=False)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes CC a script that answers questions as the real compiler does and otherwise runs the given lines."""

    def make(body: str) -> Path:
        path = tmp_path / "fake-cc"
        path.write_text(f'#!/bin/sh\ncase "$*" in *-dM*|*--version*) exec {REAL} "$@";; esac\n{body}\n')
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))
        return path

    return make


def make_bundle(out: Path) -> Path:
    package = out / "answer"
    package.mkdir(parents=True)
    (package / "answer.h").write_text("int answer(void);\n")
    (package / "answer.c").write_text('#include "answer.h"\nint answer(void) { return 42; }\n')
    manifest = {"name": "answer", "cdef": CDEF, "sources": ["answer.c"], "abi": 1}
    (package / "answer.json").write_text(json.dumps(manifest))
    (package / "__init__.py").write_text("from ._answer_cffi import lib\n")
    return package


def answer(path: Path, cache: Cache) -> int:
    return int(load_shared(path, CDEF, cache=cache)[1].answer())


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def published(cache: Cache) -> list[Path]:
    return list(cache.root.glob("v1/entries/*/*"))


def unfinished(cache: Cache) -> list[Path]:
    return list(cache.root.glob("v1/tmp/*"))


# ---------------------------------------------------------------------------------------------- compilers


def test_no_compiler_at_all(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(standalone.importlib.util, "find_spec", lambda name: None)
    package = make_bundle(tmp_path / "generated")
    before = files_below(package)
    for build in (lambda: build_shared(SOURCE, cache=cache), lambda: build_extension(package, "answer", cache=cache)):
        with pytest.raises(CompilerNotFoundError) as caught:
            build()
        assert "apt-get install gcc" in str(caught.value) and "gradgen.emit" in str(caught.value)
    assert files_below(package) == before and published(cache) == [] and unfinished(cache) == []


def test_a_mistake_in_the_source_is_shown_in_the_compilers_words(cache: Cache):
    with pytest.raises(CompileError) as caught:
        build_shared({"bad.c": "int f(void) { return undeclared_thing; }\n"}, cache=cache)
    error = caught.value
    assert "undeclared_thing" in error.output and error.output.strip().split("\n")[0] in str(error)
    assert error.source is not None and (error.source / "bad.c").is_file() and str(error.source) in str(error)
    assert "bad.c" in " ".join(error.command)
    assert published(cache) == [] and unfinished(cache) == []


FAILURES = {
    "says why and stops": 'echo "internal compiler error: out of cheese" >&2; exit 4',
    "writes half a file first": 'for a; do [ "$p" = -o ] && echo half > "$a"; p=$a; done; echo "out of cheese"; exit 1',
    "is killed": 'echo "out of cheese"; kill -9 $$',
    "claims success": 'echo "out of cheese"; exit 0',
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_compiler_that_fails(how: str, tmp_path: Path, cache: Cache, fake: Callable[[str], Path]):
    fake(FAILURES[how])
    package = make_bundle(tmp_path / "generated")
    before = files_below(package)
    for build in (lambda: build_shared(SOURCE, cache=cache), lambda: build_extension(package, "answer", cache=cache)):
        with pytest.raises(CompileError, match="out of cheese") as caught:
            build()
        assert caught.value.source is not None and (caught.value.source / "answer.c").is_file()
    assert files_below(package) == before and published(cache) == [] and unfinished(cache) == []
    fake(f'exec {REAL} "$@"')
    assert answer(build_shared(SOURCE, cache=cache), cache) == 42
    assert build_extension(package, "answer", cache=cache).is_file()


def test_a_wrong_declaration_is_found_by_the_compiler_not_by_a_crash(tmp_path: Path, cache: Cache):
    package = make_bundle(tmp_path / "generated")
    manifest = json.loads((package / "answer.json").read_text())
    for cdef in ("int no_such_function(void);", "int answer(float *x);"):
        (package / "answer.json").write_text(json.dumps({**manifest, "cdef": cdef}))
        with pytest.raises(CompileError, match=r"no_such_function|too many arguments"):
            build_extension(package, "answer", cache=cache)


def test_failed_builds_are_kept_but_not_without_end(cache: Cache, fake: Callable[[str], Path]):
    fake("exit 1")
    for number in range(25):
        with pytest.raises(CompileError):
            build_shared({"answer.c": f"int n{number};"}, cache=cache)
    kept = list(cache.root.glob("v1/failed/*"))
    assert len(kept) == 20
    with pytest.raises(CompileError) as caught:
        build_shared({"answer.c": "int n24;"}, cache=cache)
    assert caught.value.source in kept and (caught.value.source / "command.txt").is_file()


# ---------------------------------------------------------------------------------------------- cache folders


def test_a_file_in_the_place_of_the_cache(tmp_path: Path):
    (tmp_path / "cache").write_text("a file")
    cache = Cache(tmp_path / "cache")
    with pytest.warns(CacheWarning, match="GRADGEN_CACHE_DIR") as caught:
        path = build_shared(SOURCE, cache=cache)
    assert len(caught) == 1 and answer(path, cache) == 42
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build_shared(SOURCE, cache=cache) == path
        build_shared({"answer.c": SOURCE["answer.c"] + "int other;"}, cache=cache)
    assert (tmp_path / "cache").read_text() == "a file"


@pytest.mark.parametrize("first", ["entry", "text"])
def test_a_home_that_cannot_be_used(first: str, tmp_path: Path):
    """What fails is not the cache's own folder but one on the way to it, whatever is stored first."""
    (tmp_path / "home").write_text("a file")
    cache = Cache(tmp_path / "home" / ".cache" / "gradgen")
    with pytest.warns(CacheWarning, match="GRADGEN_CACHE_DIR"):
        if first == "entry":
            cache.publish("k", lambda folder: (folder / "f").write_text("x") and None)
        else:
            cache.put_text("k", "x")
    path = cache.publish("k", lambda folder: (folder / "f").write_text("x") and None)
    assert (path / "f").read_text() == "x"


def test_the_substitute_goes_away_with_its_process(tmp_path: Path):
    (tmp_path / "cache").write_text("a file")
    (tmp_path / "tmp").mkdir()
    code = (
        "import os, warnings; warnings.simplefilter('ignore')\n"
        "from gradgen.build import build_shared\n"
        f"path = build_shared({SOURCE!r})\n"
        "if os.fork() == 0: raise SystemExit\n"
        "os.wait(); print(path, path.is_file())\n"
    )
    environment = {**os.environ, "GRADGEN_CACHE_DIR": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("True\n"), done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_finished_entries_of_a_cache_that_cannot_be_written_are_used(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    path = build_shared(SOURCE, cache=cache)
    real = tempfile.mkdtemp

    def read_only(*arguments: object, **named: object) -> str:
        if str(named.get("dir") or "").startswith(str(cache.root)):
            raise OSError(errno.EROFS, "Read-only file system", str(named["dir"]))
        return real(*arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    again = Cache(cache.root)
    assert build_shared(SOURCE, cache=again) == path
    with pytest.warns(CacheWarning, match="Read-only"):
        other = build_shared({"answer.c": SOURCE["answer.c"] + "int other;"}, cache=again)
    assert cache.root not in other.parents and answer(other, again) == 42


def test_no_folder_at_all_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cache").write_text("a file")

    def refuse(**_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(CacheError, match="GRADGEN_CACHE_DIR"):
        Cache(tmp_path / "cache").publish("k", lambda folder: None)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _to_file(path: Path) -> None:
    folder = path.parent
    shutil.rmtree(folder)
    folder.write_text("a file")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "library truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "library emptied": lambda path: os.truncate(path, 0),
    "one bit flipped": _flip,
    "library deleted": lambda path: path.unlink(),
    "manifest deleted": lambda path: (path.parent / "entry.json").unlink(),
    "manifest truncated": lambda path: os.truncate(path.parent / "entry.json", 20),
    "manifest flipped": lambda path: _flip(path.parent / "entry.json"),
    "manifest of another form": lambda path: (path.parent / "entry.json").write_text("[1, 2]"),
    "manifest without files": lambda path: (path.parent / "entry.json").write_text('{"files": {}}'),
    "a file in the entry's place": _to_file,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_entry_is_built_again(how: str, cache: Cache):
    path = build_shared(SOURCE, cache=cache)
    whole = path.read_bytes()
    DAMAGE[how](path)
    damaged = path.read_bytes() if path.is_file() else b""
    again = build_shared(SOURCE, cache=cache)
    assert damaged == whole or again.read_bytes() != damaged  # a flipped bit may be one that no call looks at
    assert again == path and answer(again, cache) == 42
    assert len(published(cache)) == 1 and unfinished(cache) == []


def test_damaged_records_are_not_believed(cache: Cache):
    cache.put_text("k", "some text")
    (record,) = cache.root.glob("v1/text/*/*.txt")
    whole = record.read_bytes()
    for damaged in (whole[:-1], whole[:10], b"", whole.replace(b"some", b"sane"), b"\xff" * 100):
        record.write_bytes(damaged)
        assert cache.get_text("k") is None
    cache.put_text("k", "again")
    assert cache.get_text("k") == "again"


# ---------------------------------------------------------------------------------------------- several at once


def _build_in_a_process(root: str, barrier: object, results: object) -> None:
    cache = Cache(Path(root))
    barrier.wait()  # type: ignore[attr-defined]
    path = build_shared(SOURCE, cache=cache)
    results.put((str(path), answer(path, cache)))  # type: ignore[attr-defined]


def test_four_processes_compile_once(tmp_path: Path, cache: Cache, fake: Callable[[str], Path]):
    fake(f'echo run >> "{tmp_path}/runs"; sleep 0.3; exec {REAL} "$@"')
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=_build_in_a_process, args=(str(cache.root), barrier, results)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    found = {results.get(timeout=HANG) for _ in processes}
    for process in processes:
        process.join(HANG)
        assert process.exitcode == 0
    assert len(found) == 1 and found.pop()[1] == 42
    assert (tmp_path / "runs").read_text().count("run") == 1
    assert unfinished(cache) == []


# ---------------------------------------------------------------------------------------------- builds cut short


def start_build(cache: Cache, package: Path, tmp_path: Path) -> subprocess.Popen[bytes]:
    """A process that builds the bundle and is now waiting for its compiler."""
    code = (
        "from pathlib import Path; from gradgen.build import Cache, build_extension\n"
        f"build_extension(Path({str(package)!r}), 'answer', cache=Cache(Path({str(cache.root)!r})))\n"
    )
    process = python(code)
    until((tmp_path / "started").exists, process)
    return process


SLOW = 'for a; do [ "$p" = -o ] && echo half > "$a"; p=$a; done; touch "{folder}/started"; exec sleep 36000'


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_build_cut_short_leaves_nothing_that_could_be_imported(
    how: signal.Signals, tmp_path: Path, cache: Cache, fake: Callable[[str], Path]
):
    package = make_bundle(tmp_path / "generated")
    before = files_below(package)
    fake(f'echo $$ >> "{tmp_path}/pids"; ' + SLOW.format(folder=tmp_path))
    process = start_build(cache, package, tmp_path)
    process.send_signal(how)
    try:
        process.wait(HANG)
        assert files_below(package) == before and published(cache) == []
        assert bool(unfinished(cache)) == (how == signal.SIGKILL)
    finally:
        for pid in (tmp_path / "pids").read_text().split():
            if how == signal.SIGKILL or os.path.exists(f"/proc/{pid}"):
                os.kill(int(pid), signal.SIGKILL)
    fake(f'exec {REAL} "$@"')
    fresh = Cache(cache.root)
    assert build_extension(package, "answer", cache=fresh).is_file()
    assert unfinished(fresh) == []


def test_installing_cut_short_leaves_the_old_extension(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch):
    package = make_bundle(tmp_path / "generated")
    path = build_extension(package, "answer", cache=cache)
    path.write_bytes(b"the old one")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build_extension(package, "answer", cache=cache)
    assert path.read_bytes() == b"the old one"
    assert [p for p in package.iterdir() if p.name.endswith(".tmp")] == []


# ---------------------------------------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_disk_that_fills_up_during_a_build(small_disk: Path):
    cache = Cache(small_disk / "cache")
    cache.publish("k", lambda folder: (folder / "x").write_bytes(b"x") and None)
    before = published(cache)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
        for _ in range(1000):
            file.write(b"x" * 1024)
    for build in (lambda: build_shared(SOURCE, cache=cache), lambda: cache.put_text("k", "x" * 10_000)):
        with pytest.raises((CacheError, CompileError), match="full"):
            build()
    assert published(cache) == before and unfinished(cache) == []
    filler.unlink()
    assert build_shared(SOURCE, cache=cache).is_file()  # not loaded: the disk is to be unmounted


def test_a_writer_that_finds_the_disk_full(cache: Cache):
    def full(folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "half"))

    with pytest.raises(CacheError, match="full"):
        cache.publish("k", full)
    assert published(cache) == [] and unfinished(cache) == []
