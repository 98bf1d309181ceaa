"""Convolutions, their transposes, and patches as columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradgen.eager import creation
from gradgen.nn import functional as F
from gradgen.nn import init
from gradgen.nn.module import Module
from gradgen.nn.parameter import Parameter

functional: Any = F
_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What convolutions share; `transposed` ones have weights [in, out / groups, ...]."""

    rank = 1
    transposed = False

    def _prepare(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
        output_padding: Any, groups: int, bias: bool, padding_mode: str, dtype: Any,
    ) -> None:
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        self.kernel_size, self.stride = self._each(kernel_size), self._each(stride)
        self._check_padding(padding, padding_mode)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.padding = padding if isinstance(padding, str) else self._each(padding)
        self.dilation, self.output_padding = self._each(dilation), self._each(output_padding)
        self.padding_mode = padding_mode
        ends = (in_channels, out_channels // groups) if self.transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(creation.empty(*ends, *self.kernel_size, dtype=dtype))
        self.register_parameter("bias", Parameter(creation.empty(out_channels, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def _check_padding(self, padding: Any, mode: str) -> None:
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
                )
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if mode not in _MODES:
            listed = "{" + ", ".join(repr(m) for m in _MODES) + "}"
            raise ValueError(f"padding_mode must be one of {listed}, but got padding_mode='{mode}'")

    def _each(self, value: Any) -> tuple[int, ...]:
        return tuple(value) if isinstance(value, Sequence) else (value,) * self.rank

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = init._fans(self.weight)[0]
            if fan_in:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, usual in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            if getattr(self, name) != (usual,) * self.rank:
                text += f", {name}={getattr(self, name)}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Conv(_ConvNd):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__()
        self._prepare(in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode,
                      dtype)

    def _around(self) -> list[int]:
        """The padding as nn.functional.pad takes it: the last axis first."""
        if self.padding == "valid":
            return [0, 0] * self.rank
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            return [n for total in reversed(totals) for n in (total // 2, total - total // 2)]
        return [n for p in reversed(self.padding) for n in (int(p), int(p))]

    def forward(self, input: Any) -> Any:
        function = getattr(functional, f"conv{self.rank}d")
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = functional.pad(input, self._around(), mode=self.padding_mode), 0
        return function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    """Cross-correlation over [N, C, L]."""


class Conv2d(_Conv):
    """Cross-correlation over [N, C, H, W]."""

    rank = 2


class Conv3d(_Conv):
    """Cross-correlation over [N, C, D, H, W]."""

    rank = 3


class _ConvTranspose(_ConvNd):
    transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        self._prepare(in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
                      padding_mode, dtype)

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Any:
        """`output_size` chooses among the sizes that the strided convolution would map to the input's."""
        extra = self.output_padding if output_size is None else self._output_padding(input, output_size)
        function = getattr(functional, f"conv_transpose{self.rank}d")
        return function(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _output_padding(self, input: Any, output_size: Sequence[int]) -> tuple[int, ...]:
        lead = input.ndim - self.rank
        wanted = list(output_size)[-self.rank :] if len(output_size) == input.ndim else list(output_size)
        if len(wanted) != self.rank:
            raise ValueError(
                f"ConvTranspose{self.rank}D: for {input.ndim}D input, output_size must have {self.rank} or {input.ndim} "
                f"elements (got {len(output_size)})"
            )
        smallest = [(input.shape[lead + d] - 1) * self.stride[d] - 2 * self.padding[d]
                    + self.dilation[d] * (self.kernel_size[d] - 1) + 1 for d in range(self.rank)]
        largest = [n + self.stride[d] - 1 for d, n in enumerate(smallest)]
        if any(not low <= n <= high for n, low, high in zip(wanted, smallest, largest)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {smallest} to {largest} "
                f"(for an input of {input.shape[lead:]})"
            )
        return tuple(n - low for n, low in zip(wanted, smallest))


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of Conv1d's map."""


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of Conv2d's map."""

    rank = 2


class ConvTranspose3d(_ConvTranspose):
    """The adjoint of Conv3d's map."""

    rank = 3
