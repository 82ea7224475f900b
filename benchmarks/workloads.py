"""What the scripts share: polygrad on NumPy in its two forms, and the same training step on PyTorch and on polygrad."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

__all__ = ["both_forms", "on_devices", "parameters", "torch_threads", "training_step", "with_torch"]


def torch_threads() -> Any:
    """The torch module, with the number of threads of the run."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return torch


def both_forms(build: Callable[..., Callable[[], Any]]) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Builders of `build(polygrad, **options)` on NumPy alone and on NumPy with oneDNN (which must then be found)."""

    def alone(**options: Any) -> Callable[[], Any]:
        os.environ["POLYGRAD_ONEDNN_LIB"] = "off"
        import polygrad

        return build(polygrad, **options)

    def with_onednn(**options: Any) -> Callable[[], Any]:
        import polygrad

        found = str(polygrad.core.get_backend("numpy").info()["onednn"])
        if not found[:1].isdigit():
            raise RuntimeError(f"oneDNN: {found}")
        return build(polygrad, **options)

    return {"polygrad": alone, "polygrad + oneDNN": with_onednn}


def with_torch(build: Callable[..., Callable[[], Any]]) -> Callable[..., Callable[[], Any]]:
    """A builder of `build(torch, **options)`."""
    return lambda **options: build(torch_threads(), **options)


def on_devices(build: Callable[..., Callable[[], Any]]) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Builders that run when `--only` names them: PyTorch on CUDA, and polygrad on CuPy and on JAX's first device."""

    def on_cuda(**options: Any) -> Callable[[], Any]:
        torch = torch_threads()
        torch.set_default_device("cuda")
        return build(torch, **options)

    def on(name: str) -> Callable[..., Callable[[], Any]]:
        def builder(**options: Any) -> Callable[[], Any]:
            import polygrad

            polygrad.set_backend(name)
            return build(polygrad, **options)

        return builder

    return {"torch cuda": on_cuda, "polygrad cupy": on("cupy"), "polygrad jax": on("jax")}


def parameters(lib: Any, arrays: list[Any]) -> list[Any]:
    """The arrays as parameters of torch or of polygrad."""
    return [lib.nn.Parameter(lib.tensor(a)) for a in arrays]


def training_step(
    lib: Any, optimizer: str, params: list[Any], loss: Callable[[], Any], lr: float
) -> Callable[[], float]:
    """One step of SGD with momentum, or of Adam; it returns the loss, which peers must agree on.

    Where polygrad's backend has a compiler, the step is compiled.
    """
    optim = (
        lib.optim.SGD(params, lr=lr, momentum=0.9)
        if optimizer == "SGD"
        else getattr(lib.optim, optimizer)(params, lr=lr)
    )

    def step() -> Any:
        optim.zero_grad()
        value = loss()
        value.backward()
        optim.step()
        return value

    compiled = lib.jit(step) if hasattr(lib, "get_backend") and lib.get_backend().compiler is not None else step
    return lambda: compiled().item()
