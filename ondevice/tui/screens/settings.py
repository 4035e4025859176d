"""What is kept: every setting by group, with its value and what it is; a change holds at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ondevice.domain.text import clean_line
from ondevice.errors import ModelNotHere, OnDeviceError, SettingsInvalid
from ondevice.settings import Reading, typed
from ondevice.settings.definition import NEXT_LOAD
from ondevice.tui import keymap, messages, setting_rows
from ondevice.tui.doors import Doors
from ondevice.tui.screens.confirm import labelled
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.pick import PickScreen
from ondevice.tui.setting_rows import Row
from ondevice.tui.widgets.keys import Keys, key_of
from ondevice.tui.widgets.topbar import TopBar


class List(OptionList):
    """A list whose Enter is named in the last line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Change", id="settings.change")
    ]


class SettingsScreen(Screen[None]):
    """The list, and all about the setting under the cursor."""

    CSS_PATH = "../styles/settings.tcss"
    AUTO_FOCUS = "#settings"
    NUMBERS = ()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f9", "back", "Back", id="settings.back", tooltip="Back to the chat."),
        Binding("enter", "change", "Change", id="settings.change",
                tooltip="Choose or type another value, or add a preset; the file has it at once."),
        Binding("delete", "reset", "Default", id="settings.reset",
                tooltip="Go back to the default."),
    ]  # fmt: skip

    def __init__(self, doors: Doors, chat: Screen[None], running: str) -> None:
        """`chat` is the screen whose keys the explanations name."""
        super().__init__()
        self._doors, self._chat, self._serving = doors, chat, running
        self._reading = doors.settings.read()
        self._rows: dict[str, Row] = {}

    def compose(self) -> ComposeResult:
        yield TopBar("Settings")
        yield Static(id="faults")
        yield List(id="settings", compact=True)
        with VerticalScroll(id="detail"):
            yield Static(id="facts")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(TopBar).show(self._serving)
        # as Content: a string would be read as markup
        name = Content(clean_line(self._doors.settings.path.name))
        self.query_one(List).border_title = name

    def on_resize(self) -> None:
        self._fill()

    def _fill(self) -> None:
        """All rows anew; the cursor stays on its setting."""
        options = self.query_one(List)
        chosen = self._chosen()
        self._rows.clear()
        options.clear_options()
        for group, rows in setting_rows.rows(self._reading):
            options.add_option(Option(Content.styled(group, "bold $primary"), disabled=True))
            for row in rows:
                line = setting_rows.line(row, self.size.width - 6)
                options.add_option(Option(line, id=row.name))
                self._rows[row.name] = row
        if chosen is not None and chosen.name in self._rows:
            options.highlighted = options.get_option_index(chosen.name)
        else:
            options.action_first()
        count = sum(row.given for row in self._rows.values())
        options.border_subtitle = (
            f"{setting_rows.GIVEN} {count} set in the file" if count else "all are the defaults"
        )
        self._show_faults()

    def _show_faults(self) -> None:
        lines = setting_rows.faults(self._reading)
        faults = self.query_one("#faults", Static)
        faults.display = bool(lines)
        faults.update(Content("\n".join(clean_line(line) for line in lines)))

    @on(OptionList.OptionHighlighted)
    def _show_detail(self) -> None:
        row = self._chosen()
        keys = key_of(self, "settings.change"), key_of(self._chat, "chat.reload")
        lines = setting_rows.detail(row, *keys) if row else []
        facts = labelled(lines, self.size.width - 6)
        self.query_one("#facts", Static).update(facts)

    def _chosen(self) -> Row | None:
        options = self.query_one(List)
        if options.highlighted is None:
            return None
        return self._rows.get(options.get_option_at_index(options.highlighted).id or "")

    # What one does with it

    def action_back(self) -> None:
        """Back to the chat."""
        self.dismiss()

    @on(OptionList.OptionSelected)
    def action_change(self) -> None:
        """Choose or type another value; in a table, one more."""
        row = self._chosen()
        if row is not None and row.is_table:
            self._add(row)
        elif row is not None:
            self._ask(row)

    def _add(self, table: Row) -> None:
        """Ask for the name of one more entry, then for its text."""

        def named(name: str | None) -> None:
            if name is not None:
                self._ask(table._replace(name=f"{table.name}.{name.strip()}"))

        check = partial(self._refuse_name, table)
        about = f"{table.about}\nWhat the new one is called; its text comes next."
        screen = EditScreen(f"Add to {table.title}", about, "", check, prose=False, enter="goes on")
        self.app.push_screen(screen, named)

    def _refuse_name(self, table: Row, text: str) -> None:
        name = text.strip()
        if not name:
            raise SettingsInvalid("it has no name yet", hint="Write one, such as tutor.")
        if name in self._reading.settings.value(table.name):
            raise SettingsInvalid(
                f"there is one called {name}", hint="Change it on its row, or write another name."
            )

    def _ask(self, row: Row) -> None:
        keep: Callable[[str | None], None] = partial(self._keep, row)
        choices = setting_rows.choices(row, self._doors.baselines())
        if choices is not None:
            self.app.push_screen(PickScreen(row.title, choices, "Nothing matches."), keep)
            return
        about = f"{row.about}\nIt may be {row.words}."
        value = self._reading.settings.value(row.name)
        text = "" if value is None and not row.given else str(value if value is not None else "")
        check = partial(self._check, row.name)
        self.app.push_screen(EditScreen(row.title, about, text, check, row.is_prose), keep)

    def _check(self, name: str, text: str) -> None:
        """Raise what is wrong with `text`, also what only the app can know."""
        value = typed(name, text)
        if name == "model":
            with suppress(ModelNotHere):  # it may come later; that is said when it is kept
                self._doors.resolve(value)
        elif name.startswith("keymap."):
            keys = self._reading.settings.keymap
            keymap.refuse(name.removeprefix("keymap."), value, keys)

    def _keep(self, row: Row, text: str | None) -> None:
        if text is not None:
            self._change(row, lambda: self._doors.settings.set(row.name, typed(row.name, text)))

    def action_reset(self) -> None:
        """Go back to the default."""
        row = self._chosen()
        if row is not None and row.given:
            self._change(row, lambda: self._doors.settings.unset(row.name))

    def _change(self, row: Row, write: Callable[[], Reading]) -> None:
        try:
            self._reading = write()
        except OnDeviceError as error:
            self._tell(error, "error")
            return
        self._fill()
        self._show_detail()
        self.app.post_message(messages.SettingsChanged(self._reading.settings))
        if row.setting.holds == NEXT_LOAD:
            reloads = key_of(self._chat, "chat.reload")
            self.notify(f"In the chat {reloads} loads the model again with it.", markup=False)
        if row.name == "model":
            self._look_for_model()

    def _look_for_model(self) -> None:
        """Say whether it still has to come."""
        try:
            self._doors.resolve(self._reading.settings.model)
        except OnDeviceError as error:
            self._tell(error, "warning")

    def _tell(self, error: OnDeviceError, severity: SeverityLevel) -> None:
        words = clean_line(f"{error.message}. {error.hint}", 300)
        self.notify(words, severity=severity, markup=False)
