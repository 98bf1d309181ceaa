"""Programs of gg.from_torch beside torch: values, new states and gradients by the graph's interpreter."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradgen.autodiff import differentiate
from gradgen.ir.draws import STATE
from gradgen.reference.interpreter import evaluate

TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
"""Of each tensor's largest entry; float32 may be another order of sums."""
FLOOR = 1e-5
"""An entry of that size is taken to be there: what cancels to 0 in one order of sums is a rounding error in another."""


def module_of(function: Any, arguments: Any, process: Any = None) -> tuple[Any, list[Any]]:
    """A Module that calls a function or Module with these args and kwargs, and the example inputs that it takes.

    Floating-point tensors are its parameters, so that they have gradients; other tensors are inputs.
    """
    import torch

    leaves: list[Any] = []
    inputs: list[Any] = []

    def taken(a: Any) -> Any:
        if isinstance(a, torch.Tensor):
            held = leaves if a.is_floating_point() else inputs
            held.append(a.detach().clone())
            return _Slot(held is leaves, len(held) - 1)
        if isinstance(a, (list, tuple)):
            return type(a)([taken(v) for v in a])
        return {k: taken(v) for k, v in a.items()} if isinstance(a, dict) else a

    said = taken(arguments)

    class Sample(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.leaves = torch.nn.ParameterList(leaves)
            self.layer = function if isinstance(function, torch.nn.Module) else None

        def forward(self, *given: Any) -> Any:
            args, kwargs = _filled(said, self.leaves, given)
            found = (self.layer or function)(*args, **kwargs)
            return found if process is None else process(found)

    return Sample(), inputs


class _Slot:
    def __init__(self, leaf: bool, place: int) -> None:
        self.leaf, self.place = leaf, place


def _filled(a: Any, leaves: Any, given: Any) -> Any:
    if isinstance(a, _Slot):
        return leaves[a.place] if a.leaf else given[a.place]
    if isinstance(a, (list, tuple)):
        return type(a)([_filled(v, leaves, given) for v in a])
    return {k: _filled(v, leaves, given) for k, v in a.items()} if isinstance(a, dict) else a


def flat(value: Any) -> list[Any]:
    import torch
    from torch.utils._pytree import tree_leaves

    return [t for t in tree_leaves(value) if isinstance(t, torch.Tensor)]


class Expected:
    """What torch computes: results, buffers afterwards, and the gradients by seeds; the model stays as it is."""

    def __init__(self, model: Any, inputs: list[Any], random: bool = False) -> None:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model, again = copy.deepcopy(model), copy.deepcopy(model)
            self.results = flat(self.model(*[i.clone() for i in inputs]))
            second = flat(again(*[i.clone() for i in inputs]))
        pairs = zip(self.results, second)
        self.random = random or not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)
        self.heads = [k for k, t in enumerate(self.results) if t.requires_grad]
        self.seeds = {k: _normal(tuple(self.results[k].shape)) for k in self.heads}
        self.gradients: dict[str, Any] = {}
        leaves = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        if self.heads and leaves and not self.random:
            results = [self.results[k] for k in self.heads]
            seeds = [torch.tensor(self.seeds[k], dtype=self.results[k].dtype) for k in self.heads]
            try:
                found = torch.autograd.grad(results, list(leaves.values()), seeds, allow_unused=True)
            except (NotImplementedError, RuntimeError):  # torch has no derivative of it
                return
            self.gradients = {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(leaves.items(), found)}


def _normal(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def difference(program: Any, inputs: list[Any], expected: Expected, tolerance: Mapping[str, float] = TOLERANCE) -> str:
    """In what values, states or gradients the program differs from torch; "" where in nothing."""
    graph = program.graph
    paths = {c: path for path, c in program.names.items()}
    users = iter(inputs)
    given: dict[Any, Any] = {}
    for n in graph.inputs:
        if n is STATE:
            given[n] = np.zeros(2, np.int64)
        else:
            value = program.state[paths[n.name]] if n.name in paths else next(users).numpy()
            given[n] = np.asarray(value).astype(n.dtype.numpy)
    with np.errstate(all="ignore"):
        values = dict(zip(graph.output_names, evaluate(graph.outputs, given)))
    states = {new: old for old, new in graph.states}
    results = [n for n in graph.output_names if n not in states]
    if len(results) < len(expected.results):
        return f"{len(results)} results, PyTorch has {len(expected.results)}"
    why = [f"result {k}: {w}" for k, (n, t) in enumerate(zip(results, expected.results))
           if (w := unlike(values[n], t, expected.random, tolerance))]
    buffers = dict(expected.model.named_buffers())
    why += [f"{paths[old]}: {w}" for new, old in states.items()
            if old in paths and (w := unlike(values[new], buffers[paths[old]], expected.random, tolerance))]
    parameters = [n for n in graph.inputs if getattr(n, "requires_grad", False)]
    if why or not expected.gradients:
        return "; ".join(why)
    joint = differentiate(graph, parameters)
    seeds = {results[k]: s for k, s in expected.seeds.items()}
    for name, node in joint.seeds:
        given[node] = np.asarray(seeds.get(name, np.zeros(values[name].shape)), node.dtype.numpy)
    there = [k for k, g in enumerate(joint.gradients) if g is not None]
    with np.errstate(all="ignore"):
        found = dict(zip(there, evaluate([joint.gradients[k] for k in there], given)))
    ours = {paths[n.name]: found[k] for k, n in enumerate(parameters) if k in found}
    return "; ".join(
        f"gradient of {path}: {w}" for path, theirs in expected.gradients.items()
        if (w := unlike(ours.get(path, np.zeros(theirs.shape, theirs.numpy(force=True).dtype)), theirs, False, tolerance)))


def unlike(ours: Any, theirs: Any, random: bool, tolerance: Mapping[str, float] = TOLERANCE) -> str:
    """How an array differs from torch's: of random numbers shape and dtype alone are compared."""
    ours, exact = np.asarray(ours), theirs.detach().numpy(force=True)
    if ours.shape != exact.shape:
        return f"shape {ours.shape}, not {exact.shape}"
    if ours.dtype != (np.int32 if exact.dtype in (np.int8, np.int16, np.uint8) else exact.dtype):
        return f"{ours.dtype}, not {exact.dtype}"
    wide, right = ours.astype(np.float64), exact.astype(np.float64)
    scale = float(np.abs(right[np.isfinite(right)]).max(initial=FLOOR))
    if random or np.allclose(wide, right, rtol=0, atol=tolerance.get(exact.dtype.name, 0) * scale, equal_nan=True):
        return ""
    with np.errstate(all="ignore"):
        return f"off by {np.abs(wide - right).max(initial=0.0):.3g} of {scale:.3g}"
