"""The text of a tensor: `repr`, `format` and print options with PyTorch 2.13's results, to the character.

Pure functions from NumPy arrays to strings. Nothing here knows what a Tensor is: the caller passes the values, the
dtype's name and what autograd knows (`requires_grad`, the name of `grad_fn`).

The rules were established by experiment against PyTorch 2.13 and by its documentation of `torch.set_printoptions`:

- one number format per tensor, chosen from its non-zero finite elements: integers with a trailing point, fixed point
  with `precision` digits, or scientific when max > 1e8, min < 1e-4 or max/min > 1000;
- every element is padded to the widest *non-zero finite* one, so `0.`, `inf` and `nan` may be wider than the column;
- more than `threshold` elements: only `edgeitems` at either end of each axis are shown, and only those choose the
  format;
- suffixes (`size=`, `dtype=`, `grad_fn=`) move to a line of their own where `linewidth` would be exceeded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = [
    "PrintOptions",
    "format_scalar",
    "get_printoptions",
    "parameter_repr",
    "printoptions",
    "set_printoptions",
    "tensor_format",
    "tensor_repr",
]

_FLOATING = frozenset({"float16", "bfloat16", "float32", "float64"})
_COMPLEX_OF_DEFAULT = {"float64": "complex128"}  # any other default floating type goes with complex64
_PREFIX = "tensor("


@dataclass
class PrintOptions:
    """What `set_printoptions` sets; the fields have the meanings and defaults of `torch.set_printoptions`."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}

_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print. An argument left out keeps its value, except `sci_mode`, which falls back to automatic.

    `profile` is "default", "short" or "full" and is applied before the other arguments; PyTorch ignores a name it does
    not know, and so does this.
    """
    changes = dict(_PROFILES.get(profile, {})) if profile is not None else {}
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changes.update((name, value) for name, value in given.items() if value is not None)
    for name, value in changes.items():
        setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The current options, as keyword arguments for `set_printoptions`."""
    return asdict(_options)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Print with other options inside a `with` block; takes the arguments of `set_printoptions`."""
    saved = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**saved)


def tensor_repr(
    data: np.ndarray,
    *,
    dtype_name: str,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    default_dtype_name: str = "float32",
) -> str:
    """`repr` of a tensor holding `data`.

    `dtype_name` is the PyTorch name without its module ("float32", "bfloat16", "int64", "bool"); `data` may hold the
    values in any NumPy type that represents them exactly (bfloat16 in float32, say). `grad_fn_name` is the class name
    of the node that made the tensor, e.g. "AddBackward0", or None for a leaf.
    """
    values = np.asarray(data)
    suffixes = _content_suffixes(values, dtype_name, default_dtype_name)
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(_PREFIX + _contents(values, dtype_name, len(_PREFIX)), suffixes, len(_PREFIX))


def parameter_repr(data: np.ndarray, **attributes: Any) -> str:
    """`repr` of an `nn.Parameter`; takes the arguments of `tensor_repr`."""
    return "Parameter containing:\n" + tensor_repr(data, **attributes)


def format_scalar(value: Any, format_spec: str = "") -> str:
    """`format(t, format_spec)` of a 0-d tensor: that of the Python number it holds (so 0.1 prints all its digits)."""
    return format(value.item() if isinstance(value, (np.ndarray, np.generic)) else value, format_spec)


def tensor_format(data: np.ndarray, format_spec: str, text: str, type_name: str = "Tensor") -> str:
    """What `Tensor.__format__` returns: the number's format when 0-d, else `text` (its `str`) and no format spec.

    Raises TypeError for a non-empty spec on a tensor with axes. Only plain tensors are formatted as numbers: a 0-d
    Parameter (`type_name="Parameter"`) is not.
    """
    if np.ndim(data) == 0 and type_name == "Tensor":
        return format_scalar(data, format_spec)
    if format_spec:
        raise TypeError(f"unsupported format string passed to {type_name}.__format__")
    return text


# ------------------------------------------------------------------------------------------------ around the numbers


def _content_suffixes(values: np.ndarray, dtype_name: str, default: str) -> list[str]:
    """`size=` and `dtype=`, where the numbers alone do not tell them."""
    suffixes = []
    if values.size == 0:
        if values.ndim != 1:
            suffixes.append(f"size={tuple(values.shape)}")
        inferred = {default}
    else:
        if not _options.edgeitems:
            suffixes.append(f"size={tuple(values.shape)}")
        inferred = {default, _COMPLEX_OF_DEFAULT.get(default, "complex64"), "int64", "bool"}
    if dtype_name not in inferred:
        suffixes.append(f"dtype=torch.{dtype_name}")
    return suffixes


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Append the suffixes, each on the last line if it fits and on a new line of its own if not."""
    # One more than the last line's length (two more when it is the only line): PyTorch counts so, and wraps by it.
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"


# ------------------------------------------------------------------------------------------------------- the numbers


class _NumberFormat:
    """How every element of one tensor is written; `width` is the column they are right-aligned in."""

    def __init__(self, shown: np.ndarray, floating: bool) -> None:
        self.kind = "point" if floating else "plain"  # an all-zero or non-finite tensor prints like an integral one
        self.width = 1
        if not floating:
            self.width = max((len(str(value)) for value in shown.reshape(-1).tolist()), default=1)
            return
        flat = shown.reshape(-1).astype(np.float64)
        relevant = flat[np.isfinite(flat) & (flat != 0)]
        if relevant.size:
            self.kind = self._choose(relevant)
            self.width = max(len(self._unpadded(value)) for value in relevant.tolist())

    @staticmethod
    def _choose(relevant: np.ndarray) -> str:
        magnitude = np.abs(relevant)
        low, high = float(magnitude.min()), float(magnitude.max())
        scientific = _options.sci_mode
        if scientific is None:
            # Python raises where IEEE division overflows to infinity, so divide in NumPy's arithmetic.
            with np.errstate(over="ignore"):
                scientific = bool(np.float64(high) / np.float64(low) > 1000.0) or high > 1.0e8 or low < 1.0e-4
        if scientific:
            return "scientific"
        return "point" if bool(np.all(relevant == np.ceil(relevant))) else "fixed"

    def _unpadded(self, value: Any) -> str:
        if self.kind == "plain":
            return str(value)
        if self.kind == "scientific":
            return f"{value:.{_options.precision}e}"
        if self.kind == "fixed":
            return f"{value:.{_options.precision}f}"
        return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"

    def __call__(self, value: Any) -> str:
        return self._unpadded(value).rjust(self.width)

    @property
    def column(self) -> int:
        return self.width


class _ComplexFormat:
    """Real and imaginary part, each in the number format of all real respectively all imaginary parts."""

    def __init__(self, shown: np.ndarray) -> None:
        self.real = _NumberFormat(shown.real, floating=True)
        self.imaginary = _NumberFormat(shown.imag, floating=True)

    def __call__(self, value: complex) -> str:
        imaginary = self.imaginary(value.imag).lstrip() + "j"
        sign = "" if imaginary[0] in "+-" else "+"
        return self.real(value.real) + sign + imaginary

    @property
    def column(self) -> int:
        return self.real.width + self.imaginary.width + 1


def _contents(values: np.ndarray, dtype_name: str, indent: int) -> str:
    """The bracketed numbers, without prefix and suffixes."""
    if values.size == 0:
        return "[]"
    summarize = values.size > _options.threshold
    shown = _shown_elements(values) if summarize else values
    element: _NumberFormat | _ComplexFormat
    if dtype_name.startswith("complex"):
        element = _ComplexFormat(shown)
    else:
        element = _NumberFormat(shown, floating=dtype_name in _FLOATING)
    if values.ndim == 0:
        return element(values.item())
    return _nested(values, indent, summarize, element)


def _shown_elements(values: np.ndarray) -> np.ndarray:
    """The elements a summary shows: `edgeitems` at either end of every axis that is longer than both together."""
    edge = _options.edgeitems
    for axis, extent in enumerate(values.shape):
        if extent > 2 * edge:
            ends = np.r_[0:edge, extent - edge : extent]
            values = np.take(values, ends, axis=axis)
    return values


def _nested(values: np.ndarray, indent: int, summarize: bool, element: _NumberFormat | _ComplexFormat) -> str:
    edge = _options.edgeitems
    if values.ndim == 1:
        return _row(values, indent, summarize, element)
    if summarize and len(values) > 2 * edge:
        parts = [_nested(part, indent + 1, summarize, element) for part in values[:edge]]
        parts.append("...")
        parts += [_nested(part, indent + 1, summarize, element) for part in values[len(values) - edge :]]
    else:
        parts = [_nested(part, indent + 1, summarize, element) for part in values]
    between = "," + "\n" * (values.ndim - 1) + " " * (indent + 1)
    return "[" + between.join(parts) + "]"


def _row(values: np.ndarray, indent: int, summarize: bool, element: _NumberFormat | _ComplexFormat) -> str:
    """The last axis, broken into lines of as many columns as `linewidth` allows."""
    edge = _options.edgeitems
    if summarize and len(values) > 2 * edge:
        words = [element(value) for value in values[:edge].tolist()]
        # The gap takes a column of its own and, between numbers, an extra space.
        words.append(" ..." if edge else "...")
        words += [element(value) for value in values[len(values) - edge :].tolist()]
    else:
        words = [element(value) for value in values.tolist()]
    per_line = max(1, (_options.linewidth - indent) // (element.column + 2))
    lines = [", ".join(words[start : start + per_line]) for start in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


TYPE_NAMES = {"float32": "Float", "float64": "Double", "int32": "Int", "int64": "Long", "bool": "Bool"}


def tensor_type_name(dtype: Any) -> str:
    """`torch.FloatTensor` and the like."""
    return f"torch.{TYPE_NAMES[dtype.name]}Tensor"
