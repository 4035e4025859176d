"""What fills the context, and what would make room in it; a summary is read before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ondevice import units
from ondevice.chat import Chat, ChatEvent, room
from ondevice.domain.context import ContextParts
from ondevice.domain.generation import PrefillProgress, TextDelta
from ondevice.domain.measured import Measured
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError, UsageTrouble
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.widgets.parts import parts_bar, whole_legend

SAY_EVERY = 8
"""Tokens of a summary between two words about it."""
ABOUT_SUMMARY = (
    "The model is shown this in the place of those turns. Change it as you like; they stay stored."
)
NO_WAY = "There is nothing to leave out, and no larger context. A new session is empty."


@dataclass(frozen=True, slots=True)
class Wanted:
    """The way that was chosen; with the summary that a person read, where it is one."""

    offer: room.Offer
    summary: str = ""


class RoomScreen(ModalScreen[Wanted | None]):
    """Changes nothing itself. Returns what is wanted, or None."""

    CSS_PATH = "../styles/room.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Back", id="room.back", tooltip="Leave it as it is."),
    ]

    @dataclass
    class Counted(Message):
        """The engine has counted."""

        parts: ContextParts
        offers: list[room.Offer]

    @dataclass
    class Said(Message):
        """How far it is."""

        words: str

    @dataclass
    class Written(Message):
        """The model has written a summary."""

        offer: room.Offer
        text: str

    @dataclass
    class Stopped(Message):
        """Nothing came of it; why, if not because it was stopped."""

        why: str

    def __init__(self, chat: Chat, draft: str) -> None:
        """`draft` is the question that is to have room, if there is one yet."""
        super().__init__()
        self._chat, self._draft = chat, draft
        self._offers: dict[str, room.Offer] = {}
        self._writing = self._leaving = False
        """Whether the model writes a summary; whether to go back as soon as it has stopped."""

    def compose(self) -> ComposeResult:
        with Vertical(id="room") as box:
            box.border_title = "Context"
            box.border_subtitle = "Enter chooses · Esc goes back"
            yield Static("", id="filled")
            yield OptionList(id="ways")
            yield Static("counting ...", id="said")

    def on_mount(self) -> None:
        self._count()

    @work(thread=True, exit_on_error=False, group="room")
    def _count(self) -> None:
        try:
            parts = self._chat.count(self._draft)
            self.post_message(self.Counted(parts, room.offers(self._chat, self._draft)))
        except OnDeviceError as error:
            self.post_message(self.Stopped(f"{error.message}. {error.hint}"))

    @on(Counted)
    def _show(self, event: Counted) -> None:
        parts, filled = event.parts, self.query_one("#filled", Static)
        what = "With the question that is written" if self._draft else "What is shown"
        size = f" of {units.count(parts.n_ctx)}" if parts.n_ctx else ""
        rows = [
            parts_bar(parts, max(8, filled.content_size.width)),
            *whole_legend(parts),
            f"{what}: {units.count(parts.used)}{size} tokens.",
        ]
        filled.update(Content("\n".join(rows)))
        self._offers = {offer.kind: offer for offer in event.offers}
        ways = self.query_one(OptionList)
        ways.add_options(Option(self._row(offer), id=offer.kind) for offer in event.offers)
        ways.display = bool(event.offers)
        self._say("" if event.offers else NO_WAY)
        if event.offers:
            ways.action_first()
            ways.focus()

    def _row(self, offer: room.Offer) -> Content:
        fits = " The question has room then." if offer.fits else " Even so it has no room."
        return Content(clean_line(offer.said + (fits if self._draft else ""), 300))

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        offer = self._offers[str(event.option.id)]
        if self._writing:
            return
        if offer.kind != "summarise":
            self.dismiss(Wanted(offer))
            return
        self._writing = True
        self._say("The model begins. Esc stops it.")
        self._summarise(offer, room.summarise(self._chat, offer))  # Esc counts from here

    @work(thread=True, exit_on_error=False, group="room")
    def _summarise(self, offer: room.Offer, events: Iterator[ChatEvent]) -> None:
        measured, said, limit = None, 0, room.most_tokens(self._chat)
        try:
            for event in events:
                if isinstance(event, PrefillProgress) and event.eta_s:
                    left = units.duration(event.eta_s)
                    self.post_message(self.Said(f"The model reads, {left} left. Esc stops it."))
                elif isinstance(event, TextDelta) and event.completion_tokens >= said + SAY_EVERY:
                    said = event.completion_tokens
                    most = f"{said} of at most {units.count(limit)} tokens"
                    self.post_message(self.Said(f"The model sums up: {most}. Esc stops it."))
                elif isinstance(event, Measured):
                    measured = event
            info = self._chat.info
            if measured is None or info is None or measured.done.finish_reason == "cancelled":
                self.post_message(self.Stopped(""))
            else:
                self.post_message(self.Written(offer, room.summary_of(measured, info)))
        except OnDeviceError as error:
            self.post_message(self.Stopped(f"{error.message}. {error.hint}"))

    @on(Said)
    def _show_said(self, event: Said) -> None:
        if not self._leaving:
            self._say(event.words)

    @on(Stopped)
    def _show_stopped(self, event: Stopped) -> None:
        self._writing = False
        self._say(event.why)
        if self._leaving:
            self.dismiss(None)

    @on(Written)
    def _offer_summary(self, event: Written) -> None:
        self._writing = False
        if self._leaving:
            self.dismiss(None)
            return

        def confirmed(text: str | None) -> None:
            if text is not None:
                self.dismiss(Wanted(event.offer, text))

        self._say("Nothing was changed.")
        screen = EditScreen("Summary", ABOUT_SUMMARY, event.text, _refuse_blank, prose=True,
                            enter="uses it")  # fmt: skip
        self.app.push_screen(screen, confirmed)

    def action_cancel(self) -> None:
        """Back; a summary is stopped first, as the engine does one thing at a time."""
        if not self._writing:
            self.dismiss(None)
            return
        self._leaving = True
        self._chat.cancel()
        self._say("stopping ...")

    def _say(self, words: str) -> None:
        self.query_one("#said", Static).update(Content(clean_line(words, 300)))


def _refuse_blank(text: str) -> None:
    if not text.strip():
        raise UsageTrouble("the summary is empty", hint="Write one, or go back.")
