"""The examples do what their first lines say: printed text, losses, accuracy, a plot."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import gradgen as gg
from tests.embed.toolchain import needs_c
from tests.examples.digits_torch import RECORD, torch_losses
from tests.golden.reference import ROOT, example

CLOSE = 1e-4
"""Relative.  PyTorch in float32 is within 3e-6 of PyTorch in float64 over all steps of this training; a loss is a mean of
logarithms, its gradients sums of 64 products, so that other orders of summation stay as close."""


def recorded() -> list[float]:
    return [float(line) for line in RECORD.read_text().split()]


def worst(found: list[float], wanted: list[float]) -> float:
    """Largest relative difference."""
    assert len(found) == len(wanted)
    return max(abs(f - w) / w for f, w in zip(found, wanted))


def test_notebook() -> None:
    """What PyTorch 2.13 prints, to the character."""
    done = subprocess.run([sys.executable, ROOT / "examples" / "notebook.py"], capture_output=True, text=True, timeout=600,
                          env=_environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout == (Path(__file__).with_name("notebook_expected.txt")).read_text()


def test_notebook_in_pytorch() -> None:
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, ROOT / "examples" / "notebook.py", "torch"], capture_output=True, text=True,
                          timeout=600)
    assert done.stdout == (Path(__file__).with_name("notebook_expected.txt")).read_text()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


@needs_c
def test_linear_bce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    linear_bce = example("linear_bce")
    monkeypatch.setattr(linear_bce, "OUT", tmp_path / "generated")
    linear_bce.main()
    said = capsys.readouterr().out
    losses = [float(line.split()[-1]) for line in said.splitlines() if line.startswith("step")]
    assert math.isclose(losses[0], math.log(2), abs_tol=1e-4)  # zero weights
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.2
    assert "softplus(z[n,j])" in said and "(sigmoid(z[n,j]) - y[n,j])" in said


@pytest.fixture(scope="module")
def digits() -> ModuleType:
    pytest.importorskip("sklearn")
    return example("digits")


@needs_c
def test_digits(digits: ModuleType, tmp_path: Path) -> None:
    """Every step's loss is PyTorch's, test accuracy is at least 97 %, and the plot is a picture."""
    module = gg.build(digits.program(), out=tmp_path / "generated")
    seen: list[int] = []
    model, losses, accuracies = digits.train(module, lambda step, total, loss: seen.append(step))
    assert worst(losses, recorded()) < CLOSE
    assert accuracies[-1][1] >= 0.97
    assert len(accuracies) == digits.EPOCHS and seen == list(range(1, len(losses) + 1))
    assert np.isfinite(model.w1).all()
    pytest.importorskip("matplotlib")
    digits.plot(losses, accuracies, tmp_path / "digits.png")
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_digits_record(digits: ModuleType) -> None:
    """The recorded losses are what PyTorch computes here, in float64: its float32 differs between processors by the rounding
    of 880 steps (5e-4 of a small loss on one with AVX-512), the record from float64 by 3e-6."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert worst(torch_losses(torch, digits, double=True), recorded()) < CLOSE
    finally:
        torch.set_num_threads(threads)


@needs_c
def test_pinn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A loss with a second derivative in it: its gradients are PyTorch's, and training finds the solution."""
    pinn = example("pinn")
    module = gg.build(pinn.program(), out=tmp_path / "generated")
    _, error = pinn.train(module, 600)
    assert error < 0.01
    assert len(capsys.readouterr().out.splitlines()) == 10
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, f = (rng.normal(size=s).astype(np.float32) for s in ((9, 1), 9))
    shapes = ((1, pinn.HIDDEN), (pinn.HIDDEN,), (pinn.HIDDEN, 1))
    parameters = [rng.normal(size=s).astype(np.float32) for s in shapes]
    (loss, u), grads = module.value_and_grad(x, f, *parameters)
    points, w1, b1, w2 = (torch.tensor(v, dtype=torch.float64).requires_grad_() for v in (x, *parameters))

    def network(at):
        return torch.tanh(at * w1 + b1) @ w2

    value = network(points)
    (du,) = torch.autograd.grad(value.sum(), points, create_graph=True)
    (d2u,) = torch.autograd.grad(du.sum(), points, create_graph=True)
    ends = network(torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
    wanted = ((d2u.squeeze(1) - torch.tensor(f)) ** 2).mean() + 100.0 * (ends**2).sum()
    wanted.backward()
    # a dozen chained float32 operations and sums of 16 terms: 1e-5 of the largest element
    for found, exact in ((loss, wanted), (u, value.squeeze(1)), *zip((grads.w1, grads.b1, grads.w2),
                                                                     (w1.grad, b1.grad, w2.grad))):
        exact = exact.detach().numpy()
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5 * abs(exact).max())
