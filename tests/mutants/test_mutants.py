"""The table of mutants fits the source as it is now, and a sample is caught; `python -m tests.mutants` tries them all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.running import ROOT, Mutant, copy_of_the_project, survives
from tests.mutants.table import MUTANTS

SAMPLE = [m for m in MUTANTS if m.quick]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_the_table_fits_the_source(mutant: Mutant) -> None:
    """Code that moved on: say the mutation in its new words."""
    mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8"))
    files = [t for t in mutant.tests if t.startswith("tests/")]
    assert files and all((ROOT / f).exists() for f in files)


def test_names_are_told_apart() -> None:
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) and len({(m.file, m.old, m.new) for m in MUTANTS}) == len(MUTANTS)


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    with copy_of_the_project() as folder:
        yield folder


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler")
@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda m: m.name)
def test_a_mutant_is_caught(mutant: Mutant, copy: Path) -> None:
    assert not survives(copy, mutant)
    assert (copy / mutant.file).read_bytes() == (ROOT / mutant.file).read_bytes()
