"""Emitted C under AddressSanitizer and UndefinedBehaviorSanitizer, many programs in one binary, against the graph
interpreter: values and status codes."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradgen.compiler.pipeline import generate
from gradgen.ir.draws import STATE
from gradgen.ir.evaluation import extent_value
from gradgen.ir.symbols import dim
from gradgen.loops.procedure import SAVED, Procedure
from gradgen.reference.loop_interpreter import OK, Request
from tests.sweep import calls
from tests.sweep.after_passes import INDEX, Call, Report, calls_of, few
from tests.sweep.calls import Program

SIZES = (0, 1, 2, 3, 7, 64)
STATUS = {OK: 0, "GRADGEN_ERR_DIM": 2, INDEX: 7}
FLAGS = ["-std=c99", "-O1", "-g1", "-w", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SEED = 6  # the place of seed and step among the dimensions
NO_SAVED, FRESH_SAVED, KEPT_SAVED = range(3)
RETAIN_GRAPH, SET_GRAD = 1, 2
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1", "UBSAN_OPTIONS": "print_stacktrace=0"}
CRASHES = 40  # after so many in one binary the rest is left out


@dataclass(frozen=True, eq=False)
class Function:
    """One emitted function: its parameters in order as (kind, name), and the procedure that it is made from."""

    program: Program
    procedure: Procedure
    parameters: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return f"{self.program.name}_{self.procedure.name}"

    @functools.cached_property
    def dtypes(self) -> dict[str, Any]:
        found = {p.name: n.dtype for n, p in self.procedure.given.items()}
        return found | {o.place.name: o.node.dtype for o in self.procedure.outputs}

    def shapes(self, dims: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        values = {dim(d): n for d, n in dims.items()}
        return {o.place.name: tuple(extent_value(e, values) for e in o.node.shape) for o in self.procedure.outputs}

    def tensors(self) -> list[str]:
        return [n for kind, n in self.parameters if kind not in ("dim", "random", "saved", "work", "flags")]

    def wrapper(self) -> str:
        """The function behind one signature for all."""
        given, dims, tensors = [], iter(range(99)), iter(range(99))
        for kind, name in self.parameters:
            if kind == "dim":
                given.append(f"dims[{next(dims)}]")
            elif kind in ("saved", "work", "flags"):
                given.append(kind)
            elif kind == "random":
                given.append(f"(uint64_t)dims[{SEED if name == 'seed' else SEED + 1}]")
            else:
                given.append(f"({self.dtypes[name].ctype} *)tensors[{next(tensors)}]")
        p, sizes = self.program.name, ", ".join(f"dims[{k}]" for k, _ in enumerate(self.program.dims()))
        taken = "const int64_t *dims, void **tensors, void *saved, void *work, uint32_t flags"
        return (f"static int32_t run_{self.name}({taken})\n"
                f"{{\n    return {self.name}({', '.join(given)});\n}}\n"
                f"static size_t saved_{self.name}(const int64_t *dims) {{ return {p}_saved_bytes({sizes}); }}\n"
                f"static size_t work_{self.name}(const int64_t *dims) {{ return {p}_work_bytes({sizes}); }}\n")


def functions_of(program: Program, manifest: Mapping[str, Any]) -> list[Function]:
    found = []
    for p in program.stages.procedures:
        parameters = tuple((a["kind"], a["name"]) for a in manifest["functions"][p.name])
        found.append(Function(program, p, parameters))
    return found


@dataclass(frozen=True, eq=False)
class Binary:
    """Programs compiled together."""

    path: Path
    functions: list[Function]


def build(programs: Sequence[Program], folder: Path, jobs: int = 2) -> Binary:
    """Emits and compiles; raises AssertionError with the compiler's words."""
    folder.mkdir(parents=True, exist_ok=True)
    functions: list[Function] = []
    for program in programs:
        files = generate(program.graph, program.name, program.options)
        functions += functions_of(program, json.loads(files[f"{program.name}.json"]))
        for name in (f"{program.name}.c", f"{program.name}.h", "gradgen_abi.h"):
            (folder / name).write_text(files[name])
    rows = "".join(f"    {{run_{f.name}, saved_{f.name}, work_{f.name}}},\n" for f in functions)
    (folder / "calls.h").write_text(
        "".join(f'#include "{p.name}.h"\n' for p in programs)
        + f"enum {{ NO_SAVED = {NO_SAVED}, FRESH_SAVED = {FRESH_SAVED}, KEPT_SAVED = {KEPT_SAVED} }};\n"
        + "typedef struct {\n    int32_t (*run)(const int64_t *, void **, void *, void *, uint32_t);\n"
        + "    size_t (*saved_bytes)(const int64_t *);\n    size_t (*work_bytes)(const int64_t *);\n} function;\n"
        + "".join(f.wrapper() for f in functions) + f"static const function functions[] = {{\n{rows}}};\n")
    (folder / "host.c").write_text((Path(__file__).parent / "host.c").read_text())

    def compiled(name: str) -> str:
        done = subprocess.run(["gcc", *FLAGS, "-D_GNU_SOURCE", "-c", f"{name}.c"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return f"{name}.o"

    with ThreadPoolExecutor(jobs) as pool:
        objects = list(pool.map(compiled, ["host", *(p.name for p in programs)]))
    done = subprocess.run(["gcc", *FLAGS, *objects, "-lm", "-o", "sweep"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Binary(folder / "sweep", functions)


class _Everything(dict):
    """Forward has been called for all dimensions before backward."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: object) -> dict[str, Any]:
        return {}


def all_calls(f: Function, sizes: Sequence[int], most: int) -> Iterator[Call]:
    """The calls of a function, and one for each set of dimensions that it must refuse."""
    program = f.program
    yield from few(list(calls_of(program, f.procedure, program.dims(), _Everything(), sizes)), most)
    for dims in calls.assignments(program.dims(), (*sizes, -1, calls.LARGE, 2**63 - 1)):
        if dims and not program.fits(dims):
            yield Call(Request(dims, {}, {}), {}, "GRADGEN_ERR_DIM")


def encoded(number: int, f: Function, call: Call, slot: int) -> bytes:
    """A call as the host reads it."""
    r = call.request
    writes = any(o.place.space == SAVED for o in f.procedure.outputs)
    reads = any(kind == "saved" for kind, _ in f.parameters) and f.procedure.name == "backward"
    saved = NO_SAVED if r.saved is None else KEPT_SAVED if reads else FRESH_SAVED if writes or _has_saved(f) else NO_SAVED
    parts = []
    for name in f.tensors():
        data = _block(f, call, name)
        parts += [np.int64(-1).tobytes()] if data is None else [np.int64(len(data)).tobytes(), data]
    fresh = saved == FRESH_SAVED and call.plain() and call.status == OK
    if saved == FRESH_SAVED and not fresh:
        slot = 65535  # nobody reads it
    head = np.array([number, slot, saved, SET_GRAD if r.set_grad else 0, len(f.tensors())], np.int32)
    dims = np.zeros(8, np.int64)
    dims[: len(r.dims)] = list(r.dims.values())
    dims[SEED:] = r.values.get(STATE.name, 0)
    return head.tobytes() + dims.tobytes() + b"".join(parts)


def _has_saved(f: Function) -> bool:
    return any(kind == "saved" for kind, _ in f.parameters)


def _block(f: Function, call: Call, name: str) -> bytes | None:
    """What an argument holds before the call; None: NULL."""
    r = call.request
    if call.status == "GRADGEN_ERR_DIM":
        return b"\x7f"
    if name in r.unwanted or (name in r.values and r.values[name] is None):
        return None
    if name in r.values:
        return np.ascontiguousarray(r.values[name]).tobytes()
    if name in r.old and not r.set_grad:
        return r.old[name].tobytes()
    shape = f.shapes(r.dims)[name]
    return b"\xff" * (int(np.prod(shape)) * f.dtypes[name].itemsize)


def run(binary: Binary, folder: Path, report: Report, sizes: Sequence[int] = SIZES, most: int = 10**6) -> None:
    """Makes the calls and compares; a call that ends the program is reported, and the rest made after it."""
    todo: list[tuple[int, Function, Call]] = []
    slots: dict[tuple[str, str], int] = {}
    requests = folder / "requests.bin"
    with requests.open("wb") as out:
        for number, f in enumerate(binary.functions):
            for call in all_calls(f, sizes, most):
                slot = slots.setdefault((f.program.name, str(dict(call.request.dims))), len(slots))
                out.write(encoded(number, f, call, slot))
                todo.append((number, f, call))
    report.programs += len({f.program.name for f in binary.functions})
    first = 0
    for _ in range(CRASHES):
        with (folder / "answers.bin").open("wb") as answers:
            done = subprocess.run([str(binary.path), str(requests), str(first)], stdout=answers, stderr=subprocess.PIPE,
                                  text=True, errors="replace", env={**os.environ, **ENVIRONMENT})
        last = compare((folder / "answers.bin").read_bytes(), todo, report, first)
        if done.returncode == 0:
            return
        _, f, call = todo[last]
        report.wrong.append(f"{f.name}: {summary(done.stderr)}\n  {call.label()}")
        first = last + 1
    report.wrong.append("too many crashes: the rest was left out")


def summary(text: str) -> str:
    lines = [t for t in text.splitlines() if "runtime error" in t or "ERROR: AddressSanitizer" in t or " of size " in t]
    frames = [t.strip() for t in text.splitlines() if t.lstrip().startswith(("#0", "#1"))][:2]
    return " | ".join([*lines[:2], *frames]) or text[-400:]


def compare(answers: bytes, todo: Sequence[tuple[int, Function, Call]], report: Report, first: int) -> int:
    """Compares all answers; the number of the call after the last."""
    position, number = 0, first
    while position < len(answers):
        number, status = np.frombuffer(answers, np.int64, 2, position).tolist()
        position += 16
        _, f, call = todo[number]
        report.runs += 1
        arrays: dict[str, np.ndarray] = {}
        for name in f.tensors():
            data = _block(f, call, name)
            size = 0 if data is None else len(data)
            if data is not None and name not in call.request.values and name in call.want:
                dtype = f.dtypes[name].numpy
                arrays[name] = np.frombuffer(answers[position : position + size], dtype)
            position += size
        wrong = judged(status, arrays, f, call)
        if wrong:
            report.wrong.append(f"{f.name}: {wrong}\n  {call.label()}")
        number += 1
    return number


def judged(status: int, arrays: Mapping[str, np.ndarray], f: Function, call: Call) -> str:
    if status != STATUS[call.status]:
        return f"status {status} instead of {STATUS[call.status]}"
    if status:
        return ""
    added = calls.accumulated(f.procedure)
    for name, array in arrays.items():
        target = call.want[name]
        if name in added and not call.request.set_grad:
            target = target + call.request.old[name]
        found = calls.disagreement(array, target)
        if found:
            return f"{name}: {found}"
    return ""


