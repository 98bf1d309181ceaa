"""python -m tests.mutants [--no-baseline] [--list] [part of a name ...]: every mutant must be caught by the tests it names.

Ends with 0 where all are caught; 1 where one survives, a test fails without a mutation, or the table does not fit the source.
"""

from __future__ import annotations

import sys
import time

from tests.mutants.running import MutationError, copy_of_the_project, outcome, survives
from tests.mutants.table import MUTANTS


def main(arguments: list[str]) -> int:
    parts = [a for a in arguments if not a.startswith("--")]
    chosen = [m for m in MUTANTS if not parts or any(p in m.name for p in parts)]
    if "--list" in arguments:
        print("\n".join(f"{m.name}: {m.file}" for m in chosen))
        return 0
    bad = [] if chosen else ["no mutant has such a name"]
    with copy_of_the_project() as copy:
        selections = dict.fromkeys(m.tests for m in chosen) if "--no-baseline" not in arguments else {}
        for tests in selections:
            try:
                passed, said = outcome(copy, tests)
            except MutationError as error:
                passed, said = False, str(error)
            if not passed:
                bad.append(f"without a mutation: {' '.join(tests)}")
                print(f"FAILS without a mutation: {' '.join(tests)}\n{said[-2000:]}", flush=True)
        for m in chosen:
            start = time.monotonic()
            try:
                verdict = "SURVIVED" if survives(copy, m) else "caught"
            except MutationError as error:
                verdict = f"ERROR {error}"
            if verdict != "caught":
                bad.append(m.name)
            print(f"{verdict:<8} {m.name} ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"{len(chosen)} mutants, {len(bad)} not as they should be" + "".join(f"\n  {name}" for name in bad))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
