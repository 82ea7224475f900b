"""polygrad: differentiate anything written to the Python Array API standard, on any library that follows it.

The module is itself an Array API namespace (v2025.12) and speaks PyTorch's autograd. Here are the public names, nothing else.
"""

import sys as _sys
from typing import TYPE_CHECKING as _TYPE_CHECKING

from polygrad import autograd
from polygrad._version import __version__
from polygrad.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from polygrad.config import show_config
from polygrad.core import (
    BackendNotAvailable,
    DType,
    Tensor,
    available_backends,
    get_backend,
    get_default_dtype,
    set_backend,
    set_default_dtype,
    use_backend,
)
from polygrad.core.backend import CONSTANTS as _CONSTANTS
from polygrad.core.backend import declared as _declared
from polygrad.core.device import Device as device
from polygrad.core.dtype import DTYPES as _DTYPES
from polygrad.core.later import later as _later
from polygrad.core.printing import set_printoptions
from polygrad.jit import jit
from polygrad.ops import polyfills as _polyfills
from polygrad.ops.blas import (
    addbmm,
    addcdiv,
    addcmul,
    addmm,
    addmv,
    addr,
    baddbmm,
    cdist,
    dot,
    inner,
    lerp,
    mv,
    vdot,
)
from polygrad.ops.composite import (
    allclose,
    isclose,
    log_softmax,
    logsumexp,
    one_hot,
    relu,
    rsqrt,
    sigmoid,
    softmax,
)
from polygrad.ops.creation import (
    arange,
    asarray,
    broadcast_shapes,
    can_cast,
    empty,
    empty_like,
    eye,
    finfo,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    iinfo,
    is_tensor,
    isdtype,
    linspace,
    logspace,
    ones,
    ones_like,
    result_type,
    tensor,
    tril_indices,
    triu_indices,
    zeros,
    zeros_like,
)
from polygrad.ops.elementwise import (
    abs,
    acos,
    acosh,
    add,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    ceil,
    clip,
    conj,
    copysign,
    cos,
    cosh,
    divide,
    equal,
    exp,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    imag,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    nextafter,
    not_equal,
    positive,
    pow,
    real,
    reciprocal,
    remainder,
    round,
    sign,
    signbit,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    trunc,
)
from polygrad.ops.indexing import (
    gather,
    index_add,
    isin,
    nonzero,
    scatter,
    scatter_add,
    searchsorted,
    take,
    take_along_axis,
    where,
)
from polygrad.ops.info import __array_namespace_info__
from polygrad.ops.place import (
    to_device,
)
from polygrad.ops.products import (
    bmm,
    matmul,
    mm,
    tensordot,
    vecdot,
)
from polygrad.ops.reductions import (
    all,
    any,
    argmax,
    argmin,
    count_nonzero,
    cumulative_prod,
    cumulative_sum,
    diff,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from polygrad.ops.shapes import (
    astype,
    broadcast_arrays,
    broadcast_to,
    chunk,
    clone,
    concat,
    expand,
    expand_dims,
    flatten,
    flip,
    matrix_transpose,
    meshgrid,
    moveaxis,
    narrow,
    permute_dims,
    repeat,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    tril,
    triu,
    unflatten,
    unstack,
)
from polygrad.ops.sorting import (
    argsort,
    sort,
    topk,
)

if _TYPE_CHECKING:
    from polygrad import cuda, data, fft, func, io, linalg, models, nn, optim, random, special, utils
    from polygrad.autograd import audit, custom_jvp, custom_vjp
    from polygrad.autograd.verbs import (
        grad,
        hessian,
        hvp,
        jacfwd,
        jacobian,
        jacrev,
        jvp,
        linearize,
        value_and_grad,
        vhp,
        vjp,
    )
    from polygrad.io import load, save
    from polygrad.jit.control import cond, while_loop
    from polygrad.linalg import cross, det, matrix_exp, matrix_power, outer, slogdet, trace
    from polygrad.linalg import inv as inverse
    from polygrad.linalg import outer as ger
    from polygrad.linalg import pinv as pinverse
    from polygrad.nn import summary
    from polygrad.nn.functional import (
        avg_pool1d,
        bilinear,
        celu,
        channel_shuffle,
        conv1d,
        conv2d,
        conv3d,
        conv_transpose1d,
        conv_transpose2d,
        conv_transpose3d,
        cosine_similarity,
        group_norm,
        hardshrink,
        layer_norm,
        max_pool1d,
        max_pool2d,
        max_pool3d,
        pairwise_distance,
        pdist,
        pixel_shuffle,
        pixel_unshuffle,
        prelu,
        rms_norm,
        rrelu,
        selu,
        threshold,
    )
    from polygrad.ops.counting import (
        aminmax,
        bincount,
        bucketize,
        cumulative_trapezoid,
        dist,
        histc,
        kthvalue,
        mode,
        msort,
        renorm,
        std_mean,
        trapezoid,
        unique,
        unique_consecutive,
        var_mean,
    )
    from polygrad.ops.counting import trapezoid as trapz
    from polygrad.ops.diagonals import (
        atleast_1d,
        atleast_2d,
        atleast_3d,
        atleast_nd,
        block_diag,
        create_diagonal,
        diag,
        diag_embed,
        diagflat,
        diagonal,
    )
    from polygrad.ops.einsum import einsum
    from polygrad.ops.elementwise_beyond import (
        clamp_max,
        clamp_min,
        deg2rad,
        div,
        float_power,
        fmax,
        fmin,
        fmod,
        frac,
        frexp,
        heaviside,
        isneginf,
        isposinf,
        isreal,
        ldexp,
        logaddexp2,
        polar,
        rad2deg,
        rsub,
        view_as_complex,
        view_as_real,
    )
    from polygrad.ops.elementwise_beyond import complex_of as complex
    from polygrad.ops.indexing_beyond import (
        argwhere,
        index_copy,
        index_fill,
        index_put,
        index_reduce,
        masked_scatter,
        put,
        scatter_reduce,
    )
    from polygrad.ops.linalg_beyond import kron
    from polygrad.ops.linalg_solving import chain_matmul, cholesky_inverse, cholesky_solve, logdet
    from polygrad.ops.sets import setdiff1d, unique_all, unique_counts, unique_inverse, unique_values
    from polygrad.ops.shapes_beyond import (
        as_strided,
        cartesian_prod,
        column_stack,
        combinations,
        diagonal_scatter,
        dsplit,
        dstack,
        fliplr,
        flipud,
        hsplit,
        hstack,
        ravel,
        rot90,
        select_scatter,
        slice_scatter,
        tensor_split,
        vander,
        vsplit,
        vstack,
    )
    from polygrad.ops.shapes_beyond import vstack as row_stack
    from polygrad.ops.special import angle, exp2, logit, sinc, xlogy
    from polygrad.ops.special_bessel import i0
    from polygrad.ops.special_erf import erf, erfc, erfinv
    from polygrad.ops.special_gamma import digamma, lgamma, polygamma
    from polygrad.ops.statistics import (
        corrcoef,
        cov,
        cummax,
        cummin,
        gradient,
        interp,
        logcumsumexp,
        median,
        nan_to_num,
        nanmax,
        nanmean,
        nanmedian,
        nanmin,
        nansum,
        quantile,
    )
    from polygrad.random import (
        Generator,
        bernoulli,
        default_generator,
        get_rng_state,
        initial_seed,
        manual_seed,
        multinomial,
        normal,
        rand,
        rand_like,
        randint,
        randint_like,
        randn,
        randn_like,
        randperm,
        seed,
        set_rng_state,
    )

# PyTorch's names of the same functions, and its functions that are methods of the same name.
cat = concatenate = concat
as_tensor, promote_types, Size = asarray, result_type, tuple
amax, amin, index_select, masked_fill, masked_select, repeat_interleave, t, take_along_dim, transpose, unbind = (
    Tensor.amax,
    Tensor.amin,
    Tensor.index_select,
    Tensor.masked_fill,
    Tensor.masked_select,
    Tensor.repeat_interleave,
    Tensor.t,
    Tensor.take_along_dim,
    Tensor.transpose,
    Tensor.unbind,
)
is_complex, is_floating_point, norm, numel, unsqueeze = (
    Tensor.is_complex,
    Tensor.is_floating_point,
    Tensor.norm,
    Tensor.numel,
    Tensor.unsqueeze,
)
absolute, neg, mul, sub, true_divide = abs, negative, multiply, subtract, divide
swapdims, broadcast_tensors = swapaxes, broadcast_arrays
sgn, fix, bitwise_not = sign, trunc, bitwise_invert
arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh = acos, acosh, asin, asinh, atan, atan2, atanh
eq, ne, lt, le, gt, ge = equal, not_equal, less, less_equal, greater, greater_equal
clamp, cumsum, cumprod, unsqueeze_, permute, movedim = (
    clip,
    cumulative_sum,
    cumulative_prod,
    expand_dims,
    permute_dims,
    moveaxis,
)
del unsqueeze_

bool, int8, int16, int32, int64 = (_DTYPES[n] for n in ("bool", "int8", "int16", "int32", "int64"))
uint8, uint16, uint32, uint64 = (_DTYPES[n] for n in ("uint8", "uint16", "uint32", "uint64"))
float16, bfloat16, float32, float64 = (_DTYPES[n] for n in ("float16", "bfloat16", "float32", "float64"))
complex64, complex128 = _DTYPES["complex64"], _DTYPES["complex128"]
half, float, double, short, int, long, cfloat, cdouble = (
    float16,
    float32,
    float64,
    int16,
    int32,
    int64,
    complex64,
    complex128,
)
dtype = DType

e, inf, nan, newaxis, pi = (_CONSTANTS[n] for n in ("e", "inf", "nan", "newaxis", "pi"))

__array_api_version__ = "2025.12"
_MODULES = "cuda data fft func io linalg models nn optim random special utils"
_NAMES = {
    "autograd": "audit custom_jvp custom_vjp",
    "autograd.verbs": "grad hessian hvp jacfwd jacobian jacrev jvp linearize value_and_grad vhp vjp",
    "io": "load save",
    "jit.control": "cond while_loop",
    "linalg": "cross det matrix_exp matrix_power outer slogdet trace",
    "nn": "summary",
    "nn.functional": "avg_pool1d bilinear celu channel_shuffle conv1d conv2d conv3d conv_transpose1d conv_transpose2d "
    "conv_transpose3d cosine_similarity group_norm hardshrink layer_norm max_pool1d max_pool2d "
    "max_pool3d pairwise_distance pdist pixel_shuffle pixel_unshuffle prelu rms_norm rrelu selu "
    "threshold",
    "ops.counting": "aminmax bincount bucketize cumulative_trapezoid dist histc kthvalue mode msort renorm std_mean "
    "trapezoid unique unique_consecutive var_mean",
    "ops.diagonals": "atleast_1d atleast_2d atleast_3d atleast_nd block_diag create_diagonal diag diag_embed diagflat diagonal",
    "ops.einsum": "einsum",
    "ops.elementwise_beyond": "clamp_max clamp_min deg2rad div float_power fmax fmin fmod frac frexp heaviside isneginf "
    "isposinf isreal ldexp logaddexp2 polar rad2deg rsub view_as_complex view_as_real",
    "ops.indexing_beyond": "argwhere index_copy index_fill index_put index_reduce masked_scatter put scatter_reduce",
    "ops.linalg_beyond": "kron",
    "ops.linalg_solving": "chain_matmul cholesky_inverse cholesky_solve logdet",
    "ops.sets": "setdiff1d unique_all unique_counts unique_inverse unique_values",
    "ops.shapes_beyond": "as_strided cartesian_prod column_stack combinations diagonal_scatter dsplit dstack fliplr flipud "
    "hsplit hstack ravel rot90 select_scatter slice_scatter tensor_split vander vsplit vstack",
    "ops.special": "angle exp2 logit sinc xlogy",
    "ops.special_bessel": "i0",
    "ops.special_erf": "erf erfc erfinv",
    "ops.special_gamma": "digamma lgamma polygamma",
    "ops.statistics": "corrcoef cov cummax cummin gradient interp logcumsumexp median nan_to_num nanmax nanmean nanmedian nanmin "
    "nansum quantile",
    "random": "Generator bernoulli default_generator get_rng_state initial_seed manual_seed multinomial normal rand "
    "rand_like randint randint_like randn randn_like randperm seed set_rng_state",
}
_RENAMED = {
    "inverse": "linalg:inv",
    "ger": "linalg:outer",
    "pinverse": "linalg:pinv",
    "trapz": "ops.counting:trapezoid",
    "complex": "ops.elementwise_beyond:complex_of",
    "row_stack": "ops.shapes_beyond:vstack",
}
_LATER = {name: name for name in _MODULES.split()} | _RENAMED
_LATER |= {name: module for module, names in _NAMES.items() for name in names.split()}
__getattr__, __dir__ = _later(globals(), _LATER)

__all__ = sorted({_n for _n in globals() if not _n.startswith("_")} | _LATER.keys())
_declared.public = _sys.modules[__name__]
_declared.rest += ("polygrad.random",)
