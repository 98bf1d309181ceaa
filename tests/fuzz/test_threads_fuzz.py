"""Random graphs with all that can be cut in chunks, however small, against the reference interpreter; in any order."""

from __future__ import annotations

import re

import numpy as np
import pytest
from compiled import Compiled, expected
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import procedure, values
from test_schedule_fuzz import close

from gradgen.loops.statements import Loop
from gradgen.schedule import ScheduleOptions, schedule, threads

FOR = re.compile(r"(GRADGEN_PARALLEL_FOR.*\n *)for \(int64_t (\w+) = 0; \2 < (\w+); \+\+\2\)")


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "WORTH", 0.0)
    monkeypatch.setattr(threads, "REGION", 0.0)
    monkeypatch.setattr(threads, "COMBINING", 1e9)


def last_chunk_first(text: str) -> str:
    turned, count = FOR.subn(r"\1for (int64_t \2 = \3 - 1; \2 >= 0; --\2)", text)
    assert count == text.count("GRADGEN_PARALLEL_FOR(") - 1, "all but the macro's own definition"
    return turned


def check(seed: int, size: int, symbolic: bool, count: int) -> None:
    p = procedure(seed, size, symbolic)
    options = ScheduleOptions(threads=count)
    made = [Compiled(p, options), Compiled(p, options, edit=last_chunk_first)]
    for n in (3, 0, 70, 1300) if symbolic else (3,):
        v = values(p, seed, n)
        want = expected(p, v)
        dtypes = {o.place.name: o.node.dtype for o in p.outputs}
        modes = {o.place.name: o.mode for o in p.outputs}
        optional = tuple(o.place.name for o in p.outputs if o.place.optional)
        old = {k: np.full(w.shape, 0.5, w.dtype) for k, w in want.items() if modes[k] == "accumulate"}
        for set_grad, unwanted in ((False, ()), (True, ()), (False, optional[:1])):
            runs = [c.run(v, set_grad=set_grad, unwanted=unwanted, old=old, no_saved=bool(unwanted)) for c in made]
            assert [status for status, _ in runs] == [0, 0]
            for name, result in runs[0][1].items():
                target = want[name]
                if modes[name] == "accumulate" and not set_grad:
                    target = target + old[name]
                close(result, target, dtypes[name].name, made[0])
                assert result.tobytes() == runs[1][1][name].tobytes(), f"the order of chunks matters\n{made[0].text}"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 14), symbolic=st.booleans(), count=st.integers(2, 4))
def test_random_graphs_in_chunks(seed: int, size: int, symbolic: bool, count: int) -> None:
    check(seed, size, symbolic, count)


def test_much_is_cut() -> None:
    programs = [schedule(procedure(seed, 12, seed % 2 == 0), ScheduleOptions(threads=3)) for seed in range(20)]
    assert sum(isinstance(s, Loop) and s.parallel > 0 for p in programs for s in p.walk()) >= 30
