"""Calls with 0 to 6 axes, and PyTorch's answers: `python -m tests.ops.axis_counts` records them where torch is installed.

Every function that has samples is called as its first sample says, with another number of axes for its first tensor, and
for all tensors of that one's shape.  An answer is the list of the results' shapes, or the error's type and first line.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gradgen.ops.samples import Spec
from gradgen.ops.table import SAMPLES

from .cases import materialise
from .symbolic import flat

DATA = Path(__file__).parent / "data" / "axis_counts.json"
MOST = 6
MORE = (2, 3, 2, 2, 3, 2)
"""Extents of the axes that are put before those of the sample."""

Answer = list[list[int]] | str


def paths() -> list[str]:
    """The functions that are called, those that draw no random numbers."""
    return sorted(p for p in SAMPLES if _varied(p))


def _varied(path: str) -> list[list[int]]:
    """Which arguments of the first sample get another number of axes together."""
    args = SAMPLES[path][0].args
    tensors = [k for k, a in enumerate(args) if isinstance(a, Spec) and (a.domain != "given" or a.dtype is None)]
    if not tensors:
        return []
    shapes = [_shape(args[k]) for k in tensors]
    same = [k for k, s in zip(tensors, shapes) if s == shapes[0]]
    return [tensors[:1], same] if len(same) > 1 else [same]


def _shape(spec: Spec) -> tuple[int, ...]:
    return np.shape(spec.values) if spec.domain == "given" else spec.shape


def _with_axes(spec: Spec, n: int) -> Spec:
    shape = _shape(spec)
    extents = shape[len(shape) - n:] if n <= len(shape) else (*MORE[:n - len(shape)], *shape)
    return replace(spec, shape=extents, values=None, domain="real" if spec.domain in ("given", "definite") else spec.domain)


def calls(path: str) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Name, positional and keyword arguments of every call."""
    sample = SAMPLES[path][0]
    for varied in _varied(path):
        for n in range(MOST + 1):
            args = [_with_axes(a, n) if k in varied else a for k, a in enumerate(sample.args)]
            yield f"{path} {'all' if len(varied) > 1 else 'first'} {n}", args, dict(sample.kwargs)


def answer(
    function: Callable[..., Any], tensor: Callable[[np.ndarray], Any], args: list[Any], kwargs: dict[str, Any]
) -> Answer:
    def made(value: Any) -> Any:
        if isinstance(value, Spec):
            return tensor(np.asarray(materialise(value, "float64")))
        return type(value)(map(made, value)) if type(value) in (list, tuple) else value

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [list(r.shape) for r in flat(function(*map(made, args), **{k: made(v) for k, v in kwargs.items()}))]
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]


def of_torch(path: str) -> dict[str, Answer]:
    import torch

    from .oracle import torch_function

    def named(value: Any) -> Any:
        return getattr(torch, value) if isinstance(value, str) and hasattr(torch, value) else value

    return {name: answer(torch_function(path), lambda a: torch.from_numpy(a.copy()), args,
                         {k: named(v) if k == "dtype" else v for k, v in kwargs.items()})
            for name, args, kwargs in calls(path)}


def record() -> None:
    from .oracle import torch_function

    found = [f"{json.dumps(p)}: {json.dumps(of_torch(p))}" for p in paths() if torch_function(p) is not None]
    DATA.write_text("{\n" + ",\n".join(found) + "\n}\n")


if __name__ == "__main__":
    record()
