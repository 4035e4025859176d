"""The contract every engine keeps.

    engine = registry.in_child("llama.cpp")
    engine.load(file, LoadOptions(n_ctx=2048))
    for event in engine.generate(GenerationRequest(Prompt.chat("Hello"))):
        match event:
            case TextDelta(text=text): print(text, end="", flush=True)
    engine.close()

An engine serves one generation at a time. All numbers it reports are its own: exact token
counts and a monotonic clock next to the computation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from ondevice.domain.generation import (
    EngineInfo,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    Prompt,
)
from ondevice.domain.model import ModelFile

LoadProgress = Callable[[float], None]


def no_progress(fraction: float) -> None:
    """Nobody looks."""


class Engine(Protocol):
    """Loads one model at a time and generates with it."""

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        """Make `file` ready. `progress` gets fractions of 1, from the thread that loads.

        Raises ModelLoadFailed, UnsupportedModel or another EngineTrouble.
        """
        ...

    def count_tokens(self, prompt: Prompt) -> int:
        """Tokens of the rendered prompt, special ones included."""
        ...

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        """Yield PrefillProgress, TextDelta and EngineNotice events, then one GenerationDone.

        Raises ContextOverflow or TemplateFailed before the first event, EngineTrouble at any
        time. Closing the iterator early cancels.
        """
        ...

    def cancel(self) -> None:
        """Stop the current generation; safe from any thread, also during prefill."""
        ...

    def close(self) -> None:
        """Free everything; safe to call twice."""
        ...
