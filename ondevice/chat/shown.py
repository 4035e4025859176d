"""What the model is shown of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from ondevice.domain.generation import ChatMessage, Prompt
from ondevice.domain.session import StoredMessage, in_context
from ondevice.domain.thinking import USUAL, ThinkingStyle, for_history


def prompt_of(
    path: Sequence[StoredMessage], system: str = "", thinking: ThinkingStyle = USUAL
) -> Prompt:
    """Unanswered questions join the next, as roles must alternate; so does a cut, which stands in
    the place of what is before. What the model thought before earlier answers is left out, by
    itself or by its template."""
    turns = [ChatMessage("system", system)] if system else []
    for message in in_context(path):
        content = message.content
        if message.role == "assistant":
            content = for_history(content, thinking)
        if not content and not message.attached:
            continue
        role = "user" if message.kept_from is not None else message.role
        given = ChatMessage(role, content, message.attached)
        if turns and turns[-1].role == role:
            before = turns.pop()
            joined = f"{before.content}\n\n{content}"
            given = ChatMessage(role, joined, before.attached + message.attached)
        turns.append(given)
    return Prompt(messages=tuple(turns))
