"""The benchmarks run and their peers agree, on small sizes; nothing here looks at a clock."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the peers in C need gcc")

benchmarks = pytest.importorskip("benchmarks.__main__", reason="benchmarks/ is not part of an installed package")

from benchmarks import against, report  # noqa: E402
from benchmarks.harness import Case, Peer, Setup, alternate, distance, flat, run, start  # noqa: E402

TIMED = [c for c in benchmarks.all_cases() if c.measure is None]
# One size stands for the others of its function: in quick mode they are the same.
REPRESENTATIVES = {c.name: c for c in TIMED if not c.name.startswith("matmul") or "-32-" in c.name}
SKIPPED = ("elementwise-1e6", "elementwise-1e7", "bundle-adjustment-200000", "mixture-d10-k25-n10000",
           "mixture-d64-k50-n1000")


@pytest.mark.parametrize("name", [n for n in REPRESENTATIVES if n not in SKIPPED])
def test_peers_agree(name: str) -> None:
    result, ready = start(REPRESENTATIVES[name], Setup(quick=True), ("torch", "jax", "casadi"))
    assert not result.failed
    assert REPRESENTATIVES[name].own in ready


def test_names_are_unique_and_targets_name_peers() -> None:
    names = [c.name for c in benchmarks.all_cases()]
    assert len(set(names)) == len(names)
    for case in TIMED:
        assert set(case.targets) <= set(case.makers) | {"torch.compile"}
        assert case.own in case.makers


def constant(value: float) -> Peer:
    return Peer(lambda: np.full(3, value))


def test_a_peer_that_differs_is_reported() -> None:
    case = Case("c", lambda rng: {}, {"gradgen": lambda a, s: constant(1.0), "torch": lambda a, s: constant(1.1)})
    result = run(case, Setup(), budget=0.0)
    assert "differs" in result.failed["torch"]
    assert result.ratio("gradgen", "torch") is not None


def test_a_peer_that_fails_is_left_out() -> None:
    def broken(arrays, setup):
        raise ValueError("no")

    result = run(Case("c", lambda rng: {}, {"gradgen": lambda a, s: constant(1.0), "torch": broken}), Setup(), budget=0.0)
    assert result.failed == {"torch": "ValueError: no"}


def test_distance_and_flat() -> None:
    assert distance(flat((np.ones(2), {"a": [np.zeros(3)]})), [np.ones(2), np.zeros(3)]) == 0.0
    assert distance([np.ones(2)], [np.ones(3)]) == np.inf
    assert distance([np.array([np.nan])], [np.ones(1)]) == np.inf


def test_samples_alternate() -> None:
    times = alternate({"a": constant(1.0), "b": constant(2.0)}, 0.0)
    assert [len(t) for t in times.values()] == [3, 3]


def test_report(tmp_path: Path) -> None:
    timing = {"minimum": 1e-6, "median": 2e-6, "first": 1.0, "samples": 3}
    result = {"case": "notebook", "threads": 1, "timings": {"gradgen": timing, "torch": {**timing, "minimum": 4e-5}},
              "errors": {}, "failed": {}, "rows": {}, "accuracy": {}}
    assert "0.025x [aim 0.05: met]" in report.row(result)
    report.store(tmp_path, result)
    report.write(tmp_path)
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["results"]["notebook/1"] == result
    page = "\n".join(report.page(data))
    assert "| notebook | 1 us | 2 us | torch 0.025 (0.05) |" in page


def test_the_accuracy_reference_is_finer_than_float64() -> None:
    """Value and gradient of the elementwise case in long double, against mpmath."""
    mpmath = pytest.importorskip("mpmath")
    from benchmarks.accuracy import reference

    case = next(c for c in benchmarks.all_cases() if c.name == "elementwise-1e3")
    z = np.linspace(-3, 3, 7)
    value, gradient = reference(case, {"z": z})

    def body(x: Any) -> Any:
        return mpmath.tanh(x) / (1 + mpmath.exp(-x)) + mpmath.exp(-x * x)

    with mpmath.workdps(40):
        exact = sum(body(mpmath.mpf(x)) for x in z)
        slopes = [mpmath.diff(body, mpmath.mpf(x)) for x in z]
    unit = float(np.finfo(np.longdouble).eps)
    error = (value - np.longdouble(float(exact))) - np.longdouble(float(exact - mpmath.mpf(float(exact))))
    assert abs(float(error)) <= 20 * unit * abs(float(exact))
    for found, slope in zip(gradient, slopes, strict=True):
        high = float(slope)
        assert abs(float((found - np.longdouble(high)) - np.longdouble(float(slope - high)))) <= 20 * unit


class Answers:
    """A tree that answers what it is told to."""

    def __init__(self, opened: dict[str, Any], seconds: list[float]) -> None:
        self.opened, self.seconds = opened, iter(seconds)

    def ask(self, do: str, **question: Any) -> dict[str, Any]:
        return self.opened if do == "open" else {"seconds": next(self.seconds)}


def trees(opened: dict[str, dict[str, Any]], before: float = 1.0, again: float = 1.0, after: float = 1.0) -> dict[str, Any]:
    seconds = {"before": before, "again": again, "after": after}
    return {k: Answers(opened[k], [t * (1 + 0.001 * n) for n in range(5)]) for k, t in seconds.items()}


@pytest.mark.parametrize("again, after, good", [(1.0, 1.02, True), (1.0, 1.05, False), (1.1, 1.05, True), (1.1, 1.2, False),
                                                (0.9, 1.05, True), (1.0, 0.5, True)])
def test_slower_is_what_noise_does_not_explain(again: float, after: float, good: bool) -> None:
    same = {tree: {"repeats": 1} for tree in against.TREES}
    text, found = against.row(trees(same, again=again, after=after), "run x", 5, True)
    assert found is good
    assert ("SLOWER" in text) is not good


def test_more_bytes_and_failures_are_worse_and_what_is_new_is_not() -> None:
    def found(before: dict[str, Any], after: dict[str, Any]) -> bool | None:
        return against.row(trees({"before": before, "again": before, "after": after}), "text", 5, True)[1]

    assert found({"bytes": 10}, {"bytes": 10})
    assert found({"bytes": 10}, {"bytes": 11}) is False
    assert found({"bytes": 10}, {"failed": "no"}) is False
    assert found({"failed": "no"}, {"bytes": 10}) is None


def test_rows_of_this_tree(tmp_path: Path) -> None:
    """The worker of this very tree: rows, bytes, a time of the processor, and what it answers where it cannot."""
    worker = against.Worker(against.ROOT, tmp_path)
    try:
        assert "generate linear_bce" in against.rows(worker, ["generate"])
        assert worker.ask(do="open", row="text -O2 constants", quick=True)["bytes"] > 100
        assert worker.ask(do="open", row="generate constants", quick=True) == {"repeats": 1}
        assert worker.ask(do="sample", repeats=1)["seconds"] > 0
        assert "KeyError" in worker.ask(do="open", row="generate nothing", quick=True)["failed"]
    finally:
        worker.end()


def test_the_page_of_models_is_what_was_found() -> None:
    from benchmarks import models
    from benchmarks.models_report import written

    assert models.DOCS.read_text() == written(models.kept())
