"""Kernels of our own, each one pass over memory where the library's functions would take several.

CuPy's `fuse` makes such kernels of Python, but traces at each call, and bakes numbers like a learning rate into the code. Their
text is C++: REAL stands for the type that is computed in (float for float16 and float32), NUMBER for the dtype of parameters.
"""

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from polygrad_cupy.runtime import current

__all__ = [
    "gelu_exact",
    "gelu_tanh",
    "gelu_tanh_backward",
    "leaky_relu",
    "masked_scale",
    "max_pool",
    "max_unpool",
    "mish",
    "relu_backward",
    "sigmoid",
    "silu",
    "softplus",
    "sum_product",
]

COMPUTED = {"float16": ("float", "float32"), "float32": ("float", "float32"), "float64": ("double", "float64")}
SIGMOID = "const REAL e = exp(-fabs(v)); const REAL s = v >= 0 ? 1 / (1 + e) : e / (1 + e);"
GELU = "const REAL z = tanh((REAL)0.7978845608028654 * (v + (REAL)0.044715 * v * v * v));"

# name -> inputs, outputs, body
TEXTS = {
    "sigmoid": ("T x", "T y", f"const REAL v = x; {SIGMOID} y = s;"),
    "silu": ("T x", "T y", f"const REAL v = x; {SIGMOID} y = v * s;"),
    "softplus": (
        "T x, NUMBER beta, NUMBER threshold",
        "T y",
        "const REAL v = x, z = v * beta; y = z > threshold ? v : (fmax(z, (REAL)0) + log1p(exp(-fabs(z)))) / beta;",
    ),
    "mish": (
        "T x",
        "T y",
        "const REAL v = x; y = v > 20 ? v : v * tanh(fmax(v, (REAL)0) + log1p(exp(-fabs(v))));",
    ),
    "gelu_exact": ("T x", "T y", "const REAL v = x; y = (REAL)0.5 * v * erfc(v * (REAL)-0.7071067811865476);"),
    "gelu_tanh": ("T x", "T y", f"const REAL v = x; {GELU} y = (REAL)0.5 * v * (1 + z);"),
    "gelu_tanh_backward": (
        "T g, T x",
        "T y",
        f"const REAL v = x, t = g; {GELU} const REAL slope = (REAL)0.7978845608028654 * (1 + (REAL)0.134145 * v * v);"
        " y = t * ((REAL)0.5 * (1 + z) + (REAL)0.5 * v * (1 - z * z) * slope);",
    ),
    "relu_backward": ("T g, T x", "T y", "const REAL v = x, t = g; y = v > 0 ? t : (REAL)0;"),
    "leaky_relu": ("T x, NUMBER slope", "T y", "const REAL v = x; y = v > 0 ? v : v * slope;"),
    "masked_scale": ("T x, bool mask, NUMBER scale", "T y", "const REAL v = x; y = mask ? v * scale : (REAL)0;"),
    "add_line": (
        "T x, T slope, T shift",
        "T y",
        "const REAL v = x, a = slope, b = shift, before = y; y = before + v * a + b;",
    ),
    "descend": (
        "T p, T g, NUMBER rate",
        "T new_p",
        "const REAL w = p, t = g; new_p = w - rate * t;",
    ),
    "accelerate": (
        "T p, T v, T g, NUMBER rate, NUMBER momentum, NUMBER kept, NUMBER decay, bool nesterov",
        "T new_p, T new_v",
        "const REAL w = p, t = (REAL)g + decay * w, u = momentum * (REAL)v + kept * t;"
        " new_p = w - rate * (nesterov ? t + momentum * u : u); new_v = u;",
    ),
    "plain": (
        "T p, T m, T v, T g, NUMBER rate, NUMBER root, NUMBER shrink, NUMBER decay, NUMBER rest1, NUMBER beta2, NUMBER rest2,"
        " NUMBER eps",
        "T new_p, T new_m, T new_v",
        "const REAL w = (REAL)p * shrink, t = (REAL)g + decay * w, a = (REAL)m + rest1 * (t - (REAL)m),"
        " b = beta2 * (REAL)v + rest2 * (t * t);"
        " new_p = w - rate * (a / (sqrt(b) / root + eps)); new_m = a; new_v = b;",
    ),
    # i is a place among (planes, O0, O1, O2); the position in the plane is flat.
    "max_pool": (
        "raw T x, int32 n0, int32 n1, int32 n2, int32 o0, int32 o1, int32 o2, int32 k0, int32 k1, int32 k2,"
        " int32 s0, int32 s1, int32 s2, int32 p0, int32 p1, int32 p2, int32 d0, int32 d1, int32 d2",
        "T y, int64 index",
        """
        long long rest = i;
        const int c = rest % o2; rest /= o2;
        const int b = rest % o1; rest /= o1;
        const int a = rest % o0; rest /= o0;
        const long long first = rest * n0 * n1 * n2;
        T best = x[0];
        long long at = -1;
        for (int u = 0; u < k0; ++u) {
            const int q0 = a * s0 - p0 + u * d0;
            if (q0 < 0 || q0 >= n0) continue;
            for (int v = 0; v < k1; ++v) {
                const int q1 = b * s1 - p1 + v * d1;
                if (q1 < 0 || q1 >= n1) continue;
                for (int w = 0; w < k2; ++w) {
                    const int q2 = c * s2 - p2 + w * d2;
                    if (q2 < 0 || q2 >= n2) continue;
                    const long long here = ((long long)q0 * n1 + q1) * n2 + q2;
                    const T value = x[first + here];
                    if (at < 0 || value > best || (value != value && best == best)) { best = value; at = here; }
                }
            }
        }
        y = best;
        index = at;
        """,
    ),
    # i is a place among (planes, N0, N1, N2), which gathers from the windows that it lies in.
    "max_unpool": (
        "raw T g, raw int64 index, int32 n0, int32 n1, int32 n2, int32 o0, int32 o1, int32 o2, int32 k0, int32 k1, int32 k2,"
        " int32 s0, int32 s1, int32 s2, int32 p0, int32 p1, int32 p2, int32 d0, int32 d1, int32 d2",
        "T y",
        """
        long long rest = i;
        const int c = rest % n2; rest /= n2;
        const int b = rest % n1; rest /= n1;
        const int a = rest % n0; rest /= n0;
        const long long place = ((long long)a * n1 + b) * n2 + c, first = rest * o0 * o1 * o2;
        REAL total = 0;
        for (int u = 0; u < k0; ++u) {
            const int q0 = a + p0 - u * d0;
            if (q0 < 0 || q0 % s0 || q0 / s0 >= o0) continue;
            for (int v = 0; v < k1; ++v) {
                const int q1 = b + p1 - v * d1;
                if (q1 < 0 || q1 % s1 || q1 / s1 >= o1) continue;
                for (int w = 0; w < k2; ++w) {
                    const int q2 = c + p2 - w * d2;
                    if (q2 < 0 || q2 % s2 || q2 / s2 >= o2) continue;
                    const long long window = first + ((long long)(q0 / s0) * o1 + q1 / s1) * o2 + q2 / s2;
                    if (index[window] == place) total += (REAL)g[window];
                }
            }
        }
        y = total;
        """,
    ),
}

_made: dict[tuple[str, str], Callable[..., Any]] = {}


def kernel(name: str, dtype: str) -> Callable[..., Any]:
    """The kernel of that name for arrays of that dtype."""
    try:
        return _made[name, dtype]
    except KeyError:
        pass
    real, number = COMPUTED.get(dtype, ("double", "float64"))
    texts = [text.replace("REAL", real).replace("NUMBER", number) for text in TEXTS[name]]
    _made[name, dtype] = made = current().elementwise(*texts, f"polygrad_{name}_{dtype}")
    return made


def _fits(*arrays: Any) -> bool:
    """Whether these are arrays of one dtype of floats and one shape."""
    return (
        current().takes(*arrays)
        and arrays[0].dtype.name in COMPUTED
        and all(a.shape == arrays[0].shape for a in arrays[1:])
    )


def _apply(name: str, *arrays: Any, numbers: tuple[float, ...] = ()) -> Any:
    if not _fits(*arrays):
        return NotImplemented
    return kernel(name, arrays[0].dtype.name)(*arrays, *numbers, current().like(arrays[0]))


# ------------------------------------------------------------------------------------------------------- element by element


def sigmoid(x: Any, /) -> Any:
    """The op `sigmoid`, of real numbers."""
    return _apply("sigmoid", x)


def silu(x: Any, /) -> Any:
    """The op `silu`."""
    return _apply("silu", x)


def mish(x: Any, /) -> Any:
    """The op `mish`."""
    return _apply("mish", x)


def softplus(x: Any, /, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """The op `softplus`."""
    return _apply("softplus", x, numbers=(beta, threshold))


def leaky_relu(x: Any, /, *, negative_slope: float = 0.01) -> Any:
    """The op `leaky_relu`."""
    return _apply("leaky_relu", x, numbers=(negative_slope,))


def gelu_exact(x: Any, /) -> Any:
    """The op `gelu_exact`."""
    return _apply("gelu_exact", x)


def gelu_tanh(x: Any, /) -> Any:
    """The op `gelu_tanh`."""
    return _apply("gelu_tanh", x)


def gelu_tanh_backward(g: Any, x: Any, y: Any = None, /) -> Any:
    """The function `gelu_tanh_backward`."""
    return _apply("gelu_tanh_backward", g, x)


def relu_backward(g: Any, y: Any, /) -> Any:
    """The function `relu_backward`."""
    return _apply("relu_backward", g, y)


def masked_scale(x: Any, mask: Any, /, *, scale: float) -> Any:
    """The op `masked_scale`."""
    if not _fits(x) or not current().takes(mask) or mask.shape != x.shape or mask.dtype.name != "bool":
        return NotImplemented
    return kernel("masked_scale", x.dtype.name)(x, mask, scale, current().like(x))


def add_line(x: Any, slope: Any, shift: Any, y: Any) -> None:
    """Add x * slope + shift to y, which is changed; slope and shift broadcast."""
    kernel("add_line", x.dtype.name)(x, slope, shift, y)


def sum_product(x1: Any, x2: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The op `sum_product` without the product in memory."""
    if not _fits(x1, x2):
        return NotImplemented
    dtype = x1.dtype.name
    if ("sum_product", dtype) not in _made:
        real = COMPUTED[dtype][0]
        body = f"({real})x * ({real})y"
        _made["sum_product", dtype] = current().reduction("T x, T y", "T z", body, real, f"polygrad_sum_{dtype}")
    return _made["sum_product", dtype](x1, x2, axis=axis, keepdims=keepdims)


# ---------------------------------------------------------------------------------------------------------------- optimizers


def _sgd(numbers: Any, options: Any) -> tuple[Any, ...] | None:
    return None if options["weight_decay"] else tuple(numbers)


def _momentum(numbers: Any, options: Any) -> tuple[Any, ...]:
    kept = 1 - options["dampening"]
    return *numbers, options["momentum"], kept, options["weight_decay"], bool(options["nesterov"])


def _adam(numbers: Any, options: Any) -> tuple[Any, ...]:
    rate, root, shrink = numbers
    decay = options["weight_decay"] if shrink is None else 0.0
    beta2 = options["beta2"]
    shrink = 1.0 if shrink is None else shrink
    return rate, root, shrink, decay, 1 - options["beta1"], beta2, 1 - beta2, options["eps"]


# The rules of the optimizers: what each kernel takes after the arrays, or None for options that it does not have.
RULES: dict[str, Callable[[Any, Any], Any]] = {"descend": _sgd, "accelerate": _momentum, "plain": _adam}


def blockwise(
    function: Callable[..., Any],
    arrays: list[Any],
    reusable: list[int | None],
    rule: str = "",
    numbers: Any = (),
    options: Any = None,
) -> Any:
    """The update of an optimizer in one kernel, into the arrays that may be written over; see `polygrad.core.Backend`."""
    if rule not in RULES or (options or {}).get("maximize") or not _fits(*arrays):
        return NotImplemented
    given = RULES[rule](numbers, options)
    if given is None:
        return NotImplemented
    results = [current().like(arrays[0]) if i is None else arrays[i] for i in reusable]
    kernel(rule, arrays[0].dtype.name)(*arrays, *given, *results)
    return tuple(results)


# ------------------------------------------------------------------------------------------------------------------- maxima

# id of an array of indices -> (a reference to it, the geometry). The array is a view, so that no in-place form of polygrad takes
# it for one that nobody else can see.
_geometries: dict[int, tuple[Any, Any]] = {}


def _three(numbers: Any, fill: int) -> tuple[int, ...]:
    """One number for each of three axes, the last of them the given ones."""
    return (*[fill] * (3 - len(numbers)), *numbers)


def _counts(size: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...] | None:
    """How many windows fit along each axis; None for sizes that make no sense and windows with nothing but padding in them."""
    if not 1 <= len(size) <= 3 or not len(size) == len(kernel_size) == len(stride) == len(padding) == len(dilation):
        return None
    if min(*kernel_size, *stride, *dilation) < 1:
        return None
    counts = []
    for n, k, s, (before, after), d in zip(size, kernel_size, stride, padding, dilation, strict=True):
        count = (n + before + after - d * (k - 1) - 1) // s + 1
        if count < 1 or min(before, after) < 0:
            return None
        some = (0, count - 1) if d == 1 else range(count)
        if not all(any(0 <= w * s - before + tap * d < n for tap in range(k)) for w in some):
            return None
        counts.append(count)
    return tuple(counts)


def max_pool(x: Any, /, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The op `max_pool`, values and indices in one pass."""
    if not current().takes(x) or x.dtype.kind not in "fiu" or not 3 <= x.ndim <= 5:
        return NotImplemented
    size = x.shape[2:]
    out = _counts(size, kernel_size, stride, padding, dilation)
    if out is None:
        return NotImplemented
    y = current().empty((*x.shape[:2], *out), x.dtype)
    buffer = current().empty(y.shape, "int64")
    geometry = *_three(kernel_size, 1), *_three(stride, 1), *_three([p for p, _ in padding], 0), *_three(dilation, 1)
    run = kernel("max_pool", x.dtype.name)
    run(current().contiguous(x), *_three(size, 1), *_three(out, 1), *geometry, y, buffer)
    indices = buffer.view()
    key = id(indices)
    _geometries[key] = weakref.ref(indices, partial(_drop, key)), (size, out, geometry)
    return y, indices


def _drop(key: int, _: Any) -> None:
    _geometries.pop(key, None)


def max_unpool(x: Any, indices: Any, /, *, shape: Any) -> Any:
    """The op `max_unpool` for indices that `max_pool` gave here: each place gathers, so that nothing is added in random order."""
    reference, known = _geometries.get(id(indices), (None, None))
    if reference is None or known is None or reference() is not indices or x.shape != indices.shape:
        return NotImplemented
    size, out, geometry = known
    if not current().takes(x) or x.dtype.name not in COMPUTED or tuple(shape) != tuple(size):
        return NotImplemented
    y = current().empty((*x.shape[:2], *shape), x.dtype)
    run = kernel("max_unpool", x.dtype.name)
    run(current().contiguous(x), indices, *_three(size, 1), *_three(out, 1), *geometry, y)
    return y
