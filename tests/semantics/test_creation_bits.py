"""arange, linspace and logspace round as PyTorch does: bit for bit, but logspace, which is within two units."""

import json
from pathlib import Path

import numpy as np
import pytest

import gradgen as gg

RECORD = Path(__file__).parent / "data" / "ranges.json"
LENGTHS = (1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 100, 257)


def calls():
    """(name, arguments, dtype), from a fixed stream."""
    draw = np.random.RandomState(5)
    for n in LENGTHS:
        for dtype in ("float32", "float64"):
            start, end = (float(v) for v in draw.uniform(-5, 5, 2))
            step = float(draw.uniform(0.01, 1))
            yield "linspace", (start, end, n), dtype
            yield "arange", (start, start + step * (n - 0.5), step), dtype
            yield "logspace", (start / 3, end / 3, n), dtype
        yield "linspace", (int(draw.randint(-50, 50)), int(draw.randint(-(2**30), 2**30)), n), "int64"
        yield "arange", (-n, 3 * n, 3), "int32"


def digest(values):
    return (
        values.tobytes().hex()
        if values.size <= 8
        else f"{values.size} {np.frombuffer(values.tobytes(), np.uint8).sum()}"
        f" {values[:3].tobytes().hex()} {values[-3:].tobytes().hex()} {np.bitwise_xor.reduce(_words(values))}"
    )


def _words(values):
    return values.view({4: np.uint32, 8: np.uint64}[values.itemsize]) * (1 + np.arange(values.size) % 7).astype(
        {4: np.uint32, 8: np.uint64}[values.itemsize]
    )


def make(torch, name, args, dtype):
    return np.ascontiguousarray(getattr(torch, name)(*args, dtype=getattr(torch, dtype)).numpy())


def record(torch):
    exact = [digest(make(torch, *c)) for c in calls() if c[0] != "logspace"]
    RECORD.write_text(json.dumps(exact, indent=0) + "\n")


def test_bits_as_recorded():
    recorded = json.loads(RECORD.read_text())
    found = [digest(make(gg, *c)) for c in calls() if c[0] != "logspace"]
    assert found == recorded


def test_logspace_is_within_two_units():
    torch = pytest.importorskip("torch")
    for call in calls():
        if call[0] == "logspace":
            ours, theirs = make(gg, *call), make(torch, *call)
            # PyTorch's vectorised pow errs by up to one unit in the last place, NumPy's by one more
            np.testing.assert_array_max_ulp(ours, theirs, 2)


def test_the_record_is_pytorchs():
    torch = pytest.importorskip("torch")
    assert [digest(make(torch, *c)) for c in calls() if c[0] != "logspace"] == json.loads(RECORD.read_text())
