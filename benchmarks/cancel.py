"""Seconds from cancel to ready, at random moments of prefill and decode.

Ready means that the cancelled generation has ended, so that the engine takes the next request.
The starter, and a model of 3.8 billion parameters (random weights of the shape of Phi-3-mini).
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from contextlib import closing
from pathlib import Path

from common import conditions, pair_count, starter

from ondevice.domain.generation import (
    GREEDY,
    GenerationDone,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.engines import registry
from ondevice.engines.base import Engine
from ondevice.gguf.shapes import temporary_shape

BAR_S = 1.0
LATEST_S = 2.0
"""A cancel comes at any moment up to here; prompt and answer take longer than that."""
PROMPT_TOKENS = 2000


def cancelled(engine: Engine, request: GenerationRequest, after_s: float, phase: str) -> float:
    """Seconds from the cancel, `after_s` after `phase` began, to the end."""
    at: list[float] = []

    def cancel() -> None:
        at.append(time.perf_counter())
        engine.cancel()

    timer = threading.Timer(after_s, cancel)
    for event in engine.generate(request):
        begun = isinstance(event, PrefillProgress if phase == "prefill" else TextDelta)
        if begun and not (timer.is_alive() or at):
            timer.start()
        if isinstance(event, GenerationDone):
            ended = time.perf_counter()
            assert event.finish_reason == "cancelled"
            assert (event.usage.completion_tokens == 0) == (phase == "prefill")
    return ended - at[0]


def prompt(draw: random.Random, tokens: int) -> Prompt:
    """Tokens that share no prefix with others, so that nothing is reused."""
    return Prompt(tokens=tuple(draw.randrange(300, 30_000) for _ in range(tokens)))


def report(name: str, path: Path, count: int) -> None:
    """Cancel `count` times in prefill and in decode."""
    draw = random.Random(1)
    with closing(registry.in_child("llama.cpp")) as engine:
        engine.load(ModelFile(path, "llama.cpp", name), LoadOptions(n_ctx=4096))
        for phase, tokens in (("prefill", PROMPT_TOKENS), ("decode", 8)):
            took = []
            for _ in range(count):
                request = GenerationRequest(prompt(draw, tokens), GREEDY, 2000, ignore_eos=True)
                took.append(cancelled(engine, request, draw.uniform(0, LATEST_S), phase))
            verdict = "holds" if max(took) <= BAR_S else "FALLS SHORT"
            middle, worst = statistics.median(took), max(took)
            print(
                f"{name:<12} {phase:<8} median {middle:.3f} s, worst {worst:.3f} s of {count}"
                f"  bar {BAR_S:g}: {verdict}",
                flush=True,
            )


def main() -> None:
    """Both models."""
    conditions()
    report("starter", starter(), pair_count(50))
    with temporary_shape("phi-3-mini", "Q4_0") as path:
        report("phi-3-mini", path, pair_count(20))


if __name__ == "__main__":
    main()
