"""Functions called as PyTorch's users call them, axes by position and under PyTorch's names: values and gradients beside PyTorch's."""

import inspect

import pytest

import polygrad as pg
from conftest import require_torch
from test_methods import both, compare, compare_gradients, run

# `lib` is polygrad or torch; the other names are tensors of test_methods.
CALLS = """
lib.sum(x, 1); lib.sum(x, 1, True); lib.sum(x, (0, 1)); lib.mean(x, 0); lib.mean(x, 1, keepdim=True); lib.prod(x, 1)
lib.all(b, 1); lib.any(b, 0, True); lib.argmax(x, 1); lib.argmin(x, 0, True); lib.count_nonzero(n, 1)
lib.cumsum(x, 1); lib.cumprod(x, 0); lib.logsumexp(x, 1); lib.logsumexp(x, 1, True); lib.softmax(x, 1); lib.log_softmax(x, 0)
lib.stack([x, y], 1); lib.stack((x, y), 0); lib.cat([x, y], 1); lib.cat((x, y), -1); lib.concat((x, y), 1); lib.chunk(x, 2, 1)
lib.flip(x, [0]); lib.flip(x, (0, 1)); lib.flip(x, dims=(1,)); lib.roll(x, 1, 0); lib.roll(x, (1, 2), (0, 1))
lib.roll(x, shifts=1, dims=0); lib.permute(q, (2, 0, 1)); lib.permute(q, dims=(1, 0, 2)); lib.transpose(q, 0, 2); lib.t(x)
lib.tril(x, -1); lib.triu(x, 1); lib.triu(x, diagonal=1); lib.tril(x, diagonal=-1); lib.diff(x, 1, 0); lib.diff(x, 2)
lib.argsort(x, 1); lib.argsort(x, 1, True); lib.unsqueeze(x, 1); lib.squeeze(one, 0); lib.unbind(x, 1); lib.numel(x)
lib.index_select(x, 1, i); lib.take_along_dim(x, wide % 3, 0); lib.repeat_interleave(x, 2, 1); lib.masked_fill(x, b, -1.0)
lib.masked_select(x, b); lib.amax(x, 1); lib.amin(x, (0, 1)); lib.norm(x); lib.norm(x, 2, 1); lib.norm(x, p=1, dim=0)
lib.outer(v, v); lib.ger(v, v); lib.trace(x[:, :3]); lib.cross(x[:, :3], y[:, :3], 1); lib.det(x[:, :3]); lib.inverse(x[:, :3])
lib.slogdet(x[:, :3]); lib.pinverse(x); lib.matrix_power(x[:, :3], 3); lib.matrix_exp(x[:, :3]); lib.block_diag(x, v)
lib.tensordot(x, y, 2); lib.tensordot(x, y, ([1], [1])); lib.tensordot(x, y, dims=([0], [0])); lib.linalg.vector_norm(x, 3)
lib.linalg.vector_norm(x, 1, 0); lib.linalg.vector_norm(x, 2, 0, True); lib.linalg.matrix_norm(x, 1); lib.linalg.svdvals(x)
lib.linalg.svd(x, False)[1]; lib.linalg.qr(x, "reduced")[1]; lib.fft.fft(z, 3); lib.fft.rfft(x, 3, 0); lib.fft.fftn(z, (2, 3))
lib.fft.fftn(z, dim=(0,)); lib.fft.ifft(z, 4, 1, 'ortho'); lib.fft.fftshift(x, (1,)); lib.fft.ifftshift(x, dim=0)
lib.is_complex(z); lib.is_floating_point(n); lib.is_tensor(x); lib.is_tensor(2); lib.promote_types(lib.int32, lib.float16)
""".replace("\n", ";").split(";")
CALLS = [call.strip() for call in CALLS if call.strip()]


@pytest.mark.parametrize("call", CALLS)
def test_a_function_does_what_torch_does(call):
    torch = require_torch()
    mine, others = both()
    ours, theirs = run(call, mine | {"lib": pg}), run(call, others | {"lib": torch})
    compare(ours, theirs, call)
    compare_gradients(ours, theirs, mine, others)


@pytest.mark.parametrize("name", ["max", "min", "sort", "std", "var"])
def test_where_torch_means_another_thing_the_axis_must_be_named(name):
    x = pg.tensor([[1.0, 2.0]])
    with pytest.raises(TypeError, match="give what follows the operands by name"):
        getattr(pg, name)(x, 1)
    getattr(pg, name)(x, axis=1)


def test_signatures_stay_the_standards():
    parameters = inspect.signature(pg.sum).parameters
    assert parameters["axis"].kind is inspect.Parameter.KEYWORD_ONLY
    assert list(parameters) == ["x", "axis", "dtype", "keepdims", "dim", "keepdim"]


@pytest.mark.parametrize(
    "call", ["pg.sum(x, 1, axis=0)", "pg.sum(x, 1, dim=0)", "pg.logsumexp(x, 1, axis=0)", "pg.sort(x, 0, 1)"]
)
def test_an_axis_given_twice_is_refused(call):
    with pytest.raises(TypeError):
        run(call, {"pg": pg, "x": pg.ones(2, 2)})


def test_data_has_the_place_that_torch_gives_it():
    from polygrad.utils.data import DataLoader, TensorDataset

    batches = list(DataLoader(TensorDataset(pg.arange(5)), batch_size=2))
    assert [b[0].tolist() for b in batches] == [[0, 1], [2, 3], [4]]
    assert pg.utils.data.DataLoader is pg.data.DataLoader and pg.utils.data.__all__ == pg.data.__all__
