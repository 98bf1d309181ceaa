"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gradgen.eager import namespace
from gradgen.eager.tensor import Tensor

_cat: Any = namespace.functions()["cat"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of the parameters, one after another."""
    found: Tensor = _cat([p.view(-1) for p in parameters])  # type: ignore[attr-defined]
    return found


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Slices of the vector become the values of the parameters."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    at = 0
    for p in parameters:
        part: Any = vec[at : at + p.numel()]  # type: ignore[index]
        p.data = part.view_as(p).data
        at += p.numel()
