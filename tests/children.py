"""Python processes that tests start, with what a process has that a terminal starts, whatever started the tests.

A test waits for events.  The only limit of time is HANG: it ends a test that would wait for ever, and is long enough for
any machine that is not stuck.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

HANG = 900.0
"""Seconds."""

_SIGNALS = """\
import signal
signal.pthread_sigmask(signal.SIG_SETMASK, ())
for _number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM):
    signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup, in a script's background, by some runners
"""


def python(code: str, *arguments: str, **options: Any) -> subprocess.Popen[Any]:
    """An interpreter that runs `code` and can be interrupted; its output can be read."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "umask": 0o022}
    return subprocess.Popen([sys.executable, "-c", _SIGNALS + code, *arguments], **{**pipes, **options})


def until(happened: Callable[[], object], process: subprocess.Popen[Any]) -> None:
    """Returns once it has happened.  AssertionError, with what the process said, where that ends before."""
    limit = time.monotonic() + HANG
    while not happened():
        if process.poll() is not None and not happened():
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()[0]!r}")
        assert time.monotonic() < limit, "hangs"
        time.sleep(0.01)
