"""A GGUF file cut into parts, each with its share of the tensors, as llama.cpp's own tool does."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf

ALIGNMENT = 32
_UINT16, _INT32 = 2, 5


def split_gguf(whole: Path, folder: Path, name: str = "model", count: int = 2) -> list[Path]:
    """Write the parts into `folder`; the first is the one that is opened."""
    data, tensors = whole.read_bytes(), gguf.GGUFReader(whole).tensors
    pairs = data[24 : tensors[0].field.offset]
    (n_pairs,) = struct.unpack("<Q", data[16:24])
    each = -(-len(tensors) // count)
    paths = []
    for number in range(count):
        own = tensors[number * each : (number + 1) * each]
        of_model = (pairs, n_pairs) if number == 0 else (b"", 0)
        split = (
            _pair("split.no", _UINT16, "<H", number)
            + _pair("split.count", _UINT16, "<H", count)
            + _pair("split.tensors.count", _INT32, "<i", len(tensors))
        )
        head = data[:8] + struct.pack("<QQ", len(own), of_model[1] + 3) + of_model[0] + split
        weights = b""
        for tensor in own:
            info = b"".join(part.tobytes() for part in tensor.field.parts)
            head += info[:-8] + struct.pack("<Q", len(weights))
            begin = int(tensor.data_offset)
            weights += _padded(data[begin : begin + int(tensor.n_bytes)])
        paths.append(folder / f"{name}-{number + 1:05d}-of-{count:05d}.gguf")
        paths[-1].write_bytes(_padded(head) + weights)
    return paths


def _pair(key: str, kind: int, form: str, value: int) -> bytes:
    return (
        struct.pack("<Q", len(key))
        + key.encode()
        + struct.pack("<I", kind)
        + struct.pack(form, value)
    )


def _padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // ALIGNMENT) * ALIGNMENT, b"\0")
