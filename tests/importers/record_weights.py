"""Makes the recorded files of weights: `python -m tests.importers.record_weights` with PyTorch, Transformers' way of tied
weights, and safetensors installed.  What is in them is said once more, in NumPy, by `contents`."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"


def contents() -> dict[str, np.ndarray]:
    """The tensors of every recorded file by name."""
    base = np.arange(24, dtype=np.float32)
    return {
        "layers.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
        "layers.0.bias": np.array([0.5, -2.0], np.float64),
        "scalar": np.array(3.5, np.float32), "empty": np.zeros((0, 3), np.float32), "steps": np.array(7, np.int64),
        "mask": np.array([True, False, True]), "counts": np.arange(3, dtype=np.int32),
        "base": base, "slice": base[3:9].reshape(2, 3), "transposed": base.reshape(4, 6).T, "every_fifth": base[::5],
        "windows": np.lib.stride_tricks.sliding_window_view(base, 5)[::2],
        "expanded": np.broadcast_to(np.arange(3, dtype=np.float32), (4, 3)),
    }


def _tensors() -> OrderedDict[str, Any]:
    import torch

    base = torch.arange(24.0)
    plain = {k: torch.from_numpy(np.array(v)) for k, v in contents().items()}
    shared = {"base": base, "slice": base[3:9].view(2, 3), "transposed": base.view(4, 6).t(), "every_fifth": base[::5],
              "windows": base.unfold(0, 5, 2), "expanded": torch.arange(3.0).expand(4, 3)}
    found = OrderedDict({**plain, **shared})
    found["layers.0.weight"] = torch.nn.Parameter(plain["layers.0.weight"])
    return found


def main() -> None:
    import torch
    from safetensors.torch import save_file, save_model

    tensors = _tensors()
    tensors._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    torch.save({"state": tensors, "epoch": 3, "nested": [(1, 2.5, None), "text", torch.Size([1, 2]), torch.float32]},
               DATA / "checkpoint.pt")
    torch.save({"half": torch.arange(4).half() / 3, "brain": torch.arange(4).bfloat16() / 3,
                "small": torch.arange(4).to(torch.uint8)}, DATA / "half.pt")
    torch.save({"a": torch.ones(2)}, DATA / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, DATA / "plain.safetensors",
              metadata={"format": "pt", "made": "für gradgen"})
    tied = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False))
    tied[0].weight = tied[1].weight = torch.nn.Parameter(torch.arange(4.0).view(2, 2))
    save_model(tied, str(DATA / "tied.safetensors"))


if __name__ == "__main__":
    main()
