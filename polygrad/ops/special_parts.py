"""What the special functions share."""

from __future__ import annotations


def polynomial(x, coefficients):
    """A polynomial in x by Horner's rule, the highest coefficient first."""
    y = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        y = y * x + c
    return y
