"""Random programs, traced and differentiated, against PyTorch: by the interpreter for many, as compiled C for a few."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from random_programs import Program, expected, grow

import gradgen as gg
from gradgen.autodiff.joint import differentiable_outputs
from gradgen.compiler.pipeline import stages
from gradgen.errors import TraceError
from gradgen.options import Options
from gradgen.reference.interpreter import evaluate

torch = pytest.importorskip("torch")
LEVELS = ("none", "safe", "fast")
# Chains of up to 14 operations with powers and divisions, relative to the greatest element.
TOLERANCE = {"float32": 3e-3, "float64": 1e-7}

FOUND = {
    "an empty constant is repeated": Program(
        "def f(x0, k0):\n    return x0.reshape(-1).repeat_interleave(2, -1) * 1, x0.sum()\n", ((5, 0, 3),), 4260
    ),
    "one element stands for all in tensordot": Program(
        "def f(x0, x1, k0):\n    return torch.tensordot(x0, x1, 1).sin(), torch.tensordot(x1, x0, 1)\n", ((4, 3), (1, 4)),
        4119,
    ),
}
NAMED = Program(
    "def f(x0, x1, k0):\n    return (x1 - x0).select(0, -1).reshape(-1), x0 / x0.shape[0]\n", ((3, 3), (3, 3)), 67
)


def traced(program: Program, dtype: str, wanted: dict[str, Any], named: bool = False) -> Any:
    def spec(k: int, shape: tuple[int, ...]) -> Any:
        extents = ["N" if named and e == 3 else e for e in shape]
        return gg.spec(*extents, dtype=getattr(gg, dtype), requires_grad=wanted[f"x{k}"] is not None)

    specs = {f"x{k}": spec(k, s) for k, s in enumerate(program.shapes)}
    return gg.trace(program.function(gg), **specs, k0=gg.spec(3, dtype=gg.int64))


def agree(found: Any, wanted: Any, dtype: str, what: str) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale, err_msg=what)


def interpreted(program: Program, level: str, named: bool = False) -> None:
    outputs, cotangents, gradients = expected(program, torch, "float64")
    graph = traced(program, "float64", gradients, named).graph
    joint = stages(graph, Options(simplify=level)).joint
    given = program.inputs("float64")
    values: dict[Any, Any] = {n: given[n.name] for n in graph.inputs}
    names = graph.output_names
    for name, found, wanted in zip(names, evaluate(graph.outputs, values), outputs, strict=True):
        agree(found, wanted, "float64", f"{name}\n{program.source}")
    if joint is None:
        return
    values |= {seed: cotangents[names.index(name)] for name, seed in joint.seeds}
    for node, gradient in zip(joint.parameters, joint.gradients, strict=True):
        found = np.zeros(node.shape) if gradient is None else evaluate([gradient], values)[0]
        agree(found, gradients[node.name], "float64", f"{node.name}\n{program.source}")


@pytest.mark.parametrize("seed", range(60))
def test_random_program(seed: int) -> None:
    program = grow(seed, torch, size=Random(seed).choice([3, 6, 9, 14]))
    if any(0 in s for s in program.shapes):
        pytest.skip("PyTorch does not check indices into what is empty")
    try:
        expected(program, torch, "float64")
    except RuntimeError as error:
        pytest.skip(f"PyTorch refuses the backward: {error}")
    try:
        interpreted(program, LEVELS[seed % 3])
    except TraceError as error:
        assert "no output" in str(error), program.source  # values that are overwritten, derivatives that are 0
        pytest.skip("nothing to differentiate")


@pytest.mark.parametrize("what", FOUND)
def test_found_before(what: str) -> None:
    for level in LEVELS:
        interpreted(FOUND[what], level)


def test_views_of_named_sizes() -> None:
    interpreted(NAMED, "safe", named=True)


COMPILED = {
    "the test of an index behind a guard that fails": Program(
        "def f(x0, k0):\n    v = x0.sort(0)[0]\n    w = v * 1; w.diagonal().add_(1)\n"
        "    return w, w.clamp(-0.5, 0.75).abs().pow(x0)\n", ((1, 3, 3),), 5133,
    ),
    # gcc 12 takes the masks of such loads from another lane (its bug 114375) where jumps are not threaded
    "a permuted load behind a condition": Program(
        "def f(x0, k0):\n    v = x0.tile((2,))\n    w = torch.full_like(x0, 2.0).index_add(-1, torch.tensor([0, 1, 0]), x0)\n"
        "    return w, v.masked_fill(v < 0, 0.25)\n", ((3, 3, 3),), 4226,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", [*COMPILED, 4001, 4002, 4007, 4226])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled(what: str | int, dtype: str, tmp_path: Path) -> None:
    program = grow(what, torch) if isinstance(what, int) else COMPILED[what]
    outputs, cotangents, gradients = expected(program, torch, dtype)
    graph = (made := traced(program, dtype, gradients)).graph
    module: Any = gg.build(made, f"p{program.seed}_{dtype}", out=tmp_path / "made")
    given = program.inputs(dtype)
    found = module.forward(*given.values())
    for name, a, b in zip(graph.output_names, found if isinstance(found, tuple) else (found,), outputs, strict=True):
        agree(a, b, dtype, f"{name}\n{program.source}")
    parameters = [n for n in graph.inputs if n.requires_grad]
    wanted = [graph.output_names[k] for k in differentiable_outputs(graph, parameters)]
    model = module.Module(**{n.name: given[n.name] for n in parameters})
    model.forward(*(v for n, v in given.items() if gradients.get(n) is None))
    for times in (1, 2):
        model.backward(gradient={n: cotangents[graph.output_names.index(n)] for n in wanted}, retain_graph=True)
        for n in parameters:
            agree(getattr(model.grad, n.name), times * gradients[n.name], dtype, f"{n.name}\n{program.source}")
