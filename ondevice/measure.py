"""One generation with its numbers: generate, meter, price.

Chat, benchmarks and demos stand on this; only what is above it knows what the numbers are for.
"""

from __future__ import annotations

from collections.abc import Iterator

from ondevice.domain.cost import Price
from ondevice.domain.electricity import Power
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
    engine: Engine,
    info: EngineInfo,
    request: GenerationRequest,
    price: Price | None,
    random_weights: bool = False,
    power: Power | None = None,
) -> Iterator[MeasureEvent]:
    """Pass the engine's events on, then yield one Measured.

    `info` is what loading returned; `random_weights` is the file's; `power` is what the user
    states about the machine. Raises what the engine raises; closing the iterator cancels.
    """
    text: list[str] = []
    notices: list[EngineNotice] = []
    with PeakMemory(info.pid, info.model_paths) as memory:
        for event in engine.generate(request):
            yield event
            if isinstance(event, EngineNotice):
                notices.append(event)
            elif isinstance(event, GenerationDone):
                measured = Measured(
                    "".join(text), event, memory.use(), None, tuple(notices), random_weights
                )
                yield measured.priced(price, power)
            else:
                text.append(getattr(event, "text", ""))
