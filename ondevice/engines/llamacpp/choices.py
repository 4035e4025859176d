"""What is decided before a model file is opened."""

from __future__ import annotations

from dataclasses import dataclass

from ondevice.domain.generation import EngineNotice
from ondevice.domain.memory import KvType


@dataclass(frozen=True, slots=True)
class Choices:
    """What was decided before loading."""

    threads: int
    threads_fixed: bool
    flash_attention: bool
    repack: bool
    gpu_layers: int
    """Asked of llama.cpp; where they are, its log says."""
    notices: tuple[EngineNotice, ...]
    kv_type: KvType = "f16"
