"""Optimizers by PyTorch's names, for eager training: every update is recorded and compiled like any other operation."""

from gradgen.optim import lr_scheduler
from gradgen.optim.adaptive import ASGD, Adadelta, Adamax, NAdam, RAdam, Rprop
from gradgen.optim.lbfgs import LBFGS
from gradgen.optim.methods import SGD, Adagrad, Adam, AdamW, RMSprop
from gradgen.optim.optimizer import Optimizer

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RAdam", "RMSprop",
    "Rprop", "lr_scheduler",
]
