"""Functions and methods under PyTorch's names, beside PyTorch: values, dtypes, shapes and gradients of every expression."""

import pytest

import polygrad as pg
from conftest import backend_names, require_torch
from test_methods import compare, compare_gradients, leaves, run, same

# The expressions are about the tensors of test_methods.DATA: x, y (3, 4), p of (0, 1), v (4,), q (2, 3, 4), z complex require
# grad; n, k, i, j, wide are integers, b, c booleans. `f` is polygrad or torch.
NAMES = """
f.selu(x)|f.celu(x, 0.5)|f.layer_norm(x, (4,), v, v)|f.rms_norm(x, (4,), v)|f.group_norm(q, 3)|f.prelu(x, v[:1])
f.threshold(x, 0.1, 2.0)|f.hardshrink(x, 0.3)|f.conv1d(q, q[:, :, :2], v[:2], 1, 1)|f.conv_transpose1d(q, q[0][..., None])
f.max_pool1d(q, 2)|f.avg_pool1d(q, 2, 1)|f.cosine_similarity(x, y)|f.pairwise_distance(x, y, 1.0)|f.pdist(x)
f.frac(x * 3)|f.fmod(x * 3, 0.7)|f.fmod(x * 3, y)|f.fmod(n, 3)|f.fmod(n, k)|f.fmod(n, 2.5)|f.float_power(p, 2)
f.float_power(p.float(), y)|f.float_power(n, 2)|f.logaddexp2(x, y)|f.deg2rad(x)|f.rad2deg(x)|f.deg2rad(n)
f.fmax(x, y)|f.fmin(x, y)|f.fmax(x, x)|f.fmax(n, k)|f.fmax(f.log(x), y)|f.fmin(f.log(x), y)|f.clamp_min(x, 0)
f.clamp_max(x, v)|f.round(x, decimals=2)|f.round(x * 1000, decimals=-2)|f.div(x, y)
f.div(x * 5, y, rounding_mode=None)|f.div(n, k, rounding_mode='floor')|f.div(n, k, rounding_mode='trunc')
f.div(n, -k, rounding_mode='trunc')|f.div(n, 2.5, rounding_mode='trunc')|f.div(n, k)|f.rsub(x, y)
f.rsub(x, 2, alpha=3)|f.sgn(x.detach())|f.sgn(z)|f.complex(x, y)|f.polar(p, x)|f.view_as_real(z)
f.view_as_complex(x.reshape(3, 2, 2))|f.ldexp(x, k)|f.ldexp(x, y)|f.ldexp(n, k)|f.frexp(x * 100).mantissa
f.frexp(x * 100).exponent|f.isposinf(1 / (n * 1.0))|f.isneginf(n)|f.isreal(z)|f.isreal(x)|f.fix(x * 3)
f.bitwise_not(n)|f.i0(x)|f.heaviside(x.detach(), y.detach())|f.heaviside(n.double(), f.ones(4, dtype=f.float64))
f.tensor_split(x, 2, 1)|f.tensor_split(v, 3)|f.tensor_split(x, (1, 3), dim=1)|f.hsplit(x, 2)|f.hsplit(v, [1, 3])
f.vsplit(x, [1])|f.dsplit(q, 2)|f.hstack((x, y))|f.hstack([v, v])|f.vstack((x, v))|f.row_stack((v, v))
f.dstack((x, y))|f.dstack((v, v))|f.column_stack((v, v))|f.column_stack((x.T, v))|f.ravel(x)|f.rot90(x)
f.rot90(q, -1, (1, 2))|f.rot90(x, 2)|f.rot90(x, 4)|f.fliplr(x)|f.flipud(x)|f.broadcast_tensors(x, v)
f.swapdims(q, 0, 2)|f.vander(v.detach())|f.vander(v.detach(), 3, increasing=True)|f.vander(v, 1)|f.vander(i)
f.combinations(v)|f.combinations(v, 3)|f.combinations(v, 2, True)|f.combinations(v, 5)|f.cartesian_prod(v, v)
f.cartesian_prod(v)|f.concatenate((x, y), dim=1)|f.as_strided(x, (2, 3), (1, 2))|f.as_strided(x, (5,), (2,), 1)
f.select_scatter(x, v, 0, 1)|f.slice_scatter(x, y[:2], 0, 0, 2)|f.slice_scatter(x, y[:, :2], 1, 0, None, 2)
f.diagonal_scatter(x, v[:3])|f.diagonal_scatter(x, v[:2], -1)|f.diagonal_scatter(q, x[:2, :3], 1, 1, 2)
f.tril_indices(3, 4)|f.triu_indices(3, 4, 1)|f.tril_indices(4, 2, -1)|f.triu_indices(2, 2, 5)|f.logspace(0, 2, 3)
f.logspace(0, 1, 4, 2.0, dtype=f.float64)|f.gather(x, 1, j)|f.gather(x, 1, j[:2])|f.gather(x, 0, i[:2][None])
f.gather(q, 1, wide[None, :2] % 3)|f.scatter(x, 1, j[:2, :1], 2.5)|f.scatter(x, 1, wide[:2, :2], y[:2, :2])
f.scatter_add(x, 0, wide[:1] % 3, y[:1])|f.scatter_add(x, 1, j[:2], y[:2, :2])
f.scatter(x.detach(), 1, wide[:2, 1:3], y.detach())|f.scatter_add(x, 1, j[:2], y.detach())
f.index_fill(x, 1, i, 2.5)|f.index_fill(n, 0, i, 7)|f.index_copy(x, 1, i[:2], y[:, 1:3])
f.index_put(x, (i, i), v[:3], True)|f.index_put(x, (i[:1],), v)|f.put(x, i, v[:3], True)|f.put(x, j[:1], y[:1, :2])
f.masked_scatter(x, b, y)|f.masked_scatter(x, b[0], y)|f.scatter_reduce(x, 1, wide, y, 'sum')
f.scatter_reduce(x, 1, wide, y, 'prod')|f.scatter_reduce(x, 0, wide % 3, y, 'mean')
f.scatter_reduce(x, 1, wide, y, 'amax')|f.scatter_reduce(x, 1, wide, y, 'amin')
f.scatter_reduce(x, 1, wide, x, 'amax')|f.scatter_reduce(x, 1, wide[:2], y[:2], 'sum', include_self=False)
f.scatter_reduce(x, 1, wide, y, 'prod', include_self=False)
f.scatter_reduce(x, 1, wide, y, 'mean', include_self=False)
f.scatter_reduce(x, 1, j[:2], y[:2, :2], 'amax', include_self=False)|f.scatter_reduce(n, 1, wide, k, 'mean')
f.scatter_reduce(n, 1, wide, k, 'amin')|f.scatter_reduce(n, 1, wide, k, 'prod')
x.index_reduce(1, i, y[:, :3], 'amax')|x.index_reduce(0, i, y, 'mean')
x.index_reduce(0, i, y, 'prod', include_self=False)|f.bincount(i)|f.bincount(i, v[:3].detach())
f.bincount(i, minlength=6)|f.histc(x, 4, -2, 2)|f.histc(x, 5)|f.histc(x, 3, 0.2, 0.4)
f.bucketize(x, f.tensor([-1., 0, 1]))|f.bucketize(n, f.tensor([-1, 0, 3]), right=True)
f.bucketize(n, f.tensor([0.5]), out_int32=True)|f.unique(n)|f.unique(x.detach())|f.unique(n, return_inverse=True)
f.unique(n % 3, return_inverse=True, return_counts=True)|f.unique(b)
f.unique(n[[0, 2, 0, 1]], dim=0, return_inverse=True, return_counts=True)
f.unique(wide % 2, dim=1, return_counts=True)|f.unique(n[:0])|f.unique_consecutive(n // 3)
f.unique_consecutive(i, return_inverse=True, return_counts=True)|f.unique_consecutive(n[[0, 0, 1]], dim=0)
f.kthvalue(x, 2)|f.kthvalue(x, 3, 0, True)|f.kthvalue(n.flatten(), 5).values|f.mode(n)|f.mode(wide, 0, True)
f.mode(x, 0).values|f.aminmax(x)|f.aminmax(x, dim=1)|f.aminmax(n, dim=0, keepdim=True)|f.msort(x)|f.std_mean(x)
f.var_mean(x, 1, keepdim=True)|f.std_mean(x, dim=0, correction=0)|f.var_mean(x, False)|f.dist(x, y)|f.dist(x, v, 1)
f.dist(x, y, float('inf'))|f.renorm(x, 2, 0, 1.5)|f.renorm(q, 1, 1, 2.0)|f.trapezoid(x)|f.trapezoid(x, v)
f.trapezoid(x, y, dim=0)|f.trapezoid(x, dx=0.5, dim=0)|f.cumulative_trapezoid(x, v)|f.trapz(v)
f.trapezoid(x.detach()[:, :0])|f.cumulative_trapezoid(x, dx=2)|f.argwhere(b)|f.argwhere(n)|f.argwhere(b[:0])
f.logdet(q[0, :3, :3] @ q[0, :3, :3].T)|f.logdet(x[:, :3])|f.cholesky_solve(x, f.linalg.cholesky(x @ x.T))
f.cholesky_solve(x, f.linalg.cholesky(x @ x.T).T, True)|f.cholesky_inverse(f.linalg.cholesky(x @ x.T))
f.chain_matmul(x, y.T, x)|f.linalg.lu(x[:, :3])|f.linalg.lu(x)|f.linalg.lu(x.T)|f.linalg.lu(q @ q.mT)|f.linalg.lu(z)
f.linalg.lu_factor(q)|f.linalg.lu_factor(x.T)|f.linalg.lu_solve(*f.linalg.lu_factor(x @ x.T), y)
f.linalg.lu_solve(*f.linalg.lu_factor(q @ q.mT), y[:2, :3], left=False)
f.linalg.lu_solve(*f.linalg.lu_factor(x @ y.T), y, adjoint=True)
f.linalg.tensorsolve(q[:, :2].reshape(2, 2, 4), x[:2, :2])
f.linalg.tensorinv(x.reshape(3, 4)[:, :3].reshape(3, 1, 3), 1)|f.linalg.tensorinv(q[:, :2].reshape(2, 2, 4))
f.linalg.vander(v)|f.linalg.vander(v, N=2)|f.linalg.cond(x[:, :3])|f.linalg.matrix_rank(x)|f.fft.fft2(x)
f.fft.ifft2(z)|f.fft.rfft2(x)|f.fft.irfft2(z)|f.fft.irfft2(z, (3, 5))|f.fft.fft2(q, dim=(0, 1), norm='ortho')
f.fft.hfft2(z)|f.fft.ihfft2(x)|f.special.xlog1py(p, p)|f.special.round(x, decimals=1)
""".replace("\n", "|")

METHODS = """
x.exp2()|p.erfc()|p.erfinv()|p.lgamma()|p.detach().digamma()|x.sinc()|x.i0()|(x * 3).frac()|x.fix()|x.deg2rad()
x.rad2deg()|z.sgn()|x.signbit()|x.isneginf()|x.isreal()|x.arcsinh()|p.arctanh()|(p + 1).arccosh()|p.logit()
p.detach().polygamma(2)|(p + 1).mvlgamma(2)|x.nan_to_num()|x.round(decimals=1)|x.div(y, rounding_mode='floor')
n.div(k, rounding_mode='trunc')|x.divide(y)|x.subtract(y, alpha=2)|x.fmod(0.5)|x.fmax(y)|x.fmin(y)|p.float_power(2)
x.logaddexp2(y)|p.xlogy(p)|x.ldexp(k)|n.less(k)|n.greater_equal(k)|n.not_equal(k)|k.bitwise_left_shift(k)
n.bitwise_right_shift(1)|x.addcmul(y, p, value=2)|x.addcdiv(y, p)|x.clamp_min(0.1)|x.clamp_max(0.1)
x.frexp().mantissa|v.inner(v)|v.vdot(v)|v.ger(v)|x.kron(v)|x.T.cross(y.T)|v[:3].addmv(x, v)|x.addr(v[:3], v)
x.T[:3].T[:, :3].addbmm(q[:, :, :3].mT[:, :, :3], q[:, :, :3]).sum()|(q @ q.mT).baddbmm(q, q.mT, alpha=0.5)
(x @ x.T).det()|(x @ x.T).logdet()|(x @ x.T).slogdet()|(x @ x.T).inverse()|x.pinverse()|(x @ x.T).matrix_power(2)
(x @ x.T).matrix_exp()|(x @ x.T).cholesky()|y.cholesky_solve((x @ x.T).cholesky())|x.qr()[1].abs()|x.svd()[1]
x.median()|x.median(1)|x.median(dim=0, keepdim=True)|x.nanmedian(1)|n.mode()|x.kthvalue(2)|x.quantile(0.3, 1)
x.nansum(1)|x.nanmean()|x.aminmax()|x.cummax(1)|x.cummin(0)|x.logcumsumexp(1)|x.msort()|x.dist(y)
x.renorm(2, 0, 1.0)|x.histc(4)|i.bincount()|n.unique()|n.unique(return_counts=True)|n.unique(dim=0)
i.unique_consecutive()|x.cov()|x.corrcoef()|x.swapdims(0, 1)|z.adjoint()|q.moveaxis(0, 1)|q.ravel()|x.fliplr()
x.flipud()|x.rot90(3)|x.unfold(1, 2, 1)|q.unfold(2, 3, 1)|v.unfold(0, 2, 2)|s.unfold(0, 1, 1)
x.as_strided((2, 2), (4, 1))|x.sum_to_size(1, 4)|q.sum_to_size((3, 1))|x.tensor_split(3, 1)|x.hsplit([1])
x.vsplit(3)|q.dsplit([1, 3])|x.split_with_sizes([1, 2])|v.diag(1)|x.diag()|v.diagflat()|x.diag_embed()|x.itemsize
x.nbytes|x.is_same_size(y)|x.is_signed()|b.is_signed()|s.is_nonzero()|x.get_device()
x.new_empty(0, 3).shape == (0, 3)|b.nonzero(as_tuple=True)|b.nonzero()|s.nonzero()|n.argwhere()|x.gather(1, j[:2])
x.gather(0, i[None, :2])|x.scatter(1, j[:2, :1], value=1.5)|x.detach().scatter(1, wide, y.detach(), reduce='add')
x.detach().scatter(1, j[:, :1], 2.0, reduce='multiply')|x.scatter_reduce(1, wide, y, 'mean')|x.index_fill(0, i, 0.5)
x.index_copy(0, i[:1], y[:1])|x.index_put((i, i), v[:3], True)|x.put(i[1:2], v[:1])|x.masked_scatter(b, y)
x.select_scatter(v, 0, -1)|x.slice_scatter(y[:1], 0, 1, 2)|x.diagonal_scatter(v[:3])|x.take_along_dim(wide, 0 + 1)
x.take_along_dim(i)|n.clone().eq_(k)|n.clone().lt_(k)|(n * 1.5).ge_(k)|n.clone().logical_and_(k)
n.clone().logical_not_()|x.index_add(0, i, y, alpha=2)|p.bernoulli().shape == (3, 4)
p.multinomial(2).shape == (3, 2)
""".replace("\n", "|")

IN_PLACE = """
sin_()|cos_()|tan_()|sinh_()|cosh_()|atan_()|arctan_()|erf_()|erfc_()|exp2_()|expm1_()|square_()|sign_()|trunc_()
fix_()|frac_()|negative_()|absolute_()|deg2rad_()|sinc_()|nan_to_num_()|round_(decimals=1)|fmod_(0.4)
div_(p, rounding_mode='floor')|divide_(p)|true_divide_(p)|multiply_(y)|subtract_(y, alpha=2)|hypot_(y)|atan2_(y)
copysign_(y)|clamp_min_(0.1)|clamp_max_(0.1)|float_power_(2)|masked_fill_(b, 2)|index_add_(0, i, y)
index_copy_(0, i[:1], y[:1])|index_fill_(1, i, 0.5)|index_put_((i[:2], i[:2]), v[:2])|put_(i[:1], v[:1])
scatter_(1, wide[:2, :2], y[:2, :2])|scatter_(1, j[:, :1], 0.5)|scatter_add_(1, wide, y)
scatter_reduce_(1, wide, y, 'amax')|masked_scatter_(b, y)|cumsum_(0)|cumprod_(1)|renorm_(2, 0, 1.0)|tril_()|triu_(1)
t_()|transpose_(0, 1)|swapdims_(0, 1)|unsqueeze_(1)|squeeze_()|addmm_(x, y.T @ x)|addr_(v[:3], v)
fill_diagonal_(2.5)
""".replace("\n", "|")

EXPRESSIONS = [e for e in (NAMES + METHODS).split("|") if e]


def names():
    """The tensors and the library of the expressions, in polygrad and in PyTorch."""
    torch = require_torch()
    return leaves(pg, pg.tensor) | {"f": pg}, leaves(torch, torch.tensor) | {"f": torch}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_is_what_torch_makes_of_it(expression):
    mine, others = names()
    theirs = run(expression, others)
    ours = run(expression, mine)
    compare(ours, theirs, expression)
    compare_gradients(ours, theirs, mine, others)


@pytest.mark.parametrize("call", [e for e in IN_PLACE.split("|") if e])
def test_an_in_place_form_is_what_torch_makes_of_it(call):
    mine, others = names()
    for scope in (mine, others):
        scope["t"] = scope["p"] * 2 - scope["x"]
        assert run(f"t.{call}", scope) is scope["t"]
    compare(mine["t"], others["t"], call)
    compare_gradients(mine["t"], others["t"], mine, others)


# JAX compiles every op for every shape, so that all expressions would take ten minutes: a few that stand for many.
BRIEFLY = """
f.fmod(x * 3, y)|f.complex(x, y)|f.hstack((x, y))|f.gather(x, 1, j[:2])|x.unfold(1, 2, 1)|f.index_fill(x, 1, i, 2.5)
f.masked_scatter(x, b, y)|f.scatter_reduce(x, 1, wide, y, 'amax')|f.unique(n)|f.kthvalue(x, 2)|f.trapezoid(x, v)|f.fft.fft2(x)
""".replace("\n", "|")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n in backend_names() if n in ("jax", "array_api_strict")])
def test_expressions_give_the_same_elsewhere(name):
    chosen = [e for e in BRIEFLY.split("|") if e] if name == "jax" else EXPRESSIONS
    with pg.use_backend("numpy"):
        there = leaves(pg, pg.tensor) | {"f": pg}
        wanted = [run(expression, there) for expression in chosen]
    with pg.use_backend(name):
        here = leaves(pg, pg.tensor) | {"f": pg}
        for expression, value in zip(chosen, wanted, strict=True):
            same(run(expression, here), value, expression)
