"""What PyTorch's optimizers make of the cases: `python -m tests.training.record --update` writes it beside this file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.training.cases import MORE, OPTIMIZERS, SCHEDULES, batches, values

FILE = Path(__file__).with_name("recorded.json")


def trained(kind: str, options: dict[str, Any], schedule: tuple[str, dict[str, Any]] | None = None,
            clip_norm: float | None = None, clip_value: float | None = None, loss_scale: float = 1.0) -> dict[str, Any]:
    """The losses and the last parameters, by PyTorch in float64."""
    import torch

    w1, b1, w2, b2 = parameters = [torch.tensor(v, requires_grad=True) for v in values().values()]
    optimizer = getattr(torch.optim, kind)(parameters, **options)
    follows = getattr(torch.optim.lr_scheduler, schedule[0])(optimizer, **schedule[1]) if schedule else None
    losses = []
    for x, t in batches():
        optimizer.zero_grad()
        out = torch.relu(torch.tensor(x) @ w1 + b1) @ w2 + b2
        loss = torch.nn.functional.cross_entropy(out, torch.tensor(t))
        loss.backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        if clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, clip_value)
        optimizer.step()
        if follows is not None:
            follows.step()
        losses.append(loss.item())
    return {"losses": losses[::10], "parameters": np.concatenate([p.detach().numpy().ravel() for p in parameters]).tolist()}


def everything() -> dict[str, Any]:
    found = {name: trained(*case) for name, case in OPTIMIZERS.items()}
    found |= {name: trained("SGD", {"lr": 0.1, "momentum": 0.9}, case) for name, case in SCHEDULES.items()}
    return found | {name: trained("SGD", {"lr": 0.05}, **more) for name, more in MORE.items()}


if __name__ == "__main__":
    if "--update" in sys.argv:
        FILE.write_text(json.dumps(everything(), indent=0) + "\n")
