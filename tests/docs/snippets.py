"""The code blocks of README.md and docs/, and what is to be done with each.

A block is `python` (run, all of a file in one namespace and folder), `c` or `sh`, or plain text.  A comment on the line
before says what else it is:

    <!-- output -->                      what the block before it prints
    <!-- file: NAME -->                  python that is kept under this name, too, for what follows
    <!-- excerpt: PATH NAME -->          the function or macro NAME of a committed file, or lines that stand in it
    <!-- excerpt: PATH NAME nests -->    its loops, without the checks before and the results behind them
    <!-- function: MODULE -->            C functions; compiled strictly with the headers of generated/MODULE
    <!-- program: MODULE -->             a C program; compiled strictly, linked with the module, and run
    <!-- run -->                         shell commands that run in the same folder
    <!-- fresh: ... -->                  commands of a fresh machine, run by continuous integration
    <!-- not run: REASON -->

    python -m tests.docs.snippets --update      # writes outputs and excerpts that have changed
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r"<!--\s*(output|file|excerpt|function|program|run|fresh|not run)\s*(?::\s*(.*?))?\s*-->\s*$")


@dataclass(frozen=True)
class Block:
    file: Path
    line: int  # of the first line inside
    language: str
    mark: str
    argument: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT).as_posix()}:{self.line}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("README.md"))]


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    k = 0
    while k < len(lines):
        if not lines[k].startswith("```"):
            k += 1
            continue
        end = next(n for n in range(k + 1, len(lines)) if lines[n].startswith("```"))
        before = lines[k - 1] if k else ""
        mark = MARK.search(before)
        kind, argument = (mark.group(1), mark.group(2) or "") if mark else ("", "")
        text = "".join(f"{line}\n" for line in lines[k + 1 : end])
        found.append(Block(page, k + 2, lines[k][3:].strip(), kind, argument, text))
        k = end + 1
    return found


def excerpt(argument: str) -> str:
    """The text in a committed file of the function or macro that the argument of an excerpt names."""
    path, _, name = argument.partition(" ")
    name, _, part = name.partition(" ")
    text = (ROOT / path).read_text(encoding="utf-8")
    if not name:
        return text
    found = re.search(rf"^(?:GRADGEN_API )?\w[\w *]*\b{re.escape(name)}\([^;{{]*(?:;|\{{.*?^\}})\n", text, re.M | re.S)
    if found is None:
        found = re.search(rf"^#define {re.escape(name)}\b.*\n", text, re.M)
    if found is None:
        raise ValueError(f"{path} has no {name}")
    if part == "nests":
        body = textwrap.dedent(found.group().partition("\n\n")[2].rpartition("\n\n")[0])
        nests = re.findall(r"^/\* .*?^\}\n", body + "\n", re.M | re.S)
        return "\n".join(nest for nest in nests if "for (" in nest)
    return found.group()


def updated(page: Path, printed: dict[int, str]) -> str:
    """The page with excerpts and outputs as they are now; `printed` by the line of the block."""
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    for block in reversed(blocks(page)):
        new = excerpt(block.argument) if block.mark == "excerpt" else printed.get(block.line, block.text)
        count = block.text.count("\n")
        lines[block.line - 1 : block.line - 1 + count] = [new]
    return "".join(lines)


def with_outputs(found: list[Block]) -> Iterator[tuple[Block, Block | None]]:
    """Blocks that are not outputs, each with its output if it has one."""
    for k, block in enumerate(found):
        if block.mark != "output":
            after = found[k + 1] if k + 1 < len(found) else None
            yield block, after if after is not None and after.mark == "output" else None


if __name__ == "__main__":
    import sys
    import tempfile

    from tests.docs.running import run_page

    if sys.argv[1:] != ["--update"]:
        raise SystemExit(__doc__)
    for page in pages():
        with tempfile.TemporaryDirectory() as folder:
            new = updated(page, run_page(page, Path(folder)))
        if new != page.read_text(encoding="utf-8"):
            page.write_text(new, encoding="utf-8")
            print(f"written: {page.relative_to(ROOT)}")
