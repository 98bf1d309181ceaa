"""Training steps to be compared with PyTorch: a small network, and every optimizer and schedule with options of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

SHAPES = {"w1": (6, 5), "b1": (5,), "w2": (5, 3), "b2": (3,)}
STEPS = 100
BATCH = 8

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.05}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "dampening": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    "Nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "maximize": ("SGD", {"lr": 0.001, "maximize": True}),
    "Adam": ("Adam", {}),
    "AMSGrad": ("Adam", {"amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.99)}),
    "AdamW": ("AdamW", {"lr": 0.01}),
    "RMSprop": ("RMSprop", {}),
    "centred": ("RMSprop", {"momentum": 0.5, "centered": True, "weight_decay": 0.01}),
    "Adagrad": ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    "Adadelta": ("Adadelta", {}),
    "Adamax": ("Adamax", {}),
    "NAdam": ("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.01}),
    "RAdam": ("RAdam", {}),
    "short RAdam": ("RAdam", {"betas": (0.5, 0.7), "lr": 0.01}),
    "Rprop": ("Rprop", {}),
    "ASGD": ("ASGD", {"t0": 50, "lambd": 0.01}),
}
"""By a name of the case: the optimizer and its options."""

SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "LambdaLR": ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
    "StepLR": ("StepLR", {"step_size": 7, "gamma": 0.5}),
    "MultiStepLR": ("MultiStepLR", {"milestones": [5, 20, 21], "gamma": 0.3}),
    "ExponentialLR": ("ExponentialLR", {"gamma": 0.97}),
    "CosineAnnealingLR": ("CosineAnnealingLR", {"T_max": 40, "eta_min": 0.001}),
    "LinearLR": ("LinearLR", {"total_iters": 30}),
    "ConstantLR": ("ConstantLR", {"factor": 0.3, "total_iters": 10}),
    "PolynomialLR": ("PolynomialLR", {"total_iters": 90, "power": 2.0}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 10, "eta_min": 0.002}),
    "longer restarts": ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2}),
    "triangular2": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 7, "step_size_down": 9,
                                  "mode": "triangular2"}),
    "exp_range": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 6, "mode": "exp_range", "gamma": 0.99}),
    "OneCycleLR": ("OneCycleLR", {"max_lr": 0.3, "total_steps": STEPS + 1}),
    "three phases": ("OneCycleLR", {"max_lr": 0.3, "total_steps": STEPS + 1, "three_phase": True,
                                    "anneal_strategy": "linear"}),
}
"""Each with SGD of momentum 0.9 at rate 0.1."""

MORE: dict[str, dict[str, Any]] = {
    "clip_norm": {"clip_norm": 0.1},
    "clip_value": {"clip_value": 0.01},
    "loss_scale": {"loss_scale": 1024.0},
}
"""Other options, with SGD at rate 0.05."""


def values(dtype: str = "float64") -> dict[str, np.ndarray]:
    """The parameters in the beginning."""
    rng = np.random.default_rng(0)
    return {k: (0.5 * rng.standard_normal(s)).astype(dtype) for k, s in SHAPES.items()}


def batches(dtype: str = "float64") -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [(rng.standard_normal((BATCH, 6)).astype(dtype), rng.integers(0, 3, BATCH)) for _ in range(STEPS)]
