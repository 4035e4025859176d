"""What a model is shown.

prompt    messages (chat), text (completion) or token ids (benchmarks)
parts     system, history, attached: every token of a prompt belongs to exactly one
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ondevice.domain.text import clean_line

Role = Literal["system", "user", "assistant"]
Part = Literal["system", "history", "attached"]
"""history: every message that is not the system's, the newest question included."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text that goes with a message, such as a file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message; `pieces` says how the model is shown it."""

    role: Role
    content: str
    attached: tuple[Attachment, ...] = ()

    @property
    def pieces(self) -> list[tuple[Part, str]]:
        """What the model reads, in order: attached texts first, so that another question about
        them finds them evaluated."""
        own: Part = "system" if self.role == "system" else "history"
        pieces: list[tuple[Part, str]] = [("attached", fenced(each)) for each in self.attached]
        return [*pieces, (own, self.content)]

    @property
    def shown(self) -> str:
        """All of it as one text."""
        return "".join(text for _, text in self.pieces)


def fenced(attachment: Attachment) -> str:
    """How an attached text is written into a prompt: its name, and a fence it cannot close."""
    text = attachment.text
    ticks = max(3, 1 + max((len(run) for run in re.findall("`{3,}", text)), default=0))
    fence, end = "`" * ticks, "" if text.endswith("\n") else "\n"
    name = clean_line(attachment.name)
    return f"{name}:\n{fence}\n{text}{end}{fence}\n\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    """Exactly one of the three is set.

    `messages` are rendered with the chat template of the model file; a file without one gets
    completion mode and a notice. `text` is continued as it stands. `tokens` are ids.
    """

    messages: tuple[ChatMessage, ...] = ()
    text: str | None = None
    tokens: tuple[int, ...] = ()

    @classmethod
    def chat(cls, user: str, system: str | None = None) -> Prompt:
        """A one-turn chat."""
        head = (ChatMessage("system", system),) if system else ()
        return cls(messages=(*head, ChatMessage("user", user)))

    @property
    def characters(self) -> int:
        """Length of all text in it; 0 for token ids."""
        return len(self.text or "") + sum(len(message.shown) for message in self.messages)


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """What a prompt is made of, in tokens; the parts add up to what the engine counts.

    What a template writes around a message belongs to that message. Text and token ids are
    `history`.
    """

    system: int = 0
    history: int = 0
    attached: int = 0

    @property
    def total(self) -> int:
        """Tokens of the rendered prompt, special ones included."""
        return self.system + self.history + self.attached
