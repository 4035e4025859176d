"""Whether a model will run here, said before a byte of it is fetched.

well          weights repacked, the wanted context, and room to spare
less_context  not at the wanted context, but at a shorter one
tight         only without repacked weights, or with pages of the file dropped and read again
no            not even the smallest context

There is room to spare where it is enough even if the prediction is as much too low as it may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ondevice.domain.memory import MachineMemory

Fit = Literal["well", "less_context", "tight", "no"]
SPEED = "unknown until profiled"
WORST_ERROR: Final = 0.12
"""So far off, as a share of what is measured, a prediction of private memory may be
(benchmarks/memory.py)."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What the engine's process will hold once `n_ctx` tokens are in its context, in bytes."""

    weights_bytes: int
    """Of the file: pages the system can drop and read again."""
    repacked_bytes: int
    """Some weights once more, or instead, in an order for faster arithmetic; 0 when off."""
    kv_bytes: int
    recurrent_bytes: int
    """States that do not grow with the context, and the copies a conversation keeps."""
    compute_bytes: int
    """What one evaluation of a full batch at a full context writes to."""
    runtime_bytes: int
    """The process itself, its libraries and the vocabulary."""
    n_ctx: int
    kv_type: str
    """How the numbers of the KV cache are stored: `f16`, `q8_0`, `f32`."""

    @property
    def private_bytes(self) -> int:
        """What belongs to the process alone and cannot be dropped."""
        parts = (self.repacked_bytes, self.kv_bytes, self.recurrent_bytes)
        return sum(parts) + self.compute_bytes + self.runtime_bytes

    @property
    def most_private_bytes(self) -> int:
        """The same if the prediction is as much too low as it may be."""
        return round(self.private_bytes / (1 - WORST_ERROR))

    @property
    def pages_bytes(self) -> int:
        """Resident pages of the model file."""
        return self.weights_bytes

    @property
    def total_bytes(self) -> int:
        """Both kinds: what must be free for nothing to be dropped."""
        return self.private_bytes + self.pages_bytes


@dataclass(frozen=True, slots=True)
class MemoryVerdict:
    """A verdict with its numbers. Speed is not part of it: `SPEED`."""

    kind: Fit
    estimate: MemoryEstimate
    """At the wanted context, with the choices the engine would make."""
    machine: MachineMemory
    n_ctx_that_fits: int | None
    """The largest context with room to spare, at most the wanted one; None where there is none."""
    reason: str
    """One line for people, with the numbers that decided."""
