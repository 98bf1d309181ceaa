"""Every class of torch.nn with its options, and arguments to call it with, small."""

# ruff: noqa: B008, B023  (cases are made by functions of loop variables that are called at once)

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

Case = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""A layer and the args and kwargs of its call."""


def normal(*shape: int) -> Any:
    return torch.randn(*shape, dtype=torch.float64)


def below(high: int, *shape: int) -> Any:
    return torch.randint(0, high, shape)


def cases() -> dict[str, Callable[[], Case]]:
    """By the class and its options."""
    found: dict[str, Callable[[], Case]] = {}
    for part in (
        _plain,
        _activations,
        _convolutions,
        _pools,
        _pads,
        _norms,
        _resizing,
        _recurrent,
        _attention,
        _embeddings,
        _losses,
        _random,
        _parametrised,
    ):
        for name, make in part():
            while name in found:
                name += "'"
            found[name] = make
    return found


def randomly(name: str) -> bool:
    """Whether the case draws random numbers."""
    return name in {n for n, _ in _random()} and "eval" not in name


def _case(layer: Callable[[], Any], *args: Any, **kwargs: Any) -> Callable[[], Case]:
    def make() -> Case:
        torch.manual_seed(1)
        made = layer()
        return (
            made,
            tuple(a() if callable(a) else a for a in args),
            {k: v() if callable(v) else v for k, v in kwargs.items()},
        )

    return make


def _x(*shape: int) -> Callable[[], Any]:
    return lambda: normal(*shape)


def _named(cls: Any, *args: Any, **options: Any) -> tuple[str, Callable[[], Any]]:
    """The layer in float64, and what it is called."""
    said = ", ".join([*map(_short, args), *(f"{k}={_short(v)}" for k, v in options.items())])

    def layer() -> Any:
        return cls(*args, **options).double()

    return f"{cls.__name__}({said})", layer


def _short(value: Any) -> str:
    return (
        type(value).__name__
        if isinstance(value, (torch.Tensor, nn.Module))
        else getattr(value, "__name__", None) or repr(value)
    )


def _of(cls: Any, *args: Any, on: tuple[Any, ...], **options: Any) -> tuple[str, Callable[[], Case]]:
    name, layer = _named(cls, *args, **options)
    return name, _case(layer, *on)


def _plain() -> Iterator[tuple[str, Callable[[], Case]]]:
    x = _x(3, 4)
    yield _of(nn.Linear, 4, 5, on=(x,))
    yield _of(nn.Linear, 4, 5, bias=False, on=(_x(2, 3, 4),))
    yield _of(nn.Bilinear, 4, 3, 5, on=(_x(2, 4), _x(2, 3)))
    yield _of(nn.Bilinear, 4, 3, 5, bias=False, on=(_x(2, 6, 4), _x(2, 6, 3)))
    yield _of(nn.Identity, on=(x,))
    yield _of(nn.Flatten, on=(_x(2, 3, 4),))
    yield _of(nn.Flatten, 0, 1, on=(_x(2, 3, 4),))
    yield _of(nn.Unflatten, 1, (2, 3), on=(_x(2, 6),))
    yield _of(nn.CosineSimilarity, on=(_x(3, 4), _x(3, 4)))
    yield _of(nn.CosineSimilarity, dim=-1, eps=1e-3, on=(_x(3, 4), _x(4)))
    for p in (1.0, 2.0, 3.0, float("inf")):
        yield _of(nn.PairwiseDistance, p=p, on=(_x(3, 4), _x(3, 4)))
    yield _of(nn.PairwiseDistance, keepdim=True, on=(_x(3, 4), _x(3, 4)))
    yield _of(nn.PixelShuffle, 2, on=(_x(2, 8, 2, 3),))
    yield _of(nn.PixelUnshuffle, 2, on=(_x(2, 2, 4, 6),))
    yield _of(nn.ChannelShuffle, 2, on=(_x(2, 4, 2, 3),))
    yield _of(nn.Unfold, 2, on=(_x(2, 3, 5, 4),))
    yield _of(nn.Unfold, (2, 3), dilation=(2, 1), padding=1, stride=(1, 2), on=(_x(2, 3, 5, 4),))
    yield _of(nn.Fold, (5, 4), 2, on=(_x(2, 12, 12),))
    yield _of(nn.Fold, (5, 4), (2, 3), padding=1, stride=(2, 1), on=(_x(2, 12, 12),))
    yield "Sequential", _case(lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double(), x)
    yield "LazyLinear", _case(lambda: _seen(nn.LazyLinear(3).double(), normal(2, 4)), x)
    yield "LazyConv2d", _case(lambda: _seen(nn.LazyConv2d(3, 2).double(), normal(2, 4, 5, 5)), _x(2, 4, 5, 5))
    yield "LazyBatchNorm1d", _case(lambda: _seen(nn.LazyBatchNorm1d().double(), normal(2, 4)), x)
    yield (
        "ParameterDict",
        _case(lambda: _Held(nn.ParameterDict({"a": nn.Parameter(normal(4))}), lambda p, x: p["a"] * x), x),
    )
    yield "ParameterList", _case(lambda: _Held(nn.ParameterList([nn.Parameter(normal(4))]), lambda p, x: p[0] * x), x)
    yield "ModuleDict", _case(lambda: _Held(nn.ModuleDict({"a": nn.Linear(4, 3).double()}), lambda m, x: m["a"](x)), x)
    yield "ModuleList", _case(lambda: _Held(nn.ModuleList([nn.Linear(4, 3).double()]), lambda m, x: m[0](x)), x)


def _seen(layer: Any, x: Any) -> Any:
    layer(x)
    return layer


class _Held(nn.Module):
    def __init__(self, held: Any, use: Any) -> None:
        super().__init__()
        self.held, self.use = held, use

    def forward(self, x: Any) -> Any:
        return self.use(self.held, x)


def _activations() -> Iterator[tuple[str, Callable[[], Case]]]:
    options: dict[Any, list[dict[str, Any]]] = {
        nn.CELU: [{"alpha": 0.7}],
        nn.ELU: [{"alpha": 0.7}, {"inplace": True}],
        nn.GELU: [{"approximate": "tanh"}],
        nn.Hardshrink: [{"lambd": 0.3}],
        nn.Hardsigmoid: [{"inplace": True}],
        nn.Hardswish: [{"inplace": True}],
        nn.Hardtanh: [{"min_val": -0.4, "max_val": 0.9}],
        nn.LeakyReLU: [{"negative_slope": 0.2}, {"inplace": True}],
        nn.LogSigmoid: [],
        nn.Mish: [{"inplace": True}],
        nn.PReLU: [{"num_parameters": 4}],
        nn.ReLU: [{"inplace": True}],
        nn.ReLU6: [{"inplace": True}],
        nn.SELU: [{"inplace": True}],
        nn.SiLU: [{"inplace": True}],
        nn.Sigmoid: [],
        nn.Softplus: [{"beta": 2.0, "threshold": 1.5}],
        nn.Softshrink: [{"lambd": 0.3}],
        nn.Softsign: [],
        nn.Tanh: [],
        nn.Tanhshrink: [],
    }
    for cls, more in options.items():
        for chosen in [{}, *more]:
            name, layer = _named(cls, **chosen)
            yield name, _case(lambda layer=layer: _Held(layer(), lambda f, x: f(2 * x)), _x(3, 4))
    yield _of(nn.GLU, on=(_x(3, 4),))
    yield _of(nn.GLU, dim=0, on=(_x(4, 3),))
    yield "Threshold", _case(lambda: _Held(nn.Threshold(0.1, 5.0, inplace=True), lambda f, x: f(2 * x)), _x(3, 4))
    for cls in (nn.Softmax, nn.LogSoftmax, nn.Softmin):
        yield _of(cls, dim=1, on=(_x(3, 4),))
        yield _of(cls, dim=0, on=(_x(3, 4, 2),))
    yield _of(nn.Softmax2d, on=(_x(2, 3, 2, 2),))
    yield "RReLU, eval", _case(lambda: nn.RReLU().eval(), _x(3, 4))


def _convolutions() -> Iterator[tuple[str, Callable[[], Case]]]:
    sizes = {1: (2, 4, 9), 2: (2, 4, 7, 6), 3: (1, 4, 5, 6, 5)}
    for k, shape in sizes.items():
        conv, back = getattr(nn, f"Conv{k}d"), getattr(nn, f"ConvTranspose{k}d")
        for more in (
            {},
            {"stride": 2, "padding": 1},
            {"dilation": 2, "bias": False},
            {"groups": 2, "padding": "same"},
            {"groups": 4},
            {"padding": "valid"},
            {"padding": 1, "padding_mode": "reflect"},
            {"padding": 2, "padding_mode": "replicate"},
            {"padding": 1, "padding_mode": "circular"},
            {"padding": "same", "padding_mode": "circular"},
        ):
            outs = 4 if "groups" in more else 3
            yield _of(conv, 4, outs, 2 if more.get("padding") == "same" else 3, on=(_x(*shape),), **more)
        yield _of(conv, 4, 3, 2, on=(_x(*shape[1:]),))
        for more in (
            {},
            {"stride": 2, "padding": 1, "output_padding": 1},
            {"dilation": 2, "bias": False},
            {"groups": 2, "stride": 3},
        ):
            yield _of(back, 4, 2 if "groups" in more else 3, 3, on=(_x(*shape),), **more)
        yield (
            f"ConvTranspose{k}d, output_size",
            _case(lambda back=back: back(4, 3, 3, stride=2).double(), _x(*shape), [2 * n + 2 for n in shape[2:]]),
        )


def _pools() -> Iterator[tuple[str, Callable[[], Case]]]:
    sizes = {1: (2, 3, 9), 2: (2, 3, 7, 6), 3: (1, 2, 5, 6, 5)}
    for k, shape in sizes.items():
        x = _x(*shape)
        for more in (
            {},
            {"stride": 2, "padding": 1},
            {"stride": 2, "ceil_mode": True},
            {"dilation": 2, "stride": 1},
            {"return_indices": True, "stride": 2},
        ):
            yield _of(getattr(nn, f"MaxPool{k}d"), 3 if k < 3 else 2, on=(x,), **more)
        for more in (
            {},
            {"stride": 2, "padding": 1},
            {"stride": 2, "ceil_mode": True, "padding": 1},
            {"padding": 1, "count_include_pad": False, "stride": 2},
            *([{"divisor_override": 5}] if k > 1 else []),
        ):
            yield _of(getattr(nn, f"AvgPool{k}d"), 3 if k < 3 else 2, on=(x,), **more)
        for p in (1.0, 2.0, 3.5):
            yield _of(
                getattr(nn, f"LPPool{k}d"),
                p,
                2,
                on=(lambda shape=shape: normal(*shape).abs(),),
                stride=2,
                ceil_mode=p == 2.0,
            )
        yield _of(getattr(nn, f"AdaptiveAvgPool{k}d"), 2, on=(x,))
        yield _of(getattr(nn, f"AdaptiveAvgPool{k}d"), 1, on=(x,))
        yield _of(getattr(nn, f"AdaptiveMaxPool{k}d"), 2, on=(x,))
        yield _of(getattr(nn, f"AdaptiveMaxPool{k}d"), 2, return_indices=True, on=(x,))
        pool, un = getattr(nn, f"MaxPool{k}d")(2, return_indices=True), getattr(nn, f"MaxUnpool{k}d")(2)
        even = tuple(n // 2 * 2 for n in shape[2:])
        yield (
            f"MaxUnpool{k}d",
            _case(
                lambda pool=pool, un=un: _Held(nn.ModuleList([pool, un]), lambda m, x: m[1](*m[0](x))),
                _x(*shape[:2], *even),
            ),
        )
        yield (
            f"MaxUnpool{k}d, output_size",
            _case(
                lambda pool=pool, un=un: _Held(
                    nn.ModuleList([pool, un]), lambda m, x: m[1](*m[0](x), output_size=x.shape)
                ),
                x,
            ),
        )
        yield f"MaxPool{k}d without a batch", _case(lambda pool=pool: pool, _x(*shape[1:]))
    yield _of(nn.AdaptiveAvgPool2d, (None, 3), on=(_x(2, 3, 5, 7),))
    yield _of(nn.AdaptiveMaxPool2d, (3, None), on=(_x(2, 3, 5, 7),))


def _pads() -> Iterator[tuple[str, Callable[[], Case]]]:
    sizes = {1: (2, 3, 5), 2: (2, 3, 5, 4), 3: (1, 2, 4, 3, 4)}
    for k, shape in sizes.items():
        pads = tuple(range(2)) * k
        for kind in ("Reflection", "Replication", "Zero", "Circular"):
            yield _of(getattr(nn, f"{kind}Pad{k}d"), 1, on=(_x(*shape),))
            yield _of(getattr(nn, f"{kind}Pad{k}d"), pads, on=(_x(*shape),))
        yield _of(getattr(nn, f"ConstantPad{k}d"), pads, 3.5, on=(_x(*shape),))
        yield _of(getattr(nn, f"ConstantPad{k}d"), -1, 3.5, on=(_x(*shape),))


def _norms() -> Iterator[tuple[str, Callable[[], Case]]]:
    sizes = {1: (4, 3, 5), 2: (4, 3, 2, 3), 3: (2, 3, 2, 3, 2)}
    for k, shape in sizes.items():
        for more, train in itertools.product(
            ({}, {"momentum": 0.3, "eps": 1e-3}, {"affine": False}, {"track_running_stats": False}), (True, False)
        ):
            name, layer = _named(getattr(nn, f"BatchNorm{k}d"), 3, **more)
            yield (
                f"{name}, {'train' if train else 'eval'}",
                _case(lambda layer=layer, train=train: layer().train(train), _x(*shape)),
            )
        for more, train in itertools.product(
            ({}, {"affine": True}, {"affine": True, "track_running_stats": True}), (True, False)
        ):
            name, layer = _named(getattr(nn, f"InstanceNorm{k}d"), 3, **more)
            yield (
                f"{name}, {'train' if train else 'eval'}",
                _case(lambda layer=layer, train=train: layer().train(train), _x(*shape)),
            )
    yield _of(nn.BatchNorm1d, 4, on=(_x(6, 4),))
    yield _of(nn.InstanceNorm1d, 3, on=(_x(3, 5),))
    yield "SyncBatchNorm, eval", _case(lambda: nn.SyncBatchNorm(3).double().eval(), _x(2, 3, 4))
    yield _of(nn.GroupNorm, 2, 4, on=(_x(2, 4, 3),))
    yield _of(nn.GroupNorm, 4, 4, affine=False, eps=1e-2, on=(_x(2, 4, 3, 2),))
    yield _of(nn.LayerNorm, 4, on=(_x(3, 4),))
    yield _of(nn.LayerNorm, (3, 4), eps=1e-2, on=(_x(2, 3, 4),))
    yield _of(nn.LayerNorm, 4, bias=False, on=(_x(3, 4),))
    yield _of(nn.LayerNorm, 4, elementwise_affine=False, on=(_x(3, 4),))
    yield _of(nn.RMSNorm, 4, on=(_x(3, 4),))
    yield _of(nn.RMSNorm, (3, 4), eps=1e-2, on=(_x(2, 3, 4),))
    yield _of(nn.RMSNorm, 4, elementwise_affine=False, on=(_x(3, 4),))
    yield _of(nn.LocalResponseNorm, 2, on=(_x(2, 4, 3),))
    yield _of(nn.LocalResponseNorm, 3, alpha=0.1, beta=0.6, k=2.0, on=(_x(2, 4, 3, 2),))
    yield _of(nn.CrossMapLRN2d, 3, on=(_x(2, 4, 3, 2),))


def _resizing() -> Iterator[tuple[str, Callable[[], Case]]]:
    for mode, shape in (
        ("nearest", (2, 3, 5)),
        ("nearest", (2, 3, 4, 5)),
        ("nearest", (1, 2, 3, 2, 3)),
        ("linear", (2, 3, 5)),
        ("bilinear", (2, 3, 4, 5)),
        ("bicubic", (2, 3, 4, 5)),
        ("trilinear", (1, 2, 3, 2, 3)),
        ("nearest-exact", (2, 3, 4, 5)),
        ("nearest-exact", (2, 3, 5)),
    ):
        for size in ({"scale_factor": 2.0}, {"size": tuple(n + 2 for n in shape[2:])}, {"scale_factor": 0.7}):
            for align in (None, *([True] if "linear" in mode or "cubic" in mode else [])):
                yield _of(
                    nn.Upsample,
                    mode=mode,
                    **size,
                    **({} if align is None else {"align_corners": align}),
                    on=(_x(*shape),),
                )
    yield _of(nn.Upsample, scale_factor=1.7, recompute_scale_factor=True, mode="bilinear", on=(_x(2, 3, 4, 5),))
    yield _of(nn.UpsamplingNearest2d, scale_factor=2, on=(_x(2, 3, 4, 5),))
    yield _of(nn.UpsamplingBilinear2d, size=(6, 7), on=(_x(2, 3, 4, 5),))


def _recurrent() -> Iterator[tuple[str, Callable[[], Case]]]:
    for cls in (nn.RNN, nn.LSTM, nn.GRU):
        for more in (
            {},
            {"num_layers": 2},
            {"bias": False},
            {"batch_first": True},
            {"bidirectional": True},
            {"num_layers": 2, "bidirectional": True, "batch_first": True},
            *([{"nonlinearity": "relu"}] if cls is nn.RNN else []),
            *([{"proj_size": 2}, {"proj_size": 2, "bidirectional": True, "num_layers": 2}] if cls is nn.LSTM else []),
        ):
            yield _of(cls, 3, 4, on=(_x(5, 2, 3),), **more)
        state = (_x(1, 2, 4)(), _x(1, 2, 4)()) if cls is nn.LSTM else _x(1, 2, 4)()
        yield f"{cls.__name__} with a state", _case(lambda cls=cls: cls(3, 4).double(), _x(5, 2, 3), state)
        yield f"{cls.__name__} without a batch", _case(lambda cls=cls: cls(3, 4).double(), _x(5, 3))
    for cls in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
        for more in ({}, {"bias": False}, *([{"nonlinearity": "relu"}] if cls is nn.RNNCell else [])):
            state = (_x(2, 4)(), _x(2, 4)()) if cls is nn.LSTMCell else _x(2, 4)()
            yield _of(cls, 3, 4, on=(_x(2, 3),), **more)
            name, layer = _named(cls, 3, 4, **more)
            yield f"{name} with a state", _case(layer, _x(2, 3), state)
        yield f"{cls.__name__} without a batch", _case(lambda cls=cls: cls(3, 4).double(), _x(3))


def _attention() -> Iterator[tuple[str, Callable[[], Case]]]:
    causal = torch.ones(3, 3, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False, False, True], [False, False, False]])
    heads = {"batch_first": True}
    for train in (True, False):
        mode = "train" if train else "eval"

        def layer(cls: Any, *args: Any, train: bool = train, **options: Any) -> Callable[[], Any]:
            return lambda: cls(*args, dropout=0.0, **options).double().train(train)

        for n, call in enumerate(
            (
                {},
                {"need_weights": False},
                {"average_attn_weights": False},
                {"attn_mask": causal},
                {"attn_mask": _x(3, 3)},
                {"key_padding_mask": padding},
                {"attn_mask": causal, "key_padding_mask": padding, "need_weights": False},
                {"attn_mask": causal, "is_causal": True, "need_weights": False},
            )
        ):
            yield (
                f"MultiheadAttention, {mode}, call {n}",
                _case(lambda made=layer(nn.MultiheadAttention, 4, 2, **heads): _Self(made()), _x(2, 3, 4), **call),
            )
        for more in ({"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 3, "vdim": 5}):
            yield (
                f"MultiheadAttention, {mode}, {more}",
                _case(
                    layer(nn.MultiheadAttention, 4, 2, **more),
                    _x(3, 2, 4),
                    _x(5, 2, more.get("kdim", 4)),
                    _x(5, 2, more.get("vdim", 4)),
                ),
            )
        for more in ({}, {"norm_first": True}, {"activation": "gelu"}, {"bias": False}, {"layer_norm_eps": 1e-3}):
            yield (
                f"TransformerEncoderLayer, {mode}, {more}",
                _case(layer(nn.TransformerEncoderLayer, 4, 2, 6, batch_first=True, **more), _x(2, 3, 4)),
            )
            yield (
                f"TransformerDecoderLayer, {mode}, {more}",
                _case(layer(nn.TransformerDecoderLayer, 4, 2, 6, batch_first=True, **more), _x(2, 3, 4), _x(2, 5, 4)),
            )
        yield (
            f"TransformerEncoderLayer, {mode}, masks",
            _case(
                layer(nn.TransformerEncoderLayer, 4, 2, 6, batch_first=True),
                _x(2, 3, 4),
                src_mask=causal,
                src_key_padding_mask=padding,
            ),
        )
        yield (
            f"TransformerDecoderLayer, {mode}, masks",
            _case(
                layer(nn.TransformerDecoderLayer, 4, 2, 6),
                _x(3, 2, 4),
                _x(5, 2, 4),
                tgt_mask=causal,
                tgt_is_causal=True,
            ),
        )
        yield (
            f"TransformerEncoder, {mode}",
            _case(
                lambda made=layer(nn.TransformerEncoderLayer, 4, 2, 6, batch_first=True), train=train: (
                    nn.TransformerEncoder(made(), 2, norm=nn.LayerNorm(4).double()).train(train)
                ),
                _x(2, 3, 4),
            ),
        )
        yield (
            f"TransformerEncoder, {mode}, masks",
            _case(
                lambda made=layer(nn.TransformerEncoderLayer, 4, 2, 6, batch_first=True), train=train: (
                    nn.TransformerEncoder(made(), 2, enable_nested_tensor=False).train(train)
                ),
                _x(2, 3, 4),
                mask=causal,
                src_key_padding_mask=padding,
            ),
        )
        yield (
            f"TransformerDecoder, {mode}",
            _case(
                lambda made=layer(nn.TransformerDecoderLayer, 4, 2, 6, batch_first=True), train=train: (
                    nn.TransformerDecoder(made(), 2, norm=nn.LayerNorm(4).double()).train(train)
                ),
                _x(2, 3, 4),
                _x(2, 5, 4),
            ),
        )
        yield (
            f"Transformer, {mode}",
            _case(layer(nn.Transformer, 4, 2, 1, 1, 6, batch_first=True), _x(2, 3, 4), _x(2, 4, 4)),
        )


class _Self(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any, **options: Any) -> Any:
        return self.layer(x, x, x, **options)


def _embeddings() -> Iterator[tuple[str, Callable[[], Case]]]:
    yield _of(nn.Embedding, 5, 3, on=(below(5, 2, 4),))
    yield _of(nn.Embedding, 5, 3, padding_idx=1, on=(below(5, 2, 4),))
    yield _of(nn.Embedding, 5, 3, scale_grad_by_freq=True, on=(below(5, 2, 4),))
    yield _of(nn.Embedding, 5, 3, max_norm=1.0, on=(below(5, 2, 4),))
    for mode in ("sum", "mean", "max"):
        yield _of(nn.EmbeddingBag, 5, 3, mode=mode, on=(below(5, 2, 4),))
        yield _of(nn.EmbeddingBag, 5, 3, mode=mode, padding_idx=2, on=(below(5, 2, 4),))
        name, layer = _named(nn.EmbeddingBag, 5, 3, mode=mode)
        yield f"{name} with offsets", _case(layer, below(5, 6), torch.tensor([0, 2, 2]))
        name, layer = _named(nn.EmbeddingBag, 5, 3, mode=mode, include_last_offset=True)
        yield f"{name} with offsets", _case(layer, below(5, 6), torch.tensor([0, 2, 6]))
    name, layer = _named(nn.EmbeddingBag, 5, 3, mode="sum")
    yield f"{name} with weights", _case(layer, below(5, 2, 4), per_sample_weights=_x(2, 4))


def _losses() -> Iterator[tuple[str, Callable[[], Case]]]:
    def signs() -> Any:
        return torch.where(normal(3, 4) > 0, 1.0, -1.0).double()

    def chances(*shape: int) -> Callable[[], Any]:
        return lambda: torch.rand(*shape, dtype=torch.float64) * 0.9 + 0.05

    x, y, classes = _x(3, 4), _x(3, 4), torch.tensor([1, 3, 0])
    weight = torch.tensor([0.3, 1.2, 0.7, 2.0], dtype=torch.float64)
    for how in ("none", "mean", "sum"):
        r = {"reduction": how}
        yield _of(nn.L1Loss, **r, on=(x, y))
        yield _of(nn.MSELoss, **r, on=(x, y))
        yield _of(nn.SmoothL1Loss, **r, beta=0.5, on=(x, y))
        yield _of(nn.HuberLoss, **r, delta=0.5, on=(x, y))
        yield _of(nn.SoftMarginLoss, **r, on=(x, torch.tensor([[1, -1, 1, -1], [1, 1, 1, -1], [-1, -1, -1, 1]])))
        yield _of(nn.HingeEmbeddingLoss, **r, margin=0.5, on=(x, signs))
        yield _of(nn.BCELoss, **r, on=(chances(3, 4), chances(3, 4)))
        yield _of(nn.BCELoss, **r, weight=weight, on=(chances(3, 4), chances(3, 4)))
        yield _of(nn.BCEWithLogitsLoss, **r, on=(x, chances(3, 4)))
        yield _of(nn.BCEWithLogitsLoss, **r, weight=weight, pos_weight=weight + 1, on=(x, chances(3, 4)))
        yield _of(nn.PoissonNLLLoss, **r, on=(x, chances(3, 4)))
        yield _of(
            nn.PoissonNLLLoss, **r, log_input=False, full=True, on=(chances(3, 4), lambda: normal(3, 4).abs() * 4)
        )
        yield _of(nn.GaussianNLLLoss, **r, on=(x, y, chances(3, 4)))
        yield _of(nn.GaussianNLLLoss, **r, full=True, eps=0.1, on=(x, y, chances(3, 1)))
        yield _of(nn.KLDivLoss, **r, on=(x, chances(3, 4)))
        yield _of(nn.KLDivLoss, **r, log_target=True, on=(x, y))
        yield _of(nn.MarginRankingLoss, **r, margin=0.2, on=(_x(3), _x(3), lambda: signs()[:, 0]))
        yield _of(nn.CosineEmbeddingLoss, **r, margin=0.2, on=(x, y, lambda: signs()[:, 0]))
        yield _of(nn.MultiMarginLoss, **r, on=(x, classes))
        yield _of(nn.MultiMarginLoss, **r, p=2, margin=0.7, weight=weight, on=(x, classes))
        yield _of(nn.MultiLabelMarginLoss, **r, on=(x, torch.tensor([[1, 3, -1, 0], [0, -1, 2, 1], [2, 0, 1, 3]])))
        yield _of(nn.MultiLabelSoftMarginLoss, **r, weight=weight, on=(x, chances(3, 4)))
        yield _of(nn.TripletMarginLoss, **r, on=(x, y, _x(3, 4)))
        yield _of(nn.TripletMarginLoss, **r, p=1.0, swap=True, margin=0.4, on=(x, y, _x(3, 4)))
        yield _of(nn.TripletMarginWithDistanceLoss, **r, swap=True, on=(x, y, _x(3, 4)))
        yield _of(
            nn.TripletMarginWithDistanceLoss,
            **r,
            on=(x, y, _x(3, 4)),
            distance_function=lambda a, b: 1 - torch.nn.functional.cosine_similarity(a, b),
        )
        yield _of(nn.NLLLoss, **r, on=(x, classes))
        yield _of(nn.NLLLoss, **r, weight=weight, ignore_index=3, on=(x, classes))
        yield _of(nn.NLLLoss, **r, weight=weight, on=(_x(2, 4, 3, 2), below(4, 2, 3, 2)))
        yield _of(nn.CrossEntropyLoss, **r, on=(x, classes))
        yield _of(nn.CrossEntropyLoss, **r, weight=weight, ignore_index=3, label_smoothing=0.1, on=(x, classes))
        yield _of(nn.CrossEntropyLoss, **r, label_smoothing=0.1, weight=weight, on=(x, lambda: normal(3, 4).softmax(1)))
        yield _of(nn.CrossEntropyLoss, **r, ignore_index=-1, on=(_x(2, 4, 3), torch.tensor([[1, -1, 2], [0, 3, -1]])))
        yield _of(nn.CrossEntropyLoss, **r, on=(_x(4), torch.tensor(2)))
        yield (
            f"CTCLoss(reduction={how!r})",
            _case(
                lambda how=how: nn.CTCLoss(reduction=how),
                lambda: normal(6, 2, 4).log_softmax(2),
                torch.tensor([[1, 2, 3], [3, 3, 1]]),
                torch.tensor([6, 5]),
                torch.tensor([3, 2]),
            ),
        )
    yield _of(nn.KLDivLoss, reduction="batchmean", on=(x, chances(3, 4)))
    yield _of(nn.LinearCrossEntropyLoss, 4, 5, on=(x, classes))
    yield _of(nn.AdaptiveLogSoftmaxWithLoss, 4, 6, [2, 4], on=(x, torch.tensor([1, 3, 5])))


def _random() -> Iterator[tuple[str, Callable[[], Case]]]:
    for cls, shape in (
        (nn.Dropout, (3, 4)),
        (nn.Dropout1d, (2, 3, 4)),
        (nn.Dropout2d, (2, 3, 4, 2)),
        (nn.Dropout3d, (2, 3, 2, 2, 2)),
        (nn.AlphaDropout, (3, 4)),
        (nn.FeatureAlphaDropout, (2, 3, 4)),
    ):
        yield _of(cls, 0.4, on=(_x(*shape),))
        name, layer = _named(cls, 0.4)
        yield f"{name}, eval", _case(lambda layer=layer: layer().eval(), _x(*shape))
    yield _of(nn.RReLU, on=(_x(3, 4),))
    yield _of(nn.FractionalMaxPool2d, 2, output_size=3, on=(_x(2, 3, 7, 6),))
    yield _of(nn.FractionalMaxPool3d, 2, output_size=2, on=(_x(1, 2, 5, 6, 5),))
    yield "LSTM with dropout", _case(lambda: nn.LSTM(3, 4, num_layers=2, dropout=0.5).double(), _x(5, 2, 3))
    yield (
        "TransformerEncoderLayer with dropout",
        _case(lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True).double(), _x(2, 3, 4)),
    )


def _parametrised() -> Iterator[tuple[str, Callable[[], Case]]]:
    p = nn.utils.parametrizations
    for train in (True, False):
        mode = "train" if train else "eval"
        yield (
            f"weight_norm, {mode}",
            _case(lambda train=train: p.weight_norm(nn.Linear(4, 3).double()).train(train), _x(2, 4)),
        )
        yield (
            f"weight_norm of a convolution, {mode}",
            _case(
                lambda train=train: p.weight_norm(nn.Conv2d(2, 3, 2).double(), dim=None).train(train), _x(2, 2, 4, 3)
            ),
        )
        yield (
            f"spectral_norm, {mode}",
            _case(lambda train=train: p.spectral_norm(nn.Linear(4, 3).double()).train(train), _x(2, 4)),
        )
    for how in ("householder", "cayley", "matrix_exp"):
        yield (
            f"orthogonal, {how}",
            _case(lambda how=how: p.orthogonal(nn.Linear(4, 4).double(), orthogonal_map=how), _x(2, 4)),
        )
    yield "spectral_norm, old", _case(lambda: nn.utils.spectral_norm(nn.Linear(4, 3).double()).eval(), _x(2, 4))
    yield "a parametrization of its own", _case(lambda: _symmetric(nn.Linear(4, 4).double()), _x(2, 4))


class _Symmetric(nn.Module):
    def forward(self, w: Any) -> Any:
        return w.triu() + w.triu(1).mT


def _symmetric(layer: Any) -> Any:
    nn.utils.parametrize.register_parametrization(layer, "weight", _Symmetric())
    return layer
