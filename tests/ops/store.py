"""Recorded results, in files of one array for all numbers and an index that says where each result lies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .symbolic import Outcome

DATA = Path(__file__).parent / "data" / "torch.npz"


def save(results: dict[str, Outcome | str], path: Path = DATA) -> None:
    numbers: list[np.ndarray] = []
    at = 0
    index: dict[str, Any] = {}

    def put(array: np.ndarray | None) -> Any:
        nonlocal at
        if array is None:
            return None
        flat = np.asarray(array).astype(np.float64).ravel()
        numbers.append(flat)
        at += flat.size
        return [at - flat.size, list(np.shape(array)), str(np.asarray(array).dtype)]

    for name, outcome in sorted(results.items()):
        if isinstance(outcome, str):
            index[name] = outcome
            continue
        index[name] = [
            [put(a) for a in group] if not isinstance(group, str) else group
            for group in (outcome.values, outcome.first, outcome.second)
        ]
    text = np.frombuffer(json.dumps(index, separators=(",", ":")).encode(), np.uint8)
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, numbers=np.concatenate(numbers), index=text)


def files() -> list[Path]:
    return sorted(DATA.parent.glob("*.npz"))


@cache
def _loaded(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    with np.load(path) as file:
        return file["numbers"], json.loads(bytes(file["index"]).decode())


def recorded(name: str, paths: Iterable[Path]) -> bool:
    """Whether one of the files has the case."""
    return any(name in _loaded(path)[1] for path in paths)


def load(name: str) -> Outcome | str | None:
    """The recorded result, the recorded error text, or None where nothing was recorded."""
    found = next((_loaded(path) for path in files() if name in _loaded(path)[1]), None)
    if found is None:
        return None
    numbers, index = found
    entry = index[name]
    if isinstance(entry, str):
        return entry

    def get(item: Any) -> np.ndarray | None:
        if item is None:
            return None
        start, shape, dtype = item
        return numbers[start:start + int(np.prod(shape))].reshape(shape).astype(dtype)

    return Outcome(*[g if isinstance(g, str) else [get(i) for i in g] for g in entry])  # type: ignore[arg-type]
