"""Recurrent layers, and their cells: one step each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from polygrad.core import Tensor
from polygrad.nn import functional as F
from polygrad.nn import init
from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter
from polygrad.nn.utils.rnn import PackedSequence, packed_places, padded_places
from polygrad.ops.composite import relu
from polygrad.ops.creation import empty
from polygrad.ops.elementwise import tanh
from polygrad.ops.indexing import take, where
from polygrad.ops.recurrent import gru_step, lstm_step
from polygrad.ops.shapes import concat, stack, unstack

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell"]

State = tuple[Tensor, ...]  # (h,), or (h, c)

# -------------------------------------------------------------------------------------------------------------- one step


def _tanh_step(x: Tensor, h: Tensor, state: State) -> State:
    """Elman, "Finding structure in time" (1990)."""
    return (tanh(x + h),)


def _relu_step(x: Tensor, h: Tensor, state: State) -> State:
    return (relu(x + h),)


def _lstm_step(x: Tensor, h: Tensor, state: State) -> State:
    return lstm_step(x + h, state[1])[:2]


def _gru_step(x: Tensor, h: Tensor, state: State) -> State:
    return gru_step([x, h, state[0]])[:1]


# Step, and how many times the hidden size its projections have.
STEPS: dict[str, tuple[Callable[[Tensor, Tensor, State], State], int]] = {
    "RNN_TANH": (_tanh_step, 1),
    "RNN_RELU": (_relu_step, 1),
    "LSTM": (_lstm_step, 4),
    "GRU": (_gru_step, 3),
}


# --------------------------------------------------------------------------------------------------------------- layers


class _Recurrent(Module):
    """What the recurrent layers share."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        if not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater "
                f"than 1, but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=3,
            )
        if hidden_size <= 0 or num_layers <= 0:
            raise ValueError(
                f"hidden_size and num_layers must be greater than zero, got {hidden_size} and {num_layers}"
            )
        if not 0 <= proj_size < hidden_size:
            raise ValueError(f"proj_size has to be from 0 to hidden_size - 1, got {proj_size}")
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        self.proj_size = proj_size
        gates, width = STEPS[mode][1] * hidden_size, proj_size or hidden_size

        def made(*shape: int) -> Parameter:
            return Parameter(empty(shape, device=device, dtype=dtype))

        for suffix in self._suffixes():
            below = input_size if suffix.startswith("l0") else width * (2 if bidirectional else 1)
            setattr(self, f"weight_ih_{suffix}", made(gates, below))
            setattr(self, f"weight_hh_{suffix}", made(gates, width))
            if bias:
                setattr(self, f"bias_ih_{suffix}", made(gates))
                setattr(self, f"bias_hh_{suffix}", made(gates))
            if proj_size:
                setattr(self, f"weight_hr_{suffix}", made(proj_size, hidden_size))
        self.reset_parameters()

    def _suffixes(self) -> list[str]:
        """The ends of the parameters' names: layer after layer, each forward and maybe backward."""
        ends = ("", "_reverse") if self.bidirectional else ("",)
        return [f"l{layer}{end}" for layer in range(self.num_layers) for end in ends]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [
            [p for n, p in self._parameters.items() if n.split("_", 2)[2] == s and p is not None]
            for s in self._suffixes()
        ]

    def flatten_parameters(self) -> None:
        """Does nothing: there is no layout in memory to restore."""

    def reset_parameters(self) -> None:
        """Draw the parameters again, uniform in [-1, 1) / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input: Any, hx: Any = None) -> Any:
        packed = isinstance(input, PackedSequence)
        sizes: Any = input.batch_sizes.tolist() if packed else None
        x, whole = self._steps_first(input, sizes)
        order = input.sorted_indices if packed else None
        states = self._initial(x, hx, whole, order)
        outputs, finals = self._layers(x, states, sizes)
        hidden = [stack(parts, axis=0) for parts in zip(*finals, strict=True)]
        if packed:
            rows = outputs.reshape(outputs.shape[0] * outputs.shape[1], outputs.shape[2])
            places = x._backend.tensors.asarray(packed_places(sizes), dtype="int64", device=x.device)
            y: Any = input._replace(data=take(rows, places, axis=0))
            back = input.unsorted_indices
            hidden = hidden if back is None else [take(h, back, axis=1) for h in hidden]
        elif not whole:
            y, hidden = outputs[:, 0], [h[:, 0] for h in hidden]
        else:
            y = outputs.swapaxes(0, 1) if self.batch_first else outputs
        return y, (tuple(hidden) if self.mode == "LSTM" else hidden[0])

    def _steps_first(self, input: Any, sizes: list[int] | None) -> tuple[Tensor, bool]:
        """The input as (T, N, input_size), and whether it had an N. Raises where sizes do not fit."""
        if sizes is not None:
            data = input.data
            places = data._backend.tensors.asarray(padded_places(sizes), dtype="int64", device=data.device)
            x, whole = take(data, places, axis=0).reshape(len(sizes), sizes[0], *data.shape[1:]), True
        else:
            if input.ndim not in (2, 3):
                raise ValueError(f"{self._get_name()}: Expected input to be 2D or 3D, got {input.ndim}D instead")
            whole = input.ndim == 3
            x = input.unsqueeze(1) if not whole else input.swapaxes(0, 1) if self.batch_first else input
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}"
            )
        return x, whole

    def _initial(self, x: Tensor, hx: Any, whole: bool, order: Tensor | None) -> list[State]:
        """The states at the start of each layer and direction. Raises RuntimeError where shapes do not fit."""
        rows, count = len(self._suffixes()), x.shape[1]
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if self.mode == "LSTM" else 1]
        if hx is None:
            parts = [x.new_zeros((rows, count, width)) for width in widths]
            return [tuple(p[i] for p in parts) for i in range(rows)]
        given = tuple(hx) if self.mode == "LSTM" else (hx,)
        for h, width in zip(given, widths, strict=True):
            expected = (rows, count, width) if whole else (rows, width)
            if h.shape != expected:
                raise RuntimeError(f"Expected hidden size {expected}, got {list(h.shape)}")
        given = given if whole else tuple(h.unsqueeze(1) for h in given)
        given = given if order is None else tuple(take(h, order, axis=1) for h in given)
        return list(zip(*[unstack(h, axis=0) for h in given], strict=True))

    def _layers(self, x: Tensor, states: list[State], sizes: list[int] | None) -> tuple[Tensor, list[State]]:
        """The outputs (T, N, width) of the last layer, and the states at the end of each layer and direction."""
        finals = []
        directions = 2 if self.bidirectional else 1
        for at, suffix in enumerate(self._suffixes()):
            backward = at % directions == 1
            if at % directions == 0:
                if at and self.dropout:
                    x = F.dropout(x, self.dropout, self.training)
                both = []
            output, final = self._direction(x, states[at], suffix, sizes, backward)
            both.append(output)
            finals.append(final)
            if len(both) == directions:
                x = both[0] if directions == 1 else concat(both, axis=-1)
        return x, finals

    def _direction(
        self, x: Tensor, state: State, suffix: str, sizes: list[int] | None, backward: bool
    ) -> tuple[Tensor, State]:
        """One layer in one direction; the projections of all inputs are one product."""
        step = STEPS[self.mode][0]
        names = ("weight_ih", "bias_ih", "weight_hh", "bias_hh", "weight_hr")
        w_ih, b_ih, w_hh, b_hh, w_hr = (self._parameters.get(f"{name}_{suffix}") for name in names)
        assert w_ih is not None
        assert w_hh is not None
        projected = unstack(F.linear(x, w_ih, b_ih), axis=0)
        outputs: list[Any] = [None] * len(projected)
        count = x.shape[1]
        for t in reversed(range(len(projected))) if backward else range(len(projected)):
            new = step(projected[t], F.linear(state[0], w_hh, b_hh), state)
            if w_hr is not None:
                new = (F.linear(new[0], w_hr), *new[1:])
            if sizes is not None and sizes[t] < count:  # sequences that have ended, or not begun, stay as they are
                alive = x._backend.tensors.arange(count, device=x.device).unsqueeze(-1) < sizes[t]
                new = tuple(where(alive, a, b) for a, b in zip(new, state, strict=True))
            state = new
            outputs[t] = state[0]
        return stack(outputs, axis=0), state

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if not self.bias:
            text += f", bias={self.bias}"
        if self.batch_first:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        return text + (f", bidirectional={self.bidirectional}" if self.bidirectional else "")


class RNN(_Recurrent):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), step by step (Elman, 1990).

    `forward` takes (T, N, input_size), (T, input_size) or a PackedSequence, and maybe h0 (layers * directions, N, hidden_size),
    zeros by default. It gives the states of the last layer (T, N, directions * hidden_size), and the last ones of all layers.
    The parameters start uniform in [-1, 1) / sqrt(hidden_size).

    Args:
        input_size, hidden_size: the sizes of x and h.
        num_layers: how many layers, each on the states of the one below.
        nonlinearity: "tanh" or "relu".
        bias: have biases.
        batch_first: the axis N comes first, except in states.
        dropout: the probability of zeros between the layers in training.
        bidirectional: a second direction from the end to the start.
        device, dtype: of the parameters.

    Raises:
        ValueError: sizes that are not positive; another nonlinearity.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        self.nonlinearity = nonlinearity
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )


class GRU(_Recurrent):
    """Gated recurrent units, step by step (Cho et al., 2014): h' = (1 - z) n + z h, with n = tanh(W_in x + r (W_hn h)).

    Arguments, inputs and results as of `RNN`, without `nonlinearity`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )


class LSTM(_Recurrent):
    """Long short-term memory, step by step (Hochreiter and Schmidhuber, 1997): c' = f c + i g, h' = o tanh(c').

    Arguments, inputs and results as of `RNN`, without `nonlinearity`; the state is a pair (h, c) of tensors.

    Args:
        proj_size: project h to this size, 0 for none (Sak et al., 2014).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )


# ---------------------------------------------------------------------------------------------------------------- cells


class _Cell(Module):
    """What the cells share."""

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None
    mode: str

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = STEPS[self.mode][1] * hidden_size

        def made(*shape: int) -> Parameter:
            return Parameter(empty(shape, device=device, dtype=dtype))

        self.weight_ih, self.weight_hh = made(gates, input_size), made(gates, hidden_size)
        self.register_parameter("bias_ih", made(gates) if bias else None)
        self.register_parameter("bias_hh", made(gates) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters again, uniform in [-1, 1) / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _step(self, input: Tensor, given: tuple[Tensor, ...] | None) -> State:
        """The next state, from (N, input_size) or (input_size,) and a state of the same kind."""
        if input.ndim not in (1, 2):
            raise ValueError(f"{self._get_name()}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {input.shape[-1]}, expected {self.input_size}")
        shape = (*input.shape[:-1], self.hidden_size)
        states = 2 if self.mode == "LSTM" else 1
        state = (input.new_zeros(shape),) * states if given is None else given
        for h in state:
            if h.shape != shape:
                raise RuntimeError(f"{self._get_name()}: expected a hidden state of shape {shape}, got {h.shape}")
        x = F.linear(input, self.weight_ih, self.bias_ih)
        return STEPS[self.mode][0](x, F.linear(state[0], self.weight_hh, self.bias_hh), state)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else f", bias={self.bias}")


class RNNCell(_Cell):
    """One step of `RNN`: from (N, input_size) and h (N, hidden_size), zeros by default, to the next h; or without the N."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        self.nonlinearity, self.mode = nonlinearity, f"RNN_{nonlinearity.upper()}"
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,))[0]

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", nonlinearity={self.nonlinearity}" if self.nonlinearity != "tanh" else "")


class GRUCell(_Cell):
    """One step of `GRU`: from (N, input_size) and h (N, hidden_size), zeros by default, to the next h; or without the N."""

    mode = "GRU"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,))[0]


class LSTMCell(_Cell):
    """One step of `LSTM`: from (N, input_size) and (h, c), zeros by default, to the next (h, c); or without the N."""

    mode = "LSTM"

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step(input, None if hx is None else tuple(hx))
        return h, c
