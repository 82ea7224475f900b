"""Hooks on tensors, on nodes and on what nodes keep; anomaly mode. Beside PyTorch where it has the same."""

import threading
import warnings

import numpy as np
import pytest

import polygrad as pg
from conftest import require_torch


def both():
    return pg, require_torch()


# ------------------------------------------------------------------------------------------------------ tensor hooks


def test_a_hook_sees_the_gradient_and_may_replace_it(backend):
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    seen = []
    y = x * 3
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.sum().backward(retain_graph=True)
    assert seen == [[1.0, 1.0], [10.0, 10.0]]
    assert x.grad.tolist() == [30.0, 30.0]
    handle.remove()
    handle.remove()
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def order_of_hooks(lib):
    events = []

    def note(name):
        return lambda *args: events.append(
            (name, [tuple(map(none_or_list, a)) if isinstance(a, tuple) else none_or_list(a) for a in args])
        )

    x = lib.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    z = y * y
    y.register_hook(note("y"))
    y.retain_grad()
    x.register_hook(note("x"))
    x.register_post_accumulate_grad_hook(lambda t: events.append(("after", t.grad.tolist())))
    y.grad_fn.register_prehook(note("pre y"))
    y.grad_fn.register_hook(note("post y"))
    z.grad_fn.register_prehook(note("pre z"))
    z.grad_fn.register_hook(note("post z"))
    leaf = y.grad_fn.next_functions[0][0]
    leaf.register_prehook(note("pre x"))
    leaf.register_hook(note("post x"))
    assert leaf.variable is x
    z.sum().backward()
    return events, y.grad.tolist(), x.grad.tolist()


def none_or_list(t):
    return t if t is None or isinstance(t, list) else t.tolist()


def test_hooks_run_in_torchs_order():
    ours, theirs = (order_of_hooks(lib) for lib in both())
    # PyTorch runs the post-hook of an AccumulateGrad before the post-accumulate hook of its tensor, or after: either way once.
    assert sorted(map(str, ours[0])) == sorted(map(str, theirs[0]))
    assert [e for e in ours[0] if e[0] not in ("post x", "after")] == [
        e for e in theirs[0] if e[0] not in ("post x", "after")
    ]
    assert ours[1:] == theirs[1:]


def replacing_hooks(lib):
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    y.grad_fn.register_prehook(lambda gs: (gs[0] + 1,))
    y.grad_fn.register_hook(lambda ins, outs: (ins[0] * 100, *ins[1:]))
    x.register_hook(lambda g: g + 0.5)
    y.sum().backward()
    return y.grad.tolist(), x.grad.tolist()


def test_hooks_that_replace_do_what_torchs_do():
    ours, theirs = (replacing_hooks(lib) for lib in both())
    assert ours == theirs


@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_run_in_grad_and_in_recorded_walks(backend, create_graph):
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: g * 5)
    y = x * x
    y.register_hook(lambda g: g * 2)
    (g,) = pg.autograd.grad(y.sum(), x, create_graph=create_graph)
    assert g.tolist() == [20.0, 40.0]
    assert g.requires_grad is create_graph
    if create_graph:
        (gg,) = pg.autograd.grad(g.sum(), x)
        assert gg.tolist() == [100.0, 100.0]


def test_a_hook_on_one_of_several_results(backend):
    x = pg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = x.unbind()
    first.register_hook(lambda g: g * 10)
    assert first.grad_fn is second.grad_fn and (first.output_nr, second.output_nr) == (0, 1)
    seen = []
    first.grad_fn.register_prehook(lambda gs: seen.append([none_or_list(g) for g in gs]))
    first.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [[10.0, 10.0], [0.0, 0.0]]
    assert seen == [[[10.0, 10.0], None]]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda g: 1.0, "returned a float"),
        (lambda g: g.sum(), "changed the shape"),
        (lambda g: g.double(), "changed the dtype"),
    ],
)
def test_a_hook_that_answers_wrongly_is_named(backend, answer, message):
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2

    def mine(g):
        return answer(g)

    y.register_hook(mine)
    with pytest.raises((RuntimeError, TypeError), match=f"'mine'.*{message}"):
        y.sum().backward()
    assert x.grad is None


def test_hooks_where_there_is_no_gradient(backend):
    t = pg.tensor([1.0])
    for register in (t.register_hook, t.register_post_accumulate_grad_hook):
        with pytest.raises(RuntimeError, match="doesn't require gradient"):
            register(print)
    with pytest.raises(RuntimeError, match="non-leaf"):
        (pg.tensor([1.0], requires_grad=True) * 2).register_post_accumulate_grad_hook(print)


def test_a_step_inside_backward(backend):
    """The optimizer in the hook: the gradient is used and dropped at once."""
    w = pg.tensor([1.0, 2.0], requires_grad=True)

    def step(p):
        with pg.no_grad():
            p -= 0.25 * p.grad
        p.grad = None

    with w.register_post_accumulate_grad_hook(step):
        (w * w).sum().backward()
    assert w.tolist() == [0.5, 1.0] and w.grad is None
    (w * w).sum().backward()
    assert w.tolist() == [0.5, 1.0] and w.grad.tolist() == [1.0, 2.0]


def multi(lib, mode):
    seen = []
    a, b = (lib.tensor(2.0, requires_grad=True) for _ in range(2))
    c, d = a * b, a * b

    def fn(grads):
        seen.append([None if g is None else g.item() for g in grads] if mode == "all" else grads.item())

    handle = lib.autograd.graph.register_multi_grad_hook((a, b, c, d), fn, mode=mode)
    c.backward(retain_graph=True)
    c.backward(inputs=[a], retain_graph=True)
    d.backward(retain_graph=True)
    handle.remove()
    c.backward()
    return seen


def test_a_multi_grad_hook_is_called_once_a_backward():
    ours, theirs = (multi(lib, "any") for lib in both())
    assert ours == theirs
    assert multi(pg, "all") == [[2.0, 2.0, 1.0, None], [2.0, None, 1.0, None], [2.0, 2.0, None, 1.0]]
    with pytest.raises(ValueError, match="mode"):
        pg.autograd.graph.register_multi_grad_hook([], print, mode="some")


def test_a_multi_grad_hook_in_two_threads():
    seen = []
    a = pg.tensor(1.0, requires_grad=True)
    pg.autograd.graph.register_multi_grad_hook((a,), lambda gs: seen.append(gs[0].item()))
    jobs = [threading.Thread(target=lambda k=k: (a * k).backward()) for k in range(1, 9)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(20)
    assert sorted(seen) == list(range(1, 9))


# --------------------------------------------------------------------------------------------------- saved tensors


def saved(lib):
    packed, opened = [], []

    def pack(t):
        packed.append((tuple(t.shape), t.requires_grad))
        return t.detach().tolist()

    def unpack(values):
        opened.append(1)
        return lib.tensor(values, dtype=lib.float64)

    x = lib.tensor([[0.5, 1.0], [1.5, 2.0]], requires_grad=True, dtype=lib.float64)
    with lib.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = lib.tanh(x @ x) * x.exp()
    z = y.sum()
    count = len(packed)
    z.backward()
    return x.grad.tolist(), count == len(packed), len(opened) == count


def test_what_is_kept_goes_through_the_hooks():
    ours, theirs = (saved(lib) for lib in both())
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
    assert ours[1:] == theirs[1:] == (True, True)


def test_packed_values_in_every_kind_of_op(backend):
    def compute(x):
        parts = pg.concat([x, x * 2]).unbind()
        q = pg.stack(parts[:2]).max(dim=0).values + parts[2].cumprod(0)
        return (q * x.softmax(1)[0] + x.prod() + x[0] ** 2.5).sum()

    x = pg.tensor([[0.5, 1.0, 2.0], [1.5, 2.0, 0.3]], requires_grad=True, dtype=pg.float64)
    (expected,) = pg.autograd.grad(compute(x), x)
    for create_graph in (False, True):
        with pg.autograd.graph.saved_tensors_hooks(
            lambda t: t.numpy() if not t.requires_grad else t.detach().numpy(), pg.tensor
        ):
            y = compute(x)
        (g,) = pg.autograd.grad(y, x, create_graph=create_graph)
        np.testing.assert_array_equal(g.tolist(), expected.tolist())
    (second,) = pg.autograd.grad(g.sum(), x)
    (wanted,) = pg.autograd.grad(pg.autograd.grad(compute(x), x, create_graph=True)[0].sum(), x)
    np.testing.assert_allclose(second.tolist(), wanted.tolist(), rtol=1e-12)


def test_saved_values_may_wait_on_another_backend():
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    with pg.autograd.graph.saved_tensors_hooks(lambda t: t.detach().to("array_api_strict"), lambda t: t.to("numpy")):
        y = (x * x * x).sum()
    y.backward()
    assert x.grad.tolist() == [3.0, 12.0]
    with pg.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t.detach().to("array_api_strict")):
        y = (x * x).sum()
    with pytest.raises(RuntimeError, match="unpack hook.*'array_api_strict'.*'numpy'"):
        y.backward()
    with pg.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: 1):
        y = (x * x).sum()
    with pytest.raises(TypeError, match="unpack hook returned a int"):
        y.backward()


def test_saving_on_the_host(backend):
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    with pg.autograd.graph.save_on_cpu(pin_memory=True):
        y = (x * x * x).sum()
    y.backward()
    assert x.grad.tolist() == [3.0, 12.0]


def test_saved_tensor_hooks_can_be_forbidden(backend):
    hooks = pg.autograd.graph.saved_tensors_hooks
    with pg.autograd.graph.disable_saved_tensors_hooks("not here"):
        with pytest.raises(RuntimeError, match="not here"), hooks(print, print):
            pass
    with hooks(lambda t: t, lambda t: t):
        with pytest.raises(RuntimeError, match="nor here"), pg.autograd.graph.disable_saved_tensors_hooks("nor here"):
            pass


# ------------------------------------------------------------------------------------------------- gradient edges


def edges(lib):
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    edge = lib.autograd.graph.get_gradient_edge(y)
    part = lib.autograd.graph.get_gradient_edge(x.unbind()[1])
    z = (y * 3).sum()
    (g,) = lib.autograd.grad(z, edge, retain_graph=True)
    (h,) = lib.autograd.grad(edge, x, lib.ones(2), retain_graph=True)
    assert part.output_nr == 1 and edge.node.name() == "MulBackward0"
    lib.autograd.backward([edge], [lib.ones(2)], inputs=[x])
    return g.tolist(), h.tolist(), x.grad.tolist()


def test_gradient_edges_stand_for_tensors():
    ours, theirs = (edges(lib) for lib in both())
    assert ours == theirs
    with pytest.raises(RuntimeError, match="does not require grad"):
        pg.autograd.graph.get_gradient_edge(pg.ones(2))


# ---------------------------------------------------------------------------------------------------- anomaly mode


def test_anomaly_mode_shows_the_line(backend):
    x = pg.tensor([0.0, 1.0], requires_grad=True)
    with pg.autograd.detect_anomaly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of 0 / 0
        y = pg.sqrt(x) * 0  # the culprit
        with pytest.raises(RuntimeError) as caught:
            y.sum().backward()
    message = str(caught.value)
    assert "Function 'SqrtBackward0' returned nan values in its 0th output" in message
    assert "test_hooks.py" in message and "the culprit" in message and "test_anomaly_mode_shows_the_line" in message
    assert x.grad is None


def test_anomaly_mode_in_grad_and_in_recorded_walks():
    x = pg.tensor(0.0, requires_grad=True)
    for create_graph in (False, True):
        with pg.autograd.set_detect_anomaly(True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert pg.autograd.is_anomaly_enabled()
            with pytest.raises(RuntimeError, match="SqrtBackward0"):
                pg.autograd.grad(pg.sqrt(x) * 0, x, create_graph=create_graph)
    assert not pg.autograd.is_anomaly_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = pg.sqrt(x) * 0
        with (
            pg.autograd.detect_anomaly(),
            pytest.raises(RuntimeError, match="is known for graphs built in anomaly mode"),
        ):
            y.backward(retain_graph=True)
        with pg.autograd.detect_anomaly(check_nan=False):
            y.backward()


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
@pytest.mark.filterwarnings("ignore:Error detected in MulBackward0:UserWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_anomaly_mode_names_the_operand():
    for lib in both():
        x = lib.tensor(0.0, requires_grad=True)
        with (
            lib.autograd.detect_anomaly(),
            pytest.raises(RuntimeError, match="'MulBackward0' returned nan values in its 1th"),
        ):
            ((lib.tensor(float("inf")) * x) * 0).backward()


def test_anomaly_mode_finds_nothing_in_a_sound_graph(backend):
    x = pg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with pg.autograd.detect_anomaly():
        (pg.tanh(x @ x) * x.max(dim=0).values).sum().backward()
    assert x.grad.shape == (2, 2)
