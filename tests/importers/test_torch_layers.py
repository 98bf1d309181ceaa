"""All layers of torch.nn by gg.from_torch: values, new states and every gradient beside torch's, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.autodiff import differentiate
from gradgen.ir.draws import STATE
from gradgen.reference.interpreter import evaluate

torch = pytest.importorskip("torch")

from tests.importers.beside_torch import TOLERANCE, Expected, difference, module_of  # noqa: E402
from tests.importers.torch_layers import cases, randomly  # noqa: E402

CASES = cases()
FLOAT32_INSIDE = ("CELU(alpha=", "Hardsigmoid(")
"""Layers of which torch has a constant of the derivative in float32, even for float64: 1 / alpha, 1 / 6."""
REFUSED = {
    "AdaptiveLogSoftmaxWithLoss": "shapes depend on the targets",
    "CrossMapLRN2d": "an autograd.Function of a legacy layer that resizes a buffer",
    "Embedding(5, 3, max_norm=1.0)": "renormalises its weight in place",
    "CTCLoss": "the length of the targets is a value",
    "TransformerEncoder, train, masks": "compares the mask's values with a causal one; is_causal= says it",
    "TransformerEncoder, eval, masks": "compares the mask's values with a causal one; is_causal= says it",
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def refused(name: str) -> bool:
    return any(name.startswith(one) for one in REFUSED)


def imported(name: str) -> tuple[Any, Any, list[Any]]:
    layer, args, kwargs = CASES[name]()
    model, inputs = module_of(layer, (args, kwargs))
    model.training = layer.training
    return gg.from_torch(model, tuple(inputs)), model, inputs


@pytest.mark.parametrize("name", [n for n in CASES if not refused(n)])
@pytest.mark.filterwarnings("ignore")
def test_a_layer_is_torchs(name: str) -> None:
    program, model, inputs = imported(name)
    tolerance = {"float64": 1e-7} if name.startswith(FLOAT32_INSIDE) else TOLERANCE
    assert difference(program, inputs, Expected(model, inputs), tolerance) == ""


@pytest.mark.parametrize("name", [n for n in CASES if refused(n)])
@pytest.mark.filterwarnings("ignore")
def test_what_depends_on_values_is_refused_by_name(name: str) -> None:
    with pytest.raises((gg.errors.GradgenError, NotImplementedError)):
        imported(name)


def test_every_class_of_torch_nn_is_there() -> None:
    said = " ".join(CASES)
    containers = {"Module", "Container", "Parameter", "Buffer", "UninitializedParameter", "UninitializedBuffer", "RNNBase",
                  "RNNCellBase", "DataParallel", "NLLLoss2d", "LinearCrossEntropyOptions"}
    classes = {n for n in dir(torch.nn) if isinstance(getattr(torch.nn, n), type)} - containers
    lazy = {n for n in classes if n.startswith("Lazy")}  # they are other classes once they have seen an input
    assert not {n for n in classes - lazy if n not in said}


def test_the_comparison_can_fail() -> None:
    program, model, inputs = imported("Linear(4, 5)")
    with torch.no_grad():
        model.layer.bias[0] += 1e-6
    assert "result 0" in difference(program, inputs, Expected(model, inputs))


# --- random layers ------------------------------------------------------------------------------------------------------


def values(program: Any, at: dict[str, np.ndarray], state: int, nodes: Any) -> list[np.ndarray]:
    given = {n: np.array([state, 0], np.int64) if n is STATE else at[n.name] for n in program.graph.inputs}
    return evaluate(nodes, given)


@pytest.mark.parametrize("name", [n for n in CASES if randomly(n) and not refused(n)])
def test_backward_draws_what_forward_drew(name: str) -> None:
    """The gradient is that of the function with these random numbers, by differences; other numbers for another state."""
    program, _, _ = imported(name)
    paths = {c: p for p, c in program.names.items()}
    at = {c: program.state[p] for c, p in paths.items()}
    out = program.graph.outputs[0]
    parameters = [n for n in program.graph.inputs if getattr(n, "requires_grad", False)]
    joint = differentiate(program.graph, parameters)
    seed = np.random.default_rng(2).normal(size=tuple(int(e) for e in out.shape))
    moved = {n.name: np.random.default_rng(3).normal(size=at[n.name].shape) for n in parameters}
    given = {n: np.array([7, 0], np.int64) if n is STATE else at[n.name] for n in program.graph.inputs}
    given |= {node: np.zeros(tuple(int(e) for e in node.shape)) for _, node in joint.seeds} | {joint.seeds[0][1]: seed}
    live = [k for k, g in enumerate(joint.gradients) if g is not None]
    found = evaluate([joint.gradients[k] for k in live], given)
    slope = sum(float((g * moved[parameters[k].name]).sum()) for k, g in zip(live, found))
    small = 1e-6
    ahead, behind = ({c: v + s * small * moved[c] if c in moved else v for c, v in at.items()} for s in (1, -1))
    there, back = (float((values(program, a, 7, [out])[0] * seed).sum()) for a in (ahead, behind))
    assert slope == pytest.approx((there - back) / (2 * small), rel=1e-5, abs=1e-7)
    if "output_size=2" in name:
        return  # the first window begins at the beginning, the last ends at the end: with two there is nothing to draw
    others = [values(program, at, state, [out])[0] for state in range(8, 14)]  # windows of a pool are few: some are the same
    assert not all(np.array_equal(values(program, at, 7, [out])[0], other) for other in others)


def test_dropout_drops_as_often_as_it_says(tmp_path: Path) -> None:
    net = torch.nn.Dropout(0.3)
    program = gg.from_torch(net, (torch.ones(20000, requires_grad=True),), train=True)
    built = gg.build(program, name="net", out=tmp_path)
    module = built.Module(input=np.ones(20000, np.float32))
    kept = np.asarray(module.forward()) != 0
    assert abs(kept.mean() - 0.7) < 5 * (0.3 * 0.7 / 20000) ** 0.5  # five standard deviations
    module.backward(gradient=np.ones(20000, np.float32))
    assert np.array_equal(np.asarray(module.grad.input) != 0, kept)
