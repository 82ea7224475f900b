"""Compiled functions: results as in eager code, programs made once, boxes shared safely."""

import dataclasses
import gc
import math
import threading
import weakref
from typing import NamedTuple

import numpy as np
import pytest

import polygrad as pg
from jitting import close, network, values
from polygrad.jit import TraceError
from polygrad.jit.numbers import Tape

# ------------------------------------------------------------------------------------------------------- whole steps


def train(compile, steps, name="SGD", parts=1):
    """Host values of losses, state, clipped gradients and averages after some steps under OneCycleLR, each in some parts."""
    model, optimizer = network(name)
    scheduler = pg.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    average = [p.detach().clone() for p in model.parameters()]

    def gather(x, y):
        loss = pg.nn.functional.cross_entropy(model(x), y) / parts
        loss.backward()
        return loss

    def update():
        pg.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        pg.nn.utils.clip_grad_value_(model.parameters(), 0.05)
        optimizer.step()
        with pg.no_grad():
            for a, p in zip(average, model.parameters(), strict=True):
                a.mul_(0.9).add_(p, alpha=0.1)

    def whole(x, y):
        optimizer.zero_grad()
        loss = gather(x, y)
        update()
        return loss

    compiled = [compile(whole)] if parts == 1 else [compile(gather), compile(update)]
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(steps):
        if parts > 1:
            optimizer.zero_grad()
        for _ in range(parts):
            losses.append(compiled[0](pg.tensor(rng.normal(size=(8, 6))), pg.tensor(rng.integers(0, 4, 8))))
        if parts > 1:
            compiled[1]()
        scheduler.step()
    state = model.state_dict()
    kept = [v for s in optimizer.state.values() for k, v in sorted(s.items()) if isinstance(v, pg.Tensor)]
    found = values(*losses, *(state[k] for k in sorted(state)), *(p.grad for p in model.parameters()), *average, *kept)
    return found, compiled


def test_a_whole_step_gives_what_eager_code_gives(backend, double):
    eager, _ = train(lambda f: f, 20)
    found, [step] = train(pg.jit, 20)
    close(eager, found)
    if backend.compiler is None:
        assert step.stats() == (0, 0, 0, 20)
    else:
        assert step.stats() == (1, 1, 19, 0)


@pytest.mark.parametrize(("name", "parts"), [("SGD", 2), ("AdamW", 1), ("AdamW", 2)])
def test_compiled_steps_give_what_numpy_gives(name, parts, compiled, double):
    with pg.use_backend("numpy"):
        eager, _ = train(lambda f: f, 20, name, parts)
    found, steps = train(pg.jit, 20, name, parts)
    close(eager, found)
    assert [step.stats().compilations for step in steps] == (
        [1] if parts == 1 else [2, 1]
    )  # without a gradient, and with one


def test_a_thousand_steps_of_a_schedule_are_one_program(compiled):
    _, [step] = train(pg.jit, 1000, "AdamW")  # the schedule moves the rate and the first of the betas
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


def nested(compile):
    """Host values after some steps with a checkpoint, the derivative of a function and an average of the weights."""
    model, optimizer = network()
    average = pg.optim.swa_utils.AveragedModel(model, multi_avg_fn=pg.optim.swa_utils.get_ema_multi_avg_fn(0.9))

    def step(x):
        optimizer.zero_grad()
        h = pg.autograd.checkpoint(lambda x: model[3](model[2](model[1](model[0](x)))), x)
        loss = (model[4](h) ** 2).mean()
        slope = pg.grad(lambda w: (model[4].bias * w).sum() ** 2)(x.sum(axis=0)[:4])
        (loss + (slope**2).sum()).backward()
        optimizer.step()
        average.update_parameters(model)
        return loss, slope

    run = compile(step)
    found = [t for i in range(3) for t in run(pg.tensor(np.random.default_rng(i).normal(size=(5, 6))))]
    return values(*found, *model.state_dict().values(), *average.state_dict().values()), run


def test_checkpoints_and_derivatives_of_functions_inside(compiled, double):
    with pg.use_backend("numpy"):
        eager, _ = nested(lambda f: f)
    found, step = nested(pg.jit)
    close(eager, found)
    assert step.stats().compilations == 1


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


def test_static_arguments_by_name(compiled):
    @pg.jit(static_argnames=("n", "how"))
    def repeat(x, n, *, how="sum"):
        x = sum(x * i for i in range(n))
        return x if how == "sum" else -x

    for n, how, expected in ((3, "sum", 6), (3, "minus", -6), (4, "sum", 12), (3, "sum", 6)):
        assert repeat(pg.tensor(2.0), n, how=how).item() == expected
        assert repeat(pg.tensor(2.0), n=n, how=how).item() == expected
    assert repeat.stats().traces == 6  # by position and by name


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


def test_new_gradients_take_the_memory_of_old_ones(compiled):
    w = pg.ones(1 << 14, requires_grad=True)

    @pg.jit
    def step(x):
        w.grad = None
        (w * x).sum().backward()

    step(pg.tensor(1.0))
    pointer = w.grad._array.unsafe_buffer_pointer()
    step(pg.tensor(2.0))
    assert w.grad._array.unsafe_buffer_pointer() == pointer
    kept, holds = [], [lambda g: g, lambda g: g.detach(), lambda g: g.numpy(), lambda g: g._array]
    for i, hold in enumerate(holds, 3):  # but not from somebody who looks at them
        kept.append(hold(w.grad))
        step(pg.tensor(float(i)))
        assert w.grad.tolist()[-1] == i
    assert [float(k[0]) for k in kept] == [2, 3, 4, 5]
    w.grad = None
    step(pg.tensor(7.0))
    assert w.grad.tolist()[0] == 7
    w.data, w.grad = pg.ones(8), pg.ones(8)
    step(pg.tensor(8.0))
    assert w.grad.tolist() == [8] * 8


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


# ------------------------------------------------------------------------------------------------------- looking inside


def test_programs_can_be_looked_at(compiled):
    w = pg.zeros(3)

    @pg.jit
    def step(x):
        w.add_(x)
        return pg.tanh(w)

    x = pg.ones(3)
    assert "tanh" in str(step.jaxpr(x))
    assert "HloModule" in step.hlo(x)
    assert step.cost_analysis(x)["flops"] > 0
    assert w.tolist() == [0, 0, 0]
    assert step.stats() == (0, 0, 0, 0)


def test_there_is_nothing_to_look_at_without_a_compiler():
    with pg.use_backend("numpy"), pytest.raises(TraceError, match="no compiler"):
        pg.jit(lambda x: x).jaxpr(pg.ones(1))


# ------------------------------------------------------------------------------------------------------------ threads


def test_threads_call_and_trace_at_once(compiled):
    model, _ = network()
    model.eval()
    run = pg.jit(model)
    rng = np.random.default_rng(0)
    inputs = [pg.tensor(rng.normal(size=(n, 6)).astype("f4")) for n in (1, 2, 3, 4)]
    with pg.no_grad():
        expected = [values(model(x))[0] for x in inputs]
    wrong = []

    def work(k):
        with pg.use_backend(compiled), pg.no_grad():
            for i in range(12):
                j = (i + k) % 4
                if not np.allclose(values(run(inputs[j]))[0], expected[j], atol=1e-6):
                    wrong.append((k, i))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert run.stats().traces == 4


def test_threads_count_together(compiled):
    total = pg.zeros(())

    @pg.jit
    def add(x):
        total.add_(x)

    def work():
        with pg.use_backend(compiled):
            for _ in range(25):
                add(pg.ones(()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert total.item() == 100


# ------------------------------------------------------------------------------------------------------------ numbers


def test_arithmetic_is_replayed_to_the_last_bit():
    tape = Tape()
    lr, step = tape.input(0.1), tape.input(3)
    found = [
        1 - 0.9**step,
        lr * (2 - lr) / step,
        -lr,
        abs(step - 5),
        round(lr, 1),
        step // 2 + step % 2,
        lr ** (1 / step),
        +lr,
    ]
    assert lr < 1 and step > 2 and not lr == 1
    for given in ([0.1, 3], [0.25, 7], [1e-300, 4]):
        values = tape.replay(given)
        a, n = given
        expected = [1 - 0.9**n, a * (2 - a) / n, -a, abs(n - 5), round(a, 1), n // 2 + n % 2, a ** (1 / n), +a]
        assert [values[x.index] for x in found] == expected
    assert tape.replay([0.1, 2]) is None
    assert tape.replay([1.5, 3]) is None
    assert tape.replay([1, 3]) is None
    assert math.sqrt(step) == math.sqrt(3)
    assert tape.replay([0.1, 4]) is None


# --------------------------------------------------------------------------------------- constants of the JAX adapter


def test_constants_are_those_of_the_library(compiled):
    jnp, arrays = compiled.xp, compiled.arrays
    x = jnp.arange(6.0).reshape(2, 3)
    for dtype in (None, jnp.float32, jnp.int8, jnp.bool, jnp.complex128, jnp.bfloat16):
        for name in ("zeros", "ones"):
            made, own = getattr(arrays, name)((2, 3), dtype=dtype), getattr(jnp, name)((2, 3), dtype=dtype)
            assert made.dtype == own.dtype and (made == own).all() and not made.weak_type
            made = getattr(arrays, f"{name}_like")(x, dtype=dtype)
            assert made.dtype == (x.dtype if dtype is None else dtype) and (made == own.astype(made.dtype)).all()
    for value, dtype in (
        (3, jnp.int32),
        (-1, jnp.uint8),
        (2.5, jnp.float32),
        (2.5, None),
        (2.5, jnp.int32),
        (True, None),
    ):
        made, own = arrays.full(4, value, dtype=dtype), jnp.full(4, value, dtype=dtype)
        assert made.dtype == own.dtype and (made == own).all()


def test_constants_are_small_in_a_program(compiled):
    step = pg.jit(lambda x: x + pg.full((1000, 1000), 3.0) * pg.zeros_like(x))
    assert len(step.hlo(pg.ones((1000, 1000)))) < 20_000
