"""Compiled functions: what is refused and undone, looking inside, threads, and control flow."""

import contextvars
import itertools
import math
import threading
import types

import numpy as np
import pytest

import polygrad as pg
from conftest import COMPILED
from polygrad.jit import TraceError
from polygrad.jit.numbers import Tape
from test_jit import close, network, values

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
        assert "test_jit_refusals.py" in str(caught.value)
    assert w.tolist() == [1, 2]


@pytest.mark.parametrize("name", FAILURES)
def test_strict_mode_refuses_the_same_without_a_compiler(name, monkeypatch):
    function = FAILURES[name]
    x, w = pg.tensor([3.0, 4.0]), pg.tensor([1.0, 2.0])
    run = pg.jit(lambda x: function(x, w))
    with pg.use_backend("numpy"):
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


# ------------------------------------------------------------------------------------------------------- control flow


def choose(x, w):
    """A branch by value, of which both sides are differentiable in x and in a tensor from outside."""
    return pg.cond(x.sum() > 0, lambda a: (a * w).sum(), lambda a: (a * a + w).sum(), (x,))


@pytest.mark.parametrize("how", ["eager", "compiled"])
def test_cond(how, backend, double):
    w = pg.tensor([2.0, 3.0], requires_grad=True)

    def step(x):
        w.grad = None
        x = x.detach().requires_grad_()
        y = choose(x, w)
        y.backward()
        return y, x.grad, w.grad

    run = pg.jit(step) if how == "compiled" else step
    close(values(*run(pg.tensor([1.0, 2.0]))), [8.0, [2.0, 3.0], [1.0, 2.0]])
    close(values(*run(pg.tensor([-1.0, -2.0]))), [10.0, [-2.0, -4.0], [1.0, 1.0]])
    if how == "compiled" and backend.compiler is not None:
        assert run.stats().traces == 1


def test_cond_twice_differentiated_and_nested(compiled, double):
    def step(x):
        x = x.detach().requires_grad_()
        h = pg.sin(x)

        def inner(a):
            return pg.cond(a.sum() > 10, lambda b: b * b, lambda b: b**3 * h, (a,))

        y = pg.cond(x.sum() > 0, inner, lambda a: a**2 * 0.5, (x * 2,)).sum()
        (g,) = pg.autograd.grad(y, x, create_graph=True)
        (hess,) = pg.autograd.grad(g.sum(), x)
        return y, g, hess

    run = pg.jit(step)
    for v in (0.5, -0.5, 20.0):
        x = pg.tensor([v, v / 2])
        close(values(*step(x)), values(*run(x)))
    assert run.stats().traces == 1


def test_cond_of_plain_values():
    assert pg.cond(True, lambda: 1, lambda: 2) == 1
    assert pg.cond(0, lambda: 1, lambda: 2) == 2
    with pytest.raises(ValueError, match="0-d"):
        pg.cond(pg.tensor([True, False]), lambda: 1, lambda: 2)


def test_branches_that_do_not_fit(compiled):
    w = pg.tensor([1.0])

    def shapes(x):
        return pg.cond(x.sum() > 0, lambda: x, lambda: x.sum())

    def forms(x):
        return pg.cond(x.sum() > 0, lambda: (x, x), lambda: [x, x])

    def writes(x):
        return pg.cond(x.sum() > 0, lambda: w.add_(1), lambda: w)

    def own(x):
        return pg.cond(x.sum() > 0, lambda: x + "a", lambda: w)

    for function, message in ((shapes, "different"), (forms, "different"), (writes, "changes w")):
        with pytest.raises(TraceError, match=message):
            pg.jit(function)(pg.ones(2))
    with pytest.raises(TypeError) as caught:
        pg.jit(own)(pg.ones(2))
    assert not isinstance(caught.value, TraceError)
    assert w.tolist() == [1]


@pytest.mark.parametrize("how", ["eager", "compiled"])
def test_while_loop(how, backend):
    def collatz(n):
        return pg.while_loop(
            lambda n, steps: n > 1,
            lambda n, steps: (pg.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1),
            (n, pg.zeros((), dtype=pg.int64)),
        )[1]

    run = pg.jit(collatz) if how == "compiled" else collatz
    assert [run(pg.tensor(n)).item() for n in (1, 6, 7, 27)] == [0, 8, 16, 111]


def test_while_loop_and_gradients(compiled):
    def double(x, n):
        return pg.while_loop(lambda x, i: i < n, lambda x, i: (x * 2, i + 1), (x, 0))[0]

    x = pg.tensor([1.0], requires_grad=True)
    double(x, 3).sum().backward()
    assert x.grad.item() == 8

    def step(x):
        x = x.detach().requires_grad_()
        double(x, pg.tensor(3)).sum().backward()
        return x.grad

    with pytest.raises(RuntimeError, match="while_loop"):
        pg.jit(step)(x)
    with pg.no_grad():
        assert pg.jit(lambda x, n: double(x, n))(x, 5).item() == 32

    with pytest.raises(TraceError, match="keep the shapes"):
        pg.jit(lambda x: pg.while_loop(lambda x: x.sum() < 3, lambda x: (x.sum(),), (x,)))(pg.ones(2))


def test_control_flow_passes_strict_mode(monkeypatch):
    monkeypatch.setenv("POLYGRAD_JIT_STRICT", "1")
    with pg.use_backend("numpy"):
        w = pg.tensor([1.0, 1.0])
        assert pg.jit(lambda x: choose(x, w))(pg.tensor([1.0, 2.0])).item() == 3


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
