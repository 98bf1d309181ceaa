"""The rules about reference counts, in this interpreter and in others."""

from __future__ import annotations

import sys

import pytest

from gradgen.eager import references


def test_this_interpreter_counts() -> None:
    assert references.HELD not in references._checked()


def test_counts_are_measured_not_assumed(monkeypatch) -> None:
    """An interpreter in which looking adds two more (or one that borrows, and adds one less) is measured right."""
    for off in (2, -1):
        monkeypatch.setattr(references, "_count", lambda x, off=off: sys.getrefcount(x) + off)
        assert references.HELD not in references._checked()


@pytest.mark.parametrize("count", [lambda _: 1, lambda _: sys.maxsize, lambda x: id(x)])
def test_without_counts_everything_is_held(monkeypatch, count) -> None:
    monkeypatch.setattr(references, "_count", count)
    with pytest.warns(RuntimeWarning, match="does not count references as gradgen expects"):
        assert references._checked() == (references.HELD,) * 3
    monkeypatch.setattr(references, "_count", sys.getrefcount)
    probe = references._Probe()
    assert references.keys_held({probe: 0}, (), references.HELD)
    assert references.places_held([None, probe], (0, 1), (0, 0), references.HELD) == [1]
    assert not references.alone(probe, references.HELD)
