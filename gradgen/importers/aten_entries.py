"""What ATen's operations have that gradgen's functions of the same names have not: other names, enumerations, operations that
PyTorch has no function for.  An entry is a function of the arguments by their names in the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy

from gradgen.eager import namespace
from gradgen.eager.device import contiguous_format
from gradgen.ir.inequalities import proves
from gradgen.nn import recurrent
from gradgen.ops.requirements import assumed

Bound = Mapping[str, Any]
REDUCTIONS = ("none", "mean", "sum")
IGNORED = {"device", "layout", "pin_memory", "memory_format", "non_blocking", "cudnn_enable", "cudnn_enabled", "benchmark",
           "deterministic", "allow_tf32", "generator", "implicit", "copy", "sparse", "sparse_grad"}
"""Arguments that say where and how, not what."""
SPACES = ("", "nn.functional", "linalg", "special")

FUNCTIONS: dict[str, dict[str, Callable[..., Any]]] = {space: namespace.functions(space) for space in SPACES}
F: dict[str, Callable[..., Any]] = {**FUNCTIONS["nn.functional"], **FUNCTIONS[""]}


class Missing(Exception):
    """What the table has no entry for: an operation, or one argument of it."""


def _renamed(function: str, **names: str) -> Callable[[Bound], Any]:
    """`function` with ATen's arguments under other names; what is None is left to its default."""

    def entry(b: Bound) -> Any:
        first = next(iter(b))
        named = {names.get(n, n): v for n, v in b.items() if v is not None and n != first and n not in IGNORED}
        if "reduction" in named and isinstance(named["reduction"], int):
            named["reduction"] = REDUCTIONS[named["reduction"]]
        return F[function](b[first], **named)

    return entry


def _method(name: str, *arguments: str) -> Callable[[Bound], Any]:
    return lambda b: getattr(b["self"], name)(*(b[a] for a in arguments))


def _spread(name: str, argument: str) -> Callable[[Bound], Any]:
    """A method that takes extents one by one."""
    return lambda b: getattr(b["self"], name)(*b[argument])


def _to(b: Bound) -> Any:
    return b["self"] if b.get("dtype") is None else b["self"].to(b["dtype"])


def _like(b: Bound) -> dict[str, Any]:
    return {"dtype": b.get("dtype") or b["self"].dtype}


def _slice(b: Bound) -> Any:
    x, dim = b["self"], b["dim"]
    start, end = b["start"], b["end"]
    if isinstance(end, int) and end >= 2**62:
        end = None
    step = b["step"] if b["step"] != 1 else None
    if any(isinstance(e, sympy.Expr) for e in (start, end)):
        size = x.shape[dim]
        first, last = (_place(e, size) for e in (start or 0, size if end is None else end))
        x, start, end = x.narrow(dim, first, last - first), None, None
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def _place(bound: Any, size: Any) -> Any:
    """A bound of a slice, counted from the beginning and no further than the end."""
    bound = bound + size if proves(assumed(), -sympy.sympify(bound) - 1) else bound
    return bound if proves(assumed(), size - bound) else size if proves(assumed(), bound - size) else sympy.Min(bound, size)


def _index(indices: Sequence[Any]) -> Any:
    return tuple(slice(None) if i is None else i for i in indices)


def _write(b: Bound) -> Any:
    x, indices = b["self"], b["indices"]
    if any(i is None for i in indices) and not b["accumulate"]:
        x[_index(indices)] = b["values"]
        return x
    return x.index_put_(tuple(_every(x, indices)), b["values"], b["accumulate"])


def _every(x: Any, indices: Sequence[Any]) -> Sequence[Any]:
    """A tensor for each axis: those left out are ranges, in the shape in which all of them broadcast."""
    places = [k for k, i in enumerate(indices) if i is not None]
    free = [k for k, i in enumerate(indices) if i is None]
    if not free:
        return indices
    if any(indices[k].dtype.name == "bool" for k in places):
        raise Missing("aten.index_put with a mask and an index left out")
    wide = max(indices[k].ndim for k in places)
    first = places[0] if places[-1] - places[0] < len(places) else 0  # in front, where ranges stand between the tensors
    after = len(free) - first
    found = list(indices)
    for k in places:
        found[k] = indices[k].reshape(*indices[k].shape, *[1] * after)
    for j, k in enumerate(free):
        behind = len(free) - 1 - j + (wide if j < first else 0)
        found[k] = F["arange"](x.shape[k]).reshape(-1, *[1] * behind)
    return found


def _put_copy(b: Bound) -> Any:
    return _write({**b, "self": b["self"].clone()})


def _into(write: Callable[[Any, Bound], Any]) -> Callable[[Bound], Any]:
    """A copy of `self` with a part of it replaced by `src`."""

    def entry(b: Bound) -> Any:
        found = b["self"].clone()
        write(found, b).copy_(b["src"])
        return found

    return entry


def _interpolate(mode: str) -> Callable[[Bound], Any]:
    def entry(b: Bound) -> Any:
        x = b.get("input", b.get("self"))
        size, factors = b.get("output_size"), b.get("scale_factors")
        if factors is None:
            given = [b[k] for k in ("scales", "scales_d", "scales_h", "scales_w") if b.get(k) is not None]
            factors = given if size is None else None
        more = {"align_corners": b["align_corners"]} if "align_corners" in b else {}
        more |= {"antialias": True} if "_aa" in mode else {}
        how = {"size": list(size)} if size is not None else {"scale_factor": list(factors or ())}
        return F["interpolate"](x, mode=mode.removesuffix("_aa"), **how, **more)

    return entry


def _recurrent(mode: str) -> Callable[[Bound], Any]:
    def entry(b: Bound) -> Any:
        hx = b["hx"]
        state = tuple(hx) if isinstance(hx, (list, tuple)) else (hx,)
        batched, first = b["input"].ndim == 3, b["batch_first"]
        x = b["input"].transpose(0, 1) if batched and first else b["input"] if batched else b["input"].unsqueeze(1)
        state = state if batched else tuple(s.unsqueeze(1) for s in state)
        names = ["ih", "hh", *(["bias_ih", "bias_hh"] if b["has_biases"] else [])]
        each = len(b["params"]) // state[0].shape[0]  # one more where the hidden state is projected
        names += ["hr"] * (each - len(names))
        weights = [dict(zip(names, b["params"][k : k + each])) for k in range(0, len(b["params"]), each)]
        output, last = recurrent.layers(mode, x, state, weights, b["bidirectional"], b["dropout"] if b["train"] else 0.0)
        if not batched:
            return output.squeeze(1), *(s.squeeze(1) for s in last)
        return output.transpose(0, 1) if first else output, *last

    return entry


def _cell(mode: str) -> Callable[[Bound], Any]:
    def entry(b: Bound) -> Any:
        hx = b["hx"]
        weights = {"ih": b["w_ih"], "hh": b["w_hh"], "bias_ih": b["b_ih"], "bias_hh": b["b_hh"]}
        new = recurrent.cell(mode, b["input"], tuple(hx) if isinstance(hx, (list, tuple)) else (hx,), weights)
        return new if mode == "LSTM" else new[0]

    return entry


def _softmax(name: str) -> Callable[[Bound], Any]:
    return lambda b: F[name](b["self"], b["dim"])


def _attention(b: Bound) -> Any:
    bias = b.get("attn_mask", b.get("attn_bias"))
    found = F["scaled_dot_product_attention"](b["query"], b["key"], b["value"], bias, b.get("dropout_p", 0.0),
                                              b.get("is_causal", False), scale=b.get("scale"),
                                              enable_gqa=b.get("enable_gqa", False))
    return found


def _variance(name: str) -> Callable[[Bound], Any]:
    return lambda b: F[name](b["self"], b.get("dim"), keepdim=b.get("keepdim", False),
                             **({"unbiased": b["unbiased"]} if "unbiased" in b else
                                {"correction": 1 if b.get("correction") is None else b["correction"]}))


def _scalar(b: Bound) -> Any:
    return F["tensor"](b["s"], dtype=b.get("dtype"))


def _arange(b: Bound) -> Any:
    ends = [b[k] for k in ("start", "end", "step") if k in b]
    return F["arange"](*ends, **({"dtype": b["dtype"]} if b.get("dtype") is not None else {}))


def _full(b: Bound) -> Any:
    return F["full"](tuple(b["size"]), b["fill_value"], dtype=b.get("dtype"))


def _filled(name: str) -> Callable[[Bound], Any]:
    return lambda b: F[name](tuple(b["size"]), dtype=b.get("dtype"))


def _pool_with_indices(name: str) -> Callable[[Bound], Any]:
    return lambda b: F[name](b["self"], b["kernel_size"], b["stride"] or None, b["padding"], b["dilation"], b["ceil_mode"],
                             return_indices=True)


def _adaptive_with_indices(name: str) -> Callable[[Bound], Any]:
    return lambda b: F[name](b["self"], b["output_size"], return_indices=True)


def _average(name: str) -> Callable[[Bound], Any]:
    def entry(b: Bound) -> Any:
        more = {"divisor_override": b["divisor_override"]} if b.get("divisor_override") is not None else {}
        return F[name](b["self"], b["kernel_size"], b["stride"] or None, b["padding"], b["ceil_mode"], b["count_include_pad"],
                       **more)

    return entry


def _convolution(b: Bound) -> Any:
    spatial = b["input"].ndim - 2
    name = f"conv_transpose{spatial}d" if b["transposed"] else f"conv{spatial}d"
    more = {"output_padding": b["output_padding"]} if b["transposed"] else {}
    return F[name](b["input"], b["weight"], b["bias"], stride=b["stride"], padding=b["padding"], dilation=b["dilation"],
                   groups=b["groups"], **more)


def _dropout(b: Bound) -> Any:
    x = b.get("input", b.get("self"))
    return F["dropout"](x, b["p"], bool(b["train"]))


def _native_dropout(b: Bound) -> Any:
    return _dropout({**b, "train": b["train"] is not False}), None


def _elu(b: Bound) -> Any:
    x, alpha, scale, inner = b["self"], b["alpha"], b["scale"], b["input_scale"]
    if scale == 1 and inner == 1:
        return F["elu"](x, alpha)
    return F["where"](x > 0, x * scale, F["expm1"](x * inner) * (alpha * scale))


def _clamp(b: Bound) -> Any:
    return F["clamp"](b["self"], b["min"], b["max"])


def _cross_entropy(b: Bound) -> Any:
    return F["cross_entropy"](b["self"], b["target"], b["weight"], ignore_index=b["ignore_index"],
                              reduction=REDUCTIONS[b["reduction"]], label_smoothing=b["label_smoothing"])


def _nll(b: Bound) -> Any:
    return F["nll_loss"](b["self"], b["target"], b["weight"], ignore_index=b["ignore_index"],
                         reduction=REDUCTIONS[b["reduction"]])


def _loss(name: str, first: str = "self") -> Callable[[Bound], Any]:
    def entry(b: Bound) -> Any:
        rest = {k: v for k, v in b.items() if k not in (first, "target", "reduction") and v is not None}
        return F[name](b[first], b["target"], reduction=REDUCTIONS[b["reduction"]], **rest)

    return entry


def _kl(b: Bound) -> Any:
    return F["kl_div"](b["self"], b["target"], reduction=REDUCTIONS[b["reduction"]], log_target=b["log_target"])


def _split(b: Bound) -> Any:
    return F["split"](b["self"], b.get("split_sizes", b.get("split_size")), b["dim"])


def _stride_of(b: Bound) -> Any:
    raise Missing("aten.as_strided: memory order is not part of a program")


def _sub(b: Bound) -> Any:
    other = b["other"] if b.get("alpha", 1) == 1 else b["other"] * b["alpha"]
    return b["self"] - other


def _rsub(b: Bound) -> Any:
    x = b["self"] if b.get("alpha", 1) == 1 else b["self"] * b["alpha"]
    return b["other"] - x


def _div(b: Bound) -> Any:
    return F["div"](b["self"], b["other"], rounding_mode=b.get("rounding_mode"))


def _clone(b: Bound) -> Any:
    """A copy, row by row where that is asked for: views of it may need that."""
    return b["self"].clone(memory_format=contiguous_format if str(b["memory_format"]) == "torch.contiguous_format" else None)


def _same(b: Bound) -> Any:
    return next(iter(b.values()))


def _copy(b: Bound) -> Any:
    """`src` in the shape and dtype of `self`."""
    x = b["self"]
    return b["src"].to(x.dtype).expand(*x.shape).clone()


def _pad(b: Bound) -> Any:
    return F["pad"](b["self"], b["pad"], b.get("mode", "constant"), b.get("value"))


def _grid(b: Bound) -> Any:
    modes, paddings = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
    return F["grid_sample"](b["input"], b["grid"], modes[b["interpolation_mode"]], paddings[b["padding_mode"]],
                            b["align_corners"])


def _reflect(mode: str) -> Callable[[Bound], Any]:
    return lambda b: F["pad"](b["self"], b["padding"], mode)


ENTRIES: dict[str, Callable[[Bound], Any]] = {
    # views and copies
    "slice": _slice, "alias": _same, "lift": _same, "lift_fresh": _same, "lift_fresh_copy": _method("clone"),
    "clone": _clone, "contiguous": _method("contiguous"), "detach": _method("detach"), "detach_": _method("detach"),
    "view": _spread("reshape", "size"), "_unsafe_view": _spread("reshape", "size"), "reshape": _spread("reshape", "shape"),
    "view.dtype": lambda b: b["self"].view(b["dtype"]), "expand": _spread("expand", "size"),
    "repeat": _spread("repeat", "repeats"), "permute": _spread("permute", "dims"), "view_copy": _spread("reshape", "size"),
    "expand_copy": _spread("expand", "size"), "permute_copy": _spread("permute", "dims"), "t": _method("t"),
    "numpy_T": lambda b: b["self"].T, "resolve_conj": _same, "resolve_neg": _same, "expand_as": _method("expand_as", "other"),
    "mT": lambda b: b["self"].mT, "view_as": _method("view_as", "other"),
    "reshape_as": lambda b: b["self"].reshape(b["other"].shape),
    "type_as": _method("type_as", "other"), "unfold": _method("unfold", "dimension", "size", "step"),
    "copy": _copy, "copy_": _method("copy_", "src"), "fill.Scalar": lambda b: F["full_like"](b["self"], b["value"]),
    "fill_": _method("fill_", "value"), "zero_": _method("zero_"), "zero": lambda b: F["zeros_like"](b["self"]),
    "to": _to, "_to_copy": _to, "to.other": lambda b: b["self"].to(b["other"].dtype),
    "split": _split, "split_with_sizes": _split, "split_copy": _split, "split_with_sizes_copy": _split,
    "as_strided": _stride_of, "index": lambda b: b["self"][_index(b["indices"])],
    "index_put": _put_copy, "_unsafe_index_put": _put_copy, "index_put_": _write,
    "_unsafe_index": lambda b: b["self"][_index(b["indices"])],
    "select_scatter": _into(lambda x, b: x.select(b["dim"], b["index"])),
    "slice_scatter": _into(lambda x, b: _slice({**b, "self": x})),
    "diagonal_scatter": _into(lambda x, b: x.diagonal(b["offset"], b["dim1"], b["dim2"])),
    # making
    "arange": _arange, "full": _full, "zeros": _filled("zeros"), "ones": _filled("ones"), "empty": _filled("zeros"),
    "zeros_like": lambda b: F["zeros_like"](b["self"], **_like(b)),
    "ones_like": lambda b: F["ones_like"](b["self"], **_like(b)),
    "empty_like": lambda b: F["zeros_like"](b["self"], **_like(b)),
    "full_like": lambda b: F["full_like"](b["self"], b["fill_value"], **_like(b)),
    "new_zeros": lambda b: F["zeros"](tuple(b["size"]), **_like(b)),
    "new_ones": lambda b: F["ones"](tuple(b["size"]), **_like(b)),
    "new_empty": lambda b: F["zeros"](tuple(b["size"]), **_like(b)),
    "new_full": lambda b: F["full"](tuple(b["size"]), b["fill_value"], **_like(b)),
    "scalar_tensor": _scalar, "eye": lambda b: F["eye"](*(b[k] for k in ("n", "m") if k in b), dtype=b.get("dtype")),
    "rand": _filled("rand"), "randn": _filled("randn"),
    "rand_like": lambda b: F["rand_like"](b["self"], **_like(b)),
    "randn_like": lambda b: F["randn_like"](b["self"], **_like(b)),
    # arithmetic
    "sub": _sub, "rsub": _rsub, "div": _div, "clamp": _clamp, "mul.Scalar": lambda b: b["self"] * b["other"],
    "where.ScalarOther": lambda b: F["where"](b["condition"], b["self"], b["other"]),
    "where.ScalarSelf": lambda b: F["where"](b["condition"], b["self"], b["other"]),
    "where.self": lambda b: F["where"](b["condition"], b["self"], b["other"]),
    "where.Scalar": lambda b: F["where"](b["condition"], b["self"], b["other"]),
    "elu": _elu, "_softmax": _softmax("softmax"), "_log_softmax": _softmax("log_softmax"),
    "softmax": lambda b: F["softmax"](b["self"], b["dim"], dtype=b["dtype"]),
    "log_softmax": lambda b: F["log_softmax"](b["self"], b["dim"], dtype=b["dtype"]),
    "var": _variance("var"), "std": _variance("std"), "var_mean": _variance("var_mean"), "std_mean": _variance("std_mean"),
    "max.dim": lambda b: F["max"](b["self"], b["dim"], b["keepdim"]),
    "max.other": lambda b: F["maximum"](b["self"], b["other"]),
    "min.dim": lambda b: F["min"](b["self"], b["dim"], b["keepdim"]),
    "min.other": lambda b: F["minimum"](b["self"], b["other"]),
    "linalg_vector_norm": lambda b: FUNCTIONS["linalg"]["vector_norm"](b["self"], b["ord"], b["dim"], b["keepdim"],
                                                                       dtype=b["dtype"]),
    # layers
    "dropout": _dropout, "native_dropout": _native_dropout, "convolution": _convolution, "_convolution": _convolution,
    "max_pool1d_with_indices": _pool_with_indices("max_pool1d"), "max_pool2d_with_indices": _pool_with_indices("max_pool2d"),
    "max_pool3d_with_indices": _pool_with_indices("max_pool3d"), "avg_pool1d": _average("avg_pool1d"),
    "avg_pool2d": _average("avg_pool2d"), "avg_pool3d": _average("avg_pool3d"),
    "adaptive_max_pool1d": _adaptive_with_indices("adaptive_max_pool1d"),
    "adaptive_max_pool2d": _adaptive_with_indices("adaptive_max_pool2d"),
    "adaptive_max_pool3d": _adaptive_with_indices("adaptive_max_pool3d"),
    "_adaptive_avg_pool2d": lambda b: F["adaptive_avg_pool2d"](b["self"], b["output_size"]),
    "_adaptive_avg_pool3d": lambda b: F["adaptive_avg_pool3d"](b["self"], b["output_size"]),
    "upsample_nearest1d": _interpolate("nearest"), "upsample_nearest2d": _interpolate("nearest"),
    "upsample_nearest3d": _interpolate("nearest"), "_upsample_nearest_exact1d": _interpolate("nearest-exact"),
    "_upsample_nearest_exact2d": _interpolate("nearest-exact"), "_upsample_nearest_exact3d": _interpolate("nearest-exact"),
    "upsample_linear1d": _interpolate("linear"), "upsample_bilinear2d": _interpolate("bilinear"),
    "upsample_trilinear3d": _interpolate("trilinear"), "upsample_bicubic2d": _interpolate("bicubic"),
    "_upsample_bilinear2d_aa": _interpolate("bilinear_aa"), "_upsample_bicubic2d_aa": _interpolate("bicubic_aa"),
    "lstm.input": _recurrent("LSTM"), "gru.input": _recurrent("GRU"), "rnn_tanh.input": _recurrent("RNN_TANH"),
    "rnn_relu.input": _recurrent("RNN_RELU"), "lstm_cell": _cell("LSTM"), "gru_cell": _cell("GRU"),
    "rnn_tanh_cell": _cell("RNN_TANH"), "rnn_relu_cell": _cell("RNN_RELU"),
    "scaled_dot_product_attention": _attention,
    "pad": _pad, "constant_pad_nd": _pad, "grid_sampler": _grid, "grid_sampler_2d": _grid, "grid_sampler_3d": _grid,
    **{f"{kind}_pad{k}d": _reflect({"reflection": "reflect", "replication": "replicate"}[kind])
       for kind in ("reflection", "replication") for k in (1, 2, 3)},
    "affine_grid_generator": lambda b: F["affine_grid"](b["theta"], b["size"], b["align_corners"]),
    "im2col": lambda b: FUNCTIONS["nn.functional"]["unfold"](b["self"], b["kernel_size"], b["dilation"], b["padding"],
                                                              b["stride"]),
    "col2im": lambda b: FUNCTIONS["nn.functional"]["fold"](b["self"], b["output_size"], b["kernel_size"], b["dilation"],
                                                            b["padding"], b["stride"]),
    # losses
    "cross_entropy_loss": _cross_entropy, "nll_loss_nd": _nll, "nll_loss": _nll, "nll_loss2d": _nll,
    "nll_loss_forward": lambda b: (_nll(b), None), "nll_loss2d_forward": lambda b: (_nll(b), None), "kl_div": _kl,
    **{n: _loss(n) for n in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss",
                             "binary_cross_entropy", "binary_cross_entropy_with_logits", "multi_margin_loss",
                             "multilabel_margin_loss")},
}
"""By ATen's name, or that with its overload: a function of the arguments by their names in the schema."""
