"""The interpreter of loops behind every pass, for machines without vectors and for one that there is not."""

from __future__ import annotations

import pytest

from gradgen.schedule import ScheduleOptions
from gradgen.target import KNOWN, Target
from tests.sweep.after_passes import Report, check_procedures
from tests.sweep.programs import CASES

PROGRAMS = ("classifier", "two_layers", "golden_softmax_regression", "a_table_that_one_of_two_wants", "statistics")
"""Where products, strips, sums in parts, lanes and tables are decided."""

ODD = Target("odd", vector_bytes=8, registers=5, near_bytes=3000, cache_bytes=5000, branch_cost=1, call_cost=0,
             hardware="float64", fma=(), index_bits=16, alignment=8)
OPTIONS = {
    "cortex-m4": ScheduleOptions(target=KNOWN["cortex-m4"]),
    "cortex-m4 for size": ScheduleOptions(target=KNOWN["cortex-m4"], size=True),
    "odd": ScheduleOptions(target=ODD),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_for_targets(name: str, options: str) -> None:
    report, program = Report(), CASES[name].program
    check_procedures(program, program.stages.procedures, OPTIONS[options], report, 4)
    assert report.runs and not report.wrong, "\n".join(report.wrong)
