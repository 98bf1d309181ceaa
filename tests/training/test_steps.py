"""The training step of every optimizer and schedule, beside what PyTorch recorded: 100 steps through C."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BudgetError, GradgenError
from tests.embed.toolchain import C_COMPILERS, STRICT, needs_c, run
from tests.training import record
from tests.training.cases import MORE, OPTIMIZERS, SCHEDULES, SHAPES, batches, values

RECORDED = json.loads(record.FILE.read_text())


def network(x: Any, labels: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    logits = gg.relu(x @ w1 + b1) @ w2 + b2
    loss = gg.nn.functional.cross_entropy(logits, labels)
    return loss, logits


def program(dtype: str = "float64", batch: Any = "N") -> Any:
    kind = getattr(gg, dtype)
    own = {n: gg.spec(*s, dtype=kind, requires_grad=True) for n, s in SHAPES.items()}
    return gg.trace(network, x=gg.spec(batch, 6, dtype=kind), labels=gg.spec(batch, dtype=gg.int64), **own)


def agrees(name: str, tmp_path: Path, dtype: str = "float64", batch: Any = "N", **options: Any) -> Any:
    """100 steps, to rounding: of float64 after that many, or of float32."""
    # Rprop and AMSGrad compare, Adam divides by what is nearly 0: differences of an ulp grow to some hundred of them
    tolerance = 1e-11 if dtype == "float64" else 2e-5
    built = gg.build(program(dtype, batch), name="net", out=tmp_path, **options)
    trainer = built.Trainer(values(dtype))
    losses = [trainer.step(x, t) for x, t in batches(dtype)]
    found = np.concatenate([trainer.params[n].ravel() for n in SHAPES])
    expected = np.array(RECORDED[name]["parameters"])
    assert np.abs(losses[::10] - np.array(RECORDED[name]["losses"])).max() < tolerance
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    assert trainer.steps == 100
    return trainer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str, tmp_path: Path) -> None:
    kind, options = OPTIMIZERS[name]
    agrees(name, tmp_path, train=getattr(gg.optim, kind)(**options))


@pytest.mark.parametrize("name", ["momentum", "Adam", "RAdam"])
def test_in_float32(name: str, tmp_path: Path) -> None:
    kind, options = OPTIMIZERS[name]
    agrees(name, tmp_path, "float32", 8, train=getattr(gg.optim, kind)(**options))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str, tmp_path: Path) -> None:
    kind, options = SCHEDULES[name]
    agrees(name, tmp_path, train=gg.optim.SGD(lr=0.1, momentum=0.9), schedule=getattr(gg.optim.lr_scheduler, kind)(**options))


@pytest.mark.parametrize("name", MORE)
def test_clipping_and_scale(name: str, tmp_path: Path) -> None:
    agrees(name, tmp_path, train=gg.optim.SGD(lr=0.05), **MORE[name])


def test_live(tmp_path: Path) -> None:
    """What is recorded is what PyTorch computes, where it is installed."""
    pytest.importorskip("torch")
    for name, found in record.everything().items():
        assert np.abs(np.array(found["parameters"]) - RECORDED[name]["parameters"]).max() < 1e-12, name


def test_a_schedule_of_schedules(tmp_path: Path) -> None:
    """Warming up and then a cosine, as eager training has it."""
    rates = gg.optim.lr_scheduler
    built = gg.build(program(), name="net", out=tmp_path, train=gg.optim.SGD(lr=0.1), schedule=rates.SequentialLR(
        schedulers=[rates.LinearLR(total_iters=5), rates.CosineAnnealingLR(T_max=20)], milestones=[5]))
    trainer = built.Trainer(values())
    p = gg.nn.Parameter(gg.zeros(1))
    optimizer = gg.optim.SGD([p], lr=0.1)
    follows = rates.SequentialLR(optimizer, [rates.LinearLR(optimizer, total_iters=5),
                                             rates.CosineAnnealingLR(optimizer, T_max=20)], [5])
    x, t = batches()[0]
    for _ in range(20):
        before = trainer.params["b2"].copy()
        weights = {n: trainer.params[n].copy() for n in SHAPES}
        trainer.step(x, t)
        _, gradients = built.value_and_grad(x, t, *weights.values(), gradient=(np.float64(1), np.zeros((8, 3))))
        assert np.allclose(before - trainer.params["b2"], follows.get_last_lr()[0] * gradients.b2, rtol=1e-12)
        follows.step()


def test_groups_frozen_and_the_hosts_rate(tmp_path: Path) -> None:
    recipe = gg.optim.SGD([{"params": ["w*"], "lr": 0.1}, {"params": "b2"}], lr=0.01, momentum=0.5)
    built = gg.build(program(), name="net", out=tmp_path, train=recipe)
    trainer, before = built.Trainer(values()), values()
    x, t = batches()[0]
    _, gradients = built.value_and_grad(x, t, *before.values(), gradient=(np.float64(1), np.zeros((8, 3))))
    trainer.step(x, t)
    assert list(trainer.lr) == [0.1, 0.01]
    for name, rate in (("w1", 0.1), ("w2", 0.1), ("b1", 0.0), ("b2", 0.01)):
        assert np.allclose(trainer.params[name], before[name] - rate * getattr(gradients, name), rtol=1e-12)
    trainer.lr = 0.0
    kept = trainer.state_dict()
    trainer.step(x, t)
    assert all((trainer.params[n] == kept[n]).all() for n in kept)
    trainer.reset()
    assert list(trainer.lr) == [0.1, 0.01] and trainer.steps == 0


def test_stores(tmp_path: Path) -> None:
    built = gg.build(program(), name="net", out=tmp_path, train=gg.optim.Adam(), slots=2)
    trainer, other = built.Trainer(values()), built.Trainer()
    x, t = batches()[0]
    trainer.step(x, t)
    first = trainer.store()
    trainer.step(x, t)
    second = trainer.store(first)
    half = len(second) // 2
    assert {first[:half] == second[:half], first[half:] == second[half:]} == {True, False}
    other.load(second)
    assert other.steps == 2 and all((other.params[n] == trainer.params[n]).all() for n in SHAPES)
    torn = bytearray(second)
    torn[half + 100 if first[:half] == second[:half] else 100] ^= 1
    other.load(bytes(torn))  # the older one is there still
    assert other.steps == 1
    kept = other.state_dict()
    torn[100] ^= 3
    torn[half + 100] ^= 3
    with pytest.raises(ValueError, match="torn"):
        other.load(bytes(torn))
    assert all((other.params[n] == kept[n]).all() for n in SHAPES)


def test_a_failed_step_changes_nothing(tmp_path: Path) -> None:
    built = gg.build(program(), name="net", out=tmp_path, train=gg.optim.Adam())
    trainer = built.Trainer(values())
    x, t = batches()[0]
    trainer.step(x, t)
    before = trainer.store()
    with pytest.raises(IndexError):
        trainer.step(x, np.where(np.arange(len(t)) == len(t) - 1, 3, t))
    assert trainer.store() == before


def test_predictions_are_what_the_targets_do_not_reach(tmp_path: Path) -> None:
    built = gg.build(program(), name="net", out=tmp_path, train=gg.optim.SGD(lr=0.1))
    trainer = built.Trainer(values())
    x, t = batches()[0]
    _, logits = built.forward(x, t, *values().values())
    assert (trainer.predict(x) == logits).all()


@pytest.mark.parametrize(("options", "said"), [
    ({"train": gg.optim.LBFGS([gg.zeros(1, requires_grad=True)])}, "LBFGS"),
    ({"train": gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=0.1)}, "tensors of its own"),
    ({"train": "SGD"}, "not an optimizer"),
    ({"train": gg.optim.SGD(["w3"])}, "'w3'.*"),
    ({"train": gg.optim.SGD(), "clip_norm": -1.0}, "clip_norm"),
    ({"train": gg.optim.SGD(), "schedule": gg.optim.lr_scheduler.ReduceLROnPlateau()}, "ReduceLROnPlateau"),
    ({"train": gg.optim.SGD(), "schedule": gg.optim.lr_scheduler.MultiplicativeLR(lambda e: 0.9)}, "MultiplicativeLR"),
    ({"clip_norm": 1.0}, "belongs to a training step"),
    ({"train": gg.optim.Adam(), "arena": 100}, "bytes of arena, 100 are allowed"),
    ({"arena": 100}, "limits what trains"),
    ({"train": gg.optim.SGD(), "values": {"w1": np.zeros((6, 5))}}, "no b1"),
])
def test_what_cannot_be_is_said(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(GradgenError, match=said):
        gg.emit(program(), name="net", out=tmp_path, **options)
    assert not (tmp_path / "net").exists()


def test_budgets(tmp_path: Path) -> None:
    """Of the trainer, the arena and the stack; what stands beside, SAVED and WORK, does not count."""
    made = program("float32", 8)
    with pytest.raises(BudgetError, match=r"a trainer of 688 bytes \(p 224, steps 8, lr 8, exp_avg 224, exp"):
        gg.emit(made, name="net", out=tmp_path, train=gg.optim.Adam(), ram=1000)
    with pytest.raises(BudgetError, match="bytes of arena, 100 are allowed"):
        gg.emit(made, name="net", out=tmp_path, train=gg.optim.Adam(), arena=100)
    gg.emit(made, name="net", out=tmp_path, train=gg.optim.Adam(), arena=1000, ram=5000)


def test_recipes_have_nothing_to_step() -> None:
    with pytest.raises(RuntimeError, match="recipe"):
        gg.optim.Adam().step()
    with pytest.raises(RuntimeError, match="recipe"):
        gg.optim.lr_scheduler.StepLR(step_size=3).step()
    with pytest.raises(TypeError, match="is not an Optimizer"):
        gg.optim.lr_scheduler.StepLR(iter([1]), 3)
    with pytest.raises(TypeError):
        gg.optim.lr_scheduler.StepLR(stepsize=3)


def test_several_backwards_and_one_step(tmp_path: Path) -> None:
    """Halves of a batch added up are the batch, as in PyTorch; the gradients are cleared by the step."""
    made, recipe = program(), gg.optim.SGD(lr=0.1, momentum=0.9)
    built = gg.build(made, name="net", out=tmp_path, train=recipe, accumulate=True, loss_scale=2.0)
    whole, parts = built.Trainer(values()), built.Trainer(values())
    for x, t in batches()[:5]:
        whole.step(x, t)
        losses = [parts.accumulate(x[k : k + 4], t[k : k + 4]) for k in (0, 4)]
        for n in SHAPES:
            parts.grad[n][...] /= 2  # the mean of two means
        parts.apply()
        assert all(np.isfinite(losses)) and not any(g.any() for g in parts.grad.values())
        for n in SHAPES:
            assert np.allclose(parts.params[n], whole.params[n], rtol=1e-11, atol=1e-13), n
    assert parts.steps == 5


class Net(gg.nn.Module):
    """What training changes beside parameters, random numbers, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = gg.nn.Linear(6, 8), gg.nn.BatchNorm1d(8), gg.nn.Linear(8, 3)
        self.dropout = gg.nn.Dropout(0.25)
        self.last.weight.requires_grad_(False)

    def forward(self, x: Any) -> Any:
        return self.last(self.dropout(gg.relu(self.norm(self.first(x)))))


def modules() -> tuple[Any, Any, Any]:
    gg.manual_seed(0)
    net = Net()

    def loss_of(x: Any, labels: Any) -> Any:
        logits = net(x)
        loss = gg.nn.functional.cross_entropy(logits, labels)
        return loss, logits

    specs = {"x": gg.spec("N", 6), "labels": gg.spec("N", dtype=gg.int64)}
    trains = gg.trace(loss_of, **specs)
    net.eval()
    return net, trains, gg.trace(net, x=specs["x"])


def test_a_model_with_states_and_dropout(tmp_path: Path) -> None:
    net, trains, predicts = modules()
    with pytest.raises(GradgenError, match="random numbers"):
        gg.emit(trains, name="net", out=tmp_path, train=gg.optim.SGD(lr=0.1))
    built = gg.build(trains, name="net", out=tmp_path, train=gg.optim.SGD(lr=0.1), predict=predicts, values=trains.state)
    trainer, again = built.Trainer(trains.state, seed=7), built.Trainer(trains.state, seed=7)
    x, t = batches("float32")[0]
    assert np.allclose(trainer.predict(x), net(gg.tensor(x)).detach().numpy(), atol=1e-6)
    losses = [trainer.step(x, t) for _ in range(30)]
    assert losses == [again.step(x, t) for _ in range(30)] and losses[-1] < losses[0]
    assert (trainer.params["last.weight"] == trains.state["last.weight"]).all()
    net.load_state_dict({k: gg.tensor(v) for k, v in trainer.state_dict().items()}, strict=False)
    assert np.allclose(trainer.predict(x), net(gg.tensor(x)).detach().numpy(), atol=1e-5)


@needs_c
@pytest.mark.parametrize("compiler", C_COMPILERS)
def test_the_c_is_strict(compiler: str, tmp_path: Path) -> None:
    _, trains, predicts = modules()
    folder = gg.emit(trains, name="net", out=tmp_path, train=gg.optim.Adam(), predict=predicts, values=trains.state, slots=2,
                     accumulate=True, clip_norm=1.0)
    run([compiler, *STRICT, "-std=c99", "-c", "net.c", "-o", "net.o"], Path(folder))
    names = {line.split()[-1] for line in run(["nm", "-g", "--defined-only", "net.o"], Path(folder)).splitlines()}
    assert all(n.startswith("net_") for n in names)
    wanted = "reset train_step accumulate step predict store load store_bytes arena_bytes trained"
    assert {f"net_{n}" for n in wanted.split()} <= names


def test_the_bundle_says_what_it_has(tmp_path: Path) -> None:
    folder = gg.emit(program(), name="net", out=tmp_path, train=gg.optim.SGD(lr=0.1, momentum=0.9))
    readme, manifest = (folder / "README.md").read_text(), json.loads((folder / "net.json").read_text())
    assert "net_train_step(net_trainer *t, int64_t N, const double *x, const int64_t *labels, double *loss, void" in readme
    members = [m["member"] for m in manifest["trainer"]["members"]]
    assert members[:4] == ["p.w1", "p.b1", "p.w2", "p.b2"] and "momentum_buffer.w1" in members
    assert [p["name"] for p in manifest["trainer"]["functions"]["predict"]] == ["N", "x", "logits", "arena"]


@needs_c
@pytest.mark.parametrize("names", [("x", "y", "t", "p"), ("t", "p", "arena", "seed"), ("arena", "t", "memory", "trainer")])
def test_arguments_may_have_the_trainers_words(names: tuple[str, ...], tmp_path: Path) -> None:
    """For a machine of narrow counters, too, whose functions without dimensions take none over."""
    x, t, w, b = names
    own: dict[str, Any] = {}
    exec(f"def net({x}, {t}, {w}, {b}):\n    return cross_entropy({x} @ {w} + {b}, {t})",
         {"cross_entropy": gg.nn.functional.cross_entropy}, own)
    made = gg.trace(own["net"], **{x: gg.spec("N", 5), t: gg.spec("N", dtype=gg.int64),
                                   w: gg.spec(5, 3, requires_grad=True), b: gg.spec(3, requires_grad=True)})
    folder = Path(gg.emit(made, name="net", out=tmp_path, train=gg.optim.Adam(), accumulate=True, target="cortex-m4"))
    run([C_COMPILERS[0], *STRICT, "-std=c99", "-c", "net.c", "-o", "net.o"], folder)


@needs_c
def test_locals_may_have_the_trainers_words(tmp_path: Path) -> None:
    def net(x: Any, y: Any, w: Any, v: Any) -> Any:
        t = gg.tanh(x @ w)
        p = gg.softmax(t @ v, 1)
        arena = (p * 2).square().sum(1)
        loss = (arena - y).square().mean()
        return loss, arena

    made = gg.trace(net, x=gg.spec("N", 9), y=gg.spec("N"), w=gg.spec(9, 20, requires_grad=True),
                    v=gg.spec(20, 17, requires_grad=True))
    folder = Path(gg.emit(made, name="net", out=tmp_path, train=gg.optim.Adam(), clip_norm=1.0))
    run([C_COMPILERS[0], *STRICT, "-std=c99", "-c", "net.c", "-o", "net.o"], folder)
