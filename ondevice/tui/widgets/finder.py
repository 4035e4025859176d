"""Find in the conversation: a line to write in, how many places there are, and which is shown."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from ondevice import units
from ondevice.domain.find import found
from ondevice.domain.session import StoredMessage
from ondevice.tui.widgets.bubble import Answer, Question
from ondevice.tui.widgets.conversation import Conversation
from ondevice.tui.widgets.fields import LineField
from ondevice.tui.widgets.prose import Prose

LONGEST_QUERY = 200
Place = tuple[Prose, int]
"""A message, and which of its places."""


class Finder(Horizontal):
    """Closed at first. What is not shown yet is searched too, and shown when one comes to it."""

    PLACE = "finding"  # of its keys, as keymap calls it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Back", id="find.close",
                tooltip="While finding: close the search."),
        # Priority, as the field would scroll with them.
        Binding("up", "step(-1)", "Before", id="find.up", priority=True,
                tooltip="While finding: the place before, as with Enter."),
        Binding("down", "step(1)", "After", id="find.down", priority=True,
                tooltip="While finding: the next place."),
    ]  # fmt: skip

    def __init__(self, conversation: Conversation) -> None:
        super().__init__(id="find")
        self._conversation = conversation
        self._at: Place | None = None
        """The place that is looked at."""
        self._earlier: list[tuple[StoredMessage, int]] = []
        """Messages that are not shown yet, the newest first, and how often each has it."""
        self._texts: dict[StoredMessage, str] = {}
        """What they would show."""
        self._opener: Widget | None = None

    def compose(self) -> ComposeResult:
        yield Static("Find", classes="label")
        yield LineField(compact=True, max_length=LONGEST_QUERY)
        yield Static(classes="count")

    def open(self) -> None:
        """Show the line; what was looked for last is in it."""
        if not self.display:
            self._opener = self.screen.focused
        self.display = True
        field = self.query_one(Input)
        field.focus()
        field.action_select_all()
        self._search(field.value)

    def close(self) -> None:
        """Mark nothing any more; the cursor stays at what was found."""
        self.workers.cancel_node(self)
        for prose in self._proses():
            prose.find("")
        self._texts.clear()
        self._at = None
        self.display = False

    def action_close(self) -> None:
        """Close it, and go back to where it was opened."""
        self.close()
        if self._opener is not None:
            self._opener.focus(scroll_visible=False)

    @on(Input.Changed)
    def _look_anew(self, event: Input.Changed) -> None:
        event.stop()
        if self.display:
            self._at = None
            self._search(event.value)

    @on(Input.Submitted)
    def _step_back(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_step(-1)

    @work(exclusive=True, group="search")
    async def _search(self, query: str) -> None:
        """Mark what is shown and go to the newest place in view, then count in what is not."""
        self._earlier = []
        places = self._places()
        self._go_to(self._at if self._at in places else self._nearest(places))
        for message in reversed(self._conversation.earlier if query else []):
            self._say(more=True)
            await asyncio.sleep(0)  # a key is answered in between
            if count := len(found(self._text_of(message), query)):
                self._earlier.append((message, count))
        self._say()

    @work(exclusive=True, group="step")
    async def action_step(self, step: int) -> None:
        """To the place before or after, also among messages that are not shown yet."""
        places = self._places()
        at = places.index(self._at) + step if self._at in places else len(places) - 1
        if at < 0 and self._earlier:
            await self._conversation.reveal(self._earlier[0][0])
            shown = self._conversation.earlier
            self._earlier = [each for each in self._earlier if each[0] in shown]
            at += len(self._places()) - len(places)
            places = self._places()
        if places:
            self._go_to(places[min(max(at, 0), len(places) - 1)])
        self._say()

    def _places(self) -> list[Place]:
        """Every place that is shown, from top to bottom; marks them."""
        query, width = self.query_one(Input).value, self._conversation.content_region.width
        counts = [(each, each.find(query, width)) for each in self._proses()]
        return [(each, number) for each, count in counts for number in range(count)]

    def _proses(self) -> list[Prose]:
        return [prose for bubble in self._conversation.bubbles for prose in bubble.proses]

    def _nearest(self, places: list[Place]) -> Place | None:
        """The last one that is not below what is in view."""
        bottom = self._conversation.content_region.bottom
        above = [each for each in places if self._conversation.row_of(*each) < bottom]
        return next(iter(above[-1:] or places[:1]), None)

    def _go_to(self, place: Place | None) -> None:
        """Bring a place into view; acts are on its message from now on."""
        if self._at is not None and self._at != place:
            self._at[0].point(None)
        self._at = place
        if place is not None:
            self._conversation.show_place(*place)
        self._say()

    def _text_of(self, message: StoredMessage) -> str:
        """What would be shown of a message that is not."""
        if message not in self._texts:
            bubble = (Question if message.role == "user" else Answer).stored(message)
            width = self._conversation.content_region.width
            texts = [prose.laid_out(width) for prose in bubble.proses]
            self._texts[message] = "\n".join(texts)
        return self._texts[message]

    def _say(self, more: bool = False) -> None:
        """Which place of how many is shown; `more` may be found yet."""
        earlier, places = sum(count for _, count in self._earlier), self._places()
        here = earlier + places.index(self._at) + 1 if self._at in places else 0
        total = earlier + len(places)
        words = f"{units.count(here)} of {units.count(total)}" if total else "nothing found"
        words = words if self.query_one(Input).value else ""
        self.query_one(".count", Static).update(Content(words + " …" * more))
