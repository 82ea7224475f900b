"""BERT (Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding", 2019)."""

from __future__ import annotations

from os import PathLike
from typing import Any

from polygrad import nn
from polygrad.core import Tensor
from polygrad.models.weights import count_layers, read_config, read_weights, without_prefix
from polygrad.nn import functional as F

__all__ = ["Bert", "bert"]


class Embeddings(nn.Module):
    """Tokens, places and segments, added and normalised: (N, T) to (N, T, hidden_size)."""

    def __init__(self, vocab: int, width: int, positions: int, segments: int, eps: float, dropout: float):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(segments, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        x = self.word_embeddings(input_ids) + self.position_embeddings.weight[: input_ids.shape[1]]
        kinds = self.token_type_embeddings
        x = x + (kinds.weight[0] if token_type_ids is None else kinds(token_type_ids))
        return self.dropout(self.LayerNorm(x))


class SelfAttention(nn.Module):
    """Attention of several heads to all places that the mask leaves: (N, T, width) to the same."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.heads, self.p = heads, dropout

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        n, t, width = x.shape
        q, k, v = (
            layer(x).reshape((n, t, self.heads, width // self.heads)).permute(0, 2, 1, 3)
            for layer in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.p if self.training else 0.0)
        return y.permute(0, 2, 1, 3).reshape((n, t, width))


class Output(nn.Module):
    """A linear map, dropout, a shortcut and a normalisation."""

    def __init__(self, inputs: int, width: int, eps: float, dropout: float):
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(y)) + x)


class Layer(nn.Module):
    """Attention and a linear map four times as wide, under the names of the public checkpoints."""

    def __init__(self, width: int, heads: int, between: int, eps: float, dropout: float, attention_dropout: float):
        super().__init__()
        self.attention = nn.Module()
        self.attention.add_module("self", SelfAttention(width, heads, attention_dropout))
        self.attention.add_module("output", Output(width, width, eps, dropout))
        self.intermediate = nn.Module()
        self.intermediate.add_module("dense", nn.Linear(width, between))
        self.output = Output(between, width, eps, dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        attention: Any = self.attention
        x = attention.output(attention.self(x, mask), x)
        between: Any = self.intermediate
        return self.output(F.gelu(between.dense(x)), x)


class Bert(nn.Module):
    """An encoder of text: token numbers (N, T) to (N, T, hidden_size), and (N, hidden_size) of the first token.

    Parameters have the names of the public checkpoints (`embeddings.word_embeddings`, `encoder.layer.0.attention.self.query` ...).

    `forward(input_ids, attention_mask=None, token_type_ids=None)`: the mask is 1 for tokens and 0 for padding.

    Args:
        vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: sizes.
        max_position_embeddings: the longest text.
        type_vocab_size: kinds of segments.
        layer_norm_eps: of the normalisations.
        hidden_dropout_prob, attention_probs_dropout_prob: dropout.
        pooler: have the layer that makes the second result; without it that is None.

    Raises:
        ValueError: a width that the heads do not divide.
    """

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        layer_norm_eps: float = 1e-12,
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        pooler: bool = True,
    ):
        super().__init__()
        if hidden_size % num_attention_heads:
            raise ValueError(f"hidden_size={hidden_size} is not divisible by num_attention_heads={num_attention_heads}")
        p, eps = hidden_dropout_prob, layer_norm_eps
        self.embeddings = Embeddings(vocab_size, hidden_size, max_position_embeddings, type_vocab_size, eps, p)
        self.encoder = nn.Module()
        sizes = (hidden_size, num_attention_heads, intermediate_size, eps, p, attention_probs_dropout_prob)
        self.encoder.add_module("layer", nn.ModuleList([Layer(*sizes) for _ in range(num_hidden_layers)]))
        self.pooler = nn.Module() if pooler else None
        if self.pooler is not None:
            self.pooler.add_module("dense", nn.Linear(hidden_size, hidden_size))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        x = self.embeddings(input_ids, token_type_ids)
        mask = None if attention_mask is None else (attention_mask != 0)[:, None, None, :]
        encoder: Any = self.encoder
        for layer in encoder.layer:
            x = layer(x, mask)
        pooler: Any = self.pooler
        return x, None if pooler is None else pooler.dense(x[:, 0]).tanh()


SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)


def bert(*, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any) -> Bert:
    """BERT, by default the base model: 109,482,240 parameters.

    Args:
        weights: a file, or a name on the hub such as "google-bert/bert-base-uncased" (see `polygrad.models.weights.read_weights`).
            Sizes are taken from it and from a config.json beside it; without that, heads have 64 channels unless
            `num_attention_heads` is given.
        progress: show how far a download is.
        options: those of `Bert`.
    """
    if weights is None:
        return Bert(**options)
    state = without_prefix(read_weights(weights, progress), "bert.")
    state = {k.replace(".gamma", ".weight").replace(".beta", ".bias"): x for k, x in state.items()}
    state = {k: x for k, x in state.items() if not k.startswith("cls.") and not k.endswith("position_ids")}
    vocab_size, hidden_size = state["embeddings.word_embeddings.weight"].shape
    found = {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "num_hidden_layers": count_layers(state, "encoder.layer."),
        "num_attention_heads": max(1, hidden_size // 64),
        "intermediate_size": state["encoder.layer.0.intermediate.dense.bias"].shape[0],
        "max_position_embeddings": state["embeddings.position_embeddings.weight"].shape[0],
        "type_vocab_size": state["embeddings.token_type_embeddings.weight"].shape[0],
        "pooler": "pooler.dense.weight" in state,
    }
    config = {key: value for key, value in read_config(weights).items() if key in SIZES}
    model = Bert(**{**found, **config, **options})
    model.load_state_dict(state)
    return model
