"""The key-value pairs of a header: scalars and short arrays of integers are kept, others not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from ondevice.errors import NotAModelFile, UnsupportedModel
from ondevice.gguf.cursor import Cursor, damaged, shown
from ondevice.gguf.tables import ARRAY, BOOL, INTEGERS, SCALARS, STRING

MAX_PAIRS: Final = 4096
"""Real files have below 100; 30,000 of them keep llama.cpp busy for 16 s."""
MAX_KEY_BYTES: Final = 65535
MAX_ARRAY_ITEMS: Final = 2**24
MAX_STRING_BYTES: Final = 2**20
"""Longer strings are passed over, not kept."""
MAX_KEPT_BYTES: Final = 16 * 2**20
MAX_PER_LAYER: Final = 1024
"""Arrays of integers or flags up to this long may hold one value per layer, so they are kept."""
KEPT_ITEM_BYTES: Final = 40
"""What Python takes for one item."""

Scalar = int | float | bool | str


@dataclass(slots=True)
class Metadata:
    """What the pairs said, while a header is being read."""

    scalars: dict[str, Scalar] = field(default_factory=dict)
    array_lengths: dict[str, int] = field(default_factory=dict)
    short_arrays: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Those of integers or flags: what differs from layer to layer."""
    long_strings: set[str] = field(default_factory=set)
    """Keys of strings too long to keep."""
    kept_bytes: int = 0

    def number(self, key: str) -> int | None:
        """A size or count under `key`, the largest one of an array; None when absent."""
        value = self.scalars.get(key, max(self.short_arrays.get(key, ()), default=None))
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
            raise damaged(f"{shown(key)} is no size: {shown(str(value))}")
        return value

    def text(self, key: str) -> str | None:
        """The string under `key`; None when absent or too long to keep."""
        value = self.scalars.get(key)
        if value is None or isinstance(value, str):
            return value
        raise damaged(f"{shown(key)} is no text")


def read_metadata(cursor: Cursor, count: int) -> Metadata:
    """Read `count` pairs."""
    if count > MAX_PAIRS:
        raise NotAModelFile(
            f"the header announces {count:,} metadata entries",
            f"No model needs more than {MAX_PAIRS:,}: the file is damaged or made to do harm.",
        )
    metadata = Metadata()
    for _ in range(count):
        _read_pair(cursor, metadata)
    return metadata


def _read_pair(cursor: Cursor, metadata: Metadata) -> None:
    key = _read_key(cursor)
    if key in metadata.scalars or key in metadata.array_lengths or key in metadata.long_strings:
        raise damaged(f"the metadata entry {shown(key)} appears twice")
    metadata.kept_bytes += len(key)
    kind = cursor.u32()
    if kind == STRING:
        _read_string(cursor, key, metadata)
    elif kind == ARRAY:
        _read_array(cursor, key, metadata)
    elif kind in SCALARS:
        metadata.scalars[key] = _checked(key, kind, cursor.scalar(kind))
    else:
        raise damaged(f"the metadata entry {shown(key)} has the unknown type {kind}")
    if metadata.kept_bytes > MAX_KEPT_BYTES:
        raise damaged("the metadata is too large to be a model's")


def _read_key(cursor: Cursor) -> str:
    length = cursor.u64()
    if not 0 < length <= MAX_KEY_BYTES:
        raise damaged(f"a metadata key of {length:,} bytes")
    raw = cursor.take(length)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise damaged(f"the metadata key {shown(raw)} is not UTF-8") from None


def _read_string(cursor: Cursor, key: str, metadata: Metadata) -> None:
    length = cursor.u64()
    if length > MAX_STRING_BYTES:
        cursor.skip(length)
        metadata.long_strings.add(key)
        return
    metadata.kept_bytes += length
    metadata.scalars[key] = cursor.take(length).decode("utf-8", "replace")


def _read_array(cursor: Cursor, key: str, metadata: Metadata) -> None:
    kind = cursor.u32()
    length = cursor.u64()
    if kind == ARRAY:
        raise UnsupportedModel(
            f"the metadata entry {shown(key)} is an array of arrays",
            "llama.cpp refuses it as well.",
        )
    if kind != STRING and kind not in SCALARS:
        raise damaged(f"the metadata array {shown(key)} has the unknown type {kind}")
    if length > MAX_ARRAY_ITEMS:
        raise damaged(f"the metadata array {shown(key)} announces {length:,} items")
    metadata.array_lengths[key] = length
    if kind == STRING:
        cursor.skip_strings(length)
    elif (kind in INTEGERS or kind == BOOL) and length <= MAX_PER_LAYER:
        metadata.short_arrays[key] = tuple(int(cursor.scalar(kind)) for _ in range(length))
        metadata.kept_bytes += KEPT_ITEM_BYTES * length
    else:
        cursor.skip(length * SCALARS[kind].size)


def _checked(key: str, kind: int, value: float) -> Scalar:
    if kind == BOOL:
        if value not in (0, 1):
            raise damaged(f"the metadata entry {shown(key)} is neither true nor false")
        return bool(value)
    # llama.cpp hangs or ends the process on a norm's epsilon that is NaN or below zero.
    if math.isnan(value) or (key.endswith("_epsilon") and value < 0):
        raise damaged(f"the metadata entry {shown(key)} is no usable number")
    return value
