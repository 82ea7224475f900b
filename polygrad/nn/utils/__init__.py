"""What goes with networks: sequences of different lengths."""

from polygrad.nn.utils import rnn

__all__ = ["rnn"]
