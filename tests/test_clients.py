"""Code that others wrote for the standard runs on Tensors, and the gradients through it are right.

SciPy follows the standard only where SCIPY_ARRAY_API=1 is set before it is imported, so the tests run in a process of their own.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import polygrad as pg

RNG = np.random.default_rng(8)
X, W = RNG.uniform(-1, 1, (3, 4)), RNG.uniform(-1, 1, (3, 4))
VECTORS, OTHERS = RNG.uniform(-1, 1, (3, 3)), RNG.uniform(-1, 1, (3, 3))


def central_difference(f, x, h=1e-6):
    """The gradient of a scalar function, entry by entry, on NumPy."""
    found = np.zeros_like(x)
    with pg.use_backend("numpy"):
        for i in np.ndindex(*x.shape):
            ends = []
            for sign in (1, -1):
                moved = x.copy()
                moved[i] += sign * h
                ends.append(float(f(pg.tensor(moved))))
            found[i] = (ends[0] - ends[1]) / (2 * h)
    return found


def check(f, x):
    """The gradient of a scalar function of a tensor against differences, and that the value is not changed by recording."""
    t = pg.tensor(x, requires_grad=True)
    y = f(t)
    y.backward()
    assert t.grad.dtype is pg.float64 and t.grad.backend == t.backend
    np.testing.assert_allclose(float(y), float(f(pg.tensor(x))), rtol=1e-12)
    np.testing.assert_allclose(t.grad.numpy(), central_difference(f, x), rtol=1e-6, atol=1e-7)


def like(x, values):
    """A constant of the same library."""
    return x.__array_namespace__().asarray(values)


if os.environ.get("SCIPY_ARRAY_API") != "1":

    def test_in_a_process_where_scipy_follows_the_standard():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__]
        environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert " passed" in done.stdout

else:
    from scipy import special
    from scipy.spatial.transform import Rotation

    xpx = pytest.importorskip("array_api_extra")
    einops = pytest.importorskip("einops.array_api")
    xarray = pytest.importorskip("xarray")

    SPECIAL = {
        "logsumexp": lambda t: pg.sum(special.logsumexp(t, axis=1) ** 2),
        "logsumexp with weights": lambda t: special.logsumexp(t, b=like(t, abs(W))),
        "softmax": lambda t: pg.sum(special.softmax(t, axis=1) * like(t, W)),
        "log_softmax": lambda t: pg.sum(special.log_softmax(t, axis=1) * like(t, W)),
    }
    ROTATIONS = {
        "rotation vectors": lambda t: pg.sum(Rotation.from_rotvec(t).apply(like(t, OTHERS)) ** 3),
        "Euler angles": lambda t: pg.sum(
            (Rotation.from_euler("xyz", t) * Rotation.from_rotvec(like(t, OTHERS))).as_rotvec() ** 2
        ),
        "matrices": lambda t: pg.sum(Rotation.from_rotvec(t).as_matrix() * like(t, OTHERS)[:, None, :]),
        "inverse": lambda t: pg.sum(Rotation.from_rotvec(t).inv().as_quat() ** 3),
    }
    EINOPS = {
        "rearrange": lambda t: pg.sum(einops.rearrange(t, "a (b c) -> c (a b)", b=2) ** 2 * like(t, W.reshape(2, 6))),
        "reduce, mean": lambda t: pg.sum(einops.reduce(t, "a (b c) -> b", "mean", b=2) ** 2),
        "reduce, max": lambda t: pg.sum(einops.reduce(t, "a b -> b", "max") ** 2),
        "repeat": lambda t: pg.sum(einops.repeat(t, "a b -> a b 3") ** 2),
    }
    EXTRA = {
        "apply_where": lambda t: pg.sum(xpx.apply_where(t > 0, t, lambda a: a**2, lambda a: a**3)),
        "at set": lambda t: pg.sum(xpx.at(t * 1, (0, slice(None))).set(like(t, W)[0, :] ** 2) ** 2),
        "at add": lambda t: pg.sum(xpx.at(t * 1, (0, slice(None))).add(t[1, :]) ** 2),
        "at mask": lambda t: pg.sum(xpx.at(t * 1, t > 0).multiply(3.0) ** 2),
        "atleast_nd": lambda t: pg.sum(xpx.atleast_nd(t, ndim=3) ** 2),
        "cov": lambda t: pg.sum(xpx.cov(t) ** 2),
        "create_diagonal": lambda t: pg.sum(xpx.create_diagonal(t[0, :]) ** 2),
        "isclose": lambda t: pg.sum(pg.where(xpx.isclose(t, like(t, W)), t, 2 * t) ** 2),
        "kron": lambda t: pg.sum(xpx.kron(t, like(t, W)) ** 2),
        "nan_to_num": lambda t: pg.sum(xpx.nan_to_num(t) ** 2),
        "one_hot": lambda t: pg.sum(xpx.one_hot(like(t, np.array([0, 2, 1])), 4, dtype=pg.float64) * t),
        "pad": lambda t: pg.sum(xpx.pad(t, 2, constant_values=1.0) ** 2),
        "setdiff1d": lambda t: pg.sum(xpx.setdiff1d(pg.reshape(t, (-1,)), like(t, W)[0, :]) ** 2),
        "sinc": lambda t: pg.sum(xpx.sinc(t) ** 2),
    }

    def of(t):
        """A DataArray around a tensor."""
        return xarray.DataArray(t, dims=("x", "y"), coords={"x": [10, 20, 30]})

    XARRAY = {
        "arithmetic and mean": lambda t: (of(t) * 2 + of(t) ** 2).mean("x").sum().data,
        "selection and broadcasting": lambda t: (
            (of(t).isel(y=slice(0, 2)).transpose("y", "x") - of(t).mean("y")).sum("y").sel(x=20).data ** 2
        ),
        "where and max": lambda t: of(t).where(of(t) > 0, 0.0).max("y").sum().data,
    }

    @pytest.mark.parametrize("name", SPECIAL)
    def test_scipy_special(name, backend):
        check(SPECIAL[name], X)

    @pytest.mark.parametrize("name", ROTATIONS)
    def test_scipy_rotation(name, backend):
        check(ROTATIONS[name], VECTORS)

    @pytest.mark.parametrize("name", EINOPS)
    def test_einops(name, backend):
        check(EINOPS[name], X)

    @pytest.mark.parametrize("name", EXTRA)
    def test_array_api_extra(name, backend):
        check(EXTRA[name], X)

    @pytest.mark.parametrize("name", XARRAY)
    def test_xarray(name, backend):
        check(XARRAY[name], X)

    def test_xarray_keeps_the_tensor():
        assert isinstance(of(pg.tensor(X, requires_grad=True)).data, pg.Tensor)
