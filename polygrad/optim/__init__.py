"""Optimizers: PyTorch's `torch.optim` over any backend."""

from polygrad.optim.optimizer import Optimizer
from polygrad.optim.sgd import SGD

__all__ = ["SGD", "Optimizer"]
