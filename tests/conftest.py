"""What every test may use: the backends to run on, and PyTorch as an independent second opinion.

POLYGRAD_TEST_BACKENDS   names, separated by commas, in place of numpy, jax, array_api_strict and (if installed) torch; the
                         conformance suite runs on mlx too (if installed), where nothing is named
POLYGRAD_REQUIRE_TORCH=1 a comparison with PyTorch that cannot run fails, instead of being skipped
"""

import os
from importlib.util import find_spec

# Before the first array library loads: with two test processes on two cores, a BLAS that spins is 10-20 times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

REQUIRE_TORCH = os.environ.get("POLYGRAD_REQUIRE_TORCH", "0") not in ("", "0")
HAS_TORCH = find_spec("torch") is not None


def backend_names():
    """The backends that tests run on, in a fixed order."""
    asked = os.environ.get("POLYGRAD_TEST_BACKENDS")
    if asked:
        return [name.strip() for name in asked.split(",") if name.strip()]
    names = ["numpy", "jax", "array_api_strict"]
    return [*names, "torch"] if HAS_TORCH or REQUIRE_TORCH else names


def require_torch():
    """The torch module; without it the test (or the whole file) is skipped, or fails where it is required."""
    if not HAS_TORCH:
        reason = "PyTorch is not installed (make torch installs it)"
        if REQUIRE_TORCH:
            pytest.fail(f"{reason}, and POLYGRAD_REQUIRE_TORCH is set", pytrace=False)
        pytest.skip(reason, allow_module_level=True)
    import torch

    return torch


def pytest_configure(config):
    """Run the conformance suite on the same backends, unless the command line names some."""
    if config.getoption("--pg-backend", default=None) == []:
        config.option.pg_backend = backend_names()
        if "POLYGRAD_TEST_BACKENDS" not in os.environ and find_spec("mlx") is not None:
            config.option.pg_backend.append("mlx")
        # JAX compiles every op for every new shape, about 30 ms each: in full it takes longer than all other tests
        # together. `python -m polygrad_conformance --backend jax` is the full suite.
        config.option.pg_brief = ["jax", "mlx"]


@pytest.fixture(params=backend_names())
def backend(request):
    """Run the test once on each backend, as the default for new tensors; the value is the Backend."""
    import polygrad as pg

    with pg.use_backend(request.param) as chosen:
        yield chosen


@pytest.fixture
def torch():
    """PyTorch, to compare with."""
    return require_torch()


COMPILED = [name for name in backend_names() if name == "jax"]


@pytest.fixture(params=COMPILED or [pytest.param("", marks=pytest.mark.skip(reason="no backend with a compiler"))])
def compiled(request):
    """Run the test once on each backend that has a compiler, as the default; the value is the Backend."""
    import polygrad as pg

    with pg.use_backend(request.param) as chosen:
        yield chosen


@pytest.fixture
def double():
    """New tensors are float64 in the test."""
    import polygrad as pg

    before = pg.get_default_dtype()
    pg.set_default_dtype(pg.float64)
    yield
    pg.set_default_dtype(before)
