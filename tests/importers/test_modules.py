"""Generated modules of models: parameters and buffers under the model's names, as in PyTorch's state_dict, with and without
gradgen and PyTorch at hand."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from tests.embed.toolchain import C_COMPILERS, STRICT, needs_c

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]
needs_torch = pytest.mark.skipif(torch is None, reason="no PyTorch")

KEYS = [
    "unread", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "layers.1.running_mean",
    "layers.1.running_var", "layers.1.num_batches_tracked", "layers.2.weight", "tied.weight", "aux.weight", "aux.bias",
]
"""torch's state_dict of the model: own entries first, then children's; recorded, and compared where torch is."""


def network(T: Any) -> Any:
    """One model in gradgen and PyTorch: a frozen bias, a tied weight, a buffer that is not kept, parts that are not used."""

    class Net(T.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layers = T.nn.Sequential(T.nn.Linear(4, 6), T.nn.BatchNorm1d(6), T.nn.Linear(6, 4, bias=False))
            self.tied = T.nn.Linear(6, 4, bias=False)
            self.tied.weight = self.layers[2].weight
            self.aux = T.nn.Linear(2, 3)
            self.register_buffer("scale", T.tensor([2.0]), persistent=False)
            self.register_buffer("unread", T.tensor([7, 8]))
            self.layers[0].bias.requires_grad_(False)

        def forward(self, x: Any) -> Any:
            return self.layers(x) * self.scale

    T.manual_seed(0)
    return Net()


@pytest.fixture(scope="module")
def net() -> Any:
    return network(gg)


@pytest.fixture(scope="module")
def program(net: Any) -> Any:
    def fit(x: Any, t: Any) -> Any:
        loss = ((net(x) - t) ** 2).mean()
        return loss

    return gg.trace(fit, x=gg.spec("N", 4), t=gg.spec("N", 4))


@pytest.fixture(scope="module")
def built(program: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield gg.build(program, name="net", out=tmp_path_factory.mktemp("modules") / "made_by_test_modules")


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(5, 4)).astype(np.float32)


# --- names ----------------------------------------------------------------------------------------------------------------


def test_names_and_order(net: Any, program: Any, built: Any) -> None:
    assert list(net.state_dict()) == KEYS
    assert list(program.order) == KEYS and {*program.state} == {*KEYS, "scale"}
    assert built.info.names == program.names and built.info.aliases == program.aliases == {"tied.weight": "layers.2.weight"}
    assert built.info.names["layers.0.weight"] == "layers_0_weight" and built.info.state_dict == tuple(KEYS)
    assert [t.name for t in built.info.unused] == ["unread", "aux.weight", "aux.bias"]
    manifest = json.loads((Path(built.__file__).parent / "net.json").read_text())
    assert manifest["names"] == program.names and manifest["state_dict"] == KEYS
    assert manifest["aliases"] == program.aliases
    assert manifest["unused"]["aux.weight"] == {"dtype": "float32", "shape": [3, 2]}
    net_of_zeros = built.Module({**program.state, "layers.0.weight": np.zeros((6, 4), np.float32)})
    assert list(net_of_zeros.state_dict()) == KEYS
    assert [n for n, _ in net_of_zeros.named_parameters()] == [
        "layers.0.weight", "layers.1.weight", "layers.1.bias", "layers.2.weight"]


@needs_torch
def test_order_is_pytorchs() -> None:
    assert list(network(torch).state_dict()) == KEYS


def test_values_and_gradients_by_either_name(net: Any, program: Any, built: Any) -> None:
    x, t = data()
    model = built.Module(program.state)
    twin = copy.deepcopy(net)
    for _ in range(3):
        loss = model.forward(x, t)
        model.zero_grad()
        model.backward()
        expected = ((twin(gg.tensor(x)) - gg.tensor(t)) ** 2).mean()
        twin.zero_grad()
        expected.backward()
        np.testing.assert_allclose(loss, expected.detach().numpy(), rtol=1e-5)
        for name, p in twin.named_parameters():
            if p.grad is not None:
                np.testing.assert_allclose(model.grad[name], p.grad.numpy(), rtol=1e-4, atol=1e-6)
    assert model.grad.layers_0_weight is model.grad["layers.0.weight"] is model.grad["layers_0_weight"]
    assert model.grad["tied.weight"] is model.grad["layers.2.weight"]
    with pytest.raises(KeyError, match=r"layers.0.bias has no gradient"):
        model.grad["layers.0.bias"]
    with pytest.raises(KeyError, match=r"net has no 'layers.9.weight': it has unread, layers.0.weight"):
        model["layers.9.weight"]
    kept = model.state_dict()
    for name, value in twin.state_dict().items():
        np.testing.assert_allclose(kept[name], value.numpy(), rtol=1e-5, err_msg=name)
    assert kept["layers.1.num_batches_tracked"] == 3 and kept["tied.weight"] is kept["layers.2.weight"]
    assert not np.array_equal(kept["layers.1.running_mean"], program.state["layers.1.running_mean"]), "changed by forward"
    model.grad["layers.1.bias"] = np.ones(6, np.float32)
    assert (model.grad.layers_1_bias == 1).all()
    model["layers.1.bias"] = np.zeros(6, np.float32)
    assert (model.layers_1_bias == 0).all() and not (program.state["layers.1.weight"] == 0).any()


def test_keywords_are_the_names_in_c(program: Any, built: Any) -> None:
    x, t = data()
    by_name = {program.names[p]: a for p, a in program.state.items() if p in program.names}
    held = built.Module(**by_name)
    assert held.layers_0_weight is program.state["layers.0.weight"], "held, not copied"
    expected = built.Module(program.state).forward(x, t)
    assert held.forward(x, t) == expected
    assert list(held.state_dict()) == [k for k in KEYS if k not in ("unread", "aux.weight", "aux.bias")]
    assert built.Module(program.state, scale=np.array([0.0], np.float32)).forward(x, t) != expected
    with pytest.raises(TypeError, match=r"net.Module: no value for layers.1.weight, .*scale"):
        built.Module(layers_0_weight=by_name["layers_0_weight"])
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got <class 'list'>"):
        built.Module([1.0])


def test_a_state_is_copied(program: Any, built: Any) -> None:
    before = {p: a.copy() for p, a in program.state.items()}
    model = built.Module(program.state)
    model.layers_0_weight += 1
    model["aux.bias"][...] = 5
    for path, array in before.items():
        np.testing.assert_array_equal(array, program.state[path])


# --- loading --------------------------------------------------------------------------------------------------------------


def test_one_error_says_everything(program: Any, built: Any) -> None:
    model = built.Module(program.state)
    before = {n: a.copy() for n, a in model.state_dict().items()}
    wrong = {**before, "layers.1.bias": np.zeros(7, np.float32), "extra.weight": np.zeros(1), "aux.bias": np.zeros(1)}
    wrong["layers.0.weight"] = wrong["layers.0.weight"] + 1
    del wrong["layers.0.bias"], wrong["layers.1.running_mean"]
    with pytest.raises(RuntimeError) as raised:
        model.load_state_dict(wrong)
    assert str(raised.value) == (
        "Error(s) in loading state_dict for Module:\n"
        '\tMissing key(s) in state_dict: "layers.0.bias", "layers.1.running_mean". \n'
        '\tUnexpected key(s) in state_dict: "extra.weight". \n'
        "\tsize mismatch for layers.1.bias: copying a param with shape torch.Size([7]) from checkpoint, the shape in current "
        "model is torch.Size([6]).\n"
        "\tsize mismatch for aux.bias: copying a param with shape torch.Size([1]) from checkpoint, the shape in current "
        "model is torch.Size([3])."
    )
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg="nothing has changed")
    with pytest.raises(RuntimeError, match=r"expected torch.Tensor or Tensor-like object from"):
        model.load_state_dict({**before, "layers.0.bias": "text"})
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "layers.2.weight", "tied.weight", "scale"\. $'):
        built.Module({k: v for k, v in before.items() if k not in ("layers.2.weight", "tied.weight")})


def test_not_strict(program: Any, built: Any) -> None:
    model = built.Module(program.state)
    assert repr(model.load_state_dict(program.state)) == "<All keys matched successfully>"
    keys = model.load_state_dict({"layers.0.bias": np.full(6, 3.0), "other": np.zeros(2)}, strict=False)
    assert (model["layers.0.bias"] == 3).all() and keys.unexpected_keys == ["other"] and "aux.bias" in keys.missing_keys
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict({"layers.0.bias": np.zeros(5)}, strict=False)
    with pytest.raises(TypeError, match="dict-like"):
        model.load_state_dict([("layers.0.bias", 1)])


def test_what_is_loaded_stays_in_place(program: Any, built: Any) -> None:
    x, t = data()
    model, other = built.Module(program.state), built.Module(program.state)
    own, before = model["layers.0.weight"], model.forward(x, t)
    other["layers.0.weight"][...] *= 2
    model.load_state_dict(other.state_dict())
    assert model["layers.0.weight"] is own and model.forward(x, t) != before


def test_one_name_of_a_tied_parameter_is_enough(program: Any, built: Any) -> None:
    model = built.Module(program.state)
    state = {k: v for k, v in model.state_dict().items() if k != "layers.2.weight"}
    state["tied.weight"] = np.full((4, 6), 2.0)
    model.load_state_dict(state)
    assert (model.layers_2_weight == 2).all() and model.state_dict()["layers.2.weight"] is model["tied.weight"]
    assert (built.Module({**state, "scale": np.ones(1)}).layers_2_weight == 2).all()


def test_values_of_other_types(program: Any, built: Any) -> None:
    model = built.Module(program.state)
    model.load_state_dict({p: a.astype(np.float64) if a.dtype == np.float32 else a for p, a in program.state.items()})
    assert model.layers_0_weight.dtype == np.float32
    model.load_state_dict({p: gg.tensor(a) for p, a in program.state.items()})
    x, t = data()
    assert model.forward(gg.tensor(x), gg.tensor(t)) == built.Module(program.state).forward(x, t)


def test_counters_are_younger_than_old_files(program: Any, built: Any, net: Any) -> None:
    """Files of PyTorch before 0.4.1 have no num_batches_tracked, nor have plain dicts to: both load strictly there."""
    model = built.Module(program.state)
    without = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict(without)
    net.load_state_dict({k: gg.tensor(v) for k, v in without.items()})
    state = net.state_dict()
    assert state._metadata["layers.1"] == {"version": 2}
    del state["layers.1.num_batches_tracked"]
    for loading in (model, net):
        with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "layers.1.num_batches_tracked"\. $'):
            loading.load_state_dict(state)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_files(program: Any, built: Any, net: Any, tmp_path: Path, suffix: str) -> None:
    x, t = data()
    model = built.Module(program.state)
    expected = model.forward(x, t)
    path = tmp_path / f"net.{suffix}"
    gg.save(net.state_dict(), path)
    for mmap in (False, True):
        loaded = gg.load(path, mmap=mmap)
        again = built.Module(loaded, scale=np.array([2.0], np.float32))
        assert again.forward(x, t) == expected
        model.load_state_dict(loaded)
    again.layers_0_weight += 1
    assert built.Module(gg.load(path), scale=np.array([2.0], np.float32)).forward(x, t) == expected
    gg.save(again.state_dict(), path)
    found = gg.load(path)
    for name, array in again.state_dict().items():
        if name in found or suffix == "pt":  # one name of a tied parameter is in files of safetensors
            np.testing.assert_array_equal(found[name].numpy(), array)
    assert built.Module(found, scale=np.array([2.0], np.float32)).forward(x, t) == again.forward(x, t)


def test_copies(program: Any, built: Any) -> None:
    x, t = data()
    model = built.Module(program.state)
    for clone in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert clone.forward(x, t) == built.Module(program.state).forward(x, t)
        assert list(clone.state_dict()) == KEYS and clone.layers_0_weight is not model.layers_0_weight


def test_a_program_with_fewer_outputs_and_another_dtype(program: Any, tmp_path: Path) -> None:
    """What a choice of gradients or dtype= changes in the names: nothing."""
    x, t = data()
    wide = gg.build(program, name="wide", out=tmp_path / "modules_wide", dtype="float64", gradients="layers_0_weight")
    model = wide.Module(program.state)
    assert model["layers.2.weight"].dtype == np.float64 and list(model.state_dict()) == KEYS
    model.forward(x.astype(np.float64), t.astype(np.float64))
    model.backward()
    assert [n for n, _ in model.named_parameters()] == ["layers.0.weight"] and model.grad["layers.0.weight"].any()


def test_functions_of_several_modules(tmp_path: Path) -> None:
    encoder, head = gg.nn.Linear(3, 2), gg.nn.Linear(2, 1)
    scale = gg.nn.Parameter(gg.ones(2))

    def scored(x: Any, w: Any) -> Any:
        return (head(encoder(x) * w) ** 2).sum()

    program = gg.trace(scored, x=gg.spec("N", 3), w=gg.spec(2, requires_grad=True))
    module = gg.build(program, out=tmp_path / "modules_several")
    model = module.Module(program.state, w=scale)
    assert list(model.state_dict()) == ["w", "encoder.weight", "encoder.bias", "head.weight", "head.bias"]
    model.forward(np.ones((4, 3), np.float32))
    model.backward()
    loss = scored(gg.ones(4, 3), scale)
    loss.backward()
    np.testing.assert_allclose(model.grad.w, scale.grad.numpy(), rtol=1e-5)
    np.testing.assert_allclose(model.grad["encoder.weight"], encoder.weight.grad.numpy(), rtol=1e-5)


# --- with PyTorch ---------------------------------------------------------------------------------------------------------


@needs_torch
def test_torch_models_and_tensors(program: Any, built: Any, tmp_path: Path) -> None:
    theirs = network(torch)
    x, t = data()
    loss = ((theirs(torch.from_numpy(x)) - torch.from_numpy(t)) ** 2).mean()
    loss.backward()
    theirs.layers[1].reset_running_stats()
    model = built.Module(theirs.state_dict(), scale=torch.tensor([2.0]))
    np.testing.assert_allclose(model.forward(torch.from_numpy(x), torch.from_numpy(t)), loss.item(), rtol=1e-5)
    model.backward()
    for name, p in theirs.named_parameters():
        if p.grad is not None:
            np.testing.assert_allclose(model.grad[name], p.grad.numpy(), rtol=1e-4, atol=1e-6)
    gg.save(model.state_dict(), tmp_path / "net.pt")
    theirs.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True), strict=True)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    model.load_state_dict(torch.load(tmp_path / "theirs.pt", weights_only=True))
    model.load_state_dict({n: p.to(torch.bfloat16) for n, p in theirs.named_parameters()}, strict=False)
    by_reference = built.Module(program.state, layers_0_weight=theirs.layers[0].weight)
    by_reference.layers_0_weight += 1
    assert np.array_equal(by_reference.layers_0_weight, theirs.layers[0].weight.detach().numpy())


@needs_torch
@pytest.mark.parametrize("via", ["export", "run"])
def test_imported_models(via: str, tmp_path: Path) -> None:
    theirs = network(torch)
    x, t = map(torch.from_numpy, data())
    program = gg.from_torch(theirs, (x,), loss=lambda out, t: ((out - t) ** 2).mean(), loss_args=(t,), via=via)
    model = gg.build(program, name="net", out=tmp_path / f"modules_{via}").Module(program.state)
    assert list(model.state_dict()) == KEYS
    loss = ((theirs(x) - t) ** 2).mean()
    np.testing.assert_allclose(model.forward(x, t), loss.item(), rtol=1e-5)
    other = network(torch)
    other.load_state_dict({n: torch.from_numpy(np.array(a)) for n, a in model.state_dict().items()})
    for (name, a), b in zip(theirs.state_dict().items(), other.state_dict().values()):
        if not name.endswith("num_batches_tracked"):  # which an imported program leaves out
            torch.testing.assert_close(a, b)
    model.load_state_dict(theirs.state_dict())
    assert model["layers.1.num_batches_tracked"] == 1


@needs_torch
@pytest.mark.parametrize("strict", [True, False])
def test_errors_are_pytorchs(program: Any, built: Any, strict: bool) -> None:
    theirs, model = network(torch), built.Module(program.state)
    whole = {n: v.clone() for n, v in theirs.state_dict().items()}
    for wrong in (
        whole, {k: v for k, v in whole.items() if k != "aux.bias"}, {**whole, "a": torch.zeros(1), "b": torch.zeros(1)},
        {**whole, "unread": torch.zeros(3)}, {k: v for k, v in whole.items() if "layers" not in k and "tied" not in k},
        {**whole, "layers.0.bias": torch.zeros(2, 3), "layers.1.bias": torch.zeros(()), "x": torch.zeros(1)},
        {**whole, "layers.0.bias": 3}, {k: v for k, v in whole.items() if not k.endswith("num_batches_tracked")},
    ):  # fmt: skip
        said = []
        for one in (theirs, model):
            try:
                said.append(repr(one.load_state_dict(wrong, strict=strict)))
            except RuntimeError as error:
                said.append(str(error).replace(" for Net:", " for Module:"))
        assert said[0] == said[1]


# --- in C -----------------------------------------------------------------------------------------------------------------


@needs_c
def test_weights_in_one_file(program: Any, built: Any, tmp_path: Path) -> None:
    """The example reads what tobytes() makes, and computes what the Python package does; the header says what is what."""
    folder = Path(built.__file__).parent
    model = built.Module(program.state)
    (tmp_path / "net.bin").write_bytes(model.tobytes())
    sources = [str(folder / name) for name in ("example.c", "net.c")]
    subprocess.run([C_COMPILERS[0], "-std=c99", *STRICT, "-O1", *sources, "-lm", "-o", "example"], cwd=tmp_path, check=True)
    done = subprocess.run(["./example", "net.bin"], cwd=tmp_path, capture_output=True, text=True, check=True)
    made_up = ((np.arange(16) * 37 + 11) % 101 / np.float32(127) + np.float32(0.1)).astype(np.float32).reshape(4, 4)
    said = [float(line.split("loss ")[1].split()[0]) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(said[0], model.forward(made_up, made_up), rtol=1e-5)
    model.backward()
    for name, p in model.named_parameters():
        p -= np.float32(0.1) * model.grad[name]
    np.testing.assert_allclose(said[1], model.forward(made_up, made_up), rtol=1e-4)
    short = subprocess.run(["./example", "example"], cwd=tmp_path, capture_output=True, text=True)
    missing = subprocess.run(["./example", "none.bin"], cwd=tmp_path, capture_output=True, text=True)
    assert short.returncode == 0 and missing.returncode == 1 and "0 bytes of weights, and not" in missing.stdout
    header, readme = ((folder / name).read_text() for name in ("net.h", "README.md"))
    assert "float layers_0_weight[24]; /* layers.0.weight [6, 4] */" in header
    assert "float layers_0_bias[6]; /* layers.0.bias [6], without gradient */" in header
    assert "const float *layers_0_weight; /* layers.0.weight */" in header
    assert f"#define NET_STATE_BYTES {len(model.tobytes())}\n" in header
    assert "| `layers_2_weight` | float32 | `[4, 6]` | `layers.2.weight`: input, with gradient" in readme
    assert int(header.index("int64_t layers_1_num_batches")) < header.index("float scale[1]"), "wide elements first"


def test_bytes_come_back(program: Any, built: Any) -> None:
    model, other = built.Module(program.state), built.Module({p: a * 0 for p, a in program.state.items()})
    other.frombytes(model.tobytes())
    for name, array in built.Module(program.state).state_dict().items():
        if name not in ("unread", "aux.weight", "aux.bias"):
            np.testing.assert_array_equal(other[name], array)
    with pytest.raises(ValueError, match=r"net: the state has \d+ bytes, not 3"):
        other.frombytes(b"abc")


# --- without gradgen ------------------------------------------------------------------------------------------------------

ALONE = """
import sys
for room in ("gradgen", "sympy", "jinja2", "torch"):
    sys.modules[room] = None
import numpy as np
from made_by_test_modules import net
state, (x, t) = dict(np.load(sys.argv[1])), np.load(sys.argv[2])
model = net.Module(state)
before = model.forward(x, t)
model.backward()
model["layers.0.weight"] -= 0.1 * model.grad["layers.0.weight"]
print(list(model.state_dict()) == list(net.info.state_dict), model.forward(x, t) < before)
try:
    model.load_state_dict({"nothing": x})
except RuntimeError as error:
    print(str(error).splitlines()[2].strip())
model.load_state_dict({**state, **model.state_dict()})
"""


def test_alone(program: Any, built: Any, tmp_path: Path) -> None:
    """The package needs neither gradgen nor PyTorch for any of this."""
    x, t = data()
    np.savez(tmp_path / "state.npz", **program.state)
    np.save(tmp_path / "data.npy", np.stack([x, t]))
    folder = Path(built.__file__).parents[2]
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", ALONE, str(tmp_path / "state.npz"), str(tmp_path / "data.npy")], cwd=folder,
                          env=variables, capture_output=True, text=True)
    assert done.stdout == 'True True\nUnexpected key(s) in state_dict: "nothing".\n', done.stderr
