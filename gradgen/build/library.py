"""From C text to machine code on disk, through the cache.

Two products.  `build_shared` makes a plain shared library from C in memory, as fast as the compiler allows, for eager
and jit use.  `build_extension` makes the Python extension of a bundle, in the bundle's own folder.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gradgen.build import standalone
from gradgen.build.cache import Cache, default_cache, digest
from gradgen.build.compiler import Compiler, find_compiler
from gradgen.build.flags import Flags, flags_for
from gradgen.errors import BuildError, CompileError

__all__ = ["build_extension", "build_shared", "cached_extension", "place"]

FORMAT = "1"  # part of every key: raise it when the same input is to give another product
LIBRARY = "module.so"


def shared_key(source_files: Mapping[str, str], compiler: Compiler, flags: Flags) -> str:
    """The cache key of a shared library: all that decides what the compiler makes of the text."""
    texts = [part for name in sorted(source_files) for part in (name, source_files[name])]
    return digest("shared", FORMAT, compiler.identity, flags.key, *texts)


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
    if not sources or any(Path(name).name != name for name in source_files):
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
    return place(cached_extension(bundle_dir, name, profile=profile, cache=cache, threads=threads), Path(bundle_dir))


def place(built: Path, package: Path) -> Path:
    """Puts a finished extension into a package folder, unless the very same is there; returns its path there."""
    target = package / built.name
    try:
        _sweep_unfinished(target)
        if not _same_content(built, target):
            standalone.install(built, target)
    except OSError as error:
        raise BuildError("the extension could not be put into its folder", where=str(error)) from error
    return target


def cached_extension(
    bundle_dir: Path, name: str, *, profile: str = "native", cache: Cache | None = None, threads: bool = False
) -> Path:
    """As build_extension, but leaves the bundle alone: the path is the finished extension's in the cache."""
    cache, package = cache or default_cache(), Path(bundle_dir)
    try:
        manifest = standalone.read_manifest(package, name)
    except standalone.BuildFailure as failure:
        raise BuildError(failure.what, hint="write the bundle again") from failure
    recipe, identity = _extension_recipe(profile, threads, cache)
    key = digest("extension", FORMAT, identity, _python(), *_content(package, manifest))
    entry = cache.get(key)
    if entry is None:
        entry = cache.publish(key, lambda folder: _compile_extension(package, manifest, recipe, folder, cache, key))
    return entry / standalone.extension_file(name)


def _extension_recipe(profile: str, threads: bool, cache: Cache) -> tuple[standalone.Recipe | None, str]:
    """Compiler and flags, and what identifies them; on Windows the choice is left to setuptools."""
    if os.name == "nt":
        return None, "setuptools"
    compiler = find_compiler(cache)
    flags = flags_for(compiler, profile, threads=threads, cache=cache)
    recipe = standalone.Recipe(compiler.toolchain, flags.compile, flags.user, flags.link)
    return recipe, digest(compiler.identity, flags.key)


def _compile_extension(
    package: Path, manifest: dict[str, object], recipe: standalone.Recipe | None, target: Path, cache: Cache, key: str
) -> None:
    """Fills the cache entry `target` with the extension alone."""
    with cache.workspace() as folder:
        try:
            built = standalone.build_extension(package, manifest, folder, recipe)
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


def _content(package: Path, manifest: dict[str, object]) -> list[bytes]:
    """All that the compiler and cffi will read of a bundle, names included."""
    names = sorted({str(source) for source in _names(manifest)} | {path.name for path in package.glob("*.h")})
    parts = [str(manifest["name"]).encode(), str(manifest["cdef"]).encode()]
    for name in names:
        try:
            parts += [name.encode(), (package / name).read_bytes()]
        except OSError as error:
            raise BuildError(f"the bundle's file {name!r} cannot be read", where=str(error)) from error
    return parts


def _names(manifest: dict[str, object]) -> Sequence[object]:
    sources = manifest["sources"]
    return sources if isinstance(sources, list) else []


def _sweep_unfinished(target: Path) -> None:
    """Removes what a copy killed halfway left beside `target`; such a file cannot be imported, but it is litter."""
    for path in target.parent.glob(f".{target.name}.*.tmp"):
        if time.time() - path.stat().st_mtime > 60:
            path.unlink(missing_ok=True)


def _same_content(one: Path, other: Path) -> bool:
    try:
        return hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()
    except OSError:
        return False
