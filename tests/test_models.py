"""Residual networks: torchvision's names and sizes, and the values and gradients of PyTorch's own layers."""

import hashlib

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn
from polygrad.models import ResNet, resnet18, resnet34, resnet50, resnet101, resnet152
from polygrad.models.resnet import BasicBlock


def twin_of_resnet18(torch, num_classes):
    """The same network of PyTorch's layers, under torchvision's names."""

    def norm(channels):
        return torch.nn.BatchNorm2d(channels)

    def conv(*args, **options):
        return torch.nn.Conv2d(*args, bias=False, **options)

    class Block(torch.nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.conv1, self.bn1 = conv(before, after, 3, stride=stride, padding=1), norm(after)
            self.conv2, self.bn2 = conv(after, after, 3, padding=1), norm(after)
            self.downsample = None
            if stride != 1 or before != after:
                self.downsample = torch.nn.Sequential(conv(before, after, 1, stride=stride), norm(after))

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = conv(3, 64, 7, stride=2, padding=3), norm(64)
            widths = (64, 64, 128, 256, 512)
            for i in range(1, 5):
                first = Block(widths[i - 1], widths[i], 1 if i == 1 else 2)
                self.add_module(f"layer{i}", torch.nn.Sequential(first, Block(widths[i], widths[i], 1)))
            self.fc = torch.nn.Linear(512, num_classes)

        def forward(self, x):
            x = torch.nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
            for i in range(1, 5):
                x = getattr(self, f"layer{i}")(x)
            return self.fc(x.mean((2, 3)))

    return Net().double()


class fast_start:
    """Leave convolutions at zero while a network is built whose weights are loaded anyway."""

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(nn.init, "kaiming_normal_", lambda tensor, **options: nn.init.zeros_(tensor))
        self.patch.setattr(nn.init, "uniform_", lambda tensor, *bounds: nn.init.zeros_(tensor))

    def __exit__(self, *exc):
        self.patch.undo()


def relative(ours, theirs):
    """The largest difference over the largest element."""
    a, b = ours.detach().numpy(), theirs.detach().numpy()
    assert a.shape == b.shape
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.fixture(scope="module")
def reference():
    """PyTorch's weights, output and gradients for one batch, computed once for all backends."""
    from conftest import require_torch

    torch = require_torch()
    torch.manual_seed(0)
    model = twin_of_resnet18(torch, 1000)
    weights = {k: v.detach().clone().numpy() for k, v in model.state_dict().items()}
    rng = np.random.default_rng(0)
    image, g = rng.standard_normal((2, 3, 64, 64)), rng.standard_normal((2, 1000))
    x = torch.tensor(image, requires_grad=True)
    y = model(x)
    y.backward(torch.tensor(g))
    return weights, image, g, model, x, y


def test_resnet18_agrees_with_pytorch(backend, reference):
    weights, image, g, theirs, tx, ty = reference
    with fast_start():
        ours = resnet18().double()
    assert list(ours.state_dict()) == list(weights) and len(weights) == 122
    ours.load_state_dict(weights)
    x = pg.tensor(image, requires_grad=True)
    y = ours(x)
    y.backward(pg.tensor(g))
    assert relative(y, ty) < 1e-10
    assert relative(x.grad, tx.grad) < 1e-10
    gradients = dict(theirs.named_parameters())
    found = {name: relative(p.grad, gradients[name].grad) for name, p in ours.named_parameters()}
    assert len(found) == 62 and max(found.values()) < 1e-10
    for (name, value), their_value in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        assert relative(value, their_value) < 1e-10, name


@pytest.mark.parametrize(
    ("make", "parameters", "tensors", "keys"),
    [
        (resnet18, 11_689_512, 62, 122),
        (resnet34, 21_797_672, 110, 218),
        (resnet50, 25_557_032, 161, 320),
        (resnet101, 44_549_160, 314, 626),
        (resnet152, 60_192_808, 467, 932),
    ],
)
def test_sizes_are_those_of_torchvision(make, parameters, tensors, keys):
    with fast_start():
        model = make()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(list(model.parameters())) == tensors
    assert len(model.state_dict()) == keys


def test_names_and_shapes_are_those_of_torchvision():
    with fast_start():
        shapes = {k: v.shape for k, v in resnet18().state_dict().items()}
        wide = {k: v.shape for k, v in resnet50(num_classes=7).state_dict().items()}
    assert list(shapes)[:7] == [
        "conv1.weight",
        *(f"bn1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        "layer1.0.conv1.weight",
    ]
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer2.0.downsample.0.weight"] == (128, 64, 1, 1)
    assert shapes["layer4.1.bn2.num_batches_tracked"] == ()
    assert shapes["fc.weight"] == (1000, 512) and list(shapes)[-1] == "fc.bias"
    assert wide["layer3.0.conv2.weight"] == (256, 256, 3, 3)
    assert wide["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert wide["fc.weight"] == (7, 2048)


def digest(model):
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


class TinyNet(nn.Module):
    """A stem and one stage of a residual network, whose weights are drawn as those of the whole."""

    def __init__(self):
        super().__init__()
        net = ResNet.__new__(ResNet)
        nn.Module.__init__(net)
        net._norm_layer, net.inplanes, net.dilation, net.groups, net.base_width = nn.BatchNorm2d, 16, 1, 1, 64
        self.stage = net._stage(BasicBlock, 32, 2, 2)
        self.fc = nn.Linear(32, 4)


def initial(backend):
    with pg.use_backend(backend):
        pg.manual_seed(1)
        return digest(TinyNet())


def test_initial_weights_are_the_same_on_every_backend(backend):
    assert initial(backend.name) == initial("numpy")


def test_initial_distribution():
    pg.manual_seed(0)
    weight = TinyNet().stage[0].conv2.weight.detach().numpy()
    assert abs(weight.std() - np.sqrt(2 / (32 * 9))) < 2e-3
    with fast_start():
        model = resnet18(zero_init_residual=True)
        plain = resnet18()
    assert not model.layer3[1].bn2.weight.detach().numpy().any()
    assert plain.layer3[1].bn2.weight.detach().numpy().all()


def test_weights_come_from_a_file(tmp_path):
    with fast_start():
        source = resnet18(num_classes=5)
        state = {k: v + i for i, (k, v) in enumerate(source.state_dict().items())}
        path = tmp_path / "resnet18.safetensors"
        pg.io.save_file(state, path)
        model = resnet18(weights=path)
    assert model.fc.bias.shape == (5,)
    assert all(pg.all(v == state[k]) for k, v in model.state_dict().items())
    for wrong in ("DEFAULT", True, tmp_path / "absent.safetensors"):
        with pytest.raises(ValueError, match="there is no such file|neither the path of a file nor a name"):
            resnet18(weights=wrong)


def test_freezing_and_a_new_last_layer():
    with fast_start():
        model = resnet18()
    model.requires_grad_(False)
    model.fc = nn.Linear(512, 10)
    model.eval()
    loss = nn.functional.cross_entropy(model(pg.ones((1, 3, 32, 32))), pg.tensor([1]))
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["fc.weight", "fc.bias"]


def test_wrong_options():
    with pytest.raises(ValueError, match="3-element"):
        resnet18(replace_stride_with_dilation=(True,))
    with pytest.raises(ValueError, match="groups=1 and base_width=64"):
        BasicBlock(8, 8, groups=2)
    with pytest.raises(NotImplementedError, match="Dilation"):
        BasicBlock(8, 8, dilation=2)


def test_dilated_stages_keep_the_size():
    with fast_start():
        model = resnet50(replace_stride_with_dilation=(False, True, True), num_classes=2).eval()
    x = pg.ones((1, 3, 32, 32))
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    assert model.layer4(model.layer3(model.layer2(model.layer1(x)))).shape == (1, 2048, 4, 4)
