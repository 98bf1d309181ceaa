"""A C program around an emitted module that calls it on a machine: measures each function, and trains a few steps.

It is written from the bundle's manifest.  What it prints, a line each:

    cost FUNCTION N UNITS    of one call; the clock's own cost is taken off
    bytes saved N BYTES      what saved_bytes says, and work
    loss STEP BITS           of plain SGD on one batch, float32 as hexadecimal
    value NAME K BITS        some elements of the trained parameters
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tests.targets.workloads import Workload

STEPS, SHOWN = 5, 16
C_TYPES = {"float32": "float", "float64": "double", "int64": "int64_t", "int32": "int32_t", "bool": "uint8_t"}


ULP = 64
"""Of float32, for losses and parameters after the steps: contraction and the order of sums differ, nothing else."""


def training(printed: str) -> dict[str, float]:
    """Losses and parameters by the words before them."""
    found = {}
    for line in printed.splitlines():
        kind, *what, bits = line.split() or [""] * 2
        if kind in ("loss", "value"):
            found[" ".join(what)] = struct.unpack("<f", int(bits, 16).to_bytes(4, "little"))[0]
    return found


def differences(found: dict[str, float], expected: dict[str, float]) -> list[str]:
    """What is not there, or further from the host than rounding explains."""
    far = [f"{what}: {found[what]}, here {value}" for what, value in expected.items() if what in found
           and not abs(found[what] - value) <= ULP * np.spacing(np.float32(max(abs(value), 2**-8)))]
    return far + [f"{what}: only one has it" for what in found.keys() ^ expected.keys()]


@dataclass(frozen=True)
class Driver:
    """The text of the program around one bundle."""

    workload: Workload
    manifest: dict[str, Any]

    @classmethod
    def of(cls, workload: Workload, bundle: Path) -> Driver:
        return cls(workload, json.loads((bundle / f"{bundle.name}.json").read_text()))

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def open(self) -> bool:
        return bool(self.manifest["dims"])

    def text(self, sizes: tuple[int, ...], train: bool = True) -> str:
        measured = "\n".join(self._measured(f) for f in ("value_and_grad", "forward", "backward"))
        return "\n".join([
            f'#include "{self.name}.h"\n', "#include <stdio.h>", "#include <string.h>\n", *self._memory(max(sizes)), FILL,
            *self._fill(), f"static void measure(int64_t n)\n{{\n{MEASURE_HEAD}{self._sizes()}{measured}\n}}\n",
            *([self._train()] if train else []), "int main(void)\n{\n    fill();",
            *(f"    measure({n});" for n in sizes), *(["    train();"] if train else []), "    return 0;\n}\n",
        ])

    def entry(self, function: str = "value_and_grad") -> str:
        """A program that calls one function and nothing else, not even a library's start-up: what it weighs is linked."""
        call = f"    return (int){self._call(function, 'n')};" if function else "    return (int)n;"
        head = [*self._memory(1)] if function else []
        body = f"int entry(int64_t n);\nint entry(int64_t n)\n{{\n{call}\n}}\n"
        return "\n".join([f'#include "{self.name}.h"\n', *head, body])

    def _tensors(self, kind: str) -> Iterator[tuple[str, str, list[Any]]]:
        for of in self.manifest[kind]:
            yield of["name"], C_TYPES[of["dtype"]], of["shape"]

    def _parameters(self) -> list[tuple[str, int]]:
        return [(i["name"], prod(i["shape"])) for i in self.manifest["inputs"] if i["requires_grad"]]

    def _memory(self, n: int) -> Iterator[str]:
        for name, ctype, shape in [*self._tensors("inputs"), *self._tensors("outputs")]:
            yield f"static {ctype} {name}[{prod(n if e == 'N' else e for e in shape)}];"
        for name, count in self._parameters():
            yield f"static float grad_{name}[{count}];"
        dims = f"({n})" if self.open else ""
        for block in ("saved", "work"):
            size = f"{self.name.upper()}_{block.upper()}_BYTES{dims}"
            yield f"static GRADGEN_ALIGNED unsigned char {block}[{size} + ({size} == 0)];"

    def _fill(self) -> Iterator[str]:
        yield "static void fill(void)\n{"
        for k, (name, ctype, _) in enumerate(self._tensors("inputs")):
            count = f"sizeof {name} / sizeof {name}[0]"
            classes = self.workload.labels.get(name)
            if classes is not None:
                yield f"    for (size_t k = 0; k < {count}; k++) {{"
                yield f"        {name}[k] = ({ctype})((k * 7 + 3) % {classes});\n    }}"
            else:
                yield f"    fill_floats({name}, {count}, {k});"
        yield "}\n"

    def _call(self, function: str, n: str, flags: str = "GRADGEN_SET_GRAD") -> str:
        plain = {"dim": n, "flags": flags, "cotangent": "NULL"}
        arguments = [plain.get(p["kind"], p["name"]) for p in self.manifest["functions"][function]]
        return f"{self.name}_{function}({', '.join(arguments)})"

    def _measured(self, function: str) -> str:
        return f"""\
    before = board_clock();
    status = {self._call(function, "n")};
    after = board_clock();
    after = status == GRADGEN_OK ? after - before - idle : 0;
    printf("cost {function} %d %lu\\n", (int)n, (unsigned long)after);"""

    def _sizes(self) -> str:
        n = "n" if self.open else ""
        return "".join(
            f'    printf("bytes {block} %d %lu\\n", (int)n, (unsigned long){self.name}_{block}_bytes({n}));\n'
            for block in ("saved", "work"))

    def _train(self) -> str:
        n = max(self.workload.sizes)
        lines = [f"static void train(void)\n{{\n    for (int step = 0; step < {STEPS}; step++) {{"]
        lines += [f"        if ({self._call('value_and_grad', str(n))} != GRADGEN_OK) {{\n            return;\n        }}"]
        lines += ['        printf("loss %d %08lx\\n", step, bits(loss[0]));']
        for name, count in self._parameters():
            lines += [f"        for (int k = 0; k < {count}; k++) {{",
                      f"            {name}[k] -= {self.workload.rate}f * grad_{name}[k];", "        }"]
        lines += ["    }"]
        for name, count in self._parameters():
            lines += [f"    for (int k = 0; k < {count}; k += {-(-count // SHOWN)}) {{",
                      f'        printf("value {name} %d %08lx\\n", k, bits({name}[k]));', "    }"]
        return "\n".join([BITS, *lines, "}\n"])


FILL = """
/* Multiples of 1/64 between -1/2 and 1/2, exact everywhere. */
static void fill_floats(float *values, size_t count, unsigned of)
{
    for (size_t k = 0; k < count; k++) {
        values[k] = (float)(int)((unsigned)k * 37u % 61u + of * 13u) / 64.0f;
        values[k] -= (float)(int)(values[k] + 0.5f);
    }
}
"""
BITS = """\
static unsigned long bits(float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return (unsigned long)word;
}
"""
MEASURE_HEAD = """\
    uint32_t before = board_clock(), after = board_clock();
    const uint32_t idle = after - before;
    gradgen_status status;
    (void)n;
"""
