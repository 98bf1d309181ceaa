"""costs.json: what emitted C cost when it was last recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("costs.json")
MARGIN = 0.01
"""A hundredth more is not worse: a temporary more or less in one loop.  Counts are exact, so that even less would show."""
MARGINS = {"generation": 0.05}
"""Calls of Python functions also move with what libraries do inside."""


def recorded() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text())) if FILE.exists() else {}


def worse(what: str, then: int, now: int) -> bool:
    """Whether a cost has grown by more than its margin, or by more than 16 where it is small."""
    return now > max(then * (1 + MARGINS.get(what.split()[0], MARGIN)), then + 16)
