"""Runs a WASI program under wasmtime: `python -m tests.targets.wasmtime_run PROGRAM`.  Its clock is the fuel it has burnt."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from wasmtime import Config, Engine, ExitTrap, FuncType, Linker, Module, Store, ValType, WasiConfig

FUEL = 10**12


def main() -> int:
    config = Config()
    config.consume_fuel = True
    engine = Engine(config)
    store = Store(engine)
    store.set_fuel(FUEL)
    with tempfile.TemporaryDirectory() as folder:
        wasi = WasiConfig()
        wasi.stdout_file = str(Path(folder) / "out")
        store.set_wasi(wasi)
        linker = Linker(engine)
        linker.define_wasi()
        linker.define_func("board", "clock", FuncType([], [ValType.i32()]), lambda: _word(FUEL - store.get_fuel()))
        status = 0
        try:
            linker.instantiate(store, Module.from_file(engine, sys.argv[1])).exports(store)["_start"](store)
        except ExitTrap as ended:
            status = ended.code
        print((Path(folder) / "out").read_text(), end="")
    return status


def _word(count: int) -> int:
    """Of 32 bits, as wasmtime takes it: signed."""
    low = count & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


if __name__ == "__main__":
    sys.exit(main())
