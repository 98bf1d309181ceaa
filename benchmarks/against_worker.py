"""The rows of `benchmarks/against.py` under one tree: reads questions as lines of JSON, answers in lines of JSON.

    python benchmarks/against_worker.py TREE

Run from a file: the cases and this harness are those beside it, gradgen and the goldens are those of the tree.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LEVELS = ("-O2", "-Os")
COLD = """import sys, tempfile; sys.path[:0] = [{tree!r}]
import gradgen as gg
from tests.golden import reference as known
factory, options = known.PROGRAMS[{name!r}] if {name!r} in known.PROGRAMS else (known.example({name!r}).program, {{}})
gg.build(factory(), name="cold", out=tempfile.mkdtemp(dir={folder!r}), **options)"""


def package(name: str, folder: Path) -> None:
    """Makes the folder the package of that name, whatever else is on the path."""
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


class Rows:
    """What can be asked of a tree.  A row is "run CASE PEER", "generate GOLDEN", "cold GOLDEN" or "text LEVEL GOLDEN"."""

    def __init__(self, tree: str) -> None:
        self.tree, self.folder = tree, tempfile.mkdtemp(prefix="gradgen-against-")
        main = importlib.import_module("benchmarks.__main__")
        self.cases = {c.name: c for c in main.all_cases() if c.measure is None}
        known = importlib.import_module("tests.golden.reference")
        self.goldens = {**known.PROGRAMS, **{n: (known.example(n).program, {}) for n in known.EXAMPLES}}
        self.ready: Callable[[int], float] | None = None

    def names(self) -> list[str]:
        found = [f"run {c.name} {p}" for c in self.cases.values() for p in c.makers if p.startswith("gradgen")]
        for g in self.goldens:
            found += [f"generate {g}", f"cold {g}", *(f"text {level} {g}" for level in LEVELS)]
        return found

    def open(self, name: str, quick: bool) -> dict[str, Any]:
        """Makes ready what is sampled; bytes have no samples."""
        self.ready = None
        kind, *rest = name.split()
        if kind == "text":
            return {"bytes": self.text(*rest)}
        return {"repeats": getattr(self, f"_{kind}")(*rest, quick)}

    def _run(self, case: str, peer: str, quick: bool) -> int:
        from benchmarks.harness import Setup, repeats_of, sample

        setup = Setup(quick=quick)
        one = self.cases[case]
        made = one.makers[peer](one.inputs(setup), setup)
        made.call()
        self.ready = lambda n: sample(made, n, time.process_time) / n
        return int(repeats_of(made))

    def _generate(self, golden: str, quick: bool) -> int:
        self.emitted(golden)  # what all programs share is there then
        self.ready = lambda n: self.emitted(golden)[0]
        return 1

    def _cold(self, golden: str, quick: bool) -> int:
        code = COLD.format(tree=self.tree, name=golden, folder=self.folder)

        def whole(n: int) -> float:
            cache = tempfile.mkdtemp(dir=self.folder)
            process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ, GRADGEN_CACHE_DIR=cache))
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            shutil.rmtree(cache)
            if status:
                raise RuntimeError(f"a build ended with status {process.returncode}")
            return used.ru_utime + used.ru_stime

        whole(1)
        self.ready = whole
        return 1

    def emitted(self, golden: str) -> tuple[float, Path]:
        """Seconds to trace and write, and where the files are."""
        import gradgen as gg

        factory, options = self.goldens[golden]
        out = tempfile.mkdtemp(dir=self.folder)
        begin = time.process_time()
        folder = gg.emit(factory(), name="golden", out=out, **options)
        return time.process_time() - begin, Path(folder)

    def text(self, level: str, golden: str) -> int:
        """Bytes of code and constants of the object file."""
        folder = self.emitted(golden)[1]
        source = folder / "golden.c"
        if not source.exists():  # one header: the implementation is asked for
            source.write_text('#define GOLDEN_IMPLEMENTATION\n#include "golden.h"\n')
        subprocess.run(["cc", "-std=c99", "-w", level, "-c", source.name, "-o", "size.o"], cwd=folder, check=True)
        lines = subprocess.run(["size", "size.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
        return int(lines.splitlines()[1].split()[0])

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if question["do"] == "rows":
            return {"rows": self.names()}
        if question["do"] == "open":
            return self.open(question["row"], question["quick"])
        assert self.ready is not None
        return {"seconds": self.ready(question["repeats"])}


def main() -> None:
    tree = sys.argv[1]
    sys.path[0] = tree
    package("benchmarks", HERE)
    rows = Rows(tree)
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        for line in sys.stdin:
            try:
                answer = rows.answer(json.loads(line))
            except Exception as error:
                answer = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:160]}
            print(json.dumps(answer), file=out, flush=True)
    finally:
        shutil.rmtree(rows.folder)


if __name__ == "__main__":
    main()
