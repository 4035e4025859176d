"""Two kinds of memory that must never be added up and called one "RAM".

Private memory belongs to the process; model pages are the system's copies of the model file,
which it can drop and read again. Where a system does not tell them apart, both are None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KvType = Literal["f16", "q8_0"]
"""How the numbers of a KV cache are stored: 2 bytes each, or 34 for 32 of them."""


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One reading of the engine's process, in bytes."""

    resident_bytes: int
    private_bytes: int | None
    """Anonymous resident memory (RssAnon on Linux)."""
    model_pages_bytes: int | None
    """Resident pages of the mappings of the model file."""


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """What the machine has, in bytes."""

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What one generation was seen to use."""

    peak_private_bytes: int | None
    model_pages_bytes: int | None
    resident_bytes: int | None
