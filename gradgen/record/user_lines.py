"""The user's line: the innermost frame that is not gradgen's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""Where gradgen's own code is."""

Origin = tuple[CodeType, int]
"""Code object and instruction of a call."""

_is_ours: dict[str, bool] = {}
_passed: tuple[str, ...] = (PACKAGE,)


@contextmanager
def passing_over(directory: str) -> Iterator[None]:
    """Until the end of the block code in the directory, of a library that calls ours, is not the user's either."""
    global _is_ours, _passed
    before = _is_ours, _passed
    _is_ours, _passed = {}, (*_passed, directory + os.sep)
    try:
        yield
    finally:
        _is_ours, _passed = before


def user_frame() -> Origin | None:
    """Code and instruction of the innermost frame that is not gradgen's."""
    frame: FrameType | None = sys._getframe(2)  # not this one, and not who asks
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        ours = _is_ours.get(name)
        if ours is None:
            ours = _is_ours[name] = name.startswith(_passed)
        if not ours:
            return code, frame.f_lasti
        frame = frame.f_back
    return None


def users_line() -> str | None:
    """file:line of the innermost frame that is the user's."""
    frame = user_frame()
    if frame is None:
        return None
    line = next((n for a, b, n in frame[0].co_lines() if a <= frame[1] < b and n is not None), 0)
    return f"{frame[0].co_filename}:{line}"
