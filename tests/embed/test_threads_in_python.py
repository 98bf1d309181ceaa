"""Modules with threads=n in Python: from several threads, after a fork, and beside each other."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import gradgen as gg
from tests.children import HANG
from tests.embed.toolchain import needs_c

pytestmark = needs_c
X = np.random.default_rng(0).normal(size=300_000).astype(np.float32)


@pytest.fixture(scope="module")
def wave(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    traced = gg.trace(lambda x: (gg.sin(x) * gg.exp(x)).sum(), x=gg.spec("N", requires_grad=True))
    return gg.build(traced, name="wave", out=tmp_path_factory.mktemp("wave"), threads=3)


def bits(wave: ModuleType, x: np.ndarray = X) -> bytes:
    loss, gradients = wave.value_and_grad(x)
    return b"".join(np.asarray(a).tobytes() for a in (loss, *gradients))


def test_several_python_threads_call_one_module(wave: ModuleType) -> None:
    """Each has WORK of its own; the interpreter is let go during a call."""
    expected, found = bits(wave), [b""] * 5

    def work(k: int) -> None:
        for _ in range(10):
            found[k] = bits(wave)
            if found[k] != expected:
                return

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(found))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [expected] * len(found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_threads_of_its_own(wave: ModuleType) -> None:
    """Parent and child call before and after; GNU OpenMP alone would hang in the child."""
    expected = bits(wave)
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os._exit(0 if bits(wave) == expected else 3)
        assert bits(wave) == expected
        hangs = threading.Timer(HANG, os.kill, (child, signal.SIGKILL))
        hangs.start()
        try:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            hangs.cancel()


def test_without_threads_there_is_nothing_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hook is left at fork for modules that start no threads."""
    if not hasattr(os, "register_at_fork"):
        pytest.skip("no fork")
    hooks: list[object] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **given: hooks.append(given))
    for threads in (0, 2):
        gg.build(gg.trace(lambda x: gg.sin(x), x=gg.spec(8)), name=f"plain{threads}", out=tmp_path, threads=threads)
    assert len(hooks) <= 1
