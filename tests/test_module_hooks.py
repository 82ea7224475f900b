"""Hooks of modules beside PyTorch's: around backward, around state_dict and load_state_dict; extra state."""

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn

DATA = np.random.default_rng(2).standard_normal((2, 3))


class Pair(nn.Module):
    """Two inputs, a number, two outputs of different dtypes."""

    def forward(self, x, scale, y, flag=True):
        return x * y, (x * scale).float()


def run(space, make, double, register):
    """Gradients and what hooks saw, for a small network of one library."""
    net = space.Sequential(space.Linear(3, 2), space.Tanh())
    net[0].load_state_dict({"weight": make(np.arange(6.0).reshape(2, 3)), "bias": make(np.ones(2))})
    net = net.double()
    seen = []
    handles = register(net, seen)
    x = make(DATA)
    x.requires_grad_()
    net(x).sum().backward()
    for handle in handles:
        handle.remove()
    assert all(not module._backward_hooks and not module._backward_pre_hooks for module in net.modules())
    return [g.numpy() for g in (x.grad, net[0].weight.grad)], seen


def watching(net, seen):
    def note(kind):
        return lambda module, *gs: seen.append(
            (kind, type(module).__name__, [[None if g is None else g.numpy() for g in part] for part in gs])
        )

    return [
        *(m.register_full_backward_hook(note("after")) for m in net.modules()),
        *(m.register_full_backward_pre_hook(note("before")) for m in net.modules()),
    ]


def replacing(net, seen):
    return [
        net[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 3,)),
        net[1].register_full_backward_hook(lambda m, gi, go: seen.append((go[0] + 0).numpy()), prepend=True),
        net[0].register_full_backward_pre_hook(lambda m, go: (go[0] + 1,)),
        net[0].register_full_backward_hook(lambda m, gi, go: seen.append((go[0] + 0).numpy())),
    ]


@pytest.mark.parametrize("register", [watching, replacing])
def test_backward_hooks(backend, torch, register):
    found = run(nn, pg.tensor, pg.float64, register)
    expected = run(torch.nn, torch.tensor, torch.float64, register)

    def same(a, b):
        if isinstance(b, list | tuple):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                same(x, y)
        elif isinstance(b, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)
        else:
            assert a == b

    same(found, expected)


def test_backward_hook_of_several_inputs_and_outputs(backend):
    seen = []
    module = Pair()
    module.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x = pg.tensor([1.0, 2.0], dtype=pg.float64, requires_grad=True)
    y = pg.tensor([3.0, 4.0], requires_grad=True)
    product, scaled = module(x, 2.0, y, flag=False)
    assert product.dtype is pg.float64 and scaled.dtype is pg.float32
    product.sum().backward()
    ((gi, go),) = seen
    assert gi[0].tolist() == [3, 4] and gi[1] is None and gi[2].tolist() == [1, 2] and gi[2].dtype is pg.float32
    assert go[0].tolist() == [1, 1] and go[1].tolist() == [0, 0]
    assert x.grad.tolist() == [3, 4] and y.grad.tolist() == [1, 2]


def test_backward_hook_without_inputs_that_require_grad():
    seen = []
    layer = nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    layer(pg.ones((1, 2))).sum().backward()
    assert seen == [((None,), [[1.0]])]
    with pg.no_grad():
        layer(pg.ones((1, 2)))
    assert len(seen) == 1


def test_backward_hooks_of_higher_orders(torch):
    def run(space, x):
        layer = space.nn.Tanh()
        layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 2,))
        (g,) = space.autograd.grad(layer(x), x, create_graph=True)
        (h,) = space.autograd.grad(g, x)
        return g.item(), h.item()

    ours = run(pg, pg.tensor(0.5, dtype=pg.float64, requires_grad=True))
    theirs = run(torch, torch.tensor(0.5, dtype=torch.float64, requires_grad=True))
    assert ours == pytest.approx(theirs, rel=1e-14)


@pytest.mark.parametrize("wrong", [lambda m, gi, go: (gi[0], gi[0]), lambda m, gi, go: (None,)])
def test_wrong_gradients_of_hooks(wrong):
    layer = nn.Tanh()
    layer.register_full_backward_hook(wrong)
    y = layer(pg.ones(1, requires_grad=True))
    with pytest.raises(RuntimeError, match="backward hook returned gradients"):
        y.backward()


# ---------------------------------------------------------------------------------------------------------------- state


class Counter(nn.Module):
    """A module with state that is no tensor."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(pg.ones(2))
        self.notes = {"n": 0}

    def get_extra_state(self):
        return dict(self.notes)

    def set_extra_state(self, state):
        self.notes = dict(state)


def test_extra_state():
    net = nn.Sequential(Counter(), nn.Linear(1, 1))
    net[0].notes["n"] = 5
    state = net.state_dict()
    assert list(state) == ["0.weight", "0._extra_state", "1.weight", "1.bias"]
    other = nn.Sequential(Counter(), nn.Linear(1, 1))
    other.load_state_dict(state)
    assert other[0].notes == {"n": 5}
    del state["0._extra_state"]
    with pytest.raises(RuntimeError, match='Missing key.*"0._extra_state"'):
        other.load_state_dict(state)


def test_state_hooks(torch):
    def run(space, make):
        net = space.Sequential(space.Linear(2, 1), space.Linear(1, 1))
        calls = []
        net[1].register_state_dict_pre_hook(lambda m, prefix, keep: calls.append(("pre", prefix, keep)))
        net[1].register_state_dict_post_hook(lambda m, state, prefix, meta: state.__delitem__(prefix + "bias"))
        state = net.state_dict()
        names = list(state)

        def rename(module, state, prefix, *rest):
            calls.append(("load", prefix, len(rest)))
            if prefix + "kernel" in state:
                state[prefix + "weight"] = state.pop(prefix + "kernel")

        def forgive(module, keys):
            calls.append(("post", list(keys.missing_keys)))
            keys.missing_keys.clear()

        net[1].register_load_state_dict_pre_hook(rename)
        net.register_load_state_dict_post_hook(forgive)
        state["1.kernel"] = state.pop("1.weight")
        found = net.load_state_dict(state)
        assert "1.kernel" in state
        return names, calls, list(found.missing_keys), list(found.unexpected_keys)

    assert run(nn, pg.tensor) == run(torch.nn, torch.tensor)


def test_a_hook_that_mends_nothing_leaves_the_error():
    net = nn.Linear(2, 1)
    net.register_load_state_dict_post_hook(lambda m, keys: None)
    with pytest.raises(RuntimeError, match="Missing key"):
        net.load_state_dict({"weight": pg.ones((1, 2))})


def test_an_overridden_state_dict_is_used():
    class Named(nn.Linear):
        def state_dict(self, *, destination=None, prefix="", keep_vars=False):
            found = super().state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)
            found[prefix + "size"] = self.in_features
            return found

    assert nn.Sequential(Named(2, 1)).state_dict()["0.size"] == 2


def test_to_empty():
    net = nn.Linear(2, 1)
    weight = net.weight
    assert (
        net.to_empty(device="cpu") is net and net.weight is weight and weight.shape == (1, 2) and weight.requires_grad
    )
