"""The graph and the walks over it: depth, lifetime, order, sharing, accumulation, threads."""

import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest

import polygrad as pg


@pytest.fixture
def no_collector():
    """Reference counts alone must do."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def nodes_of(t):
    """Every node that a tensor was computed from."""
    found, stack = {}, [t.grad_fn]
    while stack:
        n = stack.pop()
        if n is not None and id(n) not in found:
            found[id(n)] = n
            stack.extend(e for e, _ in n.next_functions)
    return list(found.values())


# ----------------------------------------------------------------------------------------------------- depth, lifetime


def test_a_hundred_thousand_ops_run_backward_without_recursion():
    x = pg.tensor(1.0, requires_grad=True)
    h = x
    for _ in range(50_000):
        h = h * 1.0 + 1e-6
    h.backward()
    assert x.grad.item() == 1.0
    h = x
    for _ in range(100_000):
        h = -h
    (g,) = pg.autograd.grad(h, x)
    assert g.item() == 1.0
    del h


def test_a_deep_graph_runs_backward_on_every_backend(backend):
    x = pg.tensor(1.0, requires_grad=True)
    h = x
    for _ in range(2_000):
        h = h + 0.001
    h.backward()
    assert x.grad.item() == 1.0


def test_a_deep_graph_can_be_differentiated_twice():
    x = pg.tensor(0.5, requires_grad=True, dtype=pg.float64)
    h = x
    for _ in range(3_000):
        h = h * 1.0001
    (g,) = pg.autograd.grad(h * h, x, create_graph=True)
    (gg,) = pg.autograd.grad(g, x)
    assert abs(gg.item() - 2 * 1.0001**6000) < 1e-9


def test_after_del_no_node_is_alive(backend, no_collector):
    w = pg.ones(3, 3, requires_grad=True)
    x = pg.ones(2, 3)
    parts = pg.tanh(x @ w).split(1)
    loss = (parts[0] * pg.exp(parts[1]) + x[0, 1] * w.unbind()[0]).sum() + pg.concat([w, w]).max(dim=0).values.sum()
    alive = [weakref.ref(n) for n in nodes_of(loss) if n.name() != "AccumulateGrad"]
    assert len(alive) > 8
    del parts
    loss.backward()
    del loss
    assert [r() for r in alive if r() is not None] == []


@pytest.mark.parametrize("create_graph", [False, True])
def test_after_del_no_node_of_a_gradient_is_alive(backend, no_collector, create_graph):
    w = pg.ones(3, requires_grad=True)
    y = (pg.exp(w) * w).sum()
    (g,) = pg.autograd.grad(y, w, create_graph=create_graph)
    alive = [weakref.ref(n) for n in nodes_of(y) + nodes_of(g * w) if n.name() != "AccumulateGrad"]
    del y, g
    assert [r() for r in alive if r() is not None] == []


def test_a_graph_that_was_never_walked_dies_with_its_last_tensor(backend, no_collector):
    w = pg.ones(3, requires_grad=True)
    y = w * 2
    z = pg.exp(y)
    alive = [weakref.ref(y.grad_fn), weakref.ref(z.grad_fn)]
    del y
    assert alive[0]() is not None
    del z
    assert alive[0]() is None and alive[1]() is None
    del w


def test_dropping_a_deep_graph_does_not_overflow_the_stack():
    x = pg.tensor(1.0, requires_grad=True)
    h = x
    for _ in range(200_000):
        h = -h
    del h


def test_backward_drops_what_was_kept_as_it_walks(backend):
    w = pg.ones(3, requires_grad=True)
    h = pg.exp(w)
    kept = [n.y for n in nodes_of(h) if getattr(n, "y", None) is not None]
    assert kept
    h.sum().backward()
    assert all(getattr(n, "y", None) is None for n in nodes_of(h))


# -------------------------------------------------------------------------------------------------- shape of the graph


def test_a_value_used_many_times_gathers_all_its_cotangents(backend):
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    y = x * x + x * 3 + x
    (y + y * y).sum().backward()
    np.testing.assert_allclose(x.grad.tolist(), [(2 + 4) * (1 + 2 * 5), (4 + 4) * (1 + 2 * 12)])


def test_a_diamond_walks_each_node_once(backend):
    calls = []
    x = pg.tensor(1.0, requires_grad=True)
    a = x * 2
    a.register_hook(lambda g: calls.append(g.item()))
    b, c = a * 3, a * 4
    (b + c).backward()
    assert calls == [7.0] and x.grad.item() == 14.0


def test_the_same_operand_twice(backend):
    x = pg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (x @ x + x * x + pg.concat([x, x])[:2]).sum().backward()
    value = np.array([[1.0, 2.0], [3.0, 4.0]])
    expected = value.sum(axis=1)[None, :] + value.sum(axis=0)[:, None] + 2 * value + 1
    np.testing.assert_allclose(x.grad.tolist(), expected)


def test_several_outputs_at_once(backend):
    x = pg.tensor(2.0, requires_grad=True)
    a, b = x * 3, x * x
    pg.autograd.backward([a, b, a], [pg.tensor(1.0), pg.tensor(10.0), pg.tensor(1.0)])
    assert x.grad.item() == 46.0
    (g,) = pg.autograd.grad([x * 3, x], x, [pg.tensor(2.0), pg.tensor(5.0)])
    assert g.item() == 11.0


def test_an_output_that_is_an_input(backend):
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    (g,) = pg.autograd.grad(x, x, pg.tensor([5.0, 6.0]))
    assert g.tolist() == [5.0, 6.0]
    x.backward(pg.tensor([1.0, 1.0]))
    assert x.grad.tolist() == [1.0, 1.0]
    y = x * 2
    gy, gx = pg.autograd.grad(y, [y, x], pg.tensor([1.0, 2.0]))
    assert gy.tolist() == [1.0, 2.0] and gx.tolist() == [2.0, 4.0]


def test_results_of_one_op_that_nothing_uses(backend):
    x = pg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    _, second, _ = x.unbind()
    (second * second).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0], [6.0, 8.0], [0.0, 0.0]]
    values, indices = x.topk(1)
    assert values.requires_grad and not indices.requires_grad


def test_cotangents_fit_the_operand(backend):
    """Broadcasting, mixed dtypes and real operands of complex results."""
    a = pg.ones(3, 1, requires_grad=True)
    b = pg.ones(4, dtype=pg.float64, requires_grad=True)
    s = pg.tensor(2.0, requires_grad=True)
    z = (a * b * s) * (1 + 2j)
    assert z.dtype is pg.complex128
    (z.real + z.imag).sum().backward()
    for leaf, shape, dtype in ((a, (3, 1), pg.float32), (b, (4,), pg.float64), (s, (), pg.float32)):
        assert leaf.grad.shape == shape and leaf.grad.dtype is dtype and leaf.grad.backend == backend.name
    assert s.grad.item() == 36.0


def test_accumulation_into_a_gradient(backend):
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    x.grad.zero_()
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_only_what_a_rule_reads_is_kept():
    w = pg.ones(3, requires_grad=True)
    c = pg.ones(3)
    assert (w + c).grad_fn.kept == () and (w + c).grad_fn.y is None
    kept = (w * c).grad_fn.kept
    assert kept[0] is None and kept[1] is c._array  # the other factor, and only where its partner needs it
    y = pg.tanh(w)
    assert y.grad_fn.kept == () and y.grad_fn.y is y._array
    assert w.sum().grad_fn.kept == ()
    matrix, other = pg.ones(3, 3, requires_grad=True), pg.ones(3, 3)
    kept = (matrix @ other).grad_fn.kept
    assert kept[0] is None and kept[1] is other._array


# ------------------------------------------------------------------------------------------------- threads and tasks


def test_threads_have_their_own_grad_mode(backend):
    seen, ready, go = {}, threading.Barrier(2), threading.Barrier(2)

    def work(name, mode):
        x = pg.tensor(2.0, requires_grad=True)
        with mode():
            ready.wait(10)
            y = x * x
            go.wait(10)
            seen[name] = y.requires_grad, pg.is_grad_enabled()
        seen[name] += ((x * x).requires_grad,)

    jobs = [threading.Thread(target=work, args=a) for a in (("off", pg.no_grad), ("on", pg.enable_grad))]
    with pg.no_grad():
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(20)
    assert seen == {"off": (False, False, True), "on": (True, True, True)}


def test_tasks_have_their_own_grad_mode(backend):
    seen = {}

    async def work(name, mode, turns):
        x = pg.tensor(2.0, requires_grad=True)
        with mode():
            for _ in range(turns):
                await asyncio.sleep(0)
                seen.setdefault(name, set()).add((x * x).requires_grad)
        assert (x * x).requires_grad

    async def main():
        await asyncio.gather(work("off", pg.no_grad, 5), work("on", pg.enable_grad, 7))

    asyncio.run(main())
    assert seen == {"off": {False}, "on": {True}}


def test_a_graph_built_in_one_thread_runs_backward_in_another(backend):
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    built = []
    maker = threading.Thread(target=lambda: built.append((x * x).sum()))
    maker.start()
    maker.join(20)
    walker = threading.Thread(target=built[0].backward)
    walker.start()
    walker.join(20)
    assert x.grad.tolist() == [2.0, 4.0]


def test_many_threads_add_to_one_gradient():
    x = pg.tensor(0.0, requires_grad=True)

    def work():
        for _ in range(200):
            (x * 1.0).backward()

    jobs = [threading.Thread(target=work) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert x.grad.item() == 800.0


# --------------------------------------------------------------------------------------- nothing is half-changed


def test_a_walk_that_fails_leaves_every_gradient_as_it_was(backend):
    a, b = pg.tensor([1.0, 2.0], requires_grad=True), pg.tensor([1.0, 2.0], requires_grad=True)
    (a * b).sum().backward()
    before = a.grad.tolist(), b.grad.tolist()

    def refuse(g):
        raise ValueError("no")

    h = a * 2
    h.register_hook(refuse)
    with pytest.raises(ValueError, match="no"):
        (b + h).sum().backward()
    y = (a * b).sum()
    y.backward(retain_graph=False)
    again = a.grad.tolist(), b.grad.tolist()
    with pytest.raises(RuntimeError, match="second time"):
        (y + b.sum()).backward()
    assert (a.grad.tolist(), b.grad.tolist()) == again
    assert again == ([2 * v for v in before[0]], [2 * v for v in before[1]])
