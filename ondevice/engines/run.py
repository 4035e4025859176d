"""One generation while it goes on: its numbers, and the loop that every token goes through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ondevice.domain.generation import (
    EngineNotice,
    FinishReason,
    GenerationDone,
    GenerationRequest,
    TextDelta,
    Timings,
    Usage,
)
from ondevice.engines.stream import TextStream

LONGEST_SILENCE_S = 1.0


@dataclass
class Run:
    """What was sampled, when, and why it ended."""

    request: GenerationRequest
    prompt_tokens: int
    cached: int
    start: float
    room: int | None
    """Tokens that still fit the context; None where nothing bounds them."""
    finish: FinishReason | None = None
    prefill_s: float | None = None
    unread: int = 0
    """Tokens of the prompt that were not evaluated, as it was stopped."""
    ids: list[int] = field(default_factory=list)
    _first: float = 0.0
    _last: float = 0.0
    _told: float = 0.0
    _text: list[str] = field(default_factory=list)
    _bytes: int = 0
    """What the ids read. The text is shorter while some is held back, and where it is cut."""
    _all_read: bool = True
    """Whether every id has a text."""
    _ended: bool = False

    def __post_init__(self) -> None:
        if self.request.max_tokens < 1:  # to read the prompt is all that is asked for
            self.finish = "length"

    def sampled(self, token: int) -> None:
        """One more id is known."""
        self._last = time.monotonic()
        if not self.ids:
            self._first = self._told = self._last
        self.ids.append(token)

    def judge(self, ended: bool, stopped: bool, piece: bytes) -> None:
        """Decide whether the token that was just sampled is the last one."""
        self._ended = ended and not self.request.ignore_eos
        self._bytes += len(piece)
        self._all_read = self._all_read and bool(piece or self._ended)
        if self._ended or stopped:
            self.finish = "stop"
        elif len(self.ids) >= self.request.max_tokens:
            self.finish = "length"
        elif self.room is not None and len(self.ids) >= self.room:
            self.finish = "context_full"

    @property
    def silent(self) -> bool:
        """Whether tokens without text went on so long that a sign of life is due."""
        return self._last - self._told >= LONGEST_SILENCE_S

    def delta(self, text: str) -> TextDelta:
        """`text` and the count so far."""
        self._text.append(text)
        self._told = self._last
        made, ttft_s = len(self.ids), self._first - self.start
        decode_s = self._last - self._first
        return TextDelta(text, made, decode_s, self.prompt_tokens + made, ttft_s)

    def reply_ids(self) -> list[int]:
        """The ids that are text: the end token is the template's to write."""
        return self.ids[:-1] if self._ended else self.ids

    def reply_text(self) -> str | None:
        """The text of `reply_ids`, where it is certain to be their very text."""
        text = "".join(self._text)
        exact = self._all_read and len(text.encode()) == self._bytes and "\ufffd" not in text
        return text if exact else None

    def done(self, threads: int, n_ctx: int) -> GenerationDone:
        """The last event."""
        made = len(self.ids)
        timings = Timings(
            ttft_s=self._first - self.start if made else None,
            prefill_s=self.prefill_s,
            decode_s=self._last - self._first if made else None,
        )
        usage = Usage(self.prompt_tokens - self.unread, self.cached, made)
        ids = tuple(self.ids)
        return GenerationDone(self.finish or "stop", usage, timings, threads, n_ctx, ids)


class Tokens(Protocol):
    """What is asked of a loaded model here."""

    def piece(self, token: int, /) -> bytes:
        """The bytes of one token; control tokens are empty."""
        ...

    def is_end(self, token: int, /) -> bool:
        """Whether the model says with it that it is done."""
        ...


def decode(
    run: Run,
    tokens: Tokens,
    sample: Callable[[], int],
    evaluate: Callable[[int], bool],
    told: Callable[[], Iterable[EngineNotice]] = tuple,
) -> Iterator[TextDelta | EngineNotice]:
    """Tokens until one is the last, as text; `told` is asked after each.

    `sample` takes the next one from the logits; `evaluate` makes those after it, False where it was
    stopped.
    """
    stream = TextStream(run.request.stop)
    while True:
        token = sample()
        run.sampled(token)
        ended = tokens.is_end(token)
        piece = b"" if ended else tokens.piece(token)
        text = stream.feed(piece)
        if text or run.silent:
            yield run.delta(text)
        run.judge(ended, stream.stopped, piece)
        if run.finish:
            break
        if not evaluate(token):
            run.finish = "cancelled"
            break
        yield from told()
    if text := stream.finish(cut=run.finish in ("cancelled", "length", "context_full")):
        yield run.delta(text)
