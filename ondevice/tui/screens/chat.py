"""The chat screen: conversation, composer, live numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from ondevice.chat import Chat, ChatEvent
from ondevice.domain.model import ModelFile
from ondevice.domain.session import Session
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError
from ondevice.settings import Settings
from ondevice.tui import messages
from ondevice.tui.live import Live
from ondevice.tui.screens.link import LinkScreen
from ondevice.tui.turn import load_model, read_memory, run_turn
from ondevice.tui.widgets.bubble import Answer, Question, Trouble
from ondevice.tui.widgets.composer import Composer
from ondevice.tui.widgets.conversation import Conversation
from ondevice.tui.widgets.keys import Keys, key_of
from ondevice.tui.widgets.meter import MeterLine, MeterPanel
from ondevice.tui.widgets.prose import Prose
from ondevice.tui.widgets.topbar import TopBar

WIDE, HIGH, TALL = 100, 23, 12
PAINT_METER_S, READ_MEMORY_S = 0.5, 1.0


class ChatScreen(Screen[None]):
    """One conversation with one model."""

    AUTO_FOCUS = "#composer"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop", tooltip="Stop the answer; it is kept."),
        Binding("f5", "reload", "Reload", id="chat.reload",
                tooltip="Load the model again: its engine stopped, or settings changed."),
        # F6 and F7 are the text area's own.
        Binding("f8", "new", "New", id="chat.new", tooltip="Begin a new session."),
    ]  # fmt: skip

    def __init__(self, chat: Chat, settings: Settings, live: Live) -> None:
        super().__init__()
        self._chat, self.settings, self._live = chat, settings, live
        self._loaded_with = settings.load_options
        self._answer: Answer | None = None
        """The one being made."""
        self.busy = False
        """Whether an answer is being made or stored."""
        self._shown = chat.conversation
        self._loading: ModelFile | None = None
        """Messages about another file come too late."""

    def compose(self) -> ComposeResult:
        yield TopBar("Chat")
        with Horizontal(id="columns"):
            with Vertical(id="talk"):
                yield Conversation()
                yield MeterLine(id="line")
                yield Composer()
            yield MeterPanel(id="panel")
        yield Keys()

    def on_mount(self) -> None:
        self.set_interval(PAINT_METER_S, self.paint_meter)
        self.set_interval(READ_MEMORY_S, self._read_memory)
        self._name_title()
        self.app.set_class(not self._chat.conversation.is_kept, "private")

    def on_resize(self) -> None:
        panel = self.size.width >= WIDE and self.size.height >= HIGH
        self.set_class(not panel, "narrow")
        self.set_class(self.size.height < TALL, "short")
        self.call_after_refresh(self.paint_meter)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Stop and Reload are offered when they do something."""
        if action == "stop":
            return self._answer is not None
        if action == "reload":
            loaded = self._live.info and self._loaded_with == self.settings.load_options
            return not (loaded or self._loading) and self._chat.file is not None
        return True

    # Model

    def load(self, file: ModelFile) -> None:
        """Make `file` the model, in the background."""
        if self.stop_first():
            return
        self._live.lose_engine()
        self._loading = file = replace(file)  # the same one may be chosen twice
        self._loaded_with = self.settings.load_options
        self._say_model(f"loading {file.name}")
        self._load(file)

    @work(thread=True, exclusive=True, exit_on_error=False, group="engine")
    def _load(self, file: ModelFile) -> None:
        load_model(self._chat, file, self._loaded_with, self.post_message)

    @on(messages.ModelLoading)
    def _show_loading(self, event: messages.ModelLoading) -> None:
        if event.file is self._loading:
            self._say_model(f"loading {event.file.name} {event.fraction:.0%}")

    @on(messages.ModelReady)
    def _show_ready(self, event: messages.ModelReady) -> None:
        if event.file is not self._loading:
            return
        self._live.info, self._loading = event.info, None
        name = f"{event.file.name} {event.file.quantization}".strip()
        backend = f"{event.info.engine} {event.info.backend.upper()}"
        self._say_model(
            f"{clean_line(name, 40)} · {backend} · offline",
            f"{name} answers on this machine ({backend}); nothing you write leaves it.",
        )
        for notice in event.info.notices:
            self._say(notice.message)
        self._read_memory()

    @on(messages.ModelFailed)
    async def show_load_failure(self, event: messages.ModelFailed) -> None:
        """Say why and what to do. A name without a file changes nothing about another model."""
        if event.file is self._loading:
            self._loading = None
            if self._live.info is None:
                self._say_model("no model")
        elif event.file is not None:
            return
        hint = f"{event.error.hint} {key_of(self, 'app.models')} shows what is on this machine."
        await self._conversation.add(Trouble(event.error.message, hint.strip()))

    def action_reload(self) -> None:
        """Load the model again: one whose engine stopped, or with settings that changed."""
        if self._chat.file is not None:
            self.load(self._chat.file)

    # A turn

    @on(Composer.Sent)
    async def _send(self, event: Composer.Sent) -> None:
        if self.stop_first() or self._load_first():
            self.query_one(Composer).give_back(event.text)
            return
        self.busy = True
        self._answer = Answer(self._chat.file.name if self._chat.file else "model")
        self._answer.say("thinking")
        self.refresh_bindings()
        self.query_one(Composer).accepted(event.text)
        self._live.begin_turn()
        sampling, most = self.settings.sampling, self.settings.max_tokens
        events = self._chat.send(event.text, sampling, most)  # Esc counts from here
        await self._conversation.add(Question(event.text), self._answer)
        self._generate(events)

    @work(thread=True, exclusive=True, exit_on_error=False, group="generation")
    def _generate(self, events: Iterator[ChatEvent]) -> None:
        run_turn(events, self._live, self.post_message)

    @on(messages.PromptProgressed)
    def _show_prefill(self, event: messages.PromptProgressed) -> None:
        if self._answer is not None:
            self._answer.say_reading(event.progress)

    @on(messages.TextArrived)
    def _show_text(self, event: messages.TextArrived) -> None:
        if self._answer is not None:
            self._answer.say("")
            self._answer.write(event.text)
            self._conversation.follow()

    @on(messages.TurnMeasured)
    def _show_measured(self, event: messages.TurnMeasured) -> None:
        if self._answer is not None:
            self._answer.end(event.measured)
        self._answer = None
        self.refresh_bindings()
        self.paint_meter()

    @on(messages.TurnFailed)
    async def _show_failure(self, event: messages.TurnFailed) -> None:
        if self._answer is not None:
            self._answer.end(None, "interrupted")
        self._answer = None
        self._live.begin_turn()
        if event.engine_stopped:
            self._live.lose_engine()
            self._say_model(f"the engine stopped · {key_of(self, 'chat.reload')} loads it again")
        await self._conversation.add(Trouble(event.error.message, event.error.hint))

    @on(messages.Noticed)
    def _show_notice(self, event: messages.Noticed) -> None:
        notice = event.notice
        self._say(notice.message, "warning" if notice.code == "storage" else "information")

    @on(messages.MessageStored)
    def _name_title(self) -> None:
        shown = self._chat.conversation
        nameless = "" if shown.is_kept else "Private session"
        self._conversation.name_title(shown.session.title if shown.session else nameless)

    @on(messages.TurnOver)
    def _end_turn(self) -> None:
        self._answer, self.busy = None, False
        self.refresh_bindings()
        self.paint_meter()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug in a worker must not look like waiting."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            raise event.worker.error

    def action_stop(self) -> None:
        """Stop the answer."""
        if self._answer is not None:
            self._chat.cancel()
            self._answer.say("stopping")

    def stop_first(self) -> bool:
        """Whether an answer is running; then that is said."""
        if self.busy:
            made = self._answer is None
            stops = f"{key_of(self, 'chat.stop')} stops the answer first."
            self._say("The answer is being stored." if made else stops)
        return self.busy

    def _load_first(self) -> bool:
        """Whether no model is ready; then that is said."""
        chooses = f"{key_of(self, 'app.models')} chooses one."
        advice = "It is being loaded." if self._loading else chooses
        if self._live.info is None:
            self._say(f"No model is ready. {advice}")
        return self._live.info is None

    # Conversation

    def open(
        self, session: Session | None, message_id: int | None = None, private: bool = False
    ) -> None:
        """Show a stored conversation, at that message, or an empty new one."""
        if self.stop_first():
            return
        try:
            self._chat.open(session, private)
        except OnDeviceError as error:
            self._say(error.message, "warning")
            return
        self._live.begin_turn()
        self._show_conversation()

    def refresh_session(self) -> None:
        """What is open may have another title, or have been deleted."""
        if self._shown is not self._chat.conversation:
            self._show_conversation()
        self._name_title()

    def action_new(self) -> None:
        """Begin a new session; the old one stays in the list."""
        self.open(None)

    @work(exclusive=True, group="conversation")
    async def _show_conversation(self) -> None:
        self._shown = self._chat.conversation
        self.app.set_class(not self._shown.is_kept, "private")
        stored = self._shown.messages
        questions = [message.content for message in stored if message.role == "user"]
        self.query_one(Composer).remember(questions)
        self._name_title()
        await self._conversation.show(stored)

    async def action_scroll_talk(self, pages: int) -> None:
        """Scroll the conversation while the composer keeps the focus."""
        await self._conversation.page(pages)

    @on(Prose.LinkClicked)
    def _ask_before_opening(self, event: Prose.LinkClicked) -> None:
        self.app.push_screen(LinkScreen(event.href))

    @on(Composer.Refused)
    def _show_refusal(self, event: Composer.Refused) -> None:
        self._say(event.reason, "warning")

    @property
    def _conversation(self) -> Conversation:
        return self.query_one(Conversation)

    def _say(self, text: str, severity: SeverityLevel = "information") -> None:
        self.notify(clean_line(text), severity=severity, markup=False)

    def _say_model(self, short: str, whole: str = "") -> None:
        self.query_one(TopBar).show(short)
        self._conversation.name_model(clean_line(whole or short))
        self.refresh_bindings()

    def paint_meter(self) -> None:
        """Show the newest numbers."""
        if self.has_class("narrow"):
            self.query_one(MeterLine).show(self._live)
        else:
            self.query_one(MeterPanel).show(self._live)

    @work(thread=True, exclusive=True, exit_on_error=False, group="memory")
    def _read_memory(self) -> None:
        read_memory(self._live)
