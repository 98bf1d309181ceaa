"""examples/digits_mcu: trained on the emulated machine in the RAM that it says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.reference import ROOT

LACKING = [t for t in ("arm-none-eabi-gcc", "qemu-system-arm") if shutil.which(t) is None]


@pytest.mark.slow
@pytest.mark.skipif(bool(LACKING), reason=f"no {', '.join(LACKING)}")
def test_it_learns_in_64_kilobytes(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "digits_mcu" / "train.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "98.6 % right with 59,906 bytes of RAM" in done.stdout
