"""The debug switch: GRADGEN_DEBUG=0..4 (1 stage times and the verifiers, 2 graph, 3 passes and program, 4 C)."""

from __future__ import annotations

import os


def debug_level() -> int:
    """The level asked for in the environment; 0 where it is absent or not a number."""
    try:
        return int(os.environ.get("GRADGEN_DEBUG", "0"))
    except ValueError:
        return 0
