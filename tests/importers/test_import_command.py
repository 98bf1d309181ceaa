"""`gradgen import`: models in files become C, a package and a file of weights."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import gradgen as gg
from gradgen.cli import main
from tests.embed.toolchain import needs_c

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no PyTorch")

OWN = """
import gradgen as gg

class Own(gg.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = gg.nn.Sequential(gg.nn.Linear(4, 2), gg.nn.Dropout(0.5))

    def forward(self, x):
        return self.layers(x)

class Sized(Own):
    def __init__(self, n):
        super().__init__()

own = Own().eval()
number = 3

def make():
    return Own()

def fails():
    raise ValueError("no such file")

def squares(out, t):
    return ((out - t) ** 2).mean()
"""

TORCH = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1))
        self.head = torch.nn.Linear(4, 5)

    def forward(self, x, scale=None):
        out = self.head(self.body(x).flatten(1))
        return out if scale is None else out * scale

net = Net()

def narrow(x: torch.Tensor):
    return x @ torch.ones(7, 2)
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["import", *map(str, arguments)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_model.py").write_text(OWN)
    (tmp_path / "torch_model.py").write_text(TORCH)
    for name in ("own_model", "torch_model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@needs_c
def test_a_module_of_gradgen(home: Path) -> None:
    found = run("own_model.py:own", "--example", "N,4", "--name", "own_built", "--out", "made_by_import")
    assert found.exit_code == 0, found.output
    assert "weights: made_by_import/own_built.safetensors" in found.output
    assert "from made_by_import import own_built" in found.output
    module = sys.modules["made_by_import.own_built"]
    model = module.Module(gg.load("made_by_import/own_built.safetensors"))
    weights = ("--weights", "made_by_import/own_built.safetensors", "--save", "own.bin")
    found = run("own_model.py:own", "--example", "N,4", *weights, "--no-compile")
    assert found.exit_code == 0 and Path("own.bin").read_bytes() == model.tobytes(), found.output
    weight, bias = model["layers.0.weight"], model["layers.0.bias"]
    x = np.ones((3, 4), np.float32)
    np.testing.assert_allclose(model.forward(x), x @ weight.T + bias, rtol=1e-5)


@pytest.mark.parametrize("source, mode, draws", [
    ("Own", (), False), ("make", ("--train",), True), ("own", ("--eval",), False),
    ("Own", ("--loss", "squares", "--loss-example", "N,2"), True),
    ("Own", ("--loss", "squares", "--loss-example", "N,2", "--eval"), False),
])  # fmt: skip
def test_training_and_evaluation(home: Path, source: str, mode: tuple[str, ...], draws: bool) -> None:
    found = run(f"own_model.py:{source}", "--example", "N,4", *mode, "--no-compile", "--dtype", "float64")
    assert found.exit_code == 0, found.output
    text = Path("generated/Own/__init__.py").read_text()
    assert ("draws=True" in text) == draws and "layers.0.weight" in text and "float64" in text
    assert ('"loss"' in text) == ("--loss" in mode)


def test_both_programs(home: Path) -> None:
    found = run("own_model.py:Own", "--example", "N,4", "--train", "--eval", "--no-compile", "--name", "pair")
    assert found.exit_code == 0, found.output
    texts = {m: Path(f"generated/pair/pair_{m}/__init__.py").read_text() for m in ("train", "eval")}
    assert "draws=True" in texts["train"] and "draws=True" not in texts["eval"]
    assert Path("generated/pair/__init__.py").is_file() and Path("generated/pair.safetensors").is_file()


def test_weights_come_and_go(home: Path) -> None:
    for suffix in ("pt", "npz", "safetensors"):
        found = run("own_model.py:Own", "--example", "1,4", "--no-compile", "--save", f"own.{suffix}")
        assert found.exit_code == 0, found.output
    assert list(np.load("own.npz")) == list(gg.load("own.pt")) == ["layers.0.weight", "layers.0.bias"]
    run("own_model.py:Own", "--example", "1,4", "--no-compile", "--weights", "own.pt", "--save", "again.npz")
    np.testing.assert_array_equal(np.load("again.npz")["layers.0.weight"], gg.load("own.pt")["layers.0.weight"].numpy())


@pytest.mark.parametrize("arguments, words", [
    (("own_model.py:Sized", "--example", "N,4"), "Sized() cannot be made without arguments"),
    (("own_model.py:Nothing",), "own_model.py has no 'Nothing'"), (("own_model.py:number",), "is a int, not a model"),
    (("own_model.py:fails",), "fails() fails: ValueError: no such file"), (("own_model.py",), "names no model"),
    (("nothing.onnx",), "there is no file nothing.onnx"),
    (("own_model.py:own", "--example", "1,a-b"), "neither a number nor"),
    (("own_model.py:own", "--example", "1,4:float8"), "'float8' is no dtype"),
    (("own_model.py:own", "--example", "2,4", "--loss", "nope"), "neither the script nor nn.functional has"),
    (("own_model.py:own", "--example", "2,4", "--weights", "none.pt"), "none.pt"),
    (("own_model.py:own", "--example", "2,4", "--save", "x.txt"), "x.txt is none of .safetensors"),
    (("own_model.py:own", "--example", "2,5"), "mat1 and mat2"),
    (("own_model.py:own", "--example", "2x=5"), "'2x' is no name"),
])  # fmt: skip
def test_mistakes_are_one_line_with_a_hint(home: Path, arguments: tuple[str, ...], words: str) -> None:
    found = run(*arguments, "--no-compile")
    assert found.exit_code == 2 and words in found.output and "Traceback" not in found.output
    said = [line for line in found.output.splitlines() if not line.lstrip().startswith(("hint:", "where:"))]
    assert len(said) == 1 or "Usage:" in found.output, found.output


@needs_torch
def test_a_module_of_pytorch(home: Path) -> None:
    import torch

    found = run("torch_model.py:Net", "--example", "N,3,8,8", "--loss", "cross_entropy", "--loss-example", "N:int64",
                "--no-compile", "--dtype", "float64", "--dim", "N=4")
    assert found.exit_code == 0, found.output
    assert "x: float64[N, 3, 8, 8], target: int64[N]" in found.output and "running_mean_next" in found.output
    state = gg.load("generated/Net.safetensors")
    assert "body.1.num_batches_tracked" in state and state["head.weight"].dtype == gg.float64
    found = run("torch_model.py:net", "--example", "2,3,8,8", "--example", "scale=2,5", "--no-compile", "--save", "net.pt")
    assert found.exit_code == 0, found.output
    assert "scale: float32[2, 5]" in found.output and "next" not in found.output, "evaluation without a loss"
    import torch_model  # type: ignore[import-not-found]

    torch_model.Net().load_state_dict(torch.load("net.pt", weights_only=True))
    found = run("torch_model.py:net", "--example", "2,3,8,8", "--weights", "net.pt", "--no-compile")
    assert found.exit_code == 0, found.output


@needs_torch
@pytest.mark.parametrize("arguments, words", [
    (("torch_model.py:Net",), "what the model is called with is not known"),
    (("torch_model.py:Net", "--example", "1,4,8,8"), "to have 3 channels, but got 4 channels"),
    (("torch_model.py:narrow", "--example", "2,3"), "mat1 and mat2 shapes cannot be multiplied"),
    (("torch_model.py:Net", "--example", "N,3,8,8", "--dim", "M=3"), "--dim M: no example has such a dimension"),
    (("torch_model.py:Net", "--example", "N,3,8,8", "--example", "other=3"), "unexpected keyword argument 'other'"),
])  # fmt: skip
def test_mistakes_with_pytorch(home: Path, arguments: tuple[str, ...], words: str) -> None:
    found = run(*arguments, "--no-compile")
    assert found.exit_code == 2 and words in found.output and "Traceback" not in found.output, found.output


@pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="no onnx")
def test_an_onnx_model(home: Path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    weight = np.arange(8, dtype=np.float32).reshape(4, 2)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "fc.weight"], ["y"])], "net",
        [value("x", onnx.TensorProto.FLOAT, ["batch", 4])], [value("y", onnx.TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(weight, "fc.weight")])  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "net.onnx")
    found = run("net.onnx", "--no-compile", "--dtype", "float64")
    assert found.exit_code == 0, found.output
    assert "x: float64[batch, 4], fc_weight: float64[4, 2]*" in found.output
    np.testing.assert_array_equal(gg.load("generated/net.safetensors")["fc.weight"].numpy(), weight)
    found = run("net.onnx", "--no-compile", "--dim", "batch=3")
    assert found.exit_code == 0 and "x: float32[3, 4]" in found.output, found.output
    found = run("net.onnx", "--no-compile", "--example", "3,4")
    assert found.exit_code == 2 and "--example NAME=3,4" in found.output
