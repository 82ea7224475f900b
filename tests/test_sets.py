"""The set functions: which element stands for its equals, and that it alone has the gradient."""

import math

import numpy as np
import pytest

import polygrad as pg

X = [[3.0, 1.0, 3.0], [2.0, 1.0, 1.0]]


def test_results_and_names(backend):
    x = pg.tensor(X)
    y = pg.unique_all(x)
    assert y._fields == ("values", "indices", "inverse_indices", "counts")
    assert [p.tolist() for p in y] == [[1, 2, 3], [1, 3, 0], [[2, 0, 2], [1, 0, 0]], [3, 1, 2]]
    assert pg.unique_counts(x)._fields == ("values", "counts")
    assert pg.unique_inverse(x)._fields == ("values", "inverse_indices")
    assert pg.unique_values(x).tolist() == [1, 2, 3]
    inverse = pg.unique_inverse(x)
    assert pg.take(inverse.values, inverse.inverse_indices.flatten()).reshape(2, 3).tolist() == X


@pytest.mark.parametrize("name", ["unique_all", "unique_counts", "unique_inverse", "unique_values"])
def test_the_first_of_equal_elements_has_the_gradient(name, backend):
    x = pg.tensor(X, dtype="float64", requires_grad=True)
    y = getattr(pg, name)(x)
    values = y if name == "unique_values" else y.values
    (values * pg.tensor([1.0, 10.0, 100.0], dtype="float64")).sum().backward()
    assert x.grad.tolist() == [[100, 1, 0], [10, 0, 0]]


def test_integers_booleans_complex_numbers_nan_and_nothing(backend):
    assert pg.unique_values(pg.tensor([2, 1, 2])).tolist() == [1, 2]
    assert pg.unique_values(pg.tensor([True, False, True])).tolist() == [False, True]
    y = pg.unique_counts(pg.tensor([1 + 2j, 1 - 2j, 0j, 1 + 2j]))
    assert y.values.tolist() == [0j, 1 - 2j, 1 + 2j] and y.counts.tolist() == [1, 1, 2]
    y = pg.unique_counts(pg.tensor([math.nan, 1.0, math.nan]))
    assert y.counts.tolist() == [1, 1, 1]
    y = pg.unique_all(pg.zeros((0, 3)))
    assert y.values.shape == (0,) and y.inverse_indices.shape == (0, 3)
    assert pg.unique_values(pg.tensor([0.0, -0.0])).shape == (1,)


def test_setdiff1d(backend):
    x = pg.tensor([5.0, 1.0, 4.0, 1.0, 2.0], dtype="float64", requires_grad=True)
    y = pg.setdiff1d(x, pg.tensor([4.0, 9.0], dtype="float64"))
    assert y.tolist() == [1, 2, 5]
    (y * pg.tensor([1.0, 10.0, 100.0], dtype="float64")).sum().backward()
    assert x.grad.tolist() == [100, 1, 0, 0, 10]
    assert pg.setdiff1d(x, pg.tensor([4.0], dtype="float64"), assume_unique=True).tolist() == [5, 1, 1, 2]


def test_isin_takes_numbers(backend):
    x = pg.tensor([1, 2, 3])
    assert pg.isin(x, 2).tolist() == [False, True, False]
    assert pg.isin(x, pg.tensor([1, 3]), invert=True).tolist() == [False, True, False]
    assert bool(pg.isin(3, x))
    assert np.asarray(pg.isin(x, pg.zeros((0,), dtype="int64"))).tolist() == [False] * 3
