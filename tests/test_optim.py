"""SGD beside PyTorch's, and what every optimizer shares."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn, optim

RNG = np.random.default_rng(5)
OPTIONS = [
    dict(zip(("momentum", "dampening", "weight_decay", "nesterov", "maximize"), values, strict=True))
    for values in itertools.product((0, 0.9), (0, 0.1), (0, 0.01), (False, True), (False, True))
    if not (values[3] and (not values[0] or values[1]))
]


def trajectory(space, make, steps, seed=0):
    """The parameters of a small regression after every few steps."""
    rng = np.random.default_rng(seed)
    data, target = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))
    w, b = (space.tensor(rng.standard_normal(s), requires_grad=True) for s in ((4, 3), (3,)))
    unused = space.tensor(np.ones(2), requires_grad=True)
    optimizer = make([w, b, unused])
    found = []
    for i in range(steps):
        optimizer.zero_grad()
        loss = ((space.tensor(data) @ w + b - space.tensor(target)) ** 2).mean()
        loss.backward()
        optimizer.step()
        if i % 7 == 0:
            found.append(np.concatenate([p.detach().numpy().reshape(-1) for p in (w, b, unused)]))
    return np.stack(found)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(f"{k}={v}" for k, v in o.items() if v) or "plain")
def test_fifty_steps_of_sgd(backend, torch, options):
    ours = trajectory(pg, lambda params: optim.SGD(params, lr=0.03, **options), 50)
    theirs = trajectory(torch, lambda params: torch.optim.SGD(params, lr=0.03, **options), 50)
    assert np.abs(ours - theirs).max() <= 1e-12 * np.abs(theirs).max()


def test_groups_have_options_of_their_own(torch):
    def make(space):
        def of(params):
            groups = [{"params": params[:1], "lr": 0.1, "nesterov": True}, {"params": params[1:], "weight_decay": 0.1}]
            return space.SGD(groups, lr=0.01, momentum=0.8)

        return of

    ours, theirs = trajectory(pg, make(optim), 10), trajectory(torch, make(torch.optim), 10)
    assert np.abs(ours - theirs).max() <= 1e-12 * np.abs(theirs).max()


def test_states_pass_hooks(torch):
    def run(space):
        p = space.tensor([1.0, 2.0], requires_grad=True)
        optimizer = space.optim.SGD([p], lr=0.5, momentum=0.9)
        seen = []
        handles = [
            optimizer.register_state_dict_pre_hook(lambda o: seen.append(("before", o is optimizer))),
            optimizer.register_state_dict_post_hook(lambda o, s: seen.append(("after", sorted(s)))),
            optimizer.register_state_dict_post_hook(lambda o, s: {**s, "note": 3}),
            optimizer.register_load_state_dict_pre_hook(lambda o, s: seen.append(("load", s.pop("note")))),
            optimizer.register_load_state_dict_pre_hook(
                lambda o, s: {**s, "param_groups": [{**g, "lr": 0.25} for g in s["param_groups"]]}, prepend=True
            ),
            optimizer.register_load_state_dict_post_hook(lambda o: seen.append(("loaded", o.param_groups[0]["lr"]))),
        ]
        state = optimizer.state_dict()
        optimizer.load_state_dict(state)
        assert "note" in state
        for handle in handles:
            handle.remove()
        assert "note" not in optimizer.state_dict() and len(seen) == 4
        return seen

    assert run(pg) == run(torch)


def parameters():
    return [nn.Parameter(pg.tensor([1.0, 2.0])), nn.Parameter(pg.tensor([3.0]))]


def stepped(params, optimizer):
    """One step on the gradient of the sum of squares."""
    optimizer.zero_grad()
    sum((p**2).sum() for p in params).backward()
    optimizer.step()


def test_a_step_changes_the_box_and_nothing_else(backend):
    p = nn.Parameter(pg.tensor([1.0, 2.0]))
    before, view = p.detach(), p.data
    node = (p * 2).grad_fn
    optimizer = optim.SGD([p], lr=0.5)
    stepped([p], optimizer)
    assert p.tolist() == [0, 0] and p.is_leaf and p.requires_grad
    assert before.tolist() == [1, 2] and view.tolist() == [1, 2]
    assert node is not None


def test_the_buffer_of_an_unshared_parameter_is_reused():
    with pg.use_backend("numpy"):
        p = nn.Parameter(pg.ones(1000))
        optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
        stepped([p], optimizer)
        place = id(p._array), id(optimizer.state[p]["momentum_buffer"]._array)
        for _ in range(3):
            stepped([p], optimizer)
        assert place == (id(p._array), id(optimizer.state[p]["momentum_buffer"]._array))


def test_zero_grad():
    params = parameters()
    optimizer = optim.SGD(params)
    params[0].sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert params[0].grad.tolist() == [0, 0] and params[1].grad is None
    optimizer.zero_grad()
    assert params[0].grad is None


def test_closure_and_hooks():
    params = parameters()
    optimizer = optim.SGD(params, lr=0.1)
    seen = []
    handles = [
        optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before")),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after")),
    ]

    def closure():
        seen.append("closure")
        optimizer.zero_grad()
        loss = (params[0] ** 2).sum()
        loss.backward()
        return loss

    with pg.no_grad():
        assert optimizer.step(closure).item() == 5
    assert seen == ["before", "closure", "after"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(seen) == 3


def test_state_dict_round_trip(backend, torch):
    params = parameters()
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9)
    stepped(params, optimizer)
    state = optimizer.state_dict()
    theirs = torch.optim.SGD(
        [torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)], lr=0.1, momentum=0.9
    )
    assert [g["params"] for g in state["param_groups"]] == [g["params"] for g in theirs.state_dict()["param_groups"]]
    assert list(state["state"]) == [0, 1] and list(state["state"][0]) == ["momentum_buffer"]
    saved = [p.detach() for p in params]
    stepped(params, optimizer)
    after = [p.tolist() for p in params]
    assert state["state"][0]["momentum_buffer"].tolist() == [2, 4]

    again = [nn.Parameter(p) for p in saved]
    second = optim.SGD(again, lr=3.0)
    second.load_state_dict(pickle.loads(pickle.dumps(state)))
    assert second.param_groups[0]["lr"] == 0.1
    stepped(again, second)
    assert [p.tolist() for p in again] == after

    with pg.use_backend("numpy"):
        moved = [nn.Parameter(p.to("numpy", pg.float64)) for p in saved]
        third = optim.SGD(moved)
        third.load_state_dict(state)
        assert third.state[moved[0]]["momentum_buffer"].backend == "numpy"
        assert third.state[moved[0]]["momentum_buffer"].dtype is pg.float64
        stepped(moved, third)
        assert np.allclose(moved[0].tolist(), after[0])


def test_a_wrong_state_changes_nothing():
    params = parameters()
    optimizer = optim.SGD(params, lr=0.1)
    for other in (optim.SGD(params[:1]), optim.SGD([{"params": params[:1]}, {"params": params[1:]}])):
        with pytest.raises(ValueError, match="loaded state dict"):
            optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_copies_and_repr():
    params = parameters()
    optimizer = optim.SGD(params, lr=0.1, momentum=0.5)
    stepped(params, optimizer)
    model, twin = copy.deepcopy((params, optimizer))
    stepped(model, twin)
    stepped(params, optimizer)
    assert [p.tolist() for p in model] == [p.tolist() for p in params]
    assert "momentum: 0.5" in repr(optimizer) and repr(optimizer).startswith("SGD (\nParameter Group 0\n")


def test_named_parameters_and_tensor_rates():
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.named_parameters(), lr=pg.tensor(0.5))
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    model(pg.ones((1, 2))).sum().backward()
    before = model.bias.item()
    optimizer.step()
    assert abs(model.bias.item() - (before - 0.5)) < 1e-6


def test_a_group_is_added_later():
    params = parameters()
    optimizer = optim.SGD(params[:1], lr=0.1)
    optimizer.add_param_group({"params": params[1], "lr": 1.0})
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 1.0]
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optimizer.add_param_group({"params": [params[0]]})
    assert len(optimizer.param_groups) == 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
        (lambda: optim.SGD(pg.ones(1)), TypeError, "should be an iterable of Tensors or dicts, but got Tensor"),
        (lambda: optim.SGD([1.0]), TypeError, "optimizer can only optimize Tensors, but one of the params is float"),
        (lambda: optim.SGD([pg.ones(1, requires_grad=True) * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda: optim.SGD(parameters()[:1] * 2), ValueError, "appear twice"),
        (lambda: optim.SGD(parameters(), lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda: optim.SGD(parameters(), momentum=-1), ValueError, "Invalid momentum value: -1"),
        (lambda: optim.SGD(parameters(), weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (
            lambda: optim.SGD(parameters(), nesterov=True),
            ValueError,
            "Nesterov momentum requires a momentum and zero dampening",
        ),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
