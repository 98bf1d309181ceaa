"""Optimizers: the same training as in PyTorch, step by step, recorded and live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg

RECORDED = Path(__file__).with_name("data") / "optim.json"

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    "nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", {"lr": 0.05, "weight_decay": 0.01}),
    "amsgrad": ("Adam", {"lr": 0.05, "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.05, "maximize": False}),
    "rmsprop": ("RMSprop", {"lr": 0.02, "momentum": 0.5, "centered": True}),
    "adamax": ("Adamax", {"lr": 0.05, "weight_decay": 0.01}),
    "nadam": ("NAdam", {"lr": 0.05, "weight_decay": 0.01}),
    "nadam-decoupled": ("NAdam", {"lr": 0.05, "weight_decay": 0.01, "decoupled_weight_decay": True}),
    "radam": ("RAdam", {"lr": 0.05, "betas": (0.9, 0.9)}),
    "adadelta": ("Adadelta", {"lr": 0.5, "weight_decay": 0.1}),
    "rprop": ("Rprop", {"lr": 0.02}),
    "asgd": ("ASGD", {"lr": 0.1, "t0": 2, "lambd": 0.1}),
    "adagrad": ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1}),
}
SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "step": ("StepLR", {"step_size": 2, "gamma": 0.5}),
    "multistep": ("MultiStepLR", {"milestones": [1, 4], "gamma": 0.3}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "cosine": ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    "linear": ("LinearLR", {"total_iters": 4}),
    "constant": ("ConstantLR", {"factor": 0.5, "total_iters": 3}),
    "polynomial": ("PolynomialLR", {"total_iters": 4, "power": 2.0}),
    "multiplicative": ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.9 + 0.01 * epoch}),
    "lambda": ("LambdaLR", {"lr_lambda": lambda epoch: min(1.0, epoch / 3)}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 0.01}),
    "cyclic": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2, "step_size_down": 3,
                            "cycle_momentum": False}),
    "cyclic2": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2, "mode": "triangular2"}),
    "cyclic-exp": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2, "mode": "exp_range", "gamma": 0.9}),
    "onecycle": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 7}),
    "onecycle-linear": ("OneCycleLR", {"max_lr": 0.5, "epochs": 2, "steps_per_epoch": 6, "anneal_strategy": "linear"}),
    "onecycle-three": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 10, "three_phase": True, "pct_start": 0.4}),
}
METRICS = [1.0, 0.9, 0.9, 0.91, 0.89999, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6]


def combined(torch: Any) -> list[float]:
    """Schedules together: two on one optimizer, a sequence, a chain, a plateau."""
    found: list[float] = []
    schedulers = torch.optim.lr_scheduler

    def run(make: Any, steps: int = 7) -> None:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
        made = make(optimizer)
        found.append(optimizer.param_groups[0]["lr"])
        for _ in range(steps):
            optimizer.step()
            for scheduler in made if isinstance(made, tuple) else (made,):
                scheduler.step()
            found.append(optimizer.param_groups[0]["lr"])

    def warm(optimizer: Any) -> Any:
        return schedulers.LinearLR(optimizer, 0.1, total_iters=3)

    def cosine(optimizer: Any) -> Any:
        return schedulers.CosineAnnealingLR(optimizer, 5, 0.01)

    def decay(optimizer: Any) -> Any:
        return schedulers.ExponentialLR(optimizer, 0.9)

    run(lambda o: (warm(o), decay(o)))
    run(lambda o: (cosine(o), schedulers.ConstantLR(o, 0.5, 2)), 12)
    run(lambda o: schedulers.SequentialLR(o, [warm(o), cosine(o)], [3]))
    run(lambda o: schedulers.SequentialLR(o, [warm(o), schedulers.StepLR(o, 2), decay(o)], [2, 5]))
    run(lambda o: schedulers.ChainedScheduler([warm(o), decay(o), schedulers.MultiStepLR(o, [2, 4])]))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    plateau = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.02)
    for value in METRICS:
        plateau.step(value)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def lbfgs(torch: Any) -> list[float]:
    """Rosenbrock's function from the usual start, plain and with line search."""
    found: list[float] = []
    searching = {"max_iter": 5, "line_search_fn": "strong_wolfe", "history_size": 3}
    for options in ({"lr": 0.1, "max_iter": 4}, searching):
        x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
        b = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([x, b], **options)

        def closure(x: Any = x, b: Any = b, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2 + (b - x[1]) ** 2
            loss.backward()
            return loss

        for _ in range(6):
            found.append(float(optimizer.step(closure).detach()))
        counts = optimizer.state[x]
        found += [*x.detach().tolist(), float(b.detach()), counts["func_evals"], counts["n_iter"]]
    return found


TOGETHER = {"combined": combined, "lbfgs": lbfgs}


def train(torch: Any, name: str) -> list[float]:
    """Losses of a small least-squares problem, float64."""
    kind, options = METHODS[name]
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    y = torch.tensor([[0.3], [-0.4], [0.9], [0.1]], dtype=torch.float64)
    w = torch.tensor([[0.5], [-0.2], [0.1]], dtype=torch.float64, requires_grad=True)
    b = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, kind)([{"params": [w]}, {"params": b, "lr": 0.03}], **options)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = ((torch.tanh(x @ w + b) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def rates(torch: Any, name: str) -> list[float]:
    kind, options = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    if "cyclic" in name or "onecycle" in name:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2, momentum=0.5)
    scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, **options)
    found = [scheduler.get_last_lr()[0]]
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return [*found, optimizer.param_groups[0].get("momentum", 0.0)]


def record() -> None:
    import torch

    found = {n: make(torch) for n, make in TOGETHER.items()}
    found |= {n: train(torch, n) for n in METHODS} | {n: rates(torch, n) for n in SCHEDULES}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")


@pytest.mark.parametrize("name", METHODS)
def test_training_is_pytorchs(name: str) -> None:
    # float64: a few roundings in another order, carried through eight steps
    np.testing.assert_allclose(train(gg, name), json.loads(RECORDED.read_text())[name], rtol=1e-10)


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_pytorchs(name: str) -> None:
    np.testing.assert_allclose(rates(gg, name), json.loads(RECORDED.read_text())[name], rtol=1e-12)


@pytest.mark.parametrize("name", TOGETHER)
def test_others_are_pytorchs(name: str) -> None:
    # L-BFGS adds its dot products in another order: 60 evaluations amplify that to about 1e-9
    np.testing.assert_allclose(TOGETHER[name](gg), json.loads(RECORDED.read_text())[name], rtol=1e-6)


@pytest.mark.parametrize("name", [*METHODS, *SCHEDULES, *TOGETHER])
def test_records_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    live = TOGETHER[name](torch) if name in TOGETHER else train(torch, name) if name in METHODS else rates(torch, name)
    np.testing.assert_allclose(live, json.loads(RECORDED.read_text())[name], rtol=1e-9 if name == "lbfgs" else 1e-12)


def test_state_goes_along() -> None:
    w = gg.ones(2, requires_grad=True)
    first = gg.optim.Adam([w], lr=0.1)
    (w**2).sum().backward()
    first.step()
    second = gg.optim.Adam([w], lr=0.5)
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["lr"] == 0.1
    assert second.state[w]["step"] == 1


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="empty parameter list"):
        gg.optim.SGD([], lr=0.1)
    with pytest.raises(ValueError, match="Invalid learning rate"):
        gg.optim.SGD([gg.ones(1, requires_grad=True)], lr=-1)
    with pytest.raises(ValueError, match="non-leaf"):
        gg.optim.SGD([gg.ones(1, requires_grad=True) * 2])
    with pytest.raises(TypeError, match="iterable of Tensors"):
        gg.optim.SGD(gg.ones(1, requires_grad=True))


if __name__ == "__main__":
    record()
