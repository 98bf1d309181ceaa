"""Attention written in steps schedules as the composite operation does: the same products, nothing computed more often."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

import gradgen as gg
from gradgen.compiler.pipeline import stages
from gradgen.options import Options
from gradgen.schedule.allowed import ScheduleOptions
from gradgen.schedule.emit_plan import planned
from gradgen.schedule.inline import is_product
from gradgen.schedule.preparation import prepared

Attention = Callable[[Any, Any, Any], Any]


def in_batches(a: Any, b: Any) -> Any:
    """a @ b over [..., rows, columns] as one product of batches, as ATen writes it."""
    *lead, rows, width = a.shape
    count = math.prod(lead)
    flat = gg.bmm(a.expand(*lead, rows, width).reshape(count, rows, width), b.reshape(count, width, b.shape[-1]))
    return flat.reshape(*lead, rows, b.shape[-1])


def softmax_in_steps(x: Any) -> Any:
    powers = (x - x.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def unmasked(x: Any) -> Any:
    """softmax with zeros where a row is masked throughout, as ATen writes it."""
    weights = gg.softmax(x, -1)
    return gg.where((~(x == -math.inf)).any(-1, keepdim=True), weights, gg.zeros_like(weights))


composite: Attention = gg.nn.functional.scaled_dot_product_attention
IN_STEPS: dict[str, Attention] = {
    "softmax": lambda q, k, v: gg.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), -1) @ v,
    "steps": lambda q, k, v: softmax_in_steps(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5) @ v,
    "batches": lambda q, k, v: in_batches(softmax_in_steps(in_batches(q, k.transpose(-2, -1)) * q.shape[-1] ** -0.5), v),
    "aten": lambda q, k, v: in_batches(
        unmasked(in_batches(q * q.shape[-1] ** -0.25, k.permute(0, 1, 3, 2) * q.shape[-1] ** -0.25)), v,
    ).permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3),
}


def linear_in_steps(x: Any, w: Any, b: Any) -> Any:
    """A linear layer as ATen writes it: a product of matrices with the batch among the rows."""
    *lead, width = x.shape
    return gg.addmm(b, x.reshape(math.prod(lead), width), w.t()).reshape(*lead, w.shape[0])


def layer(attention: Attention, linear: Callable[..., Any]) -> Callable[..., Any]:
    """A transformer's layer with four heads."""

    def program(x: Any, wq: Any, wk: Any, wv: Any, wo: Any, w1: Any, w2: Any, b: Any, b1: Any, target: Any) -> Any:
        n, tokens, width = x.shape
        x = gg.nn.functional.layer_norm(x, (width,))
        heads = [linear(x, w, b).reshape(n, tokens, 4, width // 4).permute(0, 2, 1, 3) for w in (wq, wk, wv)]
        x = x + linear(attention(*heads).permute(0, 2, 1, 3).reshape(n, tokens, width), wo, b)
        x = x + linear(gg.nn.functional.gelu(linear(gg.nn.functional.layer_norm(x, (width,)), w1, b1)), w2, b)
        return (x * target).sum()

    return program


def products(attention: Attention, linear: Callable[..., Any], n: Any) -> Counter:
    """The multiplications of every product of value_and_grad, and whether it is a call of the matrix kernel."""
    tokens, width = 32, 64
    shapes = {"x": (n, tokens, width), **dict.fromkeys(("wq", "wk", "wv", "wo"), (width, width)),
              "w1": (2 * width, width), "w2": (width, 2 * width), "b": (width,), "b1": (2 * width,),
              "target": (n, tokens, width)}
    specs = {name: gg.spec(*shape, requires_grad=name != "target") for name, shape in shapes.items()}
    made = stages(gg.trace(layer(attention, linear), **specs).graph, Options())
    options = ScheduleOptions()
    plan = planned(prepared(next(p for p in made.procedures if p.name == "value_and_grad"), options), options)
    return Counter((str(math.prod(op.extents)), op in plan.contractions) for op in plan.ops if is_product(op.node))


@cache
def of_composite(n: Any) -> Counter:
    return products(composite, gg.nn.functional.linear, n)


@pytest.mark.parametrize("name", IN_STEPS)
@pytest.mark.parametrize("n", [2, "N"])
def test_the_same_products(n: Any, name: str) -> None:
    assert products(IN_STEPS[name], linear_in_steps, n) == of_composite(n)
