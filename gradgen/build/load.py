"""Loading what `library` made into this process."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import _cffi_backend

from gradgen.build import standalone
from gradgen.build.cache import Cache, default_cache, digest
from gradgen.build.library import cached_extension, place
from gradgen.errors import AbiError, BuildError, CacheError

__all__ = ["load_package", "load_shared"]


_opened: dict[tuple[str, Any], Any] = {}


@lru_cache(maxsize=256)
def _declared(cdef: str, cache: Cache) -> Any:
    """cffi's object for some declarations, each parsed once per machine: the parser takes 12 ms just to import.

    What is kept is cffi's own "out-of-line" form: Python text that hands tables to its C core.
    """
    key = digest("declarations-1", getattr(_cffi_backend, "__version__", ""), cdef)
    text = cache.get_text(key)
    if text is None:
        text = _parsed(cdef)
        with contextlib.suppress(CacheError):  # only time is lost
            cache.put_text(key, text)
    names: dict[str, Any] = {}
    exec(compile(text, "<cffi declarations>", "exec"), names)
    return names["ffi"]


def _parsed(cdef: str) -> str:
    import cffi
    from cffi import recompiler

    ffi = cffi.FFI()
    try:
        ffi.cdef(cdef)
        ffi.set_source("gradgen_declarations", None)
        with tempfile.TemporaryDirectory(prefix="gradgen-") as folder:
            path = Path(folder) / "declarations.py"
            recompiler.make_py_source(ffi, "gradgen_declarations", str(path))
            return path.read_text(encoding="utf-8")
    except (cffi.CDefError, cffi.FFIError, cffi.VerificationError) as error:
        raise BuildError("cffi does not accept the declarations", where=str(error)) from error


def load_shared(path: Path, cdef: str, *, cache: Cache | None = None) -> tuple[Any, Any]:
    """Opens a shared library; returns cffi's (ffi, lib) for the functions declared in `cdef`.

    `ffi` has new, cast, from_buffer, NULL and so on, but not cdef.  The same declarations give the same `ffi`.
    A library once opened stays so until the process ends: cffi closes one whose `lib` is gone, though functions taken
    from it be still in use, and then a call of them crashes.
    Raises AbiError when the system's loader refuses the file, for example because CC compiles for another machine.
    """
    ffi = _declared(cdef, cache or default_cache())
    try:
        lib = _opened.get((str(path), ffi)) or ffi.dlopen(str(path))
    except OSError as error:
        hint = "is CC a compiler for this machine?"
        raise AbiError("the compiled library cannot be loaded", where=str(error), hint=hint) from error
    _opened[str(path), ffi] = lib
    return ffi, lib


def load_package(
    bundle_dir: Path, name: str, *, profile: str = "native", cache: Cache | None = None, threads: bool = False
) -> ModuleType:
    """Builds the bundle in `bundle_dir` if need be and imports it as ``<folder above>.<name>``.

    The extension is loaded from the cache, where another content has another path: Python and the system's loader both
    take a second file of the same path for the one they have loaded already, so a module generated twice in one
    process would otherwise run its first version.  The copy in the bundle is for later processes.

    Arguments and errors are build_extension's; AbiError when the machine code is not the manifest's.
    """
    package = Path(bundle_dir).resolve()
    built = cached_extension(package, name, profile=profile, cache=cache, threads=threads)
    place(built, package)
    parent = _parent(package.parent)
    full = f"{parent.__name__}.{name}"
    extension = f"{full}.{standalone.extension_name(name)}"
    _forget(full)
    try:
        sys.modules[extension] = _run_module(extension, ExtensionFileLoader(extension, str(built)), built)
        _check_abi(sys.modules[extension], package, name)
        init = package / "__init__.py"
        module = _run_module(full, SourceFileLoader(full, str(init)), init, package)
    except BaseException:
        _forget(full)
        raise
    setattr(parent, name, module)
    return module


def _parent(folder: Path) -> ModuleType:
    """The package that stands for a folder of bundles, so that ``from generated import linear_bce`` finds the same
    module afterwards; one with a name of its own where the folder's name is taken."""
    for name in (folder.name, f"gradgen_{digest(str(folder))[:8]}"):
        package = _package_at(folder, name) if name.isidentifier() else None
        if package is not None:
            return package
    raise BuildError("the folder cannot be imported from", where=str(folder), hint="choose another name for it")


_ours: dict[str, ModuleType] = {}


def _package_at(folder: Path, name: str) -> ModuleType | None:
    """The package `name` where it has or can be given this folder; None where the name is somebody else's."""
    known = sys.modules.get(name)
    if known is None:
        importlib.invalidate_caches()  # the folder may be new
        spec = importlib.util.find_spec(name)
        if spec is not None:
            return importlib.import_module(name) if _holds(spec.submodule_search_locations, folder) else None
        known = sys.modules[name] = _ours[name] = ModuleType(name)
        known.__path__ = [str(folder)]
    if _ours.get(name) is known and not _holds(known.__path__, folder):
        known.__path__ = [str(folder), *known.__path__]
    return known if _holds(getattr(known, "__path__", None), folder) else None


def _holds(search: Iterable[str] | None, folder: Path) -> bool:
    return any(Path(entry).resolve() == folder for entry in search or ())


def _forget(full: str) -> None:
    """Takes a package and what is below it out of sys.modules; who holds the module objects keeps them."""
    for known in [key for key in sys.modules if key == full or key.startswith(full + ".")]:
        del sys.modules[known]


def _run_module(
    full: str, loader: ExtensionFileLoader | SourceFileLoader, path: Path, package: Path | None = None
) -> ModuleType:
    """Imports one file under a full name; `package` is the search path where it is a package."""
    search = None if package is None else [str(package)]
    spec = importlib.util.spec_from_file_location(full, path, loader=loader, submodule_search_locations=search)
    if spec is None:
        raise BuildError("the generated package cannot be imported", where=str(path))
    try:
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        loader.exec_module(module)
    except ImportError as error:
        raise AbiError("the generated module cannot be loaded", where=str(error), hint=f"file: {path}") from error
    return module


def _check_abi(extension: Any, package: Path, name: str) -> None:
    """The record inside the machine code against the manifest beside it."""
    manifest = standalone.read_manifest(package, name)
    record = getattr(extension.lib, f"{name}_module", None)
    if record is None:
        return
    found = record()
    if found.abi_version != manifest.get("abi"):
        what = f"the compiled module has ABI {found.abi_version}, its manifest says {manifest.get('abi')}"
        raise AbiError(what, where=str(package), hint="write the bundle again")
