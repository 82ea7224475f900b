"""Modified Bessel functions of the first kind, order 0 and 1, by Chebyshev series in x / 4 - 1 up to 8 and 16 / x - 1 beyond.

The coefficients, highest degree first, interpolate exp(-x) I0(x) and exp(-x) I1(x) / x, or exp(-x) I(x) sqrt(x).
"""

from __future__ import annotations

from polygrad.core import pointwise

# fmt: off
I0_SMALL = (
    -4.3447706395547665e-18, 3.329942063880425e-17, -2.4312698460190526e-16, 1.7153911715225191e-15,
    -1.1685332865345506e-14, 7.67618549846838e-14, -4.856446783110493e-13, 2.955052663129625e-12,
    -1.7268262914415555e-11, 9.675809035373237e-11, -5.189795601635263e-10, 2.6598237246823866e-09,
    -1.300025009986248e-08, 6.046995022541919e-08, -2.670793853940612e-07, 1.1173875391201037e-06,
    -4.4167383584587505e-06, 1.6448448070728896e-05, -5.754195010082104e-05, 0.00018850288509584165,
    -0.0005763755745385824, 0.0016394756169413357, -0.004324309995050576, 0.010546460394594998,
    -0.02373741480589947, 0.04930528423967071, -0.09490109704804764, 0.17162090152220877, -0.3046826723431984,
    0.33839763720473803,
)
# fmt: on
# fmt: off
I0_LARGE = (
    -8.426831378720737e-18, -4.581633502229098e-18, 4.4850056848383685e-17, 3.4547782110000875e-17,
    -2.827912585676212e-16, -3.425325424186502e-16, 1.772563403871537e-15, 3.811676982420339e-15,
    -9.554846711511285e-15, -4.150569271788972e-14, 1.5400862025000743e-14, 3.852778381476947e-13,
    7.180124451993766e-13, -1.794178531494118e-12, -1.3215811840464323e-11, -3.1499165279630827e-11,
    1.1889147107849741e-11, 4.940602388224957e-10, 3.396232025708386e-09, 2.266668990498178e-08,
    2.0489185894690638e-07, 2.8913705208347567e-06, 6.889758346916825e-05, 0.0033691164782556943,
    0.4022452055070544,
)
# fmt: on
# fmt: off
I1_SMALL = (
    -3.48901447271639e-19, 2.7773010799570167e-18, -2.111414263388092e-17, 1.5536318810494503e-16,
    -1.105596946911604e-15, 7.600684294649187e-15, -5.042185504727032e-14, 3.223793365945566e-13,
    -1.9839743977649436e-12, 1.1736186298890901e-11, -6.663489723502027e-11, 3.625590281552117e-10,
    -1.8872497517228294e-09, 9.381537386495773e-09, -4.445059128796328e-08, 2.0032947535521353e-07,
    -8.568720264695455e-07, 3.4702513081376785e-06, -1.3273163656039436e-05, 4.781565107550054e-05,
    -0.00016176081582589674, 0.0005122859561685758, -0.0015135724506312532, 0.004156422944312888,
    -0.010564084894626197, 0.024726449030626516, -0.05294598120809499, 0.1026436586898471, -0.17641651835783406,
    0.12629359322181682,
)
# fmt: on
# fmt: off
I1_LARGE = (
    8.759489586036996e-18, 4.172920651126219e-18, -4.670574812329891e-17, -3.203131654805155e-17,
    2.962933978891187e-16, 3.3080410267357634e-16, -1.8803583364247466e-15, -3.81439932041906e-15,
    1.0420277041999177e-14, 4.2724399391119764e-14, -2.1015418282447554e-14, -4.083551109773972e-13,
    -7.198551776857574e-13, 2.0356285441333268e-12, 1.4125807436630689e-11, 3.252603583015345e-11,
    -1.897495812350882e-11, -5.58974346219657e-10, -3.835380385964237e-09, -2.6314688468895196e-08,
    -2.512236237870209e-07, -3.882564808877691e-06, -0.00011058893876262371, -0.009761097491361469,
    0.38928811750914005,
)
# fmt: on


def _chebyshev(t, coefficients):
    """The Chebyshev series with these coefficients, highest degree first, by Clenshaw's recurrence."""
    b1 = b2 = 0
    for c in coefficients[:-1]:
        b1, b2 = 2 * t * b1 - b2 + c, b1
    return t * b1 - b2 + coefficients[-1]


def _scaled(xp, x, small, large, odd):
    """exp(-|x|) I(|x|)."""
    size = xp.abs(x)
    low, high = xp.minimum(size, 8), xp.maximum(size, 8)
    near = _chebyshev(0.25 * low - 1, small)
    far = _chebyshev(16 / high - 1, large) / xp.sqrt(high)
    return xp.where(size <= 8, low * near if odd else near, far)


def _over_x(xp, y, x):
    """I1(x) / x, or its scaled twin; 1/2 at 0."""
    return xp.where(x == 0, 0.5, y / xp.where(x == 0, 1, x))


@pointwise(x=lambda xp, x: xp.special.i1(x), dtypes="real floating", name="special.i0")
def i0(xp, x, /):
    """The modified Bessel function of order 0."""
    return xp.exp(xp.abs(x)) * xp.special.i0e(x)


@pointwise(x=lambda xp, x, y: xp.special.i1e(x) - xp.sign(x) * y, dtypes="real floating", name="special.i0e")
def i0e(xp, x, /):
    """exp(-|x|) times the modified Bessel function of order 0."""
    return _scaled(xp, x, I0_SMALL, I0_LARGE, False)


@pointwise(x=lambda xp, x, y: xp.special.i0(x) - _over_x(xp, y, x), dtypes="real floating", name="special.i1")
def i1(xp, x, /):
    """The modified Bessel function of order 1."""
    return xp.exp(xp.abs(x)) * xp.special.i1e(x)


@pointwise(
    x=lambda xp, x, y: xp.special.i0e(x) - _over_x(xp, y, x) - xp.sign(x) * y,
    dtypes="real floating",
    name="special.i1e",
)
def i1e(xp, x, /):
    """exp(-|x|) times the modified Bessel function of order 1."""
    return xp.sign(x) * _scaled(xp, x, I1_SMALL, I1_LARGE, True)
