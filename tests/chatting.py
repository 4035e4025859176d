"""Chats with the echo engine, and what is stored of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from echoing import PRICE, echo_file

from ondevice.chat import Chat, ChatEvent
from ondevice.domain.generation import EngineNotice, LoadOptions, Sampling, TextDelta
from ondevice.domain.session import StoredMessage
from ondevice.storage.sessions import Sessions

LONG = {"pieces": ["word "], "repeat": 1000, "delay_s": 0.01}
"""A script that is still talking when something happens to it."""


@contextmanager
def open_chat(sessions: Sessions | None) -> Iterator[Chat]:
    """A chat whose engine is ended."""
    chat = Chat(sessions, PRICE)
    try:
        yield chat
    finally:
        chat.close()


def load(chat: Chat, folder: Path, random_weights: bool = False, **script: Any) -> None:
    chat.load(echo_file(folder, random_weights, **script), LoadOptions(n_ctx=256))


def say(chat: Chat, text: str = "one two three") -> Iterator[ChatEvent]:
    return chat.send(text, Sampling(), 2000)


def until_text(events: Iterator[ChatEvent]) -> list[ChatEvent]:
    """Events up to the first text, which is among them."""
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, TextDelta):
            return seen
    pytest.fail("there was no text")


def stored(path: Path) -> list[tuple[str, str, str]]:
    """What another connection sees: role, content and state of every message."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT role, content, state FROM message ORDER BY id").fetchall()
    connection.close()
    return rows


def notices(events: list[ChatEvent]) -> list[EngineNotice]:
    return [event for event in events if isinstance(event, EngineNotice)]


def last(chat: Chat) -> StoredMessage:
    return chat.conversation.messages[-1]


def states(folder: Path) -> list[str]:
    """Sessions with a state, and whatever else is in the folder."""
    found = (folder / "states").glob("*")
    return sorted(each.name.partition("-")[0] + each.suffix for each in found)
