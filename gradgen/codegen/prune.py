"""Leaving out what nobody calls: the definitions in helper texts that the emitted functions do not reach.

Kernels come in files of several functions, of which a module often needs one.  Left in, the others are read by every
compiler and every reviewer.  The texts are our own, laid out in one way: a definition begins at the left margin and
ends with a line that begins with a brace or ends with a semicolon there; comments stand above what they explain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

WORD = re.compile(r"[A-Za-z_]\w*")
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\(.*?\)\)+")
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M)
_FUNCTION = re.compile(r"^(?!typedef\b|#|[ \t/*}])[^;={}]*?\b(\w+)\s*\(", re.M)
_TYPE = re.compile(r"(\w+)\s*(?:\[[^\]]*\]\s*)?;\s*$")
_TABLE = re.compile(r"^[A-Za-z_][\w *]*?\b(\w+)(?:\[[^\]]*\])+\s*=", re.M)


@dataclass(frozen=True)
class Item:
    """One definition with the comment above it: its text, the names it defines and the words of its code."""

    text: str
    names: frozenset[str]
    words: frozenset[str]


def pruned(helpers: Mapping[str, str], used: Iterable[str]) -> dict[str, str]:
    """The helper texts without the definitions that the texts `used` do not reach, directly or through others.

    What defines no name, such as a pragma, stays as long as its helper keeps anything else, or has nothing else.
    """
    items = {name: _items(text) for name, text in helpers.items()}
    by_name: dict[str, list[Item]] = {}
    for item in (i for several in items.values() for i in several):
        for name in item.names:
            by_name.setdefault(name, []).append(item)
    waiting = [w for text in used for w in set(WORD.findall(_COMMENT.sub(" ", text))) if w in by_name]
    nameless = {name for name, several in items.items() if not any(i.names for i in several)}
    waiting += [w for name in nameless for i in items[name] for w in i.words if w in by_name]
    reached: set[str] = set()
    while waiting:
        word = waiting.pop()
        if word not in reached:
            reached.add(word)
            waiting += [w for item in by_name[word] for w in item.words if w in by_name and w not in reached]
    found: dict[str, str] = {}
    for name, several in items.items():
        if name in nameless or any(i.names & reached for i in several):
            found[name] = "\n\n".join(i.text for i in several if not i.names or i.names & reached)
    return found


@lru_cache(maxsize=4096)
def _items(text: str) -> tuple[Item, ...]:
    return tuple(_item(block) for block in _blocks(text))


def _item(text: str) -> Item:
    code = _COMMENT.sub(" ", text)
    plain = _ATTRIBUTE.sub(" ", code)
    names = set(_DEFINE.findall(plain)) | set(_FUNCTION.findall(plain)) | set(_TABLE.findall(plain))
    if plain.lstrip().startswith("typedef"):
        names.update(_TYPE.findall(plain))
    names.update(n for line in plain.splitlines() if line.startswith("typedef") for n in _TYPE.findall(line))
    undefined = set(re.findall(r"#[ \t]*undef[ \t]+(\w+)", plain))
    return Item(text.strip("\n"), frozenset(names | undefined), frozenset(WORD.findall(code)))


def _blocks(text: str) -> Iterator[str]:
    """The text cut after each definition; blank lines between go."""
    block: list[str] = []
    level, comment, continued, body = 0, False, False, False
    for line in text.splitlines():
        if not block and not line.strip():
            continue
        block.append(line)
        directive = line.lstrip().startswith("#") and not comment
        inside = comment or continued or body
        if directive and not body:
            word = line.lstrip()[1:].split()[0]
            level += (word in ("if", "ifdef", "ifndef")) - (word == "endif")
        was_comment, comment = comment, _open_comment(line, comment)
        continued = line.endswith("\\")
        code = _COMMENT.sub("", line).rstrip()
        if not directive and not was_comment and not comment:
            body = _in_body(code, body)
        if level or comment or continued or body or was_comment:
            continue
        margin = not line.startswith((" ", "\t"))
        ends = directive or (margin and code.endswith((";", "}"))) or (inside and code.endswith(";"))
        if ends and code:
            yield "\n".join(block)
            block = []
    if any(line.strip() for line in block):
        yield "\n".join(block)


def _in_body(code: str, body: bool) -> bool:
    """Whether the lines after this one belong to the braces that a line at the left margin opened."""
    if body:
        return not code.startswith("}")
    return code.endswith("{")


def _open_comment(line: str, comment: bool) -> bool:
    """Whether a comment is open at the end of the line."""
    return line.rfind("/*") > line.rfind("*/") or (comment and "*/" not in line)


def defined(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The functions, types and tables that helper texts define, and their macros, each in order and once."""
    names: dict[str, None] = {}
    macros: dict[str, None] = {}
    for text in texts:
        own = dict.fromkeys(_DEFINE.findall(_COMMENT.sub(" ", text)))
        macros |= own
        found = {n for item in _items(text) for n in item.names if n not in own}
        names |= dict.fromkeys(w for w in WORD.findall(_COMMENT.sub(" ", text)) if w in found)
    return list(names), list(macros)
