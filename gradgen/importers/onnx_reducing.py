"""ONNX operators that reduce, scan and sort along axes, and Softmax and its like."""

from __future__ import annotations

import math
from typing import Any

from gradgen.importers.onnx_table import At, Int, Ints, Tensor, Value, entry, lib
from gradgen.ir import dtypes

# --- reductions ---------------------------------------------------------------------------------------------------------


def _over(data: Tensor, axes: Any, noop: int) -> tuple[int, ...] | None:
    """The axes to reduce; None where there is nothing to do."""
    if axes:
        return tuple(a % len(data.shape) for a in axes)
    return None if (noop and axes is not None) or noop else tuple(range(len(data.shape)))


def _prod(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    for a in sorted(dim, reverse=True):
        x = lib.prod(x, a, keepdim)
    return x


def _typed(function: Any) -> Any:
    """Integers stay what they are."""
    def call(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
        return function(x, dim, keepdim).to(x.dtype)

    return call


def _extreme(name: str) -> Any:
    def call(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
        if not any(e == 0 for e in (x.shape[a] for a in dim)):
            return lib(name)(x, dim, keepdim)
        least = -math.inf if x.dtype.is_floating_point else -(2 ** (31 if "32" in x.dtype.name else 63))
        fill = least if name == "amax" else math.inf if x.dtype.is_floating_point else -least - 1
        pads = [p for a in reversed(range(len(x.shape))) for p in (0, int(a in dim))]
        return lib(name)(lib("nn.functional.pad")(x, pads, value=fill), dim, keepdim)

    return call


def _norm1(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return lib.sum(lib.abs(x), dim, keepdim)


def _norm2(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    if x.dtype.is_floating_point:
        return lib("linalg.vector_norm")(x, 2, dim, keepdim)
    return lib.sqrt(lib.sum(x * x, dim, keepdim)).to(x.dtype)


def _mean(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    if x.dtype.is_floating_point:
        return lib.mean(x, dim, keepdim)
    return lib.div(lib.sum(x, dim, keepdim), math.prod(x.shape[a] for a in dim), rounding_mode="trunc")


_REDUCTIONS = {
    "ReduceL1": _typed(_norm1), "ReduceL2": _norm2, "ReduceLogSum": _typed(lambda x, d, k: lib.log(lib.sum(x, d, k))),
    "ReduceLogSumExp": _typed(lambda x, d, k: lib.logsumexp(x, d, k)),
    "ReduceMax": _extreme("amax"), "ReduceMin": _extreme("amin"),
    "ReduceMean": _typed(_mean), "ReduceProd": _typed(_prod), "ReduceSum": _typed(lambda x, d, k: lib.sum(x, d, k)),
    "ReduceSumSquare": _typed(lambda x, d, k: lib.sum(x * x, d, k)),
}
"""Functions of (tensor, axes, keepdims)."""
_BEFORE = {
    "ReduceL1": lib.abs, "ReduceL2": lib.abs, "ReduceLogSum": lib.log, "ReduceSumSquare": lambda x: x * x,
}
"""What is left of a reduction over no axes."""


def _reduction(name: str) -> Any:
    function = _REDUCTIONS[name]

    def reduce(data: Tensor, axes: Ints, keepdims: int, noop_with_empty_axes: int = 0) -> Tensor:
        over = _over(data, axes, noop_with_empty_axes)
        if over is None or not data.shape:
            return _BEFORE.get(name, lambda x: x)(data)
        if data.dtype is dtypes.bool_:
            return (lib.any if name == "ReduceMax" else lib.all)(data, over, bool(keepdims))
        return function(data, over, bool(keepdims))

    return reduce


_LAST = {"ReduceMax": 20, "ReduceMin": 20, "ReduceSum": 13, "ReduceLogSum": 28, "ReduceLogSumExp": 28}

for _name in _REDUCTIONS:
    entry(_name, 11, _LAST.get(_name, 18))(_reduction(_name))


def _arg(name: str) -> Any:
    def find(data: Tensor, axis: int, keepdims: int, select_last_index: int = 0) -> Tensor:
        if not select_last_index:
            return lib(name)(data, axis, bool(keepdims))
        return data.shape[axis] - 1 - lib(name)(lib.flip(data, (axis,)), axis, bool(keepdims))

    return find


entry("ArgMax", 11, 13)(_arg("argmax"))
entry("ArgMin", 11, 13)(_arg("argmin"))


# --- along an axis ------------------------------------------------------------------------------------------------------


def _cumulative(name: str, first: float) -> Any:
    def accumulate(x: Tensor, axis: Int, exclusive: int, reverse: int) -> Tensor:
        flipped = lib.flip(x, (axis,)) if reverse else x
        found = lib(name)(flipped, axis, dtype=x.dtype)
        if exclusive:
            at = axis % len(x.shape)
            pads = [p for a in reversed(range(len(x.shape))) for p in ((1, 0) if a == at else (0, 0))]
            found = lib.narrow(lib("nn.functional.pad")(found, pads, value=first), at, 0, x.shape[at])
        return lib.flip(found, (axis,)) if reverse else found

    return accumulate


entry("CumSum", 11, 14)(_cumulative("cumsum", 0))
entry("CumProd", 26)(_cumulative("cumprod", 1))


@entry("TopK", 10, 24, ignored="sorted")
def _top(X: Tensor, K: Int, axis: int, largest: int = 1) -> tuple[Tensor, ...]:
    """Equal elements in the order of their indices: a stable sort says so, and torch.topk does not."""
    values, indices = lib.sort(X, axis, bool(largest), True)
    return lib.narrow(values, axis, 0, K), lib.narrow(indices, axis, 0, K)


def _flat(function: Any) -> Any:
    """Before opset 13 the axes from `axis` on are one."""
    def call(input: Tensor, axis: int) -> Tensor:
        at = axis % len(input.shape)
        rows = input.reshape((math.prod(input.shape[:at]), -1))
        return function(rows, 1).reshape(tuple(input.shape))

    return call


def _hardmax(input: Tensor, axis: int) -> Tensor:
    place = lib.argmax(input, axis, True)
    return lib.scatter(input * 0, axis, place, 1.0)


for _op, _function in (("Softmax", lib.softmax), ("LogSoftmax", lib.log_softmax), ("Hardmax", _hardmax)):
    def _last(input: Tensor, axis: int, function: Any = _function) -> Tensor:
        return function(input, axis)

    entry(_op, 13)(_last)
    entry(_op, 1, 11)(_flat(_function))


# --- products -----------------------------------------------------------------------------------------------------------


@entry("Gemm", 7, 13)
def _gemm(A: Tensor, B: Tensor, C: Tensor, alpha: float, beta: float, transA: int, transB: int) -> Tensor:
    if transB and not transA and alpha == beta == 1 and C is not None and len(C.shape) == 1 and C.shape[0] == B.shape[0]:
        return lib("nn.functional.linear")(A, B, C)
    found = lib.matmul(A.t() if transA else A, B.t() if transB else B)
    found = found if alpha == 1 else found * _scalar(alpha, A)
    if C is None or beta == 0:
        return found
    return found + (C if beta == 1 else C * _scalar(beta, A))


def _scalar(value: float, like: Tensor) -> float | int:
    return value if like.dtype.is_floating_point else int(value)


@entry("Einsum", 12, 28)
def _einsum(Inputs: Value, equation: str, at: At) -> Tensor:
    return lib.einsum(equation.replace(" ", ""), *[at.tensor(v) for v in Inputs])
