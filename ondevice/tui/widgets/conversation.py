"""The conversation: its bubbles, kept at their end while they grow, and a word when it is empty.

While it has the focus a cursor stands on one of them, see `reading`.
"""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Region, Spacing
from textual.message import Message
from textual.widgets import Static

from ondevice.domain.session import Places, StoredMessage
from ondevice.domain.text import clean_line
from ondevice.tui import caches, messages
from ondevice.tui.widgets.bubble import Answer, Bubble, Question, of_message
from ondevice.tui.widgets.prose import Prose
from ondevice.tui.widgets.reading import ACTS, ASKS, MOVES, REFUSALS
from ondevice.tui.widgets.tail import Tail
from ondevice.tui.widgets.welcome import KEYS, WELCOME

PAGE = 30
"""Stored messages shown at once: every one costs layout each time an answer grows."""


class Conversation(Tail):
    """Bubbles from top to bottom."""

    PLACE = "reading"  # of its keys, as keymap calls it
    FOCUS_ON_CLICK = False  # a click on a message chooses it, one beside it changes nothing
    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES, *(ask.binding for ask in ASKS.values()), *ACTS, *REFUSALS,
    ]  # fmt: skip

    class FindAsked(Message):
        """Somebody wants to find something in here."""

    def __init__(self) -> None:
        super().__init__("conversation", can_focus=False)
        self.cursor: Bubble | None = None
        """The message that keys act on; shown while they come here."""
        self._model, self._keys = "", KEYS
        self._earlier: list[StoredMessage] = []
        """Stored messages that are not shown yet, the oldest first."""
        self._places: Places = {}

    def compose(self) -> ComposeResult:
        yield Static(id="welcome")

    def name_keys(self, keys: dict[str, str]) -> None:
        """Other keys than those of `KEYS` hold."""
        self._keys = keys
        self._greet()

    def name_title(self, title: str) -> None:
        """Put the session's title into the border."""
        # as Content: a string would be read as markup
        self.border_title = Content(clean_line(title, 60) or "New session")

    def name_model(self, words: str) -> None:
        """Say in the empty conversation which model answers."""
        self._model = words
        self._greet()

    async def show(self, stored: list[StoredMessage], places: Places) -> None:
        """Show a stored conversation, or an empty one."""
        self.cursor, self._places = None, places
        await self.query(Bubble).remove()
        caches.clear()
        self._earlier = [message for message in stored if message.content]
        await self._show_earlier()
        self.keep_end()
        self._greet()

    async def add(self, *bubbles: Bubble) -> None:
        """Append bubbles and go to the end."""
        await self.mount_all(bubbles)
        self.keep_end()
        self._greet()
        if self.has_focus:
            self.choose(bubbles[-1], scroll=False)

    async def cut(self, message_id: int, after: bool = False) -> None:
        """Take it away with all that follows, or only what is `after` it: something else comes."""
        for bubble in self._of(message_id):
            await self._remove(self.bubbles[self.bubbles.index(bubble) + after :])

    async def take_away(self, selector: str) -> None:
        """Bubbles of which nothing is stored."""
        await self._remove(list(self.query(selector).results(Bubble)))
        self._greet()

    async def _remove(self, gone: list[Bubble]) -> None:
        """A cursor on one of them goes to the last one that is left."""
        await self.remove_children(gone)
        if self.cursor in gone:
            self.cursor = None
            for bubble in self.bubbles[-1:]:
                self.choose(bubble, scroll=False)

    async def stand_on(self, message_id: int) -> None:
        """Go to a message, and read on from there."""
        while any(each.id == message_id for each in self._earlier):
            await self._show_earlier()
        for bubble in self._of(message_id):
            self.cursor = bubble
            self.leave_end()
            self.focus(scroll_visible=False)
            self.call_after_refresh(self.choose, bubble)

    def note_changed(self, message: StoredMessage) -> None:
        """It has another mark."""
        for bubble in self._of(message.id):
            bubble.note(message, self._places)

    def _of(self, message_id: int) -> list[Bubble]:
        return [each for each in self.bubbles if each.message and each.message.id == message_id]

    def note_stored(self, message: StoredMessage, places: Places) -> None:
        """Remember of which message the newest bubble of its role is; acts need that."""
        self._places = places
        if self._of(message.id):
            return
        kind = Question if message.role == "user" else Answer
        newest = next((each for each in reversed(self.bubbles) if isinstance(each, kind)), None)
        if newest is not None and newest.message is None:
            newest.note(message, places)
            if self.has_focus:
                self.refresh_bindings()

    # Choosing

    def on_focus(self) -> None:
        """The cursor stands where it was, at first on the last message."""
        bubble = self.cursor if self.cursor in self.bubbles else self.bubbles[-1]
        self.choose(bubble, scroll=not bubble.region.overlaps(self.content_region))

    def on_blur(self) -> None:
        if self.cursor is not None:
            self.cursor.select(False)

    def on_click(self, event: events.Click) -> None:
        """Choose what is clicked; a link, or text that was just selected, is no choice."""
        around = event.widget.ancestors_with_self if event.widget else []
        bubble = next((node for node in around if isinstance(node, Bubble)), None)
        if bubble and not event.style.meta.get("@click") and not self.screen.selections:
            self.cursor = bubble
            self.focus(scroll_visible=False)
            self.choose(bubble, scroll=False)

    def choose(self, bubble: Bubble, scroll: bool = True) -> None:
        """Put the cursor on `bubble`; with the focus here it is seen, and brought into view."""
        if self.cursor is not None:
            self.cursor.select(False)
        self.cursor = bubble
        if self.screen.focused is not self:
            return
        bubble.select(True)
        self.refresh_bindings()
        if scroll:
            self.release_anchor()
            tall = bubble.size.height > self.size.height
            self.scroll_to_widget(bubble, animate=False, top=tall)

    async def action_move(self, step: int) -> None:
        """To the message before or after; above the first shown come earlier ones."""
        at = self.bubbles.index(self.cursor) + step if self.cursor in self.bubbles else -1
        if at < 0 and self._earlier:
            at += min(PAGE, len(self._earlier))
            await self._show_earlier()
        self.choose(self.bubbles[min(max(at, 0), len(self.bubbles) - 1)])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What cannot be done with this message is not offered."""
        if action == "fold":
            return isinstance(self.cursor, Answer) and self.cursor.thinking.display
        if action == "ask":
            kinds = ASKS[str(parameters[0])].of
            stored = self.cursor is not None and self.cursor.message is not None
            return stored and isinstance(self.cursor, kinds)
        if action == "refuse":
            return self.cursor is not None and not isinstance(
                self.cursor, ASKS[str(parameters[0])].of
            )
        return True

    def action_find(self) -> None:
        """Ask for the search."""
        self.post_message(self.FindAsked())

    def action_copy(self) -> None:
        """Copy what was written."""
        if self.cursor is not None:
            self.post_message(messages.CopyAsked([self.cursor.written], "message"))

    def action_copy_code(self) -> None:
        """Copy one of the code blocks."""
        from ondevice.tui.widgets.markdown import code_blocks  # deferred: 60 ms of the start

        if self.cursor is not None:
            self.post_message(messages.CopyAsked(code_blocks(self.cursor.written), "code block"))

    def action_fold(self) -> None:
        """Show the thinking, or one line of it."""
        if isinstance(self.cursor, Answer):
            self.cursor.thinking.toggle()

    def action_ask(self, name: str) -> None:
        """Tell the screen what is wanted, of the last message where none is chosen."""
        fitting = [
            each for each in self.bubbles if each.message and isinstance(each, ASKS[name].of)
        ]
        bubble = self.cursor if self.cursor in fitting else fitting[-1] if fitting else None
        if bubble is not None and bubble.message is not None:
            self.post_message(ASKS[name].fact(bubble.message))

    def action_refuse(self, name: str) -> None:
        """Say why it is not done with this message."""
        self.notify(ASKS[name].refusal, markup=False)

    # Scrolling

    async def action_page(self, pages: int) -> None:
        await self.page(pages)

    async def page(self, pages: int) -> None:
        """Scroll by pages; above the first shown bubble come earlier ones."""
        if pages > 0:
            self.scroll_page_down(animate=False)
        elif self.scroll_y > 0 or not self._earlier:
            self.scroll_page_up(animate=False)
        else:
            before = self.virtual_size.height
            await self._show_earlier()
            self.call_after_refresh(
                lambda: self.scroll_to(y=self.virtual_size.height - before, animate=False)
            )

    async def _show_earlier(self) -> None:
        self._earlier, page = self._earlier[:-PAGE], self._earlier[-PAGE:]
        bubbles = [of_message(message, self._places) for message in page]
        await self.mount_all(bubbles, after="#welcome")
        hidden = len(self._earlier)
        words = f"{hidden} earlier: {self._keys['up']}" if hidden else ""
        self.border_subtitle = Content(words)

    # Finding

    @property
    def bubbles(self) -> list[Bubble]:
        """What is shown, from top to bottom."""
        return list(self.query_children(Bubble))

    @property
    def earlier(self) -> list[StoredMessage]:
        """What is not shown yet, the oldest first."""
        return self._earlier

    async def reveal(self, message: StoredMessage) -> None:
        """Show earlier messages, down from the last of them to this one."""
        while message in self._earlier:
            await self._show_earlier()

    def row_of(self, prose: Prose, number: int) -> int:
        """The row of the screen where the place stands, or would if the screen were higher."""
        return prose.content_region.y + prose.places[number][0][0]

    def show_place(self, prose: Prose, number: int) -> None:
        """Go to a place in a message, with some of what stands around it."""
        bubble = next((each for each in self.bubbles if prose in each.proses), None)
        if bubble is None:  # removed, or folded, meanwhile
            return
        prose.point(number)
        self.choose(bubble, scroll=False)
        if not prose.size.width:  # just mounted: it has no place yet
            self.call_after_refresh(self.show_place, prose, number)
            return
        row = self.row_of(prose, number) - self.content_region.y + self.scroll_offset.y
        self.release_anchor()
        self.scroll_to_region(
            Region(0, row, 1, 1), animate=False, spacing=Spacing.vertical(2), x_axis=False
        )

    def _greet(self) -> None:
        welcome = self.query_one("#welcome", Static)
        welcome.display = not self.query(Bubble)
        self.can_focus = not welcome.display
        if welcome.display and self.has_focus:
            self.screen.focus_next()  # there is nothing left to read
        words = WELCOME.format_map(self._keys)
        welcome.update(Content(f"{self._model}\n\n{words}" if self._model else words))
