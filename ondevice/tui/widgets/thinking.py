"""What a model thinks: its last lines while it does, one line when it has, all of it on demand."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from ondevice import units
from ondevice.tui.widgets.keys import written
from ondevice.tui.widgets.prose import Prose
from ondevice.tui.widgets.rows import wrapped

USUAL_KEYS = {"talk.read": "ctrl+r", "read.fold": "t"}
"""What unfolds: the first where nothing is chosen yet, then the second."""
LAST_ROWS = 2
"""Shown of thinking that goes on: enough to see that it does."""
LAST_CHARACTERS = 600
"""Of which they are made: more than two rows of a wide terminal have."""


class Thinking(Vertical):
    """Folded until somebody unfolds it; not there where a model did not think."""

    def __init__(self) -> None:
        super().__init__(classes="thinking")
        self.text = ""
        self.folded = True
        self._open = False
        self._selected = False
        self._prose: Prose | None = None
        """Made when it is unfolded first."""

    def compose(self) -> ComposeResult:
        yield Static(classes="fold")
        yield Static(classes="last")

    def on_mount(self) -> None:
        self._show()

    def append(self, text: str, growing: bool) -> None:
        """Show more, which may be nothing; while it is `growing` yet more may come."""
        if not text and growing == self._open:
            return
        self.text += text
        self._open = growing
        if self._prose is not None:
            self._prose.append(text)
            if not growing:
                self._prose.end()
        self._show()

    def select(self, selected: bool) -> None:
        """Whether its key works as it is."""
        self._selected = selected
        self._show()

    def toggle(self) -> None:
        """Fold, or unfold."""
        self.folded = not self.folded
        if self._prose is None:
            self._prose = Prose(self.text)
            self.mount(self._prose)
        self._prose.display = not self.folded
        self._show()

    def on_click(self, event: events.Click) -> None:
        """Its first line is a button."""
        if event.widget is self.query_one(".fold"):
            self.toggle()

    def _show(self) -> None:
        if not self.is_mounted:
            return
        self.display = bool(self.text.strip())
        words = f"thinking · {units.count(len(self.text.split()))} words"
        chosen: dict[str, str] = getattr(self.app, "keys", {})
        keys = [written(chosen.get(name, usual))[0] for name, usual in USUAL_KEYS.items()]
        key = f"{' '.join(keys[self._selected :])} {'unfolds' if self.folded else 'folds'}"
        mark = "▸" if self.folded else "▾"
        fold, last = self.query_one(".fold", Static), self.query_one(".last", Static)
        fold.update(Content(f"{mark} {words} · {key}"), layout=False)
        last.display = self._open and self.folded
        if last.display:
            rows = list(wrapped(Content(self.text[-LAST_CHARACTERS:]), self.size.width - 4))
            latest = [row.content for row in rows if row.content][-LAST_ROWS:]
            last.update(Content("\n").join(latest), layout=False)

    @property
    def prose(self) -> Prose | None:
        """What is shown of it in full."""
        return None if self.folded or not self.text else self._prose
