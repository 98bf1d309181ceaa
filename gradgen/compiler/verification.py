"""The verifiers behind every pass: the rules of a graph (ir/verify), of nodes on their way to loops, of statements.

On in the tests, and from GRADGEN_DEBUG=1 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gradgen.debug import debug_level
from gradgen.ir.nodes import Node
from gradgen.ir.verify import GraphError, problems, verify_nodes
from gradgen.loops.draft import Draft
from gradgen.loops.laws import LoopError, verify
from gradgen.loops.procedure import Procedure
from gradgen.passes import Pass, observed
from gradgen.simplify.levels import Whole


def check(one: Pass[Any], before: Any, after: Any) -> None:
    """An error that names the pass, where what it made breaks a rule."""
    if after is before:
        return
    try:
        if isinstance(after, Node):  # its sources were looked at when they were made
            for rule, what in problems(after):
                raise GraphError(rule, what, after, None)
        elif isinstance(after, Whole):
            verify_nodes(after.outputs)
        elif isinstance(after, Procedure):
            verify_nodes([o.node for o in after.outputs])
        elif isinstance(after, Draft):
            verify(after, before if isinstance(before, Draft) else None)
    except (GraphError, LoopError) as e:
        e.add_note(f"behind the pass {one.name!r}: {one.why}")
        raise


@contextmanager
def verified_when_debugging() -> Iterator[None]:
    """Inside, every pass is checked if GRADGEN_DEBUG asks for it."""
    if debug_level() < 1:
        yield
        return
    with observed(check):
        yield
