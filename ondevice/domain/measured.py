"""What is known about a generation once it is over."""

from __future__ import annotations

from dataclasses import dataclass

from ondevice.domain.cost import CostAvoided
from ondevice.domain.generation import EngineNotice, GenerationDone
from ondevice.domain.memory import MemoryUse


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything known about one finished generation."""

    text: str
    done: GenerationDone
    memory: MemoryUse
    cost: CostAvoided | None
    """None where no price applies: random weights, the echo engine."""
    notices: tuple[EngineNotice, ...]
