"""torch.nn by its names: parameters found, initialised and trained as in PyTorch from the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradgen

BUILDERS: dict[str, Any] = {
    "mlp": (lambda g: g.nn.Sequential(g.nn.Linear(4, 5), g.nn.ReLU(), g.nn.Linear(5, 3)), (2, 4)),
    "convolution": (lambda g: g.nn.Sequential(g.nn.Conv2d(1, 2, 3, padding=1), g.nn.GELU(), g.nn.MaxPool2d(2), g.nn.Flatten(),
                                              g.nn.Linear(8, 3)), (2, 1, 4, 4)),
    "normalised": (lambda g: g.nn.Sequential(g.nn.Linear(4, 6), g.nn.LayerNorm(6), g.nn.SiLU(), g.nn.BatchNorm1d(6)), (3, 4)),
    "prelu": (lambda g: g.nn.Sequential(g.nn.Linear(4, 3, bias=False), g.nn.PReLU(), g.nn.Softmax(dim=1)), (2, 4)),
}


def _input(g: Any, shape: tuple[int, ...]) -> Any:
    return g.tensor(np.cos(np.arange(np.prod(shape))).reshape(shape).astype(np.float32))


@pytest.mark.parametrize("name", BUILDERS)
def test_like_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    build, shape = BUILDERS[name]
    results = []
    for g in (torch, gradgen):
        g.manual_seed(0)
        model = build(g)
        out = model(_input(g, shape))
        (out * out).sum().backward()
        results.append((repr(model), [n for n, _ in model.named_parameters()], out.detach().numpy(),
                        [p.detach().numpy() for p in model.parameters()], [p.grad.numpy() for p in model.parameters()],
                        {k: np.asarray(v.numpy()) for k, v in model.state_dict().items()}))
    theirs, ours = results
    assert ours[:2] == theirs[:2]
    assert np.allclose(ours[2], theirs[2], rtol=1e-5, atol=1e-6)
    for mine, other in zip(ours[3], theirs[3]):
        assert np.array_equal(mine, other)  # the same draws
    for mine, other in zip(ours[4], theirs[4]):
        assert np.allclose(mine, other, rtol=1e-4, atol=1e-5)
    assert list(ours[5]) == list(theirs[5])
    for key, value in theirs[5].items():
        assert np.allclose(ours[5][key], value, rtol=1e-5, atol=1e-6)


def test_module_finds_its_parts() -> None:
    class Net(gradgen.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = gradgen.nn.Linear(2, 3)
            self.scale = gradgen.nn.Parameter(gradgen.ones(3))
            self.register_buffer("shift", gradgen.zeros(3))

        def forward(self, x: Any) -> Any:
            return self.first(x) * self.scale + self.shift

    net = Net()
    assert [n for n, _ in net.named_parameters()] == ["scale", "first.weight", "first.bias"]
    assert list(net.state_dict()) == ["scale", "shift", "first.weight", "first.bias"]
    net(gradgen.ones(1, 2)).sum().backward()
    assert net.scale.grad is not None
    net.zero_grad()
    assert net.scale.grad is None
    other = Net()
    assert repr(other.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    assert gradgen.equal(other.first.weight, net.first.weight)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({})
    assert not net.eval().training and not net.first.training


def test_parameter_is_a_leaf() -> None:
    p = gradgen.nn.Parameter(gradgen.ones(2))
    assert isinstance(p, gradgen.Tensor) and p.is_leaf and p.requires_grad
    assert repr(p) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
