"""Long lines of emitted C, folded at spaces: indices and sums come out of formulas as long as these are."""

from __future__ import annotations

import re

WIDTH = 116
_BREAKS = ((" = ",), (" && ", " || "), (", ",), (" ? ", " : "), (" + ", " - ", " | "), (" * ",))
_COMMENT_HEAD = re.compile(r"\s*(/?\*+(?=\s|$))?\s*")


def folded(text: str, width: int = WIDTH) -> str:
    """The text with no line of code or comment longer than `width`, as far as spaces allow.

    Directives, lines with string literals and the line with the digest stay as they are.
    """
    found: list[str] = []
    comment = False
    for line in text.split("\n"):
        was, comment = comment, _in_comment(line, comment)
        if len(line) <= width or line.endswith("\\") or "sha256:" in line:
            found.append(line)
        elif was or line.lstrip().startswith("/*"):
            found += _comment_lines(line, width)
        elif line.lstrip().startswith("#") or '"' in line or "/*" in line:
            found.append(line)
        else:
            found += _code_lines(line, width)
    return "\n".join(found)


def _in_comment(line: str, comment: bool) -> bool:
    return line.rfind("/*") > line.rfind("*/") or (comment and "*/" not in line)


def _code_lines(line: str, width: int) -> list[str]:
    """Broken after operators, the later the better; what follows is indented by two steps."""
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


def _place(text: str, room: int) -> int | None:
    """Where the second part begins: after the last loose operator, unless that leaves less than half a line."""
    part = text[: max(room, 0) + 1]
    ends = [max((part.rfind(m) + len(m) for m in marks if m in part), default=0) for marks in _BREAKS]
    good = (at for at in ends if at > room // 2)
    return next(good, max(ends)) or None


def _comment_lines(line: str, width: int) -> list[str]:
    """Broken at spaces; each further line begins as a line of the same comment does, and a little further in."""
    found_head = _COMMENT_HEAD.match(line)
    assert found_head is not None
    head, rest = found_head[0], line[found_head.end() :]
    mark = found_head[1] or ""
    before = head[: len(head) - len(head.lstrip())]
    star = " * " if mark.startswith("/") else "* " if mark else ""
    further = f"{before}{star}  "
    found = []
    while len(head) + len(rest) > width:
        at = rest.rfind(" ", 1, max(width - len(head), 1) + 1)
        if at < 0:
            at = rest.find(" ", 1)  # a word longer than the line has one of its own
        if at < 0 or rest[at:].strip() in ("", "*/"):
            break
        found.append(f"{head}{rest[:at].rstrip()}")
        head, rest = further, rest[at:].lstrip()  # a word is gone: the rest is shorter than it was
    return [*found, f"{head}{rest}"]


__all__ = ["folded"]
