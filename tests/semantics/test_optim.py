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
    "adagrad": ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1}),
}
SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "step": ("StepLR", {"step_size": 2, "gamma": 0.5}),
    "multistep": ("MultiStepLR", {"milestones": [1, 4], "gamma": 0.3}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "cosine": ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    "linear": ("LinearLR", {"total_iters": 4}),
}


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
    scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, **options)
    found = [scheduler.get_last_lr()[0]]
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return found


def record() -> None:
    import torch

    found = {**{n: train(torch, n) for n in METHODS}, **{n: rates(torch, n) for n in SCHEDULES}}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")


@pytest.mark.parametrize("name", METHODS)
def test_training_is_pytorchs(name: str) -> None:
    # float64: a few roundings in another order, carried through eight steps
    np.testing.assert_allclose(train(gg, name), json.loads(RECORDED.read_text())[name], rtol=1e-10)


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_pytorchs(name: str) -> None:
    np.testing.assert_allclose(rates(gg, name), json.loads(RECORDED.read_text())[name], rtol=1e-12)


@pytest.mark.parametrize("name", [*METHODS, *SCHEDULES])
def test_records_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    live = train(torch, name) if name in METHODS else rates(torch, name)
    np.testing.assert_allclose(live, json.loads(RECORDED.read_text())[name], rtol=1e-12)


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
