"""Sample inputs of the operation library, written as specifications: what the tests turn into tensors.

A `Spec` asks for a tensor of a shape with values from a domain, or for given values.  The same specification gives the
same numbers everywhere (tests/ops draws them from a generator seeded by the specification itself).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradgen.ops.registry import Sample

INF = float("inf")
NAN = float("nan")


@dataclass(frozen=True)
class Spec:
    """A tensor argument: `shape` with values from `domain`, or the nested tuple `values`.

    `dtype` None means the sample's own dtype; `grad` says whether derivatives by it are tested.  Domains: real
    (standard normal), positive (0.1 to 2), unit (0.05 to 0.95), small (-0.9 to 0.9), large (1.1 to 3), integers (-3
    to 3), index (0 to `high` - 1), bool, probabilities (positive rows that sum to 1 over axis 1 or the only one),
    definite (symmetric positive definite matrices).
    """

    shape: tuple[int, ...] = ()
    domain: str = "real"
    dtype: str | None = None
    values: Any = None
    grad: bool = True
    high: int = 0
    seed: int = 0


DOMAIN_EDGES: dict[str, tuple[float, ...]] = {
    "real": (-INF, -30.0, -2.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.5, 30.0, INF, NAN),
    "positive": (-1.0, -0.0, 0.0, 1e-3, 0.5, 1.0, 2.0, 30.0, INF, NAN),
    "unit": (-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, NAN),
    "small": (-1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, NAN),
    "large": (0.5, 1.0, 1.5, 30.0, INF, NAN),
    "integers": (-3.0, -1.0, 0.0, 1.0, 3.0),
}


def t(*shape: int, domain: str = "real", dtype: str | None = None, grad: bool = True, seed: int = 0) -> Spec:
    """A tensor of `shape`."""
    return Spec(shape, domain, dtype, None, grad, 0, seed)


def index(*shape: int, high: int, dtype: str = "int64", seed: int = 0) -> Spec:
    """Indices below `high`."""
    return Spec(shape, "index", dtype, None, False, high, seed)


def mask(*shape: int, seed: int = 0) -> Spec:
    return Spec(shape, "bool", "bool", None, False, 0, seed)


def edges(values: tuple[Any, ...], dtype: str | None = None, grad: bool = True) -> Spec:
    """Given values, nested tuples."""
    return Spec((), "given", dtype, values, grad)


def sample(
    *args: Any, dtypes: tuple[str, ...] = ("float32", "float64"), differentiable: bool = True, **kwargs: Any
) -> Sample:
    """A call of the public function with these arguments."""
    return Sample(args, tuple(sorted(kwargs.items())), dtypes, differentiable)


def one(*args: Any, **kwargs: Any) -> Sample:
    """A call checked in float64 alone."""
    return sample(*args, dtypes=("float64",), **kwargs)


def plain(*args: Any, dtypes: tuple[str, ...] = ("float64",), **kwargs: Any) -> Sample:
    """A call without derivatives."""
    return sample(*args, dtypes=dtypes, differentiable=False, **kwargs)
