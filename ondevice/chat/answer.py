"""The growing answer: its row is brought up to date as it is made, whatever ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ondevice.domain.cost import Price
from ondevice.domain.electricity import Power
from ondevice.domain.generation import (
    EngineInfo,
    EngineNotice,
    FinishReason,
    GenerationDone,
    GenerationRequest,
    PrefillProgress,
    Sampling,
    TextDelta,
    Timings,
    Usage,
)
from ondevice.domain.measured import Measured
from ondevice.domain.memory import MemoryUse
from ondevice.domain.model import ModelFile
from ondevice.domain.session import MessageState, StoredMessage
from ondevice.engines.base import Engine
from ondevice.errors import (
    ContextOverflow,
    NotLoaded,
    SchemaRefused,
    StorageTrouble,
    TemplateFailed,
)
from ondevice.measure import MeasureEvent, measure
from ondevice.storage.sessions import Sessions

SAVE_EVERY_S = 1.0
REFUSED = (ContextOverflow, TemplateFailed, SchemaRefused, NotLoaded)
"""With one of these an engine has taken nothing of what it was asked."""


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """What answers, how, and what that is compared with."""

    engine: Engine
    info: EngineInfo
    file: ModelFile
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 1024
    price: Callable[[], Price | None] = lambda: None
    """Asked when the answer ends: the first prices may be found while it is made."""
    power: Power | None = None
    schema: str | None = None
    """Text of a JSON schema that the answer keeps to."""
    folder: Path = Path()
    """Where the files are that a question names."""
    prepare: Callable[[], Sequence[EngineNotice]] = tuple
    """Called when the question is safe, before the engine is asked."""


class Answer:
    """The growing answer and its row."""

    def __init__(
        self, sessions: Sessions | None, question: StoredMessage, options: TurnOptions
    ) -> None:
        """Begin one to `question`; `sessions=None` keeps it in memory."""
        self.ending: FinishReason = "cancelled"
        """Until its engine, or an error, says otherwise."""
        self._options = options
        self._pieces: list[str] = []
        self._measured: Measured | None = None
        self._progress: PrefillProgress | None = None
        self._delta: TextDelta | None = None
        self._saved = time.monotonic()
        self._said = False
        self._trouble: list[EngineNotice] = []
        self._sessions: Sessions | None = None
        self._growing: Sessions | None = None
        """Where parts are saved; None after the first that was refused."""
        session_id, model = question.session_id, options.file.name
        self._message = StoredMessage(0, session_id, "assistant", "", "streaming", model)
        if sessions is not None:
            try:
                self._message = sessions.add(
                    session_id, "assistant", "", "streaming", model, question.id
                )
                self._sessions = self._growing = sessions
            except StorageTrouble as error:
                self._note_trouble(error)

    def measured(self, request: GenerationRequest) -> Iterator[MeasureEvent]:
        """Make it: the events of `measure`."""
        options = self._options
        noise = options.file.random_weights
        for event in measure(options.engine, options.info, request, None, noise):
            yield self._priced(event) if isinstance(event, Measured) else event

    def note(self, event: MeasureEvent) -> Sequence[EngineNotice]:
        """Account for one event; the row is brought up to date now and then."""
        match event:
            case Measured():
                self._measured, self.ending = event, event.done.finish_reason
            case PrefillProgress():
                self._progress = event
            case TextDelta():
                self._delta = event
                self._pieces.append(event.text)
                self._save_part()
        return self.notices()

    def notices(self) -> Sequence[EngineNotice]:
        """Trouble with storing, said once."""
        trouble, self._trouble = self._trouble, []
        return trouble

    def close(self) -> StoredMessage:
        """The answer as it stands, with its numbers; interrupted unless it ended by itself.

        Its id is 0 where it has no row.
        """
        text = "".join(self._pieces)
        halted = self.ending in ("cancelled", "failed")
        state: MessageState = "interrupted" if halted else "complete"
        measured, counted = self._measured or self._seen(text), self._options.file.counts
        if self._sessions is not None:  # tried also when a part was refused: that may have passed
            try:
                return self._sessions.finish(
                    self._message, text, state, self.ending, measured, counted
                )
            except StorageTrouble as error:
                self._note_trouble(error)
        return _in_memory(self._message, text, state, self.ending, measured)

    def _seen(self, text: str) -> Measured | None:
        """The numbers of an answer whose engine could not say them, as far as they were told."""
        delta, options = self._delta, self._options
        if delta is None:
            return None
        usage = Usage(
            prompt_tokens=delta.context_tokens - delta.completion_tokens,
            cached_tokens=self._progress.cached_tokens if self._progress else 0,
            completion_tokens=delta.completion_tokens,
        )
        timings = Timings(delta.ttft_s, None, delta.decode_s)
        info = options.info
        done = GenerationDone(self.ending, usage, timings, info.threads, info.n_ctx)
        memory = MemoryUse(None, None, None)
        seen = Measured(text, done, memory, None, (), options.file.random_weights)
        return self._priced(seen)

    def _priced(self, measured: Measured) -> Measured:
        return measured.priced(self._options.price(), self._options.power)

    def _save_part(self) -> None:
        now = time.monotonic()
        if self._growing is None or now - self._saved < SAVE_EVERY_S:
            return
        self._saved = now
        try:
            self._growing.save_part(self._message.id, "".join(self._pieces))
        except StorageTrouble as error:
            self._growing = None  # not again: a refusal can take seconds, and text is waiting
            self._note_trouble(error)

    def _note_trouble(self, error: StorageTrouble) -> None:
        if not self._said:
            self._trouble.append(unsaved(error))
        self._said = True


def unsaved(error: StorageTrouble) -> EngineNotice:
    """What a person is told when something was not stored."""
    return EngineNotice("storage", f"this conversation is not being saved: {error.message}")


def _in_memory(
    message: StoredMessage,
    text: str,
    state: MessageState,
    ending: FinishReason,
    measured: Measured | None,
) -> StoredMessage:
    """The answer with the numbers that storing it would have given it."""
    ended = replace(message, content=text, state=state, finish_reason=ending)
    if measured is None:
        return ended
    done = measured.done
    return replace(
        ended,
        prompt_tokens=done.usage.prompt_tokens,
        cached_tokens=done.usage.cached_tokens,
        completion_tokens=done.usage.completion_tokens,
        ttft_s=done.timings.ttft_s,
        decode_tok_per_s=done.decode_tok_per_s,
    )
