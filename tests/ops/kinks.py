"""The derivatives at kinks, ties and zeros, row by row; `python -m tests.ops.kinks` writes docs/kinks.md from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kinks.md"
INF, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Kink:
    """`call(gg, *inputs)` is summed and differentiated at `inputs`; `gradients` is what comes out, one an input."""

    text: str
    call: Callable[..., Any]
    inputs: tuple[Any, ...]
    gradients: tuple[Any, ...]
    remark: str = ""
    like_torch: bool = True


def F(gg: Any) -> Any:
    return gg.nn.functional


KINKS = [
    Kink("relu(x)", lambda gg, x: F(gg).relu(x), (0.0,), (0.0,)),
    Kink("relu6(x)", lambda gg, x: F(gg).relu6(x), ([0.0, 6.0],), ([0.0, 0.0],)),
    Kink("leaky_relu(x, 0.01)", lambda gg, x: F(gg).leaky_relu(x), (0.0,), (0.01,), "the slope of the negative side"),
    Kink("elu(x, alpha=2)", lambda gg, x: F(gg).elu(x, 2.0), (0.0,), (2.0,), "the slope of the negative side"),
    Kink("hardtanh(x)", lambda gg, x: F(gg).hardtanh(x), ([-1.0, 1.0],), ([0.0, 0.0],), "unlike clamp"),
    Kink("hardsigmoid(x)", lambda gg, x: F(gg).hardsigmoid(x), ([-3.0, 3.0],), ([0.0, 0.0],)),
    Kink("hardswish(x)", lambda gg, x: F(gg).hardswish(x), ([-3.0, 3.0],), ([0.0, 1.0],)),
    Kink("hardshrink(x, 0.5)", lambda gg, x: F(gg).hardshrink(x), ([-0.5, 0.5],), ([0.0, 0.0],)),
    Kink("softshrink(x, 0.5)", lambda gg, x: F(gg).softshrink(x), ([-0.5, 0.5],), ([0.0, 0.0],)),
    Kink("threshold(x, 1, 5)", lambda gg, x: F(gg).threshold(x, 1.0, 5.0), (1.0,), (0.0,)),
    Kink("prelu(x, w)", lambda gg, x, w: F(gg).prelu(x, w), ([0.0], [0.25]), ([0.25], [0.0])),
    Kink("abs(x)", lambda gg, x: gg.abs(x), ([0.0, -0.0, NAN],), ([0.0, 0.0, 0.0],)),
    Kink("sign(x), floor(x), ceil(x), trunc(x), round(x)",
         lambda gg, x: gg.sign(x) + gg.floor(x) + gg.ceil(x) + gg.trunc(x) + gg.round(x), ([0.0, 0.3],), ([0.0, 0.0],),
         "0 everywhere"),
    Kink("frac(x)", lambda gg, x: gg.frac(x), ([0.0, 1.0],), ([1.0, 1.0],), "1 everywhere"),
    Kink("clamp(x, -1, 1)", lambda gg, x: gg.clamp(x, -1.0, 1.0), ([-1.0, 1.0, 2.0, NAN],), ([1.0, 1.0, 0.0, 0.0],),
         "the bounds belong to the inside"),
    Kink("clamp(x, 1, -1)", lambda gg, x: gg.clamp(x, 1.0, -1.0), ([0.0],), ([0.0],), "crossed: always max"),
    Kink("clamp_min(x, 0)", lambda gg, x: gg.clamp_min(x, 0.0), (0.0,), (1.0,)),
    Kink("clamp(x, min=a), a a tensor", lambda gg, x, a: gg.clamp(x, min=a), ([1.0, 0.0], [1.0, 1.0]),
         ([1.0, 0.0], [0.0, 1.0])),
    Kink("maximum(a, b)", lambda gg, a, b: gg.maximum(a, b), ([1.0], [1.0]), ([0.5], [0.5]), "a tie is halved"),
    Kink("minimum(a, b)", lambda gg, a, b: gg.minimum(a, b), ([1.0], [1.0]), ([0.5], [0.5])),
    Kink("fmax(a, b)", lambda gg, a, b: gg.fmax(a, b), ([1.0, NAN, 1.0], [1.0, 1.0, NAN]),
         ([1.0, 0.0, 1.0], [0.0, 1.0, 0.0]), "a tie goes to the first, a nan loses"),
    Kink("fmin(a, b)", lambda gg, a, b: gg.fmin(a, b), ([1.0], [1.0]), ([1.0], [0.0])),
    Kink("amax(x)", lambda gg, x: gg.amax(x), ([3.0, 3.0, 1.0],), ([0.5, 0.5, 0.0],), "ties share evenly"),
    Kink("max(x), min(x)", lambda gg, x: gg.max(x) + gg.min(x), ([3.0, 3.0, 1.0],), ([0.5, 0.5, 1.0],),
         "over all elements: evenly"),
    Kink("max(x, 0).values", lambda gg, x: gg.max(x, 0)[0], ([3.0, 3.0, 1.0],), ([1.0, 0.0, 0.0],),
         "along an axis: the first"),
    Kink("max_pool1d(x, 2)", lambda gg, x: F(gg).max_pool1d(x, 2), ([[3.0, 3.0, 1.0, 2.0]],), ([[1.0, 0.0, 0.0, 1.0]],),
         "the first"),
    Kink("prod(x)", lambda gg, x: gg.prod(x), ([2.0, 0.0, 3.0],), ([0.0, 6.0, 0.0],), "second derivatives too"),
    Kink("x ** 2", lambda gg, x: x**2, (0.0,), (0.0,)),
    Kink("x ** 0", lambda gg, x: x**0, (0.0,), (0.0,)),
    Kink("pow(x, p)", lambda gg, x, p: gg.pow(x, p), ([0.0, 0.0], [2.0, 0.0]), ([0.0, 0.0], [0.0, 0.0])),
    Kink("2 ** p, 0 ** p", lambda gg, p: gg.pow(0.0, p), ([0.0, 2.0],), ([0.0, 0.0],)),
    Kink("sqrt(x)", lambda gg, x: gg.sqrt(x), (0.0,), (INF,)),
    Kink("rsqrt(x), reciprocal(x)", lambda gg, x: gg.rsqrt(x) + gg.reciprocal(x), (0.0,), (-INF,)),
    Kink("norm(x)", lambda gg, x: gg.norm(x), ([0.0, 0.0],), ([0.0, 0.0],), "every order: 0 where the norm is 0"),
    Kink("norm(x, 1)", lambda gg, x: gg.norm(x, 1), ([0.0, 2.0],), ([0.0, 1.0],)),
    Kink("norm(x, inf)", lambda gg, x: gg.norm(x, INF), ([2.0, -2.0],), ([0.5, -0.5],), "ties share evenly"),
    Kink("norm(x, 0)", lambda gg, x: gg.norm(x, 0), ([0.0, 2.0],), ([0.0, 0.0],)),
    Kink("std(x)", lambda gg, x: gg.std(x), ([2.0, 2.0],), ([0.0, 0.0],), "of constants"),
    Kink("hypot(a, b)", lambda gg, a, b: gg.hypot(a, b), ([0.0], [0.0]), ([NAN], [NAN])),
    Kink("atan2(y, x)", lambda gg, a, b: gg.atan2(a, b), ([0.0], [0.0]), ([0.0], [0.0])),
    Kink("copysign(a, b)", lambda gg, a, b: gg.copysign(a, b), ([0.0, 2.0], [-1.0, -0.0]), ([0.0, -1.0], [0.0, 0.0])),
    Kink("sinc(x)", lambda gg, x: gg.sinc(x), (0.0,), (0.0,)),
    Kink("xlogy(x, y)", lambda gg, x, y: gg.xlogy(x, y), ([0.0, 0.0], [0.0, 2.0]), ([0.0, float(np.log(2.0))], [NAN, 0.0])),
    Kink("special.entr(x)", lambda gg, x: gg.special.entr(x), (0.0,), (INF,)),
    Kink("remainder(a, b), fmod(a, b)", lambda gg, a, b: gg.remainder(a, b) + gg.fmod(a, b), ([4.0], [2.0]),
         ([2.0], [-4.0]), "1 by a, minus the quotient by b"),
    Kink("where(x > 0, sqrt(x), 0)", lambda gg, x: gg.where(x > 0, gg.sqrt(x), 0.0), (-1.0,), (NAN,),
         "0 from sqrt's branch times its nan, as PyTorch; finite with nan_safe=True"),
    Kink("masked_fill(x, m, 0)", lambda gg, x: x.masked_fill(x > 0, 0.0), ([NAN, 1.0],), ([1.0, 0.0],)),
    Kink("logsumexp(x, 0)", lambda gg, x: gg.logsumexp(x, 0), ([-INF, 0.0],), ([0.0, 1.0],)),
    Kink("softmax(x, 0)[0]", lambda gg, x: F(gg).softmax(x, 0).narrow(0, 0, 1), ([1000.0, 0.0],), ([0.0, 0.0],)),
    Kink("logsigmoid(x), softplus(x)", lambda gg, x: F(gg).logsigmoid(x) + F(gg).softplus(x), ([-1000.0, 1000.0],),
         ([1.0, 1.0],)),
    Kink("binary_cross_entropy_with_logits(x, y)",
         lambda gg, x, y: F(gg).binary_cross_entropy_with_logits(x, y, reduction="sum"), ([-1000.0, 1000.0], [0.0, 0.0]),
         ([0.0, 1.0], [1000.0, -1000.0])),
    Kink("l1_loss(x, y)", lambda gg, x, y: F(gg).l1_loss(x, y), ([1.0], [1.0]), ([0.0], [0.0])),
    Kink("huber_loss(x, y), smooth_l1_loss(x, y)", lambda gg, x, y: F(gg).huber_loss(x, y) + F(gg).smooth_l1_loss(x, y),
         ([1.0], [0.0]), ([2.0], [-2.0]), "both sides agree in the first derivative"),
]


def show(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(show(v) for v in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def page() -> str:
    rows = "\n".join(
        f"| `{k.text}` | {', '.join(show(v) for v in k.inputs)} | {', '.join(show(g) for g in k.gradients)} | {k.remark} |"
        for k in KINKS
    )
    return (
        "# Derivatives at kinks, ties and zeros\n\n"
        "Where a derivative does not exist PyTorch has a convention, and gradgen has the same, in eager use and in emitted\n"
        "C.  Every row is a test (`tests/ops/test_kinks.py`), against the number here and against PyTorch where it is\n"
        "installed; this page is written by `python -m tests.ops.kinks`.  The gradient is that of the sum of the outputs.\n"
        "\n| function | at | gradient | |\n|---|---|---|---|\n" + rows + "\n\n"
        "A branch that is not taken contributes nothing: its derivative is selected, not multiplied by 0, so an infinity in\n"
        "it stays there.  What flows *into* a branch not taken is a gradient of 0, and 0 times an infinite slope further\n"
        "up is nan: that is the row `where(x > 0, sqrt(x), 0)`, and what the option `nan_safe=True` is for.\n\n"
        "Places where gradgen differs from PyTorch on purpose are listed, each with its reason, in\n"
        "`tests/ops/deviations.py`; they are second derivatives at kinks, and values that PyTorch rounds or cancels.\n"
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
