"""Losses of likelihoods, margins and alignments beside PyTorch's over their options."""

import math

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn
from polygrad.nn import functional as F
from twins import Fixed, Whole, agree, close, compare, spread_over_backends

RNG = np.random.default_rng(17)
SHARES = RNG.uniform(0.05, 0.95, (4, 5))
OTHERS = RNG.uniform(0.05, 0.95, (4, 5))
SIGNS = np.where(RNG.random((4, 5)) < 0.5, -1.0, 1.0)
X = (4, 5)

LOSSES = [
    *[(f"SmoothL1Loss({o})", X, X) for o in ("", "reduction='sum', beta=0.3", "beta=0.0", "reduction='none'")],
    *[(f"HuberLoss({o})", X, X) for o in ("", "'sum', 0.4", "'none', 2")],
    *[(f"BCELoss({o})", SHARES, OTHERS) for o in ("", "reduction='sum'", "reduction='none'")],
    *[(f"BCEWithLogitsLoss({o})", X, OTHERS) for o in ("", "reduction='sum'")],
    *[(f"KLDivLoss({o})", X, SHARES) for o in ("reduction='batchmean'", "reduction='sum'", "reduction='none'")],
    ("KLDivLoss(reduction='batchmean', log_target=True)", X, X),
    *[(f"PoissonNLLLoss({o})", X, 3 * SHARES) for o in ("", "full=True", "reduction='none'")],
    ("PoissonNLLLoss(log_input=False, full=True, eps=1e-3, reduction='sum')", SHARES, 3 * OTHERS),
    ("GaussianNLLLoss()", X, X, SHARES),
    ("GaussianNLLLoss(full=True, eps=0.5, reduction='sum')", X, X, SHARES[:, :1]),
    ("GaussianNLLLoss(reduction='none')", X, X, SHARES[:, 0]),
    ("GaussianNLLLoss()", X, X, 0.7),
    *[(f"MultiLabelSoftMarginLoss({o})", X, OTHERS) for o in ("", "reduction='none'")],
    *[(f"MultiMarginLoss({o})", X, Whole((4,), 0, 5)) for o in ("", "p=2, margin=0.3", "reduction='none'")],
    ("MultiMarginLoss()", (5,), np.array(2)),
    *[
        (f"MultiLabelMarginLoss({o})", X, np.array([[3, 0, -1, 4, 1], [-1] * 5, [0, 1, 2, 3, 4], [2, 2, -1, -1, -1]]))
        for o in ("", "reduction='sum'", "reduction='none'")
    ],
    ("MultiLabelMarginLoss()", (3,), np.array([1, -1, 0])),
    *[(f"SoftMarginLoss({o})", X, Fixed(SIGNS)) for o in ("", "reduction='none'")],
    *[(f"HingeEmbeddingLoss({o})", X, SIGNS) for o in ("", "margin=0.2, reduction='sum'")],
    *[(f"CosineEmbeddingLoss({o})", X, X, SIGNS[:, 0]) for o in ("", "margin=0.4, reduction='none'")],
    *[(f"MarginRankingLoss({o})", X, X, SIGNS) for o in ("", "margin=0.4, reduction='none'")],
    *[(f"TripletMarginLoss({o})", X, X, X) for o in ("", "margin=2.0, p=3, swap=True, reduction='none'")],
    ("TripletMarginWithDistanceLoss(swap=True)", X, X, X),
    ("LinearCrossEntropyLoss(5, 3, bias=True, label_smoothing=0.1)", X, Whole((4,), 0, 3)),
    ("LinearCrossEntropyLoss(5, 3, out_features=(2,), ignore_index=1)", X, Whole((4, 2), 0, 3)),
]


@pytest.mark.filterwarnings("ignore:.*Use.*linear_cross_entropy.*:UserWarning")
@pytest.mark.parametrize(("backend", "case"), spread_over_backends([(c,) for c in LOSSES]), indirect=["backend"])
def test_loss(backend, torch, case):
    agree(case[0], case[1:], torch)


@pytest.mark.parametrize(
    ("name", "operands", "options"),
    [
        ("binary_cross_entropy", (SHARES, OTHERS), {"weight": SHARES}),
        ("binary_cross_entropy_with_logits", (X, OTHERS), {"weight": SHARES, "pos_weight": 3 * OTHERS[0]}),
        ("multilabel_soft_margin_loss", (X, OTHERS), {"weight": SHARES[0]}),
        ("multi_margin_loss", (X, Whole((4,), 0, 5)), {"weight": SHARES[0], "p": 2}),
        ("huber_loss", (X, X), {"weight": SHARES}),
    ],
)
def test_weights(torch, name, operands, options):
    def given(make):
        return {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}

    compare(
        lambda *xs: getattr(F, name)(*xs, **given(pg.tensor)),
        lambda *xs: getattr(torch.nn.functional, name)(*xs, **given(torch.tensor)),
        operands,
        torch,
    )


def test_binary_cross_entropy_at_the_ends(torch):
    x, target = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    ours, theirs = F.binary_cross_entropy, torch.nn.functional.binary_cross_entropy
    compare(ours, theirs, [x, Fixed(target)], torch, bound=1e-7)  # PyTorch's 1e-12 is single precision


def test_mean_of_kl_div_warns():
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(pg.zeros(3), pg.ones(3))


# ----------------------------------------------------------------------------------------------------------- alignments

CTC = [
    ("CTCLoss()", (2, 4), (6, 5)),
    ("CTCLoss(blank=2, reduction='sum')", (3, 1), (6, 6)),
    ("CTCLoss(reduction='none')", (0, 2), (4, 6)),
    ("CTCLoss(zero_infinity=True)", (4, 2), (3, 6)),
]


@pytest.mark.parametrize(("backend", "expression", "said", "heard"), spread_over_backends(CTC, 4), indirect=["backend"])
def test_ctc(backend, torch, expression, said, heard):
    data = RNG.standard_normal((6, 2, 4))
    blank = 2 if "blank=2" in expression else 0
    targets = RNG.choice([c for c in range(4) if c != blank], (2, 4))
    targets[:, 1] = targets[:, 0]  # a label twice in a row needs a blank between
    ours, theirs = eval(expression, {"CTCLoss": nn.CTCLoss}), eval(expression, {"CTCLoss": torch.nn.CTCLoss})
    row = np.concatenate([targets[i, :n] for i, n in enumerate(said)])
    forms = [(targets, list), (row, pg.tensor)]
    for y, lengths in forms if backend.name == "numpy" else forms[:1]:
        x, tx = pg.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
        loss = ours(F.log_softmax(x, -1), pg.tensor(y), lengths(list(heard)), lengths(list(said)))
        tloss = theirs(torch.log_softmax(tx, -1), torch.tensor(y), torch.tensor(heard), torch.tensor(said))
        close(loss, tloss)
        loss.sum().backward()
        tloss.sum().backward()
        close(x.grad, tx.grad)


def test_ctc_of_one_sequence_and_of_an_impossible_one(torch):
    data, y = RNG.standard_normal((4, 3)), np.array([1, 2])
    compare(
        lambda x: F.ctc_loss(F.log_softmax(x, -1), pg.tensor(y), pg.tensor(4), pg.tensor(2)),
        lambda x: torch.nn.functional.ctc_loss(
            torch.log_softmax(x, -1), torch.tensor(y), torch.tensor(4), torch.tensor(2)
        ),
        [data],
        torch,
    )
    assert F.ctc_loss(pg.zeros((1, 1, 3)), pg.tensor([[1, 2]]), [1], [2]).item() == math.inf
    with pytest.raises(RuntimeError, match="input_lengths to have value at most 1"):
        F.ctc_loss(pg.zeros((1, 1, 3)), pg.tensor([[1, 2]]), [2], [2])
    with pytest.raises(RuntimeError, match="blank must be in label range"):
        F.ctc_loss(pg.zeros((1, 1, 3)), pg.tensor([[1, 2]]), [1], [2], blank=3)


def test_adaptive_softmax(torch):
    expression = "AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6], div_value=2.0, head_bias=True)"
    ours, theirs = agree(expression, [(5, 8), np.array([0, 2, 4, 9, 3])], torch)
    x = RNG.standard_normal((4, 8))
    close(ours.log_prob(pg.tensor(x)), theirs.log_prob(torch.tensor(x)))
    assert ours.predict(pg.tensor(x)).tolist() == theirs.predict(torch.tensor(x)).tolist()
    close(ours(pg.tensor(x[0]), pg.tensor(7)).output, theirs(torch.tensor(x[0]), torch.tensor(7)).output)
    with pytest.raises(RuntimeError, match=r"should be in \[0, 9\]"):
        ours(pg.tensor(x[0]), pg.tensor(10))
    with pytest.raises(ValueError, match="unique, positive integers"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 10, [6, 3])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.BCELoss()(pg.ones((2, 3)), pg.ones(3)), ValueError, "must be the same as input size"),
        (lambda: nn.BCELoss()(pg.full((2,), 1.5), pg.ones(2)), RuntimeError, "between 0 and 1"),
        (lambda: nn.SmoothL1Loss(beta=-1)(pg.ones(2), pg.ones(2)), ValueError, "negative values for beta"),
        (lambda: nn.HuberLoss(delta=0)(pg.ones(2), pg.ones(2)), ValueError, "non-positive values for delta"),
        (lambda: nn.TripletMarginLoss(margin=0), ValueError, "margin to be greater than 0"),
        (lambda: nn.GaussianNLLLoss()(pg.ones(2), pg.ones(2), -1.0), ValueError, "negative entry"),
        (lambda: nn.GaussianNLLLoss()(pg.ones((2, 3)), pg.ones((2, 3)), pg.ones(3)), ValueError, "incorrect size"),
        (lambda: nn.MultiMarginLoss(p=3), ValueError, "only p == 1 and p == 2"),
        (
            lambda: nn.CosineEmbeddingLoss()(pg.ones(2), pg.ones(2), pg.ones(2)),
            RuntimeError,
            "expects 2D input tensors",
        ),
        (lambda: nn.SoftMarginLoss(reduction="most"), ValueError, "not a valid value for reduction"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
