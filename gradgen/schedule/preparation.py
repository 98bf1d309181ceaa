"""What is decided on nodes, before there are loops: passes from a Procedure to a Procedure."""

from __future__ import annotations

from collections.abc import Callable

from gradgen.loops.procedure import Procedure
from gradgen.passes import Pass, fold
from gradgen.schedule.allowed import PASSES, ScheduleOptions
from gradgen.schedule.digits import split_digits
from gradgen.schedule.packing import pack_invariants
from gradgen.schedule.pairs import in_pairs
from gradgen.schedule.sharing import share_functions
from gradgen.schedule.unfold import unfold

_RUN: dict[str, Callable[[Procedure], Procedure]] = {
    "packing": pack_invariants,
    "sharing": share_functions,
    "pairs": in_pairs,
    "digits": split_digits,
    "unfold": unfold,
}
_FOR_CONTRACTIONS = ("digits", "unfold")


def prepared(procedure: Procedure, options: ScheduleOptions) -> Procedure:
    """The procedure with nodes that make good loops: a function, or the step of a recurrence."""
    names = [n for n in _RUN if options.has(n) and (n not in _FOR_CONTRACTIONS or options.has("contraction"))]
    run = {**_RUN, "packing": lambda p: pack_invariants(p, options.costs)}
    return fold((Pass(n, PASSES[n], "safe", run[n]) for n in names), procedure)
