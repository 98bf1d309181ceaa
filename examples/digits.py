"""Trains a 64-64-10 network on the 1,797 handwritten digits that scikit-learn ships, through a generated module.

    pip install ".[examples]"
    python examples/digits.py              # prints a progress bar, writes examples/digits.png

The C for forward, backward and zero_grad is written to generated/digits/ and compiled; training itself is NumPy calls of
that module.  `--losses FILE` also writes the loss of every step, which is what the C program in examples/digits_c and the
comparison with PyTorch read.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import gradgen as gg

OUT = Path(__file__).resolve().parents[1] / "generated"
BATCH, EPOCHS, RATE, MOMENTUM = 64, 40, 0.1, 0.9
PARAMETERS = ("w1", "b1", "w2", "b2")


def digits(x, t, w1, b1, w2, b2):
    h = gg.relu(x @ w1 + b1)
    logits = h @ w2 + b2
    loss = gg.nn.functional.cross_entropy(logits, t)
    scores = logits.detach()  # an output to look at, without a gradient of its own
    return loss, scores


def program():
    """The traced network: loss and scores of a batch of N images."""
    return gg.trace(
        digits,
        x=gg.spec("N", 64),
        t=gg.spec("N", dtype=gg.int64),
        w1=gg.spec(64, 64, requires_grad=True),
        b1=gg.spec(64, requires_grad=True),
        w2=gg.spec(64, 10, requires_grad=True),
        b2=gg.spec(10, requires_grad=True),
    )


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images scaled to [0, 1] and labels: 1,437 to train on, 360 to test on, the split fixed."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x = (images[order] / 16.0).astype(np.float32)
    t = labels[order].astype(np.int64)
    cut = 1437
    return x[:cut], t[:cut], x[cut:], t[cut:]


def initial() -> dict[str, np.ndarray]:
    """He initialisation, the same every time."""
    rng = np.random.default_rng(1)
    return {
        "w1": (rng.normal(size=(64, 64)) * (2 / 64) ** 0.5).astype(np.float32),
        "b1": np.zeros(64, np.float32),
        "w2": (rng.normal(size=(64, 10)) * (2 / 64) ** 0.5).astype(np.float32),
        "b2": np.zeros(10, np.float32),
    }


def batches(count: int) -> Iterator[np.ndarray]:
    """Index arrays of every step of every epoch, shuffled, the same every time."""
    rng = np.random.default_rng(2)
    for _ in range(EPOCHS):
        order = rng.permutation(count)
        for start in range(0, count - BATCH + 1, BATCH):
            yield order[start : start + BATCH]


def train(module, on_step=lambda step, total, loss: None) -> tuple[object, list[float], list[tuple[int, float]]]:
    """Momentum SGD with PyTorch's update rule.  Returns the model, the loss of every step and accuracies by step."""
    x, t, x_test, t_test = data()
    model = module.Module(**initial())
    velocity = {name: np.zeros_like(value) for name, value in model.named_parameters()}
    steps = list(batches(len(x)))
    losses: list[float] = []
    accuracies: list[tuple[int, float]] = []
    for step, rows in enumerate(steps):
        loss, _ = model.forward(x[rows], t[rows])
        model.zero_grad()
        model.backward()
        for name, value in model.named_parameters():
            velocity[name] *= np.float32(MOMENTUM)
            velocity[name] += getattr(model.grad, name)
            value -= np.float32(RATE) * velocity[name]
        losses.append(float(loss))
        if (step + 1) % (len(steps) // EPOCHS) == 0:
            _, scores = model.forward(x_test, t_test)
            accuracies.append((step + 1, float((scores.argmax(1) == t_test).mean())))
        on_step(step + 1, len(steps), losses[-1])
    return model, losses, accuracies


def plot(losses: list[float], accuracies: list[tuple[int, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, left = plt.subplots(figsize=(7, 4))
    left.semilogy(losses, color="tab:blue", linewidth=0.8)
    left.set_xlabel("step")
    left.set_ylabel("loss", color="tab:blue")
    right = left.twinx()
    right.plot(*zip(*accuracies), color="tab:orange")
    right.set_ylabel("test accuracy", color="tab:orange")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    from rich.progress import Progress

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, default=Path(__file__).with_suffix(".png"))
    parser.add_argument("--losses", type=Path)
    options = parser.parse_args()
    module = gg.build(program(), out=OUT)
    start = time.perf_counter()
    with Progress() as progress:
        task = progress.add_task("training", total=None)
        _, losses, accuracies = train(
            module, lambda step, total, loss: progress.update(
                task, completed=step, total=total, description=f"loss {loss:.4f}")
        )
    seconds = time.perf_counter() - start
    plot(losses, accuracies, options.plot)
    if options.losses:
        options.losses.write_text("".join(f"{v:.9g}\n" for v in losses))
    print(f"{len(losses)} steps in {seconds:.2f} s, last loss {losses[-1]:.5f}, "
          f"test accuracy {100 * accuracies[-1][1]:.2f} %, plot in {options.plot.name}")
    if accuracies[-1][1] < 0.97:
        raise SystemExit("test accuracy is below 97 %")


if __name__ == "__main__":
    main()
