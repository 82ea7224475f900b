"""Modules and layers: what a Module does with its members, and every layer beside PyTorch's over its options."""

import copy
import hashlib
import math
import pickle

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn
from polygrad.nn import functional as F

RNG = np.random.default_rng(3)

# ----------------------------------------------------------------------------------------------------- layers

LAYERS = [
    ("Linear(4, 3)", (5, 4)),
    ("Linear(4, 3, bias=False)", (2, 5, 4)),
    ("Linear(4, 3)", (4,)),
    ("Identity(7, unused=True)", (2, 3)),
    ("Conv1d(4, 6, 3, stride=2, padding=1)", (2, 4, 9)),
    ("Conv1d(4, 6, 4, padding='same', dilation=3)", (2, 4, 9)),
    ("Conv1d(4, 6, 3, padding=2, padding_mode='circular')", (4, 9)),
    ("Conv2d(3, 4, 3)", (2, 3, 6, 5)),
    ("Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False)", (2, 4, 7, 6)),
    ("Conv2d(3, 6, 1, stride=2)", (2, 3, 5, 5)),
    ("Conv2d(4, 4, 3, groups=4, padding='valid')", (1, 4, 5, 5)),
    ("Conv2d(2, 3, 3, padding=(1, 2), padding_mode='reflect')", (2, 2, 5, 6)),
    ("Conv2d(2, 3, (2, 3), padding='same', padding_mode='replicate')", (2, 2, 5, 6)),
    ("Conv3d(2, 4, (1, 2, 3), stride=(1, 2, 1), padding=(0, 1, 1))", (1, 2, 3, 4, 5)),
    ("BatchNorm1d(4)", (6, 4)),
    ("BatchNorm1d(4, momentum=None)", (3, 4, 5)),
    ("BatchNorm2d(3, eps=1e-3, momentum=0.3)", (4, 3, 2, 3)),
    ("BatchNorm2d(3, affine=False)", (4, 3, 2, 3)),
    ("BatchNorm2d(3, track_running_stats=False)", (4, 3, 2, 3)),
    ("BatchNorm2d(3, bias=False)", (4, 3, 2, 3)),
    ("BatchNorm3d(2)", (3, 2, 2, 2, 3)),
    ("MaxPool1d(3, stride=2, padding=1)", (2, 3, 8)),
    ("MaxPool2d(2)", (2, 3, 6, 7)),
    ("MaxPool2d(3, 2, 1, ceil_mode=True)", (2, 3, 6, 7)),
    ("MaxPool2d((2, 3), stride=(1, 2), dilation=(2, 1))", (3, 6, 7)),
    ("MaxPool3d(2, stride=1)", (1, 2, 3, 4, 3)),
    ("AvgPool1d(3, stride=2, padding=1)", (2, 3, 8)),
    ("AvgPool2d(2)", (2, 3, 6, 7)),
    ("AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)", (2, 3, 6, 7)),
    ("AvgPool2d(3, 2, 1, ceil_mode=True)", (2, 3, 6, 7)),
    ("AvgPool2d((2, 1), divisor_override=3)", (3, 6, 7)),
    ("AvgPool3d(2, padding=1)", (1, 2, 4, 4, 3)),
    ("AdaptiveAvgPool1d(3)", (2, 3, 8)),
    ("AdaptiveAvgPool2d((1, 1))", (2, 3, 6, 7)),
    ("AdaptiveAvgPool2d((4, None))", (3, 6, 7)),
    ("AdaptiveAvgPool3d(2)", (1, 2, 3, 5, 4)),
    ("Flatten()", (2, 3, 4)),
    ("Flatten(0, 1)", (2, 3, 4)),
    ("Unflatten(1, (2, 3))", (2, 6, 4)),
    ("ReLU()", (3, 4)),
    ("LeakyReLU(0.2)", (3, 4)),
    ("ELU(0.7)", (3, 4)),
    ("ReLU6()", (3, 4)),
    ("Hardtanh(-0.5, 0.6)", (3, 4)),
    ("Sigmoid()", (3, 4)),
    ("Tanh()", (3, 4)),
    ("SiLU()", (3, 4)),
    ("Softplus(2.0, 1.5)", (3, 4)),
    ("Softmax(1)", (3, 4)),
    ("LogSoftmax(0)", (3, 4)),
    ("Dropout(0.0)", (3, 4)),
    ("Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 2))", (3, 4)),
]


def close(ours, theirs, bound=1e-10):
    """Assert that a tensor of ours is PyTorch's, relative to its largest element."""
    a, b = ours.detach().numpy(), theirs.detach().numpy()
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    assert np.abs(a - b).max(initial=0) <= bound * max(1, np.abs(b).max(initial=0))


def build(expression, space):
    """A layer of ours or of PyTorch's, in float64."""
    return eval(f"nn.{expression}", {"nn": space}).double()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize(("expression", "shape"), LAYERS)
def test_layer_agrees_with_pytorch(backend, torch, expression, shape):
    theirs = build(expression, torch.nn)
    ours = build(expression, nn)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    for mode in (True, True, False):
        ours.train(mode)
        theirs.train(mode)
        data = RNG.standard_normal(shape)
        x, tx = pg.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
        y, ty = ours(x), theirs(tx)
        close(y, ty)
        g = RNG.standard_normal(tuple(ty.shape))
        y.backward(pg.tensor(g))
        ty.backward(torch.tensor(g))
        close(x.grad, tx.grad)
        gradients = {name: p.grad for name, p in theirs.named_parameters()}
        assert [name for name, _ in ours.named_parameters()] == list(gradients)
        for name, p in ours.named_parameters():
            close(p.grad, gradients[name])
    for (name, value), (their_name, their_value) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert name == their_name
        close(value, their_value)


def test_max_pool_gives_the_indices_of_pytorch(backend, torch):
    data = RNG.standard_normal((2, 3, 6, 7))
    values, indices = F.max_pool2d(pg.tensor(data), 3, 2, 1, ceil_mode=True, return_indices=True)
    tv, ti = torch.nn.functional.max_pool2d(torch.tensor(data), 3, 2, 1, ceil_mode=True, return_indices=True)
    close(values, tv)
    assert indices.tolist() == ti.tolist()


@pytest.mark.parametrize(
    ("border", "mode"),
    [
        ((1, 2), "constant"),
        ((1, 2, 3, 0), "reflect"),
        ((2, 1, 1, 3), "replicate"),
        ((1, 1), "circular"),
        ((-1, 2), "constant"),
    ],
)
def test_pad_takes_the_order_of_pytorch(torch, border, mode):
    data = RNG.standard_normal((2, 3, 5, 6))[..., : 6 if len(border) > 2 else 6]
    data = data if len(border) > 2 else data[0]
    close(F.pad(pg.tensor(data), border, mode=mode), torch.nn.functional.pad(torch.tensor(data), border, mode=mode))


@pytest.mark.parametrize(
    ("name", "at", "slope"),
    [("relu6", 6.0, 0), ("hardtanh", 1.0, 0), ("elu", 0.0, 1), ("leaky_relu", 0.0, 0.01), ("relu", 0.0, 0)],
)
def test_kinks(name, at, slope):
    x = pg.tensor(at, dtype=pg.float64, requires_grad=True)
    getattr(F, name)(x).backward()
    assert x.grad.item() == slope


def test_batch_norm_has_second_derivatives(backend):
    x = pg.tensor(RNG.standard_normal((4, 3, 2)), requires_grad=True)
    direction = pg.tensor(RNG.standard_normal((4, 3, 2)))
    layer = nn.BatchNorm1d(3, dtype=pg.float64)
    layer.weight.data = pg.tensor(RNG.standard_normal(3))

    def gradient(at):
        return pg.autograd.grad((layer(at) ** 3).sum(), at, create_graph=True)[0]

    (hessian_product,) = pg.autograd.grad((gradient(x) * direction).sum(), x)
    h = 1e-5
    ends = [gradient((x.detach() + s * h * direction).requires_grad_()).detach() for s in (1, -1)]
    assert pg.abs(hessian_product - (ends[0] - ends[1]) / (2 * h)).max().item() < 1e-6


def test_batch_norm_keeps_its_moments_in_evaluation_and_after_an_error():
    layer = nn.BatchNorm2d(3)
    before = {k: v.tolist() for k, v in layer.state_dict().items()}
    layer.eval()(pg.ones((2, 3, 4, 4)))
    layer.train()
    for shape, error, message in [
        ((2, 3, 4), ValueError, r"expected 4D input \(got 3D input\)"),
        ((2, 4, 3, 3), RuntimeError, "running_mean should contain 4 elements not 3"),
        ((1, 3, 1, 1), ValueError, "Expected more than 1 value per channel when training"),
    ]:
        with pytest.raises(error, match=message):
            layer(pg.ones(shape))
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == before


def test_dropout(backend):
    pg.manual_seed(5)
    x = pg.ones((200, 100), dtype=pg.float64, requires_grad=True)
    layer = nn.Dropout(0.3)
    y = layer(x)
    kept = (y != 0).double().mean().item()
    assert abs(kept - 0.7) < 0.02
    assert np.allclose(np.unique(y.detach().numpy()), [0, 1 / 0.7], rtol=1e-4)
    assert abs(y.mean().item() - 1) < 0.02
    y.sum().backward()
    assert pg.all(x.grad == y.detach())
    assert layer.eval()(x) is x
    assert F.dropout(x, 1.0).sum().item() == 0
    with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1"):
        F.dropout(x, 1.5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: nn.Linear(4, 3)(pg.ones((2, 5))),
            RuntimeError,
            r"mat1 and mat2 shapes cannot be multiplied \(2x5 and 4x3\)",
        ),
        (lambda: nn.Linear(4, 3)(pg.ones(())), RuntimeError, "cannot be multiplied"),
        (
            lambda: nn.Conv2d(3, 6, 5)(pg.ones((1, 4, 8, 8))),
            RuntimeError,
            r"weight of size \[6, 3, 5, 5\], expected input\[1, 4, 8, 8\] to have 3 channels, but got 4 channels instead",
        ),
        (
            lambda: nn.Conv2d(3, 6, 5)(pg.ones((8, 8))),
            RuntimeError,
            r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d",
        ),
        (
            lambda: nn.Conv2d(3, 6, 5)(pg.ones((1, 3, 4, 4))),
            RuntimeError,
            "Kernel size can't be greater than actual input size",
        ),
        (
            lambda: nn.Conv2d(3, 6, 3, stride=0)(pg.ones((1, 3, 4, 4))),
            RuntimeError,
            "stride should be greater than zero",
        ),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "in_channels must be divisible by groups"),
        (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"), ValueError, "not supported for strided convolutions"),
        (
            lambda: nn.Conv2d(3, 4, (3, 3, 3)),
            RuntimeError,
            "expected kernel_size to be a single integer or a list of 2 values",
        ),
        (
            lambda: F.conv2d(pg.ones((1, 3, 4, 4)), pg.ones((2, 3, 1, 1)), pg.ones(3)),
            RuntimeError,
            "expected bias to be 1-dimensional with 2 elements",
        ),
        (
            lambda: nn.MaxPool2d(2, padding=2)(pg.ones((1, 1, 4, 4))),
            RuntimeError,
            "pad should be at most half of effective kernel size",
        ),
        (lambda: F.pad(pg.ones((1, 3)), (1,)), RuntimeError, "Padding length must be divisible by 2"),
        (lambda: nn.Dropout(-0.1), ValueError, "dropout probability"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ------------------------------------------------------------------------------------------------------ initial values


def network():
    """One of each layer with parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv1d(4, 6, 5), nn.Conv3d(2, 2, 2), nn.Linear(100, 50)
    )


def digest(module):
    """SHA-256 over all parameters and buffers."""
    found = hashlib.sha256()
    for name, value in module.state_dict().items():
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


def initialised(backend):
    with pg.use_backend(backend):
        pg.manual_seed(7)
        model = network()
        w = model.get_parameter("5.weight")
        for fill in (nn.init.xavier_normal_, nn.init.kaiming_normal_, nn.init.xavier_uniform_, nn.init.normal_):
            fill(w)
        model.add_module("normal", nn.Linear(40, 30, dtype=pg.float64))
        nn.init.trunc_normal_(model.normal.weight, std=0.02)
        model.add_module("cut", nn.Linear(20, 30))
        nn.init.trunc_normal_(model.cut.weight, 0.1, 1.0, -0.5, 1.5)
        model.add_module("tail", nn.Linear(20, 30))
        nn.init.trunc_normal_(model.tail.weight, 0.0, 1.0, 1.0, 4.0)
        return digest(model)


def test_one_seed_gives_the_same_initial_weights_on_every_backend(backend):
    assert initialised(backend.name) == initialised("numpy")
    pg.manual_seed(8)
    assert digest(network()) != digest(network())


def test_initial_distributions():
    pg.manual_seed(0)
    layer = nn.Linear(100, 2000)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    assert np.abs(w).max() <= 0.1 and abs(w.std() - 0.1 / math.sqrt(3)) < 1e-3
    assert np.abs(b).max() <= 0.1 and abs(b.std() - 0.1 / math.sqrt(3)) < 3e-3
    conv = nn.Conv2d(16, 300, 3, groups=2).weight.detach().numpy()
    assert np.abs(conv).max() <= 1 / math.sqrt(72) and abs(conv.std() * math.sqrt(3 * 72) - 1) < 0.02
    x = pg.empty((300, 200))
    for fill, std in [
        (lambda: nn.init.kaiming_normal_(x, mode="fan_out", nonlinearity="relu"), math.sqrt(2 / 300)),
        (lambda: nn.init.kaiming_uniform_(x), math.sqrt(2 / 200)),
        (lambda: nn.init.xavier_normal_(x, gain=2), 2 * math.sqrt(2 / 500)),
        (lambda: nn.init.xavier_uniform_(x), math.sqrt(2 / 500)),
        (lambda: nn.init.normal_(x, 3, 0.5), 0.5),
        (lambda: nn.init.uniform_(x, -1, 2), math.sqrt(9 / 12)),
        (lambda: nn.init.trunc_normal_(x), 0.8796256610),
        (lambda: nn.init.trunc_normal_(x, 0, 1, 1, 4), 0.4432),
        (lambda: nn.init.constant_(x, 4), 0),
        (lambda: nn.init.eye_(x), math.sqrt(1 / 300 - 1 / 300**2)),
    ]:
        assert fill() is x
        assert abs(x.numpy().std() - std) < 0.02 * std + 1e-6
    assert nn.init.trunc_normal_(x, 0, 1, 1, 4).min().item() >= 1
    assert nn.init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain("cube")
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_normal_(pg.ones(3))


def test_orthogonal_dirac_and_sparse(backend, torch):
    pg.manual_seed(1)
    for shape in ((5, 3), (3, 5), (4, 2, 3)):
        x = nn.init.orthogonal_(pg.empty(shape, dtype=pg.float64), gain=2.0)
        m = x.numpy().reshape(shape[0], -1)
        product = m @ m.T if m.shape[0] < m.shape[1] else m.T @ m
        assert np.abs(product - 4 * np.eye(len(product))).max() < 1e-12
    for shape, groups in (((4, 2, 3), 2), ((3, 4, 2, 3), 1), ((4, 2, 3, 1, 3), 2)):
        ours = nn.init.dirac_(pg.empty(shape, dtype=pg.float64), groups)
        close(ours, torch.nn.init.dirac_(torch.empty(shape, dtype=torch.float64), groups))
    x = nn.init.sparse_(pg.empty((200, 30), dtype=pg.float64), 0.33, std=0.5).numpy()
    assert (np.count_nonzero(x == 0, axis=0) == 66).all() and abs(x[x != 0].std() - 0.5) < 0.03
    with pytest.raises(ValueError, match="2 or more dimensions"):
        nn.init.orthogonal_(pg.ones(3))


def test_initialising_a_parameter_records_nothing():
    p = nn.Parameter(pg.zeros((3, 3)))
    nn.init.normal_(p)
    assert p.is_leaf and p.requires_grad and p.grad_fn is None


# ------------------------------------------------------------------------------------------------------------- modules


class Net(nn.Module):
    """Members of every kind."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.scale = nn.Parameter(pg.ones(3))
        self.register_buffer("count", pg.zeros(()))
        self.register_buffer("cache", pg.zeros(2), persistent=False)
        self.held = nn.Buffer(pg.ones(1))
        self.rest = nn.ModuleList([nn.Linear(3, 3), nn.ReLU()])
        self.absent = None

    def forward(self, x):
        x = self.first(x) * self.scale
        for layer in self.rest:
            x = layer(x)
        return x


NAMES = ["scale", "first.weight", "first.bias", "rest.0.weight", "rest.0.bias"]


def test_members():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert [n for n, _ in net.named_buffers()] == ["count", "cache", "held"]
    assert list(net.state_dict()) == ["scale", "count", "held", *NAMES[1:]]
    assert [n for n, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert [n for n, _ in net.named_children()] == ["first", "rest"]
    assert [n for n, _ in net.named_parameters(prefix="net", recurse=False)] == ["net.scale"]
    assert net.get_submodule("rest.0") is net.rest[0]
    assert net.get_parameter("rest.0.weight") is net.rest[0].weight
    assert net.get_buffer("count") is net.count
    net.set_submodule("rest.1", replaced := nn.Tanh(), strict=True)
    assert net.rest[1] is replaced
    with pytest.raises(AttributeError, match="has no module `9`"):
        net.set_submodule("rest.9", replaced, strict=True)
    for find in (net.get_submodule, net.get_parameter, net.get_buffer):
        with pytest.raises(AttributeError):
            find("rest.7")
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'nothing'"):
        net.nothing  # noqa: B018
    assert "scale" in dir(net) and "first" in dir(net)
    net.twin = net.first
    assert len(list(net.parameters())) == 5
    assert len(list(net.named_parameters(remove_duplicate=False))) == 7
    del net.twin
    assert not hasattr(net, "twin")


def test_assignment():
    net = Net()
    with pytest.raises(TypeError, match="cannot assign 'Tensor' as parameter 'scale'"):
        net.scale = pg.ones(3)
    with pytest.raises(TypeError, match="cannot assign 'int' as child module 'first'"):
        net.first = 3
    with pytest.raises(TypeError, match="cannot assign 'int' as buffer 'count'"):
        net.count = 3
    net.count = pg.ones(())
    assert net.get_buffer("count").item() == 1
    net.scale = None
    assert "scale" not in net.state_dict()
    net.scale = nn.Parameter(pg.zeros(3))
    assert [n for n, _ in net.named_parameters()] == NAMES
    net.first = nn.Linear(2, 3, bias=False)
    assert [n for n, _ in net.named_modules()][1] == "first"
    for name, kind in [("a.b", "."), ("", "empty")]:
        with pytest.raises(KeyError, match=kind):
            net.register_parameter(name, None)
    with pytest.raises(KeyError, match="attribute 'forward' already exists"):
        net.register_buffer("forward", None)
    with pytest.raises(TypeError, match="is not a Module subclass"):
        net.add_module("x", 3)

    class Early(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(pg.ones(1))

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early()


def test_an_error_inside_a_property_is_not_hidden():
    class Broken(nn.Module):
        @property
        def size(self):
            return self.missing_member

    with pytest.raises(AttributeError, match="missing_member"):
        Broken().size  # noqa: B018


def test_parameters_and_buffers():
    p = nn.Parameter(pg.tensor([1.0, 2.0]))
    assert p.requires_grad and p.is_leaf and repr(p) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    assert type(p * 2) is pg.Tensor and type(p.data * 1) is pg.Tensor
    for twin in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(twin) is nn.Parameter and twin.requires_grad and twin.tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(pg.tensor([1]))
    assert not nn.Parameter(pg.tensor([1]), requires_grad=False).requires_grad
    b = nn.Buffer(pg.ones(2), persistent=False)
    for twin in (copy.deepcopy(b), pickle.loads(pickle.dumps(b))):
        assert type(twin) is nn.Buffer and twin.persistent is False and twin.tolist() == [1, 1]
    base = pg.ones(2)
    q = nn.Parameter(base)
    with pg.no_grad():
        q += 1
    assert base.tolist() == [1, 1] and q.tolist() == [2, 2]


def test_modes_and_freezing():
    net = Net()
    assert all(not m.training for m in net.eval().modules())
    assert all(m.training for m in net.train().modules())
    with pytest.raises(ValueError, match="boolean"):
        net.train("yes")
    net.requires_grad_(False)
    assert not net(pg.ones((1, 2))).requires_grad
    net.requires_grad_()
    net(pg.ones((1, 2))).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all(float(p.grad.sum()) == 0 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Linear", "ReLU", "ModuleList", "Net"]


def test_conversion(backend):
    net = Net()
    net(pg.ones((1, 2))).sum().backward()
    net.register_buffer("steps", pg.tensor(2**60 + 1))
    parameters = list(net.parameters())
    assert net.double() is net
    assert all(p.dtype is pg.float64 and p.grad.dtype is pg.float64 for p in net.parameters())
    assert net.steps.item() == 2**60 + 1
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
    net.to("float32")
    assert net.count.dtype is pg.float32 and net.steps.dtype is pg.int64
    net.to(pg.ones(1, dtype=pg.float64))
    assert net.scale.dtype is pg.float64
    with pytest.raises(TypeError, match="only accepts floating point or complex dtypes"):
        net.to(pg.int32)
    with pytest.raises(TypeError, match="not a data type"):
        net.to(dtype="nonsense")
    assert net.scale.dtype is pg.float64
    net.to("numpy")
    assert {x.backend for x in [*net.parameters(), *net.buffers()]} == {"numpy"}
    assert all(p.requires_grad and p.grad.backend == "numpy" for p in net.parameters())
    net.to(backend.name, pg.float32)
    net(pg.ones((1, 2))).sum().backward()
    assert net.scale.grad.backend == backend.name


def test_copies():
    pg.manual_seed(0)
    net = Net()
    x = pg.ones((1, 2))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert digest(twin) == digest(net)
        assert twin(x).tolist() == net(x).tolist()
        with pg.no_grad():
            twin.scale += 1
        assert net.scale.tolist() == [1, 1, 1]


def test_state_dict_is_of_its_moment():
    net = Net()
    state = net.state_dict()
    assert not any(v.requires_grad for v in state.values())
    with pg.no_grad():
        net.scale += 1
    assert state["scale"].tolist() == [1, 1, 1]
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert list(net.state_dict(prefix="net."))[0] == "net.scale"
    assert repr(net.load_state_dict(state)) == "<All keys matched successfully>"
    assert net.scale.tolist() == [1, 1, 1] and net.scale.requires_grad


def test_loading_checks_everything_first(backend):
    net = Net()
    before = digest(net)
    good = {k: np.zeros(v.shape) for k, v in net.state_dict().items()}
    bad = {**good, "scale": np.zeros(4), "first.bias": np.zeros((3, 1)), "more": 0}
    del bad["held"]
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(bad)
    assert str(caught.value).splitlines() == [
        "Error(s) in loading state_dict for Net:",
        '\tMissing key(s) in state_dict: "held". ',
        '\tUnexpected key(s) in state_dict: "more". ',
        "\tsize mismatch for scale: copying a param with shape (4,) from checkpoint, the shape in current model is (3,).",
        "\tsize mismatch for first.bias: copying a param with shape (3, 1) from checkpoint, the shape in current model is (3,).",
    ]
    with pytest.raises(RuntimeError, match="expected a Tensor or an array"):
        net.load_state_dict({**good, "scale": "three"})
    with pytest.raises(RuntimeError, match="would drop the imaginary part"):
        net.load_state_dict({**good, "first.bias": np.zeros(3, complex)})
    with pytest.raises(TypeError, match="dict-like"):
        net.load_state_dict([1])
    assert digest(net) == before
    found = net.load_state_dict({"scale": [5.0, 6.0, 7.0], "more": 1}, strict=False)
    assert found.unexpected_keys == ["more"] and "held" in found.missing_keys
    assert net.scale.tolist() == [5, 6, 7] and net.scale.dtype is pg.float32 and net.scale.backend == backend.name
    net.load_state_dict(good)
    assert all(not v.any() for v in (p.detach().numpy() for p in net.parameters()))


def test_loading_may_take_over_the_tensors():
    net = Net()
    state = {k: v.double() for k, v in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    assert net.scale.dtype is pg.float64 and isinstance(net.scale, nn.Parameter) and net.scale.requires_grad
    assert net.count.dtype is pg.float64


def test_old_checkpoints_of_batch_norm_load():
    layer = nn.BatchNorm1d(2)
    state = layer.state_dict()
    del state["num_batches_tracked"]
    layer.load_state_dict(state)


def test_forward_hooks():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    seen = []
    handles = [
        layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,)),
        layer.register_forward_pre_hook(lambda m, args, kwargs: seen.append(kwargs), with_kwargs=True, prepend=True),
        layer.register_forward_hook(lambda m, args, y: y + 1),
        layer.register_forward_hook(lambda m, args, kwargs, y: seen.append(y.item()), with_kwargs=True, prepend=True),
    ]
    assert layer(pg.tensor([3.0])).item() == 7
    assert seen == [{}, 6.0]
    for handle in handles:
        handle.remove()
    with layer.register_forward_hook(lambda m, args, y: seen.append("always"), always_call=True):
        with pytest.raises(RuntimeError):
            layer(pg.ones(2))
    assert seen[-1] == "always"
    assert layer(pg.tensor([3.0])).item() == 3


# ---------------------------------------------------------------------------------------------------------- containers


def test_sequential():
    layers = [nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3)]
    net = nn.Sequential(*layers)
    assert len(net) == 3 and net[0] is layers[0] and net[-1] is layers[2] and list(net) == layers
    assert list(net[1:].state_dict()) == ["2.weight", "2.bias"]
    del net[1]
    assert list(dict(net.named_children())) == ["0", "1"]
    net.append(nn.Tanh()).insert(0, nn.Flatten())
    assert [type(m).__name__ for m in net] == ["Flatten", "Linear", "Linear", "Tanh"]
    assert type(net.pop(0)) is nn.Flatten
    net[-1] = nn.ReLU()
    assert [type(m).__name__ for m in net + nn.Sequential(nn.Tanh())] == ["Linear", "Linear", "ReLU", "Tanh"]
    assert list(nn.Sequential({"in": layers[0], "out": layers[2]}).state_dict())[2] == "out.weight"
    with pytest.raises(IndexError, match="out of range"):
        net[5]
    with pytest.raises(TypeError, match="is not a Module subclass"):
        nn.Sequential(3)


def test_lists_and_dicts(torch):
    for space, t in ((nn, pg), (torch.nn, torch)):
        modules = space.ModuleList([space.Linear(2, 2), space.ReLU()]).extend([space.ReLU()])
        modules += [space.Tanh()]
        assert [type(m).__name__ for m in modules[1:]] == ["ReLU", "ReLU", "Tanh"]
        assert list(dict(modules[1:].named_children())) == ["0", "1", "2"]
        named = space.ModuleDict({"a": space.ReLU(), "b": space.Linear(1, 1)})
        named["c"] = space.Tanh()
        assert list(named) == ["a", "b", "c"] and "a" in named and len(named) == 3
        assert type(named.pop("a")).__name__ == "ReLU" and list(named.keys()) == ["b", "c"]
        row = space.ParameterList([t.ones(2), space.Parameter(t.zeros(3))]).append(t.ones(1))
        assert len(row) == 3 and all(isinstance(p, space.Parameter) for p in row) and row[-1].shape == (1,)
        assert list(row.state_dict()) == ["0", "1", "2"]
        table = space.ParameterDict({"x": t.ones(2), "y": t.ones(3)})
        table["z"] = t.ones(4)
        assert list(table.keys()) == ["x", "y", "z"] and len(list(table.parameters())) == 3
        assert table.pop("x").shape == (2,) and "x" not in table and len(table) == 2
    ours, theirs = (
        repr(space.ModuleDict({"m": space.ModuleList([space.Linear(2, 2), space.Linear(2, 2), space.ReLU()])}))
        for space in (nn, torch.nn)
    )
    assert ours == theirs
