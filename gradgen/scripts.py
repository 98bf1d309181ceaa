"""Programs out of files: `script.py:name` is a traced function, or a function to be traced with given specs."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from gradgen.errors import GradgenError, TraceError
from gradgen.ir import dtypes
from gradgen.record.dimensions import Dimension, dim
from gradgen.record.traced import Spec, TracedFunction
from gradgen.trace.tracing import spec, trace

__all__ = ["ScriptError", "load_program", "parse_argument"]

GRAD = "grad"


class ScriptError(GradgenError):
    """A script cannot be loaded or does not have what was asked for."""


def load_program(
    target: str, arguments: Sequence[str] = (), gradients: Sequence[str] = (), outputs: Sequence[str] | None = None,
    bounds: Sequence[str] = (),
) -> TracedFunction:
    """The program that `target` ("script.py:name" or "package.module:name") stands for.

    The name may be a traced function, a function that returns one when called without arguments, or a function over
    tensors: its specs come from `arguments` (see `parse_argument`), or from its defaults and annotations.  `gradients`
    are names of arguments that require gradients beside those whose spec says so, `bounds` say what is known of named
    dimensions (see `parse_bound`).  Raises ScriptError and what tracing raises.
    """
    where, _, name = target.rpartition(":")
    if not where:
        raise ScriptError(f"{target!r} names no function", hint="write script.py:function")
    module = load_module(where)
    found = _lookup(module, name, where)
    given = dict(parse_argument(a) for a in arguments)
    if isinstance(found, TracedFunction):
        if given or gradients or bounds:
            raise ScriptError(f"{name} is traced already: it takes no arguments from the command line")
        return found
    if not callable(found):
        raise ScriptError(f"{name} in {where} is a {type(found).__name__}, not a function or a program")
    return _traced(found, given, gradients, outputs, where, [parse_bound(b) for b in bounds])


def parse_bound(text: str) -> Dimension:
    """`N=3..64:4` is dim("N", min=3, max=64, multiple=4); each part may be left out.  Raises ScriptError."""
    found = re.fullmatch(r"\s*([^\W\d]\w*)\s*=\s*(\d*)\.\.(\d*)(?::(\d+))?\s*", text)
    if found is None:
        raise ScriptError(f"--bound {text!r} is not NAME=[MIN]..[MAX][:MULTIPLE]", hint="for example --bound N=3..64:4")
    least, most, multiple = (int(part) if part else None for part in found.groups()[1:])
    return dim(found[1], min=least, max=most, multiple=multiple)


def parse_argument(text: str) -> tuple[str, Spec]:
    """`x=N,784:float32` or `w=784,10:grad`: name, extents, then a dtype or `grad`; a scalar has no extents.

    Raises ScriptError.
    """
    name, equals, rest = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise ScriptError(f"--arg {text!r} is not name=extents", hint="for example --arg x=N,784:float32")
    return name.strip(), parse_extents(rest, f"--arg {text!r}")


def parse_extents(text: str, said: str) -> Spec:
    """`N,784:float32:grad` as a Spec; `said` is what errors begin with.  Raises ScriptError."""
    extents, *flags = [part.strip() for part in text.split(":")]
    shape = [int(e) if e.lstrip("-").isdigit() else e for e in (p.strip() for p in extents.split(",")) if e]
    for e in shape:
        if isinstance(e, str) and not e.isidentifier():
            raise ScriptError(f"{said}: {e!r} is neither a number nor a name")
    kind: Any = None
    grad = False
    for flag in (f for f in flags if f):
        if flag == GRAD:
            grad = True
            continue
        try:
            kind = dtypes.dtype(flag)
        except TypeError:
            known = ", ".join(d.name for d in dtypes.ALL)
            raise ScriptError(f"{said}: {flag!r} is no dtype", hint=f"one of {known}, or {GRAD}") from None
    return spec(*shape, dtype=kind, requires_grad=grad)


def load_module(where: str) -> ModuleType:
    """A file by its path, or a module by its dotted name; its own errors come with the line that raised them."""
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        path = Path(where)
        if not path.is_file():
            raise ScriptError(f"there is no file {where}")
        sys.path.insert(0, str(path.resolve().parent))
        description = importlib.util.spec_from_file_location(path.stem, path)
        if description is None or description.loader is None:
            raise ScriptError(f"{where} cannot be loaded as Python")
        module = importlib.util.module_from_spec(description)
        sys.modules.setdefault(path.stem, module)
        description.loader.exec_module(module)
        return module
    except GradgenError:
        raise
    except (Exception, SystemExit) as error:
        raise ScriptError(f"{where} fails when it is loaded: {type(error).__name__}: {error}",
                          where=user_line(error)) from error


def user_line(error: BaseException) -> str | None:
    """The innermost line outside gradgen and its dependencies at which `error` was raised, as file:line and text."""
    own = str(Path(__file__).resolve().parent)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}  {(error.text or '').strip()}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        library = "site-packages" in frame.filename or frame.filename.startswith(("<", own, sys.base_prefix))
        if not library:
            return f"{Path(frame.filename).name}:{frame.lineno}  {frame.line}"
    return None


def _lookup(module: ModuleType, name: str, where: str) -> Any:
    if not hasattr(module, name):
        own = [n for n, v in vars(module).items() if not n.startswith("_") and
               (isinstance(v, TracedFunction) or (inspect.isfunction(v) and v.__module__ == module.__name__))]
        raise ScriptError(f"{where} has no {name!r}", hint=f"it has {', '.join(own) or 'no functions'}")
    return getattr(module, name)


def _traced(
    function: Callable[..., Any], given: Mapping[str, Spec], gradients: Sequence[str], outputs: Sequence[str] | None,
    where: str, bounds: Sequence[Dimension] = (),
) -> TracedFunction:
    name = getattr(function, "__name__", "function")
    try:
        parameters = inspect.signature(function).parameters
        specs = {**_own_specs(function, parameters), **given}
        if not specs and all(p.default is not p.empty for p in parameters.values()):
            made = function()
            if isinstance(made, TracedFunction):
                return made
            raise TraceError(f"{name}() has no tensor arguments and returns {type(made).__name__}, not a program",
                             hint="return gg.trace(...), or give the function tensors as arguments")
        for wanted in gradients:
            if wanted not in specs:
                raise ScriptError(f"--grad {wanted}: {name}() has no such argument with a spec")
            specs[wanted] = replace(specs[wanted], requires_grad=True)
        for bound in bounds:
            owner = next((n for n, s in specs.items() if bound.symbol in s.shape), None)
            if owner is None:
                raise ScriptError(f"--bound {bound.name}: no argument of {name}() has that dimension")
            specs[owner] = replace(specs[owner], dimensions=(*specs[owner].dimensions, bound))
        keywords: dict[str, Any] = dict(specs)
        return trace(function, outputs=outputs, **keywords)
    except GradgenError:
        raise
    except Exception as error:
        raise TraceError(f"{type(error).__name__}: {error}", where=user_line(error) or f"{where}:{name}") from error


def _own_specs(function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Spec]:
    """Specs that the function carries itself, as defaults or annotations (also postponed ones)."""
    try:
        annotations = inspect.get_annotations(function, eval_str=True)
    except (NameError, SyntaxError, TypeError):
        annotations = {n: p.annotation for n, p in parameters.items()}
    found: dict[str, Spec] = {}
    for name, p in parameters.items():
        for candidate in (p.default, annotations.get(name)):
            if isinstance(candidate, Spec):
                found.setdefault(name, candidate)
    return found
