"""`ondevice settings`: list them, read one, change one, open the file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import click

from ondevice import catalog, errors, pricing
from ondevice.cli.exits import Exit
from ondevice.cli.options import KEPT
from ondevice.domain.text import clean, clean_line
from ondevice.hub import local
from ondevice.paths import user_paths
from ondevice.settings import SETTINGS, Reading, Setting, SettingsFile, find, typed


def _names(context: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """For the shell's completion."""
    return [setting.name for setting in SETTINGS if setting.name.startswith(begun)]


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def settings(context: click.Context, as_json: bool) -> None:
    """List every setting: its value, what it is, and whether the file says so.

    The same with a screen: F9 in the app.
    """
    if context.invoked_subcommand is not None:
        return
    file = _file()
    reading = file.read()
    _say_troubles(reading)
    if as_json:
        click.echo(json.dumps(_document(file, reading), indent=2, default=_plain))
        return
    for line in _lines(reading):
        click.echo(line)


@settings.command("get")
@click.argument("name", shell_complete=_names)
def get(name: str) -> None:
    """Print the value of NAME as `set` takes it; nothing where it is unknown.

    NAME is one such as threads or presets.tutor.
    """
    file = _file()
    find(name)
    loaded, _ = file.load(name)
    value = loaded.value(name)
    if value is not None:
        text = value if isinstance(value, str) else json.dumps(value, default=_plain)
        sys.stdout.write(f"{clean(text) if sys.stdout.isatty() else text}\n")


@settings.command("set")
@click.argument("name", shell_complete=_names)
@click.argument("value")
def set_value(name: str, value: str) -> None:
    """Keep VALUE as NAME; everything else in the file stays as it is."""
    checked = typed(name, value)
    file = _file()
    _look_closer(file, name, checked)
    reading = file.set(name, checked)
    _say_others(f"{name} is set", file, reading)
    if name in KEPT:
        _shrink_states(reading)


@settings.command("unset")
@click.argument("name", shell_complete=_names)
def unset(name: str) -> None:
    """Go back to the default of NAME."""
    file = _file()
    reading = file.unset(name)
    _say_others(f"{name} is at its default", file, reading)
    if name in KEPT:
        _shrink_states(reading)


@settings.command("path")
def path() -> None:
    """Print where the file is, or would be."""
    click.echo(str(_file().path))


@settings.command("edit")
def edit() -> None:
    """Open the file in $VISUAL or $EDITOR; a new one holds every setting, with what it is."""
    file = _file()
    file.create()
    click.edit(filename=str(file.path))
    reading = file.read()
    _say_troubles(reading)
    if reading.troubles:
        raise click.exceptions.Exit(Exit.USAGE)
    _shrink_states(reading)


def _file() -> SettingsFile:
    return SettingsFile(user_paths().settings)


def _say_troubles(reading: Reading) -> None:
    for trouble in reading.troubles:
        click.echo(f"ondevice: {clean_line(trouble.message, 500)}", err=True)
        click.echo(f"  {clean_line(trouble.hint, 500)}", err=True)


def _say_others(done: str, file: SettingsFile, reading: Reading) -> None:
    """What is wrong with other lines of the file, which did not keep this from being `done`."""
    if reading.troubles:
        click.echo(f"ondevice: {clean_line(done, 80)}; still wrong in {file.label}:", err=True)
        _say_troubles(reading)


def _look_closer(file: SettingsFile, name: str, value: Any) -> None:
    """Refuse what nothing here is called; the file alone cannot know."""
    paths = user_paths()
    setting, entry = find(name)
    match setting.name:
        case "model":
            try:
                local.resolve(value, catalog.load(paths.user_catalogue))
            except errors.ModelNotHere as error:  # it may come later
                click.echo(f"ondevice: {clean_line(f'{error.message}. {error.hint}')}", err=True)
        case "baseline" if value:
            pricing.price(value, cache_dir=paths.cache)
        case "theme":
            from ondevice.tui import theme  # deferred: the screen takes 270 ms

            theme.refuse(value)
        case "keymap":
            from ondevice.tui import keymap  # deferred, as above

            keymap.refuse(entry, value, file.read().settings.keymap)


def _shrink_states(reading: Reading) -> None:
    """What is kept beyond the settings goes now, not at the next start of the app."""
    from ondevice.storage.states import FOLDER, States  # deferred: few settings are about it

    folder = user_paths().database.parent / FOLDER
    States(folder, reading.settings.most_state_bytes).shrink()


def _lines(reading: Reading) -> Iterator[str]:
    rows = [
        (setting.name, _shown(setting, reading), "file" if _given(setting, reading) else "default")
        for setting in SETTINGS
    ]
    names = max(len(name) for name, _, _ in rows)
    values = max(len(value) for _, value, _ in rows)
    for (name, value, source), setting in zip(rows, SETTINGS, strict=True):
        yield f"{name:<{names}}  {value:<{values}}  {source:<7}  {setting.about}".rstrip()


def _given(setting: Setting, reading: Reading) -> bool:
    return setting.name in reading.given


def _shown(setting: Setting, reading: Reading) -> str:
    return clean_line(setting.show(reading.settings.value(setting.name)), 40)


def _document(file: SettingsFile, reading: Reading) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "settings": [
            {
                "name": setting.name,
                "value": reading.settings.value(setting.name),
                "default": setting.default,
                "from": "file" if _given(setting, reading) else "default",
                "group": setting.group,
                "about": setting.about,
                "holds": setting.holds,
            }
            for setting in SETTINGS
        ],
        "troubles": [
            {"message": trouble.message, "hint": trouble.hint} for trouble in reading.troubles
        ],
    }


def _plain(value: object) -> object:
    """Exact numbers as strings, tables as they are."""
    return str(value) if isinstance(value, Decimal) else dict(value)  # type: ignore[call-overload]
