"""Trajectories of every optimizer beside PyTorch's, over the options; Lion beside its paper; steps inside of `jit`."""

import copy
import math

import numpy as np
import pytest

import polygrad as pg
from conftest import COMPILED, backend_names
from polygrad import nn, optim


def grid(**choices):
    """Each option alone away from its default, and all together."""
    alone = [{name: value} for name, value in choices.items()]
    return [{}, *alone, *([choices] if len(alone) > 1 else [])]


OPTIONS = {
    "Adam": grid(betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1, amsgrad=True, maximize=True)
    + [{"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "AdamW": grid(weight_decay=0.3, amsgrad=True, maximize=True),
    "RMSprop": grid(alpha=0.9, eps=1e-3, weight_decay=0.1, momentum=0.8, centered=True, maximize=True)
    + [{"momentum": 0.5, "centered": True}],
    "Adagrad": grid(lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-3, maximize=True),
    "Adadelta": grid(rho=0.8, eps=1e-3, weight_decay=0.1, maximize=True),
    "Adamax": grid(betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1, maximize=True),
    "NAdam": grid(momentum_decay=0.1, eps=1e-3, weight_decay=0.1, maximize=True)
    + [{"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "RAdam": grid(betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1, maximize=True)
    + [{"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "Rprop": grid(etas=(0.4, 1.5), step_sizes=(1e-3, 0.05), maximize=True),
    "ASGD": grid(lambd=0.1, alpha=0.5, t0=20, weight_decay=0.1, maximize=True),
    "Adafactor": grid(beta2_decay=-0.5, eps=(1e-3, 0.1), d=2.0, weight_decay=0.1, maximize=True),
}
RATES = {"LBFGS": 0.5, "Adadelta": 1.0}
CASES = [
    pytest.param(name, options, id=f"{name}-{i}") for name, sets in OPTIONS.items() for i, options in enumerate(sets)
]


@pytest.fixture
def torch64(torch):
    """PyTorch with float64 as its default, in which it then keeps the scalars of an optimizer's state."""
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(torch.float32)


def trajectory(space, make, steps=50, dtype=np.float64, wrap=lambda f: f, shapes=((4, 3), (3,), (2, 2, 2), ())):
    """The parameters of a small curved regression after every few steps, and the optimizer."""
    rng = np.random.default_rng(2)
    data, target = (space.tensor(rng.standard_normal(s).astype(dtype)) for s in ((6, 4), (6, 3)))
    params = [space.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes]
    optimizer = make(params)

    def closure():
        optimizer.zero_grad()
        w, *others = params
        scale = [(p**2).sum() for p in others]
        y = data @ w + (others[0] if others else 0.0)
        loss = ((y.tanh() - target) ** 2).mean() + 0.1 * sum(s + (s + 1).log() for s in scale)
        loss.backward()
        return loss

    def plain():
        closure()
        optimizer.step()

    step = wrap(plain)
    found = []
    for i in range(steps):
        step()
        if i % 7 == 0 or i == steps - 1:
            found.append(np.concatenate([p.detach().numpy().reshape(-1) for p in params]))
    return np.stack(found), optimizer


def check(ours, theirs, tolerance=1e-9):
    assert np.isfinite(theirs).all() and np.abs(theirs[0] - theirs[-1]).max() > 1e-3
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_fifty_steps_are_those_of_pytorch(name, options, torch64):
    rate = RATES.get(name, 0.02)
    ours, mine = trajectory(pg, lambda p: getattr(optim, name)(p, lr=rate, **options))
    theirs, other = trajectory(torch64, lambda p: getattr(torch64.optim, name)(p, lr=rate, **options))
    check(ours, theirs)
    kept, expected = mine.state_dict(), other.state_dict()
    assert {k: set(v) for k, v in kept["state"].items()} == {k: set(v) for k, v in expected["state"].items()}
    assert all(set(a) <= set(b) for a, b in zip(kept["param_groups"], expected["param_groups"], strict=True))


def slide(space, make, steps=50, shapes=((2, 3),)):
    """The parameters after every few steps along slopes of three ops: the optimizer alone, brief for one that compiles op by op.

    The slopes swing, as at a resting point an RMSprop divides rounding errors by their own size.
    """
    rng = np.random.default_rng(4)
    params = [space.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    places = [space.tensor(rng.standard_normal(s)) for s in shapes]
    optimizer = make(params)
    found = []
    for i in range(steps):
        for p, place in zip(params, places, strict=True):
            p.grad = p.detach().tanh() - place * (1.5 * math.cos(i))
        optimizer.step()
        if i % 7 == 0 or i == steps - 1:
            found.append(np.concatenate([p.detach().numpy().reshape(-1) for p in params]))
    return np.stack(found)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_fifty_steps_op_by_op_where_ops_are_compiled(name, options, torch64, compiled):
    rate = RATES.get(name, 0.02)
    shapes = ((2, 3), (3,)) if name == "Adafactor" else ((2, 3),)
    ours = slide(pg, lambda p: getattr(optim, name)(p, lr=rate, **options), shapes=shapes)
    check(ours, slide(torch64, lambda p: getattr(torch64.optim, name)(p, lr=rate, **options), shapes=shapes))


@pytest.mark.parametrize(("nesterov", "adjust"), [(True, None), (False, "match_rms_adamw"), (True, "original")])
def test_muon_is_that_of_pytorch_but_for_its_bfloat16(nesterov, adjust, torch64, monkeypatch):
    def make(space):
        options = {"nesterov": nesterov, "adjust_lr_fn": adjust, "weight_decay": 0.3}
        return lambda p: space.Muon(p, lr=0.02, **options)

    monkeypatch.setattr(torch64.Tensor, "bfloat16", lambda x: x.clone())
    for shapes in (((4, 3),), ((4, 3), (3, 3), (2, 7))):
        run = {"shapes": shapes}
        if len(shapes) > 1:
            run["shapes"] = shapes[:1] + ((1, 3), (2, 7))
        ours, theirs = trajectory(pg, make(optim), **run)[0], trajectory(torch64, make(torch64.optim), **run)[0]
        check(ours, theirs)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Muon", {"nesterov": True}),
        ("Muon", {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.3}),
        ("Lion", {"betas": (0.8, 0.9), "weight_decay": 0.2, "maximize": True}),
    ],
)
def test_fifty_steps_of_what_pytorch_has_otherwise_where_ops_are_compiled(name, options, compiled):
    def make(params):
        return getattr(optim, name)(params, lr=0.02, **options)

    ours = slide(pg, make)
    with pg.use_backend("numpy"):
        check(ours, slide(pg, make))


@pytest.mark.parametrize("maximize", [False, True])
def test_lion_is_that_of_its_paper(maximize):
    lr, (beta1, beta2), decay = 0.01, (0.9, 0.99), 0.2
    p = pg.tensor([1.0, -2.0, 0.5], dtype=pg.float64, requires_grad=True)
    optimizer = optim.Lion([p], lr, (beta1, beta2), decay, maximize=maximize)
    theta, m = np.array([1.0, -2.0, 0.5]), np.zeros(3)
    for t in range(30):
        optimizer.zero_grad()
        ((p - 0.3) ** 2 * (1 + t % 3)).sum().backward()
        optimizer.step()
        g = 2 * (theta - 0.3) * (1 + t % 3) * (-1 if maximize else 1)
        update = np.sign(beta1 * m + (1 - beta1) * g)
        theta, m = theta - lr * (update + decay * theta), beta2 * m + (1 - beta2) * g
    assert np.abs(p.detach().numpy() - theta).max() < 1e-12


def descent(space, steps=4, **options):
    """The path of L-BFGS on a well-conditioned quartic of two parameters, and the optimizer."""
    start = np.linspace(-3, 2, 5)
    x, y = space.tensor(start, requires_grad=True), space.tensor(np.ones((2, 1)), requires_grad=True)
    weights = space.tensor(np.linspace(1, 4, 5))
    optimizer = space.optim.LBFGS([x, y], **options)

    def closure():
        optimizer.zero_grad()
        loss = (weights * (x - 0.5) ** 2).sum() + 0.3 * (x**4).sum() + ((y - x[0]) ** 2).sum()
        loss.backward()
        return loss

    found = []
    for _ in range(steps):
        first = optimizer.step(closure)
        found.append(np.concatenate([x.detach().numpy(), y.detach().numpy()[:, 0], [first.item()]]))
    return np.stack(found), optimizer


LBFGS = [
    {"lr": 0.1, "max_iter": 4},
    {"max_iter": 3, "line_search_fn": "strong_wolfe"},
    {"lr": 8.0, "max_iter": 2, "max_eval": 9, "line_search_fn": "strong_wolfe"},
    {"lr": 0.01, "max_iter": 4, "line_search_fn": "strong_wolfe", "history_size": 2},
    {"tolerance_grad": 10.0, "line_search_fn": "strong_wolfe"},
    {"tolerance_change": 0.5, "line_search_fn": "strong_wolfe"},
]


@pytest.mark.parametrize("options", LBFGS, ids=range(len(LBFGS)))
def test_lbfgs_takes_the_steps_of_pytorch(options, torch64):
    lbfgs_agrees(options, torch64)


def test_lbfgs_takes_the_steps_of_pytorch_where_ops_are_compiled(torch64, compiled):
    lbfgs_agrees(LBFGS[1], torch64)


def lbfgs_agrees(options, torch64):
    (ours, mine), (theirs, other) = descent(pg, **options), descent(torch64, **options)
    assert np.abs(ours - theirs).max() <= 1e-9 * np.abs(theirs).max()
    kept, expected = (o.state_dict()["state"][0] for o in (mine, other))
    assert kept["func_evals"] == expected["func_evals"] and kept["n_iter"] == expected["n_iter"]
    assert set(kept) >= set(expected) - {"al"}


def test_lbfgs_goes_on_from_its_state_on_another_backend():
    options = {"max_iter": 3, "line_search_fn": "strong_wolfe"}
    whole, (_, half) = descent(pg, 4, **options)[0], descent(pg, 2, **options)
    with pg.use_backend("array_api_strict"):
        went_on(half, options, whole)


def went_on(half, options, whole):
    p = [pg.tensor(q.detach().numpy(), requires_grad=True) for q in half.param_groups[0]["params"]]
    optimizer = optim.LBFGS(p, **options)
    optimizer.load_state_dict(half.state_dict())
    weights = pg.tensor(np.linspace(1, 4, 5))

    def closure():
        optimizer.zero_grad()
        loss = (weights * (p[0] - 0.5) ** 2).sum() + 0.3 * (p[0] ** 4).sum() + ((p[1] - p[0][0]) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert np.abs(p[0].detach().numpy() - whole[2][:5]).max() < 1e-9


NAMES = [*OPTIONS, "Muon", "Lion", "SGD"]


def maker(name):
    extra = {"momentum": 0.9} if name == "SGD" else {}
    return lambda p: getattr(optim, name)(p, lr=RATES.get(name, 0.02), **extra)


def test_a_few_steps_on_every_other_backend():
    for name in NAMES:
        shapes = ((4, 3),) if name == "Muon" else ((4, 3), (3,))
        with pg.use_backend("numpy"):
            expected = trajectory(pg, maker(name), 3, shapes=shapes)[0]
        for other in set(backend_names()) - {"numpy", *COMPILED}:
            with pg.use_backend(other):
                check(trajectory(pg, maker(name), 3, shapes=shapes)[0], expected)


@pytest.mark.parametrize("name", NAMES)
def test_steps_inside_of_jit_are_those_outside(name, compiled):
    shapes = ((4, 3),) if name == "Muon" else ((4, 3), (3,))
    made = []

    def wrap(step):
        made.append(pg.jit(step))
        return made[0]

    with pg.use_backend("numpy"):
        eager = trajectory(pg, maker(name), shapes=shapes)[0]
    check(trajectory(pg, maker(name), wrap=wrap, shapes=shapes)[0], eager)
    # RAdam begins to divide by the variance in its sixth step, which is another program
    assert made[0].stats().traces <= (2 if name == "RAdam" else 1)


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Rprop", "Adagrad", "Adamax"])
def test_complex_parameters_are_pairs_of_real_ones(name, torch64):
    def run(space):
        values = np.array([1 + 2j, -0.5 + 0.1j, 0.3 - 1j])
        z = space.tensor(values, requires_grad=True)
        optimizer = getattr(space.optim, name)([z], lr=RATES.get(name, 0.02))

        def closure():
            optimizer.zero_grad()
            loss = ((z - (0.5 + 0.25j)).abs() ** 2 + (z.real**2) ** 2).sum()
            loss.backward()
            return loss

        for _ in range(10):
            optimizer.step(closure)
        return z.detach().numpy()

    assert np.abs(run(pg) - run(torch64)).max() < 1e-9


@pytest.mark.parametrize("name", list(OPTIONS))
def test_states_pass_to_pytorch_and_back(name, torch64):
    shapes = ((4, 3), (3,))
    _, mine = trajectory(pg, maker(name), 5, shapes=shapes)
    _, other = trajectory(
        torch64, lambda p: getattr(torch64.optim, name)(p, lr=RATES.get(name, 0.02)), 5, shapes=shapes
    )

    def translated(value, to):
        if isinstance(value, dict):
            return {k: translated(v, to) for k, v in value.items()}
        if isinstance(value, pg.Tensor | torch64.Tensor):
            return to(np.asarray(value.detach().numpy()))
        return value

    theirs = {
        "state": translated(other.state_dict()["state"], pg.tensor),
        "param_groups": other.state_dict()["param_groups"],
    }
    ours = {**mine.state_dict(), "state": translated(mine.state_dict()["state"], torch64.tensor)}
    before = mine.state_dict()["state"][0]
    mine.load_state_dict(theirs)
    other.load_state_dict(ours)
    for optimizer, space in ((mine, pg), (other, torch64)):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = space.ones_like(p.detach())
        optimizer.step()
    after = mine.state_dict()["state"][0]
    assert after["step"] == 6 and before["step"] == 5 and type(after["step"]) in (int, float)
    for a, b in zip(mine.param_groups[0]["params"], other.param_groups[0]["params"], strict=True):
        assert np.abs(a.detach().numpy() - b.detach().numpy()).max() < 1e-9


def test_fifty_steps_on_numpy_go_on_elsewhere(backend):
    def run(home, steps, start=None):
        with pg.use_backend(home):
            p = pg.tensor(np.linspace(-1, 1, 6) if start is None else start[0], dtype=pg.float64, requires_grad=True)
            optimizer = optim.AdamW([p], lr=0.05)
            if start is not None:
                optimizer.load_state_dict(start[1])
            for _ in range(steps):
                optimizer.zero_grad()
                ((p**2 - 0.3) ** 2).sum().backward()
                optimizer.step()
            return p.detach().numpy(), optimizer.state_dict()

    whole = run("numpy", 60)[0]
    assert np.abs(run(backend.name, 10, run("numpy", 50))[0] - whole).max() < 1e-10


def test_rates_may_be_tensors():
    for name in ["Adam", "RMSprop", "Adafactor", "ASGD", "Rprop", "Lion"]:
        found = []
        for lr in (0.25, pg.tensor(0.25)):
            p = pg.tensor([[1.0, 2.0]], requires_grad=True)
            optimizer = getattr(optim, name)([p], lr=lr)
            for _ in range(3):
                optimizer.zero_grad()
                (p**2).sum().backward()
                optimizer.step()
            found.append(p.detach().numpy())
        assert np.abs(found[0] - found[1]).max() < 1e-6, name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.Adam(p, lr=-1), "Invalid learning rate: -1"),
        (lambda p: optim.Adam(p, betas=(0.9, 1.0)), "Invalid beta parameter at index 1: 1.0"),
        (lambda p: optim.AdamW(p, eps=-1), "Invalid epsilon value: -1"),
        (lambda p: optim.RMSprop(p, alpha=-1), "Invalid alpha value: -1"),
        (lambda p: optim.Adadelta(p, rho=2), "Invalid rho value: 2"),
        (lambda p: optim.Rprop(p, etas=(2, 3)), "Invalid eta values: 2, 3"),
        (lambda p: optim.Adafactor(p, d=0.5), "Clipping threshold d should be >= 1 but is: 0.5"),
        (lambda p: optim.Muon(p), "Muon only supports 2D parameters"),
        (lambda p: optim.Muon(p, adjust_lr_fn="x"), "Adjust learning rate function x is not supported"),
        (lambda p: optim.LBFGS([{"params": p}, {"params": []}]), "doesn't support per-parameter options"),
        (lambda p: optim.LBFGS(p, line_search_fn="x"), "only 'strong_wolfe' is supported"),
    ],
)
def test_wrong_options(make, message):
    with pytest.raises(ValueError, match=message):
        make([pg.ones(3, requires_grad=True)])


def test_accumulated_gradients_are_those_of_the_whole_batch():
    def run(parts):
        pg.manual_seed(0)
        model = nn.Linear(3, 2).double()
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        x = pg.tensor(np.random.default_rng(0).standard_normal((8, 3)))
        for _ in range(4):
            optimizer.zero_grad()
            for part in pg.chunk(x, parts):
                ((model(part) ** 2).mean() / parts).backward()
            optimizer.step()
        return model.weight.detach().numpy()

    assert np.abs(run(1) - run(4)).max() < 1e-12


def test_copies_go_their_own_way():
    p = pg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.Adam([p])
    p.grad = pg.ones(2)
    optimizer.step()
    twin, other = copy.deepcopy((p, optimizer))
    twin.grad = pg.ones(2)
    other.step()
    assert optimizer.state[p]["step"] == 1 and other.state[twin]["step"] == 2
