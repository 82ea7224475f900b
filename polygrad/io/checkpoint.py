"""Checkpoints of a training: whatever has a state, in one file, from which it goes on with the same bits on any backend."""

from __future__ import annotations

from os import PathLike
from typing import Any

from polygrad.core import Tensor
from polygrad.io.files import load, save
from polygrad.random import Generator, default_generator

__all__ = ["load_checkpoint", "save_checkpoint"]

GENERATOR = "generator"


def save_checkpoint(path: str | PathLike[str], /, **parts: Any) -> None:
    """Write the state of a training under names of your own; the file is replaced whole or not at all.

        pg.io.save_checkpoint("run.pt", model=model, optimizer=optimizer, scheduler=scheduler, loader=loader, step=step)

    Args:
        path: of the file.
        parts: objects with a `state_dict()` (models, optimizers, schedules, loaders), Generators, or plain values. The default
            generator is saved as "generator" unless one is given under that name.

    Raises:
        TypeError: a part that is neither.
    """
    parts.setdefault(GENERATOR, default_generator())
    save({name: _state(part) for name, part in parts.items()}, path)


def load_checkpoint(path: str | PathLike[str], /, **parts: Any) -> dict[str, Any]:
    """Put the states of a checkpoint into objects of the same kinds, here or on another backend; returns the plain values.

        step = pg.io.load_checkpoint("run.pt", model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)["step"]

    Args:
        path: of the file.
        parts: the objects, under the names that they were saved under. The default generator goes where the saved one was, unless
            "generator" is given.

    Returns:
        What was saved and is not among `parts`.

    Raises:
        OSError, ValueError: as `load`.
        KeyError: a part that the checkpoint lacks; nothing has changed then.
    """
    states = load(path)
    if not isinstance(states, dict) or GENERATOR not in states:
        raise ValueError(f"{path} is no checkpoint of a training")
    parts.setdefault(GENERATOR, default_generator())
    missing = [name for name in parts if name not in states]
    if missing:
        raise KeyError(f"{path} has no state of {', '.join(missing)}; it has {', '.join(states)}")
    for name, part in parts.items():
        if isinstance(part, Generator):
            part.set_state(states.pop(name))
        else:
            part.load_state_dict(states.pop(name))
    return states


def _state(part: Any) -> Any:
    if isinstance(part, Generator):
        return part.get_state()
    if hasattr(part, "state_dict"):
        return part.state_dict()
    return part.detach() if isinstance(part, Tensor) else part
