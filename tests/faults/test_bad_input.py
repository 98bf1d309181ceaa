"""What users get wrong, through the whole interface: one clear error each, and nothing left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.build.cache import CacheWarning
from gradgen.errors import CompileError, CompilerNotFoundError, GradgenError, InvalidNameError, TraceError
from tests.children import HANG, python, until
from tests.embed.toolchain import C_COMPILERS, needs_c
from tests.golden.reference import ROOT


def scaled(x: Any, w: Any) -> Any:
    y = (x * w).sum()
    return y


def small(**changes: Any) -> Any:
    specs = {"x": gg.spec("N", 3), "w": gg.spec(3, requires_grad=True), **changes}
    return gg.trace(scaled, **specs)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where bundles would go; the cache is a folder of its own."""
    monkeypatch.setenv("GRADGEN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "out"


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*")) if folder.exists() else []


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "class", "int", "template", "x; y", "../up", "a/b", "", "a" * 201, "1st", "with space", "naïve", "a__b", "gradgen_x",
    "math", "CON", "x\n", "-o", 7,
])  # fmt: skip
@pytest.mark.parametrize("function", [gg.emit, gg.build], ids=["emit", "build"])
def test_module_names(function: Callable[..., Any], name: Any, out: Path) -> None:
    with pytest.raises(InvalidNameError) as caught:
        function(small(), name=name, out=out)
    assert "name" in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not out.exists()


def test_the_longest_name_works(out: Path) -> None:
    name = "a" * 200
    assert (gg.emit(small(), name=name, out=out) / f"{name}.c").exists()


@pytest.mark.parametrize("name", ["class", "int", "double", "x y", "x;", "", "a" * 201, "N", "work", "saved", "flags"])
def test_argument_names(name: str) -> None:
    """Names of C, C++ and of the emitted functions' own parameters."""
    def function(**tensors: Any) -> Any:
        y = sum(t.sum() for t in tensors.values())
        return y

    with pytest.raises(InvalidNameError):
        gg.trace(function, **{name: gg.spec("N"), "other": gg.spec("N")})


@pytest.mark.parametrize("specs", [
    {"x": gg.spec(3, requires_grad=True), "grad_x": gg.spec(3)},  # the gradient of x, and an argument
    {"y": gg.spec(3), "grad_y": gg.spec(3, requires_grad=True)},  # the incoming gradient of the output
], ids=["gradient", "cotangent"])  # fmt: skip
def test_arguments_that_collide_in_c(specs: dict[str, Any]) -> None:
    def function(**tensors: Any) -> Any:
        return {"y" if "x" in tensors else "z": sum(t.sum() for t in tensors.values()),
                **({} if "x" in tensors else {"y": tensors["grad_y"] * 2})}

    with pytest.raises(InvalidNameError, match=r"would be named|gradient"):
        gg.trace(function, **specs)


# --- what is traced --------------------------------------------------------------------------------------------------


def test_an_output_that_does_not_depend() -> None:
    def unused(x: Any, w: Any) -> Any:
        return x.sum()

    with pytest.raises(TraceError, match="'w'"):
        gg.trace(unused, x=gg.spec(3), w=gg.spec(3, requires_grad=True))


def test_an_output_that_depends_without_a_derivative() -> None:
    def counted(x: Any, w: Any) -> Any:
        return (x > w).sum(), x.sum() + w.detach().sum()

    with pytest.raises(TraceError, match="'w'"):
        gg.trace(counted, x=gg.spec(3), w=gg.spec(3, requires_grad=True))


@pytest.mark.parametrize("function, words", [
    (lambda x: 3.0, "float"),
    (lambda x: None, "NoneType"),
    (lambda x: [], "no tensor"),
    (lambda x: (x, "text"), "str"),
])  # fmt: skip
def test_results_that_are_no_tensors(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(TraceError, match=words):
        gg.trace(function, gg.spec(3))


LINE = "the line of the mistake"


def _branch(x: Any) -> Any:
    if x.sum() > 0:  # the line of the mistake
        return x
    return -x


def _item(x: Any) -> Any:
    return x * x.sum().item()  # the line of the mistake


def _number(x: Any) -> Any:
    return x * float(x[0])  # the line of the mistake


def _numpy(x: Any) -> Any:
    return x * np.sin(x.numpy())  # the line of the mistake


def _nonzero(x: Any) -> Any:
    return x[x.nonzero()]  # the line of the mistake


def _shapes(x: Any) -> Any:
    return x + gg.ones(4)  # the line of the mistake


def _matmul(x: Any) -> Any:
    return x @ gg.ones(4, 2)  # the line of the mistake


def _axis(x: Any) -> Any:
    return x.sum(dim=3)  # the line of the mistake


def _dtype(x: Any) -> Any:
    return gg.ones(3, dtype=gg.int64)[x]  # the line of the mistake


@pytest.mark.parametrize("function", [_branch, _item, _number, _numpy, _nonzero, _shapes, _matmul, _axis, _dtype])
def test_what_cannot_be_traced_names_the_users_line(function: Callable[..., Any]) -> None:
    """Either the message says the line, or (PyTorch's own errors) the traceback's innermost frame of this file is it."""
    with pytest.raises((GradgenError, RuntimeError, IndexError, TypeError)) as caught:
        gg.trace(function, gg.spec(3))
    lines = Path(__file__).read_text().splitlines()
    frames = [e.lineno for e in caught.traceback if Path(e.path) == Path(__file__)]
    assert lines[frames[-1]].rstrip().endswith(LINE), str(caught.value)
    if isinstance(caught.value, TraceError):
        assert f"{Path(__file__).name}:{frames[-1] + 1}" in str(caught.value)


def test_specs() -> None:
    for wrong in ((-1,), (2.5,), (True,), (None,)):
        with pytest.raises(GradgenError):
            gg.spec(*wrong)
    with pytest.raises(GradgenError):
        gg.spec(3, dtype=gg.int64, requires_grad=True)
    with pytest.raises((GradgenError, TypeError)):
        gg.spec(3, dtype="float33")
    with pytest.raises(TraceError, match="'w'"):
        gg.trace(scaled, x=gg.spec(3))
    with pytest.raises(TraceError, match="'v'"):
        gg.trace(scaled, x=gg.spec(3), w=gg.spec(3), v=gg.spec(3))
    with pytest.raises(TraceError, match="ndarray"):
        gg.trace(scaled, x=np.zeros(3), w=gg.spec(3))


def test_options(out: Path) -> None:
    with pytest.raises(GradgenError, match="simplfy"):
        gg.emit(small(), name="m", out=out, simplfy="safe")
    with pytest.raises(GradgenError, match="'best'"):
        gg.emit(small(), name="m", out=out, simplify="best")
    with pytest.raises(GradgenError, match="trace"):
        gg.emit(scaled, name="m", out=out)
    assert not out.exists()


# --- calls of a generated module -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not C_COMPILERS:
        pytest.skip("no C compiler")
    return gg.build(small(), name="bad_input", out=tmp_path_factory.mktemp("module") / "generated")


X, W = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)


@pytest.mark.parametrize("x, w, error, words", [
    (X[:, :2], W, ValueError, r"x must have shape \[N, 3\].*\[2, 2\]"),
    (X[0], W, ValueError, r"x .*\[N, 3\].*\[3\]"),
    (X, np.ones((1, 3), np.float32), ValueError, r"w .*\[3\]"),
    (X.astype(np.float64), W, (TypeError, ValueError), "x.*float32.*float64"),
    (X.astype(np.int32), W, (TypeError, ValueError), "x.*float32.*int32"),
    (X.astype(np.complex64), W, (TypeError, ValueError), "x.*float32.*complex64"),
    (X.astype(object), W, (TypeError, ValueError), "x"),
    ("text", W, (TypeError, ValueError), "x"),
    (None, W, (TypeError, ValueError), "x"),
], ids=str)  # fmt: skip
def test_wrong_arrays(module: Any, x: Any, w: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        module.forward(x, w)


def test_wrong_names_and_counts(module: Any) -> None:
    for wrong in (lambda: module.forward(X), lambda: module.forward(X, W, W), lambda: module.forward(X, v=W),
                  lambda: module.Module(), lambda: module.Module(v=W)):
        with pytest.raises(TypeError):
            wrong()
    m = module.Module(w=W.copy())
    with pytest.raises(AttributeError, match="no parameter 'x'"):
        m.grad.x = W
    with pytest.raises(RuntimeError, match="forward"):
        m.backward()


def test_zero_size_axes(module: Any) -> None:
    m = module.Module(w=W.copy())
    assert m.forward(np.zeros((0, 3), np.float32)) == 0
    m.backward()
    assert m.grad.w.tolist() == [0, 0, 0]


@needs_c
def test_zero_size_in_fixed_shapes(out: Path) -> None:
    def function(x: Any, w: Any) -> Any:
        y = x @ w
        total = y.sum() + w.sum()
        return y, total

    made = gg.build(gg.trace(function, x=gg.spec(2, 0), w=gg.spec(0, 4, requires_grad=True)), name="nothing", out=out)
    y, total = made.forward(np.zeros((2, 0), np.float32), np.zeros((0, 4), np.float32))
    assert y.tolist() == [[0] * 4] * 2 and total == 0


@pytest.mark.parametrize("change", [
    lambda x: np.asfortranarray(x), lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x[::-1][::-1],
    lambda x: x.astype(">f4"), lambda x: _misaligned(x), lambda x: x.tolist(),
], ids=["fortran", "strided", "reversed", "big-endian", "misaligned", "list"])  # fmt: skip
def test_layouts(module: Any, change: Callable[[Any], Any]) -> None:
    """Any layout and byte order, as input and as parameter, forward and backward."""
    m = module.Module(w=W * 2)
    try:
        found = m.forward(change(X))
    except (TypeError, ValueError) as error:
        assert isinstance(change(X), list), error  # a list has no dtype of its own: an error is fine as well
        return
    assert found == 30
    m.backward()
    assert m.grad.w.tolist() == [3, 5, 7]


def _misaligned(x: np.ndarray) -> np.ndarray:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    made = raw[1:].view(np.float32).reshape(x.shape)
    made[...] = x
    return made


def test_big_endian_and_strided_parameters(module: Any) -> None:
    for w in (np.full(3, 2, ">f4"), np.full(6, 2, np.float32)[::2]):
        assert module.Module(w=w).forward(X) == 30


# --- compilers -------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: Path) -> None:
    """Nothing that could compile is found: neither on PATH nor as an installed package."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "ziglang", None)


@pytest.mark.usefixtures("no_compiler")
def test_no_compiler(out: Path) -> None:
    """emit works; build says how to get a compiler, and the bundle is there all the same."""
    assert (gg.emit(small(), name="sources", out=out) / "sources.c").exists()
    with pytest.raises(CompilerNotFoundError) as caught:
        gg.build(small(), name="built", out=out)
    assert "gradgen[compiler]" in str(caught.value) and "apt" in str(caught.value)
    assert (out / "built" / "built.c").exists()
    assert set(files(out / "built")) == {f.replace("sources", "built") for f in files(out / "sources")}


def test_eager_without_a_compiler(tmp_path: Path) -> None:
    """The interpreter computes, and a warning says why it is slow."""
    code = "import gradgen as gg\nx = gg.tensor([2.0], requires_grad=True)\n(x**3).sum().backward()\nprint(x.grad)"
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT), "GRADGEN_CACHE_DIR": str(tmp_path / "c")}
    environment.pop("CC", None)
    block = tmp_path / "ziglang.py"
    block.write_text("raise ImportError")
    environment["PYTHONPATH"] += os.pathsep + str(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "tensor([12.])\n"
    assert "compiler" in done.stderr


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@needs_c
def test_a_compiler_that_fails(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words, the source kept, no half-built package."""
    words = 'case "$*" in *broken.c*) echo "broken.c: words of the compiler" >&2; exit 3;; esac'
    cc = script(tmp_path / "cc", f'{words}\nexec {C_COMPILERS[0]} "$@"')
    monkeypatch.setenv("CC", str(cc))
    with pytest.raises(CompileError) as caught:
        gg.build(small(), name="broken", out=out)
    assert "words of the compiler" in str(caught.value)
    assert caught.value.source is not None and (caught.value.source / "broken.c").exists()
    assert not [f for f in files(out) if f.endswith((".so", ".o")) or "/." in f"/{f}"]
    monkeypatch.setenv("CC", C_COMPILERS[0])
    assert gg.build(small(), name="broken", out=out).forward(X, W) == 15


# --- cache and folders -----------------------------------------------------------------------------------------------


@needs_c
def test_a_cache_that_cannot_be_written(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRADGEN_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(CacheWarning, match="cannot be used"):
        made = gg.build(small(), name="uncached", out=out)
    assert made.forward(X, W) == 15


@needs_c
def test_a_corrupt_cache(out: Path, tmp_path: Path) -> None:
    """Every file of the cache is overwritten; the next process builds again."""
    code = (f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            "from tests.faults.test_bad_input import *\n"
            f"assert gg.build(small(), name='cached', out={str(out)!r}).forward(X, W) == 15\n"
            "a = gg.tensor([2.0]); assert (a * a + 1).item() == 5")
    for damage in (lambda b: b[: len(b) // 2], lambda b: b"", lambda b: os.urandom(len(b))):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=HANG)
        assert done.returncode == 0, done.stderr
        damaged = 0
        for file in (tmp_path / "cache").rglob("*"):
            if file.is_file() and file.stat().st_size:
                file.chmod(0o600)
                file.write_bytes(damage(file.read_bytes()))
                damaged += 1
        assert damaged
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_cannot_be_written(out: Path) -> None:
    out.write_text("a file in the way")
    with pytest.raises(GradgenError, match="out"):
        gg.emit(small(), name="m", out=out)
    assert out.read_text() == "a file in the way"
    assert files(out.parent) == ["out"]


BUILD = f"""\
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.faults.test_bad_input import *
print("ready", flush=True)
sys.stdin.readline()
module = gg.build(small(), name="shared", out=sys.argv[1])
assert module.forward(X, W) == 15
"""


@needs_c
def test_two_processes_build_the_same(out: Path) -> None:
    started = [
        python(BUILD, str(out), cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        _, words = process.communicate(timeout=HANG)
        assert process.returncode == 0, words
    left = [f for f in files(out) if "/." in f"/{f}" and not Path(f).name.startswith(".gradgen")]
    assert not left


@needs_c
def test_a_build_that_is_killed(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the compiler: the next build works and finds nothing half-done."""
    started = tmp_path / "compiling"
    cc = script(tmp_path / "cc", f'case "$*" in *shared.c*) touch {started}; sleep 36000;; esac\nexec {C_COMPILERS[0]} "$@"')
    monkeypatch.setenv("CC", str(cc))
    process = python(BUILD, str(out), cwd=ROOT, stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    until(started.exists, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not [f for f in files(out) if f.endswith(".so")]
    monkeypatch.setenv("CC", C_COMPILERS[0])
    assert gg.build(small(), name="shared", out=out).forward(X, W) == 15
