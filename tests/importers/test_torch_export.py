"""gg.from_torch: PyTorch's own Modules, values and every gradient beside torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def agrees(
    model: Any, args: tuple[Any, ...], tmp_path: Path, loss: Callable[..., Any] | None = None,
    loss_args: tuple[Any, ...] = (), tolerance: float = 1e-10, **options: Any,
) -> Any:
    """The program, after its loss and every gradient were those of torch, by each tensor's largest entry."""
    loss = loss or (lambda out: out.square().mean())
    program = gg.from_torch(model, args, loss=loss, loss_args=loss_args, **options)
    built = gg.build(program, name="net", out=tmp_path)
    expected = loss(model(*args), *loss_args)
    model.zero_grad()
    expected.backward()
    names = program.names
    values = {names[k]: v for k, v in program.state.items()}
    net = built.Module(**values)
    given = [a.detach().numpy() for a in (*args, *loss_args) if isinstance(a, torch.Tensor)]
    found = net.forward(*given)
    net.backward()
    error(np.asarray(found), expected.detach().numpy(), tolerance, "loss")
    for path, parameter in model.named_parameters():
        if parameter.grad is not None:
            error(np.asarray(getattr(net.grad, names[path])), parameter.grad.numpy(), tolerance, path)
    return program


def error(found: Any, expected: Any, tolerance: float, what: str) -> None:
    assert found.shape == expected.shape, what
    assert np.abs(found - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-30), what


def test_a_network_with_its_loss(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, t = torch.randn(4, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 1])
    program = agrees(net, (x,), tmp_path, lambda out, target: F.cross_entropy(out, target), (t,))
    assert list(program.state) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_dimensions_have_the_users_names(tmp_path: Path) -> None:
    net = nn.Linear(3, 2).double()
    x, t = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    batch = torch.export.Dim("batch")
    program = agrees(net, (x,), tmp_path, lambda out, target: F.mse_loss(out, target), (t,),
                     dynamic_shapes={"input": {0: batch}, "target": {0: batch}})
    assert [str(e) for e in next(n for n in program.graph.inputs if n.name == "input").shape] == ["batch", "3"]
    said = gg.from_torch(net, (x,), dynamic_shapes={"input": {0: "rows"}})
    assert [str(e) for e in next(n for n in said.graph.inputs if n.name == "input").shape] == ["rows", "3"]


class Attention(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.attention(x, x, x, need_weights=False)[0].square().mean()


class Normalised(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.w = nn.BatchNorm1d(12), nn.Parameter(torch.randn(2, 12, 3))

    def forward(self, x: Any) -> Any:
        return torch.einsum("nti,hij->nhtj", self.norm(x.mT).mT, self.w).exp().mean()


@pytest.mark.parametrize("kind", [Attention, Normalised])
@pytest.mark.parametrize("decomposed", [False, True])
def test_decomposed(kind: Any, decomposed: bool, tmp_path: Path) -> None:
    """What torch itself takes apart: batches of matrices, views of copies that lie in another order, new statistics."""
    torch.manual_seed(0)
    net, x = kind().double().train(), torch.randn(2, 5, 12, dtype=torch.float64)
    exported = torch.export.export(net, (x,))
    program = gg.from_torch(exported.run_decompositions() if decomposed else exported)
    built = gg.build(program, name="net", out=tmp_path)
    values = {program.names[k]: v for k, v in program.state.items()}
    found, gradients = built.value_and_grad(**{n.name: values.get(n.name, x.numpy()) for n in program.graph.inputs})
    loss = net(x)
    loss.backward()
    results = dict(zip(program.graph.output_names, found if isinstance(found, tuple) else (found,), strict=True))
    error(np.asarray(results.pop("output")), loss.detach().numpy(), 1e-12, "loss")
    for path, parameter in net.named_parameters():
        error(np.asarray(getattr(gradients, program.names[path])), parameter.grad.numpy(), 1e-10, path)
    after = {new: dict(net.named_buffers())[path] for path, name in program.names.items()
             for old, new in program.graph.states if old == name}
    assert results.keys() == after.keys() and len(after) == (0 if kind is Attention else 2)
    for name, buffer in after.items():
        error(np.asarray(results[name]), buffer.numpy(), 1e-12, name)


def test_the_model_stays_as_it_is() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    random = torch.random.get_rng_state()
    program = gg.from_torch(net, (torch.randn(8, 3),), train=True)
    random_after = torch.random.get_rng_state()
    assert not net.training and not net[2].training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(random, random_after) or len(program.state) == 6
    assert "1.running_mean" in program.state and "1.num_batches_tracked" not in program.state


def test_what_is_missing_is_named_with_the_users_line() -> None:
    class Net(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.view_as_complex(torch.stack([x, x], -1)).abs()

    with pytest.raises(gg.errors.GradgenError, match=r"view_as_complex.*test_torch_export\.py:\d+"):
        gg.from_torch(Net(), (torch.randn(3),))


def test_what_is_changed_in_place(tmp_path: Path) -> None:
    """Operations that gradgen has under the name without the underscore alone, and views where torch has copies."""
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 6)

        def forward(self, x: Any) -> Any:
            x = F.hardswish(F.silu(self.first(x), inplace=True), inplace=True)
            rows = x.view(2, 3, 2, 3)
            rows[:, 0].mul_(2)
            return x.transpose(0, 1).contiguous().view(-1) * rows.permute(2, 0, 1, 3).contiguous().view(-1)

    agrees(Net().double(), (torch.randn(6, 4, dtype=torch.float64),), tmp_path)


def test_a_copy_that_torch_sees_as_a_view_and_changes() -> None:
    class Net(nn.Module):
        def forward(self, x: Any) -> Any:
            last = F.conv2d(x, x[:, :, :1, :1]).to(memory_format=torch.channels_last).permute(0, 2, 3, 1).view(4, 2)
            last.mul_(2)
            return last

    x = torch.randn(2, 2, 2, 1, dtype=torch.float64)
    with pytest.raises(gg.errors.GradgenError, match=r"test_torch_export\.py:\d+: torch has a view here that is a copy"):
        gg.from_torch(torch.export.export(Net(), (x,)))


def test_a_graph_that_torch_decomposes_has_its_running_statistics(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh()).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    program = gg.from_torch(torch.export.export(net, (x,)).run_decompositions())
    assert len(program.graph.states) == 2
    built = gg.build(program, name="decomposed", out=tmp_path)
    module = built.Module(program.state)
    found = module.forward(x.numpy())
    error(np.asarray(found), net(x).detach().numpy(), 1e-12, "result")
    for name in ("1.running_mean", "1.running_var"):
        error(module.state_dict()[name], net.state_dict()[name].numpy(), 1e-12, name)


def test_a_buffer_that_is_neither_read_nor_saved_is_left_out(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    net.register_buffer("positions", torch.arange(4), persistent=False)
    program = gg.from_torch(net, (torch.randn(5, 3),))
    assert set(program.state) == {"weight", "bias"}
    gg.build(program, name="saved", out=tmp_path).Module(program.state)
