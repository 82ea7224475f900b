"""GPT-2 (Radford et al., "Language models are unsupervised multitask learners", 2019)."""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

from polygrad import nn
from polygrad.autograd import no_grad
from polygrad.core import Tensor
from polygrad.models.weights import count_layers, read_config, read_weights, without_prefix
from polygrad.nn import functional as F
from polygrad.ops.creation import zeros
from polygrad.random import Generator, multinomial

__all__ = ["GPT2", "gpt2"]


class Conv1D(nn.Module):
    """x @ weight + bias, with the weight as the public checkpoints have it: (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int, std: float = 0.02):
        super().__init__()
        self.weight = nn.Parameter(zeros((inputs, outputs)))
        self.bias = nn.Parameter(zeros((outputs,)))
        nn.init.normal_(self.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Attention(nn.Module):
    """Causal self-attention of several heads: (N, T, n_embd) to the same."""

    def __init__(self, n_embd: int, n_head: int, n_layer: int, dropout: float):
        super().__init__()
        self.c_attn = Conv1D(n_embd, 3 * n_embd)
        self.c_proj = Conv1D(n_embd, n_embd, 0.02 / math.sqrt(2 * n_layer))
        self.n_head, self.dropout = n_head, dropout

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        qkv = self.c_attn(x).reshape((n, t, 3, self.n_head, width // self.n_head)).permute(2, 0, 3, 1, 4)
        p = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], dropout_p=p, is_causal=True)
        y = self.c_proj(y.permute(0, 2, 1, 3).reshape((n, t, width)))
        return F.dropout(y, self.dropout, self.training)


class MLP(nn.Module):
    """Two linear maps around a GELU, four times as wide between: (N, T, n_embd) to the same."""

    def __init__(self, n_embd: int, n_layer: int, dropout: float):
        super().__init__()
        self.c_fc = Conv1D(n_embd, 4 * n_embd)
        self.c_proj = Conv1D(4 * n_embd, n_embd, 0.02 / math.sqrt(2 * n_layer))
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")), self.dropout, self.training)


class Block(nn.Module):
    """Attention, then the MLP, each behind a normalisation and beside a shortcut."""

    def __init__(self, n_embd: int, n_head: int, n_layer: int, dropout: float):
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd)
        self.attn = Attention(n_embd, n_head, n_layer, dropout)
        self.ln_2 = nn.LayerNorm(n_embd)
        self.mlp = MLP(n_embd, n_layer, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    """A causal language model: token numbers (N, T) to scores of the next token (N, T, vocab_size).

    Parameters have the names of the public checkpoints (`wte`, `wpe`, `h.0.attn.c_attn` ...); the output layer is `wte` itself.

    Args:
        vocab_size: how many tokens there are.
        n_positions: the longest context.
        n_embd, n_layer, n_head: width, blocks, heads.
        dropout: of embeddings, attention weights and residual branches.

    Raises:
        ValueError: a width that the heads do not divide; a longer input than `n_positions`.
    """

    def __init__(
        self,
        vocab_size: int = 50257,
        n_positions: int = 1024,
        n_embd: int = 768,
        n_layer: int = 12,
        n_head: int = 12,
        dropout: float = 0.1,
    ):
        super().__init__()
        if n_embd % n_head:
            raise ValueError(f"n_embd={n_embd} is not divisible by n_head={n_head}")
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(n_positions, n_embd)
        nn.init.normal_(self.wte.weight, std=0.02)
        nn.init.normal_(self.wpe.weight, std=0.01)
        self.h = nn.ModuleList([Block(n_embd, n_head, n_layer, dropout) for _ in range(n_layer)])
        self.ln_f = nn.LayerNorm(n_embd)
        self.n_positions, self.dropout = n_positions, dropout

    def forward(self, idx: Tensor) -> Tensor:
        t = idx.shape[-1]
        if t > self.n_positions:
            raise ValueError(f"the input has {t} tokens, the model at most {self.n_positions}")
        x = self.wte(idx) + self.wpe.weight[:t]
        x = F.dropout(x, self.dropout, self.training)
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)

    def generate(
        self,
        idx: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """The tokens (N, T) with more of them drawn one after the other: (N, T + max_new_tokens).

        Args:
            idx: the beginning, at least one token.
            temperature: divides the scores; 0 takes the likeliest token.
            top_k: draw from so many of the likeliest only.
            generator: of the draws.
        """
        training = self.training
        self.eval()
        with no_grad():
            for _ in range(max_new_tokens):
                scores = self(idx[:, -self.n_positions :])[:, -1]
                if temperature == 0:
                    token = scores.argmax(dim=-1, keepdim=True)
                else:
                    scores = scores / temperature
                    if top_k is not None:
                        least = scores.topk(min(top_k, scores.shape[-1])).values[:, -1:]
                        scores = scores.masked_fill(scores < least, -math.inf)
                    token = multinomial(scores.softmax(dim=-1), 1, generator=generator)
                idx = idx._backend.tensors.concat([idx, token.to(idx.dtype)], axis=1)
        self.train(training)
        return idx


def gpt2(*, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any) -> GPT2:
    """GPT-2, by default the smallest one: 124,439,808 parameters.

    Args:
        weights: a file, or a name on the hub such as "openai-community/gpt2" (see `polygrad.models.weights.read_weights`); sizes are
            taken from it, with 64 channels a head unless `n_head` is given or stands in a config.json beside it.
        progress: show how far a download is.
        options: those of `GPT2`.
    """
    if weights is None:
        return GPT2(**options)
    state = without_prefix(read_weights(weights, progress), "transformer.")
    masks = (".attn.bias", ".attn.masked_bias")
    state = {k: x for k, x in state.items() if not k.endswith(masks) and k != "lm_head.weight"}
    vocab_size, n_embd = state["wte.weight"].shape
    sizes = {"vocab_size": vocab_size, "n_embd": n_embd, "n_positions": state["wpe.weight"].shape[0]}
    heads = read_config(weights).get("n_head", max(1, n_embd // 64))
    model = GPT2(**{**sizes, "n_layer": count_layers(state, "h."), "n_head": heads, **options})
    model.load_state_dict(state)
    return model
