"""The self-test of a generated package: gradients against finite differences.  The same in every package.

`package.self_test()` loads it; NumPy is all it needs beside the package's own `_runtime.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ._native import extent


def self_test(runtime: Any, native: Any, dims: Mapping[str, int], inputs: Mapping[str, Any]) -> dict[str, float]:
    """Compares every gradient with central differences of forward in a random direction.

    Values that are not given are drawn from (0.1, 0.9), where most functions are smooth, integers are different along every
    axis, and dimensions are 3, or what the module's conditions ask.  Two step sizes tell how far the differences themselves
    can be trusted; a gradient behind detach() is no slope, and fails.  Returns the error of each gradient relative to its
    size, nothing for a module without gradients; raises RuntimeError where one is wrong.
    """
    info, rng = native.info, np.random.default_rng(0)
    sizes = dict.fromkeys(info.dims, 3) | dict(info.sizes) | dict(dims)
    values = {t.name: _drawn(t, tuple(extent(e, sizes) for e in t.shape), rng) for t in info.inputs}
    values |= {t.name: native.array(t, inputs[t.name]).copy() for t in info.inputs if t.name in inputs}
    session, seeds = runtime.Session(native), (1, 0) if info.draws else ()
    whole = [t for t in info.inputs if t.dtype.startswith("int") and t.name not in inputs]
    first = _first_call(lambda: session.forward(list(values.values()), None, seeds), whole, values)
    made = [first] if len(info.outputs) == 1 else first
    weights = {
        t.name: rng.uniform(0.5, 1.5, array.shape).astype(t.dtype)
        for t, array in zip(info.outputs, made, strict=True)
        if t in info.differentiable_outputs
    }

    def objective() -> float:
        made = session.forward(list(values.values()), None, seeds)
        arrays = [made] if len(info.outputs) == 1 else made
        pairs = zip(info.outputs, arrays, strict=True)
        return float(sum((weights[t.name].astype(np.float64) * a).sum() for t, a in pairs if t.name in weights))

    if not info.differentiable:
        return {}
    bases: tuple[Any, ...] = (runtime.Module,)
    if info.draws or info.states:
        from ._stateful import Stateful

        bases = (Stateful, *bases)
    given = dict(zip(("seed", "step"), seeds, strict=False))
    module: Any = type("Module", bases, {"_native": native})([values[t.name] for t in info.held], **given)
    module._forward(tuple(values[info.inputs[k].name] for k in native.data_positions))
    module.backward(weights)
    return {t.name: _compare(native, t, values, getattr(module.grad, t.name), objective, rng) for t in info.parameters}


def _drawn(tensor: Any, shape: tuple[int, ...], rng: Any) -> np.ndarray:
    drawn = rng.uniform(0.1, 0.9, shape)
    if tensor.dtype == "bool":
        return np.array(drawn > 0.5)
    return np.array(drawn if tensor.dtype.startswith("float") else drawn // 1, dtype=tensor.dtype)


def _first_call(forward: Callable[[], Any], whole: list[Any], values: dict[str, np.ndarray]) -> Any:
    """What forward gives with integers that are different along every axis, below the largest extent that they may index:
    where two are the same, the gradient of what is written there is no slope."""
    limits = sorted({n for v in values.values() for n in v.shape if 1 < n <= 4096}, reverse=True) if whole else []
    for limit in (*limits, 1):
        for t in whole:
            array = values[t.name]
            array[...] = (np.indices(array.shape).sum(0) if array.ndim else 0) % limit
        try:
            return forward()
        except IndexError:
            if limit == 1:
                raise
    raise AssertionError("limits end with 1")


def _compare(native: Any, tensor: Any, values: dict[str, np.ndarray], gradient: np.ndarray,
             objective: Callable[[], float], rng: Any) -> float:  # fmt: skip
    single = tensor.dtype == "float32"
    kept = values[tensor.name].copy()
    direction = rng.choice([-1.0, 1.0], kept.shape).astype(kept.dtype)

    def slope(h: float) -> float:
        values[tensor.name][...] = kept + direction * kept.dtype.type(h)
        above = objective()
        values[tensor.name][...] = kept - direction * kept.dtype.type(h)
        return (above - objective()) / (2 * h)

    claimed = float((gradient.astype(np.float64) * direction).sum())
    for step in [(2.0**-6 if single else 2.0**-14) / n for n in (1, 8, 64)]:  # a shorter one where it leads over kinks
        coarse, fine = slope(step), slope(step / 2)
        values[tensor.name][...] = kept
        own = _own_rounding(values, objective, rng)
        size = float(np.abs(gradient).sum()) + abs(fine)
        noise = float(np.finfo(kept.dtype).eps) * (abs(objective()) + size) * 16 / step + 4 * own / step
        error = abs((4 * fine - coarse) / 3 - claimed)
        allowed = noise + 1e-3 * size * (1 if single else 1e-4)
        if error <= 2 * abs(fine - coarse) + allowed:
            return error / size if size else 0.0
        if not abs(fine - coarse) > allowed:
            break
    raise RuntimeError(f"{native.info.name}: the gradient of {tensor.name} is {claimed} along a direction in which "
                       f"forward changes by {fine}")  # fmt: skip


def _own_rounding(values: dict[str, np.ndarray], objective: Callable[[], float], rng: Any) -> float:
    """How far the objective moves when every input moves by two units in the last place: where large numbers cancel
    inside, far more than the rounding of the result, and differences of forward are no better than that."""
    there, floats = objective(), {n: v.copy() for n, v in values.items() if v.dtype.kind == "f"}
    moved = 0.0
    for _ in range(3):
        for name, kept in floats.items():
            values[name][...] = kept * (1 + 2 * np.finfo(kept.dtype).eps * rng.choice([-1.0, 1.0], kept.shape))
        moved = max(moved, abs(objective() - there))
        for name, kept in floats.items():
            values[name][...] = kept
    return moved
