"""Records PyTorch's answers to all cases: `python -m tests.ops.record` from the root, with torch installed."""

from __future__ import annotations

from . import oracle, store
from .cases import all_cases


def main() -> None:
    results = {case.name: oracle.run(case) for case in all_cases()}
    store.save(results)
    refused = {name: r for name, r in results.items() if isinstance(r, str)}
    print(f"{len(results)} cases, {len(refused)} of them errors in PyTorch, {store.DATA.stat().st_size / 1024:.0f} KB")
    for name, text in refused.items():
        print(f"  {name}: {text[:150]}")


if __name__ == "__main__":
    main()
