"""An answer as it comes, and its numbers: text to stdout, talk to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import cast

import click

from ondevice import units
from ondevice.chat import ENGINE_GONE, ChatEvent
from ondevice.cli.answering import say, write_answer
from ondevice.cli.chat.desk import Desk
from ondevice.domain.generation import EngineNotice, PrefillProgress, Sampling, TextDelta
from ondevice.domain.measured import Measured
from ondevice.domain.text import clean, clean_line
from ondevice.domain.thinking import USUAL, ThinkingStream
from ondevice.errors import ContextOverflow, OnDeviceError

Begin = Callable[[Sampling, int], Iterator[ChatEvent]]
"""A turn of `Chat`."""

LONGEST_WORD = 20
"""Characters that are held back; not every script has spaces."""
SAY_READING_S = 5.0
"""While a long prompt is read, a line this often: each is spoken by a screen reader."""
RELOADS = "What came is kept; the next question, or /model, loads it."
SHORTENS = "It is not in the conversation. Ask a shorter one; /room makes room, /new begins anew."


def answer(desk: Desk, begin: Begin) -> None:
    """Make an answer and show it as it comes; the model is loaded first where none is.

    Raises what loading and the engine raise; what came of the answer is kept.
    """
    if desk.chat.info is None:
        desk.load()
    events = cast(Generator[ChatEvent, None, None], begin(desk.sampling, desk.max_tokens))
    shown = Shown(desk)
    desk.refused, desk.summary = "", None
    # closed here: whatever ends the showing, the half is stored before the engine is ended
    with desk.interrupts.stopping(desk.chat.cancel), closing(events):
        try:
            for event in events:
                shown.note(event)
        except ENGINE_GONE as error:
            error.hint = f"{error.hint} {RELOADS}".strip()
            raise
        except ContextOverflow as error:
            desk.refused = error.question
            raise ContextOverflow(error.message, hint=SHORTENS) from error
        finally:
            shown.end()
    shown.tell_numbers()


class Shown:
    """One answer on its way to whoever reads it."""

    def __init__(self, desk: Desk) -> None:
        info, file = desk.chat.info, desk.chat.file
        style = info.thinking if info else USUAL
        self._thinking = ThinkingStream(style.under(desk.chat.schema))
        self._labelled = desk.lines.terminal and sys.stdout.isatty()
        self._name = clean_line(file.name, 60) if file else "Model"
        self._part = ""
        """What the line that is being written belongs to: thinking, answer or nothing yet."""
        self._last = ""
        """The last character of the answer."""
        self._held = ""
        """The beginning of a word that is not complete yet."""
        self._notices: list[EngineNotice] = []
        """Said when the answer is complete: in the middle they would be read as part of it."""
        self._said_reading = 0.0
        self._measured: Measured | None = None

    def note(self, event: ChatEvent) -> None:
        """Show what there is to be shown of one event."""
        match event:
            case TextDelta(text=text):
                self._write(*self._thinking.feed(text))
            case PrefillProgress(eta_s=float(eta)) if eta > 1:
                self._say_reading(eta)
            case EngineNotice() if self._part:
                self._notices.append(event)
            case EngineNotice(message=message):
                say(f"Note: {message}", limit=500)
            case Measured():
                self._measured = event

    def end(self) -> None:
        """Complete the line, whatever ended the answer."""
        self._write(*self._thinking.feed("", last=True))
        if self._part == "thinking":
            click.echo(err=True)
        write_answer(self._held)
        if self._last != "\n":  # also without a text: in a pipe the next answer is on its own line
            write_answer("\n")
        for notice in self._notices:
            say(f"Note: {notice.message}", limit=500)

    def tell_numbers(self) -> None:
        """How it ended, if that is not by itself, and what it took."""
        if self._measured is None:
            return
        done = self._measured.done
        match done.finish_reason:
            case "cancelled":
                say("Stopped; what there is of the answer is kept.")
            case "length":
                say("Cut here: it reached the longest length of an answer.")
            case "context_full":
                say("Cut here: the context is full.")
        say(numbers(self._measured))

    def _write(self, thinking: str, text: str) -> None:
        if thinking:
            if not self._part:
                click.echo("Thinking: ", err=True, nl=False)
            self._part = "thinking"
            click.echo(clean(thinking), err=True, nl=False)
        if text:
            if self._part == "thinking":
                click.echo(err=True)
            if self._part != "answer" and self._labelled:
                click.echo(f"{self._name}: ", err=True, nl=False)
            self._part, self._last = "answer", text[-1]
            self._pass_on(text)

    def _pass_on(self, text: str) -> None:
        """Whole words to a terminal, as halves of them would be spoken as words."""
        text, self._held = self._held + text, ""
        if sys.stdout.isatty():
            start = 1 + max(text.rfind(" "), text.rfind("\n"))
            if len(text) - start <= LONGEST_WORD:
                text, self._held = text[:start], text[start:]
        write_answer(text)

    def _say_reading(self, eta: float) -> None:
        now = time.monotonic()
        if not self._part and now - self._said_reading >= SAY_READING_S:
            self._said_reading = now
            say(f"Reading the prompt, {units.duration(eta)} left.")


def numbers(measured: Measured) -> str:
    """What an answer took, in one line."""
    done, usage = measured.done, measured.done.usage
    parts = [
        f"Numbers: {units.count(usage.completion_tokens)} tokens",
        units.rate(done.decode_tok_per_s),
        f"first token {units.duration(done.timings.ttft_s)}",
        f"reused {units.count(usage.cached_tokens)} of {units.count(usage.prompt_tokens)}",
    ]
    if measured.cost is not None:
        cost = measured.cost
        parts.append(f"{cost.label} {units.money(cost.net_usd)} vs {cost.price.title}")
    return " · ".join(parts)


def failed(error: OnDeviceError) -> None:
    """One line and a hint, what an engine said last between them; the conversation goes on."""
    click.echo(f"Error: {clean_line(error.message, 500)}", err=True)
    for line in error.last_lines:
        click.echo(f"  | {clean_line(line)}", err=True)
    if error.hint:
        click.echo(f"  {clean_line(error.hint, 500)}", err=True)
