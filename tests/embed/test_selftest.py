"""The emitted self-test tells the truth: right modules pass, at kinks and ties too, and faults in the C are found."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import gradgen as gg
import gradgen.nn.functional as F
from tests.embed.toolchain import C_COMPILERS, needs_c, program, run

pytestmark = needs_c

FAST = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
"""As modules are built: contracted, in vectors, sums in another order than -O1's."""


def floats(*shape: Any, grad: bool = True, dtype: Any = gg.float32) -> Any:
    return gg.spec(*shape, dtype=dtype, requires_grad=grad)


def whole(*shape: Any) -> Any:
    return gg.spec(*shape, dtype=gg.int64)


def pooling(x, w, b, v):  # type: ignore[no-untyped-def]
    h = F.max_pool2d(F.relu(F.conv2d(x, w, b, padding=1)), 2)
    return (h.flatten(1) @ v).square().mean()


def deep(x, a, b, c):  # type: ignore[no-untyped-def]
    return F.relu(F.relu(F.relu(x @ a) @ b) @ c).sum()


def recurrence(x, h, w):  # type: ignore[no-untyped-def]
    return gg.scan(lambda h, x: ((h @ w + x).tanh(),) * 2, h, x)[1]


def several(x, y, m):  # type: ignore[no-untyped-def]
    return gg.where(m, x * y, x**3), x.max(dim=0).values - y.min(), x.argmax(dim=1), x > y


D = gg.float64
RIGHT: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "pooling": (
        pooling, {"x": floats("N", 1, 8, 8, grad=False), "w": floats(3, 1, 3, 3), "b": floats(3), "v": floats(48, 2)}),
    "deep": (deep, {"x": floats("N", 16, grad=False), "a": floats(16, 32), "b": floats(32, 32), "c": floats(32, 4)}),
    "index_copy": (lambda x, i, y: gg.index_copy(x, 0, i, y), {"x": floats(5, 4), "i": whole(5), "y": floats(5, 4)}),
    "index_put": (
        lambda x, i, y: gg.index_put(x, (i,), y), {"x": floats(3, 4, dtype=D), "i": whole(7), "y": floats(7, 4, dtype=D)}),
    "scatter": (lambda x, i, y: gg.scatter(x, 1, i, y).sin(), {"x": floats(5, 4), "i": whole(5, 3), "y": floats(5, 3)}),
    "sort": (lambda x: x.sort(1).values * gg.arange(6), {"x": floats("N", 6)}),
    "top": (
        lambda x: gg.topk(x, 3, dim=1).values.exp() + x.median(dim=1, keepdim=True).values, {"x": floats("N", 7, dtype=D)}),
    "embedding": (lambda i, w: F.embedding(i, w, padding_idx=1).tanh(), {"i": whole("N", 2), "w": floats(7, 3)}),
    "classes": (
        lambda x, w, t: F.cross_entropy(x @ w, t), {"x": floats("N", 6, grad=False), "w": floats(6, 5), "t": whole("N")}),
    "batch_norm": (
        lambda x, w, b, mean, var: F.batch_norm(x, mean, var.square(), w, b),
        {"x": floats("N", 4, 3), "w": floats(4), "b": floats(4), **dict.fromkeys(("mean", "var"), floats(4, grad=False))}),
    "recurrence": (
        recurrence, {"x": floats("N", 6, grad=False, dtype=D), "h": floats(6, dtype=D), "w": floats(6, 6, dtype=D)}),
    "running": (lambda x: x.sin().cumsum(0) * x.cumprod(1), {"x": floats("N", 6)}),
    "detached": (lambda x: x * x.detach() + x.round(), {"x": floats(40)}),
    "steps": (lambda x: (x * 9).floor() + x.abs() + x.clamp(-0.3, 0.3), {"x": floats(50, dtype=D)}),
    "several": (several, {"x": floats("N", 5), "y": floats(5), "m": gg.spec("N", 5, dtype=gg.bool)}),
    "functions": (
        lambda x: gg.lgamma(x) + gg.digamma(x + 1) + gg.erf(x) + x.log() * x.sqrt() + x.softmax(0), {"x": floats(33)}),
    "matrices": (
        lambda a, b: gg.linalg.solve(gg.linalg.cholesky(a @ a.T + gg.eye(4)), b) + gg.linalg.det(a),
        {"a": floats(4, 4), "b": floats(4, 2)}),
    "derivatives": (
        lambda x, w: F.relu(x @ w).square().sum() + x.amax(), {"x": floats(4, dtype=D), "w": floats(4, 3, dtype=D)}),
    "wide": (lambda x, y: (x @ y).tanh(), {"x": floats(40, 300), "y": floats(300, 35)}),
}
OPTIONS: dict[str, dict[str, Any]] = {"derivatives": {"derivatives": ("jvp", "hvp", "jacobian", "hessian")}}
UNRECORDED = {"wide"}
"""Too much for the interpreter: differences alone are compared."""


def emitted(name: str, out: Path) -> Path:
    function, specs = RIGHT[name]
    return gg.emit(gg.trace(function, name=name, **specs), out=out, **OPTIONS.get(name, {}))


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_module_passes(name: str, tmp_path: Path) -> None:
    folder = emitted(name, tmp_path)
    text = (folder / "selftest.c").read_text()
    assert ("sums_" in text) == (name not in UNRECORDED)
    for flags in (("-O1",), FAST):
        said = run([program(C_COMPILERS[0], ["selftest.c", f"{name}.c", *flags], folder)], folder)
        assert "all tests passed" in said


def test_the_package_tests_itself_too(tmp_path: Path) -> None:
    """At kinks, and with integers that differ; and a wrong gradient is found."""
    for name in ("index_copy", "deep"):
        function, specs = RIGHT[name]
        module = gg.build(gg.trace(function, name=name, **specs), out=tmp_path)
        assert max(module.self_test().values()) < 0.02
    wrong = gg.trace(lambda x: (x * x.detach()).sum(), name="half", x=floats(5))
    with pytest.raises(RuntimeError, match="gradient of x"):
        gg.build(wrong, out=tmp_path).self_test()


# --- faults ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What a regular expression finds in the C of a program is replaced, in the first place, the last one or all of them."""

    program: str
    pattern: str
    new: str
    where: str = "first"


LABEL = r"const int64_t (t_\d+) = t\[(i|i \+ j)\];"
RIGHT["wave"] = (lambda x: x.cos().sum(), {"x": floats(50, dtype=D)})
FAULTS = {
    "cos off by 5,000 ulp": Fault("wave", r"double m = (.*);", r"double m = (\1) * (1.0 + 1.1e-12);"),
    "sin off by 5,000 ulp": Fault("wave", r"double m = (.*);", r"double m = (\1) * (1.0 + 1.1e-12);", where="last"),
    "a coefficient of sin": Fault("wave", r"0\.008333333333321919", "0.008333333433321919"),
    "the sign of a gradient": Fault("wave", r"= (row\d+\[i\]) \+ -", r"= \1 + "),
    "a factor of a gradient": Fault("wave", r"(row\d+\[i\]) \+ -", r"\1 + -1.001 * ", where="last"),
    "one element too few": Fault("wave", r"i < 50; \+\+i\) \{\n( *)output_0", r"i < 49; ++i) {\n\1output_0"),
    "a gradient that is set": Fault("wave", r"!\(\(flags & GRADGEN_SET_GRAD\) != 0u\) \? grad_x : (\w+)", r"0 ? grad_x : \1"),
    "a gradient that is always added": Fault("wave", r"!\(\(flags & GRADGEN_SET_GRAD\) != 0u\) \?", "1 ?", where="last"),
    "a label off by one": Fault("classes", LABEL, r"const int64_t \1 = (t[\2] + 1) % 5;"),
    "a label off by one in the gradient": Fault("classes", LABEL, r"const int64_t \1 = (t[\2] + 1) % 5;", where="last"),
    "a coefficient of exp": Fault("classes", r"0\.49999994f", "0.4999f"),
    "a sum that is not cleared": Fault("classes", r"memset\((v\d+), 0, [^;]*\);", ";", where="last"),
    "a sum whose terms replace it": Fault("classes", r"(v\d+\[[^=]*?\]) = \1 \+ ", r"\1 = "),
    "the elements of a mean": Fault("pooling", r"gg_mul_i64\(N, 2\)", "gg_mul_i64(N, 3)"),
    "the place of a maximum": Fault("pooling", r"(s\d+) = (t\d+) \? (\w) : \1;", r"\1 = \2 ? (\3 ^ 1) : \1;"),
    "relu below 0": Fault("pooling", r"(t\d+) <= 0\.0f \? 0\.0f : \1", r"\1 <= 0.0f ? 0.01f * \1 : \1", where="all"),
    "a gradient's mask": Fault("pooling", r" <= 0\.0f \? 0\.0f : ", " > 0.0f ? 0.0f : ", where="last"),
    "a term of a recurrence": Fault("recurrence", r"gg_tanh_f64\(([^;]*?) \+ [^;]*?\)", r"gg_tanh_f64(\1)"),
    "a place that a scatter writes": Fault(
        "scatter", r"const int64_t (n\d+) = i\[(.*?)\];", r"const int64_t \1 = (i[\2] + 1) % 4;", where="last"),
}


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of modules, and the objects of their self-tests, which are the same for all faults."""
    found = {}
    for name in {f.program for f in FAULTS.values()}:
        found[name] = folder = emitted(name, tmp_path_factory.mktemp(name))
        run([C_COMPILERS[0], "-std=c99", "-O0", "-c", "selftest.c", "-o", "selftest.o"], folder)
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, modules: dict[str, Path], tmp_path: Path) -> None:
    fault = FAULTS[name]
    folder = modules[fault.program]
    source = (folder / f"{fault.program}.c").read_text()
    places = list(re.finditer(fault.pattern, source))
    assert places, f"nothing like {fault.pattern} in\n{source}"
    chosen = {"first": places[:1], "last": places[-1:], "all": places}[fault.where]
    changed = source
    for place in reversed(chosen):
        changed = changed[: place.start()] + place.expand(fault.new) + changed[place.end() :]
    (tmp_path / f"{fault.program}.c").write_text(changed)
    command = [C_COMPILERS[0], "-std=c99", "-O1", "-w", f"{fault.program}.c", folder / "selftest.o", f"-I{folder}", "-lm"]
    run([*command, "-o", "program"], tmp_path)
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True)
    assert done.returncode > 0 and "FAILED" in done.stdout, done.stdout
