"""What a traced function replaces outside of itself: a result of the program, and the modules stay as they were."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import InvalidNameError, TraceError
from gradgen.reference.interpreter import run
from tests.embed.toolchain import C_COMPILERS, needs_c, program
from tests.embed.toolchain import run as run_command

RECORDED = {  # running mean and variance after three batches in training, by momentum: torch 2.13
    0.25: ((0.8014729, 0.7163495, 0.5673292), (0.7801187, 0.7395043, 0.6140796)),
    None: ((1.1956668, 1.0168666, 0.8220826), (0.6110203, 0.5374079, 0.3927518)),
}
INSTANCE_MEAN = (0.8014729, 0.7163495, 0.5673292)
INSTANCE_VAR = (0.8098027, 0.7671664, 0.4961754)


def batch(k: int) -> np.ndarray:
    """[4, 3, 2]"""
    return np.cos(np.arange(24) * (k + 1) * 0.7).reshape(4, 3, 2).astype(np.float32) + np.float32(k)


class Counted(gg.nn.Module):
    """A registered counter changed in place, a hidden state written through a view, another one put in its place, and a
    tensor that is only kept."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", gg.tensor(0))
        self.register_buffer("table", gg.zeros(2, 3))
        self.hidden = gg.zeros(3)
        self.last: Any = None
        self.calls = 0

    def forward(self, x):
        self.count += 1
        before = self.table[1]
        self.table[0].copy_(x.mean(0))
        self.table[1] += 2 * self.table[0]
        self.hidden = self.hidden * 0.5 + before + x.sum(0)
        self.last = self.hidden * 2
        self.calls += 1
        return (x * self.hidden).sum() / self.count


def state_of(module: Any) -> dict[str, Any]:
    return {**{k: v.clone() for k, v in module.state_dict().items()}, **{
        k: v.clone() if isinstance(v, gg.Tensor) else v for k, v in vars(module).items() if k in ("hidden", "last", "calls")
    }}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    pairs = [(a[k], b.get(k)) for k in a]
    return all(bool((x == y).all()) if isinstance(x, gg.Tensor) else x == y for x, y in pairs)


# --- traces -------------------------------------------------------------------------------------------------------------


def test_states_are_inputs_and_results_and_the_module_stays() -> None:
    net = Counted()
    net.table.fill_(3.0)
    before, hidden = state_of(net), net.hidden
    program = gg.trace(net, gg.spec("N", 3))
    assert program.graph.states == (("hidden", "hidden_next"), ("count", "count_next"), ("table", "table_next"))
    assert same(state_of(net), before) and net.hidden is hidden
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    given = {"x": x, **program.state}
    twin = Counted()
    twin.table.fill_(3.0)
    for _ in range(3):
        found = dict(zip(program.graph.output_names, run(program.graph, **given)))
        wanted = twin(gg.tensor(x))
        np.testing.assert_allclose(found["output"], wanted.numpy(), rtol=1e-6)
        for name in ("count", "table", "hidden"):
            given[name] = found[f"{name}_next"]
            np.testing.assert_allclose(given[name], getattr(twin, name).numpy(), rtol=1e-6)
    (net(gg.ones(2, 3)) + net.hidden.sum()).item()  # eager use goes on


def test_a_trace_that_raises_leaves_the_module_too() -> None:
    net = Counted()
    before, hidden = state_of(net), net.hidden

    def broken(x):
        net.eval()
        net(x)
        raise KeyError("x")

    for record in (lambda: gg.trace(broken, gg.spec(2, 3)), lambda: gg.jit(broken)(gg.ones(2, 3))):
        with pytest.raises(KeyError):
            record()
        assert same(state_of(net), before) and net.hidden is hidden
    assert net(gg.ones(2, 3)).item() == 24.0  # `before` is a view: it sees what is written


def test_names_follow_the_path(tmp_path: Path) -> None:
    stack = gg.nn.Sequential(gg.nn.Sequential(gg.nn.BatchNorm1d(3, affine=False)))
    history = gg.zeros(3)
    layers = {"first": [gg.nn.BatchNorm1d(3, affine=False, momentum=0.5)]}

    def together(x):
        history.mul_(0.5).add_(x.mean(0))
        return layers["first"][0](stack(x)) + history

    names = [old for old, _ in gg.trace(together, gg.spec(4, 3)).graph.states]
    assert names == [
        "history", "stack_0_0_running_mean", "stack_0_0_running_var", "stack_0_0_num_batches_tracked",
        "layers_first_0_running_mean", "layers_first_0_running_var", "layers_first_0_num_batches_tracked",
    ]

    def clash(x):
        history.add_(1)
        return {"history_next": x + history}

    with pytest.raises(InvalidNameError, match="history_next"):
        gg.trace(clash, gg.spec(3))


def test_training_and_evaluation_are_two_programs() -> None:
    bn = gg.nn.BatchNorm1d(3, affine=False)
    assert len(gg.trace(bn, gg.spec("N", 3)).graph.states) == 3
    assert gg.trace(bn.eval(), gg.spec("N", 3)).graph.states == ()


def test_no_derivative_goes_through_a_state() -> None:
    kept = gg.zeros(3)

    def recurrent(x, w):
        kept.copy_(kept * 0.5 + x * w)
        return (kept * w).sum()

    program = gg.trace(recurrent, gg.spec(3), gg.spec(3, requires_grad=True))
    assert program.graph.states == (("kept", "kept_next"),)
    assert gg.check(program, torch=False).passed
    assert not kept.requires_grad and kept.grad_fn is None


def test_a_state_keeps_its_shape() -> None:
    class Growing(gg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", gg.zeros(2))

        def forward(self, x):
            self.seen = gg.cat([self.seen, x])
            return self.seen.sum()

    with pytest.raises(TraceError, match=r"seen is float32\[2\] before the call and float32\[4\] after it"):
        gg.trace(Growing(), gg.spec(2))


# --- compiled -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.25, None])
def test_three_batches_through_c(momentum: float | None, tmp_path: Path) -> None:
    bn = gg.nn.BatchNorm1d(3, momentum=momentum)

    def loss(x, weight, bias):
        loss = (gg.func.functional_call(bn, {"weight": weight, "bias": bias}, (x,)) ** 3).sum()
        return loss

    own = gg.spec(3, requires_grad=True)
    program = gg.trace(loss, x=gg.spec("N", 3, "L"), weight=own, bias=own)
    module = gg.build(program, out=tmp_path / f"bn{momentum is None:d}")
    model = module.Module(weight=np.ones(3, np.float32), bias=np.zeros(3, np.float32), **program.state)
    twin = gg.nn.BatchNorm1d(3, momentum=momentum)
    for k in range(3):
        value = model.forward(batch(k))
        wanted = (twin(gg.tensor(batch(k))) ** 3).sum()
        np.testing.assert_allclose(value, wanted.item(), rtol=1e-4, atol=1e-4)
        model.backward()
        wanted.backward()
        np.testing.assert_allclose(model.grad.weight, twin.weight.grad.numpy(), rtol=1e-4, atol=1e-4)
    mean, variance = RECORDED[momentum]
    np.testing.assert_allclose(model.running_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(model.running_var, variance, rtol=1e-5)
    assert model.num_batches_tracked == 3
    held = model.state_dict()
    assert list(held) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    again = module.Module(**held)
    np.testing.assert_array_equal(again.forward(batch(0)), model.forward(batch(0)))
    again.load_state_dict({**held, "running_mean": np.full(3, 7, np.float32)})
    np.testing.assert_array_equal(again.running_mean, np.full(3, 7))
    again.running_mean = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="running_mean must have shape"):
        again.running_mean = np.zeros(4, np.float32)
    value = np.empty((), np.float32)
    assert again.forward(batch(1), out=value) is value and again.num_batches_tracked == 4
    outputs, _ = module.value_and_grad(batch(0), np.ones(3, np.float32), np.zeros(3, np.float32), *program.state.values())
    assert outputs.num_batches_tracked_next == 1


def test_running_statistics_of_instances_as_torch() -> None:
    norm = gg.nn.InstanceNorm1d(3, momentum=0.25, track_running_stats=True)
    for k in range(3):
        norm(gg.tensor(batch(k)))
    np.testing.assert_allclose(norm.running_mean.numpy(), INSTANCE_MEAN, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy(), INSTANCE_VAR, rtol=1e-5)
    program = gg.trace(norm, gg.spec(4, 3, 2))
    assert [old for old, _ in program.graph.states] == ["running_mean", "running_var"]


def test_spectral_norm_keeps_its_vectors() -> None:
    layer = gg.nn.utils.spectral_norm(gg.nn.Linear(3, 4, bias=False))
    weight = layer.weight

    def total(x, w):
        return gg.func.functional_call(layer, {"weight_orig": w}, (x,)).sum()

    program = gg.trace(total, gg.spec(2, 3), gg.spec(4, 3, requires_grad=True))
    assert {old for old, _ in program.graph.states} == {"weight_u", "weight_v"}
    assert layer.weight is weight
    assert gg.check(program, torch=False).passed


def test_outputs_are_chosen_and_states_stay(tmp_path: Path) -> None:
    bn = gg.nn.BatchNorm1d(3, affine=False)

    def two(x):
        y = bn(x)
        total = y.sum()
        return y, total

    module = gg.build(gg.trace(two, gg.spec(4, 3)), out=tmp_path / "chosen", outputs="y")
    assert [t.name for t in module.info.outputs][:2] == ["y", "running_mean_next"]
    assert isinstance(module.Module(**gg.trace(two, gg.spec(4, 3)).state).forward(np.ones((4, 3), np.float32)), np.ndarray)


DRIVER = """
#include <stdio.h>
#include <string.h>
#include "kept.h"
static GRADGEN_ALIGNED unsigned char saved[KEPT_SAVED_BYTES], work[KEPT_WORK_BYTES + 1];
int main(void)
{
    float x[3] = {1, 2, 3}, w[3] = {1, 1, 1}, kept[3] = {4, 5, 6}, loss = 0, grad_w[3] = {0, 0, 0};
    for (int k = 0; k < 2; ++k) {
        memset(work, 0xff, sizeof work);
        if (kept_forward(x, w, kept, &loss, kept, saved, work) != GRADGEN_OK) return 1;
        memset(work, 0xff, sizeof work);
        if (kept_backward(x, w, kept, saved, NULL, grad_w, work, GRADGEN_SET_GRAD) != GRADGEN_OK) return 1;
        printf("%g %g %g %g %g\\n", (double)loss, (double)kept[0], (double)kept[2], (double)grad_w[0], (double)grad_w[2]);
    }
    if (kept_value_and_grad(x, w, kept, &loss, kept, grad_w, work, GRADGEN_SET_GRAD) != GRADGEN_OK) return 1;
    printf("%g %g\\n", (double)loss, (double)kept[0]);
    return kept_forward(x, w, kept, &loss, NULL, NULL, work) != GRADGEN_OK || kept[0] != 2.25f;
}
"""


@needs_c
@pytest.mark.parametrize("cc", C_COMPILERS)
def test_a_state_in_place(cc: str, tmp_path: Path) -> None:
    """The old state is read by all loops of the call and by backward, which comes when it is gone."""
    memory = gg.tensor([4.0, 5.0, 6.0])

    def kept(x, w):
        before = memory * 1.0
        memory.copy_(before * 0.5 + x)
        loss = (w * before + memory * w * w).flip(0).sum()
        return loss

    traced = gg.trace(kept, x=gg.spec(3), w=gg.spec(3, requires_grad=True))
    (state,) = traced.graph.states
    assert state == ("memory", "memory_next")
    folder = gg.emit(traced, "kept", out=tmp_path, in_place=True)
    (folder / "driver.c").write_text(DRIVER)
    made = program(cc, ["driver.c", "kept.c", "-O2", "-g", "-fsanitize=address,undefined"], folder)
    # kept: 4 5 6 -> 3 4.5 6 -> 2.5 4.25 6 -> 2.25; loss: sum of old and new; gradient: old + 2 new
    assert run_command([made], folder).splitlines() == ["28.5 3 6 10 18", "26.25 2.5 6 8 18", "25.125 2.25"]


# --- jit ----------------------------------------------------------------------------------------------------------------


def test_jit_changes_the_module_as_eager_use_does() -> None:
    nets = []
    for _ in range(2):
        gg.manual_seed(3)
        nets.append(gg.nn.Sequential(gg.nn.Linear(3, 4), gg.nn.BatchNorm1d(4, momentum=None)))
    plain, fast = nets[0], gg.jit(nets[1])
    rng = np.random.default_rng(0)
    for k in range(3):
        if k == 2:
            for net in nets:
                net.eval()
        x = gg.tensor(rng.normal(size=(6, 3)).astype(np.float32))
        for net, call in zip(nets, (plain, fast)):
            net.zero_grad()
            call(x).pow(3).sum().backward()
        for (name, a), (_, b) in zip(plain.state_dict().items(), nets[1].state_dict().items()):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
        for a, b in zip(plain.parameters(), nets[1].parameters()):
            np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-3, atol=1e-4)
    assert int(nets[1][1].num_batches_tracked) == 2


def test_jit_puts_attributes_in_place() -> None:
    plain, jitted = Counted(), Counted()
    fast = gg.jit(jitted)
    for k in range(3):
        x = gg.tensor(batch(k)[:, :, 0])
        np.testing.assert_allclose(fast(x).item(), plain(x).item(), rtol=1e-5)
    for name in ("count", "table", "hidden"):
        np.testing.assert_allclose(getattr(jitted, name).numpy(), getattr(plain, name).numpy(), rtol=1e-5)


def test_a_jitted_module_inside_a_trace() -> None:
    bn = gg.nn.BatchNorm1d(3, affine=False)
    fast = gg.jit(bn)
    fast(gg.ones(2, 3))
    mean = bn.running_mean.clone()
    program = gg.trace(lambda x: fast(x) * 2, gg.spec(4, 3))
    assert len(program.graph.states) == 3
    assert bool((bn.running_mean == mean).all())


def test_draws_and_states_together(tmp_path: Path) -> None:
    memory = gg.zeros(64)

    def both(x, w):
        y = gg.nn.functional.dropout(x * w, 0.5)
        memory.mul_(0.5).add_(y.detach())
        return y.sum()

    program = gg.trace(both, x=gg.spec(64), w=gg.spec(64, requires_grad=True))
    module = gg.build(program, out=tmp_path / "both")
    x, w = np.ones(64, np.float32), np.ones(64, np.float32)
    model = module.Module(w=w, **program.state, seed=4)
    kept = np.zeros(64, np.float32)
    for step in range(3):
        model.forward(x)
        model.zero_grad()
        model.backward()
        kept = kept * np.float32(0.5) + model.grad.w
        np.testing.assert_allclose(model.memory, kept, rtol=1e-6)
        assert model.step == step + 1
    again = pickle.loads(pickle.dumps((model.state_dict(), model.seed, model.step)))
    other = module.Module(**again[0], seed=again[1], step=again[2])
    np.testing.assert_array_equal(other.forward(x), model.forward(x))


def test_a_counter_may_be_called_step(tmp_path: Path) -> None:
    class Stepping(gg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("step", gg.tensor(5))
            self.register_buffer("grad", gg.zeros(1))

        def forward(self, x, w):
            self.step += 1
            return (x * w * self.step).sum()

    own = gg.spec(2, requires_grad=True)
    module = gg.build(gg.trace(Stepping(), gg.spec(2), own), name="stepping", out=tmp_path)
    model = module.Module(w=np.ones(2, np.float32), step=np.array(5))
    assert model.forward(np.ones(2, np.float32)) == 12 and model.step == 6

    class Drawing(Stepping):
        def forward(self, x):
            return super().forward(x, gg.rand(2))

    with pytest.raises(InvalidNameError, match="'step'"):
        gg.trace(Drawing(), gg.spec(2))

    class Grad(Stepping):
        def forward(self, x, w):
            self.grad += 1
            return (x * w).sum()

    with pytest.raises(InvalidNameError, match="'grad'"):
        gg.emit(gg.trace(Grad(), gg.spec(2), own), "named", out=tmp_path)
