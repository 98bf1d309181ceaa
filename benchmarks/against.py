"""This tree beside another commit: time of the emitted code, of generation and of whole builds, and bytes of object text.

    python -m benchmarks --against main~3               # everything
    python -m benchmarks --against main text generate   # rows of which the names contain one of the words

Both trees have work trees and processes of their own.  A row's samples are taken in turn, and those of the other commit in
two processes: what these two differ by is noise.  Times are of the processor.  A row is slower where the ratio of the minima
and the median of the ratios of neighbours are both above 1.03 by more than the noise; text is larger where it is by a byte.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("against_worker.py")
MARGIN = 1.03
Times = Mapping[str, Sequence[float]]
TREES = ("before", "again", "after")


@dataclass(frozen=True)
class Verdict:
    """Ratios after/before of the minima and of the medians of neighbours, and what two runs of one tree differ by."""

    least: float
    median: float
    noise: float

    @property
    def slower(self) -> bool:
        return min(self.least, self.median) > MARGIN + self.noise

    @property
    def text(self) -> str:
        return f"min {self.least:.3f}  median {self.median:.3f}  noise {self.noise:.3f}{'  SLOWER' if self.slower else ''}"


def verdict(times: Times) -> Verdict:
    """Of the samples of each of TREES, taken in turn."""
    least, median = _ratios(times["after"], times["before"])
    noise = max(abs(r - 1) for r in _ratios(times["again"], times["before"]))
    return Verdict(least, median, noise)


def _ratios(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    return min(a) / min(b), statistics.median(x / y for x, y in zip(a, b))


class Worker:
    """A process that runs the cases of one tree, asked line by line."""

    def __init__(self, tree: Path, folder: Path) -> None:
        environment = dict(os.environ, GRADGEN_CACHE_DIR=str(folder), OMP_NUM_THREADS="1")
        environment.pop("GRADGEN_DEBUG", None)
        command = [sys.executable, str(WORKER), str(tree)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
                                        cwd=tree)

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer; {"failed": why} where there is none."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line.startswith("{"):
                    answer: dict[str, Any] = json.loads(line)
                    return answer
        except OSError:
            pass
        return {"failed": f"the process ended with status {self.process.wait()}"}

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def row(workers: Mapping[str, Worker], name: str, rounds: int, quick: bool) -> tuple[str, bool | None]:
    """The text of a row, and whether it is no worse; None where a tree has no such row."""
    opened = {k: w.ask(do="open", row=name, quick=quick) for k, w in workers.items()}
    for k in ("before", "after"):
        if "failed" in opened[k]:
            return f"{k}: {opened[k]['failed']}", None if k == "before" else False
    if "bytes" in opened["after"]:
        old, new = opened["before"]["bytes"], opened["after"]["bytes"]
        return f"{old} -> {new}{'  LARGER' if new > old else ''}", new <= old
    repeats = max(o["repeats"] for o in opened.values())
    times: dict[str, list[float]] = {k: [] for k in workers}
    for k in range(rounds):
        for tree in (TREES, TREES[::-1])[k % 2]:
            answer = workers[tree].ask(do="sample", repeats=repeats)
            if "failed" in answer:
                return f"{tree}: {answer['failed']}", False
            times[tree].append(answer["seconds"])
    found = verdict(times)
    return f"{min(times['before']):.3e} -> {min(times['after']):.3e} s  {found.text}", not found.slower


def rows(worker: Worker, words: Sequence[str]) -> list[str]:
    """The names of rows that contain one of the words."""
    names = worker.ask(do="rows")["rows"]
    return [n for n in names if not words or any(w in n for w in words)]


@contextmanager
def work_tree(commit: str, folder: Path) -> Iterator[Path]:
    """A work tree of the commit, while it is wanted."""
    tree = folder / "tree"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=ROOT, check=True)
    try:
        yield tree
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def compared(commit: str, words: Sequence[str], rounds: int, quick: bool, only_list: bool = False) -> bool:
    """Prints a row for each comparison, then what is worse; True where nothing is."""
    worse: list[str] = []
    absent = 0
    with tempfile.TemporaryDirectory(prefix="gradgen-against-") as name, work_tree(commit, Path(name)) as tree:
        workers = {k: Worker(ROOT if k == "after" else tree, Path(name) / k) for k in TREES}
        chosen = rows(workers["after"], words)
        if only_list:
            print(*chosen, sep="\n")
            chosen = []
        for one in chosen:
            text, good = row(workers, one, rounds, quick)
            print(f"{one:<44} {text}", flush=True)
            absent += good is None
            worse += [one] if good is False else []
        for worker in workers.values():
            worker.end()
    if not only_list:
        print(f"{len(worse)} worse, {absent} not in both", *worse, sep="\n    ")
    return not worse
