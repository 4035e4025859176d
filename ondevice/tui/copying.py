"""One of the texts that a message holds is copied; of several a person chooses."""

from __future__ import annotations

from typing import Any

from textual.app import App

from ondevice.chat import copying
from ondevice.domain.text import clean_line
from ondevice.tui.screens.pick import Choice, PickScreen


def copy_one(app: App[Any], texts: list[str], what: str, keep: copying.Keep | None) -> None:
    """Copy the text; of several the one that is chosen. Without `keep` to the terminal alone."""

    def chosen(key: str | None) -> None:
        if key is not None:
            said = copying.copy(texts[int(key)], what, app.copy_to_clipboard, keep)
            app.notify(clean_line(said, 400), markup=False)

    if not texts:
        app.notify(f"There is no {what} in this message.", markup=False)
    elif len(texts) == 1:
        chosen("0")
    else:
        choices = [Choice(str(n), f"{n + 1}", _about(text)) for n, text in enumerate(texts)]
        app.push_screen(PickScreen(f"Copy which {what}", choices, "Nothing matches."), chosen)


def _about(text: str) -> str:
    lines = text.strip().splitlines() or [""]
    return f"{len(lines)} lines: {clean_line(lines[0], 60)}"
