"""ONNX's Attention and RotaryEmbedding."""

from __future__ import annotations

import functools
import math
from typing import Any

from gradgen.eager.creation import arange
from gradgen.importers.onnx_moving import padded
from gradgen.importers.onnx_table import At, Int, Tensor, Value, entry, lib
from gradgen.ir.symbols import same_extent


def _heads(x: Tensor, count: Int) -> Tensor:
    """[batch, length, heads * size] as [batch, heads, length, size]."""
    return lib.transpose(x.reshape((x.shape[0], x.shape[1], count, x.shape[2] // count)), 1, 2)


def _same_heads(x: Tensor, count: Any) -> Tensor:
    """Each head of keys and values for the group of queries that it serves."""
    return x if x.shape[1] == count else lib.repeat_interleave(x, count // x.shape[1], 1)


@entry("Attention", 23, 25, ignored="softmax_precision")
def _attention(
    Q: Tensor, K: Tensor, V: Tensor, attn_mask: Tensor, past_key: Tensor, past_value: Tensor, is_causal: int,
    kv_num_heads: Int, q_num_heads: Int, qk_matmul_output_mode: int, scale: Any, softcap: float, at: At,
    nonpad_kv_seqlen: Tensor = None, left_window_size: int = -1, right_window_size: int = -1,
) -> Any:
    """A query that may look at no key gives zeros, as in PyTorch."""
    flat = len(Q.shape) == 3
    if flat:
        Q, K, V = _heads(Q, q_num_heads), _heads(K, kv_num_heads), _heads(V, kv_num_heads)
    before = 0 if past_key is None else past_key.shape[2]
    if past_key is not None:
        K, V = lib.cat([past_key, K], 2), lib.cat([past_value, V], 2)
    keys, values = _same_heads(K, Q.shape[1]), _same_heads(V, Q.shape[1])
    factor = scale if scale is not None else 1 / math.sqrt(Q.shape[-1])
    windows = 0 if is_causal else right_window_size, left_window_size
    bias = _bias(attn_mask, Q.shape[2], K.shape[2], before, windows, nonpad_kv_seqlen)
    if at.outputs < 4 and not softcap:
        y = lib("nn.functional.scaled_dot_product_attention")(Q, keys, values, bias, scale=factor)
        return _joined(y) if flat else y, K, V
    scores = lib.matmul(Q * math.sqrt(factor), lib.transpose(keys, 2, 3) * math.sqrt(factor))
    capped = softcap * lib.tanh(scores / softcap) if softcap else scores
    total = capped if bias is None else _masked(capped, bias)
    weights = lib.softmax(total, -1)
    if bias is not None:
        weights = lib.where(lib.amax(total, -1, True) == -math.inf, 0.0, weights)
    y = lib.matmul(weights, values)
    return _joined(y) if flat else y, K, V, (scores, capped, total, weights)[qk_matmul_output_mode]


def _joined(y: Tensor) -> Tensor:
    y = lib.transpose(y, 1, 2)
    return y.reshape((y.shape[0], y.shape[1], y.shape[2] * y.shape[3]))


def _masked(scores: Tensor, bias: Tensor) -> Tensor:
    return lib.where(bias, scores, -math.inf) if bias.dtype.name == "bool" else scores + bias


def _bias(
    mask: Tensor | None, rows: Any, columns: Any, before: Any, windows: tuple[int, int], lengths: Tensor | None
) -> Tensor | None:
    """What is added to the scores, or of bool: where they count.

    `windows` say how far to the right and left of its own place a query looks, -1 without end; its place among the keys is
    its number and `before`, the keys that were there before these queries, or what `lengths`, the keys of each row of the
    batch, leave for them.
    """
    if mask is not None and not same_extent(mask.shape[-1], columns):
        more = (columns - mask.shape[-1],)
        mask = padded(mask, (0,), more, 0 if mask.dtype.name == "bool" else -math.inf)
    column, place = arange(columns), arange(rows).reshape((-1, 1)) + before
    conditions = []
    if lengths is not None:
        count = lengths.reshape((-1, 1, 1, 1))
        conditions.append(column < count)
        place = place if before else place + count - rows
    right, left = windows
    conditions += [column <= place + right] if right >= 0 else []
    conditions += [column >= place - left] if left >= 0 else []
    if not conditions:
        return mask
    seen = functools.reduce(lib.logical_and, conditions)
    if mask is None:
        return seen
    return lib.logical_and(mask, seen) if mask.dtype.name == "bool" else lib.where(seen, mask, -math.inf)


@entry("RotaryEmbedding", 23)
def _rotary(
    X: Tensor, cos_cache: Tensor, sin_cache: Tensor, position_ids: Value, interleaved: int, num_heads: Int,
    rotary_embedding_dim: int, at: At
) -> Tensor:
    flat = len(X.shape) == 3
    x = X.reshape((X.shape[0], X.shape[1], num_heads, X.shape[2] // num_heads)) if flat else lib.transpose(X, 1, 2)
    size = rotary_embedding_dim or x.shape[-1]
    turned, rest = x[..., :size], x[..., size:]
    if position_ids is not None:
        place = at.tensor(position_ids).long()
        cos_cache, sin_cache = (lib("nn.functional.embedding")(place, c) for c in (cos_cache, sin_cache))
    cos, sin = (lib.unsqueeze(c[..., : size // 2], -2) for c in (cos_cache, sin_cache))
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else (turned[..., : size // 2], turned[..., size // 2:])
    real, other = cos * a - sin * b, sin * a + cos * b
    if interleaved:
        turned = lib.stack([real, other], -1).reshape(tuple(turned.shape))
    else:
        turned = lib.cat([real, other], -1)
    y = turned if size == x.shape[-1] else lib.cat([turned, rest], -1)
    return y.reshape(tuple(X.shape)) if flat else lib.transpose(y, 1, 2)
