"""The machines: a compiler, an emulator, and how a program gets from one to the other.

Emulators are deterministic and count exactly: instructions (QEMU with -icount, callgrind), cycles (simavr), fuel (wasmtime).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BOARDS = Path(__file__).parent / "boards"
HANGS = 300
"""Seconds after which an emulator is taken for stuck; none of what runs here takes ten."""

SPEED = ("-O2", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
SIZE = ("-Os", *SPEED[1:], "-ffunction-sections", "-fdata-sections")
QEMU = ("-display", "none", "-serial", "none", "-monitor", "none", "-semihosting-config", "enable=on,target=native",
        "-kernel", "{program}")  # fmt: skip
STRICT = (
    "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wfloat-conversion", "-Wshadow", "-Wdouble-promotion",
    "-Wcast-qual", "-Wmissing-prototypes", "-Werror",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """One machine.

    target    the name that gradgen knows it by
    compiler  command, and the flags that name the processor
    board     sources of boards/ beside main.c
    link      flags of a whole program
    bare      flags that link nothing but what is called: for sizes; () where the linker cannot
    emulator  command; {program} is the file.  () where it runs here
    unit      what its clock counts; "" where it has none
    memory    bytes of RAM that programs may have
    size      the `size` of its binutils, or "" where object files are another kind
    spared    a warning that says nothing there
    emulated  flags of programs that the emulator runs
    """

    name: str
    target: str
    compiler: tuple[str, ...]
    board: tuple[str, ...]
    link: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()
    unit: str = "instructions"
    memory: int = 4_000_000
    size: str = ""
    spared: str = ""
    emulated: tuple[str, ...] = ()

    @property
    def strict(self) -> tuple[str, ...]:
        """Flags under which the module's own C compiles without a word."""
        return tuple(f for f in STRICT if f != self.spared)

    def lacks(self) -> str:
        """What is not installed, in a word; empty where nothing is."""
        for tool in (self.compiler[0], *self.emulator[:1]):
            if shutil.which(tool) is None:
                return f"no {tool}"
        for module in ("ziglang", "wasmtime"):
            words = {*self.compiler, *self.emulator}
            if module in words and importlib.util.find_spec(module) is None:
                return f"no {module}"
        return ""

    def compile(self, folder: Path, sources: Sequence[str], output: str, *flags: str) -> Path:
        """One object or program of C sources of a folder; raises AssertionError with the compiler's words."""
        done = subprocess.run([*self.compiler, *sources, *flags, "-o", output], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{self.name}: {' '.join(done.args)}\n{done.stdout}{done.stderr}"
        return folder / output

    def program(self, folder: Path, sources: Sequence[str], output: str, *flags: str) -> Path:
        """A whole program: its main is called by the board's."""
        board = [str(BOARDS / name) for name in ("main.c", *self.board)]
        for k, source in enumerate(board):
            self.compile(folder, [source], f"board{k}.o", "-c", "-O1")
        objects = []
        for k, source in enumerate(sources):
            given = ("-include", str(BOARDS / "board.h"), *self.emulated)
            self.compile(folder, [source], f"{output}{k}.o", "-c", *given, *flags)
            objects.append(f"{output}{k}.o")
        return self.compile(folder, [*objects, *(f"board{k}.o" for k in range(len(board)))], output, *self.link)

    def run(self, program: Path) -> str:
        """What the program printed; raises AssertionError where it returned another status than 0."""
        command = [part.format(program=program) for part in self.emulator] or [str(program)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=HANGS)
        # simavr colours what comes through the UART, and shows the end of a line as a dot
        text = re.sub(r"^(?:\x1b\[0m)?\x1b\[32m(.*)\.$", r"\1", done.stdout, flags=re.M)
        assert re.search(r"^exit 0\b", text, re.M), f"{self.name}: status {done.returncode}\n{text[-2000:]}"
        return text

    def version(self) -> str:
        """Of the compiler: recorded numbers are those of one."""
        done = subprocess.run([*self.compiler[:1], "--version"], capture_output=True, text=True)
        return done.stdout.split("\n")[0]


def _cortex_m(name: str, board: str, *processor: str) -> Machine:
    return Machine(
        name, name,
        compiler=("arm-none-eabi-gcc", "-mthumb", *processor),
        board=("cortex_m.c",),
        link=("-T", str(BOARDS / "cortex_m.ld"), "--specs=rdimon.specs", "-lm"),
        bare=("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,-e,entry", "-lm"),
        emulator=("qemu-system-arm", "-M", board, "-icount", "shift=6", *QEMU),
        size="arm-none-eabi-size",
    )


def _riscv32() -> Machine:
    flash = ("__flash=0x80000000", "__flash_size=4M", "__ram=0x80400000", "__ram_size=4M")
    return Machine(
        "riscv32", "riscv32",
        # an ISA from before `zicsr` had a name of its own: the library is built for that name
        compiler=("riscv64-unknown-elf-gcc", "-march=rv32imac", "-mabi=ilp32", "-misa-spec=2.2", "--specs=picolibc.specs"),
        board=("riscv.c",),
        link=("--oslib=semihost", "--crt0=hosted", *(f"-Wl,--defsym={s}" for s in flash)),
        bare=("-nostartfiles", "-Wl,--gc-sections", "-Wl,-e,entry", "-lm", *(f"-Wl,--defsym={s}" for s in flash)),
        emulator=("qemu-system-riscv32", "-M", "virt", "-bios", "none", "-icount", "shift=0", *QEMU),
        size="riscv64-unknown-elf-size",
    )


def _here(target: str, *flags: str) -> Machine:
    return Machine(target, target, compiler=("gcc", *flags), board=("host.c",), link=("-lm",),
                   unit="", memory=1 << 30, size="size")


M0 = _cortex_m("cortex-m0", "mps2-an385", "-mcpu=cortex-m0")
M4 = _cortex_m("cortex-m4", "mps2-an386", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
M7 = _cortex_m("cortex-m7", "mps2-an500", "-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard")
RISCV32 = _riscv32()
AVR = Machine(
    "avr", "avr",
    compiler=("avr-gcc", "-mmcu=atmega1284p"),
    board=("avr.c",),
    link=("-lm",),
    bare=("-nostartfiles", "-Wl,--gc-sections", "-Wl,-e,entry", "-lm"),
    emulator=("simavr", "-m", "atmega1284p", "-f", "16000000", "{program}"),
    unit="cycles",
    memory=16_000,
    size="avr-size",
    spared="-Wdouble-promotion",  # a double is a float there, and NAN a double
    # simavr 1.6 takes adiw and sbiw of some constants for two words when a skip stands before them (buserror/simavr#361),
    # and goes on one instruction too late: this pass of the compiler makes such skips
    emulated=("-fno-peephole2",),
)
WASM = Machine(
    "wasm", "wasm",
    compiler=(sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi"),
    board=("wasm.c",),
    emulator=(sys.executable, "-m", "tests.targets.wasmtime_run", "{program}"),
    unit="fuel",
)
HOST = _here("portable")
MACHINES = {m.name: m for m in (_here("native"), HOST, _here("scalar"), M0, M4, M7, AVR, RISCV32, WASM)}
