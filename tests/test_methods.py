"""Each method of a tensor beside PyTorch's: values, dtypes, shapes and gradients."""

import numpy as np
import pytest

import polygrad as pg
from conftest import require_torch

# The tensors that the expressions below are about; `x`, `y`, `v`, `p`, `z` require grad.
RNG = np.random.default_rng(7)
DATA = {
    "x": RNG.standard_normal((3, 4)),
    "y": RNG.standard_normal((3, 4)),
    "p": RNG.uniform(0.1, 0.9, (3, 4)),
    "v": RNG.standard_normal(4),
    "q": RNG.standard_normal((2, 3, 4)),
    "z": RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4)),
    "s": np.array(1.5),
    "one": RNG.standard_normal((1, 3, 1, 4)),
    "n": RNG.integers(-5, 6, (3, 4)),
    "k": RNG.integers(1, 5, (3, 4)),
    "b": RNG.random((3, 4)) < 0.5,
    "c": RNG.random((3, 4)) < 0.5,
    "i": np.array([2, 0, 0]),
    "j": np.array([[0, 1], [3, 3], [2, 0]]),
    "wide": np.array([[0, 1, 3, 3], [2, 0, 0, 1], [1, 1, 2, 2]]),
}

UNARY = """
exp expm1 sin cos tan sinh cosh tanh asinh atan arctan abs absolute neg negative sigmoid relu square sign floor ceil round
trunc erf isnan isinf isfinite clone contiguous detach positive
""".split()
OF_FRACTIONS = "log log1p log2 log10 sqrt rsqrt reciprocal asin acos atanh arcsin arccos".split()
BINARY = """
add sub mul div multiply true_divide maximum minimum atan2 arctan2 hypot logaddexp copysign eq ne lt le gt ge remainder
""".split()

EXPRESSIONS = [
    *(f"x.{name}()" for name in UNARY),
    *(f"p.{name}()" for name in OF_FRACTIONS),
    *(f"(p + 1).{name}()" for name in ["acosh"]),
    *(f"x.{name}(y)" for name in BINARY),
    *(
        f"z.{name}()"
        for name in "exp sin cos tanh abs neg conj angle square sigmoid reciprocal log sqrt sum mean".split()
    ),
    *(f"z.{name}(y)" for name in "add sub mul div".split()),
    *(
        f"n.{name}(k)"
        for name in "add sub mul div floor_divide remainder bitwise_and bitwise_or bitwise_xor eq lt pow".split()
    ),
    *(f"b.{name}(c)" for name in "logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor eq ne".split()),
    *(
        "b + c",
        "b * c",
        "b * True",
        "x * True",
        "b | c",
        "x[b * c]",
        "b.logical_not()",
        "b.bitwise_not()",
        "~b",
        "n.bitwise_not()",
        "n.logical_not()",
    ),
    # arithmetic
    *(
        "x + y",
        "x - 2",
        "2 - x",
        "x * v",
        "x / p",
        "1 / p",
        "x // p",
        "x % p",
        "p ** y",
        "p ** 2",
        "2 ** x",
        "x @ v",
        "-x",
        "+x",
    ),
    *("abs(x)", "x.add(y, alpha=2)", "x.sub(y, alpha=0.5)", "p.pow(3)", "p.pow(y)", "p.pow(0.5)", "x.floor_divide(p)"),
    *(
        "x.mul(3)",
        "x.div(4)",
        "x.remainder(0.7)",
        "x.clamp(-0.5, 0.5)",
        "x.clamp(min=0)",
        "x.clamp(max=0.1)",
        "x.clip(0, 1)",
    ),
    *(
        "x.clamp(p, y)",
        "x.lerp(y, 0.3)",
        "x.lerp(y, p)",
        "x.where(b, y)",
        "x.where(b, 0)",
        "x.masked_fill(b, 0)",
        "k.sqrt()",
    ),
    *(
        "x.masked_fill(b, 2.5)",
        "x.masked_select(b)",
        "x.matmul(y.mT)",
        "x.mm(y.t())",
        "x.mv(v)",
        "v.dot(v)",
        "v.outer(v)",
    ),
    *("q.bmm(q.mT)", "q.matmul(v)", "v.matmul(x.T)", "x.T.addmm(x.T[:, :3], x[:, :3], beta=0.5, alpha=2)"),
    # reductions
    *("x.sum()", "x.sum(0)", "x.sum(dim=1)", "x.sum(-1, keepdim=True)", "q.sum((0, 2))", "q.sum([0, 1], keepdim=True)"),
    *(
        "n.sum()",
        "b.sum()",
        "b.sum(0)",
        "n.prod()",
        "x.sum(dtype=float64)",
        "n.sum(1, dtype=float64)",
        "x.mean()",
        "x.mean(0)",
    ),
    *(
        "x.mean(1, keepdim=True)",
        "q.mean((0, 1))",
        "x.prod()",
        "x.prod(1)",
        "x.prod(0, keepdim=True)",
        "x.std()",
        "x.var()",
    ),
    *(
        "x.std(0)",
        "x.var(1)",
        "x.std(dim=1, unbiased=False)",
        "x.var(0, correction=0)",
        "x.var(1, keepdim=True)",
        "q.std((0, 1))",
    ),
    *(
        "x.max()",
        "x.min()",
        "x.max(1)",
        "x.min(0)",
        "x.max(dim=1, keepdim=True)",
        "x.max(y)",
        "x.min(y)",
        "x.amax(1)",
        "x.amin(0)",
    ),
    *(
        "x.amax()",
        "x.amax((0, 1), keepdim=True)",
        "x.argmax()",
        "x.argmax(1)",
        "x.argmin(0)",
        "x.argmin(dim=1, keepdim=True)",
    ),
    *(
        "x.max(dim=1).values",
        "x.max(dim=1).indices",
        "x.max(dim=1)[0]",
        "b.all()",
        "b.any()",
        "b.all(1)",
        "b.any(0)",
        "n.any()",
    ),
    *(
        "b.all(1, keepdim=True)",
        "x.norm()",
        "x.norm(1)",
        "x.norm(dim=1)",
        "x.norm(p=3, dim=0, keepdim=True)",
        "x.norm('fro')",
    ),
    *(
        "x.logsumexp(1)",
        "x.logsumexp(dim=0, keepdim=True)",
        "x.softmax(1)",
        "x.softmax(dim=0)",
        "x.log_softmax(-1)",
        "x.cumsum(0)",
    ),
    *(
        "x.cumsum(dim=1)",
        "x.cumprod(1)",
        "n.cumsum(1)",
        "x.diff()",
        "x.diff(dim=0)",
        "x.diff(n=2)",
        "x.count_nonzero()",
    ),
    *(
        "n.count_nonzero(1)",
        "x.sort()",
        "x.sort(0, descending=True)",
        "x.sort(dim=1).values",
        "x.argsort(1)",
        "x.argsort(0, True)",
    ),
    *("x.topk(2)", "x.topk(2, dim=0)", "x.topk(3, 1, False)", "x.topk(2).indices", "x[:, :3].trace()"),
    # shapes
    *(
        "x.reshape(4, 3)",
        "x.reshape((2, 6))",
        "x.reshape(-1)",
        "x.view(2, -1)",
        "x.view((12,))",
        "x.view_as(y)",
        "x.T",
        "x.mT",
    ),
    *(
        "q.mT",
        "z.H",
        "x.t()",
        "v.t()",
        "q.flatten()",
        "q.flatten(1)",
        "q.flatten(0, 1)",
        "q.flatten(start_dim=1, end_dim=2)",
    ),
    *(
        "x.unflatten(1, (2, 2))",
        "x.unflatten(-1, (2, -1))",
        "one.squeeze()",
        "one.squeeze(0)",
        "one.squeeze(1)",
        "one.squeeze((0, 2))",
    ),
    *(
        "x.unsqueeze(0)",
        "x.unsqueeze(-1)",
        "x.unsqueeze(dim=1)",
        "q.transpose(0, 2)",
        "q.transpose(-1, -2)",
        "q.permute(2, 0, 1)",
    ),
    *(
        "q.permute((1, 0, 2))",
        "q.movedim(0, 2)",
        "q.movedim((0, 1), (1, 0))",
        "v.expand(3, 4)",
        "v.expand(3, -1)",
        "v.expand((2, 4))",
    ),
    *(
        "one.expand(2, -1, 5, -1)",
        "v.expand_as(x)",
        "v.broadcast_to((3, 4))",
        "x.repeat(2, 3)",
        "x.repeat((2, 1, 1))",
        "x.repeat(1, 1)",
    ),
    *(
        "x.repeat_interleave(2)",
        "x.repeat_interleave(2, dim=1)",
        "x.repeat_interleave(i, dim=0)",
        "x.tile(2)",
        "x.tile(2, 1)",
    ),
    *(
        "x.tile((2, 2))",
        "q.tile(2)",
        "x.roll(1)",
        "x.roll(2, 0)",
        "x.roll((1, -1), (0, 1))",
        "x.flip(0)",
        "x.flip(0, 1)",
        "x.flip((1,))",
    ),
    *(
        "x.flip(-1)",
        "x.split(2)",
        "x.split(2, dim=1)",
        "x.split([1, 3], dim=1)",
        "x.chunk(2)",
        "x.chunk(3, dim=1)",
        "x.unbind()",
    ),
    *(
        "x.unbind(1)",
        "x.narrow(1, 1, 2)",
        "x.narrow(0, -2, 2)",
        "x.select(0, 1)",
        "x.select(1, -1)",
        "x[:3, :3].tril()",
        "x.triu(1)",
    ),
    *(
        "x.tril(diagonal=-1)",
        "x.diagonal()",
        "x.diagonal(1)",
        "q.diagonal(0, 1, 2)",
        "x.swapaxes(0, 1)",
        "list(x)",
        "tuple(v)",
        "len(x)",
    ),
    *(
        "x.size()",
        "x.size(1)",
        "x.size(-1)",
        "x.dim()",
        "x.numel()",
        "x.ndim",
        "x.nelement()",
        "x.element_size()",
        "n.element_size()",
    ),
    *(
        "x.shape",
        "tuple(x.shape)",
        "x.is_floating_point()",
        "n.is_floating_point()",
        "z.is_complex()",
        "x.is_contiguous()",
    ),
    # picking
    *(
        "x.gather(1, j)",
        "x.gather(0, wide % 3)",
        "x.index_select(0, i)",
        "x.index_select(1, i)",
        "x.take(j)",
        "n.nonzero()",
    ),
    *(
        "x.take_along_dim(j, dim=1)",
        "x.index_add(0, i, y)",
        "x.scatter_add(1, j, y[:, :2])",
        "x.scatter(1, wide[:, :1], y[:, :1])",
        "b.nonzero()",
    ),
    *(
        "x[0]",
        "x[:, 1]",
        "x[b]",
        "x[i]",
        "x[..., None]",
        "x[1:, ::2]",
        "x[-1, -1]",
        "q[:, i, 1]",
        "x[i, i]",
        "x[None, 0]",
        "x[x > 0]",
    ),
    # types
    *(
        "x.float()",
        "n.double()",
        "x.half()",
        "x.bfloat16()",
        "x.long()",
        "x.int()",
        "x.short()",
        "n.char()",
        "b.byte()",
        "n.bool()",
    ),
    *(
        "x.cfloat()",
        "x.cdouble()",
        "x.to(float32)",
        "x.to(dtype=float32)",
        "x.type_as(n)",
        "x.to(y)",
        "n.to(float64, copy=True)",
    ),
    *(
        "x.type(float32)",
        "x.dtype",
        "n.dtype",
        "z.real",
        "z.imag",
        "x.real",
        "x.new_zeros(2, 3)",
        "x.new_zeros((2,))",
        "n.new_ones(2)",
    ),
    *("x.new_full((2, 2), 3)", "n.new_tensor([1, 2])", "x.new_tensor([1.0])", "x.new_ones(2, dtype=int64)"),
    *(
        "s.item()",
        "x.tolist()",
        "n.tolist()",
        "b.tolist()",
        "s.tolist()",
        "float(n[0, 0])",
        "int(s.detach())",
        "bool(n[0, 1])",
        "complex(s.detach())",
        "n[0, 0].item()",
    ),
    *(
        "x.equal(x)",
        "x.equal(y)",
        "x.allclose(x + 1e-9)",
        "x.allclose(y)",
        "x.isclose(x)",
        "(x == x).all()",
        "0.5 in p",
        "s in x",
    ),
    *(
        "x.requires_grad",
        "x.is_leaf",
        "(x * 2).is_leaf",
        "n.requires_grad",
        "x.detach().requires_grad",
        "x.cpu()",
        "x.data",
    ),
]

# Where polygrad means to differ from PyTorch, with the reason.
DIFFERENT = {
    "x.shape": "a plain tuple (the standard's), where PyTorch has torch.Size",
    "x.size()": "a plain tuple (the standard's), where PyTorch has torch.Size",
    "x // p": "the derivative is zero, where PyTorch raises",
    "x.floor_divide(p)": "the derivative is zero, where PyTorch raises",
    "x.bfloat16()": "the default backend has no bfloat16; compared on the torch backend below",
}

IN_PLACE = [
    *(
        "add_(y)",
        "add_(y, alpha=3)",
        "sub_(2)",
        "sub_(y, alpha=2)",
        "mul_(y)",
        "mul_(v)",
        "div_(p)",
        "pow_(2)",
        "remainder_(0.7)",
    ),
    *("exp_()", "sqrt_()", "log_()", "neg_()", "abs_()", "sigmoid_()", "tanh_()", "relu_()", "reciprocal_()"),
    *(
        "floor_()",
        "ceil_()",
        "round_()",
        "clamp_(0, 1)",
        "clamp_(min=0.2)",
        "clip_(0, 1)",
        "zero_()",
        "fill_(2.5)",
        "copy_(y)",
    ),
    *(
        "copy_(v)",
        "copy_(n)",
        "masked_fill_(b, 3)",
        "lerp_(y, 0.25)",
        "addcmul_(y, p, value=2)",
        "addcdiv_(y, p, value=0.5)",
    ),
    *(
        "fill_(s)",
        "__setitem__((0, 1), 5)",
        "__setitem__(b, 0)",
        "__setitem__(slice(1, None), y[1:])",
        "__setitem__(i[:2], y[:2])",
    ),
]
OPERATORS = ["+=", "-=", "*=", "/=", "%=", "**="]

TYPES = ["float32", "float64", "int64"]


def leaves(lib, make):
    """The tensors of DATA in one library, the inexact ones requiring grad."""
    made = {}
    for name, value in DATA.items():
        t = make(value)
        made[name] = t.requires_grad_() if value.dtype.kind in "fc" else t
    return made | {name: getattr(lib, name) for name in TYPES}


def both():
    """The names of the expressions in polygrad and in PyTorch."""
    torch = require_torch()
    return leaves(pg, pg.tensor), leaves(torch, torch.tensor)


def run(expression, names):
    return eval(expression, {}, names)


def compare(ours, theirs, at=""):
    """Assert that two results are the same thing in two libraries."""
    torch = require_torch()
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, pg.Tensor), f"{at}: a {type(ours)} for a tensor"
        assert str(ours.dtype) == str(theirs.dtype).replace("torch", "polygrad"), at
        assert ours.shape == tuple(theirs.shape), at
        assert ours.requires_grad == theirs.requires_grad, at
        mine, other = np.asarray(ours.detach().tolist()), np.asarray(theirs.detach().tolist())
        tolerance = {2: 1e-2, 4: 1e-6, 8: 1e-12, 16: 1e-12}.get(theirs.element_size(), 0)
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance, err_msg=at)
    elif isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs), at
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            compare(mine, other, f"{at}[{index}]")
    elif isinstance(theirs, torch.dtype):
        assert str(ours) == str(theirs).replace("torch", "polygrad"), at
    else:
        assert type(ours) is type(theirs) and ours == theirs, f"{at}: {ours!r} for {theirs!r}"


def inexact(result):
    """The tensors in a result that have a history."""
    if isinstance(result, tuple | list):
        return [t for r in result for t in inexact(r)]
    return [result] if getattr(result, "requires_grad", False) else []


def weighted(result, lib):
    """A real scalar that depends on every element of a result."""
    total = 0
    for t in inexact(result):
        weight = np.cos(np.arange(t.numel()).reshape(tuple(t.shape)) + 1.0)
        if t.is_complex():
            weight = weight + 1j * np.sin(3 * weight)
        t = t * lib.tensor(weight)
        total = total + (t.real.sum() + t.imag.sum() if t.is_complex() else t.sum())
    return total


def compare_gradients(ours, theirs, mine, others):
    if not inexact(theirs):
        return
    weighted(ours, pg).backward()
    weighted(theirs, require_torch()).backward()
    for name in DATA:
        if others[name].requires_grad:
            a, b = mine[name].grad, others[name].grad
            assert (a is None) == (b is None), f"grad of {name}: {a} for {b}"
            if b is not None:
                compare(a, b, f"grad of {name}")


@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if e not in DIFFERENT])
def test_a_method_does_what_torch_does(expression):
    mine, others = both()
    theirs = run(expression, others)
    ours = run(expression, mine)
    compare(ours, theirs, expression)
    compare_gradients(ours, theirs, mine, others)


@pytest.mark.parametrize("call", IN_PLACE)
def test_an_in_place_method_does_what_torch_does(call):
    mine, others = both()
    results = []
    for names in (mine, others):
        names["t"] = names["p"] * 2 - names["x"] if "sqrt" not in call and "log" not in call else names["p"] * 2
        returned = run(f"t.{call}", names)
        assert returned is names["t"] or call.startswith("__setitem__")
        results.append(names["t"])
    compare(*results, call)
    compare_gradients(*results, mine, others)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("operand", ["y", "v", "2", "p"])
def test_an_in_place_operator_does_what_torch_does(operator, operand):
    mine, others = both()
    for names in (mine, others):
        names["t"] = names["p"] * 2
        exec(f"t {operator} {operand}", {}, names)
    compare(mine["t"], others["t"], operator)
    compare_gradients(mine["t"], others["t"], mine, others)


@pytest.mark.parametrize("expression", sorted(set(EXPRESSIONS)))
def test_a_method_gives_the_same_on_every_backend(expression, backend):
    """Values, dtypes and shapes against those on the first backend."""
    here = leaves(pg, pg.tensor)
    with pg.use_backend("numpy"):
        there = leaves(pg, pg.tensor)
    missing = [w for w in ("half", "bfloat16") if w in expression]
    try:
        ours = run(expression, here)
    except TypeError as error:
        if missing and "has no" in str(error):
            pytest.skip(f"{backend.name} has no {missing[0]}")
        raise
    if "bfloat16" in expression:
        return
    same(ours, run(expression, there), expression)


def same(ours, theirs, at):
    if isinstance(theirs, pg.Tensor):
        assert ours.dtype is theirs.dtype and ours.shape == theirs.shape, at
        assert ours.requires_grad == theirs.requires_grad, at
        mine, other = np.asarray(ours.detach().tolist()), np.asarray(theirs.detach().tolist())
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-6 if ours.dtype.itemsize < 8 else 1e-12, err_msg=at)
    elif isinstance(theirs, tuple | list):
        for mine, other in zip(ours, theirs, strict=True):
            same(mine, other, at)
    else:
        assert ours == theirs or abs(ours - theirs) < 1e-12, at
