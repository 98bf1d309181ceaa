"""Functions of torch's that gradgen has under other names, or as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

COMPOSITIONS: dict[str, Callable[..., Any]] = {}
