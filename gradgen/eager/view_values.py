"""Views of values that are known already: cut out by NumPy, so that no code is compiled for where they were cut.

A loop over mini-batches `x[i:i + 64]`, rows `for row in x` or single elements `x[k]` would otherwise be a new structure for
every start.  Only views that select elements are made here; those that rearrange them stay recorded and are fused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Cut = Callable[[np.ndarray, Mapping[str, Any], int], np.ndarray]


def _along(value: np.ndarray, dim: int, item: Any) -> np.ndarray:
    return value[(*[slice(None)] * dim, item, Ellipsis)]


def _part(value: np.ndarray, dim: int, start: Any, length: Any, step: int = 1) -> np.ndarray:
    return _along(value, dim, slice(int(start), int(start) + int(length) * step, step))


def _split(value: np.ndarray, given: Mapping[str, Any], output: int) -> np.ndarray:
    return _part(value, given["dim"], sum(given["sizes"][:output]), given["sizes"][output])


CUTS: dict[str, Cut] = {
    "index_slice": lambda v, a, k: _part(v, a["dim"], a["start"], a["length"], a["step"]),
    "narrow": lambda v, a, k: _part(v, a["dim"], a["start"], a["length"]),
    "index_select_one": lambda v, a, k: _along(v, a["dim"], int(a["index"])),
    "select": lambda v, a, k: _along(v, a["dim"], int(a["index"])),
    "unbind": lambda v, a, k: _along(v, a["dim"], k),
    "split": _split,
    "split_with_sizes": _split,
}
"""By name of the view operation: the value of its output, from the value and the operation's attributes."""

RESHAPES = {"view", "index_new_axis", "unsqueeze", "squeeze", "squeeze_dim", "squeeze_dims", "index_alias", "alias"}
"""View operations that leave the elements in their row-major order."""


def cut(value: np.ndarray, name: str, attributes: Mapping[str, Any], output: int, shape: Any) -> np.ndarray | None:
    """The value of a view of `value`, sharing its memory; None where that is left to compiled code."""
    if name in CUTS:
        return CUTS[name](value, attributes, output)
    if name in RESHAPES and value.flags.c_contiguous:
        return value.reshape(shape)
    return None
