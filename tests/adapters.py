"""LoRA adapters, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

ALPHA = 8.0
TENSOR = "blk.0.ffn_down.weight"
Matrix = Any


def write_adapter(
    path: Path,
    down: Matrix,
    up: Matrix,
    tensor: str = TENSOR,
    architecture: str = "llama",
    kind: str = "lora",
    alpha: Any = ALPHA,
) -> Path:
    """`down` is (rank, inputs), `up` is (outputs, rank): the change is up @ down x alpha / rank."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    add = writer.add_float32 if isinstance(alpha, float) else writer.add_string
    add("adapter.lora.alpha", alpha)
    writer.add_tensor(f"{tensor}.lora_a", np.ascontiguousarray(down, dtype=np.float32))
    writer.add_tensor(f"{tensor}.lora_b", np.ascontiguousarray(up, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
