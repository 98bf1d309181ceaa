"""ONNX operators that work element by element."""

from __future__ import annotations

import functools
import math

import numpy as np

from gradgen.eager.creation import eye
from gradgen.importers.onnx_table import At, Int, Known, Setting, Tensor, Tensors, Value, entry, lib, refuse

_UNARY = {
    "Abs": ("abs", 1, 13), "Acos": ("acos", 7, 22), "Acosh": ("acosh", 9, 22), "Asin": ("asin", 7, 22),
    "Asinh": ("asinh", 9, 22), "Atan": ("atan", 7, 22), "Atanh": ("atanh", 9, 22), "BitwiseNot": ("bitwise_not", 18, 18),
    "Ceil": ("ceil", 1, 13), "Cos": ("cos", 7, 22), "Cosh": ("cosh", 9, 22), "Det": ("linalg.det", 11, 22),
    "Erf": ("erf", 9, 13), "Exp": ("exp", 1, 13), "Floor": ("floor", 1, 13),
    "IsNaN": ("isnan", 9, 20), "Log": ("log", 1, 13), "Mish": ("nn.functional.mish", 18, 22), "Neg": ("neg", 1, 13),
    "Not": ("logical_not", 1, 1), "Reciprocal": ("reciprocal", 1, 13), "Relu": ("nn.functional.relu", 1, 14),
    "Round": ("round", 11, 22), "Sigmoid": ("sigmoid", 1, 13), "Sign": ("sign", 9, 13), "Sin": ("sin", 7, 22),
    "Sinh": ("sinh", 9, 22), "Softplus": ("nn.functional.softplus", 1, 22), "Softsign": ("nn.functional.softsign", 1, 22),
    "Sqrt": ("sqrt", 1, 13), "Tan": ("tan", 7, 22), "Tanh": ("tanh", 1, 13), "HardSwish": ("nn.functional.hardswish", 14, 22),
}
_BINARY = {
    "Add": ("add", 7, 14), "Sub": ("sub", 7, 14), "Mul": ("mul", 7, 14), "MatMul": ("matmul", 1, 13),
    "And": ("logical_and", 7, 7), "Or": ("logical_or", 7, 7), "Xor": ("logical_xor", 7, 7),
    "BitwiseAnd": ("bitwise_and", 18, 18), "BitwiseOr": ("bitwise_or", 18, 18), "BitwiseXor": ("bitwise_xor", 18, 18),
    "Equal": ("eq", 7, 19), "Greater": ("gt", 7, 13), "Less": ("lt", 7, 13), "GreaterOrEqual": ("ge", 12, 16),
    "LessOrEqual": ("le", 12, 16),
}


def _plain(name: str) -> object:
    def call(*inputs: Tensor) -> Tensor:
        return lib(name)(*inputs)

    return call


for _op, (_name, _first, _last) in (_UNARY | _BINARY).items():
    entry(_op, _first, _last)(_plain(_name))


@entry("Identity", 1, 25)
def _identity(input: Value) -> Value:
    return input


@entry("Div", 7, 14)
def _div(A: Tensor, B: Tensor) -> Tensor:
    """Integers are divided towards zero, as C does it."""
    return lib.div(A, B) if A.dtype.is_floating_point else lib.div(A, B, rounding_mode="trunc")


@entry("Mod", 10, 28)
def _mod(A: Tensor, B: Tensor, fmod: int) -> Tensor:
    return (lib.fmod if fmod else lib.remainder)(A, B)


@entry("Pow", 7, 15)
def _pow(X: Tensor, Y: Value, at: At) -> Tensor:
    """The result has X's dtype; an exponent that is known is a number, whose derivative nobody asks for."""
    if not isinstance(Y, Tensor) and Y.size == 1 and Y.dtype != object and Y.ndim <= len(X.shape):
        exponent = Y.reshape(()).item()
        return lib.pow(X, exponent).to(X.dtype)
    return lib.pow(X, at.tensor(Y)).to(X.dtype)


def _folding(name: str) -> object:
    def call(*inputs: Tensor) -> Tensor:
        return functools.reduce(lib(name), inputs)

    return call


for _op, _name in (("Max", "maximum"), ("Min", "minimum"), ("Sum", "add")):
    entry(_op, 8, 13)(_folding(_name))


@entry("Mean", 8, 13)
def _mean(data_0: Tensors) -> Tensor:
    return functools.reduce(lib.add, data_0) / len(data_0)


@entry("Clip", 11, 13)
def _clip(input: Tensor, min: Setting, max: Setting, at: At) -> Tensor:
    """min where the bounds cross is max, as torch.clamp has it."""
    bounds = [b if b is None or isinstance(b, Tensor) or b.dtype == object else b.reshape(()).item() for b in (min, max)]
    if bounds == [None, None]:
        return input
    if any(isinstance(b, Tensor) for b in bounds):
        bounds = [b if b is None else at.tensor(v) for b, v in zip(bounds, (min, max))]
    return lib.clamp(input, *bounds)


@entry("BitShift", 11, 28)
def _bit_shift(X: Tensor, Y: Tensor, direction: str) -> Tensor:
    return lib.bitwise_left_shift(X, Y) if direction == "LEFT" else lib.bitwise_right_shift(X, Y)


@entry("Where", 9, 16)
def _where(condition: Tensor, X: Tensor, Y: Tensor) -> Tensor:
    return lib.where(condition, X, Y)


@entry("IsInf", 10, 20)
def _is_inf(X: Tensor, detect_negative: int, detect_positive: int) -> Tensor:
    if detect_negative and detect_positive:
        return lib.isinf(X)
    if detect_negative or detect_positive:
        return (lib.isneginf if detect_negative else lib.isposinf)(X)
    return lib.logical_and(lib.isinf(X), lib.isnan(X))  # neither is asked for: nowhere


# --- types --------------------------------------------------------------------------------------------------------------


@entry("Cast", 9, 28, ignored="saturate round_mode")
def _cast(input: Tensor, to: int, at: At) -> Tensor:
    return input.to(at.kind(to))


@entry("CastLike", 15, 25, ignored="saturate round_mode")
def _cast_like(input: Tensor, target_type: Tensor) -> Tensor:
    return input.to(target_type.dtype)


# --- activations --------------------------------------------------------------------------------------------------------


@entry("Celu", 12, 28)
def _celu(X: Tensor, alpha: float) -> Tensor:
    return lib("nn.functional.celu")(X, alpha)


@entry("Elu", 6, 22)
def _elu(X: Tensor, alpha: float) -> Tensor:
    return lib("nn.functional.elu")(X, alpha)


@entry("Gelu", 20)
def _gelu(X: Tensor, approximate: str) -> Tensor:
    return lib("nn.functional.gelu")(X, approximate=approximate)


@entry("HardSigmoid", 6, 22)
def _hard_sigmoid(X: Tensor, alpha: float, beta: float) -> Tensor:
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:  # the attribute is a float32
        return lib("nn.functional.hardsigmoid")(X)
    return lib.clamp(X * alpha + beta, 0, 1)


@entry("LeakyRelu", 6, 16)
def _leaky_relu(X: Tensor, alpha: float) -> Tensor:
    return lib("nn.functional.leaky_relu")(X, alpha)


@entry("PRelu", 7, 16)
def _prelu(X: Tensor, slope: Tensor) -> Tensor:
    return lib.where(X < 0, X * slope, X)


@entry("Selu", 6, 22)
def _selu(X: Tensor, alpha: float, gamma: float) -> Tensor:
    return gamma * lib.where(X > 0, X, alpha * lib.expm1(lib.clamp(X, max=0)))


@entry("Shrink", 9)
def _shrink(input: Tensor, bias: float, lambd: float) -> Tensor:
    if not input.dtype.is_floating_point:
        bias, lambd = int(bias), int(lambd)
    zero = input * 0
    return lib.where(input < -lambd, input + bias, lib.where(input > lambd, input - bias, zero))


@entry("Swish", 24)
def _swish(X: Tensor, alpha: float) -> Tensor:
    return lib("nn.functional.silu")(X) if alpha == 1 else X * lib.sigmoid(alpha * X)


@entry("ThresholdedRelu", 10, 22)
def _thresholded_relu(X: Tensor, alpha: float) -> Tensor:
    return lib("nn.functional.threshold")(X, alpha, 0.0)


# --- made from nothing --------------------------------------------------------------------------------------------------


@entry("EyeLike", 9, 22)
def _eye_like(input: Tensor, dtype: Int, k: int, at: At) -> Tensor:
    rows, columns = input.shape
    kind = input.dtype if dtype is None else at.kind(dtype)
    if not k:
        return eye(rows, columns, dtype=kind)
    return lib.diagonal_scatter(eye(rows, columns, dtype=kind) * 0, lib.diagonal(eye(rows, columns, dtype=kind), 0), k)


@entry("Constant", 11, 25)
def _constant(
    value: Value, value_float: Value = None, value_floats: Value = None, value_int: Value = None, value_ints: Value = None
) -> Known:
    if value is not None:
        return np.asarray(value)
    for given, kind in ((value_float, np.float32), (value_floats, np.float32), (value_int, np.int64), (value_ints, np.int64)):
        if given is not None:
            return np.asarray(given, kind)
    raise refuse("constants that are texts or sparse")


@entry("Trilu", 14)
def _trilu(input: Tensor, k: Int, upper: int) -> Tensor:
    return (lib.triu if upper else lib.tril)(input, 0 if k is None else k)
