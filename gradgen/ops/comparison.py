"""Comparisons, truth values, selection: eq lt ... logical_and, bitwise on bools and integers, where, masked_fill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.symbols import same_extent
from gradgen.ops.arithmetic import ARITHMETIC, OTHERS, PAIRS, Number
from gradgen.ops.host import nonzero
from gradgen.ops.registry import BOOL_RESULT, pointwise
from gradgen.ops.samples import INF, NAN, edges, mask, one, plain, sample, t
from gradgen.ops.shape import to_dtype
from gradgen.ops.shapes import TORCH_NAMES
from gradgen.ops.table import METHODS, call, is_tensor, operator, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

COMPARISONS = [
    plain(t(2, 3), t(2, 3, seed=1), dtypes=ARITHMETIC),
    plain(PAIRS, OTHERS),
    plain(t(4, 1), t(3, seed=1)),
    plain(t(3), 0.5),
]


def _comparison(name: str, function: Any, dunder: str, aliases: tuple[str, ...], doc: str) -> Any:
    op = pointwise(name, function, arity=2, rule=BOOL_RESULT)

    def compare(input: Tensor, other: Tensor | Number) -> Tensor:
        return call(op, input, other)

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = doc
    public("", method=True, inplace=True, aliases=aliases, samples=COMPARISONS, name=name)(compare)
    operator(dunder, compare)
    return compare


eq = _comparison("eq", fn.eq, "__eq__", (), "input == other, elementwise.")
ne = _comparison("ne", fn.ne, "__ne__", ("not_equal",), "input != other, elementwise.")
lt = _comparison("lt", fn.lt, "__lt__", ("less",), "input < other, elementwise.")
le = _comparison("le", fn.le, "__le__", ("less_equal",), "input <= other, elementwise.")
gt = _comparison("gt", fn.gt, "__gt__", ("greater",), "input > other, elementwise.")
ge = _comparison("ge", fn.ge, "__ge__", ("greater_equal",), "input >= other, elementwise.")


def _test(name: str, function: Any, doc: str) -> Any:
    op = pointwise(name, function, rule=BOOL_RESULT)

    def test(input: Tensor) -> Tensor:
        require_tensor(input, name)
        return call(op, input)

    test.__name__ = test.__qualname__ = name
    test.__doc__ = doc
    values = edges((-INF, -1.0, -0.0, 0.0, 1.0, INF, NAN))
    public("", method=True, samples=[plain(values, dtypes=("float32", "float64"))], name=name)(test)
    return test


isnan = _test("isnan", fn.isnan, "Where the elements are nan.")
isinf = _test("isinf", fn.isinf, "Where the elements are infinite.")
isfinite = _test("isfinite", fn.isfinite, "Where the elements are neither infinite nor nan.")
isposinf = _test("isposinf", lambda x: fn.and_(fn.isinf(x), fn.gt(x, 0)), "Where the elements are +inf.")
signbit = _test("signbit", fn.signbit, "Where the sign is set, -0.0 included.")
isneginf = _test("isneginf", lambda x: fn.and_(fn.isinf(x), fn.lt(x, 0)), "Where the elements are -inf.")


# --- logical ---------------------------------------------------------------------------------------------------------

TRUTHS = [plain(mask(6), mask(6, seed=1)), plain(edges((0.0, 1.0, NAN, -0.0)), edges((1.0, 0.0, 1.0, 0.0)))]


def _logical(name: str, function: Any, doc: str) -> Any:
    op = pointwise(name, function, arity=2, rule=BOOL_RESULT)

    def combine(input: Tensor, other: Tensor) -> Tensor:
        return call(op, input, other)

    combine.__name__ = combine.__qualname__ = name
    combine.__doc__ = doc
    public("", method=True, inplace=True, samples=TRUTHS, name=name)(combine)
    return combine


logical_and = _logical("logical_and", fn.and_, "Both true; a number is true where it is not 0.")
logical_or = _logical("logical_or", fn.or_, "Either true.")
logical_xor = _logical("logical_xor", fn.xor, "Exactly one true.")
_logical_not = pointwise("logical_not", fn.not_, rule=BOOL_RESULT)


@public("", method=True, inplace=True, samples=[plain(mask(6)), plain(edges((0.0, 1.0, NAN)))])
def logical_not(input: Tensor) -> Tensor:
    """Not true; a number is true where it is not 0."""
    require_tensor(input, "logical_not")
    return call(_logical_not, input)


BITS = edges((-7, 0, 5, 12, 6, -1), "int64", False)
FEW = edges((3, 1, 0, 2, 70, -1), "int64", False)


def _integers(name: str, *values: Any) -> None:
    """NotImplementedError, as PyTorch's, where a value is floating point."""
    kinds = [v.dtype if is_tensor(v) else dtypes.float32 if isinstance(v, float) else None for v in values]
    for kind in kinds:
        if kind is not None and kind.is_floating_point:
            raise NotImplementedError(f'"{name}_cpu" not implemented for \'{TORCH_NAMES[kind.name]}\'')


def _bitwise(name: str, logical: Any, bits: Any, dunder: str, symbol: str) -> Any:
    """On bools the logical operation, on integers the one of their bits."""
    of_bools, of_integers = pointwise(name, logical, arity=2), pointwise(f"{name}_integer", bits, arity=2)

    def combine(input: Tensor | Number, other: Tensor | Number) -> Tensor:
        _integers(name, input, other)
        return call(of_bools if _bools(input) and _bools(other) else of_integers, input, other)

    combine.__name__ = combine.__qualname__ = name
    combine.__doc__ = f"input {symbol} other, of bools or bit by bit of integers."
    public("", method=True, inplace=True, name=name, samples=[
        plain(mask(6), mask(6, seed=1)), plain(BITS, FEW), plain(mask(6), FEW)])(combine)
    operator(dunder, combine)
    operator(dunder.replace("__", "__r", 1), combine)
    return combine


def _bools(value: Any) -> bool:
    return value.dtype is dtypes.bool_ if is_tensor(value) else isinstance(value, bool)


bitwise_and = _bitwise("bitwise_and", fn.and_, fn.bit_and, "__and__", "&")
bitwise_or = _bitwise("bitwise_or", fn.or_, fn.bit_or, "__or__", "|")
bitwise_xor = _bitwise("bitwise_xor", fn.xor, fn.bit_xor, "__xor__", "^")


def _shift(name: str, function: Any, dunder: str, symbol: str, short: str) -> None:
    op = pointwise(name, function, arity=2)

    def shift(input: Tensor | Number, other: Tensor | Number) -> Tensor:
        _integers(short, input, other)
        if _bools(input) and _bools(other):
            raise NotImplementedError(f'"{short}_cpu" not implemented for \'Bool\'')
        return call(op, input, other)

    shift.__name__ = shift.__qualname__ = name
    shift.__doc__ = f"input {symbol} other, of integers; a right shift keeps the sign."
    public("", method=True, inplace=True, name=name, samples=[plain(BITS, FEW)])(shift)
    operator(dunder, shift)
    operator(dunder.replace("__", "__r", 1), lambda self, other: shift(other, self))


_shift("bitwise_left_shift", fn.shift_left, "__lshift__", "<<", "lshift")
_shift("bitwise_right_shift", fn.shift_right, "__rshift__", ">>", "rshift")
_invert_integer = pointwise("invert", lambda x: -1 - x, grad_name="BitwiseNotBackward0")


@public("", method=True, inplace=True,
        samples=[plain(mask(6)), plain(edges((-3, 0, 5)), dtypes=("int32", "int64"))])
def bitwise_not(input: Tensor) -> Tensor:
    """Not, for bools; -1 - x for integers."""
    require_tensor(input, "bitwise_not")
    if input.dtype.is_floating_point:
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return call(_logical_not if input.dtype is dtypes.bool_ else _invert_integer, input)


METHODS["__invert__"] = bitwise_not


# --- selection -------------------------------------------------------------------------------------------------------


_where = pointwise("where", lambda c, x, y: fn.select(fn.ne(c, 0), x, y), arity=3)

SELECTIONS = [
    sample(mask(2, 3), t(2, 3), t(2, 3, seed=1)), one(mask(4, 1), t(3), t(1, seed=1)), one(mask(3), t(3), 0.0),
    one(mask(3), 1.0, t(3)), sample(edges((True, False, True, False), "bool", False), edges((INF, NAN, 1.0, 2.0)),
                                    edges((NAN, 0.0, INF, -INF))),
]


@public("", samples=SELECTIONS)
def where(condition: Tensor, input: Tensor | Number | None = None, other: Tensor | Number | None = None) -> Any:
    """`input` where the condition holds, `other` elsewhere; a branch not taken gives its operand no gradient."""
    require_tensor(condition, "where", "condition")
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if condition.dtype is not dtypes.bool_:
        name = {"float32": "Float", "float64": "Double", "int32": "Int", "int64": "Long"}[condition.dtype.name]
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {name}")
    return call(_where, condition, input, other)


def _where_method(self: Tensor, condition: Tensor, other: Tensor | Number) -> Tensor:
    return where(condition, self, other)


_masked_fill = pointwise("masked_fill", lambda a, m, v: fn.select(fn.ne(m, 0), v, a), arity=3)
_masked_fill_tensor = pointwise("masked_fill_tensor", lambda a, m, v: fn.select(fn.ne(m, 0), v, a), arity=3,
                                grad_name="MaskedFillBackward1")


@public("", method=True, inplace=True, samples=[
    sample(t(2, 3), mask(2, 3), 0.0), one(t(2, 3), mask(3), -INF), one(t(2, 3), mask(2, 3), t(seed=1)),
    one(t(3), mask(2, 3), 1.5), plain(edges((1, 2, 3)), mask(3), 7, dtypes=("int64",)),
])
def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """`value` where the mask holds; dtype of `input`."""
    require_tensor(input, "masked_fill")
    require_tensor(mask, "masked_fill", "mask", 2)
    if mask.dtype is not dtypes.bool_:
        names = {"float32": "float", "float64": "double", "int32": "int", "int64": "long int"}
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {names[mask.dtype.name]}"
        )
    if is_tensor(value):
        if value.ndim:
            raise RuntimeError("masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                               f"{value.ndim} dimension(s).")
        return call(_masked_fill_tensor, input, mask, to_dtype(value, input.dtype))
    if not input.dtype.is_floating_point:
        if isinstance(value, float) and not value.is_integer():
            raise RuntimeError(f"value cannot be converted to type {input.dtype.ctype} without overflow")
        value = int(value) if input.dtype is not dtypes.bool_ else bool(value)
    return call(_masked_fill, input, mask, value)


METHODS["where"] = _where_method


# --- closeness -------------------------------------------------------------------------------------------------------

_isclose = pointwise(
    "isclose",
    lambda a, b, rtol, atol: fn.or_(
        fn.eq(a, b), fn.and_(fn.isfinite(b), fn.le(fn.abs_(a - b), atol + fn.abs_(rtol * b)))
    ),
    arity=4, rule=BOOL_RESULT,
)
_isclose_nan = pointwise(
    "isclose_nan",
    lambda a, b, rtol, atol: fn.or_(
        fn.or_(fn.eq(a, b), fn.and_(fn.isnan(a), fn.isnan(b))),
        fn.and_(fn.isfinite(b), fn.le(fn.abs_(a - b), atol + fn.abs_(rtol * b))),
    ),
    arity=4, rule=BOOL_RESULT,
)


@public("", method=True, samples=[plain(PAIRS, OTHERS), plain(PAIRS, PAIRS, equal_nan=True), plain(t(3), t(3))])
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """|input - other| <= atol + rtol * |other|."""
    return call(_isclose_nan if equal_nan else _isclose, input, other, float(rtol), float(atol))


@public("", method=True)
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close; computes the values."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all().item())


@public("", method=True)
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal; computes the values."""
    if len(input.shape) != len(other.shape) or not all(same_extent(a, b) for a, b in zip(input.shape, other.shape)):
        return False
    return bool(np.array_equal(input.detach().numpy(), other.detach().numpy()))


