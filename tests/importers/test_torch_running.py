"""Torch models that torch.export refuses, run on traced tensors: derivatives inside, torch.func, Python over shapes."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import GradgenError, TraceError, UnsupportedOperationError
from gradgen.reference.interpreter import evaluate

torch = pytest.importorskip("torch")
nn, F, func, grad = torch.nn, torch.nn.functional, torch.func, torch.autograd.grad

from gradgen.importers.torch_running import run_torch  # noqa: E402

from .torch_beside import beside  # noqa: E402


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def mlp(*widths: int) -> Any:
    layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


class Of(nn.Module):
    """A Module of parts and a function of it and the inputs."""

    def __init__(self, call: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.call = call
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any) -> Any:
        return self.call(self, *args)


# --- derivatives inside -----------------------------------------------------------------------------------------------


class Burgers(nn.Module):
    """The residual u_t + u u_x - nu u_xx of a network u(x, t)."""

    def __init__(self) -> None:
        super().__init__()
        self.u = mlp(2, 12, 12, 1)
        self.nu = nn.Parameter(torch.tensor(0.05))

    def forward(self, x: Any, t: Any) -> Any:
        x, t = x.detach().requires_grad_(), t.detach().requires_grad_()
        u = self.u(torch.cat([x, t], -1))
        u_x, u_t = grad(u.sum(), (x, t), create_graph=True)
        u_xx = grad(u_x, x, torch.ones_like(u_x), create_graph=True)[0]
        return u_t + u * u_x - self.nu * u_xx


class EnergyAndForces(nn.Module):
    """Messages between neighbours; forces are the negative gradient of the energy."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.Embedding(3, 8)
        self.message = nn.Sequential(nn.Linear(9, 16), nn.SiLU(), nn.Linear(16, 8))
        self.energy = nn.Linear(8, 1)

    def forward(self, positions: Any, kinds: Any, edges: Any) -> Any:
        positions.requires_grad_(True)
        i, j = edges
        h = self.kinds(kinds)
        for _ in range(2):
            distance = (positions[i] - positions[j]).norm(dim=-1, keepdim=True)
            h = h + torch.zeros_like(h).index_add(0, i, self.message(torch.cat([h[j], torch.exp(-distance)], -1)))
        energy = self.energy(h).sum()
        return {"energy": energy, "forces": -grad(energy, positions, create_graph=True)[0]}


def molecule() -> tuple[Any, ...]:
    edges = torch.tensor([(i, j) for i in range(5) for j in range(5) if i != j]).T.contiguous()
    return torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1]), edges


def energy_loss(found: Any, energy: Any, forces: Any) -> Any:
    return (found["energy"] - energy) ** 2 + F.mse_loss(found["forces"], forces)


def test_a_residual_of_second_derivatives(tmp_path: Path) -> None:
    program = beside(gg.from_torch, Burgers(), (torch.randn(20, 1), torch.randn(20, 1)), out=tmp_path)
    assert list(program.names) == ["nu", "u.0.weight", "u.0.bias", "u.2.weight", "u.2.bias", "u.4.weight",
                                   "u.4.bias"]


def test_energy_and_forces(tmp_path: Path) -> None:
    targets = torch.tensor(1.0), torch.randn(5, 3)
    program = beside(gg.from_torch, EnergyAndForces(), molecule(), loss=energy_loss, loss_args=targets, out=tmp_path)
    assert list(program.specs)[:5] == ["positions", "kinds", "edges", "energy", "forces"]


def test_forces_alone_are_results_by_name() -> None:
    program = gg.from_torch(EnergyAndForces(), molecule())
    assert program.graph.output_names == ("energy", "forces")


def test_without_create_graph_the_derivative_is_a_constant() -> None:
    def call(self: Any, x: Any) -> Any:
        x.requires_grad_()
        u = self.net(x)
        return u * grad(u.sum(), x, retain_graph=True)[0].sum(-1, keepdim=True)

    beside(gg.from_torch, Of(call, net=mlp(3, 5, 1)), (torch.randn(4, 3),))


def test_backward_inside_fills_grad() -> None:
    def call(self: Any, x: Any) -> Any:
        x = x.detach().requires_grad_()
        self.net(x).sum().backward(inputs=[x], create_graph=True)
        return x.grad

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        beside(run_torch, Of(call, net=mlp(3, 5, 1)), (torch.randn(4, 3),))


def hessian_vector(self: Any, x: Any, v: Any) -> Any:
    x.requires_grad_()
    first = grad(self.net(x).sum(), x, create_graph=True)[0]
    return grad((first * v).sum(), x, create_graph=True)[0]


def hamiltonian(self: Any, q: Any, p: Any) -> Any:
    """Leapfrog steps of a learned Hamiltonian."""
    for _ in range(3):
        q, p = q.requires_grad_(), p.requires_grad_()
        h_q, h_p = grad(self.net(torch.cat([q, p], -1)).sum(), (q, p), create_graph=True)
        p, q = p - 0.1 * h_q, q + 0.1 * h_p
    return q, p


def functional(self: Any, x: Any) -> Any:
    own = torch.autograd.functional
    jacobian = own.jacobian(lambda y: self.net(y).sum(0), x, create_graph=True)
    return jacobian, own.hessian(lambda y: self.net(y).sum(), x, create_graph=True)


def by_grad(self: Any, x: Any) -> Any:
    return func.vmap(func.grad(lambda y: self.net(y).sum()))(x)


def by_hessian(self: Any, x: Any) -> Any:
    return func.vmap(func.hessian(lambda y: self.net(y).squeeze()))(x)


def by_jacobians(self: Any, x: Any) -> Any:
    return func.vmap(func.jacrev(self.net))(x), func.vmap(func.jacfwd(self.net))(x)


def by_vjp_and_jvp(self: Any, x: Any) -> Any:
    value, pull = func.vjp(self.net, x)
    return pull(torch.cos(value))[0], func.jvp(self.net, (x,), (x * 0.5,))


def by_functional_call(self: Any, x: Any) -> Any:
    parameters = dict(self.net.named_parameters())

    def u(p: Any, y: Any) -> Any:
        return func.functional_call(self.net, p, (y,)).squeeze()

    slope = func.grad(u)(parameters, x[0])
    adapted = {n: p - 0.1 * slope[n] for n, p in parameters.items()}  # one step of meta-learning
    return func.vmap(u, (None, 0))(adapted, x), func.vmap(func.grad(u, argnums=1), (None, 0))(parameters, x)


def ensemble(self: Any, x: Any) -> Any:
    stacked, buffers = func.stack_module_state([self.net, self.other])
    return func.vmap(lambda p, b, y: func.functional_call(self.net, (p, b), (y,)), (0, 0, None))(stacked, buffers, x)


INSIDE = [hessian_vector, hamiltonian, functional, by_grad, by_hessian, by_jacobians, by_vjp_and_jvp, by_functional_call,
          ensemble]


@pytest.mark.parametrize("call", INSIDE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("door", [gg.from_torch, run_torch], ids=["from_torch", "run"])
def test_derivatives_inside(call: Any, door: Any) -> None:
    width = 6 if call is hamiltonian else 3
    inputs = (torch.randn(4, 3),) * (2 if call in (hessian_vector, hamiltonian) else 1)
    more = {"other": mlp(width, 5, 1)} if call is ensemble else {}
    beside(door, Of(call, net=mlp(width, 5, 1), **more), tuple(x.clone() for x in inputs))


# --- Python and layers ------------------------------------------------------------------------------------------------


def rollout(self: Any, x: Any) -> Any:
    n, steps, width = x.shape
    h, found = x.new_zeros(n, width), []
    for k in range(steps):
        h = torch.tanh(self.net(h) + x[:, k]) if k % 2 == 0 and n > 1 else h * 0.5 + x[:, k]
        found.append(h)
    y = torch.stack(found, 1)
    return y.reshape(n, steps // 2, 2, width).permute(0, 2, 1, 3).flatten(1, 2).view(n, -1)


def in_place(self: Any, x: Any) -> Any:
    y = torch.zeros(2, 4, 3)
    y[:, 1:] += self.net(x)[:, :3]
    y[y > 0.1] *= 2.0
    y[:, 0].copy_(x[:, 0])
    return y


class Straight(torch.autograd.Function):
    """Rounds, with the derivative of what it was given."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return torch.round(x * 4) / 4

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * (x.abs() < 1)


def straight_through(self: Any, x: Any) -> Any:
    return Straight.apply(self.net(x))


def hooked_tensor(self: Any, x: Any) -> Any:
    h = self.net(x)
    h.register_hook(lambda g: -0.5 * g)
    return h * h


def of_distributions(self: Any, x: Any) -> Any:
    mean, scale = self.net(x), F.softplus(x)
    own = torch.distributions
    one, other = own.Normal(mean, scale + 0.1), own.Normal(torch.zeros(3), torch.ones(3))
    joint = own.MultivariateNormal(torch.zeros(3), torch.eye(3) * 2)
    return one.log_prob(x), own.kl_divergence(one, other), joint.log_prob(mean), own.Categorical(logits=mean).entropy()


def asserting(self: Any, x: Any) -> Any:
    torch._assert(x.shape[-1] == 3, "three columns")
    torch._assert((x < 100).all(), "small")
    return self.net(x)


def compiled(self: Any, x: Any) -> Any:
    return torch.compile(lambda y: torch.sin(y) ** 2)(self.net(x))


PYTHON = [rollout, in_place, straight_through, hooked_tensor, of_distributions, asserting, compiled]


@pytest.mark.parametrize("call", PYTHON, ids=lambda f: f.__name__)
def test_python(call: Any) -> None:
    beside(run_torch, Of(call, net=mlp(3, 5, 3)), (torch.randn(2, 4, 3),))


@pytest.mark.parametrize("call", [straight_through, hooked_tensor], ids=lambda f: f.__name__)
def test_export_does_not_lose_a_backward(call: Any) -> None:
    net, x = Of(call, net=mlp(3, 5, 3)), torch.randn(2, 4, 3)
    beside(gg.from_torch, net, (x,))
    with pytest.raises(UnsupportedOperationError, match=r"not part of what torch\.export gives") as error:
        gg.from_torch(net, (x,), via="export")
    assert "test_torch_running.py" in str(error.value)


def test_hooks_of_parameters() -> None:
    net = mlp(3, 5, 3)
    net[0].weight.register_hook(lambda g: g.clamp(-0.1, 0.1))
    beside(gg.from_torch, net, (torch.randn(2, 3),))


def test_a_modules_backward_hook_is_refused() -> None:
    net = mlp(3, 5, 3)
    net[2].register_full_backward_hook(lambda module, before, after: None)
    with pytest.raises(GradgenError, match="hook"):
        gg.from_torch(net, (torch.randn(2, 3),))


def hooked() -> Any:
    net = nn.Sequential(mlp(3, 5), mlp(5, 5), mlp(5, 3))
    net[0].register_forward_hook(lambda m, i, o: o * 2)
    net[1].register_forward_pre_hook(lambda m, i: (i[0] + 1,))
    return net


def normed() -> Any:
    tools = nn.utils.parametrizations
    return nn.Sequential(tools.weight_norm(nn.Linear(3, 4)), nn.Tanh(), tools.spectral_norm(nn.Linear(4, 4)),
                         nn.Tanh(), tools.orthogonal(nn.Linear(4, 4))).eval()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)

    def forward(self, x: Any) -> Any:
        return self.norm(x + self.mix(x, x, x)[0])


class Recurrent(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.steps, self.out = kind(3, 5, 2, bidirectional=True, batch_first=True), nn.Linear(10, 1)

    def forward(self, x: Any) -> Any:
        return self.out(self.steps(x)[0][:, -1])


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTMCell(3, 4), nn.GRUCell(4, 3)

    def forward(self, x: Any) -> Any:
        h = c = torch.zeros(x.size(0), 4)
        for step in x.unbind(1):
            h, c = self.first(step, (h, c))
        return self.second(h)


def convolutional() -> Any:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
                         nn.Conv2d(4, 4, 3, groups=2, padding="same"), nn.GroupNorm(2, 4), nn.Dropout(0.0),
                         nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))


LAYERS = {
    "hooks": (hooked, (4, 3)), "parametrizations": (normed, (4, 3)), "attention": (Attention, (2, 5, 8)),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), (2, 5, 8)),
    "lstm": (lambda: Recurrent(nn.LSTM), (2, 4, 3)), "gru": (lambda: Recurrent(nn.GRU), (2, 4, 3)),
    "rnn": (lambda: Recurrent(nn.RNN), (2, 4, 3)), "cells": (Cells, (2, 4, 3)), "convolutions": (convolutional, (2, 3, 8, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    make, shape = LAYERS[name]
    beside(run_torch, make(), (torch.randn(*shape),))


def test_dropout_draws_in_the_program(tmp_path: Path) -> None:
    program = run_torch(nn.Dropout(0.5), (torch.ones(1000),), train=True)
    net = gg.build(program, name="dropping", out=tmp_path).Module()
    first, second = net.forward(np.ones(1000)), net.forward(np.ones(1000))
    assert {*np.unique(first)} == {0.0, 2.0}
    assert (first != second).any() and 400 < np.count_nonzero(first) < 600


class Weighed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, found: Any, target: Any) -> Any:
        return ((found - target) ** 2 * self.weight).mean()


def test_a_loss_with_parameters() -> None:
    x, critic = torch.randn(2, 3), nn.Linear(3, 1)
    for door in (gg.from_torch, run_torch):
        program = door(mlp(3, 3), (x,), loss=Weighed(), loss_args=(x,))
        assert list(program.specs) == ["input", "target", "p0_weight", "p0_bias", "loss_weight"]
        program = door(mlp(3, 3), (x,), loss=lambda found: critic(found).mean())
        assert list(program.names)[2:] == ["loss.critic.weight", "loss.critic.bias"]


def test_a_function_of_modules() -> None:
    net = mlp(3, 3)
    assert list(gg.from_torch(lambda x: net(x).sum(), (torch.randn(2, 3),)).names) == ["net.0.weight", "net.0.bias"]


def test_no_gradient_is_lost_in_silence() -> None:
    hidden = [nn.Parameter(torch.ones(3))]
    with pytest.raises(GradgenError, match="requires a gradient is in no Module"):
        gg.from_torch(Of(lambda self, x: self.net(x) * hidden[0], net=mlp(3, 3)), (torch.randn(2, 3),))


def test_lower_precision_is_refused() -> None:
    def call(self: Any, x: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.net(x)

    with pytest.raises(GradgenError, match="autocast"):
        gg.from_torch(Of(call, net=mlp(3, 3)), (torch.randn(2, 3),))


def test_a_run_that_fails_leaves_the_model_as_it_was() -> None:
    def call(self: Any, x: Any) -> Any:
        self.last = self.net(x)
        self.seen.append(self.last)
        self.steps += 1
        return x if self.last.sum() > 0 else self.last

    net = Of(call, net=mlp(3, 3))
    net.seen = []
    net.register_buffer("steps", torch.zeros(()))
    weight = net.net[0].weight
    with pytest.raises(TraceError):
        run_torch(net, (torch.randn(2, 3),))
    assert net.net[0].weight is weight and net.seen == [] and not hasattr(net, "last") and net.steps == 0
    assert type(net.net(torch.randn(2, 3))) is torch.Tensor


def test_the_state_is_the_state_dict() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.LayerNorm(3), nn.Linear(3, 3), Of(lambda self, x: x * self.scale))
    net[3].weight = net[0].weight
    net[4].register_buffer("scale", torch.ones(3) * 2)
    net[4].register_buffer("kept", torch.ones(2), persistent=False)
    for door in (gg.from_torch, run_torch):
        program = door(net, (torch.randn(2, 3),))
        assert program.aliases == {"3.weight": "0.weight"}
        assert [n for n in program.state if n != "4.kept"] == [n for n in net.state_dict() if n != "3.weight"]


def test_running_statistics_are_states() -> None:
    net = nn.BatchNorm1d(3)
    program = run_torch(net, (torch.randn(5, 3),), train=True)
    assert {"running_mean", "running_var"} <= {*program.state}
    assert not net.running_mean.any()


# --- sizes, names, errors ---------------------------------------------------------------------------------------------


def test_a_named_size_stays_open(tmp_path: Path) -> None:
    rows = torch.export.Dim("rows")
    program = run_torch(Burgers(), (torch.randn(5, 1), torch.randn(5, 1)), loss=lambda out: out.square().mean(),
                        dynamic_shapes={"x": {0: rows}, "t": {0: rows}})
    assert [str(e) for e in program.specs["x"].shape] == ["rows", "1"]
    built = gg.build(program, name="open", out=tmp_path)
    net = built.Module(**{program.names[k]: v for k, v in program.state.items()})
    x, t = np.random.default_rng(0).normal(size=(2, 9, 1))
    assert net.forward(x, t).shape == ()


def causal(self: Any, x: Any) -> Any:
    """Attention to what is before, without a layer."""
    n, width = x.shape[-2:]
    mask = torch.triu(torch.full((n, n), float("-inf")), diagonal=1)
    y = x + self.places[torch.arange(n)]
    return torch.softmax(y @ y.mT / width**0.5 + mask, -1) @ self.net(y)


def reshaped(self: Any, x: Any) -> Any:
    n, steps, width = x.shape
    return self.net(x.reshape(n * steps, width)).view(n, steps, width).flatten(1).sum(1) / n + torch.arange(n) / x.numel()


def slopes(self: Any, x: Any) -> Any:
    return func.vmap(func.vmap(func.hessian(lambda y: self.net(y).square().sum())))(x)


@pytest.mark.parametrize("call", [causal, reshaped, slopes], ids=lambda f: f.__name__)
def test_named_sizes_in_python(call: Any) -> None:
    net, axis = Of(call, net=mlp(3, 4, 3), places=nn.Parameter(torch.randn(9, 3))), 1 if call is causal else 0
    program = run_torch(net, (torch.randn(4, 5, 3),), loss=weighed_by_names, dynamic_shapes=({axis: "n"},))
    for n in (1, 2, 7):
        x = torch.randn(*(n if k == axis else e for k, e in enumerate((4, 5, 3))))
        agree_at(program, net, x)


def weighed_by_names(found: Any) -> Any:
    return torch.sin(found * 1.3).sum() + found.square().mean()


def agree_at(program: Any, net: Any, x: Any) -> None:
    """The loss at an extent that the example had not."""
    given = {n: x.numpy() if n.name not in program.names.values() else program.state[path]
             for n in program.graph.inputs for path in [k for k, c in program.names.items() if c == n.name] or [""]}
    found = evaluate(program.graph.outputs[:1], given)[0]
    np.testing.assert_allclose(found, weighed_by_names(net(x)).item(), rtol=1e-12)


def test_a_branch_on_a_named_size_names_the_users_line() -> None:
    def call(self: Any, x: Any) -> Any:
        return self.net(x) if x.shape[0] > 4 else x

    with pytest.raises(TraceError, match=r"rows") as error:
        run_torch(Of(call, net=mlp(3, 3)), (torch.randn(5, 3),), dynamic_shapes=({0: "rows"},))
    assert "test_torch_running.py" in str(error.value)


def test_a_branch_on_values_names_the_users_line() -> None:
    def call(self: Any, x: Any) -> Any:
        return x if x.sum() > 0 else self.net(x)

    with pytest.raises(GradgenError, match=r"test_torch_running\.py") as error:
        gg.from_torch(Of(call, net=mlp(3, 3)), (torch.randn(5, 3),))
    assert "By torch.export" in str(error.value)


def test_what_gradgen_lacks_is_named_with_the_users_line() -> None:
    def call(self: Any, x: Any) -> Any:
        return torch.view_as_complex(torch.stack([x, x], -1)).abs()

    with pytest.raises(GradgenError, match=r"view_as_complex") as error:
        run_torch(Of(call), (torch.randn(5),))
    assert "test_torch_running.py" in str(error.value)


def test_errors_of_the_model_are_torchs() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        gg.from_torch(mlp(3, 3), (torch.randn(5, 4),))


def test_a_refused_export_says_nothing(capsys: Any, caplog: Any) -> None:
    def call(self: Any, x: Any) -> Any:
        print("the model runs")
        return of_distributions(self, x)

    gg.from_torch(Of(call, net=mlp(3, 3)), (torch.randn(5, 3),))
    assert capsys.readouterr() == ("the model runs\n", "")
    assert not [r for r in caplog.records if not r.name.startswith("torch.__trace")]  # which nobody sees


def test_another_way_is_refused() -> None:
    with pytest.raises(GradgenError, match='via is "export", "run" or None'):
        gg.from_torch(mlp(3, 3), (torch.randn(5, 3),), via="jit")


def test_the_comparison_can_fail() -> None:
    def door(model: Any, *args: Any, **options: Any) -> Any:
        with torch.no_grad():
            wrong = Burgers()
            wrong.load_state_dict(model.state_dict())
            wrong.nu *= 1.001
        return run_torch(wrong, *args, **options)

    with pytest.raises(AssertionError, match="the loss"):
        beside(door, Burgers(), (torch.randn(6, 1), torch.randn(6, 1)))
