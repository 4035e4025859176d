"""What the context is filled with, counted by the engine between two turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ondevice.domain.context import ContextParts
from ondevice.domain.generation import EngineNotice
from ondevice.domain.session import StoredMessage
from ondevice.errors import OnDeviceError

Count = Callable[[Sequence[StoredMessage]], ContextParts]
"""The parts of a path, as the engine counts them. Raises EngineTrouble."""


class Filling:
    """Remembers the newest parts. `now` is replaced whole, so any thread may look."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self.now: ContextParts | None = None
        """None where it is unknown."""

    def note(self, path: Sequence[StoredMessage]) -> None:
        """Count a path."""
        try:
            self.now = self._count(path)
        except OnDeviceError:  # such as a template that does not render what is shown
            self.now = None

    def note_turn(self, path: Sequence[StoredMessage], earlier: set[int]) -> list[EngineNotice]:
        """The prompt's parts, and a new answer as it was counted when it was made.

        `earlier` are the messages from before the turn. Where little is free since, that is told.
        """
        before = self.now
        new = [each for each in path[-1:] if each.role == "assistant" and each.id not in earlier]
        self.note(path[: len(path) - len(new)])
        for answer in new:
            if self.now is not None:
                self.now = self.now.with_answer(answer.completion_tokens)
        now = self.now
        if now is None or not now.nearly_full or (before and before.nearly_full):
            return []
        return [
            EngineNotice("context", f"the context is nearly full: {now.free:,} tokens are free")
        ]
