"""Every operation with sample inputs over axes of open length: traced once, it must do at every length what the trace of that
length does, value or error.  `python -m tests.ops.openings [pattern]` tries everything; the test of this name a part.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sympy

import gradgen as gg
from gradgen.errors import GradgenError
from gradgen.ir.evaluation import holds, integer
from gradgen.ir.graph import Graph
from gradgen.ir.reach import ReachError
from gradgen.ir.symbols import dim
from gradgen.reference.interpreter import evaluate

from .cases import Case, all_cases

SIZES = (0, 1, 2, 3, 7)
N = dim("N")
Opening = frozenset[tuple[int, int]]
"""Which axes are open: pairs of a tensor's number and an axis."""


class Slot:
    """Where a tensor goes in the arguments."""

    def __init__(self, number: int) -> None:
        self.number = number


def prepared(case: Case) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """The call as a function of its tensors, and their arrays."""
    arrays: list[np.ndarray] = []

    def slot(array: Any, _: bool) -> Slot:
        arrays.append(np.asarray(array))
        return Slot(len(arrays) - 1)

    args, keywords = case.arguments(slot)
    function: Any = gg
    for name in case.path.split("."):
        function = getattr(function, name)

    def run(*tensors: Any) -> Any:
        found = function(*(_filled(a, tensors) for a in args), **{k: _filled(v, tensors) for k, v in keywords.items()})
        return tuple(x for x in _flat(found) if hasattr(x, "shape"))

    return run, arrays


def _filled(value: Any, tensors: tuple[Any, ...]) -> Any:
    if isinstance(value, Slot):
        return tensors[value.number]
    return type(value)(_filled(v, tensors) for v in value) if isinstance(value, (list, tuple)) else value


def _flat(value: Any) -> list[Any]:
    return [x for v in value for x in _flat(v)] if isinstance(value, (tuple, list)) else [value]


def openings(arrays: list[np.ndarray]) -> list[Opening]:
    """Each axis alone, all axes of one extent, and all first, second, last, ... axes together."""
    places = [(k, d) for k, a in enumerate(arrays) for d in range(a.ndim)]
    found: dict[Opening, None] = {frozenset([p]): None for p in places}
    by_extent = defaultdict(set)
    for k, d in places:
        by_extent[arrays[k].shape[d]].add((k, d))
    found |= {frozenset(group): None for group in by_extent.values()}
    for d in range(4):
        found[frozenset((k, d) for k, a in enumerate(arrays) if a.ndim > d)] = None
        found[frozenset((k, a.ndim - 1 - d) for k, a in enumerate(arrays) if a.ndim > d)] = None
    return [o for o in found if o]


def resized(arrays: list[np.ndarray], opened: Opening, n: int) -> list[np.ndarray]:
    """The arrays with `n` elements along the open axes, repeating what there is."""
    found = []
    for k, a in enumerate(arrays):
        for d in range(a.ndim):
            if (k, d) in opened:
                empty = np.zeros((*a.shape[:d], n, *a.shape[d + 1:]), a.dtype)
                a = np.take(a, np.arange(n) % a.shape[d], axis=d) if a.shape[d] else empty
        found.append(a)
    return found


def traced(run: Callable[..., Any], arrays: list[np.ndarray], opened: Opening = frozenset()) -> Graph:
    specs = [gg.spec(*("N" if (k, d) in opened else e for d, e in enumerate(a.shape)), dtype=getattr(gg, str(a.dtype)))
             for k, a in enumerate(arrays)]
    return gg.trace(run, *specs, check=False).graph


def words(requirement: Any, n: int) -> tuple[str, str]:
    """What is raised where the condition does not hold at N = n."""
    parts = [p if isinstance(p, str) else str(int(integer(p, {N: n}))) for p in requirement.message]
    return requirement.error, "".join(parts)


def differences(case: Case, sizes: tuple[int, ...] = SIZES, most: int | None = None) -> Iterator[str]:
    """What is different between the open trace and the fixed ones; nothing is wanted."""
    run, arrays = prepared(case)
    for opened in openings(arrays)[:most]:
        label = f"{case.name} open {sorted(opened)}"
        try:
            graph = traced(run, arrays, opened)
        except ReachError as error:
            yield f"{label}: {error}"
            continue
        except Exception:
            continue
        for n in sizes:
            found = _at(run, graph, resized(arrays, opened, n), n)
            if found:
                yield f"{label} at {n}: {found}"


def _at(run: Callable[..., Any], graph: Graph, arrays: list[np.ndarray], n: int) -> str:
    try:
        fixed = traced(run, arrays)
    except Exception as error:
        broken = next((r for r in graph.conditions if not holds((r.condition,), {N: sympy.Integer(n)})), None)
        if broken is None:
            return f"nothing is said where eager use raises {type(error).__name__}: {error}"
        if not isinstance(error, GradgenError) and words(broken, n) != (type(error).__name__, str(error)):
            return f"{words(broken, n)}, and eagerly {type(error).__name__}: {error}"
        return ""
    broken = next((r for r in graph.conditions if not holds((r.condition,), {N: sympy.Integer(n)})), None)
    if broken is not None:
        return "" if "would drop axis" in words(broken, n)[1] or "taken for matrices" in words(broken, n)[1] else (
            f"refused for no reason: {words(broken, n)}")
    mine, theirs = _values(graph, arrays), _values(fixed, arrays)
    if isinstance(mine, str) or isinstance(theirs, str):
        return "" if isinstance(mine, str) and isinstance(theirs, str) else f"open {mine}, fixed {theirs}"
    if [a.shape for a in mine] != [a.shape for a in theirs]:
        return f"shapes {[a.shape for a in mine]}, fixed {[a.shape for a in theirs]}"
    same = all(np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True) for a, b in zip(mine, theirs))
    return "" if same else f"{mine}, fixed {theirs}"


def _values(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray] | str:
    """The outputs, or the name of what is raised (an index from data that is outside)."""
    try:
        with np.errstate(all="ignore"):
            return evaluate(list(graph.outputs), dict(zip(graph.inputs, arrays)))
    except Exception as error:
        return type(error).__name__


def cases(pattern: str = "") -> list[Case]:
    """One case a sample, whatever its dtypes."""
    found: dict[tuple[str, int], Case] = {}
    for case in all_cases():
        if re.search(pattern, case.path):
            found.setdefault((case.path, case.number), case)
    return list(found.values())


if __name__ == "__main__":
    count = 0
    for tried in cases(sys.argv[1] if len(sys.argv) > 1 else ""):
        for line in differences(tried):
            count += 1
            print(line, flush=True)
    print(f"{count} differences")
