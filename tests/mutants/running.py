"""Runs tests on a copy of the project with one mutation in it.

The work tree is never touched, and every mutant has a compiler cache of its own, so that no code from before the mutation is
taken for its result.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.children import HANG

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (".git", "__pycache__", "*.so", ".*_cache", ".hypothesis", "dist", "build-*")


class MutationError(Exception):
    """The table does not fit the source, or the tests it names cannot be run."""


@dataclass(frozen=True)
class Mutant:
    """`old` occurs once in `file` and becomes `new`; `tests` are arguments of pytest, of which one must fail.

    `quick`: part of the sample that the suite runs.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    quick: bool = False

    def applied(self, text: str) -> str:
        """The source with the mutation.  MutationError where it does not fit."""
        count = text.count(self.old)
        if count != 1:
            raise MutationError(f"{self.name}: {self.file} has the text {count} times, not once:\n{self.old}")
        if self.old == self.new:
            raise MutationError(f"{self.name} changes nothing")
        return text.replace(self.old, self.new)


@contextmanager
def copy_of_the_project() -> Iterator[Path]:
    """A folder with the project's files, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="gradgen-mutants-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        yield copy


@contextmanager
def mutated(copy: Path, mutant: Mutant) -> Iterator[None]:
    """The copy with the mutation in it, as before afterwards."""
    path = copy / mutant.file
    before = path.read_text(encoding="utf-8")
    _put(path, mutant.applied(before))
    try:
        yield
    finally:
        _put(path, before)


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()  # it is taken for current where time in seconds and size are the same


def outcome(copy: Path, tests: Sequence[str]) -> tuple[bool, str]:
    """Whether the tests pass in the copy, and what pytest said.  MutationError where no test could be run."""
    with tempfile.TemporaryDirectory(prefix="gradgen-mutants-") as cache:
        environment = {**os.environ, "PYTHONPATH": str(copy), "GRADGEN_CACHE_DIR": cache}
        environment.pop("PYTEST_ADDOPTS", None)
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--no-header", *tests]
        try:
            done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=HANG)
        except subprocess.TimeoutExpired:
            return False, "hangs"
    if done.returncode not in (0, 1):
        raise MutationError(f"{' '.join(tests)}: pytest ends with {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.returncode == 0, done.stdout


def survives(copy: Path, mutant: Mutant) -> bool:
    """Whether all its tests pass on the mutant.  MutationError where the mutation or the tests do not fit."""
    with mutated(copy, mutant):
        return outcome(copy, mutant.tests)[0]
