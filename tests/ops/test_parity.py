"""Every entry of the operation library against PyTorch: value, gradient, second derivative, at ordinary and edge
values.

The lowered graphs run in the reference interpreter, so that this tests lowering and differentiation and nothing else.
PyTorch's answers are recorded (tests/ops/record.py); where torch is installed the records are compared with it.
"""

from __future__ import annotations

import warnings

import pytest

from . import store, symbolic
from .cases import Case, all_cases
from .compare import differences
from .deviations import DEVIATIONS, compared

CASES = all_cases()


def ids(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_like_recorded_pytorch(case: Case) -> None:
    expected = store.load(case.name)
    if expected is None:
        pytest.fail(f"{case.name} is not recorded: run python -m tests.ops.record")
    if isinstance(expected, str):
        pytest.skip(f"PyTorch refuses: {expected}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = differences(symbolic.run(case), expected)
    wrong = [text for text in found if compared(case.path, case.number, text.partition("[")[0])]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(DEVIATIONS))
def test_deviations_are_real(name: str) -> None:
    """A deviation that has gone away is to be removed from the list."""
    kinds, _ = DEVIATIONS[name]
    cases = [c for c in CASES if f"{c.path}-{c.number}" == name]
    found = set()
    for case in cases:
        expected = store.load(case.name)
        assert expected is not None and not isinstance(expected, str)
        found |= {text.partition("[")[0] for text in differences(symbolic.run(case), expected)}
    assert found == set(kinds)


def test_records_are_current() -> None:
    """The recorded answers are those of the PyTorch that is installed."""
    pytest.importorskip("torch")
    from . import oracle

    stale = []
    for case in CASES[::7]:  # a sample: all of them are made by record.py
        live, recorded = oracle.run(case), store.load(case.name)
        if isinstance(live, str) or isinstance(recorded, str) or recorded is None:
            if isinstance(live, str) != isinstance(recorded, str):
                stale.append(case.name)
            continue
        if differences(live, recorded):
            stale.append(case.name)
    assert not stale
