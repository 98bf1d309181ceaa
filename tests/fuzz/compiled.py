"""Compiles one scheduled procedure with the system's C compiler and calls it through ctypes: no bundle, no cffi."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from gradgen.codegen.kernels_body import ProcedureCode, c_procedure
from gradgen.ir.evaluation import bind_dims, extent_value
from gradgen.ir.nodes import Node
from gradgen.loops.procedure import SAVED
from gradgen.reference.interpreter import evaluate
from gradgen.schedule import Procedure, ScheduleOptions, schedule

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wfloat-conversion", "-Wshadow",
          "-Wdouble-promotion", "-Wcast-qual", "-Wmissing-prototypes", "-Werror"]
FLAGS = ["-O2", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-ffp-contract=fast",
         *STRICT, "-Wno-unknown-pragmas"]
PRELUDE = """#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#define GRADGEN_SET_GRAD 2u
#define GRADGEN_ERR_INDEX 9
#define GRADGEN_PARALLEL_FOR(n, worth)
#define GRADGEN_PRAGMA(text) _Pragma(#text)
#define GRADGEN_SIMD GRADGEN_PRAGMA(omp simd)
#define GRADGEN_SIMD_WITH(clauses) GRADGEN_PRAGMA(omp simd clauses)
#if defined(__GNUC__)
#define GRADGEN_RESTRICT __restrict__
#else
#define GRADGEN_RESTRICT
#endif
"""


def compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler")
    return found


def dims_of(procedure: Procedure) -> list[str]:
    names: dict[str, None] = {}
    for node in procedure.given:
        for e in node.shape:
            if not isinstance(e, int):
                for s in sorted(e.free_symbols, key=str):
                    names[s.name] = None
    return list(names)


def arguments(procedure: Procedure) -> list[tuple[str, Node, bool]]:
    """(name, node, is given) of the argument places, each once."""
    found: dict[str, tuple[str, Node, bool]] = {}
    for node, place in procedure.given.items():
        if place.space != SAVED:
            found[place.name] = (place.name, node, True)
    for o in procedure.outputs:
        if o.place.space != SAVED:
            found.setdefault(o.place.name, (o.place.name, o.node, False))
    return list(found.values())


def source(procedure: Procedure, code: ProcedureCode) -> str:
    parameters = [f"int64_t {d}" for d in dims_of(procedure)]
    for name, node, given in arguments(procedure):
        parameters.append(f"{'const ' if given else ''}{node.dtype.ctype} *GRADGEN_RESTRICT {name}")
    parameters += ["void *saved", "void *work", "uint32_t flags"]
    head = f"int call({', '.join(parameters)})"
    unused = "".join(f"    (void){p.split()[-1].lstrip('*')};\n" for p in parameters)
    return PRELUDE + "\n".join(code.helpers.values()) + f"\n{head};\n{head} {{\n{unused}{code.body}    return 0;\n}}\n"


class Compiled:
    """A procedure as a callable: `run(values, set_grad)` gives status and the arrays by place name."""

    def __init__(self, procedure: Procedure, options: ScheduleOptions | None = None, flags: list[str] = FLAGS,
                 cc: str | None = None, edit: Callable[[str], str] = str) -> None:
        self.procedure = procedure
        self.program = schedule(procedure, options)
        self.code = c_procedure(self.program)
        self.text = edit(source(procedure, self.code))
        name = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        self.folder = tempfile.TemporaryDirectory()
        base = Path(self.folder.name) / name
        base.with_suffix(".c").write_text(self.text)
        done = subprocess.run([cc or compiler(), *flags, "-fPIC", "-shared", "-o", str(base.with_suffix(".so")),
                               str(base.with_suffix(".c")), "-lm"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + "\n" + self.text
        self.function = ctypes.CDLL(str(base.with_suffix(".so"))).call

    def run(
        self, values: Mapping[str, np.ndarray | None], *, set_grad: bool = False, unwanted: tuple[str, ...] = (),
        old: Mapping[str, np.ndarray] | None = None, no_saved: bool = False,
    ) -> tuple[int, dict[str, np.ndarray]]:
        p = self.procedure
        dims = bind_dims([(n.shape, np.shape(values[place.name])) for n, place in p.given.items()
                          if values.get(place.name) is not None])
        by_name = {s.name: v for s, v in dims.items()}
        call: list[object] = [ctypes.c_int64(by_name[d]) for d in dims_of(p)]
        keep: list[np.ndarray] = []
        results: dict[str, np.ndarray] = {}
        for name, node, given in arguments(p):
            if given:
                value = values.get(name)
                if value is None:
                    call.append(None)
                    continue
                array = np.ascontiguousarray(value, node.dtype.numpy)
            elif name in unwanted:
                call.append(None)
                continue
            else:
                shape = tuple(extent_value(e, dims) for e in node.shape)
                array = np.array(old[name]) if old and name in old else np.full(shape, 77, node.dtype.numpy)
                results[name] = array
            keep.append(array)
            call.append(array.ctypes.data_as(ctypes.c_void_p))
        saved = _block(extent_value(self.program.layout.saved, dims))
        work = _block(extent_value(self.code.work_bytes, dims))
        call += [None if no_saved else saved.ctypes.data_as(ctypes.c_void_p), work.ctypes.data_as(ctypes.c_void_p),
                 ctypes.c_uint32(2 if set_grad else 0)]
        status = self.function(*call)
        assert (work.base[-64:] == 255).all() and (saved.base[-64:] == 255).all(), "wrote past the end of a block"
        return status, results


def _block(size: int) -> np.ndarray:
    """`size` bytes aligned to 64, with a canary of at least 64 bytes behind, which `.base[-64:]` shows."""
    raw = np.full(size + 256, 255, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size] if size else raw[start : start + 1]


def expected(procedure: Procedure, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the reference interpreter says the outputs are (accumulation not applied)."""
    given = {}
    for node, place in procedure.given.items():
        value = values.get(place.name)
        given[node] = np.full(node.shape, place.default) if value is None else value
    results = evaluate([o.node for o in procedure.outputs], given)
    return {o.place.name: r for o, r in zip(procedure.outputs, results, strict=True)}
