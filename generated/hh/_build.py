"""Compiles a generated module's C into the Python extension next to it.

Run it on the machine that is to use the module, after copying the folder there or after changing Python::

    python _build.py [--native | --portable]

It needs Python with its headers, cffi and a C compiler: the one named by ``CC`` (arguments allowed), else ``cc``,
``gcc``, ``clang``, else the ``ziglang`` package from PyPI.  ``CFLAGS`` is appended to the compiler's flags.
``--native``, the default, uses the instructions of this machine's processor; ``--portable`` runs on any processor of
the same family.

The manifest ``<name>.json`` beside this file says what to compile: ``name``, ``cdef`` (what Python may call) and
``sources`` (file names).  The extension ``_<name>_cffi`` appears in one step when everything has succeeded, or not at
all.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# No -ffast-math: it assumes that nan and inf do not occur, and linking with it makes the whole host process flush
# subnormals to zero.
COMMON_FLAGS = ("-std=c99", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-ffp-contract=fast",
                "-fvisibility=hidden")  # fmt: skip
GLUE_FLAGS = ("-O1", "-fPIC", "-Werror=implicit-function-declaration", "-Werror=incompatible-pointer-types")
UNSAFE_FLAGS = frozenset({"-ffast-math", "-Ofast", "-ffinite-math-only", "-funsafe-math-optimizations",
                          "-fassociative-math", "-freciprocal-math"})  # fmt: skip
HOW_TO_GET_ONE = (
    "Debian, Ubuntu: apt-get install gcc    Fedora: dnf install gcc    macOS: xcode-select --install\n"
    "any system: pip install ziglang    or set CC to the compiler's path"
)
HEADERS_HINT = "install Python's headers: apt-get install python3-dev, dnf install python3-devel"


class BuildFailure(Exception):
    """A build did not succeed: what happened, the command and its output if a compiler ran, and what to do."""

    def __init__(self, what: str, command: Sequence[str] = (), output: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.command, self.output, self.hint = what, tuple(command), output, hint

    def __str__(self) -> str:
        command = "command: " + shlex.join(self.command) if self.command else ""
        parts = [self.what, command, self.output.rstrip(), self.hint]
        return "\n".join(part for part in parts if part)


# ------------------------------------------------------------------------------------------------ finding a compiler


@dataclass(frozen=True)
class Toolchain:
    """A C compiler that answered: how to call it, which family it is, what it calls itself and what it compiles for."""

    command: tuple[str, ...]
    kind: str  # gcc, clang, zig or other
    version: str
    triple: str  # empty where the compiler does not say
    macros: str  # what it predefines for this very processor, as text


def candidates() -> Iterator[tuple[str, ...]]:
    """Commands to try, best first.  Where CC is set, it is the only one: a wish is not silently overruled."""
    named = os.environ.get("CC", "").strip()
    if named:
        command = (named,) if shutil.which(named) else tuple(shlex.split(named, posix=os.name != "nt"))
        found = shutil.which(command[0]) if command else None
        if found is not None:
            yield (found, *command[1:])
        return
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found is not None:
            yield (found,)
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec("ziglang")
        if spec is not None and spec.origin is not None:
            # What `python -m ziglang cc` starts, without starting a second Python for it.
            zig = Path(spec.origin).with_name("zig.exe" if os.name == "nt" else "zig")
            yield (str(zig), "cc") if zig.exists() else (sys.executable, "-m", "ziglang", "cc")


def describe(command: tuple[str, ...]) -> Toolchain:
    """Asks a compiler what it is.  Raises BuildFailure when it does not work.

    One call answers everything for gcc and clang; -march=native makes the predefined macros name the processor's
    instruction sets, so that code built for another processor is not taken for code built for this one.
    """
    for native in (("-march=native",), ("-mcpu=native",), ()):
        ok, macros, spoken = _ask([*command, "-v", *native, "-dM", "-E", "-x", "c", os.devnull])
        if ok and "__STDC__" in macros:
            lines = [line.strip() for line in (spoken + macros).splitlines() if not line.startswith("#")]
            version = next((line for line in lines if "version" in line and "configured" not in line.lower()), "")
            triple = next((line[7:].strip() for line in lines if line.startswith("Target:")), "")
            return Toolchain(command, _kind(command, macros), version, triple, macros)
    ok, answer, spoken = _ask([*command, "--version"])
    if not ok:
        ok, answer, spoken = _ask([*command, "-v"])
    if not ok:
        raise BuildFailure("this C compiler does not work", command, answer + spoken)
    return Toolchain(command, "other", (answer + spoken).strip().split("\n")[0], "", "")


def find_toolchain() -> Toolchain:
    """The first candidate that works.  Raises BuildFailure when there is none."""
    tried = []
    for command in candidates():
        try:
            return describe(command)
        except BuildFailure as failure:
            tried.append(shlex.join(command) + ": " + (failure.output.strip().split("\n")[0] or "failed"))
    raise no_compiler(tried)


def no_compiler(tried: Sequence[str]) -> BuildFailure:
    """The error for a machine on which nothing answered; `tried` has a line for each that was there but failed."""
    named = os.environ.get("CC", "").strip()
    if named:
        why = f"CC is {named!r}, which " + ("does not work" if tried else "is not a program")
    else:
        why = "none of cc, gcc, clang works, and the package ziglang is not installed"
    return BuildFailure(f"no C compiler: {why}", (), "\n".join(tried), HOW_TO_GET_ONE)


def _ask(command: Sequence[str]) -> tuple[bool, str, str]:
    try:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, "", str(error)
    return run.returncode == 0, run.stdout.decode(errors="replace"), run.stderr.decode(errors="replace")


def _kind(command: tuple[str, ...], macros: str) -> str:
    if command[-1] == "cc" and "zig" in "".join(command[:-1]):
        return "zig"
    if "__clang__" in macros:
        return "clang"
    imitators = ("__INTEL_COMPILER", "__NVCOMPILER", "__PGI", "__TINYC__", "__SUNPRO_C")
    return "gcc" if "__GNUC__" in macros and not any(name in macros for name in imitators) else "other"


# ------------------------------------------------------------------------------------------------ flags


def code_flags(toolchain: Toolchain, profile: str, level: Sequence[str] = ("-O3",)) -> list[str]:
    """Flags for the module's own C, without CFLAGS, before it is known whether an unknown compiler takes them."""
    machine = baseline_flags(toolchain) if profile == "portable" else native_flags(toolchain)
    # -fno-thread-jumps would save two thirds of gcc's time on 10,000 statements in a row, but gcc 12 then takes guards of
    # vectorised loops as true that are not (a padded 5x5 window read outside of its image)
    return [*level, *COMMON_FLAGS, *machine]


def native_flags(toolchain: Toolchain) -> list[str]:
    """Use every instruction of this processor: -march on x86, -mcpu on the other families."""
    x86 = toolchain.triple.split("-")[0] in ("x86_64", "amd64", "i386", "i486", "i586", "i686", "")
    return ["-march=native" if x86 else "-mcpu=native", *_no_traps(toolchain)]


def baseline_flags(toolchain: Toolchain) -> list[str]:
    """Only what every processor of the family has.  zig alone means this machine unless told otherwise."""
    return ["-mcpu=baseline", *_no_traps(toolchain)] if toolchain.kind == "zig" else []


def _no_traps(toolchain: Toolchain) -> list[str]:
    return ["-fno-sanitize=undefined"] if toolchain.kind == "zig" else []  # on by default there below -O2


def user_flags() -> list[str]:
    """CFLAGS, without what would break nan, inf and subnormals."""
    given = shlex.split(os.environ.get("CFLAGS", ""), posix=os.name != "nt")
    unsafe = sorted(UNSAFE_FLAGS.intersection(given))
    if unsafe:
        why = "results would be wrong for nan, inf and subnormals"
        warnings.warn(f"CFLAGS: {' '.join(unsafe)} left out: {why}", stacklevel=3)
    return [flag for flag in given if flag not in UNSAFE_FLAGS]


def needs_probe(toolchain: Toolchain) -> bool:
    """Whether the flags have to be tried: not for the families and processors that are known to take them."""
    return toolchain.kind == "other" or toolchain.triple.split("-")[0] not in ("x86_64", "aarch64", "arm64")


def supported(toolchain: Toolchain, flags: Sequence[str]) -> list[str]:
    """The flags that the compiler takes, tried one by one on an empty program where it is not a known one."""
    return probe(toolchain, flags) if needs_probe(toolchain) else list(flags)


def probe(toolchain: Toolchain, flags: Sequence[str], link: bool = False) -> list[str]:
    """The flags with which the compiler still compiles, or links, a function that does nothing."""
    goal = ("-fPIC", "-shared") if link else ("-c",)
    kept: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gradgen-probe-") as folder:
        (Path(folder) / "probe.c").write_text("int gradgen_probe(void);\nint gradgen_probe(void) { return 0; }\n")
        for flag in flags:
            with contextlib.suppress(BuildFailure):
                run([*toolchain.command, *kept, flag, *goal, "probe.c", "-o", "probe.o"], Path(folder))
                kept.append(flag)
    return kept


# ------------------------------------------------------------------------------------------------ compiling


def run(command: Sequence[str], folder: Path) -> None:
    """Runs a compiler in `folder`, its temporary files there too.  Raises BuildFailure with its own words.

    The command names its product with ``-o <file>``.
    """
    run_together([command], folder)


def run_together(commands: Sequence[Sequence[str]], folder: Path) -> None:
    """Runs several compilers at once, as many as there are processors.  Raises the first failure; none runs on then."""
    at_once = max(1, os.cpu_count() or 1)
    for first in range(0, len(commands), at_once):
        batch = commands[first : first + at_once]
        running: list[subprocess.Popen[bytes]] = []
        try:
            for command in batch:
                running.append(_start(command, folder))
            for command, process in zip(batch, running):
                _finish(command, process, folder)
        finally:  # after a failure, or Ctrl-C
            for process in running:
                if process.poll() is None:
                    process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = dict(os.environ, TMPDIR=str(folder), TMP=str(folder), TEMP=str(folder))
    try:
        return subprocess.Popen(
            command, cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except OSError as error:
        raise BuildFailure(f"the C compiler could not be started: {error}", command) from error


def _finish(command: Sequence[str], process: subprocess.Popen[bytes], folder: Path) -> None:
    """Waits for the end.  A compiler whose turn is later waits too, once its pipe is full; none waits for another."""
    output, _ = process.communicate()
    status, words = process.returncode, output.decode(errors="replace")
    if status != 0:
        what = "the C compiler failed (" + (f"exit status {status})" if status > 0 else f"killed by signal {-status})")
        raise BuildFailure(what, command, words, _disk_hint(folder))
    if not (folder / command[list(command).index("-o") + 1]).is_file():
        raise BuildFailure("the C compiler reported success but wrote nothing", command, words)


def _disk_hint(folder: Path) -> str:
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free < 1 << 20:
            return f"the disk that holds {folder} is full"
    return ""


def read_manifest(package: Path, name: str | None = None) -> dict[str, object]:
    """The manifest in a package folder: <name>.json, or the only file there that looks like one."""
    found = []
    for path in sorted(package.glob("*.json") if name is None else [package / f"{name}.json"]):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            if name is not None:
                raise BuildFailure(f"{path} is missing or damaged: {error}") from error
            continue
        if isinstance(data, dict) and isinstance(data.get("cdef"), str) and isinstance(data.get("sources"), list):
            found.append(data)
    if len(found) != 1:
        raise BuildFailure(f"{package} does not hold one manifest <name>.json with name, cdef and sources")
    return checked_manifest(found[0], str(package))


NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
SOURCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.c")
"""Names become parts of file names and of the compiler's command line: neither a path nor an option can be one."""


def checked_manifest(manifest: dict[str, object], where: str) -> dict[str, object]:
    """The manifest, whose names are harmless.  Raises BuildFailure where one is not, or where something is missing."""
    name, sources = manifest.get("name"), manifest.get("sources")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BuildFailure(f"the manifest in {where} has no usable name: {name!r}")
    if not isinstance(manifest.get("cdef"), str) or not isinstance(sources, list) or not sources:
        raise BuildFailure(f"the manifest of {name} in {where} lacks cdef or sources")
    for source in sources:
        if not isinstance(source, str) or not SOURCE.fullmatch(source):
            raise BuildFailure(f"the manifest of {name} in {where} names the source {source!r}, which is no name of a C "
                               "file beside it")
    return manifest


def extension_name(name: str) -> str:
    """The Python module that holds the machine code of the generated module `name`."""
    return f"_{name}_cffi"


def extension_file(name: str) -> str:
    return extension_name(name) + importlib.machinery.EXTENSION_SUFFIXES[0]


def stage_sources(package: Path, manifest: dict[str, object], folder: Path) -> list[str]:
    """Copies a package's C files and headers to `folder` and adds cffi's wrapper; returns the module's own .c files."""
    checked_manifest(manifest, str(package))
    sources = [str(source) for source in manifest["sources"]]  # type: ignore[attr-defined]
    for path in [package / source for source in sources] + sorted(package.glob("*.h")):
        if not path.is_file():
            raise BuildFailure(f"the manifest names {path.name!r}, which is not a file in {package}")
        shutil.copyfile(path, folder / path.name)
    write_wrapper(str(manifest["name"]), str(manifest["cdef"]), folder)
    return sources


def write_wrapper(name: str, cdef: str, folder: Path) -> Path:
    """Has cffi write the C that lets Python call the module; it includes <name>.h, so the compiler checks the cdef."""
    import cffi
    from cffi import recompiler  # what cffi's own setuptools plug-in calls; ffi.emit_c_code also prints

    path = folder / f"{extension_name(name)}.c"
    ffi = cffi.FFI()
    try:
        ffi.cdef(cdef)
        recompiler.make_c_source(ffi, extension_name(name), f'#include "{name}.h"\n', str(path))
    except (cffi.CDefError, cffi.FFIError, cffi.VerificationError) as error:
        raise BuildFailure(f"cffi does not accept the declarations of {name}: {error}") from error
    return path


def python_include_flags() -> list[str]:
    """-I flags for Python.h.  Raises BuildFailure where Python came without its headers."""
    folders = list(dict.fromkeys(sysconfig.get_path(key) for key in ("include", "platinclude")))
    if not any((Path(folder) / "Python.h").is_file() for folder in folders):
        raise BuildFailure(f"Python.h is not in {folders[0]}", hint=HEADERS_HINT)
    return [f"-I{folder}" for folder in folders]


@dataclass(frozen=True)
class Recipe:
    """A compiler and what to tell it: flags for the module's own C, for the link, and CFLAGS for every step, last."""

    toolchain: Toolchain
    flags: tuple[str, ...]
    user: tuple[str, ...] = ()
    link: tuple[str, ...] = ()

    def compile(self, source: str) -> list[str]:
        return [*self.toolchain.command, *self.flags, *self.user, "-c", f"./{source}", "-o", f"./{source}.o"]


def build_in(folder: Path, name: str, sources: Sequence[str], recipe: Recipe) -> Path:
    """Compiles the staged sources and the wrapper, at the same time, and links the extension; returns its path.

    The wrapper is a good part of the work because of Python.h and gains nothing from optimisation, so it gets -O1 and
    none of the processor's flags.  There a declaration that does not fit the module's header is an error.
    """
    wrapper = f"{extension_name(name)}.c"
    command, target = recipe.toolchain.command, folder / extension_file(name)
    flags = supported(recipe.toolchain, [*GLUE_FLAGS, *_no_traps(recipe.toolchain)])
    glue = Recipe(recipe.toolchain, (*flags, *python_include_flags()), recipe.user)
    run_together([recipe.compile(source) for source in sources] + [glue.compile(wrapper)], folder)
    objects = [f"./{source}.o" for source in [wrapper, *sources]]
    run([*command, *extension_link_flags(), *recipe.link, *recipe.user, *objects, "-o", target.name, "-lm"], folder)
    return target


def extension_link_flags() -> list[str]:
    """A Python extension finds Python's symbols in the process that loads it."""
    return ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]


def find_recipe(profile: str, threads: bool = False) -> Recipe:
    """The machine's compiler, with the flags of "native" or "portable".  Raises BuildFailure when there is none.

    With `threads`, OpenMP where the compiler has it; without, the module computes the same on one thread.
    """
    toolchain = find_toolchain()
    parallel = tuple(probe(toolchain, ["-fopenmp"], True)) if threads else ()
    flags = (*supported(toolchain, code_flags(toolchain, profile)), *parallel)
    return Recipe(toolchain, flags, tuple(user_flags()), parallel)


def wants_threads(manifest: Mapping[str, object]) -> bool:
    """Whether the module was generated with threads=n."""
    options = manifest.get("options")
    return isinstance(options, dict) and str(options.get("threads", "0")) != "0"


def build_with_setuptools(folder: Path, name: str, cdef: str, sources: Sequence[str]) -> Path:
    """The way for Windows, where setuptools knows how to find Microsoft's compiler and Python's import library."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(cdef)
    ffi.set_source(extension_name(name), f'#include "{name}.h"\n', sources=list(sources), include_dirs=["."])
    before = Path.cwd()
    try:
        os.chdir(folder)  # cffi and setuptools resolve sources against the current folder
        built = Path(str(ffi.compile(tmpdir=".", verbose=False)))
    except (ImportError, cffi.VerificationError, OSError) as error:
        hint = "pip install setuptools, and Microsoft's C++ Build Tools"
        raise BuildFailure("setuptools could not build the extension", (), str(error), hint) from error
    finally:
        os.chdir(before)
    return folder / built.name


def build_extension(package: Path, manifest: dict[str, object], folder: Path, recipe: Recipe | None) -> Path:
    """Builds in `folder`, leaving `package` alone; returns the path of the finished extension in `folder`."""
    sources = stage_sources(package, manifest, folder)
    name = str(manifest["name"])
    if recipe is None:
        return build_with_setuptools(folder, name, str(manifest["cdef"]), sources)
    return build_in(folder, name, sources, recipe)


def install(built: Path, target: Path) -> None:
    """Puts a finished extension in its place by one rename: an import sees the old one, the new one, nothing else."""
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(built.read_bytes())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o777 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


# ------------------------------------------------------------------------------------------------ command line


def build_here(package: Path, profile: str) -> Path:
    """Builds the extension of the package in `package` into it; returns its path.  Keeps the work folder on failure."""
    if not package.is_dir():
        raise BuildFailure(f"{package} is no folder", hint="unpack the archive that the package is in")
    manifest = read_manifest(package)
    recipe = None if os.name == "nt" else find_recipe(profile, wants_threads(manifest))
    folder = Path(tempfile.mkdtemp(prefix=f"gradgen-{manifest['name']}-"))
    try:
        built = build_extension(package, manifest, folder, recipe)
        target = package / built.name
        install(built, target)
    except BuildFailure as failure:
        failure.hint = "\n".join(part for part in (failure.hint, f"the source is kept in {folder}") if part)
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compile this generated module for the Python that runs this command.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--native", dest="profile", action="store_const", const="native", default="native",
                       help="use every instruction of this processor (default)")  # fmt: skip
    group.add_argument("--portable", dest="profile", action="store_const", const="portable",
                       help="run on any processor of the same family")  # fmt: skip
    profile = parser.parse_args(arguments).profile
    try:
        target = build_here(Path(__file__).resolve().parent, profile)
    except BuildFailure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"built {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
