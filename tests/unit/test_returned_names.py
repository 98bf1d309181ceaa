"""Outputs are named after the variables in the function's own return statements."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import gradgen as gg


def nested(x: Any) -> Any:
    def double(y: Any) -> Any:
        twice = y * 2
        return twice

    loss = double(x).sum()
    return loss


def nested_behind(x: Any) -> Any:
    loss = x.sum()
    if loss is None:
        class Other:
            def method(self) -> Any:
                other = 1
                return other
    return loss


def early(x: Any, flag: bool = False) -> Any:
    loss = x.sum()
    if flag:
        return loss
    loss = loss * 2
    for _ in range(2):
        if flag:
            return None
    return loss


def of_two_minds(x: Any, flag: bool = False) -> Any:
    first, second = x.sum(), x.prod()
    if flag:
        return second, first
    return first, second


def partly(x: Any, flag: bool = False) -> Any:
    loss = x.sum()
    if flag:
        return loss, loss * 2
    return loss, x.prod()


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return result

    return wrapper


@logged
def decorated(x: Any) -> Any:
    energy = (x * x).sum()
    return energy


class Model:
    def forward(self, x: Any) -> Any:
        score = (lambda y: y.sum())(x)
        return score

    @staticmethod
    def fixed(x: Any) -> Any:
        value, rest = x.sum(), x.prod()
        return value, rest


CASES: list[tuple[Callable[..., Any], tuple[str, ...]]] = [
    (nested, ("loss",)), (nested_behind, ("loss",)), (early, ("loss",)), (of_two_minds, ("output0", "output1")),
    (partly, ("loss", "output1")), (decorated, ("energy",)), (Model().forward, ("score",)), (Model.fixed, ("value", "rest")),
    (lambda x: x.sum(), ("output",)),
]


@pytest.mark.parametrize(("function", "names"), CASES, ids=[f.__name__ for f, _ in CASES])
def test_names(function: Callable[..., Any], names: tuple[str, ...]) -> None:
    assert gg.trace(function, x=gg.spec(3)).graph.output_names == names
