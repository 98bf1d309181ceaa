"""PyTorch's answers to the cases.  Imports torch: only for recording and for the live comparison."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from .cases import Case, cotangent
from .symbolic import Outcome, flat

ELSEWHERE = {"to_dtype": None}


def torch_function(path: str) -> Any:
    found: Any = torch
    for part in path.split("."):
        found = getattr(found, part, None)
        if found is None:
            return getattr(torch.Tensor, path, None)
    return found


def run(case: Case) -> Outcome | str:
    """Value and derivatives, or the text of the error PyTorch raises."""
    wrt: list[torch.Tensor] = []

    def tensor(array: np.ndarray, wants: bool) -> torch.Tensor:
        x = (
            torch.from_numpy(array.copy())
            if array.ndim
            else torch.tensor(array.item(), dtype=getattr(torch, str(array.dtype)))
        )
        if wants:
            x.requires_grad_()
            wrt.append(x)
        return x

    args, kwargs = case.arguments(tensor)
    kwargs = {k: getattr(torch, v) if k == "dtype" and isinstance(v, str) else v for k, v in kwargs.items()}
    call = torch_function(case.path)
    if call is None:
        return f"torch has no {case.path}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outputs = flat(call(*args, **kwargs))
        except (RuntimeError, TypeError, IndexError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
    values = [o.detach().numpy() for o in outputs]
    if not wrt or not case.sample.differentiable:
        return Outcome(values, [], [])
    smooth = [(k, o) for k, o in enumerate(outputs) if o.is_floating_point() and o.requires_grad]
    first = _grad([(o, cotangent(tuple(o.shape), str(o.dtype)[6:], k)) for k, o in smooth], wrt)
    if isinstance(first, str):
        return first
    present = [(k, g) for k, g in enumerate(first) if g is not None and g.requires_grad]
    second = (
        _grad([(g, cotangent(tuple(g.shape), str(g.dtype)[6:], 7 + k)) for k, g in present], wrt) if present else []
    )
    return Outcome(
        values, [_array(g) for g in first], "skip" if isinstance(second, str) else [_array(g) for g in second]
    )


def _grad(pairs: list[tuple[torch.Tensor, np.ndarray]], wrt: list[torch.Tensor]) -> Any:
    if not pairs:
        return [None] * len(wrt)
    try:
        return list(
            torch.autograd.grad(
                [o for o, _ in pairs],
                wrt,
                [torch.from_numpy(np.asarray(c)) for _, c in pairs],
                create_graph=True,
                allow_unused=True,
            )
        )
    except RuntimeError as error:
        return f"RuntimeError: {error}"


def _array(g: torch.Tensor | None) -> np.ndarray | None:
    return None if g is None else g.detach().numpy(force=True)
