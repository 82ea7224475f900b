"""What the tests of compiled functions share: host values, and a network with everything that has state."""

import numpy as np

import polygrad as pg


def values(*tensors):
    """Host arrays of tensors."""
    return [np.asarray(t.detach().numpy()) for t in tensors]


def close(a, b, tolerance=1e-12):
    """Assert that nests of arrays agree."""
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def network(name="SGD"):
    """A small network with everything that has state, and its optimizer. No bias stands before a mean: its gradient is noise."""
    pg.manual_seed(3)
    model = pg.nn.Sequential(
        pg.nn.Linear(6, 12), pg.nn.ReLU(), pg.nn.BatchNorm1d(12), pg.nn.Dropout(0.4), pg.nn.Linear(12, 4)
    )
    options = {"momentum": 0.9, "nesterov": True} if name == "SGD" else {}
    return model, getattr(pg.optim, name)(model.parameters(), lr=0.1, weight_decay=1e-3, **options)
