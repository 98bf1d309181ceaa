"""The names in a C text: which parameters it has no use for, and other names for some."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


def names_in(texts: Iterable[str]) -> set[str]:
    """Every identifier and keyword, those in comments, too."""
    return set(re.findall(r"[A-Za-z_]\w*", "\n".join(texts)))


def words_of(texts: Iterable[str]) -> set[str]:
    """Those outside of comments."""
    return names_in([re.sub(r"/\*.*?\*/", " ", "\n".join(texts), flags=re.S)])


def substitute(text: str, names: Mapping[str, str]) -> str:
    """C text with whole identifiers replaced."""
    return re.sub(r"\b[A-Za-z_]\w*", lambda m: names.get(m.group(), m.group()), text)


__all__ = ["names_in", "substitute", "words_of"]
