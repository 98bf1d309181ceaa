"""Convolutions of other kinds, running sums and a logistic regression: shapes of real networks, against PyTorch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.harness import Case
from benchmarks.peers import gradients


def images(rng, n, channels, side, weight):
    return {"x": rng.normal(size=(n, channels, side, side)).astype("float32"),
            "w": (0.1 * rng.normal(size=weight)).astype("float32")}  # fmt: skip


def plain(**options: Any) -> Callable[..., Any]:
    return lambda ns, x, w: (ns.nn.functional.conv2d(x, w, **options) ** 2).mean()


def depthwise(ns, x, w):
    return (ns.nn.functional.conv2d(x, w, padding=1, groups=x.shape[1]) ** 2).mean()


def transposed(**options: Any) -> Callable[..., Any]:
    return lambda ns, x, w: (ns.nn.functional.conv_transpose2d(x, w, **options) ** 2).mean()


def convolution(
    name: str, function: Callable[..., Any], n: int, channels: int, side: int, weight: tuple[int, ...],
    quick: tuple[int, ...],
) -> Case:
    return gradients(name, images, function, ("x", "w"), size=(n, channels, side, weight),
                     quick=(2, quick[0], 8, quick[1:]), targets={"torch": 1.0}, tolerance=1e-3)  # fmt: skip


def matrix(rng, rows, columns):
    return {"x": rng.normal(size=(rows, columns)).astype("float32"), "v": rng.normal(size=(rows, columns)).astype("float32")}


def running(dim: int) -> Callable[..., Any]:
    return lambda ns, x, v: (x.cumsum(dim) * v).sum()


def table(rng, rows, columns):
    return {"x": rng.normal(size=(rows, columns)).astype("float32"), "y": (rng.random(rows) > 0.5).astype("float32"),
            "w": (0.1 * rng.normal(size=columns)).astype("float32")}  # fmt: skip


def regression(ns, x, y, w):
    return ns.nn.functional.binary_cross_entropy_with_logits(x @ w, y) + 0.01 * (w * w).sum()


CASES = [
    convolution("conv2d-depthwise", depthwise, 4, 64, 28, (64, 1, 3, 3), (4, 4, 1, 3, 3)),
    convolution("conv2d-groups-4", plain(padding=1, groups=4), 8, 64, 28, (64, 16, 3, 3), (8, 8, 2, 3, 3)),
    convolution("conv2d-3x3-stride-2", plain(padding=1, stride=2), 8, 64, 56, (128, 64, 3, 3), (4, 6, 4, 3, 3)),
    convolution("conv2d-7x7-stride-2", plain(padding=3, stride=2), 4, 3, 112, (64, 3, 7, 7), (3, 4, 3, 7, 7)),
    convolution("conv-transpose2d-4x4-stride-2", transposed(padding=1, stride=2), 8, 64, 14, (64, 32, 4, 4), (4, 4, 3, 4, 4)),
    gradients("cumsum-columns", matrix, running(0), ("x",), size=(256, 10000), quick=(7, 9), targets={"torch": 1.0},
              tolerance=1e-3),
    gradients("cumsum-rows", matrix, running(1), ("x",), size=(256, 10000), quick=(7, 9), targets={"torch": 1.0},
              tolerance=1e-3),
    gradients("logistic-regression-50000x100", table, regression, ("w",), size=(50000, 100), quick=(30, 5),
              targets={"torch": 1.0}, tolerance=1e-3),
]  # fmt: skip
