"""Every target's C on its machine: it compiles without a warning, passes its self-test, and trains as the host does."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import gradgen as gg
from tests.targets.costs import Bundle
from tests.targets.firmware import differences, training
from tests.targets.machines import HOST, MACHINES, SPEED, Machine

WORKLOAD = "small"


def installed(name: str) -> Machine:
    if MACHINES[name].lacks():
        pytest.skip(MACHINES[name].lacks())
    return MACHINES[name]


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
    assert len(found) > 20
    assert not differences(found, expected)
    sources = ["selftest.c", f"{WORKLOAD}.c"]
    assert "all tests passed" in machine.run(machine.program(bundle.folder, sources, "selftest", "-std=c99", *SPEED))


def test_float64_is_refused_by_name_where_a_double_is_short(tmp_path: Path) -> None:
    machine = installed("avr")
    program = gg.trace(lambda x: x.sin().sum(), name="wave", x=gg.spec(5, dtype=gg.float64))
    folder = Path(gg.emit(program, out=tmp_path, target="avr"))
    with pytest.raises(AssertionError, match=r"#error .wave computes in float64"):
        machine.compile(folder, ["wave.c"], "wave.o", "-c", "-std=c99", "-O1")


@pytest.mark.parametrize("name", ["portable", "scalar"])
def test_tcc(name: str, tmp_path: Path) -> None:
    """A small compiler: C99 and no more, blocks aligned all the same."""
    machine = replace(MACHINES[name], compiler=("tcc",))
    if machine.lacks():
        pytest.skip(machine.lacks())
    bundle = Bundle.made(WORKLOAD, machine, tmp_path)
    machine.compile(bundle.folder, ["selftest.c", f"{WORKLOAD}.c"], "selftest", "-lm")
    said = subprocess.run([bundle.folder / "selftest"], capture_output=True, text=True).stdout
    assert "all tests passed" in said, said


def test_blocks_are_aligned_as_the_module_asks(tmp_path: Path) -> None:
    """A small machine's module takes blocks at any multiple of 8, and refuses others."""
    machine = installed("scalar")
    bundle = Bundle.made(WORKLOAD, machine, tmp_path)
    text = (bundle.folder / "selftest.c").read_text()
    assert f"#define {WORKLOAD.upper()}_ALIGN 8 " in (bundle.folder / f"{WORKLOAD}.h").read_text()
    for bytes_, good in ((64, True), (8, True), (4, False)):
        (bundle.folder / "moved.c").write_text(behind(text, bytes_))
        program = machine.program(bundle.folder, ["moved.c", f"{WORKLOAD}.c"], "moved", "-std=c99", "-O1")
        if good:
            machine.run(program)
        else:
            with pytest.raises(AssertionError, match="FAILED: forward"):
                machine.run(program)


def behind(text: str, bytes_: int) -> str:
    """The self-test with both blocks so many bytes behind a multiple of 64."""
    block = rf"static GRADGEN_ALIGNED struct {{ unsigned char before[{bytes_}], block[\2]; }} own_\1;"
    declared = r"static GRADGEN_ALIGNED unsigned char (saved|work)\[(.*)\];"
    found, count = re.subn(declared, rf"{block}\n#define \1 own_\1.block", text)
    assert count == 2
    return found


def test_a_program_that_fails_is_noticed(tmp_path: Path) -> None:
    """On every machine that is there: what main returns comes back."""
    (tmp_path / "fails.c").write_text("int main(void)\n{\n    return 3;\n}\n")
    for machine in MACHINES.values():
        if not machine.lacks():
            program = machine.program(tmp_path, ["fails.c"], "fails", "-O1")
            with pytest.raises(AssertionError, match="exit 3"):
                machine.run(program)


def test_a_difference_is_noticed() -> None:
    here = training("loss 0 3f800000\nvalue w 3 bf000000\nbytes work 1 80\n\nexit 0\n")
    assert here == {"0": 1.0, "w 3": -0.5} and not differences(here, {"0": 1.0 + 2.0**-20, "w 3": -0.5})
    assert differences(here, {"0": 1.00002, "w 3": -0.5}) and differences(here, {"0": 1.0}) and differences({}, here)
