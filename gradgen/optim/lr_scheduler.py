"""Learning-rate schedules by torch.optim.lr_scheduler's names: closed forms of every group's initial rate.

The forms take the epoch as a number, or as a tensor where a training step is recorded (`recorded`).
"""

from __future__ import annotations

import inspect
import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradgen.eager.tensor import Tensor
from gradgen.optim.optimizer import Optimizer
from gradgen.optim.step_numbers import chosen, cosine, larger, passed, power, smaller, whole


@dataclass(frozen=True)
class Recipe:
    """A schedule made without an optimizer: what `gg.emit(train=..., schedule=...)` builds into the training step."""

    kind: type[LRScheduler]
    args: tuple[Any, ...]
    options: dict[str, Any]

    def of(self, optimizer: Optimizer) -> LRScheduler:
        """The schedule of this optimizer."""
        made = {k: [s.of(optimizer) if isinstance(s, Recipe) else s for s in v] if k == "schedulers" else v
                for k, v in self._bound().items()}
        return self.kind(**{**made, "optimizer": optimizer})

    def _bound(self) -> dict[str, Any]:
        """The arguments by name, as if an optimizer stood first."""
        signature = inspect.signature(self.kind.__init__)
        left = [p for n, p in signature.parameters.items() if n not in ("self", "optimizer")]
        return dict(signature.replace(parameters=left).bind(*self.args, **self.options).arguments)

    def step(self, *args: Any) -> None:
        """Raises RuntimeError: there is nothing to step."""
        raise RuntimeError(f"{self.kind.__name__} was made without an optimizer: a recipe for gg.emit(schedule=...), with "
                           f"nothing to step; pass the optimizer for eager training")


class LRScheduler:
    """`factor(epoch)` times the initial learning rate, from the construction (epoch 0) on.

    Without an optimizer a schedule is a `Recipe`.
    """

    def __new__(cls, *args: Any, **options: Any) -> Any:
        made = [*args[:1], *(options[n] for n in ("optimizer", "schedulers") if n in options)]
        owned = [m for m in made if isinstance(m, Optimizer) or (
            isinstance(m, (list, tuple)) and m and all(isinstance(s, LRScheduler) for s in m))]
        if owned:
            return super().__new__(cls)
        for a in args[:1]:
            if not isinstance(a, (int, float, str, list, tuple)) and not callable(a):
                raise TypeError(f"{type(a).__name__} is not an Optimizer")
        found = Recipe(cls, args, options)
        found._bound()
        return found

    def __reduce__(self) -> Any:
        return object.__new__, (type(self),), self.__dict__

    def recorded(self, k: int, base: Any, epoch: Any) -> Any:
        """The rate of group k at an epoch, where both are tensors."""
        return self.rate(base, epoch)

    def _recorded_options(self, k: int, epoch: Any) -> dict[str, Any]:
        """What else the schedule sets in group k then."""
        return {}

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer, self.last_epoch = optimizer, last_epoch
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def rate(self, base: float, epoch: int) -> float:
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """The next epoch."""
        before = self.last_epoch
        self.last_epoch = before + 1 if epoch is None else epoch
        follows = self.chainable and epoch is None and before >= 0
        for k, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs)):
            if follows:
                group["lr"] = self._changed(group["lr"], base)
            elif self.chainable and epoch is None:
                group["lr"] *= self.rate(base, self.last_epoch) / base if base else 1.0
            else:
                group["lr"] = self._rate_of(k, base)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    chainable = False
    """Whether an epoch changes the present rate, whatever else has changed it, rather than setting it."""

    def _changed(self, rate: float, base: float) -> float:
        """The present rate, an epoch on."""
        before = self.rate(base, self.last_epoch - 1)
        return rate * (self.rate(base, self.last_epoch) / before) if before else self.rate(base, self.last_epoch)

    def _rate_of(self, k: int, base: float) -> float:
        return self.rate(base, self.last_epoch)

    def get_last_lr(self) -> list[float]:
        """The rates that the last step set."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "optimizer" and not callable(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)


class LambdaLR(LRScheduler):
    """The initial rate times `lr_lambda(epoch)`, one function for all groups or a list."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas: Sequence[Callable[[int], float]] = (
            list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * count
        )
        if len(self.lr_lambdas) != count:
            raise ValueError(f"Expected {count} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def _rate_of(self, k: int, base: float) -> float:
        return base * self.lr_lambdas[k](self.last_epoch)

    def recorded(self, k: int, base: Any, epoch: Any) -> Any:
        return base * self.lr_lambdas[k](epoch)


class StepLR(LRScheduler):
    """`gamma` once every `step_size` epochs."""

    chainable = True

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        return base * power(self.gamma, whole(epoch / self.step_size))


class MultiStepLR(LRScheduler):
    """`gamma` once at each of the milestones."""

    chainable = True

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        return base * power(self.gamma, passed(self.milestones, epoch))


class ExponentialLR(LRScheduler):
    """`gamma` every epoch."""

    chainable = True

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        return base * power(self.gamma, epoch)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to `eta_min` in `T_max` epochs (Loshchilov & Hutter, 2017)."""

    chainable = True

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + cosine(math.pi * epoch / self.T_max)) / 2

    def _changed(self, rate: float, base: float) -> float:
        epoch, period = self.last_epoch, self.T_max
        if (epoch - 1 - period) % (2 * period) == 0:
            return rate + (base - self.eta_min) * (1 - math.cos(math.pi / period)) / 2
        ratio = (1 + math.cos(math.pi * epoch / period)) / (1 + math.cos(math.pi * (epoch - 1) / period))
        return ratio * (rate - self.eta_min) + self.eta_min


class LinearLR(LRScheduler):
    """From `start_factor` to `end_factor` of the initial rate in `total_iters` epochs."""

    chainable = True

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        part = smaller(self.total_iters, epoch) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * part)


class ConstantLR(LRScheduler):
    """`factor` of the initial rate for `total_iters` epochs, all of it afterwards."""

    chainable = True

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1.0:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        return base * chosen(epoch < self.total_iters, self.factor, 1.0, epoch)


class PolynomialLR(LRScheduler):
    """Down to 0 in `total_iters` epochs as (1 - epoch / total_iters) ** power."""

    chainable = True

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        return base * (1 - smaller(self.total_iters, epoch) / self.total_iters) ** self.power


class MultiplicativeLR(LRScheduler):
    """The rate times `lr_lambda(epoch)` at every epoch, one function for all groups or a list."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas: Sequence[Callable[[int], float]] = (
            list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * count
        )
        if len(self.lr_lambdas) != count:
            raise ValueError(f"Expected {count} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def _rate_of(self, k: int, base: float) -> float:
        rate: float = self.optimizer.param_groups[k]["lr"]
        return rate * self.lr_lambdas[k](self.last_epoch) if self.last_epoch > 0 else rate

    def recorded(self, k: int, base: Any, epoch: Any) -> Any:
        raise TypeError("MultiplicativeLR is a product over all epochs, no function of the epoch: use LambdaLR")


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine to `eta_min` in T_0 epochs, then again in T_0 T_mult, ... (Loshchilov & Hutter, 2017)."""

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.T_i, self.T_cur = T_0, float(last_epoch)
        super().__init__(optimizer, last_epoch)

    def recorded(self, k: int, base: Any, epoch: Any) -> Any:
        length, starts = self.T_0, [0]
        while self.T_mult > 1 and starts[-1] < 2**31:
            starts.append(starts[-1] + length)
            length *= self.T_mult
        if self.T_mult == 1:
            at, period = epoch - whole(epoch / self.T_0) * self.T_0, self.T_0
        else:
            cycle = passed(starts[1:], epoch)
            lengths = [float(b - a) for a, b in itertools.pairwise(starts)]
            at = epoch - sum((chosen(cycle >= n, long, 0.0) for n, long in enumerate(lengths, 1)),
                             start=epoch * 0)
            period = self.T_0 * power(self.T_mult, cycle)
        return self.eta_min + (base - self.eta_min) * (1 + cosine(math.pi * at / period)) / 2

    def rate(self, base: float, epoch: int) -> float:
        length, at = self.T_0, float(epoch)
        while at >= length:
            at -= length
            length *= self.T_mult
        self.T_i, self.T_cur = length, at
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * at / length)) / 2


def _for_groups(optimizer: Optimizer, value: Any, name: str) -> list[float]:
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
                         f"param_groups has {count}.")
    return list(value)


class _WithMomentum(LRScheduler):
    """Schedules that also set the momentum, or Adam's first beta."""

    def _momentum(self, k: int, epoch: Any) -> Any:
        raise NotImplementedError

    def _rate_at(self, k: int, epoch: Any) -> Any:
        raise NotImplementedError

    def _rate_of(self, k: int, base: float) -> float:
        found: float = self._rate_at(k, self.last_epoch)
        return found

    def recorded(self, k: int, base: Any, epoch: Any) -> Any:
        return self._rate_at(k, epoch)

    def _recorded_options(self, k: int, epoch: Any) -> dict[str, Any]:
        return self._momenta(k, epoch) if self.cycle_momentum else {}

    def _momenta(self, k: int, epoch: Any) -> dict[str, Any]:
        group = self.optimizer.param_groups[k]
        if "betas" in group:
            return {"betas": (self._momentum(k, epoch), *group["betas"][1:])}
        return {"momentum": self._momentum(k, epoch)}

    def _start_momentum(self, cycle_momentum: bool) -> bool:
        defaults = self.optimizer.defaults
        if cycle_momentum and "momentum" not in defaults and "betas" not in defaults:
            raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        return cycle_momentum

    def step(self, epoch: int | None = None) -> None:
        super().step(epoch)
        if not self.cycle_momentum:
            return
        for k, group in enumerate(self.optimizer.param_groups):
            group.update(self._momenta(k, self.last_epoch))

    cycle_momentum = False


class CyclicLR(_WithMomentum):
    """Between two rates and back, every step() a batch (Smith, 2017)."""

    def __init__(
        self, optimizer: Optimizer, base_lr: Any, max_lr: Any, step_size_up: int = 2000, step_size_down: int | None = None,
        mode: str = "triangular", gamma: float = 1.0, scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle", cycle_momentum: bool = True, base_momentum: Any = 0.8, max_momentum: Any = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = optimizer
        self.low, self.max_lrs = (_for_groups(optimizer, v, n) for v, n in ((base_lr, "base_lr"), (max_lr, "max_lr")))
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        for group, rate in zip(optimizer.param_groups, self.low):
            if last_epoch == -1:
                group["lr"] = rate
        self.up = float(step_size_up)
        self.total_size = self.up + float(step_size_up if step_size_down is None else step_size_down)
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        self.cycle_momentum = self._start_momentum(cycle_momentum)
        self.base_momentums = _for_groups(optimizer, base_momentum, "base_momentum")
        self.max_momentums = _for_groups(optimizer, max_momentum, "max_momentum")
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: Any) -> Any:
        """From 0 at the base to 1 at the top, scaled."""
        cycle = whole(1 + epoch / self.total_size)
        x = 1.0 + epoch / self.total_size - cycle
        ratio = self.up / self.total_size
        height = chosen(x <= ratio, x / ratio, (x - 1) / (ratio - 1) if ratio != 1 else 0.0, epoch)
        if self.scale_fn is not None:
            return height * self.scale_fn(cycle if self.scale_mode == "cycle" else epoch)
        if self.mode == "exp_range":
            return height * power(self.gamma, epoch)
        return height if self.mode == "triangular" else height / power(2.0, cycle - 1)

    def _rate_at(self, k: int, epoch: Any) -> Any:
        return self.low[k] + (self.max_lrs[k] - self.low[k]) * self._height(epoch)

    def _momentum(self, k: int, epoch: Any) -> Any:
        return self.max_momentums[k] - (self.max_momentums[k] - self.base_momentums[k]) * self._height(epoch)


class OneCycleLR(_WithMomentum):
    """Up to `max_lr` and down to nearly nothing in one run of `total_steps` (Smith & Topin, 2018)."""

    def __init__(
        self, optimizer: Optimizer, max_lr: Any, total_steps: int | None = None, epochs: int | None = None,
        steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: str = "cos",
        cycle_momentum: bool = True, base_momentum: Any = 0.85, max_momentum: Any = 0.95, div_factor: float = 25.0,
        final_div_factor: float = 1e4, three_phase: bool = False, last_epoch: int = -1,
    ) -> None:
        self.optimizer = optimizer
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0:
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self.total_steps, self.strategy = total_steps, anneal_strategy
        top = _for_groups(optimizer, max_lr, "max_lr")
        self.rates = [(t / div_factor, t, t / div_factor / final_div_factor) for t in top]
        self.momenta = list(zip(_for_groups(optimizer, max_momentum, "max_momentum"),
                                _for_groups(optimizer, base_momentum, "base_momentum")))
        rise = float(pct_start * total_steps) - 1
        # (end of the phase, from which of the three rates, to which)
        self.phases = (
            [(rise, 0, 1), (2 * rise, 1, 0), (total_steps - 1, 0, 2)] if three_phase
            else [(rise, 0, 1), (total_steps - 1, 1, 2)]
        )
        self.cycle_momentum = self._start_momentum(cycle_momentum)
        if last_epoch == -1:
            for group, (low, _, _) in zip(optimizer.param_groups, self.rates):
                group["initial_lr"] = low
        super().__init__(optimizer, last_epoch)

    def _between(self, values: Sequence[float], epoch: Any) -> Any:
        if not isinstance(epoch, Tensor) and epoch > self.total_steps:
            raise ValueError(
                f"Tried to step {epoch} times. The specified number of total steps is {self.total_steps}"
            )
        starts = [0.0, *(end for end, _, _ in self.phases)]
        found: Any = None
        for begin, (end, source, target) in reversed(list(zip(starts, self.phases))):  # a phase ends with its last epoch
            part = (epoch - begin) / (end - begin)
            a, b = values[source], values[target]
            rate = b + (a - b) / 2.0 * (cosine(math.pi * part) + 1) if self.strategy == "cos" else (b - a) * part + a
            found = rate if found is None else chosen(epoch <= end, rate, found)
        return found

    def _rate_at(self, k: int, epoch: Any) -> Any:
        return self._between(self.rates[k], epoch)

    def _momentum(self, k: int, epoch: Any) -> Any:
        high, low = self.momenta[k]
        return self._between((high, low, high), epoch)


class ReduceLROnPlateau(LRScheduler):
    """`factor` whenever a metric has not become better for `patience` epochs; step(metric)."""

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
        threshold_mode: str = "rel", cooldown: int = 0, min_lr: Any = 0, eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        if mode not in ("min", "max"):
            raise ValueError("mode " + mode + " is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError("threshold mode " + threshold_mode + " is unknown!")
        self.optimizer, self.factor, self.eps = optimizer, factor, eps
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.patience, self.cooldown = patience, cooldown
        self.min_lrs = _for_groups(optimizer, min_lr, "min_lr")
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def _better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            goal = self.best * (1 + sign * self.threshold)
        else:
            goal = self.best + sign * self.threshold
        return (value - goal) * sign > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """The next epoch, whose metric this is."""
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                rate = max(group["lr"] * self.factor, least)
                if group["lr"] - rate > self.eps:
                    group["lr"] = rate
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class SequentialLR(LRScheduler):
    """One schedule after another, each from its milestone on."""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        if len(schedulers) < 1:
            raise ValueError("SequentialLR expects at least one scheduler to be chained, but got no scheduler.")
        for k, scheduler in enumerate(schedulers):
            if scheduler.optimizer is not optimizer:
                raise ValueError(
                    f"SequentialLR expects all schedulers to belong to the same optimizer, but got scheduler "
                    f"{type(scheduler).__name__} at index {k} has {scheduler.optimizer}, which is different from {optimizer}."
                )
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the number of milestone "
                f"points, but got number of schedulers {len(schedulers)} and the number of milestones to be equal to "
                f"{len(milestones)}"
            )
        self.optimizer, self._schedulers, self._milestones = optimizer, list(schedulers), list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in schedulers:
            scheduler.last_epoch -= 1
        schedulers[0].step()
        self._last_lr = schedulers[0].get_last_lr()

    def recorded(self, k: int, base: Any, epoch: Any) -> Any:
        found = self._schedulers[0].recorded(k, base, epoch)
        for start, scheduler in zip(self._milestones, self._schedulers[1:]):
            found = chosen(epoch >= start, scheduler.recorded(k, base, larger(epoch - start, 0.0)), found)
        return found

    def step(self, epoch: int | None = None) -> None:
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        if k > 0 and self._milestones[k - 1] == self.last_epoch:
            self._schedulers[k].step(0)
        else:
            self._schedulers[k].step()
        self._last_lr = self._schedulers[k].get_last_lr()


class ChainedScheduler(LRScheduler):
    """Several schedules at once, each changing the rate that the others leave."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if len(schedulers) < 1:
            raise ValueError("ChainedScheduler expects at least one scheduler to be chained, but got no scheduler.")
        self.optimizer = optimizer or schedulers[0].optimizer
        self._schedulers = list(schedulers)
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def recorded(self, k: int, base: Any, epoch: Any) -> Any:
        found = base
        for scheduler in self._schedulers:
            if not scheduler.chainable or getattr(scheduler, "eta_min", 0):
                raise TypeError(f"{type(scheduler).__name__} in a ChainedScheduler is no factor of the rate")
            found = found * (scheduler.recorded(k, base, epoch) / base)
        return found

    def step(self, epoch: int | None = None) -> None:
        self.last_epoch += 1
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
