"""The app: which screen is open, which model, and leaving in good order."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import datetime
from typing import ClassVar

from textual import on, work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.worker import Worker, WorkerState

from ondevice import units
from ondevice.chat import Chat
from ondevice.domain.generation import LoadOptions
from ondevice.domain.model import ModelSpec
from ondevice.domain.session import Session
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError
from ondevice.storage.sessions import Sessions
from ondevice.tui import messages
from ondevice.tui.doors import Doors
from ondevice.tui.live import Live
from ondevice.tui.screens.chat import ChatScreen
from ondevice.tui.screens.help import HelpScreen
from ondevice.tui.screens.pick import Choice, PickScreen
from ondevice.tui.theme import THEME
from ondevice.tui.widgets.composer import Composer

LEAVING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
LONGEST_LEAVE_S = 4.0
"""After a signal; stopping an engine that hangs takes 2.5 s of it."""
KEY_NAMES = {"escape": "Esc", "pageup": "PgUp", "pagedown": "PgDn"}


class OnDeviceApp(App[int]):
    """The terminal application."""

    TITLE = "ondevice"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", tooltip="Keys, and what the numbers mean."),
        Binding("f2", "model", "Model", id="app.model", tooltip="Choose another model."),
        Binding(
            "f3",
            "baseline",
            "Baseline",
            id="app.baseline",
            tooltip="Choose the cloud model that costs are compared with.",
        ),
        Binding("f4", "sessions", "Sessions", id="app.sessions", tooltip="Open an earlier one."),
        Binding(
            "f10",
            "quit",
            "Quit",
            id="app.quit",
            priority=True,
            tooltip="Leave; everything is stored.",
        ),
        Binding(
            "ctrl+c",
            "interrupt",
            "Copy or stop",
            id="app.interrupt",
            show=False,
            system=True,
            tooltip="Copy what is selected; without a selection, stop the answer.",
        ),
        Binding(
            "ctrl+p",
            "command_palette",
            "Palette",
            id="app.palette",
            show=False,
            tooltip="Themes, a screenshot and more.",
        ),
    ]

    def __init__(
        self,
        chat: Chat,
        sessions: Sessions | None,
        doors: Doors,
        model: str,
        options: LoadOptions,
        max_tokens: int,
        live: Live | None = None,
    ) -> None:
        super().__init__()
        # Ctrl+Q belongs to the terminal's flow control.
        self._bindings.key_to_bindings.pop("ctrl+q", None)
        self._chat, self._sessions, self._doors = chat, sessions, doors
        self._model = model
        self._live = live or Live()
        self.chat_screen = ChatScreen(chat, options, max_tokens, self._live)
        self._leaving = False
        self.trouble = ""
        """Said once when the app opens."""

    def get_driver_class(self) -> type[Driver]:
        """Ours where Textual would take its own for POSIX terminals."""
        chosen = super().get_driver_class()
        if os.name == "nt" or chosen.__name__ != "LinuxDriver":
            return chosen
        from ondevice.tui.driver import TerminalDriver  # deferred: needs termios

        return TerminalDriver

    def on_mount(self) -> None:
        self.register_theme(THEME)
        self.theme = THEME.name
        self._leave_on_signals()
        self.push_screen(self.chat_screen)
        if self.trouble:
            self.notify(clean_line(self.trouble), severity="warning", markup=False)
        self.call_after_refresh(self._load_model, self._model)

    def _load_model(self, name: str) -> None:
        try:
            self.chat_screen.load(self._doors.resolve(name))
        except OnDeviceError as error:
            self.chat_screen.post_message(messages.ModelFailed(error))

    def get_key_display(self, binding: Binding) -> str:
        """Keys as keyboards write them: F1, Esc, Ctrl+J."""
        parts = binding.key.split("+")
        return "+".join(KEY_NAMES.get(part, part.capitalize()) for part in parts)

    # Leaving

    def _leave_on_signals(self) -> None:
        """Textual restores the terminal only when the app ends by itself."""
        if self.is_headless:
            return

        def leave(number: int, _frame: object) -> None:
            # A thread, as the main one may be stuck: writing to a terminal that takes nothing.
            threading.Thread(target=self._leave_soon, args=(128 + number,), daemon=True).start()

        for number in LEAVING_SIGNALS:
            signal.signal(number, leave)

    def _leave_soon(self, code: int) -> None:
        """Leave in good order, or else at once; the next start marks a half answer."""
        self.post_message(messages.LeaveAsked(code))
        time.sleep(LONGEST_LEAVE_S)
        os._exit(code)

    @on(messages.LeaveAsked)
    def _leave_as_asked(self, event: messages.LeaveAsked) -> None:
        self._leave(event.code)

    async def action_quit(self) -> None:
        """Leave."""
        self._leave(0)

    def _leave(self, code: int) -> None:
        if self._leaving:
            return
        self._leaving = True
        if self.chat_screen.busy:
            self._chat.cancel()  # its numbers are stored with it
        else:
            # Loading ends only with its process, and the app waits for its threads.
            threading.Thread(target=self._chat.close, daemon=True).start()
        self.exit(code)

    def action_interrupt(self) -> None:
        """Stop the answer; without one, say how to leave."""
        if self.chat_screen.busy:
            self.chat_screen.action_stop()
        else:
            self.notify("F10 quits.", markup=False)

    # Choosing

    def action_help(self) -> None:
        """Show keys and definitions."""
        sources = (Composer, ChatScreen, OnDeviceApp)
        listed = [
            binding
            for source in sources
            for binding in source.BINDINGS
            if isinstance(binding, Binding) and binding.id
        ]
        self.push_screen(HelpScreen(listed))

    def action_model(self) -> None:
        """Choose a model."""
        if self.chat_screen.stop_first():
            return
        try:
            known = self._doors.catalog()
        except OnDeviceError as error:
            self.notify(clean_line(error.message), severity="warning", markup=False)
            return
        choices = [self._model_choice(spec) for spec in known.models]
        choices.sort(key=lambda choice: not choice.usable)

        def chosen(key: str | None) -> None:
            if key is not None:
                self._load_model(key)

        empty = "No model is called that. A GGUF file runs by its path: ondevice -m FILE"
        self.push_screen(PickScreen("Models", choices, empty), chosen)

    def _model_choice(self, spec: ModelSpec) -> Choice:
        usable = spec.use != "embed" and self._doors.find(spec) is not None
        form = spec.files[0]
        size, parameters = units.size(form.size_bytes), units.short_count(spec.parameters)
        state = "here" if usable else ""
        detail = f"{parameters:>5} {form.quantization:<7} {size:>7}  {state:<4}  {spec.licence}"
        return Choice(spec.name, spec.name, detail, usable)

    def action_baseline(self) -> None:
        """Choose what costs are compared with."""
        choices = [Choice(key, title, why) for key, title, why in self._doors.baselines()]

        def chosen(key: str | None) -> None:
            if key is not None:
                self._find_prices(key)

        self.push_screen(PickScreen("Compare costs with", choices, "Nothing matches."), chosen)

    @work(thread=True, exclusive=True, exit_on_error=False, group="prices")
    def _find_prices(self, key: str) -> None:
        # in a thread: the first look-up ever imports 220 ms of price tables
        try:
            found = messages.PriceFound(
                self._doors.price(key), self._doors.price(self._doors.frontier)
            )
            self.post_message(found)
        except OnDeviceError as error:
            self.post_message(messages.PriceFailed(error))

    @on(messages.ModelReady)
    def _find_first_prices(self) -> None:
        if self._live.price is None:
            self._find_prices(self._doors.baseline)

    @on(messages.PriceFound)
    def _use_price(self, event: messages.PriceFound) -> None:
        self._chat.price = self._live.price = event.price
        self._live.frontier = event.frontier

    @on(messages.PriceFailed)
    def _show_price_failure(self, event: messages.PriceFailed) -> None:
        text = clean_line(f"{event.error.message} {event.error.hint}")
        self.notify(text, severity="warning", markup=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug in a worker must not look like waiting."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            raise event.worker.error

    def action_sessions(self) -> None:
        """Open a stored session."""
        try:
            stored = self._sessions.recent() if self._sessions else []
        except OnDeviceError as error:
            self.notify(clean_line(error.message), severity="warning", markup=False)
            return
        by_key: dict[str, Session] = {str(session.id): session for session in stored}
        choices = [
            Choice(key, session.title, _when(session.created_at)) for key, session in by_key.items()
        ]

        def chosen(key: str | None) -> None:
            if key is not None:
                self.chat_screen.open(by_key[key])

        empty = "Nothing here: what you write is kept as a session."
        self.push_screen(PickScreen("Sessions", choices, empty), chosen)


def _when(created_at: str) -> str:
    """The local time, to the minute."""
    try:
        return f"{datetime.fromisoformat(created_at).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return ""
