"""What is asked before something is done with a session, and what it then takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from textual.screen import Screen

from ondevice.chat import Keeping
from ondevice.chat.transfer import FORMS
from ondevice.domain.session import Listed, Session
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.tui import session_rows
from ondevice.tui.screens.chat import ChatScreen
from ondevice.tui.screens.confirm import ConfirmScreen
from ondevice.tui.screens.edit import EditScreen
from ondevice.tui.screens.pick import Choice, PickScreen
from ondevice.tui.session_rows import Row
from ondevice.tui.widgets.keys import key_of

Act = Callable[[], str]
"""May wait for the disk. Returns what is to be said; raises OnDeviceError."""
ABOUT_PROMPT = """\
What the model is told before the conversation; empty for nothing. It holds from the next answer on.
What new sessions begin with, and presets, are in the settings."""


class SessionActs:
    """Each asks on a dialog of its own, and hands what is to be done to `do`.

    Where a session is asked for, None is the open conversation that is not stored.
    """

    def __init__(self, keeping: Keeping, chat: ChatScreen, do: Callable[[Act], object]) -> None:
        self._keeping, self._chat, self._do = keeping, chat, do

    def rename(self, session: Session) -> None:
        """Ask for another title."""

        def renamed(title: str) -> str:
            self._keeping.rename(session.id, title)
            return "It has its new title."

        about = "The title in lists and on the frame of the chat, at most 60 characters."
        screen = EditScreen("Rename", about, session.title, _refuse_blank, prose=False)
        self._ask(screen, renamed)

    def tell(self, session: Session | None) -> None:
        """Ask for the system prompt; presets are offered where there are some."""
        current = (session or self._keeping.tree(None).session).system_prompt
        presets = list(self._chat.settings.presets.items())
        texts = [current, *(text for _, text in presets)]

        def told(text: str) -> str:
            self._keeping.set_system_prompt(session.id if session else None, text.strip())
            return "It holds from the next answer on."

        def begun(key: str | None) -> None:
            if key is not None:
                text = texts[int(key)]
                screen = EditScreen("System prompt", ABOUT_PROMPT, text, _take_all, prose=True)
                self._ask(screen, told)

        if presets:
            choices = session_rows.prompts(presets, current)
            self._chat.app.push_screen(PickScreen("Begin from", choices, "No match."), begun)
        else:
            begun("0")

    def export(self, session: Session | None) -> None:
        """Ask for the form, and write a new file in the current folder."""

        def written(form: str) -> str:
            path = self._keeping.export(session.id if session else None, form, _here())
            return f"Written: {path}"

        choices = [Choice(form, form, about) for form, about in FORMS.items()]
        self._ask(PickScreen("Export as", choices, "No match."), written)

    def take_in(self) -> None:
        """Ask for a file."""

        def taken_in(path: str) -> str:
            return f"Taken in: {self._keeping.take_in(_path(path)).title}"

        about = "The path of a session that was exported as JSON: a whole one, or from this folder."
        screen = EditScreen("Import", about, "", _refuse_no_file, prose=False)
        self._ask(screen, taken_in)

    def remove(self, row: Row, set_aside: Sequence[Path]) -> None:
        """Ask whether this session is to go; parts of it may be in what is `set_aside`."""
        session = row.session
        assert session is not None

        def removed() -> str:
            self._keeping.delete([session.id])
            return f"Deleted: {session.title}"

        self._confirm(ConfirmScreen(*session_rows.farewell(row, set_aside)), session, removed)

    def remove_all(self, listed: Sequence[Listed]) -> None:
        """Ask whether all of them are to go."""

        def removed() -> str:
            self._keeping.delete_all()
            return "Every session is deleted."

        self._confirm(ConfirmScreen(*session_rows.farewell_to_all(listed)), None, removed)

    def _ask(self, screen: Screen[str | None], act: Callable[[str], str]) -> None:
        def answered(answer: str | None) -> None:
            if answer is not None:
                self._do(partial(act, answer))

        self._chat.app.push_screen(screen, answered)

    def _confirm(self, screen: ConfirmScreen, session: Session | None, act: Act) -> None:
        """`session` is to go, or all of them."""

        def agreed(yes: bool | None) -> None:
            if yes and not self._is_being_answered(session):  # one may have begun meanwhile
                self._do(act)

        if not self._is_being_answered(session):
            self._chat.app.push_screen(screen, agreed)

    def _is_being_answered(self, session: Session | None) -> bool:
        """Whether an answer is made in what is to go; then that is said."""
        open_id = self._keeping.open_id
        if self._chat.busy and open_id is not None and (session is None or session.id == open_id):
            stops = key_of(self._chat, "chat.stop")
            words = f"An answer is being made in it; in the chat {stops} stops it."
            self._chat.app.notify(words, severity="warning", markup=False)
            return True
        return False


def _refuse_blank(title: str) -> None:
    if not clean_line(title):
        raise UsageTrouble("the title is empty", hint="Write one.")


def _take_all(text: str) -> None:
    """Any text is a system prompt."""


def _path(text: str) -> Path:
    return Path(text.strip()).expanduser()


def _here() -> Path:
    """The folder the app was started in."""
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageTrouble(
            "this folder cannot be written: it is gone", "Start it in another."
        ) from error


def _refuse_no_file(text: str) -> None:
    try:
        there = _path(text).is_file()
    except (OSError, ValueError, RuntimeError):  # no such user, or what no path can hold
        there = False
    if not there:
        raise UsageTrouble("there is no such file", hint="Write its path.")
