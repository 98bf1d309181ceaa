"""For every test: the verifiers look at what each pass of the compiler makes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gradgen.compiler.verification import check
from gradgen.passes import observed


@pytest.fixture(scope="session", autouse=True)
def verified_passes() -> Iterator[None]:
    with observed(check):
        yield
