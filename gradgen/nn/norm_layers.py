"""Normalisation: layers, groups, batches, instances, neighbouring channels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from gradgen.eager import creation
from gradgen.eager.modes import state as modes
from gradgen.ir.dtypes import int64
from gradgen.nn import functional as F
from gradgen.nn import init
from gradgen.nn.module import Module
from gradgen.nn.parameter import Parameter

functional: Any = F


def _ones(shape: Sequence[int], dtype: Any, present: bool) -> Parameter | None:
    return Parameter(creation.ones(*shape, dtype=dtype)) if present else None


def _zeros(shape: Sequence[int], dtype: Any, present: bool) -> Parameter | None:
    return Parameter(creation.zeros(*shape, dtype=dtype)) if present else None


class _Affine(Module):
    """Modules with a scale and a shift, which start at 1 and 0."""

    weight: Any
    bias: Any

    def reset_parameters(self) -> None:
        if self.weight is not None:
            init.ones_(self.weight)
        if getattr(self, "bias", None) is not None:
            init.zeros_(self.bias)


class LayerNorm(_Affine):
    """Normalisation over the last axes."""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-05, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.register_parameter("weight", _ones(self.normalized_shape, dtype, elementwise_affine))
        self.register_parameter("bias", _zeros(self.normalized_shape, dtype, elementwise_affine and bias))

    def forward(self, input: Any) -> Any:
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class RMSNorm(_Affine):
    """Root-mean-square normalisation over the last axes."""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.register_parameter("weight", _ones(self.normalized_shape, dtype, elementwise_affine))

    def forward(self, input: Any) -> Any:
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """Normalisation of groups of channels."""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-05, affine: bool = True, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.register_parameter("weight", _ones((num_channels,), dtype, affine))
        self.register_parameter("bias", _zeros((num_channels,), dtype, affine and bias))

    def forward(self, input: Any) -> Any:
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class _NormBase(_Affine):
    """Batch and instance normalisation: parameters and running statistics by channel."""

    _version = 2
    _since: ClassVar = {"num_batches_tracked": 2}

    ranks: tuple[int, ...] = (2, 3)

    def _prepare(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, tracked: bool, bias: bool, dtype: Any
    ) -> None:
        self.num_features, self.eps, self.momentum, self.affine = num_features, eps, momentum, affine
        self.track_running_stats = tracked
        self.register_parameter("weight", _ones((num_features,), dtype, affine))
        self.register_parameter("bias", _zeros((num_features,), dtype, affine and bias))
        self.register_buffer("running_mean", creation.zeros(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", creation.ones(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", creation.tensor(0, dtype=int64) if tracked else None)

    def reset_running_stats(self) -> None:
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        super().reset_parameters()

    def _check_rank(self, input: Any) -> None:
        if input.ndim not in self.ranks:
            wanted = " or ".join(f"{r}D" for r in self.ranks)
            raise ValueError(f"expected {wanted} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_NormBase):
    def __init__(
        self, num_features: int, eps: float = 1e-05, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:
        super().__init__()
        self._prepare(num_features, eps, momentum, affine, track_running_stats, bias, dtype)

    def forward(self, input: Any) -> Any:
        self._check_rank(input)
        momentum: Any = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the average of all batches; of a function that is recorded, by the count of each call
                count = self.num_batches_tracked
                momentum = 1.0 / float(count) if modes.border is None else count.to(self.running_mean.dtype).reciprocal()
        batch = self.training or self.running_mean is None
        tracked = not self.training or self.track_running_stats
        return functional.batch_norm(
            input, self.running_mean if tracked else None, self.running_var if tracked else None, self.weight, self.bias,
            batch, momentum, self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Over [N, C] or [N, C, L]."""


class BatchNorm2d(_BatchNorm):
    """Over [N, C, H, W]."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Over [N, C, D, H, W]."""

    ranks = (5,)


class _InstanceNorm(_NormBase):
    def __init__(
        self, num_features: int, eps: float = 1e-05, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:
        super().__init__()
        self._prepare(num_features, eps, momentum, affine, track_running_stats, bias, dtype)

    def forward(self, input: Any) -> Any:
        self._check_rank(input)
        batched = input.ndim == self.ranks[1]
        at = 1 if batched else 0
        if input.shape[at] != self.num_features:
            if self.affine:
                raise ValueError(f"expected input's size at dim={at} to match num_features ({self.num_features}), but got: "
                                 f"{input.shape[at]}.")
            warnings.warn(f"input's size at dim={at} does not match num_features. You can silence this warning by not "
                          "passing in num_features, which is not used because affine=False", stacklevel=3)
        x = input if batched else input.unsqueeze(0)
        found = functional.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, 0.0 if self.momentum is None else self.momentum, self.eps,
        )
        return found if batched else found.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Over [N, C, L] or [C, L]."""


class InstanceNorm2d(_InstanceNorm):
    """Over [N, C, H, W] or [C, H, W]."""

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Over [N, C, D, H, W] or [C, D, H, W]."""

    ranks = (4, 5)


class LocalResponseNorm(Module):
    """Normalisation by neighbouring channels (Krizhevsky et al., 2012)."""

    def __init__(self, size: int, alpha: float = 0.0001, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Any:
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
