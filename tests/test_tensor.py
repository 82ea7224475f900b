"""What a tensor is: value semantics, buffer reuse, conversion, copies, and errors that change nothing."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import polygrad as pg
from conftest import backend_names


def raw(backend, values, dtype="float32"):
    """An array of the backend's own library."""
    return backend.asarray(values, dtype=dtype)


# ----------------------------------------------------------------------------------------------------- value semantics


def test_in_place_on_a_part_leaves_the_whole_alone(backend):
    t = pg.tensor([[1.0, 2.0], [3.0, 4.0]])
    x = t[0]
    x += 1
    assert x.tolist() == [2.0, 3.0]
    assert t.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_writing_into_the_whole_leaves_a_part_alone(backend):
    t = pg.tensor([[1.0, 2.0], [3.0, 4.0]])
    parts = [
        t[0],
        t[:, 1],
        t.T,
        t.reshape(4),
        t.view(-1),
        t.detach(),
        t.flatten(),
        *t.unbind(),
        t.clone(),
        t.data.clone(),
    ]
    before = [p.tolist() for p in parts]
    t[0, 1] = 9
    t += 5
    t.mul_(2)
    t.zero_()
    assert [p.tolist() for p in parts] == before
    assert t.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    "write",
    [
        lambda v: v.mul_(2),
        lambda v: v.__imul__(2),
        lambda v: v.zero_(),
        lambda v: v.__setitem__(0, 9),
        lambda v: v.copy_(pg.tensor([7.0, 7.0])),
        lambda v: v.exp_(),
    ],
)
def test_a_kept_value_is_the_one_that_was_used(backend, write):
    leaf = pg.tensor([3.0, 5.0], requires_grad=True)
    v = leaf * 1
    y = v * v
    write(v)
    y.sum().backward()
    assert leaf.grad.tolist() == [6.0, 10.0]


def test_a_constant_that_was_used_may_be_overwritten(backend):
    w = pg.tensor([1.0, 2.0], requires_grad=True)
    c = pg.tensor([3.0, 4.0])
    y = (w * c).sum()
    c += 10
    c[0] = 0
    y.backward()
    assert w.grad.tolist() == [3.0, 4.0]


def test_a_result_that_was_kept_may_be_overwritten(backend):
    w = pg.tensor([0.0, 0.0], requires_grad=True)
    y = pg.exp(w)
    total = y.sum()
    with pg.no_grad():
        y *= 100
    total.backward()
    assert w.grad.tolist() == [1.0, 1.0]


def test_the_gradient_of_a_leaf_that_was_stepped_is_that_of_the_old_value(backend):
    w = pg.tensor([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    with pg.no_grad():
        w -= 0.5
    y.backward()
    assert w.grad.tolist() == [2.0, 4.0]
    assert w.tolist() == [0.5, 1.5]


def test_an_optimizer_step_in_place(backend):
    w = pg.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(3):
        (w * w).sum().backward()
        with pg.no_grad():
            w -= 0.25 * w.grad
            w.grad.zero_()
    assert w.is_leaf and w.requires_grad
    assert w.tolist() == [0.125, 0.25]


def test_writing_into_data_reaches_the_tensor(backend):
    w = pg.tensor([1.0, 2.0], requires_grad=True)
    w.data -= 1
    assert w.tolist() == [0.0, 1.0] and w.requires_grad and w.is_leaf
    w.data[0] = 5
    w.data.mul_(2)
    assert w.tolist() == [10.0, 2.0]
    w.data.copy_(pg.tensor([3.0, 4.0]))
    w.data = w.data * 2
    assert w.tolist() == [6.0, 8.0]
    assert not w.data.requires_grad
    (w * w).sum().backward()
    assert w.grad.tolist() == [12.0, 16.0]


def test_a_gradient_given_away_does_not_change(backend):
    w = pg.tensor([1.0, 2.0], requires_grad=True)
    w.sum().backward()
    first = w.grad
    kept = first.clone()
    w.sum().backward()
    assert kept.tolist() == [1.0, 1.0]
    assert w.grad.tolist() == [2.0, 2.0]


def test_a_users_array_never_changes_and_never_changes_a_tensor(backend):
    host = np.ones(3, dtype=np.float32)
    t = pg.tensor(host)
    u = pg.asarray(host)
    host[0] = 7
    assert t.tolist() == u.tolist() == [1.0, 1.0, 1.0]
    t += 1
    assert host.tolist() == [7.0, 1.0, 1.0]


def test_what_is_lent_to_the_user_is_read_only(backend):
    t = pg.zeros(3)
    lent = [t.numpy(), np.asarray(t)]
    for host in lent:
        with pytest.raises(ValueError, match="read-only"):
            host[0] = 1
    t += 1
    assert [host[0] for host in lent] == [0.0, 0.0]
    assert np.array(t).flags.writeable


def test_a_gradient_passed_to_backward_is_not_written_into(backend):
    w = pg.tensor([1.0, 2.0], requires_grad=True)
    seed = pg.ones(2)
    w.backward(seed)
    w.backward(seed)
    assert seed.tolist() == [1.0, 1.0]
    assert w.grad.tolist() == [2.0, 2.0]


# ------------------------------------------------------------------------------------------------------- buffer reuse


def writes_into_its_buffer(t, write):
    before = id(t._array)
    write(t)
    return id(t._array) == before


WRITES = {
    "+=": lambda t: t.__iadd__(1.0),
    "-= tensor": lambda t, other=None: t.__isub__(pg.ones(3)),
    "*=": lambda t: t.__imul__(2.0),
    "t[0] =": lambda t: t.__setitem__(0, 5.0),
    "t[mask] =": lambda t: t.__setitem__(pg.tensor([True, False, True]), 5.0),
}


@pytest.fixture
def numpy_backend():
    with pg.use_backend("numpy") as chosen:
        yield chosen


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_an_unshared_buffer_is_reused(numpy_backend, write):
    t = pg.zeros(3)
    assert writes_into_its_buffer(t, write)
    w = pg.zeros(3, requires_grad=True)
    with pg.no_grad():
        assert writes_into_its_buffer(w, write)


SHARERS = {
    "view": lambda t: t[1:],
    "detach": lambda t: t.detach(),
    "data": lambda t: t.data,
    "numpy": lambda t: t.numpy(),
    "array": lambda t: t.array,
    "asarray": lambda t: np.asarray(t),
    "reshape": lambda t: t.reshape(3, 1),
    "broadcast": lambda t: t.expand(2, 3),
    "kept by a node": lambda t: pg.ones(3, requires_grad=True) * t,
    "copy": copy.copy,
    "dlpack": lambda t: np.from_dlpack(t),
    "memoryview": lambda t: memoryview(t.numpy()),
    "raw view": lambda t: t._array[:2],
    "clone": lambda t: t.clone(),
    "same dtype": lambda t: pg.astype(t, pg.float32, copy=False).detach(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("share", SHARERS.values(), ids=SHARERS)
def test_a_shared_buffer_is_never_written_into(numpy_backend, share, write):
    t = pg.tensor([1.0, 2.0, 3.0])
    sharer = share(t)
    before = np.array(sharer.detach() if isinstance(sharer, pg.Tensor) else sharer)
    write(t)
    after = np.array(sharer.detach() if isinstance(sharer, pg.Tensor) else sharer)
    np.testing.assert_array_equal(after, before)


def test_a_buffer_is_reused_again_when_the_sharer_is_gone(numpy_backend):
    t = pg.zeros(3)
    view = t[1:]
    assert not writes_into_its_buffer(t, WRITES["+="])
    del view
    assert writes_into_its_buffer(t, WRITES["+="])


def test_arrays_that_the_user_holds_are_not_written_into(numpy_backend):
    mine = np.zeros(3, dtype=np.float32)
    t = pg.asarray(mine, copy=False)
    t += 1
    assert mine.tolist() == [0.0, 0.0, 0.0]
    t = pg.from_dlpack(mine)
    t += 1
    t[0] = 5
    assert mine.tolist() == [0.0, 0.0, 0.0]
    mine.flags.writeable = False
    t = pg.asarray(mine, copy=False)
    del mine
    t += 1
    assert t.tolist() == [1.0, 1.0, 1.0]


def test_reuse_of_a_buffer_needs_the_same_dtype_and_shape(numpy_backend):
    t = pg.zeros(3)
    t += pg.ones(3, dtype=pg.float64)
    assert t.dtype is pg.float32 and t.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(RuntimeError, match="shape"):
        t += pg.ones(2, 3)
    n = pg.zeros(3, dtype=pg.int64)
    with pytest.raises(RuntimeError, match="can't be cast"):
        n += 0.5
    with pytest.raises(RuntimeError, match="can't be cast"):
        n += pg.ones(3)
    assert n.tolist() == [0, 0, 0] and t.tolist() == [1.0, 1.0, 1.0]


# ------------------------------------------------------------------------------------------- conversion and copies


@pytest.mark.parametrize(
    "leave",
    [
        lambda t: t.numpy(),
        lambda t: np.asarray(t),
        lambda t: np.array(t),
        lambda t: t.array,
        lambda t: t.__dlpack__(),
        lambda t: np.from_dlpack(t),
    ],
)
def test_leaving_the_graph_silently_is_refused(backend, leave):
    t = pg.tensor([1.0, 2.0], requires_grad=True)
    for x in (t, t * 2):
        with pytest.raises(RuntimeError, match=r"detach\(\)"):
            leave(x)
    leave(t.detach())


def test_numbers_out_of_a_tensor(backend):
    t = pg.tensor([2.0])
    assert float(t) == 2.0 and int(t) == 2 and bool(t) is True and complex(t) == 2 + 0j and t.item() == 2.0
    assert type(t.item()) is float and type(pg.tensor(3).item()) is int and type(pg.tensor(True).item()) is bool
    assert [10, 20, 30][pg.tensor(1)] == 20
    assert f"{pg.tensor(1.25):.1f}" == "1.2"
    two = pg.tensor([1.0, 2.0])
    for convert in (float, int, complex):
        with pytest.raises(TypeError, match="one element"):
            convert(two)
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(two)
    with pytest.raises(RuntimeError, match="Scalar"):
        two.item()
    with pytest.raises(TypeError, match="index"):
        [1][t]
    with pytest.raises(TypeError, match="0-d"):
        len(pg.tensor(1.0))
    with pytest.raises(TypeError, match="0-d"):
        list(pg.tensor(1.0))


def test_dlpack_goes_both_ways(backend):
    t = pg.tensor([1.0, 2.0])
    assert np.from_dlpack(t).tolist() == [1.0, 2.0]
    back = pg.from_dlpack(np.array([3.0, 4.0], dtype=np.float32))
    assert back.backend == backend.name and back.tolist() == [3.0, 4.0]


def test_copies_of_leaves(backend):
    t = pg.tensor([1.0, 2.0], requires_grad=True)
    (t * t).sum().backward()
    for made in (copy.deepcopy(t), copy.copy(t), pickle.loads(pickle.dumps(t))):
        assert made is not t and made.requires_grad and made.is_leaf
        assert made.tolist() == [1.0, 2.0] and made.dtype is t.dtype and made.backend == t.backend
        with pg.no_grad():
            made += 1
        assert t.tolist() == [1.0, 2.0]
    assert copy.deepcopy(t).grad.tolist() == [2.0, 4.0]
    both = copy.deepcopy([t, t])
    assert both[0] is both[1]
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(t * 2)
    with pytest.raises(RuntimeError, match="leaf"):
        pickle.dumps(t * 2)
    assert copy.copy(t * 2).tolist() == [2.0, 4.0]


def test_tensors_hash_by_identity_and_live_in_sets(backend):
    a, b = pg.tensor([1.0]), pg.tensor([1.0])
    assert len({a, b, a}) == 2 and {a: 1}[a] == 1


def test_a_tensor_can_be_watched_and_freed(backend):
    t = pg.tensor([1.0])
    seen = weakref.ref(t)
    gc.disable()
    try:
        del t
        assert seen() is None
    finally:
        gc.enable()


def test_making_a_tensor_of_a_tensor(backend):
    t = pg.tensor([1.0, 2.0], requires_grad=True)
    assert not pg.tensor(t).requires_grad and pg.asarray(t) is t
    rows = pg.asarray([t, t * 2])
    rows.sum().backward()
    assert rows.shape == (2, 2) and t.grad.tolist() == [3.0, 3.0]
    assert pg.Tensor([1.0, 2.0]).tolist() == [1.0, 2.0]
    assert pg.Tensor([1, 2], dtype=pg.float64, requires_grad=True).requires_grad


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", [n for n in backend_names() if n != "numpy"])
def test_two_backends_in_one_op(name):
    a = pg.tensor([1.0, 2.0], requires_grad=True)
    with pg.use_backend(name):
        b = pg.tensor([1.0, 2.0])
    for call in (
        lambda: a + b,
        lambda: b * a,
        lambda: pg.concat([a, b]),
        lambda: pg.where(a > 0, a, b),
        lambda: a @ b,
    ):
        with pytest.raises(RuntimeError, match=rf"backends.*numpy.*{name}|backends.*{name}.*numpy") as caught:
            call()
        assert ".to(" in str(caught.value)
    for call in (
        lambda: a.detach().__iadd__(b),
        lambda: a.detach().copy_(b),
        lambda: a.detach()[b > 1],
        lambda: a.sum().backward(gradient=b.sum()),
        lambda: setattr(a, "grad", b),
    ):
        with pytest.raises(RuntimeError, match=name):
            call()
    assert a.grad is None and a.tolist() == [1.0, 2.0]
    assert a.detach().to(name).backend == name
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        a.to(name)


def test_two_devices_in_one_op():
    strict = pytest.importorskip("array_api_strict")
    with pg.use_backend("array_api_strict"):
        a = pg.tensor([1.0, 2.0], requires_grad=True)
        b = pg.tensor([1.0, 2.0], device=strict.Device("device1"))
        assert a.device != b.device
        for call in (lambda: a + b, lambda: pg.matmul(a, b), lambda: pg.concat([a, b])):
            with pytest.raises(RuntimeError, match=r"same device.*CPU_DEVICE.*device1.*\.to\(device="):
                call()
        with pytest.raises(RuntimeError, match="device"):
            a.backward(gradient=b)
        assert a.grad is None
        moved = a.to(device=b.device)
        (moved * b).sum().backward()
        assert a.grad.tolist() == [1.0, 2.0] and a.grad.device == a.device


@pytest.mark.parametrize("value", [1, True, [1, 2]])
def test_integers_cannot_require_grad(backend, value):
    message = "[Oo]nly Tensors of floating point and complex dtype can require gradients"
    with pytest.raises(RuntimeError, match=message):
        pg.tensor(value, requires_grad=True)
    t = pg.tensor(value)
    with pytest.raises(RuntimeError, match=message):
        t.requires_grad = True
    with pytest.raises(RuntimeError, match=message):
        t.requires_grad_()
    with pytest.raises(RuntimeError, match=message):
        pg.zeros(2, dtype=pg.int32, requires_grad=True)
    assert not t.requires_grad
    t.requires_grad = False


def test_assigning_a_gradient_that_does_not_fit(backend):
    t = pg.tensor([1.0, 2.0], requires_grad=True)
    t.grad = pg.tensor([5.0, 6.0])
    for wrong, message in [
        (pg.zeros(3), "size"),
        (pg.zeros(2, dtype=pg.float64), "type"),
        (np.zeros(2), "Tensor or None"),
        (1.0, "Tensor or None"),
    ]:
        with pytest.raises((RuntimeError, TypeError), match=message):
            t.grad = wrong
    assert t.grad.tolist() == [5.0, 6.0]
    t.grad = None
    assert t.grad is None


def test_shapes_that_do_not_fit_change_nothing(backend):
    t = pg.tensor([1.0, 2.0, 3.0])
    other = pg.ones(2)
    for call in (lambda: t + other, lambda: t @ other, lambda: t.reshape(2), lambda: t.expand(2), lambda: t.view(2, 2)):
        with pytest.raises((RuntimeError, ValueError, TypeError)):
            call()
    for call in (
        lambda: t.__iadd__(other),
        lambda: t.copy_(other),
        lambda: t.__setitem__(slice(None), other),
        lambda: t.mul_(pg.ones(2, 3)),
        lambda: t.__setitem__(5, 1.0),
        lambda: t.__setitem__(0, "a"),
        lambda: t.fill_(1j),
    ):
        with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)):
            call()
        assert t.tolist() == [1.0, 2.0, 3.0]


def test_an_error_of_the_library_says_which_op_met_what(backend):
    with pytest.raises((RuntimeError, ValueError, TypeError)) as caught:
        pg.matmul(pg.ones(2, 3), pg.ones(2, 3))
    assert any("matmul(float32[2, 3], float32[2, 3])" in note for note in caught.value.__notes__)


def test_a_wrong_call_shows_the_signature(backend):
    x = pg.ones(2)
    for call in (
        lambda: pg.sum(x, axes=0),
        lambda: pg.sum(),
        lambda: pg.sum(x, 0, 1, 2, 3),
        lambda: pg.sum(x, axis=0, dim=0),
    ):
        with pytest.raises(TypeError, match=r"sum\(.*signature|sum\(\) got"):
            call()
    with pytest.raises(TypeError, match="polygrad.tensor"):
        pg.sum([1.0, 2.0])
    with pytest.raises(TypeError, match="number, nested lists"):
        pg.tensor("a")
    assert pg.sum(x, dim=0, keepdim=True).shape == (1,)
