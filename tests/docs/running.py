"""Runs the code blocks of a page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.snippets import ROOT, Block, blocks, with_outputs
from tests.embed.toolchain import C_COMPILERS, STRICT

DRIVER = """\
import contextlib, io, json, sys, traceback
namespace = {"__name__": "__main__"}
for line in sys.stdin:
    path, said, failure = json.loads(line), io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(open(path, encoding="utf-8").read(), path, "exec"), namespace)
    except BaseException:
        failure = traceback.format_exc()
    print(json.dumps([said.getvalue(), failure]), flush=True)
"""


class Python:
    """One interpreter for all python blocks of a page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER], cwd=folder, env=_environment(folder), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def run(self, block: Block) -> str:
        """What the block prints.  It is a file, since tracing looks at the source of functions."""
        assert self.process.stdin is not None and self.process.stdout is not None
        (self.folder / f"block{block.line}.py").write_text(block.text, encoding="utf-8")
        self.process.stdin.write(json.dumps(f"block{block.line}.py") + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"{block}: the interpreter ended"
        said, failure = json.loads(answer)
        assert not failure, f"{block}\n{failure}"
        return str(said)

    def close(self) -> None:
        self.process.communicate()


def run_page(page: Path, folder: Path) -> dict[int, str]:
    """Runs all blocks of a page in one folder.  Returns what was printed where an output block follows, by its line.

    Raises AssertionError with the block's place where one fails.
    """
    (folder / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(ROOT / "generated", folder / "generated", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    (folder / "bin").mkdir()
    command = folder / "bin" / "gradgen"  # also where gradgen is not installed
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gradgen "$@"\n')
    command.chmod(0o755)
    python = Python(folder)
    try:
        return _run_blocks(page, folder, python)
    finally:
        python.close()


def _run_blocks(page: Path, folder: Path, python: Python) -> dict[int, str]:
    printed: dict[int, str] = {}
    for block, output in with_outputs(blocks(page)):
        said = ""
        if block.mark in ("not run", "fresh", "excerpt"):
            continue
        if block.mark == "file":
            (folder / block.argument).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            said = python.run(block)
        elif block.language == "c" and block.mark in ("function", "program"):
            said = _c(block, folder)
        elif block.mark == "run":
            said = _run(["bash", "-e", "-c", block.text], block, folder)
        elif block.language:
            raise AssertionError(f"{block}: a {block.language or 'plain'} block without a mark that says what it is")
        if output is not None:
            printed[output.line] = said
    return printed


def _environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PATH": path, "COLUMNS": "120", "NO_COLOR": "1"}


def _run(command: list[str], block: Block, folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=600, errors="replace")
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


def _c(block: Block, folder: Path) -> str:
    """Compiles a block strictly with every compiler; runs it where it is a program."""
    bundle = ROOT / "generated" / block.argument
    source = folder / f"block{block.line}.c"
    source.write_text(block.text if "#include" in block.text else f'#include "{block.argument}.h"\n{block.text}')
    said = ""
    for cc in C_COMPILERS:
        flags = [cc, "-std=c99", *STRICT, f"-I{bundle}"]
        if block.mark == "function":
            missing = ["-Wno-missing-prototypes"]  # the pieces of a page are not declared anywhere
            _run([*flags, *missing, "-c", str(source), "-o", "block.o"], block, folder)
            continue
        _run([*flags, str(source), str(bundle / f"{block.argument}.c"), "-lm", "-o", "block"], block, folder)
        said = _run(["./block"], block, folder)
    return said
