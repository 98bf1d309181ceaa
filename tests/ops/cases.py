"""The samples of the operation library as numbers: every (function, sample, dtype) is one case with a stable name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import gradgen  # noqa: F401  (registers everything)
from gradgen.ops.registry import Sample
from gradgen.ops.samples import Spec
from gradgen.ops.table import SAMPLES


@dataclass(frozen=True)
class Case:
    """One call: `path` is the public name ("nn.functional.softmax"), `number` the sample, `dtype` the floating type."""

    path: str
    number: int
    dtype: str
    sample: Sample

    @property
    def name(self) -> str:
        return f"{self.path}-{self.number}-{self.dtype}"

    def arguments(self, tensor: Any) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments, each Spec turned into `tensor(array, wants_gradient)`."""
        made = _Maker(self.dtype, tensor, self.sample.differentiable)
        return [made(a) for a in self.sample.args], {k: made(v) for k, v in self.sample.kwargs}

    @property
    def ordinary(self) -> bool:
        """Whether finite differences make sense: drawn values, no given ones (kinks, infinities)."""
        specs = list(_specs([*self.sample.args, *(v for _, v in self.sample.kwargs)]))
        return self.sample.differentiable and not any(s.domain == "given" and s.grad for s in specs)


class _Maker:
    def __init__(self, dtype: str, tensor: Any, differentiable: bool) -> None:
        self.dtype, self.tensor, self.differentiable, self.count = dtype, tensor, differentiable, 0

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Spec):
            self.count += 1
            array = materialise(value, self.dtype)
            wants = value.grad and self.differentiable and array.dtype.kind == "f"
            return self.tensor(array, wants)
        if isinstance(value, (tuple, list)) and any(True for _ in _specs(value)):
            return type(value)(self(v) for v in value)
        return value


def _specs(values: Any) -> Iterator[Spec]:
    for v in values:
        if isinstance(v, Spec):
            yield v
        elif isinstance(v, (tuple, list)):
            yield from _specs(v)


def materialise(spec: Spec, dtype: str) -> np.ndarray:
    """The array a Spec stands for, the same everywhere."""
    kind = spec.dtype or dtype
    if spec.domain == "given":
        return np.array(spec.values, dtype=kind)
    text = f"{spec.shape} {spec.domain} {spec.seed} {spec.high}"
    rng = np.random.RandomState(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little"))
    shape = spec.shape
    if spec.domain == "bool":
        return rng.random_sample(shape) < 0.5
    if spec.domain == "index":
        return rng.randint(0, spec.high, shape).astype(kind)
    if kind == "bool":
        return rng.random_sample(shape) < 0.5
    if kind.startswith("int"):
        low, high = (1, 5) if spec.domain in ("positive", "large") else (-3, 4)
        return np.asarray(rng.randint(low, high, shape)).astype(kind)
    if spec.domain == "definite":
        square = np.asarray(rng.standard_normal(shape))
        return (square @ square.swapaxes(-1, -2) / max(shape[-1], 1) + 0.5 * np.eye(shape[-1])).astype(kind)
    uniform = np.asarray(rng.random_sample(shape))
    ranges = {"positive": (0.1, 2.0), "unit": (0.05, 0.95), "small": (-0.9, 0.9), "large": (1.1, 3.0)}
    if spec.domain in ranges:
        low, high = ranges[spec.domain]
        return (low + (high - low) * uniform).astype(kind)
    if spec.domain == "integers":
        return np.asarray(rng.randint(-3, 4, shape)).astype(kind)
    if spec.domain == "probabilities":
        raw = uniform + 0.1
        return (raw / raw.sum(axis=min(1, len(shape) - 1), keepdims=True)).astype(kind)
    return np.asarray(rng.standard_normal(shape)).astype(kind)


def cotangent(shape: tuple[int, ...], dtype: str, salt: int) -> np.ndarray:
    """A fixed direction, no zeros in it."""
    n = int(np.prod(shape))
    return (0.5 + 0.25 * np.cos(1.7 * np.arange(n) + salt)).reshape(shape).astype(dtype)


def all_cases() -> list[Case]:
    return [
        Case(path, number, dtype, s)
        for path in sorted(SAMPLES) for number, s in enumerate(SAMPLES[path]) for dtype in s.dtypes
    ]
