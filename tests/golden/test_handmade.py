"""Whole bundles of modules whose loops are written by hand: what the templates make, byte by byte.

A difference is shown as a diff; if it is meant, `python -m tests.golden.test_handmade --update` accepts it.  The files
that are copies of gradgen's own are compared with those instead of being kept again.
"""

from __future__ import annotations

import difflib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import gradgen
from gradgen.codegen.bundle import ModuleCode, make_bundle
from gradgen.codegen.declarations import abi_text
from gradgen.codegen.package import COPIES
from tests.embed import handmade

EXPECTED = Path(__file__).with_name("handmade")
UPDATE = "python -m tests.golden.test_handmade --update"
PROGRAMS: dict[str, tuple[Callable[[], ModuleCode], bool]] = {
    "linear_bce": (handmade.linear_bce, False),
    "lookup_single_file": (handmade.lookup, True),
    "power_sum": (handmade.forward_only, False),
    "many": (handmade.many, False),
}
"""Folder below `handmade/` -> what is made, and whether in single-file form."""


def make(name: str) -> dict[str, str]:
    module, single_file = PROGRAMS[name]
    return make_bundle(module(), single_file=single_file)


def kept(files: dict[str, str]) -> dict[str, str]:
    """What is stored: all but copies, and the manifest without the checksums of copies, which change with them."""
    copies = {*COPIES, "gradgen_abi.h"}
    found = {path: text for path, text in files.items() if path not in copies}
    for path in [p for p in found if p.endswith(".json")]:
        lines = found[path].splitlines(keepends=True)
        found[path] = "".join(line for line in lines if not any(f'"{copy}": "' in line for copy in copies))
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_bytes(name: str) -> None:
    made, folder = kept(make(name)), EXPECTED / name
    stored = {p.name: p.read_bytes().decode() for p in folder.iterdir()} if folder.is_dir() else {}
    assert sorted(made) == sorted(stored), f"other files than stored; if that is meant: {UPDATE}"
    for path, text in made.items():
        if text != stored[path]:
            diff = difflib.unified_diff(stored[path].splitlines(), text.splitlines(), f"stored {path}", "made", n=1)
            pytest.fail("\n".join([*list(diff)[:60], f"if that is meant: {UPDATE}"]))


@pytest.mark.parametrize("name", PROGRAMS)
def test_copies(name: str) -> None:
    files, folder = make(name), Path(gradgen.__file__).parent
    for path, source in COPIES.items():
        assert files[path] == (folder / source).read_text(encoding="utf-8")
    assert files.get("gradgen_abi.h", abi_text()) == abi_text()


def update() -> None:
    """Stores what is made now."""
    shutil.rmtree(EXPECTED, ignore_errors=True)
    for name in PROGRAMS:
        (EXPECTED / name).mkdir(parents=True)
        for path, text in kept(make(name)).items():
            (EXPECTED / name / path).write_bytes(text.encode())


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    update()
