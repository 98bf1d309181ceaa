"""What emitted C costs, in numbers that are the same in every run: instructions, bytes, calls of Python functions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gradgen as gg
from tests.targets.firmware import Driver
from tests.targets.machines import MACHINES, SIZE, SPEED, Machine
from tests.targets.workloads import WORKLOADS, Workload

FOR_HERE = ("-O3", "-march=haswell", "-fopenmp-simd", *SPEED[1:])
"""As modules are built, for one processor that valgrind knows, whatever the machine's own."""


def emit(program: Any, name: str, out: Path, target: str) -> Path:
    return Path(gg.emit(program, name=name, out=out, target=target))


@dataclass(frozen=True)
class Bundle:
    """A workload's C for one machine, in a folder of its own."""

    name: str
    workload: Workload
    machine: Machine
    folder: Path

    @classmethod
    def made(cls, name: str, machine: Machine, out: Path) -> Bundle:
        workload = WORKLOADS[name]
        return cls(name, workload, machine, emit(workload.program(name), name, out, machine.target))

    @cached_property
    def driver(self) -> Driver:
        return Driver.of(self.workload, self.folder)

    def printed(self, *flags: str, train: bool = True) -> str:
        """What the driver prints on the machine."""
        return self.machine.run(self._program(self.workload.sizes, train, *SPEED, *flags))

    def _program(self, sizes: tuple[int, ...], train: bool, *flags: str) -> Path:
        (self.folder / "driver.c").write_text(self.driver.text(sizes, train))
        return self.machine.program(self.folder, ["driver.c", f"{self.name}.c"], "driver", *self.machine.strict, *flags)

    def calls(self, *flags: str) -> dict[str, int]:
        """Units of the machine's clock, and bytes of memory, by "FUNCTION N"."""
        lines = (line.split() for line in self.printed(*flags, train=False).splitlines())
        found = {}
        for kind, *rest in lines:
            if kind in ("cost", "bytes"):
                what, n, number = rest
                assert int(number) or kind == "bytes", f"{self.name} on {self.machine.name}: {what} fails for N = {n}"
                found[f"{what} {n}" if self.driver.open else what] = int(number)
        return found

    def calls_here(self) -> dict[str, int]:
        """Instructions on this machine, by callgrind."""
        found = {}
        for n in self.workload.sizes:
            program = self._program((n,), False, *FOR_HERE)
            for function in ("value_and_grad", "forward", "backward"):
                command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no",
                           f"--toggle-collect={self.name}_{function}", str(program)]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
                counted = re.search(r"Collected : (\d+)", said)
                assert counted is not None, said
                found[f"{function} {n}" if self.driver.open else function] = int(counted.group(1))
        return found

    def bytes(self) -> dict[str, int]:
        """Of the object file at -Os: code with constants, and the largest frame; and of a program that calls
        value_and_grad alone, beside one that calls nothing."""
        flags = ("-c", "-fstack-usage", *self.machine.strict, *SIZE)
        object_ = self.machine.compile(self.folder, [f"{self.name}.c"], "sized.o", *flags)
        frames = [int(line.split("\t")[1]) for line in (self.folder / "sized.su").read_text().splitlines()]
        found = {"object": self._flash(object_), "frame": max(frames)}
        if self.machine.bare:
            linked = []
            for function in ("value_and_grad", ""):
                (self.folder / "entry.c").write_text(self.driver.entry(function))
                sources = ["entry.c", f"{self.name}.c"]
                linked.append(self._flash(self.machine.compile(self.folder, sources, "entry", *SIZE, *self.machine.bare)))
            found["linked"] = linked[0] - linked[1]
        return found

    def _flash(self, file: Path) -> int:
        """Code, constants and initial values: what must be stored."""
        said = subprocess.run([self.machine.size, str(file)], capture_output=True, text=True, check=True).stdout
        text, data = said.splitlines()[1].split()[:2]
        return int(text) + int(data)


def generation(name: str, target: str) -> int:
    """Calls of Python functions while a workload is traced and emitted, in a process of its own with a fixed hash seed."""
    done = subprocess.run(
        [sys.executable, "-c", _COUNTED, name, target], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2], env=_environment())
    return int(done.stdout)


def _environment() -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if k != "GRADGEN_DEBUG"}, "PYTHONHASHSEED": "0"}


_COUNTED = """
import sys, tempfile
from pathlib import Path
from tests.targets.costs import emit
from tests.targets.workloads import WORKLOADS

name, target = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    emit(WORKLOADS["small"].program("first"), "first", Path(folder), target)  # caches that any first program fills
    count = 0

    def counted(frame, event, argument):
        global count
        count += event == "call"

    sys.setprofile(counted)
    emit(WORKLOADS[name].program(name), name, Path(folder), target)
    sys.setprofile(None)
print(count)
"""

CASES = (
    ("cortex-m4", "linear"), ("cortex-m4", "network"), ("cortex-m4", "network_one"), ("cortex-m0", "linear"),
    ("avr", "small"), ("riscv32", "linear"), ("wasm", "linear"), ("portable", "linear"), ("portable", "network"),
)  # fmt: skip
"""Machine and workload of every row of costs.json."""


def measured(machine: Machine, name: str) -> dict[str, int]:
    """A row: what a workload costs on one machine."""
    with tempfile.TemporaryDirectory(prefix="targets-") as folder:
        bundle = Bundle.made(name, machine, Path(folder))
        found = bundle.calls() if machine.unit else bundle.calls_here()
        if machine.size:
            found |= bundle.bytes()
    return found


def wanted(machine: Machine) -> str:
    """What a row of this machine lacks; empty where it can be measured."""
    if not machine.unit and shutil.which("valgrind") is None:
        return "no valgrind"
    return machine.lacks()


def rows(words: list[str]) -> Iterator[tuple[str, Machine, str]]:
    """Key, machine and workload of the cases whose key contains every word."""
    for machine, name in CASES:
        key = f"{machine} {name}"
        if all(word in key for word in words):
            yield key, MACHINES[machine], name
