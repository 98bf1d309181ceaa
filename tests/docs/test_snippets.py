"""Every snippet of README and docs runs, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.running import run_page
from tests.docs.snippets import ROOT, blocks, excerpt, pages
from tests.embed.toolchain import needs_c

PAGES = pages()


@needs_c
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path) -> None:
    """To accept changed outputs and excerpts: python -m tests.docs.snippets --update."""
    if re.search(r"^import torch\b", page.read_text(encoding="utf-8"), re.M):
        pytest.importorskip("torch")
    printed = run_page(page, tmp_path)
    for block in blocks(page):
        if block.line in printed:
            assert block.text == printed[block.line], f"{block}: the output is another"
        if block.mark == "excerpt":
            assert block.text == excerpt(block.argument), f"{block}: the file says something else"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links(page: Path) -> None:
    """Relative links lead somewhere."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_readme_has_the_two_commands() -> None:
    """What a fresh machine runs is marked so that scripts find it."""
    marks = {b.argument for b in blocks(ROOT / "README.md") if b.mark == "fresh"}
    assert marks == {"run", "test"}
