"""Put a GGUF file together: encode its header, then fill in the tensors from pools."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ondevice.gguf.architectures import MetadataValue, PlannedTensor
from ondevice.gguf.blocks import pool_blocks, random_pool
from ondevice.gguf.recipes import TYPE_NUMBERS
from ondevice.gguf.tables import ARRAY, BOOL, DEFAULT_ALIGNMENT, MAGIC, STRING, TENSOR_TYPES

VERSION: Final = 3
_UINT32, _INT32, _FLOAT32 = 4, 5, 6

MetadataEntry = MetadataValue | Sequence[bytes] | Sequence[int] | Sequence[float]


class Writable(Protocol):
    """Where the bytes go."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Take all of `data`."""
        ...


@dataclass(frozen=True, slots=True)
class TypedTensor:
    """A planned tensor with the type it is written in."""

    plan: PlannedTensor
    kind: str

    @property
    def size_bytes(self) -> int:
        """Bytes in the file, without padding."""
        layout = TENSOR_TYPES[TYPE_NUMBERS[self.kind]]
        return self.plan.parameters // layout.block * layout.block_bytes


def header_bytes(metadata: dict[str, MetadataEntry], tensors: Sequence[TypedTensor]) -> bytes:
    """Everything before the weights, padded to where they begin."""
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    parts += [_string(key.encode()) + _entry(value) for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        dimensions = tensor.plan.dimensions
        parts.append(_string(tensor.plan.name.encode()))
        parts.append(struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions))
        parts.append(struct.pack("<IQ", TYPE_NUMBERS[tensor.kind], offset))
        offset += _padded(tensor.size_bytes)
    header = b"".join(parts)
    return header.ljust(_padded(len(header)), b"\0")


def weights_bytes(tensors: Iterable[TypedTensor]) -> int:
    """How long the part after the header is."""
    return sum(_padded(tensor.size_bytes) for tensor in tensors)


def write_weights(file: Writable, tensors: Iterable[TypedTensor], rng: random.Random) -> None:
    """Fill in every tensor from a pool of random blocks of its type and range."""
    pools: dict[tuple[str, int, float, float], memoryview] = {}
    for tensor in tensors:
        plan, kind = tensor.plan, tensor.kind
        blocks = pool_blocks(kind, plan.parameters)
        key = (kind, blocks, plan.low, plan.high)
        if key not in pools:
            # Twice, so that a whole round can be written from any block on.
            pools[key] = memoryview(random_pool(kind, blocks, plan.low, plan.high, rng) * 2)
        start = rng.randrange(blocks) * TENSOR_TYPES[TYPE_NUMBERS[kind]].block_bytes
        _write_repeated(file, pools[key], start, tensor.size_bytes)
        file.write(bytes(_padded(tensor.size_bytes) - tensor.size_bytes))


def _write_repeated(file: Writable, pool: memoryview, start: int, size: int) -> None:
    round_bytes = len(pool) // 2
    whole = pool[start : start + round_bytes]
    for _ in range(size // round_bytes):
        file.write(whole)
    file.write(whole[: size % round_bytes])


def _padded(size: int) -> int:
    return -(-size // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def _string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _entry(value: MetadataEntry) -> bytes:
    """A value with its type in front; numbers are 32 bits wide, as llama.cpp asks for sizes."""
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value.encode())
    return struct.pack("<I", ARRAY) + _array(value)


def _array(values: Sequence[bytes] | Sequence[int] | Sequence[float]) -> bytes:
    if isinstance(values[0], bytes):
        texts = [value for value in values if isinstance(value, bytes)]
        return struct.pack("<IQ", STRING, len(texts)) + b"".join(map(_string, texts))
    kind, letter = (_FLOAT32, "f") if isinstance(values[0], float) else (_INT32, "i")
    return struct.pack(f"<IQ{len(values)}{letter}", kind, len(values), *values)
