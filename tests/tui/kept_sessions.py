"""Sessions that are kept: made beforehand, looked at, and held up while they are wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stage import PATIENCE_S, Person, Stage
from textual.widgets import DataTable

from ondevice.chat import Chat, ChatEvent
from ondevice.domain.generation import Sampling
from ondevice.domain.measured import Measured
from ondevice.domain.session import Session
from ondevice.storage.sessions import Sessions
from ondevice.tui.screens.sessions import SessionsScreen


def keep(stage: Stage, title: str, *texts: str) -> Session:
    """A session that is there already: questions and answers in turn."""
    session = stage.sessions.create(title)
    for number, text in enumerate(texts):
        role = "assistant" if number % 2 else "user"
        stage.sessions.add(session.id, role, text, model="small" if number % 2 else "")
    return session


async def look(person: Person) -> None:
    """Open the screen of the sessions, and wait for what it lists."""
    await person.press("f4")
    await person.until(lambda: isinstance(person.screen, SessionsScreen))
    await person.until(lambda: any(each.row_count for each in person.screen.query(DataTable)))


class PausingChat(Chat):
    """A chat whose answers are made, but do not end before they may."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions)
        self.may_end = threading.Event()

    def send(self, text: str, sampling: Sampling, max_tokens: int) -> Iterator[ChatEvent]:
        return self._paused(super().send(text, sampling, max_tokens))

    def _paused(self, events: Iterator[ChatEvent]) -> Iterator[ChatEvent]:
        for event in events:
            if isinstance(event, Measured):
                self.may_end.wait(PATIENCE_S)
            yield event


@contextmanager
def held(stage: Stage, *statements: str) -> Iterator[None]:
    """Another thread is in a transaction, as while a delete overwrites; it does `statements`.

    Whoever waits for it on the thread of the screen waits until the patience is over.
    """
    begun, over, waited = threading.Event(), threading.Event(), []

    def hold() -> None:
        with stage.database.transaction() as connection:
            for statement in statements:
                connection.execute(statement)
            begun.set()
            waited.append(over.wait(PATIENCE_S / 2))

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(PATIENCE_S)
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert waited == [True], "the screen waited for the database"
