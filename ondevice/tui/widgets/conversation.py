"""The conversation: its bubbles, kept at their end while they grow, and a word when it is empty."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from ondevice.domain.session import StoredMessage
from ondevice.domain.text import clean_line
from ondevice.tui.widgets.bubble import Answer, Bubble, Question

PAGE = 30
"""Stored messages shown at once: every one costs layout each time an answer grows."""

WELCOME = """\
Write a question below; {send} sends it. For example:

  Explain in two sentences what a KV cache is.

{newline} breaks the line. {help} lists the keys and says what the numbers mean."""
KEYS = {"send": "Enter", "newline": "Shift+Enter or Ctrl+J", "help": "F1", "up": "PgUp"}


class Conversation(VerticalScroll):
    """Bubbles from top to bottom."""

    def __init__(self) -> None:
        super().__init__(id="conversation", can_focus=False)
        self._model = ""
        self._keys = KEYS
        self._earlier: list[StoredMessage] = []
        """Stored messages that are not shown yet, the oldest first."""
        self._follow = False
        """The end is to be kept in view as soon as the bubbles overflow."""

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

    async def show(self, stored: list[StoredMessage]) -> None:
        """Show a stored conversation, or an empty one."""
        await self.query(Bubble).remove()
        self._earlier = [message for message in stored if message.content]
        await self._show_earlier()
        self.keep_end()
        self._greet()

    async def add(self, *bubbles: Bubble) -> None:
        """Append bubbles and go to the end."""
        await self.mount_all(bubbles)
        self.keep_end()
        self._greet()

    def keep_end(self) -> None:
        """Go to the end, and stay there until somebody scrolls up."""
        self._follow = True
        self.call_after_refresh(self.follow)

    def follow(self) -> None:
        """Anchor once a turn: scrolling up releases it, and must not be undone.

        An anchor in a view that is not full scrolls it to a negative offset (Textual 8.2).
        """
        if self.scroll_y < 0:
            self.anchor(False)
            self.scroll_home(animate=False, force=True, immediate=True)
            self._follow = True
        if self._follow and self.max_scroll_y > 0:
            self.anchor()
            self._follow = False

    def on_resize(self) -> None:
        """What was full before may not be any more."""
        self.call_after_refresh(self.follow)

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
        bubbles = [
            Question(message.content) if message.role == "user" else Answer.stored(message)
            for message in page
        ]
        await self.mount_all(bubbles, after="#welcome")
        hidden = len(self._earlier)
        self.border_subtitle = f"{hidden} earlier: {self._keys['up']}" if hidden else ""

    def _greet(self) -> None:
        welcome = self.query_one("#welcome", Static)
        welcome.display = not self.query(Bubble)
        words = WELCOME.format_map(self._keys)
        welcome.update(Content(f"{self._model}\n\n{words}" if self._model else words))
