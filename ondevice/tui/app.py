"""The app: which screen is open, which model, and leaving in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.theme import Theme

from ondevice.catalog import Catalog
from ondevice.chat import Chat
from ondevice.domain.cost import Price
from ondevice.domain.generation import LoadOptions
from ondevice.domain.model import ModelFile, ModelSpec
from ondevice.domain.session import Session
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError
from ondevice.storage.sessions import Sessions
from ondevice.tui.screens.chat import ChatScreen
from ondevice.tui.screens.help import HelpScreen
from ondevice.tui.screens.pick import Choice, PickScreen

LEAVING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)

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


@dataclass(frozen=True, slots=True)
class Doors:
    """What the app asks the world outside; the CLI fills it in."""

    catalog: Callable[[], Catalog]
    resolve: Callable[[str], ModelFile]
    find: Callable[[ModelSpec], ModelFile | None]
    baselines: Callable[[], list[tuple[str, str, str]]]
    """(key, title, why)"""
    price: Callable[[str], Price]


class OnDeviceApp(App[int]):
    """The terminal application."""

    TITLE = "ondevice"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", tooltip="Keys, and what the numbers mean."),
        Binding("f2", "model", "Model", id="app.model", tooltip="Choose another model."),
        Binding("f3", "baseline", "Baseline", id="app.baseline", tooltip="Compare costs with."),
        Binding("f4", "sessions", "Talks", id="app.sessions", tooltip="Open a conversation."),
        Binding("f10", "leave", "Quit", id="app.quit", tooltip="Leave; everything is stored."),
        Binding(
            "ctrl+c",
            "interrupt",
            "Stop or quit",
            id="app.interrupt",
            show=False,
            system=True,
            tooltip="Stop the answer; a second time within a moment quits.",
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
    ) -> None:
        super().__init__()
        # Ctrl+Q belongs to the terminal's flow control.
        self._bindings.key_to_bindings.pop("ctrl+q", None)
        self._chat, self._sessions, self._doors = chat, sessions, doors
        self._model = model
        self._chat_screen = ChatScreen(chat, options, max_tokens)
        self._leaving = False
        self.trouble = ""
        """Said once when the app opens."""

    def on_mount(self) -> None:
        self.register_theme(THEME)
        self.theme = THEME.name
        self._leave_on_signals()
        self.push_screen(self._chat_screen)
        if self.trouble:
            self.notify(clean_line(self.trouble), severity="warning", markup=False)
        self.call_after_refresh(self._load_first_model)

    def _load_first_model(self) -> None:
        try:
            self._chat_screen.load(self._doors.resolve(self._model))
        except OnDeviceError as error:
            self._chat_screen.show_empty(
                error.message, f"{error.hint} F2 lists what is on this machine."
            )

    def get_key_display(self, binding: Binding) -> str:
        """Keys as keyboards write them: F1, Esc, Enter."""
        names = {"escape": "Esc", "enter": "Enter", "pageup": "PgUp", "pagedown": "PgDn"}
        key = binding.key
        if key in names:
            return names[key]
        return (
            key.upper()
            if key[:1] == "f" and key[1:].isdigit()
            else super().get_key_display(binding)
        )

    # Leaving

    def _leave_on_signals(self) -> None:
        """Textual restores the terminal only when the app ends by itself."""
        loop = asyncio.get_running_loop()
        for number in LEAVING_SIGNALS:
            try:
                loop.add_signal_handler(number, self._leave, 128 + number)
            except (NotImplementedError, RuntimeError, ValueError):
                return  # Windows, or not the main thread (tests)

    def action_leave(self) -> None:
        """Quit."""
        self._leave(0)

    def _leave(self, code: int) -> None:
        if self._leaving:
            return
        self._leaving = True
        self._chat.cancel()
        self.exit(code)

    def action_interrupt(self) -> None:
        """Stop the answer; without one, say how to leave."""
        if self._chat_screen.busy:
            self._chat_screen.action_stop()
        else:
            self.notify("F10 quits.", markup=False)

    # Choosing

    def action_help(self) -> None:
        """Show keys and definitions."""
        active = [found.binding for found in self.screen.active_bindings.values()]
        named = [binding for binding in active if binding.id and binding.description]
        self.push_screen(HelpScreen(named))

    def action_model(self) -> None:
        """Choose a model."""
        choices = [self._model_choice(spec) for spec in self._doors.catalog().models]
        choices.sort(key=lambda choice: not choice.usable)

        def chosen(key: str | None) -> None:
            if key is not None:
                self._model = key
                self._load_first_model()

        empty = "No model is called that. A GGUF file runs by path: ondevice -m FILE"
        self.push_screen(PickScreen("Models", choices, empty), chosen)

    def _model_choice(self, spec: ModelSpec) -> Choice:
        from ondevice import units

        here = self._doors.find(spec)
        size = units.size(spec.files[0].size_bytes)
        state = f"here, {here.quantization}" if here else "not on this machine"
        detail = f"{units.short_count(spec.parameters):>5} {size:>8}  {spec.licence} · {state}"
        return Choice(spec.name, spec.name, detail, usable=here is not None)

    def action_baseline(self) -> None:
        """Choose what costs are compared with."""
        choices = [Choice(key, title, why) for key, title, why in self._doors.baselines()]

        def chosen(key: str | None) -> None:
            if key is not None:
                self._chat.price = self._doors.price(key)

        self.push_screen(PickScreen("Compare costs with", choices, "Nothing matches."), chosen)

    def action_sessions(self) -> None:
        """Open a stored conversation."""
        stored = self._sessions.recent() if self._sessions else []
        by_key: dict[str, Session] = {str(session.id): session for session in stored}
        choices = [
            Choice(key, session.title, session.created_at) for key, session in by_key.items()
        ]

        def chosen(key: str | None) -> None:
            if key is not None:
                self._chat_screen.open(by_key[key])

        empty = "No conversation yet: write something, and it is kept here."
        self.push_screen(PickScreen("Conversations", choices, empty), chosen)
