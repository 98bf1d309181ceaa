"""ATen's operations that are several of gradgen's: statistics beside a norm, what decompositions leave.

As in aten_entries, an entry is a function of the arguments by their names in the schema.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradgen.importers.aten_entries import FUNCTIONS, REDUCTIONS, Bound, F, Missing

LINALG = FUNCTIONS["linalg"]


# --- norms with their statistics ----------------------------------------------------------------------------------------


def _layer_norm(b: Bound) -> Any:
    x, axes = b["input"], tuple(range(-len(b["normalized_shape"]), 0))
    found = F["layer_norm"](x, b["normalized_shape"], b["weight"], b["bias"], b["eps"])
    return found, *_statistics(x.detach(), axes, b["eps"], keep=True)


def _group_norm(b: Bound) -> Any:
    x = b["input"]
    found = F["group_norm"](x, b["group"], b["weight"], b["bias"], b["eps"])
    return found, *_statistics(x.reshape(x.shape[0], b["group"], -1), (2,), b["eps"])


def _statistics(x: Any, axes: Sequence[int], eps: float, keep: bool = False) -> tuple[Any, Any]:
    """Mean and reciprocal deviation."""
    return x.mean(axes, keepdim=keep), F["rsqrt"](F["var"](x, axes, correction=0, keepdim=keep) + eps)


def _batch_norm(update: bool = True, results: bool = False, reserve: bool = False) -> Callable[[Bound], Any]:
    """batch_norm with saved statistics; `results`: the running ones are results instead of being written."""

    def entry(b: Bound) -> Any:
        training = bool(b.get("training", b.get("train", update)))
        x, mean, var = b["input"], b.get("running_mean"), b.get("running_var")
        if results:
            mean, var = (None if s is None else s.clone() for s in (mean, var))
        found = F["batch_norm"](x, b["weight"], b["bias"], mean, var, training, b["momentum"], b["eps"], False)
        axes = [d for d in range(x.ndim) if d != 1]
        nothing = F["zeros"](0, dtype=x.dtype)
        saved = _statistics(x.detach(), axes, b["eps"]) if training else (nothing, nothing)
        return found, *saved, *([nothing] if reserve else []), *([mean, var] if results else [])

    return entry


def _norm_but(v: Any, dim: int, power: float = 2) -> Any:
    """The norm over all axes but one; of everything for dim = -1."""
    axes = [d for d in range(v.ndim) if d != dim] if dim != -1 else list(range(v.ndim))
    return LINALG["vector_norm"](v, power, axes or None, keepdim=True) if axes else v.abs()


def _weight_norm(b: Bound) -> Any:
    v, g = b["v"], b["g"]
    norm = _norm_but(v, b["dim"])
    return v * (g / norm), norm


# --- windows ------------------------------------------------------------------------------------------------------------


def _unpool(axes: int) -> Callable[[Bound], Any]:
    def entry(b: Bound) -> Any:
        x, places, size = b["self"], b["indices"], list(b["output_size"])
        lead = list(x.shape)[: x.ndim - axes]
        flat = F["zeros"](*lead, math.prod(size), dtype=x.dtype)
        return flat.scatter(-1, places.reshape(*lead, -1), x.reshape(*lead, -1)).reshape(*lead, *size)

    return entry


def _fractional_pool(axes: int) -> Callable[[Bound], Any]:
    """Maxima over windows whose places follow from random samples (Graham 2014), and where the maxima are."""

    def entry(b: Bound) -> Any:
        x, samples = b["self"], b["random_samples"]
        batched = x.ndim == axes + 2
        x = x if batched else x.unsqueeze(0)
        kernel, size = _each(b["kernel_size"], axes), _each(b["output_size"], axes)
        extents = list(x.shape[2:])
        place: Any = None
        for d in range(axes):  # the samples of two axes are in the order width, height
            starts = _starts(samples[:, :, axes - 1 - d if axes == 2 else d], extents[d], size[d], kernel[d])
            at = starts.unsqueeze(-1) + F["arange"](kernel[d])
            shape = [1] * 2 * axes
            shape[d], shape[axes + d] = size[d], kernel[d]
            at = at.reshape(*x.shape[:2], *shape)
            place = at if place is None else place * extents[d] + at
        flat = place.expand(*x.shape[:2], *size, *kernel).reshape(*x.shape[:2], -1)
        values = x.reshape(*x.shape[:2], -1).gather(2, flat).reshape(*x.shape[:2], *size, -1)
        found, which = values.max(-1)
        where = flat.reshape(*x.shape[:2], *size, -1).gather(-1, which.unsqueeze(-1)).squeeze(-1)
        return (found, where) if batched else (found.squeeze(0), where.squeeze(0))

    return entry


def _each(value: Any, count: int) -> list[Any]:
    return list(value) * (count // len(value)) if isinstance(value, (list, tuple)) else [value] * count


def _starts(sample: Any, extent: int, size: int, kernel: int) -> Any:
    """Where the windows of one axis begin."""
    if size == 1:
        return (sample * 0).long().unsqueeze(-1) + (extent - kernel)
    alpha = (extent - kernel) / (size - 1)
    steps = F["arange"](size - 1).to(sample.dtype)
    inner = ((sample.unsqueeze(-1) + steps) * alpha).long() - (sample * alpha).long().unsqueeze(-1)
    return F["cat"]([inner, (sample * 0).long().unsqueeze(-1) + (extent - kernel)], -1)


# --- factorisations -----------------------------------------------------------------------------------------------------


def _reflectors(b: Bound) -> Any:
    """The first columns of the product of Householder's reflectors I - tau v v', v with ones on the diagonal."""
    a, tau = b["input"], b["tau"]
    rows, columns = a.shape[-2:]
    lower = a.tril(-1) + F["eye"](rows, columns, dtype=a.dtype)
    found = F["eye"](rows, columns, dtype=a.dtype).expand(*a.shape)
    for k in reversed(range(tau.shape[-1])):
        v = lower[..., :, k : k + 1]
        found = found - tau[..., k : k + 1].unsqueeze(-1) * (v @ (v.mT @ found))
    return found


def _with_info(function: str, *arguments: str) -> Callable[[Bound], Any]:
    """A factorisation and the 0 of its success."""

    def entry(b: Bound) -> Any:
        found = LINALG[function](*(b[a] for a in arguments))
        results = found if isinstance(found, tuple) else (found,)
        return *results, F["zeros"](*next(iter(b.values())).shape[:-2], dtype="int32")

    return entry


# --- the rest -----------------------------------------------------------------------------------------------------------


def _safe_softmax(b: Bound) -> Any:
    """softmax, with zeros where a row has only -inf."""
    x = b["self"] if b.get("dtype") is None else b["self"].to(b["dtype"])
    x = x if x.is_floating_point() else x.to(F["get_default_dtype"]())
    empty = (x == float("-inf")).all(b["dim"], keepdim=True)
    found = F["softmax"](F["where"](empty, 0.0, x), b["dim"])
    return F["where"](empty, 0.0, found)


def _bags(b: Bound, padding: int | None) -> tuple[Any, Any, Any]:
    """Sums, means or maxima of rows of `weight` by bags that begin at `offsets`; each row's bag, and the bags' sizes."""
    if b["scale_grad_by_freq"]:
        raise Missing("aten.embedding_bag, argument scale_grad_by_freq")
    weight, places, offsets = b["weight"], b["indices"], b["offsets"]
    bags = offsets.shape[0] - (1 if b["include_last_offset"] else 0)
    bag = (F["arange"](places.shape[0]).unsqueeze(1) >= offsets[:bags]).sum(1) - 1
    inside = bag.unsqueeze(0) == F["arange"](bags).unsqueeze(1)
    rows = weight[places]
    if b.get("per_sample_weights") is not None:
        rows = rows * b["per_sample_weights"].unsqueeze(1)
    if padding is not None:
        inside = inside & (places != padding)
    sizes = inside.sum(1)
    if b["mode"] == 2:
        found = F["where"](inside.unsqueeze(2), rows, float("-inf")).max(1)[0]
        return F["where"]((sizes > 0).unsqueeze(1), found, 0.0), bag, sizes
    found = inside.to(weight.dtype) @ rows
    return found if b["mode"] == 0 else found / sizes.clamp(min=1).unsqueeze(1), bag, sizes


def _embedding_bag(b: Bound) -> Any:
    padding = b.get("padding_idx")
    found, bag, sizes = _bags(b, None if padding is None else padding % b["weight"].shape[0])
    return found, bag, sizes, sizes


def _embedding_bag_forward(b: Bound) -> Any:
    found, bag, sizes = _bags(b, None if b["padding_idx"] < 0 else b["padding_idx"])
    return found, bag, sizes, sizes


def _embedding(b: Bound) -> Any:
    """Rows of `weight`; with `scale_grad_by_freq` their cotangents are divided by how often the row is taken."""
    weight, places = b["weight"], b["indices"]
    padding = b["padding_idx"] if (b["padding_idx"] or 0) >= 0 else None
    rows = FUNCTIONS["nn.functional"]["embedding"](places, weight, padding)
    if not b["scale_grad_by_freq"]:
        return rows
    flat = places.reshape(-1)
    count = F["zeros"](weight.shape[0], dtype=rows.dtype).index_add(0, flat, F["ones"](flat.shape[0], dtype=rows.dtype))
    return (rows - rows.detach()) / count[places].unsqueeze(-1) + rows.detach()


def _randint(b: Bound) -> Any:
    return F["randint"](b.get("low", 0), b["high"], tuple(b["size"]), dtype=b.get("dtype"))


def _randint_like(b: Bound) -> Any:
    x = b["self"]
    return F["randint_like"](x, b.get("low", 0), b["high"], dtype=b.get("dtype") or x.dtype)


def _fitting(b: Bound) -> Any:
    """sum_to_size, which sums even bools where all axes go."""
    return F["sum"](b["self"]) if not b["size"] else b["self"].sum_to_size(*b["size"])


def _squeezed(name: str) -> Callable[[Bound], Any]:
    return lambda b: getattr(b["self"], name)(tuple(b["dim"])) if b["dim"] else b["self"]


def _zeros(argument: str) -> Callable[[Bound], Any]:
    """Memory with some strides: what is not written before it is read is undefined in torch."""
    return lambda b: F["zeros"](tuple(b[argument]), dtype=b.get("dtype") or (b["self"].dtype if "self" in b else None))


def _pad_sequence(b: Bound) -> Any:
    longest = max(s.shape[0] for s in b["sequences"])
    left = b.get("padding_side", "right") == "left"
    rows = []
    for s in b["sequences"]:
        more = longest - s.shape[0]
        rows.append(F["pad"](s, [0, 0] * (s.ndim - 1) + ([more, 0] if left else [0, more]), value=b["padding_value"]))
    return F["stack"](rows, 0 if b["batch_first"] else 1)


def _triangular(b: Bound) -> Any:
    a, x = b["A"], b["self"]
    upper, plain = b["upper"] != b["transpose"], a.mT if b["transpose"] else a
    return LINALG["solve_triangular"](plain, x, upper=upper, unitriangular=b["unitriangular"]), a.clone()


def _einsum(b: Bound) -> Any:
    return F["einsum"](b["equation"], *b["tensors"])


def _loss_with(name: str) -> Callable[[Bound], Any]:
    return lambda b: (F[name](b["self"], b["target"], reduction=REDUCTIONS[b["reduction"]]), None)


def _dropout(name: str) -> Callable[[Bound], Any]:
    return lambda b: F[name](next(iter(b.values())), b["p"], bool(b["train"]))  # input, or self in place


def _transposed(b: Bound) -> Any:
    return b["self"].mT


def _polygamma(b: Bound) -> Any:
    return F["polygamma"](b["n"], b["self"])


def _sections(name: str) -> Callable[[Bound], Any]:
    return lambda b: F[name](b["self"], b.get("sections", b.get("indices")))


COMPOSED: dict[str, Callable[[Bound], Any]] = {
    "native_layer_norm": _layer_norm, "native_group_norm": _group_norm, "native_batch_norm": _batch_norm(),
    "_native_batch_norm_legit": _batch_norm(), "_native_batch_norm_legit_no_training": _batch_norm(update=False),
    "_native_batch_norm_legit_functional": _batch_norm(results=True),
    "_batch_norm_with_update": _batch_norm(reserve=True),
    "_batch_norm_with_update_functional": _batch_norm(results=True, reserve=True),
    "_batch_norm_no_update": _batch_norm(update=False, reserve=True),
    "norm_except_dim": lambda b: _norm_but(b["v"], b["dim"], b["pow"]), "_weight_norm_interface": _weight_norm,
    "_weight_norm": lambda b: _weight_norm(b)[0],
    "max_unpool2d": _unpool(2), "max_unpool3d": _unpool(3),
    "fractional_max_pool2d": _fractional_pool(2), "fractional_max_pool3d": _fractional_pool(3),
    "feature_dropout": _dropout("dropout2d"),
    "alpha_dropout": _dropout("alpha_dropout"),
    "feature_alpha_dropout": _dropout("feature_alpha_dropout"),
    "rrelu_with_noise": lambda b: F["rrelu"](b["self"], b["lower"], b["upper"], b["training"]),
    "linalg_householder_product": _reflectors, "_linalg_det": lambda b: (LINALG["det"](b["A"]), None, None),
    "_linalg_slogdet": lambda b: (*LINALG["slogdet"](b["A"]), None, None),
    "_linalg_eigh": lambda b: LINALG["eigh"](b["A"], b["UPLO"]),
    "_linalg_svd": lambda b: LINALG["svd"](b["A"], b["full_matrices"]),
    "_linalg_solve_ex": lambda b: (LINALG["solve"](b["A"], b["B"], left=b["left"]), None, None, None),
    "linalg_inv_ex": _with_info("inv", "A"),
    "triangular_solve": _triangular, "log_sigmoid_forward": lambda b: (F["logsigmoid"](b["self"]), None),
    "mT": _transposed, "mH": _transposed, "adjoint": _transposed, "matrix_H": _transposed,
    "_safe_softmax": _safe_softmax, "embedding": _embedding, "embedding_bag": _embedding_bag,
    "_embedding_bag": _embedding_bag_forward, "_embedding_bag_forward_only": _embedding_bag_forward,
    "_prelu_kernel": lambda b: F["where"](b["self"] > 0, b["self"], b["weight"] * b["self"]),
    "_cdist_forward": lambda b: F["cdist"](b["x1"], b["x2"], b["p"]),
    "_pdist_forward": lambda b: F["pdist"](b["self"], b["p"]), "_euclidean_dist": lambda b: F["cdist"](b["x1"], b["x2"]),
    "einsum": _einsum, "randint": _randint,
    "randint_like": _randint_like, "sum_to_size": _fitting, "squeeze.dims": _squeezed("squeeze"),
    "squeeze_.dims": _squeezed("squeeze_"), "empty_strided": _zeros("size"), "new_empty_strided": _zeros("size"),
    "empty_permuted": _zeros("size"), "pad_sequence": _pad_sequence,
    "tensordot": lambda b: F["tensordot"](b["self"], b["other"], (b["dims_self"], b["dims_other"])),
    "searchsorted.Tensor": lambda b: F["searchsorted"](
        b["sorted_sequence"], b["self"], out_int32=b["out_int32"], right=b["right"], side=b["side"], sorter=b["sorter"]),
    "polygamma": _polygamma, "special_polygamma": _polygamma,
    "cholesky_solve": lambda b: F["cholesky_solve"](b["self"], b["input2"], b["upper"]),
    "linalg_tensorsolve": lambda b: LINALG["tensorsolve"](b["self"], b["other"], b["dims"]),
    "unbind_copy": lambda b: F["unbind"](b["self"], b["dim"]),
    "unsafe_split": lambda b: F["split"](b["self"], b["split_size"], b["dim"]),
    **{name: _sections(name) for name in ("hsplit", "vsplit", "dsplit")},
    "multilabel_margin_loss_forward": _loss_with("multilabel_margin_loss"),
}
"""By ATen's name, or that with its overload: a function of the arguments by their names in the schema."""
