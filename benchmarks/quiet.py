"""Timing that a busy neighbour does not spoil.

A sample is one call (or a group of short ones). For each, the kernel tells how long this process's threads stood in the run
queue (`/proc/self/task/*/schedstat`). The figure is the median of the third of the samples that waited least; where the
kernel does not tell, the median of the fastest third.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["measure", "peak_rss_mb"]


def waited() -> float:
    """Seconds that the threads of this process have stood in the run queue so far."""
    total = 0
    for task in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue
    return total / 1e9


def measure(
    step: Callable[[], object], budget: float = 0.5, least: int = 6, most: int = 200
) -> tuple[float, float, float]:
    """Seconds a call of `step`, the share of the kept samples' time spent waiting for a processor, and processor seconds a call."""
    step()
    start = time.perf_counter()
    step()
    once = time.perf_counter() - start
    group = max(1, int(0.003 / max(once, 1e-7)))
    samples = []
    end = time.perf_counter() + budget
    while len(samples) < least or (len(samples) < most and time.perf_counter() < end):
        before, processor, start = waited(), time.process_time(), time.perf_counter()
        for _ in range(group):
            step()
        spent = time.perf_counter() - start
        used = time.process_time() - processor
        samples.append(((waited() - before) / spent, spent / group, used / group))
    samples.sort()
    kept = samples[: max(3, len(samples) // 3)]
    times, used_times = (sorted(sample[i] for sample in kept) for i in (1, 2))
    return times[len(times) // 2], max(sample[0] for sample in kept), used_times[len(used_times) // 2]


def peak_rss_mb() -> float:
    """The largest resident memory of this process so far, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")
