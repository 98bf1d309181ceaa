"""ONNX's normalisations, dropout and random tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradgen.eager import creation_random
from gradgen.eager.creation import full
from gradgen.eager.modes import no_grad
from gradgen.eager.namespace import functions
from gradgen.importers.onnx_table import At, Int, Ints, Setting, Tensor, entry, lib, refuse


def _columns(v: Tensor, rank: int) -> Tensor:
    """One value a channel, to be broadcast over [N, C, ...]."""
    return v.reshape((1, -1) + (1,) * (rank - 2))


@entry("BatchNormalization", 9, 15, ignored="spatial")
def _batch_norm(
    X: Tensor, scale: Tensor, B: Tensor, epsilon: float, momentum: float, input_mean: Tensor = None, input_var: Tensor = None,
    mean: Tensor = None, var: Tensor = None, training_mode: int = 0, *, at: At
) -> Any:
    """With train=True the running statistics are states; the file's own training_mode has them as results.

    ONNX's running variance is that of the batch itself (divided by N, not N - 1), and its momentum is the part that stays.
    """
    mean, var = (input_mean, input_var) if mean is None else (mean, var)
    train = bool(training_mode) if at.train is None else at.train
    if not train:
        y = lib("nn.functional.batch_norm")(X, mean, var, scale, B, False, 0.0, epsilon)
        return (y, mean, var)[: max(at.outputs, 1)]
    over = tuple(a for a in range(len(X.shape)) if a != 1)
    y = lib("nn.functional.batch_norm")(X, None, None, scale, B, True, 0.0, epsilon)
    batch = lib.mean(X, over), lib.var(X, over, correction=0)
    now = [old * momentum + new * (1 - momentum) for old, new in zip((mean, var), batch)]
    if not training_mode:
        with no_grad():
            mean.copy_(now[0])
            var.copy_(now[1])
    return (y, *now)[: max(at.outputs, 1)]


@entry("InstanceNormalization", 6, 22)
def _instance_norm(input: Tensor, scale: Tensor, B: Tensor, epsilon: float) -> Tensor:
    return lib("nn.functional.instance_norm")(input, None, None, scale, B, True, 0.1, epsilon)


@entry("LayerNormalization", 17, ignored="stash_type")
def _layer_norm(X: Tensor, Scale: Tensor, B: Tensor, axis: int, epsilon: float, at: At) -> Any:
    rank = len(X.shape)
    a = axis % rank
    rest = tuple(X.shape)[a:]
    shaped = tuple(Scale.shape) == rest and (B is None or tuple(B.shape) == rest)
    if shaped:
        y = lib("nn.functional.layer_norm")(X, rest, Scale, B, epsilon)
    else:
        y = lib("nn.functional.layer_norm")(X, rest, None, None, epsilon) * Scale
        y = y if B is None else y + B
    if at.outputs == 1:
        return y
    over = tuple(range(a, rank))
    return y, lib.mean(X, over, True), lib.rsqrt(lib.var(X, over, correction=0, keepdim=True) + epsilon)


@entry("RMSNormalization", 23, ignored="stash_type")
def _rms_norm(X: Tensor, scale: Tensor, axis: int, epsilon: float) -> Tensor:
    rest = tuple(X.shape)[axis % len(X.shape):]
    if tuple(scale.shape) == rest:
        return lib("nn.functional.rms_norm")(X, rest, scale, epsilon)
    return lib("nn.functional.rms_norm")(X, rest, None, epsilon) * scale


@entry("GroupNormalization", 18, 21, ignored="stash_type")
def _group_norm(X: Tensor, scale: Tensor, bias: Tensor, epsilon: float, num_groups: int) -> Tensor:
    """Until opset 20 scale and bias are one a group, then one a channel."""
    channels = X.shape[1]
    if scale.shape[0] != channels:
        scale, bias = (lib.repeat_interleave(v, channels // num_groups) for v in (scale, bias))
    return lib("nn.functional.group_norm")(X, num_groups, scale, bias, epsilon)


@entry("LpNormalization", 1, 22)
def _lp_norm(input: Tensor, axis: int, p: int) -> Tensor:
    """0 where all elements are."""
    length = lib("linalg.vector_norm")(input, p, axis, True)
    return lib.where(length == 0, input * 0, input / lib.where(length == 0, lib.abs(length) * 0 + 1, length))


@entry("LRN", 1, 13)
def _lrn(X: Tensor, alpha: float, beta: float, bias: float, size: int) -> Tensor:
    if size % 2:
        return lib("nn.functional.local_response_norm")(X, size, alpha, beta, bias)
    from gradgen.importers.onnx_moving import padded

    before, after = (size - 1) // 2, size // 2
    rest = (0,) * (len(X.shape) - 2)
    squares = padded(X * X, (before, *rest), (after, *rest)).unfold(1, size, 1)
    return X / (bias + alpha / size * lib.sum(squares, -1)) ** beta


@entry("MeanVarianceNormalization", 9, 13)
def _mvn(X: Tensor, axes: Ints) -> Tensor:
    mean = lib.mean(X, axes, True)
    return (X - mean) / (lib.sqrt(lib.mean(X * X, axes, True) - mean * mean) + 1e-9)


# --- random -------------------------------------------------------------------------------------------------------------


@entry("Dropout", 12, 22, ignored="seed")
def _dropout(data: Tensor, ratio: Setting, training_mode: Setting, at: At) -> Any:
    chance = 0.5 if ratio is None else at.known(ratio, "'ratio'").reshape(()).item()
    asked = False if training_mode is None else bool(at.known(training_mode, "'training_mode'"))
    return _dropped(data, chance, asked if at.train is None else at.train, at)


@entry("Dropout", 7, 10, ignored="seed")
def _dropout_7(data: Tensor, ratio: float, at: At) -> Any:
    return _dropped(data, ratio, bool(at.train), at)


def _dropped(data: Tensor, chance: float, train: bool, at: At) -> Any:
    if at.outputs == 1:
        return lib("nn.functional.dropout")(data, chance, True) if train and chance else data
    kept = full(tuple(data.shape), 1, dtype=at.kind(9))
    if train and chance:
        kept = functions()["rand_like"](data) >= chance
        data = lib.where(kept, data / (1 - chance), data * 0)
    return data, kept


@entry("RandomUniform", 1, 22, ignored="seed")
def _uniform(dtype: int, high: float, low: float, shape: Ints, at: At) -> Tensor:
    return _rand("rand", shape, at.kind(dtype)) * (high - low) + low


@entry("RandomNormal", 1, 22, ignored="seed")
def _normal(dtype: int, mean: float, scale: float, shape: Ints, at: At) -> Tensor:
    return _rand("randn", shape, at.kind(dtype)) * scale + mean


@entry("RandomUniformLike", 1, 22, ignored="seed")
def _uniform_like(input: Tensor, dtype: Int, high: float, low: float, at: At) -> Tensor:
    return _rand("rand", input.shape, input.dtype if dtype is None else at.kind(dtype)) * (high - low) + low


@entry("RandomNormalLike", 1, 22, ignored="seed")
def _normal_like(input: Tensor, dtype: Int, mean: float, scale: float, at: At) -> Tensor:
    return _rand("randn", input.shape, input.dtype if dtype is None else at.kind(dtype)) * scale + mean


@entry("Bernoulli", 15, 22, ignored="seed")
def _bernoulli(input: Tensor, dtype: Int, at: At) -> Tensor:
    return creation_random.bernoulli(input).to(input.dtype if dtype is None else at.kind(dtype))


def _rand(name: str, shape: Sequence[Any], kind: Any) -> Tensor:
    if not kind.is_floating_point:
        raise refuse(f"random numbers of dtype {kind.name}")
    return functions()[name](*shape, dtype=kind) if shape else functions()[name]((), dtype=kind)


