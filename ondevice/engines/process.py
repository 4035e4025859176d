"""The parent's side of the child: an Engine whose work happens in another process.

llama.cpp aborts on bad input, hangs on hostile templates and dies when its file is truncated.
Here each of these is an ordinary, named error, and every wait has a deadline.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ondevice import errors
from ondevice.domain.generation import (
    EngineInfo,
    GenerationDone,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    PromptTokens,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import PromptIds, ScoreEvent, ScoreRequest, ScoringDone
from ondevice.engines import statefile, wire
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.engines.child import Child, mark_of
from ondevice.engines.crashes import Crashes, crashed
from ondevice.engines.deadlines import FILE_BYTES_PER_S, Deadlines

__all__ = ["Deadlines", "EngineProcess"]
Answer = TypeVar("Answer")
Event = TypeVar("Event")
LAST = (GenerationDone, ScoringDone)
"""What ends a generation or a scoring that did not raise."""


class EngineProcess:
    """An engine in a child process. One generation at a time; `cancel` from any thread."""

    def __init__(self, engine: str, deadlines: Deadlines | None = None) -> None:
        self._engine = engine
        self._deadlines = deadlines or Deadlines()
        self._child: Child | None = None
        self._swap = threading.Lock()
        """Held while the child is replaced or ended."""
        self._closed = False
        self._numbers = itertools.count(1)
        self._running: tuple[Child, int] | None = None
        self._run = threading.Lock()
        """Held for a moment, so that a late cancel cannot hit the next generation."""
        self._crashes = Crashes()

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        """Start a fresh child, unless `close` came first, and load `file` in it."""
        self._crashes.refuse_if_blocked(file)
        with self._swap:
            if self._closed:
                raise errors.EngineClosed("the engine was closed meanwhile")
            self._end_child()
            started = time.monotonic()
            child = self._child = Child(self._engine, file)
        with child.turn:
            try:
                info = self._load_in(child, options, progress)
            except BaseException:  # whatever it was, a half-loaded child is of no use
                self._drop(child, grace_s=0.5)
                raise
        return replace(info, load_s=time.monotonic() - started)

    def count_tokens(self, prompt: Prompt) -> PromptTokens:
        """As the protocol says; refused, not delayed, while a generation runs."""
        deadline_s = self._deadlines.for_prompt(prompt)
        return self._ask(wire.Count(prompt), wire.Counted, deadline_s, "count tokens").tokens

    def tokenize(self, prompt: Prompt) -> PromptIds:
        """As `base.Scores` says; refused while a generation runs."""
        deadline_s = self._deadlines.for_prompt(prompt)
        return self._ask(wire.Tokenize(prompt), wire.Tokenized, deadline_s, "tokenize").ids

    def state_bytes(self) -> int:
        """As `base.Snapshots` says; refused, like the next two, while a generation runs."""
        limit_s = self._deadlines.prompt_s
        return self._ask(wire.MeasureState(), wire.StateSize, limit_s, "measure").size_bytes

    def save_state(self, path: Path, model_sha256: str) -> int:
        message = wire.SaveState(path, model_sha256)
        try:
            limit_s = self._deadlines.save_s + self.state_bytes() / FILE_BYTES_PER_S
            return self._ask(message, wire.StateSize, limit_s, "save its state").size_bytes
        except errors.OnDeviceError:
            statefile.remove_part(path)  # a process that ends leaves it
            raise

    def restore_state(self, path: Path, model_sha256: str) -> int:
        message = wire.RestoreState(path, model_sha256)
        # beside the state, a fresh process reads all of the weights for the first time
        limit_s = self._deadlines.for_file(mark_of(path)[2] + self._alive().size_bytes)
        return self._ask(message, wire.StateRestored, limit_s, "restore its state").tokens

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        return self._work(
            lambda n: wire.Generate(n, request), lambda child: self._generated(child, request)
        )

    def score(self, request: ScoreRequest) -> Iterator[ScoreEvent]:
        return self._work(lambda number: wire.Score(number, request), self._scored)

    def _work(
        self, ask: Callable[[int], wire.WireMessage], answers: Callable[[Child], Iterator[Event]]
    ) -> Iterator[Event]:
        """Send what `ask` makes of a number; what comes until the last event of it."""
        child = self._alive()
        if not child.turn.acquire(blocking=False):
            raise _busy()
        number = self._begin(child)
        finished = False
        try:
            child.send(ask(number))
            for event in answers(child):
                if isinstance(event, LAST):
                    finished = True
                    break
                yield event
        except errors.OnDeviceError:
            finished = True
            raise
        finally:
            if not finished:
                self._abandon(child, number)
            self._finish(child)
        yield event  # only now: whoever looks no further has left the engine free

    def cancel(self) -> None:
        with self._run:
            if self._running is not None:
                child, number = self._running
                child.send(wire.Cancel(number))
                child.expect_stop(self._deadlines.stop_s)

    def close(self) -> None:
        with self._swap:
            self._closed = True
            self._end_child()

    # One generation, or one scoring

    def _begin(self, child: Child) -> int:
        with self._run:
            child.stop_by = math.inf
            self._running = child, next(self._numbers)
            return self._running[1]

    def _finish(self, child: Child) -> None:
        with self._run:
            if self._running is not None and self._running[0] is child:
                self._running = None
            child.stop_by = math.inf  # it has stopped; the next question is another one
        child.turn.release()

    def _generated(self, child: Child, request: GenerationRequest) -> Iterator[GenerationEvent]:
        waiting = self._deadlines.for_prompt(request.prompt)
        doing = "render and tokenize the prompt"
        doing += ", and read the schema" if request.schema is not None else ""
        while True:
            message = self._receive(child, waiting, doing)
            match message:
                case PrefillProgress():
                    waiting, doing = self._deadlines.for_batch(child.size_bytes), "read the prompt"
                case TextDelta():
                    waiting, doing = self._deadlines.token_s, "make the next token"
            if not isinstance(message, GenerationEvent):
                raise self._unexpected(child, message)
            yield message

    def _scored(self, child: Child) -> Iterator[ScoreEvent]:
        deadline_s = self._deadlines.for_batch(child.size_bytes)
        while True:
            message = self._receive(child, deadline_s, "read the tokens")
            if not isinstance(message, ScoreEvent):
                raise self._unexpected(child, message)
            yield message

    def _abandon(self, child: Child, number: int) -> None:
        """The caller looks no more: stop it, and read to its end."""
        child.send(wire.Cancel(number))
        until = time.monotonic() + self._deadlines.stop_s
        while (left := until - time.monotonic()) > 0:
            message = child.receive(left)
            if message is None and not child.ended:
                break
            if message is None or isinstance(message, (*LAST, wire.Failed)):
                return
        self._drop(child, grace_s=0.0)

    # The child

    def _load_in(self, child: Child, options: LoadOptions, progress: LoadProgress) -> EngineInfo:
        self._expect(child, wire.Hello, self._deadlines.start_s, "start")
        child.send(wire.Load(child.file, options))
        deadline_s = self._deadlines.for_file(child.size_bytes)
        while True:
            match self._receive(child, deadline_s, "load the model"):
                case wire.LoadProgress(fraction=fraction):
                    progress(fraction)
                case wire.Loaded(info=info):
                    child.on_device = bool(info.offload and info.offload.layers)
                    return info
                case message:
                    raise self._unexpected(child, message)

    def _alive(self) -> Child:
        child = self._child
        if child is None:
            raise errors.EngineClosed("no model is loaded", hint="Load one first.")
        return child

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end(self._deadlines.stop_s)
        self._child = None

    def _drop(self, child: Child, grace_s: float) -> None:
        """End `child`; a newer one stays."""
        with self._swap:
            if self._child is child:
                self._child = None
        child.end(grace_s)

    # Waiting

    def _receive(self, child: Child, deadline_s: float, doing: str) -> wire.WireMessage:
        """The next message. A failure the child reports is raised; so are silence and death."""
        message = child.receive(deadline_s)
        if message is None:
            raise self._gone(child, deadline_s, doing)
        if isinstance(message, wire.Failed):
            raise errors.by_name(message.error)(message.message, message.hint)
        return message

    def _expect(self, child: Child, kind: type[Answer], deadline_s: float, doing: str) -> Answer:
        message = self._receive(child, deadline_s, doing)
        if not isinstance(message, kind):
            raise self._unexpected(child, message)
        return message

    def _ask(
        self, message: wire.WireMessage, kind: type[Answer], deadline_s: float, doing: str
    ) -> Answer:
        """One question, one answer, while no generation runs."""
        child = self._alive()
        if not child.turn.acquire(timeout=deadline_s if self._running is None else 0.0):
            raise _busy()
        try:
            child.send(message)
            return self._expect(child, kind, deadline_s, doing)
        except BaseException as error:
            if not isinstance(error, errors.OnDeviceError):  # a Ctrl-C: the answer still comes
                self._drop(child, grace_s=0.0)
            raise
        finally:
            child.turn.release()

    def _gone(self, child: Child, deadline_s: float, doing: str) -> errors.OnDeviceError:
        if child.closing:
            return errors.EngineClosed(
                "the engine was closed meanwhile", hint="Load the model again to go on."
            )
        self._crashes.note(child.file_mark)
        ended, cancelled = child.ended, child.stop_by < math.inf
        self._drop(child, grace_s=0.0)
        if ended:
            return crashed(child)
        if cancelled:
            deadline_s, doing = self._deadlines.stop_s, "stop"
        return errors.EngineTimedOut(
            f"the engine did not {doing} within {deadline_s:.3g} s and was ended",
            hint="Load the model again; a damaged file or a hostile template can cause this.",
        )

    def _unexpected(self, child: Child, message: object) -> errors.OnDeviceError:
        self._drop(child, grace_s=0.0)
        return errors.EngineCrashed(
            f"the engine answered out of turn ({type(message).__name__}) and was ended",
            hint="Load the model again to go on.",
            log_tail=child.last_words(),
        )


def _busy() -> errors.OnDeviceError:
    return errors.EngineTrouble("the engine is busy", hint="Stop the running answer first.")
