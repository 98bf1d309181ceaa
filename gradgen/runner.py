"""Eager code: a set of wanted nodes becomes a callable over arrays, compiled for the structure of its graph.

Part of the compiler's room.  Extents are arguments of the compiled function, so that all shapes of one structure share
it; it is found in memory, on disk, or built.  Without a C compiler the reference interpreter runs instead.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from gradgen.build.library import build_shared
from gradgen.build.load import load_shared
from gradgen.codegen.extents import to_c
from gradgen.codegen.kernels_body import c_procedure
from gradgen.codegen.templates import render, template_text
from gradgen.errors import CompilerNotFoundError
from gradgen.ir.dtypes import DType
from gradgen.ir.generalise import generalise
from gradgen.ir.graph import Location, topological_until
from gradgen.ir.interpreter import evaluate
from gradgen.ir.nodes import Node
from gradgen.schedule import ScheduleOptions, schedule
from gradgen.schedule.procedure import Output, Place, Procedure
from gradgen.simplify import simplify

Runner = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Arrays of the given values in, arrays of the outputs out."""

_CDEF = "int32_t gradgen_run(const int64_t *dims, void *const *buffers, void *work);" \
        "size_t gradgen_work(const int64_t *dims);"


def runner(outputs: Sequence[Node], given: Sequence[Node], where: Mapping[Node, Location]) -> Runner:
    """Code that computes `outputs` from the values of `given` (C-contiguous arrays of their shapes and dtypes)."""
    new = simplify(outputs, level="safe", keep=given)
    wanted = [new[n] for n in outputs]
    unique = list(dict.fromkeys(wanted))
    position = [unique.index(n) for n in wanted]
    try:
        run = _compiled(unique, given)
    except CompilerNotFoundError as error:
        _warn_once(str(error))
        run = _interpreted(unique, given)
    if position == list(range(len(unique))):
        return run
    return lambda values: (lambda results: [results[k] for k in position])(run(values))


@cache
def _warn_once(text: str) -> None:
    warnings.warn(f"gradgen evaluates slowly, by its interpreter: {text}", RuntimeWarning, stacklevel=2)


def _interpreted(outputs: Sequence[Node], given: Sequence[Node]) -> Runner:
    def run(values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return evaluate(outputs, dict(zip(given, values)))

    return run


def _compiled(outputs: Sequence[Node], given: Sequence[Node]) -> Runner:
    used = set(topological_until(tuple(outputs), set(given)))
    kept = [k for k, n in enumerate(given) if n in used]
    first: dict[Node, int] = {}
    for k in kept:
        first.setdefault(given[k], k)
    nodes, arguments = list(first), list(first.values())
    lifted = generalise(outputs, nodes)
    if lifted is None:
        wanted, inputs, values = list(outputs), nodes, ()
    else:
        wanted, inputs, values = [lifted.nodes[n] for n in outputs], [lifted.nodes[n] for n in nodes], lifted.values
    source = _source(wanted, inputs, [f"d{k}" for k in range(len(values))])
    ffi, lib = _library(source)
    return _Call(ffi, lib, values, arguments, [(_sizes(n.shape), n.dtype) for n in outputs])


def _sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(e) for e in shape)


def _source(outputs: Sequence[Node], inputs: Sequence[Node], dims: Sequence[str]) -> str:
    given = {n: Place(f"x{k}") for k, n in enumerate(inputs)}
    results = tuple(Output(n, Place(f"y{k}")) for k, n in enumerate(outputs))
    program = schedule(Procedure("run", results, given), ScheduleOptions())
    code = c_procedure(program)
    pointers = [_pointer("const ", n.dtype, f"x{k}", k) for k, n in enumerate(inputs)]
    pointers += [_pointer("", n.dtype, f"y{k}", len(inputs) + k) for k, n in enumerate(outputs)]
    return render(
        "eager/run.c.j2", helpers=list(code.helpers.values()), body=code.body.rstrip("\n"),
        dim_lines=[f"const int64_t {d} = dims[{k}]; (void){d};" for k, d in enumerate(dims)],
        buffer_lines=pointers, work_bytes=to_c(code.work_bytes),
    )


def _pointer(const: str, dtype: DType, name: str, position: int) -> str:
    restrict = "" if const else "GRADGEN_RESTRICT "
    return f"{const}{dtype.ctype} *{restrict}{name} = ({const}{dtype.ctype} *)buffers[{position}]; (void){name};"


@cache
def _library(source: str) -> tuple[Any, Any]:
    """The loaded code of one text; texts are equal for graphs of one structure, whatever their shapes."""
    files = {"run.c": source, "gradgen_abi.h": template_text("c/gradgen_abi.h")}
    return load_shared(build_shared(files), _CDEF)


class _Call:
    """One structure at one set of shapes: dims, work memory and the order of buffers are settled."""

    __slots__ = ("_arguments", "_dims", "_ffi", "_free", "_outputs", "_run", "_work_bytes")

    def __init__(
        self, ffi: Any, lib: Any, dims: Sequence[int], arguments: Sequence[int],
        outputs: Sequence[tuple[tuple[int, ...], DType]],
    ) -> None:
        self._ffi, self._run, self._arguments = ffi, lib.gradgen_run, tuple(arguments)
        self._dims = ffi.new("int64_t[]", list(dims) or [0])
        self._outputs = tuple((shape, dtype.numpy) for shape, dtype in outputs)
        self._work_bytes = int(lib.gradgen_work(self._dims))
        self._free: tuple[Any, ...] | None = None

    def __call__(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        scratch, self._free = self._free, None  # never shared by two calls at once
        if scratch is None:
            scratch = self._scratch()
        pointers, buffers, work, _ = scratch
        results = [np.empty(shape, dtype) for shape, dtype in self._outputs]
        position = 0
        for k in self._arguments:
            pointers[position] = values[k].__array_interface__["data"][0]
            position += 1
        for array in results:
            pointers[position] = array.__array_interface__["data"][0]
            position += 1
        status = self._run(self._dims, buffers, work)
        self._free = scratch
        if status:
            raise IndexError("index out of range in self")
        return results

    def _scratch(self) -> tuple[Any, ...]:
        """The pointer array and a block of WORK aligned to 64 bytes, with what keeps them alive."""
        ffi = self._ffi
        pointers = ffi.new("intptr_t[]", max(len(self._arguments) + len(self._outputs), 1))
        block = ffi.new("char[]", self._work_bytes + 64)
        start = -int(ffi.cast("intptr_t", block)) % 64
        return pointers, ffi.cast("void *const *", pointers), ffi.cast("void *", block + start), block
