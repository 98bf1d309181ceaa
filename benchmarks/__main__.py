"""python -m benchmarks [CASE ...]: runs the cases and writes a table, a JSON file and a plot to benchmarks/results/.

Every file of cases runs in a process of its own, on one processor for one thread, with an empty cache for compiled code.
`--write-docs` makes docs/performance.md from the latest results.  `--against COMMIT` compares this tree with another commit
instead (benchmarks/against.py), in rows of which the names contain any of the words given; exit status 1 where one is worse.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import cases as package

RESULTS = Path(__file__).parent / "results"
PEERS = "torch,torch.compile,jax,casadi"


def all_cases() -> list[Any]:
    """Every case of benchmarks/cases, by file name."""
    return [c for name in modules() for c in cases_of(name)]


def modules() -> list[str]:
    return sorted(info.name for info in pkgutil.iter_modules(package.__path__))


def cases_of(module: str) -> list[Any]:
    return list(importlib.import_module(f"benchmarks.cases.{module}").CASES)


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", help="names, or parts of names; default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds per peer and case")
    parser.add_argument("--peers", default=PEERS, help=f"default: {PEERS}")
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything run and agree?")
    parser.add_argument("--cpu", type=int, default=None, help="which processor a run on one thread keeps to")
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds for one case, all peers")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--against", default="", metavar="COMMIT", help="compare with that commit")
    parser.add_argument("--rounds", type=int, default=15, help="of --against: samples of each tree")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    options = options_of()
    if options.worker:
        return work(options)
    if options.against:
        from benchmarks.against import compared

        sys.exit(0 if compared(options.against, options.cases, options.rounds, options.quick, options.list) else 1)
    from benchmarks import report

    if options.write_docs:
        return report.write_docs(RESULTS)
    chosen = [(m, c.name) for m in modules() for c in cases_of(m)
              if not options.cases or any(part in c.name for part in options.cases)]
    if options.list:
        return print(*(name for _, name in chosen), sep="\n")
    for module in dict.fromkeys(m for m, _ in chosen):
        for result in results_of(module, [name for m, name in chosen if m == module], options):
            print(report.row(result), flush=True)
            report.store(RESULTS, result)
    report.write(RESULTS)


def results_of(module: str, names: list[str], options: argparse.Namespace) -> Any:
    """Results of the named cases of one file; a case that takes the process with it is reported and left out."""
    while names:
        done = 0
        with tempfile.TemporaryDirectory(prefix="gradgen-bench-cache-") as cache:
            process = subprocess.Popen(
                [*_pinned(options), sys.executable, "-m", "benchmarks", *names, "--worker", module, *_passed(options)],
                stdout=subprocess.PIPE, text=True, env=_environment(options, cache), cwd=Path(__file__).parents[1],
            )
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
                    done += 1
            process.wait()
        if done < len(names):
            yield {"case": names[done], "threads": options.threads, "timings": {}, "errors": {}, "rows": {}, "accuracy": {},
                   "failed": {"process": f"ended with status {process.returncode}"}}
            done += 1
        names = names[done:]


def _pinned(options: argparse.Namespace) -> list[str]:
    import shutil

    if options.threads > 1 or options.cpu is None or not shutil.which("taskset"):
        return []
    return ["taskset", "-c", str(options.cpu)]


def _passed(options: argparse.Namespace) -> list[str]:
    passed = ["--threads", str(options.threads), "--budget", str(options.budget), "--peers", options.peers,
              "--timeout", str(options.timeout)]
    return [*passed, "--quick"] if options.quick else passed


def _environment(options: argparse.Namespace, cache: str) -> dict[str, str]:
    """Threads are settled before the peers' libraries load; code caches are empty, so that first calls compile."""
    made = dict(os.environ, OMP_NUM_THREADS=str(options.threads), MKL_NUM_THREADS=str(options.threads))
    made |= {"GRADGEN_CACHE_DIR": f"{cache}/gradgen", "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor"}
    if options.threads == 1:
        made["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    made["JAX_PLATFORMS"] = "cpu"
    return made


def work(options: argparse.Namespace) -> None:
    """In the process of one file: runs the named cases and prints each result as a line of JSON."""
    import signal

    from benchmarks.harness import Setup, run
    from benchmarks.warm import warm

    wanted = options.peers.split(",")
    setup = Setup(options.threads, options.quick)
    chosen = [c for c in cases_of(options.worker) if c.name in options.cases]
    warm({p for c in chosen for p in c.makers if not options.quick}, wanted, setup)
    for case in sorted(chosen, key=lambda c: options.cases.index(c.name)):
        signal.alarm(int(options.timeout))
        print(json.dumps(asdict(run(case, setup, wanted, options.budget))), flush=True)


if __name__ == "__main__":
    main()
