"""Commands about what was said: find, branch, ask again, mark, copy."""

from __future__ import annotations

import base64
import os
import sys

from ondevice import units
from ondevice.chat import copying
from ondevice.chat.transfer import facts_of, speaker
from ondevice.cli.answering import say, write_answer
from ondevice.cli.chat.desk import Desk, tell
from ondevice.cli.chat.turn import answer
from ondevice.cli.options import number_of
from ondevice.domain.find import found
from ondevice.domain.session import StoredMessage
from ondevice.domain.text import clean, clean_line
from ondevice.errors import UsageTrouble

AROUND = 60
"""Characters that are told before and after what was found."""


def find(desk: Desk, text: str) -> None:
    """List the messages that are shown and have `text`, each with its first place."""
    if not text:
        raise UsageTrouble("say what to find", hint="Such as: /find Lisbon")
    numbers = desk.chat.conversation.tree.numbers
    total = 0
    for message in desk.chat.conversation.messages:
        words = _shown(message)
        places = found(words, text)
        total += len(places)
        if places:
            more = f" · {units.count(len(places))} places" if len(places) > 1 else ""
            excerpt = clean_line(_around(words, *places[0]), 300)
            tell(f"{numbers[message.id]} {speaker(message)}: {excerpt}{more}")
    say(f"Places: {units.count(total)}." if total else "Nothing was found.")


def _shown(message: StoredMessage) -> str:
    """What is read of it, without what a model thought."""
    text = message.content
    return clean(copying.written(text) if message.role == "assistant" else text)


def _around(text: str, begin: int, end: int) -> str:
    first, last = max(0, begin - AROUND), end + AROUND
    return f"{'…' * (first > 0)}{text[first:last]}{'…' * (last < len(text))}"


def branch(desk: Desk, rest: str) -> None:
    """Go on after a message, or list those that are shown."""
    if not rest:
        _list(desk, desk.chat.conversation.messages)
        say("/branch and a number goes on from there; what followed it stays.")
        return
    number = number_of(rest)
    if number is None:
        raise UsageTrouble("say from which message: /branch 3", hint="/branch lists them.")
    message = desk.message(number)
    desk.chat.conversation.go_to(message.id)
    desk.summary = None  # it is of the path that was shown
    say(f"It goes on after message {number}, by {speaker(message)}: {message.content}")


def branches(desk: Desk, _rest: str) -> None:
    """List where the paths end."""
    _list(desk, desk.chat.conversation.leaves())
    say("Here the paths end. /branch and a number goes on with one.")


def _list(desk: Desk, wanted: list[StoredMessage]) -> None:
    if not wanted:
        raise UsageTrouble("nothing was said yet", hint="Write a question.")
    numbers = desk.chat.conversation.tree.numbers
    head = desk.chat.conversation.messages[-1:]
    for message in wanted:
        facts = f" · {facts_of(message)}" if facts_of(message) else ""
        here = " · shown" if message in head else ""
        line = f"{numbers[message.id]} {speaker(message)}: {clean_line(message.content, 120)}"
        tell(f"{line}{facts}{here}")


def edit(desk: Desk, rest: str) -> None:
    """Ask something else in the place of a question."""
    question, text = _question(desk, rest)
    if not text:
        text = desk.lines.edited(question.content) or ""
        if not text.strip():
            raise UsageTrouble("nothing was written", hint="Such as: /edit What about March?")
    answer(desk, lambda *how: desk.chat.resend(question.id, text, *how))


def _question(desk: Desk, rest: str) -> tuple[StoredMessage, str]:
    """The one that is meant, by its number or the last one, and the text in its place."""
    first, _, after = rest.partition(" ")
    number = number_of(first)
    if number is not None:
        message, text = desk.message(number), after.strip()
        if message.role != "user":
            raise UsageTrouble(f"message {number} is no question", hint="/branch lists them.")
        return message, text
    for message in reversed(desk.chat.conversation.messages):
        if message.role == "user":
            return message, rest
    raise UsageTrouble("there is no question to change", hint="Write one first.")


def again(desk: Desk, _rest: str) -> None:
    """Make another answer to the last question."""
    messages = desk.chat.conversation.messages
    if not messages:
        raise UsageTrouble("there is no question to answer", hint="Write one first.")
    answer(desk, lambda *how: desk.chat.answer_again(messages[-1].id, *how))


def useful(desk: Desk, wanted: str) -> None:
    """Mark the last answer, or take the mark away."""
    if wanted not in ("", "on", "off"):
        raise UsageTrouble("/useful takes on or off", hint="Alone it means on.")
    desk.chat.conversation.mark_useful(_last_answer(desk).id, wanted != "off")
    say("The answer is not marked." if wanted == "off" else "The answer is marked useful.")


def copy(desk: Desk, _rest: str) -> None:
    """Copy the last answer, or print it where no terminal takes copies."""
    text = copying.written(_last_answer(desk).content)
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("", "dumb"):
        write_answer(text if text.endswith("\n") else f"{text}\n")
        return
    kept = desk.sessions if desk.chat.conversation.is_kept else None
    keep = kept.copied.keep if kept else None
    say(copying.copy(clean(text), "answer", _hand_over, keep), limit=400)


def _hand_over(text: str) -> None:
    """To the clipboard, if the terminal passes it on (OSC 52)."""
    sys.stdout.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")
    sys.stdout.flush()


def _last_answer(desk: Desk) -> StoredMessage:
    for message in reversed(desk.chat.conversation.messages):
        if message.role == "assistant":
            return message
    raise UsageTrouble("there is no answer yet", hint="Write a question.")
