"""Compiled functions and the world around them: what they read and write from outside, and failures, told and undone."""

import contextvars
import itertools
import types

import numpy as np
import pytest

import polygrad as pg
from conftest import COMPILED, backend_names
from jitting import close, network, values
from polygrad.jit import TraceError

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


def test_numbers_in_a_tuple_that_is_replaced(compiled):
    settings = types.SimpleNamespace(pair=(1.0, 2))
    run = pg.jit(lambda x: x * settings.pair[0] + settings.pair[1])
    x = pg.tensor([1.0])
    for i in range(5):
        settings.pair = (i / 2, i)
        assert run(x).item() == i / 2 + i
    assert run.stats().traces == 2  # the second finds the numbers to vary
    settings.pair = (1.0, 2.5)
    assert run(x).item() == 3.5
    assert run.stats().traces == 3  # another type


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


# ---------------------------------------------------------------------------------------------------------- failures


FAILURES = {
    "branch": lambda x, w: w if (x * w).sum() > 0 else -w,
    "float": lambda x, w: w * float((x * w).sum()),
    "item": lambda x, w: w * (x * w).sum().item(),
    "numpy": lambda x, w: (x * w).detach().numpy(),
    "list": lambda x, w: (x * w).tolist(),
    "host": lambda x, w: np.asarray((x * w).detach()),
    "range": lambda x, w: [w for _ in range(x.sum().long())],
    "mask": lambda x, w: w[x > 0],
    "nonzero": lambda x, w: pg.nonzero(x),
    "format": lambda x, w: f"{x.sum():.3f}",
}


@pytest.mark.parametrize("name", FAILURES)
def test_the_value_of_a_traced_tensor(name, compiled):
    function = FAILURES[name]
    w = pg.tensor([1.0, 2.0])
    with pytest.raises(TraceError) as caught:
        pg.jit(lambda x: function(x, w))(pg.tensor([3.0, 4.0]))
    assert "polygrad.where" in str(caught.value) or "polygrad.cond" in str(caught.value)
    if name not in ("mask", "nonzero"):
        assert "test_jit_environment.py" in str(caught.value)
    assert w.tolist() == [1, 2]


@pytest.mark.parametrize("home", [name for name in backend_names() if name not in COMPILED])
@pytest.mark.parametrize("name", FAILURES)
def test_strict_mode_refuses_the_same_without_a_compiler(name, home, monkeypatch):
    function = FAILURES[name]
    with pg.use_backend(home):
        x, w = pg.tensor([3.0, 4.0]), pg.tensor([1.0, 2.0])
        run = pg.jit(lambda x: function(x, w))
        run(x)
        monkeypatch.setenv("POLYGRAD_JIT_STRICT", "1")
        with pytest.raises(TraceError, match="polygrad.where"):
            run(x)


def test_strict_mode_undoes_what_a_failing_function_did(monkeypatch):
    monkeypatch.setenv("POLYGRAD_JIT_STRICT", "1")
    with pg.use_backend("numpy"):
        fails_and_leaves_no_trace()
        w = pg.tensor([1.0])
        step = pg.jit(lambda x: w.add_(x))
        step(pg.tensor([1.0]))
        assert w.tolist() == [2]


def fails_and_leaves_no_trace():
    """A step that changes everything it can reach before it raises."""
    model, optimizer = network()
    log, state = [pg.tensor([1.0])], types.SimpleNamespace(n=1, t=pg.tensor([2.0]), d={"a": 1})
    old = state.t
    before = values(*model.state_dict().values())
    for p in model.parameters():
        p.grad = pg.ones_like(p)

    def step(x):
        nonlocal log
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
        state.n, state.t, state.extra = 7, state.t * 2, x
        state.d["b"] = x
        del state.d["a"]
        log.append(x)
        old.add_(1)
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        pg.jit(step)(pg.ones((3, 6)))
    close(before, values(*model.state_dict().values()), 0)
    assert all((p.grad.numpy() == 1).all() for p in model.parameters())
    assert (state.n, state.t is old, old.tolist(), state.d) == (1, True, [2.0], {"a": 1})
    assert not hasattr(state, "extra")
    assert len(log) == 1
    optimizer.step()  # eager code goes on


def test_an_exception_leaves_everything_as_it_was(compiled):
    fails_and_leaves_no_trace()


@pytest.mark.parametrize("strict", [False, True])
def test_a_list_that_grows(strict, monkeypatch):
    if strict:
        monkeypatch.setenv("POLYGRAD_JIT_STRICT", "1")
    elif not COMPILED:
        pytest.skip("no backend with a compiler")
    with pg.use_backend("numpy" if strict else COMPILED[0]):
        log, members, w = [], set(), pg.tensor([1.0])

        def step(x):
            w.add_(x)
            log.append(x * 2)

        with pytest.raises(TraceError, match="list log"):
            pg.jit(step)(pg.tensor([1.0]))
        assert (log, w.tolist()) == ([], [1])
        with pytest.raises(TraceError, match="set members"):
            pg.jit(lambda x: members.add(1))(pg.tensor([1.0]))
        assert members == set()


def test_an_iterator_is_refused(compiled):
    batches = iter([pg.ones(2), pg.zeros(2)])
    with pytest.raises(TraceError, match="iterator batches"):
        pg.jit(lambda: next(batches) * 2)()
    counter = itertools.count()
    with pytest.raises(TraceError, match="iterator counter"):
        pg.jit(lambda x: x * next(counter))(pg.ones(2))


HIDDEN = contextvars.ContextVar("hidden")


def test_a_tensor_that_cannot_be_found_again(compiled):
    HIDDEN.set(pg.tensor([1.0]))

    def read(x):
        return x * HIDDEN.get()

    def write(x):
        HIDDEN.get().add_(x)

    def give(x):
        return HIDDEN.get()

    for function in (read, write, give):
        with pytest.raises(TraceError, match="cannot find again"):
            pg.jit(function)(pg.tensor([1.0]))
    assert HIDDEN.get().tolist() == [1]


def test_a_tensor_of_another_backend(compiled):
    with pg.use_backend("numpy"):
        other = pg.tensor([1.0])
    with pytest.raises(TraceError, match="on backend 'numpy'"):
        pg.jit(lambda x: other * 2)(pg.tensor([1.0]))


def test_a_grad_mode_that_leaks(compiled):
    with pytest.raises(TraceError, match="grad mode"):
        pg.jit(lambda x: pg.set_grad_enabled(False) and x)(pg.tensor([1.0]))
    assert pg.is_grad_enabled()


def test_many_captures_are_told(compiled):
    class Schedule:
        depth = 1

    run = pg.jit(lambda x: [x for _ in range(Schedule.depth)])
    with pytest.warns(RuntimeWarning, match="Schedule.depth"):
        for Schedule.depth in range(1, 9):
            assert len(run(pg.ones(1))) == Schedule.depth


def test_printing_inside(compiled, capsys):
    def step(x):
        print(x, repr(x * 2))
        return x

    pg.jit(step)(pg.ones(2))
    assert "traced" in capsys.readouterr().out


def test_wrong_use():
    with pytest.raises(TypeError, match="expects a function"):
        pg.jit(3)
    with pytest.raises(TypeError):
        pg.jit(lambda x: x)(1, 2)


def test_misuse_of_an_op_keeps_its_error(compiled):
    with pytest.raises(TypeError):
        pg.jit(lambda x: pg.matmul(x, pg.ones((7, 7))))(pg.ones((2, 3)))
