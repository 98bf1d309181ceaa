"""The handwritten digits, trained on an emulated Cortex-M4 with 64 KB of RAM.

    python examples/digits_mcu/train.py [FOLDER]

Emits the training step, compiles it with main.c by arm-none-eabi-gcc, runs it in QEMU, and draws loss and accuracy into
FOLDER/digits_mcu.png where matplotlib is installed.  FOLDER is build/digits_mcu unless given.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradgen as gg

HERE = Path(__file__).resolve().parent
BOARDS = HERE.parents[1] / "tests" / "targets" / "boards"
RAM = 64_000
BATCH, EPOCHS = 12, 12  # as in main.c
FLAGS = ("-mthumb", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-std=c99", "-O2", "-fno-math-errno",
         "-fno-trapping-math", "-ffp-contract=fast")


class Digits(gg.nn.Module):
    """64 grey levels to 10 digits, with one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = gg.nn.Linear(64, 64), gg.nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.out(gg.relu(self.hidden(x)))


def emit(out: Path) -> Path:
    """The C of a training step and of prediction, in a budget of RAM."""
    gg.manual_seed(1)
    net = Digits()

    def digits(x: Any, labels: Any) -> Any:
        logits = net(x)
        loss = gg.nn.functional.cross_entropy(logits, labels)
        return loss, logits

    program = gg.trace(digits, x=gg.spec(BATCH, 64), labels=gg.spec(BATCH, dtype=gg.int64))
    return Path(gg.emit(
        program, name="digits", out=out, target="cortex-m4", ram=RAM, train=gg.optim.SGD(lr=0.05, momentum=0.9),
        schedule=gg.optim.lr_scheduler.CosineAnnealingLR(T_max=EPOCHS * (1437 // BATCH)), values=program.state,
    ))


def run(bundle: Path) -> str:
    """What main.c prints on the machine."""
    sources = {BOARDS / "main.c": [], BOARDS / "cortex_m.c": [], HERE / "main.c": ["-include", str(BOARDS / "board.h")],
               bundle / "digits.c": []}
    objects = []
    for k, (source, more) in enumerate(sources.items()):
        compiler = ["arm-none-eabi-gcc", *FLAGS, *more, f"-I{bundle}", f"-I{HERE.parent / 'digits_c'}"]
        subprocess.run([*compiler, "-c", str(source), "-o", f"{k}.o"], cwd=bundle, check=True)
        objects.append(f"{k}.o")
    link = ["-T", str(BOARDS / "cortex_m.ld"), "--specs=rdimon.specs", "-lm"]
    subprocess.run(["arm-none-eabi-gcc", *FLAGS, *objects, *link, "-o", "digits.elf"], cwd=bundle, check=True)
    machine = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-serial", "none", "-monitor", "none",
               "-semihosting-config", "enable=on,target=native", "-kernel", "digits.elf"]
    return subprocess.run(machine, cwd=bundle, check=True, capture_output=True, text=True).stdout


def draw(epochs: list[tuple[float, float]], path: Path) -> None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        return
    figure, left = plt.subplots(figsize=(6, 3.5))
    numbers = range(1, len(epochs) + 1)
    left.plot(numbers, [loss for loss, _ in epochs], color="tab:blue", label="loss")
    right = left.twinx()
    right.plot(numbers, [share for _, share in epochs], color="tab:orange", label="accuracy")
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    right.set_ylabel("right, of images not trained on (%)")
    figure.legend(loc="center right")
    figure.savefig(path, bbox_inches="tight", dpi=150)


def main(folder: Path) -> int:
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(tool) is None:
            print(f"{tool} is not installed: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm")
            return 1
    folder.mkdir(parents=True, exist_ok=True)
    said = run(emit(folder))
    print(said, end="")
    found = re.findall(r"loss ([\d.]+)  right (\d+) of (\d+)", said)
    epochs = [(float(loss), 100 * int(right) / int(of)) for loss, right, of in found]
    draw(epochs, folder / "digits_mcu.png")
    ram = int(re.findall(r"ram (\d+)", said)[0])
    print(f"{epochs[-1][1]:.1f} % right with {ram:,} bytes of RAM")
    return 0 if epochs[-1][1] >= 97 and ram <= RAM else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/digits_mcu").resolve()))
