"""Random numbers: generators, and PyTorch's functions of the current one.

The same seed gives the same numbers on every backend and device, in eager code and under `jit`. A `Generator` is a key
and a counter in one int64 tensor, so it is captured by `jit`, saved in checkpoints and split for workers. How far a
draw moves the counter depends on its shape and data type alone. A shorter draw is a prefix of a longer one.

How numbers are made of bits is told in `polygrad.ops.random`; what to know of the result:

==================  =================================================================================================
uniform [a, b)      multiples of 2**-24 (float64: 2**-53) of the power of two that bounds |a| and |b|; b itself never
normal, float32     32 bits each; quantile function exact to 1.2e-9 before rounding, monotone, symmetric; |z| <= 6.34
normal, float64     64 bits each; exact to 1.2e-9, in steps of 2**-56 (beside a mean 2**-49); |z| <= 9.08
exponential         as normal; quantile function exact to 2.8e-9; up to 22.2 (float32) or 43.7 (float64) means
integers            64 bits each; the probability of a value is off by less than 2**-64 (relatively (b - a) * 2**-64)
bernoulli           the probability is rounded to a multiple of 2**-24
dropout mask        16 bits each; the probability is rounded to a multiple of 2**-16
==================  =================================================================================================
"""

from __future__ import annotations

import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from polygrad.core import Backend, DType, Tensor, as_dtype, creation, get_backend, get_default_dtype, method, new_tensor
from polygrad.core.backend import declared
from polygrad.core.dtype import DTYPES
from polygrad.ops.random import (
    WORD,
    advance,
    draw_bits,
    draw_exponential,
    draw_integers,
    draw_mask,
    draw_multinomial,
    draw_normal,
    draw_permutation,
    draw_uniform,
)

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "dropout_mask",
    "exponential",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
    "uniform",
]

# ------------------------------------------------------------------------------------------------------ the generator


def _entropy() -> int:
    """64 bits from the operating system (what the module `secrets` does, which loads all of `hashlib`)."""
    return int.from_bytes(os.urandom(8), "little")


class Generator:
    """A stream of random bits: a key and a counter, in an int64 tensor of three words.

    The same seed gives the same numbers on every backend and device.

    Args:
        device: where the state is kept and numbers are made; the default backend's device unless given.
    """

    __slots__ = ("_state",)
    _state: Tensor

    def __init__(self, device: Any = None):
        backend = get_backend()
        self._state = new_tensor(backend.asarray([0, 0, 0], dtype=INT64, device=backend.place(device)), backend)
        self.manual_seed(0)

    def __repr__(self) -> str:
        return f"Generator(device={self.device!r}, backend={self._state.backend!r})"

    @property
    def device(self) -> Any:
        """Where the state is kept."""
        return self._state.device

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of this seed, an int of [-2**63, 2**64); returns the generator.

        Raises RuntimeError for a seed outside that range.
        """
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"a seed must be in [-2**63, 2**64), got {seed}")
        self._put([seed >> 32 & WORD, seed & WORD, 0])
        return self

    def seed(self) -> int:
        """Start a stream that the operating system picks; returns its seed."""
        seed = _entropy()
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed this stream was started with."""
        high, low, _ = self._state.tolist()
        return high << 32 | low

    def get_state(self) -> Tensor:
        """The state: an int64 tensor of the key's two words and the counter."""
        return self._state.detach()

    def set_state(self, state: Any) -> None:
        """Go to a state that `get_state` gave, on any backend. Raises RuntimeError for anything else."""
        words = state.tolist() if hasattr(state, "tolist") else state
        if not (isinstance(words, list) and len(words) == 3 and all(isinstance(w, int) and w >= 0 for w in words)):
            raise RuntimeError(f"a generator's state is an int64 tensor of three words, got {state!r}")
        self._put(words)

    def split(self, n: int) -> list[Generator]:
        """`n` generators with streams of their own, on this one's device; this one moves on by `n` blocks.

        Their keys are blocks of this stream, which are used for nothing else (as in `jax.random.split`).
        """
        keys = self._draw(draw_bits, n, 64, blocks=n).tolist()
        children = []
        for key in keys:
            child = object.__new__(Generator)
            child._state = self._state.detach()
            child._put([*key, 0])
            children.append(child)
        return children

    def _put(self, words: list[int]) -> None:
        backend = self._state._backend
        self._state._put(backend.asarray(words, dtype=INT64, device=self._state.device), backend)

    def _draw(self, op: Any, elements: int, width: int, /, *operands: Any, device: Any = None, **params: Any) -> Tensor:
        """The result of an op on the state; the counter moves by what so many elements of `width` bits take."""
        state = self._state
        here = state if device is None else state._backend.tensors.to_device(state, device=device)
        drawn = op(here, *operands, **params)
        state.data = advance(state, blocks=-(-elements * width // 64))
        return drawn


INT64 = DTYPES["int64"]


def _task() -> Any:
    """The asyncio task that runs here, or None; there is none unless somebody imported asyncio."""
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio and asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None


class _Owned:
    """A default generator and whose it is: new tasks (and, from 3.14 on, threads) get a copied context."""

    __slots__ = ("generator", "thread", "task")

    def __init__(self, generator: Generator, task: Any):
        self.generator, self.thread = generator, threading.get_ident()
        self.task = None if task is None else weakref.ref(task)

    def belongs_to(self, thread: int, task: Any) -> bool:
        return self.thread == thread and (None if self.task is None else self.task()) is task


_current: ContextVar[_Owned | None] = ContextVar("polygrad generator", default=None)
_process_seed: list[int] = []  # the main thread's last manual_seed, or what the operating system gave


def default_generator() -> Generator:
    """The generator that is used where none is given: one per thread and task, on the current default backend.

    A thread's generator starts from the process's seed: that of the last `manual_seed` in the main thread, or else a
    number that the operating system gave once. So threads draw the same numbers, whatever the others do; those that
    should differ take generators from `split`. An asyncio task starts with a copy of the generator of the task that
    started it, as it is when the new task first draws.
    """
    return _default(get_backend())


def _default(backend: Backend) -> Generator:
    owned, thread, task = _current.get(), threading.get_ident(), _task()
    if owned is None or not owned.belongs_to(thread, task):
        generator = Generator()
        if owned is not None and owned.thread == thread:
            generator.set_state(owned.generator._state)
        else:
            if not _process_seed:
                _process_seed.append(_entropy())
            generator.manual_seed(_process_seed[0])
        owned = _Owned(generator, task)
        _current.set(owned)
    state = owned.generator._state
    if state._backend is not backend:
        state._put(backend.asarray(state.tolist(), dtype=INT64), backend)
    return owned.generator


declared.add_ambient(lambda backend: _default(backend)._state)


def manual_seed(seed: int) -> Generator:
    """Start the default generator's stream of this seed; returns it. In the main thread, new threads will too."""
    generator = default_generator().manual_seed(seed)
    if threading.current_thread() is threading.main_thread():
        _process_seed[:] = [int(seed) % 2**64]
    return generator


def seed() -> int:
    """Start a stream that the operating system picks in the default generator; returns its seed."""
    return manual_seed(_entropy()).initial_seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator().initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state: an int64 tensor of three words."""
    return default_generator().get_state()


def set_rng_state(new_state: Any) -> None:
    """Put the default generator into a state that `get_rng_state` gave."""
    default_generator().set_state(new_state)


@contextmanager
def fork_rng(enabled: bool = True) -> Iterator[None]:
    """What is drawn from the default generator inside the `with` block is not missing from its stream after it."""
    words = get_rng_state().tolist()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(words)


# ---------------------------------------------------------------------------------------------------- public functions


@cache
def _grid(low: float, high: float, dtype: DType) -> dict[str, Any]:
    """What `draw_uniform` needs for [low, high): a grid on which both bounds have 24 (float64: 53) bits.

    Its step is no smaller than the smallest normal number, because some devices take smaller ones for zero.
    """
    digits, least = (53, -1022) if dtype.name == "float64" else (24, -126)
    fraction, exponent = math.frexp(max(abs(low), abs(high)))
    exponent = max(exponent - digits - (fraction == 0.5), least)
    first, stop = math.ceil(math.ldexp(low, -exponent)), math.ceil(math.ldexp(high, -exponent))
    return {"first": first, "count": max(stop - first, 1), "scale": 2.0**exponent}


def _size(size: Any) -> tuple[int, ...]:
    if len(size) == 1 and not hasattr(size[0], "__index__"):
        size = size[0]
    shape = tuple(int(n) for n in size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"sizes must not be negative, got {shape}")
    return shape


def _drawn(
    op: Callable[..., Tensor],
    shape: tuple[int, ...],
    backend: Backend,
    generator: Generator | None,
    dtype: Any,
    device: Any,
    requires_grad: bool,
    **params: Any,
) -> Tensor:
    """Numbers of a floating-point type; those of other precisions than float32 and float64 are float32 ones, cast.

    Raises TypeError for a dtype that is not floating-point.
    """
    wanted = get_default_dtype() if dtype is None else as_dtype(dtype)
    if not wanted.is_floating_point:
        raise TypeError(f"expected a real floating-point dtype, got {wanted}")
    made = wanted if wanted.itemsize == 8 else DTYPES["float32"]
    if op is draw_uniform:
        params = _grid(dtype=made, **params)
    generator, width = generator or _default(backend), 8 * made.itemsize
    drawn = generator._draw(op, math.prod(shape), width, device=device, shape=shape, dtype=made, **params)
    if made is not wanted:
        drawn = drawn._backend.tensors.astype(drawn, wanted)
    return drawn.requires_grad_() if requires_grad else drawn


def _paired(op, shape, backend, generator, dtype, device, requires_grad, **params):
    """As `_drawn`; a complex dtype takes its real and imaginary parts from neighbours in a draw of twice the size."""
    if dtype is None or not as_dtype(dtype).is_complex:
        return _drawn(op, shape, backend, generator, dtype, device, requires_grad, **params)
    parts = _drawn(op, (*shape, 2), backend, generator, as_dtype(dtype).to_real(), device, False, **params)
    drawn = parts[..., 0] + parts[..., 1] * 1j
    return drawn.requires_grad_() if requires_grad else drawn


@creation
def rand(backend, *size, generator=None, dtype=None, device=None, requires_grad=False):
    """Uniform random numbers of [0, 1), of a shape given as a tuple or as sizes.

    They are made on the generator's backend and device, or on the default backend. A complex dtype has them in both
    parts.
    """
    given = {"low": 0.0, "high": 1.0}
    return _paired(draw_uniform, _size(size), backend, generator, dtype, device, requires_grad, **given)


@creation
def randn(backend, *size, generator=None, dtype=None, device=None, requires_grad=False):
    """Standard normal random numbers, of a shape given as a tuple or as sizes.

    A complex dtype gets parts of variance 1/2. The facts about accuracy and tails stand at the head of this module.
    """
    std = math.sqrt(0.5) if dtype is not None and as_dtype(dtype).is_complex else 1.0
    return _paired(draw_normal, _size(size), backend, generator, dtype, device, requires_grad, std=std)


@creation
def uniform(backend, low=0.0, high=1.0, size=(), *, generator=None, dtype=None, device=None, requires_grad=False):
    """Uniform random numbers of [low, high): the points of a grid of 2**-24 (float64: 2**-53) of the larger bound.

    Raises RuntimeError when low > high or a bound is not finite.
    """
    low, high = float(low), float(high)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise RuntimeError(f"uniform expects finite bounds low <= high, found low={low} and high={high}")
    return _drawn(draw_uniform, _size((size,)), backend, generator, dtype, device, requires_grad, low=low, high=high)


@creation
def normal(backend, mean=0.0, std=1.0, size=None, *, generator=None, dtype=None, device=None, requires_grad=False):
    """Normal random numbers of a mean and a standard deviation, which are numbers, or tensors that give the shape.

    The same bits everywhere; but for a mean or std that is a float64 tensor, a compiler that contracts the
    multiplication and the addition may change the last place.

    Raises RuntimeError for a negative std that is a number, and for a `size` beside tensors.
    """
    if not isinstance(std, Tensor) and not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    tensors = [x.detach() for x in (mean, std) if isinstance(x, Tensor)]
    if not tensors:
        shape, given = _size(() if size is None else (size,)), {"mean": float(mean), "std": float(std)}
        return _drawn(draw_normal, shape, backend, generator, dtype, device, requires_grad, **given)
    if size is not None:
        raise RuntimeError("normal takes its size from the tensors mean and std; leave size out")
    backend = tensors[0]._backend
    xp, wanted = backend.tensors, as_dtype(dtype or tensors[-1].dtype)
    shape = xp.broadcast_shapes(*(x.shape for x in tensors))
    z = _drawn(draw_normal, shape, backend, generator, wanted, device or tensors[0].device, False)
    # The product of two float32 numbers is exact in float64: a compiler may contract it with the sum.
    shift, scale = (x.detach().double() if isinstance(x, Tensor) else float(x) for x in (mean, std))
    drawn = xp.astype(shift + scale * z.double(), wanted)
    return drawn.requires_grad_() if requires_grad else drawn


@creation
def exponential(backend, scale=1.0, size=(), *, generator=None, dtype=None, device=None, requires_grad=False):
    """Exponentially distributed random numbers of mean `scale`. Raises RuntimeError unless scale > 0."""
    if not scale > 0:
        raise RuntimeError(f"exponential expects scale > 0.0, but found scale {scale}")
    given = {"scale": float(scale)}
    return _drawn(draw_exponential, _size((size,)), backend, generator, dtype, device, requires_grad, **given)


@creation
def randint(backend, low=0, high=None, size=None, *, generator=None, dtype=None, device=None, requires_grad=False):
    """Random integers of [low, high), or of [0, low) when only one bound is given; int64 unless `dtype` says otherwise.

    Raises RuntimeError unless 0 < high - low < 2**62.
    """
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    low, high = int(low), int(high)
    if not 0 < high - low < 2**62:
        raise RuntimeError(f"randint expects 0 < high - low < 2**62, found low={low} and high={high}")
    shape, generator = _size((size,)), generator or _default(backend)
    drawn = generator._draw(draw_integers, math.prod(shape), 64, device=device, shape=shape, low=low, high=high)
    if dtype is not None and as_dtype(dtype) is not INT64:
        drawn = drawn._backend.tensors.astype(drawn, as_dtype(dtype))
    return drawn.requires_grad_() if requires_grad else drawn


@creation
def randperm(backend, n, *, generator=None, dtype=None, device=None, requires_grad=False):
    """The integers 0 ... n - 1 in random order; int64 unless `dtype` says otherwise.

    Raises RuntimeError for a negative n.
    """
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    drawn = (generator or _default(backend))._draw(draw_permutation, n, 64, device=device, n=int(n))
    if dtype is not None and as_dtype(dtype) is not INT64:
        drawn = drawn._backend.tensors.astype(drawn, as_dtype(dtype))
    return drawn.requires_grad_() if requires_grad else drawn


def _like(x: Tensor, dtype: Any, device: Any) -> dict[str, Any]:
    return {"dtype": dtype or x.dtype, "device": x.device if device is None else x._backend.place(device)}


def rand_like(input: Tensor, *, generator=None, dtype=None, device=None, requires_grad=False) -> Tensor:
    """`rand` in the shape, dtype, device and backend of a tensor."""
    options = _like(input, dtype, device)
    return rand.on(input._backend, input.shape, generator=generator, requires_grad=requires_grad, **options)


def randn_like(input: Tensor, *, generator=None, dtype=None, device=None, requires_grad=False) -> Tensor:
    """`randn` in the shape, dtype, device and backend of a tensor."""
    options = _like(input, dtype, device)
    return randn.on(input._backend, input.shape, generator=generator, requires_grad=requires_grad, **options)


def randint_like(
    input: Tensor, low, high=None, *, generator=None, dtype=None, device=None, requires_grad=False
) -> Tensor:
    """`randint` in the shape, dtype, device and backend of a tensor."""
    options = {"generator": generator, "requires_grad": requires_grad, **_like(input, dtype, device)}
    return randint.on(input._backend, low, high, input.shape, **options)


@method
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """Ones with the probabilities in `input` (or all with probability `p`), else zeros, in the dtype of `input`.

    Probabilities count in steps of 2**-24. Raises RuntimeError for a `p` outside [0, 1].
    """
    p = None if p is None else float(p)
    if p is not None and not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli expects p to be in [0, 1], but got p={p}")
    options = {"generator": generator, "dtype": DTYPES["float32"], "device": input.device}
    u = rand.on(input._backend, input.shape, **options)
    xp = input._backend.tensors
    return xp.astype(u < (input.detach() if p is None else p), input.dtype)


def dropout_mask(x: Tensor, p: float, *, generator: Generator | None = None) -> tuple[Tensor, float]:
    """(mask, keep): a boolean tensor of the shape of x, True with probability keep, which is 1 - p rounded to 2**-16.

    What is kept must be divided by `keep`, the probability that was used. Raises ValueError for a `p` outside [0, 1].
    """
    p = float(p)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    threshold, generator = round((1 - p) * 65536), generator or _default(x._backend)
    n, shape = math.prod(x.shape), x.shape
    return generator._draw(draw_mask, n, 16, device=x.device, shape=shape, threshold=threshold), threshold / 65536


@method
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with probabilities proportional to the weights in a vector, or in the rows of a matrix, as int64.

    With replacement, weights count in steps of 2**-40 of the largest. The weights must be finite, not negative and not
    all zero (values are not looked at; a zero weight is never drawn as long as enough others are there).

    Raises RuntimeError for other shapes, and for more samples than categories without replacement.
    """
    if len(input.shape) not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if num_samples < 1:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    xp = input._backend.tensors
    weights = xp.reshape(input.detach(), (-1, input.shape[-1]))
    each = num_samples if replacement else input.shape[-1]
    drawn = (generator or _default(input._backend))._draw(
        draw_multinomial,
        weights.shape[0] * each,
        64,
        weights,
        device=input.device,
        samples=num_samples,
        replacement=replacement,
    )
    return xp.reshape(drawn, (*input.shape[:-1], num_samples))


# ------------------------------------------------------------------------------------------------ what methods ask for


@method
def random_normal(x: Tensor, mean: float, std: float, generator: Generator | None) -> Tensor:
    """Normal numbers in the shape, dtype, device and backend of x."""
    return normal.on(x._backend, mean, std, x.shape, generator=generator, dtype=x.dtype, device=x.device)


@method
def random_uniform(x: Tensor, low: float, high: float, generator: Generator | None) -> Tensor:
    """Uniform numbers in the shape, dtype, device and backend of x."""
    return uniform.on(x._backend, low, high, x.shape, generator=generator, dtype=x.dtype, device=x.device)


@method
def random_exponential(x: Tensor, scale: float, generator: Generator | None) -> Tensor:
    """Exponentially distributed numbers in the shape, dtype, device and backend of x."""
    return exponential.on(x._backend, scale, x.shape, generator=generator, dtype=x.dtype, device=x.device)


@method
def random_bernoulli(x: Tensor, p: Any, generator: Generator | None) -> Tensor:
    """Ones with probability p (a number, or a tensor of the shape of x) in the dtype, device and backend of x."""
    if isinstance(p, Tensor):
        return bernoulli(p, generator=generator)
    return bernoulli(x, p, generator=generator)


@method
def random_integers(x: Tensor, low: int, high: int | None, generator: Generator | None) -> Tensor:
    """Integers of [low, high) in the shape, dtype, device and backend of x; see `Tensor.random_`."""
    if high is None and low:
        low, high = 0, low
    elif high is None:
        exact = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53, "bool": 1}
        bits = exact.get(x.dtype.name, 8 * x.dtype.itemsize - x.dtype.is_signed)
        high = 2 ** min(bits, 61)
    drawn = randint.on(x._backend, low, high, x.shape, generator=generator, device=x.device)
    return x._backend.tensors.astype(drawn, x.dtype)
