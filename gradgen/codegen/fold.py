"""Long lines of emitted C, folded at spaces: indices and sums come out of formulas as long as these are."""

from __future__ import annotations

WIDTH = 116
_BREAKS = ((" = ",), (" && ", " || "), (", ",), (" ? ", " : "), (" + ", " - ", " | "), (" * ",))


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
            found += _comment_lines(line, was, width)
        elif line.lstrip().startswith("#") or '"' in line or "/*" in line:
            found.append(line)
        else:
            found += _code_lines(line, width)
    return "\n".join(found)


def _in_comment(line: str, comment: bool) -> bool:
    return line.rfind("/*") > line.rfind("*/") or (comment and "*/" not in line)


def _code_lines(line: str, width: int) -> list[str]:
    """Broken after operators, the later the better; what follows is indented by two steps."""
    indent = " " * (len(line) - len(line.lstrip()))
    found, rest = [], line
    while len(rest) > width:
        at = _place(rest, len(rest) - len(rest.lstrip()), width)
        if at is None:
            break
        found.append(rest[:at].rstrip())
        rest = f"{indent}        {rest[at:].lstrip()}"
    return [*found, rest]


def _place(line: str, start: int, width: int) -> int | None:
    """Where the second part begins: after the last loose operator, unless that leaves less than half a line."""
    for marks in _BREAKS:
        at = max(line.rfind(mark, start, width + 1) + len(mark) if mark in line[start : width + 1] else -1 for mark in marks)
        if at > max(width // 2, start + 1):
            return at
    found = [line.rfind(m, start, width + 1) + len(m) for marks in _BREAKS for m in marks if m in line[start : width + 1]]
    return max(found) if found else None


def _comment_lines(line: str, inside: bool, width: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    lead = f"{indent}* " if inside else f"{indent} * "
    found, rest = [], line
    while len(rest) > width:
        least = len(rest) - len(rest.lstrip()) + 3
        at = rest.rfind(" ", least, width)
        if at < 0:
            break
        found.append(rest[:at].rstrip())
        rest = f"{lead}  {rest[at + 1 :].lstrip()}"
    return [*found, rest]


__all__ = ["folded"]
