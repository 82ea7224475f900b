"""Pretrained weights: from a file, or from the Hugging Face hub by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from polygrad.core import Tensor
from polygrad.io import load

__all__ = ["count_layers", "read_config", "read_weights", "without_prefix"]

NAMES = ("model.safetensors", "pytorch_model.bin")


def read_weights(weights: str | PathLike[str], progress: bool = True) -> dict[str, Tensor]:
    """The tensors of a file by name, or of a model that the hub has.

    Args:
        weights: the path of a file (safetensors, or PyTorch's .pt and .pth), or "owner/name" of a model on the hub, or
            "owner/name/file" of one of its files; it is fetched once and kept in the hub's cache.
        progress: show how far a download is.

    Raises:
        ValueError: neither a file nor such a name; a file that does not hold tensors by name.
        ImportError: a name, without the extra that fetches it.
        OSError: the model cannot be fetched, for example offline, and is not in the cache.
    """
    state = load(located(weights, progress))
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(x, Tensor) for x in state.values()):
        raise ValueError(f"weights={weights!r}: the file does not hold tensors by name")
    return dict(state)


def read_config(weights: str | PathLike[str]) -> dict[str, Any]:
    """What the file config.json beside the weights says; nothing if there is none."""
    path = Path(weights).with_name("config.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def located(weights: str | PathLike[str], progress: bool = True) -> Path:
    """The path of the file that `weights` names, fetched if need be. Raises as `read_weights`."""
    if not isinstance(weights, str | PathLike):
        raise ValueError(f"weights={weights!r} is neither the path of a file nor a name on the hub")
    path = Path(weights)
    if path.is_file():
        return path
    parts = fspath(weights).split("/")
    if (
        not isinstance(weights, str)
        or len(parts) < 2
        or not all(parts)
        or parts[0].startswith(".")
        or path.suffix in (".pt", ".pth")
    ):
        raise ValueError(
            f"weights={weights!r}: there is no such file, and a name on the hub has the form 'owner/name'; weights must be None "
            "(random), the path of a file with the parameter names of the public checkpoints, or such a name"
        )
    return _fetched("/".join(parts[:2]), ["/".join(parts[2:])] if len(parts) > 2 else list(NAMES), progress)


def _fetched(repository: str, names: Iterable[str], progress: bool) -> Path:
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise ImportError(
            f"weights={repository!r} is no file, and fetching it from the hub needs {error.name}; install it with: "
            'pip install "polygrad-array-api[hub]"'
        ) from error
    if not progress:
        huggingface_hub.utils.disable_progress_bars()
    missing: Exception | None = None
    for name in names:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name))
        except huggingface_hub.errors.LocalEntryNotFoundError as error:
            raise OSError(
                f"{repository!r} cannot be fetched from the hub, and is not in its cache here; give the path of a file instead, or "
                "try again online"
            ) from error
        except (huggingface_hub.errors.EntryNotFoundError, huggingface_hub.errors.RepositoryNotFoundError) as error:
            missing = error
    raise OSError(f"the hub has no weights of {repository!r}: {missing}") from missing


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The names without a prefix that some checkpoints give to the model inside of a head."""
    return {name.removeprefix(prefix): x for name, x in state.items()}


def count_layers(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered parts stand under a prefix."""
    places = {name.removeprefix(prefix).partition(".")[0] for name in state if name.startswith(prefix)}
    return len({place for place in places if place.isdigit()})
