"""Lines of C and of comments of a bounded width: indices and sums come out of formulas as long as these are."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

WIDTH = 116
_BREAKS = ((" = ",), (" && ", " || "), (", ",), (" ? ", " : "), (" + ", " - ", " | "), (" * ",))


def code_lines(line: str, width: int = WIDTH) -> list[str]:
    """A line of code in lines no longer than `width`, as far as spaces allow.

    Broken after operators, the later the better; what follows is indented by two steps.
    """
    rest = line.lstrip()
    head = line[: len(line) - len(rest)]
    further = f"{head}        "
    found = []
    while len(head) + len(rest) > width:
        at = _place(rest, width - len(head))
        if at is None:
            break
        found.append(f"{head}{rest[:at].rstrip()}")
        head, rest = further, rest[at:].lstrip()  # `at` is behind an operator: the rest is shorter than it was
    return [*found, f"{head}{rest}"]


def short(texts: Iterable[str]) -> list[str]:
    """The lines of several texts of code, each broken where it is long."""
    return [part for text in texts for line in text.split("\n") for part in code_lines(line)]


def _place(text: str, room: int) -> int | None:
    """Where the second part begins: after the last loose operator, unless that leaves less than half a line."""
    part = text[: max(room, 0) + 1]
    ends = [max((part.rfind(m) + len(m) for m in marks if m in part), default=0) for marks in _BREAKS]
    good = (at for at in ends if at > room // 2)
    return next(good, max(ends)) or None


def comment(paragraphs: list[str], indent: str = "", width: int = WIDTH) -> list[str]:
    """The lines of one comment: a paragraph begins a line, and goes on a little further in; long words stay whole."""
    lines: list[str] = []
    for text in paragraphs:
        lines += textwrap.wrap(text.replace("*/", "* /"), max(width - len(indent) - 6, 20), subsequent_indent="  ",
                               break_long_words=False, break_on_hyphens=False)
    if not lines:
        return []
    return [*(f"{indent}{' *' if k else '/*'} {line}" for k, line in enumerate(lines[:-1])),
            f"{indent}{' *' if len(lines) > 1 else '/*'} {lines[-1]} */"]


__all__ = ["WIDTH", "code_lines", "comment", "short"]
