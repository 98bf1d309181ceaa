"""Type checkers know gradgen's names and arguments, and find nothing to say about the README, the guides and the examples."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.snippets import ROOT, blocks, pages
from tests.typed.stubs import stubs

WRONG = '''import gradgen as gg
import gradgen.nn.functional as F

x = gg.randn(3, 4)
gg.matmull(x, x)
gg.matmul(x, "a")
x + "a"
x.summ()
F.conv2d(x)
gg.linalg.solv(x, x)
gg.special.gammaln(x, dim=1)
gg.nn.Linear("3", 4)
gg.nn.Relu()
gg.nn.GELU(aproximate="tanh")
gg.optim.SGD(x, lr="fast")
'''
FIRST = WRONG.splitlines().index("gg.matmull(x, x)") + 1


def test_stubs_are_of_this_library():
    """python -m tests.typed.stubs --update"""
    for path, text in stubs().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path} is stale"


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    """The Python of each page as one module, the examples, and a program of mistakes."""
    folder = tmp_path_factory.mktemp("types")
    for page in pages():
        text = "".join(b.text for b in blocks(page) if b.language == "python")
        if text:
            (folder / f"page_{'_'.join(page.relative_to(ROOT).with_suffix('').parts).replace('-', '_')}.py").write_text(text)
    for path in (ROOT / "examples").glob("*.py"):
        if path.stem != "pendulum":  # of sympy.physics, which says little of its types, and pyright guesses wrong
            shutil.copy(path, folder / f"example_{path.name}")
    (folder / "wrong.py").write_text(WRONG)
    return folder


def said_by_mypy(folder: Path) -> list[tuple[str, int, str]]:
    """What mypy has to say: file, line, words."""
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent", "--ignore-missing-imports",
         f"--cache-dir={folder / 'cache'}", "--output=json", *map(str, sorted(folder.glob("*.py")))],
        env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    found = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return [(Path(one["file"]).name, one["line"], one["message"]) for one in found if one["severity"] == "error"]


def said_by_pyright(folder: Path) -> list[tuple[str, int, str]]:
    """The same of pyright, in the distribution that brings its own Node.js."""
    (folder / "pyrightconfig.json").write_text(json.dumps(
        {"extraPaths": [str(ROOT)], "typeCheckingMode": "basic", "include": ["*.py"], "reportMissingImports": False,
         "reportMissingModuleSource": False}))
    run = subprocess.run([sys.executable, "-m", "basedpyright", "-p", str(folder), "--outputjson"], capture_output=True,
                         text=True, check=False)
    found = json.loads(run.stdout)["generalDiagnostics"]
    return [(Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["message"]) for one in found
            if one["severity"] == "error"]


@pytest.mark.parametrize("tool", ["mypy", "basedpyright"])
def test_checkers(tool, programs):
    if find_spec(tool) is None:
        pytest.skip(f"needs {tool}")
    said = said_by_mypy(programs) if tool == "mypy" else said_by_pyright(programs)
    right = [f"{file}:{line}: {words}" for file, line, words in said if file != "wrong.py"]
    assert not right, "\n".join(right)
    assert {line for file, line, _ in said if file == "wrong.py"} == set(range(FIRST, len(WRONG.splitlines()) + 1))
