"""A content-addressed store on disk for compiled code and small text records.

Layout below the root, all of it disposable::

    v1/entries/ab/abcdef…/          one finished entry: its files and entry.json with their sizes and SHA-256
    v1/text/ab/abcdef….txt          one small record: its SHA-256 on the first line, then the text
    v1/tmp/<host>-<pid>-<random>/   a build under way, or what a killed one left
    v1/locks/<key>.lock             held while an entry is being built
    v1/failed/<key>/                the sources of the last build of that key that failed

An entry appears by one rename of a directory on the same file system, so it exists whole or not at all; what a disk or
a bug damages afterwards is found by its digest when it is read, and built again.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import hashlib
import json
import os
import platform
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs

from gradgen.errors import CacheError

__all__ = ["Cache", "CacheWarning", "default_cache", "digest"]

MANIFEST = "entry.json"
HASH_LIMIT = 32 << 20  # bytes; of larger files only the size is checked, to keep a load fast
SIZE_CAP = 1 << 30  # bytes kept on disk; the longest unused go first
HOUR = 3600.0
TOUCH_AFTER = 6 * HOUR  # an entry's time of last use is this coarse, so that reading seldom writes
STALE_AFTER = 24 * HOUR  # a temporary folder of another host, or of a process number in use again
LOCK_TIMEOUT = 15 * 60.0  # seconds; then build without the lock: publishing is safe anyway
KEEP_FAILED = 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class CacheWarning(UserWarning):
    """The cache folder cannot be used; gradgen goes on with a temporary one."""


def digest(*parts: str | bytes) -> str:
    """SHA-256 in hexadecimal over parts whose boundaries count: ("ab", "c") and ("a", "bc") differ."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(b"%d:" % len(data))
        state.update(data)
    return state.hexdigest()


class Cache:
    """A store under `root`.  Safe for any number of processes and threads at the same time.

    Args:
        root: the folder; made with mode 0700 when missing.
        size_cap: bytes of entries and records to keep.

    Where `root` cannot be written, finished entries in it are still used, and new ones go to a temporary folder that
    this process removes at its end; a CacheWarning says so once.
    """

    def __init__(self, root: Path, *, size_cap: int = SIZE_CAP) -> None:
        self.root = Path(root)
        self.size_cap = size_cap
        self._base = self.root / "v1"
        self._fallback: Path | None = None
        self._swept = False
        if not _is_trustworthy(self.root):
            self._fall_back("it belongs to another user, or everyone may write to it")

    # -------------------------------------------------------------------------------------------- entries

    def get(self, key: str) -> Path | None:
        """The folder of a finished, undamaged entry, or None.  A damaged entry is removed."""
        key = _normal(key)
        for base in self._bases():
            path = _sharded(base / "entries", key)
            state = _verify(path)
            if state is None:
                self._discard(path)
            elif state:
                return path
        return None

    def publish(self, key: str, writer: Callable[[Path], None]) -> Path:
        """The entry's folder; `writer` fills an empty folder with its files if no other process has done so already.

        Of several processes with the same key, one calls its writer and the others wait for it.  What `writer` raises
        passes through, and nothing is left of the attempt.  Raises CacheError when the disk is full.
        """
        key = _normal(key)
        self._sweep_once()
        try:
            return self._publish(key, writer)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise self._full(error) from error
            if self._fallback is not None or not _concerns(error, self._base):
                raise
            self._fall_back(str(error))
        try:
            return self._publish(key, writer)
        except OSError as error:
            raise (self._full(error) if error.errno in DISK_FULL else error) from error

    def _publish(self, key: str, writer: Callable[[Path], None]) -> Path:
        base = self._writable()
        with self._locked(base, key):
            found = self.get(key)
            if found is not None:
                return found
            with self.workspace() as folder:
                writer(folder)
                _write_manifest(folder)
                return self._move_in(folder, _sharded(base / "entries", key))

    def _move_in(self, folder: Path, target: Path) -> Path:
        """Publishes by rename.  A whole entry that is there already wins; a damaged one makes way."""
        _make_private(target.parent)
        for attempt in range(3):
            try:
                os.rename(folder, target)
                return target
            except OSError as error:
                if attempt == 2 or error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.ENOTDIR):
                    raise
            if _verify(target):
                return target
            self._discard(target)
        raise AssertionError("unreachable: the third attempt returns or raises")

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty private folder on the cache's file system, gone at the end of the block unless renamed away."""
        parent = self._writable() / "tmp"
        _make_private(parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{_host()}-{os.getpid()}-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep_failed(self, key: str, folder: Path) -> Path | None:
        """Moves the folder of a failed build to where the user can look at it, and returns the new place."""
        try:
            parent = self._writable() / "failed"
            _make_private(parent)
            target = parent / _normal(key)[:16]
            shutil.rmtree(target, ignore_errors=True)
            os.rename(folder, target)
            for old in sorted(parent.iterdir(), key=_modified, reverse=True)[KEEP_FAILED:]:
                shutil.rmtree(old, ignore_errors=True)
        except OSError:
            return None
        return target

    # -------------------------------------------------------------------------------------------- text records

    def get_text(self, key: str) -> str | None:
        """The text stored under `key`, or None when there is none or it is damaged."""
        for base in self._bases():
            try:
                data = _sharded(base / "text", _normal(key)).with_suffix(".txt").read_bytes()
            except OSError:
                continue
            head, _, body = data.partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() == head:
                return body.decode()
        return None

    def put_text(self, key: str, text: str) -> None:
        """Stores a small text in one step.  Raises CacheError when the disk is full."""
        self._sweep_once()
        try:
            self._put_text(key, text.encode())
        except OSError as error:
            if error.errno in DISK_FULL:
                raise self._full(error) from error
            if self._fallback is not None:
                raise CacheError("a cache record could not be written", where=str(error)) from error
            self._fall_back(str(error))
            self._put_text(key, text.encode())

    def _put_text(self, key: str, body: bytes) -> None:
        target = _sharded(self._writable() / "text", _normal(key)).with_suffix(".txt")
        _make_private(target.parent)
        with self.workspace() as folder:
            record = folder / "record"
            record.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            os.replace(record, target)

    # -------------------------------------------------------------------------------------------- where to write

    def _bases(self) -> list[Path]:
        return [self._base] if self._fallback is None else [self._fallback, self._base]

    def _writable(self) -> Path:
        return self._base if self._fallback is None else self._fallback

    def _fall_back(self, why: str) -> None:
        """From here on writes go to a temporary folder, which goes away with this process."""
        try:
            folder = Path(tempfile.mkdtemp(prefix="gradgen-cache-"))
        except OSError as error:
            hint = "set GRADGEN_CACHE_DIR to a folder that can be written"
            what = "no folder for compiled code can be written"
            raise CacheError(what, where=f"{why}; {error}", hint=hint) from error
        atexit.register(_remove_at_exit, folder, os.getpid())
        if why.startswith("it belongs"):
            self._base = folder / "untrusted"  # nothing is read from a folder that others can fill
        self._fallback = folder
        message = (
            f"the cache folder {self.root} cannot be used ({why}); compiled code is kept in {folder} until this "
            "process ends. Set GRADGEN_CACHE_DIR to a folder that can be written."
        )
        warnings.warn(message, CacheWarning, stacklevel=4)

    def _full(self, error: OSError) -> CacheError:
        hint = "make room, or set GRADGEN_CACHE_DIR to a folder on another disk"
        return CacheError("the disk of the build cache is full", where=f"{self._writable()}: {error}", hint=hint)

    @contextlib.contextmanager
    def _locked(self, base: Path, key: str) -> Iterator[None]:
        """Holds the key's lock where the file system has locks; without one two processes may build, one is kept."""
        import filelock  # here, because it takes 20 ms and a process that finds everything in the cache needs none

        folder = base / "locks"
        _make_private(folder)
        lock = filelock.FileLock(str(folder / f"{key}.lock"))
        try:
            lock.acquire(timeout=LOCK_TIMEOUT, poll_interval=0.01)
        except (filelock.Timeout, OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and _concerns(error, base) and error.errno in (errno.EACCES, errno.EROFS):
                raise
        try:
            yield
        finally:
            if lock.is_locked:
                # Removed while held; whoever waits on the removed file finds the entry done.
                with contextlib.suppress(OSError):
                    os.unlink(lock.lock_file)
                lock.release()

    # -------------------------------------------------------------------------------------------- housekeeping

    def _discard(self, path: Path) -> None:
        """Takes an entry away by rename first, so that nobody sees it half-removed."""
        with contextlib.suppress(OSError), self.workspace() as folder:
            os.rename(path, folder / "discarded")

    def _sweep_once(self) -> None:
        """Once per process: what killed builds left; once per day and machine: the size cap."""
        if self._swept or self._fallback is not None:
            return
        self._swept = True
        with contextlib.suppress(OSError):
            self.sweep()
            stamp = self._base / "swept"
            if time.time() - _modified(stamp) > STALE_AFTER:
                stamp.touch()
                self.evict()

    def sweep(self) -> None:
        """Removes temporary folders whose process has ended, or that are a day old, and lock files as old."""
        for path in _children(self._base / "tmp"):
            if _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)
        for path in _children(self._base / "locks"):
            if time.time() - _modified(path) > STALE_AFTER:
                with contextlib.suppress(OSError):
                    path.unlink()

    def evict(self) -> None:
        """If the size cap is exceeded, removes the longest unused entries and records down to four fifths of it."""
        held = [(_last_use(p), _size(p), p) for kind in ("entries", "text") for shard in _children(self._base / kind)
                for p in _children(shard)]  # fmt: skip
        total = sum(size for _, size, _ in held)
        if total <= self.size_cap:
            return
        for _, size, path in sorted(held):
            self._discard(path)
            total -= size
            if total <= self.size_cap * 4 // 5:
                return


@functools.cache
def _cache_at(root: str) -> Cache:
    return Cache(Path(root))


def default_cache() -> Cache:
    """The cache under GRADGEN_CACHE_DIR, else in the user's cache folder; one object per process and folder."""
    named = os.environ.get("GRADGEN_CACHE_DIR", "").strip()
    return _cache_at(os.path.abspath(os.path.expanduser(named)) if named else platformdirs.user_cache_dir("gradgen"))


# ------------------------------------------------------------------------------------------------ on-disk helpers


def _sharded(parent: Path, key: str) -> Path:
    """Two digits of the key between folder and entry keep folders small."""
    return parent / key[:2] / key


def _normal(key: str) -> str:
    """Keys are SHA-256 digests; any other text is made one, so that a key never is a path."""
    return key if len(key) == 64 and all(c in "0123456789abcdef" for c in key) else digest(key)


def _write_manifest(folder: Path) -> None:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    files = {path.name: [path.stat().st_size, _file_digest(path)] for path in paths}
    (folder / MANIFEST).write_text(json.dumps({"files": files}), encoding="utf-8")


def _verify(path: Path) -> bool | None:
    """True: whole.  False: not there.  None: there and damaged."""
    manifest = path / MANIFEST
    try:
        data = manifest.read_bytes()
    except OSError:
        return None if os.path.lexists(path) else False
    try:
        files = json.loads(data)["files"]
        whole = bool(files) and all(_matches(path / name, size, sha) for name, (size, sha) in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not whole:
        return None
    with contextlib.suppress(OSError):
        if time.time() - _modified(manifest) > TOUCH_AFTER:
            os.utime(manifest)
    return True


def _matches(path: Path, size: int, sha: str | None) -> bool:
    return path.stat().st_size == size and (sha is None or _file_digest(path) == sha)


def _file_digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.stat().st_size <= HASH_LIMIT else None


def _make_private(folder: Path) -> None:
    if not folder.is_dir():
        missing = [folder, *folder.parents]
        for path in reversed(missing[: next((i for i, p in enumerate(missing) if p.is_dir()), len(missing))]):
            path.mkdir(mode=0o700, exist_ok=True)


def _is_trustworthy(root: Path) -> bool:
    """Code is loaded from here: it must not be a place where another user can put something."""
    if not hasattr(os, "geteuid"):
        return True
    try:
        state = root.stat()
    except OSError:
        return True  # not there yet
    return state.st_uid in (os.geteuid(), 0) and not state.st_mode & stat.S_IWOTH


def _concerns(error: OSError, base: Path) -> bool:
    """Whether an OSError is about the cache and not about what a writer touched elsewhere."""
    if not isinstance(error.filename, (str, bytes, os.PathLike)):
        return True
    touched = Path(os.fsdecode(error.filename))
    return touched.is_relative_to(base.parent) or base.is_relative_to(touched)  # in it, or a folder on the way to it


@functools.cache
def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_abandoned(path: Path) -> bool:
    host, _, rest = path.name.partition("-")
    pid = rest.partition("-")[0]
    if host == _host() and pid.isdigit() and not _is_running(int(pid)):
        return True
    return time.time() - _modified(path) > STALE_AFTER


def _is_running(pid: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end the process there; age decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _last_use(path: Path) -> float:
    return _modified(path / MANIFEST) or _modified(path)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(p.stat().st_size for p in (path.iterdir() if path.is_dir() else [path]))
    return 0


def _remove_at_exit(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child inherits the hook, not the folder
        shutil.rmtree(folder, ignore_errors=True)
