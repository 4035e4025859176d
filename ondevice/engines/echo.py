"""An engine without a model: it says what a script tells it to, when, and fails on order.

The script is a JSON file given as the model file; without one (an empty path) it repeats the
last message, a word a token. It never stands in for a model in front of a person: what it says
is not stored and avoids no cost.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from ondevice import errors
from ondevice.domain.generation import (
    EngineInfo,
    EngineNotice,
    FinishReason,
    GenerationDone,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    Part,
    PrefillProgress,
    Prompt,
    PromptTokens,
    TextDelta,
    Timings,
    Usage,
)
from ondevice.domain.model import ModelFile
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.engines.stream import TextStream


@dataclass(frozen=True, slots=True)
class EchoScript:
    """What to say and how to fail."""

    pieces: tuple[str, ...] = ()
    """One a token."""
    raw_bytes: bool = False
    """Each character of a piece is one byte, so that broken UTF-8 can be said."""
    repeat: int = 1
    prefill_steps: int = 1
    prefill_delay_s: float = 0.0
    delay_s: float = 0.0
    """Before each token."""
    fail_at: int | None = None
    """Raise EngineTrouble instead of this token, counted from 0."""
    signal_at: int | None = None
    signal_name: str = "SIGKILL"
    """Sent to the engine's own process instead of token `signal_at`."""
    hang_at: int | None = None
    """Wait forever instead of this token; only killing ends it."""
    notice_at: int | None = None
    """Say that something changed before this token."""
    load_signal: str | None = None
    load_hangs: bool = False
    stderr: str = ""
    """Written to stderr before a failure, as a native library would."""
    stdout: str = ""
    """Written to file descriptor 1 before each token, as a native library would."""


class EchoEngine:
    """Keeps the engine contract exactly, without a model."""

    def __init__(self) -> None:
        self._script: EchoScript | None = None
        self._n_ctx = 0
        self._cancelled = threading.Event()

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        script = EchoScript()
        if file.path.name:
            try:
                script = msgspec.json.decode(file.path.read_bytes(), type=EchoScript)
            except (OSError, msgspec.MsgspecError) as error:
                raise errors.ModelLoadFailed(f"no usable echo script: {error}") from error
        if script.load_signal:
            self._die(script, script.load_signal)
        if script.load_hangs:
            _hang()
        self._script = script
        self._n_ctx = options.n_ctx or 4096
        return EngineInfo(
            engine="echo",
            backend="none",
            build="echo",
            model_paths=(str(file.path),),
            n_ctx=self._n_ctx,
            n_ctx_train=0,
            threads=1,
            threads_fixed=True,
            flash_attention=False,
            repacked=False,
            has_template=True,
            pid=os.getpid(),
            kv_type=options.kv_type or "f16",
        )

    def count_tokens(self, prompt: Prompt) -> PromptTokens:
        """Words: of the last message, of every system message, of every attached text."""
        pieces = [piece for message in prompt.messages for piece in message.pieces]

        def words(wanted: Part) -> int:
            return sum(len(text.split()) for part, text in pieces if part == wanted)

        history = len(self._words(prompt)) or len(prompt.tokens)
        return PromptTokens(words("system"), history, words("attached"))

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        script, start = self._loaded(), time.monotonic()
        self._cancelled.clear()
        prompt_tokens = self.count_tokens(request.prompt).total
        if prompt_tokens >= self._n_ctx:
            raise errors.ContextOverflow(
                f"the prompt has {prompt_tokens} tokens; the context holds {self._n_ctx}"
            )
        read = yield from self._prefill(script, prompt_tokens, start)
        prefill_s = time.monotonic() - start
        stream = TextStream(request.stop)
        first = last = time.monotonic()
        made = 0
        finish: FinishReason = "stop"
        for piece in self._pieces(script, request):
            if made >= request.max_tokens:
                finish = "length"
                break
            self._cancelled.wait(script.delay_s)
            if self._cancelled.is_set():
                finish = "cancelled"
                break
            self._misbehave(script, made)
            if made == script.notice_at:
                yield EngineNotice("echo", "something changed")
            made, last = made + 1, time.monotonic()
            first = last if made == 1 else first
            text = stream.feed(piece)
            if text:
                yield TextDelta(text, made, last - first, prompt_tokens + made, first - start)
            if stream.stopped:
                break
        if rest := stream.finish(cut=finish != "stop"):
            yield TextDelta(rest, made, last - first, prompt_tokens + made, first - start)
        yield self._done(finish, read, made, start, first, last, prefill_s)

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        self._script = None

    def _loaded(self) -> EchoScript:
        if self._script is None:
            raise errors.EngineClosed("no script is loaded")
        return self._script

    def _done(
        self,
        finish: FinishReason,
        read: int,
        made: int,
        start: float,
        first: float,
        last: float,
        prefill_s: float,
    ) -> GenerationDone:
        timings = Timings(first - start if made else None, prefill_s, last - first)
        return GenerationDone(finish, Usage(read, 0, made), timings, 1, self._n_ctx)

    def _prefill(
        self, script: EchoScript, total: int, start: float
    ) -> Generator[PrefillProgress, None, int]:
        """How many tokens were read."""
        done = 0
        for step in range(script.prefill_steps + 1):
            done = total * step // script.prefill_steps
            yield PrefillProgress(done, total, 0, time.monotonic() - start)
            if step < script.prefill_steps:
                self._cancelled.wait(script.prefill_delay_s)
            if self._cancelled.is_set():
                return done
        return done

    def _pieces(self, script: EchoScript, request: GenerationRequest) -> Iterator[bytes]:
        if not script.pieces:
            for word in self._words(request.prompt):
                yield word.encode()
            return
        for _ in range(script.repeat):
            for piece in script.pieces:
                yield piece.encode("latin-1") if script.raw_bytes else piece.encode()

    def _misbehave(self, script: EchoScript, token: int) -> None:
        if script.stdout:
            os.write(1, script.stdout.encode())
        if token == script.hang_at:
            _hang()
        if token == script.signal_at:
            self._die(script, script.signal_name)
        if token == script.fail_at:
            print(script.stderr, file=sys.stderr, flush=True)
            raise errors.EngineTrouble("the script asked for a failure")

    @staticmethod
    def _die(script: EchoScript, name: str) -> None:
        print(script.stderr, file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.Signals[name])

    @staticmethod
    def _words(prompt: Prompt) -> list[str]:
        text = prompt.text if prompt.text is not None else ""
        if prompt.messages:
            text = prompt.messages[-1].content
        words = text.split(" ")
        return [word + " " for word in words[:-1]] + words[-1:] if text else []


def _hang() -> NoReturn:
    """Only killing ends it, as was asked for."""
    while True:
        threading.Event().wait()
