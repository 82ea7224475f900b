"""A step of a recurrent layer in one op with a closed-form rule: the dozen small ops that it is made of cost more than its arithmetic."""

from __future__ import annotations

from polygrad.core import case, general

__all__ = ["gru_step", "lstm_step"]


def _check(name, gates, state, count):
    if gates.shape[-1] != count * state.shape[-1]:
        raise ValueError(f"{name}: expected {count} gates for each of {state.shape[-1]} units, got {gates.shape[-1]}")


def _parts(a, count):
    """`count` equal parts of the last axis."""
    n = a.shape[-1] // count
    return [a[..., i * n : (i + 1) * n] for i in range(count)]


# ------------------------------------------------------------------------------------------------------------------- LSTM


def _through_output(xp, g, y1, o):
    """The cotangent of the new cell state from those of (h, c), and tanh of the state."""
    t = xp.tanh(y1)
    g_h, g_c, _ = g
    if g_h is None:
        return (0 if g_c is None else g_c), t
    d = g_h * o * (1 - t * t)
    return (d if g_c is None else d + g_c), t


def _gates_pull(xp, g, c, y1, y2):
    i, f, z, o = _parts(y2, 4)
    d, t = _through_output(xp, g, y1, o)
    slopes = [d * z, d * c, d * i, 0 if g[0] is None else g[0] * t]
    if g[2] is not None:
        slopes = [a + b for a, b in zip(slopes, _parts(g[2], 4), strict=True)]
    d_i, d_f, d_z, d_o = slopes
    return xp.concat([d_i * i * (1 - i), d_f * f * (1 - f), d_z * (1 - z * z), d_o * o * (1 - o)], axis=-1)


def _gates_push(xp, t, c, y1, y2):
    i, f, z, o = _parts(y2, 4)
    t_i, t_f, t_z, t_o = _parts(t, 4)
    t_i, t_f, t_z, t_o = t_i * i * (1 - i), t_f * f * (1 - f), t_z * (1 - z * z), t_o * o * (1 - o)
    tanh = xp.tanh(y1)
    t_c = t_f * c + t_i * z + i * t_z
    return t_o * tanh + o * (1 - tanh * tanh) * t_c, t_c, xp.concat([t_i, t_f, t_z, t_o], axis=-1)


def _cell_pull(xp, g, y1, y2):
    _, f, _, o = _parts(y2, 4)
    return _through_output(xp, g, y1, o)[0] * f


def _cell_push(xp, t, y1, y2):
    _, f, _, o = _parts(y2, 4)
    tanh, t_c = xp.tanh(y1), f * t
    return o * (1 - tanh * tanh) * t_c, t_c, xp.zeros_like(y2)


@general(
    gates=(_gates_pull, _gates_push),
    c=(_cell_pull, _cell_push),
    dtypes="real floating",
    node="LstmCell",
    materialize=False,
    cases=[case((2, 12), (2, 3)), case((8,), (2,))],
)
def lstm_step(xp, gates, c, /):
    """(h, c, activations): the next state of an LSTM, and its gates i, f, g, o behind their functions.

    `gates` (*, 4 H) are those before them, `c` (*, H) is the cell state. Hochreiter and Schmidhuber (1997), with the forget
    gate of Gers et al. (2000). Raises ValueError for sizes that do not fit.
    """
    _check("lstm_step", gates, c, 4)
    s = xp.sigmoid(gates)
    i, f, _, o = _parts(s, 4)
    z = xp.tanh(_parts(gates, 4)[2])
    c = f * c + i * z
    return o * xp.tanh(c), c, xp.concat([i, f, z, o], axis=-1)


# -------------------------------------------------------------------------------------------------------------------- GRU


def _gru_pull(xp, g, arrays, y1):
    g_h, g_s = g
    _, h, state = arrays
    r, z, n = _parts(y1, 3)
    d_z, d_n, d_state = (0, 0, 0 * z) if g_h is None else (g_h * (state - n), g_h * (1 - z), g_h * z)
    d_r = 0
    if g_s is not None:
        d_r, more_z, more_n = _parts(g_s, 3)
        d_z, d_n = d_z + more_z, d_n + more_n
    d_n = d_n * (1 - n * n)
    d_r, d_z = (d_r + d_n * _parts(h, 3)[2]) * r * (1 - r), d_z * z * (1 - z)
    return [xp.concat([d_r, d_z, d_n], axis=-1), xp.concat([d_r, d_z, d_n * r], axis=-1), d_state]


def _gru_push(xp, t, arrays, y1):
    r, z, n = _parts(y1, 3)
    (x_r, x_z, x_n), (h_r, h_z, h_n) = _parts(t[0], 3), _parts(t[1], 3)
    t_r, t_z = (x_r + h_r) * r * (1 - r), (x_z + h_z) * z * (1 - z)
    t_n = (x_n + t_r * _parts(arrays[1], 3)[2] + r * h_n) * (1 - n * n)
    return t_n * (1 - z) + t_z * (arrays[2] - n) + z * t[2], xp.concat([t_r, t_z, t_n], axis=-1)


@general(
    arrays=(_gru_pull, _gru_push),
    dtypes="real floating",
    node="GruCell",
    materialize=False,
    cases=[case((2, 9), (2, 9), (2, 3)), case((6,), (6,), (2,))],
)
def gru_step(xp, arrays, /):
    """(h, activations): the next state of a GRU, and its gates r, z, n behind their functions.

    `arrays` are [the projections (*, 3 H) of the input and of the state, the state (*, H)]. Cho et al. (2014); the reset gate is
    applied behind the product, as in PyTorch. Raises ValueError for sizes that do not fit.
    """
    _check("gru_step", arrays[0], arrays[2], 3)
    (x_r, x_z, x_n), (h_r, h_z, h_n), state = _parts(arrays[0], 3), _parts(arrays[1], 3), arrays[2]
    r, z = xp.sigmoid(x_r + h_r), xp.sigmoid(x_z + h_z)
    n = xp.tanh(x_n + r * h_n)
    return n + z * (state - n), xp.concat([r, z, n], axis=-1)
