"""Where PyTorch refuses a number of axes we refuse it, by an error of its type; where it computes, the shapes are equal."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from gradgen.ir import dtypes
from gradgen.ir.nodes import Input
from gradgen.ops import by_name

from .axis_counts import DATA, answer, calls, of_torch, paths

RECORDED: dict[str, dict[str, Any]] = json.loads(DATA.read_text())


OF_VALUES = ("out of bounds", "out of DATA bounds", "tried to access index", "ones in mask", "not positive-definite")
"""What PyTorch's errors say that come from values: nodes have none."""


def ours(path: str) -> dict[str, Any]:
    names = map("x{}".format, count())

    def node(array: Any) -> Input:
        return Input(next(names), array.shape, dtypes.dtype(array.dtype))

    def call(*args: Any, **kwargs: Any) -> Any:
        return by_name.call(path, args, kwargs)

    return {name: answer(call, node, args, kwargs) for name, args, kwargs in calls(path)}


@pytest.mark.parametrize("path", paths())
def test_like_pytorch(path: str) -> None:
    if path not in RECORDED:
        pytest.skip("PyTorch has no function of that name")
    declared = getattr(by_name.lookup(path)[1], "axes", None) is not None
    wrong = []
    for name, mine in ours(path).items():
        theirs = RECORDED[path][name]
        if isinstance(theirs, str) and not isinstance(mine, str) and any(text in theirs for text in OF_VALUES):
            continue
        if isinstance(mine, str) and isinstance(theirs, str) and not declared:
            mine, theirs = mine.partition(":")[0], theirs.partition(":")[0]
        if mine != theirs:
            wrong.append(f"{name}\n    ours  {mine}\n    torch {theirs}")
    assert not wrong, "\n".join(wrong)


def test_records_are_current() -> None:
    pytest.importorskip("torch")
    for path in list(RECORDED)[::9]:  # a sample: all of them are made by axis_counts.py
        assert of_torch(path) == RECORDED[path]
