"""Tiny models of random weights for each way a state can be kept."""

from __future__ import annotations

import struct
from pathlib import Path

from ondevice.gguf.shapes import RwkvShape, ShapeSpec, SsmShape
from ondevice.gguf.vocabulary import CHAT_TEMPLATE

MAMBA = ShapeSpec(
    name="tiny-mamba",
    architecture="mamba",
    n_layers=2,
    n_embd=64,
    n_ff=0,
    n_heads=0,
    n_kv_heads=0,
    head_dim=0,
    vocab=512,
    context=2**20,
    chat=False,
    ssm=SsmShape(inner=128, state=16, conv=4, dt_rank=4),
)
RWKV = ShapeSpec(
    name="tiny-rwkv7",
    architecture="rwkv7",
    n_layers=2,
    n_embd=64,
    n_ff=128,
    n_heads=0,
    n_kv_heads=0,
    head_dim=0,
    vocab=512,
    context=2**20,
    chat=False,
    tokenizer="rwkv",
    tied=False,
    # llama.cpp's AVX-512 reads a head in steps of 64 numbers, also where it is shorter
    rwkv=RwkvShape(head=64, decay_rank=8, rate_rank=8, value_rank=8, gate_rank=8),
)
SLIDING = ShapeSpec(
    name="tiny-gemma3",
    architecture="gemma3",
    n_layers=6,
    n_embd=64,
    n_ff=128,
    n_heads=2,
    n_kv_heads=1,
    head_dim=32,
    vocab=512,
    context=4096,
    tokenizer="llama",
    sliding_window=128,
)
TINY = ShapeSpec(
    name="tiny-llama",
    architecture="llama",
    n_layers=1,
    n_embd=64,
    n_ff=128,
    n_heads=2,
    n_kv_heads=1,
    head_dim=32,
    vocab=512,
    context=512,
)


def with_template(data: bytes, template: str) -> bytes:
    """The same file with another template; a comment fills it up to whole blocks of 32 bytes, so
    that the weights stay aligned."""
    old, new = CHAT_TEMPLATE.encode(), template.encode() + b"{#"
    room = len(old) + -(-max(0, len(new) + 2 - len(old)) // 32) * 32
    filled = new + b" " * (room - len(new) - 2) + b"#}"
    assert data.count(old) == 1
    before = len(old).to_bytes(8, "little") + old
    return data.replace(before, len(filled).to_bytes(8, "little") + filled)


def with_pair(path: Path, to: Path, key: str, value: bool | int) -> Path:
    """The same file with one more entry in its header: true or false, or a UINT32. A text beside it
    fills it up to whole blocks of 32 bytes, so that the weights stay aligned."""
    data = path.read_bytes()
    kind = struct.pack("<IB", 7, value) if isinstance(value, bool) else struct.pack("<II", 4, value)
    entry = struct.pack("<Q", len(key)) + key.encode() + kind
    filler = struct.pack("<Q", 6) + b"filler" + struct.pack("<I", 8)
    room = -(len(entry) + len(filler) + 8) % 32
    added = entry + filler + struct.pack("<Q", room) + b"." * room
    (n_pairs,) = struct.unpack("<Q", data[16:24])
    to.write_bytes(data[:16] + struct.pack("<Q", n_pairs + 2) + added + data[24:])
    return to
