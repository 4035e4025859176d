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
from pathlib import Path
from typing import Protocol, runtime_checkable

from ondevice.domain.generation import (
    EngineInfo,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    Prompt,
    PromptTokens,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import PromptIds, ScoreEvent, ScoreRequest

SMALLER_CONTEXT = "Choose a smaller context: the setting `context`, or -c of `run` and `chat`."
"""The hint where there is no room for a context; whoever reads it may be in the app, too."""
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

    def count_tokens(self, prompt: Prompt) -> PromptTokens:
        """Tokens of the rendered prompt by part, special ones included."""
        ...

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        """Yield PrefillProgress, TextDelta and EngineNotice events, then one GenerationDone.

        Raises ContextOverflow, TemplateFailed or SchemaRefused before the first event,
        EngineTrouble at any time. Closing the iterator early cancels.
        """
        ...

    def cancel(self) -> None:
        """Stop the current generation; safe from any thread, also during prefill."""
        ...

    def close(self) -> None:
        """Free everything; safe to call twice."""
        ...


@runtime_checkable
class Snapshots(Protocol):
    """What an engine with the capability `snapshots` can do beside: its state to and from a file.

    The state is that of the kept prefix: whoever restores it evaluates only what is new.
    """

    def state_bytes(self) -> int:
        """Size of the file that `save_state` would write now; 0 where nothing is held."""
        ...

    def save_state(self, path: Path, model_sha256: str) -> int:
        """Write the state, private, whole or not at all; the bytes written, 0 for none.

        `model_sha256` is the hash of the loaded model file. Raises StateNotSaved.
        """
        ...

    def restore_state(self, path: Path, model_sha256: str) -> int:
        """Take up a state that this build wrote for this model and these settings.

        Returns the tokens that are held then. Raises StateRefused with the reason; nothing of
        such a file reaches the engine, and it goes on as if there were none.
        """
        ...


@runtime_checkable
class Scores(Protocol):
    """What an engine with the capability `scores` can do beside: how probable it finds tokens."""

    def tokenize(self, prompt: Prompt) -> PromptIds:
        """The ids of `prompt`; a text may be longer than the context.

        Raises TemplateFailed or EngineTrouble.
        """
        ...

    def score(self, request: ScoreRequest) -> Iterator[ScoreEvent]:
        """Yield TokenScores for each step that was read, then one ScoringDone.

        What was kept of earlier prompts is forgotten. `cancel` stops it, as closing the iterator
        does. Raises ContextOverflow before the first event, EngineTrouble at any time.
        """
        ...
