"""The one palette, and the others a person may choose."""

from __future__ import annotations

from difflib import get_close_matches

from textual.app import App
from textual.theme import BUILTIN_THEMES, Theme

from ondevice.domain.text import clean_line
from ondevice.errors import SettingsInvalid

THEME = Theme(
    name="ondevice",
    primary="#7aa2f7",
    secondary="#9ece6a",
    accent="#e0af68",
    warning="#e0af68",
    error="#f7768e",
    success="#9ece6a",
    foreground="#c8d0e8",
    background="#14161f",
    surface="#1a1d29",
    panel="#232737",
    dark=True,
)
NAMES = (THEME.name, *sorted(BUILTIN_THEMES))


def refuse(name: str) -> None:
    """Raise SettingsInvalid, with the nearest right one, where no theme is called `name`."""
    if name not in NAMES:
        near = get_close_matches(name.lower(), NAMES, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(NAMES)}."
        raise SettingsInvalid(f"no theme is called {clean_line(name, 60)}", hint)


def use(app: App[int], name: str) -> list[str]:
    """Show the app in these colours; returns why not, where there are none of that name."""
    app.register_theme(THEME)
    try:
        refuse(name)
    except SettingsInvalid as error:
        app.theme = THEME.name
        return [f"{error.message}. {error.hint}"]
    app.theme = name
    return []
