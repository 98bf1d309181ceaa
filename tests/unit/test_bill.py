"""The bill: what it says of memory, stack and work is what the emitted C takes and does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import gradgen as gg
import gradgen.nn.functional as F
from gradgen.cli import main
from gradgen.errors import BudgetError, GradgenError
from gradgen.loops.bill import Bill

COMPILERS = {
    "portable": ["gcc"],
    "cortex-m4": ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
}


def weight(*shape: int) -> Any:
    return gg.spec(*shape, requires_grad=True)


def network(x: Any, w: Any, b: Any, v: Any, t: Any) -> Any:
    return F.cross_entropy(gg.relu(x @ w + b) @ v, t)


def images(x: Any, w: Any) -> Any:
    return F.max_pool2d(F.conv2d(x, w, padding=1).relu(), 2).square().mean()


def solved(a: Any, b: Any) -> Any:
    return gg.linalg.solve(a, b).square().sum() + gg.linalg.eigvalsh(a @ a.T).sum()


def rollout(x: Any, w: Any) -> Any:
    for _ in range(12):
        x = gg.sin(w @ x) + x.cos()
    return x.sum()


MODELS: dict[str, Any] = {
    "network": lambda: gg.trace(network, x=gg.spec("N", 20), w=weight(20, 24), b=weight(24), v=weight(24, 7),
                                t=gg.spec("N", dtype=gg.int64)),
    "images": lambda: gg.trace(images, x=gg.spec(2, 3, 12, 12), w=weight(4, 3, 3, 3)),
    "solved": lambda: gg.trace(solved, a=weight(6, 6), b=weight(6)),
    "rollout": lambda: gg.trace(rollout, x=gg.spec(5), w=weight(5, 5)),
}


def frames(folder: Path, compiler: list[str], level: str) -> dict[str, int]:
    """Bytes of the frame of each function, as the compiler says."""
    source = next(p for p in folder.glob("*.c") if p.stem not in ("example", "selftest"))
    command = [*compiler, "-std=c99", level, "-w", "-fstack-usage", "-c", source.name, "-o", "made.o"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    lines = [line.split("\t") for line in (folder / "made.su").read_text().splitlines()]
    return {name.rsplit(":", 1)[-1]: int(bytes_) for name, bytes_, _ in lines}


@pytest.mark.parametrize("target", COMPILERS)
@pytest.mark.parametrize("model", MODELS)
def test_no_frame_is_larger_than_the_stack_of_the_bill(model: str, target: str, tmp_path: Path) -> None:
    if shutil.which(COMPILERS[target][0]) is None:
        pytest.skip(f"{COMPILERS[target][0]} is not installed")
    program = MODELS[model]()
    folder = gg.emit(program, "made", tmp_path, target=target)
    bill = program.bill(name="made", target=target)
    for level in ("-O2", "-Os") if target == "cortex-m4" else ("-O2",):
        found = frames(folder, COMPILERS[target], level)
        for f in bill.functions:
            own = max(bytes_ for name, bytes_ in found.items() if name.startswith(f"made_{f.name}"))
            assert own <= f.stack, (f.name, own, f.stack)
        others = [b for name, b in found.items() if "_gg_" in name and "_any_" not in name]
        entry = max(b for name, b in found.items() if any(name.startswith(f"made_{f.name}") for f in bill.functions))
        assert entry + max(others, default=0) <= bill.stack
        assert bill.stack <= 4 * entry + 8192, "a bound that says nothing"


def test_sizes_are_those_of_the_header_and_the_manifest(tmp_path: Path) -> None:
    program = MODELS["network"]()
    folder = gg.emit(program, "made", tmp_path, target="cortex-m4")
    manifest = json.loads((folder / "made.json").read_text())
    bill = program.bill(name="made", target="cortex-m4")
    assert manifest["bill"] == bill.as_dict()
    header = (folder / "made.h").read_text()
    assert f"{bill.flash:,} bytes of code" in header and f"{bill.stack:,} of stack" in header
    at = bill.value(N=32)
    sizes = {"N": 32}
    for key, found in (("saved_bytes", at.saved), ("work_bytes", at.work)):
        assert eval(str(manifest[key]), {"__builtins__": {}, "min": min, "max": max}, sizes) == found


def test_what_is_done_is_counted() -> None:
    bill = gg.trace(lambda x, w: x @ w, x=gg.spec("N", 30), w=gg.spec(30, 20)).bill()
    (f,) = bill.functions
    n = 1000
    assert f.value({"N": n}).multiply_adds == n * 30 * 20
    bill = gg.trace(lambda x: (x * x).sum(), x=gg.spec("N", 3)).bill()
    (f,) = bill.functions
    assert f.value({"N": 7}).multiply_adds == 21
    assert f.value({"N": 7}).moved == 21 * 4 + 4


def test_tensors_lie_in_the_memory_that_is_counted() -> None:
    bill = MODELS["network"]().bill().value(N=100)
    for f in bill.functions:
        for h in f.held:
            total = f.work if h.space == "work" else bill.saved
            assert isinstance(h.offset, int) and isinstance(h.bytes, int) and isinstance(total, int)
            assert h.offset >= 0 and h.offset + h.bytes <= total and h.first <= h.last


def test_the_flash_is_about_what_the_compiler_makes(tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    for model in ("network", "images"):
        program = MODELS[model]()
        for optimise, level in (("size", "-Os"), ("speed", "-O2")):
            folder = gg.emit(program, "made", tmp_path, target="cortex-m4", optimise=optimise)
            frames(folder, COMPILERS["cortex-m4"], level)
            text = subprocess.run(["arm-none-eabi-size", "made.o"], cwd=folder, capture_output=True, text=True, check=True)
            made = int(re.split(r"\s+", text.stdout.splitlines()[1].strip())[0])
            said = program.bill(name="made", target="cortex-m4", optimise=optimise).flash
            assert 0.6 * made <= said <= 1.6 * made, (model, optimise, said, made)


def test_what_does_not_fit_is_refused_with_the_bill(tmp_path: Path) -> None:
    program = gg.trace(network, x=gg.spec(16, 20), w=weight(20, 24), b=weight(24), v=weight(24, 7),
                       t=gg.spec(16, dtype=gg.int64))
    for limit in ("flash", "ram", "stack"):
        with pytest.raises(BudgetError, match=limit):
            gg.emit(program, "made", tmp_path, target="cortex-m4", **{limit: 100})
    assert not list(tmp_path.iterdir())


def test_the_bill_is_printed(tmp_path: Path) -> None:
    script = tmp_path / "model.py"
    script.write_text("import gradgen as gg\n\ndef loss(x=gg.spec('N', 3), w=gg.spec(3, requires_grad=True)):\n"
                      "    return (x @ w).exp().mean()\n")
    found = CliRunner().invoke(main, ["size", f"{script}:loss", "--target", "cortex-m4", "--dim", "N=10"])
    assert found.exit_code == 0, found.output
    assert all(word in found.output for word in ("loss for cortex-m4", "flash", "SAVED", "WORK", "stack", "value_and_grad"))
    assert "N" not in found.output.split("function")[1].split("\n", 1)[1].replace("SAVED", ""), "at N = 10 all are numbers"
    found = CliRunner().invoke(main, ["size", f"{script}:loss", "--dim", "M=10"])
    assert found.exit_code == 2 and "dimension 'M'" in found.output
    with pytest.raises(GradgenError, match="'K'"):
        gg.trace(lambda x: x.exp(), x=gg.spec(3)).bill().value(K=1)
    assert isinstance(gg.bill(gg.trace(lambda x: x.exp(), x=gg.spec(3))), Bill)
