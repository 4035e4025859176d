"""The child: one engine in a process of its own, obeying the wire.

    python -m ondevice.engines.worker ENGINE PARENT_PID

fd 1 becomes the wire under a new number, and both 1 and 2 then point at the captured stderr
pipe, because native libraries print. A reader thread obeys Cancel while the main thread
computes, and ends the process when the parent is gone.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from ondevice import errors
from ondevice.domain.generation import GenerationEvent, TextDelta
from ondevice.domain.scoring import ScoreEvent
from ondevice.engines import registry, wire
from ondevice.engines.base import Engine, Scores, Snapshots
from ondevice.hardware import system

SHOWN_S = 0.1
"""Text that is shown is written this often, as it is painted: each write wakes the parent, which
takes a core from decoding."""
UNSEEN_S = 1.0
LATE_S = 0.1
"""Shown text that no next token pushes out waits little longer than this: a thread that looked more
often would itself take time from decoding."""


class WireWriter:
    """Writes messages; text deltas are merged between flushes."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._text: list[str] = []
        self._latest: TextDelta | None = None
        self._flushed = 0.0
        self.text_shown = True
        """As the request says."""
        self._held = threading.Event()
        threading.Thread(target=self._flush_late, name="flush", daemon=True).start()

    def post(self, message: wire.WireMessage) -> None:
        """Write `message`, or keep it for a moment if it is text."""
        with self._lock:
            if not isinstance(message, TextDelta):
                self._write(self._take_text() + wire.encode(message))
                return
            self._text.append(message.text)
            self._latest = message
            if time.monotonic() - self._flushed >= (SHOWN_S if self.text_shown else UNSEEN_S):
                self._write(self._take_text())
            elif self.text_shown:
                self._held.set()

    def _flush_late(self) -> None:
        """Write what was kept when nothing came after it: a slow token, or a crash to come."""
        while self._held.wait():
            time.sleep(LATE_S)
            with self._lock:
                if time.monotonic() - self._flushed >= SHOWN_S and self._latest:
                    self._write(self._take_text())
                if not self._latest:
                    self._held.clear()

    def _take_text(self) -> bytes:
        if self._latest is None:
            return b""
        merged = replace(self._latest, text="".join(self._text))
        self._text, self._latest = [], None
        return wire.encode(merged)

    def _write(self, data: bytes) -> None:
        self._flushed = time.monotonic()
        self._out.write(data)
        self._out.flush()


class Worker:
    """Serves one engine until the parent closes the pipe."""

    def __init__(self, engine: Engine, commands: BinaryIO, out: BinaryIO) -> None:
        self._engine = engine
        self._commands = commands
        self._writer = WireWriter(out)
        self._queue: queue.SimpleQueue[wire.WireMessage] = queue.SimpleQueue()
        self._cancelled = 0
        """Generations and scorings up to this number are to stop."""
        self._running = 0
        self._run = threading.Lock()
        """Held for a moment, so that a late cancel cannot hit the next generation."""

    def serve(self) -> None:
        """Obey until the pipe closes, which ends the process."""
        self._writer.post(wire.Hello(os.getpid()))
        threading.Thread(target=self._read_commands, name="commands", daemon=True).start()
        while True:
            message = self._queue.get()
            try:
                self._obey(message)
            except errors.OnDeviceError as error:
                self._writer.post(_failed(error))

    def _read_commands(self) -> None:
        try:
            for line in self._commands:
                self._take(wire.decode(line))
        except ValueError as error:
            _end(error)
        os._exit(0)  # the parent closed the pipe or is gone; nothing here is worth keeping

    def _take(self, message: wire.WireMessage) -> None:
        if not isinstance(message, wire.Cancel):
            self._queue.put(message)
            return
        with self._run:
            self._cancelled = message.id
            if self._running == message.id:
                self._engine.cancel()

    def _obey(self, message: wire.WireMessage) -> None:
        match message:
            case wire.Load(file=file, options=options):
                info = self._engine.load(file, options, self._report_load)
                self._writer.post(wire.Loaded(info))
            case wire.Count(prompt=prompt):
                self._writer.post(wire.Counted(self._engine.count_tokens(prompt)))
            case wire.MeasureState() | wire.SaveState() | wire.RestoreState():
                self._writer.post(_moved_state(self._engine, message))
            case wire.Tokenize(prompt=prompt):
                self._writer.post(wire.Tokenized(_scores(self._engine).tokenize(prompt)))
            case wire.Generate(id=number, request=request):
                self._writer.text_shown = request.text_shown
                self._post_all(number, self._engine.generate(request))
            case wire.Score(id=number, request=asked):
                self._post_all(number, _scores(self._engine).score(asked))

    def _post_all(self, number: int, events: Iterator[GenerationEvent | ScoreEvent]) -> None:
        self._mark_running(number)
        try:
            for event in events:
                if self._cancelled >= number:  # it may have come before the engine had begun
                    self._engine.cancel()
                self._writer.post(event)
        finally:
            self._mark_running(0)

    def _mark_running(self, number: int) -> None:
        with self._run:
            self._running = number

    def _report_load(self, fraction: float) -> None:
        self._writer.post(wire.LoadProgress(fraction))


def _scores(engine: Engine) -> Scores:
    if not isinstance(engine, Scores):
        raise errors.EngineTrouble("this engine cannot score tokens")
    return engine


def _moved_state(
    engine: Engine, message: wire.MeasureState | wire.SaveState | wire.RestoreState
) -> wire.WireMessage:
    if not isinstance(engine, Snapshots):
        raise errors.EngineTrouble("this engine cannot save its state")
    match message:
        case wire.MeasureState():
            return wire.StateSize(engine.state_bytes())
        case wire.SaveState(path=path, model_sha256=sha256):
            return wire.StateSize(engine.save_state(path, sha256))
        case wire.RestoreState(path=path, model_sha256=sha256):
            return wire.StateRestored(engine.restore_state(path, sha256))


def _failed(error: errors.OnDeviceError) -> wire.Failed:
    return wire.Failed(type(error).__name__, error.message, error.hint)


def _end(error: BaseException) -> None:
    """Leave with `error` as the last words, without waiting for a thread that reads a pipe."""
    traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(1)


def _take_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Commands and answers get descriptors that no library knows of."""
    commands, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return commands, out


def main(engine_name: str, parent_pid: int) -> None:
    """Become the worker of `engine_name`."""
    commands, out = _take_over_pipes()
    system.die_with_parent(parent_pid)
    system.write_no_core_file()
    try:
        engine = registry.create(engine_name)
    except errors.OnDeviceError as error:
        out.write(wire.encode(_failed(error)))
        out.flush()
        return
    try:
        Worker(engine, commands, out).serve()
    except BaseException as error:  # the process's edge: the parent shows the last words
        _end(error)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
