"""A JSON schema that the next answers of the session keep to, by the path of its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ondevice.chat import Chat
from ondevice.chat.schemas import read_schema
from ondevice.errors import OnDeviceError, UsageTrouble
from ondevice.tui.screens.edit import EditScreen

if TYPE_CHECKING:
    from ondevice.tui.screens.composing import ComposingScreen

ABOUT = "Path of a file with a JSON schema. Empty: answers keep to none."


def ask_schema(screen: ComposingScreen, chat: Chat, now: str) -> None:
    """Ask for the file; `now` is the one that holds."""

    def chosen(name: str | None) -> None:
        if name is None:
            return
        try:
            chat.schema = read_schema(Path(name.strip())) if name.strip() else None
        except OnDeviceError as error:
            screen.notify(error.message, severity="warning", markup=False)
        else:
            screen.show_schema(name.strip())

    title = "Answers keep to a JSON schema"
    screen.app.push_screen(EditScreen(title, ABOUT, now, _refuse_no_file, prose=False), chosen)


def _refuse_no_file(name: str) -> None:
    """At every key: so it is not read yet, and what would be waited for is refused."""
    if name.strip() and not os.path.isfile(os.path.expanduser(name.strip())):  # noqa: PTH111, PTH113
        raise UsageTrouble("there is no such file", hint="Check the path.")
