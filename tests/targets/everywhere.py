"""Every small golden program on every machine: `python -m tests.targets.everywhere [MACHINE ...]`.

The module's C compiles without a warning, at -Os and at -O3, and its self-test passes under the emulator; the workloads of
the costs train as they do here.  What a machine cannot hold is said: float64 where a double has 32 bits, more memory than
there is.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradgen as gg
from tests.golden.small import PROGRAMS
from tests.targets.costs import Bundle
from tests.targets.firmware import differences, training
from tests.targets.machines import HOST, MACHINES, SIZE, SPEED, Machine
from tests.targets.workloads import WORKLOADS


def outcome(machine: Machine, make: Callable[[], Any], options: dict[str, Any], out: Path) -> str:
    """"passed", or why it was not tried; raises AssertionError where something is wrong."""
    if options.get("threads"):
        return "threads"
    folder = Path(gg.emit(make(), name="made", out=out, target=machine.target, **options))
    text = (folder / "made.h").read_text() + (folder / "made.c").read_text()
    if machine.name == "avr" and "#error" in text:
        return "float64"
    for level in ("-Os", "-O3"):
        machine.compile(folder, ["made.c"], "made.o", "-c", *machine.strict, level)
    flags = SIZE if machine.memory < 1_000_000 else SPEED
    try:
        program_ = machine.program(folder, ["selftest.c", "made.c"], "selftest", "-std=c99", *flags)
    except AssertionError as error:
        if "will not fit" in str(error) or "overflowed" in str(error):
            return "too large"
        raise
    if machine.size and _ram(machine, program_) > machine.memory:
        return "too large"
    said = machine.run(program_)
    assert "all tests passed" in said, said
    return "passed"


def trained(machine: Machine, name: str, out: Path) -> str:
    """"as here"; raises AssertionError where a workload trains otherwise."""
    if machine.memory < 1_000_000 and name != "small":
        return "too large"
    ways = [training(Bundle.made(name, m, out / m.name).printed()) for m in (machine, HOST)]
    assert ways[0] and not differences(*ways), "\n".join(differences(*ways))
    return "as here"


def _ram(machine: Machine, program: Path) -> int:
    said = subprocess.run([machine.size, str(program)], capture_output=True, text=True, check=True).stdout
    _, data, bss = said.splitlines()[1].split()[:3]
    return int(data) + int(bss)


def main(names: list[str]) -> int:
    wrong = 0
    for machine in (MACHINES[n] for n in names or MACHINES):
        if machine.lacks():
            print(f"{machine.name}: {machine.lacks()}")
            continue
        tries: dict[str, Callable[[Path], str]] = {
            name: partial(outcome, machine, make, options) for name, (make, options) in PROGRAMS.items()}
        tries |= {f"trains {name}": partial(trained, machine, name) for name in WORKLOADS}
        for name, tried in tries.items():
            with tempfile.TemporaryDirectory(prefix="everywhere-") as folder:
                try:
                    said = tried(Path(folder))
                except AssertionError as error:
                    said, wrong = f"WRONG\n{error}", wrong + 1
            print(f"{machine.name} {name}: {said}", flush=True)
    return min(wrong, 100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
