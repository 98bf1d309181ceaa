"""Functions that PyTorch has twice: nn.functional's signature, and at the top level that of the operator behind it.

Their order of arguments differs (`torch.batch_norm` takes weight and bias before the running statistics, `torch.embedding`
the weight first), a reduction is a number, and there is neither `inplace` nor what is deprecated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradgen.ops.compositions import NN, ctc_loss, embedding_bag
from gradgen.ops.distance import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    kl_div,
    margin_ranking_loss,
    triplet_margin_loss,
)
from gradgen.ops.gathering import embedding
from gradgen.ops.loss import REDUCTIONS, binary_cross_entropy_with_logits
from gradgen.ops.table import FUNCTIONS

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

_BY_NUMBER = ("none", "mean", "sum")
_MODES = ("sum", "mean", "max")


def _reduction(reduction: int | str) -> str:
    if reduction in REDUCTIONS:
        return str(reduction)
    if reduction not in (0, 1, 2):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return _BY_NUMBER[int(reduction)]


def _plain(function: Any) -> Any:
    """The function at the top level, under its name there."""
    name = function.__name__.rstrip("_")
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"nn.functional.{name} with the operator's signature."
    FUNCTIONS[""][name] = function
    return function


def _dropout(name: str) -> None:
    of_layers = FUNCTIONS[NN][name]

    def dropped(input: Tensor, p: float, train: bool) -> Tensor:
        return of_layers(input, p, train)  # type: ignore[no-any-return]

    dropped.__name__ = name
    _plain(dropped)


for _name in ("dropout", "alpha_dropout", "feature_alpha_dropout"):
    _dropout(_name)


@_plain
def batch_norm_(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:
    return FUNCTIONS[NN]["batch_norm"](  # type: ignore[no-any-return]
        input, running_mean, running_var, weight, bias, training, momentum, eps)


@_plain
def instance_norm_(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:
    return FUNCTIONS[NN]["instance_norm"](  # type: ignore[no-any-return]
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


@_plain
def group_norm_(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    return FUNCTIONS[NN]["group_norm"](input, num_groups, weight, bias, eps)  # type: ignore[no-any-return]


@_plain
def layer_norm_(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    return FUNCTIONS[NN]["layer_norm"](input, normalized_shape, weight, bias, eps)  # type: ignore[no-any-return]


@_plain
def embedding_(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    row = None if padding_idx < 0 else padding_idx
    return embedding(indices, weight, row, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


@_plain
def embedding_bag_(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0, sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:
    return embedding_bag(
        indices, weight, offsets, scale_grad_by_freq=scale_grad_by_freq, mode=_MODES[mode], sparse=sparse,
        per_sample_weights=per_sample_weights, include_last_offset=include_last_offset, padding_idx=padding_idx)


@_plain
def binary_cross_entropy_with_logits_(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int | str = 1
) -> Tensor:
    return binary_cross_entropy_with_logits(input, target, weight, reduction=_reduction(reduction), pos_weight=pos_weight)


@_plain
def cosine_embedding_loss_(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int | str = 1
) -> Tensor:
    return cosine_embedding_loss(input1, input2, target, margin, reduction=_reduction(reduction))


@_plain
def ctc_loss_(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int | str = 1,
    zero_infinity: bool = False,
) -> Tensor:
    return ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, _reduction(reduction), zero_infinity)


@_plain
def hinge_embedding_loss_(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int | str = 1) -> Tensor:
    return hinge_embedding_loss(input, target, margin, reduction=_reduction(reduction))


@_plain
def kl_div_(input: Tensor, target: Tensor, reduction: int | str = 1, *, log_target: bool = False) -> Tensor:
    return kl_div(input, target, reduction=_reduction(reduction), log_target=log_target)


@_plain
def margin_ranking_loss_(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int | str = 1
) -> Tensor:
    return margin_ranking_loss(input1, input2, target, margin, reduction=_reduction(reduction))


@_plain
def triplet_margin_loss_(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    swap: bool = False, reduction: int | str = 1,
) -> Tensor:
    return triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=_reduction(reduction))
