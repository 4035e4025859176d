"""What a line can do something with: the chat, its sessions, its model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import click

from ondevice.chat import Chat
from ondevice.chat.prefixes import ModelHash
from ondevice.chat.transfer import speaker
from ondevice.cli.answering import say
from ondevice.cli.chat.interrupts import Interrupts
from ondevice.cli.chat.lines import Lines
from ondevice.domain.cost import Price
from ondevice.domain.generation import EngineInfo, LoadOptions, Sampling
from ondevice.domain.model import ModelFile
from ondevice.domain.session import StoredMessage
from ondevice.domain.text import clean_line
from ondevice.errors import EngineClosed, OnDeviceError, StorageTrouble, UsageTrouble
from ondevice.settings import Settings
from ondevice.storage.database import Database
from ondevice.storage.sessions import Sessions

if TYPE_CHECKING:  # it judges memory, which few chats need
    from ondevice.chat.room import Offer

CLOSE_AGAIN_S = 0.2
RELOADS = "The next question, or /model, loads it."
LISTED = 20
"""Lines of a list; a search finds the rest."""


@dataclass
class Desk:
    """Filled in by the command; a test furnishes another one."""

    chat: Chat
    file: ModelFile
    """Loaded when a question comes and no engine runs."""
    lines: Lines
    interrupts: Interrupts
    resolve: Callable[[str], ModelFile]
    models: Callable[[], list[str]]
    """Names of those that are on this machine."""
    price: Callable[[str, ModelFile], Price | None]
    """By the name of the baseline, "" for the usual one. Raises UsageTrouble for an unknown one."""
    load_options: LoadOptions
    """Of `file`; at first as the command says."""
    sampling: Sampling
    max_tokens: int
    settings: Settings
    baseline: str = ""
    """What costs are compared with."""
    system: str = ""
    """What the model is told in new conversations."""
    database: Database | None = None
    """None where nothing is kept."""
    sessions: Sessions | None = None
    leaving: bool = False
    model_hash: ModelHash | None = None
    """Without it nothing of what a model read is kept."""
    private: bool = False
    """Whether this conversation is one that is never stored."""
    refused: str = ""
    """The last question, if it had no room."""
    summary: tuple[Offer, str] | None = None
    """Written by the model, not used yet."""
    usual: LoadOptions = field(init=False)
    """Of any other file: the adapters, and a context that was raised, are of this one."""

    def __post_init__(self) -> None:
        self.usual = replace(self.load_options, adapters=())

    @property
    def kept(self) -> Sessions:
        """Raises StorageTrouble where there is nothing that is kept."""
        if self.sessions is None:
            raise StorageTrouble(
                "this chat keeps nothing and reads nothing that is kept",
                hint="Leave it, then: ondevice chat",
            )
        return self.sessions

    def load(self, file: ModelFile | None = None, options: LoadOptions | None = None) -> None:
        """Make the model ready; another file and other options hold from then on, if that loads.

        Raises what loading raises; KeyboardInterrupt if that ended it.
        """
        file = file or self.file
        same = file.path == self.file.path
        options = options or (self.load_options if same else self.usual)
        self.chat.price = self.price(self.baseline, file)
        try:
            info = self._load(file, options)
        except OnDeviceError as error:
            other = (file, options) != (self.file, self.load_options)
            stays = f"The model is still {self.file.name}, as it was. " if other else ""
            if isinstance(error, EngineClosed) and self.interrupts.stopped:
                self.interrupts.leave_if_asked()
                say(f"Loading was stopped. {stays}{RELOADS}")
                raise KeyboardInterrupt from None
            if other:
                error.hint = f"{error.hint} {stays}{RELOADS}".strip()
            raise
        self.file, self.load_options = file, options
        backend = f"{info.engine} {info.place}"
        name = f"{file.name}{info.with_adapters}"
        say(f"{name} answers on this machine ({backend}), context {info.n_ctx} tokens.")
        for notice in info.notices:
            say(f"Note: {notice.message}")

    def _load(self, file: ModelFile, options: LoadOptions) -> EngineInfo:
        over = threading.Event()

        def end() -> None:
            self.chat.close()
            while not over.wait(CLOSE_AGAIN_S):  # the first time, there may have been no engine yet
                self.chat.close()

        with self.interrupts.stopping(end):  # before it is said: who reads that may stop it
            try:
                say(f"Loading {file.name} {file.quantization}".rstrip() + " ...")
                return self.chat.load(file, options)
            finally:
                over.set()

    def begin(self, private: bool = False) -> None:
        """A new conversation."""
        self.refused, self.summary = "", None
        self.private = private or self.sessions is None
        self.chat.open(None, private, self.system)

    def open(self, session_id: int) -> None:
        """Go on with a stored one, and say what was said last. Raises UnknownSession."""
        session = self.kept.get(session_id)
        self.refused, self.summary = "", None
        self.chat.open(session)
        self.private = False
        messages = self.chat.conversation.messages
        say(f"Session {session.id}: {clean_line(session.title)} · messages: {len(messages)}")
        for message in messages[-2:]:
            tell(f"{speaker(message)}: {message.content}", 2000)

    def message(self, number: int) -> StoredMessage:
        """By the number that people see. Raises UsageTrouble."""
        messages = self.chat.conversation.tree.messages
        if not 1 <= number <= len(messages):
            raise UsageTrouble(
                f"this conversation has no message {number}", hint="/branch lists them."
            )
        return messages[number - 1]


def tell(line: str, limit: int = 1000) -> None:
    """One line that was asked for: as talk, but not dimmed."""
    click.echo(clean_line(line, limit), err=True)
