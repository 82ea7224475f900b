"""nn.utils beside PyTorch's: clipped gradients, vectors of parameters, parametrizations, normalised weights, fusion."""

import copy
import math

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn
from polygrad.nn.utils import parametrizations, parametrize
from twins import close, compare, twins

RNG = np.random.default_rng(37)

# ------------------------------------------------------------------------------------------------------------ gradients


def with_gradients(space, make, double):
    parameters = [space.Parameter(make(np.ones(s))) for s in ((3, 2), (4,), (2,))]
    rng = np.random.default_rng(1)
    for p in parameters[:2]:
        p.grad = make(rng.standard_normal(tuple(p.shape)))
    return parameters


@pytest.mark.parametrize(("bound", "order"), [(1.0, 2.0), (0.5, math.inf), (2.0, 1), (100.0, 2.0), (1.0, 0.5)])
def test_clip_grad_norm(backend, torch, bound, order):
    ours, theirs = with_gradients(nn, pg.tensor, None), with_gradients(torch.nn, torch.tensor, None)
    close(
        nn.utils.get_total_norm([p.grad for p in ours[:2]], order),
        torch.nn.utils.get_total_norm([p.grad for p in theirs[:2]], order),
    )
    close(nn.utils.clip_grad_norm_(ours, bound, order), torch.nn.utils.clip_grad_norm_(theirs, bound, order))
    for p, q in zip(ours[:2], theirs[:2], strict=True):
        close(p.grad, q.grad)
    assert ours[2].grad is None


def test_clip_grad_value_and_errors(torch):
    ours, theirs = with_gradients(nn, pg.tensor, None), with_gradients(torch.nn, torch.tensor, None)
    nn.utils.clip_grad_value_(iter(ours), 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    for p, q in zip(ours[:2], theirs[:2], strict=True):
        close(p.grad, q.grad)
    ours[0].grad = ours[0].grad * math.inf
    with pytest.raises(RuntimeError, match="is non-finite"):
        nn.utils.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0


def test_parameters_as_a_vector(backend):
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).double()
    v = nn.utils.parameters_to_vector(net.parameters())
    assert v.shape == (13,) and v.requires_grad
    nn.utils.vector_to_parameters(pg.arange(13, dtype=pg.float64), net.parameters())
    assert (
        net[0].weight.tolist() == [[0, 1], [2, 3], [4, 5]]
        and net[1].bias.tolist() == [12]
        and net[0].weight.requires_grad
    )
    with pytest.raises(RuntimeError, match="vector of 13 elements, but got 3"):
        nn.utils.vector_to_parameters(pg.ones(3), net.parameters())


# ------------------------------------------------------------------------------------------------------ normalised weights


@pytest.mark.filterwarnings("ignore:.*torch.nn.utils.weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("layer", "shape"),
    [("Linear(3, 4)", (2, 3)), ("Conv2d(2, 3, 2)", (1, 2, 3, 3)), ("ConvTranspose1d(2, 3, 2)", (1, 2, 3))],
)
@pytest.mark.parametrize("where", ["", "parametrizations."])
@pytest.mark.parametrize("kind", ["weight_norm", "weight_norm_whole", "spectral_norm"])
def test_normalised_weights(torch, layer, shape, where, kind):
    name, whole = kind.removesuffix("_whole"), kind.endswith("_whole")
    options = {"dim": None} if whole else {}

    def made(space):
        utils = space.utils.parametrizations if where else space.utils
        return getattr(utils, name)(eval(f"nn.{layer}", {"nn": space}).double(), **options)

    ours, theirs = made(nn), made(torch.nn)
    assert repr(ours) == repr(theirs)
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    for mode in (True, True, False):
        ours.train(mode), theirs.train(mode)
        compare(ours, theirs, [shape], torch)
        for (n, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            close(p.grad, q.grad), n
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        close(a, b)


def test_removing_normalised_weights():
    layer = nn.utils.weight_norm(nn.Linear(3, 2))
    x = pg.ones((1, 3))
    before = layer(x).tolist()
    assert list(nn.utils.remove_weight_norm(layer).state_dict()) == ["bias", "weight"]
    assert layer(x).tolist() == before
    with pytest.raises(ValueError, match="not found"):
        nn.utils.remove_weight_norm(layer)
    layer = nn.utils.spectral_norm(layer).eval()
    before = layer(x).tolist()
    assert list(nn.utils.remove_spectral_norm(layer).state_dict()) == ["bias", "weight"]
    assert layer(x).tolist() == before
    with pytest.raises(RuntimeError, match="Cannot register two weight_norm"):
        nn.utils.weight_norm(nn.utils.weight_norm(layer))


def test_spectral_norm_finds_the_largest_singular_value():
    pg.manual_seed(0)
    layer = parametrizations.spectral_norm(nn.Linear(5, 4).double(), n_power_iterations=50)
    assert abs(np.linalg.norm(layer.weight.detach().numpy(), 2) - 1) < 1e-6


# ----------------------------------------------------------------------------------------------------- orthogonal matrices


@pytest.mark.parametrize("trivial", [True, False])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3)])
def test_orthogonal_weights(torch, shape, kind, trivial):
    def made(space, weight):
        layer = space.Linear(shape[1], shape[0]).double()
        layer.load_state_dict({"weight": weight, "bias": weight[:, 0]})
        return space.utils.parametrizations.orthogonal(layer, orthogonal_map=kind, use_trivialization=trivial)

    start = RNG.standard_normal(shape)
    ours, theirs = made(nn, start), made(torch.nn, torch.tensor(start))
    assert repr(ours) == repr(theirs)
    close(ours.weight, theirs.weight)
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    step = np.tril(
        RNG.standard_normal((max(shape), min(shape))), -1
    )  # reflections leave the signs on the diagonal alone
    state["parametrizations.weight.original"] += step if shape[0] >= shape[1] else step.T
    ours.load_state_dict(state)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    compare(ours, theirs, [(2, shape[1])], torch)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad)
    w = ours.weight.detach().numpy()
    product = w @ w.T if shape[0] < shape[1] else w.T @ w
    assert np.abs(product - np.eye(len(product))).max() < 1e-12
    if trivial or kind == "householder" or (kind is None and shape != (3, 3)):
        ours.weight = pg.tensor(start)
        theirs.weight = torch.tensor(start)
        close(ours.weight, theirs.weight)
    else:
        with pytest.raises(NotImplementedError, match="It is not possible to assign"):
            ours.weight = pg.tensor(start)


def test_orthogonal_weights_of_other_kinds():
    layer = parametrizations.orthogonal(nn.ConvTranspose1d(4, 2, 3).double())  # a stack of matrices
    w = layer.weight.detach().numpy()
    assert w.shape == (4, 2, 3) and np.abs(w @ w.swapaxes(1, 2) - np.eye(2)).max() < 1e-12
    layer(pg.ones((1, 4, 5), dtype=pg.float64)).sum().backward()
    assert pg.all(pg.isfinite(layer.parametrizations.weight.original.grad))
    for rows, kind in ((3, "cayley"), (5, None)):
        layer = nn.utils.skip_init(nn.Linear, 3, rows, dtype=pg.complex128)
        layer.weight.data = pg.tensor(RNG.standard_normal((rows, 3)) + 1j * RNG.standard_normal((rows, 3)))
        w = parametrizations.orthogonal(layer, orthogonal_map=kind).weight
        made = w.detach().numpy()
        assert np.abs(made.conj().T @ made - np.eye(3)).max() < 1e-12
    for make, message in [
        (lambda: parametrizations._Orthogonal(w, "householder"), "does not support complex"),
        (lambda: parametrizations.orthogonal(nn.Linear(2, 3), "bias"), "Got a tensor of 1 dimensions"),
        (lambda: parametrizations.orthogonal(nn.Linear(2, 3), "w"), "no parameter or buffer with name 'w'"),
        (lambda: parametrizations.orthogonal(nn.Linear(2, 3), orthogonal_map="x"), "has to be one of"),
        (
            lambda: setattr(parametrizations.orthogonal(nn.Linear(2, 3)), "weight", pg.ones(3)),
            "Expected a matrix or batch",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            make()


def test_product_of_reflections(torch):
    for shape, count in (((4, 3), 3), ((3, 3), 2), ((2, 5, 4), 4)):
        compare(pg.linalg.householder_product, torch.linalg.householder_product, [shape, (*shape[:-2], count)], torch)
    with pytest.raises(RuntimeError, match="m >= n >= k"):
        pg.linalg.householder_product(pg.ones((2, 3)), pg.ones(2))


# ---------------------------------------------------------------------------------------------------- no initial values


def test_initial_values_that_are_left_out():
    pg.manual_seed(3)
    expected = nn.Linear(3, 2).weight.tolist()
    pg.manual_seed(3)
    layers = [
        nn.utils.skip_init(nn.Linear, 5, out_features=4, dtype=pg.float64),
        nn.utils.skip_init(nn.TransformerEncoderLayer, 8, 2, 4, device="cpu"),
    ]
    assert layers[0].weight.shape == (4, 5) and layers[0].weight.dtype is pg.float64 and layers[0].weight.requires_grad
    assert nn.Linear(3, 2).weight.tolist() == expected  # no number was drawn

    class Plain(nn.Module):
        pass

    for wrong, message in (
        (3, "Expected a Module"),
        (dict, "Expected a Module"),
        (Plain, "must support a 'device' arg"),
    ):
        with pytest.raises(RuntimeError, match=message):
            nn.utils.skip_init(wrong)


# ------------------------------------------------------------------------------------------------------- parametrization


def symmetric(space):
    class Symmetric(space.Module):
        def forward(self, x):
            return (x + x.T) / 2

        def right_inverse(self, x):
            return x

    return Symmetric()


def scaled(space):
    class Scaled(space.Module):
        def forward(self, x):
            return x * 2

        def right_inverse(self, x):
            return x / 2

    return Scaled()


def test_parametrization(torch):
    data = RNG.standard_normal((3, 3))
    found = []
    for space, make in ((nn, pg.tensor), (torch.nn, torch.tensor)):
        layer = space.Linear(3, 3).double()
        layer.load_state_dict({"weight": make(data), "bias": make(data[0])})
        utils = space.utils.parametrize
        assert not utils.is_parametrized(layer)
        utils.register_parametrization(layer, "weight", symmetric(space))
        utils.register_parametrization(layer, "weight", scaled(space))
        assert utils.is_parametrized(layer, "weight") and not utils.is_parametrized(layer, "bias")
        steps = [repr(layer), list(layer.state_dict()), layer.weight.detach().numpy()]
        layer(make(data)).sum().backward()
        steps.append(layer.parametrizations.weight.original.grad.numpy())
        layer.weight = make(data + data.T)
        steps += [layer.weight.detach().numpy(), layer.parametrizations.weight.original.detach().numpy()]
        twin = copy.deepcopy(layer)
        assert twin.parametrizations.weight.original is not layer.parametrizations.weight.original
        with utils.cached():
            assert layer.weight is layer.weight
        steps.append(twin(make(data)).detach().numpy())
        utils.remove_parametrizations(layer, "weight")
        steps += [repr(layer), list(layer.state_dict()), layer.weight.detach().numpy()]
        found.append(steps)
    for a, b in zip(*found, strict=True):
        if isinstance(b, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        else:
            assert a == b


def test_parametrizations_that_do_not_fit():
    class Smaller(nn.Module):
        def forward(self, x):
            return x[0]

    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="may not change the dtype or shape"):
        parametrize.register_parametrization(layer, "weight", Smaller())
    assert not parametrize.is_parametrized(layer) and list(layer.state_dict()) == ["weight", "bias"]
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(layer, "nothing", Smaller())
    with pytest.raises(ValueError, match="does not have a parametrization on weight"):
        parametrize.remove_parametrizations(layer, "weight")


# --------------------------------------------------------------------------------------------------------------- others


def test_fusion(torch):
    for layer, norm, shape in (
        ("Conv2d(2, 3, 2)", "BatchNorm2d(3)", (2, 2, 4, 4)),
        ("Linear(4, 3, bias=False)", "BatchNorm1d(3)", (5, 4)),
        ("ConvTranspose2d(2, 3, 2)", "BatchNorm2d(3)", (2, 2, 4, 4)),
    ):
        ours, theirs = twins(f"Sequential(nn.{layer}, nn.{norm})", torch)
        x = RNG.standard_normal((20, *shape[1:]))
        ours(pg.tensor(x)), theirs(torch.tensor(x))
        ours.eval(), theirs.eval()
        if "Linear" in layer:
            fused = nn.utils.fuse_linear_bn_eval(*ours)
        else:
            fused = nn.utils.fuse_conv_bn_eval(*ours, transpose="Transpose" in layer)
        close(fused(pg.tensor(x)), theirs(torch.tensor(x)))
    with pytest.raises(RuntimeError, match="only for eval"):
        nn.utils.fuse_conv_bn_eval(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1))


def test_functional_call_is_where_pytorch_has_it():
    layer = nn.Linear(2, 1, bias=False)
    y = nn.utils.stateless.functional_call(layer, {"weight": pg.full((1, 2), 3.0)}, pg.ones(2))
    assert y.tolist() == [6] and layer.weight.tolist() != [[3, 3]]


# -------------------------------------------------------------------------------------------------------------- summary


def test_summary():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Sequential(nn.ReLU(), nn.Conv2d(8, 4, 1, groups=2, bias=False)),
        nn.Flatten(),
        nn.Linear(4 * 36, 10),
    )
    model[4].bias.requires_grad_(False)
    model[2].eval()
    before = {k: v.tolist() for k, v in model.state_dict().items()}
    found = nn.summary(model, (2, 3, 6, 6))
    assert [(r.name, r.kind, r.depth) for r in found.rows[:5]] == [
        ("", "Sequential", 0),
        ("0", "Conv2d", 1),
        ("1", "BatchNorm2d", 1),
        ("2", "Sequential", 1),
        ("2.0", "ReLU", 2),
    ]
    assert [r.multiply_adds for r in found.rows] == [0, 2 * 8 * 36 * 27, 0, 0, 0, 2 * 4 * 36 * 4, 0, 2 * 10 * 144]
    assert found.multiply_adds == sum(r.multiply_adds for r in found.rows)
    assert [r.parameters for r in found.rows] == [0, 224, 16, 0, 0, 16, 0, 1450]
    assert found.rows[0].output == ((2, 10),) and found.parameters == 1706 and found.trained == 1696
    assert model.training and model[0].training and not model[2].training and not model[0]._forward_hooks
    assert {k: v.tolist() for k, v in model.state_dict().items()} == before
    text = str(found)
    assert (
        "2: Sequential" in text
        and "[2, 8, 6, 6]" in text
        and "15,552" in text
        and "Parameters: 1,706 (1,696 trained)" in text
    )
    with pytest.raises(ValueError, match="one of the two"):
        nn.summary(model)


def test_summary_of_attention_and_recurrence(backend):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.heads = nn.LSTM(3, 4), nn.MultiheadAttention(4, 2)

        def forward(self, x, y):
            h, _ = self.lstm(x)
            return self.heads(h, y, y, need_weights=False)[0]

    found = nn.summary(Both(), [(5, 2, 3), (6, 2, 4)])
    lstm, heads = found.rows[1], found.rows[2]
    assert lstm.output == ((5, 2, 4), (1, 2, 4), (1, 2, 4)) and lstm.multiply_adds == 5 * 2 * 16 * (3 + 4)
    projections, attended = 2 * 4 * 4 * (5 + 6 + 6), 2 * 2 * 5 * 6 * (2 + 2)
    assert heads.multiply_adds == projections + attended + 5 * 2 * 4 * 4
    table = nn.Embedding(7, 3)
    assert nn.summary(table, (2, 5), dtypes=pg.int64).rows[0].output == ((2, 5, 3),)
    assert nn.summary(table, input_data=pg.zeros((4,), dtype=pg.int64)).rows[0].output == ((4, 3),)
