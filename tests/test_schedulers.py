"""Schedules of the learning rate beside PyTorch's, and averages of weights."""

import copy
import math

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn, optim

OPTIONS = {
    "LambdaLR": [{"lr_lambda": lambda e: 0.95**e}, {"lr_lambda": [lambda e: 1 / (1 + e), lambda e: 1 + e]}],
    "MultiplicativeLR": [{"lr_lambda": lambda e: 0.9 + 0.01 * (e % 7)}],
    "StepLR": [{"step_size": 4}, {"step_size": 3, "gamma": 0.5}],
    "MultiStepLR": [{"milestones": [3, 3, 10, 20], "gamma": 0.5}],
    "ConstantLR": [{}, {"factor": 0.5, "total_iters": 8}],
    "LinearLR": [
        {},
        {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 9},
        {"start_factor": 1.0, "end_factor": 0.0},
    ],
    "ExponentialLR": [{"gamma": 0.9}],
    "PolynomialLR": [{}, {"total_iters": 11, "power": 2.5}],
    "CosineAnnealingLR": [{"T_max": 7}, {"T_max": 10, "eta_min": 0.01}],
    "CosineAnnealingWarmRestarts": [{"T_0": 4}, {"T_0": 3, "T_mult": 2, "eta_min": 0.01}],
    "CyclicLR": [
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4},
        {"base_lr": [0.01, 0.02], "max_lr": [0.1, 0.2], "step_size_up": 3, "step_size_down": 5, "mode": "triangular2"},
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9, "cycle_momentum": False},
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "scale_fn": lambda x: 1 / x},
    ],
    "OneCycleLR": [
        {"max_lr": 0.1, "total_steps": 60},
        {"max_lr": [0.1, 0.3], "epochs": 10, "steps_per_epoch": 5, "three_phase": True, "anneal_strategy": "linear"},
        {"max_lr": 0.1, "total_steps": 51, "pct_start": 0.5, "div_factor": 10.0, "cycle_momentum": False},
    ],
    "SWALR": [
        {"swa_lr": 0.5},
        {"swa_lr": [0.5, 0.1], "anneal_epochs": 4, "anneal_strategy": "linear"},
        {"swa_lr": 0.5, "anneal_epochs": 0},
    ],
}
CASES = [
    pytest.param(name, options, id=f"{name}-{i}") for name, sets in OPTIONS.items() for i, options in enumerate(sets)
]


def optimizer_of(space, kind="SGD"):
    params = [space.zeros(2, requires_grad=True, dtype=space.float64) for _ in range(2)]
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(space.optim, kind)([{"params": params[:1]}, {"params": params[1:], "lr": 0.4}], lr=0.1, **options)


def scheduler_of(space, name, optimizer, **options):
    where = space.optim.swa_utils if name == "SWALR" else space.optim.lr_scheduler
    return getattr(where, name)(optimizer, **options)


def rates(space, make, steps=50, kind="SGD"):
    """(rate, momentum) of both groups and the parameters, whose gradients are ones, over the steps."""
    optimizer = optimizer_of(space, kind)
    params = [p for g in optimizer.param_groups for p in g["params"]]
    for p in params:
        p.grad = space.ones_like(p.detach())
    scheduler = make(space, optimizer)
    found = []
    for _ in range(steps):
        optimizer.step()
        momenta = [g["betas"][0] if kind == "Adam" else g["momentum"] for g in optimizer.param_groups]
        found.append([*(g["lr"] for g in optimizer.param_groups), *momenta, *(p[0].item() for p in params)])
        assert list(scheduler.get_last_lr()) == found[-1][:2]
        scheduler.step()
    return np.array(found)


def same(make, torch, **options):
    ours, theirs = rates(pg, make, **options), rates(torch, make, **options)
    assert (np.abs(ours - theirs) <= 1e-12 * (1 + np.abs(theirs))).all() and len(np.unique(theirs)) > 1


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_schedules_are_those_of_pytorch(name, options, torch, backend):
    same(lambda space, optimizer: scheduler_of(space, name, optimizer, **options), torch)
    if "momentum" in str(options) or name in ("CyclicLR", "OneCycleLR"):
        same(lambda space, optimizer: scheduler_of(space, name, optimizer, **options), torch, kind="Adam")


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_schedule_goes_on_where_its_state_says(name, options):
    optimizer = optimizer_of(pg)
    scheduler = scheduler_of(pg, name, optimizer, **options)
    for _ in range(5):
        scheduler.step()
    saved = copy.deepcopy((scheduler.state_dict(), optimizer.state_dict()["param_groups"]))
    other = optimizer_of(pg)
    again = scheduler_of(pg, name, other, **options)
    again.load_state_dict(saved[0])
    other.load_state_dict({"state": {}, "param_groups": saved[1]})
    for _ in range(6):
        scheduler.step()
        again.step()
    assert [g["lr"] for g in other.param_groups] == [g["lr"] for g in optimizer.param_groups]
    assert scheduler.get_last_lr() == again.get_last_lr() and scheduler.last_epoch == 11 == again.last_epoch


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_schedules_after_and_beside_each_other(torch):
    def sequence(space, optimizer):
        s = space.optim.lr_scheduler
        parts = [
            s.LinearLR(optimizer, 0.1, total_iters=5),
            s.CosineAnnealingLR(optimizer, 9),
            s.ExponentialLR(optimizer, 0.9),
        ]
        return s.SequentialLR(optimizer, parts, [5, 14])

    def chain(space, optimizer):
        s = space.optim.lr_scheduler
        return s.ChainedScheduler([s.ConstantLR(optimizer, 0.1, 4), s.ExponentialLR(optimizer, 0.9)])

    def nested(space, optimizer):
        s = space.optim.lr_scheduler
        return s.SequentialLR(optimizer, [chain(space, optimizer), s.StepLR(optimizer, 3)], [7])

    for make in (sequence, chain):
        same(make, torch)
    same(
        lambda space, o: space.optim.lr_scheduler.SequentialLR(
            o, [sequence(space, o), space.optim.lr_scheduler.StepLR(o, 2)], [20]
        ),
        torch,
    )
    optimizer = optimizer_of(pg)
    scheduler = sequence(pg, optimizer)
    for _ in range(8):
        scheduler.step()
    again = sequence(pg, other := optimizer_of(pg))
    again.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    other.load_state_dict(optimizer.state_dict())
    for _ in range(9):
        scheduler.step()
        again.step()
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    assert nested(pg, optimizer_of(pg)).get_last_lr()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "patience": 1},
        {"threshold_mode": "abs", "patience": 2, "cooldown": 3, "min_lr": [0.02, 0.1]},
    ],
)
def test_plateaus_are_those_of_pytorch(options, torch):
    metrics = [1 / (1 + i) if i < 8 else 0.12 + 0.01 * math.sin(i) for i in range(40)]

    def run(space):
        optimizer = optimizer_of(space)
        scheduler = space.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        found = []
        for metric in metrics:
            scheduler.step(space.tensor(metric, dtype=space.float64))
            found.append([g["lr"] for g in optimizer.param_groups])
        return np.array(found)

    ours = run(pg)
    assert np.array_equal(ours, run(torch)) and ours[-1, 0] < 0.1


def test_steps_to_an_epoch_use_the_formula(torch):
    with pytest.warns(UserWarning, match="epoch parameter"):
        for name, options in (("StepLR", {"step_size": 4}), ("CosineAnnealingLR", {"T_max": 7}), ("LinearLR", {})):
            found = []
            for space in (pg, torch):
                optimizer = optimizer_of(space)
                scheduler = scheduler_of(space, name, optimizer, **options)
                optimizer.step()
                scheduler.step(9)
                found.append(scheduler.get_last_lr())
            assert np.allclose(*found, rtol=1e-12)
    scheduler = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer_of(pg), 3, 2)
    other = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer_of(torch), 3, 2)
    for epoch in (0.5, 2.75, 3.5, 10.25, 1.0):
        scheduler.step(epoch)
        other.step(epoch)
        assert np.allclose(scheduler.get_last_lr(), other.get_last_lr(), rtol=1e-12)


def test_a_rate_that_is_a_tensor_is_filled():
    lr = pg.tensor(0.5)
    optimizer = optim.SGD([pg.zeros(1, requires_grad=True)], lr=lr)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == 0.25


def test_a_captured_step_follows_the_schedule(compiled):
    p = pg.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=0.5)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    @pg.jit
    def step():
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()

    for _ in range(4):
        step()
        scheduler.step()
    assert abs(p.item() - (1 - 0.5 - 0.25 - 0.125 - 0.0625)) < 1e-6 and step.stats().traces == 1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda s, o: s.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda s, o: s.StepLR(o, 1, last_epoch=3), KeyError, "initial_lr"),
        (lambda s, o: s.LambdaLR(o, [len]), ValueError, "must have the same length"),
        (lambda s, o: s.ConstantLR(o, 2), ValueError, "between 0 and 1"),
        (lambda s, o: s.LinearLR(o, 0), ValueError, "Starting multiplicative factor"),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 0), ValueError, "Expected positive integer T_0"),
        (lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="x"), ValueError, "mode is invalid"),
        (lambda s, o: s.OneCycleLR(o, 0.1), ValueError, "You must define either total_steps"),
        (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [1]), ValueError, "one more than the number of milestone"),
        (lambda s, o: s.ChainedScheduler([]), ValueError, "at least one scheduler"),
        (lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]), ValueError, "does not support `ReduceLROnPlateau`"),
        (lambda s, o: s.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0."),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make(optim.lr_scheduler, optimizer_of(pg))


def averaged(space, dtype, **options):
    model = space.nn.Sequential(space.nn.Linear(2, 3), space.nn.BatchNorm1d(3)).to(dtype)
    swa = space.optim.swa_utils
    chosen = {
        key: getattr(swa, f"get_{value}")(*more) for key, (value, *more) in options.items() if key != "use_buffers"
    }
    average = swa.AveragedModel(model, use_buffers=options.get("use_buffers", (False,))[0], **chosen)
    with space.no_grad():
        for i in range(5):
            for j, p in enumerate(model.parameters()):
                p.copy_(space.ones_like(p) * (i * i + j))
            model(space.tensor(np.arange(8.0).reshape(4, 2) * (i + 1)))
            average.update_parameters(model)
    return {name: np.asarray(value.detach().numpy()) for name, value in average.state_dict().items()}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"avg_fn": ("ema_avg_fn", 0.9)},
        {"multi_avg_fn": ("ema_multi_avg_fn", 0.9)},
        {"avg_fn": ("ema_avg_fn", 0.5), "use_buffers": (True,)},
    ],
    ids=["mean", "ema", "ema-multi", "buffers"],
)
def test_averages_are_those_of_pytorch(options, torch):
    ours, theirs = averaged(pg, pg.float64, **options), averaged(torch, torch.float64, **options)
    assert list(ours) == list(theirs)
    for name in ours:
        if "running" in name or name.endswith(("weight", "bias", "averaged")):
            assert np.allclose(ours[name], theirs[name], rtol=1e-9), name


def test_update_bn_takes_the_mean_of_all_batches():
    model = nn.Sequential(nn.BatchNorm1d(2)).double().eval()
    x = pg.tensor(np.random.default_rng(0).standard_normal((12, 2)) * 3 + 1)
    optim.swa_utils.update_bn([(part, None) for part in pg.chunk(x, 3)], model)
    assert np.allclose(model[0].running_mean.numpy(), x.numpy().mean(0)) and not model.training
    assert model[0].momentum == 0.1
