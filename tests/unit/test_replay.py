"""Replay: a step taken again gives what it gave the first time, and whatever a replay cannot know is noticed."""

from __future__ import annotations

import numpy as np
import pytest

import gradgen as gg
from gradgen.eager import replay


def leaves():
    x = gg.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
    w = gg.tensor([[0.3, -0.2], [0.1, 0.7], [-0.4, 0.6]], requires_grad=True)
    b = gg.tensor([0.1, -0.3], requires_grad=True)
    return x, w, b


def loss_of(x, w, b):
    h = gg.tanh(x @ w + b)
    return h, (h * h).sum() + (w * 0.5).sum()


@pytest.fixture
def replays(monkeypatch):
    count = []
    run = replay.Program.run

    def counted(self, walk, keep):
        count.append(keep)
        run(self, walk, keep)

    monkeypatch.setattr(replay.Program, "run", counted)
    return count


def test_a_repeated_step_is_replayed_and_equal(replays):
    x, w, b = leaves()
    found = []
    for _ in range(5):
        h, loss = loss_of(x, w, b)
        loss.backward()
        found.append((loss.item(), h.tolist(), w.grad.tolist(), b.grad.tolist()))
        w.grad = b.grad = None
    assert len(replays) >= 2
    assert all(f == found[0] for f in found)


def test_gradients_accumulate_into_the_same_tensor(replays):
    x, w, b = leaves()
    kept, alone = None, np.zeros((3, 2))
    for k in range(6):
        loss_of(x, w, b)[1].backward()
        if k == 0:
            kept, alone = w.grad, np.array(w.grad.tolist())  # numpy() would share its memory, which is not replayed
        assert w.grad is kept
        np.testing.assert_allclose(w.grad.tolist(), (k + 1) * alone, rtol=1e-6)  # k roundings of float32 sums
    assert replays


def test_values_are_read_anew(replays):
    x, w, b = leaves()
    for k in range(5):
        with gg.no_grad():
            w.fill_(0.1 * k)
        _, loss = loss_of(x, w, b)
        loss.backward()
        h = np.tanh(x.numpy() @ np.full((3, 2), 0.1 * k, np.float32) + b.detach().numpy())
        wanted = x.numpy().T @ (2 * h * (1 - h * h)) + 0.5
        np.testing.assert_allclose(w.grad.numpy(), wanted, rtol=1e-4, atol=1e-6)  # float32, three-term sums
        w.grad = b.grad = None
    assert replays


def test_hooks_second_backwards_and_changes_are_noticed():
    x, w, b = leaves()
    for _ in range(4):
        loss_of(x, w, b)[1].backward()
    w.grad = b.grad = None
    seen = []
    handle = w.register_hook(lambda g: seen.append(1) or g * 2)
    loss_of(x, w, b)[1].backward()
    doubled = w.grad.numpy().copy()
    handle.remove()
    w.grad = b.grad = None
    _, loss = loss_of(x, w, b)
    loss.backward()
    assert seen == [1]
    np.testing.assert_allclose(doubled, 2 * w.grad.numpy(), rtol=1e-6)  # one rounding each
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()
    h, loss = loss_of(x, w, b)
    with gg.no_grad():
        h.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_retained_graphs_replay_too(replays):
    x, w, b = leaves()
    for _ in range(3):
        _, loss = loss_of(x, w, b)
        for k in range(3):
            loss.backward(retain_graph=True)
            if k == 0:
                first = w.grad.numpy().copy()
        np.testing.assert_allclose(w.grad.numpy(), 3 * first, rtol=1e-6)  # two roundings
        w.grad = b.grad = None
    assert True in replays
