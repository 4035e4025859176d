"""Reading the settings file, with all that is wrong in it, and changing one value at a time.

A fault costs the setting it is in, not the rest of the file: the app opens and says so. A command
refuses only faults in what it uses, as its result would be another one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ondevice.domain.text import clean_line
from ondevice.errors import SettingsInvalid
from ondevice.settings.definition import SETTINGS, TABLES, Settings, find, nearest, strayed
from ondevice.settings.kinds import Document, Entries, parse

EDIT = "ondevice settings edit"
MEND = f"Mend that line, or remove it: {EDIT}"
_BY_NAME = {setting.name: setting for setting in SETTINGS}


class Trouble(NamedTuple):
    """Something in the file that does not hold; the default does."""

    message: str
    hint: str
    concerns: str
    """The setting or table, for an unknown name the nearest right one; "" is all of them."""

    def touches(self, name: str) -> bool:
        """Whether it may change what `name` is."""
        longer, shorter = sorted((self.concerns, name), key=len, reverse=True)
        return not self.concerns or longer == shorter or longer.startswith(f"{shorter}.")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says."""

    settings: Settings
    given: frozenset[str] = frozenset()
    """Names of the settings, and of the tables' entries, that come from the file."""
    troubles: tuple[Trouble, ...] = ()


class SettingsFile:
    """One user's settings."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def label(self) -> str:
        return clean_line(str(self.path))

    def read(self) -> Reading:
        """What holds and what does not; without a file, the defaults."""
        try:
            document = self._document(self._text())
        except SettingsInvalid as error:
            return Reading(Settings(), troubles=(Trouble(error.message, error.hint, ""),))
        return _reading(document)

    def load(self, *uses: str) -> tuple[Settings, list[str]]:
        """For a command that uses these settings: their values, and what else is wrong, in words.

        Raises SettingsInvalid for a fault in what it uses.
        """
        reading = self.read()
        others = []
        for trouble in reading.troubles:
            said = trouble.message if not trouble.concerns else f"{self.label}: {trouble.message}"
            if any(trouble.touches(name) for name in uses):
                raise SettingsInvalid(said, trouble.hint)
            others.append(f"{said}. {trouble.hint}")
        return reading.settings, others

    def set(self, name: str, value: object) -> Reading:
        """Keep `value`, which the setting's kind has checked. Raises SettingsInvalid."""
        from ondevice.settings import toml  # deferred: most only read

        place = _place(name)
        return self._change(lambda text: toml.with_value(text, *place, value))

    def unset(self, name: str) -> Reading:
        """Go back to the default. Raises SettingsInvalid."""
        from ondevice.settings import toml  # deferred, as above

        place = _place(name)
        return self._change(lambda text: toml.without(text, *place))

    def create(self) -> None:
        """Write a file with all defaults, unless there is one."""
        if not self.path.exists():
            self._change(lambda text: text)

    def _change(self, edit: Callable[[str], str]) -> Reading:
        """Read, change, write: one process at a time. A file that cannot be read is left alone."""
        from ondevice.hardware.system import make_private_folder, one_at_a_time
        from ondevice.settings import toml  # deferred, as above

        path = Path(os.path.realpath(self.path))  # it may be a link into a folder of dotfiles
        try:
            make_private_folder(path.parent)
            with one_at_a_time(path.parent):
                text = self._text()
                fresh = text is None
                self._document(text)
                made = edit(toml.template() if text is None else text)
                if fresh or made != text:
                    _write(path, made)
        except OSError as error:
            raise SettingsInvalid(
                f"{self.label} cannot be written: {error.strerror}",
                hint="Check the folder, or set ONDEVICE_HOME to one you may write.",
            ) from error
        return self.read()

    def _text(self) -> str | None:
        """None where there is no file."""
        try:
            return self.path.read_bytes().decode("utf-8-sig")  # bytes: line ends stay
        except (FileNotFoundError, NotADirectoryError):  # the latter: HOME=/dev/null
            return None
        except OSError as error:
            said = f"{self.label} cannot be read: {error.strerror}"
            raise SettingsInvalid(said, "Check its permissions.") from error
        except UnicodeDecodeError as error:
            said = f"{self.label} is not UTF-8"
            raise SettingsInvalid(said, hint="Save it as UTF-8.") from error

    def _document(self, text: str | None) -> Document:
        try:
            return parse(text or "")
        except (ValueError, RecursionError) as error:  # also thousands of digits or brackets
            raise SettingsInvalid(f"{self.label} is not TOML: {error}", MEND) from error


def _place(name: str) -> tuple[str, str]:
    """Table and key in the file."""
    setting, entry = find(name)
    return (setting.name, entry) if entry else (setting.table, setting.key)


def _write(path: Path, text: str) -> None:
    """The old content or the new one, never a part, and for this user only."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(number, "wb") as file:
            os.chmod(fresh, 0o600)  # noqa: PTH101 - also where a killed process left one
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def _reading(document: Document) -> Reading:
    values: dict[str, Any] = {}
    given: set[str] = set()
    troubles: list[Trouble] = []
    for name, value in _named(document):
        setting = _BY_NAME.get(name)
        if setting is None:
            troubles.append(_unknown(name))
            continue
        try:
            checked = setting.kind.check(value)
        except ValueError as error:
            troubles.append(Trouble(f"{name} {error}", MEND, name))
            continue
        if isinstance(setting.kind, Entries):
            checked, bad = _entries(name, setting.kind, checked)
            troubles += bad
            given |= {f"{name}.{entry}" for entry in checked}
        if checked != {}:  # a table without entries says nothing
            given.add(name)
        values[setting.field] = checked
    return Reading(Settings(**values), frozenset(given), tuple(troubles))


def _named(document: Document) -> Iterator[tuple[str, object]]:
    """Values with their full names; those of a table one by one."""
    for name, value in document.items():
        if name in TABLES and isinstance(value, dict):
            yield from ((f"{name}.{key}", one) for key, one in value.items())
        else:
            yield name, value


def _unknown(name: str) -> Trouble:
    said = clean_line(name, 60)
    if name in TABLES:
        return Trouble(f"{said} must be a table, as in [{said}]", MEND, said)
    table, _, key = name.partition(".")
    if table in TABLES and strayed(key):
        return Trouble(f"no setting is called {said}{strayed(key)}", MEND, key)
    near = nearest(name)
    hint = f"Did you mean {near}?" if near else f"There are: {', '.join(_BY_NAME)}."
    hint = f"{hint} To mend it: {EDIT}"
    return Trouble(f"no setting is called {said}", hint, near or said)


def _entries(name: str, kind: Entries, found: Any) -> tuple[dict[str, str], list[Trouble]]:
    good: dict[str, str] = {}
    bad = []
    for entry, value in found.items():
        try:
            good[entry] = kind.entry.check(value)
        except ValueError as error:
            which = f"{name}.{clean_line(entry, 60)}"
            bad.append(Trouble(f"{which} {error}{strayed(entry)}", MEND, which))
    return good, bad
