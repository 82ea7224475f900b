"""Attention layers."""

from __future__ import annotations

from typing import Any

from polygrad.core import Tensor
from polygrad.nn import functional as F
from polygrad.nn import init
from polygrad.nn.linear import Linear
from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter
from polygrad.ops.creation import empty

__all__ = ["MultiheadAttention"]


class NonDynamicallyQuantizableLinear(Linear):
    """`Linear` under the name that PyTorch's attention shows."""


class MultiheadAttention(Module):
    """Attention in several heads, each with its own projections, side by side (Vaswani et al., 2017).

    `forward` takes query, key and value, (L, N, E), (S, N, kdim) and (S, N, vdim), or without the N, and the masks and options
    of `nn.functional.multi_head_attention_forward`. It gives (L, N, E), and the weights or None.

    Args:
        embed_dim: E, the width of the model.
        num_heads: how many heads it is divided between.
        dropout: the probability with which a weight is dropped in training.
        bias: have biases in the projections.
        add_bias_kv: have a key and a value that are always there.
        add_zero_attn: add a key and a value of zeros.
        kdim, vdim: the widths of key and value, E by default.
        batch_first: the axis N comes first.
        device, dtype: of the parameters.

    Raises:
        ValueError: sizes that are not positive, or that heads do not divide.
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim

        def made(*shape: int) -> Parameter:
            return Parameter(empty(shape, device=device, dtype=dtype))

        same, e = self._qkv_same_embed_dim, embed_dim
        self.register_parameter("q_proj_weight", None if same else made(e, e))
        self.register_parameter("k_proj_weight", None if same else made(e, self.kdim))
        self.register_parameter("v_proj_weight", None if same else made(e, self.vdim))
        self.register_parameter("in_proj_weight", made(3 * e, e) if same else None)
        self.register_parameter("in_proj_bias", made(3 * e) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(e, e, bias, device, dtype)
        self.register_parameter("bias_k", made(1, 1, e) if add_bias_kv else None)
        self.register_parameter("bias_v", made(1, 1, e) if add_bias_kv else None)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None and self.in_proj_bias is not None:
                init.zeros_(bias)
        for row in (self.bias_k, self.bias_v):
            if row is not None:
                init.xavier_normal_(row)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        turned = self.batch_first and query.ndim == 3
        if turned:
            same = query is key and key is value
            query = query.swapaxes(0, 1)
            key, value = (query, query) if same else (key.swapaxes(0, 1), value.swapaxes(0, 1))
        y, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (y.swapaxes(0, 1) if turned else y), weights
