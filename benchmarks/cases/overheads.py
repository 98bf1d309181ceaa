"""What is not arithmetic: a call from Python, an import, the stages of code generation and the C compiler behind them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.cases.generation import recurrence
from benchmarks.harness import Case, Setup
from benchmarks.peers import built
from benchmarks.report import seconds

ROUNDS, REPEATS = 300, 200
"""Samples per kind of call, and calls per sample: the minimum over samples is reported."""


def calls(setup: Setup, wanted: Sequence[str]) -> dict[str, Any]:
    """Time of a call of the notebook's model by each way that Python has, and beyond the same C function through cffi."""
    import gradgen as gg

    def model(x, w, b, y):
        return gg.nn.functional.binary_cross_entropy_with_logits(x @ w + b, y)

    rng = np.random.default_rng(0)
    x, w, b, y = (rng.random(shape, dtype=np.float32) for shape in ((5,), (5, 3), (3,), (3,)))
    specs = {"x": gg.spec(5), "w": gg.spec(5, 3, requires_grad=True), "b": gg.spec(3, requires_grad=True),
             "y": gg.spec(3)}  # fmt: skip
    module = built(gg.trace(model, **specs), setup)
    out, sums = np.empty((), np.float32), (np.zeros_like(w), np.zeros_like(b))
    network = module.Module(w, b)

    def both() -> None:
        network.forward(x, y)
        network.backward()

    ways: dict[str, Callable[[], Any]] = {
        "forward(...)": lambda: module.forward(x, w, b, y),
        "forward(..., out=)": lambda: module.forward(x, w, b, y, out=out),
        "value_and_grad(...)": lambda: module.value_and_grad(x, w, b, y),
        "value_and_grad(..., gradients=, out=)": lambda: module.value_and_grad(x, w, b, y, gradients=sums, out=out),
        "Module.forward(...)": lambda: network.forward(x, y),
        "Module.forward(...), Module.backward()": both,
    }
    raw = bare_calls(module, x, w, b, y, out, sums)
    times = shortest({**ways, **raw, "nothing": lambda: None}, 20 if setup.quick else ROUNDS)
    empty = times.pop("nothing")
    below = {"forward": times["C forward"], "value_and_grad": times["C value_and_grad"],
             "both": times["C forward"] + times["C backward"]}  # fmt: skip
    found = {}
    for name in ways:
        kind = "both" if "backward" in name else "value_and_grad" if "value" in name else "forward"
        c = below[kind] - empty * (2 if kind == "both" else 1)
        found[name] = {"call": seconds(times[name] - empty), "C through cffi": seconds(c),
                       "beyond": seconds(times[name] - empty - c)}  # fmt: skip
    return found


def bare_calls(module: Any, x: Any, w: Any, b: Any, y: Any, out: Any, sums: Any) -> dict[str, Callable[[], Any]]:
    """The C functions through cffi, with pointers made beforehand."""
    native = module.Module._native
    ffi, pointer = native.ffi, native.pointer
    inputs = [pointer(a) for a in (x, w, b, y)]
    blocks = [np.empty(size + 64, np.uint8) for size in (module.saved_bytes(), module.work_bytes())]
    saved, work = (ffi.cast("void *", -(-a.ctypes.data // 64) * 64) for a in blocks)
    forward = (*inputs, pointer(out), saved, work)
    backward = (*inputs, saved, ffi.NULL, *map(pointer, sums), work, 3)
    value_and_grad = (*inputs, pointer(out), *map(pointer, sums), work, 2)
    made = {
        "C forward": lambda: native.forward(*forward),
        "C backward": lambda: native.backward(*backward),
        "C value_and_grad": lambda: native.value_and_grad(*value_and_grad),
    }
    for call in made.values():
        if call():
            raise RuntimeError("a C function refused its arguments")
    return made


def shortest(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds per call, the least over rounds in which all functions take their turns."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            begin = time.perf_counter()
            for _ in range(REPEATS):
                function()
            best[name] = min(best[name], (time.perf_counter() - begin) / REPEATS)
    return best


def imports(setup: Setup, wanted: Sequence[str]) -> dict[str, Any]:
    """Time of a Python process that imports something, beyond one that imports nothing."""
    import gradgen as gg

    with tempfile.TemporaryDirectory() as folder:
        gg.build(gg.trace(lambda x: (x * x).sum(), x=gg.spec(3, requires_grad=True)), name="imported", out=folder)
        what = {"NumPy and cffi": "import numpy, _cffi_backend", "NumPy, SymPy and cffi": "import sympy, numpy, cffi",
                "a generated module": f"import sys; sys.path.insert(0, {folder!r}); import imported",
                "gradgen": "import gradgen"}  # fmt: skip
        what.update({peer: f"import {peer}" for peer in ("torch", "jax", "casadi") if peer in wanted})
        codes = {"nothing": "pass", **what}
        functions = {k: (lambda code=v: subprocess.run([sys.executable, "-c", code], check=True)) for k, v in codes.items()}
        best = dict.fromkeys(codes, float("inf"))
        for _ in range(2 if setup.quick else 8):
            for name, function in functions.items():
                begin = time.perf_counter()
                function()
                best[name] = min(best[name], time.perf_counter() - begin)
    base, needed = best["nothing"], best["NumPy and cffi"]
    return {name: {"import": seconds(best[name] - base), "beyond NumPy and cffi":
                   seconds(best[name] - needed) if name in ("a generated module", "gradgen") else ""} for name in what}


def stages(setup: Setup, wanted: Sequence[str]) -> dict[str, Any]:
    """Seconds of each stage for an unrolled recurrence with value and gradient, by number of operations."""
    import gradgen as gg

    found = {}
    spec = gg.spec(dtype=gg.float64, requires_grad=True)
    for operations in (400, 800) if setup.quick else (1250, 2500, 5000, 10000):
        begin = time.perf_counter()
        program = gg.trace(lambda x, p, n=operations // 4: recurrence(gg.sin, x, p, n), x=spec, p=spec)
        traced = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            gg.emit(program, name="unrolled", out=folder)
        emitted = time.perf_counter()
        built(program, setup)
        whole = time.perf_counter() - emitted
        before = emitted - traced
        found[f"{operations} operations"] = {"trace": seconds(traced - begin), "differentiate to print": seconds(before),
                                             "compile and load": seconds(whole - before)}  # fmt: skip
    return found


CASES = [
    Case("python-calls", measure=calls, note="the notebook's 5x3 model; minima; the aim is 1 us beyond C"),
    Case("imports", measure=imports, note="whole processes, minima of 8; the aim for a generated module is 30 ms"),
    Case("stages", measure=stages, note="an unrolled recurrence; aims at 10,000: 10 s before C, gcc under 60 s, linear"),
]
