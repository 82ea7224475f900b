"""cond and while_loop, eager and compiled."""

import pytest

import polygrad as pg
from jitting import close, values
from polygrad.jit import TraceError

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
