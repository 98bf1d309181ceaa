"""Training and evaluation: two programs over one state in one package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import GradgenError, InvalidNameError
from tests.embed.toolchain import C_COMPILERS, needs_c
from tests.importers.test_modules import KEYS, data, network

pytestmark = needs_c


class Dropping(gg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = gg.nn.Linear(4, 8), gg.nn.Linear(8, 4)
        self.norm, self.drop, self.aux = gg.nn.BatchNorm1d(8), gg.nn.Dropout(0.5), gg.nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        hidden = self.drop(self.norm(self.first(x)))
        found = self.second(hidden)
        return found + 0.3 * self.aux(hidden) if self.training else found


def both(net: Any) -> dict[str, Any]:
    def fit(x: Any, t: Any) -> Any:
        loss = ((net(x) - t) ** 2).mean()
        return loss

    def predict(x: Any) -> Any:
        y = net(x)
        return y

    net.train()
    training = gg.trace(fit, x=gg.spec("N", 4), t=gg.spec("N", 4))
    net.eval()
    evaluation = gg.trace(predict, x=gg.spec("N", 4))
    net.train()
    return {"train": training, "eval": evaluation}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return gg.build(both(network(gg)), name="net", out=tmp_path_factory.mktemp("programs") / "made_by_test_programs")


def test_what_training_changes_evaluation_has(built: Any) -> None:
    twin, (x, t) = network(gg), data()
    model = built.Module(twin.state_dict(), scale=np.array([2.0], np.float32))
    weight = model.layers_0_weight
    assert model.training and list(model.state_dict()) == KEYS
    for _ in range(3):
        loss = model.train().forward(x, t)
        model.zero_grad()
        model.backward()
        expected = ((twin.train()(gg.tensor(x)) - gg.tensor(t)) ** 2).mean()
        twin.zero_grad()
        expected.backward()
        np.testing.assert_allclose(loss, expected.detach().numpy(), rtol=1e-5)
        for name, p in model.named_parameters():
            p -= np.float32(0.1) * model.grad[name]
        with gg.no_grad():
            for p in twin.parameters():
                if p.grad is not None:
                    p -= 0.1 * p.grad
        found = model.eval().forward(x)
        assert not model.training
        np.testing.assert_allclose(found, twin.eval()(gg.tensor(x)).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert model.layers_0_weight is weight is model.train().layers_0_weight, "one memory"
    for name, value in twin.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], value.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_gradients_are_the_models(built: Any) -> None:
    x, _ = data()
    model = built.Module(network(gg).state_dict(), scale=np.array([2.0], np.float32))
    model.eval().forward(x)
    model.train()  # backward() belongs to the last forward(), as in PyTorch
    model.backward(np.ones((5, 4), np.float32))
    once = model.grad["layers.0.weight"].copy()
    assert once.any() and model.eval().grad["layers.0.weight"] is model.train().grad["layers.0.weight"]
    model.eval().forward(x)
    model.backward(np.ones((5, 4), np.float32))
    np.testing.assert_allclose(model.train().grad["layers.0.weight"], 2 * once, rtol=1e-5)
    model.zero_grad()
    assert model.grad["layers.0.weight"] is None and model.eval().grad["layers.0.weight"] is None


def test_loading_in_either(built: Any) -> None:
    x, _ = data()
    state = network(gg).state_dict()
    model = built.Module(state, scale=np.array([2.0], np.float32))
    before = model.eval().forward(x)
    other = {n: v.numpy() * 2 for n, v in state.items()}
    model.train().load_state_dict(other)
    assert not np.allclose(model.eval().forward(x), before) and (model["aux.bias"] == other["aux.bias"]).all()
    model.load_state_dict(state)
    np.testing.assert_array_equal(model.forward(x), before)
    assert (model.train()["layers.0.weight"] == state["layers.0.weight"].numpy()).all()
    with pytest.raises(RuntimeError, match="Unexpected key"):
        built.Module({**other, "more": x}, scale=np.array([2.0], np.float32))
    with pytest.raises(RuntimeError, match="there is no program 'predict': there are train, eval"):
        model.use("predict")
    with pytest.raises(TypeError, match="nothing"):
        built.Module(state, nothing=x)


def test_random_numbers_and_parts_of_one_program(tmp_path: Path) -> None:
    """Dropout draws in training alone, and the auxiliary head is used there alone."""
    programs, (x, t) = both(Dropping()), data()
    built = gg.build(programs, name="dropping", out=tmp_path / "programs_dropping")
    model = built.Module(programs["train"].state, seed=3)
    first = model.forward(x, t)
    model.backward()
    quiet = model.eval().forward(x)
    np.testing.assert_array_equal(model.forward(x), quiet)
    assert model.train().step == 1 and model.forward(x, t) != first and model.step == 2
    assert model.grad["aux.weight"].any() and list(model.eval().state_dict()) == list(programs["train"].order)
    model["first.weight"] = np.zeros((8, 4), np.float32)
    assert not model.train()["first.weight"].any()
    model.eval().zero_grad()
    assert model.train().grad["aux.weight"] is None


def test_options_and_mistakes(tmp_path: Path) -> None:
    programs = both(network(gg))
    folder = gg.emit(programs, name="pair", out=tmp_path / "programs_pair", forward_only=True)
    assert {p.name for p in folder.iterdir()} >= {"__init__.py", "_programs.py", "pair_train", "pair_eval"}
    assert "pair_eval_backward" not in (folder / "pair_eval" / "pair_eval.h").read_text()
    with pytest.raises(GradgenError, match="there is no program"):
        gg.build({}, name="pair")
    with pytest.raises(InvalidNameError):
        gg.emit({"two words": programs["eval"]}, name="pair", out=tmp_path)


ALONE = """
import sys
for room in ("gradgen", "sympy", "jinja2", "torch"):
    sys.modules[room] = None
import numpy as np
from made_by_test_programs import net
model = net.Module(dict(np.load(sys.argv[1])))
x = np.ones((3, 4), np.float32)
first = model.forward(x, x)
print(model.eval().forward(x).shape, model.train().forward(x, x) == first)
"""


def test_alone(built: Any, tmp_path: Path) -> None:
    state = {n: v.numpy() for n, v in network(gg).state_dict().items()}
    np.savez(tmp_path / "state.npz", **state, scale=np.ones(1, np.float32))
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", ALONE, str(tmp_path / "state.npz")], cwd=Path(built.__file__).parents[2],
                          env=variables, capture_output=True, text=True)
    assert done.stdout == "(3, 4) True\n", done.stderr


def test_both_in_one_program_of_c(built: Any, tmp_path: Path) -> None:
    folder = Path(built.__file__).parent
    main = ("int main(void) {", "    return net_train_module() == 0 || net_eval_module() == 0;", "}")
    (tmp_path / "main.c").write_text("\n".join(('#include "net_train.h"', '#include "net_eval.h"', *main, "")))
    parts = [folder / name for name in ("net_train", "net_eval")]
    sources = ["main.c", *(str(p / f"{p.name}.c") for p in parts)]
    command = [C_COMPILERS[0], "-std=c99", *(f"-I{p}" for p in parts), *sources, "-lm", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run(["./main"], cwd=tmp_path, check=True)
