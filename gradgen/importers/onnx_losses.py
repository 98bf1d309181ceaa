"""ONNX's losses."""

from __future__ import annotations

from typing import Any

from gradgen.importers.onnx_table import Int, Tensor, entry, lib

_NOTHING = -(2**31)
"""A class that no target is, for losses that ignore none."""



@entry("NegativeLogLikelihoodLoss", 12, 22)
def _nll(input: Tensor, target: Tensor, weight: Tensor, ignore_index: Int, reduction: str) -> Tensor:
    return _of_classes(input, target, weight, ignore_index, reduction)


def _of_classes(rows: Tensor, target: Tensor, weight: Any, ignore: Any, reduction: str) -> Tensor:
    ignore = _NOTHING if ignore is None else ignore
    return lib("nn.functional.nll_loss")(rows, target.long(), weight, ignore_index=ignore, reduction=reduction)


@entry("SoftmaxCrossEntropyLoss", 12, 13)
def _cross_entropy(scores: Tensor, labels: Tensor, weights: Tensor, ignore_index: Int, reduction: str) -> Any:
    ignore = _NOTHING if ignore_index is None else ignore_index
    loss = lib("nn.functional.cross_entropy")(scores, labels.long(), weights, ignore_index=ignore, reduction=reduction)
    return loss, lib.log_softmax(scores, 1)
