"""What a training step costs on a machine, and that it trains there as it does here.

    python -m tests.targets.training            # the 64-64-10 network on a Cortex-M4, beside the aims

Instructions of a step per sample, bytes of the trainer behind its parameters and of the arena, and flash of train_step and
predict alone at -Os.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradgen as gg
import gradgen.nn.functional as F
from tests.targets.firmware import BITS, FILL
from tests.targets.machines import MACHINES, SIZE, SPEED, Machine

STEPS = 5


def network(x: Any, t: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    logits = gg.relu(x @ w1 + b1) @ w2 + b2
    loss = F.cross_entropy(logits, t)
    return loss, logits


def program(batch: Any, inside: int = 64, hidden: int = 64, classes: int = 10) -> Any:
    shapes = {"w1": (inside, hidden), "b1": (hidden,), "w2": (hidden, classes), "b2": (classes,)}
    return gg.trace(network, x=gg.spec(batch, inside), t=gg.spec(batch, dtype=gg.int64),
                    **{n: gg.spec(*s, requires_grad=True) for n, s in shapes.items()})


@dataclass(frozen=True)
class Step:
    """A training step: of how many samples a call, and with which of them open."""

    recipe: Callable[[], Any]
    samples: int
    open: bool = False
    shape: tuple[int, int, int] = (64, 64, 10)

    def emit(self, machine: Machine, out: Path, **options: Any) -> Path:
        made = program("N" if self.open else self.samples, *self.shape)
        return Path(gg.emit(made, name="net", out=out, target=machine.target, train=self.recipe(), **options))


STEPS_OF: Mapping[str, Step] = {
    "SGD, N = 1": Step(lambda: gg.optim.SGD(lr=0.125), 1),
    "momentum, N = 1": Step(lambda: gg.optim.SGD(lr=0.125, momentum=0.875), 1),
    "momentum, N = 1 of open": Step(lambda: gg.optim.SGD(lr=0.125, momentum=0.875), 1, open=True),
    "momentum, N = 32": Step(lambda: gg.optim.SGD(lr=0.125, momentum=0.875), 32),
    "momentum, N = 32 of open": Step(lambda: gg.optim.SGD(lr=0.125, momentum=0.875), 32, open=True),
    "Adam, N = 1": Step(lambda: gg.optim.Adam(lr=0.125), 1),
}


def driver(step: Step) -> str:
    inside, _, classes = step.shape
    n, dims = step.samples, f"{step.samples}, " if step.open else ""
    arena = f"NET_ARENA_BYTES({step.samples})" if step.open else "NET_ARENA_BYTES"
    return f"""
#include "net.h"
#include <stdio.h>
#include <string.h>
{FILL}
{BITS}
static net_trainer trainer;
static float x[{n * inside}], loss[1];
static int64_t t[{n}];
static GRADGEN_ALIGNED unsigned char arena[{arena} + 1];

int main(void)
{{
    fill_floats((float *)&trainer.p, sizeof trainer.p / sizeof(float), 1);
    fill_floats(x, sizeof x / sizeof x[0], 2);
    for (int k = 0; k < {n}; k++) {{
        t[k] = (k * 7 + 3) % {classes};
    }}
    net_reset(&trainer);
    const unsigned long zero = board_clock();
    const unsigned long idle = board_clock() - zero;
    for (int step = 0; step < {STEPS}; step++) {{
        const unsigned long before = board_clock();
        const gradgen_status status = net_train_step(&trainer, {dims}x, t, loss, arena);
        const unsigned long after = board_clock();
        if (status != GRADGEN_OK) {{
            return 1;
        }}
        printf("cost %lu\\n", after - before - idle);
        printf("loss %d %08lx\\n", step, bits(loss[0]));
    }}
    const float *const p = (const float *)&trainer.p;
    for (size_t k = 0; k < sizeof trainer.p / sizeof(float); k += 97) {{
        printf("value p %d %08lx\\n", (int)k, bits(p[k]));
    }}
    printf("bytes %lu %lu\\n", (unsigned long)(sizeof trainer - sizeof trainer.p), (unsigned long){arena});
    return 0;
}}
"""


def printed(step: Step, machine: Machine, folder: Path) -> str:
    """What the program prints on the machine."""
    bundle = step.emit(machine, folder)
    (bundle / "driver.c").write_text(driver(step))
    flags = [*machine.strict, *SPEED]
    return machine.run(machine.program(bundle, ["driver.c", "net.c"], "driver", *flags))


def flash(step: Step, machine: Machine, folder: Path, optimise: str) -> int:
    """Of a program that calls train_step and predict and nothing else, beside one that calls nothing."""
    bundle = step.emit(machine, folder, optimise=optimise)
    dims = f"{step.samples}, " if step.open else ""
    both = f"(int)net_train_step(t, {dims}x, labels, y, arena) + (int)net_predict(&t->p, {dims}x, y, arena)"
    calls = (f"return {both};", "(void)t, (void)x, (void)labels, (void)y, (void)arena; return 0;")
    head = "int entry(net_trainer *t, const float *x, const int64_t *labels, float *y, void *arena)"
    found = []
    for call in calls:
        (bundle / "entry.c").write_text(f'#include "net.h"\n{head};\n{head}\n{{\n    {call}\n}}\n')
        file = machine.compile(bundle, ["entry.c", "net.c"], "entry", *SIZE, *machine.bare)
        said = subprocess.run([machine.size, str(file)], capture_output=True, text=True, check=True).stdout
        text, data = said.splitlines()[1].split()[:2]
        found.append(int(text) + int(data))
    return found[0] - found[1]


def table(machine: Machine) -> list[tuple[str, int, int, int]]:
    """Instructions a sample, bytes of state, bytes of arena."""
    rows = []
    for name, step in STEPS_OF.items():
        with tempfile.TemporaryDirectory(prefix="training-") as folder:
            said = printed(step, machine, Path(folder))
        cost = int(re.findall(r"^cost (\d+)$", said, re.M)[-1])
        state, arena = re.findall(r"^bytes (\d+) (\d+)$", said, re.M)[0]
        rows.append((name, cost // step.samples, int(state), int(arena)))
    return rows


def main() -> int:
    machine = MACHINES["cortex-m4"]
    print(f"{'':28} {'instructions':>12} {'state':>8} {'arena':>8}")
    for name, cost, state, arena in table(machine):
        print(f"{name:28} {cost:12,} {state:8,} {arena:8,}", flush=True)
    for name in ("momentum, N = 1", "momentum, N = 1 of open"):
        with tempfile.TemporaryDirectory(prefix="training-") as folder:
            sizes = [flash(STEPS_OF[name], machine, Path(folder) / o, o) for o in ("size", "speed")]
        print(f"{name:28} flash {sizes[0]:,} for size, {sizes[1]:,} for speed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
