"""Timing that can be trusted on a noisy machine: peers in strict alternation, minimum and median over many rounds.

A case gives one function written against a PyTorch-like namespace (gradgen and torch run the same text) and, where the
peer is another language, that peer's own form.  What is timed is the value and all gradients unless a case says
otherwise, after one warm-up call, on the same arrays, and all gradients are compared first.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """`function(ns, **arrays)` returns a scalar loss; `arrays(rng)` makes the inputs; `wrt` are the ones with gradients.

    `jax(jnp, jax, **arrays)` is the same for JAX (default: `function` cannot be run by it).  `targets` maps a peer to the
    ratio gradgen/peer aimed at.  `tolerance` is relative, for the comparison of gradients in the case's dtype.
    """

    name: str
    arrays: Callable[[np.random.Generator], Mapping[str, np.ndarray]]
    function: Callable[..., Any]
    wrt: tuple[str, ...]
    jax: Callable[..., Any] | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 2e-4
    compiled: bool = False  # also time torch.compile
    note: str = ""


@dataclass
class Timing:
    """Seconds per call of one peer: minimum and median over rounds, and seconds of the very first call."""

    peer: str
    minimum: float
    median: float
    first: float


@dataclass
class Result:
    case: str
    threads: int
    timings: dict[str, Timing]
    error: dict[str, float]

    def ratio(self, peer: str) -> float:
        """gradgen's minimum over the peer's."""
        return self.timings["gradgen"].minimum / self.timings[peer].minimum


def gradgen_call(case: Case, arrays: Mapping[str, np.ndarray], threads: int) -> Call:
    """Emits, compiles and loads the case as a module; the call writes into the same results every time."""
    import gradgen as gg

    specs = {
        k: gg.spec(*v.shape, dtype=getattr(gg, v.dtype.name), requires_grad=k in case.wrt) for k, v in arrays.items()
    }
    program = gg.trace(_bound(case.function, gg, list(arrays)), **specs)
    folder = tempfile.mkdtemp(prefix="gradgen-bench-")
    module = gg.build(program, name=case.name.replace("-", "_"), out=folder)
    values = list(arrays.values())

    def call() -> Any:
        return module.value_and_grad(*values)

    return call


def _bound(function: Callable[..., Any], ns: Any, names: Sequence[str]) -> Callable[..., Any]:
    """`function(ns, a, b)` as a function of a and b, with their names as its parameters."""
    scope: dict[str, Any] = {"function": function, "ns": ns}
    exec(f"def loss({', '.join(names)}):\n    return function(ns, {', '.join(names)})", scope)
    return scope["loss"]


def torch_call(case: Case, arrays: Mapping[str, np.ndarray], compiled: bool) -> Call:
    """Eager PyTorch (or torch.compile): forward, then backward into fresh gradients."""
    import torch

    tensors = {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}
    leaves = [tensors[k].requires_grad_() for k in case.wrt]
    function = torch.compile(lambda *values: case.function(torch, *values)) if compiled else (
        lambda *values: case.function(torch, *values)
    )
    values = list(tensors.values())

    def call() -> Any:
        for leaf in leaves:
            leaf.grad = None
        loss = function(*values)
        loss.backward()
        return loss, [leaf.grad for leaf in leaves]

    return call


def jax_call(case: Case, arrays: Mapping[str, np.ndarray]) -> Call:
    """jit of value_and_grad; results are waited for."""
    import jax
    import jax.numpy as jnp

    assert case.jax is not None
    names = list(arrays)
    positions = tuple(names.index(k) for k in case.wrt)
    function = jax.jit(jax.value_and_grad(lambda *values: case.jax(jnp, jax, *values), argnums=positions))  # type: ignore[misc]
    values = [jnp.asarray(v) for v in arrays.values()]

    def call() -> Any:
        return jax.block_until_ready(function(*values))

    return call


def peers(case: Case, arrays: Mapping[str, np.ndarray], threads: int, wanted: Sequence[str]) -> dict[str, Call]:
    """The callables of all installed and wanted peers, gradgen first."""
    found: dict[str, Call] = {"gradgen": gradgen_call(case, arrays, threads)}
    if "torch" in wanted and _has("torch"):
        import torch

        torch.set_num_threads(threads)
        found["torch"] = torch_call(case, arrays, False)
        if case.compiled and "torch.compile" in wanted:
            found["torch.compile"] = torch_call(case, arrays, True)
    if "jax" in wanted and case.jax is not None and _has("jax"):
        import jax

        jax.config.update("jax_enable_x64", True)
        found["jax"] = jax_call(case, arrays)
    return found


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def run(case: Case, threads: int = 1, wanted: Sequence[str] = ("torch", "jax"), budget: float = 3.0) -> Result:
    """Times all peers of a case in alternation for about `budget` seconds each."""
    arrays = case.arrays(np.random.default_rng(0))
    calls: dict[str, Call] = {}
    first: dict[str, float] = {}
    values: dict[str, tuple[float, list[np.ndarray]]] = {}
    started = time.perf_counter()
    for peer, call in peers(case, arrays, threads, wanted).items():
        calls[peer] = call
        start = started if peer == "gradgen" else time.perf_counter()
        values[peer] = _numbers(case, call())
        first[peer] = time.perf_counter() - start
    errors = {p: _distance(values["gradgen"], values[p]) for p in calls if p != "gradgen"}
    for peer, error in errors.items():
        if not error < case.tolerance:
            raise AssertionError(f"{case.name}: gradgen and {peer} differ by {error:.2e} (relative)")
    times = _alternate(calls, budget)
    timings = {p: Timing(p, min(t), statistics.median(t), first[p]) for p, t in times.items()}
    return Result(case.name, threads, timings, errors)


def _numbers(case: Case, result: Any) -> tuple[float, list[np.ndarray]]:
    loss, gradients = result
    if isinstance(gradients, Mapping):
        gradients = [gradients[k] for k in case.wrt]
    if not isinstance(gradients, (list, tuple)):
        gradients = [gradients]
    return float(loss), [np.asarray(g.detach() if hasattr(g, "detach") else g) for g in gradients]


def _distance(a: tuple[float, list[np.ndarray]], b: tuple[float, list[np.ndarray]]) -> float:
    """Largest difference of value or gradient, relative to the largest entry of each array."""
    worst = abs(a[0] - b[0]) / max(1e-30, abs(b[0]), 1e-6)
    for x, y in zip(a[1], b[1]):
        scale = max(float(np.abs(y).max(initial=0.0)), 1e-30)
        worst = max(worst, float(np.abs(x - y).max(initial=0.0)) / scale)
    return worst


def _alternate(calls: Mapping[str, Call], budget: float) -> dict[str, list[float]]:
    """Rounds of a few calls of each peer in turn; a sample is the mean of its few calls."""
    repeat: dict[str, int] = {}
    for peer, call in calls.items():
        start = time.perf_counter()
        call()
        once = time.perf_counter() - start
        repeat[peer] = max(1, min(1000, int(0.002 / max(once, 1e-7))))
    times: dict[str, list[float]] = {p: [] for p in calls}
    end = time.perf_counter() + budget * len(calls)
    while time.perf_counter() < end or len(times["gradgen"]) < 5:
        for peer, call in calls.items():
            n = repeat[peer]
            start = time.perf_counter()
            for _ in range(n):
                call()
            times[peer].append((time.perf_counter() - start) / n)
    return times
