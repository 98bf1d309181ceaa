"""What torch has at its top level beside operations: questions about tensors, in-place functions, windows, settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from gradgen.eager import inplace
from gradgen.eager.creation import get_default_dtype, make_leaf
from gradgen.eager.device import Device, device
from gradgen.eager.tensor import Tensor
from gradgen.ir import dtypes
from gradgen.ops import table

# --- questions --------------------------------------------------------------------------------------------------------


def is_floating_point(input: Any) -> bool:
    """Whether the elements are floats."""
    found: bool = input.dtype.is_floating_point
    return found


def is_complex(input: Any) -> bool:
    """False."""
    return False


def is_nonzero(input: Any) -> bool:
    """Whether a one-element tensor is not 0."""
    if input.numel() != 1:
        what = "no values" if not input.numel() else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
    return bool(input)


def is_same_size(input: Any, other: Any) -> bool:
    """Whether the shapes are equal."""
    return tuple(input.shape) == tuple(other.shape)


def is_inference(input: Any) -> bool:
    """Whether the tensor was made in inference mode."""
    found: bool = input._inference
    return found


def typename(obj: Any) -> str:
    """The type's name as torch has it."""
    if isinstance(obj, Tensor):
        found: str = obj.type()  # type: ignore[attr-defined]
        return found
    kind = type(obj)
    return kind.__name__ if kind.__module__ in ("builtins", "__builtin__") else f"{kind.__module__}.{kind.__name__}"


def can_cast(from_: Any, to: Any) -> bool:
    """Whether values of one dtype may be written to another in place."""
    a, b = dtypes.dtype(from_), dtypes.dtype(to)
    return not (a.is_floating_point and not b.is_floating_point) and not (b is dtypes.bool_ and a is not dtypes.bool_)


# --- settings ---------------------------------------------------------------------------------------------------------


def get_num_threads() -> int:
    """What OMP_NUM_THREADS says, or the number of processors."""
    return int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


def _accepted(name: str, result: Any = None) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        return result

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Accepted; results are the same with and without."
    return function


_deterministic = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Remembered; results are the same in every run with and without."""
    global _deterministic
    _deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What use_deterministic_algorithms was last given; False before."""
    return _deterministic


def set_default_device(where: Any) -> None:
    """RuntimeError for anything but the CPU."""
    if where is not None:
        device(where)


def get_default_device() -> Device:
    return device("cpu")


def compile_(model: Any = None, **options: Any) -> Any:
    """The function or module itself: what it records is compiled as it is."""
    return model if model is not None else (lambda function: function)


def fill(input: Any, value: Any) -> Any:
    """A copy filled with the value."""
    return input.clone().fill_(value)


# --- windows ----------------------------------------------------------------------------------------------------------


def _window(name: str, shape: Callable[..., np.ndarray], doc: str, parameters: tuple[tuple[str, float], ...]) -> Any:
    def window(
        window_length: int, periodic: bool = True, *args: float, dtype: Any = None, layout: Any = None, device: Any = None,
        requires_grad: bool = False, **named: float,
    ) -> Tensor:
        if window_length < 0:
            raise RuntimeError(f"{name} requires non-negative window_length, got window_length={window_length}")
        values = {**dict(parameters), **{k: v for (k, _), v in zip(parameters, args)}, **named}
        kind = dtypes.dtype(dtype) if dtype is not None else get_default_dtype()
        n = window_length + 1 if periodic and window_length > 1 else window_length
        found = shape(np.arange(n), max(n - 1, 1), **values) if n > 1 else np.ones(n)
        return make_leaf(found[:window_length].astype(kind.numpy), kind, device, requires_grad)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = doc
    return window


def _kaiser(i: np.ndarray, last: int, beta: float) -> np.ndarray:
    found: np.ndarray = np.i0(beta * np.sqrt(np.clip(1 - (2 * i / last - 1) ** 2, 0, None))) / np.i0(beta)
    return found


WINDOWS = {
    "hann_window": _window("hann_window", lambda i, n: 0.5 - 0.5 * np.cos(2 * np.pi * i / n), "0.5 - 0.5 cos.", ()),
    "hamming_window": _window("hamming_window", lambda i, n, alpha, beta: alpha - beta * np.cos(2 * np.pi * i / n),
                              "alpha - beta cos.", (("alpha", 0.54), ("beta", 0.46))),
    "blackman_window": _window(
        "blackman_window", lambda i, n: 0.42 - 0.5 * np.cos(2 * np.pi * i / n) + 0.08 * np.cos(4 * np.pi * i / n),
        "Three terms.", ()),
    "bartlett_window": _window("bartlett_window", lambda i, n: 1 - np.abs(2 * i / n - 1), "A triangle.", ()),
    "kaiser_window": _window("kaiser_window", _kaiser, "Modified Bessel functions.", (("beta", 12.0),)),
}

# --- functions in place -----------------------------------------------------------------------------------------------

IN_PLACE = (
    "abs_", "acos_", "acosh_", "addmv_", "alpha_dropout_", "arccos_", "arccosh_", "arcsin_", "arcsinh_", "arctan_",
    "arctanh_", "asin_", "asinh_", "atan_", "atanh_", "ceil_", "celu_", "clamp_", "clamp_max_", "clamp_min_", "clip_",
    "cos_", "cosh_", "deg2rad_", "dropout_", "erf_", "erfc_", "erfinv_", "exp2_", "exp_", "expm1_",
    "feature_alpha_dropout_", "fix_", "floor_", "frac_", "i0_", "ldexp_", "log10_", "log1p_", "log2_", "log_", "logit_",
    "nan_to_num_", "neg_", "negative_", "rad2deg_", "reciprocal_", "relu_", "round_", "rsqrt_", "selu_", "sigmoid_",
    "sin_", "sinc_", "sinh_", "sqrt_", "square_", "tan_", "tanh_", "threshold_", "trunc_", "xlogy_", "index_put_",
    "fill_", "zero_", "detach_",
)


def functions() -> dict[str, Callable[..., Any]]:
    """Everything of this module by its public name."""
    found: dict[str, Any] = {
        f.__name__.rstrip("_"): f
        for f in (is_floating_point, is_complex, is_nonzero, is_same_size, is_inference, typename, can_cast, get_num_threads,
                  set_default_device, get_default_device, use_deterministic_algorithms,
                  are_deterministic_algorithms_enabled, compile_, fill)
    }
    for name, result in (
        ("set_num_threads", None), ("set_float32_matmul_precision", None), ("get_float32_matmul_precision", "highest"),
        ("set_flush_denormal", False),
    ):
        found[name] = _accepted(name, result)
    for name in IN_PLACE:
        out_of_place = table.FUNCTIONS[""].get(name[:-1]) or table.FUNCTIONS["nn.functional"].get(name[:-1])
        if hasattr(Tensor, name):
            found[name] = _by_method(name)
        elif out_of_place is not None:
            found[name] = inplace.in_place(out_of_place, name)
    found["index_put"] = _by_method("index_put")
    table.FUNCTIONS[""].setdefault("is_nonzero", is_nonzero)
    return {**found, **WINDOWS}


def _by_method(name: str) -> Callable[..., Any]:
    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(input, name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Tensor.{name}."
    return function
