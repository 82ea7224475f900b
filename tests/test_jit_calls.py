"""Calls of compiled steps after the first ones, which take a short path: everything that may change between two is still seen."""

import copy

import numpy as np
import pytest

import polygrad as pg
from jitting import close, network, values

RNG = np.random.default_rng(4)
BATCHES = [(RNG.normal(size=(8, 6)).astype("f4"), RNG.integers(0, 4, 8)) for _ in range(6)]


def run(compile, change):
    """Losses and state of some steps, with `change(i, model, optimizer)` before the i-th; and the step."""
    model, optimizer = network("Adam")

    @compile
    def step(x, y):
        optimizer.zero_grad()
        loss = pg.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    losses = []
    for i, (x, y) in enumerate(BATCHES):
        change(i, model, optimizer)
        losses.append(step(pg.tensor(x), pg.tensor(y)))
    counts = [s.get("step", 0) for s in optimizer.state.values()]
    return [*values(*losses, *model.parameters()), np.asarray(counts)], step


def rates(i, model, optimizer):
    optimizer.param_groups[0]["lr"] = [0.1, 0.1, 0.05, -0.0, 0.0, 0.3][i]


def one_count(i, model, optimizer):
    if i == 3:
        list(optimizer.state.values())[1]["step"] = 40


def frozen(i, model, optimizer):
    model[0].weight.requires_grad_(i < 2 or i > 4)


def an_old_state(i, model, optimizer):
    if i == 2:
        model.kept = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    if i == 4:
        model.load_state_dict(model.kept[0])
        optimizer.load_state_dict(model.kept[1])


def held_arrays(i, model, optimizer):
    if i == 2:
        model.held = [p.detach() for p in model.parameters()], [p.grad for p in model.parameters()]
        model.host = values(*model.held[0], *model.held[1])
    if i == 5:
        close(values(*model.held[0], *model.held[1]), model.host, 0)


@pytest.mark.parametrize(
    "change, programs",
    [(rates, 1), (one_count, 2), (frozen, 4), (an_old_state, 2), (held_arrays, 1)],
    ids=lambda x: getattr(x, "__name__", None),
)  # fmt: skip
def test_what_changes_between_calls_is_seen(change, programs, compiled):
    expected, _ = run(lambda f: f, change)
    found, step = run(pg.jit, change)
    close(found, expected, 2e-4)
    assert step.stats().compilations <= programs


def test_counts_that_agree_are_one_number_of_the_program(compiled):
    model, optimizer = network("Adam")

    @pg.jit
    def step(x):
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()

    x = pg.ones((2, 6))
    step(x)
    text = str(step.jaxpr(x))
    assert len(optimizer.state) == 6 and text.count("dynamic_slice") <= 6, text
    step(x)
    assert [s["step"] for s in optimizer.state.values()] == [2] * 6


def test_an_argument_may_become_one_of_the_tensors_in_reach(compiled):
    w = pg.tensor([1.0, 2.0])

    @pg.jit
    def add(x):
        w.add_(x)
        return w * 1

    for x in (pg.ones(2), pg.ones(2), w, pg.ones(2)):
        add(x)
    assert w.tolist() == [7.0, 9.0]


@pytest.mark.parametrize(
    "make, programs",
    [
        (lambda o: pg.optim.lr_scheduler.CosineAnnealingLR(o, 30), 1),
        (lambda o: pg.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=30), 2),
        (lambda o: pg.optim.lr_scheduler.MultiStepLR(o, [3]), 2),
    ],
)
def test_a_schedule_inside_does_not_compile_for_each_step(make, programs, compiled):
    expected, _ = scheduled(lambda f: f, make)
    found, step = scheduled(pg.jit, make)
    assert found[1:] == expected[1:] and step.stats().compilations <= programs
    close(found[:1], expected[:1], 1e-5)


def scheduled(compile, make):
    """A parameter, the rate and the momentum after some steps that end with the schedule's; and the step."""
    w = pg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = pg.optim.SGD([w], lr=0.1, momentum=0.9)
    schedule = make(optimizer)

    @compile
    def step():
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
        schedule.step()

    for _ in range(8):
        step()
    return (w.tolist(), optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]), step
