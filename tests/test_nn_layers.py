"""Layers of one input beside PyTorch's over their options: activations, norms, padding, convolution, pooling, images, tables."""

import math

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn
from polygrad.nn import functional as F
from twins import Whole, agree, close, compare, spread_over_backends, twins

IMAGE, LINE, BLOCK = (2, 4, 5, 6), (2, 4, 7), (2, 4, 3, 4, 3)

LAYERS = [
    # activations
    ("SELU()", (3, 4)),
    ("CELU(0.7)", (3, 4)),
    ("GELU()", (3, 4)),
    ("GELU('tanh')", (3, 4)),
    ("Mish()", (3, 4)),
    ("LogSigmoid()", (3, 4)),
    ("Softsign()", (3, 4)),
    ("Tanhshrink()", (3, 4)),
    ("Hardsigmoid()", (6, 7)),
    ("Hardswish()", (6, 7)),
    ("Hardshrink(0.3)", (3, 4)),
    ("Softshrink(0.3)", (3, 4)),
    ("Threshold(0.2, -1.5)", (3, 4)),
    ("PReLU()", (3, 4)),
    ("PReLU(4)", (3, 4, 2)),
    ("RReLU(0.1, 0.4).eval()", (3, 4)),
    ("GLU(1)", (3, 4, 2)),
    ("Softmin(1)", (3, 4)),
    ("Softmax2d()", IMAGE),
    # normalisation
    ("LayerNorm(6)", IMAGE),
    ("LayerNorm((5, 6), eps=1e-3)", IMAGE),
    ("LayerNorm(6, bias=False)", (3, 6)),
    ("LayerNorm((4, 5, 6), elementwise_affine=False)", IMAGE),
    ("RMSNorm(6)", IMAGE),
    ("RMSNorm((5, 6), eps=1e-2)", IMAGE),
    ("RMSNorm(6, elementwise_affine=False)", (3, 6)),
    ("GroupNorm(2, 4)", IMAGE),
    ("GroupNorm(4, 4, affine=False)", LINE),
    ("GroupNorm(1, 4, bias=False)", (3, 4)),
    ("InstanceNorm1d(4)", LINE),
    ("InstanceNorm1d(4, affine=True)", (4, 7)),
    ("InstanceNorm2d(4, affine=True, track_running_stats=True)", IMAGE),
    ("InstanceNorm3d(4, track_running_stats=True, momentum=0.3)", BLOCK),
    ("SyncBatchNorm(4)", IMAGE),
    ("SyncBatchNorm(4, momentum=None, bias=False)", (6, 4)),
    ("SyncBatchNorm(4, affine=False, track_running_stats=False)", LINE),
    ("LocalResponseNorm(2)", IMAGE),
    ("LocalResponseNorm(3, alpha=0.5, beta=0.6, k=2.0)", LINE),
    # borders
    *[(f"{kind}Pad1d((1, 2))", LINE) for kind in ("Zero", "Reflection", "Replication", "Circular")],
    *[(f"{kind}Pad2d((1, 2, 0, 3))", IMAGE) for kind in ("Zero", "Reflection", "Replication", "Circular")],
    *[(f"{kind}Pad3d(1)", BLOCK) for kind in ("Zero", "Reflection", "Replication", "Circular")],
    ("ConstantPad1d((2, -1), 3.5)", LINE),
    ("ConstantPad2d(1, 3.5)", IMAGE),
    ("ConstantPad3d((1, 0, 2, 1, 0, 1), -1)", BLOCK),
    # transposed convolution
    ("ConvTranspose1d(4, 3, 3)", LINE),
    ("ConvTranspose1d(4, 6, 4, stride=3, padding=2, output_padding=1, groups=2, dilation=2, bias=False)", LINE),
    ("ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1)", IMAGE),
    ("ConvTranspose2d(4, 4, (2, 3), stride=(1, 2), padding=(1, 0), groups=4)", (4, 5, 6)),
    ("ConvTranspose2d(4, 2, 2, stride=1, output_padding=1, dilation=2)", IMAGE),
    ("ConvTranspose3d(4, 2, 2, stride=2, padding=(0, 1, 0))", BLOCK),
    # pooling
    ("AdaptiveMaxPool1d(3)", LINE),
    ("AdaptiveMaxPool2d((2, None), return_indices=True)", IMAGE),
    ("AdaptiveMaxPool3d(2)", BLOCK),
    ("LPPool1d(4, 2)", LINE),
    ("LPPool2d(2, (2, 3), stride=1)", IMAGE),
    ("LPPool3d(2.0, 2, ceil_mode=True)", BLOCK),
    # images
    ("Unfold((2, 3), padding=1, stride=2)", IMAGE),
    ("Unfold(2, dilation=2)", (4, 5, 6)),
    ("Fold((4, 5), (2, 3), padding=(0, 1), stride=(1, 2))", (2, 12, 9)),
    ("Fold((3, 3), 2)", (8, 4)),
    ("PixelShuffle(2)", IMAGE),
    ("PixelUnshuffle(2)", (2, 3, 4, 6)),
    ("ChannelShuffle(2)", IMAGE),
    ("Upsample(scale_factor=2)", IMAGE),
    ("Upsample(size=(7, 4))", IMAGE),
    ("Upsample(size=9, mode='linear')", LINE),
    ("Upsample(scale_factor=(1.5, 2.3), mode='bilinear')", IMAGE),
    ("Upsample(scale_factor=1.7, mode='bilinear', recompute_scale_factor=True)", IMAGE),
    ("Upsample(size=(3, 9), mode='bicubic')", IMAGE),
    ("Upsample(size=(8, 9), mode='bicubic', align_corners=True)", IMAGE),
    ("Upsample(scale_factor=2, mode='trilinear', align_corners=True)", BLOCK),
    ("UpsamplingNearest2d(scale_factor=3)", IMAGE),
    ("UpsamplingBilinear2d(size=(8, 3))", IMAGE),
    # tables
    ("Embedding(7, 3)", Whole((2, 5), 0, 7)),
    ("Embedding(7, 3, padding_idx=2)", Whole((9,), 0, 7)),
    ("Embedding(7, 3, scale_grad_by_freq=True)", Whole((9,), 0, 4)),
    ("Embedding(7, 3, max_norm=1.0, norm_type=1.5)", Whole((4,), 0, 7)),
    ("EmbeddingBag(7, 3)", Whole((4, 5), 0, 7)),
    ("EmbeddingBag(7, 3, mode='max', padding_idx=1)", Whole((4, 5), 0, 4)),
    ("EmbeddingBag(7, 3, mode='sum', padding_idx=-1)", Whole((4, 5), 0, 7)),
]


# PyTorch computes with single-precision constants in these.
ROUGH = {"CELU(0.7)": 1e-7, "Hardsigmoid()": 1e-7}


@pytest.mark.parametrize(("backend", "expression", "operand"), spread_over_backends(LAYERS), indirect=["backend"])
def test_layer(backend, torch, expression, operand):
    modes = (True, True, False) if "track_running_stats=True" in expression else (".eval()" not in expression,)
    agree(expression, [operand], torch, modes, ROUGH.get(expression, 1e-9))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_response_norm_across_maps(size, torch):
    ours, theirs = nn.CrossMapLRN2d(size, 0.3, 0.6, 1.5), torch.nn.CrossMapLRN2d(size, 0.3, 0.6, 1.5)
    assert repr(ours) == repr(theirs)
    x = np.random.default_rng(1).standard_normal((2, 8, 2, 3))
    few = x[:, : (size + 1) // 2]  # so few channels that PyTorch's sums, which never lose the first one, are right
    close(ours(pg.tensor(few)), theirs(torch.tensor(few)))
    if size % 2:
        compare(ours, torch.nn.LocalResponseNorm(size, 0.3, 0.6, 1.5), [x.shape], torch)
    reach = (size - 1) // 2
    sums = np.stack([(x[:, max(0, c - reach) : c + reach + 1] ** 2).sum(axis=1) for c in range(8)], axis=1)
    assert np.abs(ours(pg.tensor(x)).numpy() - x / (1.5 + 0.3 / size * sums) ** 0.6).max() < 1e-12
    with pytest.raises(ValueError, match="Expected input to be 4D, got 3D"):
        ours(pg.ones((2, 3, 4)))


def test_batch_norms_become_synchronised_ones(torch):
    def made(space):
        inner = space.Sequential(space.BatchNorm1d(4, affine=False), space.InstanceNorm1d(4, affine=True))
        norm = space.BatchNorm2d(3, eps=1e-3, momentum=None, bias=False)
        return space.ModuleDict({"a": space.Conv2d(2, 3, 1), "b": norm, "c": inner}).eval()

    ours, theirs = made(nn), made(torch.nn)
    weight, mean = ours["b"].weight, ours["b"].running_mean
    ours, theirs = (s.SyncBatchNorm.convert_sync_batchnorm(m) for s, m in ((nn, ours), (torch.nn, theirs)))
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    assert ours["b"].weight is weight and ours["b"].running_mean is mean and not ours["b"].training
    assert type(nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(2))) is nn.SyncBatchNorm
    for shape, message in (((3,), "expected at least 2D input"), ((3, 0), "should be non-zero")):
        with pytest.raises(ValueError, match=message):
            nn.SyncBatchNorm(3)(pg.ones(shape))


def test_activations_in_place(torch):
    data = np.random.default_rng(2).standard_normal((3, 4))
    for name, arguments in [
        *(("relu_", ()), ("selu_", ()), ("elu_", (0.7,)), ("celu_", (0.7,)), ("leaky_relu_", (0.2,))),
        *(("hardtanh_", (-0.5, 0.3)), ("rrelu_", (0.1, 0.4)), ("threshold_", (0.2, -1.5))),
    ]:
        x, tx = pg.tensor(data), torch.tensor(data)
        assert getattr(F, name)(x, *arguments) is x
        getattr(torch.nn.functional, name)(tx, *arguments)
        close(x, tx)


PAIRS = [
    ("Bilinear(3, 4, 5)", (2, 6, 3), (2, 6, 4)),
    ("Bilinear(3, 4, 2, bias=False)", (3,), (4,)),
    ("CosineSimilarity()", (3, 4), (3, 4)),
    ("CosineSimilarity(dim=0)", (3, 4), (3, 4)),
    ("PairwiseDistance()", (3, 4), (3, 4)),
    ("PairwiseDistance(p=1.5, keepdim=True)", (3, 4), (3, 4)),
    ("EmbeddingBag(7, 3)", Whole((9,), 0, 7), np.array([0, 2, 2, 5])),
    ("EmbeddingBag(7, 3, mode='max')", Whole((9,), 0, 7), np.array([0, 2, 2, 5])),
    ("EmbeddingBag(7, 3, mode='sum', include_last_offset=True, padding_idx=3)", Whole((9,), 0, 7), np.array([0, 4, 9])),
    ("EmbeddingBag(7, 3, mode='sum')", Whole((3, 4), 0, 7), None, (3, 4)),
]


@pytest.mark.parametrize(("backend", "case"), spread_over_backends([(p,) for p in PAIRS]), indirect=["backend"])
def test_layer_of_several_inputs(backend, torch, case):
    agree(case[0], case[1:], torch)


FUNCTIONS = [
    ("normalize", [(3, 4)], {"p": 3.0, "dim": 0}),
    ("pdist", [(5, 3)], {"p": 1.5}),
    ("pdist", [(1, 3)], {}),
    ("interpolate", [IMAGE], {"size": (2, 3), "mode": "area"}),
    ("interpolate", [IMAGE], {"scale_factor": 1.4, "mode": "nearest-exact"}),
    ("interpolate", [IMAGE], {"size": (2, 9), "mode": "bilinear", "antialias": True}),
    ("interpolate", [(1, 2, 9, 8)], {"size": (4, 3), "mode": "bicubic", "antialias": True, "align_corners": False}),
    ("upsample", [LINE], {"scale_factor": 0.6}),
    ("softmin", [(3, 4)], {"dim": 0}),
    ("conv_transpose2d", [(2, 3, 4, 4), (3, 2, 2, 2), (2,)], {"stride": 2}),
    ("fractional_max_pool2d", [(2, 3, 7, 8)], {"kernel_size": 2, "output_size": (3, 4), "_random_samples": 2}),
    ("fractional_max_pool3d", [(2, 3, 5, 6, 7)], {"kernel_size": (2, 2, 3), "output_ratio": 0.5, "_random_samples": 3}),
]


@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")
@pytest.mark.parametrize(
    ("backend", "name", "specs", "options"), spread_over_backends(FUNCTIONS, 4), indirect=["backend"]
)
def test_function(backend, torch, name, specs, options):
    theirs = dict(options)
    if n := options.get("_random_samples"):
        samples = np.random.default_rng(5).random((2, 3, n))
        options, theirs = ({**options, "_random_samples": make(samples)} for make in (pg.tensor, torch.tensor))
    compare(
        lambda *xs: getattr(F, name)(*xs, **options),
        lambda *xs: getattr(torch.nn.functional, name)(*xs, **theirs),
        specs,
        torch,
    )


GRIDS = [
    *[
        (mode, border, align)
        for mode in ("bilinear", "bicubic")
        for border in ("zeros", "border", "reflection")
        for align in (False, True)
    ],
    ("nearest", "zeros", False),
    ("nearest", "reflection", True),
]


@pytest.mark.parametrize(("backend", "mode", "border", "align"), spread_over_backends(GRIDS), indirect=["backend"])
def test_grid_sample(backend, torch, mode, border, align):
    options = {"mode": mode, "padding_mode": border, "align_corners": align}
    compare(F.grid_sample, torch.nn.functional.grid_sample, [(2, 3, 4, 5), (2, 3, 2, 2)], torch, **options)
    if mode != "bicubic" and backend.name == "numpy":
        compare(F.grid_sample, torch.nn.functional.grid_sample, [(1, 2, 3, 4, 3), (1, 2, 2, 3, 3)], torch, **options)
    maps = [(2, 2, 3)] if border == "zeros" else [(2, 3, 4)]
    size = (2, 3, 4, 5) if border == "zeros" else (2, 3, 2, 4, 3)
    compare(
        lambda t: F.affine_grid(t, size, align), lambda t: torch.nn.functional.affine_grid(t, size, align), maps, torch
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_unpooling_undoes_pooling(torch, axes):
    shape = (2, 3, *(7, 6, 5)[:axes])
    for kernel, stride, padding in ((2, None, 0), (3, 2, 1)):

        def both(functional, x, n=axes, k=kernel, s=stride, p=padding, spatial=shape[2:]):
            y, places = getattr(functional, f"max_pool{n}d")(x, k, s, p, return_indices=True)
            return getattr(functional, f"max_unpool{n}d")(y, places, k, s, p, output_size=spatial)

        compare(lambda x: both(F, x), lambda x: both(torch.nn.functional, x), [shape], torch)
    one = pg.ones((1, 1, *[2] * axes))
    with pytest.raises(ValueError, match="invalid output_size"):
        getattr(F, f"max_unpool{axes}d")(one, one.long(), 2, output_size=[9] * axes)


KINKS = [
    *[("hardswish", x) for x in (-3.0, 3.0)],
    *[("hardsigmoid", x) for x in (-3.0, 3.0)],
    *[(name, x) for name in ("hardshrink", "softshrink") for x in (-0.5, 0.5)],
    *[(name, 0.0) for name in ("celu", "selu", "softsign", "logsigmoid", "mish", "gelu", "rrelu")],
]


@pytest.mark.parametrize(("name", "at"), KINKS)
def test_slopes_at_kinks_are_those_of_pytorch(torch, name, at):
    x, tx = (
        pg.tensor(at, dtype=pg.float64, requires_grad=True),
        torch.tensor(at, dtype=torch.float64, requires_grad=True),
    )
    getattr(F, name)(x).backward()
    getattr(torch.nn.functional, name)(tx).backward()
    assert math.isclose(x.grad.item(), tx.grad.item(), rel_tol=1e-7)


def test_output_size_of_a_transposed_convolution(torch):
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4))
    ours, theirs = twins("ConvTranspose2d(2, 3, 3, stride=2, padding=1)", torch)
    for size in ((7, 7), (8, 7), (1, 3, 8, 8)):
        close(ours(pg.tensor(x), output_size=size), theirs(torch.tensor(x), output_size=size))
    with pytest.raises(ValueError, match="requested an output size"):
        ours(pg.tensor(x), output_size=(9, 7))


# --------------------------------------------------------------------------------------------------------------- chance


def test_dropouts():
    pg.manual_seed(3)
    x = pg.randn(40, 50, 3, 3, dtype=pg.float64).requires_grad_()
    y = nn.Dropout2d(0.25)(x)
    kept = (y != 0).reshape(40, 50, 9)
    assert bool(pg.all(pg.all(kept, axis=2) == pg.any(kept, axis=2)))
    assert abs(kept[:, :, 0].double().mean().item() - 0.75) < 0.04
    y.sum().backward()
    assert set(np.unique(x.grad.numpy()).round(6)) == {0.0, round(4 / 3, 6)}
    for layer in (nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3)):
        y = layer(pg.randn(400, 60, 2, 2, dtype=pg.float64))
        assert abs(y.mean().item()) < 0.02 and abs(y.std().item() - 1) < 0.02
        assert layer.eval()(x) is x
    for layer, shape in ((nn.Dropout1d(0.5), (4, 5)), (nn.Dropout3d(0.5), (2, 3, 2, 2, 2))):
        assert layer(pg.ones(shape)).shape == shape
    with pytest.raises(RuntimeError, match="Expected 2D or 3D input"):
        F.dropout1d(pg.ones((3,)))


def test_random_slopes_and_gumbel_softmax():
    pg.manual_seed(3)
    x = pg.full((20000,), -1.0, dtype=pg.float64, requires_grad=True)
    y = nn.RReLU(0.1, 0.5)(x)
    assert -0.5 <= y.min().item() < -0.49 and abs(y.mean().item() + 0.3) < 0.005
    y.sum().backward()
    assert pg.allclose(x.grad, -y.detach())
    logits = pg.log(pg.tensor([0.1, 0.3, 0.6], dtype=pg.float64)).expand((20000, 3)).clone().requires_grad_()
    hard = F.gumbel_softmax(logits, tau=0.7, hard=True)
    assert pg.allclose(hard.sum(dim=-1), pg.ones(20000, dtype=pg.float64))
    assert np.abs(hard.mean(dim=0).detach().numpy() - [0.1, 0.3, 0.6]).max() < 0.02
    (hard * pg.tensor([1.0, 2.0, 3.0], dtype=pg.float64)).sum().backward()
    assert np.abs(logits.grad.numpy()).max() > 0


@pytest.mark.parametrize(
    ("layer", "fan"),
    [
        (lambda: nn.ConvTranspose2d(8, 100, 3, groups=2), 50 * 9),
        (lambda: nn.ConvTranspose1d(40, 60, 5), 60 * 5),
        (lambda: nn.Conv3d(16, 40, 2), 16 * 8),
        (lambda: nn.Bilinear(50, 20, 30), 50),
    ],
)
def test_initial_values_are_uniform_by_the_fan(layer, fan):
    pg.manual_seed(0)
    made = layer()
    bound = 1 / math.sqrt(fan)
    for p in (made.weight, made.bias):
        assert np.abs(p.detach().numpy()).max() <= bound
    weight = made.weight.detach().numpy()
    assert abs(weight.mean()) < 0.03 * bound and abs(weight.std() * math.sqrt(3) / bound - 1) < 0.03


def test_initial_tables():
    pg.manual_seed(0)
    weight = nn.Embedding(2000, 50, padding_idx=3).weight.detach().numpy()
    assert not weight[3].any()
    assert abs(weight.mean()) < 0.02 and abs(weight.std() - 1) < 0.02
    given = pg.ones((3, 2))
    table = nn.Embedding.from_pretrained(given)
    assert not table.weight.requires_grad and table(pg.tensor([1])).tolist() == [[1, 1]]
    assert nn.EmbeddingBag.from_pretrained(given, freeze=False, mode="sum")(pg.tensor([[0, 1]])).tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Embedding(3, 2)(pg.tensor([3])), IndexError, "index out of range"),
        (lambda: nn.Embedding(3, 2)(pg.tensor([1.0])), TypeError, "integer dtype"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ValueError, "Padding_idx must be within"),
        (lambda: nn.EmbeddingBag(3, 2)(pg.tensor([1])), ValueError, "offsets has to be a 1D Tensor"),
        (lambda: nn.EmbeddingBag(3, 2, mode="most")(pg.tensor([[1]])), ValueError, "mode has to be one of"),
        (lambda: nn.LayerNorm(3)(pg.ones((2, 4))), RuntimeError, r"expected input with shape \[\*, 3\]"),
        (lambda: nn.GroupNorm(2, 3), ValueError, "must be divisible by num_groups"),
        (lambda: nn.InstanceNorm1d(2)(pg.ones((1, 2, 1))), ValueError, "more than 1 spatial element"),
        (lambda: nn.ConvTranspose1d(4, 2, 3)(pg.ones((1, 3, 5))), RuntimeError, "to have 4 channels, but got 3"),
        (
            lambda: nn.ConvTranspose1d(2, 2, 3, output_padding=1)(pg.ones((1, 2, 5))),
            RuntimeError,
            "output padding must be",
        ),
        (lambda: nn.PixelShuffle(2)(pg.ones((1, 3, 2, 2))), RuntimeError, "divisible by the square of upscale_factor"),
        (lambda: F.interpolate(pg.ones((1, 1, 2, 2)), 4, mode="linear"), ValueError, "no mode 'linear'"),
        (lambda: F.interpolate(pg.ones((1, 1, 2, 2))), ValueError, "only one of size or scale_factor"),
        (lambda: nn.PReLU(3)(pg.ones((2, 4))), RuntimeError, "Found parameter numbers = 3"),
        (lambda: F.glu(pg.ones((2, 3))), RuntimeError, "Halving dimension must be even"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
