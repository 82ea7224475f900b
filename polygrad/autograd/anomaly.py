"""Anomaly mode: which line of the user's program made the node whose gradient is NaN."""

from __future__ import annotations

from polygrad.autograd.modes import _GradMode
from polygrad.core.tensor import current_mode

__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_detect_anomaly"]


class detect_anomaly(_GradMode):
    """Inside the `with` block, nodes remember the source line that made them, and backward searches what it makes for NaN.

    Args:
        check_nan: search; otherwise only the lines are remembered.

    Raises:
        RuntimeError: in backward, at the first node that makes a NaN; the message names the node and shows the line.
    """

    __slots__ = ()

    def __init__(self, check_nan: bool = True):
        super().__init__(anomaly="check" if check_nan else "trace")


class set_detect_anomaly(_GradMode):
    """Anomaly mode on or off, from here on in this thread or task; as a context manager, until the block ends."""

    __slots__ = ()

    def __init__(self, mode: bool, check_nan: bool = True):
        super().__init__(anomaly=("check" if check_nan else "trace") if mode else None)
        super().__enter__()

    def __enter__(self) -> set_detect_anomaly:
        return self


def is_anomaly_enabled() -> bool:
    """True in anomaly mode."""
    mode = current_mode()
    return mode is not None and mode.anomaly is not None


def is_anomaly_check_nan_enabled() -> bool:
    """True where backward searches for NaN."""
    mode = current_mode()
    return mode is not None and mode.anomaly == "check"
