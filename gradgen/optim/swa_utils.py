"""Averages of models: stochastic weight averaging (Izmailov et al., 2018) and exponential moving averages."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

from gradgen.eager import creation
from gradgen.eager.modes import no_grad
from gradgen.ir.dtypes import int64
from gradgen.nn.module import Module
from gradgen.nn.norm_layers import _BatchNorm
from gradgen.optim.lr_scheduler import LRScheduler, _for_groups
from gradgen.optim.optimizer import Optimizer


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """decay * average + (1 - decay) * parameter."""
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return lambda average, present, count: decay * average + (1 - decay) * present


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """The mean of all so far."""
    return lambda average, present, count: average + (present - average) / (count + 1)


class AveragedModel(Module):
    """A copy of a model whose parameters are averages over the calls of update_parameters."""

    n_averaged: Any

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Any = None, use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if multi_avg_fn is not None:
            raise NotImplementedError("AveragedModel: multi_avg_fn is not offered; give avg_fn, called for each parameter")
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", creation.tensor(0, dtype=int64))
        self.avg_fn = avg_fn or get_swa_avg_fn()
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the model's present parameters into the averages."""
        count = int(self.n_averaged.item())
        with no_grad():
            for own, other in zip(self._state(self.module), self._state(model)):
                value = other.detach()
                floats = own.dtype.is_floating_point
                own.copy_(value if count == 0 or not floats else self.avg_fn(own.detach(), value, count))
            if not self.use_buffers:
                for own, other in zip(self.module.buffers(), model.buffers()):
                    own.copy_(other)  # type: ignore[attr-defined]
            self.n_averaged.add_(1)

    def _state(self, model: Module) -> list[Any]:
        return [*model.parameters(), *(model.buffers() if self.use_buffers else ())]


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Statistics of batch normalisation anew, as means over a pass through the data."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    momenta, was_training = [m.momentum for m in norms], model.training
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
    model.train()
    with no_grad():
        for batch in loader:
            model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    for m, momentum in zip(norms, momenta):
        m.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the present rate to `swa_lr` in `anneal_epochs`, then constant."""

    def __init__(
        self, optimizer: Optimizer, swa_lr: Any, anneal_epochs: int = 10, anneal_strategy: str = "cos", last_epoch: int = -1
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must by one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        self.targets = _for_groups(optimizer, swa_lr, "swa_lr")
        for group, rate in zip(optimizer.param_groups, self.targets):
            group["swa_lr"] = rate
        super().__init__(optimizer, last_epoch)

    def _part(self, epoch: int) -> float:
        t = max(0.0, min(1.0, epoch / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self.strategy == "cos" else t

    def _rate_of(self, k: int, base: float) -> float:
        rate: float = self.optimizer.param_groups[k]["lr"]
        step = self.last_epoch
        before, part = self._part(max(0, step - 1)), self._part(step)
        start = self.targets[k] if before == 1 else (rate - before * self.targets[k]) / (1 - before)
        return part * self.targets[k] + (1 - part) * start
