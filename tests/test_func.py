"""Derivatives of functions of nests, beside `torch.func` and `torch.autograd.functional`; perturbations that must not mix."""

import dataclasses
import inspect
from typing import NamedTuple

import numpy as np
import pytest

import polygrad as pg

pytestmark = [
    pytest.mark.usefixtures("double"),
    # PyTorch's own jvp and linearize warn
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning"),
]

A = [[0.3, -1.2, 0.7], [1.1, 0.4, -0.6]]
B = [[0.9, 0.2], [-0.5, 1.3], [0.8, -0.1]]


def plain(value):
    """A nest of tensors of either library as one of lists."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return tuple(plain(v) for v in value)
    return value.detach().tolist() if hasattr(value, "detach") else value


def close(ours, theirs, at=""):
    """Assert that two plain nests are built the same and hold the same numbers."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), at
        for key in theirs:
            close(ours[key], theirs[key], f"{at}[{key!r}]")
    elif isinstance(theirs, tuple):
        assert isinstance(ours, tuple) and len(ours) == len(theirs), at
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            close(a, b, f"{at}[{i}]")
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=at)


def tensors(lib):
    return lib.tensor(A, dtype=lib.float64), lib.tensor(B, dtype=lib.float64)


def loss(lib):
    return lambda x, y: (lib.tanh(x @ y) * x.sum()).sum() + (y**3).sum()


def parts(lib):
    return lambda x, y: (x @ y, {"p": x * x, "s": lib.exp(y).sum()})


def nested(lib):
    return lambda tree: (tree["w"] * tree["pair"][0]).sum() * tree["pair"][1].sum()


def tree(lib):
    x, y = tensors(lib)
    return {"w": x, "pair": (x * 2, y)}


def unit(lib, like):
    return lib.ones_like(like) * 0.5 + like


CASES = {
    "grad": lambda lib, f, x, y: f.grad(loss(lib))(x, y),
    "grad of both": lambda lib, f, x, y: f.grad(loss(lib), argnums=(0, 1))(x, y),
    "grad, argnums": lambda lib, f, x, y: f.grad(loss(lib), argnums=-1)(x, y),
    "grad, aux": lambda lib, f, x, y: f.grad(lambda x: ((x * x).sum(), {"a": x * 2}), has_aux=True)(x),
    "grad of a nest": lambda lib, f, x, y: f.grad(nested(lib))(tree(lib)),
    "grad of what does not depend": lambda lib, f, x, y: f.grad(lambda x: lib.tensor(1.0))(x),
    "grad_and_value": lambda lib, f, x, y: f.grad_and_value(loss(lib), argnums=(1,))(x, y),
    "grad_and_value, aux": lambda lib, f, x, y: f.grad_and_value(lambda x: (x.sum(), x), has_aux=True)(x),
    "vjp": lambda lib, f, x, y: (lambda o, pull: (o, pull((o[0], {"p": x, "s": o[1]["s"]}))))(*f.vjp(parts(lib), x, y)),
    "vjp, aux": lambda lib, f, x, y: (lambda o, pull, aux: (o, pull(o), aux))(
        *f.vjp(lambda x: (x.sum(1), x[0]), x, has_aux=True)
    ),
    "jvp": lambda lib, f, x, y: f.jvp(parts(lib), (x, y), (unit(lib, x), y * 2)),
    "jvp, aux": lambda lib, f, x, y: f.jvp(lambda x: (x * x, x), (x,), (x,), has_aux=True),
    "linearize": lambda lib, f, x, y: (lambda o, push: (o, push(x, y), push(x * 2, y)))(*f.linearize(parts(lib), x, y)),
    "jacrev": lambda lib, f, x, y: f.jacrev(parts(lib), argnums=(0, 1))(x, y),
    "jacrev, aux": lambda lib, f, x, y: f.jacrev(lambda x: (x.sum(0), x), has_aux=True)(x),
    "jacfwd": lambda lib, f, x, y: f.jacfwd(parts(lib), argnums=(1, 0))(x, y),
    "jacfwd, one": lambda lib, f, x, y: f.jacfwd(lambda x, y: x @ y, 1)(x, y),
    "hessian": lambda lib, f, x, y: f.hessian(loss(lib), argnums=(0, 1))(x, y),
    "hessian, one": lambda lib, f, x, y: f.hessian(loss(lib), argnums=1)(x, y),
    "jacrev of jacfwd": lambda lib, f, x, y: f.jacrev(f.jacfwd(lambda y: lib.sin(y[0] * y[1])))(y),
    "third": lambda lib, f, x, y: f.grad(
        lambda y: f.grad(lambda y: f.grad(lambda y: lib.sin(y).prod())(y).prod())(y).sum()
    )(y),
    "jvp of vjp": lambda lib, f, x, y: f.jvp(lambda y: f.vjp(lambda y: lib.exp(y) * y[0], y)[1](y)[0], (y,), (y * 2,)),
    "vjp of jvp": lambda lib, f, x, y: f.vjp(lambda y: f.jvp(lambda y: lib.exp(y) * y[0], (y,), (y,))[1], y)[1](y),
    "in place": lambda lib, f, x, y: (f.grad(lambda x: x.clone().mul_(x).add_(1).prod())(x), x),
}


@pytest.mark.parametrize("name", CASES)
def test_a_verb_does_what_torchs_does(name, torch):
    ours = CASES[name](pg, pg.func, *tensors(pg))
    theirs = CASES[name](torch, torch.func, *tensors(torch))
    close(plain(ours), plain(theirs))


def flat(v):
    return v if isinstance(v, tuple) else (v,)


FUNCTIONAL = {
    "jacobian": lambda lib, f, x, y: f.jacobian(lambda x, y: (x @ y, (x * x).sum()), (x, y)),
    "jacobian, one": lambda lib, f, x, y: f.jacobian(lambda x: lib.exp(x).sum(1), x),
    "jacobian, forward": lambda lib, f, x, y: f.jacobian(
        lambda x: lib.exp(x).sum(1), x, strategy="forward-mode", vectorize=True
    ),
    "hessian": lambda lib, f, x, y: f.hessian(loss(lib), (x, y)),
    "hessian, one": lambda lib, f, x, y: f.hessian(lambda x: (x**3).sum(), x),
    "hessian, tuple": lambda lib, f, x, y: f.hessian(lambda x: (x**3).sum(), (x,)),
    "hvp": lambda lib, f, x, y: f.hvp(loss(lib), (x, y), (y.T, x.T)),
    "vhp": lambda lib, f, x, y: f.vhp(loss(lib), (x, y), (y.T, x.T)),
    "hvp, one": lambda lib, f, x, y: f.hvp(lambda x: (x**3).sum(), x, x),
    "vhp, one": lambda lib, f, x, y: f.vhp(lambda x: (x**3).sum(), x, x),
    "jvp": lambda lib, f, x, y: f.jvp(lambda x, y: (x @ y, x), (x, y), (x, y)),
    "vjp": lambda lib, f, x, y: f.vjp(lambda x, y: (x @ y, x), (x, y), (x @ y, x)),
    "vjp, scalar": lambda lib, f, x, y: f.vjp(lambda x: (x * x).sum(), x),
    "jvp, number": lambda lib, f, x, y: f.jvp(lambda s: s * x, y[0, 0]),
}


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_functional_does_what_torchs_does(name, torch):
    case = FUNCTIONAL[name]
    ours, theirs = (case(lib, lib.autograd.functional, *tensors(lib)) for lib in (pg, torch))
    close(plain(ours), plain(theirs))
    assert not any(t.requires_grad for t in flat(ours) if isinstance(t, pg.Tensor))


@pytest.mark.parametrize("name", ["jacobian", "hessian", "hvp", "vhp", "jvp", "vjp"])
def test_create_graph_lets_results_be_differentiated(name, torch):
    def compute(lib):
        x = lib.tensor(A[0], dtype=lib.float64, requires_grad=True)
        f = getattr(lib.autograd.functional, name)
        func = lambda x: (x**3).sum() * x[0] if name in ("hessian", "hvp", "vhp") else (x**3) * x[0]  # noqa: E731
        v = () if name in ("jacobian", "hessian") else (x.detach(),)
        made = f(func, x, *v, create_graph=True)
        made = made[1] if isinstance(made, tuple) else made
        return lib.autograd.grad((made * made).sum(), x)[0]

    close(plain(compute(pg)), plain(compute(torch)))


def test_strict_forbids_outputs_that_do_not_depend(torch):
    for lib in (pg, torch):
        x, y = tensors(lib)
        one = lib.ones(())
        for name in ("jacobian", "vjp"):
            call = getattr(lib.autograd.functional, name)
            with pytest.raises(RuntimeError, match="independent of input 1"):
                call(lambda x, y: x.sum(), (x, y), strict=True)
            with pytest.raises(RuntimeError, match="does not require gradients"):
                call(lambda x, one=one: one, x, strict=True)
    with pytest.raises(RuntimeError, match="independent"):
        pg.jvp(lambda x: pg.ones(()), (x,), (x,), strict=True)


@pytest.mark.parametrize("name", ["vjp", "jvp", "hvp"])
def test_functional_refuses_vectors_of_another_form(name):
    f = getattr(pg.autograd.functional, name)
    x, y = tensors(pg)
    with pytest.raises(RuntimeError, match="v can only be None"):
        f((lambda x: x) if name == "vjp" else lambda x: x.sum(), x)
    with pytest.raises(RuntimeError, match="invalid size"):
        f((lambda x: x) if name != "hvp" else lambda x: x.sum(), x, y)
    with pytest.raises(RuntimeError, match="invalid length"):
        f((lambda x: x) if name != "hvp" else lambda x: x.sum(), (x,), (x, x))
    with pytest.raises(TypeError, match="must be either a Tensor or a tuple"):
        f(lambda x: x, [x])


NAMES = ["grad", "grad_and_value", "vjp", "jvp", "linearize", "jacrev", "jacfwd", "hessian", "functional_call"]


def shape_of(function):
    """Names, kinds and defaults of a function's parameters."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def test_signatures_are_torchs(torch):
    for name in NAMES:
        assert shape_of(getattr(pg.func, name)) == shape_of(getattr(torch.func, name)), name
    for name in ("jacobian", "hessian", "hvp", "vhp", "jvp", "vjp"):
        ours, theirs = (getattr(lib.autograd.functional, name) for lib in (pg, torch))
        assert shape_of(ours) == shape_of(theirs), name


# ------------------------------------------------------------------------------------------- perturbation confusion


def forward_derivative(f):
    return lambda x: pg.jvp(f, (x,), (1.0,))[1]


MODES = [pg.grad, forward_derivative]


@pytest.mark.parametrize("outer", MODES, ids=["reverse", "forward"])
@pytest.mark.parametrize("inner", MODES, ids=["reverse", "forward"])
def test_an_inner_derivative_does_not_see_the_outer_variable(backend, outer, inner):
    """Siskind and Pearlmutter, Perturbation Confusion and Referential Transparency (2005), and variations."""
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0).item() == 1.0
    assert outer(lambda x: x * inner(lambda y: x * y)(2.0))(3.0).item() == 6.0
    assert outer(lambda x: inner(lambda y: x)(x))(5.0).item() == 0.0
    assert outer(lambda x: inner(lambda y: x * y * y)(x))(5.0).item() == 20.0
    assert outer(lambda x: inner(lambda x: x * x)(x * x))(3.0).item() == 12.0
    assert outer(lambda x: inner(lambda y: inner(lambda z: x * y * z)(y) + y)(x))(2.0).item() == 1.0


def test_a_derivative_that_escapes(backend):
    """A derivative made in one differentiation and used in another (Manzyuk et al., 2019)."""
    shifted = pg.grad(lambda x: pg.vjp(lambda y: y * x, pg.tensor(4.0))[1](x)[0])
    assert shifted(3.0).item() == 6.0
    _, pull = pg.vjp(lambda x: x.reshape((2, 2)) ** 2, pg.arange(4.0, dtype=pg.float64))
    made = pg.jacrev(lambda g: pull(g)[0])(pg.ones((2, 2)))
    assert made.reshape((4, 4)).tolist() == np.diag([0.0, 2.0, 4.0, 6.0]).tolist()
    _, push = pg.linearize(lambda x: x**3, pg.tensor(2.0))
    assert pg.grad(lambda t: push(t) ** 2)(1.0).item() == 2 * 12.0**2


def test_modules_given_twice_are_two(backend):
    m = pg.nn.Linear(2, 1, bias=False)
    square = lambda m: pg.sum(m.weight**2)  # noqa: E731
    inner = lambda outer: pg.grad(lambda m: pg.sum(m.weight) * square(outer))(m)["weight"]  # noqa: E731
    found = pg.grad(lambda m: pg.sum(inner(m)))(m)["weight"]
    np.testing.assert_allclose(found.tolist(), (4 * m.weight).tolist(), rtol=1e-6)


# -------------------------------------------------------------------------------------------------------- any nest


class Pair(NamedTuple):
    a: object
    b: object


@dataclasses.dataclass(frozen=True)
class Point:
    at: object
    steps: int = 3


def test_gradients_are_built_like_the_argument(backend):
    f = lambda p: (p["pair"].a * p["list"][0] * p["list"][1].at ** 2).sum() + p["z"].real  # noqa: E731
    value, found = pg.value_and_grad(f)(
        {
            "pair": Pair(2.0, "name"),
            "list": [pg.tensor([1.0, 2.0]), Point(pg.tensor(3.0))],
            "z": 1 + 2j,
            "n": 5,
            "o": None,
        }
    )
    assert value.item() == 2 * 3 * 9 + 1
    assert found["pair"].a.item() == 27.0 and found["pair"].b is None and type(found["pair"]) is Pair
    assert found["list"][0].tolist() == [18.0, 18.0]
    assert found["list"][1] == Point(found["list"][1].at, None) and found["list"][1].at.item() == 36.0
    assert found["z"].item() == 1 + 0j and found["n"] is None and found["o"] is None
    assert list(found) == ["pair", "list", "z", "n", "o"]


def test_a_module_counts_by_its_parameters(backend):
    m = pg.nn.Sequential(pg.nn.Linear(3, 2), pg.nn.Tanh(), pg.nn.Linear(2, 1))
    m[0].bias.requires_grad = False
    x = pg.tensor(A)
    value, found = pg.value_and_grad(lambda m, x: (m(x) ** 2).sum())(m, x)
    (m(x) ** 2).sum().backward()
    assert list(found) == ["0.weight", "2.weight", "2.bias"]
    for name, p in m.named_parameters():
        assert p.grad is None if name == "0.bias" else p.grad.tolist() == found[name].tolist()
    tangents = {name: pg.ones_like(p.detach()) for name, p in m.named_parameters() if name in found}
    _, moved = pg.jvp(lambda m: (m(x) ** 2).sum(), (m,), (tangents,))
    np.testing.assert_allclose(moved.item(), sum(g.sum().item() for g in found.values()), rtol=1e-5)
    assert all(p._node.name() == "AccumulateGrad" for n, p in m.named_parameters() if n in found)


def test_tied_parameters_stay_tied(backend):
    m = pg.nn.Sequential(pg.nn.Linear(2, 2, bias=False), pg.nn.Linear(2, 2, bias=False))
    m[1].weight = m[0].weight
    x = pg.ones(1, 2)
    found = pg.grad(lambda m: m(x).sum())(m)
    m(x).sum().backward()
    assert list(found) == ["0.weight"] and found["0.weight"].tolist() == m[0].weight.grad.tolist()


def test_functional_call_does_what_torchs_does(torch):
    def compute(lib):
        m = lib.nn.Sequential(lib.nn.Linear(3, 2), lib.nn.Linear(2, 2)).double()
        m[1].bias = m[0].bias
        state = {n: lib.ones_like(p) * (i + 1) for i, (n, p) in enumerate(m.named_parameters())}
        x = lib.tensor(A, dtype=lib.float64)
        found = lib.func.grad(lambda s: lib.func.functional_call(m, s, (x,)).sum())(state)
        before = [p for _, p in m.named_parameters()]
        assert all(p is q for p, q in zip(before, m.parameters(), strict=True))
        return found

    close(plain(compute(pg)), plain(compute(torch)))
    m = pg.nn.Linear(3, 2)
    with pytest.raises(RuntimeError, match="no parameter or buffer named w"):
        pg.func.functional_call(m, {"w": pg.ones(1)}, pg.ones(3))
    with pytest.raises(RuntimeError, match="given none for bias"):
        pg.func.functional_call(m, {"weight": m.weight}, pg.ones(3), strict=True)
    with pytest.raises(ValueError, match="multiple dictionaries"):
        pg.func.functional_call(m, [{"bias": m.bias}, {"bias": m.bias}], pg.ones(3))


def test_numbers_and_arrays_are_tensors(backend):
    value, found = pg.value_and_grad(lambda x, scale: (scale * x * x).sum(), argnums=(0, 1))(
        backend.asarray([1.0, 2.0]), 3.0
    )
    assert value.item() == 15.0 and found[0].tolist() == [6.0, 12.0] and found[1].item() == 5.0
    array = backend.asarray([1.0, 2.0])
    found = pg.grad(lambda x, c, k=None: (c["c"] * x + k * x).sum())(pg.tensor([1.0, 1.0]), {"c": array}, k=array)
    assert found.tolist() == [2.0, 4.0]


def test_complex_derivatives(backend):
    z = 1 + 2j
    assert abs(pg.grad(lambda z: z**3, holomorphic=True)(z).item() - 3 * z**2) < 1e-12
    ours = pg.grad(pg.abs)(z).item()
    assert abs(ours - z / abs(z)) < 1e-12
    assert pg.grad(pg.abs, convention="jax")(z).item() == ours.conjugate()
    for verb in (pg.jacrev, pg.jacfwd, pg.jacobian):
        found = verb(lambda z: pg.stack([z * z, 1j * z]), holomorphic=True)(z)
        np.testing.assert_allclose(found.tolist(), [2 * z, 1j], rtol=1e-12)
        with pytest.raises(RuntimeError, match="real tensors.*holomorphic"):
            verb(lambda z: z * z)(z)
    with pytest.raises(RuntimeError, match="real scalar"):
        pg.grad(lambda z: z * z)(z)
    with pytest.raises(TypeError, match="complex arguments"):
        pg.grad(lambda x: x * 1j, holomorphic=True)(1.0)


# ------------------------------------------------------------------------------------------ what is recorded, errors


def test_results_are_recorded_where_something_outside_needs_it(backend):
    w = pg.tensor(2.0, requires_grad=True)
    f = lambda x: x**2 * w  # noqa: E731
    g = pg.grad(f)(3.0)
    g.backward()
    assert g.item() == 12.0 and w.grad.item() == 6.0
    with pg.no_grad():
        assert not pg.grad(f)(3.0).requires_grad
    assert not pg.grad(lambda x: x**2)(3.0).requires_grad
    x = pg.tensor(3.0, requires_grad=True)
    value, g = pg.value_and_grad(lambda x: x**3)(x)
    assert value.requires_grad and pg.autograd.grad(g, x)[0].item() == 18.0
    assert x.grad is None


def test_many_inner_derivatives_do_not_walk_what_lies_outside():
    """A thousand steps of descent, differentiated: each inner walk sees its own step only (else this takes minutes)."""
    rate = pg.tensor(0.01, requires_grad=True)
    x = pg.tensor(1.0)
    for _ in range(1000):
        x = x - rate * pg.grad(lambda x: x * x)(x)
    x.backward()
    np.testing.assert_allclose(rate.grad.item(), -2000 * 0.98**999, rtol=1e-9)


MISUSES = [
    (lambda: pg.grad(lambda x: x)(pg.ones(2)), RuntimeError, r"scalar Tensor, got shape \(2,\).*vjp or jacrev"),
    (lambda: pg.grad(lambda x: (x, x))(1.0), RuntimeError, "scalar Tensor, got a tuple"),
    (lambda: pg.grad(lambda x: None)(1.0), TypeError, "return a Tensor or a nest of them, got NoneType"),
    (lambda: pg.grad(lambda x: x)(3), TypeError, "floating-point or complex.*got int"),
    (lambda: pg.grad(lambda x: x)(pg.arange(3)), TypeError, "got polygrad.int64 Tensor"),
    (lambda: pg.grad(lambda x: x, argnums=1)(1.0), ValueError, "only 1 positional"),
    (lambda: pg.grad(lambda x: x, argnums=(0, 0))(1.0), ValueError, "unique"),
    (lambda: pg.grad(lambda x: x, argnums="a")(1.0), TypeError, "int or a tuple of ints, got 'a'"),
    (lambda: pg.grad(lambda x: x, has_aux=True)(1.0), TypeError, r"pair \(output, aux\)"),
    (lambda: pg.grad(lambda x: x, convention="numpy"), ValueError, "one of .*'torch', 'jax'.*, got 'numpy'"),
    (lambda: pg.jvp(lambda x: x, pg.ones(2), pg.ones(2)), TypeError, "primals to be a tuple"),
    (lambda: pg.jvp(lambda x: x, (pg.ones(2),), (pg.ones(3),)), RuntimeError, r"\(3,\).*\(2,\)"),
    (lambda: pg.jvp(lambda x: x, (pg.ones(2),), (pg.ones(2), 1)), TypeError, "tuple of 1, got a tuple of 2"),
    (lambda: pg.vjp(lambda x: {"a": x}, pg.ones(2))[1]({"b": pg.ones(2)}), TypeError, "cotangents: expected a dict"),
    (lambda: pg.vjp(lambda x: [x, x], pg.ones(2))[1]([pg.ones(2), "g"]), TypeError, r"cotangents\[1\].*got str"),
    (lambda: pg.vjp(lambda x: x, pg.ones(2))[1](pg.ones(3)), RuntimeError, "Mismatch in shape"),
    (lambda: pg.hvp(lambda x: x, pg.ones(2), pg.ones(2)), TypeError, "hvp: expected primals to be a tuple"),
]


@pytest.mark.parametrize(("call", "kind", "message"), MISUSES)
def test_misuse_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_a_function_that_raises_changes_nothing(backend):
    m = pg.nn.Linear(2, 1)
    before = [(p, p._node, p._array) for p in m.parameters()]

    def fail(m):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        pg.grad(fail)(m)
    with pytest.raises(RuntimeError):
        pg.func.functional_call(m, {"bias": pg.ones(7)}, (pg.ones(2),))
    assert [(p, p._node, p._array) for p in m.parameters()] == before and pg.is_grad_enabled()


def test_verbs_run_in_compiled_functions(compiled):
    m = pg.nn.Linear(2, 1)

    @pg.jit
    def both(x):
        value, found = pg.value_and_grad(lambda m, x: (m(x) ** 2).sum())(m, x)
        return value, found["weight"], pg.hvp(lambda x: (x**3).sum(), (x,), (x,))[1][0]

    x = pg.tensor([[1.0, 2.0]])
    eager = both.__wrapped__(x)
    for a, b in zip(both(x), eager, strict=True):
        np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=1e-6)
