"""The app: which screen is open, which model, and leaving in good order."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from ondevice.chat import Chat, Keeping
from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError
from ondevice.settings import Settings
from ondevice.storage.sessions import Sessions
from ondevice.tui import copying, leaving, messages, palette, theme
from ondevice.tui.doors import Doors
from ondevice.tui.downloads import Downloads
from ondevice.tui.live import Live
from ondevice.tui.prices import Prices
from ondevice.tui.screens.chat import ChatScreen
from ondevice.tui.screens.help import CHAT_NUMBERS, HelpScreen, named_bindings
from ondevice.tui.waiting import Wanted
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.keys import as_written, key_of
from ondevice.tui.widgets.topbar import TopBar

SHOW_DOWNLOADS_S = 1.0
OF_CHAT = ("models", "baseline", "sessions", "costs", "settings")


class OnDeviceApp(App[int]):
    """The terminal application."""

    TITLE = "ondevice"
    CSS_PATH = "styles/chat.tcss"  # here, as a screen's own is parsed apart: 30 ms of the start
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", tooltip="Keys, and what the numbers mean."),
        Binding("f2", "models", "Models", id="app.models", tooltip="Choose or get a model."),
        Binding("f3", "baseline", "Baseline", id="app.baseline", show=False,
                tooltip="Choose the cloud model that costs are compared with."),
        Binding("f4", "sessions", "Sessions", id="app.sessions",
                tooltip="Find, open, export and delete what is kept; begin a private session."),
        Binding("ctrl+l", "costs", "Costs", id="app.costs", show=False,
                tooltip="The ledger: what answers used, avoided and drew, by day."),
        Binding("f9", "settings", "Settings", id="app.settings",
                tooltip="See and change what is kept: model, answers, costs, colours, keys."),
        Binding("f10", "quit", "Quit", id="app.quit", priority=True,
                tooltip="Leave; everything that was sent is stored."),
        Binding("ctrl+c", "interrupt", "Copy or stop", id="app.interrupt", show=False, system=True,
                tooltip="Copy what is selected; without a selection, stop the answer."),
        Binding("ctrl+p", "command_palette", "Palette", id="app.palette", show=False,
                tooltip="Themes, a screenshot and more."),
    ]  # fmt: skip

    def __init__(
        self,
        chat: Chat,
        sessions: Sessions | None,
        doors: Doors,
        model: str,
        settings: Settings,
        live: Live | None = None,
    ) -> None:
        super().__init__()
        # Ctrl+Q belongs to the terminal's flow control.
        self._bindings.key_to_bindings.pop("ctrl+q", None)
        self._chat, self._sessions, self._doors = chat, sessions, doors
        self._model, self._leaving, live = model, False, live or Live()
        self.chat_screen = ChatScreen(chat, settings, live)
        self._prices = Prices(self, doors, chat, live)
        self.downloads = Downloads(
            doors.fetch, lambda download: self.post_message(messages.DownloadEnded(download))
        )
        self.troubles = theme.use(self, settings.theme)
        """Said once when the app opens."""
        self.keys: dict[str, str] = {}
        """Those that are not the usual ones, by the name of what they do."""
        self.bug: Exception | None = None
        """What ended the app, if a bug did."""

    def get_driver_class(self) -> type[Driver]:
        """Ours where Textual would take its own for POSIX terminals."""
        chosen = super().get_driver_class()
        if os.name == "nt" or chosen.__name__ != "LinuxDriver":
            return chosen
        from ondevice.tui.driver import TerminalDriver  # deferred: needs termios

        return TerminalDriver

    def get_default_screen(self) -> Screen[None]:
        """The chat, without an empty screen below it."""
        return self.chat_screen

    def on_mount(self) -> None:
        if not self.is_headless:
            leaving.on_signals(lambda code: self.post_message(messages.LeaveAsked(code)))
        self.set_interval(SHOW_DOWNLOADS_S, self._show_downloads)
        self._warn(*self.troubles)

    def on_ready(self) -> None:
        """The first frame is on the screen."""
        self._use_keys()
        self._load_model(self._model)
        self._warm_up()

    @work(thread=True, exit_on_error=False, group="warm-up")
    def _warm_up(self) -> None:
        """Import what the first answer needs, while the model is being loaded."""
        from ondevice.tui.widgets.markdown import warm_up

        warm_up()

    def _load_model(self, name: str) -> None:
        try:
            doors = self._doors
            self.chat_screen.begin(doors.resolve(name), doors.adapters, doors.gpu_layers)
        except OnDeviceError as error:
            self.chat_screen.post_message(messages.ModelFailed(error))

    def get_key_display(self, binding: Binding) -> str:
        """Keys as keyboards write them."""
        return binding.key_display or as_written(binding.key)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What belongs to the chat is not offered elsewhere."""
        return action not in OF_CHAT or isinstance(self.screen, ChatScreen)

    def get_system_commands(self, screen: Screen[Any]) -> Iterator[SystemCommand]:
        """What the palette lists: what the keys do, and themes."""
        yield from palette.of_commands(self, self.chat_screen)
        yield SystemCommand("Theme", "Choose other colours.", self.action_change_theme)

    # Settings

    def action_settings(self) -> None:
        """See and change what is kept."""
        from ondevice.tui.screens.settings import SettingsScreen  # deferred: it knows every screen

        running = self.chat_screen.query_one(TopBar).running
        self.push_screen(SettingsScreen(self._doors, self.chat_screen, running))

    @on(messages.SettingsChanged)
    def _use_settings(self, event: messages.SettingsChanged) -> None:
        """Colours, keys and the baseline at once; the chat takes the rest when it needs it."""
        now, before = event.settings, self.chat_screen.settings
        self.chat_screen.settings = now
        self._chat.use(now)
        if now.baseline != before.baseline:
            self._prices.find(now.baseline)
        if now.theme != before.theme:
            self._warn(*theme.use(self, now.theme))
        if now.keymap != before.keymap:
            self._use_keys()
        self.chat_screen.refresh_bindings()

    def _use_keys(self) -> None:
        keymap = self.chat_screen.settings.keymap
        if keymap or self.keys:
            from ondevice.tui.keymap import use  # deferred: it imports every screen

            self._warn(*use(self, keymap))

    def _warn(self, *faults: str) -> None:
        for fault in faults:
            self.notify(clean_line(fault, 300), severity="warning", markup=False)

    # Leaving

    def _fatal_error(self) -> None:
        """Leave after a bug. Textual's own report shows local variables: what people write."""
        self.bug = self._exception if isinstance(self._exception, Exception) else None
        self.chat_screen.begin_no_more()
        threading.Thread(target=self._chat.close, daemon=True).start()
        self.downloads.close()
        self._close_messages_no_wait()

    @on(messages.LeaveAsked)
    def _leave_as_asked(self, event: messages.LeaveAsked) -> None:
        self._leave(event.code)

    async def action_quit(self) -> None:
        """Leave; a question that is written and not sent is told of first."""
        self.chat_screen.leave_if_sent(lambda: self._leave(0))

    def _leave(self, code: int) -> None:
        if self._leaving:
            return
        self._leaving = True
        self.downloads.close()
        self.chat_screen.begin_no_more()
        if self.chat_screen.busy and not self.chat_screen.is_loading:
            self._chat.cancel()  # its numbers are stored with it
        else:
            # Loading ends only with its process, and the app waits for its threads.
            threading.Thread(target=self._chat.leave, daemon=True).start()
        self.exit(code)

    def action_interrupt(self) -> None:
        """Stop the answer; without one, say how to leave."""
        if self.chat_screen.busy:
            self.chat_screen.action_stop()
        else:
            self.notify(f"{key_of(self.screen, 'app.quit')} quits.", markup=False)

    # Choosing

    def action_help(self) -> None:
        """Show the keys of this screen, and definitions of its numbers."""
        numbers = getattr(self.screen, "NUMBERS", CHAT_NUMBERS)
        keyed = getattr(self.screen, "keyed", (type(self.screen),))
        named = named_bindings(*keyed, OnDeviceApp, keys=self.keys)
        offered = [each for each in named if self.check_action(each.action, ())]
        info = self._chat.info
        self.push_screen(HelpScreen(offered, numbers, info.loaded_as if info else ""))

    def action_models(self) -> None:
        """Look at all models: choose one, get one."""
        from ondevice.tui.screens.models import ModelsScreen  # deferred: tables take 60 ms

        def chosen(file: ModelFile | None) -> None:
            serving = self._chat.file.path if self._chat.info and self._chat.file else None
            if file is not None and file.path != serving:
                self.chat_screen.load(file)

        running = self.chat_screen.query_one(TopBar).running
        self.push_screen(ModelsScreen(self._doors, self.downloads, running), chosen)

    def _show_downloads(self) -> None:
        """In the first line of every screen, while one is under way."""
        for screen in self.screen_stack[-1:]:  # none is left while the app ends
            for bar in screen.query(TopBar):
                bar.show_download(self.downloads.words)

    @on(messages.DownloadEnded)
    def _say_download(self, event: messages.DownloadEnded) -> None:
        done, failed = event.download, event.download.state == "failed"
        here = f" is here. {key_of(self.screen, 'app.models')} shows it."
        self.notify(
            clean_line(f"{done.form.name}{f': {done.said}' if failed else here}", 300),
            title="Download failed" if failed else "Downloaded",
            severity="error" if failed else "information",
            markup=False,
        )
        for screen in self.screen_stack[1:]:  # a question may stand above the table
            screen.post_message(event)

    @on(messages.CopyAsked)
    def _copy(self, event: messages.CopyAsked) -> None:
        kept = self._sessions if self._chat.conversation.is_kept else None
        copying.copy_one(self, event.texts, event.what, kept.copied.keep if kept else None)

    def action_baseline(self) -> None:
        """Choose what costs are compared with."""
        self._prices.choose()

    @on(messages.ModelReady)
    @on(Composer.Sent)
    def _find_first_prices(self) -> None:
        """Before the first answer ends, as what it avoids is stored with it."""
        self._prices.find_first(self.chat_screen.settings.baseline)

    @on(messages.PriceFound)
    def _use_price(self, event: messages.PriceFound) -> None:
        self._prices.use(event)

    @on(messages.PriceFailed)
    def _show_price_failure(self, event: messages.PriceFailed) -> None:
        self._warn(f"{event.error.message} {event.error.hint}")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug in a worker must not look like waiting."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            raise event.worker.error

    def action_sessions(self) -> None:
        """Look at all sessions: open one, and what else one does with them."""
        from ondevice.tui.screens.sessions import SessionsScreen  # deferred: as models

        def chosen(wanted: Wanted | None) -> None:
            chat = self.chat_screen
            chat.open(wanted) if wanted else chat.refresh_session()

        keeping = Keeping(self._sessions, self._chat)
        self.push_screen(SessionsScreen(keeping, self.chat_screen), chosen)

    def action_costs(self) -> None:
        """Look at the accounts."""
        from ondevice.tui.screens.costs import CostsScreen  # deferred: as models

        self.push_screen(CostsScreen(self._doors, self.chat_screen.query_one(TopBar).running))
