"""How close is close: ours against PyTorch's, per dtype and order of derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

# A body of a few roundings stays within some eps of the exact value; each derivative multiplies the roundings by a few.
# float64 is looser than eps because PyTorch's own second derivatives cancel (std, softmax, norms) to about 1e-11.
TOLERANCE = {
    ("float32", 0): (4e-6, 2e-6), ("float32", 1): (2e-5, 1e-5), ("float32", 2): (2e-4, 1e-4),
    ("float64", 0): (1e-11, 1e-13), ("float64", 1): (1e-10, 1e-12), ("float64", 2): (1e-8, 1e-10),
}


def difference(mine: np.ndarray | None, theirs: np.ndarray | None, order: int) -> str | None:
    """What is wrong, or None.  No gradient and zeros are the same to a caller that adds."""
    if theirs is None:
        theirs = np.zeros_like(mine) if mine is not None else None
    if mine is None:
        mine = np.zeros_like(theirs) if theirs is not None else None
    if mine is None or theirs is None:
        return None
    if mine.shape != theirs.shape:
        return f"shape {mine.shape}, PyTorch {theirs.shape}"
    if mine.dtype != theirs.dtype:
        return f"dtype {mine.dtype}, PyTorch {theirs.dtype}"
    if order == 2:  # where PyTorch's second derivative is nan (at infinities and kinks) ours may be a number
        mine = np.where(np.isnan(theirs), theirs, mine)
    rtol, atol = TOLERANCE.get((str(theirs.dtype), order), (0.0, 0.0))
    if np.allclose(mine, theirs, rtol=rtol, atol=atol, equal_nan=True):
        return None
    return f"\n    ours  {mine.tolist()}\n    torch {theirs.tolist()}"


def differences(mine: Any, theirs: Any) -> list[str]:
    found = []
    for order, kind in enumerate(("values", "first", "second")):
        ours, expected = getattr(mine, kind), getattr(theirs, kind)
        if isinstance(expected, str):
            continue
        width = max(len(ours), len(expected))
        ours, expected = [*ours, *[None] * (width - len(ours))], [*expected, *[None] * (width - len(expected))]
        for k in range(width):
            text = difference(ours[k], expected[k], order)
            if text:
                found.append(f"{kind}[{k}] {text}")
    return found
