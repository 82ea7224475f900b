"""Attention, as `torch.nn.functional` has it."""

from __future__ import annotations

import math
from typing import Any

from polygrad.core import Tensor
from polygrad.nn.functional.dropout import dropout
from polygrad.nn.functional.linear import linear
from polygrad.ops.composite import softmax
from polygrad.ops.indexing import where
from polygrad.ops.layers import attention
from polygrad.ops.products import matmul
from polygrad.ops.shapes import broadcast_to, concat, matrix_transpose, repeat
from polygrad.ops.windows import pad_constant

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def _added(mask: Tensor | None, like: Tensor, shown: bool) -> Tensor | None:
    """A mask as what is added to scores: 0 where a boolean one is `shown`, -inf elsewhere."""
    if mask is None:
        return None
    if mask.dtype.category == "bool":
        free = like._backend.tensors.zeros((), dtype=like.dtype, device=like.device)
        return where(mask, free, -math.inf) if shown else where(mask, -math.inf, free)
    if not mask.dtype.is_floating_point:
        raise RuntimeError(f"expected a mask of bool or a floating-point dtype, but got {mask.dtype}")
    return mask.to(like.dtype)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ key^T * scale + mask) @ value (Vaswani et al., 2017).

    Args:
        query, key, value: (*, L, E), (*, S, E) and (*, S, V); leading axes broadcast.
        attn_mask: broadcasts to (*, L, S); booleans say what is seen, numbers are added to the scores.
        dropout_p: the probability with which a weight is dropped, in training or not.
        is_causal: row i sees the columns 0 ... i.
        scale: 1 / sqrt(E) by default.
        enable_gqa: the heads (third axis from behind) of key and value each serve several of the query's.

    Returns:
        (*, L, V); zeros in rows that see nothing.

    Raises:
        RuntimeError: both a mask and `is_causal`; shapes or dtypes that do not fit.
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: shapes do not fit: query {query.shape}, key {key.shape}, value {value.shape}"
        )
    if enable_gqa and key.shape[-3] != query.shape[-3]:
        if query.shape[-3] % key.shape[-3]:
            raise RuntimeError(
                f"number of heads in query, {query.shape[-3]}, must be a multiple of that in key and value, {key.shape[-3]}"
            )
        times = query.shape[-3] // key.shape[-3]
        key, value = repeat(key, times, axis=-3), repeat(value, times, axis=-3)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    mask = _added(attn_mask, query, True)
    if dropout_p > 0:
        weights = dropout(_weights(query, key, mask, scale, is_causal), dropout_p, True)
        return matmul(weights, value)
    operands = [query, key, value] if mask is None else [query, key, value, mask]
    return attention(operands, scale=scale, causal=is_causal)[0]


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float, causal: bool = False) -> Tensor:
    """softmax(query @ key^T * scale + mask)."""
    scores = matmul(query * scale, matrix_transpose(key))
    if mask is not None:
        scores = scores + mask
    if causal:
        xp, (rows, columns) = query._backend.tensors, scores.shape[-2:]
        row = xp.arange(rows, device=query.device).unsqueeze(-1)
        scores = where(row >= xp.arange(columns, device=query.device), scores, -math.inf)
    return softmax(scores, axis=-1)


# ---------------------------------------------------------------------------------------------------------- many heads


def _projected(
    inputs: tuple[Tensor, Tensor, Tensor], width: int, weight: Tensor | None, bias: Tensor | None, separate: Any
) -> list[Tensor]:
    """Query, key and value in the width of the model, by one weight for all three or by one for each."""
    biases = [None] * 3 if bias is None else [bias[i * width : (i + 1) * width] for i in range(3)]
    if weight is None:
        return [linear(x, w, b) for x, w, b in zip(inputs, separate, biases, strict=True)]
    query, key, value = inputs
    if query is key and key is value:  # one product
        y = linear(query, weight, bias)
        return [y[..., i * width : (i + 1) * width] for i in range(3)]
    return [
        linear(x, weight[i * width : (i + 1) * width], b) for i, (x, b) in enumerate(zip(inputs, biases, strict=True))
    ]


def _combined_mask(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, like: Tensor, heads: int, more: int
) -> Tensor | None:
    """What is added to scores (N, heads, L, S), from a mask of pairs and one of keys; `more` columns are always seen."""
    count = like.shape[1]
    pairs, keys = _added(attn_mask, like, False), _added(key_padding_mask, like, False)
    if pairs is not None:
        pairs = pairs.reshape(count, heads, *pairs.shape[1:]) if pairs.ndim == 3 else pairs
        pairs = pad_constant(pairs, padding=((0, more),)) if more else pairs
    if keys is not None:
        keys = keys.reshape(count, 1, 1, keys.shape[-1])
        keys = pad_constant(keys, padding=((0, more),)) if more else keys
    return pairs if keys is None else keys if pairs is None else pairs + keys


def _check_masks(query: Tensor, key: Tensor, attn_mask: Any, key_padding_mask: Any, heads: int) -> None:
    (rows, count, _), columns = query.shape, key.shape[0]
    if key_padding_mask is not None and key_padding_mask.shape != (count, columns):
        raise RuntimeError(
            f"expected key_padding_mask of shape {(count, columns)}, but got shape {key_padding_mask.shape}"
        )
    if attn_mask is not None and attn_mask.shape not in ((rows, columns), (count * heads, rows, columns)):
        raise RuntimeError(
            f"The shape of the attn_mask is {attn_mask.shape}, but should be {(rows, columns)} or "
            f"{(count * heads, rows, columns)}."
        )


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention in several heads, each with its own projections, side by side (Vaswani et al., 2017).

    Args:
        query, key, value: (L, N, E), (S, N, Ek) and (S, N, Ev), or without the N.
        embed_dim_to_check, num_heads: E, and how many heads it is divided between.
        in_proj_weight, in_proj_bias: (3 E, E) and (3 E,), for query, key and value; the former None if
            `use_separate_proj_weight`, with `q_proj_weight` (E, E), `k_proj_weight` (E, Ek) and `v_proj_weight` (E, Ev).
        bias_k, bias_v: (1, 1, E), a key and a value that are always there.
        add_zero_attn: add a key and a value of zeros.
        dropout_p, training: the probability with which a weight is dropped in training.
        out_proj_weight, out_proj_bias: (E, E) and (E,).
        key_padding_mask: (N, S), booleans that say what is hidden or numbers that are added to the scores.
        need_weights: give the weights too, of which fully hidden rows are NaN; without, such rows give zeros.
        attn_mask: (L, S) or (N * num_heads, L, S), of the same kinds.
        static_k, static_v: (N * num_heads, S, E / num_heads), in place of the projections.
        average_attn_weights: give the mean of the heads' weights.
        is_causal: says that the mask is causal, which lets the work without a mask.

    Returns:
        (L, N, E), and the weights (N, L, S) or (N, num_heads, L, S), or None.

    Raises:
        RuntimeError: shapes that do not fit; `is_causal` without a mask.
    """
    if query.shape[-1] != embed_dim_to_check:
        raise RuntimeError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {query.shape[-1]}")
    if embed_dim_to_check % num_heads:
        raise RuntimeError(f"embed_dim {embed_dim_to_check} not divisible by num_heads {num_heads}")
    if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
        raise RuntimeError(
            f"expected query, key and value of 2 or 3 axes, but got {query.ndim}, {key.ndim} and {value.ndim}"
        )
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    whole = query.ndim == 3
    if not whole:
        same = query is key and key is value
        query = query.unsqueeze(1)
        key, value = (query, query) if same else (key.unsqueeze(1), value.unsqueeze(1))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    _check_masks(query, key, attn_mask, key_padding_mask, num_heads)
    rows, count, width = query.shape
    size = width // num_heads
    separate = (q_proj_weight, k_proj_weight, v_proj_weight)
    q, k, v = _projected(
        (query, key, value), width, None if use_separate_proj_weight else in_proj_weight, in_proj_bias, separate
    )
    more = 0
    if bias_k is not None and bias_v is not None:
        k, v = (concat([x, broadcast_to(b, (1, count, width))], axis=0) for x, b in ((k, bias_k), (v, bias_v)))
        more += 1
    q, k, v = (x.reshape(x.shape[0], count, num_heads, size).permute(1, 2, 0, 3) for x in (q, k, v))
    if static_k is not None:
        k = static_k.reshape(count, num_heads, -1, size)
    if static_v is not None:
        v = static_v.reshape(count, num_heads, -1, size)
    if add_zero_attn:
        k, v = (pad_constant(x, padding=((0, 1), (0, 0))) for x in (k, v))
        more += 1
    causal = is_causal and not need_weights and key_padding_mask is None and not more and attn_mask is not None
    mask = None if causal else _combined_mask(attn_mask, key_padding_mask, query, num_heads, more)
    p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        weights = _weights(q, k, mask, 1 / math.sqrt(size))
        weights = dropout(weights, p) if p > 0 else weights
        y = matmul(weights, v)
        weights = weights.mean(dim=1) if average_attn_weights else weights
        weights = weights if whole else weights[0]
    else:
        y = scaled_dot_product_attention(q, k, v, mask, p, causal)
    y = linear(y.permute(2, 0, 1, 3).reshape(rows, count, width), out_proj_weight, out_proj_bias)
    return y if whole else y[:, 0], weights
