"""The parent's side of the child: an Engine whose work happens in another process.

llama.cpp aborts on bad input, hangs on hostile templates and dies when its file is truncated.
Here each of these is an ordinary, named error, and every wait has a deadline.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ondevice import errors
from ondevice.domain.generation import (
    EngineInfo,
    GenerationDone,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean_line
from ondevice.engines import wire
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.engines.child import Child, FileMark, mark_of

CRASHES_TO_BLOCK = 3
CRASH_WINDOW_S = 60.0
CHARACTERS_PER_S = 200_000
"""Rendering and tokenizing may take this long on top: a seventh of the speed measured."""
FILE_BYTES_PER_S = 30_000_000
"""Loading may take this long on top: one large tensor from a slow disk gives no sign."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Longest silences, in seconds; progress counts as a sign of life."""

    start_s: float = 30.0
    """Until the child runs: a cold disk, a virus scanner."""
    load_s: float = 8.0
    """Between two signs while loading a small file; a large one gets more."""
    prompt_s: float = 10.0
    """Rendering and tokenizing a short prompt; a long one gets more."""
    prefill_s: float = 120.0
    """One batch of 512 tokens: 20 s for a 4B model on two cores."""
    token_s: float = 60.0
    stop_s: float = 2.0
    """After a cancel."""


class EngineProcess:
    """An engine in a child process. One generation at a time; `cancel` from any thread."""

    def __init__(self, engine: str, deadlines: Deadlines | None = None) -> None:
        self._engine = engine
        self._deadlines = deadlines or Deadlines()
        self._child: Child | None = None
        self._swap = threading.Lock()
        """Held while the child is replaced or ended."""
        self._numbers = itertools.count(1)
        self._running: tuple[Child, int] | None = None
        self._run = threading.Lock()
        """Held for a moment, so that a late cancel cannot hit the next generation."""
        self._crashes: dict[FileMark, list[float]] = {}

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        """Start a fresh child and load `file` in it; an older child is ended first."""
        self._refuse_if_blocked(file)
        with self._swap:
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

    def count_tokens(self, prompt: Prompt) -> int:
        """As the protocol says; refused, not delayed, while a generation runs."""
        child = self._alive()
        deadline_s = self._prompt_deadline(prompt)
        wait_s = deadline_s if self._running is None else 0.0
        if not child.turn.acquire(timeout=wait_s):
            raise _busy()
        try:
            child.send(wire.Count(prompt))
            counted = self._expect(child, wire.Counted, deadline_s, "count tokens")
            assert isinstance(counted, wire.Counted)
            return counted.tokens
        finally:
            child.turn.release()

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        child = self._alive()
        if not child.turn.acquire(blocking=False):
            raise _busy()
        number = self._begin(child)
        finished = False
        try:
            child.send(wire.Generate(number, request))
            for event in self._events(child, request.prompt):
                if isinstance(event, GenerationDone):
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
            self._end_child()

    # One generation

    def _begin(self, child: Child) -> int:
        with self._run:
            child.stop_by = math.inf
            number = next(self._numbers)
            self._running = child, number
            return number

    def _finish(self, child: Child) -> None:
        with self._run:
            if self._running is not None and self._running[0] is child:
                self._running = None
        child.turn.release()

    def _events(self, child: Child, prompt: Prompt) -> Iterator[GenerationEvent]:
        waiting, doing = self._prompt_deadline(prompt), "render and tokenize the prompt"
        while True:
            message = self._receive(child, waiting, doing)
            match message:
                case PrefillProgress():
                    waiting, doing = self._deadlines.prefill_s, "read the prompt"
                case TextDelta():
                    waiting, doing = self._deadlines.token_s, "make the next token"
            if not isinstance(message, GenerationEvent):
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
            if message is None or isinstance(message, GenerationDone | wire.Failed):
                return
        self._drop(child, grace_s=0.0)

    def _prompt_deadline(self, prompt: Prompt) -> float:
        return self._deadlines.prompt_s + prompt.characters / CHARACTERS_PER_S

    # The child

    def _load_in(self, child: Child, options: LoadOptions, progress: LoadProgress) -> EngineInfo:
        self._expect(child, wire.Hello, self._deadlines.start_s, "start")
        child.send(wire.Load(child.file, options))
        _, _, size_bytes, _ = child.file_mark
        deadline_s = self._deadlines.load_s + size_bytes / FILE_BYTES_PER_S
        while True:
            message = self._receive(child, deadline_s, "load the model")
            match message:
                case wire.LoadProgress(fraction=fraction):
                    progress(fraction)
                case wire.Loaded(info=info):
                    return info
                case _:
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

    def _expect(self, child: Child, kind: type, deadline_s: float, doing: str) -> wire.WireMessage:
        message = self._receive(child, deadline_s, doing)
        if not isinstance(message, kind):
            raise self._unexpected(child, message)
        return message

    def _gone(self, child: Child, deadline_s: float, doing: str) -> errors.OnDeviceError:
        if child.closing:
            return errors.EngineClosed(
                "the engine was closed meanwhile", hint="Load the model again to go on."
            )
        self._note_crash(child)
        ended, cancelled = child.ended, child.stop_by < math.inf
        self._drop(child, grace_s=0.0)
        if ended:
            return _crashed(child)
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

    # Crashes

    def _note_crash(self, child: Child) -> None:
        self._crashes.setdefault(child.file_mark, []).append(time.monotonic())

    def _refuse_if_blocked(self, file: ModelFile) -> None:
        """A file that was replaced or mended since counts as another one."""
        mark = mark_of(file.path)
        since = time.monotonic() - CRASH_WINDOW_S
        recent = [at for at in self._crashes.pop(mark, ()) if at > since]
        if recent:
            self._crashes[mark] = recent
        if len(recent) >= CRASHES_TO_BLOCK:
            raise errors.ModelBlocked(
                f"{file.name} crashed its engine {len(recent)} times in a minute",
                hint="Wait a minute, use another file, or check this one with `ondevice show`.",
            )


def _busy() -> errors.OnDeviceError:
    return errors.EngineTrouble("the engine is busy", hint="Stop the running answer first.")


def _crashed(child: Child) -> errors.OnDeviceError:
    reason, said = child.exit_reason(), child.last_words()
    if child.file_mark != mark_of(child.file.path):
        message = f"the engine stopped ({reason}): the model file changed while it was loaded"
    else:
        last = clean_line(said.splitlines()[-1]) if said else ""
        message = f"the engine stopped: {reason}" + (f" ({last})" if last else "")
    hint = "Load the model again to go on"
    # also what llama.cpp does where it was compiled wrongly for this processor (see the Makefile)
    faulty = "SIGSEGV" in reason or "SIGILL" in reason
    hint += "; if it stops again, try --repack off." if faulty else "."
    return errors.EngineCrashed(message, hint=hint, log_tail=said)
