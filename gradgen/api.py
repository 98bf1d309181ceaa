"""What the generator calls: build and emit bundles, and jit."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from gradgen.build.load import load_package
from gradgen.codegen.bundle import write_bundle
from gradgen.compiler import check_module_name, generate
from gradgen.errors import GradgenError
from gradgen.frontend.jit import jit
from gradgen.frontend.scan import scan
from gradgen.frontend.trace import TracedFunction
from gradgen.options import Options
from gradgen.show import show


def emit(program: TracedFunction, name: str | None = None, out: str | Path = "generated", **options: Any) -> Path:
    """Writes the bundle of `program` to `<out>/<name>/` and returns that folder.  Needs no compiler.

    Options are those of `gradgen.options.Options`: simplify="none|safe|fast", nan_safe, forward_only, single_file,
    derivatives=("jvp", "jacobian", "hvp", "hessian") or some of them, sparse=("jacobian", "hessian") likewise.
    Raises InvalidNameError for names that are not C identifiers; nothing is written unless everything can be.
    """
    name, files = _files(program, name, options)
    folder = Path(out) / name
    write_bundle(files, folder)
    return folder


def build(
    program: TracedFunction, name: str | None = None, out: str | Path = "generated", *, profile: str = "native",
    **options: Any
) -> ModuleType:
    """Writes the bundle, compiles it and returns the imported module `<out>.<name>`.

    `profile` is "native" (for this machine) or "portable".  Other options as for `emit`.  A second build of the same
    thing compiles nothing.  Raises CompilerNotFoundError where there is no C compiler (the bundle is written all the
    same) and CompileError with the compiler's own words.
    """
    folder = emit(program, name, out, **options)
    return load_package(folder, folder.name, profile=profile, threads=bool(options.get("threads")))


def _files(program: TracedFunction, name: str | None, options: dict[str, Any]) -> tuple[str, dict[str, str]]:
    if not isinstance(program, TracedFunction):
        raise GradgenError(f"expected what gg.trace(...) or gg.from_sympy(...) returns, got {type(program).__name__}",
                           hint="program = gg.trace(function, x=gg.spec(...), ...)")
    chosen = program.name if name is None else name
    check_module_name(chosen)
    try:
        wanted = Options(**options)
    except TypeError as error:
        raise GradgenError(f"unknown option: {error}", hint="options are " + ", ".join(Options.__slots__)) from None
    return chosen, generate(program.graph, chosen, wanted)


__all__ = ["build", "emit", "jit", "scan", "show"]
