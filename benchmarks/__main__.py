"""python -m benchmarks [CASE ...]: runs the cases and writes a table, a JSON file and a plot to benchmarks/results/."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import platform
import traceback
from dataclasses import asdict
from pathlib import Path

from benchmarks import cases as package
from benchmarks.harness import Case, Result, run

RESULTS = Path(__file__).parent / "results"


def all_cases() -> list[Case]:
    """Every case of benchmarks/cases, by file name."""
    found: list[Case] = []
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda i: i.name):
        found.extend(importlib.import_module(f"benchmarks.cases.{info.name}").CASES)
    return found


def row(case: Case, result: Result) -> str:
    own = result.timings["gradgen"]
    cells = [f"{case.name:<28} {1e6 * own.minimum:12.2f} us {1e6 * own.median:12.2f} us  first {own.first:6.2f} s"]
    for peer, timing in result.timings.items():
        if peer == "gradgen":
            continue
        target = case.targets.get(peer)
        ratio = result.ratio(peer)
        mark = "" if target is None else (f" (aim {target:.2g}{', met' if ratio <= target else ''})")
        cells.append(f"{peer} {1e6 * timing.minimum:.2f} us: {ratio:.3f}{mark}")
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", help="names, or parts of names; default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds per peer and case")
    parser.add_argument("--peers", default="torch,jax", help="comma-separated: torch, torch.compile, jax")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    chosen = [c for c in all_cases() if not options.cases or any(part in c.name for part in options.cases)]
    if options.list:
        print(*(c.name for c in chosen), sep="\n")
        return
    results = []
    for case in chosen:
        try:
            result = run(case, options.threads, options.peers.split(","), options.budget)
        except Exception:
            print(f"{case.name}: failed")
            traceback.print_exc()
            continue
        print(row(case, result), flush=True)
        results.append((case, result))
    write(results)


def write(results: list[tuple[Case, Result]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    data = {
        "machine": {"processor": platform.machine(), "python": platform.python_version()},
        "results": [asdict(r) for _, r in results],
    }
    (RESULTS / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    (RESULTS / "results.txt").write_text("\n".join(row(c, r) for c, r in results) + "\n")


if __name__ == "__main__":
    main()
