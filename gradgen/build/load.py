"""Loading what `library` made into this process."""

from __future__ import annotations

import base64
import contextlib
import importlib
import importlib.util
import json
import marshal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib.abc import Loader, MetaPathFinder, SourceLoader
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import _cffi_backend

from gradgen.build import standalone
from gradgen.build.cache import Cache, default_cache, digest
from gradgen.build.library import cached_extension, place, read_bundle
from gradgen.errors import AbiError, BuildError, CacheError

__all__ = ["load_package", "load_programs", "load_shared"]


LONG = 4000
"""Characters of Python from which on keeping its bytecode saves more than it costs."""

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
    bundle_dir: Path, name: str, *, files: Mapping[str, str] | None = None, profile: str = "native",
    cache: Cache | None = None, threads: bool = False, within: str | None = None,
) -> ModuleType:
    """Builds the bundle in `bundle_dir` if need be and imports it as ``<folder above>.<name>``, or as ``<within>.<name>``.

    `files` are the bundle's texts where the caller has just made them: what is loaded is these, whatever another process
    writes to the folder meanwhile.  The extension is loaded from the cache, where another content has another path:
    Python and the system's loader both take a second file of the same path for the one they have loaded already, so a
    module generated twice in one process would otherwise run its first version.  The copy in the bundle is for later
    processes.

    Arguments and errors are build_extension's; AbiError when the machine code is not the manifest's.
    """
    package = Path(bundle_dir).resolve()
    files = read_bundle(package, name) if files is None else files
    built = cached_extension(files, name, where=package, profile=profile, cache=cache, threads=threads)
    place(built, package, files, name)
    with _loading:
        parent = _parent(package.parent) if within is None else None
        full = f"{parent.__name__ if parent is not None else within}.{name}"
        extension = f"{full}.{standalone.extension_name(name)}"
        _forget(full)
        try:
            sys.modules[extension] = _run_module(extension, ExtensionFileLoader(extension, str(built)), built)
            _check_abi(sys.modules[extension], files, package, name)
            generated = _Generated(package, files, cache or default_cache())
            module = generated.run(full)
        except BaseException:
            _forget(full)
            raise
        if parent is not None:
            setattr(parent, name, module)
    return module


def load_programs(folder: Path, name: str, files: Mapping[str, str], parts: Iterable[str], **options: Any) -> ModuleType:
    """Builds and imports the package of several programs in `folder`, whose `parts` are bundles in it."""
    package = Path(folder).resolve()
    with _loading:
        parent = _parent(package.parent)
        full = f"{parent.__name__}.{name}"
        _forget(full)
        try:
            for part in parts:
                inside = {p.partition("/")[2]: text for p, text in files.items() if p.startswith(f"{part}/")}
                load_package(package / part, part, files=inside, within=full, **options)
            module = _Generated(package, files, default_cache()).run(full)
        except BaseException:
            _forget(full)
            raise
        setattr(parent, name, module)
    return module


_loading = threading.RLock()  # two threads may build two programs under one name


class _Generated(MetaPathFinder):
    """Finds the modules of a package among the texts that it was generated as."""

    def __init__(self, package: Path, files: Mapping[str, str], cache: Cache) -> None:
        self.package, self.files, self.cache = package, files, cache
        self.module: ModuleType | None = None

    def run(self, full: str) -> ModuleType:
        """Imports the package itself; its modules are found as long as it stands in sys.modules."""
        sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _Generated) or f.is_in_use()]
        sys.meta_path.insert(0, self)
        path = self.package / "__init__.py"
        return _run_module(full, self.loader(full, "__init__"), path, self.package, lambda m: setattr(self, "module", m))

    def is_in_use(self) -> bool:
        return self.module is not None and sys.modules.get(self.module.__name__) is self.module

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, leaf = fullname.rpartition(".")
        if self.module is None or sys.modules.get(package) is not self.module or f"{leaf}.py" not in self.files:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self.package / f"{leaf}.py", loader=self.loader(fullname, leaf))

    def loader(self, fullname: str, leaf: str) -> _Text:
        return _Text(fullname, str(self.package / f"{leaf}.py"), self.files[f"{leaf}.py"], self.cache)


class _Text(SourceLoader):
    """Runs a text in the name of a file, without looking at the file."""

    def __init__(self, fullname: str, path: str, text: str, cache: Cache) -> None:
        self.fullname, self.path, self.text, self.cache = fullname, path, text, cache

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str) -> bytes:
        return self.text.encode()

    def get_code(self, fullname: str) -> CodeType:
        return _bytecode(self.text, self.path, self.cache)


@lru_cache(maxsize=64)
def _bytecode(text: str, path: str, cache: Cache) -> CodeType:
    """Compiled Python; the runtime's files are long and the same every time, and are kept."""
    if len(text) < LONG:
        return compile(text, path, "exec", dont_inherit=True)  # type: ignore[no-any-return]
    key = digest("bytecode-1", importlib.util.MAGIC_NUMBER, path, text)
    known = cache.get_text(key)
    if known is not None:
        return marshal.loads(base64.b64decode(known))  # type: ignore[no-any-return]
    code: CodeType = compile(text, path, "exec", dont_inherit=True)
    with contextlib.suppress(CacheError):  # only time is lost
        cache.put_text(key, base64.b64encode(marshal.dumps(code)).decode())
    return code


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
    full: str, loader: Loader, path: Path, package: Path | None = None, begun: Callable[[ModuleType], None] | None = None
) -> ModuleType:
    """Imports one file under a full name; `package` is the search path where it is a package, `begun` is told the module
    before its code runs."""
    search = None if package is None else [str(package)]
    spec = importlib.util.spec_from_file_location(full, path, loader=loader, submodule_search_locations=search)
    if spec is None:
        raise BuildError("the generated package cannot be imported", where=str(path))
    try:
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        if begun is not None:
            begun(module)
        loader.exec_module(module)
    except ImportError as error:
        raise AbiError("the generated module cannot be loaded", where=str(error), hint=f"file: {path}") from error
    return module


def _check_abi(extension: Any, files: Mapping[str, str], package: Path, name: str) -> None:
    """The record inside the machine code against the manifest beside it."""
    manifest = json.loads(files[f"{name}.json"])
    record = getattr(extension.lib, f"{name}_module", None)
    if record is None:
        return
    found = record()
    if found.abi_version != manifest.get("abi"):
        what = f"the compiled module has ABI {found.abi_version}, its manifest says {manifest.get('abi')}"
        raise AbiError(what, where=str(package), hint="write the bundle again")
