"""What emitted C costs on each machine, beside what is recorded.

    python -m tests.targets                     # every case: what is recorded, what it is now
    python -m tests.targets cortex-m4 linear    # the cases whose name contains these words
    python -m tests.targets --update            # and what it is now is recorded, in costs.json

"FUNCTION N" are instructions of one call for a batch of N (on avr cycles, on wasm fuel; on portable what callgrind counts on
an x86-64 of the Haswell kind), "saved" and "work" bytes of memory, "object" code and constants of the whole object file at
-Os, "frame" its largest frame, "linked" what value_and_grad adds to a program that calls nothing else, "generation" calls
of Python functions while the C is made.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.targets.costs import generation, measured, rows, wanted
from tests.targets.recorded import FILE, recorded, worse


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.targets", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--update", action="store_true")
    chosen = parser.parse_args()
    known = recorded()
    bad = 0
    for key, machine, name in rows(chosen.words):
        if wanted(machine):
            print(f"{key}: {wanted(machine)}")
            continue
        before = known.get(key, {}).get("costs", {})
        now = measured(machine, name) | {"generation": generation(name, machine.target)}
        print(key)
        for what, number in now.items():
            then = before.get(what)
            share = "" if not then else f"{number / then - 1:+8.1%}"
            said = "  worse" if then is not None and worse(what, then, number) else ""
            bad += bool(said)
            print(f"    {what:20} {'-' if then is None else then:>10} {number:>10} {share}{said}", flush=True)
        known[key] = {"compiler": machine.version(), "costs": now}
    if chosen.update:
        FILE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        return 0
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
