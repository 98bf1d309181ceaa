"""Multi-head attention (Vaswani et al., 2017): projections around scaled dot products."""

from __future__ import annotations

import math
from typing import Any

from gradgen.eager import creation, namespace
from gradgen.ir.dtypes import bool_
from gradgen.nn import functional as F
from gradgen.nn import init
from gradgen.nn.layers import Linear
from gradgen.nn.module import Module
from gradgen.nn.parameter import Parameter

functional: Any = F
_functions: Any = namespace.functions()


class NonDynamicallyQuantizableLinear(Linear):
    """Linear by the name that torch gives MultiheadAttention's output projection."""


def additive_mask(mask: Any, name: str, like: Any) -> Any:
    """A mask that is added to the scores: where a bool one holds, -inf."""
    if mask is None:
        return None
    if mask.dtype is bool_:
        zeros = _functions["zeros"](*tuple(mask.shape), dtype=like.dtype)
        return zeros.masked_fill(mask, float("-inf"))
    if not mask.dtype.is_floating_point:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return mask


class MultiheadAttention(Module):
    """Attention in `num_heads` parts of the width, on [T, N, width] ([N, T, width] with batch_first).

    `in_proj_weight` stacks the projections of queries, keys and values; with `kdim` or `vdim` of their own they are
    `q_proj_weight`, `k_proj_weight` and `v_proj_weight`.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} "
                "instead"
            )
        super().__init__()
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        one = self._qkv_same_embed_dim
        shapes = {"q_proj_weight": (embed_dim, embed_dim), "k_proj_weight": (embed_dim, self.kdim),
                  "v_proj_weight": (embed_dim, self.vdim), "in_proj_weight": (3 * embed_dim, embed_dim)}
        for name in ("in_proj_weight", *list(shapes)[:3]) if one else shapes:
            present = (name == "in_proj_weight") == one
            self.register_parameter(name, Parameter(creation.empty(*shapes[name], dtype=dtype)) if present else None)
        self.register_parameter("in_proj_bias", Parameter(creation.empty(3 * embed_dim, dtype=dtype)) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            added = Parameter(creation.empty(1, 1, embed_dim, dtype=dtype)) if add_bias_kv else None
            setattr(self, name, added)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for name in ("bias_k", "bias_v"):
            if getattr(self, name) is not None:
                init.xavier_normal_(getattr(self, name))

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True,
        attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """The attended values, and the weights [N, T, S] (per head without `average_attn_weights`) or None.

        Bool masks say what is left out, others are added to the scores; `attn_mask` is [T, S] or [N heads, T, S],
        `key_padding_mask` [N, S].
        """
        self._check_ranks(query, key, value, key_padding_mask, attn_mask)
        if is_causal and attn_mask is None:
            raise RuntimeError(
                "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
                "`generate_square_subsequent_mask` to create this mask."
            )
        batched = query.ndim == 3
        if not batched:
            query, key, value = (x.unsqueeze(1) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        steps, batch, width = query.shape
        if width != self.embed_dim:
            raise AssertionError(f"was expecting embedding dimension of {self.embed_dim}, but got {width}")
        mask = self._mask(query, key, attn_mask, key_padding_mask)
        q, k, v, mask = self._heads(query, key, value, mask)
        if need_weights:
            attended, weights = self._weighted(q, k, v, mask)
        else:
            rate = self.dropout if self.training else 0.0
            attended = functional.scaled_dot_product_attention(q, k, v, mask, rate)
            weights = None
        out = attended.permute(2, 0, 1, 3).reshape(steps, batch, width)
        out = self.out_proj(out)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return out.squeeze(1), None if weights is None else weights.squeeze(0)
        return out.transpose(0, 1) if self.batch_first else out, weights

    @staticmethod
    def _check_ranks(query: Any, key: Any, value: Any, padding: Any, mask: Any) -> None:
        if query.ndim not in (2, 3):
            raise AssertionError(
                f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor"
            )
        kind = "batched" if query.ndim == 3 else "unbatched"
        if key.ndim != query.ndim or value.ndim != query.ndim:
            raise AssertionError(
                f"For {kind} ({query.ndim}-D) `query`, expected `key` and `value` to be {query.ndim}-D but found "
                f"{key.ndim}-D and {value.ndim}-D tensors respectively"
            )
        if padding is not None and padding.ndim != query.ndim - 1:
            raise AssertionError(
                f"For {kind} ({query.ndim}-D) `query`, expected `key_padding_mask` to be `None` or {query.ndim - 1}-D "
                f"but found {padding.ndim}-D tensor instead"
            )
        if mask is not None and mask.ndim not in (2, 3):
            raise AssertionError(
                f"For {kind} ({query.ndim}-D) `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
                f"{mask.ndim}-D tensor instead"
            )

    def _mask(self, query: Any, key: Any, attn_mask: Any, padding: Any) -> Any:
        """Both masks as one that is added to the scores [N, heads, T, S]."""
        steps, batch, _ = query.shape
        count = key.shape[0]
        mask = additive_mask(attn_mask, "attn_mask", query)
        if mask is not None:
            wanted = (steps, count) if mask.ndim == 2 else (batch * self.num_heads, steps, count)
            if tuple(mask.shape) != wanted:
                raise RuntimeError(f"The shape of the {mask.ndim}D attn_mask is {mask.shape}, but should be {wanted}.")
            mask = mask if mask.ndim == 2 else mask.reshape(batch, self.num_heads, steps, count)
        if padding is None:
            return mask
        if tuple(padding.shape) != (batch, count):
            raise AssertionError(
                f"expecting key_padding_mask shape of {(batch, count)}, but got {padding.shape}"
            )
        rows = additive_mask(padding, "key_padding_mask", query).reshape(batch, 1, 1, count)
        return rows if mask is None else mask + rows

    def _heads(self, query: Any, key: Any, value: Any, mask: Any) -> tuple[Any, Any, Any, Any]:
        """Projected queries, keys and values [N, heads, T, width / heads], and the mask for them."""
        cat, pad = _functions["cat"], functional.pad
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        if self._qkv_same_embed_dim:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        q, k, v = (functional.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))
        batch, more = q.shape[1], 0
        if self.bias_k is not None:
            k, v, more = cat([k, self.bias_k.repeat(1, batch, 1)]), cat([v, self.bias_v.repeat(1, batch, 1)]), 1
        q, k, v = (x.reshape(x.shape[0], batch, self.num_heads, self.head_dim).permute(1, 2, 0, 3) for x in (q, k, v))
        if self.add_zero_attn:
            k, v, more = pad(k, (0, 0, 0, 1)), pad(v, (0, 0, 0, 1)), more + 1
        if mask is not None and more:
            mask = pad(mask, (0, more))
        return q, k, v, mask

    def _weighted(self, q: Any, k: Any, v: Any, mask: Any) -> tuple[Any, Any]:
        scores = (q * math.sqrt(1.0 / self.head_dim)) @ k.transpose(-2, -1)
        weights = functional.softmax(scores if mask is None else scores + mask, -1)
        if self.training and self.dropout > 0.0:
            weights = functional.dropout(weights, self.dropout)
        return weights @ v, weights
