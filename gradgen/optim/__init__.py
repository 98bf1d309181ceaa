"""Optimizers by PyTorch's names, for eager training: every update is recorded and compiled like any other operation."""

import importlib
from typing import Any

from gradgen.optim import lr_scheduler
from gradgen.optim.adaptive import ASGD, Adadelta, Adamax, NAdam, RAdam, Rprop
from gradgen.optim.lbfgs import LBFGS
from gradgen.optim.methods import SGD, Adagrad, Adam, AdamW, RMSprop
from gradgen.optim.optimizer import Optimizer

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RAdam", "RMSprop",
    "Rprop", "lr_scheduler",
]


def __getattr__(name: str) -> Any:
    if name == "swa_utils":  # it needs modules, which need not be loaded for training without them
        return importlib.import_module("gradgen.optim.swa_utils")
    raise AttributeError(f"module 'gradgen.optim' has no attribute {name!r}")
