"""Activation functions, each with its closed-form derivative; at kinks the derivative is PyTorch's."""

from __future__ import annotations

from polygrad.core import case, composite, pointwise


@composite(dtypes="real floating", cases=[case((3, 4), (3, 4), negative_slope=0.1)])
def leaky_relu_backward(xp, g, x, /, *, negative_slope):
    """g where x is positive, negative_slope * g elsewhere."""
    return xp.where(x > 0, g, g * negative_slope)


@pointwise(
    x=lambda xp, g, x, negative_slope: xp.leaky_relu_backward(g, x, negative_slope=negative_slope),
    dtypes="real floating",
    node="LeakyRelu",
    cases=[case((3, 4), negative_slope=0.1)],
)
def leaky_relu(xp, x, /, *, negative_slope=0.01):
    """x where it is positive, negative_slope * x elsewhere."""
    return xp.where(x > 0, x, x * negative_slope)


@composite(dtypes="real floating", cases=[case((3, 4), (3, 4), (3, 4), alpha=0.5)])
def elu_backward(xp, g, x, y, /, *, alpha):
    """g where x is positive, g * (y + alpha) elsewhere, where y is the result of `elu`."""
    return xp.where(x > 0, g, g * (y + alpha))


@pointwise(
    x=lambda xp, g, x, y, alpha: xp.elu_backward(g, x, y, alpha=alpha),
    dtypes="real floating",
    cases=[case((3, 4), alpha=1.0), case((3, 4), alpha=0.5)],
)
def elu(xp, x, /, *, alpha=1.0):
    """x where it is positive, alpha * (exp(x) - 1) elsewhere."""
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


@pointwise(
    x=lambda xp, g, x, min_val, max_val: xp.where(xp.logical_and(x > min_val, x < max_val), g, 0),
    dtypes="real floating",
    cases=[case((3, 4), min_val=-1.0, max_val=0.7)],
)
def hardtanh(xp, x, /, *, min_val=-1.0, max_val=1.0):
    """x limited to [min_val, max_val]; the derivative at the limits is 0."""
    return xp.minimum(xp.maximum(x, min_val), max_val)


@composite(dtypes="real floating", cases=[((3, 4), (3, 4))])
def silu_backward(xp, g, x, /):
    """g times the derivative of `silu` at x."""
    s = xp.sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


@pointwise(x=lambda xp, g, x: xp.silu_backward(g, x), dtypes="real floating")
def silu(xp, x, /):
    """x * sigmoid(x)."""
    return x * xp.sigmoid(x)


@composite(dtypes="real floating", cases=[case((3, 4), (3, 4), beta=2.0, threshold=1.0)])
def softplus_backward(xp, g, x, /, *, beta, threshold):
    """g times the derivative of `softplus` at x."""
    z = x * beta
    return xp.where(z > threshold, g, g * xp.sigmoid(z))


@pointwise(
    x=lambda xp, g, x, beta, threshold: xp.softplus_backward(g, x, beta=beta, threshold=threshold),
    dtypes="real floating",
    cases=[case((3, 4), beta=1.0, threshold=20.0), case((3, 4), beta=2.0, threshold=1.0)],
)
def softplus(xp, x, /, *, beta=1.0, threshold=20.0):
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x is above the threshold."""
    z = x * beta
    soft = (xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z)))) / beta
    return xp.where(z > threshold, x, soft)


def _mish_slope(xp, x):
    t = xp.tanh(xp.softplus(x))
    return t + x * (1 - t * t) * xp.sigmoid(x)


@pointwise(x=_mish_slope, dtypes="real floating")
def mish(xp, x, /):
    """x * tanh(softplus(x)) (Misra, 2019)."""
    return x * xp.tanh(xp.softplus(x))


@composite(dtypes="real floating", domain={"x": (-5.0, 5.0)}, cases=[((3, 4), (3, 4))])
def hardswish_backward(xp, g, x, /):
    """g times the derivative of `hardswish` at x."""
    return xp.where(x <= -3, 0, xp.where(x < 3, g * (x / 3 + 0.5), g))


@pointwise(x=lambda xp, g, x: xp.hardswish_backward(g, x), dtypes="real floating", domain=(-5.0, 5.0))
def hardswish(xp, x, /):
    """x * relu6(x + 3) / 6 (Howard et al., 2019)."""
    return x * xp.minimum(xp.maximum(x + 3, 0), 6) / 6


@pointwise(
    x=lambda xp, g, x, alpha: g * xp.exp(xp.minimum(x, 0) / alpha),
    dtypes="real floating",
    cases=[case((3, 4), alpha=1.0), case((3, 4), alpha=0.5)],
)
def celu(xp, x, /, *, alpha=1.0):
    """x where it is positive, alpha * (exp(x / alpha) - 1) elsewhere (Barron, 2017)."""
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0) / alpha))
