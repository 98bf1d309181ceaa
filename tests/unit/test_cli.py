"""The command line: exit codes, words for mistakes, no tracebacks; the work itself is tested where it is done."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import gradgen as gg
from gradgen.cli import main
from gradgen.errors import GradgenError
from gradgen.ir.dtypes import float64, int64
from gradgen.ir.symbols import dim
from gradgen.scripts import ScriptError, load_program, parse_argument, parse_bound
from gradgen.version import VERSION

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler")

SCRIPT = '''
import gradgen as gg

def loss(x=gg.spec("N", 5), y=gg.spec("N", 3), w=gg.spec(5, 3, requires_grad=True)):
    z = x @ w
    loss = ((z - y) ** 2).mean()
    return loss

def annotated(x: gg.spec(3, requires_grad=True)):
    return gg.exp(x).sum()

def bare(x, w):
    return (x * w).sum()

def mismatch(x=gg.spec(3), y=gg.spec(4)):
    return x + y

def looks(x=gg.spec(3)):
    return x if x.sum() > 0 else -x

def program():
    return gg.trace(loss)

def nothing():
    return 3

traced = gg.trace(loss)
number = 3
'''


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script_for_cli.py"
    path.write_text(SCRIPT)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_help_has_examples_and_exit_codes() -> None:
    found = run("--help")
    assert found.exit_code == 0
    for word in ("Examples", "gradgen build model.py:loss", "--arg x=N,784", "Exit status", "check", "emit"):
        assert word in found.output


def test_version() -> None:
    assert run("--version").output == f"gradgen {VERSION}\n"


@pytest.mark.parametrize("name", ["loss", "program", "traced"])
def test_show_prints_the_same_for_functions_and_programs(script: Path, name: str) -> None:
    found = run("show", f"{script}:{name}")
    assert found.exit_code == 0, found.output
    assert "loss" in found.output and "grad_w[i,j] +=" in found.output and "z[n,j]" in found.output


@pytest.mark.parametrize(
    ("option", "wanted"),
    [("--latex", r"\begin{align*}"), ("--dot", "digraph"), ("--c", "loss_forward("), ("--stages", " ms"),
     ("--graph", "input x"), ("--formulas", "loss")],
)
def test_views(script: Path, option: str, wanted: str) -> None:
    found = run("show", f"{script}:loss", option)
    assert found.exit_code == 0, found.output
    assert wanted in found.output


@pytest.mark.skipif(shutil.which("dot") is None, reason="no Graphviz")
def test_svg(script: Path, tmp_path: Path) -> None:
    found = run("show", f"{script}:loss", "--svg", tmp_path / "graph.svg")
    assert found.exit_code == 0, found.output
    assert "<svg" in (tmp_path / "graph.svg").read_text()


def test_specs_from_the_command_line(script: Path) -> None:
    found = run("show", f"{script}:bare", "--arg", "x=N:float64", "--arg", "w=N:float64:grad")
    assert found.exit_code == 0, found.output
    assert "grad_w[n] += grad_output x[n]" in found.output
    assert run("show", f"{script}:annotated").exit_code == 0


def test_emit_writes_a_bundle_without_a_compiler(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    found = run("emit", f"{script}:loss", "--out", tmp_path / "made", "--name", "squares", "--forward-only")
    assert found.exit_code == 0, found.output
    assert (tmp_path / "made" / "squares" / "squares.c").is_file()
    assert "squares.h" in found.output


@needs_compiler
def test_build_compiles_and_names_the_import(script: Path, tmp_path: Path) -> None:
    found = run("build", f"{script}:loss", "--out", tmp_path / "made", "--name", "squared")
    assert found.exit_code == 0, found.output
    assert "import squared" in found.output


@needs_compiler
def test_check_passes_and_fails(script: Path) -> None:
    found = run("check", f"{script}:loss", "--dim", "N=3", "--no-torch")
    assert found.exit_code == 0, found.output
    assert "N=3" in found.output and "grad_w" in found.output
    found = run("check", f"{script}:loss", "--no-torch", "--rtol", "0", "--atol", "0")
    assert found.exit_code == 1, found.output
    assert "FAILED" in found.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "{}:missing"], "has no 'missing'"),
        (["show", "{}"], "names no function"),
        (["show", "no_such_file.py:loss"], "no file no_such_file.py"),
        (["show", "{}:number"], "is a int, not a function"),
        (["show", "{}:nothing"], "not a program"),
        (["show", "{}:mismatch"], "must match the size"),
        (["show", "{}:looks"], "value"),
        (["show", "{}:bare"], "without a spec"),
        (["show", "{}:bare", "--arg", "x=3", "--arg", "w=3:complex"], "no dtype"),
        (["show", "{}:bare", "--arg", "x"], "not name=extents"),
        (["show", "{}:traced", "--arg", "x=3"], "traced already"),
        (["show", "{}:loss", "--grad", "nix"], "no such argument"),
        (["emit", "{}:loss", "--name", "class"], "class"),
        (["emit", "{}:loss", "--name", "../up"], "not an identifier"),
        (["check", "{}:loss", "--dim", "M=3"], "no dimension 'M'"),
    ],
)
def test_mistakes_are_words_not_tracebacks(script: Path, arguments: list[str], words: str) -> None:
    found = run(*(a.format(script) for a in arguments))
    assert found.exit_code == 2, found.output
    assert words in found.output
    assert "Traceback" not in found.output


def test_a_mistake_names_the_users_line(script: Path) -> None:
    assert "script_for_cli.py:16  return x + y" in run("show", f"{script}:mismatch").output


def test_a_script_that_fails_is_the_users_mistake(tmp_path: Path) -> None:
    broken = tmp_path / "broken_for_cli.py"
    broken.write_text("import gradgen\n1 / 0\n")
    found = run("show", f"{broken}:f")
    assert found.exit_code == 2
    assert "ZeroDivisionError" in found.output and "broken_for_cli.py:2  1 / 0" in found.output
    broken.write_text("def f(:\n")
    assert "broken_for_cli.py:1" in run("show", f"{broken}:f").output


def test_debug_shows_the_traceback(script: Path) -> None:
    found = run("--debug", "show", f"{script}:missing")
    assert isinstance(found.exception, GradgenError)


def test_internal_faults_have_their_own_code(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(sys.modules["gradgen.show"], "show", broken)
    found = run("show", f"{script}:loss")
    assert found.exit_code == 3 and "fault of gradgen" in found.output


def test_parse_argument() -> None:
    name, one = parse_argument("x=N,784:float64:grad")
    assert (name, one.shape, one.dtype, one.requires_grad) == ("x", (dim("N"), 784), float64, True)
    assert parse_argument("t=N:int64")[1].dtype is int64
    assert parse_argument("lr=")[1].shape == ()
    with pytest.raises(ScriptError, match="neither a number nor a name"):
        parse_argument("x=3,a b")


def test_load_program_by_module_name(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(script.parent)
    assert load_program("script_for_cli:traced").name == "loss"


def test_python_m_gradgen() -> None:
    done = subprocess.run([sys.executable, "-m", "gradgen", "--help"], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).resolve().parents[2])
    assert done.returncode == 0 and "gradgen build" in done.stdout


def test_what_a_bundle_offers_is_chosen_by_flags(script: Path, tmp_path: Path) -> None:
    found = run("emit", f"{script}:loss", "--out", tmp_path, "--gradients", "x,w", "--dtype", "float64",
                "--derivatives", "jvp,hvp", "--outputs", "loss")
    assert found.exit_code == 0, found.output
    header = (tmp_path / "loss" / "loss.h").read_text()
    for word in ("double *grad_x", "double *grad_w", "loss_jvp(", "loss_hvp("):
        assert word in header
    assert "float *" not in header


def test_no_gradients_by_flag(script: Path, tmp_path: Path) -> None:
    assert run("emit", f"{script}:loss", "--out", tmp_path, "--gradients", "").exit_code == 0
    assert "backward" not in (tmp_path / "loss" / "loss.c").read_text()


@pytest.mark.parametrize("flags", [("--outputs", "lost"), ("--gradients", "q"), ("--dtype", "int32"),
                                   ("--derivatives", "gradient"), ("--sparse", "jvp")])
def test_names_that_there_are_not_are_a_mistake(script: Path, tmp_path: Path, flags: tuple[str, str]) -> None:
    found = run("emit", f"{script}:loss", "--out", tmp_path, *flags)
    assert found.exit_code == 2, found.output
    assert [p for p in tmp_path.iterdir() if p.name != "__pycache__"] == [script]


def test_bounds_of_dimensions(script: Path, tmp_path: Path) -> None:
    assert parse_bound("N=3..64:4") == gg.dim("N", min=3, max=64, multiple=4)
    assert parse_bound("N=..:2") == gg.dim("N", multiple=2)
    with pytest.raises(ScriptError, match="MIN"):
        parse_bound("N>=3")
    found = run("emit", f"{script}:loss", "--out", tmp_path, "--bound", "N=2..:2")
    assert found.exit_code == 0, found.output
    assert "N % 2 == 0" in (tmp_path / "loss" / "loss.h").read_text()
    assert run("show", f"{script}:loss", "--bound", "K=2..").exit_code == 2
