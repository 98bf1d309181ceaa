"""Every public name is entered by some test: nothing is offered that fails in every call and nobody notices.

A function is entered where it has samples (tests/ops calls them all), under whatever name; an in-place method by the test
below, where its function has samples; everything else where a test says its name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.ops import table
from gradgen.reference.interpreter import evaluate
from tests.ops.cases import Case, all_cases

TESTS = Path(__file__).resolve().parents[1]
MODULES = (
    "gradgen", "gradgen.nn", "gradgen.nn.functional", "gradgen.nn.init", "gradgen.nn.utils", "gradgen.nn.utils.rnn",
    "gradgen.optim", "gradgen.optim.lr_scheduler", "gradgen.optim.swa_utils", "gradgen.linalg", "gradgen.special",
    "gradgen.func", "gradgen.autograd", "gradgen.autograd.functional", "gradgen.autograd.graph", "gradgen.utils",
    "gradgen.utils.data", "gradgen.random",
)


INTERNAL = frozenset({
    "NoDerivative", "Source", "capture", "current", "graph_hessian", "graph_hvp", "graph_jacobian", "moved_axis",
    "states_by_step", "stack_rows", "make_leaf", "release", "own_hooks",
})
"""Without an underscore, though gradgen's own modules alone have a use for them."""


def own(module: ModuleType) -> dict[str, Any]:
    """The public functions and classes of a module that are gradgen's."""
    found = {n: getattr(module, n) for n in dir(module) if not n.startswith("_") and n not in INTERNAL}
    return {
        n: v for n, v in found.items()
        if (inspect.isroutine(v) or inspect.isclass(v)) and str(getattr(v, "__module__", "")).startswith("gradgen")
    }


def methods(cls: type) -> dict[str, Any]:
    """Its public methods and properties, inherited ones left out."""
    found = {n: v for n, v in vars(cls).items() if not n.startswith("_") and (callable(v) or isinstance(v, property))}
    called_by_others = {"forward", "extra_repr", "reset_parameters"}
    return {n: v for n, v in found.items() if n not in INTERNAL | called_by_others}


def public_names() -> dict[str, Any]:
    """Path -> function, class, method or property."""
    found: dict[str, Any] = {}
    classes: set[type] = set()
    for name in MODULES:
        for n, value in own(importlib.import_module(name)).items():
            found[f"{name}.{n}"] = value
            if inspect.isclass(value) and value not in classes:
                classes.add(value)
                found |= {f"{name}.{n}.{m}": v for m, v in methods(value).items()}
    return found


def function_of(value: Any) -> Any:
    return inspect.unwrap(value.fget if isinstance(value, property) else value)


@cache
def words() -> frozenset[str]:
    """Every attribute, name and short string in the tests' code."""
    found: set[str] = set()
    for path in TESTS.rglob("*.py"):
        if path != Path(__file__):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name) | ast.FunctionDef(name=name):
                        found.add(name)
                    case ast.Constant(value=str(text)) if len(text) < 400:
                        found.update(re.findall(r"\w+", text))
    return frozenset(found)


def sampled() -> set[int]:
    """The functions that have samples, by identity."""
    found = set()
    for path in table.SAMPLES:
        namespace, _, name = path.rpartition(".")
        found.add(id(function_of(table.FUNCTIONS[namespace][name])))
    return found


def in_place_names() -> dict[str, list[Case]]:
    """In-place methods whose function has samples, with these."""
    cases: dict[int, list[Case]] = {}
    for case in all_cases():
        namespace, _, name = case.path.rpartition(".")
        if case.dtype == "float64":
            cases.setdefault(id(function_of(table.FUNCTIONS[namespace][name])), []).append(case)
    return {n: cases[key] for n, f in table.INPLACE.items() if (key := id(function_of(f))) in cases}


IN_PLACE = in_place_names()


def test_every_public_name_is_entered() -> None:
    known, said = sampled(), words()
    entered = {f"gradgen{home}.{n}" for n in IN_PLACE for home in (".Tensor", "")}
    missing = [
        path for path, value in public_names().items()
        if path not in entered and id(function_of(value)) not in known and path.rpartition(".")[2] not in said
    ]
    assert not missing, f"no test calls {missing}"


def interpreted(case: Case, call: Any) -> list[np.ndarray]:
    """The first argument and the results of `call(*arguments)`, traced and interpreted: nothing is compiled."""
    arrays: list[np.ndarray] = []

    def keep(array: np.ndarray, _: bool) -> Any:
        arrays.append(np.asarray(array))
        return gg.Tensor  # stands for the next argument

    args, kwargs = case.arguments(keep)
    names = [f"x{k}" for k in range(len(arrays))]
    scope: dict[str, Any] = {"call": lambda *given: call(*_filled(args, iter(given)), **kwargs)}
    exec(f"def function({', '.join(names)}):\n    return call({', '.join(names)})", scope)
    specs = {n: gg.spec(*a.shape, dtype=str(a.dtype)) for n, a in zip(names, arrays)}
    graph = gg.trace(scope["function"], name="m", **specs).graph
    return [arrays[0], *evaluate(graph.outputs, {n: arrays[names.index(n.name)] for n in graph.inputs})]


def _filled(args: Any, given: Any) -> list[Any]:
    return [type(a)(_filled(a, given)) if isinstance(a, (list, tuple)) else next(given) if a is gg.Tensor else a
            for a in args]


@pytest.mark.parametrize("name", sorted(IN_PLACE))
def test_in_place_is_the_function_written_into_its_tensor(name: str) -> None:
    """As a method and, where torch has it, as a function of the top level."""
    function = function_of(table.INPLACE[name])

    def written(way: Any) -> Any:
        def call(x: Any, *args: Any, **kwargs: Any) -> Any:
            x = x.clone()
            assert way(x, *args, **kwargs) is x
            return x

        return call

    for case in IN_PLACE[name]:
        before, *expected = interpreted(case, function)
        if expected[0].shape == before.shape:  # else it does not fit
            break
    for way in (getattr(gg.Tensor, name), getattr(gg, name, None)):
        if way is not None:
            for found, wanted in zip(interpreted(case, written(way))[1:], expected, strict=True):
                np.testing.assert_array_equal(found, wanted.astype(found.dtype))
