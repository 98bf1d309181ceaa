"""`python -m tests.sweep loops --random 500`: every call of every program after every pass, and of as many random ones.
`python -m tests.sweep sanitized --random 500`: the same calls of the compiled C under the sanitizers."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gradgen.schedule import ScheduleOptions
from tests.sweep import generated, sanitized
from tests.sweep.after_passes import Report, check, check_procedures
from tests.sweep.programs import CASES

TOGETHER = 24  # programs of one binary


def loops(names: list[str], seeds: range) -> Iterator[Report]:
    """The interpreter of loops behind every pass: a report for each program."""
    for name in names or CASES:
        report = Report()
        check(CASES[name].program, report)
        yield report
    for seed in seeds:
        report = Report()
        program, procedure = generated.plain(seed)
        check_procedures(program, (procedure,), ScheduleOptions(), report)
        check(generated.differentiable(seed), report)
        yield report


def compiled(names: list[str], seeds: range) -> Iterator[Report]:
    """The sanitizers: a report for each binary of some programs."""
    programs = [*(CASES[n].program for n in names or CASES), *map(generated.differentiable, seeds)]
    for k in range(0, len(programs), TOGETHER):
        report = Report()
        with tempfile.TemporaryDirectory() as folder:
            binary = sanitized.build(programs[k : k + TOGETHER], Path(folder))
            sanitized.run(binary, Path(folder), report)
        yield report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("what", choices=["loops", "sanitized"])
    parser.add_argument("programs", nargs="*", help="of tests/sweep/programs.py; all without any")
    parser.add_argument("--random", type=int, default=0, help="so many random graphs beside them")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first")
    chosen = parser.parse_args()
    start = time.monotonic()
    programs = runs = wrong = 0
    sweep = loops if chosen.what == "loops" else compiled
    for report in sweep(chosen.programs, range(chosen.first, chosen.first + chosen.random)):
        programs, runs, wrong = programs + report.programs, runs + report.runs, wrong + len(report.wrong)
        for fault in report.wrong:
            print(fault, flush=True)
    print(f"{programs} programs, {runs} calls, {wrong} faults, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
