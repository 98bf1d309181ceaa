"""Timing that can be trusted on a noisy machine: peers in strict alternation, minimum and median over many rounds.

A `Case` names its input arrays and, for each peer, a maker that turns them into a call.  What is timed is the value and
all gradients unless a case says otherwise, after one warm-up call, on the same arrays; all results are compared first.
A sample is the mean of a few calls in a row that take about two milliseconds together.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
SAMPLE = 2e-3
"""Seconds that one sample should take at least, by repeating the call."""


@dataclass(frozen=True)
class Peer:
    """One way to compute the case: `call()` returns arrays, nested in any way; `repeat(n)` runs n times, where a loop in
    Python would be most of the time.  `check` is False for what computes something else: a bound, such as a copy."""

    call: Callable[[], Any]
    repeat: Callable[[int], None] | None = None
    check: bool = True


@dataclass(frozen=True)
class Setup:
    """What a run asks of every peer."""

    threads: int = 1
    quick: bool = False


Maker = Callable[[Arrays, Setup], Peer]


@dataclass(frozen=True)
class Case:
    """`arrays(rng, *size)` makes the inputs, `makers` the peers.

    `own` is the peer that the others are compared with, `targets` maps a peer to the ratio own/peer aimed at, `limit`
    is an aim in seconds.  `quick` is the size for tests and first looks.  `tolerance` is the largest difference
    between two peers' results, relative to the largest entry of each array; float32 sums of thousands of terms in
    different orders differ by about 1e-5.  `measure(setup)` replaces the timing where a case is no such comparison;
    it returns rows of numbers.
    """

    name: str
    arrays: Callable[..., Arrays] | None = None
    makers: Mapping[str, Maker] = field(default_factory=dict)
    size: tuple[Any, ...] = ()
    quick: tuple[Any, ...] | None = None
    own: str = "gradgen"
    targets: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    tolerance: float = 2e-4
    note: str = ""
    measure: Callable[[Setup, Sequence[str]], dict[str, Any]] | None = None

    def inputs(self, setup: Setup) -> Arrays:
        assert self.arrays is not None
        size = self.quick if setup.quick and self.quick is not None else self.size
        return self.arrays(np.random.default_rng(0), *size)


@dataclass
class Timing:
    """Seconds per call of one peer: minimum and median over rounds, and seconds from nothing to the first result."""

    minimum: float
    median: float
    first: float
    samples: int


@dataclass
class Result:
    case: str
    threads: int
    timings: dict[str, Timing] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)

    def ratio(self, own: str, peer: str) -> float | None:
        """Minimum of `own` over the peer's, where both ran."""
        if own not in self.timings or peer not in self.timings:
            return None
        return self.timings[own].minimum / self.timings[peer].minimum


def flat(result: Any) -> list[np.ndarray]:
    """All arrays of a result, in order, whatever they are nested in and whoever made them."""
    if isinstance(result, Mapping):
        return [a for v in result.values() for a in flat(v)]
    if isinstance(result, (tuple, list)):
        return [a for v in result for a in flat(v)]
    if result is None:
        return []
    if hasattr(result, "detach"):
        result = result.detach()
    return [np.array(result.numpy() if hasattr(result, "numpy") else result)]


def distance(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """Largest difference, relative to the largest entry of each array; infinite where the shapes differ."""
    if [x.shape for x in a] != [y.shape for y in b]:
        return math.inf
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        scale = max(float(np.abs(y).max(initial=0.0)), 1e-30)
        gap = float(np.abs(x.astype(float) - y.astype(float)).max(initial=0.0)) / scale
        worst = max(worst, gap if gap == gap else math.inf)
    return worst


def start(case: Case, setup: Setup, wanted: Sequence[str] | None = None) -> tuple[Result, dict[str, Peer]]:
    """Makes every wanted peer, calls it once and compares it with the case's own; who fails or differs is left out."""
    result = Result(case.name, setup.threads)
    arrays = case.inputs(setup)
    ready: dict[str, Peer] = {}
    values: dict[str, list[np.ndarray]] = {}
    for name, maker in case.makers.items():
        if wanted is not None and name.split("-")[0] not in (*wanted, "gradgen", "c", "memcpy"):
            continue
        begin = time.perf_counter()
        try:
            peer = maker(arrays, setup)
            got = peer.call()
        except ImportError:
            continue  # not installed
        except Exception as error:
            text = str(error).strip().splitlines() or [""]
            result.failed[name] = f"{type(error).__name__}: {' '.join(text)[:400]}"
            continue
        result.timings[name] = Timing(math.inf, math.inf, time.perf_counter() - begin, 0)
        ready[name] = peer
        if peer.check:
            values[name] = flat(got)
    _compare(case, result, values)
    return result, ready


def _compare(case: Case, result: Result, values: Mapping[str, list[np.ndarray]]) -> None:
    base = case.own if case.own in values else next(iter(values), None)
    for name, value in values.items():
        if base is None or name == base:
            continue
        result.errors[name] = distance(values[base], value)
        if not result.errors[name] < case.tolerance:
            result.failed[name] = f"differs from {base} by {result.errors[name]:.2e} (relative)"


def run(case: Case, setup: Setup, wanted: Sequence[str] | None = None, budget: float = 2.0) -> Result:
    """Checks the peers against each other and times them in alternation for about `budget` seconds each."""
    if case.measure is not None:
        return Result(case.name, setup.threads, rows=case.measure(setup, wanted or ()))
    result, ready = start(case, setup, wanted)
    for name, times in alternate(ready, budget).items():
        timing = result.timings[name]
        timing.minimum, timing.median, timing.samples = min(times), statistics.median(times), len(times)
    return result


def alternate(peers: Mapping[str, Peer], budget: float) -> dict[str, list[float]]:
    """Samples of each peer in turn until the time is used; each has at least three."""
    repeats = {name: repeats_of(peer) for name, peer in peers.items()}
    times: dict[str, list[float]] = {name: [] for name in peers}
    spent = dict.fromkeys(peers, 0.0)
    while any(len(times[n]) < 3 or spent[n] < budget for n in peers):
        for name, peer in peers.items():
            if len(times[name]) >= 3 and spent[name] >= budget:
                continue
            seconds = sample(peer, repeats[name])
            spent[name] += seconds
            times[name].append(seconds / repeats[name])
    return times


def sample(peer: Peer, n: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of n calls."""
    if peer.repeat is not None:
        begin = clock()
        peer.repeat(n)
        return clock() - begin
    call = peer.call
    begin = clock()
    for _ in range(n):
        call()
    return clock() - begin


def repeats_of(peer: Peer) -> int:
    """How many calls take as long as a sample should."""
    n = 1
    while True:
        seconds = sample(peer, n)
        if seconds > SAMPLE / 2 or n >= 1 << 20:
            return max(1, math.ceil(n * SAMPLE / max(seconds, 1e-9)) if seconds < SAMPLE else n)
        n *= 4
