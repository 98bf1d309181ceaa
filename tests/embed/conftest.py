"""Bundles of the handmade modules, written once per test run."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradgen.codegen.bundle import make_bundle, write_bundle
from tests.embed.handmade import ALL


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one bundle per handmade module."""
    folder = tmp_path_factory.mktemp("bundles") / "made"
    for name, make in ALL.items():
        write_bundle(make_bundle(make()), folder / name)
    return folder


@pytest.fixture(scope="session")
def single_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in single-file form."""
    folder = tmp_path_factory.mktemp("single") / "made"
    for name, make in ALL.items():
        write_bundle(make_bundle(make(), single_file=True), folder / name)
    return folder
