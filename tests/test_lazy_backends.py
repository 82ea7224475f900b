"""MLX and Dask, which compute when they are looked at. MLX runs the conformance suite too; for Dask it takes too long."""

from importlib.util import find_spec

import numpy as np
import pytest

import polygrad as pg
from polygrad.core import new_tensor
from polygrad.core.backend import declared
from polygrad_conformance import suite
from polygrad_conformance.ops import PRECISE, accepted
from polygrad_conformance.report import standard_names
from polygrad_conformance.samples import Sample, as_host, cases_of, inexact, placed

UNITS = {u.name: u for u in suite.units()}


def lazy(*names):
    """A parameter for each of these backends, skipped where its library is not installed."""
    return [
        pytest.param(n, marks=pytest.mark.skipif(find_spec(n) is None, reason=f"{n} is not installed (extra `{n}`)"))
        for n in names
    ]


@pytest.fixture(params=lazy("mlx", "dask"))
def other(request):
    """Either backend, as the default for new tensors."""
    with pg.use_backend(request.param) as chosen:
        yield chosen


def pulled(op, case, backend):
    """The results of an op and the gradients of their sum, weighted by place, as host arrays."""
    sample = Sample.of(op, case, (accepted(op, PRECISE) or ["int64"])[0])
    xs = [placed(x, backend).requires_grad_() for x in sample.active]
    ys = [y for y in sample.function(backend)(xs) if inexact(y)]
    total = 0
    for y in ys:
        weights = np.cos(np.arange(y.size, dtype=np.float64)).reshape(y.shape)
        y = pg.real(y) + pg.imag(y) if y.is_complex() else y
        total = total + pg.sum(y * new_tensor(backend.asarray(weights), backend))
    total.backward()
    return [as_host(t) for t in [*ys, *(x.grad for x in xs)]]


@pytest.mark.parametrize("name", sorted(declared.ops.keys() & set(standard_names())))
@pytest.mark.parametrize("backend", lazy("dask"))
def test_values_and_gradients_are_those_of_numpy(backend, name):
    op = declared.ops[name]
    got, wanted = (pulled(op, cases_of(op)[0], pg.get_backend(n)) for n in (backend, "numpy"))
    for g, w in zip(got, wanted, strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "unit", ["bits of initial weights of Linear", "x[1:3] = v", "x[mask] = v", "x[::-2]", "x[[2, 0, 2]]"]
)
def test_a_unit_of_the_suite_passes(other, unit):
    outcome = suite.run(UNITS[unit], suite.subject(other.name))
    assert outcome.checked and not outcome.failures, list(map(str, outcome.failures))


def test_nothing_is_computed_before_somebody_looks():
    dask = pytest.importorskip("dask", reason="dask is not installed (extra `dask`)")
    computed = []
    with (
        pg.use_backend("dask"),
        dask.config.set(scheduler=lambda graph, keys, **kw: computed.append(keys) or dask.get(graph, keys)),
    ):
        x = pg.tensor(np.eye(4), requires_grad=True)
        y = pg.sum(pg.linalg.inv(x @ x.mT + 2) ** 2)
        y.backward()
        assert not computed
        assert x.grad.shape == (4, 4) and not computed
        assert x.grad.tolist() and computed
        before = len(computed)
        assert x.detach()[x.detach() > 0].shape == (4,) and len(computed) > before  # a size that depends on values


def test_double_precision_is_double(other, double):
    """MLX's own sin, cos, exp and logaddexp have seven digits for float64."""
    x = pg.tensor([0.1, -3.7, 40.0, 300.0, 0.0, -0.0])
    for name in ("sin", "cos", "exp", "tanh", "log1p"):
        y = getattr(pg, name)(pg.abs(x) if name == "log1p" else x)
        wanted = getattr(np, name)(np.abs(x.numpy()) if name == "log1p" else x.numpy())
        np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-12, atol=1e-13)
    y = pg.logaddexp(x, x[::-1])
    np.testing.assert_allclose(y.numpy(), np.logaddexp(x.numpy(), x.numpy()[::-1]), rtol=1e-14)


@pytest.mark.parametrize("backend", lazy("mlx"))
def test_what_mlx_lacks_is_said(backend):
    with pg.use_backend(backend):
        with pytest.raises(TypeError, match="mlx.*no complex128"):
            pg.zeros(2, dtype=pg.complex128)
        with pytest.raises(TypeError, match="complex128"):
            pg.asarray(np.zeros(2, dtype=np.complex128))
        with pytest.raises(NotImplementedError, match="eigenvectors of complex matrices"):
            pg.linalg.eig(pg.eye(2, dtype=pg.complex64))
        with pytest.raises(RuntimeError, match="no device 'elsewhere'"):
            pg.zeros(2, device="elsewhere")


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # a mean of nothing, when Dask computes it
def test_empty_reductions(other):
    """MLX's own give what is in the memory, or take minutes."""
    x = pg.zeros((0, 3))
    assert pg.sum(x, axis=0).tolist() == [0, 0, 0] and pg.prod(x).item() == 1
    assert pg.all(x).item() is True and pg.any(x).item() is False
    assert pg.isnan(pg.std(x)).item() and pg.max(x, axis=1).shape == (0,)
    with pytest.raises(ValueError):
        pg.max(x).item()


def test_host_arrays_keep_their_precision(other):
    for dtype in ("float64", "int64", "uint8", "bool", "complex64"):
        x = np.asarray([1, 0, 1]).astype(dtype)
        assert pg.asarray(x).dtype is getattr(pg, dtype)
        np.testing.assert_array_equal(pg.asarray(x).numpy(), x)
    assert pg.asarray(np.asarray(0.1)).item() == 0.1
