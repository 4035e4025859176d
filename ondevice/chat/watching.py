"""What the events of a turn say of the engine: whose its state is, and what was reused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ondevice.chat.answer import TurnOptions
from ondevice.chat.conversation import ChatEvent, Conversation
from ondevice.chat.prefixes import Prefixes
from ondevice.domain.generation import EngineNotice, PrefillProgress, TextDelta
from ondevice.domain.measured import Measured
from ondevice.domain.reuse import ReuseMeter
from ondevice.errors import (
    EngineClosed,
    EngineCrashed,
    EngineTimedOut,
)

ENGINE_GONE = (EngineCrashed, EngineTimedOut, EngineClosed)
"""After one of these in a turn no engine runs; the model is to be loaded again."""


def watched(
    events: Iterator[ChatEvent],
    options: TurnOptions,
    shown: Conversation,
    prefixes: Prefixes,
    reuse: ReuseMeter,
    cancelled: Callable[[], bool],
) -> Iterator[ChatEvent]:
    """The events, as they are; `cancelled` is asked until the engine was told."""
    begun = told = False
    missed: list[str] = []
    try:
        for event in events:
            begun = begun or isinstance(event, PrefillProgress | TextDelta)
            if begun and not told and cancelled():  # before, the engine would not hear it
                options.engine.cancel()
                told = True
            if isinstance(event, EngineNotice) and event.code in ("cache_miss", "state"):
                missed.append(event.message)
            elif isinstance(event, Measured):
                reuse.note(str(options.file.path), event.done, "; ".join(missed))
            yield event
    finally:
        if begun:
            prefixes.note_turn(shown.session.id if shown.session else None)
