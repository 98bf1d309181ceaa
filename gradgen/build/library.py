"""From C text to machine code on disk, through the cache.

Two products.  `build_shared` makes a plain shared library from C in memory, as fast as the compiler allows, for eager
and jit use.  `build_extension` makes the Python extension of a bundle, in the bundle's own folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from gradgen.build import standalone
from gradgen.build.cache import Cache, default_cache, digest
from gradgen.build.compiler import Compiler, find_compiler
from gradgen.build.flags import Flags, flags_for
from gradgen.errors import BuildError, CompileError
from gradgen.paths import alone_in

__all__ = ["build_extension", "build_shared", "cached_extension", "place", "read_bundle"]

FORMAT = "2"  # part of every key: raise it when the same input is to give another product
LIBRARY = "module.so"


_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.S)


def code_of(text: str) -> str:
    """C without its comments and blank lines: what the compiler makes machine code from, whatever line of the user's
    source a comment names."""
    plain = _TOKEN.sub(lambda m: " " if m[0].startswith("/") else m[0], text)
    return "\n".join(line.strip() for line in plain.split("\n") if line.strip())


def _keyed(source_files: Mapping[str, str], flags: Iterable[str]) -> list[str]:
    """Names and texts as they count in a key.  With debugging information the lines of the text count, too."""
    lines = any(flag.startswith(("-g", "-ggdb", "--coverage", "-fsanitize", "-fprofile")) for flag in flags)
    return [part for name, text in sorted(source_files.items()) for part in (name, text if lines else code_of(text))]


def shared_key(source_files: Mapping[str, str], compiler: Compiler, flags: Flags) -> str:
    """The cache key of a shared library: all that decides what the compiler makes of the text."""
    return digest("shared", FORMAT, compiler.identity, flags.key, *_keyed(source_files, flags.user))


def build_shared(
    source_files: Mapping[str, str],
    *,
    flags_profile: str = "quick",
    cache: Cache | None = None,
    threads: bool = False,
) -> Path:
    """Compiles C text to a shared library and returns its path, at once where this was done before.

    Args:
        source_files: file name -> text.  Names ending in ``.c`` are compiled, the others are there to be included.
        flags_profile: one of gradgen.build.flags.PROFILES.
        cache: where the product goes; the user's cache unless given.
        threads: with OpenMP.

    The path is different for different content, so a library already loaded is never replaced under its user.
    Raises CompilerNotFoundError, CompileError (with the compiler's own words and the kept source), CacheError.
    """
    cache = cache or default_cache()
    compiler = find_compiler(cache)
    flags = flags_for(compiler, flags_profile, threads=threads, cache=cache)
    key = shared_key(source_files, compiler, flags)
    entry = cache.get(key)
    if entry is None:
        entry = cache.publish(key, lambda folder: _compile_shared(source_files, compiler, flags, folder, cache, key))
    return entry / LIBRARY


def _compile_shared(
    source_files: Mapping[str, str], compiler: Compiler, flags: Flags, target: Path, cache: Cache, key: str
) -> None:
    """Fills the cache entry `target` with the library alone."""
    sources = [name for name in source_files if name.endswith(".c")]
    if not sources or any(Path(name).name != name or name.startswith("-") for name in source_files):
        raise BuildError("nothing to compile", where=f"files: {', '.join(source_files) or 'none'}")
    with cache.workspace() as folder:
        for name, text in source_files.items():
            (folder / name).write_text(text, encoding="utf-8")
        try:
            if len(sources) == 1:  # one call of the compiler costs less than two
                inputs, own = sources, flags.compile
            else:
                recipe = standalone.Recipe(compiler.toolchain, flags.compile, flags.user)
                standalone.run_together([recipe.compile(name) for name in sources], folder)
                inputs, own = [f"{name}.o" for name in sources], ()
            command = [*compiler.command, *own, *flags.shared, *flags.link, *flags.user, *inputs, "-o", LIBRARY, "-lm"]
            standalone.run(command, folder)
        except standalone.BuildFailure as failure:
            raise _compile_error(failure, str(compiler), cache, key, folder) from failure
        (folder / LIBRARY).rename(target / LIBRARY)


def build_extension(
    bundle_dir: Path, name: str, *, profile: str = "native", cache: Cache | None = None, threads: bool = False
) -> Path:
    """Compiles the Python extension of the bundle in `bundle_dir` and puts it there; returns its path.

    Args:
        bundle_dir: the package folder, which holds ``<name>.json`` and the C files.
        name: the module's name.
        profile: "native" or "portable".
        cache: where finished extensions are kept, by the content of manifest and C files.
        threads: with OpenMP.

    The file ``_<name>_cffi.<suffix>`` appears by one rename, so that nothing half-written can be imported, and stays as
    it is where it is right already.  The work is that of standalone, the bundle's own ``_build.py``.
    Raises CompilerNotFoundError, CompileError (the compiler's own words, the kept source), BuildError, CacheError.
    """
    package = Path(bundle_dir)
    files = read_bundle(package, name)
    built = cached_extension(files, name, where=package, profile=profile, cache=cache, threads=threads)
    target = place(built, package, files, name)
    if target is None:
        raise BuildError("the bundle was written anew while it was compiled", where=str(package), hint="build it again")
    return target


def read_bundle(package: Path, name: str) -> dict[str, str]:
    """The texts of a bundle in a folder: manifest, C, headers and Python."""
    try:
        paths = [p for p in sorted(package.iterdir()) if p.suffix in (".c", ".h", ".py") or p.name == f"{name}.json"]
        return {p.name: p.read_text(encoding="utf-8") for p in paths if p.is_file()}
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError("the bundle cannot be read", where=str(error)) from error


def place(built: Path, package: Path, files: Mapping[str, str], name: str) -> Path | None:
    """Puts a finished extension beside the files that it was made from, unless the very same is there.

    Returns its path there, or None where the folder has other files by now: another process has written them.
    """
    target = package / built.name
    try:
        with alone_in(package.parent):
            _sweep_unfinished(target)
            if not _has_text(package / f"{name}.json", files[f"{name}.json"]):
                return None
            if not _same_content(built, target):
                standalone.install(built, target)
    except OSError as error:
        raise BuildError("the extension could not be put into its folder", where=str(error)) from error
    return target


def cached_extension(
    files: Mapping[str, str], name: str, *, where: Path, profile: str = "native", cache: Cache | None = None,
    threads: bool = False,
) -> Path:
    """The finished extension of a bundle's texts, in the cache.  `where` the bundle is stands in errors alone."""
    cache = cache or default_cache()
    manifest = _manifest_of(files, name, where)
    recipe, identity = _extension_recipe(profile, threads, cache)
    read = _read_by_the_compiler(files, manifest, where)
    user = recipe.user if recipe is not None else ()
    key = digest("extension", FORMAT, identity, _python(), name, str(manifest["cdef"]), *_keyed(read, user))
    entry = cache.get(key)
    if entry is None:
        entry = cache.publish(key, lambda folder: _compile_extension(read, manifest, recipe, folder, cache, key))
    return entry / standalone.extension_file(name)


def _manifest_of(files: Mapping[str, str], name: str, where: Path) -> dict[str, object]:
    hint = "write the bundle again"
    try:
        manifest = json.loads(files[f"{name}.json"])
    except (KeyError, ValueError) as error:
        raise BuildError(f"{where / name}.json is missing or damaged: {error}", hint=hint) from error
    try:
        found = standalone.checked_manifest(manifest if isinstance(manifest, dict) else {}, str(where))
    except standalone.BuildFailure as failure:
        raise BuildError(failure.what, hint=hint) from failure
    if found["name"] != name:
        raise BuildError(f"the manifest {name}.json is of {found['name']}", where=str(where), hint=hint)
    return found


def _read_by_the_compiler(files: Mapping[str, str], manifest: dict[str, object], where: Path) -> dict[str, str]:
    sources = list(map(str, manifest["sources"]))  # type: ignore[call-overload]
    missing = [source for source in sources if source not in files]
    if missing:
        raise BuildError(f"the manifest names {missing[0]!r}, which is not a file in {where}", hint="write the bundle again")
    return {path: text for path, text in files.items() if path in sources or path.endswith(".h")}


def _extension_recipe(profile: str, threads: bool, cache: Cache) -> tuple[standalone.Recipe | None, str]:
    """Compiler and flags, and what identifies them; on Windows the choice is left to setuptools."""
    if os.name == "nt":
        return None, "setuptools"
    compiler = find_compiler(cache)
    flags = flags_for(compiler, profile, threads=threads, cache=cache)
    recipe = standalone.Recipe(compiler.toolchain, flags.compile, flags.user, flags.link)
    return recipe, digest(compiler.identity, flags.key)


def _compile_extension(
    files: Mapping[str, str], manifest: dict[str, object], recipe: standalone.Recipe | None, target: Path, cache: Cache,
    key: str,
) -> None:
    """Fills the cache entry `target` with the extension alone."""
    with cache.workspace() as folder, tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as given:
        for path, text in files.items():
            (Path(given) / path).write_text(text, encoding="utf-8")
        try:
            built = standalone.build_extension(Path(given), manifest, folder, recipe)
        except standalone.BuildFailure as failure:
            raise _compile_error(failure, recipe.toolchain.version if recipe else "", cache, key, folder) from failure
        built.rename(target / built.name)


def _compile_error(
    failure: standalone.BuildFailure, compiler: str, cache: Cache, key: str, folder: Path
) -> BuildError:
    """The error to raise for a failed step; where a compiler ran, its folder is kept."""
    if not failure.command:
        return BuildError(failure.what, where=failure.output or None, hint=failure.hint or None)
    kept = cache.keep_failed(key, folder)
    if kept is not None:
        (kept / "command.txt").write_text(f"{shlex.join(failure.command)}\n\n{failure.output}", encoding="utf-8")
    return CompileError(
        failure.what,
        command=failure.command,
        output=failure.output,
        source=kept,
        where=compiler or None,
        hint=failure.hint or None,
    )


def _python() -> str:
    """What an extension depends on besides its source: this Python's ABI and the cffi that wrote the wrapper."""
    import cffi

    return f"{standalone.extension_file('')} cffi {cffi.__version__}"


def _sweep_unfinished(target: Path) -> None:
    """Removes what a copy killed halfway left beside `target`; such a file cannot be imported, but it is litter."""
    for path in target.parent.glob(f".{target.name}.*.tmp"):
        if time.time() - path.stat().st_mtime > 60:
            path.unlink(missing_ok=True)


def _has_text(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def _same_content(one: Path, other: Path) -> bool:
    try:
        return hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()
    except OSError:
        return False
