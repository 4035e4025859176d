"""One generation with its numbers: generate, meter, price.

Chat, benchmarks and demos stand on this; only what is above it knows what the numbers are for.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from ondevice.domain.cost import CostAvoided, Price, cost_avoided
from ondevice.domain.generation import (
    EngineInfo,
    EngineNotice,
    GenerationDone,
    GenerationEvent,
    GenerationRequest,
)
from ondevice.domain.measured import Measured
from ondevice.engines.base import Engine
from ondevice.hardware.sampler import PeakMemory

MeasureEvent = GenerationEvent | Measured


def measure(
    engine: Engine, info: EngineInfo, request: GenerationRequest, price: Price | None
) -> Iterator[MeasureEvent]:
    """Pass the engine's events on, then yield one Measured.

    `info` is what loading returned. Raises what the engine raises; closing the iterator cancels.
    """
    text: list[str] = []
    notices: list[EngineNotice] = []
    with PeakMemory(info.pid, info.model_path) as memory:
        for event in engine.generate(request):
            yield event
            if isinstance(event, EngineNotice):
                notices.append(event)
            elif isinstance(event, GenerationDone):
                answer = "".join(text)
                cost = _cost(event, answer, price) if price else None
                yield Measured(answer, event, memory.use(), cost, tuple(notices))
            else:
                text.append(getattr(event, "text", ""))


def _cost(done: GenerationDone, answer: str, price: Price) -> CostAvoided:
    """An end token alone is no reply, and neither is blank text: nothing is avoided by them."""
    if done.finish_reason == "failed" or not answer.strip():
        return CostAvoided(price, Decimal(0), 0)
    return cost_avoided(done.usage, price)
