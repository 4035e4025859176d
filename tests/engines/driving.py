"""Small ways to drive an engine and to read what came back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import estimates
import psutil

from ondevice import acquire
from ondevice.domain.generation import (
    GREEDY,
    EngineNotice,
    GenerationDone,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    TextDelta,
)
from ondevice.domain.model import ModelFile
from ondevice.engines.base import Engine
from ondevice.engines.process import EngineProcess
from ondevice.errors import OnDeviceError
from ondevice.hub import local

StartEcho = Callable[..., EngineProcess]
"""What the fixture `start_echo` gives."""

PATIENCE_S = 30.0
"""How long a test waits for what must happen; nothing waits that long when all is well."""


def echo_file(path: Path, **script: Any) -> ModelFile:
    """An echo engine's script as a model file; the fields are those of EchoScript."""
    path.write_text(json.dumps(script))
    return ModelFile(path, "echo", path.name)


def text_of(events: Iterable[GenerationEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def notices_of(events: Iterable[GenerationEvent]) -> list[str]:
    return [event.code for event in events if isinstance(event, EngineNotice)]


def done_of(events: list[GenerationEvent]) -> GenerationDone:
    assert isinstance(events[-1], GenerationDone)
    assert sum(isinstance(event, GenerationDone) for event in events) == 1
    return events[-1]


def say(engine: Engine, text: str = "one two three", **request: Any) -> list[GenerationEvent]:
    """All events of a one-turn chat."""
    return list(engine.generate(GenerationRequest(Prompt.chat(text), **request)))


def pid_of(engine: EngineProcess) -> int:
    """The child that serves `engine` now."""
    assert engine._child is not None
    assert engine._child._process is not None
    return engine._child._process.pid


def child_pids() -> set[int]:
    """Processes this one has started and not yet reaped."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def outcome_of(path: Path, longest_s: float, *prompts: Prompt) -> str:
    """Load the model at `path` and answer `prompts`: the name of the error, or "answered".

    Whatever the file is, its error is one line, no term of its memory verdict is below zero, and
    nobody waits longer than `longest_s`.
    """
    began, failure = time.monotonic(), None
    try:
        file = local.from_path(path)
        estimates.hold(acquire.verdict_of(path, estimates.MACHINE))
        with closing(EngineProcess(file.engine)) as engine:
            engine.load(file, LoadOptions(n_ctx=64, threads=1))
            for prompt in prompts:
                list(engine.generate(GenerationRequest(prompt, GREEDY, max_tokens=3)))
    except OnDeviceError as error:
        failure = error
    waited = time.monotonic() - began
    assert waited <= longest_s, f"{waited:.1f} s"
    if failure is None:
        return "answered"
    assert failure.message
    assert failure.message.isprintable()
    return type(failure).__name__


class Answer(threading.Thread):
    """An answer that is read in another thread, with events for its milestones."""

    def __init__(self, engine: Engine, request: GenerationRequest) -> None:
        super().__init__(daemon=True)
        self._engine, self._request = engine, request
        self.events: list[GenerationEvent] = []
        self.error: BaseException | None = None
        self.prefill_began = threading.Event()
        self.text_began = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            for event in self._engine.generate(self._request):
                self.events.append(event)
                if isinstance(event, PrefillProgress):
                    self.prefill_began.set()
                if isinstance(event, TextDelta):
                    self.text_began.set()
        except Exception as error:  # handed to the test that waits
            self.error = error

    def wait(self) -> list[GenerationEvent]:
        """Its events once it has ended; the error stays in `error`."""
        self.join(PATIENCE_S)
        assert not self.is_alive(), "the answer did not end"
        return self.events
