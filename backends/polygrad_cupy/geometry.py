"""The geometry of convolutions and poolings, checked once for whoever computes them."""

from typing import Any, NamedTuple

__all__ = ["Case", "counts", "symmetric"]


class Case(NamedTuple):
    """One of the three convolutions of images x (N, C, *S), a weight w (O, C / groups, *K) and results y (N, O, *T).

    Attributes:
        kind: which of them is computed of the two others, as the ops are called: "conv" y, "conv_input" x, "conv_weight" w.
    """

    kind: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    y: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def roles(self) -> str:
        """The letters of the two operands and the result, the operands in the order in which the ops have them."""
        return {"conv": "xwy", "conv_input": "ywx", "conv_weight": "xyw"}[self.kind]


def counts(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...] | None:
    """How many windows fit along each axis; None for cropping, and for sizes that make no sense."""
    n = len(size)
    if not 0 < n == len(kernel) == len(stride) == len(padding) == len(dilation):
        return None
    if min(*kernel, *stride, *dilation) < 1 or any(min(pair) < 0 for pair in padding):
        return None
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    out = tuple([(m + lo + hi - d * (k - 1) - 1) // s + 1 for m, k, s, (lo, hi), d in axes])
    return out if min(out) > 0 else None


def symmetric(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, Any] | None:
    """`counts`, and the padding before, where as much padding after gives the same windows; None otherwise."""
    out = counts(size, kernel, stride, padding, dilation)
    if out is None:
        return None
    same = counts(size, kernel, stride, [(lo, lo) for lo, _ in padding], dilation)
    return (out, tuple([lo for lo, _ in padding])) if out == same else None
