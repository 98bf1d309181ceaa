"""Records what PyTorch makes of the cases: python -m tests.models.record"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.models.cases import CASES

EXPECTED = Path(__file__).with_name("expected.npz")


def evaluate(ns: Any, name: str) -> list[np.ndarray]:
    """The loss and the gradients, as `ns` (torch or gradgen) computes them eagerly."""
    function, arrays, wanted = CASES[name]()
    tensors = [ns.tensor(a) for a in arrays]
    for t, w in zip(tensors, wanted):
        if w:
            t.requires_grad_()
    loss = function(ns, *tensors)
    loss.backward()
    return [np.asarray(loss.detach()), *(np.asarray(t.grad) for t, w in zip(tensors, wanted) if w)]


def main() -> None:
    import torch

    found = {f"{name}.{k}": v for name in CASES for k, v in enumerate(evaluate(torch, name))}
    np.savez_compressed(EXPECTED, **found)
    print(f"{len(CASES)} cases, {EXPECTED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
