"""A differential equation solved by a network: the loss holds a second derivative, and the C its gradient.

    python examples/pinn.py

u''(x) = -pi^2 sin(pi x) with u(-1) = u(1) = 0, whose solution is sin(pi x).  Derivatives with respect to x are taken by
`autograd.grad` inside the traced function; the generated module differentiates the loss once more, with respect to the
parameters (Raissi, Perdikaris & Karniadakis, Physics-informed neural networks, J. Comput. Phys. 378, 2019).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import gradgen as gg

OUT = Path(__file__).resolve().parents[1] / "generated"
HIDDEN, POINTS, STEPS, RATE = 16, 64, 2000, 0.02


def network(x, w1, b1, w2):
    return gg.tanh(x * w1 + b1) @ w2


def pinn(x, f, w1, b1, w2):
    """x [N, 1] are points, f [N] is the right side there."""
    points = x.detach().requires_grad_()
    u = network(points, w1, b1, w2)
    (du,) = gg.autograd.grad(u.sum(), points, create_graph=True)
    (d2u,) = gg.autograd.grad(du.sum(), points, create_graph=True)
    ends = network(gg.tensor([[-1.0], [1.0]]), w1, b1, w2)
    loss = ((d2u.squeeze(1) - f) ** 2).mean() + 100.0 * (ends**2).sum()
    return {"loss": loss, "u": u.detach().squeeze(1)}


def program():
    """The traced loss: one module for every number of points."""
    return gg.trace(
        pinn,
        x=gg.spec("N", 1),
        f=gg.spec("N"),
        w1=gg.spec(1, HIDDEN, requires_grad=True),
        b1=gg.spec(HIDDEN, requires_grad=True),
        w2=gg.spec(HIDDEN, 1, requires_grad=True),
    )


def train(module, steps: int = STEPS) -> tuple[float, float]:
    """Adam (Kingma & Ba, 2015).  Returns the last loss and the largest error of u."""
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, POINTS, dtype=np.float32)[:, None]
    exact = np.sin(np.pi * x[:, 0])
    f = (-np.pi**2 * exact).astype(np.float32)
    model = module.Module(
        w1=rng.normal(size=(1, HIDDEN)).astype(np.float32) * 2, b1=rng.normal(size=HIDDEN).astype(np.float32),
        w2=rng.normal(size=(HIDDEN, 1)).astype(np.float32) / 4,
    )
    first = {n: np.zeros_like(p) for n, p in model.named_parameters()}
    second = {n: np.zeros_like(p) for n, p in model.named_parameters()}
    for step in range(1, steps + 1):
        loss, u = model.forward(x, f)
        model.zero_grad()
        model.backward()
        rate = RATE * 0.998 ** (step / 4)
        for name, value in model.named_parameters():
            gradient = getattr(model.grad, name)
            first[name] += 0.1 * (gradient - first[name])
            second[name] += 0.001 * (gradient**2 - second[name])
            scale = np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8
            value -= (rate * first[name] / (1 - 0.9**step) / scale).astype(np.float32)
        if step % (steps // 10) == 0:
            print(f"step {step:5d}  loss {float(loss):10.5f}  largest error of u {abs(u - exact).max():.5f}")
    return float(loss), float(abs(u - exact).max())


def main() -> None:
    _, error = train(gg.build(program(), out=OUT, target="portable"))
    if error > 0.01:
        raise SystemExit("the network has not found the solution")


if __name__ == "__main__":
    main()
