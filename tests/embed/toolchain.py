"""Compiling emitted C for tests: the strict flags, and every compiler that is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

STRICT = [
    "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wfloat-conversion", "-Wshadow", "-Wdouble-promotion",
    "-Wcast-qual", "-Wmissing-prototypes", "-Werror",
]  # fmt: skip
STRICT_CXX = [flag for flag in STRICT if flag != "-Wmissing-prototypes"]  # not a C++ warning in gcc
C_COMPILERS = [cc for cc in ("gcc", "clang") if shutil.which(cc)]
CXX_COMPILERS = [cxx for cxx in ("g++", "clang++") if shutil.which(cxx)]

needs_c = pytest.mark.skipif(not C_COMPILERS, reason="no C compiler")
needs_cxx = pytest.mark.skipif(not CXX_COMPILERS, reason="no C++ compiler")


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Runs a command that must succeed; its output."""
    done = subprocess.run([str(c) for c in command], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def program(cc: str, sources: Sequence[str], folder: Path, *flags: str, name: str = "program") -> Path:
    """Compiles and links C sources strictly; returns the program."""
    run([cc, "-std=c99", *STRICT, *flags, *sources, "-lm", "-o", name], folder)
    return folder / name
