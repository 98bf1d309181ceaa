"""Which C compiler this machine has, and what identifies it in a cache key.

The search and the questions to the compiler are those of ``standalone``, which travels with every bundle; here the
answers are remembered, in the process and on disk, so that only the first process ever starts a compiler to ask.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import shlex
from dataclasses import dataclass
from pathlib import Path

from gradgen.build import standalone
from gradgen.build.cache import Cache, default_cache, digest
from gradgen.errors import CacheError, CompilerNotFoundError

__all__ = ["Compiler", "find_compiler"]

RECORD = "compiler-2"  # names the format of the record on disk
# A wrapper stays the same file when the compiler behind it changes, so its answer cannot be remembered on disk.
WRAPPERS = ("ccache", "distcc", "sccache", "icecc", "gomacc")


@dataclass(frozen=True)
class Compiler:
    """A C compiler that answered.

    Attributes:
        command: how to call it, path first.
        kind: "gcc", "clang", "zig" or "other".
        version: its own words, one line.
        triple: what it compiles for, such as ``x86_64-linux-gnu``; empty where it does not say.
        identity: SHA-256 over all of the above and the macros it predefines for this processor, so that code built for
            another processor or by another version has another key.
    """

    command: tuple[str, ...]
    kind: str
    version: str
    triple: str
    identity: str

    @property
    def toolchain(self) -> standalone.Toolchain:
        return standalone.Toolchain(self.command, self.kind, self.version, self.triple, "")

    def __str__(self) -> str:
        return f"{shlex.join(self.command)} ({self.version or self.kind})"


def find_compiler(cache: Cache | None = None) -> Compiler:
    """The compiler named by ``CC``, else ``cc``, ``gcc``, ``clang``, else the ``ziglang`` package's.

    A candidate that does not work (the placeholder of macOS, a broken installation) is passed over, except one named
    by ``CC``.  Raises CompilerNotFoundError, which says how to get one, when none is left.
    """
    cache = cache or default_cache()
    tried = []
    for command in standalone.candidates():
        try:
            return _described(command, _stamp(command), cache)
        except standalone.BuildFailure as failure:
            tried.append(shlex.join(command) + ": " + (failure.output.strip().split("\n")[0] or "failed"))
    none = standalone.no_compiler(tried)
    hint = f"{none.hint}\nor pip install 'gradgen[compiler]'; gradgen.emit writes the C without a compiler"
    raise CompilerNotFoundError(none.what, where=none.output or None, hint=hint)


# One process asks once about each state of a compiler's file; the cache is an argument only for what is on disk.
_known: dict[tuple[tuple[str, ...], str], Compiler] = {}


def _described(command: tuple[str, ...], stamp: str, cache: Cache) -> Compiler:
    found = _known.get((command, stamp)) or _recorded(command, stamp, cache)
    if found is None:
        tool = standalone.describe(command)
        identity = digest(*command, tool.kind, tool.version, tool.triple, tool.macros)
        found = Compiler(command, tool.kind, tool.version, tool.triple, identity)
        _record(found, stamp, cache)
    _known[command, stamp] = found
    return found


def _stamp(command: tuple[str, ...]) -> str:
    """What changes when the compiler is replaced: its file's real path, size and time, and the processor."""
    path = os.path.realpath(command[0])
    state = os.stat(path)
    return f"{path} {state.st_size} {state.st_mtime_ns} {_processor()}"


def _recorded(command: tuple[str, ...], stamp: str, cache: Cache) -> Compiler | None:
    text = cache.get_text(digest(RECORD, *command, stamp)) if _is_recordable(command) else None
    if text is None:
        return None
    try:
        fields = json.loads(text)
        return Compiler(command, fields["kind"], fields["version"], fields["triple"], fields["identity"])
    except (ValueError, KeyError, TypeError):
        return None


def _record(found: Compiler, stamp: str, cache: Cache) -> None:
    if _is_recordable(found.command):
        fields = {"kind": found.kind, "version": found.version, "triple": found.triple, "identity": found.identity}
        with contextlib.suppress(CacheError):  # only time is lost
            cache.put_text(digest(RECORD, *found.command, stamp), json.dumps(fields))


def _is_recordable(command: tuple[str, ...]) -> bool:
    """Not a wrapper or a script: what they call can change while they do not."""
    path = Path(os.path.realpath(command[0]))
    if any(wrapper in path.name for wrapper in WRAPPERS) or command[1:2] == ("-m",):
        return False
    try:
        with path.open("rb") as file:
            return file.read(2) != b"#!"
    except OSError:
        return False


@functools.cache
def _processor() -> str:
    """The processor's model and instruction sets, shortened: a home directory may be shared by different machines."""
    text = platform.machine() + platform.processor()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part", "isa", "cpu\t")
        text += "".join(line for line in file.read(8192).splitlines(keepends=True) if line.startswith(wanted))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
