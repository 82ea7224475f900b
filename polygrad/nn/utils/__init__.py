"""What goes with networks: sequences of different lengths, calls with other parameters."""

from polygrad.nn.utils import rnn, stateless

__all__ = ["rnn", "stateless"]
