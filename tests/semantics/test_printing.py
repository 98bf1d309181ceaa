"""The text of tensors against PyTorch's: recorded cases always, hypothesis against live PyTorch where it is installed.

`python tests/semantics/test_printing.py` records data/printing.json anew (needs torch).
"""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradgen.eager import printing
from gradgen.eager.printing import format_scalar, parameter_repr, tensor_format, tensor_repr
from gradgen.ops.size import Size

DATA = Path(__file__).parent / "data" / "printing.json"
FLOATS = ["float32", "float64", "float16", "bfloat16"]
DTYPES = [*FLOATS, "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "complex128"]


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    printing.set_printoptions(profile="default")
    yield
    printing.set_printoptions(profile="default")


# A case is a dict: values (nested list flattened), shape, dtype, options, requires_grad, grad_fn, default.


def array_of(case: dict[str, Any]) -> np.ndarray:
    """The NumPy array that holds a case's values; bfloat16 in float32, as NumPy has none."""
    dtype = {"bfloat16": "float32"}.get(case["dtype"], case["dtype"])
    values = case["values"]
    if dtype.startswith("complex"):
        with np.errstate(over="ignore"):
            return np.array([complex(*pair) for pair in values], dtype).reshape(case["shape"])
    return np.array(values, dtype).reshape(case["shape"])


def our_text(case: dict[str, Any]) -> str:
    with printing.printoptions(**case["options"]):
        return tensor_repr(
            array_of(case), dtype_name=case["dtype"], requires_grad=case["requires_grad"], grad_fn_name=case["grad_fn"],
            default_dtype_name=case["default"],
        )  # fmt: skip


def torch_text(torch: Any, case: dict[str, Any]) -> str:
    tensor = torch.from_numpy(array_of(case).copy()).to(getattr(torch, case["dtype"]))
    if case["requires_grad"]:
        tensor.requires_grad_()
    if case["grad_fn"]:
        tensor = tensor.clone() if case["grad_fn"] == "CloneBackward0" else tensor.view(tensor.shape)
    torch.set_default_dtype(getattr(torch, case["default"]))
    try:
        with torch._tensor_str.printoptions(**case["options"]):
            return repr(tensor)
    finally:
        torch.set_default_dtype(torch.float32)


def recorded() -> list[dict[str, Any]]:
    return json.loads(DATA.read_text())["cases"] if DATA.exists() else []


def test_recorded_cases() -> None:
    cases = recorded()
    assert len(cases) >= 500
    assert {case["dtype"] for case in cases} == set(DTYPES)
    wrong = [(case, our_text(case)) for case in cases if our_text(case) != case["text"]]
    assert not wrong, f"{len(wrong)} of {len(cases)}; first: {wrong[0]}"


# ----------------------------------------------------------------------------------------------------- making cases

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-4, 9.9e-5, 1e8, 1.00000001e8, 1000.0, 999.9999, 9.99995, 99999.5, 0.00005]
SPECIAL += [math.inf, -math.inf, math.nan, 1e-45, 3e38, 1e300, 5e-324, 65504.0, 1 / 3, 123456.789]


def float_values() -> st.SearchStrategy[list[float]]:
    """Lists whose elements are alike in one of the ways the format depends on."""

    def many(elements: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
        return st.lists(elements, min_size=1, max_size=400)

    plain = many(st.floats(-10, 10))
    integral = many(st.integers(-2000, 2000).map(float))
    special = many(st.sampled_from(SPECIAL))
    wild = many(st.floats(width=64))
    scaled = st.tuples(plain, st.integers(-9, 12)).map(lambda pair: [v * 10.0 ** pair[1] for v in pair[0]])
    large = many(st.floats(-1e10, 1e10).map(np.round).map(float))
    return st.one_of(plain, integral, special, wild, scaled, large)


OPTIONS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "precision": st.integers(0, 9), "threshold": st.sampled_from([0, 1, 5, 20, 1000, math.inf]),
            "edgeitems": st.integers(0, 5), "linewidth": st.integers(1, 130),
            "sci_mode": st.sampled_from([None, True, False]), "profile": st.sampled_from(["default", "short", "full"]),
        },
    ),
)  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(
        st.one_of(
            st.lists(st.integers(1, 7), max_size=4), st.lists(st.integers(0, 9), max_size=3),
            st.lists(st.integers(1, 60), min_size=1, max_size=2), st.just([1001]), st.just([40, 30]),
        )
    )  # fmt: skip
    count = math.prod(shape)
    pool = draw(float_values())
    values: list[Any] = [pool[i % len(pool)] for i in range(count)]
    if dtype.startswith("complex"):
        values = [[value, pool[(3 * i + 1) % len(pool)]] for i, value in enumerate(values)]
    elif dtype == "bool":
        values = [bool(value > 0) for value in values]
    elif dtype not in FLOATS:
        limits = np.iinfo(dtype)
        finite = [value if math.isfinite(value) else 7.0 for value in values]
        values = [max(limits.min, min(int(limits.max), int(value))) for value in finite]
    else:
        values = narrowed(values, dtype)
    differentiable = dtype in FLOATS or dtype.startswith("complex")
    requires_grad = differentiable and draw(st.booleans())
    return {
        "values": values, "shape": shape, "dtype": dtype, "options": draw(OPTIONS), "requires_grad": requires_grad,
        "grad_fn": draw(st.sampled_from([None, "CloneBackward0", "ViewBackward0"])) if requires_grad else None,
        "default": draw(st.sampled_from(["float32", "float32", "float64"])),
    }  # fmt: skip


def narrowed(values: list[float], dtype: str) -> list[float]:
    """The values as the dtype holds them; for bfloat16 the upper half of a float32 (the rounding is of no concern)."""
    with np.errstate(over="ignore"):
        if dtype != "bfloat16":
            return np.array(values, dtype).astype(np.float64).tolist()
        bits = np.array(values, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64).tolist()


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_against_torch(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    with np.errstate(all="ignore"):
        assert our_text(case) == torch_text(torch, case)


@settings(max_examples=150, deadline=None)
@given(
    value=st.one_of(st.floats(width=32), st.sampled_from(SPECIAL)),
    spec=st.sampled_from(["", ".3f", "10.2e", "+g", ">12", "08.3f", ".0%", "d", "x"]),
    dtype=st.sampled_from(["float32", "float64", "int64", "bool"]),
)
def test_scalar_format_against_torch(value: float, spec: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    with np.errstate(all="ignore"):
        number = 3 if dtype == "int64" and not math.isfinite(value) else value
        array = np.array(max(-(2.0**40), min(2.0**40, number)) if dtype == "int64" else number).astype(dtype)
    outcomes = []
    for produce in (lambda: format_scalar(array, spec), lambda: format(torch.from_numpy(array), spec)):
        try:
            outcomes.append(produce())
        except ValueError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


# ------------------------------------------------------------------------------------------- what needs no oracle


def test_suffixes() -> None:
    """Texts of PyTorch 2.13, short enough to read."""
    ones = np.ones(2, np.float32)
    assert tensor_repr(ones, dtype_name="float32") == "tensor([1., 1.])"
    assert tensor_repr(ones, dtype_name="float32", requires_grad=True) == "tensor([1., 1.], requires_grad=True)"
    text = tensor_repr(ones, dtype_name="float64", requires_grad=True, grad_fn_name="AddBackward0")
    assert text == "tensor([1., 1.], dtype=torch.float64, grad_fn=<AddBackward0>)"
    assert tensor_repr(np.zeros((0, 3)), dtype_name="float32") == "tensor([], size=(0, 3))"
    assert tensor_repr(np.zeros(0), dtype_name="int64") == "tensor([], dtype=torch.int64)"
    assert tensor_repr(np.array(1.5), dtype_name="float64") == "tensor(1.5000, dtype=torch.float64)"
    assert parameter_repr(ones, dtype_name="float32", requires_grad=True) == (
        "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    )


def test_options_are_kept_and_restored() -> None:
    before = printing.get_printoptions()
    assert before == {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
    with pytest.raises(ZeroDivisionError), printing.printoptions(precision=2, sci_mode=True):
        assert tensor_repr(np.array(1.5), dtype_name="float32") == "tensor(1.50e+00)"
        raise ZeroDivisionError
    assert printing.get_printoptions() == before
    printing.set_printoptions(sci_mode=False, edgeitems=1)
    printing.set_printoptions(precision=2)
    assert printing.get_printoptions() == {**before, "precision": 2, "edgeitems": 1}  # sci_mode is automatic again
    printing.set_printoptions(profile="no such profile")
    assert printing.get_printoptions()["precision"] == 2
    printing.set_printoptions(profile="full", precision=1)
    assert printing.get_printoptions() == {**before, "threshold": math.inf, "precision": 1}


def test_format() -> None:
    array = np.array(0.1, np.float32)
    assert tensor_format(array, "", "text") == "0.10000000149011612"
    assert tensor_format(array, ".2f", "text") == "0.10"
    assert tensor_format(np.array([0.1]), "", "text") == "text"
    assert tensor_format(array, "", "text", "Parameter") == "text"
    with pytest.raises(TypeError, match=r"unsupported format string passed to Tensor\.__format__"):
        tensor_format(np.array([0.1]), ".2f", "text")
    assert format_scalar(2.5, ".1f") == "2.5"


def test_size() -> None:
    size = Size([2, 3, 4])
    assert repr(size) == str(size) == f"{size}" == "torch.Size([2, 3, 4])"
    assert repr(Size()) == "torch.Size([])"
    assert tuple(size) == (2, 3, 4) and hash(size) == hash((2, 3, 4)) and size[1] == 3 and size.index(4) == 2
    assert size.numel() == 24 and Size().numel() == 1
    for derived in (size[1:], size + (5,), (5,) + size, size * 2, 2 * size, copy.copy(size), copy.deepcopy(size)):  # noqa: RUF005
        assert type(derived) is Size
    assert (5,) + size == (5, 2, 3, 4) and size[:-1] == (2, 3)  # noqa: RUF005
    assert type(pickle.loads(pickle.dumps(size))) is Size
    assert repr(Size([True, np.int64(3)])) == "torch.Size([1, 3])"


@pytest.mark.parametrize(
    "expression",
    [
        "Size([1.5])", "Size(['a'])", "Size(5)", "Size([[1]])", "Size([None])", "Size([2**63])",
        "Size([np.float64(3)])",
        "Size((2, 3)) + [1]", "Size((2, 3)) + 3", "format(Size((2,)), '5')", "Size([-1])", "Size(i for i in (1, 2))",
        "Size(np.array([1, 2]))", "Size((1, 2))[5]", "Size((1, 2)) * 1.5", "Size({1: 2})",
        "Size((1, 2)).__reduce__()[1]", "Size((3, 4)) > (3, 3)", "Size((1, 2)).count(1)", "(1).__radd__(Size((2,)))",
    ],
)  # fmt: skip
def test_size_against_torch(expression: str) -> None:
    torch = pytest.importorskip("torch")
    outcomes = []
    for kind in (Size, torch.Size):
        try:
            result = eval(expression, {"Size": kind, "np": np})
            outcomes.append(("", repr(result)))
        except Exception as error:
            outcomes.append((type(error).__name__, str(error)))
    assert outcomes[0] == outcomes[1]


def record() -> None:
    import torch

    found: list[dict[str, Any]] = []

    checks = list(HealthCheck)

    @settings(max_examples=1200, deadline=None, suppress_health_check=checks, derandomize=True, database=None)
    @given(case=cases())
    def collect(case: dict[str, Any]) -> None:
        if len(case["values"]) <= 60 or len(found) % 40 == 0:  # a few large ones: the file stays small
            with np.errstate(all="ignore"):
                found.append({**case, "text": torch_text(torch, case)})

    collect()
    DATA.write_text(json.dumps({"torch": torch.__version__, "cases": found}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    record()
