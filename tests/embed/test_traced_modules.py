"""Bundles of traced functions as an embedder meets them: hostile names, small machines, recorded values, memory."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import gradgen as gg
from benchmarks.cases.convolution import lenet
from gradgen.compiler.pipeline import stages
from gradgen.options import Options
from gradgen.schedule import saved_layout
from tests.embed.toolchain import C_COMPILERS, STRICT, needs_c, program, run
from tests.golden.small import PROGRAMS

pytestmark = needs_c


def hostile(x, w, s0, s1, s2, s3, t0, v1, rest, scratch, element, i, j, row0):  # type: ignore[no-untyped-def]
    """Arguments named as the generator might name values of its own."""
    z = x @ w + s0 * s1
    h = gg.tanh(gg.exp(z * s2) + s3) * gg.sigmoid(z)
    return (h @ (w.T * t0) + v1).sum() * (scratch * element).sum() * rest * (i + j + row0)


def traced_hostile() -> gg.TracedFunction:  # type: ignore[name-defined]
    scalars = {n: gg.spec(requires_grad=True) for n in ("s0", "s1", "s2", "s3", "t0", "v1", "rest", "i", "j", "row0")}
    return gg.trace(hostile, x=gg.spec("k", 20), w=gg.spec(20, "element0", requires_grad=True),
                    scratch=gg.spec("rows"), element=gg.spec("rows", requires_grad=True), **scalars)


def network(x, t, w1, b1, w2, b2):  # type: ignore[no-untyped-def]
    logits = gg.relu(x @ w1 + b1) @ w2 + b2
    return gg.nn.functional.cross_entropy(logits, t)


def traced_network() -> gg.TracedFunction:  # type: ignore[name-defined]
    return gg.trace(network, x=gg.spec("N", 64), t=gg.spec("N", dtype=gg.int64), w1=gg.spec(64, 64, requires_grad=True),
                    b1=gg.spec(64, requires_grad=True), w2=gg.spec(64, 10, requires_grad=True),
                    b2=gg.spec(10, requires_grad=True))


@pytest.mark.parametrize("cc", C_COMPILERS)
def test_names_do_not_collide_with_generated_ones(cc: str, tmp_path: Path) -> None:
    folder = gg.emit(traced_hostile(), "hostile", out=tmp_path)
    assert "all tests passed" in run([program(cc, ["selftest.c", "hostile.c"], folder)], folder)


@pytest.mark.skipif("clang" not in C_COMPILERS, reason="clang is the cross compiler that is always whole")
@pytest.mark.parametrize("make", [traced_hostile, traced_network])
def test_matrix_products_on_32_bits(make: Callable[[], gg.TracedFunction], tmp_path: Path) -> None:  # type: ignore[name-defined]
    """Where ptrdiff_t has 32 bits and dimensions have 64."""
    folder = gg.emit(make(), "model", out=tmp_path)
    (tmp_path / "gnu").mkdir()
    (tmp_path / "gnu" / "stubs-32.h").touch()
    headers = ["-I", tmp_path, "-isystem", "/usr/include/x86_64-linux-gnu", "-isystem", "/usr/include"]
    probe = ["clang", "--target=i686-linux-gnu", "-std=c99", "-fsyntax-only", *headers]
    (tmp_path / "empty.c").write_text("#include <math.h>\n#include <string.h>\nextern int x;\n")
    if subprocess.run([*map(str, probe), "empty.c"], cwd=tmp_path, capture_output=True).returncode != 0:
        pytest.skip("no headers for a 32-bit target")
    run([*probe, *STRICT, "model.c"], folder)


@pytest.mark.parametrize("name", PROGRAMS)
def test_recorded_values(name: str, tmp_path: Path) -> None:
    """The self-test of every small program compares with values that the interpreter computed."""
    make, options = PROGRAMS[name]
    folder = gg.emit(make(), name, out=tmp_path, **options)
    assert "sums_" in (folder / "selftest.c").read_text()
    made = program(C_COMPILERS[0], ["selftest.c", f"{name}.c"], folder)
    assert "all tests passed" in run([made], folder)


def test_selftest_knows_the_rounding_of_forward(tmp_path: Path) -> None:
    """Five layers of positive weights: millions inside, and a loss that is the difference of two such numbers."""
    shapes = {"k1": (6, 1, 5, 5), "c1": (6,), "k2": (16, 6, 5, 5), "c2": (16,), "w3": (120, 400), "b3": (120,),
              "w4": (84, 120), "b4": (84,), "w5": (10, 84), "b5": (10,)}  # fmt: skip
    weights = {name: gg.spec(*shape, requires_grad=True) for name, shape in shapes.items()}
    traced = gg.trace(lambda **given: lenet(gg, **given), x=gg.spec(2, 1, 28, 28), t=gg.spec(2, dtype=gg.int64), **weights)
    folder = gg.emit(traced, "deep", out=tmp_path)
    for optimised in (["-O1"], ["-O3", "-march=native"]):  # without and with fused multiply-add
        made = program(C_COMPILERS[0], ["selftest.c", "deep.c", *optimised], folder)
        assert "all tests passed" in run([made], folder)


def kernels(a, b):  # type: ignore[no-untyped-def]
    """A factorisation, an order, a recurrence."""
    low = gg.linalg.cholesky(a @ a.T + gg.eye(3))
    return gg.linalg.solve(low, b).sort(0)[0].cumsum(0)


def test_kernels_and_recurrences_have_recorded_values_too(tmp_path: Path) -> None:
    spec = gg.spec(3, 3, requires_grad=True)
    folder = gg.emit(gg.trace(kernels, a=spec, b=spec), "kernels", out=tmp_path)
    assert "sums_" in (folder / "selftest.c").read_text()
    assert "all tests passed" in run([program(C_COMPILERS[0], ["selftest.c", "kernels.c"], folder)], folder)


def running_sum(x):  # type: ignore[no-untyped-def]
    """Its derivative reads neither the sequence nor the carries."""
    return x.cumsum(0).sin().sum()


def kinks(x, w, fc):  # type: ignore[no-untyped-def]
    """Many kinks near the self-test's numbers: relu and max pooling over sums of 18."""
    h = gg.nn.functional.max_pool2d(gg.relu(gg.nn.functional.conv2d(x, w)), 2)
    return gg.nn.functional.log_softmax(h.flatten(1) @ fc, dim=1)[:, 0].sum()


KINKS = {"x": gg.spec("N", 2, 6, 6), "w": gg.spec(3, 2, 3, 3, requires_grad=True), "fc": gg.spec(12, 5, requires_grad=True)}


@pytest.mark.parametrize("cc", C_COMPILERS)
@pytest.mark.parametrize("function, arguments", [(running_sum, {"x": gg.spec("N", requires_grad=True)}), (kinks, KINKS)])
def test_self_test_passes(
    cc: str, function: Callable, arguments: dict, tmp_path: Path  # type: ignore[type-arg]
) -> None:
    folder = gg.emit(gg.trace(function, **arguments), "model", out=tmp_path)
    assert "all tests passed" in run([program(cc, ["selftest.c", "model.c"], folder)], folder)


def test_recorded_values_find_a_wrong_forward(tmp_path: Path) -> None:
    """Forward and gradient wrong by the same factor: only recorded values can tell."""
    traced = gg.trace(lambda x: (x * x * 3.0).sum(), x=gg.spec(4, requires_grad=True))
    folder = gg.emit(traced, "wrong", out=tmp_path)
    source = (folder / "wrong.c").read_text()
    changed = source.replace("3.0f", "3.25f").replace("6.0f", "6.5f")
    assert changed != source
    (folder / "wrong.c").write_text(changed)
    made = program(C_COMPILERS[0], ["selftest.c", "wrong.c"], folder)
    said = subprocess.run([made], capture_output=True, text=True).stdout
    assert "FAILED: recorded values: output" in said and "finite differences" not in said


def test_origin_names_the_users_lines(tmp_path: Path) -> None:
    folder = gg.emit(traced_network(), "network", out=tmp_path)
    first = network.__code__.co_firstlineno
    assert f"From test_traced_modules.py:{first + 1}-{first + 2}." in (folder / "network.c").read_text()


def test_small_saved_values_stand_side_by_side() -> None:
    """Hundreds of saved scalars cost what they hold, not 64 bytes each."""
    def recurrence(x):  # type: ignore[no-untyped-def]
        for _ in range(100):
            x = gg.sin(x) * 1.5
        return x

    made = stages(gg.trace(recurrence, x=gg.spec(requires_grad=True, dtype=gg.float64)).graph, Options())
    layout = saved_layout(made.procedures)
    assert len(layout.offsets) >= 30
    assert layout.bytes <= 64 + 8 * len(layout.offsets) + 64
    assert sorted(layout.offsets.values()) == [64 + 8 * k for k in range(len(layout.offsets))]


def test_saved_bytes_against_pytorch() -> None:
    """The digits network keeps no more for its backward than PyTorch does."""
    torch = pytest.importorskip("torch")
    batch = 64
    layout = saved_layout(stages(traced_network().graph, Options()).procedures)
    ours = int(layout.bytes.subs({s: batch for s in layout.bytes.free_symbols}))  # type: ignore[union-attr]
    shapes = [(64, 64), (64,), (64, 10), (10,)]
    parameters = [torch.randn(s, requires_grad=True) for s in shapes]
    x, t = torch.randn(batch, 64), torch.zeros(batch, dtype=torch.int64)
    kept = {}

    def pack(tensor):  # type: ignore[no-untyped-def]
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        w1, b1, w2, b2 = parameters
        torch.nn.functional.cross_entropy(torch.relu(x @ w1 + b1) @ w2 + b2, t)
    theirs = sum(kept.values())
    arguments = sum(kept.get(a.untyped_storage().data_ptr(), 0) for a in (x, t, *parameters))
    assert ours <= theirs
    # without the arguments, which gradgen's backward is given again: the same but for the 64-byte header, padding to 64
    # bytes, and two numbers a sample (softmax's maximum and sum)
    assert ours <= theirs - arguments + 64 + 4 * 64 + 8 * batch


def test_diagonal_of_a_value_that_is_kept(tmp_path: Path) -> None:
    """A single element of each row is read once the row is finished, not before."""
    def diagonal(a, b):  # type: ignore[no-untyped-def]
        both = gg.sin(a[:, None] * b[None, :])
        return both * 2.0, gg.diagonal(both) * 3.0

    folder = gg.emit(gg.trace(diagonal, a=gg.spec(8), b=gg.spec(8)), "diagonal", out=tmp_path)
    assert "all tests passed" in run([program(C_COMPILERS[0], ["selftest.c", "diagonal.c"], folder)], folder)


def test_shifts_of_negative_integers(tmp_path: Path) -> None:
    """To the right the sign stays, for a compiler that says nothing about it too."""
    specs = {"a": gg.spec(4, dtype=gg.int32), "b": gg.spec(4, dtype=gg.int64), "n": gg.spec(4, dtype=gg.int32)}
    traced = gg.trace(lambda a, b, n: (a >> n, b >> n, a << n), **specs)
    module = gg.build(traced, "shifts", out=tmp_path)
    a, n = np.array([-9, -1, 7, -(2**31)], np.int32), np.array([1, 31, 2, 30], np.int32)
    b = np.array([-9, -(2**40), 7, -(2**63)], np.int64)
    right, wide, left = module.forward(a, b, n)
    assert right.tolist() == [int(x) >> int(k) for x, k in zip(a, n)]
    assert wide.tolist() == [int(x) >> int(k) for x, k in zip(b, n)]
    assert left.tolist() == [-18, -(2**31), 28, 0]
