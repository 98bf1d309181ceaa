"""Modules that are one function with fixed arguments: activations, losses, pooling, reshaping."""

from __future__ import annotations

from typing import Any

from gradgen.nn import functional as F
from gradgen.nn.module import Module
from gradgen.nn.parameter import Parameter

functional: Any = F
REQUIRED = object()

# class name: function, its arguments with their defaults, and how many of them repr shows without their names
_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "ReLU": ("relu", {"inplace": False}),
    "ReLU6": ("relu6", {"inplace": False}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": 0.01, "inplace": False}),
    "ELU": ("elu", {"alpha": 1.0, "inplace": False}),
    "SELU": ("selu", {"inplace": False}),
    "CELU": ("celu", {"alpha": 1.0, "inplace": False}),
    "GELU": ("gelu", {"approximate": "none"}),
    "SiLU": ("silu", {"inplace": False}),
    "Mish": ("mish", {"inplace": False}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Softplus": ("softplus", {"beta": 1.0, "threshold": 20.0}),
    "Softsign": ("softsign", {}),
    "LogSigmoid": ("logsigmoid", {}),
    "Hardtanh": ("hardtanh", {"min_val": -1.0, "max_val": 1.0, "inplace": False}),
    "Hardsigmoid": ("hardsigmoid", {"inplace": False}),
    "Hardswish": ("hardswish", {"inplace": False}),
    "Softshrink": ("softshrink", {"lambd": 0.5}),
    "Hardshrink": ("hardshrink", {"lambd": 0.5}),
    "Tanhshrink": ("tanhshrink", {}),
    "Threshold": ("threshold", {"threshold": REQUIRED, "value": REQUIRED, "inplace": False}),
    "GLU": ("glu", {"dim": -1}),
    "Softmax": ("softmax", {"dim": None}),
    "LogSoftmax": ("log_softmax", {"dim": None}),
    "Softmin": ("softmin", {"dim": None}),
}
_WINDOWS = {"dilation": 1, "padding": 0, "stride": 1}
_OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"MaxPool{k}d": (f"max_pool{k}d", {"kernel_size": REQUIRED, "stride": None, "padding": 0, "dilation": 1,
                                         "return_indices": False, "ceil_mode": False}) for k in (1, 2, 3)},
    **{f"AvgPool{k}d": (f"avg_pool{k}d", {"kernel_size": REQUIRED, "stride": None, "padding": 0, "ceil_mode": False,
                                         "count_include_pad": True, **({"divisor_override": None} if k > 1 else {})})
       for k in (1, 2, 3)},
    **{f"AdaptiveAvgPool{k}d": (f"adaptive_avg_pool{k}d", {"output_size": REQUIRED}) for k in (1, 2, 3)},
    **{f"AdaptiveMaxPool{k}d": (f"adaptive_max_pool{k}d", {"output_size": REQUIRED, "return_indices": False})
       for k in (1, 2, 3)},
    "CosineSimilarity": ("cosine_similarity", {"dim": 1, "eps": 1e-08}),
    "PairwiseDistance": ("pairwise_distance", {"p": 2.0, "eps": 1e-06, "keepdim": False}),
    "PixelShuffle": ("pixel_shuffle", {"upscale_factor": REQUIRED}),
    "PixelUnshuffle": ("pixel_unshuffle", {"downscale_factor": REQUIRED}),
    "ChannelShuffle": ("channel_shuffle", {"groups": REQUIRED}),
    "Unfold": ("unfold", {"kernel_size": REQUIRED, **_WINDOWS}),
    "Fold": ("fold", {"output_size": REQUIRED, "kernel_size": REQUIRED, **_WINDOWS}),
    **{f"LPPool{k}d": (f"lp_pool{k}d", {"norm_type": REQUIRED, "kernel_size": REQUIRED, "stride": None,
                                       "ceil_mode": False}) for k in (1, 2, 3)},
}
_MEAN = {"reduction": "mean"}
_LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "MSELoss": ("mse_loss", _MEAN),
    "L1Loss": ("l1_loss", _MEAN),
    "SmoothL1Loss": ("smooth_l1_loss", {**_MEAN, "beta": 1.0}),
    "HuberLoss": ("huber_loss", {**_MEAN, "delta": 1.0}),
    "SoftMarginLoss": ("soft_margin_loss", _MEAN),
    "BCELoss": ("binary_cross_entropy", {"weight": None, **_MEAN}),
    "BCEWithLogitsLoss": ("binary_cross_entropy_with_logits", {"weight": None, **_MEAN, "pos_weight": None}),
    "NLLLoss": ("nll_loss", {"weight": None, "ignore_index": -100, **_MEAN}),
    "CrossEntropyLoss": ("cross_entropy", {"weight": None, "ignore_index": -100, **_MEAN, "label_smoothing": 0.0}),
    "KLDivLoss": ("kl_div", {**_MEAN, "log_target": False}),
    "GaussianNLLLoss": ("gaussian_nll_loss", {"full": False, "eps": 1e-06, **_MEAN}),
    "PoissonNLLLoss": ("poisson_nll_loss", {"log_input": True, "full": False, "eps": 1e-08, **_MEAN}),
    "HingeEmbeddingLoss": ("hinge_embedding_loss", {"margin": 1.0, **_MEAN}),
    "MarginRankingLoss": ("margin_ranking_loss", {"margin": 0.0, **_MEAN}),
    "MultiMarginLoss": ("multi_margin_loss", {"p": 1, "margin": 1.0, "weight": None, **_MEAN}),
    "MultiLabelMarginLoss": ("multilabel_margin_loss", _MEAN),
    "CTCLoss": ("ctc_loss", {"blank": 0, **_MEAN, "zero_infinity": False}),
    "MultiLabelSoftMarginLoss": ("multilabel_soft_margin_loss", {"weight": None, **_MEAN}),
    "CosineEmbeddingLoss": ("cosine_embedding_loss", {"margin": 0.0, **_MEAN}),
    "TripletMarginLoss": ("triplet_margin_loss", {"margin": 1.0, "p": 2.0, "eps": 1e-06, "swap": False, **_MEAN}),
}


def _with_reduction(kwargs: dict[str, Any]) -> dict[str, Any]:
    """`size_average` and `reduce`, the older spelling, as a reduction."""
    old = {k: kwargs[k] for k in ("size_average", "reduce") if kwargs.get(k) is not None}
    kept = {k: v for k, v in kwargs.items() if k not in ("size_average", "reduce")}
    if not old:
        return kept
    how = "mean" if old.get("size_average", True) else "sum"
    return {**kept, "reduction": how if old.get("reduce", True) else "none"}


class _Function(Module):
    """One function of torch.nn.functional with its arguments kept."""

    function: str
    defaults: dict[str, Any]
    shown: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        name = type(self).__name__
        if len(args) > len(self.defaults):
            raise TypeError(f"{name}() takes at most {len(self.defaults)} arguments, {len(args)} were given")
        if "reduction" in self.defaults:
            kwargs = _with_reduction(kwargs)
        values = {**self.defaults, **dict(zip(self.defaults, args)), **kwargs}
        unknown = set(values) - set(self.defaults)
        if unknown:
            raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{sorted(unknown)[0]}'")
        for key, value in values.items():
            if value is REQUIRED:
                raise TypeError(f"{name}.__init__() missing required argument: '{key}'")
            if key == "stride" and value is None and "norm_type" not in values:
                value = values["kernel_size"]
            if name == "AvgPool1d" and key in _POOL and isinstance(value, int):
                value = (value,)  # as torch keeps them
            if key in ("weight", "pos_weight"):
                self.register_buffer(key, value)
            else:
                setattr(self, key, value)

    def forward(self, *inputs: Any) -> Any:
        return getattr(functional, self.function)(*inputs, **{k: getattr(self, k) for k in self.defaults})

    def extra_repr(self) -> str:
        found = []
        for key in self.defaults:
            value = getattr(self, key)
            if key in self.bare:
                found.append(f"{value}")
            elif key in self.shown or (key == "inplace" and value):
                found.append(f"{key}={value!r}")
        return ", ".join(found)


_POOL = ("kernel_size", "stride", "padding")
_SHOWN = {
    "LeakyReLU": ("negative_slope",), "ELU": ("alpha",), "CELU": ("alpha",), "GELU": ("approximate",),
    "Softplus": ("beta", "threshold"), "Hardtanh": ("min_val", "max_val"), "GLU": ("dim",), "Softmax": ("dim",),
    "LogSoftmax": ("dim",), "Softmin": ("dim",), "Threshold": ("threshold", "value"),
    "PixelShuffle": ("upscale_factor",), "PixelUnshuffle": ("downscale_factor",), "ChannelShuffle": ("groups",),
    "Unfold": ("kernel_size", *_WINDOWS), "Fold": ("output_size", "kernel_size", *_WINDOWS),
    **{f"LPPool{k}d": ("norm_type", "kernel_size", "stride", "ceil_mode") for k in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{k}d": ("output_size",) for kind in ("Avg", "Max") for k in (1, 2, 3)},
    **{f"MaxPool{k}d": (*_POOL, "dilation", "ceil_mode") for k in (1, 2, 3)},
    **{f"AvgPool{k}d": _POOL for k in (1, 2, 3)},
}
_BARE = {"Softshrink": ("lambd",), "Hardshrink": ("lambd",)}
"""What repr shows by name, and without."""


def _classes() -> dict[str, type[_Function]]:
    made = {}
    for name, (function, defaults) in {**_ACTIVATIONS, **_OTHERS, **_LOSSES}.items():
        doc = f"nn.functional.{function} as a module: {name}({', '.join(defaults)})."
        made[name] = type(
            name,
            (_Function,),
            {
                "function": function,
                "defaults": defaults,
                "shown": _SHOWN.get(name, ()), "bare": _BARE.get(name, ()),
                "__doc__": doc,
                "__module__": "gradgen.nn",
            },
        )
    return made


CLASSES = _classes()


class PReLU(Module):
    """input where positive, weight * input elsewhere."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        from gradgen.eager.creation import full

        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(full((num_parameters,), init, dtype=dtype))

    def forward(self, input: Any) -> Any:
        return functional.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Flatten(Module):
    """Axes start_dim to end_dim as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Any:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis as several."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Any) -> Any:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
