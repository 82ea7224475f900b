"""PyTorch's `torch.utils`: checkpointing."""

from polygrad.utils import checkpoint

__all__ = ["checkpoint"]
