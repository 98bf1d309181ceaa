"""The wheel holds all that is needed: installed into a fresh environment, used from an empty folder."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.embed.toolchain import needs_c
from tests.golden.reference import ROOT

USE = """\
import pathlib, sys
import numpy as np
import gradgen as gg
from gradgen.paths import templates_dir

assert pathlib.Path(gg.__file__).is_relative_to(sys.prefix), gg.__file__
assert templates_dir().is_relative_to(sys.prefix), templates_dir()

def half_square(x):
    y = (x * x / 2).sum()
    return y

program = gg.trace(half_square, x=gg.spec("N", requires_grad=True))
program.show()
folder = gg.emit(program, name="emitted", out="here")
assert (folder / "emitted.c").exists()
module = gg.build(program, out="generated")
m = module.Module(x=np.array([1.0, 2.0, 3.0], np.float32))
assert m.forward() == 7
m.backward()
assert m.grad.x.tolist() == [1, 2, 3]
x = gg.tensor([2.0], requires_grad=True)
(x**3).sum().backward()
print(x.grad)
"""


def quietly(*command: str | Path, cwd: Path, **variables: str) -> str:
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**inherited, **variables}, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as pip builds it, which needs hatchling: installed beside pytest, or from an index."""
    out = tmp_path_factory.mktemp("wheel")
    alone = [] if importlib.util.find_spec("hatchling") is None else ["--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--quiet", *alone, "-w", str(out)]
    try:
        quietly(*command, cwd=out)
    except AssertionError as error:
        if "hatchling" in str(error) or "No module named pip" in str(error):
            pytest.skip("no hatchling to build with")
        raise
    (found,) = out.glob("gradgen-*.whl")
    return found


@pytest.mark.slow
def test_contents(wheel: Path) -> None:
    """All modules and all templates, nothing else."""
    inside = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    tracked = quietly("git", "ls-files", "gradgen", "templates", cwd=ROOT).split() if (ROOT / ".git").exists() else []
    wanted = {p if p.startswith("gradgen/") else f"gradgen/{p}" for p in tracked}
    missing = wanted - inside
    assert not missing
    assert all(n.startswith("gradgen/") and "__pycache__" not in n for n in inside)


@needs_c
@pytest.mark.slow
def test_use_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are those of this environment; the package is the wheel's."""
    here, empty = tmp_path / "env", tmp_path / "empty"
    empty.mkdir()
    quietly(sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", here, cwd=tmp_path)
    python = here / "bin" / "python"
    (site,) = here.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    outer = [p for p in sys.path if p.endswith("site-packages")]  # a virtual environment's own are not inherited
    (site / "outer.pth").write_text("".join(f"{p}\n" for p in outer))
    (empty / "use.py").write_text(USE)
    said = quietly(python, "use.py", cwd=empty, GRADGEN_CACHE_DIR=str(tmp_path / "cache"))
    assert "grad_x[n] += " in said and said.endswith("tensor([12.])\n")
    assert "Usage: gradgen" in quietly(python, "-m", "gradgen", "--help", cwd=empty)
    assert sorted(p.name for p in empty.iterdir()) == ["generated", "here", "use.py"]


@pytest.mark.slow
def test_source_distribution(tmp_path: Path) -> None:
    """The sdist holds what is needed to build and to test."""
    build = pytest.importorskip("hatchling.build", reason="no hatchling to build with")
    back = os.getcwd()
    try:
        os.chdir(ROOT)
        name = build.build_sdist(str(tmp_path))
    finally:
        os.chdir(back)
    with tarfile.open(tmp_path / name) as archive:
        inside = {n.partition("/")[2] for n in archive.getnames()}
    for path in ("pyproject.toml", "README.md", "LICENSE", "templates/c/module.c.j2", "gradgen/__init__.py",
                 "tests/docs/test_snippets.py", "examples/digits_c/main.c", "generated/digits/digits.c"):
        assert path in inside, path
