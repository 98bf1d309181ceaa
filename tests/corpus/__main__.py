"""What a change does to emitted functions: results, size of code and time to generate, beside those of another commit.

    python -m tests.corpus --against main~3           # everything
    python -m tests.corpus --against main golden      # programs whose names contain "golden"
    python -m tests.corpus --record 250               # new random programs into programs.json (needs torch)

Both trees generate, build and run every program on the same inputs, the other one in a work tree of its own.  A program is
"same bits", within so many ulp, or different; exit status 1 where something differs by more than `--ulp` or fails newly.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def ran(tree: Path, folder: Path, names: list[str]) -> dict[str, Any]:
    """The corpus under one tree."""
    folder.mkdir()
    (folder / "names.json").write_text(json.dumps(names))
    environment = dict(os.environ, PYTHONPATH=str(tree), GRADGEN_CACHE_DIR=str(folder / "cache"), CFLAGS="-O2")
    environment.pop("GRADGEN_DEBUG", None)
    command = [sys.executable, str(HERE / "worker.py"), str(folder), str(folder / "names.json")]
    subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def apart(a: Path, b: Path) -> float:
    """The greatest difference of two results, in units of the last place of each array's largest element; inf for shapes
    or places of nan that differ."""
    worst = 0.0
    with np.load(a) as old, np.load(b) as new:
        if sorted(old.files) != sorted(new.files):
            return float("inf")
        for key in old.files:
            x, y = old[key], new[key]
            if x.shape != y.shape or x.dtype != y.dtype:
                return float("inf")
            if x.tobytes() == y.tobytes():
                continue
            if x.dtype.kind != "f" or not np.array_equal(np.isfinite(x), np.isfinite(y)):
                return float("inf")
            finite = np.isfinite(x)
            largest = np.abs(x[finite]).max(initial=np.finfo(x.dtype).tiny)
            worst = max(worst, float(np.abs(x[finite] - y[finite]).max(initial=0) / np.spacing(largest)), 0.01)
    return worst


def compare(before: dict[str, Any], after: dict[str, Any], folders: tuple[Path, Path], most: float) -> bool:
    """Prints what differs and the sums; True where nothing is worse."""
    kinds: Counter[str] = Counter()
    good = True
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or "failed" in old:
            kinds["not in both"] += 1
            continue
        if new is None or "failed" in new:
            print(f"{name}: {'gone' if new is None else new['failed']}")
            good = False
            continue
        difference = apart(folders[0] / f"{name}.npz", folders[1] / f"{name}.npz")
        kinds["same bits" if not difference else "within rounding" if difference <= most else "different"] += 1
        if difference > most:
            print(f"{name}: {difference:.3g} ulp of the largest element")
            good = False
    print(", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))
    both = [n for n in before if n in after and "failed" not in before[n] and "failed" not in after[n]]
    for key, unit in (("text", "bytes of object text at -O2"), ("c", "bytes of C"), ("seconds", "s to generate")):
        old, new = sum(before[n][key] for n in both), sum(after[n][key] for n in both)
        print(f"{unit}: {old:.4g} -> {new:.4g} ({new / old - 1:+.1%})")
        grown = sorted(((after[n][key] / before[n][key], n) for n in both if before[n][key]), reverse=True)[:5]
        if key != "seconds":
            print(*(f"    {ratio - 1:+.1%} {n}" for ratio, n in grown if ratio > 1.005), sep="\n")
    return good


def record(count: int) -> None:
    """Random programs that PyTorch runs, with the inputs that have gradients."""
    import torch

    sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
    from random_programs import expected, grow

    found = []
    for seed in range(50_000, 50_000 + count):
        program = grow(seed, torch)
        try:
            wanted = expected(program, torch, "float64")[2]
        except RuntimeError:  # PyTorch cannot differentiate it
            continue
        found.append({"seed": seed, "source": program.source, "shapes": program.shapes,
                      "wanted": [k for k in range(len(program.shapes)) if wanted[f"x{k}"] is not None]})
    (HERE / "programs.json").write_text("[\n" + ",\n".join(json.dumps(p) for p in found) + "\n]\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--against", default="HEAD", help="a commit")
    parser.add_argument("--ulp", type=float, default=64.0, help="of the largest element: sums in another order")
    parser.add_argument("--record", type=int, default=0)
    options = parser.parse_args()
    if options.record:
        record(options.record)
        return 0
    with tempfile.TemporaryDirectory(prefix="corpus-") as name:
        base = Path(name)
        tree = base / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), options.against], cwd=ROOT, check=True)
        try:
            before = ran(tree, base / "before", options.names)
            after = ran(ROOT, base / "after", options.names)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
        return 0 if compare(before, after, (base / "before", base / "after"), options.ulp) else 1


if __name__ == "__main__":
    sys.exit(main())
