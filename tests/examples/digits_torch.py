"""The training of examples/digits.py in PyTorch, from the same weights and batches; records the loss of every step.

    python -m tests.examples.digits_torch          # needs torch; writes tests/examples/digits_losses.txt
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from tests.golden.reference import example

RECORD = Path(__file__).with_name("digits_losses.txt")


def torch_losses(torch: Any, digits: ModuleType, double: bool = False) -> list[float]:
    """The loss of every step, by torch.optim.SGD on nn.functional.cross_entropy."""
    x, t, _, _ = digits.data()
    kind = torch.float64 if double else torch.float32
    images, labels = torch.tensor(x).to(kind), torch.tensor(t)
    w1, b1, w2, b2 = (torch.tensor(v).to(kind).requires_grad_() for v in digits.initial().values())
    optimiser = torch.optim.SGD([w1, b1, w2, b2], lr=digits.RATE, momentum=digits.MOMENTUM)
    losses = []
    for rows in digits.batches():
        optimiser.zero_grad()
        logits = torch.relu(images[rows] @ w1 + b1) @ w2 + b2
        loss = torch.nn.functional.cross_entropy(logits, labels[rows])
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    import torch

    RECORD.write_text("".join(f"{v:.7g}\n" for v in torch_losses(torch, example("digits"))))
