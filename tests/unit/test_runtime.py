"""The Python package of a bundle: modules, functions, arguments, errors, memory."""

from __future__ import annotations

import array
import copy
import gc
import importlib
import pickle
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gradgen.codegen.bundle import make_bundle, write_bundle
from tests.embed.handmade import ALL
from tests.embed.toolchain import C_COMPILERS

pytestmark = pytest.mark.skipif(not C_COMPILERS, reason="no C compiler")
PACKAGE = "made_by_test_runtime"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The handmade modules, imported: their first import compiles them."""
    folder = tmp_path_factory.mktemp("runtime")
    for name, make in ALL.items():
        write_bundle(make_bundle(make()), folder / PACKAGE / name)
    sys.path.insert(0, str(folder))
    yield {name: importlib.import_module(f"{PACKAGE}.{name}") for name in ALL}
    sys.path.remove(str(folder))


@pytest.fixture
def bce(made: dict[str, Any]) -> Any:
    return made["linear_bce"]


def numbers(n: int = 4) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(n)
    shapes = ((n, 5), (n, 3), (5, 3), (3,))
    return tuple(rng.uniform(-1, 1, s).astype(np.float32) for s in shapes)


def reference(x: Any, y: Any, w: Any, b: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss and gradients in float64, from the formula."""
    x, y, w, b = (np.asarray(a, np.float64) for a in (x, y, w, b))
    z = x @ w + b
    r = (1 / (1 + np.exp(-z)) - y) / z.size
    return float((np.logaddexp(0, z) - y * z).mean()), x.T @ r, r.sum(0)


def close(a: Any, b: Any) -> bool:
    """Within float32 rounding of a few dozen operations."""
    return bool(np.allclose(a, b, rtol=1e-5, atol=1e-6))


# --- modules ---------------------------------------------------------------------------------------------------------


def test_forward_backward(bce: Any) -> None:
    x, y, w, b = numbers()
    loss, gw, gb = reference(x, y, w, b)
    m = bce.Module(w=w, b=b)
    assert m.grad.w is None and m.grad.b is None
    value = m.forward(x, y)
    assert isinstance(value, np.ndarray) and value.shape == () and value.dtype == np.float32 and close(value, loss)
    assert m.backward() is None
    assert close(m.grad.w, gw) and close(m.grad.b, gb) and m.grad.w.dtype == np.float32


def test_accumulates_like_pytorch(bce: Any) -> None:
    x, y, w, b = numbers()
    m = bce.Module(w, b)
    m.forward(x=x, y=y)
    m.backward(retain_graph=True)
    once = m.grad.w.copy()
    held = m.grad.w
    m.backward()
    assert np.array_equal(m.grad.w, 2 * once) and m.grad.w is held
    m.zero_grad(set_to_none=False)
    assert m.grad.w is held and not held.any()
    m.grad.w[:] = np.nan
    m.forward(x, y)
    m.backward()
    assert np.isnan(m.grad.w).all() and not np.isnan(m.grad.b).any()
    m.zero_grad()
    assert m.grad.w is None and m.grad.b is None
    m.forward(x, y)
    m.backward()
    assert np.array_equal(m.grad.w, once)


def test_gradients_that_somebody_holds_are_not_reused(bce: Any) -> None:
    """Memory of gradients set to None is reused only when nobody can see it."""
    x, y, w, b = numbers()
    m = bce.Module(w, b)
    seen = []
    for _ in range(3):
        m.forward(x, y)
        m.backward()
        seen.append(m.grad.w)
        view = m.grad.b[:2]
        m.zero_grad()
    assert len({a.ctypes.data for a in seen}) == 3 and all(np.array_equal(a, seen[0]) for a in seen)
    kept = view.copy()
    m.forward(x * 2, y)
    m.backward()
    assert np.array_equal(view, kept)
    address = m.grad.w.ctypes.data
    seen.clear()
    del view
    m.zero_grad()
    m.forward(x, y)
    m.backward()
    assert m.grad.w.ctypes.data == address


def test_second_backward_has_pytorchs_words(bce: Any) -> None:
    x, y, w, b = numbers()
    m = bce.Module(w, b)
    with pytest.raises(RuntimeError, match="no forward"):
        m.backward()
    m.forward(x, y)
    m.backward()
    first = m.grad.w.copy()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        m.backward()
    assert np.array_equal(m.grad.w, first)
    m.forward(x, y)  # the same arrays again: the short way
    m.backward()
    assert np.array_equal(m.grad.w, 2 * first)


def test_failed_backward_leaves_gradients_none(bce: Any) -> None:
    x, y, w, b = numbers()
    m = bce.Module(w, b)
    m.forward(x, y)
    m.backward()
    m.zero_grad()
    with pytest.raises(RuntimeError, match="second time"):
        m.backward()
    assert m.grad.w is None and m.grad.b is None


def test_single_gradients_can_be_set(bce: Any) -> None:
    x, y, w, b = numbers()
    _, gw, gb = reference(x, y, w, b)
    m = bce.Module(w, b)
    m.forward(x, y)
    m.backward(retain_graph=True)
    m.grad.b = None
    m.backward(retain_graph=True)
    assert close(m.grad.w, 2 * gw) and close(m.grad.b, gb)
    mine = np.ones((5, 3), np.float32)
    m.grad.w = mine
    m.backward()
    assert m.grad.w is mine and close(mine, 1 + gw)
    with pytest.raises(ValueError, match=r"shape \[5, 3\], not \[3, 5\]"):
        m.grad.w = np.ones((3, 5), np.float32)
    with pytest.raises(TypeError, match="float32, not float64"):
        m.grad.w = np.ones((5, 3))
    with pytest.raises(AttributeError, match="there are w, b"):
        m.grad.c = None
    assert m.grad.w is mine


def test_gradient_argument(bce: Any) -> None:
    x, y, w, b = numbers()
    _, gw, _ = reference(x, y, w, b)
    m = bce.Module(w, b)
    m.forward(x, y)
    m.backward(np.float32(3.0), retain_graph=True)
    assert close(m.grad.w, 3 * gw)
    m.backward(gradient=-3.0)
    assert close(m.grad.w, 0 * gw)
    m.forward(x, y)
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: .*\[2\].*\[\]"):
        m.backward(np.ones(2, np.float32))


def test_parameters(bce: Any) -> None:
    x, y, w, b = numbers()
    m = bce.Module(w, b)
    assert m.w is w and [n for n, _ in m.named_parameters()] == ["w", "b"] and next(m.parameters()) is w
    m.forward(x, y)
    m.backward()
    m.w -= 0.5 * m.grad.w
    assert m.w is w and close(m.forward(x, y), reference(x, y, w, b)[0])
    m.b = [1.0, 2.0, 3.0]
    assert m.b.dtype == np.float32 and close(m.forward(x, y), reference(x, y, w, [1, 2, 3])[0])
    with pytest.raises(ValueError, match=r"linear_bce: b must have shape \[3\], not \[4\]"):
        m.b = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match=r"w must have shape \[5, 3\], not \[3, 5\]"):
        bce.Module(w.T.copy(), b)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'b'"):
        bce.Module(w)


def test_parameter_replaced_between_forward_and_backward(bce: Any) -> None:
    """backward differentiates what forward saw."""
    x, y, w, b = numbers()
    m = bce.Module(w, b)
    m.forward(x, y)
    m.w = np.zeros_like(w)
    m.backward()
    assert close(m.grad.w, reference(x, y, w, b)[1])
    assert close(m.forward(x, y), reference(x, y, 0 * w, b)[0])


def test_state_dict(bce: Any) -> None:
    _, _, w, b = numbers()
    m, other = bce.Module(w.copy(), b.copy()), bce.Module(0 * w, 0 * b)
    own = other.w
    other.load_state_dict(m.state_dict())
    assert np.array_equal(other.w, w) and other.w is own
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "b"(?s:.*)Unexpected .*"c"'):
        other.load_state_dict({"w": w, "c": b})
    for clone in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert np.array_equal(clone.w, w) and clone.w is not m.w
    assert repr(m) == "linear_bce.Module(w=float32[5, 3], b=float32[3])"


def test_batches_of_changing_size(bce: Any) -> None:
    *_, w, b = numbers()
    m = bce.Module(w, b)
    for n in (4, 1, 7, 7, 300, 4, 2):
        x, y, _, _ = numbers(n)
        loss, gw, gb = reference(x, y, w, b)
        assert close(m.forward(x, y), loss)
        m.backward()
        assert close(m.grad.w, gw) and close(m.grad.b, gb)
        m.zero_grad()


def test_zero_size_batch(bce: Any) -> None:
    *_, w, b = numbers()
    m = bce.Module(w, b)
    assert np.isnan(m.forward(np.zeros((0, 5), np.float32), np.zeros((0, 3), np.float32)))
    m.backward()
    assert m.grad.w.shape == (5, 3)


def test_two_instances_do_not_share_memory(bce: Any) -> None:
    x, y, w, b = numbers()
    a, c = bce.Module(w, b), bce.Module(2 * w, b)
    first, second = a.forward(x, y), c.forward(x, y)
    a.backward()
    c.backward()
    assert close(a.grad.w, reference(x, y, w, b)[1]) and close(c.grad.w, reference(x, y, 2 * w, b)[1])
    assert close(first, reference(x, y, w, b)[0]) and close(second, reference(x, y, 2 * w, b)[0])


# --- functions -------------------------------------------------------------------------------------------------------


def test_functions(bce: Any) -> None:
    x, y, w, b = numbers()
    loss, gw, gb = reference(x, y, w, b)
    for _ in range(3):  # new arguments, and known ones
        assert close(bce.forward(x, y, w, b), loss)
        value, gradients = bce.value_and_grad(x, y, w, b)
        assert close(value, loss) and close(gradients.w, gw) and close(gradients.b, gb)
    x[:] *= 2  # the same array with other numbers
    assert close(bce.forward(x, y, w, b), reference(x, y, w, b)[0])
    into = (np.ones_like(w), None)
    value, gradients = bce.value_and_grad(b=b, w=w, x=x, y=y, gradients=into)
    assert gradients.w is into[0] and gradients.b is None and close(into[0], 1 + reference(x, y, w, b)[1])
    bce.value_and_grad(x, y, w, b, gradients={"w": into[0]})
    assert close(into[0], 1 + 2 * reference(x, y, w, b)[1])


def test_results_are_the_callers(bce: Any) -> None:
    x, y, w, b = numbers()
    first = bce.forward(x, y, w, b)
    kept = float(first)
    bce.forward(3 * x, y, w, b)
    bce.forward(x, 3 * y, w, b)
    assert float(first) == kept
    (_, one), (_, two) = bce.value_and_grad(x, y, w, b), bce.value_and_grad(x, y, w, b)
    assert not np.shares_memory(one.w, two.w)


def test_out(bce: Any, made: dict[str, Any]) -> None:
    x, y, w, b = numbers()
    out = np.empty((), np.float32)
    m = bce.Module(w, b)
    for forward in (lambda: bce.forward(x, y, w, b, out=out), lambda: m.forward(x, y, out=out)):
        assert forward() is out and close(out, reference(x, y, w, b)[0])
        out[...] = 0
    with pytest.raises(TypeError, match="array for loss must have dtype float32, not float64"):
        m.forward(x, y, out=np.empty(()))
    with pytest.raises(ValueError, match=r"loss must have shape \[\], not \[1\]"):
        m.forward(x, y, out=np.empty(1, np.float32))
    with pytest.raises(TypeError, match="must be a NumPy array, not list"):
        m.forward(x, y, out=[1.0])
    with pytest.raises(ValueError, match="overlaps another argument"):
        bce.forward(x, y, w, b, out=b[:1].reshape(()))
    frozen = np.empty((), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        m.forward(x, y, out=frozen)


def test_repeated_calls_with_other_targets(bce: Any) -> None:
    """A call that is repeated as it was must notice every argument that changes, also beside the inputs."""
    arrays = numbers()
    loss, expected = bce.value_and_grad(*arrays)
    for _ in range(2):
        sums = tuple(np.zeros_like(g) for g in expected)
        for times in (1, 2, 3):
            out = np.empty_like(loss)
            _, same = bce.value_and_grad(*arrays, gradients=sums, out=out)
            assert all(a is b for a, b in zip(same, sums, strict=True)) and out == loss
            for total, gradient in zip(sums, expected, strict=True):
                assert close(total, times * gradient)
        again, fresh = bce.value_and_grad(*arrays)
        assert again == loss and all(np.array_equal(a, b) for a, b in zip(fresh, expected, strict=True))
    with pytest.raises(TypeError):
        bce.value_and_grad(*arrays, gradients=())
    partly = (np.zeros_like(expected[0]), *[None] * (len(expected) - 1))
    for _ in range(3):
        bce.value_and_grad(*arrays, gradients=partly)
    assert close(partly[0], 3 * expected[0])
    out = np.empty_like(loss)
    for _ in range(2):
        assert bce.forward(*arrays, out=out) is out and out == loss
        other = np.empty_like(loss)
        assert bce.forward(*arrays, out=other) is other and other == loss


def test_sizes_and_info(bce: Any, made: dict[str, Any]) -> None:
    assert bce.saved_bytes(4) == bce.saved_bytes(N=4) == 64 + 48 and bce.work_bytes(N=4) == 48
    assert made["lookup"].saved_bytes() == 64
    with pytest.raises(ValueError, match="out of range"):
        bce.saved_bytes(-1)
    with pytest.raises(ValueError, match="out of range"):
        bce.saved_bytes(2**62)
    info = bce.info
    assert (info.name, info.dims, info.abi) == ("linear_bce", ("N",), 1)
    assert [t.name for t in info.parameters] == ["w", "b"] and str(info.inputs[0]) == "float32[N, 5]"


def test_self_test(made: dict[str, Any]) -> None:
    for name in ("linear_bce", "lookup", "scaled", "many"):
        assert max(made[name].self_test().values()) < 1e-3
    assert made["power_sum"].self_test() == {}
    made["lookup"].self_test(index=[5, 4, 4, 0])
    made["linear_bce"].self_test({"N": 1})


def test_several_outputs(made: dict[str, Any]) -> None:
    table = np.arange(18.0).reshape(6, 3)
    index, keep = np.array([5, 0, 3, 3]), np.array([True, True, False, True])
    look = made["lookup"]
    outputs = look.forward(index, keep, table)
    assert outputs._fields == ("rows", "total") and np.array_equal(outputs.rows, table[index] * keep[:, None])
    m = look.Module(table)
    m.forward(index, keep)
    m.backward()  # the scalar's incoming gradient is 1, the other's 0
    expected = np.zeros_like(table)
    np.add.at(expected, index[keep], 2 * table[index[keep]])
    assert np.array_equal(m.grad.table, expected)
    m.zero_grad()
    m.forward(index, keep)
    m.backward({"rows": np.ones((4, 3))})
    np.add.at(expected, index[keep], 1.0)
    assert np.array_equal(m.grad.table, expected)
    m.forward(index, keep)
    with pytest.raises(TypeError, match="tuple or a dict of rows, total"):
        m.backward(np.ones((4, 3)))
    with pytest.raises(TypeError, match="gradient has no 'row'"):
        m.backward({"row": 1})
    _, gradients = look.value_and_grad(index, keep, table, gradient=(None, 0.0))
    assert not gradients.table.any()


def test_output_that_is_no_scalar(made: dict[str, Any]) -> None:
    """As in PyTorch: an incoming gradient is needed unless the output has one element."""
    scaled, x = made["scaled"], np.array([1.0, 2.0, 4.0])
    m = scaled.Module([3.0])
    assert np.array_equal(m.forward(x), 3 * x)
    for call in (m.backward, lambda: scaled.value_and_grad(x, [3.0])):
        with pytest.raises(RuntimeError, match=r"^grad can be implicitly created only for scalar outputs$"):
            call()
    m.backward([1.0, 0.5, 0.25])
    assert m.grad.w == 3.0
    m.forward(x[:1])
    m.backward()
    m.forward(x[1:2])
    m.backward(retain_graph=True)
    m.backward()  # repeated: the same incoming gradient of ones
    assert m.grad.w == 8.0
    y, gradients = scaled.value_and_grad(x, [3.0], gradient=x)
    assert np.array_equal(y, 3 * x) and gradients.w == 21.0


def test_index_out_of_range(made: dict[str, Any]) -> None:
    look, table, keep = made["lookup"], np.ones((6, 3)), np.ones(4, bool)
    for bad in (6, -1, 2**62):
        with pytest.raises(IndexError, match="index out of range in index"):
            look.forward([0, bad, 1, 2], keep, table)


def test_forward_only(made: dict[str, Any]) -> None:
    x = np.arange(6.0).reshape(3, 2)
    inner = made["power_sum"].forward(x)
    assert inner.shape == (2, 4) and np.array_equal(inner.ravel(), np.resize(x, 8))
    assert not hasattr(made["power_sum"], "value_and_grad")
    m = made["power_sum"].Module()
    assert np.array_equal(m.forward(x), inner)
    with pytest.raises(RuntimeError, match="without gradients"):
        m.backward()
    with pytest.raises(ValueError, match="out of range"):
        made["power_sum"].forward(np.zeros((0, 2)))  # N - 1 would be negative


def test_large_results(made: dict[str, Any]) -> None:
    """Too large to be copied: each call hands out an array of its own."""
    x = np.random.default_rng(0).uniform(size=(200, 40))
    m = made["power_sum"].Module()
    one, two = m.forward(x), m.forward(x)
    assert not np.shares_memory(one, two) and np.array_equal(one, two)
    three, four = made["power_sum"].forward(x), made["power_sum"].forward(x)
    assert not np.shares_memory(three, four) and np.array_equal(one, four)


# --- arguments -------------------------------------------------------------------------------------------------------


def test_everything_that_is_an_array(bce: Any) -> None:
    x, y, w, b = numbers()
    loss = reference(x, y, w, b)[0]
    wide = np.zeros((4, 10), np.float32)
    wide[:, ::2] = x
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    frozen = x.copy()
    frozen.flags.writeable = False

    class WithArray:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return x

    class WithDLPack:
        def __dlpack__(self, **kwargs: Any) -> Any:
            return x.__dlpack__(**kwargs)

        def __dlpack_device__(self) -> Any:
            return x.__dlpack_device__()

    half = x.astype(np.float16)
    forms = [x.tolist(), x.astype(">f4"), np.asfortranarray(x), wide[:, ::2], unaligned, frozen, WithArray(),
             WithDLPack(), memoryview(x), half, np.ma.masked_array(x), tuple(map(tuple, x))]  # fmt: skip
    m = bce.Module(w, b)
    for form in forms:
        near = 1e-3 if form is half else 1e-5  # through half precision
        assert abs(float(bce.forward(form, y, w, b)) - loss) < near, type(form)
        assert abs(float(m.forward(form, y)) - loss) < near, type(form)
    assert close(bce.forward(x, y, w, array.array("f", b)), loss)
    assert close(bce.forward(x, np.zeros((4, 3), bool), w, b), reference(x, 0 * y, w, b)[0])


def test_converted_arguments_are_looked_at_again(bce: Any) -> None:
    """A list is not remembered: it may change and stay the same object."""
    x, y, w, b = numbers()
    listed = x.tolist()
    m = bce.Module(w, b)
    m.forward(listed, y)
    listed[0][0] = 50.0
    x[0, 0] = 50.0
    assert close(m.forward(listed, y), reference(x, y, w, b)[0])
    assert close(bce.forward(listed, y, w, b), reference(x, y, w, b)[0])


def test_an_array_cannot_be_resized_under_a_module(bce: Any) -> None:
    x, y, w, b = numbers()
    m = bce.Module(w, b)
    m.forward(x, y)
    with pytest.raises(ValueError, match="cannot resize"):
        x.resize((40, 5))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": np.zeros((4, 5))}, TypeError, r"x must be float32, not float64; convert it with x.astype\('float32'\)"),
        ({"x": np.zeros((4, 5), np.int64)}, TypeError, "x must be float32, not int64"),
        ({"x": np.zeros((4, 5), complex)}, TypeError, "x must be float32, not complex128"),
        ({"x": [["a"] * 5] * 4}, TypeError, "x must be float32"),
        ({"x": None}, TypeError, "x "),
        ({"x": [[1.0], [1.0, 2.0]]}, TypeError, "x cannot be read as an array of float32 from list"),
        ({"x": np.zeros((4, 6), np.float32)}, ValueError, r"x must have shape \[N, 5\], not \[4, 6\]"),
        ({"x": np.zeros(5, np.float32)}, ValueError, r"x must have shape \[N, 5\], not \[5\]"),
        ({"x": np.zeros((), np.float32)}, ValueError, r"x must have shape \[N, 5\], not \[\]"),
        ({"y": np.zeros((3, 3), np.float32)}, ValueError, r"y must have shape \[N, 3\] \(N is 4 from x\), not \[3,"),
        ({"w": np.zeros((5, 3, 1), np.float32)}, ValueError, r"w must have shape \[5, 3\], not \[5, 3, 1\]"),
    ],
)
def test_bad_arguments(bce: Any, change: dict[str, Any], error: type[Exception], text: str) -> None:
    values = dict(zip("xywb", numbers(), strict=True))
    bce.forward(**values)
    with pytest.raises(error, match=f"linear_bce: {text}"):
        bce.forward(**(values | change))
    if "w" not in change:
        m = bce.Module(values["w"], values["b"])
        data = {k: (values | change)[k] for k in "xy"}
        with pytest.raises(error, match=f"linear_bce: {text}"):
            m.forward(**data)
        m.forward(values["x"], values["y"])
        with pytest.raises(error, match=f"linear_bce: {text}"):
            m.forward(**data)
        assert close(m.forward(values["x"], values["y"]), reference(*values.values())[0])
    assert close(bce.forward(**values), reference(*values.values())[0])


def test_names_of_arguments(bce: Any) -> None:
    x, y, w, b = numbers()
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        bce.forward(x, y, w, z=b)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'b'"):
        bce.forward(x, y, w)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        bce.Module(w, b).forward(x)


def test_integers_and_bools(made: dict[str, Any]) -> None:
    look, table = made["lookup"], np.ones((6, 3))
    keep = np.ones(4, bool)
    assert look.forward(np.array([0, 1, 2, 3], np.int32), keep, table).total == 12.0
    assert look.forward([0, 1, 2, 3], [1 > 0, True, False, True], np.ones((6, 3), np.float32)).total == 9.0
    for bad in (np.zeros(4), [0.5, 1, 2, 3], np.zeros(4, np.uint64), [2**64, 0, 0, 0]):
        with pytest.raises(TypeError, match=r"lookup: index (must be|cannot be read as an array of) int64"):
            look.forward(bad, keep, table)
    with pytest.raises(TypeError, match="keep must be bool"):
        look.forward([0, 1, 2, 3], [0, 1, 2, 3], table)


def test_torch_and_jax_arrays(bce: Any) -> None:
    torch = pytest.importorskip("torch")
    x, y, w, b = numbers()
    loss = reference(x, y, w, b)[0]
    m = bce.Module(torch.from_numpy(w), b)
    assert close(m.forward(torch.from_numpy(x), y), loss) and np.shares_memory(m.w, w)
    with pytest.raises(TypeError, match=r"x cannot be read .*requires grad"):
        m.forward(torch.from_numpy(x).requires_grad_(), y)
    with pytest.raises(TypeError, match="must be float32, not float64"):
        m.forward(torch.zeros(4, 5, dtype=torch.float64), y)


def test_against_torch(bce: Any) -> None:
    torch = pytest.importorskip("torch")
    x, y, w, b = numbers(33)
    m = bce.Module(w, b)
    tw, tb = torch.from_numpy(w.copy()).requires_grad_(), torch.from_numpy(b.copy()).requires_grad_()
    for _ in range(2):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(x) @ tw + tb, torch.from_numpy(y))
        loss.backward()
        assert close(m.forward(x, y), loss.item())
        m.backward()
    assert close(m.grad.w, tw.grad) and close(m.grad.b, tb.grad)


# --- memory, threads, speed of import --------------------------------------------------------------------------------


def test_no_allocation_per_call(bce: Any) -> None:
    """Nothing stays, and nothing but the result is made."""
    x, y, w, b = numbers()
    m, out = bce.Module(w, b), np.empty((), np.float32)

    def step() -> None:
        m.forward(x, y)
        m.backward()
        m.zero_grad()

    for _ in range(10):
        step()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(200):
        step()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 1024  # tracemalloc's own bookkeeping
    assert peak - before < 2048  # one result and one list of flags at a time
    assert m.forward(x, y, out=out) is out


def test_large_arguments_of_functions_are_not_kept(bce: Any) -> None:
    *_, w, b = numbers()
    x, y = np.zeros((100_000, 5), np.float32), np.zeros((100_000, 3), np.float32)
    count = sys.getrefcount(x)
    bce.forward(x, y, w, b)
    bce.value_and_grad(x, y, w, b)
    assert sys.getrefcount(x) == count


def test_threads(bce: Any) -> None:
    """Functions are safe in threads; so are modules, one per thread."""
    x, y, w, b = numbers(64)
    loss, gw, _ = reference(x, y, w, b)
    wrong: list[object] = []

    def work() -> None:
        m = bce.Module(w, b)
        for _ in range(200):
            value, gradients = bce.value_and_grad(x, y, w, b)
            own = m.forward(x, y)
            m.backward()
            if not (close(value, loss) and close(gradients.w, gw) and close(own, loss) and close(m.grad.w, gw)):
                wrong.append((value, own))
            m.zero_grad()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_modules_are_documented(bce: ModuleType) -> None:
    assert "loss   = 1/(3N)" in (bce.__doc__ or "") and "float32  [N, 5]" in (bce.forward.__doc__ or "")
    assert set(bce.__all__) <= set(dir(bce))
