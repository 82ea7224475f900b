"""PyTorch: random bits in place on int32, whose sums and left shifts wrap as unsigned ones do."""

import torch

from polygrad.core.backend import declared

__all__ = ["draw_bits"]

FEW = 48  # blocks that take less time with Python's integers than with tensors of any size up to 10000
PART = 1 << 17  # blocks that stay in a core's cache
WORD, PARITY = 0xFFFFFFFF, 0x1BD11BDA
ROTATIONS = ((17, 29, 16, 24), (13, 15, 26, 6))


def draw_bits(state: torch.Tensor, /, *, blocks: int) -> torch.Tensor:
    """Pairs of random words: a few with Python's integers, many in place on int32."""
    k0, k1, counter = state.tolist()
    if blocks <= FEW:
        cipher = declared.op("threefry2x32").body
        pairs = [cipher(None, k0, k1, c >> 32, c & WORD) for c in range(counter, counter + blocks)]
        return torch.tensor(pairs, dtype=torch.int64, device=state.device).reshape(blocks, 2)
    words = torch.empty((blocks, 2), dtype=torch.int64, device=state.device)
    part = PART if state.device.type == "cpu" else blocks
    for start in range(0, blocks, part):
        _many(k0, k1, counter + start, words[start : start + part])
    return words


def _signed(word: int) -> int:
    """The int32 with the bits of a word."""
    return (word & WORD ^ 0x80000000) - 0x80000000


def _many(k0: int, k1: int, counter: int, words: torch.Tensor) -> None:
    """Put the blocks from `counter` on into `words`."""
    x = torch.arange(counter, counter + len(words), dtype=torch.int64, device=words.device)
    keys = [_signed(k) for k in (k0, k1, k0 ^ k1 ^ PARITY)]
    x0, x1 = (x >> 32).to(torch.int32).add_(keys[0]), x.to(torch.int32).add_(keys[1])
    left = torch.empty_like(x1)
    for step in range(1, 6):
        for r in ROTATIONS[step % 2]:
            x0.add_(x1)
            torch.bitwise_left_shift(x1, r, out=left)
            x1.bitwise_right_shift_(32 - r).bitwise_and_((1 << r) - 1)  # the shift repeats the sign
            x1.bitwise_or_(left).bitwise_xor_(x0)
        x0.add_(keys[step % 3])
        x1.add_(_signed(keys[(step + 1) % 3] + step))
    words[:, 0], words[:, 1] = x0, x1
    words.bitwise_and_(WORD)
