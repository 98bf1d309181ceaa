"""Attention: softmax(q k' scale + bias) v, as contractions around a stable softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import sympy
from sympy import oo

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import axis, placeholder, reduce_axis, same_extent
from gradgen.ops.activation import softmax
from gradgen.ops.normalisation import dropout
from gradgen.ops.registry import KEEP, Op, broadcast_read, broadcast_shapes, register
from gradgen.ops.requirements import require_equal
from gradgen.ops.samples import mask, one, t
from gradgen.ops.shapes import A0, A1, exact, numel, over, reduce
from gradgen.ops.table import call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor


def _batched(node: Node, lead: Any, tail: list[Any]) -> Read:
    """`node[..., tail]`, its leading axes broadcast to `lead`."""
    plain = broadcast_read(Compute(node.shape[:-2], placeholder(0), [], node.dtype), lead)
    return Read(node, [*plain.index, *tail])


def _lower_attention(query: Node, key: Node, value: Node, *rest: Node, causal: bool, scale: Any, masked: str) -> Node:
    lead = broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    n = len(lead)
    rows, columns, width = query.shape[-2], key.shape[-2], query.shape[-1]
    i, j, r = axis(n), axis(n + 1), reduce_axis(0)
    a0, a1 = placeholder(0), placeholder(1)
    shape = (*lead, rows, columns)
    products = Compute(shape, a0 * a1, [_batched(query, lead, [i, r]), _batched(key, lead, [j, r])], query.dtype,
                       reduce_shape=(width,), reducer="sum")
    reads = [Read(products, [axis(d) for d in range(n + 2)])]
    body = a0 * scale
    if masked and broadcast_shapes(shape, rest[0].shape) != shape:
        raise RuntimeError(f"attn_mask of shape {list(rest[0].shape)} cannot be expanded to scores of shape {list(shape)}")
    if masked == "bool":
        reads.append(broadcast_read(rest[0], shape))
        body = fn.select(a1, body, -oo)
    elif masked == "add":
        reads.append(broadcast_read(rest[0], shape))
        body = body + a1
    if causal:
        body = fn.select(fn.ge(i, j), body, -oo)
    scores = Compute(shape, body, reads, query.dtype)
    weights = _softmax_rows(scores, n)
    out = (*lead, rows, value.shape[-1])
    reads = [Read(weights, [*(axis(d) for d in range(n)), i, r]), _batched(value, lead, [r, j])]
    return Compute(out, a0 * a1, reads, query.dtype, reduce_shape=(columns,), reducer="sum")


def _softmax_rows(scores: Node, n: int) -> Node:
    """softmax along the last axis; a row that is masked throughout gives zeros, as in torch."""
    last = (n + 1,)
    top = reduce(scores, last, "max", keepdim=True, body=fn.stop(A0))
    top = over(fn.select(fn.eq(A0, -oo), 0, A0), top.shape, (top,), scores.dtype)
    powers = over(fn.exp(A0 - A1), scores.shape, (scores, top), scores.dtype)
    total = reduce(powers, last, "sum", keepdim=True)
    return over(fn.select(fn.eq(A1, 0), 0, fn.div(A0, A1)), scores.shape, (powers, total), scores.dtype)


_attention = register(
    Op("scaled_dot_product_attention", _lower_attention, "ScaledDotProductFlashAttentionForCpuBackward0", KEEP)
)
QKV = (t(1, 2, 3, 4), t(1, 2, 5, 4, seed=1), t(1, 2, 5, 4, seed=2))


@public("nn.functional", samples=[
    one(*QKV), one(*QKV, is_causal=True), one(*QKV, scale=0.3), one(*QKV, attn_mask=mask(3, 5)),
    one(*QKV, attn_mask=t(3, 5, seed=3)), one(t(3, 4), t(5, 4, seed=1), t(5, 2, seed=2)),
])
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:
    """softmax(query key' scale + attn_mask) value over [..., tokens, width]; scale is 1/sqrt(width) by default."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.ndim < 2:
            raise RuntimeError(f"scaled_dot_product_attention: {name} must have at least 2 dimensions, got {x.ndim}")
    if attn_mask is not None and is_causal:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if not same_extent(query.shape[-1], key.shape[-1]):
        raise RuntimeError("query and key must have the same last extent, got "
                           f"{query.shape[-1]} and {key.shape[-1]}")
    if enable_gqa and not same_extent(query.shape[-3], key.shape[-3]):
        times = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    require_equal(key.shape[-2], value.shape[-2], RuntimeError,
                  "Expected size for first two dimensions of batch2 tensor to be: [{batch}, {keys}] but got: [{batch}, "
                  "{values}].", batch=numel(tuple(key.shape)[:-2]), keys=key.shape[-2], values=value.shape[-2])
    width = query.shape[-1]  # where it is 0 so are the products, whatever they are scaled by
    usual = exact(1.0 / math.sqrt(max(width, 1))) if isinstance(width, int) else fn.div(1, fn.sqrt_(sympy.Max(1, width)))
    factor: Any = usual if scale is None else exact(scale)
    kind = "" if attn_mask is None else "bool" if attn_mask.dtype is dtypes.bool_ else "add"
    operands = (query, key, value) if attn_mask is None else (query, key, value, attn_mask)
    if dropout_p > 0.0:
        return _with_dropout(operands, is_causal, scale, dropout_p)
    return call(_attention, *operands, causal=bool(is_causal), scale=factor, masked=kind)


def _with_dropout(operands: tuple[Any, ...], causal: bool, scale: float | None, p: float) -> Tensor:
    """The same in steps, the weights dropped out between."""
    query, key, value, *rest = operands
    scores = query @ key.transpose(-2, -1) * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if rest and rest[0].dtype is dtypes.bool_:
        scores = scores.masked_fill(~rest[0], float("-inf"))
    elif rest:
        scores = scores + rest[0]
    if causal:
        later = (scores.detach() * 0 + 1).triu(1) != 0
        scores = scores.masked_fill(later, float("-inf"))
    return dropout(softmax(scores, -1), p) @ value


