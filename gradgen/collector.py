"""Python's collector of cyclic garbage, where there is none to find."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused(kept: bool = False) -> Iterator[None]:
    """No collection inside: a third of the time of a large graph, whose nodes have no cycles.

    `kept`: what is made inside stays, as what is imported does; it counts as old at once, without being looked through.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if kept and not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()  # into the oldest generation
        if enabled:
            gc.enable()


__all__ = ["collector_paused"]
