"""The content-addressed store: keys, entries, records, sweeping and eviction."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from gradgen.build.cache import Cache, CacheWarning, default_cache, digest


def write(text: str):
    return lambda folder: (folder / "file.txt").write_text(text) and None


def entries(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.root.glob("v1/entries/*/*"))


def leftovers(cache: Cache) -> list[Path]:
    return list(cache.root.glob("v1/tmp/*"))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_digest_counts_the_boundaries_of_its_parts():
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest("ab", b"c") == digest(b"ab", "c")
    assert len(digest()) == 64


def test_an_entry_is_written_once_and_found_again(cache: Cache):
    key = digest("one")
    assert cache.get(key) is None
    path = cache.publish(key, write("first"))
    assert (path / "file.txt").read_text() == "first"
    assert cache.publish(key, write("second")) == path == cache.get(key)
    assert (path / "file.txt").read_text() == "first"
    assert Cache(cache.root).get(key) == path
    assert leftovers(cache) == []


def test_a_key_is_never_a_path(cache: Cache):
    path = cache.publish("../../up", write("x"))
    assert cache.root in path.parents
    assert cache.get("../../up") == path
    cache.put_text("../../up", "x")
    assert cache.get_text("../../up") == "x"


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_folders_are_private(cache: Cache):
    path = cache.publish(digest("k"), write("x"))
    cache.put_text(digest("k"), "x")
    for folder in [cache.root, *path.parents]:
        if cache.root in [folder, *folder.parents]:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_a_folder_that_everyone_may_fill_is_not_loaded_from(tmp_path: Path):
    root = tmp_path / "open"
    Cache(root).publish(digest("k"), write("planted"))
    root.chmod(0o777)
    with pytest.warns(CacheWarning, match="everyone may write"):
        cache = Cache(root)
    assert cache.get(digest("k")) is None
    assert root not in cache.publish(digest("k"), write("mine")).parents


def test_what_a_writer_raises_passes_through_and_leaves_nothing(cache: Cache):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.publish(digest("k"), fail)
    assert entries(cache) == [] and leftovers(cache) == []
    assert cache.publish(digest("k"), write("x")) == cache.get(digest("k"))


def test_records(cache: Cache):
    key = digest("record")
    assert cache.get_text(key) is None
    for text in ("", "one\ntwo\n", "Zwölf ∂ \r\n", "x" * 100_000):
        cache.put_text(key, text)
        assert cache.get_text(key) == Cache(cache.root).get_text(key) == text
    assert leftovers(cache) == []


def test_threads_with_one_key_write_once(cache: Cache):
    written, found = [], []
    all_started = threading.Event()

    def writer(folder: Path) -> None:
        written.append(1)
        all_started.wait()
        (folder / "file.txt").write_text("x")

    threads = [threading.Thread(target=lambda: found.append(cache.publish(digest("k"), writer))) for _ in range(6)]
    for thread in threads:
        thread.start()
    all_started.set()
    for thread in threads:
        thread.join()
    assert len(written) == 1 and len(set(found)) == 1 and len(found) == 6


def test_without_locks_both_may_build_and_one_is_kept(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    import filelock

    def refuse(*_: object, **__: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)

    def while_another_wins(folder: Path) -> None:
        Cache(cache.root).publish(digest("k"), write("winner"))
        (folder / "file.txt").write_text("loser")

    path = cache.publish(digest("k"), while_another_wins)
    assert (path / "file.txt").read_text() == "winner"
    assert leftovers(cache) == []


def test_sweeping_takes_what_dead_processes_left_and_nothing_else(cache: Cache):
    with cache.workspace() as mine:
        host = mine.name.split("-")[0]
        dead = mine.parent / f"{host}-{2**22 + 12345}-abc"  # above the kernel's largest process number
        foreign, old = mine.parent / "feedbeef-1-abc", mine.parent / "feedbeef-2-abc"
        for folder in (dead, foreign, old):
            folder.mkdir()
            (folder / "half.o").write_text("x")
        os.utime(old, (1, 1))
        cache.sweep()
        assert mine.exists() and foreign.exists() and not dead.exists() and not old.exists()


def test_eviction_takes_the_longest_unused(tmp_path: Path):
    cache = Cache(tmp_path / "cache", size_cap=10_000)
    keys = [digest(str(i)) for i in range(8)]
    for age, key in enumerate(reversed(keys)):
        path = cache.publish(key, write("x" * 2000))
        os.utime(path / "entry.json", (time.time() - 1e6 + age,) * 2)
    cache.get(keys[-1])  # the oldest is used again
    cache.evict()
    held = entries(cache)
    assert keys[-1] in held and keys[-2] not in held
    assert sum(p.stat().st_size for p in cache.root.glob("v1/entries/*/*/*")) <= 8000
    assert 2 <= len(held) <= 4
    before = held
    cache.evict()
    assert entries(cache) == before


def test_the_folder_is_the_users_or_the_one_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GRADGEN_CACHE_DIR", str(tmp_path / "named"))
    assert default_cache().root == tmp_path / "named"
    assert default_cache() is default_cache()
    monkeypatch.delenv("GRADGEN_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert "gradgen" in str(default_cache().root)
