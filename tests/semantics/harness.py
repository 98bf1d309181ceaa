"""One text for two modules: a case is a function `case(torch, show, attempt)`, run with gradgen and with PyTorch.

What PyTorch 2.13 shows is recorded in `expected/<file>.json` (remake it with `python tests/semantics/harness.py`), so
the tests run where PyTorch is not installed; where it is, the record itself is checked.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CASES, EXPECTED = HERE / "cases", HERE / "expected"


def load(path: Path) -> dict[str, Callable[..., None]]:
    """The cases of one file, in the order they are written."""
    spec = importlib.util.spec_from_file_location(f"semantics_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {n: f for n, f in vars(module).items() if inspect.isfunction(f) and n.startswith("case_")}
    return {n.removeprefix("case_"): f for n, f in found.items()}


def all_cases() -> list[tuple[str, str]]:
    return [(path.stem, name) for path in sorted(CASES.glob("*.py")) for name in load(path)]


def run(case: Callable[..., None], torch: Any) -> list[str]:
    """What the case shows, line by line, addresses left out."""
    lines: list[str] = []

    def show(*values: Any) -> None:
        text = " ".join(str(v) for v in values)
        lines.extend(re.sub(r"0x[0-9A-Fa-f]+", "0x...", text).split("\n"))

    def attempt(function: Callable[[], Any]) -> None:
        try:
            value = function()
        except Exception as error:
            show(f"{type(error).__name__}: {error}")
        else:
            show("no error:", value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        case(torch, show, attempt)
    return lines


def recorded(stem: str) -> dict[str, list[str]]:
    path = EXPECTED / f"{stem}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def record() -> None:
    """Runs every case with PyTorch and writes what it shows."""
    torch = importlib.import_module("torch")
    EXPECTED.mkdir(exist_ok=True)
    for path in sorted(CASES.glob("*.py")):
        found = {}
        for name, case in load(path).items():
            try:
                found[name] = run(case, torch)
            except Exception as error:
                raise RuntimeError(f"{path.stem}.{name} fails with PyTorch") from error
        (EXPECTED / f"{path.stem}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        print(f"{path.stem}: {len(found)} cases")


def compare(names: list[str]) -> int:
    """Runs the cases with gradgen and prints the differences: for work on the front end."""
    gradgen = importlib.import_module("gradgen")
    bad = 0
    for path in sorted(CASES.glob("*.py")):
        expected = recorded(path.stem)
        for name, case in load(path).items():
            if names and name not in names and path.stem not in names:
                continue
            try:
                got = run(case, gradgen)
            except Exception as error:
                got = [f"CASE FAILED {type(error).__name__}: {error}"]
            if got != expected[name]:
                bad += 1
                print(f"--- {path.stem}.{name}")
                for k in range(max(len(got), len(expected[name]))):
                    a = expected[name][k] if k < len(expected[name]) else "(nothing)"
                    b = got[k] if k < len(got) else "(nothing)"
                    if a != b:
                        print(f"  torch   {a}\n  gradgen {b}")
    print(f"{bad} cases differ")
    return bad


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "compare":
        sys.exit(compare(sys.argv[2:]) > 0)
    record()
