"""The text of the settings file: one value changes, all else a person wrote stays as it is.

A new file holds every setting as a comment at its default. Setting one takes its `#` away,
unsetting it puts it back. Each new text is read again before it is used: what it says must be what
the old one said, and the change.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from ondevice.errors import SettingsInvalid
from ondevice.settings.definition import SETTINGS, Setting
from ondevice.settings.kinds import Amount, Document, Entries, flat, parse

WIDTH = 78
HEAD = """\
# Settings of ondevice. What is a comment holds its default; take the first "# "
# of a line away and change its value, or use F9 in the app, or `ondevice settings`.
"""
BY_HAND = "Change it by hand: ondevice settings edit"
EXAMPLES = {
    "presets": '# tutor = "You are a patient teacher. Ask before you explain."',
    "keymap": '# "app.models" = "f12"',
}
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?")


def template() -> str:
    """A new file."""
    plain = [setting for setting in SETTINGS if not setting.table]
    top = [setting for setting in plain if not isinstance(setting.kind, Entries)]
    blocks = [HEAD]
    group = ""
    for setting in top:
        if setting.group != group:
            group = setting.group
            blocks.append(f"# -- {group} --\n")
        blocks.append(_block(setting, _commented(setting)))
    sampled = [setting for setting in SETTINGS if setting.table]
    for table in dict.fromkeys(setting.table for setting in sampled):
        blocks.append(f"[{table}]\n")
        blocks += [_block(each, _commented(each)) for each in sampled if each.table == table]
    for setting in plain:
        if isinstance(setting.kind, Entries):
            blocks.append(_block(setting, EXAMPLES[setting.name], f"[{setting.name}]\n"))
    return "\n".join(blocks)


def with_value(text: str, table: str, key: str, value: object) -> str:
    """`text` in which `key` of `table` ("" is the top) is `value`."""
    wanted = parse(text)
    place, end = _place(wanted, table, key)
    if _is_of_others(place, end, table, key):
        others = ", ".join(name for name, _ in flat(place[end], f"{table}.{key}."))
        raise SettingsInvalid(f"{key} stands before a dot in {others}", hint="Take another name.")
    place[end] = Decimal(repr(value)) if isinstance(value, float) else value
    _refuse_twice(wanted, table, key, place[end])
    return _first_that_says(wanted, key, text, lambda old: _with_value(old, table, key, value))


def without(text: str, table: str, key: str) -> str:
    """`text` without that value: the default holds."""
    wanted = parse(text)
    place, end = _place(wanted, table, key)
    if end not in place or _is_of_others(place, end, table, key):
        return text
    del place[end]
    _refuse_twice(wanted, table, key, None)
    return _first_that_says(wanted, key, text, lambda old: _without(old, table, key))


def literal(value: object) -> str:
    """How TOML writes `value`."""
    return str(_item(value).as_string())


def _first_that_says(
    wanted: Document, key: str, text: str, ways: Callable[[str], Iterator[str]]
) -> str:
    """The first of the new texts that says what is wanted, with the line ends of the old one."""
    end = "\r\n" if 0 < text.count("\n") == text.count("\r\n") else "\n"
    for made in ways(text.replace(end, "\n")):
        if _says(made, wanted):
            return made.replace("\n", end)
    said = f"{key} cannot be changed without harm to the rest of the file"
    raise SettingsInvalid(said, hint=BY_HAND)


def _is_of_others(place: Document, end: str, table: str, key: str) -> bool:
    """Whether what stands there holds entries of longer names: work.mail is none of `work`."""
    return _defined(table, key) is None and isinstance(place.get(end), dict)


def _refuse_twice(wanted: Document, table: str, key: str, value: object) -> None:
    """Raise where another spelling of `key` would still say something else than `value`, which is
    None where nothing is to say it: app.help may stand in [keymap] and in [keymap.app].
    """
    name = f"{table}.{key}" if table else key
    if any(other != value for found, other in flat(wanted) if found == name):
        raise SettingsInvalid(f"{name} stands there twice, in two spellings", hint=BY_HAND)


def _block(setting: Setting, line: str, header: str = "") -> str:
    about = "".join(f"# {part}\n" for part in textwrap.wrap(_explained(setting), WIDTH - 2))
    return f"{about}{header}{line}\n"


def _explained(setting: Setting) -> str:
    if isinstance(setting.kind, Amount):
        return f"{setting.about} Not set: {setting.empty}."
    if setting.empty and not isinstance(setting.kind, Entries):
        return f"{setting.about} {literal(type(setting.default)())}: {setting.empty}."
    return setting.about


def _commented(setting: Setting) -> str:
    return f"# {setting.key} = {literal(_placeholder(setting))}"


def _placeholder(setting: Setting) -> object:
    """What stands behind the `#`: the default, or an example where there is none."""
    return setting.kind.example if isinstance(setting.kind, Amount) else setting.default


def _item(value: object) -> Any:
    import tomlkit  # deferred: 26 ms, and most who read settings write none

    if isinstance(value, Decimal):
        return tomlkit.value(f"{value:f}")
    if isinstance(value, str) and "\n" in value:
        return tomlkit.string(value, multiline=True)
    return tomlkit.item(value)


def _defined(table: str, key: str) -> Setting | None:
    return next((each for each in SETTINGS if (each.table, each.key) == (table, key)), None)


def _with_value(text: str, table: str, key: str, value: object) -> Iterator[str]:
    """Ways to do it, the one that fits the file best first."""
    setting = _defined(table, key)
    if setting is not None:
        line = _commented(setting)
        for at, found in _lines(text, table, line):
            plain = text.split("\n")
            plain[at] = f"{key} = {literal(value)}" + found.removeprefix(line)
            yield "\n".join(plain)
    import tomlkit  # deferred, as above

    place, end = _place(parse(text), table, key)
    if end not in place:
        yield from _with_line(text, table, tomlkit.dumps({key: _item(value)}).rstrip("\n"))
    document = tomlkit.parse(text if not text or text.endswith("\n") else text + "\n")
    if table:
        document.setdefault(table, tomlkit.table())
    place, end = _place(document, table, key)
    place[end] = _item(value)
    yield tomlkit.dumps(document)


def _with_line(text: str, table: str, line: str) -> Iterator[str]:
    """`line` as the last of `table`, above the comment of the next one."""
    lines = text.split("\n")
    found = enumerate(map(_HEADER.fullmatch, lines))
    headers = {at: header[1].strip("\"' ") for at, header in found if header}
    starts = [at + 1 for at, name in headers.items() if name == table] if table else [0]
    for start in starts:
        stop = next((at for at in headers if at >= start), len(lines))
        at = stop
        while at > start and lines[at - 1].lstrip().startswith("#"):
            at -= 1
        if at == start or lines[at - 1].strip() or stop == len(lines):
            at = stop  # no empty line sets these comments apart: they are this table's
        while at > start and not lines[at - 1].strip():
            at -= 1
        gap = [""] if not table and at in headers else []
        yield "\n".join([*lines[:at], line, *gap, *lines[at:]])


def _without(text: str, table: str, key: str) -> Iterator[str]:
    setting = _defined(table, key)
    if setting is not None:
        line = _commented(setting)
        for back in _with_value(text, table, key, _placeholder(setting)):
            for at, found in _lines(back, table, line.removeprefix("# ")):
                plain = back.split("\n")
                plain[at] = f"# {found}"
                yield "\n".join(plain)
    import tomlkit  # deferred, as above

    document = tomlkit.parse(text)
    place, end = _place(document, table, key)
    del place[end]
    yield tomlkit.dumps(document)


def _lines(text: str, table: str, line: str) -> Iterator[tuple[int, str]]:
    """Where `line` stands within `table`, with a comment behind it or without."""
    here = ""
    pattern = re.compile(rf"{re.escape(line)}\s*(#.*)?")
    for at, found in enumerate(text.split("\n")):
        header = _HEADER.fullmatch(found)
        if header:
            here = header[1].strip("\"' ")
        elif here == table and pattern.fullmatch(found):
            yield at, found


def _place(document: Any, table: str, key: str) -> tuple[Any, str]:
    """The table that holds `key`, and its name there: `app.help` may stand as a table's `help`."""
    place = document.setdefault(table, {}) if table else document
    if not isinstance(place, dict):
        raise SettingsInvalid(f"{table} must be a table, as in [{table}]", hint=BY_HAND)
    while key not in place and isinstance(place.get(key.partition(".")[0]), dict):
        head, _, key = key.partition(".")
        place = place[head]
    return place, key


def _says(text: str, wanted: Document) -> bool:
    try:
        return dict(flat(parse(text))) == dict(flat(wanted))
    except (ValueError, RecursionError):
        return False
