"""What a conversation is when it is kept: a tree of messages, of which one path is shown.

path    the messages from a first one down to one of them, in order
head    the last message of the path that is shown; a branch, an edited question and a second
        answer only move it, so the other paths stay
leaf    a message that nothing follows: the end of a path
cut     a message that stands, for the model, in the place of what is before a later one: its text
        says how much was left out, or sums it up, and the model reads the same text as the person
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ondevice.domain.prompt import Attachment, Role

MessageState = Literal["complete", "streaming", "interrupted"]
"""streaming: a process is writing it; interrupted: half an answer, kept."""


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation."""

    id: int
    title: str
    created_at: str
    """UTC, ISO 8601; for people only, order comes from ids."""
    system_prompt: str = ""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message of a session. A child has a larger id than its parent, where both are stored."""

    id: int
    """Below 0 for one that is only in memory."""
    session_id: int
    role: Role
    content: str
    state: MessageState
    model: str = ""
    completion_tokens: int = 0
    decode_tok_per_s: float | None = None
    finish_reason: str = ""
    parent_id: int | None = None
    """The message before it; None for a first one."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    ttft_s: float | None = None
    useful: bool = False
    """The person marked it so."""
    attached: tuple[Attachment, ...] = ()
    """Texts that go with it."""
    kept_from: int | None = None
    """Of a cut: the first message that the model is still shown."""


@dataclass(frozen=True, slots=True)
class SessionTree:
    """A session with all its paths."""

    session: Session
    messages: tuple[StoredMessage, ...]
    """In the order of their ids."""
    head_id: int | None
    """None while there is no message, and where the shown path is empty."""

    @property
    def path(self) -> list[StoredMessage]:
        """The messages that are shown."""
        return path_to(self.head_id, {message.id: message for message in self.messages})

    @property
    def leaves(self) -> list[StoredMessage]:
        """The ends of all paths, see `leaves`."""
        return leaves(self.messages)


@dataclass(frozen=True, slots=True)
class Found:
    """A place where a searched text is."""

    session: Session
    message: StoredMessage | None
    """None where it is in the title."""
    excerpt: str
    """A few words around it, as they were written: not cleaned."""


def path_to(head_id: int | None, messages: Mapping[int, StoredMessage]) -> list[StoredMessage]:
    """The messages down to `head_id`, first one first."""
    path = []
    while head_id is not None and head_id in messages:
        path.append(messages[head_id])
        head_id = messages[head_id].parent_id
    return path[::-1]


def leaves(messages: Iterable[StoredMessage]) -> list[StoredMessage]:
    """The ends of all paths, the newest first where all are stored."""
    every = list(messages)
    followed = {message.parent_id for message in every}
    return [message for message in reversed(every) if message.id not in followed]


def in_context(path: Sequence[StoredMessage]) -> list[StoredMessage]:
    """What the model is shown of a path: the newest cut, and what it keeps."""
    places = {message.id: place for place, message in enumerate(path)}
    for cut in reversed(path):
        if cut.kept_from in places:
            kept = path[places[cut.kept_from] :]
            return [cut, *(each for each in kept if each.kept_from is None)]
    return [message for message in path if message.kept_from is None]
