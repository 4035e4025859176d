"""Every session that is kept: finding one, opening it, and what else one does with it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widgets import DataTable, Input, Static
from textual.worker import Worker, WorkerState

from ondevice.chat import Keeping
from ondevice.domain.session import Found, Listed, Session
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError
from ondevice.tui import messages, session_rows
from ondevice.tui.screens.chat import ChatScreen
from ondevice.tui.screens.confirm import labelled
from ondevice.tui.session_acts import Act, SessionActs
from ondevice.tui.session_rows import Row
from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.fields import LineField
from ondevice.tui.widgets.keys import Keys, key_of
from ondevice.tui.widgets.topbar import TopBar

EMPTY = (
    "No session is kept here yet: what you write in the chat becomes one with its first message. "
    "Another can be taken in from a file, and of a private one nothing is kept."
)
NOTHING_FOUND = "No title and no message has all of these words. The last one may be unfinished."

MORE_KEYS = {
    "system": "system prompt",
    "export": "exports",
    "import": "imports",
    "remove_all": "deletes all",
}
"""What the last line of 80 columns has no room for, by action."""


class Table(DataTable[Text]):
    """A table whose Enter is named in the last line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", id="sessions.open")
    ]


class SessionsScreen(Screen[Wanted | None]):
    """The table. Returns what to open, or None for what is open."""

    CSS_PATH = "../styles/table.tcss"
    AUTO_FOCUS = "#table"
    NUMBERS = (session_rows,)
    """Modules whose docstrings define what is shown."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f4", "back", "Back", id="sessions.back", tooltip="Back to the chat."),
        Binding("enter", "open", "Open", id="sessions.open",
                tooltip="Open the session, at the message that was found."),
        Binding("slash", "find", "Search", id="sessions.find", key_display="/",
                tooltip="Search titles and messages for what you type."),
        Binding("r", "rename", "Rename", id="sessions.rename",
                tooltip="Give the session another title."),
        Binding("s", "tell", "System", id="sessions.system", show=False,
                tooltip="The session's system prompt: write it, or begin from a preset."),
        Binding("x", "export", "Export", id="sessions.export", show=False,
                tooltip="Write the session to a file in this folder."),
        Binding("i", "take_in", "Import", id="sessions.import", show=False,
                tooltip="Take in a session that was exported as JSON."),
        Binding("p", "private", "Private", id="sessions.private",
                tooltip="Begin a session of which nothing is kept."),
        Binding("delete", "remove", "Delete", id="sessions.remove",
                tooltip="Delete the session for good, after a question."),
        Binding("D", "remove_all", "Delete all", id="sessions.remove_all", show=False,
                tooltip="Delete every session for good, after a question."),
    ]  # fmt: skip

    def __init__(self, keeping: Keeping, chat: ChatScreen) -> None:
        """`chat` is the screen below."""
        super().__init__()
        self._keeping, self._chat = keeping, chat
        self._acts = SessionActs(keeping, chat, self._change)
        self._listed: list[Listed] = []
        self._found: list[Found] | None = None
        """None while nothing is looked for."""
        self._set_aside: list[Path] = []
        self._rows: dict[str, Row] = {}
        self._read = False

    def compose(self) -> ComposeResult:
        yield TopBar("Sessions")
        yield LineField(placeholder="Type to search titles and messages", id="filter", compact=True,
                    max_length=200)  # fmt: skip
        yield Table(id="table", cursor_type="row", cell_padding=0)
        yield Static(Content("Looking …"), id="none")
        with VerticalScroll(id="detail"):
            yield Static(id="facts")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(TopBar).show(self._chat.query_one(TopBar).running)
        self.query_one(Input).display = False
        more = " · ".join(
            f"{key_of(self, f'sessions.{name}')} {what}" for name, what in MORE_KEYS.items()
        )
        self.query_one("#detail").border_subtitle = Content(more)
        self._look()

    def on_resize(self) -> None:
        if self._read:
            self._fill()

    # What there is

    def _look(self) -> None:
        self._look_for(self.query_one(Input).value)

    @work(thread=True, exclusive=True, exit_on_error=False, group="look")
    def _look_for(self, text: str) -> None:
        try:
            listed = self._keeping.listed()
            found = self._keeping.search(text) if text.strip() else None
            aside = self._keeping.set_aside()
            self.post_message(messages.SessionsRead(text, listed, found, aside))
        except OnDeviceError as error:
            self.post_message(messages.SessionsRead(text, [], None, [], error))

    @on(messages.SessionsRead)
    def _show_read(self, event: messages.SessionsRead) -> None:
        if event.error is not None:
            self._say(f"{event.error.message}. {event.error.hint}", "warning")
            if not self._read:
                self.query_one("#none", Static).update(Content("What is kept cannot be read."))
        elif event.text == self.query_one(Input).value:  # else more was typed meanwhile
            self._listed, self._found, self._read = event.listed, event.found, True
            self._set_aside = event.set_aside
            self._fill()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug in a worker must not look like waiting."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            raise event.worker.error

    def _fill(self) -> None:
        """All rows anew; the cursor stays on its session."""
        table, chosen, width = self.query_one(Table), self._chosen(), self.size.width
        open_id, here = self._keeping.open_id, self._keeping.tree(None)
        rows = session_rows.rows(self._listed, self._found, stored=open_id is not None)
        self._rows = {row.key: row for row in rows}
        table.clear(columns=True)
        for title, columns in session_rows.columns(width, self._found is not None):
            table.add_column(Text(title), key=title, width=columns)
        for key, row in self._rows.items():
            table.add_row(*session_rows.cells(row, width, open_id, here), key=key)
        self._show_amounts(table)
        if chosen is not None and chosen.key in self._rows:
            table.move_cursor(row=table.get_row_index(chosen.key))
        self._show_detail()

    def _show_amounts(self, table: Table) -> None:
        looked, count = self._found is not None, len(self._listed)
        title = f"{len(self._rows)} found" if looked else f"{count} kept"
        table.border_title, table.display = title, bool(self._rows)
        nothing = self.query_one("#none", Static)
        nothing.display = not self._rows or not (looked or count)
        nothing.update(Content(NOTHING_FOUND if looked else EMPTY))
        if table.display and not isinstance(self.focused, Input):
            table.focus()

    @on(DataTable.RowHighlighted)
    def _show_detail(self) -> None:
        row, lines = self._chosen(), []
        if row is not None:
            here = self._keeping.tree(None)
            lines = list(session_rows.detail(row, here, self._keeping.is_kept))
        self.query_one("#facts", Static).update(labelled(lines, self.size.width - 6))

    def _chosen(self) -> Row | None:
        table = self.query_one(Table)
        if not table.row_count:
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return self._rows.get(key or "")

    def _say(self, words: str, severity: SeverityLevel = "information") -> None:
        # the app's: this screen may have been left meanwhile
        self.app.notify(clean_line(words, 400), severity=severity, markup=False)

    # Finding and opening

    def action_back(self) -> None:
        """End the search, or go back to the chat."""
        field = self.query_one(Input)
        if field.display:
            field.value, field.display = "", False
            self.query_one(Table).focus()
        else:
            self.dismiss(None)

    def action_find(self) -> None:
        """Show the search."""
        self.query_one(Input).display = True
        self.query_one(Input).focus()

    @on(Input.Changed, "#filter")
    def _search(self, event: Input.Changed) -> None:
        self._look_for(event.value)

    @on(Input.Submitted, "#filter")
    def _to_table(self) -> None:
        """Open the only row; among several the arrow keys choose."""
        self.query_one(Table).focus()
        if len(self._rows) == 1:
            self.action_open()

    @on(DataTable.RowSelected)
    def action_open(self) -> None:
        """Open the chosen session."""
        row = self._chosen()
        if row is None:
            return
        open_id = self._keeping.open_id
        is_open = row.session is None or (row.session.id == open_id and row.message is None)
        message_id = row.message.id if row.message else None
        self.dismiss(None if is_open else Wanted(row.session, message_id))

    def action_private(self) -> None:
        """Begin a private session."""
        self.dismiss(Wanted(None, private=True))

    # What one does with it

    @work(thread=True, exit_on_error=False, group="change")
    def _change(self, act: Act) -> None:
        """Do something that may wait for the disk, and say what it returns."""
        try:
            self._say(act())
        except OnDeviceError as error:
            self._say(f"{error.message}. {error.hint}", "warning")
        for screen in (self, self._chat):  # this one may have been left meanwhile
            screen.post_message(messages.SessionsChanged())

    @on(messages.SessionsChanged)
    def _look_again(self) -> None:
        self._look()

    def action_rename(self) -> None:
        """Give the session another title."""
        if session := self._stored():
            self._acts.rename(session)

    def action_tell(self) -> None:
        """Write the session's system prompt; presets are offered where there are some."""
        if row := self._chosen():
            self._acts.tell(row.session)

    def action_export(self) -> None:
        """Write the session to a new file."""
        if row := self._chosen():
            self._acts.export(row.session)

    def action_take_in(self) -> None:
        """Make a session of a file."""
        self._acts.take_in()

    def action_remove(self) -> None:
        """Delete the session, after a question."""
        row = self._chosen()
        if self._stored() and row is not None:
            self._acts.remove(row, self._set_aside)

    def action_remove_all(self) -> None:
        """Delete all of them, after a question."""
        if self._listed:
            self._acts.remove_all(self._listed)
        else:
            self._say("There is nothing to delete.")

    def _stored(self) -> Session | None:
        """The chosen session; None, which is said, where it is not stored."""
        row = self._chosen()
        if row is not None and row.session is None:
            self._say("This one is not stored.")
        return row.session if row else None
