"""The collector of cyclic garbage is as it was, whatever happens while it is paused."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from gradgen.collector import collector_paused


@pytest.mark.parametrize("kept", [False, True])
def test_it_goes_on_as_before(kept: bool) -> None:
    with pytest.raises(ValueError), collector_paused(kept):
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused(kept):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_the_user_has_frozen_stays_frozen_and_garbage_is_found() -> None:
    code = """import gc, weakref
gc.freeze()
import gradgen
assert gc.get_freeze_count() > 1000 and gc.isenabled()
gc.unfreeze()
from gradgen.collector import collector_paused
class Ring: pass
with collector_paused(kept=True):
    ring = Ring(); ring.own = ring; seen = weakref.ref(ring); del ring
gc.collect()
assert seen() is None and gc.get_freeze_count() == 0"""
    subprocess.run([sys.executable, "-c", code], check=True)
