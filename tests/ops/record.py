"""Records PyTorch's answers to all cases: `python -m tests.ops.record` from the root, with torch installed.

`python -m tests.ops.record NAME` records only the cases that have no record yet, into a file of their own, so that
operations added side by side do not meet in one binary file.
"""

from __future__ import annotations

import sys

from . import oracle, store
from .cases import all_cases


def main(name: str = store.DATA.stem) -> None:
    every = name == store.DATA.stem
    path = store.DATA.with_name(f"{name}.npz")
    others = () if every else [p for p in store.files() if p != path]
    cases = [c for c in all_cases() if every or not store.recorded(c.name, others)]
    results = {case.name: oracle.run(case) for case in cases}
    store.save(results, path)
    for other in store.files() if every else ():
        if other != path:
            other.unlink()
    refused = {name: r for name, r in results.items() if isinstance(r, str)}
    print(f"{len(results)} cases, {len(refused)} of them errors in PyTorch, {path.stat().st_size / 1024:.0f} KB")
    for name, text in refused.items():
        print(f"  {name}: {text[:150]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
