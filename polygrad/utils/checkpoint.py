"""PyTorch's `torch.utils.checkpoint`: compute again in backward instead of keeping."""

from polygrad.autograd.recompute import CheckpointError, checkpoint, checkpoint_sequential, noop_context_fn

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn"]
