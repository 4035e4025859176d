"""What a conversation is when it is kept: a tree of messages, of which one path is shown.

path    the messages from a first one down to one of them, in order
head    the last message of the path that is shown; a branch, an edited question and a second
        answer only move it, so the other paths stay
leaf    a message that nothing follows: the end of a path
cut     a message that stands, for the model, in the place of what is before a later one: its text
        says how much was left out, or sums it up, and the model reads the same text as the person
beside  messages that answer the same, or ask in the same place: a path goes through one of them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ondevice.domain.prompt import Attachment, Role

LAST = 1 << 62
"""No stored message has such a number."""

MessageState = Literal["complete", "streaming", "interrupted"]
"""streaming: a process is writing it; interrupted: half an answer, kept."""

Places = Mapping[int, tuple[int, int]]
"""(2, 3) is the second of three that stand in one place, by a message's id; others stand alone."""


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
    def numbers(self) -> dict[int, int]:
        """What people call the messages, by id: 1 is the first that was made, on whatever path."""
        return {message.id: number for number, message in enumerate(self.messages, start=1)}

    @property
    def numbered(self) -> SessionTree:
        """The same with these numbers in the place of ids, as all that is shown has them."""
        numbers = self.numbers

        def number(id: int | None) -> int | None:
            return None if id is None else numbers.get(id)

        messages = (
            replace(
                each,
                id=numbers[each.id],
                parent_id=number(each.parent_id),
                kept_from=number(each.kept_from),
            )
            for each in self.messages
        )
        return SessionTree(self.session, tuple(messages), number(self.head_id))

    @property
    def path(self) -> list[StoredMessage]:
        """The messages that are shown."""
        return path_to(self.head_id, {message.id: message for message in self.messages})

    @property
    def leaves(self) -> list[StoredMessage]:
        """The ends of all paths, see `leaves`."""
        return leaves(self.messages)


@dataclass(frozen=True, slots=True)
class Listed:
    """A session as a list shows it, over all of its paths."""

    session: Session
    used_at: str
    """When its last answer with numbers ended; without one, when it began. UTC, ISO 8601."""
    messages: int
    model: str
    """Of its last answer; empty while there is none."""
    tokens: int
    """Generated in its answers."""


@dataclass(frozen=True, slots=True)
class Found:
    """A place where a searched text is."""

    session: Session
    message: StoredMessage | None
    """None where it is in the title."""
    number: int | None
    """Of the message, see `SessionTree.numbers`."""
    excerpt: str
    """A few words around it, as they were written: not cleaned."""
    marks: tuple[tuple[int, int], ...] = ()
    """Begin and end of the searched words in the excerpt."""


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
    at = {message.id: place for place, message in enumerate(path)}
    for cut in reversed(path):
        if cut.kept_from in at:
            kept = path[at[cut.kept_from] :]
            return [cut, *(each for each in kept if each.kept_from is None)]
    return [message for message in path if message.kept_from is None]


def beside(message: StoredMessage, messages: Iterable[StoredMessage]) -> list[StoredMessage]:
    """`message` and what stands in its place on other paths, the oldest first."""
    same = [each for each in messages if each.parent_id == message.parent_id]
    return sorted(same, key=_age)


def places(messages: Iterable[StoredMessage]) -> Places:
    """Where a message shares its place with others: which of how many it is, by its id."""
    groups: dict[int | None, list[int]] = {}
    for each in sorted(messages, key=_age):
        groups.setdefault(each.parent_id, []).append(each.id)
    return {
        each: (number, len(group))
        for group in groups.values()
        if len(group) > 1
        for number, each in enumerate(group, start=1)
    }


def end_below(message_id: int, messages: Iterable[StoredMessage]) -> int:
    """The end of the newest path through a message."""
    after: dict[int | None, StoredMessage] = {}
    for each in sorted(messages, key=_age):
        after[each.parent_id] = each
    while message_id in after:
        message_id = after[message_id].id
    return message_id


def _age(message: StoredMessage) -> int:
    """Ids grow with time, those in memory downwards, after those that are stored."""
    return message.id if message.id > 0 else LAST - message.id
