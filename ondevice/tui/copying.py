"""Copies through the terminal, which never says whether it took one; so a file has it, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.app import App

from ondevice import units
from ondevice.domain.text import clean_line
from ondevice.tui.screens.pick import Choice, PickScreen

LONGEST = 74_994
"""Bytes in UTF-8. Encoded with what stands around it that is a sequence of 100,000 bytes: the most
that terminals are commonly known to take; a longer one is dropped, or spoils the screen."""

Keep = Callable[[str], Path]
"""Writes a text to a private file and says where; raises OSError."""


def copy_one(app: App[Any], texts: list[str], what: str, keep: Keep | None) -> None:
    """Copy the text; of several the one that is chosen. Without `keep` to the terminal alone."""

    def chosen(key: str | None) -> None:
        if key is not None:
            copy(app, texts[int(key)], what, keep)

    if not texts:
        app.notify(f"There is no {what} in this message.", markup=False)
    elif len(texts) == 1:
        chosen("0")
    else:
        choices = [Choice(str(n), f"{n + 1}", _about(text)) for n, text in enumerate(texts)]
        app.push_screen(PickScreen(f"Copy which {what}", choices, "Nothing matches."), chosen)


def copy(app: App[Any], text: str, what: str, keep: Keep | None) -> None:
    """Hand `text` to the terminal and, if it may be kept, to a file; say what became of it."""
    length = len(text.encode())
    size = f"{units.count(len(text))} characters, {units.size(length)}"
    fits = length <= LONGEST
    if fits:
        app.copy_to_clipboard(text)
    went = "handed to the terminal" if fits else "too long for a terminal"
    words = f"The {what} ({size}) was {went}; {_keep(text, keep, fits)}."
    app.notify(clean_line(words, 400), markup=False)


def _keep(text: str, keep: Keep | None, also: bool) -> str:
    if keep is None:
        return "no file has it, as nothing of this session is kept"
    try:
        return f"it is {'also ' * also}in {keep(text)}"
    except OSError as error:
        return f"the file for it cannot be written: {error.strerror}"


def _about(text: str) -> str:
    lines = text.strip().splitlines() or [""]
    return f"{len(lines)} lines: {clean_line(lines[0], 60)}"
