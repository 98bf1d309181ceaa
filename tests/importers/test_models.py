"""Whole models of other packages, reduced: loss and every gradient beside torch, then 20 steps of training, module and C.

`python -m benchmarks.models` does the same at the packages' own sizes; docs/models.md has what came out.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import gradgen as gg

torch = pytest.importorskip("torch")

from benchmarks import agreement, zoo  # noqa: E402

VISION = ("resnet18", "mobilenet_v3_small", "efficientnet_b0", "vit_b_16", "convnext_tiny")
PACKAGES = {**dict.fromkeys(VISION, "torchvision"), **dict.fromkeys(("bert", "gpt2", "llama", "whisper"), "transformers")}


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    monkeypatch.setenv("CFLAGS", "-O1")  # the compiler's time counts here, not the program's
    sample = zoo.sample(name, reduced=True)
    expected = agreement.of_torch(sample, torch.float64)
    program = agreement.program_of(sample, torch.float64)
    built = gg.build(program, name="model_c", out=tmp_path)
    loss, worst, where = agreement.distance(agreement.Net(built, program, sample).found(), expected)
    assert loss <= 1e-10 and worst <= 1e-10, where

    agreement.compiled(tmp_path / "model_c", "-O1")
    net = agreement.Net(built, program, sample)
    module, native = agreement.trained_module(net), agreement.trained_in_c(tmp_path / "model_c", net)
    by_torch = agreement.trained_by_torch(sample)
    # rounding grows from step to step: what agrees to 1e-15 does to 1e-9 after twenty of them
    assert agreement.drift(module, by_torch) <= 1e-9
    assert agreement.drift(native, by_torch) <= 1e-9
