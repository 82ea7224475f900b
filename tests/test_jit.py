"""Compiled functions: results as in eager code, programs made once, and every failure told and undone."""

import dataclasses
import gc
import math
import types
import weakref
from typing import NamedTuple

import numpy as np
import pytest

import polygrad as pg
from polygrad.jit import TraceError


def values(*tensors):
    """Host arrays of tensors."""
    return [np.asarray(t.detach().numpy()) for t in tensors]


def close(a, b, tolerance=1e-12):
    """Assert that nests of arrays agree."""
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------------------- whole steps


def network():
    """A small network with everything that has state, and its optimizer."""
    pg.manual_seed(3)
    model = pg.nn.Sequential(
        pg.nn.Linear(6, 12), pg.nn.BatchNorm1d(12), pg.nn.ReLU(), pg.nn.Dropout(0.4), pg.nn.Linear(12, 4)
    )
    return model, pg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)


def train(compile, steps):
    """Losses, state and gradients after some steps under a learning rate that changes in each."""
    model, optimizer = network()
    average = [p.detach().clone() for p in model.parameters()]

    def step(x, y):
        optimizer.zero_grad()
        loss = pg.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        norm = sum((p.grad * p.grad).sum() for p in model.parameters()).sqrt()
        for p in model.parameters():
            p.grad.mul_(pg.minimum(1.0 / (norm + 1e-6), pg.ones_like(norm)))
        optimizer.step()
        with pg.no_grad():
            for a, p in zip(average, model.parameters(), strict=True):
                a.mul_(0.9).add_(p, alpha=0.1)
        return loss

    run = compile(step)
    rng = np.random.default_rng(0)
    losses = []
    for i in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 + math.cos(math.pi * i / steps))
        losses.append(run(pg.tensor(rng.normal(size=(8, 6))), pg.tensor(rng.integers(0, 4, 8))))
    state = model.state_dict()
    velocity = [s["momentum_buffer"] for s in optimizer.state.values()]
    found = values(
        *losses, *(state[k] for k in sorted(state)), *(p.grad for p in model.parameters()), *average, *velocity
    )
    return found, run


def test_a_whole_step_gives_what_eager_code_gives(backend, double):
    eager, _ = train(lambda f: f, 20)
    found, step = train(pg.jit, 20)
    close(eager, found)
    if backend.compiler is None:
        assert step.stats() == (0, 0, 0, 20)
    else:
        assert step.stats() == (1, 1, 19, 0)


def test_a_thousand_learning_rates_are_one_program(compiled):
    _, step = train(pg.jit, 1000)
    assert step.stats() == (1, 1, 999, 0)


def test_gradients_add_up_over_calls(compiled, double):
    w = pg.tensor([1.0, 2.0], requires_grad=True)

    @pg.jit
    def add(x):
        (w * w * x).sum().backward()

    for x in (1.0, 2.0, 3.0):
        add(pg.tensor([x, x]))
    close(values(w.grad), [np.array([12.0, 24.0])])
    assert add.stats().traces == 2  # without a gradient, and with one


def test_random_numbers_are_those_of_eager_code(backend):
    dropped = pg.nn.Dropout(0.5)
    x = pg.ones(64)

    def draw():
        return dropped(x), pg.rand(3), pg.randn(2, 2)

    pg.manual_seed(5)
    eager = [values(*draw()) for _ in range(3)]
    pg.manual_seed(5)
    step = pg.jit(draw)
    found = [values(*step()) for _ in range(3)]
    pg.manual_seed(5)
    again = values(*step())
    for a, b in zip(eager, found, strict=True):
        close(a, b, 0)
    close(again, found[0], 0)
    assert not np.array_equal(found[0][1], found[1][1])


def test_inference_of_a_module(backend):
    model, _ = network()
    model.eval()
    x = pg.ones((3, 6))
    with pg.no_grad():
        expected = model(x)
        run = pg.jit(model)
        close(values(expected), values(run(x)), 1e-6)
        model[0].bias.copy_(model[0].bias + 1)
        close(values(model(x)), values(run(x)), 1e-6)
        model.train()
        run(x)
        assert run.stats().traces in (0, 2)


def test_derivatives_inside(compiled, double):
    x = pg.tensor([0.5, 2.0], requires_grad=True)

    def twice(t):
        y = (pg.sin(x) * t).sum()
        (g,) = pg.autograd.grad(y, x, create_graph=True)
        (h,) = pg.autograd.grad(g.sum(), x)
        return y, g, h

    t = pg.tensor([3.0, -1.0])
    close(values(*twice(t)), values(*pg.jit(twice)(t)))


class Trainer:
    """A method that is compiled, with state of every kind in attributes."""

    factor = 2.0

    def __init__(self, start):
        self.w = pg.tensor([start, start], requires_grad=True)
        self.history = []
        self.seen = 0
        self.last = None
        self.scale = 1.0

    @pg.jit
    def step(self, x):
        self.w.grad = None
        loss = (self.w * x * self.scale * self.factor).sum()
        loss.backward()
        with pg.no_grad():
            self.w -= 0.1 * self.w.grad
        self.seen += 1
        self.last = loss.detach()
        return loss

    def fit(self, x):
        self.history.append(self.step(x).item())


def test_methods_have_programs_for_each_instance(compiled):
    a, b = Trainer(1.0), Trainer(5.0)
    x = pg.tensor([1.0, 2.0])
    for i in range(4):
        a.fit(x)
        b.fit(x)
        assert (a.seen, b.seen) == (i + 1, i + 1)
        assert a.last.item() == pytest.approx(a.history[-1])
    assert a.history[0] == pytest.approx(6.0)
    assert b.history[0] == pytest.approx(30.0)
    assert a.step.stats().traces <= 4  # seen and last are found to vary
    before = a.step.stats().compilations
    for _ in range(3):
        a.fit(x)  # history grows, but the step does not read it
    assert a.step.stats().compilations == before


def test_an_instance_is_not_kept_alive(compiled):
    a = Trainer(1.0)
    a.step(pg.tensor([1.0, 2.0]))
    gone = weakref.ref(a.w)
    del a
    gc.collect()  # the instance, which garbage of the capture still refers to
    gc.collect()  # its programs
    assert gone() is None


# ----------------------------------------------------------------------------------------------------- signatures


def test_another_shape_is_another_program_and_the_first_remains(compiled):
    step = pg.jit(lambda x: (x * 2).sum())
    for n in (3, 4, 3, 4, 3):
        assert step(pg.ones(n)).item() == 2 * n
    assert step.stats() == (2, 2, 3, 0)
    step(pg.ones(3, dtype=pg.float64))
    assert step.stats().traces == 3


def test_static_arguments(compiled):
    @pg.jit(static_argnums=1)
    def power(x, n):
        for _ in range(n - 1):
            x = x * x
        return x

    x = pg.tensor(3.0)
    assert power(x, 2).item() == 9
    assert power(x, 3).item() == 81
    assert power(x, n=3).item() == 81
    assert power(x, 2).item() == 9
    assert power.stats().traces == 3
    with pytest.raises(TypeError, match="hashable"):
        power(x, [1])


def test_numbers_among_the_arguments_are_no_constants(compiled, double):
    step = pg.jit(lambda x, a, b=1: x * a + b**2)
    for a, b in ((0.5, 1), (0.25, 2), (1e-30, 3), (7.0, 4)):
        close(values(step(pg.ones(2), a, b)), [np.full(2, a + b * b)], 0)
    assert step.stats().traces == 1


def test_a_number_whose_value_is_asked_for_is_a_guard(compiled):
    def step(x, n):
        return x[:n] if n > 1 else x * math.sqrt(n)

    step = pg.jit(step)
    x = pg.arange(4.0)
    assert step(x, 2).shape == (2,)
    assert step(x, 3).shape == (3,)
    assert step(x, 1).shape == (4,)
    assert step(x, 2).shape == (2,)
    assert step.stats() == (3, 3, 1, 0)


def test_an_integer_keeps_its_kind(compiled):
    step = pg.jit(lambda x, n: x * n)
    assert step(pg.arange(3), 2).dtype is pg.int64
    assert step(pg.arange(3), 2.0).dtype is pg.float32
    assert step(pg.arange(3), 2).tolist() == [0, 2, 4]


def test_nests_go_in_and_out(compiled):
    @dataclasses.dataclass
    class Batch:
        x: pg.Tensor
        y: list
        name: str

    class Pair(NamedTuple):
        left: pg.Tensor
        right: pg.Tensor

    def step(batch, extra):
        total = batch.x + batch.y[0]
        return {
            "total": total,
            "pair": Pair(total, extra["k"]),
            "batch": Batch(total, [batch.x], batch.name),
            "n": (1, None),
        }

    run = pg.jit(step)
    for value in (1.0, 2.0):
        x = pg.tensor([value])
        found = run(Batch(x, [x * 2], "b"), {"k": x})
        assert found["total"].item() == 3 * value
        assert found["pair"].left is found["total"] and found["batch"].x is found["total"]
        assert found["pair"].right is x and found["batch"].y[0] is x
        assert (found["batch"].name, found["n"]) == ("b", (1, None))
    assert run.stats().traces == 1


def test_arrays_of_a_library_among_the_arguments(compiled):
    step = pg.jit(lambda x: x * 2)
    assert step(np.array([1.0, 2.0])).tolist() == [2, 4]
    assert step(np.array([3.0, 4.0])).tolist() == [6, 8]
    assert step.stats().traces == 1


def test_the_same_tensor_twice(compiled):
    def step(a, b):
        with pg.no_grad():
            a += 1
        return a + b

    run = pg.jit(step)
    x, y = pg.tensor([1.0]), pg.tensor([1.0])
    assert run(x, x).item() == 4
    assert run(x, y).item() == 4
    assert (x.item(), y.item()) == (3, 1)
    assert run(x, x).item() == 8


def test_an_argument_that_is_also_captured(compiled):
    w = pg.tensor([1.0])
    other = pg.tensor([10.0])

    def step(x):
        x += 1
        return x + w

    run = pg.jit(step)
    assert run(w).item() == 4
    assert run(other).item() == 13
    assert run(w).item() == 6
    assert (w.item(), other.item()) == (3, 11)


def test_calls_under_another_mode(compiled):
    w = pg.tensor([2.0], requires_grad=True)
    step = pg.jit(lambda: w * 3)
    assert step().requires_grad
    with pg.no_grad():
        assert not step().requires_grad
    assert step.stats().traces == 2


# --------------------------------------------------------------------------------- what is read and written from outside

scale = 2.0


def test_a_captured_number_that_changes_is_seen(compiled):
    global scale
    settings = types.SimpleNamespace(shift=1, flag=True)
    local = 0.5

    def step(x):
        y = x * scale * local + settings.shift
        return y if settings.flag else -y

    run = pg.jit(step)
    x = pg.tensor([1.0])
    assert run(x).item() == 2
    local = 1.0
    assert run(x).item() == 3
    scale = 4.0
    assert run(x).item() == 5
    settings.shift = 2
    assert run(x).item() == 6
    settings.flag = False
    assert run(x).item() == -6
    traces = run.stats().traces
    for i in range(5):  # by now the numbers are known to vary
        scale, local, settings.shift = 1.0 + i, 0.1 * i, i
        assert run(x).item() == pytest.approx(-(scale * local + i))
    assert run.stats().traces == traces
    scale = 2.0


def test_a_number_that_the_function_changes_goes_on(compiled):
    state = {"step": 0}

    def step(x):
        state["step"] += 1
        return x / (1 - 0.9 ** state["step"])

    run = pg.jit(step)
    for i in range(1, 6):
        assert run(pg.tensor([1.0])).item() == pytest.approx(1 / (1 - 0.9**i))
        assert state["step"] == i
        assert type(state["step"]) is int
    assert run.stats().compilations == 1


def test_state_that_is_made_in_the_first_call(compiled):
    state = {}

    def step(x):
        if "mean" not in state:
            state["mean"] = pg.zeros_like(x)
            state["parts"] = {"n": 0, "list": [x * 2]}
        state["mean"] = 0.5 * state["mean"] + x
        return state["mean"]

    run = pg.jit(step)
    found = [run(pg.tensor([1.0])).item() for _ in range(5)]
    assert found == [1, 1.5, 1.75, 1.875, 1.9375]
    assert state["mean"].item() == found[-1]
    assert state["parts"]["list"][0].item() == 2
    assert run.stats().compilations == 2


def test_items_of_a_list_are_replaced(compiled):
    cache = [pg.zeros(2), pg.ones(2)]

    def step(x):
        cache[0] = cache[0] + x
        cache[1].add_(x)
        return cache[0] * cache[1]

    run = pg.jit(step)
    for _ in range(3):
        last = run(pg.ones(2))
    assert (cache[0].tolist(), cache[1].tolist(), last.tolist()) == ([3, 3], [4, 4], [12, 12])
    assert run.stats().compilations == 1


def test_a_tensor_that_is_replaced_outside_is_seen(compiled):
    holder = types.SimpleNamespace(w=pg.tensor([1.0]))
    run = pg.jit(lambda x: x * holder.w)
    assert run(pg.tensor([2.0])).item() == 2
    holder.w = pg.tensor([5.0])
    assert run(pg.tensor([2.0])).item() == 10
    holder.w.data = pg.tensor([1.0, 2.0])
    assert run(pg.tensor([2.0])).tolist() == [2, 4]
    holder.w.requires_grad_()
    assert run(pg.tensor([2.0])).requires_grad


def test_a_frozen_parameter_is_seen(compiled):
    model = pg.nn.Linear(2, 1)

    @pg.jit
    def step(x):
        model.zero_grad()
        model(x).sum().backward()

    x = pg.ones((1, 2))
    step(x)
    assert model.weight.grad is not None
    model.weight.requires_grad_(False)
    model.weight.grad = None
    step(x)
    assert model.weight.grad is None
    assert model.bias.grad is not None


def test_an_array_that_the_user_writes_into_is_read_again(compiled):
    table = np.array([1.0, 2.0])
    run = pg.jit(lambda x: x * table)
    assert run(pg.ones(2, dtype=pg.float64)).tolist() == [1, 2]
    table[:] = [3.0, 4.0]
    assert run(pg.ones(2, dtype=pg.float64)).tolist() == [3, 4]


def test_a_sum_can_be_kept_in_an_argument(compiled):
    @pg.jit
    def add(total, x):
        total += x

    total = pg.zeros(2)
    for _ in range(3):
        add(total, pg.ones(2))
    assert total.tolist() == [3, 3]


def test_modules_and_optimizers_made_inside(compiled):
    def step(x):
        pg.manual_seed(1)
        model = pg.nn.Linear(2, 1)
        optimizer = pg.optim.SGD(model.parameters(), lr=0.1)
        model(x).sum().backward()
        optimizer.step()
        return model(x)

    x = pg.ones((1, 2))
    expected = step(x)
    close(values(expected), values(pg.jit(step)(x)), 1e-6)

    def leak(x):
        return pg.nn.Linear(2, 1)

    with pytest.raises(TraceError, match="made inside"):
        pg.jit(leak)(x)


def test_a_compiled_function_inside_another(compiled):
    inner = pg.jit(lambda x: x * 2)
    outer = pg.jit(lambda x: inner(x) + inner(x + 1))
    assert outer(pg.tensor([1.0])).item() == 6
    assert outer(pg.tensor([2.0])).item() == 10
    assert outer.stats() == (1, 1, 1, 0)


# -------------------------------------------------------------------------------------------------------- donation


def test_whoever_shares_a_value_keeps_it(compiled):
    w = pg.tensor([1.0, 2.0])
    before, view, host = w.detach(), w.data, w.numpy()
    twin = pg.tensor([0.0, 0.0])
    twin.data = w

    @pg.jit
    def step():
        w.add_(1)
        twin.mul_(10)
        return w + twin

    for i in range(1, 4):
        kept = w.detach()
        assert step().tolist() == [1 + i + 10**i, 2 + i + 2 * 10**i]
        assert kept.tolist() == [i, i + 1]
    assert before.tolist() == [1, 2]
    assert view.tolist() == [1, 2]
    assert host.tolist() == [1, 2]


def test_buffers_are_donated(compiled):
    w = pg.zeros(1024)

    @pg.jit
    def step():
        w.add_(1)

    step()
    array = w._array
    pointer = array.unsafe_buffer_pointer()
    del array
    step()
    assert w._array.unsafe_buffer_pointer() == pointer
    assert w.tolist()[0] == 2
    with_copy = pg.jit(lambda: w.add_(1), donate=False)
    old = w._array
    with_copy()
    assert not old.is_deleted()


def test_donated_arguments(compiled):
    step = pg.jit(lambda x, y: x + y, donate_argnums=0)
    x, y = pg.ones(1024), pg.ones(1024)
    array = weakref.ref(x._array)
    assert step(x, y).tolist()[0] == 2
    assert array().is_deleted()
    assert y.tolist()[0] == 1


def test_a_plan_holds_no_arrays(compiled):
    w = pg.zeros(16)

    @pg.jit
    def step(x):
        w.add_(x)
        return w * 2

    first, x = weakref.ref(w._array), pg.ones(16)
    argument = weakref.ref(x._array)
    step(x)
    del x
    gc.collect()
    assert first() is None
    assert argument() is None


# -------------------------------------------------------------------------------------- gradients through a compiled call


def test_a_compiled_call_is_differentiable_from_outside(compiled, double):
    model, _ = network()
    model.eval()
    x = pg.tensor(np.random.default_rng(0).normal(size=(3, 6)), requires_grad=True)
    run = pg.jit(model)
    results = []
    for function in (model, run, run):
        model.zero_grad()
        h = x * 2
        (function(h) ** 2).sum().backward()
        results.append(values(x.grad, *(p.grad for p in model.parameters())))
        x.grad = None
    close(results[0], results[1])
    close(results[0], results[2])
    assert run.stats() == (1, 1, 1, 0)


def test_a_loss_whose_graph_was_walked_inside_says_so(compiled):
    w = pg.tensor([2.0], requires_grad=True)

    @pg.jit
    def step():
        loss = (w * w * w).sum()
        loss.backward()
        return loss

    loss = step()
    assert loss.requires_grad and loss.item() == 8
    with pytest.raises(RuntimeError, match="inside of the function"):
        (loss + w.sum()).backward()


def test_second_derivatives_from_outside_are_refused(compiled):
    x = pg.tensor([2.0], requires_grad=True)
    y = pg.jit(lambda x: x**3)(x)
    with pytest.raises(RuntimeError, match="inside of the function"):
        pg.autograd.grad(y, x, create_graph=True)


def test_a_history_from_outside(compiled):
    w = pg.tensor([2.0], requires_grad=True)
    h = w * 3

    def inside(x):
        (g,) = pg.autograd.grad((x * x).sum(), x)
        return g

    assert pg.jit(inside)(h).item() == 12

    def through(x):
        (x * x).sum().backward()

    with pytest.raises(TraceError, match="recorded outside"):
        pg.jit(through)(h)
    assert w.grad is None
