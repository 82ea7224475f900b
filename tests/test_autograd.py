"""What `backward`, `grad` and the modes do, row by row beside PyTorch itself."""

import asyncio
import copy
import inspect
import re
import threading
import warnings

import numpy as np
import pytest

import polygrad as pg
from conftest import require_torch


def both():
    return pg, require_torch()


class Scene:
    """The tensors that a row is about, in one of the two libraries."""

    def __init__(self, lib):
        self.lib, self.ag = lib, lib.autograd
        self.x = lib.tensor([2.0, 3.0], requires_grad=True)
        self.unused = lib.tensor([1.0], requires_grad=True)
        self.y = self.x * self.x
        self.loss = self.y.sum()


def outcome(row, lib):
    """What a row gives: plain numbers, or the kind of its error with the message."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(row(Scene(lib))), None
        except Exception as error:
            return type(error), str(error)


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def second_backward(s):
    s.loss.backward()
    s.loss.backward()


def twice_retained(s):
    s.loss.backward(retain_graph=True)
    s.loss.backward()
    return s.x.grad


def in_place_on_leaf(s):
    s.x += 1


def index_put_on_leaf(s):
    s.x[0] = 1


def retained(s):
    s.y.retain_grad()
    s.loss.backward()
    return s.y.grad, s.y.retains_grad, s.x.retains_grad


def accumulated(s):
    s.loss.backward(retain_graph=True)
    first = s.x.grad.tolist()
    s.loss.backward()
    return first, s.x.grad


def cleared(s, set_to_none):
    net = s.lib.nn.Linear(2, 1)
    net(s.x).sum().backward()
    net.zero_grad(set_to_none=set_to_none)
    return [p.grad for p in net.parameters()]


def frozen(s):
    s.x.requires_grad = False
    s.x.requires_grad_(True)
    (s.x * 2).sum().backward()
    return s.x.grad


def double(s):
    (g,) = s.ag.grad(s.loss * s.x[0], s.x, create_graph=True)
    g.sum().backward()
    return g, s.x.grad


def of_inputs(s):
    z = (s.y * s.unused).sum()
    z.backward(inputs=[s.x, s.y])
    return s.x.grad, s.y.grad, s.unused.grad


def detached(s):
    z = s.y.detach()
    z2 = s.y.detach_()
    return z.requires_grad, z2 is s.y, s.y.requires_grad, s.y.is_leaf, s.y.grad_fn


def graph(s):
    z = (s.y * 2 + s.x.exp()).sum()
    return walk(z.grad_fn)


def walk(node):
    return node.name().removeprefix("torch::autograd::"), [
        walk(n) if n is not None else i for n, i in node.next_functions
    ]


def metadata(s):
    s.y.grad_fn.metadata["mine"] = 1
    return s.y.grad_fn.metadata


def members(s):
    a, b = s.x.unbind()
    return (
        [s.x.is_leaf, s.y.is_leaf, s.x.grad_fn is None, s.x.requires_grad, s.lib.ones(2).is_leaf, s.x.output_nr],
        [b.output_nr, s.x._version, str(s.x.grad_dtype).rpartition(".")[2], s.x.data.requires_grad, s.y.data.is_leaf],
    )


def version(s):
    t = s.lib.ones(2)
    t += 1
    t.mul_(2)
    t[0] = 1
    return t._version


def no_longer(s):
    with s.lib.no_grad():
        z = s.x * 2
    return z.requires_grad, z.grad_fn


def inferred(s, then):
    with s.lib.inference_mode():
        z = s.x * 2
        inside = s.lib.is_inference_mode_enabled(), s.lib.is_grad_enabled()
    return then(s, z), inside, z.is_inference(), z.requires_grad


ROWS = {
    "no gradient for a non-scalar": (
        lambda s: s.y.backward(),
        "grad can be implicitly created only for scalar outputs",
    ),
    "no gradient for a complex scalar": (lambda s: (s.loss * 1j).backward(), "only for real scalar outputs"),
    "a second backward": (second_backward, "Trying to backward through the graph a second time.*retain_graph=True"),
    "retain_graph": (twice_retained, None),
    "in place on a leaf": (
        in_place_on_leaf,
        "a leaf Variable that requires grad is being used in an in-place operation",
    ),
    "an item of a leaf": (
        index_put_on_leaf,
        "a (view of a )?leaf Variable that requires grad is being used in an in-place",
    ),
    "an unused input": (lambda s: s.ag.grad(s.loss, [s.x, s.unused]), r"(index 1|inputs\[1\]).*allow_unused=True"),
    "allow_unused": (lambda s: s.ag.grad(s.loss, [s.x, s.unused], allow_unused=True), None),
    "materialize_grads": (lambda s: s.ag.grad(s.loss, [s.x, s.unused], materialize_grads=True), None),
    "both": (
        lambda s: s.ag.grad(s.loss, s.x, allow_unused=False, materialize_grads=True),
        "Expected allow_unused to be True or not passed when materialize_grads=True",
    ),
    "a constant": (
        lambda s: s.lib.ones(2).sum().backward(),
        "element 0 of tensors does not require grad and does not have a",
    ),
    "an input that is a constant": (lambda s: s.ag.grad(s.loss, s.lib.ones(2)), "does not require grad"),
    "integers": (
        lambda s: s.lib.ones(2, dtype=s.lib.int64).requires_grad_(),
        "only Tensors of floating point.*require grad",
    ),
    "integers, made": (
        lambda s: s.lib.tensor([1], requires_grad=True),
        "nly Tensors of floating point and complex dtype",
    ),
    ".grad of a non-leaf": (lambda s: (s.loss.backward(), s.y.grad)[1], None),
    "retain_grad": (retained, None),
    "retain_grad of a constant": (
        lambda s: s.lib.ones(1).retain_grad(),
        "can't retain_grad on Tensor that has requires_grad",
    ),
    "requires_grad of a non-leaf": (
        lambda s: s.y.requires_grad_(False),
        "only change requires_grad flags of leaf variables",
    ),
    "deepcopy of a non-leaf": (
        lambda s: copy.deepcopy(s.y),
        r"Only Tensors created explicitly by the user \(graph leaves\)",
    ),
    "deepcopy of a leaf": (lambda s: (copy.deepcopy(s.x), copy.deepcopy(s.x).requires_grad), None),
    "numpy()": (lambda s: s.x.numpy(), r"detach\(\)"),
    "asarray": (lambda s: np.asarray(s.x), r"detach\(\)"),
    "dlpack": (lambda s: s.x.__dlpack__(), r"detach\(\)"),
    "numbers pass": (lambda s: (float(s.loss), bool(s.loss), s.x.tolist(), int(s.loss), s.loss.item()), None),
    "accumulation": (accumulated, None),
    "zero_grad to None": (lambda s: cleared(s, True), None),
    "zero_grad to zeros": (lambda s: cleared(s, False), None),
    "frozen and thawed": (frozen, None),
    "create_graph": (double, None),
    "grad_outputs": (lambda s: s.ag.grad([s.y, s.loss], s.x, [s.lib.tensor([1.0, 10.0]), None]), None),
    "grad_outputs of another shape": (
        lambda s: s.ag.grad(s.y, s.x, s.lib.ones(3)),
        r"Mismatch in shape: grad_output\[0\] has",
    ),
    "as many grad_outputs": (lambda s: s.ag.grad([s.y, s.y], s.x, [s.lib.ones(2)]), "got 2 tensors and 1 gradients"),
    "a complex grad_output": (lambda s: s.ag.grad(s.y, s.x, s.lib.ones(2) * 1j), "(?i)complex"),
    "inputs as a dict": (lambda s: s.ag.grad(s.loss, {"x": s.x, "y": s.y}), None),
    "backward with inputs": (of_inputs, None),
    "backward with one input": (lambda s: (s.loss.backward(inputs=s.x), s.x.grad)[1], None),
    "backward without inputs": (lambda s: s.loss.backward(inputs=[]), "argument to `?backward.*cannot be empty"),
    "several roots": (lambda s: (s.ag.backward([s.loss, s.y], [None, s.lib.ones(2)]), s.x.grad)[1], None),
    "detach": (detached, None),
    "the graph": (graph, None),
    "metadata": (metadata, None),
    "members": (members, None),
    "grad_dtype of a non-leaf": (lambda s: s.y.grad_dtype, "grad_dtype can only be accessed on leaf tensors"),
    "version": (version, None),
    "no_grad": (no_longer, None),
    "an assigned gradient of another shape": (
        lambda s: setattr(s.x, "grad", s.lib.ones(3)),
        "a(ssigned grad has data of a diff| gradient of size)",
    ),
    "an assigned gradient that is no tensor": (
        lambda s: setattr(s.x, "grad", 1.0),
        "assigned grad expected to be a Tensor or None",
    ),
    "inference_mode": (lambda s: inferred(s, lambda s, z: z + 1), None),
    "tracking an inference tensor": (
        lambda s: inferred(s, lambda s, z: z.requires_grad_()),
        "on inference tensor outside Infer",
    ),
    "writing into an inference tensor": (
        lambda s: inferred(s, lambda s, z: z.add_(1)),
        "Inplace update to inference tensor",
    ),
    "a clone of an inference tensor": (
        lambda s: inferred(s, lambda s, z: z.clone().requires_grad_().is_inference()),
        None,
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_as_in_torch(name):
    row, message = ROWS[name]
    ours, theirs = (outcome(row, lib) for lib in both())
    if message is None:
        assert ours == theirs and theirs[1] is None
        return
    for kind, text in (ours, theirs):
        assert text is not None, f"no error, but {kind}"
        assert re.search(message, text, re.DOTALL), text
    assert issubclass(ours[0], theirs[0]) or issubclass(theirs[0], ours[0]) or theirs[0] is BufferError


@pytest.mark.parametrize("name", [n for n in ROWS if ROWS[n][1]])
def test_a_row_that_fails_fails_on_every_backend(backend, name):
    kind, text = outcome(ROWS[name][0], pg)
    assert text is not None and issubclass(kind, Exception)


def shape_of(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def test_signatures_are_torchs(torch):
    for name in ("backward", "grad"):
        assert shape_of(getattr(pg.autograd, name)) == shape_of(getattr(torch.autograd, name)), name
    for name in ("backward", "register_hook", "register_post_accumulate_grad_hook"):
        assert shape_of(getattr(pg.Tensor, name)) == shape_of(getattr(torch.Tensor, name)), name
    for name in ("saved_tensors_hooks", "save_on_cpu", "disable_saved_tensors_hooks", "get_gradient_edge"):
        ours, theirs = (getattr(lib.autograd.graph, name) for lib in (pg, torch))
        assert shape_of(ours) == shape_of(theirs), name
    assert shape_of(pg.autograd.graph.register_multi_grad_hook) == shape_of(
        torch.autograd.graph.register_multi_grad_hook
    )
    for name in ("detect_anomaly", "set_detect_anomaly", "set_grad_enabled", "inference_mode"):
        ours, theirs = (getattr(lib.autograd, name).__init__ for lib in (pg, torch))
        assert shape_of(ours) == shape_of(theirs), name


MEMBERS = """backward data detach detach_ grad grad_fn grad_dtype is_leaf output_nr register_hook
register_post_accumulate_grad_hook requires_grad requires_grad_ retain_grad retains_grad _version is_inference""".split()


def test_tensors_have_torchs_members_about_gradients(torch):
    for name in MEMBERS:
        assert hasattr(pg.Tensor, name) and hasattr(torch.Tensor, name), name
        assert callable(getattr(pg.Tensor, name)) is callable(getattr(torch.Tensor, name)), name


def test_the_gentle_introduction(backend):
    a = pg.tensor([2.0, 3.0], requires_grad=True)
    b = pg.tensor([6.0, 4.0], requires_grad=True)
    q = 3 * a**3 - b**2
    q.backward(gradient=pg.tensor([1.0, 1.0]))
    assert (9 * a**2 == a.grad).tolist() == [True, True] and (-2 * b == b.grad).tolist() == [True, True]
    x, y, z = pg.rand(5, 5), pg.rand(5, 5), pg.rand((5, 5), requires_grad=True)
    assert not (x + y).requires_grad and (x + z).requires_grad


def test_a_value_changed_in_place_has_the_gradient_of_the_value_that_was_used(backend):
    """PyTorch raises here; a tensor of polygrad is a box around an immutable value."""
    x = pg.tensor([2.0, 3.0], requires_grad=True)
    h = x * 1
    y = (h * h).sum()
    h *= 100
    y.backward()
    assert x.grad.tolist() == [4.0, 6.0]


def test_the_gradient_of_a_non_leaf_warns(torch):
    for lib in (pg, torch):
        s = Scene(lib)
        with pytest.warns(UserWarning, match="not a leaf"):
            assert s.y.grad is None


def through_a_result(lib):
    """A derivative whose rule reads a result of an op with several, differentiated in that result."""
    x = lib.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=lib.float64, requires_grad=True)
    values, vectors = lib.linalg.eigh(x)
    (g,) = lib.autograd.grad((values * lib.tensor([1.0, 3.0], dtype=lib.float64)).sum(), x, create_graph=True)
    (gv,) = lib.autograd.grad((g**2).sum(), vectors)
    return (gv * vectors).sum().item()


def test_results_of_one_op_are_places_of_a_recorded_walk():
    ours, theirs = (through_a_result(lib) for lib in both())
    assert theirs != 0 and abs(ours - theirs) < 1e-9


# ------------------------------------------------------------------------------------------------------------- modes


def modes_of(lib):
    """What each mode, as context manager and as decorator, lets through."""
    seen = []
    x = lib.tensor(1.0, requires_grad=True)

    def note(*tag):
        seen.append((*tag, lib.is_grad_enabled(), lib.is_inference_mode_enabled(), (x * 2).requires_grad))

    modes = {
        "no": lib.no_grad,
        "yes": lib.enable_grad,
        "set off": lambda: lib.set_grad_enabled(False),
        "set on": lambda: lib.set_grad_enabled(True),
        "inference": lib.inference_mode,
        "inference off": lambda: lib.inference_mode(False),
    }
    for name, mode in modes.items():
        with mode():
            note(name)
            with lib.enable_grad():
                note(name, "enabled inside")
            note(name, "again")
        note(name, "after")

        @mode()
        def call(a, *, k, name=name):
            note(name, a, k)
            return a + k

        assert call(1, k=2) == 3 and call.__name__ == "call"
        note(name, "after the call")

        @mode()
        def steps(name=name):
            note(name, "first step")
            got = yield 1
            note(name, "second step", got)
            return 5

        walk = steps()
        next(walk)
        note(name, "between")
        with pytest.raises(StopIteration) as stop:
            walk.send("sent")
        seen.append(stop.value.value)
        with pytest.raises(ValueError), mode():
            raise ValueError
        note(name, "after an error")
    for bare in (lib.no_grad, lib.enable_grad, lib.inference_mode):

        @bare
        def plain_call():
            note("bare")

        with lib.no_grad():
            plain_call()
    lib.set_grad_enabled(False)
    note("set")
    lib.set_grad_enabled(True)
    note("set back")
    return seen


def test_modes_as_context_managers_and_decorators_are_torchs():
    ours, theirs = (modes_of(lib) for lib in both())
    assert ours == theirs


def test_a_mode_over_a_coroutine():
    @pg.no_grad()
    async def work(seen):
        for _ in range(3):
            seen.append(pg.is_grad_enabled())
            await asyncio.sleep(0)
        return seen

    async def other(seen):
        for _ in range(3):
            seen.append(pg.is_grad_enabled())
            await asyncio.sleep(0)
        return seen

    async def main():
        return await asyncio.gather(work([]), other([]))

    assert asyncio.run(main()) == [[False] * 3, [True] * 3]


MODES = {
    "no_grad": (pg.no_grad, pg.is_grad_enabled),
    "inference_mode": (pg.inference_mode, pg.is_inference_mode_enabled),
    "anomaly": (pg.autograd.detect_anomaly, pg.autograd.is_anomaly_enabled),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_is_of_its_thread_and_task(name):
    mode, asked = MODES[name]
    usual, seen = asked(), {}
    barrier = threading.Barrier(2)

    def thread(inside):
        for _ in range(3):
            barrier.wait(10)
            seen.setdefault(f"thread {inside}", set()).add(asked())

    def within():
        with mode():
            thread(True)

    async def task(inside):
        for _ in range(3):
            await asyncio.sleep(0)
            seen.setdefault(f"task {inside}", set()).add(asked())

    async def task_within():
        with mode():
            await task(True)

    async def main():
        await asyncio.gather(task_within(), task(False))

    jobs = [threading.Thread(target=within), threading.Thread(target=thread, args=(False,))]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(20)
    asyncio.run(main())
    assert seen == {
        f"{kind} {inside}": {usual is not inside} for kind in ("thread", "task") for inside in (True, False)
    }
    assert asked() is usual


def test_saved_tensor_hooks_are_of_their_thread():
    packed, x = [], pg.tensor([1.0, 2.0], requires_grad=True)
    with pg.autograd.graph.saved_tensors_hooks(lambda t: packed.append(1) or t.detach(), lambda t: t):
        job = threading.Thread(target=lambda: x * x)
        job.start()
        job.join(20)
        assert packed == []
        (x * x).sum().backward()
    assert packed and x.grad.tolist() == [2.0, 4.0]


# ------------------------------------------------------------------------------------------- nothing is half-written


def failing(x, y, kind):
    """A loss of two leaves whose backward fails after some of its gradients are known."""
    if kind == "function":

        class Fail(pg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, g):
                raise ValueError("mine")

        return Fail.apply(x).sum() + (y * 2).sum()
    if kind == "unpack":

        def refuse(packed):
            raise ValueError("mine")

        with pg.autograd.graph.saved_tensors_hooks(lambda t: t.detach(), refuse):
            h = x * x
        return h.sum() + (y * 2).sum()
    raising = pg.exp(y)

    def hook(*grads):
        raise ValueError("mine")

    if kind == "hook":
        raising.register_hook(hook)
    elif kind == "pre-hook":
        raising.grad_fn.register_prehook(hook)
    elif kind == "post-hook":
        raising.grad_fn.register_hook(hook)
    elif kind == "several":
        pg.autograd.graph.register_multi_grad_hook((x, raising), hook)
    elif kind == "accumulation":
        leaf = (x * 2).grad_fn.next_functions[0][0]
        leaf.register_prehook(hook)
    return (x * 3).sum() + raising.sum()


@pytest.mark.parametrize("kind", ["function", "unpack", "hook", "pre-hook", "post-hook", "several", "accumulation"])
def test_a_failed_backward_changes_no_gradient(backend, kind):
    x, y = (pg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (x * y).sum().backward()
    before = x.grad.tolist(), y.grad.tolist()
    h = x * 1
    h.retain_grad()
    loss = failing(h if kind != "accumulation" else x, y, kind)
    with pytest.raises(ValueError, match="mine"):
        loss.backward()
    assert (x.grad.tolist(), y.grad.tolist()) == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert h.grad is None
