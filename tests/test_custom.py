"""Functions with a derivative of their own, checkpoints, audits. Beside PyTorch where it has the same."""

import gc
import inspect
import tracemalloc
import weakref

import numpy as np
import pytest

import polygrad as pg
from conftest import require_torch
from polygrad.autograd.function import once_differentiable
from polygrad.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential


def both():
    return pg, require_torch()


def leaf(lib, values):
    return lib.tensor(values, dtype=lib.float64, requires_grad=True)


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=1e-10, atol=1e-12)


# ----------------------------------------------------------------------------------------------------------- Function


def cube(lib):
    class Cube(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x, k, y):
            result = x**3 * k * y
            ctx.save_for_backward(x, result, y)
            ctx.k = k
            return result

        @staticmethod
        def backward(ctx, g):
            x, result, y = ctx.saved_tensors
            gy = result * g / y if ctx.needs_input_grad[2] else None
            return g * 3 * x**2 * ctx.k * y, None, gy

    return Cube


def compute_function(lib):
    f = cube(lib).apply
    x, y = leaf(lib, [1.0, 2.0]), leaf(lib, [0.5, -1.5])
    out = f(x, 2.0, y)
    (gx, gy) = lib.autograd.grad(out.sum(), (x, y), create_graph=True)
    (gg, gyy) = lib.autograd.grad((gx * gy).sum(), (x, y), create_graph=True)
    (ggg,) = lib.autograd.grad(gg.sum() + gyy.prod(), x)
    assert out.grad_fn.name() == "CubeBackward" and not f(x.detach(), 1.0, y.detach()).requires_grad
    constant = f(x, 1.0, y.detach())
    (only,) = lib.autograd.grad(constant.sum(), x)
    return out, gx, gy, gg, gyy, ggg, only


def test_a_function_does_what_torchs_does():
    close(*(compute_function(lib) for lib in both()))


def split_function(lib):
    """Two outputs, an integer one, one without derivative; context set up apart."""

    class Split(lib.autograd.Function):
        @staticmethod
        def forward(x, scale=2.0):
            return x * scale, x.sum(), x.argmax(), x * 0 + 1

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.scale = inputs[1]
            ctx.mark_non_differentiable(output[2], output[3])
            ctx.save_for_backward(inputs[0])

        @staticmethod
        def backward(ctx, g, gs, gi, gc):
            (x,) = ctx.saved_tensors
            assert gi is not None and gc is not None
            return g * ctx.scale + gs * lib.ones_like(x), None

        @staticmethod
        def jvp(ctx, t, ts):
            return t * ctx.scale, t.sum(), None, None

    return Split


def compute_split(lib):
    f = split_function(lib).apply
    x = leaf(lib, [1.0, 3.0, 2.0])
    a, s, i, c = f(x, scale=3.0)
    assert not i.requires_grad and not c.requires_grad and i.item() == 1
    (one,) = lib.autograd.grad(a.sum(), x, retain_graph=True)
    (two,) = lib.autograd.grad(a.sum() * s, x)
    return one, two


def test_several_outputs_and_setup_context():
    close(*(compute_split(lib) for lib in both()))
    x = leaf(pg, [1.0, 3.0, 2.0])
    f = split_function(pg).apply
    _, (ta, ts) = pg.jvp(lambda x: f(x)[:2], (x,), (pg.ones(3, dtype=pg.float64),))
    assert ta.tolist() == [2.0, 2.0, 2.0] and ts.item() == 3.0


def compute_dirty(lib):
    class Double(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(lib, [1.0, 2.0])
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        Double.apply(leaf(lib, [1.0]))
    h = x * 3
    y = Double.apply(h)
    assert y is h
    (g,) = lib.autograd.grad((y * y).sum(), x)
    return y, g


def test_an_input_changed_in_place():
    close(*(compute_dirty(lib) for lib in both()))


def materialised(lib, wanted):
    seen = []

    class Two(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(wanted)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a is None, b is None))
            return a * 2 if b is None else a * 2 + b * 3

    x = leaf(lib, [1.0])
    Two.apply(x)[0].backward()
    return seen, x.grad.tolist()


@pytest.mark.parametrize("wanted", [True, False])
def test_gradients_that_nobody_computed(wanted):
    ours, theirs = (materialised(lib, wanted) for lib in both())
    assert ours == theirs == ([(False, not wanted)], [2.0])


def misuses(lib):
    """(what is run, the error's message) of functions that answer wrongly."""

    def make(back, save=None):
        class Wrong(lib.autograd.Function):
            @staticmethod
            def forward(ctx, x, y):
                ctx.save_for_backward(x if save is None else save)
                return x * y

            backward = staticmethod(back)

        return Wrong

    x, y = leaf(lib, [1.0, 2.0]), leaf(lib, [3.0, 4.0])
    return [
        (lambda: make(lambda ctx, g: g).apply(x, y).sum().backward(), "incorrect number of gradients"),
        (lambda: make(lambda ctx, g: (g[:1].repeat(3), g)).apply(x, y).sum().backward(), "invalid gradient at index 0"),
        (lambda: make(lambda ctx, g: (g, g), save=1.0).apply(x, y), "can only save (tensors|variables)"),
    ], (x, y)


def test_a_function_that_answers_wrongly_is_named():
    for lib in both():
        cases, leaves = misuses(lib)
        for call, message in cases:
            with pytest.raises((RuntimeError, TypeError), match=message):
                call()
        assert all(x.grad is None for x in leaves)


def test_a_function_without_its_parts():
    class Nothing(pg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    x = pg.tensor(1.0, requires_grad=True)
    with pytest.raises(NotImplementedError, match="backward"):
        Nothing.apply(x).backward()
    with pytest.raises(TypeError, match="must return a Tensor"):

        class Number(pg.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return 1.0

        Number.apply(x)


def test_backward_twice_through_a_function():
    for lib in both():
        x = leaf(lib, [1.0])
        y = cube(lib).apply(x, 1.0, x.detach()).sum()
        y.backward(retain_graph=True)
        y.backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()
        assert x.grad.tolist() == [6.0]


def test_once_differentiable_refuses_the_second_derivative():
    torch_once = require_torch().autograd.function.once_differentiable
    for lib, once in zip(both(), (once_differentiable, torch_once), strict=True):

        class Square(lib.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            @once
            def backward(ctx, g):
                return g * 2 * ctx.saved_tensors[0]

        x = leaf(lib, 3.0)
        y = Square.apply(x)
        y.backward(retain_graph=True)
        assert x.grad.item() == 6.0
        (g,) = lib.autograd.grad(y * x, x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            g.backward()


def test_nodes_of_functions_die_with_their_tensors(backend):
    gc.collect()
    gc.disable()
    try:
        x = pg.tensor([1.0, 2.0], requires_grad=True)
        y = cube(pg).apply(x, 1.0, x)
        alive = weakref.ref(y.grad_fn)
        y.sum().backward(retain_graph=True)
        del y
        assert alive() is None
    finally:
        gc.enable()


def test_what_a_function_saves_goes_through_the_hooks():
    for lib in both():
        packed = []

        def pack(t, packed=packed):
            packed.append(tuple(t.shape))
            return t.detach().tolist()

        def unpack(values, lib=lib):
            return lib.tensor(values, dtype=lib.float64)

        x = leaf(lib, [1.0, 2.0])
        with lib.autograd.graph.saved_tensors_hooks(pack, unpack):
            y = cube(lib).apply(x, 2.0, x.detach())
        saved = len(packed)
        y.sum().backward()
        assert saved >= 3 and x.grad.tolist() == [6.0, 48.0]


CHECKED = {
    "Function": lambda x: cube(pg).apply(x, 2.0, pg.sin(x) + 2),
    "Function with jvp": lambda x: split_function(pg).apply(x, 1.5)[:2],
    "checkpoint": lambda x: checkpoint(lambda a, k=1.0: (pg.tanh(a) * k * x, (a * a).sum()), x * 2, k=3.0),
    "nested checkpoints": lambda x: checkpoint(lambda a: checkpoint(pg.sin, a) * checkpoint(pg.exp, x), x),
    "custom_vjp": lambda x: vjp_rule()(x, pg.cos(x)),
    "custom_jvp": lambda x: jvp_rule()(x, pg.cos(x)),
    "jvp of vjp": lambda x: pg.jvp(lambda x: pg.vjp(pg.sin, x)[1](x)[0], (x,), (x * x,))[1],
    "vjp of jvp": lambda x: pg.vjp(lambda x: pg.jvp(pg.sin, (x,), (x,))[1], x)[1](x)[0],
    "hessian": lambda x: pg.hessian(lambda x: (x**3).sum() * x[0])(x),
    "hessian, reverse over forward": lambda x: pg.jacrev(pg.jacfwd(lambda x: (x**3).sum() * x[0]))(x),
    "grad of grad of grad": lambda x: pg.grad(
        lambda x: pg.grad(lambda x: pg.grad(lambda x: (x**4).prod())(x).sum())(x).sum()
    )(x),
    "setitem chain": lambda x: chain(x),
}


def vjp_rule():
    @pg.custom_vjp
    def f(x, y):
        return pg.sin(x) * y

    f.defvjp(
        lambda x, y: (f.fun(x, y), (pg.cos(x), pg.sin(x), y)), lambda kept, g: (g * kept[0] * kept[2], g * kept[1])
    )
    return f


def jvp_rule():
    @pg.custom_jvp
    def f(x, y):
        return pg.sin(x) * y

    f.defjvps(lambda t, y, a, b: t * pg.cos(a) * b, lambda t, y, a, b: t * pg.sin(a))
    return f


def chain(x):
    h = x * 1
    h[0] = h[1] * h[2]
    h[1:] *= h[0]
    h[pg.tensor([0, 2])] = pg.exp(h[:2])
    return h * x


@pytest.mark.parametrize("name", CHECKED)
def test_gradients_of_every_kind_pass_the_checks(backend, name):
    x = pg.tensor([0.5, -1.2, 0.8], dtype=pg.float64, requires_grad=True)
    f = CHECKED[name]
    heavy = name.startswith(("hessian", "grad of")) or backend.name == "jax"  # where each new shape is compiled
    assert pg.autograd.gradcheck(f, (x,), check_forward_ad=True, fast_mode=heavy)
    assert pg.autograd.gradgradcheck(f, (x,), check_fwd_over_rev=True, fast_mode=True)


# ---------------------------------------------------------------------------------------------------------- gradcheck


def test_signatures_of_the_checks_are_torchs():
    lib = require_torch()

    def shape_of(f):
        return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]

    for name in ("gradcheck", "gradgradcheck"):
        assert shape_of(getattr(pg.autograd, name)) == shape_of(getattr(lib.autograd, name))
    ours, theirs = shape_of(checkpoint), shape_of(lib.utils.checkpoint.checkpoint)
    assert [p[:2] for p in ours] == [p[:2] for p in theirs]
    assert shape_of(checkpoint_sequential) == shape_of(lib.utils.checkpoint.checkpoint_sequential)


def wrong_rule(factor):
    class Wrong(pg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0] * factor

    return Wrong.apply


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_a_wrong_rule_is_caught(backend, fast_mode, dtype):
    values = [0.5, 1.5] if dtype == "float64" else [0.5 + 1j, 1.5 - 0.3j]
    x = pg.tensor(values, dtype=getattr(pg, dtype), requires_grad=True)
    check = pg.autograd.gradcheck
    with pytest.raises(pg.autograd.GradcheckError, match="mismatch"):
        check(wrong_rule(1.9), (x,), fast_mode=fast_mode)
    with pytest.raises(RuntimeError, match="forward mode mismatch"):
        check(wrong_rule(1.9), x, fast_mode=fast_mode, check_forward_ad=True, check_backward_ad=False)
    assert not check(wrong_rule(1.9), (x,), fast_mode=fast_mode, raise_exception=False)
    # complex: the rule must conjugate
    assert check(wrong_rule(2.0), (x,), fast_mode=fast_mode, raise_exception=False) is (dtype == "float64")
    assert check(lambda x: x * x, (x,), fast_mode=fast_mode, check_forward_ad=True)


def test_a_wrong_second_derivative_is_caught():
    class Square(pg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0].detach()

    x = leaf(pg, [0.5, 1.5])
    assert pg.autograd.gradcheck(Square.apply, (x,))
    with pytest.raises(pg.autograd.GradcheckError):
        pg.autograd.gradgradcheck(Square.apply, (x,))
    assert pg.autograd.gradgradcheck(lambda x: x * x, (x,), pg.ones(2, dtype=pg.float64))


def test_what_the_checks_refuse():
    x = leaf(pg, [0.5, 1.5])
    check = pg.autograd.gradcheck
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        check(pg.sin, (x.detach(),))
    with pytest.raises(ValueError, match="at least one of check_forward_ad"):
        check(pg.sin, (x,), check_backward_ad=False)
    with pytest.raises(NotImplementedError, match="vmap"):
        check(pg.sin, (x,), check_batched_grad=True)
    with pytest.warns(UserWarning, match="not a double precision"):
        assert check(lambda x: x * 2, (pg.ones(2, requires_grad=True),), atol=0.1)
    calls = iter(range(1000))
    noisy = pg.custom_vjp(lambda x: x * 2)
    noisy.defvjp(lambda x: (x * 2, None), lambda r, g: (g * 2 + 1e-9 * next(calls),))
    with pytest.raises(pg.autograd.GradcheckError, match="not reentrant"):
        check(noisy, (x,))
    assert check(noisy, (x,), nondet_tol=1e-6)

    class Careless(pg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            return a * 2 + b * 3

    with pytest.raises(pg.autograd.GradcheckError, match="undefined output grads"):
        check(Careless.apply, (x,))


# ----------------------------------------------------------------------------------------- custom_vjp and custom_jvp


@pytest.mark.parametrize("rule", [vjp_rule, jvp_rule])
def test_custom_rules_hold_in_both_modes_and_every_order(backend, rule):
    f = rule()
    assert f.__name__ == "f"
    with pg.no_grad():
        assert not f(pg.tensor(1.0), 2.0).requires_grad
    found = [
        pg.grad(f)(1.0, 2.0),
        pg.grad(f, argnums=1)(1.0, 2.0),
        pg.grad(pg.grad(f))(1.0, 2.0),
        pg.grad(pg.grad(pg.grad(f)))(1.0, 2.0),
        pg.jvp(f, (1.0, 2.0), (1.0, 3.0))[1],
        pg.jvp(pg.grad(f), (1.0, 2.0), (1.0, 3.0))[1],
    ]
    s, c = np.sin(1.0), np.cos(1.0)
    expected = [2 * c, s, -2 * s, -2 * c, 2 * c + 3 * s, -2 * s + 3 * c]
    np.testing.assert_allclose([t.item() for t in found], expected, rtol=1e-5)


def test_the_given_derivative_is_used(backend):
    @pg.custom_vjp
    def clipped(n, x, options):
        return {"y": x["a"] * options["k"], "n": n}

    clipped.defvjp(
        lambda n, x, options: (clipped.fun(n, x, options), options),
        lambda options, g: (None, {"a": pg.clip(g["y"], -1, 1) * options["k"]}, None),
    )
    x = pg.tensor([1.0, 2.0], requires_grad=True)
    out = clipped(3, {"a": x}, {"k": 5})
    assert out["n"] == 3 and out["y"].tolist() == [5.0, 10.0]
    out["y"].backward(pg.tensor([100.0, 0.5]))
    assert x.grad.tolist() == [5.0, 2.5]


def test_arguments_without_derivative(backend):
    vjp = pg.custom_vjp(lambda f, x: f(x), nondiff_argnums=0)
    vjp.defvjp(lambda f, x: (f(x), x), lambda f, x, g: (g * 10 * f(x),))
    assert pg.grad(lambda x: vjp(pg.exp, x))(0.0).item() == 10.0
    jvp = pg.custom_jvp(lambda f, x: f(x), nondiff_argnums=(0,))
    jvp.defjvp(lambda f, primals, tangents: (f(*primals), tangents[0] * 7))
    assert pg.grad(lambda x: jvp(pg.exp, x))(0.0).item() == 7.0


def test_custom_rules_that_are_wrongly_given():
    for kind in (pg.custom_vjp, pg.custom_jvp):
        f = kind(lambda x: x * 2)
        with pytest.raises(RuntimeError, match="no derivative is defined"):
            f(1.0)
    x = pg.tensor(1.0, requires_grad=True)
    f = pg.custom_vjp(lambda x: x * 2)
    f.defvjp(lambda x: x, lambda r, g: (g,))
    with pytest.raises(TypeError, match="fwd must return a pair"):
        f(x)
    f.defvjp(lambda x: (x, None), lambda r, g: (g, g))
    with pytest.raises(TypeError, match="result of bwd: expected a tuple of 1"):
        f(x).backward()
    with pytest.raises(TypeError, match="keyword-only"):
        pg.custom_vjp(lambda x, *, k=1: x)(x)
    assert x.grad is None


# ---------------------------------------------------------------------------------------------------------- checkpoint


def stack(n, width):
    pg.manual_seed(0)

    def block():
        wide = 4 * width
        return pg.nn.Sequential(
            pg.nn.Linear(width, wide), pg.nn.Tanh(), pg.nn.Dropout(0.1), pg.nn.Linear(wide, width), pg.nn.Tanh()
        )

    return pg.nn.Sequential(*[block() for _ in range(n)])


def run_stack(net, x, wrapped):
    for block in net:
        x = checkpoint(block, x) if wrapped else block(x)
    return (x * x).sum()


def peak(net, x, wrapped):
    """The most memory, in bytes, that forward and backward of a stack need, and the gradients."""
    net.zero_grad()
    pg.manual_seed(1)
    gc.collect()
    tracemalloc.start()
    run_stack(net, x, wrapped).backward()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most, [p.grad for p in net.parameters()]


def test_a_checkpointed_stack_needs_a_third_of_the_memory():
    net, x = stack(64, 16), pg.rand(512, 16)
    plain, wanted = peak(net, x, False)
    light, found = peak(net, x, True)
    assert light <= plain / 3, f"{light / plain:.2f} of {plain / 2**20:.0f} MiB"
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(found, wanted, strict=True))


def test_checkpoints_give_the_same_bits(backend):
    net, x = stack(3, 4), pg.rand(5, 4, requires_grad=True)
    found = []
    for wrapped in (False, True):
        net.zero_grad()
        x.grad = None
        pg.manual_seed(7)
        loss = run_stack(net, x, wrapped)
        state = pg.get_rng_state().tolist()
        loss.backward()
        assert pg.get_rng_state().tolist() == state
        found.append([t.grad.tolist() for t in (x, *net.parameters())])
    assert found[0] == found[1]


def test_a_generator_that_is_not_replayed():
    x = pg.ones(1000, requires_grad=True)
    f = lambda x: pg.nn.functional.dropout(x)  # noqa: E731
    kept = checkpoint(f, x)
    (g,) = pg.autograd.grad(kept.sum(), x)
    assert g.tolist() == kept.tolist()
    kept = checkpoint(f, x, preserve_rng_state=False)
    (g,) = pg.autograd.grad(kept.sum(), x)
    assert g.tolist() != kept.tolist()


def compute_checkpoint(lib, run):
    net = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.Tanh(), lib.nn.Linear(4, 3)).double()
    with lib.no_grad():
        for p in net.parameters():
            p.copy_((lib.arange(p.numel(), dtype=lib.float64) - p.numel() / 3).reshape(p.shape) / 7)
    x = leaf(lib, [[0.3, -0.2, 0.5], [1.0, 0.1, -0.7]])

    def block(a, *, scale, pair):
        return net(a) * scale * pair["b"], {"sum": a.sum(), "n": 3, "same": a}

    out, extra = run(block, x * 2, scale=3.0, pair={"b": x})
    assert extra["n"] == 3
    loss = (out**2).sum() * extra["sum"] + extra["same"].sum()
    first = lib.autograd.grad(loss, [x, *net.parameters()], create_graph=True)
    second = lib.autograd.grad(sum((g**2).sum() for g in first), [x, *net.parameters()])
    return [out, *first, *second]


def test_a_checkpoint_does_what_torchs_does():
    torch_checkpoint = require_torch().utils.checkpoint.checkpoint
    lib = require_torch()
    theirs = compute_checkpoint(lib, lambda f, *a, **k: torch_checkpoint(f, *a, use_reentrant=False, **k))
    close(compute_checkpoint(pg, checkpoint), theirs)
    close(compute_checkpoint(pg, lambda f, *a, **k: f(*a, **k)), theirs)


def test_a_checkpoint_computes_with_the_values_that_were_there(backend):
    w = pg.tensor(3.0, requires_grad=True)
    x = pg.tensor(2.0, requires_grad=True) * 1
    y = checkpoint(lambda x: w * x * x, x)
    with pg.no_grad():
        w.mul_(100)
        x.mul_(100)
    y.backward()
    assert w.grad.item() == 4.0 and w.item() == 300.0


def test_a_checkpoint_that_does_something_else_is_named():
    x = pg.ones(3, requires_grad=True)
    shapes = iter([3, 2])
    y = checkpoint(lambda x: x[: next(shapes)] * x[0], x)
    with pytest.raises(CheckpointError, match=r"float32\[3\] first, and then float32\[2\]"):
        y.sum().backward()
    other = iter([x, pg.ones(3, requires_grad=True)])
    y = checkpoint(lambda a: a * next(other), x)
    with pytest.raises(CheckpointError, match="read other tensors that require grad"):
        y.sum().backward()
    with pytest.raises(ValueError, match="'default' or 'none', got 'strict'"):
        checkpoint(pg.sin, x, determinism_check="strict")
    assert x.grad is None


def test_a_checkpoint_is_walked_once_unless_retained(backend):
    x = pg.tensor(2.0, requires_grad=True)
    y = checkpoint(lambda x: x * x, x)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    assert checkpoint(lambda x: x * 2, pg.ones(2)).requires_grad is False


def test_checkpoints_of_a_sequence(backend):
    net, x = stack(5, 4).eval(), pg.rand(2, 4)
    net(x).sum().backward()
    wanted = [p.grad.tolist() for p in net.parameters()]
    for segments in (1, 2, 5):
        net.zero_grad()
        checkpoint_sequential(net, segments, x).sum().backward()
        assert [p.grad.tolist() for p in net.parameters()] == wanted
    with pytest.raises(ValueError, match=r"\[1, 5\].*got 6"):
        checkpoint_sequential(net, 6, x)


def test_checkpoints_in_compiled_functions(compiled):
    w = pg.tensor(3.0, requires_grad=True)

    @pg.jit
    def step(x):
        y = checkpoint(lambda x: pg.nn.functional.dropout(pg.sin(w * x), 0.5), x)
        return y, pg.autograd.grad(y.sum(), w)[0]

    x = pg.ones(8)
    pg.manual_seed(3)
    compiled_run = step(x)
    pg.manual_seed(3)
    eager = step.__wrapped__(x)
    for a, b in zip(compiled_run, eager, strict=True):
        np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=1e-6)


def test_functions_in_compiled_functions(compiled):
    f, g = cube(pg).apply, vjp_rule()

    @pg.jit
    def both_of(x):
        y = f(x, 2.0, x) + g(x, x)
        return y, pg.autograd.grad(y.sum(), x)[0]

    x = pg.tensor([1.0, 2.0], requires_grad=True)
    for a, b in zip(both_of(x), both_of.__wrapped__(x), strict=True):
        np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=1e-5)


# --------------------------------------------------------------------------------------------------------------- audit


def leaky(w):
    scale = float(w.sum())
    if w[0] > 0:
        scale += 1
    for _ in range(3):
        n = w.long()
    values = w.tolist() if w.sum() else []
    return (w * scale * n).sum() + sum(values) + w.argmax().item()


def test_an_audit_names_each_place(backend):
    report = pg.audit(leaky, pg.tensor([1.0, 2.0], requires_grad=True))
    start = inspect.getsourcelines(leaky)[1]
    found = [(leak.kind, leak.what, leak.line - start, leak.times) for leak in report]
    assert found == [
        ("number", "float()", 1, 1),
        ("branch", "bool()", 2, 1),
        ("integer cast", "cast to int64", 5, 3),
        ("branch", "bool()", 6, 1),
        ("conversion", "tolist()", 6, 1),
    ]
    assert all(leak.file == __file__ and leak.function == "leaky" for leak in report)
    assert "if w[0] > 0:" in str(report) and "(3 times)" in str(report)
    assert report.result.item() == 1 * 4 + 2 * 2 * 4 + 3 + 1


def test_an_audit_of_a_sound_function(backend):
    net, x = stack(1, 4), pg.rand(2, 4)
    report = pg.audit(lambda: (net(x) ** 2).sum() + float(x.sum()))
    assert report == [] and str(report) == "no gradient leaves the graph"
    assert not pg.audit(leaky, pg.tensor([1.0, 2.0]))
    report.result.backward()
