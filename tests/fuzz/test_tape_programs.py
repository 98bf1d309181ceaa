"""A trace means what the tape means: every construct by which they could part, and random programs, three ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradgen.trace import tape
from tests.fuzz.tape_programs import Program, grow
from tests.fuzz.three_way import PER_MODULE, compilable, interpreted, judged, through_c, torch_if_there

torch = torch_if_there()
BLOCK = 100
COMPILED = 100
BEGIN = ("v0 = x0 * 1.0", "v1 = x1 + x0")
CONSTRUCTS = {
    "set_grad_enabled": "T.set_grad_enabled(False)\nv0 *= 2\nT.set_grad_enabled(True)\nv0 *= v1",
    "inference_mode": "with T.inference_mode():\n    v2 = v0 * 2\nv0 = v0 + v2.clone()",
    "inference tensor saved": "with T.inference_mode():\n    v2 = v0 * 2\nv0 = v0 * v2",
    "written in inference mode": "with T.inference_mode():\n    v0 += 1",
    "inference tensor written": "with T.inference_mode():\n    v2 = v0 * 2\nv2 += 1",
    "enable_grad in no_grad": "with T.no_grad():\n    with T.enable_grad():\n        v0 *= v1\n    v0 += 1",
    "retain_grad": "v0.retain_grad()\nv1 = v0 * v1",
    "backward inside": "(v0 * v0).sum().backward(retain_graph=True)\nv1 = v1 * 2",
    "backward inside, put right": "(v0 * v0).sum().backward(retain_graph=True)\ng = x0.grad\nx0.grad = None\nv1 = v1 * g",
    "backward of what is freed": "v2 = (v0 * v0).sum()\nv2.backward()\nv1 = v1 * v2",
    "tensor hook": "v0.register_hook(lambda g: g * 2)",
    "hook of an argument": "x0.register_hook(lambda g: g * 2)",
    "node hook": "v0.grad_fn.register_hook(lambda i, o: None)",
    "post accumulate hook": "x0.register_post_accumulate_grad_hook(lambda p: None)",
    "a leaf inside": "v2 = v0.detach().requires_grad_()\n(v2 * v2).sum().backward()\nv1 = v1 * v2.grad",
    "checkpoint": "v2 = v0.detach().requires_grad_()\ng, = T.autograd.grad((v2 ** 3).sum(), v2)\nv1 = v1 + g * v0",
    "second order":
        "g, = T.autograd.grad((v0 ** 3).sum(), x0, create_graph=True)\nwith T.no_grad():\n    v1 += g\nv1 = v1 * g",
    "straight through": "v2 = v0 + (v0.round() - v0).detach()\nv1 = v1 * v2",
    "data assigned": "v2 = v0 * v0\nv0.data = T.ones(3, 2, dtype=T.float64)\nv1 = v1 * v0",
    "data assigned from data": "v0.data = v0.data * 2\nv1 = v1 * v0",
    "data of an argument assigned": "x0.data = x0.data * 2\nv1 = v1 * x0",
    "data of a view": "v2 = v0[1:]\nv2.data.mul_(2)\nv1 = v1 * v2.sum()",
    "saved, then data written": "v2 = v0.exp()\nv2.data.mul_(2)\nv1 = v1 * v2",
    "in place, then data written": "v0.exp_()\nv0.data.mul_(2)",
    "rows swapped": "t = v0[0].clone()\nv0[0] = v0[1]\nv0[1] = t",
    "names swapped": "v0, v1 = v1, v0\nv0 += 1\nv1 *= v0",
    "a view deleted": "v2 = v0.view(-1)\ndel v2\nv0 += 1",
    "rows filled": "v2 = T.zeros(3, 2, dtype=T.float64)\nfor i in range(3):\n    v2[i] = v0[i] * v1[i]\nv1 = v1 * v2",
    "rows filled unseen":
        "v2 = T.zeros(3, 2, dtype=T.float64)\nwith T.no_grad():\n    for i in range(3):\n        v2[i] = v0[i]\nv1 = v1 * v2",
    "base and view written": "v2 = v0.view(-1)\nv0.mul_(2)\nv2.add_(1)\nv1 = v1 + v2.view(3, 2)",
    "view of a view written": "v2 = v0.view(-1)[1:5].view(2, 2)\nv2.add_(v1[:2])\nv2.mul_(2)",
    "expanded view of what is written": "v2 = v0.unsqueeze(0).expand(2, 3, 2)\nv0[0] += 0.5\nv1 = v1 * v2.sum(0)",
    "one of several views written": "a, b, c = v0.unbind(0)\na.mul_(2)",
    "view made under no_grad": "with T.no_grad():\n    v2 = v0[0]\nv2 *= 2",
    "base of a view made under no_grad": "with T.no_grad():\n    v2 = v0[0]\nv0 *= 2\nv1 = v1 * v2",
    "view, then detached": "v2 = v0[0].detach()\nv0 *= 2\nv1 = v1 * v2",
    "squeeze_": "v2 = v0.unsqueeze(0) * 1\nv2.squeeze_(0)\nv1 = v1 * v2",
    "clone cut off": "v2 = v0.clone()\nv2.detach_()\nv2 += v1\nv1 = v1 * v2",
    "saved tensor cut off": "v2 = v0 * v0\nv0.detach_()\nv1 = v1 * v2",
    "no longer requires grad": "v2 = v0 * 2\nx0.requires_grad_(False)\nv1 = v1 * v2",
    "overlapping copy": "v0[1:] += v0[:-1]",
    "index_put_": "v0.index_put_((T.tensor([0, 0]),), v1[:2].clone(), accumulate=True)",
    "index_add_": "v0.index_add_(0, T.tensor([0, 2]), v1[:2])",
    "index_copy_": "v0.index_copy_(0, T.tensor([0, 2]), v1[:2].clone())",
    "scatter_": "v0.scatter_(0, T.tensor([[0, 1]]), v1[:1].clone())",
    "masked_scatter_": "v0.masked_scatter_(v0 > 0, v1)",
    "a mask that is known": "v0[T.tensor([True, False, True])] = v1[:2]",
    "fill_ keeps float64": "v0.fill_(0.7)\nv1[0] = 0.1",
    "versions": "k = v0._version\nv0 += 1\nv1 = v1 * (v0._version - k)",
    "questions": "v1 = v1 * (2 if v0.is_leaf else 3)\nv0 = v0 * (1 if v0.requires_grad else 5)",
    "an argument written": "with T.no_grad():\n    x0 += 1\nv1 = v1 * x0",
    "the data of an argument written": "x0.data.mul_(2)\nv1 = v1 * x0",
    "the name of an argument": "x0 = x0 + 1\nx0 += 1\nv1 = v1 * x0",
    "grad assigned": "v0.grad = v1.detach()\nv1 = v1 * v0.grad",
    "transform of a captured tensor": "v1 = v1 * T.func.grad(lambda a: (a * v0.sum()).sum())(v1)",
    "inplace=True": "v1 = v1 * T.nn.ReLU(inplace=True)(v0)",
    "forward hook of a module": "m = T.nn.ReLU()\nm.register_forward_hook(lambda m, i, o: o * 3)\nv1 = v1 * m(v0)",
}


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_construct(name: str) -> None:
    with interpreted():
        kind, text = judged(Program((*BEGIN, CONSTRUCTS[name]), ("v0", "v1"), 7), torch)
    assert kind != "wrong", text


@pytest.mark.parametrize("block", range(10))
def test_random_programs(block: int) -> None:
    found = []
    with interpreted():
        for seed in range(BLOCK * block, BLOCK * (block + 1)):
            program = grow(seed)
            kind, text = judged(program, torch)
            found.append(kind)
            assert kind != "wrong", f"seed {seed}\n{program.source}{text}"
    assert found.count("right") > BLOCK // 2


@pytest.mark.parametrize("module", range(COMPILED // PER_MODULE))
def test_random_programs_in_c(module: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O1")
    with interpreted():
        source = compilable(iter(range(1000 + 100 * module, 2000)))
        wrong = through_c([next(source) for _ in range(PER_MODULE)], tmp_path)
    assert not wrong, "\n".join(wrong)


def test_a_broken_trace_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tape's word most programs that write behind its back are wrong."""
    monkeypatch.setattr(tape, "grafted", lambda value, history: value)
    with interpreted():
        kinds = [judged(grow(seed), torch)[0] for seed in range(40)]
    assert kinds.count("wrong") > 5
