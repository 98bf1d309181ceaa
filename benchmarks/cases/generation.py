"""Code generation and memory: a graph of up to 10,000 small operations, and peak memory over growing batches."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Case, Setup
from benchmarks.peers import built

ROOT = Path(__file__).resolve().parents[2]


def recurrence(sin, x, p, steps):
    """Four operations a step, nothing that a compiler could fold."""
    for _ in range(steps):
        x = sin(p * x) + 0.5 * x
    return x


def growth(setup: Setup, wanted: Sequence[str]) -> dict[str, Any]:
    """Seconds from the Python function to the first value and gradient, by number of operations."""
    found: dict[str, Any] = {}
    for operations in (100, 400) if setup.quick else (100, 1000, 4000, 10000):
        row = {}
        for peer in ("gradgen", *(p for p in ("jax",) if p in wanted)):
            code = f"from benchmarks.cases.generation import {peer}_seconds as f; f(2); print(f({operations // 4}))"
            row[peer] = _in_a_process(code, lambda out: f"{float(out):.2f} s", timeout=600)
        found[f"{operations} operations"] = row
    return found


def _in_a_process(code: str, text: Callable[[str], str], *arguments: str, timeout: float | None = None) -> str:
    """What the code prints, in a process of its own: compilers of other peers have crashed on large programs."""
    try:
        done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True,
                              timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"more than {timeout:.0f} s"
    if done.returncode:
        if done.returncode < 0:
            return f"crashed (signal {-done.returncode})"
        return f"failed: {(done.stderr.strip().splitlines() or [''])[-1]}"[:200]
    return text(done.stdout)


def gradgen_seconds(steps: int) -> float:
    import gradgen as gg

    begin = time.perf_counter()
    spec = gg.spec(dtype=gg.float64, requires_grad=True)
    program = gg.trace(lambda x, p: recurrence(gg.sin, x, p, steps), x=spec, p=spec)
    built(program, Setup()).value_and_grad(np.array(0.3), np.array(0.9))
    return time.perf_counter() - begin


def jax_seconds(steps: int) -> float:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    begin = time.perf_counter()
    function = jax.jit(jax.value_and_grad(lambda x, p: recurrence(jnp.sin, x, p, steps), argnums=(0, 1)))
    jax.block_until_ready(function(0.3, 0.9))
    return time.perf_counter() - begin


MEMORY = """
import sys, json, resource
import numpy as np
peer, n = sys.argv[1], int(sys.argv[2])
from benchmarks.cases.mlp import loss, loss_jax
from benchmarks.peers import gradients
def arrays(rng, n):
    x = np.empty((n, 784), "float32")
    x[:] = rng.normal(size=784)
    one = lambda *shape: (rng.normal(size=shape) / 28).astype("float32")
    return dict(x=x, t=rng.integers(0, 10, size=n), w1=one(784, 256), b1=one(256), w2=one(256, 10), b2=one(10))
case = gradients("memory", arrays, loss, ("w1", "b1", "w2", "b2"), loss_jax)
from benchmarks.harness import Setup
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
case.makers[peer](case.arrays(np.random.default_rng(0), 64), Setup()).call()   # libraries loaded, compilers run
given = case.arrays(np.random.default_rng(0), n)
ready = case.makers[peer](given, Setup())
before = peak()
ready.call()
print(json.dumps(peak() - before))
"""


def memory(setup: Setup, wanted: Sequence[str]) -> dict[str, Any]:
    """Megabytes that a call adds to the process' peak beyond libraries and inputs, by rows of the batch."""
    found: dict[str, Any] = {}
    for n in (100, 1000) if setup.quick else (10_000, 100_000, 1_000_000):
        row = {}
        for peer in ("gradgen", *(p for p in ("torch", "jax") if p in wanted)):
            row[peer] = _in_a_process(MEMORY, lambda out: f"{json.loads(out) / 1e6:.1f} MB", peer, str(n))
        found[f"{n} x 784"] = row
    return found


CASES = [
    Case("unrolled-recurrence", measure=growth, note="trace, differentiate, compile, load, first call"),
    Case("peak-memory", measure=memory, note="a 784-256-10 network's value and gradients; beyond the inputs"),
]
