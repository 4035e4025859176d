"""Where to cut a conversation, and what stands in the place of what is left out.

Nothing is deleted, and nothing is left out silently: a cut is a message of the conversation, see
`domain.session`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ondevice import units
from ondevice.chat.filling import Count
from ondevice.chat.shown import prompt_of
from ondevice.domain.context import ContextParts
from ondevice.domain.generation import GREEDY, EngineInfo, GenerationRequest
from ondevice.domain.session import StoredMessage, in_context
from ondevice.domain.thinking import ThinkingStyle, split, style_of
from ondevice.errors import UsageTrouble

TARGET = 0.5
"""Share of the context that is used after a cut, where leaving out can reach it: a cut has the
model read anew what stays, so many turns are to follow it."""
SUMMARY_TOKENS = 256
"""The longest summary."""
THINKING_TOKENS = 1024
"""As much again a model may think before it writes one."""
HERE = "ondevice"
"""Who says that turns were left out."""
SUMMARISE = (
    "Summarise our conversation so far in a short paragraph, for yourself: names, numbers, "
    "decisions and open questions. Write nothing else."
)
_LEFT_OUT = re.compile(r"\(Left out here: [^()]*\)$")


@dataclass(frozen=True, slots=True)
class Cut:
    """Where to cut, and what the context is filled with then."""

    kept_from: int
    turns: int
    """So many of the oldest that are shown go."""
    after: ContextParts


def best_cut(path: Sequence[StoredMessage], count: Count, n_ctx: int) -> Cut | None:
    """The smallest number of the oldest turns that reaches the target; else all but the last."""
    shown = in_context(path)
    begins = _questions(shown)[1:]
    if not begins:
        return None

    def trial(turns: int) -> ContextParts:
        kept = begins[turns - 1].id
        text = left_out(path, kept)
        return count([*path, StoredMessage(0, 0, "system", text, "complete", kept_from=kept)])

    low, high = 1, len(begins)
    while low < high:  # each turn more leaves less: the smallest that is enough is found in a few
        middle = (low + high) // 2
        if trial(middle).used <= TARGET * n_ctx:
            high = middle
        else:
            low = middle + 1
    return Cut(begins[low - 1].id, low, trial(low))


def left_out(path: Sequence[StoredMessage], kept_from: int) -> str:
    """The text of a cut that drops: how much is left out, behind a summary that stays."""
    earlier = [each.content for each in in_context(path)[:1] if each.kept_from is not None]
    summaries = [summary for text in earlier if (summary := _LEFT_OUT.sub("", text).rstrip())]
    said = f"(Left out here: {_first_turns(path, kept_from)} of this conversation.)"
    return "\n\n".join([*summaries, said])


def summed_up(path: Sequence[StoredMessage], kept_from: int, summary: str) -> str:
    """The text of a cut with a summary."""
    first = _first_turns(path, kept_from)
    return f"(In short, {first} of this conversation:)\n\n{summary.strip()}"


def most_tokens(path: Sequence[StoredMessage], style: ThinkingStyle) -> int:
    """Of a summary, with what is thought before it: where the prompt begins that, or an answer had
    some."""
    answers = [message.content for message in path if message.role == "assistant"]
    thinks = style.begun_by_prompt or any(split(each, style_of(each)).thinking for each in answers)
    return SUMMARY_TOKENS + (THINKING_TOKENS if thinks else 0)


def summary_request(
    path: Sequence[StoredMessage], kept_from: int, system: str, info: EngineInfo
) -> GenerationRequest:
    """What the model is asked for a summary of the turns that are before a message."""
    due = []
    for message in in_context(path):
        if message.id == kept_from:
            break
        due.append(message)
    asked = [*due, StoredMessage(0, 0, "user", SUMMARISE, "complete")]
    prompt, most = prompt_of(asked, system, info.thinking), most_tokens(path, info.thinking)
    return GenerationRequest(prompt, GREEDY, most)


def behind(path: Sequence[StoredMessage]) -> int | None:
    """Where a cut stands: at the end, before an answer that never began."""
    for message in reversed(path):
        if message.role != "assistant" or message.content:
            return message.id
    return None


def _questions(shown: Sequence[StoredMessage]) -> list[StoredMessage]:
    """The messages that begin turns: questions that got no answer belong to the next."""
    found: list[StoredMessage] = []
    before = ""
    for message in shown:
        if message.role == "user" and before != "user":
            found.append(message)
        before = message.role if message.content or message.attached else before
    return found


def _first_turns(path: Sequence[StoredMessage], kept_from: int) -> str:
    """All of the path's that the model is not shown as they were. Raises UsageTrouble where the
    message is not on the path, as another one was chosen meanwhile."""
    whole = [message for message in path if message.kept_from is None]
    places = [message.id for message in whole]
    if kept_from not in places:
        raise UsageTrouble("the conversation is another one by now", hint="Look at the ways again.")
    count = len(_questions(whole[: places.index(kept_from)]))
    return "the first turn" if count == 1 else f"the first {units.count(count)} turns"
