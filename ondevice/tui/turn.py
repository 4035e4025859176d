"""The thread's side: load a model, run a turn; keep the newest numbers, post facts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from textual.message import Message

from ondevice.chat import ENGINE_GONE, Chat, ChatEvent, Stored
from ondevice.domain.generation import EngineNotice, LoadOptions, PrefillProgress, TextDelta
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.errors import EngineClosed, OnDeviceError
from ondevice.hardware.probe import machine_memory
from ondevice.hardware.sampler import read_process
from ondevice.tui import messages
from ondevice.tui.live import Live

Post = Callable[[Message], object]

WRITE_TEXT_S = 0.2
"""Text goes to the screen this often: a write costs layout, a token a write costs half a core."""


def load_model(chat: Chat, file: ModelFile, options: LoadOptions, post: Post) -> None:
    """Make `file` the model; how it goes reaches the screen as messages."""
    tenths = 0

    def progress(fraction: float) -> None:
        nonlocal tenths  # an engine reports each of hundreds of tensors
        if int(fraction * 10) > tenths:
            tenths = int(fraction * 10)
            post(messages.ModelLoading(file, fraction))

    try:
        info = chat.load(file, options, progress)
    except EngineClosed:
        pass  # another model was chosen meanwhile, or the app is being left
    except OnDeviceError as error:
        post(messages.ModelFailed(error, file))
    else:
        post(messages.ModelReady(file, info))


def run_turn(events: Iterable[ChatEvent], live: Live, post: Post) -> None:
    """Go through a turn; every event reaches the screen as a message, its end comes last."""
    feed = TextFeed(post)
    try:
        for event in events:
            _pass_on(event, feed, live, post)
        feed.flush()
    except OnDeviceError as error:
        feed.flush()
        post(messages.TurnFailed(error, isinstance(error, ENGINE_GONE)))
    finally:
        post(messages.TurnOver())


def read_memory(live: Live) -> None:
    """Look at the memory of the machine and of the engine's process."""
    live.machine = machine_memory()
    info = live.info
    if info is not None:
        live.memory = read_process(info.pid, info.model_paths)


def _pass_on(event: ChatEvent, feed: TextFeed, live: Live, post: Post) -> None:
    match event:
        case TextDelta():
            live.note_delta(event)
            feed.add(event.text)
        case PrefillProgress():
            live.prefill = event
            post(messages.PromptProgressed(event))
        case EngineNotice(code="threads"):  # the meter shows it
            live.threads = int(event.message.split()[1])
        case EngineNotice():
            post(messages.Noticed(event))
        case Measured():
            feed.flush()
            live.end_turn(event)
            post(messages.TurnMeasured(event))
        case Stored():
            post(messages.MessageStored(event.message))


class TextFeed:
    """Collects text and posts it a few times a second."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._pieces: list[str] = []
        self._posted = 0.0

    def add(self, text: str) -> None:
        self._pieces.append(text)
        if time.monotonic() - self._posted >= WRITE_TEXT_S:
            self.flush()

    def flush(self) -> None:
        if self._pieces:
            self._post(messages.TextArrived("".join(self._pieces)))
            self._pieces.clear()
            self._posted = time.monotonic()
