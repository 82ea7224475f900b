"""PyTorch's `torch.utils`: checkpointing and data."""

from polygrad.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
