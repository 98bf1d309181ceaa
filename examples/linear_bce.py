"""The autograd notebook's model as a generated module: logistic regression with three outputs.

    python examples/linear_bce.py

writes generated/linear_bce/, compiles it, and trains it for a few steps.  The module then needs NumPy and cffi only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import gradgen as gg

OUT = Path(__file__).resolve().parents[1] / "generated"


def linear_bce(x, y, w, b):
    z = gg.matmul(x, w) + b
    loss = gg.nn.functional.binary_cross_entropy_with_logits(z, y)
    return loss


def program():
    """The traced function: one module for every batch size N."""
    return gg.trace(
        linear_bce,
        x=gg.spec("N", 5),
        y=gg.spec("N", 3),
        w=gg.spec(5, 3, requires_grad=True),
        b=gg.spec(3, requires_grad=True),
    )


def main() -> None:
    traced = program()
    traced.show()
    module = gg.build(traced, out=OUT, target="portable")

    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 5)).astype(np.float32)
    y = (x @ rng.normal(size=(5, 3)) > 0).astype(np.float32)
    model = module.Module(w=np.zeros((5, 3), np.float32), b=np.zeros(3, np.float32))
    for step in range(101):
        loss = model.forward(x, y)
        model.zero_grad()
        model.backward()
        for name, value in model.named_parameters():
            value -= 2.0 * getattr(model.grad, name)
        if step % 20 == 0:
            print(f"step {step:3d}  loss {float(loss):.4f}")


if __name__ == "__main__":
    main()
