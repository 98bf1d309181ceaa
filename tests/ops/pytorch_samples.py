"""PyTorch's own sample inputs: every operation of its test suite that gradgen has, traced, and its graph interpreted.

    python -m tests.ops.pytorch_samples                   # all, with a table of what differs
    python -m tests.ops.pytorch_samples linalg --limit 5  # operations whose name begins so, five samples of each
    python -m tests.ops.pytorch_samples --through-c       # a sample of each as a compiled module

Needs torch and expecttest.  Values and first gradients in float64 are compared with PyTorch's; a sample that PyTorch takes
and gradgen refuses is counted apart, with gradgen's reason.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

import gradgen as gg
from gradgen.autodiff import differentiate
from gradgen.record.traced import TracedFunction
from gradgen.reference.interpreter import evaluate, run

DTYPES = {"float64", "float32", "int64", "int32", "bool"}
RIGHT, WRONG, REFUSED, MISSING, CRASHED = "right", "wrong", "refused", "missing", "crashed"
TOLERANCE = 1e-6
"""Of the largest element: float64 samples of ill-conditioned factorisations leave about so much."""


class Unfit(Exception):
    """A sample that says nothing about gradgen: other dtypes, sparse or complex tensors."""


def resolve(name: str) -> Any:
    """The method of that name in gradgen, or the public function."""
    method = getattr(gg.Tensor, name, None) if "." not in name else None
    if method is not None:
        return (lambda t: getattr(t, name)) if isinstance(method, property) else method
    found: Any = gg
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


def converted(value: Any, tensors: list[Any]) -> Any:
    """`value` with tensors taken out (in order, into `tensors`) and PyTorch's dtypes replaced by gradgen's."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or str(value.dtype).removeprefix("torch.") not in DTYPES:
            raise Unfit(str(value.dtype))
        tensors.append(value)
        return _Slot(len(tensors) - 1)
    if isinstance(value, torch.dtype):
        name = str(value).removeprefix("torch.")
        if not hasattr(gg, name):
            raise Unfit(name)
        return getattr(gg, name)
    if isinstance(value, (torch.layout, torch.device, torch.memory_format, complex)):
        raise Unfit(str(value))
    if isinstance(value, (list, tuple)):
        parts = [converted(v, tensors) for v in value]
        return parts if isinstance(value, list) else tuple(parts)
    if isinstance(value, dict):
        return {k: converted(v, tensors) for k, v in value.items()}
    return value


class _Slot:
    def __init__(self, place: int) -> None:
        self.place = place


def filled(value: Any, tensors: dict[int, Any]) -> Any:
    if isinstance(value, _Slot):
        return tensors[value.place]
    if isinstance(value, (list, tuple)):
        return type(value)(filled(v, tensors) for v in value)
    if isinstance(value, dict):
        return {k: filled(v, tensors) for k, v in value.items()}
    return value


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for v in value:
            yield from flat(v)
    elif isinstance(value, dict):
        yield from flat(list(value.values()))
    elif hasattr(value, "shape"):
        yield value


def traced(function: Any, structure: Any, tensors: list[Any]) -> TracedFunction:
    def call(**named: Any) -> dict[str, Any]:
        args, kwargs = filled(structure, {int(k[1:]): v for k, v in named.items()})
        return {f"y{k}": t for k, t in enumerate(flat(function(*args, **kwargs)))}

    specs = {f"x{k}": gg.spec(*t.shape, dtype=str(t.dtype).removeprefix("torch."), requires_grad=t.requires_grad)
             for k, t in enumerate(tensors)}
    return gg.trace(call, name="sample", check=False, **specs)


def close(found: Any, exact: Any) -> bool:
    found, exact = np.asarray(found, np.float64), np.asarray(exact, np.float64)
    if found.shape != exact.shape:
        return False
    finite = exact[np.isfinite(exact)]
    scale = max(1.0, float(np.abs(finite).max())) if finite.size else 1.0
    return bool(np.allclose(found, exact, rtol=1e-6, atol=TOLERANCE * scale, equal_nan=True))


def compare(op: Any, sample: Any, through_c: bool) -> tuple[str, str]:
    """What came of one sample, and a word about it."""
    import torch

    function = resolve(op.name)
    tensors: list[Any] = []
    structure = converted(((sample.input, *sample.args), dict(sample.kwargs)), tensors)
    leaves = [t.detach().clone().requires_grad_(t.requires_grad) for t in tensors]
    args, kwargs = filled(structure, dict(enumerate(leaves)))
    kwargs = {k: getattr(torch, v.name) if isinstance(v, gg.dtype) else v for k, v in kwargs.items()}
    expected = [t for t in flat(op.op(*args, **kwargs))]
    if any(t.is_complex() for t in expected):
        raise Unfit("complex")
    try:
        program = traced(function, structure, leaves)
    except Exception as error:
        return REFUSED, f"{type(error).__name__}: {error}".splitlines()[0]
    arrays = [t.detach().numpy() for t in leaves]
    values = run(program.graph, *arrays)
    if len(values) != len(expected):
        return WRONG, f"{len(values)} results, PyTorch has {len(expected)}"
    for k, (a, b) in enumerate(zip(values, expected)):
        if not close(a, b.detach()):
            return WRONG, f"value {k}"
    wanted = [n for n in program.graph.inputs if n.requires_grad]
    given = [t for t in leaves if t.requires_grad]
    heads = [k for k, t in enumerate(expected) if t.requires_grad]
    if not heads or not wanted:
        return RIGHT, ""
    rng = np.random.default_rng(0)
    seeds = {f"y{k}": rng.normal(size=tuple(expected[k].shape)) for k in heads}
    cotangents = [torch.tensor(seeds[f"y{k}"]) for k in heads]
    exact = torch.autograd.grad([expected[k] for k in heads], given, cotangents, allow_unused=True)
    joint = differentiate(program.graph, wanted)
    inputs = dict(zip(program.graph.inputs, arrays))
    inputs |= {node: seeds.get(name, np.zeros([int(e) for e in node.shape])) for name, node in joint.seeds}
    there = [k for k, g in enumerate(joint.gradients) if g is not None]
    found = dict(zip(there, evaluate([joint.gradients[k] for k in there], inputs)))
    for k, (leaf, g) in enumerate(zip(given, exact)):
        zero = np.zeros(tuple(leaf.shape))
        if not close(found.get(k, zero), zero if g is None else g.detach()):
            return WRONG, f"gradient {k}"
    if through_c:
        return compiled(program, arrays, values)
    return RIGHT, ""


def compiled(program: TracedFunction, arrays: list[Any], values: list[Any]) -> tuple[str, str]:
    module = gg.build(program, out=tempfile.mkdtemp())
    found = module.forward(*arrays)
    found = found if isinstance(found, tuple) else (found,)
    good = all(close(a, b) for a, b in zip(found, values, strict=True))
    return (RIGHT, "") if good else (WRONG, "C differs from the interpreted graph")


def outcomes(prefix: str, limit: int, through_c: bool) -> Iterator[tuple[str, int, str, str]]:
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    for op in sorted(op_db, key=lambda o: (o.name, o.variant_test_name)):
        label = f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name
        if not label.startswith(prefix) or not op.supports_dtype(torch.float64, "cpu"):
            continue
        if resolve(op.name) is None:
            yield label, 0, MISSING, ""
            continue
        torch.manual_seed(0)
        samples = op.sample_inputs("cpu", torch.float64, requires_grad=op.supports_autograd)
        for k, sample in enumerate(itertools.islice(samples, limit)):
            try:
                yield label, k, *compare(op, sample, through_c and k == 0)
            except Unfit:
                continue
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                yield label, k, CRASHED, f"{type(error).__name__}: {str(error)[:100]} ({where.name}:{where.lineno})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", nargs="?", default="")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--through-c", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    counts: Counter[str] = Counter()
    seen: Counter[tuple[str, str, str]] = Counter()
    for label, k, outcome, words in outcomes(options.prefix, options.limit, options.through_c):
        counts[outcome] += 1
        if outcome not in (RIGHT, MISSING):
            if not seen[label, outcome, words]:
                print(f"{outcome:<8} {label} sample {k}: {words}", flush=True)
            seen[label, outcome, words] += 1
    print(", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items())))
    return 1 if counts[WRONG] or counts[CRASHED] else 0


if __name__ == "__main__":
    sys.exit(main())
