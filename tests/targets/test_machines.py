"""Every target's C on its machine: it compiles without a warning, passes its self-test, and trains as the host does."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.targets.costs import Bundle
from tests.targets.machines import HOST, MACHINES, SPEED, Machine

WORKLOAD = "small"
ULP = 64
"""Of float32, for losses and parameters after the steps: contraction and the order of sums differ, nothing else."""


def installed(name: str) -> Machine:
    if MACHINES[name].lacks():
        pytest.skip(MACHINES[name].lacks())
    return MACHINES[name]


def training(printed: str) -> dict[str, float]:
    """Losses and parameters by the words before them."""
    found = {}
    for line in printed.splitlines():
        kind, *what, bits = line.split()
        if kind in ("loss", "value"):
            found[" ".join(what)] = struct.unpack("<f", int(bits, 16).to_bytes(4, "little"))[0]
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    if HOST.lacks():
        pytest.skip(HOST.lacks())
    return training(Bundle.made(WORKLOAD, HOST, tmp_path_factory.mktemp("host")).printed())


@pytest.mark.parametrize("name", MACHINES)
def test_self_test_and_training(name: str, expected: dict[str, float], tmp_path: Path) -> None:
    machine = installed(name)
    bundle = Bundle.made(WORKLOAD, machine, tmp_path)
    found = training(bundle.printed())
    assert found.keys() == expected.keys() and len(found) > 20
    for what, value in expected.items():
        assert abs(found[what] - value) <= ULP * np.spacing(np.float32(max(abs(value), 2**-8))), what
    sources = ["selftest.c", f"{WORKLOAD}.c"]
    assert "all tests passed" in machine.run(machine.program(bundle.folder, sources, "selftest", "-std=c99", *SPEED))


def test_a_program_that_fails_is_noticed(tmp_path: Path) -> None:
    """On every machine that is there: what main returns comes back."""
    (tmp_path / "fails.c").write_text("int main(void)\n{\n    return 3;\n}\n")
    for machine in MACHINES.values():
        if not machine.lacks():
            program = machine.program(tmp_path, ["fails.c"], "fails", "-O1")
            with pytest.raises(AssertionError, match="exit 3"):
                machine.run(program)
