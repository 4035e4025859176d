"""What a conversation is when it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ondevice.domain.generation import Role

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
    """One message of a session, in the order of its id."""

    id: int
    session_id: int
    role: Role
    content: str
    state: MessageState
    model: str = ""
    completion_tokens: int = 0
    decode_tok_per_s: float | None = None
    finish_reason: str = ""
