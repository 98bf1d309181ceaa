"""Initialisation of parameters in place, drawing as torch.nn.init draws from the same seed."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from gradgen.eager.modes import no_grad

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid")
_GAINS = {**dict.fromkeys(_LINEAR, 1), "tanh": 5.0 / 3, "selu": 3.0 / 4, "relu": math.sqrt(2.0)}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks standard deviations."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


def _fans(tensor: Any) -> tuple[int, int]:
    """Inputs and outputs per unit."""
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Any:
    """Uniform in [a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Any:
    """Normal."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def constant_(tensor: Any, val: float) -> Any:
    """One value throughout."""
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Any) -> Any:
    return constant_(tensor, 0.0)


def ones_(tensor: Any) -> Any:
    return constant_(tensor, 1.0)


def eye_(tensor: Any) -> Any:
    """The identity."""
    from gradgen.eager.creation import eye

    with no_grad():
        return tensor.copy_(eye(*tensor.shape))


def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Uniform with variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010)."""
    fan_in, fan_out = _fans(tensor)
    bound = math.sqrt(3.0) * gain * math.sqrt(2.0 / float(fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Normal with variance 2 / (fan_in + fan_out)."""
    fan_in, fan_out = _fans(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def _kaiming(tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = _fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Any:
    """Uniform with standard deviation gain / sqrt(fan) (He et al. 2015)."""
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Any:
    """Normal with standard deviation gain / sqrt(fan)."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def trunc_normal_(
    tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Any:
    """Normal, within [a, b], by rejection (von Neumann, 1951).

    Where more than 0.3 of the distribution lies between the bounds, its own draws are kept that do; elsewhere uniform ones,
    each with the probability that its density is of the largest between them.  All elements are drawn again until each has
    one that is kept, as torch does it.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect.",
            stacklevel=2,
        )
    kind = tensor.dtype.numpy.type
    low, high = kind(a), kind(b)
    inside = (math.erf((b - mean) / std / math.sqrt(2.0)) - math.erf((a - mean) / std / math.sqrt(2.0))) / 2
    peak = kind(((max(a, min(mean, b)) - mean) / std) ** 2 / -2)

    def drawn(name: str, *parameters: float) -> np.ndarray:
        found: np.ndarray = np.array(getattr(tensor.detach().clone(), name)(*parameters, generator=generator).numpy())
        return found

    def candidates() -> tuple[np.ndarray, np.ndarray]:
        """One for every element, and which are kept."""
        if inside > 0.3:
            values = drawn("normal_", mean, std)
            return values, (values >= low) & (values <= high)
        values = drawn("uniform_", a, b)
        with np.errstate(divide="ignore"):
            chance = np.log(drawn("uniform_"))
        return values, chance <= ((values - kind(mean)) / kind(std)) ** 2 * kind(-0.5) - peak

    result, kept = candidates()
    while not kept.all():
        values, good = candidates()
        result, kept = np.where(kept, result, values), kept | good
    from gradgen.eager.creation import tensor as made

    with no_grad():
        return tensor.copy_(made(result, dtype=tensor.dtype))


def orthogonal_(tensor: Any, gain: float = 1, generator: Any = None) -> Any:
    """A (semi-)orthogonal matrix of rows, from the QR decomposition of normal numbers (Saxe et al., 2014)."""
    from gradgen.eager import creation, namespace

    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    flat: Any = creation.empty(rows, columns, dtype=tensor.dtype).normal_(0, 1, generator=generator)  # type: ignore[attr-defined]
    q, r = namespace.functions("linalg")["qr"](flat.t() if rows < columns else flat)
    q = q * r.diagonal().sign()
    with no_grad():
        return tensor.copy_((q.t() if rows < columns else q).reshape(tuple(tensor.shape))).mul_(gain)


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """Convolution weights that pass as many channels as they can on unchanged."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    per = tensor.shape[0] // groups
    middle = tuple(n // 2 for n in tuple(tensor.shape)[2:])
    with no_grad():
        tensor.zero_()
        for g in range(groups):
            for d in range(min(per, tensor.shape[1])):
                tensor[(g * per + d, d, *middle)] = 1
    return tensor


def sparse_(tensor: Any, sparsity: float, std: float = 0.01, generator: Any = None) -> Any:
    """Normal, a part `sparsity` of every column 0 (Martens, 2010)."""
    from gradgen.eager import namespace

    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            tensor[namespace.functions()["randperm"](rows)[:zeros], column] = 0
    return tensor
