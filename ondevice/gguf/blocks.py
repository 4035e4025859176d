"""Endless random weights of one type: blocks an engine can decode, with finite values.

Every bit of a quantized block's codes is random, so a pool of blocks is random bytes with the
scales written over them. A pool holds a prime number of blocks and is repeated, so rows of a
matrix begin at different places of it.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from typing import Final

from ondevice.gguf.recipes import TYPE_NUMBERS
from ondevice.gguf.tables import TENSOR_TYPES

_SIGN = 0x80
# At most a few MiB of blocks; a smaller prime suffices where a tensor needs fewer.
_POOL_BLOCKS: Final = {1: (509, 8191, 65521), 32: (509, 8191, 32749), 256: (127, 1021, 32749)}

# Standard deviations of the codes: uniform over 2**bits values.
_CODE_DEVIATION: Final = {bits: math.sqrt((4**bits - 1) / 12) for bits in (4, 5, 6, 8)}
_SUB_SCALE: Final = 40
"""The 6-bit scale of every part of a Q4_K or Q5_K block, and its minimum."""
_Q6_SCALE: Final = 12


def pool_blocks(kind: str, parameters: int) -> int:
    """How many blocks a pool for a tensor of `parameters` values holds."""
    block = TENSOR_TYPES[TYPE_NUMBERS[kind]].block
    primes = _POOL_BLOCKS[block]
    return next((prime for prime in primes if prime * block >= parameters), primes[-1])


def random_pool(kind: str, blocks: int, low: float, high: float, rng: random.Random) -> bytes:
    """`blocks` random blocks of type `kind` whose values spread like [low, high].

    Quantized types spread around zero: only the width of the range counts.
    """
    if kind in ("F32", "F16"):
        values = [rng.uniform(low, high) for _ in range(blocks)]
        return struct.pack(f"<{blocks}{'f' if kind == 'F32' else 'e'}", *values)
    buffer = bytearray(rng.randbytes(blocks * TENSOR_TYPES[TYPE_NUMBERS[kind]].block_bytes))
    _WRITE_SCALES[kind](buffer, blocks, (high - low) / math.sqrt(12), rng)
    return bytes(buffer)


def _half(value: float) -> bytes:
    return struct.pack("<e", value)


def _put(buffer: bytearray, at: int, size: int, value: bytes) -> None:
    """Write `value` at byte `at` of each block of `size` bytes."""
    for index, byte in enumerate(value):
        buffer[at + index :: size] = bytes([byte]) * (len(buffer) // size)


def _put_signed_scale(
    buffer: bytearray, at: int, size: int, scale: float, rng: random.Random
) -> None:
    """Write a scale of random sign: codes reach one further below zero, so the mean would drift."""
    low, high = _half(scale)
    _put(buffer, at, size, bytes([low]))
    signs = bytes(high | (_SIGN if value & 1 else 0) for value in range(256))
    buffer[at + 1 :: size] = rng.randbytes(len(buffer) // size).translate(signs)


def _scale_only(bits: int) -> Callable[[bytearray, int, float, random.Random], None]:
    def write(buffer: bytearray, blocks: int, deviation: float, rng: random.Random) -> None:
        size = len(buffer) // blocks
        _put_signed_scale(buffer, 0, size, deviation / _CODE_DEVIATION[bits], rng)

    return write


def _scale_and_minimum(bits: int) -> Callable[[bytearray, int, float, random.Random], None]:
    def write(buffer: bytearray, blocks: int, deviation: float, _rng: random.Random) -> None:
        scale = deviation / _CODE_DEVIATION[bits]
        minimum = -scale * (2**bits - 1) / 2
        _put(buffer, 0, len(buffer) // blocks, _half(scale) + _half(minimum))

    return write


def _k_scales(bits: int) -> Callable[[bytearray, int, float, random.Random], None]:
    # Eight 6-bit scales and eight minimums in 12 bytes, all _SUB_SCALE: the low 6 bits of the
    # first four of each carry the top 2 bits of the last four, whose low 4 bits share a byte.
    low, top = _SUB_SCALE & 15, _SUB_SCALE >> 4
    packed = bytes([_SUB_SCALE | top << 6] * 8 + [low | low << 4] * 4)

    def write(buffer: bytearray, blocks: int, deviation: float, _rng: random.Random) -> None:
        scale = deviation / _CODE_DEVIATION[bits] / _SUB_SCALE
        minimum = scale * (2**bits - 1) / 2
        _put(buffer, 0, len(buffer) // blocks, _half(scale) + _half(minimum) + packed)

    return write


def _q6_scales(buffer: bytearray, blocks: int, deviation: float, rng: random.Random) -> None:
    size = len(buffer) // blocks
    _put(buffer, 192, size, bytes([_Q6_SCALE]) * 16)
    _put_signed_scale(buffer, 208, size, deviation / _CODE_DEVIATION[6] / _Q6_SCALE, rng)


_WRITE_SCALES: Final[dict[str, Callable[[bytearray, int, float, random.Random], None]]] = {
    "Q4_0": _scale_only(4),
    "Q4_1": _scale_and_minimum(4),
    "Q5_0": _scale_only(5),
    "Q5_1": _scale_and_minimum(5),
    "Q8_0": _scale_only(8),
    "Q4_K": _k_scales(4),
    "Q5_K": _k_scales(5),
    "Q6_K": _q6_scales,
}
