"""Eager code: a set of wanted nodes becomes a callable over arrays, compiled for the structure of its graph.

Extents are arguments of the compiled function, so that all shapes of one structure share
it; it is found in memory, on disk, or built.  Without a C compiler the reference interpreter runs instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from gradgen.build.cache import default_cache, digest
from gradgen.build.library import LIBRARY, build_shared
from gradgen.build.load import load_shared
from gradgen.codegen.declarations import abi_text
from gradgen.codegen.extents import saturating_helpers, to_saturating_c
from gradgen.codegen.kernels_body import c_procedure
from gradgen.codegen.templates import template_text
from gradgen.compiler.verification import verified_when_debugging
from gradgen.errors import CacheError, CompilerNotFoundError
from gradgen.ir.dtypes import DType
from gradgen.ir.generalise import generalise
from gradgen.ir.graph import Location, topological, topological_until
from gradgen.ir.nodes import Node
from gradgen.loops.procedure import Output, Place, Procedure
from gradgen.paths import templates_dir
from gradgen.reference.interpreter import evaluate
from gradgen.schedule import ScheduleOptions, schedule
from gradgen.schedule.allowed import PASSES
from gradgen.simplify import simplify
from gradgen.version import VERSION

Runner = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Arrays of the given values in, arrays of the outputs out."""

_CDEF = "int32_t gradgen_run(const int64_t *dims, void *const *buffers, void *work);" \
        "size_t gradgen_work(const int64_t *dims);"


def runner(
    outputs: Sequence[Node], given: Sequence[Node], where: Mapping[Node, Location], structure: str = ""
) -> Runner:
    """Code that computes `outputs` from the values of `given` (C-contiguous arrays of their shapes and dtypes).

    `structure` is a text that decides everything about the nodes; the next process finds the code by it.
    """
    with verified_when_debugging():
        return _runner(outputs, given, structure)


def _runner(outputs: Sequence[Node], given: Sequence[Node], structure: str) -> Runner:
    new = simplify(outputs, level="eager", keep=given)
    wanted = [new[n] for n in outputs]
    unique = list(dict.fromkeys(wanted))
    position = [unique.index(n) for n in wanted]
    try:
        call, library = _compiled(unique, given, position)
    except CompilerNotFoundError as error:
        _warn_once(str(error))
        return _interpreted(wanted, given)
    if structure:
        recipe = {"library": library.parent.name, "dims": call.dims, "arguments": call.arguments,
                  "outputs": [(shape, dtype.name) for shape, dtype in call.outputs], "position": position}
        default_cache().put_text(_structure_key(structure), json.dumps(recipe))
    return call


def remembered(structure: str) -> Runner | None:
    """The code that an earlier process made for the same structure, or None."""
    cache = default_cache()
    text = cache.get_text(_structure_key(structure))
    if text is None:
        return None
    recipe = json.loads(text)
    folder = cache.get(recipe["library"])
    if folder is None:
        return None
    ffi, lib = load_shared(folder / LIBRARY, _CDEF)
    outputs = [(tuple(shape), np.dtype(name)) for shape, name in recipe["outputs"]]
    return _Call(ffi, lib, recipe["dims"], recipe["arguments"], outputs, recipe["position"])


def recalled(question: str) -> Any:
    """What an earlier process found out about `question`, a text that decides the answer; None if nothing."""
    text = default_cache().get_text(_structure_key(question))
    return None if text is None else json.loads(text)


def note(question: str, answer: Any) -> None:
    """Keeps an answer that JSON can hold for later processes."""
    with contextlib.suppress(CacheError):  # only time is lost
        default_cache().put_text(_structure_key(question), json.dumps(answer, default=int))


def _structure_key(structure: str) -> str:
    return digest("structure", VERSION, _source_digest(), os.environ.get("CC", ""), os.environ.get("CFLAGS", ""), structure)


@cache
def _source_digest() -> str:
    """Changes with gradgen's own files: what an older gradgen compiled is not what this one would."""
    root = Path(__file__).parents[1]
    files = sorted([*root.rglob("*.py"), *templates_dir().rglob("*.[cht]*")])
    return digest(*(f"{f.name} {s.st_size} {s.st_mtime_ns}" for f in files for s in [f.stat()]))


@cache
def _warn_once(text: str) -> None:
    warnings.warn(f"gradgen evaluates slowly, by its interpreter: {text}", RuntimeWarning, stacklevel=2)


def _interpreted(outputs: Sequence[Node], given: Sequence[Node]) -> Runner:
    def run(values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return evaluate(outputs, dict(zip(given, values)))

    return run


def _compiled(outputs: Sequence[Node], given: Sequence[Node], position: Sequence[int]) -> tuple[_Call, Path]:
    used = set(topological_until(tuple(outputs), set(given)))
    kept = [k for k, n in enumerate(given) if n in used]
    first: dict[Node, int] = {}
    for k in kept:
        first.setdefault(given[k], k)
    nodes, arguments = list(first), list(first.values())
    lifted = generalise(outputs, nodes)
    values: Sequence[int] = ()
    if lifted is None:
        plain = simplify(outputs, level="safe", keep=nodes)
        wanted, inputs = [plain[n] for n in outputs], nodes
    else:
        wanted, inputs, values = [lifted.nodes[n] for n in outputs], [lifted.nodes[n] for n in nodes], lifted.values
    source = _source(wanted, inputs, [f"d{k}" for k in range(len(values))])
    ffi, lib, path = _library(source)
    results = [(_sizes(n.shape), n.dtype.numpy) for n in outputs]
    return _Call(ffi, lib, values, arguments, results, position), path


def _sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(e) for e in shape)


def _source(outputs: Sequence[Node], inputs: Sequence[Node], dims: Sequence[str]) -> str:
    given = {n: Place(f"x{k}") for k, n in enumerate(inputs)}
    results = tuple(Output(n, Place(f"y{k}")) for k, n in enumerate(outputs))
    program = schedule(Procedure("run", results, given), _options(outputs))
    code = c_procedure(program)
    pointers = [_pointer("const ", n.dtype, f"x{k}", k) for k, n in enumerate(inputs)]
    pointers += [_pointer("", n.dtype, f"y{k}", len(inputs) + k) for k, n in enumerate(outputs)]
    work_bytes = to_saturating_c(code.work_bytes, "gradgen")
    helpers = [*code.helpers.values(), *saturating_helpers(work_bytes, "gradgen")]
    return Template(template_text("eager/run.c.txt")).substitute(
        helpers="\n".join(helpers), body=code.body.rstrip("\n"),
        dims="\n".join(f"    const int64_t {d} = dims[{k}]; (void){d};" for k, d in enumerate(dims)),
        buffers="\n".join(f"    {line}" for line in pointers), work_bytes=work_bytes,
    )


MANY_NODES = 96  # from which on gcc's time for one fused loop is more than that of many small functions


def _options(outputs: Sequence[Node]) -> ScheduleOptions:
    """Large graphs of eager code are unrolled loops: fused, their iterations become one loop with hundreds of pointers and
    sums, for which compilers take quadratic time; apart, the nests are alike and become calls of few functions."""
    if len(topological(tuple(outputs))) < MANY_NODES:
        return ScheduleOptions()
    return ScheduleOptions(passes=tuple(p for p in PASSES if p != "fusion"))


def _pointer(const: str, dtype: DType, name: str, position: int) -> str:
    restrict = "" if const else "GRADGEN_RESTRICT "
    return f"{const}{dtype.ctype} *{restrict}{name} = ({const}{dtype.ctype} *)buffers[{position}]; (void){name};"


@cache
def _library(source: str) -> tuple[Any, Any, Path]:
    """The loaded code of one text; texts are equal for graphs of one structure, whatever their shapes."""
    files = {"run.c": source, "gradgen_abi.h": abi_text()}
    path = build_shared(files)
    return (*load_shared(path, _CDEF), path)


class _Call:
    """One structure at one set of shapes: dims, work memory and the order of buffers are settled."""

    __slots__ = ("_dims", "_ffi", "_free", "_position", "_run", "_work_bytes", "arguments", "dims", "outputs")

    def __init__(
        self, ffi: Any, lib: Any, dims: Sequence[int], arguments: Sequence[int],
        outputs: Sequence[tuple[tuple[int, ...], np.dtype]], position: Sequence[int],
    ) -> None:
        self._ffi, self._run = ffi, lib.gradgen_run
        self.dims, self.arguments, self.outputs = list(dims), list(arguments), list(outputs)
        self._position = None if list(position) == list(range(len(outputs))) else list(position)
        self._dims = ffi.new("int64_t[]", self.dims or [0])
        self._work_bytes = int(lib.gradgen_work(self._dims))
        if self._work_bytes > sys.maxsize // 2:
            raise RuntimeError(f"can't allocate memory: intermediate values take {self._work_bytes} bytes or more")
        self._free: tuple[Any, ...] | None = None

    def __call__(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self.run([values[k] for k in self.arguments])

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs, given what is read of the values, in the order of `self.arguments`."""
        scratch, self._free = self._free, None  # never shared by two calls at once
        if scratch is None:
            scratch = self._scratch()
        pointers, buffers, work, address, _ = scratch
        results = [np.empty(shape, dtype) for shape, dtype in self.outputs]
        position = 0
        for array in arguments:
            pointers[position] = address(array)
            position += 1
        for array in results:
            pointers[position] = address(array)
            position += 1
        status = self._run(self._dims, buffers, work)
        self._free = scratch
        if status:
            raise IndexError("index out of range in self")
        return results if self._position is None else [results[k] for k in self._position]

    def _scratch(self) -> tuple[Any, ...]:
        """The pointer array and a block of WORK aligned to 64 bytes, with what keeps them alive."""
        ffi = self._ffi
        pointers = ffi.new("void *[]", max(len(self.arguments) + len(self.outputs), 1))
        block = ffi.new("char[]", self._work_bytes + 64)
        start = -int(ffi.cast("intptr_t", block)) % 64
        # from_buffer is the quickest way to an array's address: an eighth of __array_interface__
        return pointers, ffi.cast("void *const *", pointers), ffi.cast("void *", block + start), ffi.from_buffer, block
