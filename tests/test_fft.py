"""Fourier transforms: values against NumPy, gradients against PyTorch and by their meaning."""

import numpy as np
import pytest

import polygrad as pg

RNG = np.random.default_rng(5)
ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
SEVERAL = ["fftn", "ifftn", "rfftn", "irfftn"]
REAL_IN, REAL_OUT = {"rfft", "rfftn", "ihfft"}, {"irfft", "irfftn", "hfft"}


def draw(shape, is_complex):
    x = RNG.uniform(-1, 1, shape)
    return x + 1j * RNG.uniform(-1, 1, shape) if is_complex else x


def gradients(ours, theirs, x, torch):
    """The gradient of a loss that tells all results apart, by us and by PyTorch."""
    mine, other = pg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(mine), theirs(other)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().resolve_conj().numpy(), atol=1e-12)
    w = np.arange(1.0, y.size + 1).reshape(y.shape)
    (pg.tensor(w) * pg.abs(y) ** 2 + pg.tensor(w[::-1].copy()) * pg.real(y)).sum().backward()
    (torch.tensor(w) * z.abs() ** 2 + torch.tensor(w[::-1].copy()) * z.real).sum().backward()
    return mine.grad, other.grad.resolve_conj().numpy()


@pytest.mark.parametrize("n, norm", [(None, "backward"), (3, "ortho"), (4, "forward"), (7, "backward"), (8, "ortho")])
@pytest.mark.parametrize("name", ONE)
def test_one_axis(name, n, norm, backend, torch):
    x = draw((5, 6), name not in REAL_IN)
    for axis in (0, -1) if backend.compiler is None else (-1,):  # a compiler takes seconds for each
        grad, wanted = gradients(
            lambda t, a=axis: getattr(pg.fft, name)(t, n=n, axis=a, norm=norm),
            lambda t, a=axis: getattr(torch.fft, name)(t, n=n, dim=a, norm=norm),
            x,
            torch,
        )
        np.testing.assert_allclose(grad.numpy(), wanted, atol=1e-10)


@pytest.mark.parametrize(
    "s, axes, norm",
    [(None, None, "ortho"), (None, (0, 2), "backward"), ((2, 5), (0, 2), "forward"), ((7, 3), (2, 1), "ortho")],
)
@pytest.mark.parametrize("name", SEVERAL)
def test_several_axes(name, s, axes, norm, backend, torch):
    x = draw((3, 4, 5), name not in REAL_IN)
    grad, wanted = gradients(
        lambda t: getattr(pg.fft, name)(t, s=s, axes=axes, norm=norm),
        lambda t: getattr(torch.fft, name)(t, s=s, dim=axes, norm=norm),
        x,
        torch,
    )
    np.testing.assert_allclose(grad.numpy(), wanted, atol=1e-10)


@pytest.mark.parametrize("name", ["fft", "ifft", "fftn", "ifftn", "irfft", "irfftn", "hfft"])
def test_a_real_operand_of_a_complex_transform_has_a_real_gradient(name, backend):
    x = pg.tensor(draw((4,), False), requires_grad=True)
    y = getattr(pg.fft, name)(x)
    assert y.dtype is (pg.float64 if name in REAL_OUT else pg.complex128)
    pg.abs(y).sum().backward()
    assert x.grad.dtype is pg.float64


def test_precision_is_kept(backend):
    x = pg.ones((4,), dtype="float32", requires_grad=True)
    y = pg.fft.rfft(x)
    assert y.dtype is pg.complex64
    pg.abs(y).sum().backward()
    assert x.grad.dtype is pg.float32
    assert pg.fft.irfft(y.detach()).dtype is pg.float32


def test_a_transform_and_its_inverse(backend):
    x = draw((3, 6), False)
    t = pg.tensor(x)
    for there, back, options in (
        (pg.fft.rfft, pg.fft.irfft, {}),
        (pg.fft.fft, pg.fft.ifft, {}),
        (pg.fft.ihfft, pg.fft.hfft, {}),
        (pg.fft.rfftn, pg.fft.irfftn, {}),
    ):
        np.testing.assert_allclose(pg.real(back(there(t, **options), **options)).numpy(), x, atol=1e-14)


def test_parsevals_theorem_makes_the_gradient_plain(backend):
    """The norm of the spectrum is the norm of the signal, so their gradients agree too."""
    x = pg.tensor(draw((7,), True), requires_grad=True)
    (pg.abs(pg.fft.fft(x, norm="ortho")) ** 2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.detach().numpy(), atol=1e-14)


def test_shifts(backend):
    for shape, axes in (((5,), None), ((4, 5), None), ((4, 5), 0), ((4, 5), (1,))):
        x = draw(shape, False)
        np.testing.assert_array_equal(pg.fft.fftshift(pg.tensor(x), axes=axes).numpy(), np.fft.fftshift(x, axes))
        np.testing.assert_array_equal(pg.fft.ifftshift(pg.tensor(x), axes=axes).numpy(), np.fft.ifftshift(x, axes))
    x = pg.tensor(draw((5,), False), requires_grad=True)
    (pg.fft.fftshift(x) * pg.arange(5, dtype="float64")).sum().backward()
    assert x.grad.tolist() == [2, 3, 4, 0, 1]


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_frequencies(n, backend):
    for name in ("fftfreq", "rfftfreq"):
        got = getattr(pg.fft, name)(n, d=0.1, dtype="float64")
        np.testing.assert_allclose(got.numpy(), getattr(np.fft, name)(n, 0.1), rtol=1e-15)
        assert getattr(pg.fft, name)(n).dtype is pg.float32


def test_empty_batches(backend):
    assert pg.fft.fft(pg.zeros((0, 4))).shape == (0, 4)
    assert pg.fft.rfft(pg.zeros((0, 5))).shape == (0, 3)
    assert pg.fft.irfft(pg.zeros((0, 3), dtype="complex64")).shape == (0, 4)
    assert pg.fft.irfftn(pg.zeros((3, 0, 4), dtype="complex64"), axes=(0, 2)).shape == (3, 0, 6)


def test_bad_input(backend):
    x = pg.ones((4,), dtype="complex128")
    with pytest.raises(TypeError):
        pg.fft.rfft(x)
    with pytest.raises(ValueError):
        pg.fft.hfft(x, norm="sideways")
    with pytest.raises(ValueError):
        pg.fft.fftfreq(0)
    with pytest.raises((IndexError, ValueError)):
        pg.fft.fft(x, axis=3)
