"""What the settings screen says of one setting: its row, its details, what can be chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from textual.content import Content

from ondevice.domain.text import clean_line
from ondevice.errors import SettingsInvalid
from ondevice.settings import SETTINGS, Reading, Setting, Settings
from ondevice.settings.definition import NEXT_LOAD
from ondevice.settings.kinds import Choice as OneOf
from ondevice.settings.kinds import Entries, Flag, Text, Whole
from ondevice.tui import keymap, theme
from ondevice.tui.screens.pick import Choice
from ondevice.tui.widgets.keys import written

NAME = 26
"""Columns of the names, with the gap."""
GIVEN, USUAL = "●", " "
KEYS = "keymap"
LISTED = "one of the list that opens"
WORDS = {
    KEYS: "a key such as f12 or ctrl+t, or several with commas",
    "model": "a name of the catalogue, owner/name of a repository, or a path",
    "theme": LISTED,
    "baseline": LISTED,
}
"""What texts may be that are not any."""


class Row(NamedTuple):
    """One line of the list."""

    name: str
    """As `SettingsFile.set` takes it."""
    setting: Setting
    shown: str
    """The value, on one line."""
    given: bool
    """Whether the file says it."""
    about: str
    usual: str
    """The default, on one line."""

    @property
    def is_table(self) -> bool:
        """Whether it stands for all entries: one is added here."""
        return isinstance(self.setting.kind, Entries) and self.name == self.setting.name

    @property
    def title(self) -> str:
        return self.name.removeprefix(f"{KEYS}.").removeprefix("sampling.")

    @property
    def is_prose(self) -> bool:
        kind = self.setting.kind.entry if isinstance(self.setting.kind, Entries) else None
        return bool(getattr(kind or self.setting.kind, "prose", False))

    @property
    def words(self) -> str:
        """What it may be."""
        if self.setting.name in WORDS:
            return WORDS[self.setting.name]
        kind = self.setting.kind
        if isinstance(kind, Entries | Text):
            return "any text"
        if isinstance(kind, Whole) and self.setting.empty:
            return f"{kind.words}; 0 means: {self.setting.empty}"
        return kind.words


def rows(reading: Reading) -> Iterator[tuple[str, list[Row]]]:
    """The groups with their rows. Tables are listed entry by entry, keys all of them."""
    groups = dict.fromkeys(setting.group for setting in SETTINGS)
    for group in groups:
        own = [setting for setting in SETTINGS if setting.group == group]
        yield group, [row for setting in own for row in _rows_of(setting, reading)]


def faults(reading: Reading) -> list[str]:
    """What in the file does not hold, and why."""
    found = [f"{trouble.message}. {trouble.hint}" for trouble in reading.troubles]
    return [*found, *unknown_to_the_app(reading.settings)]


def unknown_to_the_app(settings: Settings) -> list[str]:
    """What is right for the file, and yet no theme or no key of the app; and why."""
    found = keymap.faults(settings.keymap)
    try:
        theme.refuse(settings.theme)
    except SettingsInvalid as error:
        return [f"{error.message}. {error.hint}", *found]
    return found


def _rows_of(setting: Setting, reading: Reading) -> Iterator[Row]:
    value = reading.settings.value(setting.name)
    if not isinstance(setting.kind, Entries):
        given = setting.name in reading.given
        shown, usual = setting.show(value), setting.show(setting.default)
        yield Row(setting.name, setting, shown, given, setting.about, usual)
    elif setting.name == KEYS:
        yield from _key_rows(setting, value)
    else:
        about, usual = setting.about, setting.empty
        yield Row(setting.name, setting, setting.show(value), False, about, usual)
        for entry, text in value.items():
            yield Row(f"{setting.name}.{entry}", setting, clean_line(text), True, about, usual)


def _key_rows(setting: Setting, changed: Mapping[str, str]) -> Iterator[Row]:
    good, refused = keymap.accept(changed)
    actions = keymap.actions()
    for action in actions.values():
        shown = ", ".join(written(good.get(action.id, action.keys)))
        if action.id in refused:
            shown += f" ({clean_line(changed[action.id], 20)} is refused)"
        name, given = f"{KEYS}.{action.id}", action.id in changed
        usual = ", ".join(written(action.keys))
        yield Row(name, setting, shown, given, action.about, usual)
    for other in [each for each in changed if each not in actions]:
        said = clean_line(changed[other])
        yield Row(f"{KEYS}.{other}", setting, said, True, refused[other], "no key")


def line(row: Row, width: int) -> Content:
    """The row in at most `width` columns; what the file says stands out, not by colour alone."""
    value = clean_line(row.shown, max(8, width - NAME - 3))
    name = Content(clean_line(row.title, NAME - 1))
    gap = " " * (NAME - name.cell_length)
    mark = (f"{GIVEN if row.given else USUAL} ", "$success")
    return Content.assemble(mark, name, gap, (value, "bold" if row.given else "dim"))


def detail(row: Row, change_key: str, reload_key: str) -> Iterator[tuple[str, str]]:
    """All about one setting, as labels and words."""
    if row.is_table:
        yield "what", f"{row.about} {change_key} adds one."
        yield "there are", row.shown
        yield "holds", row.setting.holds
        return
    yield "what", row.about
    source = "from the file" if row.given else "the default"
    usual = f" · the default is {row.usual}" if row.given else ""
    yield "value", f"{row.shown} ({source}){usual}"
    yield "may be", row.words
    reload = f"; {reload_key} loads the model again" if row.setting.holds == NEXT_LOAD else ""
    yield "holds", row.setting.holds + reload


def choices(row: Row, baselines: list[tuple[str, str, str]]) -> list[Choice] | None:
    """What can be picked; None where a value is typed."""
    kind = row.setting.kind
    match row.setting.name:
        case "theme":
            return [Choice(name, name, "") for name in theme.NAMES]
        case "baseline":
            return [Choice(key, title, why) for key, title, why in baselines]
    if isinstance(kind, Flag):
        return [Choice("on", "on", ""), Choice("off", "off", "")]
    if isinstance(kind, OneOf):
        return [Choice(option, option, "") for option in kind.options]
    return None
