"""Nests that are equal are one function: layers of one shape, and what the functions of a module have in common."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gradgen as gg
import gradgen.nn.functional as F
from gradgen.compiler.pipeline import programs, stages
from gradgen.loops.program import Program
from gradgen.loops.statements import NEST, Call
from gradgen.loops.walk import statements_in
from gradgen.options import Options


def layers(count: int, channels: int = 4) -> Any:
    def normal(h: Any, g: Any, b: Any) -> Any:
        m = h.mean((0, 2, 3), keepdim=True)
        v = h.var((0, 2, 3), keepdim=True, unbiased=False)
        return (h - m) / gg.sqrt(v + 1e-5) * g[:, None, None] + b[:, None, None]

    names = [f"{n}{k}" for k in range(count) for n in ("w", "g", "b")]

    def net(x: Any, *ws: Any) -> Any:
        for k in range(count):
            x = x + normal(F.conv2d(x, ws[3 * k], padding=1), ws[3 * k + 1], ws[3 * k + 2]).relu()
        return x.square().mean()

    shapes = ((channels, channels, 3, 3), (channels,), (channels,))
    specs = [gg.spec(*s, requires_grad=True) for _ in range(count) for s in shapes]
    space = {"net": net}
    exec(f"def layered(x, {', '.join(names)}):\n    return net(x, {', '.join(names)})", space)
    return gg.trace(space["layered"], x=gg.spec(2, channels, 6, 6), **dict(zip(names, specs)))


def scheduled(program: Any, **options: Any) -> dict[str, Program]:
    return {p.name: p for p in programs(stages(program.graph, Options(**options)))}


def calls(p: Program) -> list[str]:
    return [s.function.name for s in statements_in(p.statements) if isinstance(s, Call) and s.function.kind == NEST]


def test_layers_share_their_code() -> None:
    few, many = (scheduled(layers(n)) for n in (3, 6))
    for name, p in many.items():
        own = {n: sum(1 for _ in statements_in(q[name].statements)) for n, q in (("few", few), ("many", many))}
        assert len(calls(p)) > len(set(calls(p))), f"{name} calls no function twice"
        assert len(p.nests) <= len(few[name].nests) + 2, "more layers need no more functions"
        assert own["many"] < 2 * own["few"] + 20


def test_functions_of_a_module_share_their_code() -> None:
    made = scheduled(layers(4))
    names = {name: {p.name: p for p in program.nests} for name, program in made.items()}
    both = names["forward"].keys() & names["value_and_grad"].keys()
    assert both, "forward and value_and_grad have no function in common"
    assert all(names["forward"][n] is names["value_and_grad"][n] for n in both)


def test_short_modules_are_left_alone_unless_code_is_dear() -> None:
    assert not any(p.nests for p in scheduled(layers(1)).values())
    assert any(p.nests for p in scheduled(layers(1), optimise="size").values())


@pytest.mark.parametrize("options", [{}, {"optimise": "size", "target": "cortex-m4"}], ids=["speed", "size"])
def test_what_is_shared_computes_the_same(options: dict[str, Any], tmp_path: Any) -> None:
    program = layers(3)
    rng = np.random.default_rng(1)
    values = {n.name: rng.standard_normal(tuple(map(int, n.shape))).astype(np.float32) for n in program.graph.inputs}
    x = values.pop("x")
    net = gg.build(program, f"shared_{len(options)}", tmp_path, **options).Module(**values)
    loss = net.forward(x)
    net.backward()
    eager = {n: gg.tensor(v, requires_grad=True) for n, v in values.items()}
    wanted = program.function(gg.tensor(x), **eager)
    wanted.backward()
    np.testing.assert_allclose(loss, wanted.detach().numpy(), rtol=1e-5)
    for name, v in eager.items():
        assert v.grad is not None
        scale = float(np.abs(v.grad.numpy()).max())
        np.testing.assert_allclose(getattr(net.grad, name), v.grad.numpy(), rtol=1e-4, atol=1e-4 * scale)


def pyramid(widths: tuple[int, ...] = (3, 4, 6), side: int = 8) -> Any:
    """Convolutions that differ in extents alone: channels, strides' images, and numbers like one over a count."""
    names = [f"{n}{k}" for k in range(len(widths) - 1) for n in ("w", "b")]

    def net(x: Any, *ws: Any) -> Any:
        for w, b in zip(ws[::2], ws[1::2]):
            x = F.conv2d(x, w, stride=2, padding=1)
            spread = x.var((0, 2, 3), keepdim=True, unbiased=False)
            x = ((x - x.mean((0, 2, 3), keepdim=True)) / gg.sqrt(spread + 1e-5) * b[:, None, None]).relu()
        return x.square().mean()

    shapes = [shape for c, o in pairwise(widths) for shape in ((o, c, 3, 3), (o,))]
    specs = [gg.spec(*shape, requires_grad=True) for shape in shapes]
    space = {"net": net}
    exec(f"def deep(x, {', '.join(names)}):\n    return net(x, {', '.join(names)})", space)
    return gg.trace(space["deep"], x=gg.spec(2, widths[0], side, side), **dict(zip(names, specs)))


SIZE: dict[str, Any] = {"optimise": "size", "target": "cortex-m4"}


def test_nests_that_differ_in_extents_are_one_function_where_code_is_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    program = pyramid((3, 4, 6, 8, 10), 64)
    made = scheduled(program, **SIZE)
    monkeypatch.setattr("gradgen.schedule.cost.Costs.worth_one_function", lambda *args: False)
    apart = scheduled(program, **SIZE)
    with_, without = ({n: sum(1 for _ in p.walk()) for n, p in found.items()} for found in (made, apart))
    assert all(with_[n] < without[n] for n in made) and sum(with_.values()) < 0.9 * sum(without.values()), (with_, without)
    for p in made.values():
        for s in statements_in(p.statements):
            if isinstance(s, Call):
                assert len(s.scalars) == len(s.function.scalars) and len(s.pointers) == len(s.function.pointers)


@pytest.mark.parametrize("options", [{}, SIZE], ids=["speed", "size"])
def test_extents_as_arguments_compute_the_same_bits(options: dict[str, Any], tmp_path: Any, monkeypatch: Any) -> None:
    program = pyramid((3, 4, 6, 8), 16)
    rng = np.random.default_rng(2)
    values = {n.name: rng.standard_normal(tuple(map(int, n.shape))).astype(np.float32) for n in program.graph.inputs}

    def results(name: str) -> list[bytes]:
        module = gg.build(program, name, tmp_path, **options)
        found = module.value_and_grad(**values)
        return [np.asarray(v).tobytes() for v in (found[0], *found[1])]

    shared = results(f"with_extents_{len(options)}")
    monkeypatch.setattr("gradgen.schedule.cost.Costs.worth_one_function", lambda *args: False)
    assert results(f"without_extents_{len(options)}") == shared
