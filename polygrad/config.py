"""What runs here: versions, backends, devices and fast paths."""

from __future__ import annotations

import platform
from typing import Any

from polygrad._version import __version__
from polygrad.core import available_backends, get_backend

__all__ = ["config", "show_config"]


def config() -> dict[str, Any]:
    """Versions, the current backend, and for every installed adapter its state, devices and live fast paths."""
    backends: dict[str, Any] = {}
    for name, problem in available_backends().items():
        if problem is not None:
            backends[name] = {"usable": False, "reason": problem}
            continue
        backend = get_backend(name)
        backends[name] = {
            "usable": True,
            **backend.info(),
            "devices": [str(d) for d in backend.devices()],
            "fast paths": sorted(backend.fast),
        }
    return {
        "polygrad": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "default backend": get_backend().name,
        "backends": backends,
    }


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print what runs here, or return it with `mode="dicts"`.

    Raises ValueError for another mode.
    """
    found = config()
    if mode == "dicts":
        return found
    if mode != "stdout":
        raise ValueError(f'show_config: mode must be "stdout" or "dicts", got {mode!r}')
    for key, value in found.items():
        if key != "backends":
            print(f"{key}: {value}")
    for name, facts in found["backends"].items():
        print(f"backend {name}:")
        for key, value in facts.items():
            print(f"    {key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return None
