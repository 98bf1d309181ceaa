"""Derivative functions of emitted modules: against torch.func, differences in C, strict compilers, and from Python."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import DerivativeError, GradgenError, InvalidNameError
from tests.embed.toolchain import (
    C_COMPILERS,
    CXX_COMPILERS,
    STRICT,
    STRICT_CXX,
    needs_c,
    needs_cxx,
    program,
    run,
)

pytestmark = needs_c
ALL = ("jvp", "jacobian", "hvp", "hessian")
BOTH = ("jacobian", "hessian")


def network(x, y, w, b):  # type: ignore[no-untyped-def]
    loss = gg.nn.functional.binary_cross_entropy_with_logits(gg.tanh(x @ w) + b, y)
    return loss


def rosenbrock(x):  # type: ignore[no-untyped-def]
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def stencil(x, w, n):  # type: ignore[no-untyped-def]
    values = gg.sin(x[1:] * w) + x[:-1]
    total = (x * x).sum()
    count = n * 2
    return values, total, count


def spec(*shape: Any, grad: bool = True, dtype: Any = gg.float64) -> Any:
    return gg.spec(*shape, dtype=dtype, requires_grad=grad)


MODULES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "network": (lambda: gg.trace(network, x=spec("N", 4, grad=False), y=spec("N", 3, grad=False), w=spec(4, 3), b=spec(3)),
                {"derivatives": ALL}),
    "rosen": (lambda: gg.trace(rosenbrock, x=spec(12)), {"derivatives": ALL, "sparse": BOTH}),
    "single": (lambda: gg.trace(rosenbrock, x=spec(7, dtype=gg.float32)), {"derivatives": ALL, "sparse": BOTH}),
    "stencil": (lambda: gg.trace(stencil, x=spec(9), w=spec(), n=gg.spec(dtype=gg.int64)),
                {"derivatives": ("jvp", "jacobian"), "sparse": "jacobian"}),
    "products": (lambda: gg.trace(rosenbrock, x=spec("n")), {"derivatives": "hvp"}),
    "one_file": (lambda: gg.trace(rosenbrock, x=spec(5)), {"sparse": "hessian", "single_file": True}),
}


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derivatives") / "derived"
    for name, (make, options) in MODULES.items():
        gg.emit(make(), name, out=folder, **options)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("derivatives") / "derived_modules"
    return {name: gg.build(make(), name, out=folder, **options) for name, (make, options) in MODULES.items()}


# --- in C ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("cc", C_COMPILERS)
def test_selftest_under_sanitizers(emitted: Path, name: str, cc: str, tmp_path: Path) -> None:
    """Every function against differences, in strict C99, with no access out of bounds."""
    sources = [str(emitted / name / "selftest.c"), str(emitted / name / f"{name}.c")]
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert "all tests passed" in run([program(cc, sources, tmp_path, *flags)], tmp_path)


@needs_cxx
@pytest.mark.parametrize("name", MODULES)
def test_strict_cxx11(emitted: Path, name: str, tmp_path: Path) -> None:
    for cxx in CXX_COMPILERS:
        run([cxx, "-x", "c++", "-std=c++11", *STRICT_CXX, "-c", f"{name}.c", "-o", tmp_path / "o.o"], emitted / name)


@pytest.mark.parametrize("name", MODULES)
def test_only_promised_symbols(emitted: Path, name: str, tmp_path: Path) -> None:
    run([C_COMPILERS[0], "-std=c99", *STRICT, "-fno-pic", "-c", f"{name}.c", "-o", tmp_path / "o.o"], emitted / name)
    rows = [line.split() for line in run(["nm", tmp_path / "o.o"], tmp_path).splitlines()]
    defined = {row[-1] for row in rows if len(row) == 3 and row[1].isupper()}
    header = (emitted / name / f"{name}.h").read_text()
    assert defined == set(re.findall(rf"^GRADGEN_API [\w *]*\b({name}_\w+)\(", header, re.M))
    assert not [row[-1] for row in rows if row[-2] in "dDbB"], "mutable data"


def test_selftest_finds_a_wrong_derivative(emitted: Path, tmp_path: Path) -> None:
    """A product that is one percent off fails, and it is said which function it is."""
    folder = emitted / "products"
    head, name, tail = (folder / "products.c").read_text().partition("products_hvp(")
    assert "* 200.0" in tail
    (tmp_path / "products.c").write_text(head + name + tail.replace("* 200.0", "* 202.0"))
    made = program(C_COMPILERS[0], [str(folder / "selftest.c"), "products.c"], tmp_path, f"-I{folder}")
    done = subprocess.run([made], capture_output=True, text=True)
    assert done.returncode == 1 and "FAILED: derivative against finite differences: hvp" in done.stdout


def test_patterns_in_the_module_record(emitted: Path) -> None:
    """Header macros, manifest and the tables of the C agree."""
    folder = emitted / "rosen"
    header, manifest = (folder / "rosen.h").read_text(), json.loads((folder / "rosen.json").read_text())
    assert "#define ROSEN_HESS_X_X_NONZEROS 34\n" in header and "#define ROSEN_JAC_OUTPUT_X_NONZEROS 12\n" in header
    assert [(p["name"], p["nonzeros"], p["products"]) for p in manifest["patterns"]] == [
        ("jac_output_x", 12, 1), ("hess_x_x", 34, 3),
    ]
    assert manifest["options"]["derivatives"] == "jvp jacobian hvp hessian"


@pytest.mark.parametrize("name", MODULES)
def test_header_cdef_and_manifest_agree(emitted: Path, name: str) -> None:
    manifest = json.loads((emitted / name / f"{name}.json").read_text())

    def prototypes(text: str) -> dict[str, list[str]]:
        flat = re.sub(r"\s+", " ", text)
        return {f: p.strip().split(", ") for f, p in re.findall(rf"\b({name}_\w+)\(([^()]*)\);", flat)}

    header = (emitted / name / f"{name}.h").read_text().partition("_IMPLEMENTATION")[0]
    declared = {f: p for f, p in prototypes(header).items() if not f.endswith("_args")}
    assert declared == prototypes(manifest["cdef"])
    for suffix, parameters in manifest["functions"].items():
        listed = [re.sub(r".*\W", "", p) for p in declared[f"{name}_{suffix}"] if p != "void"]
        assert listed == [p["name"] for p in parameters]


def test_same_bytes_under_any_hash_seed() -> None:
    script = (
        "import hashlib, json\n"
        "from gradgen.compiler.pipeline import generate\nfrom gradgen.options import Options\n"
        "from tests.embed.test_derivative_functions import MODULES\n"
        "files = [sorted(generate(make().graph, n, Options(**o)).items()) for n, (make, o) in MODULES.items()]\n"
        "print(hashlib.sha256(json.dumps(files).encode()).hexdigest())\n"
    )
    root = Path(__file__).resolve().parents[2]
    seen = set()
    for seed in ("0", "1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout)
    assert len(seen) == 1


def test_modules_without_derivatives_say_nothing_of_them(tmp_path: Path) -> None:
    folder = gg.emit(gg.trace(rosenbrock, x=spec(5)), "plain", out=tmp_path)
    assert not (folder / "_derivatives.py").exists()
    for name in ("plain.h", "plain.json", "__init__.py", "README.md", "selftest.c"):
        assert not re.search("jvp|hessian|jacobian|derivatives", (folder / name).read_text()), name


# --- from Python -----------------------------------------------------------------------------------------------------


def network_arguments(n: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.uniform(-1, 1, s) for s in ((n, 4), (n, 3), (4, 3), (3,))]


def test_network_against_torch(built: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    m, arguments = built["network"], network_arguments()
    x, y, w, b = (torch.tensor(a) for a in arguments)

    def loss(w, b):  # type: ignore[no-untyped-def]
        return torch.nn.functional.binary_cross_entropy_with_logits(torch.tanh(x @ w) + b, y)

    rng = np.random.default_rng(2)
    dw, db = rng.uniform(-1, 1, (4, 3)), rng.uniform(-1, 1, 3)
    value, moved = m.jvp(*arguments, tangents=(dw, db))
    theirs = torch.func.jvp(loss, (w, b), (torch.tensor(dw), torch.tensor(db)))
    close = {"rtol": 1e-12, "atol": 1e-13}  # double precision, sums of 60 terms
    np.testing.assert_allclose(value, theirs[0], **close)
    np.testing.assert_allclose(moved, theirs[1], **close)
    for mine, other in zip(m.jacobian(*arguments), torch.func.jacrev(loss, (0, 1))(w, b), strict=True):
        np.testing.assert_allclose(mine, other, **close)
    full = torch.func.hessian(loss, (0, 1))(w, b)
    for mine, other in zip(m.hessian(*arguments), full, strict=True):
        for block, expected in zip(mine, other, strict=True):
            np.testing.assert_allclose(block, expected, **close)
    products = m.hvp(*arguments, directions={"w": dw, "b": db})
    _, expected = torch.autograd.functional.hvp(loss, (w, b), (torch.tensor(dw), torch.tensor(db)))
    for mine, other in zip(products, expected, strict=True):
        np.testing.assert_allclose(mine, other, **close)


@pytest.mark.parametrize("n", [0, 1, 300])
def test_any_batch(built: dict[str, Any], n: int) -> None:
    m, arguments = built["network"], network_arguments(n)
    d = {"w": np.ones((4, 3))}
    hessian, products = m.hessian(*arguments), m.hvp(*arguments, directions=d)
    expected = np.einsum("abcd,cd->ab", hessian.w.w, d["w"]), np.einsum("acd,cd->a", hessian.b.w, d["w"])
    for mine, other in zip(products, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-13, equal_nan=True)


def test_what_is_left_out_is_zero(built: dict[str, Any]) -> None:
    m, arguments = built["network"], network_arguments()
    zero = {"w": np.zeros((4, 3)), "b": np.zeros(3)}
    one = {"b": np.array([1.0, -2.0, 0.5])}
    assert m.jvp(*arguments, tangents=one)[1] == m.jvp(*arguments, tangents=zero | one)[1]
    assert m.jvp(*arguments, tangents=None)[1] == 0.0
    assert (m.hvp(*arguments, directions=None).w == 0).all()


def rosenbrock_hessian(x: np.ndarray) -> np.ndarray:
    n = len(x)
    h = np.zeros((n, n))
    for k in range(n - 1):
        h[k, k] += 1200 * x[k] ** 2 - 400 * x[k + 1] + 2
        h[k + 1, k + 1] += 200
        h[k, k + 1] = h[k + 1, k] = -400 * x[k]
    return h


@pytest.mark.parametrize(("name", "tolerance"), [("rosen", 1e-13), ("single", 2e-6)])
def test_rosenbrock(built: dict[str, Any], name: str, tolerance: float) -> None:
    """Second derivatives by hand; the tolerance is a few units in the last place of the largest."""
    m = built[name]
    x = np.linspace(-1.5, 1.5, m.info.inputs[0].shape[0]).astype(m.info.inputs[0].dtype)
    expected = rosenbrock_hessian(x.astype(np.float64))
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(m.hessian(x).x.x, expected, rtol=0, atol=atol)
    data, indices, indptr = found = m.hessian_sparse(x).x.x
    assert len(data) == len(indices) == indptr[-1] == 3 * len(x) - 2
    np.testing.assert_allclose(found.toarray(), expected, rtol=0, atol=atol)
    np.testing.assert_allclose(m.jacobian_sparse(x).x.toarray()[0], m.jacobian(x).x, rtol=tolerance, atol=atol)


def test_csr_goes_to_scipy(built: dict[str, Any]) -> None:
    pytest.importorskip("scipy")
    found = built["rosen"].hessian_sparse(np.linspace(-1, 1, 12)).x.x
    np.testing.assert_array_equal(found.scipy().toarray(), found.toarray())
    assert found.shape == (12, 12) and not found.indices.flags.writeable


def test_several_outputs(built: dict[str, Any]) -> None:
    """By output and parameter; integer outputs have values, and no derivatives."""
    m, x, w = built["stencil"], np.linspace(0, 1, 9), np.array(0.7)
    dx, dw = np.cos(np.arange(9.0)), np.array(-1.5)
    values, dots = m.jvp(x, w, 3, tangents=(dx, dw))
    assert values.count == 6 and dots._fields == ("values", "total")
    jacobian, sparse = m.jacobian(x, w, 3), m.jacobian_sparse(x, w, 3)
    assert jacobian.values.x.shape == (8, 9) and jacobian.total.w.shape == ()
    np.testing.assert_allclose(dots.values, jacobian.values.x @ dx + jacobian.values.w * dw, rtol=1e-14)
    np.testing.assert_allclose(dots.total, jacobian.total.x @ dx, rtol=1e-14)
    np.testing.assert_allclose(dots.values, np.cos(x[1:] * w) * (dx[1:] * w + x[1:] * dw) + dx[:-1], rtol=1e-14)
    for output in ("values", "total"):
        for parameter in ("x", "w"):
            block = getattr(getattr(jacobian, output), parameter)
            one = getattr(getattr(sparse, output), parameter)
            np.testing.assert_allclose(one.toarray(), block.reshape(one.shape), rtol=1e-14)
    assert len(sparse.values.x.data) == 16 and len(sparse.total.w.data) == 0


def test_methods_of_module(built: dict[str, Any]) -> None:
    m, (x, y, w, b) = built["network"], network_arguments()
    module = m.Module(w=w, b=b)
    np.testing.assert_array_equal(module.hessian(x, y).w.b, m.hessian(x, y, w, b).w.b)
    np.testing.assert_array_equal(module.jacobian(x, y).w, m.jacobian(x, y, w, b).w)
    assert module.jvp(x, y, tangents={"b": b})[1] == m.jvp(x, y, w, b, tangents={"b": b})[1]
    np.testing.assert_array_equal(module.hvp(x, y, directions=(w, b)).w, m.hvp(x, y, w, b, directions=(w, b)).w)
    rosen = built["rosen"]
    x = np.linspace(0, 1, 12)
    np.testing.assert_array_equal(rosen.Module(x).hessian_sparse().x.x.data, rosen.hessian_sparse(x).x.x.data)


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda m, a: m.jvp(*a, tangents={"z": 1.0}), TypeError, "tangents has no 'z'"),
    (lambda m, a: m.jvp(*a, tangents={"b": np.ones(4)}), ValueError, r"tangents for b must have shape \[3\], not \[4\]"),
    (lambda m, a: m.hvp(*a, directions={"b": np.ones(3) * 1j}), TypeError, "b must be float64"),
    (lambda m, a: m.hessian(*a[:3], np.ones(2)), ValueError, "b must have shape"),
])
def test_bad_arguments(built: dict[str, Any], call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(built["network"], network_arguments())


def test_threads(built: dict[str, Any]) -> None:
    """Each thread has its own scratch memory."""
    m, results = built["rosen"], {}

    def work(k: int) -> None:
        x = np.linspace(-k, k, 12)
        results[k] = all((m.hessian(x).x.x == m.hessian(x).x.x).all() for _ in range(50)) and m.hessian(x).x.x

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, found in results.items():
        np.testing.assert_array_equal(found, m.hessian(np.linspace(-k, k, 12)).x.x)


def test_results_not_wanted(emitted: Path, tmp_path: Path) -> None:
    """NULL blocks, through the generic signature, as a C host would ask for one of them."""
    folder = emitted / "network"
    run([C_COMPILERS[0], "-std=c99", "-O1", "-shared", "-fPIC", "network.c", "-lm", "-o", tmp_path / "lib.so"], folder)
    lib = ctypes.CDLL(str(tmp_path / "lib.so"))
    arguments = network_arguments()
    lib.network_work_bytes.restype = ctypes.c_size_t
    work = np.zeros(lib.network_work_bytes(ctypes.c_int64(5)) + 64, np.uint8)
    address = -(-work.ctypes.data // 64) * 64
    block = np.full((3, 3), np.nan)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in arguments]
    status = lib.network_hessian(ctypes.c_int64(5), *pointers, None, None, None, block.ctypes.data_as(ctypes.c_void_p),
                                 ctypes.c_void_p(address))
    assert status == 0 and np.isfinite(block).all() and (block != 0).any()


# --- what cannot be --------------------------------------------------------------------------------------------------


def test_second_derivatives_need_one_scalar(tmp_path: Path) -> None:
    make = MODULES["stencil"][0]
    for options in ({"derivatives": "hvp"}, {"derivatives": "hessian"}, {"sparse": "hessian"}):
        with pytest.raises(DerivativeError, match="needs exactly one differentiable output, a scalar"):
            gg.emit(make(), "stencil", out=tmp_path, **options)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("options", "text"), [
    ({"derivatives": "gradient"}, "derivatives='gradient' is not one of"),
    ({"sparse": ("jacobian", "hvp")}, "sparse='hvp' is not one of"),
])
def test_bad_options(options: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(GradgenError, match=text):
        gg.emit(gg.trace(rosenbrock, x=spec(5)), "bad", out=tmp_path, **options)


def test_nothing_to_differentiate_by(tmp_path: Path) -> None:
    with pytest.raises(DerivativeError, match="needs an input to differentiate by"):
        gg.emit(gg.trace(rosenbrock, x=spec(5, grad=False)), "bad", out=tmp_path, derivatives="jvp")


def test_sparse_needs_fixed_shapes(tmp_path: Path) -> None:
    with pytest.raises(GradgenError, match="needs fixed shapes"):
        gg.emit(gg.trace(rosenbrock, x=spec("N")), "bad", out=tmp_path, sparse="hessian")


def test_names_that_collide(tmp_path: Path) -> None:
    """hess_a_b_c could be two blocks; an input could be called like an argument of the Python function."""
    traced = gg.trace(lambda a, a_b, b_c, c: (a * a_b * b_c * c).sum(), a=spec(2), a_b=spec(2), b_c=spec(2), c=spec(2))
    with pytest.raises(InvalidNameError, match="hess_a_b_c"):
        gg.emit(traced, "names", out=tmp_path, derivatives="hessian")
    gg.emit(traced, "names", out=tmp_path, derivatives=("jvp", "hvp", "jacobian"))
    with pytest.raises(InvalidNameError, match="tangents"):
        gg.emit(gg.trace(lambda tangents: (tangents ** 2).sum(), tangents=spec(3)), "names", out=tmp_path, derivatives="jvp")


# --- recurrences and mixed types -------------------------------------------------------------------------------------


def test_recurrence(tmp_path: Path) -> None:
    """A scan has a forward mode or is pushed through its adjoint: both give what differences say."""
    def run_steps(y, p):  # type: ignore[no-untyped-def]
        def step(c, _):  # type: ignore[no-untyped-def]
            return c + 0.1 * gg.stack([c[1], -p * gg.sin(c[0])]), None
        return (gg.scan(step, y, length=20)[0] ** 2).sum()

    traced = gg.trace(run_steps, y=spec(2), p=spec())
    m = gg.build(traced, "pendulum", out=tmp_path / "recurrence", derivatives=("jvp", "jacobian"))
    y, p = np.array([0.5, -0.2]), np.array(1.3)
    dy, dp = np.array([0.3, 0.4]), np.array(-0.7)
    jacobian = m.jacobian(y, p)
    moved = m.jvp(y, p, tangents=(dy, dp))[1]
    np.testing.assert_allclose(moved, jacobian.y @ dy + jacobian.p * dp, rtol=1e-12)
    h = 1e-5
    change = (m.forward(y + h * dy, p + h * dp) - m.forward(y - h * dy, p - h * dp)) / (2 * h)
    np.testing.assert_allclose(moved, change, rtol=1e-8)  # h^2 and eps / h


def test_mixed_types(tmp_path: Path) -> None:
    """Blocks have the dtype of what is differentiated."""
    traced = gg.trace(lambda a, b: (gg.sin(a) * b * b).sum(), a=spec(3, dtype=gg.float32), b=spec(3))
    m = gg.build(traced, "mixed", out=tmp_path / "mixed_types", derivatives=ALL, sparse=BOTH)
    a, b = np.array([0.1, 0.2, 0.3], np.float32), np.array([1.0, 2.0, 3.0])
    hessian = m.hessian(a, b)
    assert hessian.a.b.dtype == np.float32 and hessian.b.a.dtype == np.float64
    expected = np.diag(2 * b * np.cos(a.astype(np.float64)))
    np.testing.assert_allclose(hessian.b.a, expected, rtol=1e-6)  # one factor is float32
    np.testing.assert_allclose(m.hessian_sparse(a, b).a.b.toarray(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["rosen", "network"])
def test_derivatives_without_a_backward(name: str, tmp_path: Path) -> None:
    """forward_only leaves out backward, value_and_grad and zero_grad; what was asked for beside is the same."""
    make, options = MODULES[name]
    traced, made = make(), {}
    for lean in (True, False):
        module = gg.build(traced, name, out=tmp_path / f"lean_{lean}".lower(), forward_only=lean, **options)
        shapes = [tuple(e if isinstance(e, int) else 3 for e in t.shape) for t in module.info.inputs]
        rng = np.random.default_rng(0)
        x = [rng.uniform(0.1, 0.9, s) for s in shapes]
        along = tuple(np.ones(s) for t, s in zip(module.info.inputs, shapes) if t.requires_grad)
        found = [module.jvp(*x, tangents=along), module.jacobian(*x), module.hvp(*x, directions=along), module.hessian(*x)]
        made[lean] = repr((module.forward(*x), found))
        assert hasattr(module, "value_and_grad") is not lean and module.info.differentiable is not lean
        if lean:
            held = module.Module(*(v for t, v in zip(module.info.inputs, x) if t.requires_grad))
            with pytest.raises(RuntimeError, match="without gradients"):
                held.backward()
    assert made[True] == made[False]
    folder = tmp_path / "lean_true" / name
    header = (folder / f"{name}.h").read_text()
    assert "grad_" not in header and "_backward(" not in header and f"{name}_hessian(" in header
    for source in ("selftest.c", "example.c"):
        run([program(C_COMPILERS[0], [source, f"{name}.c"], folder, "-O1", name=source[:4])], folder)
