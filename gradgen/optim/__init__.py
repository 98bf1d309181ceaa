"""Optimizers by PyTorch's names, for eager training: every update is recorded and compiled like any other operation."""

from gradgen.optim import lr_scheduler
from gradgen.optim.methods import SGD, Adagrad, Adam, AdamW, RMSprop
from gradgen.optim.optimizer import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
