"""optimise="size" is smaller than optimise="speed", or the same: objects at -Os of every small golden and example."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import gradgen as gg
from tests.golden.reference import EXAMPLES, example
from tests.golden.small import PROGRAMS
from tests.targets.machines import MACHINES, SIZE

M4 = MACHINES["cortex-m4"]
pytestmark = pytest.mark.skipif(bool(M4.lacks()), reason=M4.lacks())

def text(folder: Path, name: str) -> int:
    object_ = M4.compile(folder, [f"{name}.c"], "sized.o", "-c", "-w", *SIZE)
    said = subprocess.run([M4.size, str(object_)], capture_output=True, text=True, check=True).stdout
    return int(said.splitlines()[1].split()[0])


def sizes(program: object, out: Path) -> tuple[int, int]:
    made = (gg.emit(program, "model", out / o, target="cortex-m4", optimise=o) for o in ("speed", "size"))
    speed, size = (text(Path(folder), "model") for folder in made)
    return speed, size


@pytest.mark.parametrize("name", PROGRAMS)
def test_goldens(name: str, tmp_path: Path) -> None:
    factory, _ = PROGRAMS[name]
    speed, size = sizes(factory(), tmp_path)
    assert size <= speed, (size, speed)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str, tmp_path: Path) -> None:
    speed, size = sizes(example(EXAMPLES[name]).program(), tmp_path)
    assert size <= speed, (size, speed)
